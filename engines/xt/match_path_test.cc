#include <gtest/gtest.h>

#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"

namespace nfarena::xt {
namespace {

using testing::ExpectMatches;
using testing::Ipv4;
using testing::Ipv6;
using testing::RuleRunner;
using testing::Standing;

constexpr uint8_t kPrerouting = 1 << static_cast<int>(Hook::kPrerouting);

struct Case {
  const char* rule;
  Packet packet;
  bool want;
};

TEST(MatchPath, Rpfilter) {
  const auto from4 = [](const char* address, const char* device) {
    return Ipv4().From(address).In(device).Build();
  };
  const auto from6 = [](const char* address, const char* device) {
    return Ipv6().From(address).In(device).Build();
  };
  const char* strict = "-m rpfilter";
  const char* loose = "-m rpfilter --loose";
  const char* invert = "-m rpfilter --invert";
  const Case cases[] = {
      {strict, from4("192.0.2.9", "eth0"), true},
      {strict, from4("192.0.2.9", "eth1"), false},
      {strict, from4("203.0.113.9", "eth1"), true},
      {strict, from4("203.0.113.9", "eth0"), false},
      {loose, from4("203.0.113.9", "eth0"), true},
      {invert, from4("192.0.2.9", "eth0"), false},
      {invert, from4("192.0.2.9", "eth1"), true},
      // The host's own address comes from nowhere outside ...
      {strict, from4("192.0.2.254", "eth0"), false},
      {loose, from4("192.0.2.254", "eth0"), false},
      {"-m rpfilter --accept-local", from4("192.0.2.254", "eth0"), true},
      // ... but all is well on lo, and before there is an address.
      {strict, from4("203.0.113.9", "lo"), true},
      {strict, Ipv4().From("0.0.0.0").To("255.255.255.255").In("eth0").Build(),
       true},
      {strict, Ipv4().From("0.0.0.0").To("224.0.0.22").In("eth0").Build(),
       true},
      {strict, Ipv4().From("0.0.0.0").To("224.0.1.22").In("eth0").Build(),
       false},
      {strict, from6("2001:db8::9", "eth0"), true},
      {strict, from6("2001:db8::9", "eth1"), false},
      {strict, from6("fe80::9", "eth1"), true},
      {strict, from6("::", "eth1"), true},
      {"-m rpfilter --validmark --invert", from6("2001:db8::9", "eth1"), true},
  };
  for (const Case& c : cases) {
    RuleRunner runner(c.packet.family, TableKind::kRaw, c.rule, kPrerouting);
    ASSERT_EQ(runner.error(), "") << c.rule;
    Standing standing(c.packet, Hook::kPrerouting);
    EXPECT_EQ(runner.Matches(&standing), c.want)
        << c.rule << " case " << (&c - cases);
  }
}

TEST(MatchPath, RpfilterBelongsIntoPreroutingOfRawAndMangle) {
  const auto refused = [](TableKind table, uint8_t hooks) {
    return RuleRunner(Family::kIpv4, TableKind::kRaw, "-m rpfilter", hooks,
                      table)
        .error_number();
  };
  EXPECT_EQ(refused(TableKind::kRaw, kPrerouting), 0);
  EXPECT_EQ(refused(TableKind::kMangle, kPrerouting), 0);
  EXPECT_EQ(refused(TableKind::kNat, kPrerouting), EINVAL);
  EXPECT_EQ(refused(TableKind::kRaw, 1 << static_cast<int>(Hook::kOutput)),
            EINVAL);
}

TEST(MatchPath, ThingsThatDoNotOccur) {
  const Packet packet = Ipv4().Build();
  ExpectMatches(Family::kIpv4,
                {
                    {"-m realm --realm 0", packet, true},
                    {"-m realm --realm 5", packet, false},
                    {"-m realm ! --realm 5", packet, true},
                    {"-m physdev --physdev-in eth0", packet, false},
                    {"-m physdev ! --physdev-in eth0", packet, true},
                    {"-m physdev --physdev-is-bridged", packet, false},
                    {"-m physdev ! --physdev-is-bridged", packet, true},
                    {"-m physdev ! --physdev-is-bridged --physdev-in eth0",
                     packet, false},
                    {"-m helper --helper ftp", packet, false},
                    {"-m helper ! --helper ftp", packet, true},
                });
}

TEST(MatchPath, PhysdevOutIsNotKnownInOutput) {
  const uint8_t output = 1 << static_cast<int>(Hook::kOutput);
  EXPECT_EQ(RuleRunner(Family::kIpv4, TableKind::kFilter,
                       "-m physdev --physdev-out eth0", output)
                .error_number(),
            EINVAL);
  EXPECT_EQ(
      RuleRunner(Family::kIpv4, TableKind::kFilter,
                 "-m physdev --physdev-is-bridged --physdev-out eth0", output)
          .error_number(),
      0);
}

}  // namespace
}  // namespace nfarena::xt
