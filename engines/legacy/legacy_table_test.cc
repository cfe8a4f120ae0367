#include "engines/legacy/legacy_table.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include "compat/lower/xt_layout.h"
#include "compat/lower/xt_table.h"
#include "compat/model/testing/rule_builder.h"
#include "engines/core/testing/stage_cases.h"

namespace nfarena {
namespace {

using testing::Filter;
using testing::LimitBurst;
using testing::Placed;
using testing::PlacedV4;
using testing::R;
using testing::SetMark;
using testing::StageCase;
using testing::TcpPort;

using testing::kTcp;

/// The image of `table`, ready to replace what is in force.
std::vector<uint8_t> Bytes(const LegacyTable& in_force, const Table& table) {
  auto image = LowerXtTable(in_force.family(), table);
  EXPECT_TRUE(image) << image.error().ToString();
  ipt_replace head;
  std::memcpy(&head, image->replace.data(), sizeof(head));
  head.num_counters = in_force.Info().num_entries;
  std::memcpy(image->replace.data(), &head, sizeof(head));
  return image->replace;
}

std::string Text(const Table& table, const RuleRef& ref) {
  return RuleRefName(Ruleset{.tables = {table}}, ref).substr(7);  // "filter/"
}

/// "drop INPUT/2 | INPUT/1 INPUT/2": verdict, who said it, every entry that
/// matched.
std::string Judge(const Table& table, PacketState packet) {
  LegacyTable legacy(packet.family, TableKind::kFilter);
  const auto done = legacy.Replace(Bytes(legacy, table));
  if (!done) return done.error().ToString();
  Outcome outcome;
  packet.outcome = &outcome;
  const StageVerdict said = legacy.Evaluate(packet.hook, true, &packet);
  std::string text = std::string(VerdictKindName(said.kind)) + " " +
                     Text(table, said.rule) + " |";
  for (const RuleRef& ref : outcome.trace) text += " " + Text(table, ref);
  return text;
}

class LegacyEvaluate : public ::testing::TestWithParam<StageCase> {};

TEST_P(LegacyEvaluate, SaysWhatIptDoTableSays) {
  EXPECT_EQ(Judge(GetParam().table, GetParam().packet), GetParam().want);
}

INSTANTIATE_TEST_SUITE_P(Cases, LegacyEvaluate,
                         ::testing::ValuesIn(testing::StageCases()),
                         [](const auto& test_case) {
                           return std::string(test_case.param.name);
                         });

TEST(LegacyTable, JumpsMayNestAsDeepAsThereAreChains) {
  constexpr int kDepth = 200;
  std::vector<std::pair<std::string, std::vector<Rule>>> users;
  for (int i = 0; i < kDepth; ++i) {
    const std::string next = std::to_string(10000 + i + 1);
    users.emplace_back(std::to_string(10000 + i),
                       i + 1 < kDepth
                           ? std::vector<Rule>{R().Jump(next), R().None()}
                           : std::vector<Rule>{R().None()});
  }
  const Table table = Filter({R().Jump("10000"), R().Drop()}, users);
  const std::string said = Judge(table, Placed(PlacedV4{}));
  EXPECT_EQ(said.substr(0, 12), "drop INPUT/2");
  EXPECT_NE(said.find("10000/end INPUT/2"), std::string::npos);
}

TEST(LegacyTable, CountsWhatMatchesBeforeTheTargetRuns) {
  const Table table =
      Filter({R().Src({10}, 1).Drop(), R().Jump("u")}, {{"u", {R().Return()}}});
  LegacyTable legacy(Family::kIpv4, TableKind::kFilter);
  ASSERT_TRUE(legacy.Replace(Bytes(legacy, table)));
  PacketState packet = Placed(PlacedV4{});
  for (int i = 0; i < 3; ++i) legacy.Evaluate(Hook::kInput, false, &packet);
  const Counters three{3, 3 * 40};
  // INPUT/1, INPUT/2, policy; FORWARD, OUTPUT; head, u/1, end; table end.
  const std::vector<Counters> want = {{}, three, three, {}, {},
                                      {}, three, {},    {}};
  EXPECT_EQ(legacy.context().counters, want);
  // A replacement hands the old counters over and starts at zero.
  const auto old = legacy.Replace(Bytes(legacy, table));
  ASSERT_TRUE(old);
  EXPECT_EQ(*old, want);
  EXPECT_EQ(legacy.context().counters, std::vector<Counters>(9));
}

TEST(LegacyTable, MatchStateIsPerRuleAndStartsFresh) {
  const Table table = Filter(
      {R().Match(LimitBurst(2)).Drop(), R().Match(LimitBurst(1)).Queue()});
  LegacyTable legacy(Family::kIpv4, TableKind::kFilter);
  for (int generation = 0; generation < 2; ++generation) {
    ASSERT_TRUE(legacy.Replace(Bytes(legacy, table)));
    PacketState packet = Placed(PlacedV4{});
    std::string said;
    for (int i = 0; i < 4; ++i) {
      said += VerdictKindName(
          legacy.Evaluate(Hook::kInput, false, &packet).kind)[0];
    }
    EXPECT_EQ(said, "ddqa") << "generation " << generation;
  }
}

TEST(LegacyTable, GivesTheBytesBackItTook) {
  const Table table =
      Filter({R().Proto(kTcp).Match(TcpPort(22)).Match(LimitBurst(3)).Accept(),
              R().Do(SetMark(9)), R().Goto("u"), R().Jump("u")},
             {{"u", {R().Queue()}}}, Policy::kDrop);
  for (Family family : {Family::kIpv4, Family::kIpv6}) {
    LegacyTable legacy(family, TableKind::kFilter);
    const std::vector<uint8_t> sent = Bytes(legacy, table);
    ASSERT_TRUE(legacy.Replace(sent));
    const LegacyInfo info = legacy.Info();
    const auto got = legacy.GetEntries(info.size);
    ASSERT_TRUE(got);
    const auto raised =
        RaiseXtTable(family, TableKind::kFilter, *got, info.hook_entry,
                     info.underflow, info.valid_hooks, {});
    ASSERT_TRUE(raised) << raised.error().ToString();
    const LegacyTable fresh(family, TableKind::kFilter);
    EXPECT_EQ(Bytes(fresh, *raised), Bytes(fresh, table));
    EXPECT_FALSE(legacy.GetEntries(info.size - 8));
    EXPECT_EQ(legacy.GetEntries(info.size - 8).error().errno_value, EAGAIN);
  }
}

TEST(LegacyTable, AddCountersAddsAndChecks) {
  LegacyTable legacy(Family::kIpv4, TableKind::kFilter);
  ASSERT_TRUE(legacy.Replace(Bytes(legacy, Filter({R().Accept()}))));
  xt_counters_info head{};
  std::strcpy(head.name, "filter");
  head.num_counters = 5;
  std::vector<uint8_t> bytes(sizeof(head) + 5 * sizeof(xt_counters));
  std::memcpy(bytes.data(), &head, sizeof(head));
  const xt_counters one{3, 300};
  std::memcpy(bytes.data() + sizeof(head), &one, sizeof(one));
  ASSERT_TRUE(legacy.AddCounters(bytes));
  ASSERT_TRUE(legacy.AddCounters(bytes));
  EXPECT_EQ(legacy.context().counters[0], (Counters{6, 600}));

  const auto errno_of = [&](const std::vector<uint8_t>& b) {
    const Status s = legacy.AddCounters(b);
    return s ? 0 : s.error().errno_value;
  };
  EXPECT_EQ(errno_of({bytes.begin(), bytes.begin() + sizeof(head)}), EINVAL);
  EXPECT_EQ(errno_of({bytes.begin(), bytes.end() - 1}), EINVAL);
  bytes[0] = 'x';
  EXPECT_EQ(errno_of(bytes), ENOENT);
  bytes[0] = 'f';
  bytes[32] = 4;
  bytes.resize(sizeof(head) + 4 * sizeof(xt_counters));
  EXPECT_EQ(errno_of(bytes), EINVAL);
}

struct BadCase {
  const char* name;
  /// Changes good bytes of the sample table; `entry` gives an entry's place.
  std::function<void(std::vector<uint8_t>*,
                     const std::function<size_t(size_t)>& entry)>
      change;
  int want_errno;
};

void PrintTo(const BadCase& c, std::ostream* os) { *os << c.name; }

template <typename T>
void Put(std::vector<uint8_t>* bytes, size_t at, T value) {
  std::memcpy(bytes->data() + at, &value, sizeof(value));
}

/// Entries: 0 tcp match + ACCEPT, 1 jump "u", 2 INPUT's policy, 3 FORWARD,
/// 4 OUTPUT, 5 head of u, 6 u/1 (MARK), 7 u's end, 8 the table's end.
Table BadSample() {
  return Filter({R().Proto(kTcp).Match(TcpPort(22)).Accept(), R().Jump("u")},
                {{"u", {R().Do(SetMark(1))}}});
}

std::vector<BadCase> BadCases() {
  using B = std::vector<uint8_t>*;
  using E = const std::function<size_t(size_t)>&;
  constexpr size_t kNumEntries = 36, kSize = 40, kHook = 44, kUnderflow = 64,
                   kNumCounters = 84;
  return {
      {"too_short", [](B b, E) { b->resize(95); }, EINVAL},
      {"num_counters_zero", [](B b, E) { Put(b, kNumCounters, uint32_t{0}); },
       EINVAL},
      {"num_counters_huge", [](B b, E) { Put(b, kNumCounters, 0x7fffffffu); },
       ENOMEM},
      {"num_counters_stale", [](B b, E) { Put(b, kNumCounters, uint32_t{5}); },
       EAGAIN},
      {"size_over_bytes",
       [](B b, E) { Put(b, kSize, static_cast<uint32_t>(b->size())); }, EINVAL},
      {"size_cuts_the_last_entry",
       [](B b, E) { Put(b, kSize, static_cast<uint32_t>(b->size() - 104)); },
       EINVAL},
      {"num_entries_one_more",
       [](B b, E) { Put(b, kNumEntries, uint32_t{10}); }, EINVAL},
      {"num_entries_one_less", [](B b, E) { Put(b, kNumEntries, uint32_t{8}); },
       EINVAL},
      {"hook_entry_at_no_entry", [](B b, E) { Put(b, kHook + 4, uint32_t{8}); },
       EINVAL},
      {"hook_entries_not_ascending",
       [](B b, E e) { Put(b, kHook + 8, static_cast<uint32_t>(e(0) - 96)); },
       EINVAL},
      {"underflow_is_conditional",
       [](B b, E) { Put(b, kUnderflow + 4, uint32_t{0}); }, EINVAL},
      {"underflow_returns",
       [](B b, E e) { Put(b, e(2) + 112 + 32, int32_t{-5}); }, EINVAL},
      {"verdict_unknown",
       [](B b, E e) { Put(b, e(3) + 112 + 32, int32_t{-3}); }, EINVAL},
      {"verdict_zero", [](B b, E e) { Put(b, e(1) + 112 + 32, int32_t{0}); },
       EINVAL},
      {"unknown_flag", [](B b, E e) { Put(b, e(0) + 82, uint8_t{4}); }, EINVAL},
      {"unknown_invert_flag",
       [](B b, E e) { Put(b, e(0) + 83, uint8_t{0x80}); }, EINVAL},
      {"next_offset_zero", [](B b, E e) { Put(b, e(0) + 90, uint16_t{0}); },
       EINVAL},
      {"target_offset_in_header",
       [](B b, E e) { Put(b, e(1) + 88, uint16_t{104}); }, EINVAL},
      {"match_size_zero", [](B b, E e) { Put(b, e(0) + 112, uint16_t{0}); },
       EINVAL},
      {"target_size_over_entry",
       [](B b, E e) { Put(b, e(6) + 112, uint16_t{64}); }, EINVAL},
      {"jump_to_no_entry",
       [](B b, E e) {
         Put(b, e(1) + 112 + 32, static_cast<int32_t>(e(6) - 96 + 8));
       },
       ELOOP},
      {"jump_past_the_table",
       [](B b, E e) { Put(b, e(1) + 112 + 32, int32_t{0x7ffffff0}); }, ELOOP},
      {"loop",
       [](B b, E e) {
         // u/1 becomes a jump to itself.
         const auto at = e(6) + 112;
         std::memset(b->data() + at + 2, 0, 38);
         Put(b, at + 32, static_cast<int32_t>(e(6) - 96));
       },
       ELOOP},
      {"unknown_match",
       [](B b, E e) { std::memcpy(b->data() + e(0) + 114, "xyz", 3); }, ENOENT},
      {"unknown_revision",
       [](B b, E e) { Put(b, e(0) + 112 + 31, uint8_t{9}); }, ENOENT},
      {"unknown_revision_for_all_families",
       [](B b, E e) {
         std::memcpy(b->data() + e(0) + 114, "comment", 7);
         Put(b, e(0) + 112 + 31, uint8_t{9});
       },
       EPROTOTYPE},
      {"unknown_target",
       [](B b, E e) { std::memcpy(b->data() + e(6) + 114, "NOPE", 4); },
       ENOENT},
      {"name_without_end",
       [](B b, E e) { std::memset(b->data() + e(6) + 114, 'x', 29); }, EINVAL},
      {"payload_of_wrong_size",
       [](B b, E e) { std::memcpy(b->data() + e(0) + 114, "limit\0", 6); },
       EINVAL},
      {"match_without_its_protocol",
       [](B b, E e) { Put(b, e(0) + 80, uint16_t{17}); }, EINVAL},
      {"check_refuses",
       [](B b, E e) { Put(b, e(0) + 112 + 32 + 11, uint8_t{0xff}); }, EINVAL},
      {"other_table", [](B b, E) { std::memcpy(b->data(), "fulter", 6); },
       ENOENT},
  };
}

class LegacyBadBytes : public ::testing::TestWithParam<BadCase> {};

TEST_P(LegacyBadBytes, AreRefusedAndChangeNothing) {
  LegacyTable legacy(Family::kIpv4, TableKind::kFilter);
  ASSERT_TRUE(legacy.Replace(
      Bytes(legacy, Filter({R().Drop(), R().Accept(), R().None()}))));
  const auto before = legacy.GetEntries(legacy.Info().size);
  ASSERT_TRUE(before);
  const Table table = BadSample();
  const auto image = LowerXtTable(Family::kIpv4, table);
  ASSERT_TRUE(image);
  std::vector<uint8_t> bytes = Bytes(legacy, table);
  GetParam().change(&bytes, [&](size_t i) {
    return sizeof(ipt_replace) + image->entries[i].offset;
  });
  const auto done = legacy.Replace(bytes);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().errno_value, GetParam().want_errno)
      << done.error().ToString();
  EXPECT_EQ(*legacy.GetEntries(legacy.Info().size), *before);
}

INSTANTIATE_TEST_SUITE_P(Cases, LegacyBadBytes, ::testing::ValuesIn(BadCases()),
                         [](const auto& test_case) {
                           return std::string(test_case.param.name);
                         });

TEST(LegacyTable, EveryTruncationIsRefused) {
  LegacyTable legacy(Family::kIpv4, TableKind::kFilter);
  const std::vector<uint8_t> bytes = Bytes(legacy, BadSample());
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    EXPECT_FALSE(legacy.Replace(std::span(bytes).first(cut))) << cut;
  }
  EXPECT_TRUE(legacy.Replace(bytes));
}

TEST(LegacyTable, LoopNoHookReachesIsAccepted) {
  // The kernel walks from hooks only.
  const Table table =
      Filter({}, {{"a", {R().Jump("b")}}, {"b", {R().Jump("a")}}});
  LegacyTable legacy(Family::kIpv4, TableKind::kFilter);
  EXPECT_TRUE(legacy.Replace(Bytes(legacy, table)));
  Table reached = table;
  reached.chain("FORWARD")->rules = {R().Jump("b")};
  const auto done = legacy.Replace(Bytes(legacy, reached));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().errno_value, ELOOP);
}

}  // namespace
}  // namespace nfarena
