#include <gtest/gtest.h>

#include <string>

#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"

namespace nfarena::xt {
namespace {

using testing::ExpectMatches;
using testing::Ipv4;
using testing::RuleRunner;
using testing::Standing;

int Errno(const char* rule, Hook hook, TableKind table = TableKind::kMangle) {
  RuleRunner runner(Family::kIpv4, table, rule,
                    static_cast<uint8_t>(1 << static_cast<int>(hook)));
  return runner.error_number();
}

TEST(MatchHost, WhatThisMachineAnswers) {
  const Packet packet = Ipv4().Build();
  ExpectMatches(Family::kIpv4,
                {{"-m devgroup --src-group 0", packet, true},
                 {"-m devgroup --src-group 1", packet, false},
                 {"-m devgroup ! --src-group 1", packet, true},
                 {"-m devgroup --dst-group 0x10/0xf", packet, true},
                 {"-m devgroup --src-group 0 --dst-group 1", packet, false},
                 {"-m policy --dir in --pol none", packet, true},
                 {"-m policy --dir in --pol ipsec", packet, false},
                 {"-m policy --dir out --pol none", packet, true}});
  ExpectMatches(Family::kIpv4,
                {{"-m socket", Ipv4().In("eth0").Build(), false},
                 {"-m socket --transparent", Ipv4().In("eth0").Build(), false}},
                Hook::kInput);
}

TEST(MatchHost, TheCpuIsAMatterOfChance) {
  for (const char* rule : {"-m cpu --cpu 0", "-m cpu ! --cpu 1"}) {
    RuleRunner runner(Family::kIpv4, TableKind::kFilter, rule);
    Standing standing(Ipv4().Build(), Hook::kForward);
    EXPECT_TRUE(runner.Matches(&standing)) << rule;
    EXPECT_EQ(standing.outcome.indeterminate, "cpu");
  }
}

TEST(MatchHost, HooksWithoutTheQuestion) {
  EXPECT_EQ(Errno("-m devgroup --src-group 0", Hook::kOutput), EINVAL);
  EXPECT_EQ(Errno("-m devgroup --dst-group 0", Hook::kInput), EINVAL);
  EXPECT_EQ(Errno("-m devgroup --dst-group 0", Hook::kPostrouting), 0);
  EXPECT_EQ(Errno("-m policy --dir out --pol none", Hook::kInput), EINVAL);
  EXPECT_EQ(Errno("-m policy --dir in --pol none", Hook::kOutput), EINVAL);
  EXPECT_EQ(Errno("-m policy --dir in --pol none", Hook::kInput), 0);
  EXPECT_EQ(Errno("-m socket", Hook::kForward), EINVAL);
  EXPECT_EQ(Errno("-m socket", Hook::kPrerouting), 0);
}

/// 'y' or 'n', in capitals where the clock decides.
char At(const char* rule, uint64_t seconds) {
  RuleRunner runner(Family::kIpv4, TableKind::kFilter, rule);
  EXPECT_EQ(runner.error(), "") << rule;
  Standing standing(Ipv4().At(seconds * 1000).Build(), Hook::kForward);
  const bool match = runner.Matches(&standing);
  if (standing.outcome.indeterminate.empty()) return match ? 'y' : 'n';
  return match ? 'Y' : 'N';
}

TEST(MatchTime, DatesDaysAndHours) {
  constexpr uint64_t kDay = 24 * 60 * 60;
  // 2024-02-29 was a Thursday.
  constexpr uint64_t kLeap = uint64_t{19782} * kDay;
  EXPECT_EQ(At("-m time", kLeap), 'Y');  // iptables ends it in 2038
  EXPECT_EQ(At("-m time --weekdays Thu", kLeap), 'Y');
  EXPECT_EQ(At("-m time --weekdays Fri", kLeap), 'N');
  EXPECT_EQ(At("-m time --weekdays Fri", kLeap + kDay), 'Y');
  EXPECT_EQ(At("-m time --monthdays 29", kLeap), 'Y');
  EXPECT_EQ(At("-m time --monthdays 1", kLeap + kDay), 'Y');
  EXPECT_EQ(At("-m time --monthdays 1", kLeap), 'N');
  EXPECT_EQ(At("-m time --timestart 08:00 --timestop 09:00", kLeap + 8 * 3600),
            'Y');
  EXPECT_EQ(At("-m time --timestart 08:00 --timestop 09:00", kLeap), 'N');
  const char* night = "-m time --timestart 23:00 --timestop 01:00";
  EXPECT_EQ(At(night, kLeap + 23 * 3600), 'Y');
  EXPECT_EQ(At(night, kLeap + 1800), 'Y');
  EXPECT_EQ(At(night, kLeap + 12 * 3600), 'N');
  const std::string thursday = std::string(night) + " --weekdays Thu";
  const std::string whole = thursday + " --contiguous";
  EXPECT_EQ(At(thursday.c_str(), kLeap + kDay + 1800), 'N');
  EXPECT_EQ(At(whole.c_str(), kLeap + kDay + 1800), 'Y');
  EXPECT_EQ(At("-m time --datestart 2024-02-29 --datestop 2024-03-01", kLeap),
            'Y');
  EXPECT_EQ(At("-m time --datestart 2024-03-01", kLeap), 'N');
}

}  // namespace
}  // namespace nfarena::xt
