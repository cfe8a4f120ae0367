#include <gtest/gtest.h>

#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"

namespace nfarena::xt {
namespace {

using testing::Ipv4;
using testing::RuleRunner;
using testing::Standing;

/// 'y' or 'n' a packet; in capitals where the result is indeterminate.
std::string Results(const char* rule, const std::vector<uint64_t>& times_ms) {
  RuleRunner runner(Family::kIpv4, TableKind::kFilter, rule);
  EXPECT_EQ(runner.error(), "") << rule;
  std::string results;
  for (const uint64_t time : times_ms) {
    Standing standing(Ipv4().At(time).Build(), Hook::kForward);
    const bool match = runner.Matches(&standing);
    const bool sure = standing.outcome.indeterminate.empty();
    results += match ? (sure ? 'y' : 'Y') : (sure ? 'n' : 'N');
  }
  return results;
}

TEST(MatchRate, LimitSpendsItsBurst) {
  EXPECT_EQ(Results("-m limit --limit 1/hour --limit-burst 3",
                    {0, 0, 0, 0, 0, 1000, 2000}),
            "yyynnnn");
  EXPECT_EQ(Results("-m limit --limit 1/day --limit-burst 1", {0, 0}), "yn");
  // The default: 3 an hour, burst of 5.
  EXPECT_EQ(Results("-m limit", {0, 0, 0, 0, 0, 0, 0}), "yyyyynn");
}

TEST(MatchRate, LimitRefillsWithTime) {
  // One a minute: a token comes back after 60 s, which no real run waits for.
  EXPECT_EQ(Results("-m limit --limit 1/minute --limit-burst 2",
                    {0, 0, 0, 57'000, 60'000, 60'000, 120'000}),
            "yynnYnY");
  // Never more than the burst.
  EXPECT_EQ(Results("-m limit --limit 1/minute --limit-burst 2",
                    {0, 0, 3'600'000, 3'600'000, 3'600'000}),
            "yyYYn");
}

TEST(MatchRate, LimitIsInDoubtWhereTwoSecondsDecide) {
  // Twenty a second: once the burst is gone, real time tells.
  EXPECT_EQ(Results("-m limit --limit 20/second --limit-burst 2", {0, 0, 0, 0}),
            "yyNN");
  EXPECT_EQ(Results("-m limit --limit 20/second --limit-burst 2",
                    {0, 0, 52, 99, 104}),
            "yyYNY");
  EXPECT_EQ(
      Results("-m limit --limit 1/second --limit-burst 1", {0, 999, 1000}),
      "yNY");
  // A token every three seconds: one second short of it and two to spare.
  EXPECT_EQ(
      Results("-m limit --limit 20/minute --limit-burst 1", {0, 900, 1000}),
      "ynN");
}

TEST(MatchRate, LimitRefusesWhatOverflows) {
  EXPECT_EQ(RuleRunner(Family::kIpv4, TableKind::kFilter,
                       "-m limit --limit 1/day --limit-burst 10000")
                .error_number(),
            ERANGE);
  EXPECT_EQ(RuleRunner(Family::kIpv4, TableKind::kFilter,
                       "-m limit --limit 1/day --limit-burst 1")
                .error(),
            "");
}

TEST(MatchRate, StatisticNthCounts) {
  EXPECT_EQ(Results("-m statistic --mode nth --every 3 --packet 0",
                    {0, 0, 0, 0, 0, 0, 0}),
            "ynnynny");
  EXPECT_EQ(Results("-m statistic --mode nth --every 3 --packet 1",
                    {0, 0, 0, 0, 0, 0, 0}),
            "nynnynn");
  EXPECT_EQ(Results("-m statistic --mode nth --every 3 --packet 2",
                    {0, 0, 0, 0, 0, 0, 0}),
            "nnynnyn");
  EXPECT_EQ(
      Results("-m statistic --mode nth ! --every 3 --packet 0", {0, 0, 0, 0}),
      "nyyn");
  EXPECT_EQ(Results("-m statistic --mode nth --every 1 --packet 0", {0, 0, 0}),
            "yyy");
}

TEST(MatchRate, StatisticRandomIsInDoubt) {
  const std::vector<uint64_t> many(4000, 0);
  const std::string half =
      Results("-m statistic --mode random --probability 0.25", many);
  const auto hits = std::count(half.begin(), half.end(), 'Y');
  EXPECT_EQ(hits + std::count(half.begin(), half.end(), 'N'), 4000);
  EXPECT_GT(hits, 850);
  EXPECT_LT(hits, 1150);
  // Repeatable: the same rule meets the same luck.
  EXPECT_EQ(half,
            Results("-m statistic --mode random --probability 0.25", many));
  // Nothing is left to chance at the ends.
  EXPECT_EQ(Results("-m statistic --mode random --probability 1", {0, 0, 0}),
            "yyy");
  EXPECT_EQ(Results("-m statistic --mode random --probability 0", {0, 0, 0}),
            "nnn");
  EXPECT_EQ(Results("-m statistic --mode random ! --probability 1", {0, 0}),
            "nn");
}

TEST(MatchRate, QuotaIsSpentByBytes) {
  // 28 bytes a packet: three fit into 84 and one byte is not enough.
  EXPECT_EQ(Results("-m quota --quota 84", {0, 0, 0, 0}), "yyyn");
  EXPECT_EQ(Results("-m quota --quota 83", {0, 0, 0, 0}), "yynn");
  EXPECT_EQ(Results("-m quota ! --quota 56", {0, 0, 0}), "nny");
}

}  // namespace
}  // namespace nfarena::xt
