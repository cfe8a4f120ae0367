// The twin's interface against the kernel's: the same bytes go to both, and
// both must answer the same, with bytes or with an errno.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <random>

#include "compat/lower/testing/xt_socket.h"
#include "compat/lower/xt_layout.h"
#include "compat/lower/xt_table.h"
#include "compat/model/testing/rule_builder.h"
#include "engines/legacy/legacy_table.h"

namespace nfarena {
namespace {

using testing::InNamespace;
using testing::KernelTable;
using testing::LimitBurst;
using testing::MarkIs;
using testing::R;
using testing::SetMark;
using testing::TcpPort;

Table Sample(Family family) {
  Table table = EmptyTable(TableKind::kFilter);
  EXPECT_TRUE(table.AddChain("alpha"));
  EXPECT_TRUE(table.AddChain("beta"));
  table.chain("INPUT")->rules = {
      R().Src({192, 0, 2, 1}, 4).Proto(6).Match(TcpPort(22)).Accept(),
      R().In("eth+").Match(LimitBurst(3)).Jump("alpha"),
      R().Out("lo").Not(kInvertOut).Goto("beta"),
      R().None(),
  };
  table.chain("INPUT")->policy = Policy::kDrop;
  table.chain("FORWARD")->rules = {R().Jump("alpha"), R().Queue()};
  table.chain("alpha")->rules = {R().Match(MarkIs(4)).Jump("beta"),
                                 R().Return()};
  table.chain("beta")->rules = {R().Do(SetMark(3)), R().Drop()};
  if (family == Family::kIpv4) {
    table.chain("OUTPUT")->rules = {R().Fragment().Drop()};
  }
  return table;
}

std::vector<uint8_t> ImageOf(Family family, uint32_t num_counters) {
  auto image = LowerXtTable(family, Sample(family));
  EXPECT_TRUE(image);
  ipt_replace head;
  std::memcpy(&head, image->replace.data(), sizeof(head));
  head.num_counters = num_counters;
  std::memcpy(image->replace.data(), &head, sizeof(head));
  return image->replace;
}

class KernelLegacy : public ::testing::TestWithParam<Family> {
 protected:
  void SetUp() override {
    static const auto kBlocked = testing::KernelTestsBlockedBy();
    if (kBlocked) GTEST_SKIP() << *kBlocked;
  }
};

/// struct xt_rateinfo has fields of the kernel's own, which GET_ENTRIES shows
/// as zero; a twin never writes them, so it shows what it was sent.
template <typename Traits>
void ClearLimit(const uint8_t* entry, std::vector<uint8_t>* copy) {
  using Entry = typename Traits::Entry;
  Entry e;
  std::memcpy(&e, entry, sizeof(e));
  for (size_t m = sizeof(Entry); m < e.target_offset;) {
    xt_entry_match head;
    std::memcpy(&head, entry + m, kXtHeaderBytes);
    if (std::strcmp(head.u.user.name, "limit") == 0) {
      std::fill(
          copy->begin() + static_cast<ptrdiff_t>(m + kXtHeaderBytes +
                                                 offsetof(xt_rateinfo, prev)),
          copy->begin() + static_cast<ptrdiff_t>(m + head.u.user.match_size),
          uint8_t{0});
    }
    m += head.u.user.match_size;
  }
}

template <typename Traits>
std::string CompareEntries(const std::vector<uint8_t>& twin,
                           const std::vector<uint8_t>& kernel) {
  using Entry = typename Traits::Entry;
  if (twin.size() != kernel.size()) return "size differs";
  for (size_t at = 0, index = 0; at < twin.size(); ++index) {
    Entry entry;
    std::memcpy(&entry, twin.data() + at, sizeof(entry));
    const auto begin = static_cast<ptrdiff_t>(at);
    std::vector<uint8_t> ours(twin.begin() + begin,
                              twin.begin() + begin + entry.next_offset);
    ClearLimit<Traits>(twin.data() + at, &ours);
    for (size_t i = 0; i < ours.size(); ++i) {
      if (ours[i] == kernel[at + i]) continue;
      return fmt::format("entry {} byte {}: twin {:#x}, kernel {:#x}", index, i,
                         ours[i], kernel[at + i]);
    }
    at += entry.next_offset;
  }
  return "";
}

/// "" when twin and kernel show the same table.
std::string CompareTables(const LegacyTable& twin) {
  KernelTable kernel;
  if (const int e = testing::ReadTable(twin.family(), twin.kind(), &kernel)) {
    return fmt::format("GET_ENTRIES: {}", strerror(e));
  }
  const LegacyInfo info = twin.Info();
  const auto bytes = twin.GetEntries(info.size);
  if (!bytes) return bytes.error().ToString();
  if (info.num_entries != kernel.num_entries) return "num_entries differs";
  if (info.valid_hooks != kernel.valid_hooks) return "valid_hooks differs";
  if (!std::equal(info.hook_entry.begin(), info.hook_entry.end(),
                  kernel.hook_entry) ||
      !std::equal(info.underflow.begin(), info.underflow.end(),
                  kernel.underflow)) {
    return "hook entries or underflows differ";
  }
  return WithXtTraits(twin.family(), [&]<typename Traits>() {
    return CompareEntries<Traits>(*bytes, kernel.entries);
  });
}

TEST_P(KernelLegacy, GivesTheSameEntriesBack) {
  const Family family = GetParam();
  EXPECT_EQ(InNamespace([&]() -> std::string {
              LegacyTable twin(family, TableKind::kFilter);
              const std::string first = CompareTables(twin);
              if (!first.empty()) return "the table as registered: " + first;
              const std::vector<uint8_t> bytes =
                  ImageOf(family, twin.Info().num_entries);
              if (const int e = testing::WriteTableRaw(family, bytes, 100)) {
                return fmt::format("SET_REPLACE: {}", strerror(e));
              }
              const auto done = twin.Replace(bytes);
              if (!done) return done.error().ToString();
              return CompareTables(twin);
            }),
            "");
}

/// Changes one to three places of `bytes`, often to values that are nearly
/// right; never the counters pointer, which the kernel writes through.
void Mutate(std::mt19937* random, std::vector<uint8_t>* bytes) {
  const auto pick = [&](size_t n) { return (*random)() % n; };
  const size_t places = 1 + pick(3);
  for (size_t i = 0; i < places; ++i) {
    const size_t at = pick(bytes->size());
    if (at >= offsetof(ipt_replace, num_counters) && at < sizeof(ipt_replace)) {
      continue;
    }
    uint8_t& byte = (*bytes)[at];
    switch (pick(5)) {
      case 0:
        byte = static_cast<uint8_t>((*random)());
        break;
      case 1:
        byte = static_cast<uint8_t>(byte ^ 1u << pick(8));
        break;
      case 2:
        byte = static_cast<uint8_t>(byte + 8);
        break;
      case 3:
        byte = static_cast<uint8_t>(byte - 8);
        break;
      default:
        byte = 0;
    }
  }
}

TEST_P(KernelLegacy, RefusesWhatTheKernelRefusesWithItsErrno) {
  constexpr int kRounds = 5000;
  const Family family = GetParam();
  EXPECT_EQ(InNamespace([&]() -> std::string {
              LegacyTable twin(family, TableKind::kFilter);
              std::mt19937 random(20240229);
              int taken = 0;
              int refused = 0;
              for (int round = 0; round < kRounds; ++round) {
                std::vector<uint8_t> bytes =
                    ImageOf(family, twin.Info().num_entries);
                Mutate(&random, &bytes);
                const int kernel = testing::WriteTableRaw(family, bytes, 100);
                const auto done = twin.Replace(bytes);
                const int ours = done ? 0 : done.error().errno_value;
                if (kernel != ours) {
                  return fmt::format("round {}: kernel {}, twin {} ({})", round,
                                     strerror(kernel), strerror(ours),
                                     done ? "" : done.error().ToString());
                }
                ++(kernel == 0 ? taken : refused);
                if (kernel != 0) continue;
                const std::string difference = CompareTables(twin);
                if (!difference.empty()) {
                  return fmt::format("round {}: {}", round, difference);
                }
              }
              // Both answers must have been tried, or the mutation is
              // worthless.
              if (taken < kRounds / 10 || refused < kRounds / 10) {
                return fmt::format("{} taken, {} refused", taken, refused);
              }
              return "";
            }),
            "");
}

INSTANTIATE_TEST_SUITE_P(Families, KernelLegacy,
                         ::testing::Values(Family::kIpv4, Family::kIpv6),
                         [](const auto& test_case) {
                           return std::string(FamilyName(test_case.param));
                         });

}  // namespace
}  // namespace nfarena
