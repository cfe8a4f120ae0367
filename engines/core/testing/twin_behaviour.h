// What every twin that runs xtables rulesets owes to the engine interface.
//
// A test program includes this once and instantiates TwinBehaviour with its
// engine.  Outcomes here are those of the kernel, worked out by hand; the
// differential runs compare many more.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "compat/syntax/save_printer.h"
#include "compat/syntax/testing/parsed.h"
#include "engines/core/engine.h"
#include "engines/core/packet_text.h"

namespace nfarena {

inline void PrintTo(const Engine* engine, std::ostream* os) {
  *os << engine->name();
}

namespace testing {

class TwinBehaviour : public ::testing::TestWithParam<const Engine*> {
 protected:
  static std::vector<Packet> Packets(std::string_view text) {
    auto packets = ParsePackets(text, "packets");
    EXPECT_TRUE(packets) << packets.error().ToString();
    return packets ? *packets : std::vector<Packet>();
  }

  std::unique_ptr<Instance> Open(const Ruleset& ruleset,
                                 const std::vector<Packet>& packets = {}) {
    OpenOptions options;
    options.family = ruleset.family;
    auto topology = Topology::For(ruleset, packets);
    EXPECT_TRUE(topology) << topology.error().ToString();
    if (topology) options.topology = *topology;
    auto instance = GetParam()->Open(options);
    EXPECT_TRUE(instance) << instance.error().ToString();
    return std::move(*instance);
  }

  static std::string Dumped(Instance* instance) {
    const auto dump = instance->Dump();
    if (!dump) return dump.error().ToString();
    return PrintSave(dump->ruleset, {.counters = true, .header = false});
  }

  static std::vector<std::string> Judge(Instance* instance,
                                        const Ruleset& ruleset,
                                        const std::vector<Packet>& packets,
                                        bool trace = false) {
    std::vector<Outcome> outcomes(packets.size());
    ClassifyOptions options;
    options.trace = trace;
    const Status done = instance->Classify(packets, outcomes, options);
    EXPECT_TRUE(done) << done.error().ToString();
    std::vector<std::string> lines;
    for (const Outcome& outcome : outcomes) {
      std::string line = std::string(VerdictKindName(outcome.verdict)) + " " +
                         RuleRefName(ruleset, outcome.decided_by);
      for (const RuleRef& ref : outcome.trace) {
        line += " " + RuleRefName(ruleset, ref);
      }
      lines.push_back(line);
    }
    return lines;
  }
};

inline constexpr std::string_view kBehaviourRules =
    "*mangle\n"
    ":PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
    ":OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
    "-A PREROUTING -p tcp -m tcp --dport 81 -j MARK --set-xmark "
    "0x7/0xffffffff\n"
    "COMMIT\n"
    "*filter\n"
    ":INPUT DROP [3:180]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
    ":web - [0:0]\n"
    "[1:60] -A INPUT -i lo -j ACCEPT\n"
    "[2:120] -A INPUT -p tcp -j web\n"
    "-A INPUT -m mark --mark 0x7 -j ACCEPT\n"
    "-A web -p tcp -m tcp --dport 80 -j ACCEPT\n"
    "-A web -s 192.0.2.0/24 -p tcp -m tcp --dport 22 -j RETURN\n"
    "COMMIT\n";

inline constexpr std::string_view kBehaviourPackets =
    "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=TCP SPT=1 DPT=80 SYN\n"
    "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=TCP SPT=2 DPT=22 SYN\n"
    "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=TCP SPT=3 DPT=81 SYN\n";

TEST_P(TwinBehaviour, ReplaceAndDumpRoundTripWithCounters) {
  const Ruleset ruleset = Parse(kBehaviourRules);
  const auto instance = Open(ruleset);
  const auto cost = instance->Replace(ruleset);
  ASSERT_TRUE(cost) << cost.error().ToString();
  EXPECT_GT(cost->bytes_sent, 0u);
  EXPECT_GT(cost->messages, 0u);
  EXPECT_GE(cost->wall_ns, cost->lower_ns);
  const auto dump = instance->Dump();
  ASSERT_TRUE(dump) << dump.error().ToString();
  EXPECT_TRUE(SameRules(ruleset, dump->ruleset));
  EXPECT_GT(dump->cost.bytes_received, 0u);
  const Table* filter = dump->ruleset.table(TableKind::kFilter);
  ASSERT_NE(filter, nullptr);
  EXPECT_EQ(filter->chain("INPUT")->counters, (Counters{3, 180}));
  EXPECT_EQ(filter->chain("INPUT")->rules[1].counters, (Counters{2, 120}));
  EXPECT_FALSE(instance->Disassemble().empty());
  EXPECT_GT(instance->BytesUsed().program_bytes, 0u);
  EXPECT_GT(instance->BytesUsed().state_bytes, 0u);
}

TEST_P(TwinBehaviour, JudgesAndTraces) {
  const Ruleset ruleset = Parse(kBehaviourRules);
  const std::vector<Packet> packets = Packets(kBehaviourPackets);
  const auto instance = Open(ruleset, packets);
  ASSERT_TRUE(instance->Replace(ruleset));
  const std::vector<std::string> said =
      Judge(instance.get(), ruleset, packets, true);
  ASSERT_EQ(said.size(), 3u);
  EXPECT_EQ(said[0],
            "accept filter/web/1 mangle/PREROUTING/policy mangle/INPUT/policy "
            "filter/INPUT/2 filter/web/1");
  EXPECT_EQ(said[1],
            "drop filter/INPUT/policy mangle/PREROUTING/policy "
            "mangle/INPUT/policy filter/INPUT/2 filter/web/2 "
            "filter/INPUT/policy");
  EXPECT_EQ(said[2],
            "accept filter/INPUT/3 mangle/PREROUTING/1 "
            "mangle/PREROUTING/policy mangle/INPUT/policy filter/INPUT/2 "
            "filter/web/end filter/INPUT/3");
  // Untraced, and counted on top of what was loaded.
  EXPECT_EQ(Judge(instance.get(), ruleset, packets)[1],
            "drop filter/INPUT/policy");
  const auto dump = instance->Dump();
  ASSERT_TRUE(dump);
  const Chain& input = *dump->ruleset.table(TableKind::kFilter)->chain("INPUT");
  EXPECT_EQ(input.rules[1].counters.packets, 2u + 6u);
  EXPECT_EQ(input.counters.packets, 3u + 2u);
}

TEST_P(TwinBehaviour, RefusedReplaceChangesNothing) {
  const Ruleset ruleset = Parse(kBehaviourRules);
  const std::vector<Packet> packets = Packets(kBehaviourPackets);
  const auto instance = Open(ruleset, packets);
  ASSERT_TRUE(instance->Replace(ruleset));
  const std::string before = Dumped(instance.get());
  Ruleset bad = Parse(
      "*raw\n:PREROUTING DROP [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
      "*mangle\n:PREROUTING DROP [0:0]\n:INPUT ACCEPT [0:0]\n"
      ":FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
      ":POSTROUTING ACCEPT [0:0]\n-A FORWARD -j ACCEPT\n"
      "-A FORWARD -p tcp -j ACCEPT\nCOMMIT\n");
  // MASQUERADE is for nat alone: the table in front of it is fine.  The parser
  // refuses it itself, so it is put into the model.
  const auto masquerade =
      ParseRule("-p tcp -j MASQUERADE", Family::kIpv4, TableKind::kNat);
  ASSERT_TRUE(masquerade) << masquerade.error().ToString();
  bad.table(TableKind::kMangle)->chain("FORWARD")->rules[1].target =
      masquerade->target;
  const auto done = instance->Replace(bad);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().place.line, 12u) << done.error().ToString();
  EXPECT_EQ(Dumped(instance.get()), before);
  EXPECT_EQ(Judge(instance.get(), ruleset, packets)[0], "accept filter/web/1");
}

TEST_P(TwinBehaviour, LoopOfChainsIsRefused) {
  // The parser refuses a loop itself, so it is closed in the model.
  Ruleset loop = Parse(
      "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
      ":OUTPUT ACCEPT [0:0]\n:a - [0:0]\n:b - [0:0]\n"
      "-A INPUT -j a\n-A a -j b\nCOMMIT\n");
  Table* filter = loop.table(TableKind::kFilter);
  filter->chain("b")->rules.push_back(filter->chain("INPUT")->rules[0]);
  const auto instance = Open(loop);
  const auto done = instance->Replace(loop);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().errno_value, ELOOP) << done.error().ToString();
}

TEST_P(TwinBehaviour, UnnamedTablesAreEmptied) {
  const Ruleset ruleset = Parse(kBehaviourRules);
  const auto instance = Open(ruleset);
  ASSERT_TRUE(instance->Replace(ruleset));
  const Ruleset smaller = Parse(
      "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
      ":OUTPUT ACCEPT [0:0]\nCOMMIT\n");
  ASSERT_TRUE(instance->Replace(smaller));
  const auto dump = instance->Dump();
  ASSERT_TRUE(dump);
  EXPECT_TRUE(SameRules(smaller, dump->ruleset)) << Dumped(instance.get());
}

TEST_P(TwinBehaviour, AppliesADeltaAndKeepsTheOtherCounters) {
  const Ruleset ruleset = Parse(kBehaviourRules);
  const std::vector<Packet> packets = Packets(kBehaviourPackets);
  const auto instance = Open(ruleset, packets);
  ASSERT_TRUE(instance->Replace(ruleset));
  Judge(instance.get(), ruleset, packets);

  const auto rule = ParseRule("-p tcp -m tcp --dport 22 -j ACCEPT",
                              Family::kIpv4, TableKind::kFilter);
  ASSERT_TRUE(rule) << rule.error().ToString();
  Change insert;
  insert.kind = ChangeKind::kInsert;
  insert.chain = "INPUT";
  insert.rulenum = 1;
  insert.rule = *rule;
  Change policy;
  policy.kind = ChangeKind::kPolicy;
  policy.table = TableKind::kMangle;
  policy.chain = "FORWARD";
  policy.policy = Policy::kDrop;
  const auto cost = instance->Apply({insert, policy});
  ASSERT_TRUE(cost) << cost.error().ToString();
  EXPECT_GT(cost->bytes_sent, 0u);

  auto dump = instance->Dump();
  ASSERT_TRUE(dump);
  EXPECT_EQ(dump->ruleset.table(TableKind::kMangle)->chain("FORWARD")->policy,
            Policy::kDrop);
  const Chain& input = *dump->ruleset.table(TableKind::kFilter)->chain("INPUT");
  ASSERT_EQ(input.rules.size(), 4u);
  EXPECT_EQ(input.rules[0].counters, Counters{});
  EXPECT_EQ(input.rules[2].counters.packets, 2u + 3u);
  EXPECT_EQ(Judge(instance.get(), dump->ruleset, packets)[1],
            "accept filter/INPUT/1");

  // The same rule found again by its text.
  Change remove = insert;
  remove.kind = ChangeKind::kDeleteRule;
  ASSERT_TRUE(instance->Apply({remove}));
  EXPECT_EQ(Judge(instance.get(), ruleset, packets)[1],
            "drop filter/INPUT/policy");
}

TEST_P(TwinBehaviour, RefusedDeltaChangesNothing) {
  const Ruleset ruleset = Parse(kBehaviourRules);
  const auto instance = Open(ruleset);
  ASSERT_TRUE(instance->Replace(ruleset));
  const std::string before = Dumped(instance.get());
  Change flush;
  flush.kind = ChangeKind::kFlush;
  Change remove;
  remove.kind = ChangeKind::kDeleteIndex;
  remove.chain = "INPUT";
  remove.rulenum = 9;
  EXPECT_FALSE(instance->Apply({flush, remove}));
  EXPECT_EQ(Dumped(instance.get()), before);
}

TEST_P(TwinBehaviour, RefusesTheOtherFamily) {
  const Ruleset ruleset = Parse(kBehaviourRules);
  const auto instance = Open(ruleset);
  Ruleset other;
  other.family = Family::kIpv6;
  EXPECT_FALSE(instance->Replace(other));
  std::vector<Packet> packets = Packets(kBehaviourPackets);
  packets[2].family = Family::kIpv6;
  std::vector<Outcome> outcomes(packets.size());
  const Status done = instance->Classify(packets, outcomes, {});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().place.line, 3u);
}

TEST_P(TwinBehaviour, JudgesIpv6) {
  const Ruleset ruleset = Parse(
      "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n"
      ":OUTPUT ACCEPT [0:0]\n"
      "-A INPUT -s 2001:db8::/32 -p tcp -m tcp --dport 22 -j ACCEPT\n"
      "-A INPUT ! -p tcp -i eth+ -j ACCEPT\nCOMMIT\n",
      Family::kIpv6);
  const std::vector<Packet> packets = Packets(
      "IN=eth0 OUT= SRC=2001:db8::1 DST=2001:db8:1::1 PROTO=TCP SPT=1 DPT=22 "
      "SYN\n"
      "IN=eth0 OUT= SRC=2001:db9::1 DST=2001:db8:1::1 PROTO=TCP SPT=1 DPT=22 "
      "SYN\n"
      "IN=eth0 OUT= SRC=2001:db9::1 DST=2001:db8:1::1 PROTO=UDP SPT=1 "
      "DPT=22\n");
  const auto instance = Open(ruleset, packets);
  ASSERT_TRUE(instance->Replace(ruleset));
  const std::vector<std::string> want = {"accept filter/INPUT/1",
                                         "drop filter/INPUT/policy",
                                         "accept filter/INPUT/2"};
  EXPECT_EQ(Judge(instance.get(), ruleset, packets), want);
}

TEST_P(TwinBehaviour, JudgesFlowsWithNatAndReject) {
  const Ruleset ruleset = Parse(
      "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
      ":OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
      "-A PREROUTING -i eth0 -p tcp -m tcp --dport 80 -j DNAT "
      "--to-destination 10.0.0.5:8080\nCOMMIT\n"
      "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n"
      ":OUTPUT ACCEPT [0:0]\n"
      "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
      "-A FORWARD -p tcp -m tcp --dport 8080 -j ACCEPT\n"
      "-A FORWARD -p udp -j REJECT --reject-with icmp-port-unreachable\n"
      "COMMIT\n");
  const std::vector<Packet> packets = Packets(
      "IN=eth0 OUT=eth1 SRC=192.0.2.1 DST=198.51.100.1 PROTO=TCP SPT=1000 "
      "DPT=80 SYN\n"
      "IN=eth1 OUT=eth0 SRC=10.0.0.5 DST=192.0.2.1 PROTO=TCP SPT=8080 "
      "DPT=1000 SYN ACK\n"
      "IN=eth0 OUT=eth1 SRC=192.0.2.1 DST=10.0.0.9 PROTO=UDP SPT=1 DPT=53\n");
  const auto instance = Open(ruleset, packets);
  ASSERT_TRUE(instance->Replace(ruleset));
  std::vector<Outcome> outcomes(packets.size());
  ASSERT_TRUE(instance->Classify(packets, outcomes, {}));
  EXPECT_EQ(RuleRefName(ruleset, outcomes[0].decided_by),
            "nat/POSTROUTING/policy");
  ASSERT_GE(outcomes[0].bytes.size(), 24u);
  const std::vector<uint8_t> to(outcomes[0].bytes.begin() + 16,
                                outcomes[0].bytes.begin() + 20);
  EXPECT_EQ(to, (std::vector<uint8_t>{10, 0, 0, 5}));
  EXPECT_EQ(RuleRefName(ruleset, outcomes[1].decided_by), "filter/FORWARD/1");
  EXPECT_EQ(outcomes[2].verdict, VerdictKind::kDrop);
  EXPECT_EQ(outcomes[2].emissions.size(), 1u);
}

TEST_P(TwinBehaviour, TimesOneStage) {
  const Ruleset ruleset = Parse(kBehaviourRules);
  const std::vector<Packet> packets = Packets(kBehaviourPackets);
  const auto instance = Open(ruleset, packets);
  ASSERT_TRUE(instance->Replace(ruleset));
  ClassifyOptions options;
  options.full_path = false;
  const auto timing = instance->Time(packets, 100, options);
  ASSERT_TRUE(timing) << timing.error().ToString();
  EXPECT_EQ(timing->packets, 300u);
  EXPECT_GT(timing->ns_per_packet, 0);
  options.table = TableKind::kSecurity;
  EXPECT_FALSE(instance->Time(packets, 1, options));
  options.full_path = true;
  EXPECT_TRUE(instance->Time(packets, 1, options));
}

TEST_P(TwinBehaviour, SaysWhatItCannotExpress) {
  Ruleset ruleset = Parse(kBehaviourRules);
  EXPECT_TRUE(GetParam()->Supports(ruleset));
  Rule& rule = ruleset.table(TableKind::kFilter)->chain("web")->rules[0];
  ASSERT_FALSE(rule.matches.empty());
  rule.matches[0].name = "nosuch";
  const Status supports = GetParam()->Supports(ruleset);
  ASSERT_FALSE(supports);
  EXPECT_EQ(supports.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(supports.error().place.line, rule.line);
  EXPECT_EQ(supports.error().place.column, rule.matches[0].column);
  EXPECT_NE(supports.error().message.find("nosuch"), std::string::npos);
  OpenOptions in_place;
  in_place.in_place = true;
  EXPECT_FALSE(GetParam()->Open(in_place));
}

}  // namespace testing
}  // namespace nfarena
