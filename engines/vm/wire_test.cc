#include "engines/vm/wire.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <string>
#include <vector>

#include "engines/vm/attribute.h"
#include "engines/vm/testing/batch_builder.h"

namespace nfarena::vm {
namespace {

TEST(BatchTest, ReadsTheFrame) {
  const Bytes bytes = BatchBuilder(2, 9).Table("filter").Build();
  const Batch batch = DecodeBatch(bytes);
  EXPECT_FALSE(batch.ignored);
  EXPECT_EQ(batch.error, 0);
  EXPECT_EQ(batch.genid, 9u);
  EXPECT_EQ(batch.end, BatchEnd::kCommit);
  ASSERT_EQ(batch.messages.size(), 1u);
  EXPECT_EQ(batch.messages[0].type, NFT_MSG_NEWTABLE);
  EXPECT_EQ(batch.messages[0].family, 2);
  EXPECT_EQ(batch.messages[0].seq, 1u);
  EXPECT_EQ(batch.messages[0].error, 0);
  EXPECT_EQ(batch.end_seq, 2u);
}

TEST(BatchTest, GoldenBytesOfATable) {
  const Bytes bytes = BatchBuilder().Table("t").BuildOpen();
  const Bytes expected = {
      0x14, 0, 0, 0,  0x10, 0,  1, 0, 0, 0, 0, 0, 0, 0, 0, 0,  // BATCH_BEGIN
      0,    0, 0, 10,                                          // nf_tables
      0x24, 0, 0, 0,  0,    10, 1, 4, 1, 0, 0, 0, 0, 0, 0, 0,  // NEWTABLE
      2,    0, 0, 0,                                           // ip
      6,    0, 1, 0,  't',  0,  0, 0,                          // its name
      8,    0, 2, 0,  0,    0,  0, 0,                          // its flags
  };
  EXPECT_EQ(bytes, expected);
}

TEST(BatchTest, TellsAnOpenBatchFromABrokenOne) {
  const Bytes whole =
      BatchBuilder().Table("filter").Chain("filter", "x").Build();
  const Bytes open =
      BatchBuilder().Table("filter").Chain("filter", "x").BuildOpen();
  EXPECT_EQ(DecodeBatch(open).end, BatchEnd::kValidate);
  for (size_t size = 0; size < whole.size(); ++size) {
    const Batch batch = DecodeBatch(std::span(whole).first(size));
    if (batch.ignored) {
      EXPECT_LT(size, 20u) << "the first header was there";
      continue;
    }
    EXPECT_NE(batch.end, BatchEnd::kCommit) << size;
    EXPECT_LE(batch.messages.size(), 2u);
  }
}

TEST(BatchTest, ErrorsOfSingleMessages) {
  Bytes bytes = BatchBuilder().Table("a").Table("b").Build();
  // The first message loses NLM_F_REQUEST, the second its subsystem.
  bytes[20 + 6] = 0;
  bytes[20 + 36 + 5] = 1;
  const Batch batch = DecodeBatch(bytes);
  ASSERT_EQ(batch.messages.size(), 2u);
  EXPECT_EQ(batch.messages[0].error, EINVAL);
  EXPECT_EQ(batch.messages[1].error, EINVAL);
}

TEST(BatchTest, OtherSubsystemsAndNoBatch) {
  Bytes bytes = BatchBuilder().Table("a").Build();
  bytes[19] = 1;  // conntrack
  EXPECT_EQ(DecodeBatch(bytes).error, EOPNOTSUPP);
  bytes[18] = 10;  // an old nft wrote 10 in host order
  bytes[19] = 0;
  EXPECT_EQ(DecodeBatch(bytes).error, 0);
  bytes[18] = 0;
  bytes[19] = 200;
  EXPECT_EQ(DecodeBatch(bytes).error, EINVAL);
  bytes[4] = 0x12;
  EXPECT_TRUE(DecodeBatch(bytes).ignored);
}

struct AttributeCase {
  AttributeRule rule;
  Bytes payload;
  Errno error;
};

TEST(AttributeTest, PoliciesCheckLengthsAndValues) {
  const std::vector<AttributeCase> cases = {
      {{1, AttributeKind::kU8}, {}, ERANGE},
      {{1, AttributeKind::kU8}, {1}, 0},
      {{1, AttributeKind::kU16}, {1}, ERANGE},
      {{1, AttributeKind::kU16}, {1, 2}, 0},
      {{1, AttributeKind::kU32}, {1, 2, 3}, ERANGE},
      {{1, AttributeKind::kU32}, {1, 2, 3, 4, 5}, 0},
      {{1, AttributeKind::kU64}, {1, 2, 3, 4, 5, 6, 7}, ERANGE},
      {{1, AttributeKind::kMax32, 255}, {0, 0, 0, 255}, 0},
      {{1, AttributeKind::kMax32, 255}, {0, 0, 1, 0}, ERANGE},
      {{1, AttributeKind::kMask32, 3}, {0, 0, 0, 2}, 0},
      {{1, AttributeKind::kMask32, 3}, {0, 0, 0, 4}, EINVAL},
      {{1, AttributeKind::kString, 3}, {}, ERANGE},
      {{1, AttributeKind::kString, 3}, {'a', 'b', 'c'}, 0},
      {{1, AttributeKind::kString, 3}, {'a', 'b', 'c', 0}, 0},
      {{1, AttributeKind::kString, 3}, {'a', 'b', 'c', 'd'}, ERANGE},
      {{1, AttributeKind::kNulString, 3}, {'a', 'b', 'c'}, EINVAL},
      {{1, AttributeKind::kNulString, 3}, {'a', 'b', 0}, 0},
      {{1, AttributeKind::kBinary, 2}, {1, 2}, 0},
      {{1, AttributeKind::kBinary, 2}, {1, 2, 3}, ERANGE},
      {{1, AttributeKind::kNested}, {}, 0},
      {{1, AttributeKind::kNested}, {1, 2}, ERANGE},
      {{1, AttributeKind::kExprList}, {8, 0, 1, 0, 1, 2, 3, 4}, 0},
      {{1, AttributeKind::kExprList}, {6, 0, 1, 0, 1, 2, 0, 0}, ERANGE},
      {{1, AttributeKind::kIgnored}, {}, 0},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    const AttributePolicy policy{1, {cases[i].rule}};
    Bytes bytes;
    MessageWriter(&bytes).Put(1, cases[i].payload);
    AttributeTable table;
    EXPECT_EQ(ParseAttributes(bytes, policy, &table), cases[i].error)
        << "case " << i;
  }
}

TEST(AttributeTest, IgnoresWhatItDoesNotKnowAndTheRest) {
  Bytes bytes;
  MessageWriter writer(&bytes);
  writer.PutBe32(2, 5);
  writer.PutBe32(1, 6);
  writer.PutBe32(1, 7);   // the last of equal ones counts
  writer.PutBe32(30, 8);  // unknown type
  bytes.push_back(9);     // no room for a header
  const AttributePolicy policy{
      2, {{1, AttributeKind::kU32, 0}, {2, AttributeKind::kU32, 0}}};
  AttributeTable table;
  ASSERT_EQ(ParseAttributes(bytes, policy, &table), 0);
  EXPECT_EQ(table[1].Be32(), 7u);
  EXPECT_EQ(table[2].Be32(), 5u);
  EXPECT_FALSE(table[3]);
}

TEST(AttributeTest, AHeaderThatLiesEndsTheWalk) {
  for (const Bytes& bytes :
       {Bytes{3, 0, 1, 0}, Bytes{0, 0, 1, 0}, Bytes{9, 0, 1, 0, 0, 0, 0, 0}}) {
    std::span<const uint8_t> rest(bytes);
    Attribute attribute;
    EXPECT_FALSE(NextAttribute(&rest, &attribute));
  }
}

}  // namespace
}  // namespace nfarena::vm
