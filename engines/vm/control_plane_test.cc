// What a batch does to the ruleset: all of it or nothing, whatever the bytes.
#include "engines/vm/control_plane.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

#include <random>
#include <string>
#include <vector>

#include "engines/vm/testing/batch_builder.h"

namespace nfarena::vm {
namespace {

using ::testing::ElementsAre;

constexpr int32_t kJump = -3;

Bytes Be16(uint16_t value) {
  return {static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
}

BatchBuilder Filter() {
  BatchBuilder batch;
  batch.Table("filter")
      .BaseChain("filter", "INPUT", "filter", NF_INET_LOCAL_IN, 0, NF_ACCEPT,
                 true)
      .Chain("filter", "user");
  return batch;
}

// A batch that touches every kind of object.
BatchBuilder Everything() {
  BatchBuilder batch = Filter();
  batch.Set("filter", "ports", 1, NFT_SET_INTERVAL, 2)
      .Elements("filter", "ports", 1,
                {{.key = Be16(10)},
                 {.key = Be16(20), .flags = NFT_SET_ELEM_INTERVAL_END}})
      .Set("filter", "__map%d", 2,
           NFT_SET_ANONYMOUS | NFT_SET_CONSTANT | NFT_SET_MAP, 2,
           NFT_DATA_VERDICT)
      .Elements("filter", "__map%d", 2,
                {{.key = Be16(22),
                  .verdict = kJump,
                  .has_verdict = true,
                  .chain = "user"}})
      .Object("filter", "hits", NFT_OBJECT_COUNTER, nullptr)
      .Rule("filter", "user",
            {Payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2), Lookup("ports", 1),
             Counter(), Verdict(NF_DROP)})
      .Rule("filter", "INPUT",
            {Payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2),
             Lookup("__map%d", 2, 1, 0)})
      .Rule("filter", "INPUT",
            {Raw("limit",
                 [](MessageWriter* w) {
                   w->PutBe64(NFTA_LIMIT_RATE, 3);
                   w->PutBe64(NFTA_LIMIT_UNIT, 1);
                 }),
             Raw("log",
                 [](MessageWriter* w) { w->PutString(NFTA_LOG_PREFIX, "x"); }),
             Verdict(kJump, "user")});
  return batch;
}

// All that can be seen from outside, as one string of bytes.
std::vector<Bytes> Dumps(const ControlPlane& control) {
  std::vector<Bytes> dumps;
  for (const DumpKind kind :
       {DumpKind::kTables, DumpKind::kChains, DumpKind::kRules, DumpKind::kSets,
        DumpKind::kObjects}) {
    dumps.push_back(control.Dump(kind, {}));
  }
  for (const auto& table : control.tables()) {
    for (const auto& set : table->sets) {
      dumps.push_back(control.DumpElements(table->name, set->name,
                                           {.family = table->family}));
    }
  }
  return dumps;
}

TEST(ControlPlaneTest, GoldenDumpOfARule) {
  ControlPlane control;
  ASSERT_TRUE(
      control
          .Submit(Filter()
                      .Rule("filter", "user",
                            {Meta(NFT_META_L4PROTO), Cmp(NFT_CMP_EQ, {6}),
                             Counter(1, 40), Verdict(NF_ACCEPT)})
                      .Build())
          .committed);
  const Bytes expected = {
      0xe8, 0, 0, 0, 0x06, 0x0a, 0x02, 0x08, 0x07, 0, 0, 0, 0, 0, 0, 0, 0x02, 0,
      0, 0x02, 0x0b, 0, 0x01, 0, 'f', 'i', 'l', 't', 'e', 'r', 0, 0, 0x09, 0,
      0x02, 0, 'u', 's', 'e', 'r', 0, 0, 0, 0, 0x0c, 0, 0x03, 0, 0, 0, 0, 0, 0,
      0, 0, 0x03, 0xb0, 0, 0x04, 0,
      // meta load l4proto => reg 1
      0x24, 0, 0x01, 0, 0x09, 0, 0x01, 0, 'm', 'e', 't', 'a', 0, 0, 0, 0, 0x14,
      0, 0x02, 0, 0x08, 0, 0x02, 0, 0, 0, 0, 0x10, 0x08, 0, 0x01, 0, 0, 0, 0,
      0x01,
      // cmp eq reg 1 0x06
      0x2c, 0, 0x01, 0, 0x08, 0, 0x01, 0, 'c', 'm', 'p', 0, 0x20, 0, 0x02, 0,
      0x08, 0, 0x01, 0, 0, 0, 0, 0x01, 0x08, 0, 0x02, 0, 0, 0, 0, 0, 0x0c, 0,
      0x03, 0, 0x05, 0, 0x01, 0, 0x06, 0, 0, 0,
      // counter pkts 1 bytes 40
      0x2c, 0, 0x01, 0, 0x0c, 0, 0x01, 0, 'c', 'o', 'u', 'n', 't', 'e', 'r', 0,
      0x1c, 0, 0x02, 0, 0x0c, 0, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0x28, 0x0c, 0,
      0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0x01,
      // immediate reg 0 accept
      0x30, 0, 0x01, 0, 0x0e, 0, 0x01, 0, 'i', 'm', 'm', 'e', 'd', 'i', 'a',
      't', 'e', 0, 0, 0, 0x1c, 0, 0x02, 0, 0x08, 0, 0x01, 0, 0, 0, 0, 0, 0x10,
      0, 0x02, 0, 0x0c, 0, 0x02, 0, 0x08, 0, 0x01, 0, 0, 0, 0, 0x01,
      // the rest of a rule: nothing
  };
  Bytes dump = control.Dump(DumpKind::kRules, {.family = 2, .seq = 7});
  ASSERT_EQ(dump.size(), expected.size());
  EXPECT_EQ(dump, expected);
}

TEST(ControlPlaneTest, EveryTruncationIsRefusedAndChangesNothing) {
  const Bytes whole = Everything().Build();
  ControlPlane control;
  ASSERT_TRUE(
      control.Submit(Filter().Rule("filter", "user", {Counter()}).Build())
          .committed);
  const std::vector<Bytes> before = Dumps(control);
  for (size_t size = 0; size < whole.size(); ++size) {
    const BatchResult result = control.Submit(std::span(whole).first(size));
    ASSERT_FALSE(result.committed) << size;
    ASSERT_EQ(Dumps(control), before) << size;
  }
  EXPECT_EQ(control.generation_id(), 2u);
  EXPECT_TRUE(control.Submit(whole).committed);
}

TEST(ControlPlaneTest, EveryLengthThatLiesIsSurvived) {
  const Bytes whole = Everything().Build();
  std::mt19937 random(1);
  for (size_t at = 20; at + 2 <= whole.size(); at += 2) {
    for (const uint16_t value :
         std::vector<uint16_t>{0, 1, 3, 4, 5, 0x7fff, 0xffff}) {
      Bytes bytes = whole;
      bytes[at] = static_cast<uint8_t>(value);
      bytes[at + 1] = static_cast<uint8_t>(value >> 8);
      ControlPlane control;
      const BatchResult result = control.Submit(bytes);
      if (!result.committed) {
        ASSERT_TRUE(control.tables().empty()) << at << " " << value;
      }
    }
  }
}

TEST(ControlPlaneTest, AFailedBatchIsUndoneInFull) {
  ControlPlane control;
  ASSERT_TRUE(control.Submit(Everything().Build()).committed);
  const std::vector<Bytes> before = Dumps(control);
  BatchBuilder bad;
  bad.DeleteRule("filter", "INPUT", 0)
      .DeleteRule("filter", "user", 0)
      .Elements("filter", "ports", 0,
                {{.key = Be16(10)},
                 {.key = Be16(20), .flags = NFT_SET_ELEM_INTERVAL_END}},
                true)
      .Elements("filter", "ports", 0,
                {{.key = Be16(5)},
                 {.key = Be16(30), .flags = NFT_SET_ELEM_INTERVAL_END}})
      .Rule("filter", "user", {Lookup("ports", 0)})  // ENODATA
      .DeleteTable("filter")
      .Table("filter")
      .Chain("filter", "user")
      .Rule("filter", "user", {Counter(5, 5)});
  const BatchResult result = control.Submit(bad.Build());
  EXPECT_FALSE(result.committed);
  EXPECT_THAT(result.answers, ElementsAre(MessageError{5, ENODATA}));
  EXPECT_EQ(Dumps(control), before);
  // And what is there still works.
  EXPECT_TRUE(
      control.Submit(BatchBuilder().DeleteTable("filter").Build()).committed);
  EXPECT_TRUE(control.tables().empty());
}

TEST(ControlPlaneTest, GenerationsGoUpWithCommitsThatChangeSomething) {
  ControlPlane control;
  EXPECT_EQ(control.generation_id(), 1u);
  EXPECT_TRUE(control.Submit(BatchBuilder().Build()).committed);
  EXPECT_EQ(control.generation_id(), 1u);
  EXPECT_TRUE(control.Submit(Filter().Build()).committed);
  EXPECT_EQ(control.generation_id(), 2u);
  EXPECT_EQ(control.Submit(BatchBuilder(2, 1).Table("x").Build()).error(),
            ERESTART);
  EXPECT_EQ(control.Submit(BatchBuilder().Chain("none", "x").Build()).error(),
            ENOENT);
  EXPECT_EQ(control.generation_id(), 2u);
}

TEST(ControlPlaneTest, ProgramsHaveTheKernelsSizes) {
  ControlPlane control;
  ASSERT_TRUE(control.Submit(Filter().Build()).committed);
  // Two chains: 8 (size) + 8 (last head) + 24 (what frees it later) each.
  EXPECT_EQ(control.program_bytes(), 80u);
  ASSERT_TRUE(control
                  .Submit(BatchBuilder()
                              .Rule("filter", "INPUT",
                                    {Payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 4),
                                     Cmp(NFT_CMP_EQ, {192, 0, 2, 1}), Counter(),
                                     Verdict(NF_ACCEPT)})
                              .Build())
                  .committed);
  // 8 + 16 + 24 + 16 + 32.
  EXPECT_EQ(control.program_bytes(), 80u + 96u);
  EXPECT_EQ(control.control_bytes(), 24u + 88u);
}

TEST(ControlPlaneTest, RandomBatchesNeverLeaveHalfAChange) {
  // Random operations over a few names: many fail, and after each batch the
  // dump either is what it was or the batch was taken.
  std::mt19937 random(7);
  const auto pick = [&random](int n) {
    return static_cast<int>(random() % static_cast<unsigned>(n));
  };
  ControlPlane control;
  for (int round = 0; round < 3000; ++round) {
    BatchBuilder batch;
    for (int i = pick(6); i >= 0; --i) {
      const std::string table = pick(2) == 0 ? "t" : "u";
      const std::string chain =
          std::string(1, static_cast<char>('a' + pick(3)));
      const std::string set = pick(2) == 0 ? "s" : "__set%d";
      const auto id = static_cast<uint32_t>(1 + pick(3));
      switch (pick(14)) {
        case 0:
          batch.Table(table);
          break;
        case 1:
          if (pick(6) == 0) batch.DeleteTable(table);
          break;
        case 2:
          batch.Chain(table, chain);
          break;
        case 3:
          batch.BaseChain(table, "base", "filter", NF_INET_LOCAL_IN, 0);
          break;
        case 4:
          batch.DeleteChain(table, chain);
          break;
        case 5:
          batch.Rule(table, chain, {Counter()});
          break;
        case 6:
          batch.Rule(table, "base", {Verdict(kJump, chain)});
          break;
        case 7:
          batch.Rule(table, chain, {Verdict(kJump, "c")});
          break;
        case 8:
          batch.DeleteRule(table, chain, static_cast<uint64_t>(pick(20)));
          break;
        case 9:
          batch.Set(table, set, id,
                    set == "s"
                        ? uint32_t{NFT_SET_MAP}
                        : NFT_SET_ANONYMOUS | NFT_SET_CONSTANT | NFT_SET_MAP,
                    2, NFT_DATA_VERDICT);
          break;
        case 10:
          batch.Elements(table, set, id,
                         {{.key = Be16(static_cast<uint16_t>(pick(5))),
                           .verdict = kJump,
                           .has_verdict = true,
                           .chain = chain}},
                         pick(3) == 0);
          break;
        case 11:
          batch.Rule(table, pick(2) == 0 ? "base" : chain,
                     {Meta(NFT_META_MARK), Lookup(set, id, 1, 0)});
          break;
        case 12:
          batch.DeleteSet(table, "s");
          break;
        case 13:
          batch.RuleAt(table, chain, NLM_F_REPLACE,
                       static_cast<uint64_t>(1 + pick(20)), 0, {Counter(1, 1)});
          break;
      }
    }
    const std::vector<Bytes> before = Dumps(control);
    const uint32_t generation = control.generation_id();
    const BatchResult result =
        control.Submit(pick(10) == 0 ? batch.BuildOpen() : batch.Build());
    if (!result.committed) {
      ASSERT_EQ(Dumps(control), before) << "round " << round;
      ASSERT_EQ(control.generation_id(), generation);
    }
  }
}

}  // namespace
}  // namespace nfarena::vm
