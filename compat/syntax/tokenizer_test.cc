#include "compat/syntax/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace nfarena {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Cut {
  std::vector<std::string> words;
  std::vector<uint32_t> columns;
};

Cut Split(std::string_view line, size_t start = 0) {
  Words words;
  Cut cut;
  const Status status = words.Split(line, start);
  EXPECT_TRUE(status) << status.error().ToString();
  for (int i = 1; i < words.count(); ++i) {
    cut.words.emplace_back(words.word(i));
    cut.columns.push_back(words.column(i));
    EXPECT_EQ(words.argv()[i][words.size(i)], '\0');
  }
  EXPECT_EQ(words.argv()[words.count()], nullptr);
  return cut;
}

TEST(Words, CutsAtBlanksAndTabs) {
  const Cut cut = Split("-A INPUT\t -j  DROP ");
  EXPECT_THAT(cut.words, ElementsAre("-A", "INPUT", "-j", "DROP"));
  EXPECT_THAT(cut.columns, ElementsAre(1, 4, 11, 15));
}

TEST(Words, StartsWhereTold) {
  const Cut cut = Split("[1:2] -A X", 5);
  EXPECT_THAT(cut.words, ElementsAre("-A", "X"));
  EXPECT_THAT(cut.columns, ElementsAre(7, 10));
}

TEST(Words, Quotes) {
  EXPECT_THAT(Split(R"("a b" c)").words, ElementsAre("a b", "c"));
  EXPECT_THAT(Split(R"("say \"hi\"" x)").words,
              ElementsAre(R"(say "hi")", "x"));
  EXPECT_THAT(Split(R"("back\\slash")").words, ElementsAre(R"(back\slash)"));
  EXPECT_THAT(Split(R"(out\side)").words, ElementsAre(R"(out\side)"));
}

// A closing quote ends a word, as in iptables-restore.
TEST(Words, QuoteEndsWord) {
  EXPECT_THAT(Split(R"(a"b c"d)").words, ElementsAre("ab c", "d"));
  EXPECT_THAT(Split(R"(--comment "" -j X)").words,
              ElementsAre("--comment", "", "-j", "X"));
}

TEST(Words, EmptyLine) {
  EXPECT_TRUE(Split("").words.empty());
  EXPECT_TRUE(Split(" \t ").words.empty());
}

TEST(Words, IsReusable) {
  Words words;
  ASSERT_TRUE(words.Split("a b c d", 0));
  ASSERT_TRUE(words.Split("x", 0));
  EXPECT_EQ(words.count(), 2);
  EXPECT_EQ(words.argv()[2], nullptr);
}

TEST(Words, RefusesOpenQuote) {
  Words words;
  for (const char* line : {"ab \"cd", "ab \"cd\\", "ab \"cd\\\""}) {
    const Status status = words.Split(line, 0);
    ASSERT_FALSE(status) << line;
    EXPECT_EQ(status.error().code, ErrorCode::kSyntax);
    EXPECT_EQ(status.error().place.column, 4u) << line;
  }
}

TEST(Words, LimitsOfRestore) {
  Words words;
  EXPECT_TRUE(words.Split(std::string(kMaxWordSize, 'x'), 0));
  const Status long_word =
      words.Split("-m " + std::string(kMaxWordSize + 1, 'x'), 0);
  ASSERT_FALSE(long_word);
  EXPECT_EQ(long_word.error().code, ErrorCode::kRange);
  EXPECT_EQ(long_word.error().place.column, 4u);

  std::string many;
  for (size_t i = 0; i < kMaxWords; ++i) many += "x ";
  EXPECT_TRUE(words.Split(many, 0));
  EXPECT_EQ(words.count(), static_cast<int>(kMaxWords) + 1);
  const Status too_many = words.Split(many + "y", 0);
  ASSERT_FALSE(too_many);
  EXPECT_THAT(too_many.error().message, HasSubstr("words"));
  EXPECT_EQ(too_many.error().place.column, 2 * kMaxWords + 1);
}

}  // namespace
}  // namespace nfarena
