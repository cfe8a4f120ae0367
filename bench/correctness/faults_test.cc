// Seeded faults: each must be found by the packets that nfarena aims itself.
//
// A broken lowering is stated as text: what the ruleset says, and what the
// broken engine puts in force for it.
#include <gtest/gtest.h>

#include <string>

#include "bench/correctness/aim.h"
#include "bench/correctness/differential.h"
#include "bench/correctness/testing/faulty_engine.h"
#include "compat/syntax/save_parser.h"
#include "engines/core/packet_text.h"
#include "engines/registry.h"

namespace nfarena {
namespace {

using testing::Fault;
using testing::FaultyEngine;

/// The ruleset with `rule` in the place that a fault is tried at.
std::string Text(const char* table, const std::string& rule) {
  std::string text = "*" + std::string(table) + "\n";
  for (Hook hook : TableHooks(*TableKindFromName(table))) {
    text += std::string(":") + HookChainName(hook) + " ACCEPT [0:0]\n";
  }
  return text + ":user - [0:0]\n:other - [0:0]\n" + rule +
         "\n-A user -p tcp -m tcp --dport 1000:2000 -j RETURN\n"
         "-A user -j MARK --set-xmark 0x5/0xffffffff\nCOMMIT\n";
}

Result<Ruleset> Parse(const std::string& text, Family family) {
  ParseOptions options;
  options.file = "fault";
  options.family = family;
  return ParseSave(text, options, nullptr);
}

struct LoweringFault {
  const char* name;
  const char* table;
  const char* said;    // what the ruleset says
  const char* broken;  // what the engine makes of it
  Family family = Family::kIpv4;
};

void PrintTo(const LoweringFault& fault, std::ostream* out) {
  *out << fault.name;
}

uint64_t DifferencesFound(const Ruleset& ruleset, const Engine& sound,
                          const Engine& faulty) {
  const auto packets = ParsePackets(
      AimPackets(ruleset, {.packets_count = 400, .seed = 1}), "aimed");
  EXPECT_TRUE(packets.has_value()) << packets.error().ToString();
  if (!packets) return 0;
  const DifferentialCase c{.id = "fault",
                           .ruleset = &ruleset,
                           .ruleset_path = "FILE",
                           .packets = *packets,
                           .ipset_save = ""};
  const Engine* const pair[] = {&sound, &faulty};
  const auto report = RunDifferential(c, pair, {.shrink = false});
  EXPECT_TRUE(report.has_value()) << report.error().ToString();
  if (!report) return 0;
  for (const EngineRun& run : report->runs) {
    EXPECT_EQ(run.state, RunState::kRan) << run.engine << ": " << run.reason;
  }
  return report->differences_count;
}

const Engine& Named(const char* name) { return **FindEngine(name); }

class LoweringFaults : public ::testing::TestWithParam<LoweringFault> {};

TEST_P(LoweringFaults, IsFound) {
  const LoweringFault& fault = GetParam();
  const auto said = Parse(Text(fault.table, fault.said), fault.family);
  const auto broken = Parse(Text(fault.table, fault.broken), fault.family);
  ASSERT_TRUE(said.has_value()) << said.error().ToString();
  ASSERT_TRUE(broken.has_value()) << broken.error().ToString();
  const Engine& reference = Named("reference");
  const FaultyEngine sound(reference, {});
  EXPECT_EQ(DifferencesFound(*said, reference, sound), 0u)
      << "found where there is none";
  const FaultyEngine faulty(
      reference, {.lowering = [&](const Ruleset&) { return *broken; }});
  EXPECT_GT(DifferencesFound(*said, reference, faulty), 0u);
}

INSTANTIATE_TEST_SUITE_P(
    All, LoweringFaults,
    ::testing::Values(
        LoweringFault{"source_mask_one_bit_wide", "filter",
                      "-A INPUT -s 192.0.2.0/25 -j DROP",
                      "-A INPUT -s 192.0.2.0/24 -j DROP"},
        LoweringFault{"source_and_destination_swapped", "filter",
                      "-A INPUT -s 192.0.2.0/25 -j DROP",
                      "-A INPUT -d 192.0.2.0/25 -j DROP"},
        LoweringFault{"source_inversion_lost", "filter",
                      "-A INPUT ! -s 192.0.2.0/25 -j DROP",
                      "-A INPUT -s 192.0.2.0/25 -j DROP"},
        LoweringFault{"interface_wildcard_exact", "filter",
                      "-A INPUT -i ppp+ -j DROP", "-A INPUT -i ppp -j DROP"},
        LoweringFault{"interface_inversion_lost", "filter",
                      "-A FORWARD ! -o wan0 -j DROP",
                      "-A FORWARD -o wan0 -j DROP"},
        LoweringFault{"protocol_lost", "filter", "-A INPUT -p udp -j DROP",
                      "-A INPUT -j DROP"},
        LoweringFault{"port_range_short_by_one", "filter",
                      "-A INPUT -p tcp -m tcp --dport 100:200 -j DROP",
                      "-A INPUT -p tcp -m tcp --dport 100:199 -j DROP"},
        LoweringFault{"ports_swapped", "filter",
                      "-A INPUT -p udp -m udp --sport 53 -j DROP",
                      "-A INPUT -p udp -m udp --dport 53 -j DROP"},
        LoweringFault{"port_inversion_lost", "filter",
                      "-A INPUT -p tcp -m tcp ! --dport 22 -j DROP",
                      "-A INPUT -p tcp -m tcp --dport 22 -j DROP"},
        LoweringFault{"multiport_element_lost", "filter",
                      "-A INPUT -p tcp -m multiport --dports 22,80,443 -j DROP",
                      "-A INPUT -p tcp -m multiport --dports 22,443 -j DROP"},
        LoweringFault{"tcp_flags_mask_short", "filter",
                      "-A INPUT -p tcp -m tcp --tcp-flags SYN,ACK SYN -j DROP",
                      "-A INPUT -p tcp -m tcp --tcp-flags SYN SYN -j DROP"},
        LoweringFault{"icmp_type_wrong", "filter",
                      "-A INPUT -p icmp -m icmp --icmp-type 8 -j DROP",
                      "-A INPUT -p icmp -m icmp --icmp-type 9 -j DROP"},
        LoweringFault{"state_new_for_established", "filter",
                      "-A INPUT -m conntrack --ctstate ESTABLISHED -j DROP",
                      "-A INPUT -m conntrack --ctstate NEW -j DROP"},
        LoweringFault{"state_related_lost", "filter",
                      "-A INPUT -m state --state RELATED -j DROP",
                      "-A INPUT -m state --state INVALID -j DROP"},
        LoweringFault{"length_bound_off_by_one", "filter",
                      "-A INPUT -m length --length 100:200 -j DROP",
                      "-A INPUT -m length --length 101:200 -j DROP"},
        LoweringFault{"ttl_comparison_wrong", "filter",
                      "-A INPUT -m ttl --ttl-lt 10 -j DROP",
                      "-A INPUT -m ttl --ttl-gt 10 -j DROP"},
        LoweringFault{"dscp_shifted", "filter",
                      "-A INPUT -m dscp --dscp 0x02 -j DROP",
                      "-A INPUT -m dscp --dscp 0x04 -j DROP"},
        LoweringFault{"range_end_off_by_one", "filter",
                      "-A INPUT -m iprange --src-range 192.0.2.5-192.0.2.9 -j "
                      "DROP",
                      "-A INPUT -m iprange --src-range 192.0.2.5-192.0.2.8 -j "
                      "DROP"},
        LoweringFault{"verdict_accept_for_drop", "filter",
                      "-A INPUT -s 192.0.2.1 -j DROP",
                      "-A INPUT -s 192.0.2.1 -j ACCEPT"},
        LoweringFault{"rule_lost", "filter", "-A INPUT -s 192.0.2.1 -j DROP",
                      "-A OUTPUT -s 192.0.2.1 -j DROP"},
        LoweringFault{"return_for_drop", "filter",
                      "-A INPUT -j user\n-A INPUT -j DROP",
                      "-A INPUT -j RETURN\n-A INPUT -j DROP"},
        LoweringFault{"goto_for_jump", "mangle",
                      "-A INPUT -j user\n-A INPUT -j MARK --set-mark 9",
                      "-A INPUT -g user\n-A INPUT -j MARK --set-mark 9"},
        LoweringFault{"jump_to_another_chain", "mangle", "-A INPUT -j user",
                      "-A INPUT -j other"},
        LoweringFault{"reject_code_wrong", "filter",
                      "-A INPUT -p udp -j REJECT --reject-with "
                      "icmp-port-unreachable",
                      "-A INPUT -p udp -j REJECT --reject-with "
                      "icmp-host-unreachable"},
        LoweringFault{"reject_without_answer", "filter",
                      "-A INPUT -p tcp -j REJECT --reject-with tcp-reset",
                      "-A INPUT -p tcp -j DROP"},
        LoweringFault{"queue_number_wrong", "filter",
                      "-A INPUT -p tcp -j NFQUEUE --queue-num 3",
                      "-A INPUT -p tcp -j NFQUEUE --queue-num 4"},
        LoweringFault{"mark_mask_lost", "mangle",
                      "-A INPUT -j MARK --set-xmark 0x1/0x1\n"
                      "-A INPUT -j MARK --set-xmark 0x2/0x2",
                      "-A INPUT -j MARK --set-xmark 0x1/0x1\n"
                      "-A INPUT -j MARK --set-xmark 0x2/0xffffffff"},
        LoweringFault{"dnat_address_wrong", "nat",
                      "-A PREROUTING -p tcp -j DNAT --to-destination "
                      "198.51.100.7",
                      "-A PREROUTING -p tcp -j DNAT --to-destination "
                      "198.51.100.8"},
        LoweringFault{"dnat_port_lost", "nat",
                      "-A PREROUTING -p tcp -j DNAT --to-destination "
                      "198.51.100.7:8080",
                      "-A PREROUTING -p tcp -j DNAT --to-destination "
                      "198.51.100.7"},
        LoweringFault{"snat_address_wrong", "nat",
                      "-A POSTROUTING -p udp -j SNAT --to-source 198.51.100.7",
                      "-A POSTROUTING -p udp -j SNAT --to-source "
                      "198.51.100.9"},
        LoweringFault{"netmap_bits_wrong", "nat",
                      "-A PREROUTING -d 192.0.2.0/24 -j NETMAP --to "
                      "198.51.100.0/24",
                      "-A PREROUTING -d 192.0.2.0/24 -j NETMAP --to "
                      "198.51.100.0/25"},
        LoweringFault{"tos_not_written", "mangle",
                      "-A INPUT -p tcp -j DSCP --set-dscp 0x0a",
                      "-A INPUT -p tcp -j DSCP --set-dscp 0x0b"},
        LoweringFault{"notrack_lost", "raw",
                      "-A PREROUTING -p udp -j CT --notrack\n"
                      "-A PREROUTING -p udp -j ACCEPT",
                      "-A PREROUTING -p udp -j MARK --set-mark 1\n"
                      "-A PREROUTING -p udp -j ACCEPT"},
        LoweringFault{"ipv6_prefix_word_lost", "filter",
                      "-A INPUT -s 2001:db8:1:2::/64 -j DROP",
                      "-A INPUT -s 2001:db8:1::/48 -j DROP", Family::kIpv6},
        LoweringFault{"hop_limit_wrong", "filter",
                      "-A INPUT -m hl --hl-eq 255 -j DROP",
                      "-A INPUT -m hl --hl-eq 254 -j DROP", Family::kIpv6}),
    [](const auto& test) { return std::string(test.param.name); });

constexpr const char* kPlain = "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT";

struct RunFault {
  const char* name;
  Fault fault;
};

std::vector<RunFault> RunFaultsOfAllKinds() {
  return {
      {"verdict_flipped",
       {.outcome =
            [](Outcome* o) {
              if (o->verdict == VerdictKind::kAccept) {
                o->verdict = VerdictKind::kDrop;
              }
            }}},
      {"deciding_rule_off_by_one",
       {.outcome = [](Outcome* o) { ++o->decided_by.rule; }}},
      {"one_byte_of_the_packet_changed",
       {.outcome =
            [](Outcome* o) {
              if (!o->bytes.empty()) o->bytes.back() ^= 1;
            }}},
      {"mark_changed", {.outcome = [](Outcome* o) { o->mark ^= 1; }}},
      {"wrong_device",
       {.outcome =
            [](Outcome* o) {
              if (o->verdict == VerdictKind::kAccept) o->out += "x";
            }}},
      {"answer_out_of_nothing",
       {.outcome = [](Outcome* o) { o->emissions.emplace_back(); }}},
      {"packet_counter_off_by_one",
       {.dump =
            [](Ruleset* r) {
              ++r->tables[0].chains[0].rules[0].counters.packets;
            }}},
      {"byte_counter_off_by_one",
       {.dump =
            [](Ruleset* r) {
              ++r->tables[0].chains[0].rules[0].counters.bytes;
            }}},
      {"policy_counter_off_by_one",
       {.dump = [](Ruleset* r) { ++r->tables[0].chains[1].counters.packets; }}},
  };
}

TEST(RunFaults, AllAreFound) {
  const auto ruleset = Parse(Text("filter", kPlain), Family::kIpv4);
  ASSERT_TRUE(ruleset.has_value()) << ruleset.error().ToString();
  const Engine& reference = Named("reference");
  for (const RunFault& fault : RunFaultsOfAllKinds()) {
    const FaultyEngine faulty(reference, fault.fault);
    EXPECT_GT(DifferencesFound(*ruleset, reference, faulty), 0u) << fault.name;
  }
}

}  // namespace
}  // namespace nfarena
