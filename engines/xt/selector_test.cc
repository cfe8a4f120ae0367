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

TEST(Selector, Ipv4Addresses) {
  const auto from = [](const char* a) { return Ipv4().From(a).Build(); };
  const auto to = [](const char* a) { return Ipv4().To(a).Build(); };
  ExpectMatches(Family::kIpv4,
                {
                    {"-s 10.1.2.0/23", from("10.1.1.255"), false},
                    {"-s 10.1.2.0/23", from("10.1.2.0"), true},
                    {"-s 10.1.2.0/23", from("10.1.3.255"), true},
                    {"-s 10.1.2.0/23", from("10.1.4.0"), false},
                    {"! -s 10.1.2.0/23", from("10.1.4.0"), true},
                    {"! -s 10.1.2.0/23", from("10.1.2.1"), false},
                    {"-d 203.0.113.5", to("203.0.113.5"), true},
                    {"-d 203.0.113.5", to("203.0.113.4"), false},
                    {"! -d 203.0.113.5", to("203.0.113.4"), true},
                    {"-s 10.0.0.5/255.0.0.255", from("10.77.88.5"), true},
                    {"-s 10.0.0.5/255.0.0.255", from("10.77.88.6"), false},
                    {"-s 0.0.0.0/0", from("203.0.113.5"), true},
                });
}

TEST(Selector, Ipv6Addresses) {
  const auto from = [](const char* a) { return Ipv6().From(a).Build(); };
  ExpectMatches(Family::kIpv6,
                {
                    {"-s 2001:db8:4::/47", from("2001:db8:3:ffff::1"), false},
                    {"-s 2001:db8:4::/47", from("2001:db8:4::"), true},
                    {"-s 2001:db8:4::/47", from("2001:db8:5:ffff::1"), true},
                    {"-s 2001:db8:4::/47", from("2001:db8:6::"), false},
                    {"! -s 2001:db8:4::/47", from("2001:db8:6::"), true},
                    {"-s 2001:db8::1", from("2001:db8::1"), true},
                    {"-s 2001:db8::1", from("2001:db8::2"), false},
                });
}

TEST(Selector, Devices) {
  const Packet packet = Ipv4().Build();  // eth0 to eth1
  ExpectMatches(Family::kIpv4, {
                                   {"-i eth0", packet, true},
                                   {"-i eth1", packet, false},
                                   {"-i eth", packet, false},
                                   {"-i eth+", packet, true},
                                   {"-i eth0+", packet, true},
                                   {"-i eth00", packet, false},
                                   {"-i wlan+", packet, false},
                                   {"! -i eth0", packet, false},
                                   {"! -i eth1", packet, true},
                                   {"-o eth1", packet, true},
                                   {"-o eth0", packet, false},
                                   {"! -o eth+", packet, false},
                                   {"-i eth0 -o eth1", packet, true},
                                   {"-i eth0 ! -o eth1", packet, false},
                               });
}

TEST(Selector, ProtocolAndFragments) {
  const Packet tcp = Ipv4().Tcp(1, 2).Build();
  const auto fragment = [](uint16_t offset, bool more) {
    return Ipv4().Udp(1, 2).Fragment(offset, more).Build();
  };
  ExpectMatches(Family::kIpv4, {
                                   {"-p tcp", tcp, true},
                                   {"-p udp", tcp, false},
                                   {"! -p tcp", tcp, false},
                                   {"! -p udp", tcp, true},
                                   {"-p all", tcp, true},
                                   {"-f", fragment(0, false), false},
                                   {"-f", fragment(0, true), false},
                                   {"-f", fragment(1, true), true},
                                   {"-f", fragment(1, false), true},
                                   {"! -f", fragment(0, true), true},
                                   {"! -f", fragment(1, false), false},
                                   {"-p udp", fragment(1, false), true},
                               });
  ExpectMatches(
      Family::kIpv6,
      {
          {"-p udp", Ipv6().Udp(1, 2).Build(), true},
          {"-p tcp", Ipv6().Udp(1, 2).Build(), false},
          {"! -p tcp", Ipv6().Udp(1, 2).Build(), true},
          {"-p udp", Ipv6().Extension(0, {1, 4, 0, 0, 0, 0}).Udp(1, 2).Build(),
           true},
          // AH is an extension header on the way to the upper layer.
          {"-p udp",
           Ipv6().Extension(51, std::vector<uint8_t>(14)).Udp(1, 2).Build(),
           true},
          {"-p udp", Ipv6().Udp(1, 2).Fragment(9, true).Build(), true},
      });
}

TEST(Selector, BrokenIpv6HeadersAreDroppedByRulesWithProtocol) {
  Packet packet = Ipv6().Extension(0, {1, 4, 0, 0, 0, 0}).Udp(1, 2).Build();
  packet.bytes[41] = 200;  // the option header is longer than the packet
  Standing broken(packet, Hook::kForward);
  RuleRunner any(Family::kIpv6, TableKind::kFilter, "-i eth0");
  EXPECT_TRUE(any.Matches(&broken));
  EXPECT_FALSE(broken.state.hotdrop);
  RuleRunner other(Family::kIpv6, TableKind::kFilter, "-i eth1 -p udp");
  EXPECT_FALSE(other.Matches(&broken));
  EXPECT_FALSE(broken.state.hotdrop);
  RuleRunner udp(Family::kIpv6, TableKind::kFilter, "! -p udp");
  EXPECT_FALSE(udp.Matches(&broken));
  EXPECT_TRUE(broken.state.hotdrop);
}

}  // namespace
}  // namespace nfarena::xt
