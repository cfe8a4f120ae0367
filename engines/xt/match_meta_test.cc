#include <gtest/gtest.h>

#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"

namespace nfarena::xt {
namespace {

using testing::ExpectMatches;
using testing::Ipv4;
using testing::RuleRunner;
using testing::Standing;

TEST(MatchMeta, Mark) {
  const auto marked = [](uint32_t mark) { return Ipv4().Mark(mark).Build(); };
  ExpectMatches(Family::kIpv4,
                {
                    {"-m mark --mark 0x15", marked(0x15), true},
                    {"-m mark --mark 0x15", marked(0x16), false},
                    {"-m mark --mark 0x10/0xf0", marked(0x1f), true},
                    {"-m mark --mark 0x10/0xf0", marked(0x2f), false},
                    {"-m mark ! --mark 0x15", marked(0x15), false},
                    {"-m mark ! --mark 0x15", marked(0), true},
                    {"-m mark --mark 0xffffffff", marked(0xffffffff), true},
                    // A value outside the mask is never met.
                    {"-m mark --mark 0x11/0x10", marked(0x11), false},
                    {"-m mark ! --mark 0x11/0x10", marked(0x11), true},
                });
}

TEST(MatchMeta, Owner) {
  const auto sent = [](uint32_t uid, uint32_t gid) {
    return Ipv4().Out("eth1").Owner(uid, gid).Build();
  };
  ExpectMatches(
      Family::kIpv4,
      {
          {"-m owner --uid-owner 1000", sent(1000, 5), true},
          {"-m owner --uid-owner 1000", sent(1001, 5), false},
          {"-m owner ! --uid-owner 1000", sent(1001, 5), true},
          {"-m owner ! --uid-owner 1000", sent(1000, 5), false},
          {"-m owner --uid-owner 1000-1999", sent(1999, 5), true},
          {"-m owner --uid-owner 1000-1999", sent(2000, 5), false},
          {"-m owner --gid-owner 5", sent(1, 5), true},
          {"-m owner --gid-owner 5", sent(1, 6), false},
          {"-m owner ! --gid-owner 5", sent(1, 6), true},
          {"-m owner --uid-owner 1 --gid-owner 5", sent(1, 5), true},
          {"-m owner --uid-owner 1 --gid-owner 5", sent(1, 4), false},
          {"-m owner --socket-exists", sent(1, 5), true},
          {"-m owner ! --socket-exists", sent(1, 5), false},
          {"-m owner --uid-owner 0", Ipv4().Out("eth1").Build(), true},
      },
      Hook::kOutput);
}

TEST(MatchMeta, OwnerOfNobodysPackets) {
  const auto matches = [](const char* rule, bool answer, const Packet& packet) {
    RuleRunner runner(Family::kIpv4, TableKind::kFilter, rule,
                      1 << static_cast<int>(Hook::kOutput));
    EXPECT_EQ(runner.error(), "") << rule;
    Standing standing(packet, Hook::kOutput);
    standing.state.answer = answer;
    standing.state.local_out = answer;
    return runner.Matches(&standing);
  };
  const Packet forwarded = Ipv4().Out("eth1").Build();
  EXPECT_FALSE(matches("-m owner --uid-owner 0", false, forwarded));
  EXPECT_TRUE(matches("-m owner ! --uid-owner 0", false, forwarded));
  EXPECT_FALSE(matches("-m owner --socket-exists", false, forwarded));
  EXPECT_TRUE(matches("-m owner ! --socket-exists", false, forwarded));
  // A reset has no socket; an ICMP error has one without a file.
  const Packet reset = Ipv4().Out("eth1").Tcp(1, 2).Build();
  EXPECT_TRUE(matches("-m owner ! --socket-exists", true, reset));
  const Packet error = Ipv4().Out("eth1").Icmp(3, 3).Build();
  EXPECT_TRUE(matches("-m owner --socket-exists", true, error));
  EXPECT_FALSE(matches("-m owner --uid-owner 0", true, error));
  EXPECT_TRUE(matches("-m owner ! --uid-owner 0", true, error));
}

TEST(MatchMeta, OwnerInInputIsRefused) {
  RuleRunner runner(Family::kIpv4, TableKind::kFilter, "-m owner --uid-owner 0",
                    1 << static_cast<int>(Hook::kInput));
  EXPECT_EQ(runner.error_number(), EINVAL);
}

TEST(MatchMeta, CommentAlwaysMatches) {
  ExpectMatches(
      Family::kIpv4,
      {
          {"-m comment --comment \"a remark\"", Ipv4().Build(), true},
          {"-d 203.0.113.9 -m comment --comment x", Ipv4().Build(), false},
      });
}

}  // namespace
}  // namespace nfarena::xt
