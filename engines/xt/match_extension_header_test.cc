#include <gtest/gtest.h>

#include "engines/xt/ipv6_headers.h"
#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"

namespace nfarena::xt {
namespace {

using testing::ExpectMatches;
using testing::Ipv6;
using testing::ParseAddress;
using testing::RuleRunner;
using testing::Standing;

/// A routing header: type, segments left, reserved word, addresses.
std::vector<uint8_t> Routing(uint8_t type, uint8_t segments,
                             const std::vector<const char*>& addresses) {
  std::vector<uint8_t> body = {type, segments, 0, 0, 0, 0};
  for (const char* text : addresses) {
    const Address address = ParseAddress(text);
    body.insert(body.end(), address.begin(), address.end());
  }
  return body;
}

Packet WithRouting(uint8_t type, uint8_t segments,
                   const std::vector<const char*>& addresses) {
  return Ipv6()
      .Extension(kHeaderRouting, Routing(type, segments, addresses))
      .Udp(1, 2)
      .Build();
}

TEST(MatchExtensionHeader, Routing) {
  const Packet plain = Ipv6().Build();
  const Packet two = WithRouting(0, 1, {"2001:db8::a", "2001:db8::b"});
  ExpectMatches(
      Family::kIpv6,
      {
          {"-m rt --rt-type 0", two, true},
          {"-m rt --rt-type 0", plain, false},
          {"-m rt --rt-type 2", two, false},
          {"-m rt ! --rt-type 2", two, true},
          {"-m rt ! --rt-type 2", plain, false},
          {"-m rt --rt-segsleft 1", two, true},
          {"-m rt --rt-segsleft 2:3", two, false},
          {"-m rt ! --rt-segsleft 2:3", two, true},
          {"-m rt --rt-len 40", two, true},
          {"-m rt --rt-len 24", two, false},
          {"-m rt ! --rt-len 24", two, true},
          {"-m rt --rt-type 0 --rt-0-res", two, true},
          {"-m rt --rt-type 0 --rt-0-addrs 2001:db8::a,2001:db8::b", two, true},
          {"-m rt --rt-type 0 --rt-0-addrs 2001:db8::a", two, false},
          {"-m rt --rt-type 0 --rt-0-addrs 2001:db8::b,2001:db8::a", two,
           false},
          {"-m rt --rt-type 0 --rt-0-addrs 2001:db8::b --rt-0-not-strict", two,
           true},
          {"-m rt --rt-type 0 --rt-0-addrs 2001:db8::c --rt-0-not-strict", two,
           false},
      });
}

TEST(MatchExtensionHeader, Fragment) {
  const auto fragment = [](uint16_t offset, bool more) {
    return Ipv6().Udp(1, 2).Fragment(offset, more).Build();
  };
  ExpectMatches(Family::kIpv6,
                {
                    {"-m frag --fragfirst", fragment(0, true), true},
                    {"-m frag --fragfirst", fragment(1, true), false},
                    {"-m frag --fragfirst", Ipv6().Build(), false},
                    {"-m frag --fragmore", fragment(1, true), true},
                    {"-m frag --fragmore", fragment(1, false), false},
                    {"-m frag --fraglast", fragment(1, false), true},
                    {"-m frag --fraglast", fragment(1, true), false},
                    {"-m frag --fragres", fragment(1, true), true},
                    {"-m frag --fragid 305419896", fragment(1, true), true},
                    {"-m frag --fragid 305419897", fragment(1, true), false},
                    {"-m frag ! --fragid 305419897", fragment(1, true), true},
                    {"-m frag --fragid 0:305419895", fragment(1, true), false},
                });
}

TEST(MatchExtensionHeader, Options) {
  // Router alert (type 5, 2 bytes), then PadN of 2.
  const Packet hop =
      Ipv6().Extension(kHeaderHopByHop, {5, 2, 0, 0, 1, 0}).Udp(1, 2).Build();
  const Packet destination =
      Ipv6().Extension(kHeaderDestination, {201, 4, 1, 2, 3, 4}).Build();
  ExpectMatches(Family::kIpv6,
                {
                    {"-m hbh --hbh-len 8", hop, true},
                    {"-m hbh --hbh-len 16", hop, false},
                    {"-m hbh ! --hbh-len 16", hop, true},
                    {"-m hbh --hbh-len 8", destination, false},
                    {"-m hbh --hbh-opts 5:2", hop, true},
                    {"-m hbh --hbh-opts 5", hop, true},
                    {"-m hbh --hbh-opts 5:2,1:0", hop, true},
                    {"-m hbh --hbh-opts 5:3", hop, false},
                    {"-m hbh --hbh-opts 1:0", hop, false},
                    {"-m hbh --hbh-opts 5:2,1:0,1:0", hop, false},
                    {"-m dst --dst-len 8", destination, true},
                    {"-m dst --dst-opts 201:4", destination, true},
                    {"-m dst --dst-opts 200:4", destination, false},
                    {"-m dst --dst-opts 201:4", hop, false},
                });
}

TEST(MatchExtensionHeader, Ah) {
  // Reserved word, SPI 256, sequence number.
  const Packet packet =
      Ipv6()
          .Extension(kHeaderAh, {0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0})
          .Udp(1, 2)
          .Build();
  ExpectMatches(Family::kIpv6,
                {
                    {"-m ah --ahspi 256", packet, true},
                    {"-m ah --ahspi 257", packet, false},
                    {"-m ah ! --ahspi 257", packet, true},
                    {"-m ah --ahlen 16", packet, true},
                    {"-m ah --ahlen 24", packet, false},
                    {"-m ah --ahspi 0:4294967295 --ahres", packet, true},
                    {"-m ah --ahspi 0:4294967295", Ipv6().Build(), false},
                });
}

TEST(MatchExtensionHeader, WhichHeadersThereAre) {
  const Packet plain = Ipv6().Udp(1, 2).Build();
  const Packet hop =
      Ipv6().Extension(kHeaderHopByHop, {5, 2, 0, 0}).Udp(1, 2).Build();
  const Packet esp = Ipv6().Protocol(50, {0, 0, 0, 1, 0, 0, 0, 1}).Build();
  const Packet none = Ipv6().Protocol(59, {}).Build();
  ExpectMatches(Family::kIpv6,
                {
                    {"-m ipv6header --header prot", plain, true},
                    {"-m ipv6header --header prot", hop, false},
                    {"-m ipv6header ! --header prot", hop, true},
                    {"-m ipv6header --header hop-by-hop,prot", hop, true},
                    {"-m ipv6header --header hop-by-hop,prot", plain, false},
                    {"-m ipv6header --header prot --soft", hop, true},
                    {"-m ipv6header --header hop --soft", hop, true},
                    {"-m ipv6header --header route --soft", hop, false},
                    {"-m ipv6header --header esp", esp, true},
                    {"-m ipv6header --header esp", plain, false},
                    {"-m ipv6header --header none", none, true},
                    {"-m ipv6header --header none", plain, false},
                });
}

TEST(MatchExtensionHeader, Eui64) {
  const auto from = [](const char* address) {
    return Ipv6()
        .From(address)
        .Mac({0x02, 0x11, 0x22, 0x33, 0x44, 0x55}, {2, 0, 0, 0, 0, 1})
        .Build();
  };
  ExpectMatches(Family::kIpv6,
                {
                    {"-m eui64", from("2001:db8::11:22ff:fe33:4455"), true},
                    {"-m eui64", from("2001:db8::11:22ff:fe33:4456"), false},
                    {"-m eui64",
                     Ipv6().From("2001:db8::11:22ff:fe33:4455").Build(), false},
                });
}

TEST(MatchExtensionHeader, BrokenHeadersAreDropped) {
  struct Case {
    const char* rule;
    Packet packet;
  };
  Packet routing = WithRouting(0, 1, {"2001:db8::a"});
  routing.bytes.resize(44);
  Packet options =
      Ipv6().Extension(kHeaderHopByHop, {5, 2, 0, 0}).Udp(1, 2).Build();
  options.bytes[41] = 9;  // says 80 bytes
  Packet behind =
      Ipv6().Extension(kHeaderHopByHop, {5, 2, 0, 0}).Udp(1, 2).Build();
  behind.bytes[41] = 9;
  const Case cases[] = {
      {"-m rt --rt-type 0", routing},
      {"-m hbh --hbh-len 8", options},
      {"-m frag --fragfirst", behind},
  };
  for (const Case& c : cases) {
    RuleRunner runner(Family::kIpv6, TableKind::kFilter, c.rule);
    ASSERT_EQ(runner.error(), "") << c.rule;
    Standing standing(c.packet, Hook::kForward);
    EXPECT_FALSE(runner.Matches(&standing)) << c.rule;
    EXPECT_TRUE(standing.state.hotdrop) << c.rule;
  }
}

}  // namespace
}  // namespace nfarena::xt
