// Every ruleset of the corpus as text: parse, print, parse gives the same
// rules, and what is printed is, byte for byte, what iptables-legacy-save
// prints after iptables-legacy-restore took the same text.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <ostream>
#include <sstream>
#include <string>
#include <vector>

#include "compat/syntax/known_sets.h"
#include "compat/syntax/save_parser.h"
#include "compat/syntax/save_printer.h"
#include "compat/syntax/testing/legacy_tools.h"
#include "corpus/corpus.h"

namespace nfarena {

// gtest looks here for how a case is shown.
void PrintTo(const CorpusEntry& entry, std::ostream* out) { *out << entry.id; }

namespace {

// Not a skip: a test without a corpus has shown nothing.
std::vector<CorpusEntry> Corpus() {
  auto corpus = LoadCorpus(CorpusRoot());
  if (corpus) return *std::move(corpus);
  ADD_FAILURE() << corpus.error();
  return {};
}

std::string CaseName(const testing::TestParamInfo<CorpusEntry>& info) {
  std::string name = info.param.id;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(c); }, '_');
  return name;
}

// The tables of a text, "*filter" to "COMMIT" each, by name: iptables-save
// prints them in the order in which the kernel was first asked for them.
std::vector<std::string> TablesSorted(const std::string& text) {
  std::vector<std::string> tables;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find("COMMIT\n", at);
    if (end == std::string::npos) {
      tables.push_back(text.substr(at));
      break;
    }
    tables.push_back(text.substr(at, end + 7 - at));
    at = end + 7;
  }
  std::sort(tables.begin(), tables.end());
  return tables;
}

// The text with a number of its own at each policy and rule; captured ones are
// all zero.
std::string WithCounters(const std::string& text) {
  std::string out;
  std::istringstream lines(text);
  uint64_t number = 0;
  for (std::string line; std::getline(lines, line); out += line + "\n") {
    ++number;
    const std::string counters =
        "[" + std::to_string(number) + ":" + std::to_string(number * 60) + "]";
    const size_t old = line.find(" [");
    if (line.starts_with(":") && old != std::string::npos &&
        line.find(" - ") == std::string::npos) {
      line.replace(old + 1, std::string::npos, counters);
    } else if (line.starts_with("-A ")) {
      line.insert(0, counters + " ");
    }
  }
  return out;
}

class CorpusText : public testing::TestWithParam<CorpusEntry> {
 protected:
  void SetUp() override {
    const CorpusEntry& entry = GetParam();
    if (entry.ipset.text.empty()) return;
    auto sets = ReadKnownSets(entry.ipset.text);
    ASSERT_TRUE(sets) << sets.error().ToString();
    sets_ = *std::move(sets);
    use_sets_ = true;
  }

  Family family() const {
    return GetParam().ipv6 ? Family::kIpv6 : Family::kIpv4;
  }

  Result<Ruleset> Parse(const std::string& text, bool counters) const {
    return ParseSave(text,
                     {.file = GetParam().path.string(),
                      .family = family(),
                      .counters = counters,
                      .resolve = false,
                      .sets = use_sets_ ? &sets_ : nullptr},
                     nullptr);
  }

  std::string Print(const Ruleset& ruleset, bool counters) const {
    return PrintSave(ruleset, {.counters = counters,
                               .header = false,
                               .sets = use_sets_ ? &sets_ : nullptr});
  }

  // What the text is when counters are kept: with some.
  std::string Text(bool counters) const {
    const std::string& text = GetParam().ruleset.text;
    return counters ? WithCounters(text) : text;
  }

  void CompareWithSave(bool counters) {
    const std::string option = counters ? "-c" : "";
    LegacyTools tools;
    const std::string reason = tools.EnterNamespace();
    if (!reason.empty()) GTEST_SKIP() << reason;
    const CorpusEntry& entry = GetParam();
    if (!UsersAreMapped() &&
        entry.ruleset.text.find("-owner ") != std::string::npos) {
      GTEST_SKIP() << "the users of -m owner do not exist in a user namespace";
    }
    if (use_sets_) {
      const Ran made = tools.RestoreSets(entry.ipset.text);
      ASSERT_EQ(made.status, 0) << made.output;
    }
    const Ran restored = tools.Restore(family(), Text(counters), option);
    ASSERT_EQ(restored.status, 0) << restored.output;
    const Ran saved = LegacyTools::Save(family(), option);
    ASSERT_EQ(saved.status, 0) << saved.output;
    const auto parsed = Parse(Text(counters), counters);
    ASSERT_TRUE(parsed) << parsed.error().ToString();
    EXPECT_EQ(TablesSorted(Print(*parsed, counters)),
              TablesSorted(WithoutComments(saved.output)));
  }

  KnownSets sets_;
  bool use_sets_ = false;
};

TEST_P(CorpusText, ParsePrintParseIsIdentity) {
  for (const bool counters : {false, true}) {
    const auto first = Parse(Text(counters), counters);
    ASSERT_TRUE(first) << first.error().ToString();
    ASSERT_GT(first->rules_count(), 0u);
    const std::string printed = Print(*first, counters);
    const auto second = Parse(printed, counters);
    ASSERT_TRUE(second) << second.error().ToString();
    EXPECT_TRUE(SameRules(*first, *second));
    EXPECT_EQ(Print(*second, counters), printed);
  }
}

TEST_P(CorpusText, PrintsWhatIptablesSavePrints) { CompareWithSave(false); }

TEST_P(CorpusText, PrintsCountersAsIptablesSavePrintsThem) {
  CompareWithSave(true);
}

INSTANTIATE_TEST_SUITE_P(Corpus, CorpusText, testing::ValuesIn(Corpus()),
                         CaseName);

}  // namespace
}  // namespace nfarena
