// What ip_tables says of one stage, case by case; every engine that runs
// xtables rulesets must say the same.
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "compat/model/testing/rule_builder.h"
#include "engines/core/testing/placed_packet.h"

namespace nfarena::testing {

inline constexpr uint8_t kTcp = 6;
inline constexpr uint8_t kUdp = 17;

inline Table Filter(
    std::vector<Rule> input,
    std::vector<std::pair<std::string, std::vector<Rule>>> users = {},
    Policy policy = Policy::kAccept) {
  Table table = EmptyTable(TableKind::kFilter);
  for (const auto& [name, rules] : users) EXPECT_TRUE(table.AddChain(name));
  for (const auto& [name, rules] : users) table.chain(name)->rules = rules;
  table.chain("INPUT")->rules = std::move(input);
  table.chain("INPUT")->policy = policy;
  return table;
}

/// A filter table, a packet in front of its INPUT, and what is said:
/// "drop INPUT/2 | INPUT/1 INPUT/2": verdict, who said it, what matched.
struct StageCase {
  const char* name;
  Table table;
  PacketState packet;
  const char* want;
};

inline void PrintTo(const StageCase& c, std::ostream* os) { *os << c.name; }

inline std::vector<StageCase> StageCases() {
  const PacketState web = Placed(PlacedV4{});
  const PacketState later = Placed(PlacedV4{.fragment_offset = 100});
  const PacketState v6 = Placed(PlacedV6{});
  return {
      {"policy", Filter({}, {}, Policy::kDrop), web,
       "drop INPUT/policy | INPUT/policy"},
      {"first_match_wins", Filter({R().Accept(), R().Drop()}), web,
       "accept INPUT/1 | INPUT/1"},
      {"rule_without_target_goes_on", Filter({R().None(), R().Drop()}), web,
       "drop INPUT/2 | INPUT/1 INPUT/2"},
      {"queue", Filter({R().Queue()}), web, "queue INPUT/1 | INPUT/1"},
      {"src_hit", Filter({R().Src({192, 0, 2, 0}, 3).Drop(), R().Accept()}),
       web, "drop INPUT/1 | INPUT/1"},
      {"src_miss", Filter({R().Src({192, 0, 3, 0}, 3).Drop(), R().Accept()}),
       web, "accept INPUT/2 | INPUT/2"},
      {"src_inverted",
       Filter({R().Src({192, 0, 3, 0}, 3).Not(kInvertSrc).Drop()}), web,
       "drop INPUT/1 | INPUT/1"},
      {"dst_inverted_miss",
       Filter({R().Dst({198, 51, 100, 1}, 4).Not(kInvertDst).Drop()}), web,
       "accept INPUT/policy | INPUT/policy"},
      {"in_exact", Filter({R().In("eth").Drop(), R().In("eth0").Drop()}), web,
       "drop INPUT/2 | INPUT/2"},
      {"in_prefix", Filter({R().In("eth+").Drop()}), web,
       "drop INPUT/1 | INPUT/1"},
      {"in_inverted", Filter({R().In("ppp+").Not(kInvertIn).Drop()}), web,
       "drop INPUT/1 | INPUT/1"},
      {"out_of_input_is_empty", Filter({R().Out("eth+").Drop()}), web,
       "accept INPUT/policy | INPUT/policy"},
      {"protocol", Filter({R().Proto(kUdp).Drop(), R().Proto(kTcp).Drop()}),
       web, "drop INPUT/2 | INPUT/2"},
      {"protocol_inverted",
       Filter({R().Proto(kUdp).Not(kInvertProtocol).Drop()}), web,
       "drop INPUT/1 | INPUT/1"},
      {"fragment_whole_packet",
       Filter({R().Fragment().Drop(),
               R().Fragment().Not(kInvertFragment).Accept()}),
       web, "accept INPUT/2 | INPUT/2"},
      {"fragment_later_one", Filter({R().Fragment().Drop()}), later,
       "drop INPUT/1 | INPUT/1"},
      {"port_hit_and_miss",
       Filter({R().Proto(kTcp).Match(TcpPort(81)).Drop(),
               R().Proto(kTcp).Match(TcpPort(80)).Drop()}),
       web, "drop INPUT/2 | INPUT/2"},
      {"port_of_later_fragment",
       Filter({R().Proto(kTcp).Match(TcpPort(80)).Drop()}), later,
       "accept INPUT/policy | INPUT/policy"},
      {"hotdrop_short_header",
       Filter({R().None(), R().Proto(kTcp).Match(TcpPort(80)).Accept(),
               R().Accept()}),
       Placed(PlacedV4{.transport_bytes = 8}), "drop INPUT/2 | INPUT/1"},
      {"two_matches_second_misses",
       Filter({R().Proto(kTcp).Match(TcpPort(80)).Match(MarkIs(1)).Drop()}),
       web, "accept INPUT/policy | INPUT/policy"},
      {"target_goes_on_and_is_seen",
       Filter({R().Do(SetMark(7)), R().Match(MarkIs(7)).Drop()}), web,
       "drop INPUT/2 | INPUT/1 INPUT/2"},
      {"jump_and_return",
       Filter({R().Jump("u"), R().Drop()}, {{"u", {R().None()}}}), web,
       "drop INPUT/2 | INPUT/1 u/1 u/end INPUT/2"},
      {"return_rule_in_user_chain",
       Filter({R().Jump("u"), R().Drop()},
              {{"u", {R().Return(), R().Accept()}}}),
       web, "drop INPUT/2 | INPUT/1 u/1 INPUT/2"},
      {"return_in_base_chain_is_the_policy",
       Filter({R().Return(), R().Accept()}, {}, Policy::kDrop), web,
       "drop INPUT/policy | INPUT/1 INPUT/policy"},
      {"goto_returns_to_the_policy",
       Filter({R().Goto("u"), R().Accept()}, {{"u", {R().None()}}},
              Policy::kDrop),
       web, "drop INPUT/policy | INPUT/1 u/1 u/end INPUT/policy"},
      {"goto_returns_to_the_caller_of_its_chain",
       Filter({R().Jump("a"), R().Drop()},
              {{"a", {R().Goto("b"), R().Accept()}}, {"b", {R().Return()}}}),
       web, "drop INPUT/2 | INPUT/1 a/1 b/1 INPUT/2"},
      {"nested_jumps",
       Filter({R().Jump("a"), R().Drop()},
              {{"a", {R().Jump("b"), R().None()}}, {"b", {R().None()}}}),
       web, "drop INPUT/2 | INPUT/1 a/1 b/1 b/end a/2 a/end INPUT/2"},
      {"same_chain_twice",
       Filter({R().Jump("a"), R().Jump("a"), R().Drop()}, {{"a", {}}}), web,
       "drop INPUT/3 | INPUT/1 a/end INPUT/2 a/end INPUT/3"},
      {"v6_address",
       Filter({R().Src({0x20, 1, 0xd, 0xb9}, 4).Drop(),
               R().Src({0x20, 1, 0xd, 0xb8}, 4).Drop()}),
       v6, "drop INPUT/2 | INPUT/2"},
      {"v6_protocol",
       Filter({R().Proto(kUdp).Drop(),
               R().Proto(kUdp).Not(kInvertProtocol).In("eth0").Drop()}),
       v6, "drop INPUT/2 | INPUT/2"},
      {"v6_port", Filter({R().Proto(kTcp).Match(TcpPort(80)).Drop()}), v6,
       "drop INPUT/1 | INPUT/1"},
      {"v6_broken_header_chain",
       Filter({R().None(), R().Proto(kTcp).Accept(), R().Accept()}),
       Placed(PlacedV6{.broken = true}), "drop INPUT/2 | INPUT/1"},
      {"v6_broken_header_chain_unasked", Filter({R().Accept()}),
       Placed(PlacedV6{.broken = true}), "accept INPUT/1 | INPUT/1"},
  };
}

}  // namespace nfarena::testing
