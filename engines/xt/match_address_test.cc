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

Packet From4(const char* address) { return Ipv4().From(address).Build(); }
Packet To4(const char* address) { return Ipv4().To(address).Build(); }
Packet From6(const char* address) { return Ipv6().From(address).Build(); }
Packet To6(const char* address) { return Ipv6().To(address).Build(); }

TEST(MatchAddress, IprangeIpv4) {
  const char* src = "-m iprange --src-range 10.0.0.5-10.0.1.7";
  const char* not_dst = "-m iprange ! --dst-range 10.0.0.5-10.0.1.7";
  ExpectMatches(Family::kIpv4,
                {
                    {src, From4("10.0.0.4"), false},
                    {src, From4("10.0.0.5"), true},
                    {src, From4("10.0.0.255"), true},
                    {src, From4("10.0.1.7"), true},
                    {src, From4("10.0.1.8"), false},
                    {src, From4("200.0.0.5"), false},
                    {not_dst, To4("10.0.0.4"), true},
                    {not_dst, To4("10.0.0.5"), false},
                    {not_dst, To4("10.0.1.8"), true},
                    {"-m iprange --src-range 10.0.0.1-10.0.0.9 --dst-range "
                     "10.0.0.1-10.0.0.9",
                     Ipv4().From("10.0.0.1").To("10.0.0.9").Build(), true},
                    {"-m iprange --src-range 10.0.0.1-10.0.0.9 --dst-range "
                     "10.0.0.1-10.0.0.9",
                     Ipv4().From("10.0.0.1").To("10.0.0.10").Build(), false},
                });
}

TEST(MatchAddress, IprangeIpv6) {
  const char* src = "-m iprange --src-range 2001:db8::5-2001:db8:0:1::";
  ExpectMatches(Family::kIpv6, {
                                   {src, From6("2001:db8::4"), false},
                                   {src, From6("2001:db8::5"), true},
                                   {src, From6("2001:db8::ffff:0:0:0"), true},
                                   {src, From6("2001:db8:0:1::"), true},
                                   {src, From6("2001:db8:0:1::1"), false},
                               });
}

TEST(MatchAddress, AddrtypeIpv4) {
  const char* local = "-m addrtype --dst-type LOCAL";
  ExpectMatches(
      Family::kIpv4,
      {
          {local, To4("192.0.2.254"), true},
          {local, To4("198.51.100.254"), true},
          {local, To4("192.0.2.253"), false},
          {local, To4("127.0.0.1"), true},
          {"-m addrtype ! --dst-type LOCAL", To4("192.0.2.254"), false},
          {"-m addrtype ! --dst-type LOCAL", To4("192.0.2.253"), true},
          {"-m addrtype --dst-type BROADCAST", To4("255.255.255.255"), true},
          {"-m addrtype --dst-type BROADCAST", To4("192.0.2.255"), true},
          {"-m addrtype --dst-type BROADCAST", To4("192.0.2.1"), false},
          {"-m addrtype --dst-type BROADCAST", To4("0.0.0.0"), true},
          {"-m addrtype --dst-type BROADCAST", To4("0.0.0.1"), false},
          {"-m addrtype --dst-type MULTICAST", To4("224.0.0.1"), true},
          {"-m addrtype --dst-type MULTICAST", To4("239.255.255.255"), true},
          {"-m addrtype --dst-type MULTICAST", To4("223.0.0.1"), false},
          {"-m addrtype --dst-type UNICAST", To4("203.0.113.1"), true},
          {"-m addrtype --dst-type UNICAST,LOCAL", To4("192.0.2.254"), true},
          {"-m addrtype --src-type LOCAL --dst-type UNICAST",
           Ipv4().From("192.0.2.254").To("203.0.113.1").Build(), true},
          {"-m addrtype --src-type LOCAL --dst-type UNICAST",
           Ipv4().From("192.0.2.253").To("203.0.113.1").Build(), false},
          {"-m addrtype ! --src-type LOCAL --dst-type UNICAST",
           Ipv4().From("192.0.2.253").To("203.0.113.1").Build(), true},
          // Only what this interface has: eth0 here.
          {"-m addrtype --dst-type LOCAL --limit-iface-in", To4("192.0.2.254"),
           true},
          {"-m addrtype --dst-type LOCAL --limit-iface-in",
           To4("198.51.100.254"), false},
          {"-m addrtype --dst-type LOCAL --limit-iface-out",
           To4("198.51.100.254"), true},
          {"-m addrtype --dst-type LOCAL --limit-iface-out", To4("192.0.2.254"),
           false},
      });
}

TEST(MatchAddress, AddrtypeIpv6) {
  ExpectMatches(
      Family::kIpv6,
      {
          {"-m addrtype --dst-type LOCAL", To6("2001:db8::fe"), true},
          {"-m addrtype --dst-type LOCAL", To6("2001:db8::fd"), false},
          {"-m addrtype ! --dst-type LOCAL", To6("2001:db8::fd"), true},
          {"-m addrtype --dst-type MULTICAST", To6("ff02::1"), true},
          {"-m addrtype --dst-type MULTICAST", To6("fe80::1"), false},
          {"-m addrtype --dst-type UNICAST", To6("2001:db8::fd"), true},
          {"-m addrtype --dst-type UNICAST", To6("ff02::1"), false},
          {"-m addrtype --dst-type LOCAL --limit-iface-in", To6("2001:db8::fe"),
           true},
          {"-m addrtype --dst-type LOCAL --limit-iface-in",
           To6("2001:db8:1::fe"), false},
      });
}

TEST(MatchAddress, AddrtypeChecks) {
  const uint8_t input = 1 << static_cast<int>(Hook::kInput);
  const uint8_t output = 1 << static_cast<int>(Hook::kOutput);
  const auto refused = [](Family family, const char* rule, uint8_t hooks) {
    return RuleRunner(family, TableKind::kFilter, rule, hooks).error_number();
  };
  const char* in = "-m addrtype --dst-type LOCAL --limit-iface-in";
  const char* out = "-m addrtype --dst-type LOCAL --limit-iface-out";
  EXPECT_EQ(refused(Family::kIpv4, in, input), 0);
  EXPECT_EQ(refused(Family::kIpv4, in, output), EINVAL);
  EXPECT_EQ(refused(Family::kIpv4, out, output), 0);
  EXPECT_EQ(refused(Family::kIpv4, out, input), EINVAL);
  EXPECT_EQ(refused(Family::kIpv4, "-m addrtype --dst-type BROADCAST", input),
            0);
  EXPECT_EQ(refused(Family::kIpv6, "-m addrtype --dst-type BROADCAST", input),
            EINVAL);
  EXPECT_EQ(refused(Family::kIpv6, "-m addrtype --dst-type BLACKHOLE", input),
            EINVAL);
  EXPECT_EQ(refused(Family::kIpv6, "-m addrtype --dst-type PROHIBIT", input),
            EINVAL);
}

constexpr std::array<uint8_t, 6> kHost = {2, 0, 0, 0, 0, 1};
constexpr std::array<uint8_t, 6> kRouter = {2, 0, 0, 0, 0, 2};
constexpr std::array<uint8_t, 6> kEverybody = {255, 255, 255, 255, 255, 255};
constexpr std::array<uint8_t, 6> kGroup = {1, 0, 0x5e, 0, 0, 1};

TEST(MatchAddress, Mac) {
  const Packet with = Ipv4().Mac(kHost, kRouter).Build();
  const Packet without = Ipv4().Build();
  ExpectMatches(Family::kIpv4,
                {
                    {"-m mac --mac-source 02:00:00:00:00:01", with, true},
                    {"-m mac --mac-source 02:00:00:00:00:02", with, false},
                    {"-m mac ! --mac-source 02:00:00:00:00:02", with, true},
                    {"-m mac ! --mac-source 02:00:00:00:00:01", with, false},
                    // No Ethernet header: neither matches.
                    {"-m mac --mac-source 02:00:00:00:00:01", without, false},
                    {"-m mac ! --mac-source 02:00:00:00:00:01", without, false},
                });
  RuleRunner output(Family::kIpv4, TableKind::kFilter,
                    "-m mac --mac-source 02:00:00:00:00:01",
                    1 << static_cast<int>(Hook::kOutput));
  EXPECT_EQ(output.error_number(), EINVAL);
}

TEST(MatchAddress, Pkttype) {
  const Packet unicast = Ipv4().Mac(kHost, kRouter).Build();
  const Packet broadcast = Ipv4().Mac(kHost, kEverybody).Build();
  const Packet multicast = Ipv4().Mac(kHost, kGroup).Build();
  ExpectMatches(
      Family::kIpv4,
      {
          {"-m pkttype --pkt-type unicast", unicast, true},
          {"-m pkttype --pkt-type unicast", broadcast, false},
          {"-m pkttype --pkt-type unicast", Ipv4().Build(), true},
          {"-m pkttype --pkt-type broadcast", broadcast, true},
          {"-m pkttype --pkt-type broadcast", multicast, false},
          {"-m pkttype --pkt-type multicast", multicast, true},
          {"-m pkttype --pkt-type multicast", broadcast, false},
          {"-m pkttype ! --pkt-type multicast", broadcast, true},
          // The link layer decides, not the IP address.
          {"-m pkttype --pkt-type multicast", To4("224.0.0.1"), false},
      });
}

}  // namespace
}  // namespace nfarena::xt
