#include "corpus/corpus.h"

#include <gtest/gtest.h>

namespace nfarena {
namespace {

constexpr std::string_view kEntry =
    "# id: test/one\n"
    "# description: one rule\n"
    "# origin: written by hand\n"
    "# licence: CC0-1.0\n"
    "# family: ipv6\n"
    "# requires: ipset\n"
    "\n"
    "--- ruleset\n"
    "*filter\n"
    "COMMIT\n"
    "--- packets\n"
    "IN=eth0\n"
    "--- expect\n"
    "# why\n"
    "1: drop INPUT\n";

TEST(CorpusEntry, ReadsEveryPart) {
  const auto entry = ParseCorpusEntry(kEntry, "one.case");
  ASSERT_TRUE(entry.has_value()) << entry.error();
  EXPECT_EQ(entry->id, "test/one");
  EXPECT_TRUE(entry->ipv6);
  EXPECT_EQ(entry->requires_features, std::vector<std::string>{"ipset"});
  EXPECT_EQ(entry->ruleset.text, "*filter\nCOMMIT\n");
  EXPECT_EQ(entry->ruleset.first_line, 9u);
  EXPECT_EQ(entry->packets.text, "IN=eth0\n");
  ASSERT_EQ(entry->expectations.size(), 1u);
  EXPECT_EQ(entry->expectations[0].packet, 1u);
  EXPECT_EQ(entry->expectations[0].verdict, "drop");
  EXPECT_EQ(entry->expectations[0].chain, "INPUT");
}

struct BadCase {
  std::string text;
  std::string error;
};

class CorpusEntryErrors : public testing::TestWithParam<BadCase> {};

TEST_P(CorpusEntryErrors, NamesTheLine) {
  const auto entry = ParseCorpusEntry(GetParam().text, "bad.case");
  ASSERT_FALSE(entry.has_value());
  EXPECT_EQ(entry.error(), GetParam().error);
}

INSTANTIATE_TEST_SUITE_P(
    All, CorpusEntryErrors,
    testing::Values(
        BadCase{"# colour: red\n", "bad.case:1: unknown key 'colour'"},
        BadCase{"# id: a\n*filter\n",
                "bad.case:2: text before the first section"},
        BadCase{"# family: ipx\n", "bad.case:1: family: ipv4 or ipv6"},
        BadCase{"--- rules\n", "bad.case:1: unknown section 'rules'"},
        BadCase{"--- ruleset\nx\n--- ruleset\n",
                "bad.case:3: second section 'ruleset'"},
        BadCase{"--- expect\nfirst: drop\n",
                "bad.case:2: an expectation is 'PACKET-NUMBER: verdict "
                "[chain]'"},
        BadCase{"# id: a\n", "bad.case: no description"}));

TEST(Corpus, AnEmptyFolderIsAnError) {
  const auto folder = std::filesystem::temp_directory_path() /
                      ("nfarena-empty-" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  const auto corpus = LoadCorpus(folder);
  std::filesystem::remove(folder);
  ASSERT_FALSE(corpus.has_value());
  EXPECT_NE(corpus.error().find("no corpus entry"), std::string::npos);
}

TEST(Corpus, TheShippedOneLoads) {
  const auto corpus = LoadCorpus(CorpusRoot());
  ASSERT_TRUE(corpus.has_value()) << corpus.error();
  EXPECT_GE(corpus->size(), 20u);
}

}  // namespace
}  // namespace nfarena
