#include "engines/reference/condition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engines/reference/testing/ask.h"
#include "engines/reference/testing/stand.h"

namespace nfarena::reference {
namespace {

using testing::Answer;
using testing::Ask;
using testing::AskAll;
using testing::Bench;
using testing::Fields;
using testing::kAck;
using testing::kFin;
using testing::kHit;
using testing::kHotdrop;
using testing::kMiss;
using testing::kSyn;
using testing::Stand;

TEST(Selector, Ipv4) {
  AskAll({
      {"-s 192.0.2.0/24", {.src = "192.0.2.0"}, kHit},
      {"-s 192.0.2.0/24", {.src = "192.0.2.255"}, kHit},
      {"-s 192.0.2.0/24", {.src = "192.0.1.255"}, kMiss},
      {"-s 192.0.2.0/24", {.src = "192.0.3.0"}, kMiss},
      {"! -s 192.0.2.0/24", {.src = "192.0.3.0"}, kHit},
      {"! -s 192.0.2.0/24", {.src = "192.0.2.7"}, kMiss},
      {"-d 198.51.100.1", {.dst = "198.51.100.1"}, kHit},
      {"-d 198.51.100.1", {.dst = "198.51.100.2"}, kMiss},
      {"! -d 198.51.100.1", {.dst = "198.51.100.2"}, kHit},
      {"-d 0.0.0.1/0.0.0.255", {.dst = "203.0.113.1"}, kHit},
      {"-d 0.0.0.1/0.0.0.255", {.dst = "203.0.113.2"}, kMiss},
      {"-s 0.0.0.0/0", {}, kHit},
      {"-i eth0", {}, kHit},
      {"-i eth1", {}, kMiss},
      {"-i eth", {}, kMiss},
      {"-i eth+", {}, kHit},
      {"-i eth+", {.in = "et"}, kMiss},
      {"! -i eth0", {.in = "eth01"}, kHit},
      {"! -i eth+", {}, kMiss},
      {"-o eth1", {}, kHit},
      {"-o eth1", {.out = "eth10"}, kMiss},
      {"! -o eth1", {.out = "eth10"}, kHit},
      {"-p tcp", {}, kHit},
      {"-p udp", {}, kMiss},
      {"! -p udp", {}, kHit},
      {"! -p tcp", {}, kMiss},
      {"-f", {.fragment_offset = 1}, kHit},
      {"-f", {.more_fragments = true}, kMiss},
      {"! -f", {.more_fragments = true}, kHit},
      {"! -f", {.fragment_offset = 1}, kMiss},
      {"-p tcp -f", {.fragment_offset = 1}, kHit},
  });
}

TEST(Selector, Ipv6) {
  const auto v6 = [](const char* src, const char* dst = "2001:db8:1::1") {
    return Fields{.src = src, .dst = dst};
  };
  AskAll({
      {"-s 2001:db8::/32", v6("2001:db8:ffff::1"), kHit},
      {"-s 2001:db8::/32", v6("2001:db9::1"), kMiss},
      {"-s 2001:db8::/33", v6("2001:db8:7fff::1"), kHit},
      {"-s 2001:db8::/33", v6("2001:db8:8000::1"), kMiss},
      {"! -s 2001:db8::/33", v6("2001:db8:8000::1"), kHit},
      {"-d 2001:db8:1::1", v6("2001:db8::1", "2001:db8:1::1"), kHit},
      {"-d 2001:db8:1::1", v6("2001:db8::1", "2001:db8:1::2"), kMiss},
      {"-p tcp", v6("2001:db8::1"), kHit},
      {"-p udp", v6("2001:db8::1"), kMiss},
      {"! -p udp", v6("2001:db8::1"), kHit},
  });
}

TEST(Selector, Ipv6BrokenExtensionHeaders) {
  // A hop-by-hop header that claims more bytes than there are.
  Stand stand({.src = "2001:db8::1", .dst = "2001:db8:1::1", .protocol = 59},
              Hook::kForward);
  stand.state.bytes[6] = 0;
  stand.state.bytes.insert(stand.state.bytes.end(), {6, 255, 0, 0});
  stand.state.bytes[5] = 4;
  ParseHeaders(&stand.state);
  ASSERT_FALSE(stand.state.headers.transport_ok);

  Bench no_protocol(Family::kIpv6, TableKind::kMangle,
                    "-A FORWARD -s 2001:db8::/32 -j RETURN");
  EXPECT_EQ(no_protocol.Evaluate(&stand).kind, VerdictKind::kAccept);
  // The address is tested first: a rule about another one never asks.
  Bench elsewhere(Family::kIpv6, TableKind::kMangle,
                  "-A FORWARD -s 2001:db9::/32 -p udp -j RETURN");
  EXPECT_EQ(elsewhere.Evaluate(&stand).kind, VerdictKind::kAccept);
  Bench protocol(Family::kIpv6, TableKind::kMangle,
                 "-A FORWARD ! -p udp -j RETURN");
  EXPECT_EQ(protocol.Evaluate(&stand).kind, VerdictKind::kDrop);
  EXPECT_TRUE(stand.state.hotdrop);
}

TEST(Condition, TcpPorts) {
  AskAll({
      {"-p tcp --dport 80", {.dport = 80}, kHit},
      {"-p tcp --dport 80", {.dport = 79}, kMiss},
      {"-p tcp --dport 80", {.dport = 81}, kMiss},
      {"-p tcp ! --dport 80", {.dport = 81}, kHit},
      {"-p tcp ! --dport 80", {.dport = 80}, kMiss},
      {"-p tcp --dport 80:90", {.dport = 79}, kMiss},
      {"-p tcp --dport 80:90", {.dport = 80}, kHit},
      {"-p tcp --dport 80:90", {.dport = 90}, kHit},
      {"-p tcp --dport 80:90", {.dport = 91}, kMiss},
      {"-p tcp --dport :90", {.dport = 0}, kHit},
      {"-p tcp --dport 90:", {.dport = 65535}, kHit},
      {"-p tcp --dport 0:65535", {.dport = 1}, kHit},
      {"-p tcp --sport 40000", {}, kHit},
      {"-p tcp --sport 40001", {}, kMiss},
      {"-p tcp --sport 40000 --dport 80", {.dport = 80}, kHit},
      {"-p tcp --sport 40000 --dport 80", {.dport = 81}, kMiss},
      {"-p tcp --dport 80", {.protocol = 17, .dport = 80}, kMiss},
      {"-p tcp --dport 80",
       {.src = "2001:db8::1", .dst = "2001:db8:1::1", .dport = 80},
       kHit},
      {"-p tcp --dport 80",
       {.src = "2001:db8::1", .dst = "2001:db8:1::1", .dport = 81},
       kMiss},
  });
}

TEST(Condition, TcpBrokenHeadersAreDroppedOnlyWhenAskedAbout) {
  AskAll({
      {"-p tcp --dport 80", {.cut = 20}, kHit},
      {"-p tcp --dport 80", {.cut = 19}, kHotdrop},
      {"-p tcp --dport 81", {.cut = 4}, kHotdrop},
      {"-p tcp ! --dport 81", {.cut = 0}, kHotdrop},
      {"-p tcp", {.cut = 0}, kHit},
      {"-p tcp --dport 80", {.fragment_offset = 1}, kHotdrop},
      {"-p tcp --dport 80", {.fragment_offset = 2}, kMiss},
      {"-p tcp ! --dport 80", {.fragment_offset = 185}, kMiss},
      {"-p tcp --dport 80", {.more_fragments = true}, kHit},
      {"-p udp --dport 80", {.fragment_offset = 1}, kMiss},
      {"-p udp --dport 53", {.protocol = 17, .dport = 53, .cut = 7}, kHotdrop},
      {"-p udp --dport 53", {.protocol = 17, .dport = 53, .cut = 8}, kHit},
      {"-p udp --dport 53",
       {.protocol = 17, .dport = 53, .fragment_offset = 1},
       kMiss},
      {"-p udp --dport 53",
       {.src = "2001:db8::1",
        .dst = "2001:db8:1::1",
        .protocol = 17,
        .dport = 53,
        .fragment_offset = 185},
       kMiss},
  });
}

TEST(Condition, TcpFlags) {
  AskAll({
      {"-p tcp --syn", {.flags = kSyn}, kHit},
      {"-p tcp --syn", {.flags = kSyn | kAck}, kMiss},
      {"-p tcp ! --syn", {.flags = kSyn | kAck}, kHit},
      {"-p tcp ! --syn", {.flags = kSyn}, kMiss},
      {"-p tcp --syn", {.flags = kSyn | 0x40}, kHit},  // ECE is not asked for
      {"-p tcp --tcp-flags ALL NONE", {.flags = 0}, kHit},
      {"-p tcp --tcp-flags ALL NONE", {.flags = kFin}, kMiss},
      {"-p tcp --tcp-flags ALL ALL", {.flags = 0x3f}, kHit},
      {"-p tcp --tcp-flags ALL ALL", {.flags = 0x3e}, kMiss},
      {"-p tcp --tcp-flags SYN,FIN SYN,FIN", {.flags = 0x03}, kHit},
      {"-p tcp --tcp-flags SYN,FIN SYN,FIN", {.flags = 0x02}, kMiss},
  });
}

TEST(Condition, TcpOptions) {
  const std::vector<uint8_t> mss = {2, 4, 5, 180};
  const std::vector<uint8_t> nops_then_timestamp = {1, 1, 8, 10, 0, 0,
                                                    0, 1, 0, 0,  0, 0};
  AskAll({
      {"-p tcp --tcp-option 2", {.options = mss}, kHit},
      {"-p tcp --tcp-option 8", {.options = mss}, kMiss},
      {"-p tcp ! --tcp-option 8", {.options = mss}, kHit},
      {"-p tcp --tcp-option 8", {.options = nops_then_timestamp}, kHit},
      // The value of an option is not taken for a kind.
      {"-p tcp --tcp-option 5", {.options = mss}, kMiss},
      {"-p tcp --tcp-option 8", {}, kMiss},
      {"-p tcp ! --tcp-option 8", {}, kHit},
      // An option of length 0 counts one byte: the scan must end.
      {"-p tcp --tcp-option 9", {.options = {3, 0, 9, 0}}, kHit},
  });
}

TEST(Condition, TcpOptionInAHeaderThatIsNotThere) {
  for (const uint8_t offset : std::vector<uint8_t>{0x00, 0x40, 0x60}) {
    Stand stand({}, Hook::kForward);
    stand.state.bytes[32] = offset;  // 0 and 4 words: too few; 6: not there
    Bench bench(Family::kIpv4, TableKind::kMangle,
                "-A FORWARD -p tcp --tcp-option 8 -j ACCEPT");
    EXPECT_EQ(bench.Evaluate(&stand).kind, VerdictKind::kDrop) << int{offset};
    EXPECT_TRUE(stand.state.hotdrop);
  }
}

TEST(Condition, Icmp) {
  const auto icmp = [](uint8_t type, uint8_t code, size_t cut = SIZE_MAX) {
    return Fields{.protocol = 1, .type = type, .code = code, .cut = cut};
  };
  const auto icmp6 = [](uint8_t type, uint8_t code) {
    return Fields{.src = "2001:db8::1",
                  .dst = "2001:db8:1::1",
                  .protocol = 58,
                  .type = type,
                  .code = code};
  };
  AskAll({
      {"-p icmp --icmp-type echo-request", icmp(8, 0), kHit},
      {"-p icmp --icmp-type echo-request", icmp(0, 0), kMiss},
      {"-p icmp ! --icmp-type echo-request", icmp(0, 0), kHit},
      {"-p icmp --icmp-type 3/4", icmp(3, 4), kHit},
      {"-p icmp --icmp-type 3/4", icmp(3, 3), kMiss},
      {"-p icmp --icmp-type 3/4", icmp(3, 5), kMiss},
      {"-p icmp --icmp-type 3", icmp(3, 255), kHit},
      {"-p icmp --icmp-type any", icmp(77, 1), kHit},
      {"-p icmp --icmp-type 8", icmp(8, 0, 7), kHotdrop},
      {"-p icmp --icmp-type 8", icmp(8, 0, 8), kHit},
      {"-p icmp", icmp(8, 0, 0), kHit},
      {"-p icmpv6 --icmpv6-type 135", icmp6(135, 0), kHit},
      {"-p icmpv6 --icmpv6-type 135", icmp6(136, 0), kMiss},
      {"-p icmpv6 ! --icmpv6-type 135", icmp6(136, 0), kHit},
      {"-p icmpv6 --icmpv6-type 1/4", icmp6(1, 4), kHit},
      {"-p icmpv6 --icmpv6-type 1/4", icmp6(1, 3), kMiss},
  });
}

TEST(Condition, Multiport) {
  AskAll({
      {"-p tcp -m multiport --dports 22,80,443", {.dport = 443}, kHit},
      {"-p tcp -m multiport --dports 22,80,443", {.dport = 444}, kMiss},
      {"-p tcp -m multiport ! --dports 22,80,443", {.dport = 444}, kHit},
      {"-p tcp -m multiport ! --dports 22,80,443", {.dport = 22}, kMiss},
      {"-p tcp -m multiport --dports 22,100:200", {.dport = 99}, kMiss},
      {"-p tcp -m multiport --dports 22,100:200", {.dport = 100}, kHit},
      {"-p tcp -m multiport --dports 22,100:200", {.dport = 200}, kHit},
      {"-p tcp -m multiport --dports 22,100:200", {.dport = 201}, kMiss},
      {"-p tcp -m multiport --sports 40000", {}, kHit},
      {"-p tcp -m multiport --sports 80", {}, kMiss},
      {"-p tcp -m multiport --ports 80", {}, kHit},
      {"-p tcp -m multiport --ports 40000", {}, kHit},
      {"-p tcp -m multiport --ports 81", {}, kMiss},
      {"-p tcp -m multiport --dports 80", {.cut = 3}, kHotdrop},
      {"-p tcp -m multiport --dports 80", {.cut = 4}, kHit},
      {"-p tcp -m multiport --dports 80", {.fragment_offset = 1}, kMiss},
      {"-p sctp -m multiport --dports 80", {.protocol = 132}, kHit},
  });
}

TEST(Condition, Iprange) {
  constexpr auto kRule = "-m iprange --src-range 192.0.2.10-192.0.2.20";
  constexpr auto kNot = "-m iprange ! --src-range 192.0.2.10-192.0.2.20";
  AskAll({
      {kRule, {.src = "192.0.2.9"}, kMiss},
      {kRule, {.src = "192.0.2.10"}, kHit},
      {kRule, {.src = "192.0.2.20"}, kHit},
      {kRule, {.src = "192.0.2.21"}, kMiss},
      {kNot, {.src = "192.0.2.21"}, kHit},
      {kNot, {.src = "192.0.2.20"}, kMiss},
      // Numbers, not bytes: 192.0.3.0 is over 192.0.2.20 although 0 < 20.
      {kRule, {.src = "192.0.3.15"}, kMiss},
      {"-m iprange --dst-range 198.51.100.1-198.51.100.1", {}, kHit},
      {"-m iprange --dst-range 198.51.100.2-198.51.100.9", {}, kMiss},
      {"-m iprange --src-range 2001:db8::1:0-2001:db8::2:0",
       {.src = "2001:db8::1:ffff", .dst = "2001:db8:1::1"},
       kHit},
      {"-m iprange --src-range 2001:db8::1:0-2001:db8::2:0",
       {.src = "2001:db8::2:1", .dst = "2001:db8:1::1"},
       kMiss},
  });
}

TEST(Condition, HeaderFields) {
  AskAll({
      {"-m length --length 40", {}, kHit},
      {"-m length --length 41:", {}, kMiss},
      {"-m length --length :39", {}, kMiss},
      {"-m length ! --length 41:", {}, kHit},
      {"-m length --length 60",
       {.src = "2001:db8::1", .dst = "2001:db8:1::1"},
       kHit},
      {"-m dscp --dscp 0x2e", {.tos = 0xb8}, kHit},
      {"-m dscp --dscp 0x2e", {.tos = 0xbb}, kHit},  // ECN is not part of it
      {"-m dscp --dscp 0x2e", {.tos = 0xb4}, kMiss},
      {"-m dscp ! --dscp 0x2e", {.tos = 0xb4}, kHit},
      {"-m dscp --dscp 0x2e",
       {.src = "2001:db8::1", .dst = "2001:db8:1::1", .tos = 0xb9},
       kHit},
      {"-m tos --tos 0x10/0x1e", {.tos = 0xf1}, kHit},
      {"-m tos --tos 0x10/0x1e", {.tos = 0x18}, kMiss},
      {"-m tos ! --tos 0x10/0x1e", {.tos = 0x18}, kHit},
      {"-m ttl --ttl-eq 64", {.ttl = 64}, kHit},
      {"-m ttl --ttl-eq 64", {.ttl = 63}, kMiss},
      {"-m ttl ! --ttl-eq 64", {.ttl = 63}, kHit},
      {"-m ttl --ttl-gt 64", {.ttl = 64}, kMiss},
      {"-m ttl --ttl-gt 64", {.ttl = 65}, kHit},
      {"-m ttl --ttl-lt 64", {.ttl = 64}, kMiss},
      {"-m ttl --ttl-lt 64", {.ttl = 63}, kHit},
      {"-m hl --hl-eq 255",
       {.src = "2001:db8::1", .dst = "2001:db8:1::1", .ttl = 255},
       kHit},
      {"-m hl --hl-lt 255",
       {.src = "2001:db8::1", .dst = "2001:db8:1::1", .ttl = 255},
       kMiss},
      {"-m mark --mark 1", {.mark = 1}, kHit},
      {"-m mark --mark 1", {.mark = 0x101}, kMiss},
      {"-m mark --mark 1/0xff", {.mark = 0x101}, kHit},
      {"-m mark ! --mark 1/0xff", {.mark = 0x101}, kMiss},
      {"-m comment --comment x", {}, kHit},
  });
}

TEST(Condition, LinkLayer) {
  using Mac = std::array<uint8_t, 6>;
  const Mac mac = {2, 0, 0, 0, 0, 1}, other = {2, 0, 0, 0, 0, 2};
  const Mac broadcast = {255, 255, 255, 255, 255, 255};
  const Mac multicast = {1, 0, 0x5e, 0, 0, 1};
  AskAll({
      {"-m mac --mac-source 02:00:00:00:00:01", {.mac_src = mac}, kHit},
      {"-m mac --mac-source 02:00:00:00:00:01", {.mac_src = other}, kMiss},
      {"-m mac ! --mac-source 02:00:00:00:00:01", {.mac_src = other}, kHit},
      // Without a link-layer header not even the inverted test holds.
      {"-m mac ! --mac-source 02:00:00:00:00:01", {}, kMiss},
      {"-m pkttype --pkt-type unicast", {}, kHit},
      {"-m pkttype --pkt-type unicast", {.mac_dst = mac}, kHit},
      {"-m pkttype --pkt-type broadcast", {.mac_dst = broadcast}, kHit},
      {"-m pkttype --pkt-type multicast", {.mac_dst = broadcast}, kMiss},
      {"-m pkttype --pkt-type multicast", {.mac_dst = multicast}, kHit},
      {"-m pkttype ! --pkt-type multicast", {.mac_dst = multicast}, kMiss},
  });
}

TEST(Condition, AddrtypeIpv4) {
  AskAll(
      {
          {"-m addrtype --dst-type LOCAL", {.dst = "192.0.2.254"}, kHit},
          {"-m addrtype --dst-type LOCAL", {.dst = "192.0.2.253"}, kMiss},
          {"-m addrtype ! --dst-type LOCAL", {.dst = "192.0.2.253"}, kHit},
          {"-m addrtype --dst-type LOCAL", {.dst = "127.0.0.1"}, kHit},
          {"-m addrtype --dst-type UNICAST", {.dst = "203.0.113.1"}, kHit},
          {"-m addrtype --dst-type MULTICAST", {.dst = "224.0.0.1"}, kHit},
          {"-m addrtype --dst-type MULTICAST", {.dst = "223.0.0.1"}, kMiss},
          {"-m addrtype --dst-type BROADCAST",
           {.dst = "255.255.255.255"},
           kHit},
          {"-m addrtype --dst-type BROADCAST", {.dst = "192.0.2.255"}, kHit},
          {"-m addrtype --dst-type BROADCAST", {.dst = "192.0.2.254"}, kMiss},
          {"-m addrtype --src-type LOCAL,UNICAST", {}, kHit},
          {"-m addrtype --dst-type LOCAL --limit-iface-in",
           {.dst = "192.0.2.254"},
           kHit},
          {"-m addrtype --dst-type LOCAL --limit-iface-in",
           {.dst = "198.51.100.254"},
           kMiss},
      },
      Hook::kPrerouting);
}

TEST(Condition, AddrtypeIpv6) {
  const auto to = [](const char* dst) {
    return Fields{.src = "2001:db8::1", .dst = dst};
  };
  AskAll(
      {
          {"-m addrtype --dst-type LOCAL", to("2001:db8::fe"), kHit},
          {"-m addrtype --dst-type LOCAL", to("2001:db8::fd"), kMiss},
          {"-m addrtype --dst-type UNICAST", to("2001:db8::fd"), kHit},
          {"-m addrtype --dst-type UNICAST", to("ff02::1"), kMiss},
          {"-m addrtype --dst-type MULTICAST", to("ff02::1"), kHit},
          // Both must hold here, where IPv4 takes either.
          {"-m addrtype --dst-type UNICAST,LOCAL", to("2001:db8::fd"), kMiss},
          {"-m addrtype --dst-type UNICAST,LOCAL", to("2001:db8::fe"), kHit},
      },
      Hook::kPrerouting);
}

TEST(Condition, Owner) {
  const auto sent = [](std::optional<uint32_t> uid, uint32_t gid = 100) {
    return Fields{.in = "", .uid = uid, .gid = gid};
  };
  AskAll(
      {
          {"-m owner --uid-owner 1000", sent(1000), kHit},
          {"-m owner --uid-owner 1000", sent(1001), kMiss},
          {"-m owner ! --uid-owner 1000", sent(1001), kHit},
          {"-m owner --uid-owner 1000-1999", sent(999), kMiss},
          {"-m owner --uid-owner 1000-1999", sent(1000), kHit},
          {"-m owner --uid-owner 1000-1999", sent(1999), kHit},
          {"-m owner --uid-owner 1000-1999", sent(2000), kMiss},
          {"-m owner --gid-owner 100", sent(1), kHit},
          {"-m owner --gid-owner 101", sent(1), kMiss},
          {"-m owner --uid-owner 0", sent(std::nullopt), kHit},
          {"-m owner --socket-exists", sent(1), kHit},
          {"-m owner ! --socket-exists", sent(1), kMiss},
      },
      Hook::kOutput);
  // Forwarded packets pass POSTROUTING without a socket.
  AskAll(
      {
          {"-m owner --uid-owner 0", {}, kMiss},
          {"-m owner ! --uid-owner 0", {}, kHit},
          {"-m owner --socket-exists", {}, kMiss},
          {"-m owner ! --socket-exists", {}, kHit},
          {"-m owner ! --uid-owner 0 --socket-exists", {}, kMiss},
      },
      Hook::kPostrouting);
}

/// The answer about a tracked packet.
bool AskTracked(std::string_view rule, CtInfo info,
                const Connection& connection) {
  Stand stand({}, Hook::kForward);
  stand.connection = connection;
  stand.Track(info);
  Bench bench(Family::kIpv4, TableKind::kMangle,
              "-A FORWARD " + std::string(rule) + " -j DROP");
  EXPECT_EQ(bench.error(), "") << rule;
  return bench.Evaluate(&stand).kind == VerdictKind::kDrop;
}

TEST(Condition, ConntrackStates) {
  struct StateCase {
    const char* states;
    CtInfo info;
    bool want;
  };
  const StateCase cases[] = {
      {"NEW", CtInfo::kNew, true},
      {"NEW", CtInfo::kEstablished, false},
      {"ESTABLISHED", CtInfo::kEstablished, true},
      {"ESTABLISHED", CtInfo::kEstablishedReply, true},
      {"ESTABLISHED", CtInfo::kRelated, false},
      {"RELATED", CtInfo::kRelated, true},
      {"RELATED", CtInfo::kRelatedReply, true},
      {"RELATED,ESTABLISHED", CtInfo::kNew, false},
      {"INVALID", CtInfo::kNew, false},
      {"UNTRACKED", CtInfo::kNew, false},
  };
  for (const StateCase& c : cases) {
    EXPECT_EQ(AskTracked(std::string("-m conntrack --ctstate ") + c.states,
                         c.info, {}),
              c.want)
        << c.states << " " << static_cast<int>(c.info);
    EXPECT_EQ(AskTracked(std::string("-m conntrack ! --ctstate ") + c.states,
                         c.info, {}),
              !c.want)
        << "! " << c.states;
    EXPECT_EQ(
        AskTracked(std::string("-m state --state ") + c.states, c.info, {}),
        c.want)
        << "state " << c.states;
  }
  // SNAT and DNAT are bits of the connection, besides its state.
  Connection snat;
  snat.status = kStatusSrcNat;
  EXPECT_TRUE(AskTracked("-m conntrack --ctstate SNAT", CtInfo::kNew, snat));
  EXPECT_FALSE(AskTracked("-m conntrack --ctstate DNAT", CtInfo::kNew, snat));
  EXPECT_TRUE(
      AskTracked("-m conntrack --ctstate DNAT,NEW", CtInfo::kNew, snat));
}

TEST(Condition, ConntrackWithoutConnection) {
  AskAll({
      {"-m conntrack --ctstate INVALID", {}, kHit},
      {"-m conntrack --ctstate NEW", {}, kMiss},
      {"-m conntrack ! --ctstate NEW", {}, kHit},
      {"-m conntrack --ctstate UNTRACKED", {}, kMiss},
      // Only the state has an answer, and the rest is not asked.
      {"-m conntrack --ctproto tcp", {}, kMiss},
      {"-m conntrack ! --ctproto tcp", {}, kMiss},
      {"-m conntrack --ctstate INVALID --ctproto udp", {}, kHit},
      {"-m connmark --mark 0", {}, kMiss},
      {"-m connmark ! --mark 1", {}, kMiss},
  });
  Stand stand({}, Hook::kForward);
  stand.state.ct_info = CtInfo::kUntracked;
  Bench bench(Family::kIpv4, TableKind::kMangle,
              "-A FORWARD -m conntrack --ctstate UNTRACKED -j DROP");
  EXPECT_EQ(bench.Evaluate(&stand).kind, VerdictKind::kDrop);
  Bench state(Family::kIpv4, TableKind::kMangle,
              "-A FORWARD -m state --state UNTRACKED -j DROP");
  EXPECT_EQ(state.Evaluate(&stand).kind, VerdictKind::kDrop);
}

TEST(Condition, ConntrackTuples) {
  Connection connection;
  connection.original = {.protocol = 6,
                         .src = testing::ParseAddress("192.0.2.1"),
                         .dst = testing::ParseAddress("198.51.100.254"),
                         .src_port = 40000,
                         .dst_port = 80};
  connection.reply = {.protocol = 6,
                      .src = testing::ParseAddress("10.0.0.7"),
                      .dst = testing::ParseAddress("192.0.2.1"),
                      .src_port = 8080,
                      .dst_port = 40000};
  connection.status = kStatusSeenReply | kStatusConfirmed | kStatusDstNat;
  struct TupleCase {
    const char* rule;
    bool want;
  };
  const TupleCase cases[] = {
      {"--ctproto tcp", true},
      {"--ctproto udp", false},
      {"! --ctproto udp", true},
      {"--ctorigsrc 192.0.2.0/24", true},
      {"--ctorigsrc 192.0.3.0/24", false},
      {"--ctorigdst 198.51.100.254", true},
      {"! --ctorigdst 198.51.100.254", false},
      {"--ctreplsrc 10.0.0.7", true},
      {"--ctreplsrc 10.0.0.8", false},
      {"--ctrepldst 192.0.2.1", true},
      {"--ctproto tcp --ctorigsrcport 39999:40000", true},
      {"--ctproto tcp --ctorigsrcport 40001:40002", false},
      {"--ctproto tcp --ctorigdstport 80", true},
      {"--ctproto tcp ! --ctorigdstport 80", false},
      {"--ctproto tcp --ctreplsrcport 8080", true},
      {"--ctproto tcp --ctreplsrcport 80", false},
      {"--ctproto tcp --ctrepldstport 40000", true},
      {"--ctstatus SEEN_REPLY", true},
      {"--ctstatus ASSURED", false},
      {"! --ctstatus ASSURED", true},
      {"--ctstatus ASSURED,CONFIRMED", true},
      {"--ctdir ORIGINAL", true},
      {"--ctdir REPLY", false},
  };
  for (const TupleCase& c : cases) {
    EXPECT_EQ(AskTracked(std::string("-m conntrack ") + c.rule,
                         CtInfo::kEstablished, connection),
              c.want)
        << c.rule;
  }
  EXPECT_TRUE(AskTracked("-m conntrack --ctdir REPLY",
                         CtInfo::kEstablishedReply, connection));
}

TEST(Condition, ConntrackExpiryDependsOnTheClockNearItsEdges) {
  Connection connection;
  connection.status = kStatusConfirmed;
  connection.expires_ms = 100000;
  const auto ask = [&](const char* range, std::string* indeterminate) {
    Stand stand({}, Hook::kForward);
    stand.connection = connection;
    stand.Track(CtInfo::kEstablished);
    Bench bench(Family::kIpv4, TableKind::kMangle,
                std::string("-A FORWARD -m conntrack --ctexpire ") + range +
                    " -j DROP");
    EXPECT_EQ(bench.error(), "");
    const bool hit = bench.Evaluate(&stand).kind == VerdictKind::kDrop;
    *indeterminate = stand.outcome.indeterminate;
    return hit;
  };
  std::string indeterminate;
  EXPECT_TRUE(ask("50:200", &indeterminate));
  EXPECT_EQ(indeterminate, "");
  EXPECT_TRUE(ask("100:200", &indeterminate));
  EXPECT_NE(indeterminate, "");
  EXPECT_FALSE(ask("10:20", &indeterminate));
  EXPECT_EQ(indeterminate, "");
  connection.status = 0;  // not confirmed: read as run out
  EXPECT_TRUE(ask("0:0", &indeterminate));
  EXPECT_FALSE(ask("50:200", &indeterminate));
}

TEST(Condition, Connmark) {
  Connection connection;
  connection.mark = 0x105;
  EXPECT_TRUE(AskTracked("-m connmark --mark 0x105", CtInfo::kNew, connection));
  EXPECT_FALSE(AskTracked("-m connmark --mark 5", CtInfo::kNew, connection));
  EXPECT_TRUE(
      AskTracked("-m connmark --mark 5/0xff", CtInfo::kNew, connection));
  EXPECT_FALSE(
      AskTracked("-m connmark ! --mark 5/0xff", CtInfo::kNew, connection));
}

/// One letter a packet: H hit, M miss, small when indeterminate.
std::string Sequence(std::string_view rule,
                     const std::vector<uint64_t>& times_ms) {
  Bench bench(Family::kIpv4, TableKind::kMangle,
              "-A FORWARD " + std::string(rule) + " -j DROP");
  EXPECT_EQ(bench.error(), "") << rule;
  std::string answers;
  for (const uint64_t time_ms : times_ms) {
    Stand stand({.time_ms = time_ms}, Hook::kForward);
    const bool hit = bench.Evaluate(&stand).kind == VerdictKind::kDrop;
    const bool certain = stand.outcome.indeterminate.empty();
    answers += hit ? (certain ? 'H' : 'h') : (certain ? 'M' : 'm');
  }
  return answers;
}

TEST(Condition, LimitGivesTheBurstThenTheRate) {
  // 1 an hour: two seconds of clock do not matter.
  EXPECT_EQ(
      Sequence("-m limit --limit 1/hour --limit-burst 3", {0, 0, 0, 0, 0}),
      "HHHMM");
  // An hour later the kernel's clock, which runs by itself, would say no.
  EXPECT_EQ(
      Sequence("-m limit --limit 1/hour --limit-burst 2", {0, 0, 3600000}),
      "HHh");
  // 10 a second: whether a token is back depends on real time.
  EXPECT_EQ(Sequence("-m limit --limit 10/sec --limit-burst 2",
                     {0, 0, 0, 100, 199, 200}),
            "HHmhmh");
}

TEST(Condition, StatisticNthIsCountedExactly) {
  EXPECT_EQ(Sequence("-m statistic --mode nth --every 3 --packet 0",
                     std::vector<uint64_t>(7)),
            "HMMHMMH");
  EXPECT_EQ(Sequence("-m statistic --mode nth --every 3 --packet 2",
                     std::vector<uint64_t>(7)),
            "MMHMMHM");
  EXPECT_EQ(Sequence("-m statistic --mode nth ! --every 3 --packet 0",
                     std::vector<uint64_t>(4)),
            "MHHM");
  EXPECT_EQ(Sequence("-m statistic --mode nth --every 1 --packet 0",
                     std::vector<uint64_t>(3)),
            "HHH");
}

TEST(Condition, StatisticRandomIsChanceBetweenNeverAndAlways) {
  EXPECT_EQ(Sequence("-m statistic --mode random --probability 0",
                     std::vector<uint64_t>(3)),
            "MMM");
  EXPECT_EQ(Sequence("-m statistic --mode random --probability 1",
                     std::vector<uint64_t>(3)),
            "HHH");
  const std::string half =
      Sequence("-m statistic --mode random --probability 0.5",
               std::vector<uint64_t>(1000));
  const auto hits = std::count(half.begin(), half.end(), 'h');
  EXPECT_EQ(hits + std::count(half.begin(), half.end(), 'm'), 1000);
  EXPECT_GT(hits, 400);
  EXPECT_LT(hits, 600);
}

TEST(Condition, MatchesOfARuleAreAskedInOrder) {
  // The counter of a match behind one that fails does not move.
  Bench bench(Family::kIpv4, TableKind::kMangle,
              "-A FORWARD -m mark --mark 1 -m statistic --mode nth --every 2 "
              "--packet 0 -j DROP");
  ASSERT_EQ(bench.error(), "");
  const auto hit = [&](uint32_t mark) {
    Stand stand({.mark = mark}, Hook::kForward);
    return bench.Evaluate(&stand).kind == VerdictKind::kDrop;
  };
  EXPECT_TRUE(hit(1));
  EXPECT_FALSE(hit(0));
  EXPECT_FALSE(hit(1));
  EXPECT_TRUE(hit(1));
}

}  // namespace
}  // namespace nfarena::reference
