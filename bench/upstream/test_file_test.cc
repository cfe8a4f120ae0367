#include "bench/upstream/test_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nfarena {
namespace {

using ::testing::ElementsAre;

TEST(UpstreamTestsTest, ReadsEveryKindOfLine) {
  const auto lines = ParseUpstreamTests(
      "# a comment\n"
      "\n"
      ":INPUT,FORWARD\n"
      "-p tcp --dport 22;=;OK\n"
      "*mangle\n"
      "-j MARK;;FAIL\n"
      "-j A;-j B;OK;LEGACY;NOMATCH\n"
      "-j C;=;FAIL;NFT\n"
      "@touch x\n"
      "%iptables -N y\n",
      "x.t");
  ASSERT_TRUE(lines) << lines.error().ToString();
  ASSERT_EQ(lines->size(), 6U);
  const UpstreamLine& first = (*lines)[0];
  EXPECT_EQ(first.line, 4U);
  EXPECT_EQ(first.text, "-p tcp --dport 22");
  EXPECT_EQ(first.saved, first.text);
  EXPECT_THAT(first.chains, ElementsAre("INPUT", "FORWARD"));
  EXPECT_EQ(first.table, "");
  EXPECT_EQ((*lines)[1].table, "mangle");
  EXPECT_EQ((*lines)[1].nft, UpstreamResult::kFail);
  EXPECT_EQ((*lines)[2].saved, "-j B");
  EXPECT_EQ((*lines)[2].legacy, UpstreamResult::kOk);
  EXPECT_EQ((*lines)[2].nft, UpstreamResult::kNoMatch);
  EXPECT_EQ((*lines)[3].legacy, UpstreamResult::kOk);
  EXPECT_EQ((*lines)[3].nft, UpstreamResult::kFail);
  EXPECT_EQ((*lines)[4].kind, UpstreamLine::Kind::kShell);
  EXPECT_EQ((*lines)[5].text, "iptables -N y");
}

TEST(UpstreamTestsTest, RefusesWithTheLine) {
  for (const char* text :
       {":INPUT\n-j X;=\n", "\n-j X;=;OK\n", ":INPUT\n-j X;=;MAYBE\n",
        ":INPUT\n-j X;=;OK;OTHER\n"}) {
    const auto lines = ParseUpstreamTests(text, "x.t");
    ASSERT_FALSE(lines) << text;
    EXPECT_EQ(lines.error().place.line, 2U) << text;
    EXPECT_EQ(lines.error().place.file, "x.t");
  }
}

TEST(SplitShellWordsTest, CutsAsAShellDoes) {
  const auto words =
      SplitShellWords(R"(a  'b c' "d \"e\" \f" g\ h "" i'j'"k")");
  ASSERT_TRUE(words);
  EXPECT_THAT(*words, ElementsAre("a", "b c", R"(d "e" \f)", "g h", "", "ijk"));
  EXPECT_FALSE(SplitShellWords("'a"));
  EXPECT_FALSE(SplitShellWords("a \"b"));
}

}  // namespace
}  // namespace nfarena
