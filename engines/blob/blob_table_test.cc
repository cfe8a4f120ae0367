#include "engines/blob/blob_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "compat/lower/blob_lower.h"
#include "compat/model/testing/rule_builder.h"
#include "engines/core/ipset_text.h"
#include "engines/core/testing/stage_cases.h"
#include "engines/xt/uapi.h"

namespace nfarena {
namespace {

using testing::Filter;
using testing::kTcp;
using testing::LimitBurst;
using testing::MarkIs;
using testing::Placed;
using testing::PlacedV4;
using testing::R;
using testing::SetMark;
using testing::StageCase;
using testing::TcpPort;

constexpr Stage kFilterInput{TableKind::kFilter, Hook::kInput};

BlobImage Image(const Ruleset& ruleset, bool counters = true) {
  auto image = LowerBlob(ruleset, {.counters = counters});
  EXPECT_TRUE(image) << image.error().ToString();
  return *image;
}

Ruleset Only(Table table, Family family = Family::kIpv4) {
  return Ruleset{.family = family, .tables = {std::move(table)}};
}

std::string Judge(const Table& table, PacketState packet, bool counters) {
  BlobTable blob(packet.family);
  const BlobImage image = Image(Only(table, packet.family), counters);
  const auto done = blob.Load(image.bytes, image.counters);
  if (!done) return done.error().ToString();
  const auto name = [&](const RuleRef& ref) {
    return RuleRefName(Only(table), ref).substr(7);  // "filter/"
  };
  BlobTable::Reader reader(&blob);
  reader.Pin();
  Outcome outcome;
  packet.outcome = &outcome;
  const StageVerdict said =
      reader.Evaluate({TableKind::kFilter, packet.hook}, true, &packet);
  std::string text =
      std::string(VerdictKindName(said.kind)) + " " + name(said.rule) + " |";
  for (const RuleRef& ref : outcome.trace) text += " " + name(ref);
  return text;
}

class BlobEvaluate : public ::testing::TestWithParam<StageCase> {};

TEST_P(BlobEvaluate, SaysWhatIptablesSays) {
  EXPECT_EQ(Judge(GetParam().table, GetParam().packet, true), GetParam().want);
}

TEST_P(BlobEvaluate, SaysTheSameWithoutCounters) {
  EXPECT_EQ(Judge(GetParam().table, GetParam().packet, false), GetParam().want);
}

INSTANTIATE_TEST_SUITE_P(Cases, BlobEvaluate,
                         ::testing::ValuesIn(testing::StageCases()),
                         [](const auto& test_case) {
                           return std::string(test_case.param.name);
                         });

TEST(BlobTable, GivesTheBytesBackItTook) {
  Ruleset ruleset = Only(
      Filter({R().Proto(kTcp).Match(TcpPort(22)).Match(LimitBurst(3)).Accept(),
              R().Match(LimitBurst(4)).Do(SetMark(9)), R().Goto("u")},
             {{"u", {R().Queue()}}}, Policy::kDrop));
  ruleset.EnsureTable(TableKind::kMangle).chain("FORWARD")->rules = {
      R().Do(SetMark(1)), R().Do(SetMark(2))};
  for (bool counters : {true, false}) {
    const BlobImage image = Image(ruleset, counters);
    BlobTable blob(Family::kIpv4);
    ASSERT_TRUE(blob.Load(image.bytes, image.counters));
    EXPECT_EQ(blob.Bytes(), image.bytes);
  }
}

TEST(BlobTable, CountsWhereAsked) {
  const Table table =
      Filter({R().Src({10}, 1).Drop(), R().Count(5, 500).Jump("u")},
             {{"u", {R().Return()}}});
  const BlobImage image = Image(Only(table));
  BlobTable blob(Family::kIpv4);
  ASSERT_TRUE(blob.Load(image.bytes, image.counters));
  PacketState packet = Placed(PlacedV4{});
  {
    BlobTable::Reader first(&blob);
    BlobTable::Reader second(&blob);
    for (BlobTable::Reader* reader : {&first, &second}) {
      reader->Pin();
      for (int i = 0; i < 3; ++i) {
        reader->Evaluate(kFilterInput, false, &packet);
      }
      reader->Unpin();
    }
  }
  // INPUT/1, /2, policy; FORWARD; OUTPUT; u/1, end.
  const Counters six{6, 6 * 40};
  const std::vector<Counters> want = {{}, {11, 500 + 240}, six, {}, {}, six,
                                      {}};
  EXPECT_EQ(blob.Sum(), want);
  const auto old = blob.Load(image.bytes, {});
  ASSERT_TRUE(old);
  EXPECT_EQ(*old, want);
  EXPECT_EQ(blob.Sum(), std::vector<Counters>(7));
}

TEST(BlobTable, MatchStateIsPerRuleAndStartsFresh) {
  const BlobImage image = Image(Only(Filter(
      {R().Match(LimitBurst(2)).Drop(), R().Match(LimitBurst(1)).Queue()})));
  BlobTable blob(Family::kIpv4);
  BlobTable::Reader reader(&blob);
  for (int generation = 0; generation < 2; ++generation) {
    ASSERT_TRUE(blob.Load(image.bytes, image.counters));
    PacketState packet = Placed(PlacedV4{});
    std::string said;
    reader.Pin();
    for (int i = 0; i < 4; ++i) {
      said += VerdictKindName(
          reader.Evaluate(kFilterInput, false, &packet).kind)[0];
    }
    reader.Unpin();
    EXPECT_EQ(said, "ddqa") << "generation " << generation;
  }
}

TEST(BlobTable, RunsSeveralTargetsInOneRule) {
  // No iptables rule says this, so it is made by hand: what was lowered as a
  // match of an unknown name becomes a second MARK.  The first one sets 1, the
  // second flips the bits of 6: 7 needs both, in this order.
  const xt_mark_tginfo2 set{.mark = 1, .mask = 0xffffffff};
  const xt_mark_tginfo2 flip{.mark = 6, .mask = 0};
  BlobImage image =
      Image(Only(Filter({R().Match(testing::ExtensionOf("XARK", 2, set))
                             .Do(testing::ExtensionOf("MARK", 2, flip)),
                         R().Match(MarkIs(7)).Drop()})),
            false);
  const std::string name = "XARK";
  const auto at = std::search(image.bytes.begin(), image.bytes.end(),
                              name.begin(), name.end());
  ASSERT_NE(at, image.bytes.end());
  *at = 'M';
  BlobHeader header;
  std::memcpy(&header, image.bytes.data(), sizeof(header));
  image.bytes[header.extensions_offset + 6] = 1;  // kind: target
  BlobChainRecord input;
  std::memcpy(&input, image.bytes.data() + header.chains_offset, sizeof(input));
  image.bytes[input.first + sizeof(BlobRuleHead)] =
      static_cast<uint8_t>(BlobOp::kTarget);
  BlobTable blob(Family::kIpv4);
  const auto loaded = blob.Load(image.bytes, {});
  ASSERT_TRUE(loaded) << loaded.error().ToString();
  BlobTable::Reader reader(&blob);
  reader.Pin();
  PacketState packet = Placed(PlacedV4{});
  const StageVerdict said = reader.Evaluate(kFilterInput, false, &packet);
  EXPECT_EQ(packet.mark, 7u);
  EXPECT_EQ(said.kind, VerdictKind::kDrop);
}

TEST(BlobTable, RefusesAndKeepsWhatWasInForce) {
  const BlobImage good = Image(Only(Filter({R().Drop()})));
  BlobTable blob(Family::kIpv4);
  ASSERT_TRUE(blob.Load(good.bytes, good.counters));
  struct Case {
    const char* what;
    Ruleset ruleset;
    int want_errno;
  };
  const Case cases[] = {
      {"unknown match",
       Only(Filter(
           {R().None(), R().Match(Extension{.name = "nosuch"}).Accept()})),
       ENOENT},
      {"unknown revision",
       Only(Filter(
           {R().None(), R().Do(Extension{.name = "MARK", .revision = 9})})),
       ENOENT},
      {"payload of another size",
       Only(Filter(
           {R().None(), R().Match(Extension{.name = "limit"}).Accept()})),
       EINVAL},
      {"match without its protocol",
       Only(Filter({R().None(), R().Match(TcpPort(1)).Accept()})), EINVAL},
  };
  for (const Case& c : cases) {
    const BlobImage image = Image(c.ruleset);
    BlobFault fault;
    const auto loaded = blob.Load(image.bytes, image.counters, &fault);
    ASSERT_FALSE(loaded) << c.what;
    EXPECT_EQ(loaded.error().errno_value, c.want_errno)
        << c.what << ": " << loaded.error().ToString();
    EXPECT_TRUE(fault.known) << c.what;
    EXPECT_EQ(fault.rule, 2u) << c.what;
    EXPECT_EQ(blob.Bytes(), good.bytes) << c.what;
  }
  const BlobImage other = Image(Only(Filter({}), Family::kIpv6));
  EXPECT_FALSE(blob.Load(other.bytes, other.counters));
  for (size_t cut = 0; cut < good.bytes.size(); ++cut) {
    EXPECT_FALSE(blob.Load(std::span(good.bytes).first(cut), {})) << cut;
  }
  EXPECT_FALSE(blob.Load(good.bytes, std::vector<Counters>(1)));
  EXPECT_EQ(blob.Bytes(), good.bytes);
}

/// raw marks the packet with `mine`, then `length` rules of filter drop it if
/// it carries `other`: a packet that saw half an update would be dropped.
BlobImage Generation(uint32_t mine, uint32_t other, int length) {
  Ruleset ruleset;
  ruleset.EnsureTable(TableKind::kRaw).chain("PREROUTING")->rules = {
      R().Do(SetMark(mine))};
  Chain& input = *ruleset.EnsureTable(TableKind::kFilter).chain("INPUT");
  for (int i = 0; i < length; ++i) {
    input.rules.push_back(R().Match(MarkIs(other)).Drop());
  }
  // State that all readers share, touched by each packet.
  input.rules.push_back(R().Match(LimitBurst(30)).None());
  return Image(ruleset);
}

TEST(BlobTable, NoPacketIsJudgedByHalfAnUpdate) {
  constexpr int kReaders = 3;
  constexpr int kUpdates = 400;
  const BlobImage images[2] = {Generation(1, 2, 50), Generation(2, 1, 90)};
  BlobTable blob(Family::kIpv4);
  ASSERT_TRUE(blob.Load(images[0].bytes, images[0].counters));

  std::atomic<bool> stop{false};
  std::atomic<uint64_t> judged{0};
  std::atomic<uint64_t> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kReaders; ++i) {
    threads.emplace_back([&] {
      BlobTable::Reader reader(&blob);
      PacketState packet = Placed(PlacedV4{});
      uint64_t mine = 0;
      while (!stop.load(std::memory_order_relaxed) || mine == 0) {
        packet.mark = 0;
        reader.Pin();
        reader.Evaluate({TableKind::kRaw, Hook::kPrerouting}, false, &packet);
        // The worst moment for a swap.
        if (mine % 16 == 0) std::this_thread::yield();
        if (reader.Evaluate(kFilterInput, false, &packet).kind !=
            VerdictKind::kAccept) {
          wrong.fetch_add(1);
        }
        reader.Unpin();
        ++mine;
      }
      judged.fetch_add(mine);
    });
  }
  // Slot 0 counts raw's one rule: every packet, in whatever generation.
  uint64_t counted = 0;
  for (int i = 1; i <= kUpdates; ++i) {
    const auto old = blob.Load(images[i % 2].bytes, images[i % 2].counters);
    if (!old) {
      ADD_FAILURE() << old.error().ToString();
      break;
    }
    counted += old->at(0).packets;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  counted += blob.Sum().at(0).packets;
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(counted, judged) << "a swap lost or doubled counts";
  EXPECT_GE(judged, static_cast<uint64_t>(kReaders));
}

/// Each packet asks set a, which counts it, adds its source to set b, and takes
/// from the bucket of a hashlimit by the name of "h"; then `length` rules.
BlobImage AskingSets(int length) {
  xt_set_info_match_v4 ask{};
  ask.match_set = {.index = 0, .dim = 1, .flags = IPSET_DIM_ONE_SRC};
  xt_set_info_target_v3 add{};
  add.add_set = {.index = 1, .dim = 1, .flags = IPSET_DIM_ONE_SRC};
  add.del_set.index = add.map_set.index = IPSET_INVALID_ID;
  add.flags = IPSET_FLAG_EXIST;
  add.timeout = UINT32_MAX;
  xt_hashlimit_mtinfo3 limit{};
  std::memcpy(limit.name, "h", 2);
  limit.cfg.mode = XT_HASHLIMIT_HASH_SIP;
  limit.cfg.avg = XT_HASHLIMIT_SCALE_v2;
  limit.cfg.burst = 5;
  limit.cfg.gc_interval = limit.cfg.expire = 1000;
  limit.cfg.srcmask = limit.cfg.dstmask = 32;
  Ruleset ruleset;
  Chain& input = *ruleset.EnsureTable(TableKind::kFilter).chain("INPUT");
  input.rules = {R().Match(testing::ExtensionOf("set", 4, ask))
                     .Do(testing::ExtensionOf("SET", 3, add)),
                 R().Match(testing::ExtensionOf("hashlimit", 3, limit)).None()};
  for (int i = 0; i < length; ++i) {
    input.rules.push_back(R().Match(MarkIs(1)).Drop());
  }
  return Image(ruleset);
}

TEST(BlobTable, ReadersShareSetsWhileBlobsAreSwapped) {
  constexpr int kReaders = 3;
  constexpr int kUpdates = 200;
  auto sets = ReadIpSets(
      "create a hash:ip counters\nadd a 192.0.2.1\ncreate b hash:ip\n");
  ASSERT_TRUE(sets);
  NetState net{.sets = std::move(*sets), .named = {}};
  const BlobImage images[2] = {AskingSets(0), AskingSets(9)};
  BlobTable blob(Family::kIpv4, &net);
  const auto first = blob.Load(images[0].bytes, images[0].counters);
  ASSERT_TRUE(first) << first.error().ToString();

  std::atomic<bool> stop{false};
  std::atomic<uint64_t> judged{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kReaders; ++i) {
    threads.emplace_back([&] {
      BlobTable::Reader reader(&blob);
      PacketState packet = Placed(PlacedV4{});
      uint64_t mine = 0;
      while (!stop.load(std::memory_order_relaxed) || mine == 0) {
        reader.Pin();
        reader.Evaluate(kFilterInput, false, &packet);
        reader.Unpin();
        ++mine;
      }
      judged.fetch_add(mine);
    });
  }
  for (int i = 1; i <= kUpdates; ++i) {
    const auto old = blob.Load(images[i % 2].bytes, images[i % 2].counters);
    EXPECT_TRUE(old) << old.error().ToString();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  const auto& asked = net.sets.at(0).elements;
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked.begin()->second.at(0).counters.packets, judged);
  EXPECT_EQ(net.sets.at(1).elements_count, 1u);
}

}  // namespace
}  // namespace nfarena
