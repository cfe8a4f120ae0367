#include "compat/model/delta.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace nfarena {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A rule that its mark tells apart: the protocol number.
Rule Numbered(uint16_t number) {
  Rule rule;
  rule.selector.protocol = number;
  rule.counters = {number, number};
  return rule;
}

Rule JumpTo(std::string chain, TargetKind kind = TargetKind::kJump) {
  Rule rule;
  rule.target.kind = kind;
  rule.target.chain = std::move(chain);
  return rule;
}

// INPUT: 1 2 3; user chains "a" (jumped to from INPUT's 4th rule) and "b".
Ruleset Sample() {
  Ruleset ruleset;
  Table& table = ruleset.EnsureTable(TableKind::kFilter);
  EXPECT_TRUE(table.AddChain("b"));
  EXPECT_TRUE(table.AddChain("a"));
  table.chain("INPUT")->rules = {Numbered(1), Numbered(2), Numbered(3),
                                 JumpTo("a")};
  table.chain("a")->rules = {Numbered(9)};
  return ruleset;
}

std::vector<int> Numbers(const Ruleset& ruleset, const char* chain) {
  std::vector<int> numbers;
  for (const Rule& rule :
       ruleset.table(TableKind::kFilter)->chain(chain)->rules) {
    numbers.push_back(rule.selector.protocol);
  }
  return numbers;
}

std::vector<std::string> ChainNames(const Ruleset& ruleset) {
  std::vector<std::string> names;
  for (const Chain& chain : ruleset.table(TableKind::kFilter)->chains) {
    names.push_back(chain.name);
  }
  return names;
}

Change Make(ChangeKind kind, std::string chain, uint32_t rulenum = 0,
            Rule rule = {}) {
  return {.kind = kind,
          .chain = std::move(chain),
          .rulenum = rulenum,
          .rule = std::move(rule)};
}

TEST(ApplyChange, AddsRules) {
  Ruleset r = Sample();
  ASSERT_TRUE(
      ApplyChange(Make(ChangeKind::kAppend, "INPUT", 0, Numbered(7)), &r));
  ASSERT_TRUE(
      ApplyChange(Make(ChangeKind::kInsert, "INPUT", 1, Numbered(8)), &r));
  ASSERT_TRUE(
      ApplyChange(Make(ChangeKind::kInsert, "INPUT", 7, Numbered(10)), &r));
  EXPECT_THAT(Numbers(r, "INPUT"), ElementsAre(8, 1, 2, 3, 0, 7, 10));
}

TEST(ApplyChange, ReplacesAndDeletesRules) {
  Ruleset r = Sample();
  ASSERT_TRUE(
      ApplyChange(Make(ChangeKind::kReplace, "INPUT", 2, Numbered(7)), &r));
  EXPECT_THAT(Numbers(r, "INPUT"), ElementsAre(1, 7, 3, 0));
  ASSERT_TRUE(ApplyChange(Make(ChangeKind::kDeleteIndex, "INPUT", 1), &r));
  ASSERT_TRUE(
      ApplyChange(Make(ChangeKind::kDeleteRule, "INPUT", 0, Numbered(3)), &r));
  EXPECT_THAT(Numbers(r, "INPUT"), ElementsAre(7, 0));
}

TEST(ApplyChange, DeletesTheFirstOfEqualRules) {
  Ruleset r = Sample();
  r.table(TableKind::kFilter)->chain("INPUT")->rules = {
      Numbered(1), Numbered(2), Numbered(1)};
  ASSERT_TRUE(
      ApplyChange(Make(ChangeKind::kDeleteRule, "INPUT", 0, Numbered(1)), &r));
  EXPECT_THAT(Numbers(r, "INPUT"), ElementsAre(2, 1));
}

TEST(ApplyChange, Chains) {
  Ruleset r = Sample();
  ASSERT_TRUE(ApplyChange(Make(ChangeKind::kNewChain, "aa"), &r));
  EXPECT_THAT(ChainNames(r),
              ElementsAre("INPUT", "FORWARD", "OUTPUT", "a", "aa", "b"));
  ASSERT_TRUE(ApplyChange(Make(ChangeKind::kDeleteChain, "aa"), &r));
  Change rename = Make(ChangeKind::kRenameChain, "a");
  rename.rename_to = "z";
  ASSERT_TRUE(ApplyChange(rename, &r));
  EXPECT_THAT(ChainNames(r),
              ElementsAre("INPUT", "FORWARD", "OUTPUT", "b", "z"));
  EXPECT_EQ(r.table(TableKind::kFilter)->chain("INPUT")->rules[3].target.chain,
            "z");
  EXPECT_THAT(Numbers(r, "z"), ElementsAre(9));
  ASSERT_TRUE(ApplyChange(Make(ChangeKind::kFlush, ""), &r));
  EXPECT_EQ(r.rules_count(), 0u);
  ASSERT_TRUE(ApplyChange(Make(ChangeKind::kDeleteChain, ""), &r));
  EXPECT_THAT(ChainNames(r), ElementsAre("INPUT", "FORWARD", "OUTPUT"));
}

TEST(ApplyChange, PolicyAndCounters) {
  Ruleset r = Sample();
  Change policy = Make(ChangeKind::kPolicy, "OUTPUT");
  policy.policy = Policy::kDrop;
  policy.counters = {5, 6};
  ASSERT_TRUE(ApplyChange(policy, &r));
  const Table& table = *r.table(TableKind::kFilter);
  EXPECT_EQ(table.chain("OUTPUT")->policy, Policy::kDrop);
  EXPECT_EQ(table.chain("OUTPUT")->counters, (Counters{5, 6}));
  ASSERT_TRUE(ApplyChange(Make(ChangeKind::kZero, "INPUT", 2), &r));
  EXPECT_EQ(table.chain("INPUT")->rules[0].counters, (Counters{1, 1}));
  EXPECT_EQ(table.chain("INPUT")->rules[1].counters, Counters{});
  ASSERT_TRUE(ApplyChange(Make(ChangeKind::kZero, "INPUT"), &r));
  EXPECT_EQ(table.chain("INPUT")->rules[0].counters, Counters{});
  EXPECT_EQ(table.chain("a")->rules[0].counters, (Counters{9, 9}));
  ASSERT_TRUE(ApplyChange(Make(ChangeKind::kZero, ""), &r));
  EXPECT_EQ(table.chain("a")->rules[0].counters, Counters{});
  EXPECT_EQ(table.chain("OUTPUT")->counters, Counters{});
}

struct BadChange {
  const char* name;
  Change change;
  ErrorCode code;
  const char* message;
};

std::vector<BadChange> BadChanges() {
  using enum ErrorCode;
  using enum ChangeKind;
  Change rename_to_existing = Make(kRenameChain, "a");
  rename_to_existing.rename_to = "b";
  Change rename_builtin = Make(kRenameChain, "INPUT");
  rename_builtin.rename_to = "x";
  Change rename_missing = Make(kRenameChain, "x");
  rename_missing.rename_to = "y";
  Change rename_long = Make(kRenameChain, "a");
  rename_long.rename_to = std::string(29, 'x');
  return {
      {"append_nowhere", Make(kAppend, "x"), kConflict, "no chain 'x'"},
      {"append_jump_nowhere", Make(kAppend, "INPUT", 0, JumpTo("x")), kConflict,
       "no such chain"},
      {"append_goto_builtin",
       Make(kAppend, "INPUT", 0, JumpTo("OUTPUT", TargetKind::kGoto)),
       kConflict, "built-in"},
      {"insert_zero", Make(kInsert, "INPUT", 0), kRange, "too big"},
      {"insert_far", Make(kInsert, "INPUT", 6), kRange, "4 rules"},
      {"replace_zero", Make(kReplace, "INPUT", 0), kRange, "too big"},
      {"replace_far", Make(kReplace, "INPUT", 5), kRange, "too big"},
      {"replace_jump", Make(kReplace, "INPUT", 1, JumpTo("x")), kConflict,
       "no such chain"},
      {"delete_far", Make(kDeleteIndex, "INPUT", 5), kRange, "too big"},
      {"delete_zero", Make(kDeleteIndex, "INPUT", 0), kRange, "too big"},
      {"delete_missing", Make(kDeleteRule, "INPUT", 0, Numbered(77)), kConflict,
       "no such rule"},
      {"delete_nowhere", Make(kDeleteRule, "x"), kConflict, "no chain"},
      {"flush_nowhere", Make(kFlush, "x"), kConflict, "no chain"},
      {"new_existing", Make(kNewChain, "a"), kConflict, "already exists"},
      {"new_builtin", Make(kNewChain, "INPUT"), kConflict, "already exists"},
      {"new_reserved", Make(kNewChain, "ACCEPT"), kConflict, "standard target"},
      {"new_empty", Make(kNewChain, ""), kRange, "1 to 28"},
      {"new_long", Make(kNewChain, std::string(29, 'x')), kRange, "1 to 28"},
      {"drop_builtin", Make(kDeleteChain, "INPUT"), kConflict, "built in"},
      {"drop_full", Make(kDeleteChain, "a"), kConflict, "not empty"},
      {"drop_all", Make(kDeleteChain, ""), kConflict, "not empty"},
      {"drop_nowhere", Make(kDeleteChain, "x"), kConflict, "no chain"},
      {"rename_existing", rename_to_existing, kConflict, "already exists"},
      {"rename_builtin", rename_builtin, kConflict, "built in"},
      {"rename_missing", rename_missing, kConflict, "no chain"},
      {"rename_long", rename_long, kRange, "1 to 28"},
      {"policy_user", Make(kPolicy, "a"), kConflict, "no policy"},
      {"policy_nowhere", Make(kPolicy, "x"), kConflict, "no chain"},
      {"zero_nowhere", Make(kZero, "x"), kConflict, "no chain"},
      {"zero_far", Make(kZero, "INPUT", 5), kRange, "too big"},
  };
}

TEST(ApplyChange, RefusesAndChangesNothing) {
  for (const BadChange& bad : BadChanges()) {
    Ruleset r = Sample();
    const Status status = ApplyChange(bad.change, &r);
    ASSERT_FALSE(status) << bad.name;
    EXPECT_EQ(status.error().code, bad.code) << bad.name;
    EXPECT_THAT(status.error().message, HasSubstr(bad.message)) << bad.name;
    EXPECT_TRUE(SameRules(r, Sample())) << bad.name;
  }
}

TEST(ApplyChange, ReferencedChainIsKept) {
  Ruleset r = Sample();
  r.table(TableKind::kFilter)->chain("a")->rules.clear();
  const Status status = ApplyChange(Make(ChangeKind::kDeleteChain, "a"), &r);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("referenced"));
}

// Every kind of change, then one that fails: all is as before, counters and
// order of chains included.
TEST(ApplyDelta, AllOrNothing) {
  using enum ChangeKind;
  Change rename = Make(kRenameChain, "a");
  rename.rename_to = "zz";
  Change policy = Make(kPolicy, "INPUT");
  policy.policy = Policy::kDrop;
  const Delta good = {
      Make(kAppend, "INPUT", 0, Numbered(20)),
      Make(kInsert, "INPUT", 2, Numbered(21)),
      Make(kReplace, "INPUT", 1, Numbered(22)),
      Make(kDeleteIndex, "INPUT", 3),
      Make(kDeleteRule, "INPUT", 0, Numbered(3)),
      Make(kNewChain, "new"),
      Make(kAppend, "new", 0, JumpTo("b")),
      rename,
      policy,
      Make(kZero, "INPUT"),
      Make(kZero, "zz", 1),
      Make(kZero, ""),
      Make(kFlush, "new"),
      Make(kDeleteChain, "new"),
      Make(kFlush, ""),
      Make(kDeleteChain, ""),
      Make(kNewChain, "after"),
  };
  Ruleset applied = Sample();
  ASSERT_TRUE(ApplyDelta(good, &applied));
  EXPECT_THAT(ChainNames(applied),
              ElementsAre("INPUT", "FORWARD", "OUTPUT", "after"));

  for (size_t length = 0; length <= good.size(); ++length) {
    Delta delta(good.begin(), good.begin() + static_cast<ptrdiff_t>(length));
    Change other_table = Make(kAppend, "OUTPUT", 0, Numbered(1));
    other_table.table = TableKind::kMangle;
    delta.push_back(other_table);
    delta.push_back(Make(kAppend, "nowhere"));
    Ruleset r = Sample();
    ASSERT_FALSE(ApplyDelta(delta, &r));
    EXPECT_TRUE(SameRules(r, Sample())) << length;
    EXPECT_EQ(ChainNames(r), ChainNames(Sample())) << length;
    const Table& table = *r.table(TableKind::kFilter);
    EXPECT_EQ(table.chain("INPUT")->policy, Policy::kAccept);
    for (uint64_t i = 0; i < 3; ++i) {
      EXPECT_EQ(table.chain("INPUT")->rules[i].counters,
                (Counters{i + 1, i + 1}))
          << length;
    }
    EXPECT_EQ(table.chain("a")->rules[0].counters, (Counters{9, 9})) << length;
  }
}

TEST(ApplyDelta, FailureLeavesNoNewTable) {
  Ruleset empty;
  EXPECT_FALSE(ApplyDelta({Make(ChangeKind::kAppend, "x")}, &empty));
  EXPECT_TRUE(empty.tables.empty());
  EXPECT_TRUE(ApplyDelta({}, &empty));
  EXPECT_TRUE(empty.tables.empty());
}

}  // namespace
}  // namespace nfarena
