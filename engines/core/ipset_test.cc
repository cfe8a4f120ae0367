#include "engines/core/ipset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "engines/core/ipset_text.h"
#include "engines/core/packet_text.h"

namespace nfarena {
namespace {

IpSets Sets(std::string_view text) {
  auto sets = ReadIpSets(text);
  EXPECT_TRUE(sets.has_value()) << sets.error().ToString();
  return sets ? std::move(*sets) : IpSets();
}

/// A packet that stands in FORWARD.
struct Standing {
  explicit Standing(const std::string& line, uint64_t now_ms = 0) {
    auto packets = ParsePackets(line + "\n", "");
    EXPECT_TRUE(packets.has_value()) << packets.error().ToString();
    packet = packets->at(0);
    state.family = packet.family;
    state.bytes = packet.bytes;
    state.origin = &packet;
    state.outcome = &outcome;
    state.now_ms = now_ms;
    state.mark = packet.mark;
    SetDeviceName(packet.in, &state.in);
    SetDeviceName(packet.out, &state.out);
    ParseHeaders(&state);
  }
  Standing(const Standing&) = delete;
  Standing& operator=(const Standing&) = delete;

  Packet packet;
  Outcome outcome;
  PacketState state;
};

std::string Flow(const std::string& src, const std::string& dst,
                 const std::string& rest) {
  return "IN=eth0 OUT=eth1 SRC=" + src + " DST=" + dst + " TTL=64 " + rest;
}
const char kWeb[] = "PROTO=TCP SPT=40000 DPT=80 SYN";

/// "src,dst" for the first set of the text (or the last one, of a list).
IpSetQuery Query(std::string_view sides, uint16_t set = 0) {
  IpSetQuery query{.set = set};
  for (; !sides.empty();
       sides.remove_prefix(std::min<size_t>(4, sides.size()))) {
    if (sides.starts_with("src")) {
      query.source_parts |= static_cast<uint8_t>(1u << query.dimensions);
    }
    ++query.dimensions;
  }
  return query;
}

struct Case {
  const char* set;  // as after "create s " and "add s ", by lines
  const char* sides;
  std::string packet;
  bool want;
};

/// "TYPE OPTIONS|ELEMENT|ELEMENT"
std::string TextOf(std::string_view set) {
  std::string text = "create s ";
  for (const char c : set)
    text += c == '|' ? std::string("\nadd s ") : std::string(1, c);
  return text + "\n";
}

TEST(IpSets, TypesAndSides) {
  const std::string web = Flow("192.0.2.10", "198.51.100.1", kWeb);
  const std::string dns =
      Flow("192.0.2.10", "198.51.100.1", "PROTO=UDP SPT=1000 DPT=53");
  const std::string ping =
      Flow("192.0.2.10", "198.51.100.1", "PROTO=ICMP TYPE=8 CODE=0");
  const std::string web6 = Flow("2001:db8::1", "2001:db8:1::2", kWeb);
  const Case cases[] = {
      {"hash:ip|192.0.2.10", "src", web, true},
      {"hash:ip|192.0.2.10", "dst", web, false},
      {"hash:ip|192.0.2.9", "src", web, false},
      {"hash:ip|192.0.2.8/30", "src", web, true},
      {"hash:ip|192.0.2.12/30", "src", web, false},
      {"hash:ip|192.0.2.1-192.0.2.10", "src", web, true},
      {"hash:ip|192.0.2.1-192.0.2.9", "src", web, false},
      {"hash:ip|192.0.2.10", "src,dst", web, true},  // more sides than parts
      {"hash:ip netmask 24|192.0.2.99", "src", web, true},
      {"hash:ip netmask 24|192.0.3.99", "src", web, false},
      {"hash:ip bitmask 255.0.0.255|192.7.7.10", "src", web, true},
      {"hash:ip bitmask 255.0.0.255|192.7.7.11", "src", web, false},
      {"hash:ip family inet6|2001:db8::1", "src", web6, true},
      {"hash:ip family inet6|2001:db8::2", "src", web6, false},
      {"hash:ip family inet6|2001:db8::1", "src", web, false},
      {"hash:ip|192.0.2.10", "src", web6, false},
      {"hash:net|192.0.2.0/24", "src", web, true},
      {"hash:net|192.0.3.0/24", "src", web, false},
      {"hash:net", "src", web, false},
      {"hash:net|192.0.2.10", "src", web, true},
      {"hash:net|192.0.2.0/24|192.0.2.8/29 nomatch", "src", web, false},
      {"hash:net|192.0.2.0/24|192.0.2.16/29 nomatch", "src", web, true},
      {"hash:net|192.0.2.8/29|192.0.2.0/24 nomatch", "src", web, true},
      {"hash:net|192.0.1.255-192.0.2.10", "src", web, true},
      {"hash:net|192.0.1.255-192.0.2.9", "src", web, false},
      {"hash:net family inet6|2001:db8::/48", "src", web6, true},
      {"hash:net family inet6|2001:db8::/48", "dst", web6, false},
      {"hash:net,net|192.0.2.0/24,198.51.100.0/24", "src,dst", web, true},
      {"hash:net,net|192.0.2.0/24,198.51.100.0/24", "dst,src", web, false},
      {"hash:net,net|192.0.0.0/16,198.51.100.0/24|"
       "192.0.2.0/24,198.51.100.1 nomatch",
       "src,dst", web, false},
      {"hash:ip,port|192.0.2.10,tcp:80", "src,dst", web, true},
      {"hash:ip,port|192.0.2.10,80", "src,dst", web, true},
      {"hash:ip,port|192.0.2.10,tcp:80", "src,src", web, false},
      {"hash:ip,port|192.0.2.10,tcp:40000", "src,src", web, true},
      {"hash:ip,port|192.0.2.10,tcp:80", "src", web, false},
      {"hash:ip,port|192.0.2.10,udp:80", "src,dst", web, false},
      {"hash:ip,port|192.0.2.10,tcp:70-79", "src,dst", web, false},
      {"hash:ip,port|192.0.2.10,tcp:70-80", "src,dst", web, true},
      {"hash:ip,port|192.0.2.10,icmp:echo-request", "src,dst", ping, true},
      {"hash:ip,port|192.0.2.10,icmp:8/0", "src,src", ping, true},
      {"hash:ip,port|192.0.2.10,icmp:echo-reply", "src,dst", ping, false},
      {"hash:net,port|192.0.2.0/24,udp:53", "src,dst", dns, true},
      {"hash:net,port|192.0.2.0/24,udp:53|192.0.2.8/29,udp:53 nomatch",
       "src,dst", dns, false},
      {"hash:net,port|192.0.2.0/24,udp:53|192.0.2.8/29,udp:54 nomatch",
       "src,dst", dns, true},
      {"hash:ip,port,ip|192.0.2.10,tcp:80,198.51.100.1", "src,dst,dst", web,
       true},
      {"hash:ip,port,ip|192.0.2.10,tcp:80,198.51.100.1", "src,dst,src", web,
       false},
      {"hash:ip,port,net|192.0.2.10,tcp:80,198.51.100.0/28", "src,dst,dst", web,
       true},
      {"hash:ip,port,net|192.0.2.10,tcp:80,198.51.100.16/28", "src,dst,dst",
       web, false},
      {"hash:net,port,net|192.0.0.0/16,tcp:80,198.51.100.0/28", "src,dst,dst",
       web, true},
      {"hash:net,iface|192.0.2.0/24,eth0", "src,src", web, true},
      {"hash:net,iface|192.0.2.0/24,eth0", "src,dst", web, false},
      {"hash:net,iface|192.0.2.0/24,eth1", "src,dst", web, true},
      {"hash:net,iface|192.0.2.0/24,et wildcard", "src,dst", web, true},
      {"hash:net,iface|192.0.2.0/24,wan wildcard", "src,dst", web, false},
      {"hash:net,iface|0.0.0.0/0,eth0", "src,src", web, true},
      {"hash:net,iface|192.0.2.0/24,physdev:eth0", "src,src", web, false},
      // The narrower net is there for another device: it hides the wider one.
      {"hash:net,iface|192.0.0.0/16,eth0|192.0.2.0/24,eth1", "src,src", web,
       false},
      {"bitmap:ip range 192.0.2.0/24|192.0.2.10", "src", web, true},
      {"bitmap:ip range 192.0.2.0/24|192.0.2.10", "dst", web, false},
      {"bitmap:ip range 192.0.2.0/24 netmask 28|192.0.2.1", "src", web, true},
      {"bitmap:ip range 192.0.2.0/24 netmask 28|192.0.2.17", "src", web, false},
      {"bitmap:port range 0-1023|79-80", "dst", web, true},
      {"bitmap:port range 0-1023|81", "dst", web, false},
      {"bitmap:port range 0-1023|53", "dst", dns, true},
      {"bitmap:port range 0-65535|0-65535", "dst", ping, false},
      {"bitmap:port range 0-1023|80", "dst", web6, true},
      {"hash:ip,mark|192.0.2.10,0x7", "src,src", web + " MARK=0x7", true},
      {"hash:ip,mark|192.0.2.10,0x7", "src,src", web + " MARK=0x6", false},
      {"hash:ip,mark markmask 0xf|192.0.2.10,0x17", "src,src",
       web + " MARK=0x27", true},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(std::string(c.set) + " " + c.sides + " <- " + c.packet);
    IpSets sets = Sets(TextOf(c.set));
    ASSERT_EQ(sets.size(), 1u);
    ASSERT_TRUE(sets.Check(0).has_value());
    Standing standing(c.packet);
    EXPECT_EQ(sets.Test(Query(c.sides), &standing.state), c.want);
    EXPECT_EQ(standing.outcome.indeterminate, "");
  }
}

TEST(IpSets, EthernetAddresses) {
  Standing standing(Flow("192.0.2.10", "198.51.100.1", kWeb));
  const auto with = [&](const char* set, const char* sides, bool has_mac) {
    IpSets sets = Sets(TextOf(set));
    standing.packet.mac_src.reset();
    standing.packet.mac_dst.reset();
    if (has_mac) {
      standing.packet.mac_src = {2, 0, 0, 0, 0, 1};
      standing.packet.mac_dst = {2, 0, 0, 0, 0, 2};
    }
    return sets.Test(Query(sides), &standing.state);
  };
  EXPECT_TRUE(with("hash:mac|02:00:00:00:00:01", "src", true));
  EXPECT_FALSE(with("hash:mac|02:00:00:00:00:01", "dst", true));
  EXPECT_TRUE(with("hash:mac|02:00:00:00:00:02", "dst", true));
  EXPECT_FALSE(with("hash:mac|02:00:00:00:00:01", "src", false));
  EXPECT_TRUE(
      with("hash:ip,mac|192.0.2.10,02:00:00:00:00:01", "src,src", true));
  EXPECT_FALSE(
      with("hash:ip,mac|192.0.2.11,02:00:00:00:00:01", "src,src", true));
  EXPECT_FALSE(
      with("hash:ip,mac|192.0.2.10,02:00:00:00:00:01", "src,dst", true));
}

TEST(IpSets, AnIncompleteBitmapElementTakesTheFirstAddress) {
  IpSets sets = Sets(
      "create s bitmap:ip,mac range 192.0.2.0/24\nadd s 192.0.2.10\n"
      "add s 192.0.2.11,02:00:00:00:00:09\n");
  Standing standing(Flow("192.0.2.10", "198.51.100.1", kWeb));
  standing.packet.mac_src = {2, 0, 0, 0, 0, 1};
  EXPECT_TRUE(sets.Test(Query("src,src"), &standing.state));
  EXPECT_TRUE(sets.Test(Query("src,src"), &standing.state));
  standing.packet.mac_src = {2, 0, 0, 0, 0, 7};
  EXPECT_FALSE(sets.Test(Query("src,src"), &standing.state));
  Standing other(Flow("192.0.2.11", "198.51.100.1", kWeb));
  other.packet.mac_src = {2, 0, 0, 0, 0, 1};
  EXPECT_FALSE(sets.Test(Query("src,src"), &other.state));
  other.packet.mac_src = {2, 0, 0, 0, 0, 9};
  EXPECT_TRUE(sets.Test(Query("src,src"), &other.state));
}

TEST(IpSets, ReturnNomatchAsksForTheExceptions) {
  IpSets sets = Sets(
      "create s hash:net\nadd s 192.0.2.0/24\nadd s 192.0.2.8/29 nomatch\n");
  IpSetQuery query = Query("src");
  query.return_nomatch = true;
  Standing exception(Flow("192.0.2.10", "198.51.100.1", kWeb));
  Standing member(Flow("192.0.2.1", "198.51.100.1", kWeb));
  Standing stranger(Flow("192.0.3.1", "198.51.100.1", kWeb));
  EXPECT_TRUE(sets.Test(query, &exception.state));
  EXPECT_FALSE(sets.Test(query, &member.state));
  EXPECT_FALSE(sets.Test(query, &stranger.state));
}

TEST(IpSets, CountersCountAndAreAskedFor) {
  IpSets sets =
      Sets("create s hash:ip counters\nadd s 192.0.2.10 packets 4 bytes 100\n");
  Standing standing(Flow("192.0.2.10", "198.51.100.1", kWeb));
  IpSetQuery query = Query("src");
  query.packets_test = IpSetCompare::kGreater;
  query.packets = 5;
  EXPECT_FALSE(sets.Test(query, &standing.state));  // the fifth
  EXPECT_TRUE(sets.Test(query, &standing.state));
  query.update_counters = false;
  query.packets_test = IpSetCompare::kEqual;
  query.packets = 6;
  query.bytes_test = IpSetCompare::kEqual;
  query.bytes = 100 + 2 * standing.state.bytes.size();
  EXPECT_TRUE(sets.Test(query, &standing.state));
  EXPECT_TRUE(sets.Test(query, &standing.state));
  query.bytes_test = IpSetCompare::kLess;
  EXPECT_FALSE(sets.Test(query, &standing.state));
}

TEST(IpSets, AListAsksItsSetsInOrder) {
  IpSets sets = Sets(
      "create a hash:ip\nadd a 192.0.2.10\n"
      "create b hash:ip,port counters\nadd b 192.0.2.11,tcp:80\n"
      "create s list:set counters\nadd s a\nadd s b\n");
  Standing first(Flow("192.0.2.10", "198.51.100.1", kWeb));
  Standing second(Flow("192.0.2.11", "198.51.100.1", kWeb));
  EXPECT_TRUE(sets.Test(Query("src", 2), &first.state));
  EXPECT_FALSE(sets.Test(Query("src", 2), &second.state));  // one side only
  EXPECT_TRUE(sets.Test(Query("src,dst", 2), &second.state));
  EXPECT_EQ(sets.at(2).list[1].counters.packets, 1u);
  IpSetQuery quiet = Query("src,dst", 2);
  quiet.update_subcounters = false;
  EXPECT_TRUE(sets.Test(quiet, &second.state));
  EXPECT_EQ(sets.at(2).list[1].counters.packets, 2u);
  EXPECT_EQ(sets.at(1).elements.begin()->second[0].counters.packets, 1u);
}

TEST(IpSets, AddAndDelete) {
  IpSets sets = Sets("create s hash:ip maxelem 2 counters\n");
  Standing one(Flow("192.0.2.1", "198.51.100.1", kWeb));
  Standing two(Flow("192.0.2.2", "198.51.100.1", kWeb));
  Standing three(Flow("192.0.2.3", "198.51.100.1", kWeb));
  EXPECT_TRUE(sets.Add(Query("src"), &one.state));
  EXPECT_FALSE(sets.Add(Query("src"), &one.state));
  EXPECT_TRUE(sets.Add(Query("src"), &two.state));
  EXPECT_FALSE(sets.Add(Query("src"), &three.state)) << "it is full";
  EXPECT_TRUE(sets.Test(Query("src"), &one.state));
  EXPECT_EQ(sets.at(0).elements_count, 2u);
  EXPECT_TRUE(sets.Delete(Query("src"), &one.state));
  EXPECT_FALSE(sets.Delete(Query("src"), &one.state));
  EXPECT_FALSE(sets.Test(Query("src"), &one.state));
  EXPECT_TRUE(sets.Add(Query("src"), &three.state));
}

TEST(IpSets, ANetTakesAddressesInItsNarrowestPrefix) {
  IpSets sets =
      Sets("create s hash:net\nadd s 10.0.0.0/8\nadd s 10.1.0.0/16\n");
  Standing standing(Flow("192.0.2.1", "198.51.100.1", kWeb));
  Standing neighbour(Flow("192.0.77.1", "198.51.100.1", kWeb));
  EXPECT_TRUE(sets.Add(Query("src"), &standing.state));
  EXPECT_TRUE(sets.Test(Query("src"), &neighbour.state));
  EXPECT_TRUE(sets.Delete(Query("src"), &neighbour.state));
  EXPECT_FALSE(sets.Test(Query("src"), &standing.state));
}

TEST(IpSets, TimeoutsAreAMatterOfTheClock) {
  IpSets sets = Sets(
      "create s hash:ip timeout 10\nadd s 192.0.2.1 timeout 100\n"
      "add s 192.0.2.2 timeout 0\n");
  const auto ask = [&](const char* source, uint64_t now_ms) {
    Standing standing(Flow(source, "198.51.100.1", kWeb), now_ms);
    const bool match = sets.Test(Query("src"), &standing.state);
    const bool sure = standing.outcome.indeterminate.empty();
    return std::string(1, match ? 'y' : 'n') + (sure ? "" : "?");
  };
  EXPECT_EQ(ask("192.0.2.1", 0), "y");
  EXPECT_EQ(ask("192.0.2.1", 98000), "y");
  EXPECT_EQ(ask("192.0.2.1", 99000), "y?");
  EXPECT_EQ(ask("192.0.2.1", 100001), "n?");
  EXPECT_EQ(ask("192.0.2.2", 100000000), "y");
  Standing standing(Flow("192.0.2.3", "198.51.100.1", kWeb), 5000);
  EXPECT_TRUE(sets.Add(Query("src"), &standing.state));
  EXPECT_EQ(ask("192.0.2.3", 13000), "y");
  EXPECT_EQ(ask("192.0.2.3", 15001), "n?");
  IpSetQuery longer = Query("src");
  longer.renew = true;
  longer.timeout_s = 50;
  EXPECT_TRUE(sets.Add(longer, &standing.state));
  EXPECT_EQ(ask("192.0.2.3", 50000), "y");
}

TEST(IpSets, MappingsAreGivenWithTheAnswer) {
  IpSets sets = Sets(
      "create s hash:net skbinfo\n"
      "add s 192.0.2.0/24 skbmark 0x11/0xff skbprio 1:a\n");
  Standing standing(Flow("192.0.2.1", "198.51.100.1", kWeb));
  IpSetMapping mapping;
  EXPECT_TRUE(sets.Test(Query("src"), &standing.state, &mapping));
  EXPECT_EQ(mapping, (IpSetMapping{0x11, 0xff, 0x1000a}));
}

TEST(IpSets, LaterFragmentsHaveNoPorts) {
  IpSets sets = Sets(
      "create s hash:ip,port\nadd s 192.0.2.10,tcp:0-100\n"
      "add s 192.0.2.10,gre:0\n");
  Standing standing(Flow("192.0.2.10", "198.51.100.1", kWeb));
  EXPECT_TRUE(sets.Test(Query("src,dst"), &standing.state));
  standing.state.bytes[7] = 1;  // fragment offset
  ParseHeaders(&standing.state);
  EXPECT_FALSE(sets.Test(Query("src,dst"), &standing.state));
  standing.state.bytes[9] = 47;  // GRE has no ports to miss
  ParseHeaders(&standing.state);
  EXPECT_TRUE(sets.Test(Query("src,dst"), &standing.state));
}

}  // namespace
}  // namespace nfarena
