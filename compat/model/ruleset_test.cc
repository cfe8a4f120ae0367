#include "compat/model/ruleset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace nfarena {
namespace {

TEST(Tables, NamesAndHooks) {
  for (size_t i = 0; i < kTableKindCount; ++i) {
    const auto kind = static_cast<TableKind>(i);
    EXPECT_EQ(TableKindFromName(TableName(kind)), kind);
    const Table table = EmptyTable(kind);
    ASSERT_EQ(table.chains.size(), TableHooks(kind).size());
    for (size_t c = 0; c < table.chains.size(); ++c) {
      EXPECT_EQ(table.chains[c].hook, TableHooks(kind)[c]);
      EXPECT_EQ(table.chains[c].name, HookChainName(TableHooks(kind)[c]));
      EXPECT_EQ(table.chains[c].policy, Policy::kAccept);
    }
  }
  EXPECT_EQ(TableKindFromName("Filter"), std::nullopt);
  EXPECT_EQ(TableKindFromName(""), std::nullopt);
}

TEST(Table, ChainsAreSortedAndFound) {
  Table table = EmptyTable(TableKind::kFilter);
  // strcmp order: upper case before lower case, "-" before letters.
  for (const char* name : {"b", "a", "B", "a-b", "ab", "FORWARD2"}) {
    ASSERT_TRUE(table.AddChain(name));
  }
  std::string names;
  for (const Chain& chain : table.chains) names += chain.name + " ";
  EXPECT_EQ(names, "INPUT FORWARD OUTPUT B FORWARD2 a a-b ab b ");
  for (size_t i = 0; i < table.chains.size(); ++i) {
    EXPECT_EQ(table.FindChain(table.chains[i].name), i);
  }
  EXPECT_EQ(table.FindChain("c"), std::nullopt);
  EXPECT_EQ(table.FindChain(""), std::nullopt);
  EXPECT_EQ(table.chain("c"), nullptr);
  EXPECT_EQ(table.chain("ab")->name, "ab");
}

TEST(Table, RefusesChains) {
  Table table = EmptyTable(TableKind::kFilter);
  for (const char* name : {"INPUT", "ACCEPT", "DROP", "QUEUE", "RETURN"}) {
    const auto added = table.AddChain(name);
    ASSERT_FALSE(added) << name;
    EXPECT_EQ(added.error().code, ErrorCode::kConflict);
  }
  EXPECT_TRUE(table.AddChain("PREROUTING"));  // no hook of this table
  EXPECT_FALSE(table.AddChain("PREROUTING"));
}

InterfaceTest Interface(const char* name, size_t tested) {
  InterfaceTest test;
  std::memcpy(test.name.data(), name, std::strlen(name));
  std::memset(test.mask.data(), 0xff, tested);
  return test;
}

TEST(InterfaceTest, AsTyped) {
  EXPECT_EQ(Interface("eth0", 5).ToString(), "eth0");
  EXPECT_EQ(Interface("eth+", 3).ToString(), "eth+");
  EXPECT_EQ(Interface("", 0).ToString(), "");
  EXPECT_TRUE(Interface("", 0).any());
  EXPECT_EQ(Interface("abcdefghijklmno", 16).ToString(), "abcdefghijklmno");
}

TEST(Extension, ComparesTheUsersPart) {
  const Extension a{.name = "limit", .payload = {1, 2, 3, 4}, .user_size = 2};
  Extension b = a;
  b.payload[3] = 9;
  b.column = 7;
  EXPECT_EQ(a, b);
  b.payload[1] = 9;
  EXPECT_NE(a, b);
  b = a;
  b.revision = 1;
  EXPECT_NE(a, b);
  b = a;
  b.name = "Limit";
  EXPECT_NE(a, b);
  b = a;
  b.payload.resize(1);
  EXPECT_NE(a, b);
}

TEST(Rule, PlaceAndCountersAreNoMeaning) {
  Rule a;
  a.target.kind = TargetKind::kJump;
  a.target.chain = "x";
  Rule b = a;
  b.line = 5;
  b.counters = {1, 2};
  b.target.column = 3;
  EXPECT_TRUE(a.SameAs(b));
  b.target.chain = "y";
  EXPECT_FALSE(a.SameAs(b));
  b = a;
  b.target.kind = TargetKind::kGoto;
  EXPECT_FALSE(a.SameAs(b));
  b = a;
  b.matches.push_back({.name = "tcp"});
  EXPECT_FALSE(a.SameAs(b));
  b = a;
  b.selector.inverted = kInvertSrc;
  EXPECT_FALSE(a.SameAs(b));
}

TEST(Ruleset, SameRulesInAnyOrderOfTables) {
  Ruleset a;
  a.EnsureTable(TableKind::kNat).chains[0].rules.emplace_back();
  a.EnsureTable(TableKind::kFilter);
  Ruleset b;
  b.EnsureTable(TableKind::kFilter);
  EXPECT_FALSE(SameRules(a, b));
  b.EnsureTable(TableKind::kNat);
  EXPECT_FALSE(SameRules(a, b));
  b.table(TableKind::kNat)->chains[0].rules.emplace_back();
  EXPECT_TRUE(SameRules(a, b));
  b.table(TableKind::kFilter)->chains[0].policy = Policy::kDrop;
  EXPECT_FALSE(SameRules(a, b));
  b = a;
  b.family = Family::kIpv6;
  EXPECT_FALSE(SameRules(a, b));
  EXPECT_EQ(a.rules_count(), 1u);
}

TEST(RuleRefName, Forms) {
  Ruleset ruleset;
  ASSERT_TRUE(ruleset.EnsureTable(TableKind::kFilter).AddChain("user"));
  EXPECT_EQ(RuleRefName(ruleset, {TableKind::kFilter, 0, 3}), "filter/INPUT/3");
  EXPECT_EQ(RuleRefName(ruleset, {TableKind::kFilter, 2, 0}),
            "filter/OUTPUT/policy");
  EXPECT_EQ(RuleRefName(ruleset, {TableKind::kFilter, 3, 0}),
            "filter/user/end");
  EXPECT_EQ(RuleRefName(ruleset, {TableKind::kNat, 1, 2}), "nat/#1/2");
  EXPECT_EQ(RuleRefName(ruleset, {TableKind::kNat, 0, 0}), "none");
}

TEST(Error, Text) {
  const Error error{.code = ErrorCode::kSyntax,
                    .message = "bad",
                    .place = {.file = "f", .line = 3, .column = 5, .text = "x"},
                    .errno_value = 2};
  EXPECT_EQ(error.ToString(),
            "f:3:5: error: bad [x]: No such file or directory");
  EXPECT_EQ((Error{.message = "bad"}).ToString(), "error: bad");
}

}  // namespace
}  // namespace nfarena
