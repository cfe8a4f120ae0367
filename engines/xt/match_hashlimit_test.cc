#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"

namespace nfarena::xt {
namespace {

using testing::Ipv4;
using testing::Ipv6;
using testing::PacketBuilder;
using testing::RuleRunner;
using testing::Standing;

/// Rules in force together.
class MatchHashlimitTest : public ::testing::Test {
 protected:
  RuleRunner& Rule(const std::string& text, Family family = Family::kIpv4) {
    rules_.push_back(std::make_unique<RuleRunner>(family, TableKind::kFilter,
                                                  text, uint8_t{1 << 2},
                                                  std::nullopt, &net_));
    EXPECT_EQ(rules_.back()->error(), "") << text;
    return *rules_.back();
  }
  /// 'y' or 'n', in capitals where the clock decides; '!' when hotdropped.
  static char Run(RuleRunner& rule, const PacketBuilder& builder) {
    Standing standing(builder.Build(), Hook::kForward);
    const bool match = rule.Matches(&standing);
    if (standing.state.hotdrop) return '!';
    if (!standing.outcome.indeterminate.empty()) return match ? 'Y' : 'N';
    return match ? 'y' : 'n';
  }
  static std::string Runs(RuleRunner& rule, const PacketBuilder& builder,
                          int times) {
    std::string answers;
    for (int i = 0; i < times; ++i) answers += Run(rule, builder);
    return answers;
  }

  NetState net_;
  std::vector<std::unique_ptr<RuleRunner>> rules_;
};

PacketBuilder From(const char* address, uint64_t time_ms = 0) {
  return Ipv4().From(address).At(time_ms);
}

TEST_F(MatchHashlimitTest, EachSourceHasItsBurst) {
  RuleRunner& rule = Rule(
      "-m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 3 "
      "--hashlimit-mode srcip --hashlimit-name a");
  EXPECT_EQ(Runs(rule, From("10.0.0.1"), 5), "yyynn");
  EXPECT_EQ(Runs(rule, From("10.0.0.2"), 4), "yyyn");
}

TEST_F(MatchHashlimitTest, AboveIsTheRest) {
  RuleRunner& rule = Rule(
      "-m hashlimit --hashlimit-above 1/hour --hashlimit-burst 3 "
      "--hashlimit-mode srcip --hashlimit-name a");
  EXPECT_EQ(Runs(rule, From("10.0.0.1"), 5), "nnnyy");
}

TEST_F(MatchHashlimitTest, MasksAndModesMakeTheKey) {
  RuleRunner& net = Rule(
      "-m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 2 "
      "--hashlimit-mode srcip --hashlimit-srcmask 24 --hashlimit-name net");
  EXPECT_EQ(Run(net, From("10.0.0.1")), 'y');
  EXPECT_EQ(Run(net, From("10.0.0.2")), 'y');
  EXPECT_EQ(Run(net, From("10.0.0.3")), 'n');
  EXPECT_EQ(Run(net, From("10.0.1.1")), 'y');
  RuleRunner& all = Rule(
      "-m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 1 "
      "--hashlimit-name all");
  EXPECT_EQ(Run(all, From("10.0.0.1")), 'y');
  EXPECT_EQ(Run(all, From("10.0.9.9")), 'n');
  RuleRunner& port = Rule(
      "-p tcp -m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 1 "
      "--hashlimit-mode dstport --hashlimit-name port");
  EXPECT_EQ(Run(port, From("10.0.0.1").Tcp(1, 80)), 'y');
  EXPECT_EQ(Run(port, From("10.0.0.2").Tcp(2, 80)), 'n');
  EXPECT_EQ(Run(port, From("10.0.0.2").Tcp(2, 81)), 'y');
}

TEST_F(MatchHashlimitTest, Ipv6Masks) {
  RuleRunner& rule = Rule(
      "-m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 1 "
      "--hashlimit-mode srcip --hashlimit-srcmask 56 --hashlimit-name a",
      Family::kIpv6);
  EXPECT_EQ(Run(rule, Ipv6().From("2001:db8:1:1::1")), 'y');
  EXPECT_EQ(Run(rule, Ipv6().From("2001:db8:1:2::1")), 'n');
  EXPECT_EQ(Run(rule, Ipv6().From("2001:db8:1:100::1")), 'y');
}

TEST_F(MatchHashlimitTest, RulesOfOneNameShareTheFirstOnesTable) {
  RuleRunner& first = Rule(
      "-m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 2 "
      "--hashlimit-mode srcip --hashlimit-name a");
  RuleRunner& second = Rule(
      "-m hashlimit --hashlimit-upto 9/sec --hashlimit-burst 9 "
      "--hashlimit-mode dstip --hashlimit-name a");
  EXPECT_EQ(Run(second, From("10.0.0.1")), 'y');
  EXPECT_EQ(Run(first, From("10.0.0.1")), 'y');
  EXPECT_EQ(Run(second, From("10.0.0.1")), 'n');
  // The last rule of the name takes the table with it.
  rules_.clear();
  RuleRunner& third = Rule(
      "-m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 1 "
      "--hashlimit-mode srcip --hashlimit-name a");
  EXPECT_EQ(Runs(third, From("10.0.0.1"), 2), "yn");
}

TEST_F(MatchHashlimitTest, TimeFillsTheBucketUncertainly) {
  RuleRunner& rule = Rule(
      "-m hashlimit --hashlimit-upto 1/min --hashlimit-burst 1 "
      "--hashlimit-mode srcip --hashlimit-htable-expire 3600000 "
      "--hashlimit-name a");
  EXPECT_EQ(Runs(rule, From("10.0.0.1"), 2), "yn");
  EXPECT_EQ(Run(rule, From("10.0.0.1", 30000)), 'n');
  EXPECT_EQ(Run(rule, From("10.0.0.1", 59000)), 'N');  // two seconds more
  EXPECT_EQ(Run(rule, From("10.0.0.1", 60000)), 'Y');
  EXPECT_EQ(Run(rule, From("10.0.0.1", 60000)), 'N');
}

TEST_F(MatchHashlimitTest, BytesARate) {
  RuleRunner& rule = Rule(
      "-m hashlimit --hashlimit-upto 1000b/s --hashlimit-burst 2000b "
      "--hashlimit-mode srcip --hashlimit-name a");
  const std::string answers = Runs(rule, From("10.0.0.1"), 1000);
  // A bucket holds a second's bytes, and is filled again at once as often as
  // the burst says.  Two seconds would fill it too.
  const size_t first_over = answers.find('N');
  ASSERT_NE(first_over, std::string::npos);
  EXPECT_EQ(answers, std::string(first_over, 'y') +
                         std::string(answers.size() - first_over, 'N'));
}

TEST_F(MatchHashlimitTest, RateMatchCountsWindows) {
  RuleRunner& rule = Rule(
      "-m hashlimit --hashlimit-upto 2/sec --hashlimit-burst 1 "
      "--hashlimit-mode srcip --hashlimit-rate-match --hashlimit-rate-interval "
      "10 --hashlimit-htable-expire 60000 --hashlimit-name a");
  EXPECT_EQ(Runs(rule, From("10.0.0.1"), 5), "yyynn");
}

TEST_F(MatchHashlimitTest, AFullTableAndACutPacketAreDropped) {
  RuleRunner& full = Rule(
      "-m hashlimit --hashlimit-upto 1/hour --hashlimit-mode srcip "
      "--hashlimit-htable-size 1 --hashlimit-htable-max 2 --hashlimit-name a");
  EXPECT_EQ(Run(full, From("10.0.0.1")), 'y');
  EXPECT_EQ(Run(full, From("10.0.0.2")), 'y');
  EXPECT_EQ(Run(full, From("10.0.0.3")), '!');
  EXPECT_EQ(Run(full, From("10.0.0.2")), 'y');
}

TEST(MatchHashlimit, Refusals) {
  NetState net;
  const auto errno_of = [&net](const char* rule) {
    return RuleRunner(Family::kIpv4, TableKind::kFilter, rule, 1 << 2,
                      std::nullopt, &net)
        .error_number();
  };
  RuleRunner bucket(Family::kIpv4, TableKind::kFilter,
                    "-m hashlimit --hashlimit-upto 1/sec --hashlimit-mode "
                    "srcip --hashlimit-name a",
                    1 << 2, std::nullopt, &net);
  EXPECT_EQ(bucket.error(), "");
  EXPECT_EQ(errno_of("-m hashlimit --hashlimit-upto 1/sec --hashlimit-mode "
                     "srcip --hashlimit-rate-match --hashlimit-name a"),
            EINVAL);
  EXPECT_EQ(errno_of("-m hashlimit --hashlimit-upto 1/sec --hashlimit-mode "
                     "srcip --hashlimit-name .."),
            EINVAL);
}

}  // namespace
}  // namespace nfarena::xt
