#include <gtest/gtest.h>

#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"

namespace nfarena::xt {
namespace {

using testing::ExpectMatches;
using testing::Ipv4;
using testing::Ipv6;
using testing::kAck;
using testing::kEce;
using testing::kFin;
using testing::kRst;
using testing::kSyn;
using testing::RuleRunner;
using testing::Standing;

constexpr uint8_t kMss = 2, kSackPermitted = 4, kTimestamps = 8;

bool Hotdropped(Family family, const char* rule, const Packet& packet) {
  RuleRunner runner(family, TableKind::kFilter, rule);
  EXPECT_EQ(runner.error(), "") << rule;
  Standing standing(packet, Hook::kForward);
  EXPECT_FALSE(runner.Matches(&standing)) << rule;
  return standing.state.hotdrop;
}

TEST(MatchPorts, TcpPorts) {
  const auto to = [](uint16_t port) { return Ipv4().Tcp(1024, port).Build(); };
  const auto from = [](uint16_t port) { return Ipv4().Tcp(port, 80).Build(); };
  ExpectMatches(
      Family::kIpv4,
      {
          {"-p tcp -m tcp --dport 22", to(22), true},
          {"-p tcp -m tcp --dport 22", to(21), false},
          {"-p tcp -m tcp --dport 22", to(23), false},
          {"-p tcp -m tcp ! --dport 22", to(22), false},
          {"-p tcp -m tcp ! --dport 22", to(23), true},
          {"-p tcp -m tcp --dport 100:200", to(99), false},
          {"-p tcp -m tcp --dport 100:200", to(100), true},
          {"-p tcp -m tcp --dport 100:200", to(200), true},
          {"-p tcp -m tcp --dport 100:200", to(201), false},
          {"-p tcp -m tcp ! --dport 100:200", to(200), false},
          {"-p tcp -m tcp ! --dport 100:200", to(201), true},
          {"-p tcp -m tcp --dport 65535", to(65535), true},
          {"-p tcp -m tcp --dport 0", to(0), true},
          {"-p tcp -m tcp --sport 1024:", from(1023), false},
          {"-p tcp -m tcp --sport 1024:", from(1024), true},
          {"-p tcp -m tcp --sport :1023", from(1023), true},
          {"-p tcp -m tcp --sport :1023", from(1024), false},
          {"-p tcp -m tcp ! --sport :1023", from(1024), true},
          {"-p tcp -m tcp --sport 1024 --dport 22", to(22), true},
          {"-p tcp -m tcp --sport 1025 --dport 22", to(22), false},
          {"-p tcp -m tcp --dport 22", Ipv4().Udp(1024, 22).Build(), false},
      });
  ExpectMatches(
      Family::kIpv6,
      {
          {"-p tcp -m tcp --dport 22", Ipv6().Tcp(1024, 22).Build(), true},
          {"-p tcp -m tcp --dport 22", Ipv6().Tcp(1024, 23).Build(), false},
          {"-p tcp -m tcp --dport 22",
           Ipv6().Extension(60, {1, 4, 0, 0, 0, 0}).Tcp(1024, 22).Build(),
           true},
      });
}

TEST(MatchPorts, TcpFlags) {
  const auto with = [](unsigned flags) {
    return Ipv4().Tcp(1, 2, static_cast<uint8_t>(flags)).Build();
  };
  ExpectMatches(
      Family::kIpv4,
      {
          {"-p tcp -m tcp --syn", with(kSyn), true},
          {"-p tcp -m tcp --syn", with(kSyn | kEce), true},
          {"-p tcp -m tcp --syn", with(kSyn | kAck), false},
          {"-p tcp -m tcp --syn", with(kSyn | kFin), false},
          {"-p tcp -m tcp ! --syn", with(kSyn), false},
          {"-p tcp -m tcp ! --syn", with(kAck), true},
          {"-p tcp -m tcp --tcp-flags SYN,RST SYN,RST", with(kSyn | kRst),
           true},
          {"-p tcp -m tcp --tcp-flags SYN,RST SYN,RST", with(kSyn), false},
          {"-p tcp -m tcp --tcp-flags ALL NONE", with(0), true},
          {"-p tcp -m tcp --tcp-flags ALL NONE", with(kFin), false},
          {"-p tcp -m tcp --tcp-flags ALL ALL", with(0x3f), true},
          {"-p tcp -m tcp --tcp-flags ALL ALL", with(0x3e), false},
      });
}

TEST(MatchPorts, TcpOptions) {
  const auto with = [](std::vector<uint8_t> options) {
    return Ipv4().Tcp(1, 2, kSyn, std::move(options)).Build();
  };
  const std::vector<uint8_t> usual = {kMss,           4, 5, 0xb4,
                                      kSackPermitted, 2, 1, 1};
  ExpectMatches(
      Family::kIpv4,
      {
          {"-p tcp -m tcp --tcp-option 2", with(usual), true},
          {"-p tcp -m tcp --tcp-option 4", with(usual), true},
          {"-p tcp -m tcp --tcp-option 8", with(usual), false},
          {"-p tcp -m tcp ! --tcp-option 8", with(usual), true},
          {"-p tcp -m tcp ! --tcp-option 4", with(usual), false},
          {"-p tcp -m tcp --tcp-option 8", with({}), false},
          {"-p tcp -m tcp ! --tcp-option 8", with({}), true},
          // The body of an option is not an option of its own ...
          {"-p tcp -m tcp --tcp-option 5", with(usual), false},
          // ... a length of zero is passed as one byte ...
          {"-p tcp -m tcp --tcp-option 8", with({3, 0, kTimestamps, 0}), true},
          {"-p tcp -m tcp --tcp-option 8", with({3, 0, 0, kTimestamps}), true},
          // ... an option that points past the end ends the search ...
          {"-p tcp -m tcp --tcp-option 8", with({3, 40, kTimestamps, 2}),
           false},
          // ... and what follows "end of options" still counts.
          {"-p tcp -m tcp --tcp-option 8", with({0, kTimestamps, 2, 0}), true},
      });
}

TEST(MatchPorts, UdpPorts) {
  const auto to = [](uint16_t port) { return Ipv4().Udp(1024, port).Build(); };
  ExpectMatches(Family::kIpv4,
                {
                    {"-p udp -m udp --dport 53", to(53), true},
                    {"-p udp -m udp --dport 53", to(54), false},
                    {"-p udp -m udp ! --dport 53", to(53), false},
                    {"-p udp -m udp --dport 50:60", to(50), true},
                    {"-p udp -m udp --dport 50:60", to(60), true},
                    {"-p udp -m udp --dport 50:60", to(61), false},
                    {"-p udp -m udp --sport 1024", to(53), true},
                    {"-p udp -m udp ! --sport 1024", to(53), false},
                });
}

/// iptables has no options for udplite, but the kernel has the match.
TEST(MatchPorts, Udplite) {
  const XtMatch* udplite = FindXtMatch(Family::kIpv4, "udplite", 0);
  ASSERT_NE(udplite, nullptr);
  const uint16_t ports[] = {0, 65535, 53, 53, 0, 0, 0, 0};
  const auto* payload = reinterpret_cast<const uint8_t*>(ports);
  XtUse use;
  use.protocol = IPPROTO_UDPLITE;
  EXPECT_TRUE(udplite->check({payload, sizeof(ports)}, use).has_value());
  use.protocol = IPPROTO_UDP;
  EXPECT_FALSE(udplite->check({payload, sizeof(ports)}, use).has_value());
  for (const uint16_t port : {uint16_t{53}, uint16_t{54}}) {
    Standing standing(Ipv4().Udp(1, port, IPPROTO_UDPLITE).Build(),
                      Hook::kForward);
    EXPECT_EQ(
        udplite->match(payload, {&standing.state, TableKind::kFilter, nullptr}),
        port == 53);
  }
}

TEST(MatchPorts, Multiport) {
  const auto packet = [](uint16_t sport, uint16_t dport) {
    return Ipv4().Tcp(sport, dport).Build();
  };
  const char* dports = "-p tcp -m multiport --dports 22,80:90,443";
  const char* not_dports = "-p tcp -m multiport ! --dports 22,80:90,443";
  ExpectMatches(
      Family::kIpv4,
      {
          {dports, packet(1, 22), true},
          {dports, packet(1, 23), false},
          {dports, packet(1, 79), false},
          {dports, packet(1, 80), true},
          {dports, packet(1, 90), true},
          {dports, packet(1, 91), false},
          {dports, packet(1, 443), true},
          {dports, packet(22, 1), false},
          {not_dports, packet(1, 22), false},
          {not_dports, packet(1, 91), true},
          {"-p tcp -m multiport --sports 22,80", packet(80, 1), true},
          {"-p tcp -m multiport --sports 22,80", packet(1, 80), false},
          {"-p tcp -m multiport --ports 22,80:81", packet(1, 81), true},
          {"-p tcp -m multiport --ports 22,80:81", packet(81, 1), true},
          {"-p tcp -m multiport --ports 22,80:81", packet(1, 82), false},
          {"-p tcp -m multiport ! --ports 22,80", packet(1, 80), false},
          {"-p udp -m multiport --dports 53", Ipv4().Udp(1, 53).Build(), true},
      });
}

TEST(MatchPorts, LaterFragmentsHaveNoPorts) {
  const auto fragment = [](uint16_t offset) {
    return Ipv4().Tcp(1024, 22).Fragment(offset, true).Build();
  };
  ExpectMatches(Family::kIpv4,
                {
                    {"-p tcp -m tcp --dport 22", fragment(0), true},
                    {"-p tcp -m tcp --dport 22", fragment(2), false},
                    {"-p tcp -m tcp ! --dport 1", fragment(2), false},
                    {"-p tcp -m multiport --dports 22", fragment(1), false},
                    {"-p udp -m udp --dport 22",
                     Ipv4().Udp(1, 22).Fragment(1, false).Build(), false},
                    {"-p udp -m udp ! --dport 1",
                     Ipv4().Udp(1, 22).Fragment(1, false).Build(), false},
                });
  // The one that would overwrite the flags is dropped at sight, in IPv4.
  EXPECT_TRUE(
      Hotdropped(Family::kIpv4, "-p tcp -m tcp --dport 22", fragment(1)));
  EXPECT_FALSE(Hotdropped(Family::kIpv6, "-p tcp -m tcp --dport 22",
                          Ipv6().Tcp(1024, 22).Fragment(1, true).Build()));
}

TEST(MatchPorts, TruncatedHeadersAreDropped) {
  const auto tcp = [](size_t bytes) {
    return Ipv4().Tcp(1024, 22).Cut(bytes).Build();
  };
  const auto udp = [](size_t bytes) {
    return Ipv6().Udp(1024, 53).Cut(bytes).Build();
  };
  EXPECT_TRUE(Hotdropped(Family::kIpv4, "-p tcp -m tcp --dport 22", tcp(19)));
  EXPECT_TRUE(Hotdropped(Family::kIpv4, "-p tcp -m tcp --dport 22", tcp(0)));
  EXPECT_TRUE(
      Hotdropped(Family::kIpv4, "-p tcp -m multiport --dports 1", tcp(3)));
  EXPECT_FALSE(
      Hotdropped(Family::kIpv4, "-p tcp -m multiport --dports 1", tcp(4)));
  EXPECT_TRUE(Hotdropped(Family::kIpv6, "-p udp -m udp --dport 53", udp(7)));
  ExpectMatches(Family::kIpv6, {{"-p udp -m udp --dport 53", udp(8), true}});
  // Options that the header promises and the packet does not have.
  EXPECT_TRUE(Hotdropped(Family::kIpv4, "-p tcp -m tcp --tcp-option 8",
                         Ipv4().Tcp(1, 2, kSyn, {1, 1, 1, 1}).Cut(22).Build()));
  // A data offset smaller than the header.
  Packet packet = Ipv4().Tcp(1, 2).Build();
  packet.bytes[20 + 12] = 0x40;
  EXPECT_TRUE(
      Hotdropped(Family::kIpv4, "-p tcp -m tcp --tcp-option 8", packet));
}

}  // namespace
}  // namespace nfarena::xt
