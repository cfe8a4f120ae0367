#include "bench/correctness/aim.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "compat/syntax/testing/parsed.h"
#include "engines/core/packet_text.h"
#include "engines/registry.h"

namespace nfarena {
namespace {

using testing::Parse;

const std::string kFilter =
    "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
    ":OUTPUT ACCEPT [0:0]\n:deep - [0:0]\n:deeper - [0:0]\n";

/// Rules that no aimed packet hit, by the reference engine's counters.
std::vector<std::string> NotHit(const Ruleset& ruleset, uint64_t count) {
  std::vector<std::string> missed;
  const auto packets = ParsePackets(
      AimPackets(ruleset, {.packets_count = count, .seed = 3}), "aimed");
  EXPECT_TRUE(packets.has_value()) << packets.error().ToString();
  const auto topology = Topology::For(ruleset, *packets);
  EXPECT_TRUE(topology.has_value()) << topology.error().ToString();
  if (!packets || !topology) return {"no packets"};
  const Engine* engine = *FindEngine("reference");
  auto instance =
      engine->Open({.family = ruleset.family, .topology = *topology});
  EXPECT_TRUE((*instance)->Replace(ruleset).has_value());
  std::vector<Outcome> outcomes(packets->size());
  EXPECT_TRUE((*instance)->Classify(*packets, outcomes, {}).has_value());
  const auto dump = (*instance)->Dump();
  for (const Table& table : dump->ruleset.tables) {
    for (uint32_t c = 0; c < table.chains.size(); ++c) {
      for (uint32_t r = 0; r < table.chains[c].rules.size(); ++r) {
        if (table.chains[c].rules[r].counters.packets == 0) {
          missed.push_back(RuleRefName(ruleset, {table.kind, c, r + 1}));
        }
      }
    }
  }
  return missed;
}

struct HitCase {
  const char* name;
  std::string rules;
  Family family = Family::kIpv4;
};

class AimHits : public ::testing::TestWithParam<HitCase> {};

TEST_P(AimHits, EveryRuleIsHit) {
  const Ruleset ruleset =
      Parse(kFilter + GetParam().rules + "COMMIT\n", GetParam().family);
  EXPECT_EQ(NotHit(ruleset, 200), std::vector<std::string>{});
}

INSTANTIATE_TEST_SUITE_P(
    All, AimHits,
    ::testing::Values(
        HitCase{"selector",
                "-A INPUT -i ppp+ -s 192.0.2.0/28 -d 198.51.100.1 -p udp\n"
                "-A FORWARD -i eth3 -o eth4 ! -s 10.0.0.0/8\n"
                "-A OUTPUT -o lo\n"},
        HitCase{"ports",
                "-A INPUT -p tcp -m tcp --sport 1:5 --dport 65535\n"
                "-A INPUT -p udp -m multiport --ports 7,100:200\n"
                "-A INPUT -p tcp -m tcp ! --dport 1:65534\n"},
        HitCase{"flags",
                "-A INPUT -p tcp -m tcp --tcp-flags SYN,RST,ACK,FIN SYN\n"
                "-A INPUT -p tcp -m tcp --tcp-flags ALL NONE\n"
                "-A INPUT -p icmp -m icmp --icmp-type 3/4\n"},
        HitCase{"states",
                "-A INPUT -m conntrack --ctstate NEW\n"
                "-A INPUT -m conntrack --ctstate ESTABLISHED\n"
                "-A INPUT -m conntrack --ctstate RELATED\n"
                "-A INPUT -m conntrack --ctstate INVALID\n"
                "-A FORWARD -m state --state ESTABLISHED\n"},
        HitCase{"fields",
                "-A INPUT -m length --length 900:1000\n"
                "-A INPUT -m ttl --ttl-lt 5\n"
                "-A INPUT -m dscp --dscp 0x2e\n"
                "-A INPUT -m tos --tos 0x10/0xff\n"
                "-A INPUT -m iprange --dst-range 203.0.113.5-203.0.113.6\n"
                "-A OUTPUT -m owner --uid-owner 33\n"},
        HitCase{"jumps",
                "-A INPUT -s 192.0.2.0/24 -j deep\n"
                "-A deep -p tcp -g deeper\n"
                "-A deeper -m tcp -p tcp --dport 99 -j DROP\n"},
        HitCase{"ipv6",
                "-A INPUT -s 2001:db8:5::/48 -p tcp -m tcp --dport 22\n"
                "-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 128\n"
                "-A FORWARD -m hl --hl-gt 200\n",
                Family::kIpv6}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(AimPackets, SameSeedSameText) {
  const Ruleset ruleset = Parse(kFilter + "-A INPUT -s 192.0.2.1\nCOMMIT\n");
  EXPECT_EQ(AimPackets(ruleset, {50, 7}), AimPackets(ruleset, {50, 7}));
  EXPECT_NE(AimPackets(ruleset, {50, 7}), AimPackets(ruleset, {50, 8}));
}

TEST(AimPackets, GivesAsManyAsAskedFor) {
  const Ruleset with_rules = Parse(kFilter + "-A INPUT -p tcp\nCOMMIT\n");
  for (const Ruleset& ruleset : {with_rules, Ruleset{}}) {
    for (uint64_t count : {1u, 7u, 100u}) {
      const auto packets =
          ParsePackets(AimPackets(ruleset, {count, 1}), "aimed");
      ASSERT_TRUE(packets.has_value()) << packets.error().ToString();
      EXPECT_EQ(packets->size(), count);
    }
  }
}

}  // namespace
}  // namespace nfarena
