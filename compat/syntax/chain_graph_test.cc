#include "compat/syntax/chain_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace nfarena {
namespace {

using ::testing::HasSubstr;

Rule Jump(std::string to, uint32_t line) {
  Rule rule;
  rule.target.kind = TargetKind::kJump;
  rule.target.chain = std::move(to);
  rule.target.column = 10;
  rule.line = line;
  return rule;
}

Rule Verdict(TargetKind kind) {
  Rule rule;
  rule.target.kind = kind;
  return rule;
}

Table FilterWith(const std::vector<std::string>& chains) {
  Table table = EmptyTable(TableKind::kFilter);
  for (const std::string& name : chains) EXPECT_TRUE(table.AddChain(name));
  return table;
}

TEST(CheckLoops, TreeIsFine) {
  Table table = FilterWith({"a", "b", "c"});
  table.chain("INPUT")->rules = {Jump("a", 1), Jump("b", 2)};
  table.chain("a")->rules = {Jump("c", 3)};
  table.chain("b")->rules = {Jump("c", 4), Jump("c", 5)};
  EXPECT_TRUE(CheckLoops(table));
}

TEST(CheckLoops, NamesTheLoop) {
  Table table = FilterWith({"a", "b", "c"});
  table.chain("INPUT")->rules = {Jump("a", 1)};
  table.chain("a")->rules = {Jump("b", 2)};
  table.chain("b")->rules = {Jump("c", 3)};
  table.chain("c")->rules = {Jump("b", 4)};
  const Status status = CheckLoops(table);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kConflict);
  EXPECT_THAT(status.error().message, HasSubstr("b -> c -> b"));
  EXPECT_EQ(status.error().place.line, 4u);
  EXPECT_EQ(status.error().place.column, 10u);
}

TEST(CheckLoops, ChainThatJumpsToItself) {
  Table table = FilterWith({"a"});
  table.chain("FORWARD")->rules = {Jump("a", 1)};
  table.chain("a")->rules = {Jump("a", 2)};
  const Status status = CheckLoops(table);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("a -> a"));
}

// The kernel walks from its hooks only, and not past what always decides.
TEST(CheckLoops, UnreachableLoopIsFine) {
  Table table = FilterWith({"a", "b"});
  table.chain("a")->rules = {Jump("b", 1)};
  table.chain("b")->rules = {Jump("a", 2)};
  EXPECT_TRUE(CheckLoops(table));
  table.chain("INPUT")->rules = {Verdict(TargetKind::kAccept), Jump("a", 3)};
  EXPECT_TRUE(CheckLoops(table));
  Rule conditional = Verdict(TargetKind::kAccept);
  conditional.selector.protocol = 6;
  table.chain("INPUT")->rules = {conditional, Jump("a", 3)};
  EXPECT_FALSE(CheckLoops(table));
}

TEST(CheckLoops, DeepChainsNeedNoStack) {
  constexpr int kDepth = 100000;
  Table table = EmptyTable(TableKind::kFilter);
  for (int i = 0; i < kDepth; ++i) {
    // Names sort as numbers do.
    table.chains.push_back(Chain{.name = "c" + std::to_string(100000 + i)});
  }
  table.chains[0].rules.push_back(Jump("c100000", 1));
  for (int i = 0; i + 1 < kDepth; ++i) {
    table.chains[3 + i].rules.push_back(
        Jump("c" + std::to_string(100001 + i), 2));
  }
  EXPECT_TRUE(CheckLoops(table));
  table.chains.back().rules.push_back(Jump("c100000", 7));
  EXPECT_FALSE(CheckLoops(table));
}

}  // namespace
}  // namespace nfarena
