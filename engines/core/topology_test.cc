#include "engines/core/topology.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compat/model/testing/addresses.h"
#include "engines/core/packet_text.h"

namespace nfarena {
namespace {

using ::testing::HasSubstr;
using testing::ParseAddress;

Topology Make(const std::string& packets, const Ruleset& ruleset = {}) {
  const auto parsed = ParsePackets(packets, "test");
  EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error().ToString());
  auto topology = Topology::For(ruleset, *parsed);
  EXPECT_TRUE(topology) << (topology ? "" : topology.error().ToString());
  return topology ? *topology : Topology();
}

/// "eth1", "local", "broadcast", "multicast", "none".
std::string Where(const Topology& t, const std::string& in,
                  const std::string& src, const std::string& dst) {
  const RouteDecision r = t.FindRoute(in, ParseAddress(src), ParseAddress(dst));
  if (!r.ok) return "none";
  if (r.broadcast) return "broadcast";
  if (r.multicast) return "multicast";
  if (r.local) return "local";
  return std::string(r.out);
}

TEST(Topology, LoopbackOfIpv6IsOnLoAlone) {
  Topology t;
  t.family = Family::kIpv6;
  t.devices = {{"eth0", {{ParseAddress("2001:db8:1::1"), 64}}},
               {"eth1", {{ParseAddress("2001:db8:2::1"), 64}}}};
  t.routes = {{.in = "*", .destination = {}, .out = "eth1"}};
  t.BuildIndex();
  EXPECT_EQ(Where(t, "", "2001:db8:1::1", "::1"), "local");
  EXPECT_EQ(Where(t, "lo", "2001:db8:1::1", "::1"), "local");
  // Elsewhere it is an address like others, as long as the way leads back.
  EXPECT_EQ(Where(t, "eth0", "2001:db8:1::9", "::1"), "none");
  EXPECT_EQ(Where(t, "eth1", "2001:db8:1::9", "::1"), "eth1");
}

TEST(Topology, OwnerOfAnAddress) {
  const Topology t = Make(
      "IN=eth0 OUT= SRC=203.0.113.9 DST=192.0.2.1 PROTO=ICMP\n"
      "IN= OUT=eth1 SRC=10.0.0.1 DST=10.0.0.77 PROTO=ICMP\n");
  EXPECT_EQ(t.OwnerOf(ParseAddress("192.0.2.1")), "eth0");
  EXPECT_EQ(t.OwnerOf(ParseAddress("10.0.0.1")), "eth1");
  EXPECT_EQ(t.OwnerOf(ParseAddress("10.0.0.77")), "");
  EXPECT_EQ(t.OwnerOf(ParseAddress("127.0.0.3")), "lo");
  ASSERT_NE(t.FindDevice("eth1"), nullptr);
  EXPECT_EQ(t.FindDevice("eth1")->name, "eth1");
  EXPECT_EQ(t.FindDevice("eth2"), nullptr);
}

Rule RuleOf(const std::string& in, const std::string& src, uint8_t src_bits,
            const std::string& out = "") {
  Rule rule;
  const auto name = [](const std::string& text, InterfaceTest* test) {
    const bool wild = !text.empty() && text.back() == '+';
    const size_t size = wild ? text.size() - 1 : text.size();
    for (size_t i = 0; i < size; ++i) test->name[i] = text[i];
    for (size_t i = 0; i < size + (wild || text.empty() ? 0 : 1); ++i) {
      test->mask[i] = 0xff;
    }
  };
  name(in, &rule.selector.in);
  name(out, &rule.selector.out);
  if (!src.empty()) {
    rule.selector.src = ParseAddress(src);
    for (uint8_t bit = 0; bit < src_bits; ++bit) {
      rule.selector.src_mask[bit / 8] |= static_cast<uint8_t>(0x80 >> bit % 8);
    }
  }
  return rule;
}

TEST(Topology, EveryPacketGoesWhereItSays) {
  const Topology t = Make(
      "IN=eth0 OUT= SRC=203.0.113.9 DST=192.0.2.1 PROTO=ICMP\n"
      "IN=eth0 OUT=eth1 SRC=203.0.113.9 DST=10.0.0.5 PROTO=ICMP\n"
      "IN=eth1 OUT=eth0 SRC=10.0.0.5 DST=203.0.113.9 PROTO=ICMP\n"
      "IN= OUT=eth1 SRC=10.0.0.1 DST=10.0.0.77 PROTO=ICMP\n"
      "IN=eth2 OUT=eth0 SRC=10.9.0.5 DST=192.0.2.99 PROTO=ICMP\n");
  EXPECT_EQ(Where(t, "eth0", "203.0.113.9", "192.0.2.1"), "local");
  EXPECT_EQ(Where(t, "eth1", "10.0.0.5", "192.0.2.1"), "local");
  EXPECT_EQ(Where(t, "", "10.0.0.1", "192.0.2.1"), "local");
  EXPECT_EQ(t.FindRoute("", {}, ParseAddress("192.0.2.1")).out, "lo");
  EXPECT_EQ(Where(t, "eth0", "203.0.113.9", "10.0.0.5"), "eth1");
  EXPECT_EQ(Where(t, "eth1", "10.0.0.5", "203.0.113.9"), "eth0");
  EXPECT_EQ(Where(t, "", "10.0.0.1", "10.0.0.77"), "eth1");
  EXPECT_EQ(Where(t, "eth2", "10.9.0.5", "192.0.2.99"), "eth0");
  // Answers go back where the packets came from.
  EXPECT_EQ(Where(t, "", "10.0.0.1", "10.9.0.5"), "eth2");
  // What a packet was sent from here, or to here, is an address of a device.
  EXPECT_EQ(t.PrimaryAddress("eth0"), ParseAddress("192.0.2.1"));
  EXPECT_EQ(t.PrimaryAddress("eth1"), ParseAddress("10.0.0.1"));
  EXPECT_EQ(t.PrimaryAddress("eth2"), ParseAddress("198.18.1.1"));
  EXPECT_EQ(t.PrimaryAddress("lo"), ParseAddress("127.0.0.1"));
  EXPECT_EQ(t.PrimaryAddress("eth9"), std::nullopt);
  // The rest leaves by the device most packets leave by.
  EXPECT_EQ(Where(t, "eth0", "203.0.113.9", "8.8.8.8"), "eth0");
}

TEST(Topology, TheSameAddressMayMeanTwoThings) {
  const Topology t = Make(
      "IN=eth0 OUT= SRC=203.0.113.9 DST=192.0.2.1 PROTO=ICMP\n"
      "IN=eth1 OUT=eth0 SRC=10.0.0.5 DST=192.0.2.1 PROTO=ICMP\n"
      "IN= OUT=eth1 SRC=10.0.0.1 DST=192.0.2.1 PROTO=ICMP\n");
  EXPECT_EQ(Where(t, "eth0", "203.0.113.9", "192.0.2.1"), "local");
  EXPECT_EQ(Where(t, "eth1", "10.0.0.5", "192.0.2.1"), "eth0");
  EXPECT_EQ(Where(t, "", "10.0.0.1", "192.0.2.1"), "eth1");
  EXPECT_FALSE(t.IsLocal(ParseAddress("192.0.2.1")));
}

TEST(Topology, ContradictionsAreNamedByLine) {
  const auto packets = ParsePackets(
      "IN=eth0 OUT=eth1 SRC=1.1.1.1 DST=2.2.2.2 PROTO=ICMP\n"
      "# between\n"
      "IN=eth0 OUT=eth2 SRC=1.1.1.2 DST=2.2.2.2 PROTO=ICMP\n",
      "t");
  ASSERT_TRUE(packets);
  const auto t = Topology::For({}, *packets);
  ASSERT_FALSE(t);
  EXPECT_EQ(t.error().code, ErrorCode::kConflict);
  EXPECT_EQ(t.error().place.line, 3u);
  EXPECT_THAT(t.error().message, HasSubstr("2.2.2.2"));
  EXPECT_THAT(t.error().message, HasSubstr("line 1"));
}

TEST(Topology, RulesNameDevicesAndNetworks) {
  Ruleset ruleset;
  Chain& chain = ruleset.EnsureTable(TableKind::kFilter).chains[1];
  chain.rules.push_back(RuleOf("wan+", "", 0, "lan0"));
  chain.rules.push_back(RuleOf("dmz0", "10.3.0.0", 16));
  chain.rules.push_back(RuleOf("ppp+", "", 0));
  const Topology t =
      Make("IN=wan7 OUT= SRC=203.0.113.9 DST=192.0.2.1 PROTO=ICMP", ruleset);
  std::vector<std::string> names;
  for (const Device& device : t.devices) names.push_back(device.name);
  // "wan+" is wan7; "ppp+" needs a device of its own.
  EXPECT_THAT(names, ::testing::ElementsAre("wan7", "lan0", "dmz0", "ppp0"));
  EXPECT_EQ(Where(t, "wan7", "203.0.113.9", "10.3.4.5"), "dmz0");
  // No packet leaves: the first device of an -o.
  EXPECT_EQ(Where(t, "wan7", "203.0.113.9", "8.8.8.8"), "lan0");
}

TEST(Topology, NothingSaidStillGivesADevice) {
  const Topology t = Make("");
  ASSERT_EQ(t.devices.size(), 1u);
  EXPECT_EQ(t.devices[0].name, "eth0");
  EXPECT_EQ(Where(t, "eth0", "1.1.1.1", "2.2.2.2"), "eth0");
}

struct Martian {
  const char* in;
  const char* src;
  const char* dst;
  const char* where;
};

TEST(Topology, Ipv4MartiansAreDropped) {
  const Topology t = Make(
      "IN=eth0 OUT= SRC=203.0.113.9 DST=192.0.2.1 PROTO=ICMP\n"
      "IN=eth0 OUT= SRC=203.0.113.9 DST=224.0.0.251 PROTO=UDP\n"
      "IN=eth0 OUT= MAC=ff:ff:ff:ff:ff:ff:02:00:00:00:00:02:08:00 "
      "SRC=203.0.113.9 DST=192.0.2.255 PROTO=UDP\n");
  const Martian cases[] = {
      {"eth0", "127.0.0.1", "192.0.2.1", "none"},
      {"eth0", "203.0.113.9", "127.0.0.1", "none"},
      {"eth0", "224.0.0.1", "192.0.2.1", "none"},
      {"eth0", "255.255.255.255", "192.0.2.1", "none"},
      {"eth0", "0.0.0.0", "192.0.2.1", "none"},
      {"eth0", "203.0.113.9", "0.0.0.0", "none"},
      {"eth0", "0.0.0.0", "255.255.255.255", "broadcast"},
      {"eth0", "203.0.113.9", "255.255.255.255", "broadcast"},
      {"eth0", "0.0.0.0", "0.0.0.0", "broadcast"},
      {"eth0", "203.0.113.9", "192.0.2.255", "broadcast"},
      {"eth0", "203.0.113.9", "224.0.0.1", "multicast"},
      {"eth0", "203.0.113.9", "224.0.0.251", "multicast"},
      {"eth0", "203.0.113.9", "224.0.0.252", "none"},
      {"eth0", "0.0.0.0", "224.0.0.1", "multicast"},
      {"eth0", "127.0.0.1", "224.0.0.1", "none"},
      // A source that is the host's own is let in (accept_local).
      {"eth0", "192.0.2.1", "192.0.2.1", "local"},
      {"", "192.0.2.1", "127.1.2.3", "local"},
      {"", "127.0.0.1", "203.0.113.9", "none"},
      {"", "0.0.0.0", "203.0.113.9", "eth0"},
  };
  for (const Martian& m : cases) {
    EXPECT_EQ(Where(t, m.in, m.src, m.dst), m.where)
        << m.in << ' ' << m.src << ' ' << m.dst;
  }
}

TEST(Topology, Ipv6) {
  Ruleset ruleset{.family = Family::kIpv6, .tables = {}};
  const Topology t = Make(
      "IN=eth0 OUT= SRC=2001:db8:1::9 DST=2001:db8::1 PROTO=ICMPv6\n"
      "IN=eth0 OUT= SRC=fe80::9 DST=ff02::fb PROTO=UDP\n"
      "IN=eth0 OUT=eth1 SRC=2001:db8:1::9 DST=2001:db8:2::5 PROTO=ICMPv6\n",
      ruleset);
  EXPECT_EQ(Where(t, "eth0", "2001:db8:1::9", "2001:db8::1"), "local");
  EXPECT_EQ(Where(t, "eth0", "2001:db8:1::9", "2001:db8:2::5"), "eth1");
  EXPECT_EQ(Where(t, "eth0", "fe80::9", "ff02::1"), "multicast");
  EXPECT_EQ(Where(t, "eth0", "fe80::9", "ff02::fb"), "multicast");
  EXPECT_EQ(Where(t, "eth1", "fe80::9", "ff02::fb"), "none");
  // The solicited-node group of our address.
  EXPECT_EQ(Where(t, "eth0", "fe80::9", "ff02::1:ff00:1"), "multicast");
  EXPECT_EQ(Where(t, "eth0", "fe80::9", "ff02::1:ff00:2"), "none");
  EXPECT_EQ(Where(t, "eth0", "2001:db8:1::9", "::1"), "none");
  EXPECT_EQ(Where(t, "", "::1", "::1"), "local");
  EXPECT_EQ(t.PrimaryAddress("eth1"), ParseAddress("2001:2:0:1::1"));
}

TEST(Topology, TypesAreThoseOfTheLocalTable) {
  Topology t;
  t.devices = {{"eth0", {{ParseAddress("192.0.2.1"), 24}}},
               {"eth1", {{ParseAddress("10.0.0.1"), 32}}}};
  t.routes = {{.in = "eth0",
               .destination = {ParseAddress("9.9.9.9"), 32},
               .local = true}};
  struct Case {
    const char* address;
    const char* device;
    AddressType type;
  };
  const Case cases[] = {
      {"192.0.2.1", "", AddressType::kLocal},
      {"192.0.2.1", "eth0", AddressType::kLocal},
      {"192.0.2.1", "eth1", AddressType::kUnicast},
      {"192.0.2.255", "", AddressType::kBroadcast},
      {"192.0.2.2", "", AddressType::kUnicast},
      {"10.0.0.1", "", AddressType::kLocal},
      {"127.0.0.9", "", AddressType::kLocal},
      {"127.0.0.9", "eth0", AddressType::kUnicast},
      {"127.255.255.255", "", AddressType::kBroadcast},
      {"224.1.2.3", "", AddressType::kMulticast},
      {"255.255.255.255", "", AddressType::kBroadcast},
      {"0.0.0.0", "", AddressType::kBroadcast},
      // 0.0.0.0/8 is an ordinary network since Linux 5.3.
      {"0.1.2.3", "", AddressType::kUnicast},
      // A local route elsewhere does not make it an address.
      {"9.9.9.9", "", AddressType::kUnicast},
  };
  for (const bool indexed : {false, true}) {
    if (indexed) t.BuildIndex();
    for (const Case& c : cases) {
      EXPECT_EQ(t.TypeOf(ParseAddress(c.address), c.device), c.type)
          << c.address << ' ' << c.device;
    }
    EXPECT_EQ(Where(t, "eth0", "1.1.1.1", "9.9.9.9"), "local");
    EXPECT_EQ(Where(t, "eth1", "1.1.1.1", "9.9.9.9"), "none");
  }
}

TEST(Topology, LongestPrefixOfTheExactDeviceComesFirst) {
  Topology t;
  t.devices = {{"a", {{ParseAddress("192.0.2.1"), 32}}}, {"b", {}}, {"c", {}}};
  t.routes = {
      {.in = "*", .destination = {ParseAddress("10.1.2.3"), 32}, .out = "a"},
      {.in = "*", .destination = {ParseAddress("10.0.0.0"), 8}, .out = "b"},
      {.in = "*", .destination = {}, .out = "a"},
      {.in = "c", .destination = {ParseAddress("10.0.0.0"), 9}, .out = "c"}};
  t.BuildIndex();
  EXPECT_EQ(Where(t, "a", "1.1.1.1", "10.1.2.3"), "a");
  EXPECT_EQ(Where(t, "a", "1.1.1.1", "10.1.2.4"), "b");
  EXPECT_EQ(Where(t, "a", "1.1.1.1", "11.1.2.4"), "a");
  EXPECT_EQ(Where(t, "c", "1.1.1.1", "10.1.2.3"), "c");
  EXPECT_EQ(Where(t, "c", "1.1.1.1", "10.200.2.3"), "b");
}

TEST(Topology, SourcesAreChosenAsTheStackDoes) {
  Topology t;
  t.devices = {
      {"a", {{ParseAddress("192.0.2.1"), 24}, {ParseAddress("10.0.0.1"), 8}}},
      {"b", {}}};
  t.BuildIndex();
  EXPECT_EQ(t.SourceFor("a", ParseAddress("10.3.3.3")),
            ParseAddress("10.0.0.1"));
  EXPECT_EQ(t.SourceFor("a", ParseAddress("8.8.8.8")),
            ParseAddress("192.0.2.1"));
  EXPECT_EQ(t.SourceFor("b", ParseAddress("8.8.8.8")), std::nullopt);
  EXPECT_EQ(t.SourceFor("lo", ParseAddress("10.3.3.3")),
            ParseAddress("192.0.2.1"));
  Topology six;
  six.family = Family::kIpv6;
  six.devices = {{"a",
                  {{ParseAddress("2001:db8:1::1"), 64},
                   {ParseAddress("2001:db8:2::1"), 64},
                   {ParseAddress("fe80::1"), 64}}}};
  six.BuildIndex();
  EXPECT_EQ(six.SourceFor("a", ParseAddress("2001:db8:2::9")),
            ParseAddress("2001:db8:2::1"));
  // Of equals the one added last.
  EXPECT_EQ(six.SourceFor("a", ParseAddress("2001:db8:9::9")),
            ParseAddress("2001:db8:2::1"));
  EXPECT_EQ(six.PrimaryAddress("a"), ParseAddress("2001:db8:2::1"));
  EXPECT_EQ(six.SourceFor("a", ParseAddress("fe80::9")),
            ParseAddress("fe80::1"));
}

}  // namespace
}  // namespace nfarena
