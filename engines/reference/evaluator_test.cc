#include "engines/reference/evaluator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "engines/reference/testing/stand.h"

namespace nfarena::reference {
namespace {

using testing::Bench;
using testing::Fields;
using ::testing::HasSubstr;
using testing::Stand;

/// The deciding rule of a packet to `dport`.
std::string Decide(Bench* bench, uint16_t dport, Hook hook = Hook::kForward) {
  Stand stand({.dport = dport}, hook);
  const StageVerdict verdict = bench->Evaluate(&stand);
  return std::string(VerdictKindName(verdict.kind)) + " " +
         bench->Name(verdict.rule);
}

TEST(Evaluator, VerdictsAndPolicy) {
  Bench bench(Family::kIpv4, TableKind::kFilter,
              ":FORWARD DROP [0:0]\n"
              "-A FORWARD -p tcp --dport 1 -j ACCEPT\n"
              "-A FORWARD -p tcp --dport 2 -j DROP\n"
              "-A FORWARD -p tcp --dport 3 -j QUEUE\n"
              "-A FORWARD -p tcp --dport 4\n"
              "-A FORWARD -p tcp --dport 5 -j RETURN\n"
              "-A FORWARD -p tcp --dport 5 -j ACCEPT");
  ASSERT_EQ(bench.error(), "");
  EXPECT_EQ(Decide(&bench, 1), "accept filter/FORWARD/1");
  EXPECT_EQ(Decide(&bench, 2), "drop filter/FORWARD/2");
  EXPECT_EQ(Decide(&bench, 3), "queue filter/FORWARD/3");
  EXPECT_EQ(Decide(&bench, 4), "drop filter/FORWARD/policy");
  EXPECT_EQ(Decide(&bench, 5), "drop filter/FORWARD/policy");
  EXPECT_EQ(Decide(&bench, 6, Hook::kInput), "accept filter/INPUT/policy");
}

TEST(Evaluator, JumpGotoAndReturn) {
  Bench bench(Family::kIpv4, TableKind::kFilter,
              ":A - [0:0]\n:B - [0:0]\n:C - [0:0]\n:EMPTY - [0:0]\n"
              "-A FORWARD -j EMPTY\n"
              "-A FORWARD -p tcp --dport 10:19 -j A\n"
              "-A FORWARD -p tcp --dport 10:19 -j DROP\n"
              "-A FORWARD -p tcp --dport 20:29 -g B\n"
              "-A FORWARD -p tcp --dport 20:29 -j DROP\n"
              "-A A -p tcp --dport 10 -j RETURN\n"
              "-A A -p tcp --dport 11 -g C\n"
              "-A A -p tcp --dport 12 -j C\n"
              "-A A -j ACCEPT\n"
              "-A B -p tcp --dport 20 -j RETURN\n"
              "-A B -p tcp --dport 21 -j ACCEPT\n"
              "-A C -p tcp --dport 12 -j RETURN");
  ASSERT_EQ(bench.error(), "");
  // RETURN goes on behind the jump.
  EXPECT_EQ(Decide(&bench, 10), "drop filter/FORWARD/3");
  // A goto inside A is not returned to: back to A's caller.
  EXPECT_EQ(Decide(&bench, 11), "drop filter/FORWARD/3");
  // A jump inside A is.
  EXPECT_EQ(Decide(&bench, 12), "accept filter/A/4");
  EXPECT_EQ(Decide(&bench, 13), "accept filter/A/4");
  // A chain reached by goto from the base chain ends in the policy.
  EXPECT_EQ(Decide(&bench, 20), "accept filter/FORWARD/policy");
  EXPECT_EQ(Decide(&bench, 21), "accept filter/B/2");
  EXPECT_EQ(Decide(&bench, 22), "accept filter/FORWARD/policy");
}

TEST(Evaluator, DeepNestingOfChains) {
  std::string lines;
  constexpr int kDepth = 200;
  for (int i = 0; i < kDepth; ++i) {
    lines += ":C" + std::to_string(i) + " - [0:0]\n";
  }
  lines += "-A FORWARD -j C0\n-A FORWARD -j DROP\n";
  for (int i = 0; i + 1 < kDepth; ++i) {
    lines +=
        "-A C" + std::to_string(i) + " -j C" + std::to_string(i + 1) + "\n";
  }
  lines += "-A C199 -p tcp --dport 1 -j ACCEPT";
  Bench bench(Family::kIpv4, TableKind::kFilter, lines);
  ASSERT_EQ(bench.error(), "");
  EXPECT_EQ(Decide(&bench, 1), "accept filter/C199/1");
  EXPECT_EQ(Decide(&bench, 2), "drop filter/FORWARD/2");
}

TEST(Evaluator, CountersOfRulesAndPolicies) {
  Bench bench(Family::kIpv4, TableKind::kFilter,
              ":FORWARD ACCEPT [5:500]\n:A - [0:0]\n"
              "[3:300] -A FORWARD -p tcp --dport 1 -j A\n"
              "-A FORWARD -p tcp --dport 2 -j DROP\n"
              "-A A -j RETURN");
  ASSERT_EQ(bench.error(), "");
  for (const uint16_t port : std::vector<uint16_t>{1, 1, 2, 3})
    Decide(&bench, port);
  const Table& table = *bench.evaluator().ruleset().table(TableKind::kFilter);
  const Chain& forward = *table.chain("FORWARD");
  // 40 bytes each: IP and TCP header.
  EXPECT_EQ(forward.rules[0].counters, (Counters{5, 380}));
  EXPECT_EQ(forward.rules[1].counters, (Counters{1, 40}));
  EXPECT_EQ(table.chain("A")->rules[0].counters, (Counters{2, 80}));
  EXPECT_EQ(forward.counters, (Counters{8, 620}));
  EXPECT_EQ(table.chain("INPUT")->counters, (Counters{0, 0}));
}

TEST(Evaluator, ARuleCountsBeforeItsTargetChangesThePacket) {
  Bench bench(Family::kIpv4, TableKind::kMangle,
              "-A FORWARD -p tcp --syn -j TCPMSS --set-mss 500\n"
              "-A FORWARD -j ACCEPT");
  ASSERT_EQ(bench.error(), "");
  Stand stand({}, Hook::kForward);
  EXPECT_EQ(bench.Evaluate(&stand).kind, VerdictKind::kAccept);
  const auto& rules = bench.evaluator()
                          .ruleset()
                          .table(TableKind::kMangle)
                          ->chain("FORWARD")
                          ->rules;
  EXPECT_EQ(rules[0].counters.bytes, 40u);
  EXPECT_EQ(rules[1].counters.bytes, 44u);  // with the option added
}

TEST(Evaluator, HotdropNamesTheRuleThatAsked) {
  Bench bench(Family::kIpv4, TableKind::kFilter,
              "-A FORWARD -p udp -j ACCEPT\n"
              "-A FORWARD -p tcp --dport 1 -j ACCEPT\n"
              "-A FORWARD -j ACCEPT");
  Stand stand({.cut = 5}, Hook::kForward);
  const StageVerdict verdict = bench.Evaluate(&stand);
  EXPECT_EQ(verdict.kind, VerdictKind::kDrop);
  EXPECT_EQ(bench.Name(verdict.rule), "filter/FORWARD/2");
  const Chain& forward =
      *bench.evaluator().ruleset().table(TableKind::kFilter)->chain("FORWARD");
  EXPECT_EQ(forward.rules[1].counters.packets, 0u);
}

TEST(Evaluator, TraceHoldsEveryRuleThatMatched) {
  Bench bench(Family::kIpv4, TableKind::kFilter,
              ":A - [0:0]\n-A FORWARD -p udp\n-A FORWARD -j A\n"
              "-A FORWARD -j DROP\n-A A -p tcp\n-A A -p udp\n-A A -j RETURN");
  ASSERT_EQ(bench.error(), "");
  Stand quiet({}, Hook::kForward);
  bench.Evaluate(&quiet);
  EXPECT_TRUE(quiet.outcome.trace.empty());
  bench.evaluator().set_trace(true);
  Stand stand({}, Hook::kForward);
  bench.Evaluate(&stand);
  std::vector<std::string> trace;
  for (const RuleRef& ref : stand.outcome.trace) {
    trace.push_back(bench.Name(ref));
  }
  EXPECT_THAT(trace, ::testing::ElementsAre("filter/FORWARD/2", "filter/A/1",
                                            "filter/A/3", "filter/FORWARD/3"));
}

TEST(Evaluator, AnUntouchedTableKeepsWhatItsMatchesRemember) {
  Bench bench(Family::kIpv4, TableKind::kFilter,
              "-A FORWARD -m statistic --mode nth --every 2 --packet 0 "
              "-j DROP");
  ASSERT_EQ(bench.error(), "");
  EXPECT_EQ(Decide(&bench, 1), "drop filter/FORWARD/1");
  const Ruleset same = bench.evaluator().ruleset();
  std::array<bool, kTableKindCount> touched{};
  ASSERT_TRUE(bench.evaluator().Change(same, touched).has_value());
  EXPECT_EQ(Decide(&bench, 1), "accept filter/FORWARD/policy");
  touched[static_cast<size_t>(TableKind::kFilter)] = true;
  EXPECT_EQ(Decide(&bench, 1), "drop filter/FORWARD/1");
  ASSERT_TRUE(bench.evaluator().Change(same, touched).has_value());
  EXPECT_EQ(Decide(&bench, 1), "drop filter/FORWARD/1");
}

TEST(Evaluator, ARefusedRulesetChangesNothing) {
  Bench bench(Family::kIpv4, TableKind::kFilter, "-A FORWARD -j DROP");
  ASSERT_EQ(bench.error(), "");
  Ruleset bad = bench.evaluator().ruleset();
  Rule rule;
  rule.line = 7;
  rule.matches.push_back({.name = "quux", .column = 12});
  bad.table(TableKind::kFilter)->chain("FORWARD")->rules = {rule};
  const Status status = bench.evaluator().Load(bad);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(status.error().place.line, 7u);
  EXPECT_EQ(status.error().place.column, 12u);
  EXPECT_EQ(status.error().place.text, "quux");
  EXPECT_EQ(Decide(&bench, 1), "drop filter/FORWARD/1");
}

TEST(Check, WhatTheKernelRefuses) {
  struct Case {
    Family family;
    TableKind table;
    const char* lines;
    int errno_value;  // 0: it is taken
  };
  constexpr Family kV4 = Family::kIpv4, kV6 = Family::kIpv6;
  constexpr TableKind kFilter = TableKind::kFilter, kNat = TableKind::kNat,
                      kMangle = TableKind::kMangle, kRaw = TableKind::kRaw;
  const Case cases[] = {
      {kV4, kFilter, "-A INPUT -j REJECT", 0},
      {kV4, kFilter, "-A INPUT -p tcp -j REJECT --reject-with tcp-reset", 0},
      {kV4, kFilter, "-A INPUT -p udp -j REJECT --reject-with tcp-reset",
       EINVAL},
      {kV6, kFilter, "-A INPUT -j REJECT --reject-with tcp-reset", EINVAL},
      {kV4, kFilter, "-A INPUT -m owner --uid-owner 1", EINVAL},
      {kV4, kFilter, "-A OUTPUT -m owner --uid-owner 1", 0},
      {kV4, kFilter, "-A OUTPUT -m mac --mac-source 02:00:00:00:00:01", EINVAL},
      {kV4, kMangle,
       "-A POSTROUTING -p tcp --syn -j TCPMSS "
       "--clamp-mss-to-pmtu",
       0},
      {kV4, kMangle,
       "-A PREROUTING -p tcp --syn -j TCPMSS "
       "--clamp-mss-to-pmtu",
       EINVAL},
      {kV4, kNat, "-A POSTROUTING -j MASQUERADE", 0},
      {kV4, kNat, "-A PREROUTING -j MASQUERADE", EINVAL},
      {kV4, kNat, "-A PREROUTING -j SNAT --to-source 192.0.2.1", EINVAL},
      {kV4, kNat, "-A POSTROUTING -j DNAT --to-destination 192.0.2.1", EINVAL},
      {kV4, kRaw, "-A PREROUTING -j CT --notrack", 0},
      {kV4, kFilter, "-A INPUT -j CLASSIFY --set-class 1:2", EINVAL},
      // A chain that no hook reaches may hold what none of them would take.
      {kV4, kFilter, ":A - [0:0]\n-A A -m owner --uid-owner 1", 0},
      {kV4, kFilter,
       ":A - [0:0]\n:B - [0:0]\n-A INPUT -j A\n-A A -g B\n"
       "-A B -m owner --uid-owner 1",
       EINVAL},
      {kV4, kFilter, ":A - [0:0]\n:B - [0:0]\n-A A -j B\n-A B -j A", 0},
  };
  for (const Case& c : cases) {
    Bench bench(c.family, c.table, c.lines);
    EXPECT_EQ(bench.error_number(), c.errno_value)
        << c.lines << ": " << bench.error();
    if (c.errno_value != 0) {
      EXPECT_THAT(bench.error(), HasSubstr("the kernel refuses it"));
    }
  }
}

TEST(Check, LoopThatAHookReaches) {
  // The parser finds loops too, so the model is built by hand.
  Ruleset ruleset;
  Table& table = ruleset.EnsureTable(TableKind::kFilter);
  ASSERT_TRUE(table.AddChain("A").has_value());
  ASSERT_TRUE(table.AddChain("B").has_value());
  const auto jump = [](const char* chain) {
    Rule rule;
    rule.target.kind = TargetKind::kJump;
    rule.target.chain = chain;
    return rule;
  };
  table.chain("A")->rules = {jump("B")};
  table.chain("B")->rules = {jump("A")};
  EXPECT_TRUE(CheckRuleset(ruleset).has_value());
  table.chain("INPUT")->rules = {jump("A")};
  const Status status = CheckRuleset(ruleset);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().errno_value, ELOOP);
  // Twice the same chain is no loop.
  table.chain("B")->rules = {};
  table.chain("INPUT")->rules = {jump("B"), jump("A"), jump("B")};
  EXPECT_TRUE(CheckRuleset(ruleset).has_value());
  table.chain("B")->rules = {jump("NOWHERE")};
  EXPECT_EQ(CheckRuleset(ruleset).error().code, ErrorCode::kConflict);
}

}  // namespace
}  // namespace nfarena::reference
