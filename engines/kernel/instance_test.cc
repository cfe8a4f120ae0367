// What every kernel engine owes as an Instance: updates, dumps, refusals,
// in place, sets, timing.
#include <gtest/gtest.h>
#include <time.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "compat/syntax/save_printer.h"
#include "compat/syntax/testing/parsed.h"
#include "engines/core/packet_text.h"
#include "engines/kernel/kernel_engines.h"
#include "engines/kernel/namespace.h"
#include "engines/kernel/rights.h"
#include "engines/kernel/testing/summary.h"

namespace nfarena {
namespace {

using testing::Parse;
using testing::ParseFilterRule;

constexpr std::string_view kFilter =
    "*filter\n:INPUT DROP [3:300]\n:FORWARD ACCEPT [0:0]\n"
    ":OUTPUT ACCEPT [0:0]\n:one - [0:0]\n:two - [0:0]\n"
    "[5:500] -A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 22 -j ACCEPT\n"
    "[0:0] -A INPUT -j one\n"
    "[0:0] -A one -p udp -m udp --dport 53 -g two\n"
    "[7:70] -A one -i eth0 -j RETURN\n"
    "[0:0] -A two -p icmp -m icmp --icmp-type 8 -m limit --limit 5/sec -j "
    "ACCEPT\n"
    "[0:0] -A two -j REJECT --reject-with icmp-port-unreachable\n"
    "COMMIT\n";

constexpr std::string_view kNat =
    "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
    ":OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
    "-A POSTROUTING -o eth0 -j MASQUERADE\n"
    "COMMIT\n";

std::string Text(const Ruleset& ruleset, bool counters = false) {
  // Tables in one order, whatever the engine's.
  Ruleset sorted = ruleset;
  std::sort(sorted.tables.begin(), sorted.tables.end(),
            [](const Table& a, const Table& b) { return a.kind < b.kind; });
  return PrintSave(sorted, {.counters = counters, .header = false});
}

/// Without the counters of policies, which libiptc zeroes at each change.
std::string RulesText(Ruleset ruleset) {
  for (Table& table : ruleset.tables) {
    for (Chain& chain : table.chains) chain.counters = {};
  }
  return Text(ruleset);
}

/// Without tables that hold nothing: a kernel keeps them.
Ruleset WithoutEmptyTables(Ruleset ruleset) {
  std::erase_if(ruleset.tables, [](const Table& table) {
    return std::all_of(table.chains.begin(), table.chains.end(),
                       [](const Chain& chain) {
                         return chain.hook && chain.rules.empty() &&
                                chain.policy == Policy::kAccept;
                       });
  });
  return ruleset;
}

class InstanceTest : public ::testing::TestWithParam<const Engine*> {
 protected:
  static void SetUpTestSuite() { (void)kernel::EnsureNetAdmin(); }
  void SetUp() override {
    const Status available = engine().Available();
    if (!available) GTEST_SKIP() << available.error().ToString();
  }
  const Engine& engine() const { return *GetParam(); }

  std::unique_ptr<Instance> Open(Topology topology = {},
                                 std::string ipset_save = "") {
    OpenOptions options;
    options.topology = std::move(topology);
    options.topology.family = options.family;
    options.ipset_save = std::move(ipset_save);
    auto instance = engine().Open(options);
    EXPECT_TRUE(instance) << instance.error().ToString();
    return instance ? std::move(*instance) : nullptr;
  }

  /// On a host that has the devices and routes of the packets.
  std::unique_ptr<Instance> OpenFor(const Ruleset& ruleset,
                                    std::span<const Packet> packets) {
    auto topology = Topology::For(ruleset, packets);
    EXPECT_TRUE(topology) << topology.error().ToString();
    return topology ? Open(*std::move(topology)) : nullptr;
  }

  static Ruleset DumpOf(Instance* instance) {
    auto dump = instance->Dump();
    EXPECT_TRUE(dump) << dump.error().ToString();
    return dump ? WithoutEmptyTables(std::move(dump->ruleset)) : Ruleset{};
  }
};

TEST_P(InstanceTest, DumpsWhatWasPutInForce) {
  const auto instance = Open();
  ASSERT_NE(instance, nullptr);
  const Ruleset ruleset = Parse(std::string(kFilter) + std::string(kNat));
  const auto cost = instance->Replace(ruleset);
  ASSERT_TRUE(cost) << cost.error().ToString();
  EXPECT_GT(cost->bytes_sent, 500u);
  EXPECT_GT(cost->messages, 0u);
  EXPECT_GE(cost->wall_ns, cost->commit_ns);
  EXPECT_GT(cost->commit_ns, 0u);
  auto dump = instance->Dump();
  ASSERT_TRUE(dump) << dump.error().ToString();
  EXPECT_GT(dump->cost.bytes_received, 500u);
  EXPECT_EQ(Text(dump->ruleset, true), Text(ruleset, true));
}

TEST_P(InstanceTest, ReplaceEmptiesTheTablesItDoesNotName) {
  const auto instance = Open();
  ASSERT_NE(instance, nullptr);
  ASSERT_TRUE(
      instance->Replace(Parse(std::string(kFilter) + std::string(kNat))));
  const Ruleset nat = Parse(kNat);
  ASSERT_TRUE(instance->Replace(nat));
  EXPECT_EQ(Text(DumpOf(instance.get())), Text(nat));
  ASSERT_TRUE(instance->Replace(Ruleset{}));
  EXPECT_EQ(Text(DumpOf(instance.get())), "");
}

TEST_P(InstanceTest, RefusalChangesNothingAndNamesTheRule) {
  const auto instance = Open();
  ASSERT_NE(instance, nullptr);
  const Ruleset before = Parse(std::string(kFilter) + std::string(kNat));
  ASSERT_TRUE(instance->Replace(before));
  // The kernel keeps 20 time stamps for -m recent unless told otherwise (255
  // at most): it alone can refuse this one.
  const Ruleset bad = Parse(
      "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
      ":OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
      "COMMIT\n"
      "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
      ":OUTPUT ACCEPT [0:0]\n"
      "-A INPUT -p tcp -j ACCEPT\n"
      "-A FORWARD -p tcp -j DROP\n"
      "-A FORWARD -m recent --rcheck --hitcount 100000 --name x --rsource -j "
      "ACCEPT\n"
      "-A OUTPUT -p udp -j ACCEPT\n"
      "COMMIT\n");
  ASSERT_EQ(bad.rules_count(), 4u);
  const auto refused = instance->Replace(bad);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(refused.error().errno_value, EINVAL) << refused.error().ToString();
  EXPECT_EQ(refused.error().place.line, 13u) << refused.error().ToString();
  EXPECT_EQ(refused.error().place.column, 12u) << refused.error().ToString();
  EXPECT_NE(refused.error().place.text.find("hitcount"), std::string::npos);
  EXPECT_EQ(Text(DumpOf(instance.get()), true), Text(before, true));
}

TEST_P(InstanceTest, AppliesEveryKindOfChange) {
  const auto instance = Open();
  ASSERT_NE(instance, nullptr);
  Ruleset model = Parse(kFilter);
  ASSERT_TRUE(instance->Replace(model));
  const auto change = [](ChangeKind kind, std::string chain,
                         std::string_view rule = "", uint32_t rulenum = 0) {
    Change c;
    c.kind = kind;
    c.chain = std::move(chain);
    c.rulenum = rulenum;
    if (!rule.empty()) c.rule = ParseFilterRule(rule);
    return c;
  };
  Change rename = change(ChangeKind::kRenameChain, "three");
  rename.rename_to = "drei";
  Change policy = change(ChangeKind::kPolicy, "FORWARD");
  policy.policy = Policy::kDrop;
  const std::vector<Delta> deltas = {
      {change(ChangeKind::kAppend, "INPUT",
              "-p tcp -m tcp --dport 80 -j DROP")},
      {change(ChangeKind::kInsert, "INPUT", "-s 10.0.0.0/8 -j LOG", 1)},
      {change(ChangeKind::kInsert, "one", "-p udp -j ACCEPT", 2)},
      {change(ChangeKind::kReplace, "INPUT", "-i eth1 -j ACCEPT", 2)},
      {change(ChangeKind::kDeleteIndex, "two", "", 1)},
      {change(ChangeKind::kDeleteRule, "INPUT",
              "-p tcp -m tcp --dport 80 -j DROP")},
      {change(ChangeKind::kDeleteRule, "INPUT", "-s 10.0.0.0/8 -j LOG")},
      {change(ChangeKind::kNewChain, "three"),
       change(ChangeKind::kAppend, "three", "-p tcp -g two"),
       change(ChangeKind::kAppend, "INPUT", "-j three")},
      {rename},
      {policy},
      {change(ChangeKind::kFlush, "one")},
      {change(ChangeKind::kDeleteIndex, "INPUT", "", 3),
       change(ChangeKind::kFlush, "drei"),
       change(ChangeKind::kDeleteChain, "drei")},
      {change(ChangeKind::kFlush, "")},
      {change(ChangeKind::kDeleteChain, "")},
  };
  for (size_t i = 0; i < deltas.size(); ++i) {
    ASSERT_TRUE(ApplyDelta(deltas[i], &model)) << i;
    const auto cost = instance->Apply(deltas[i]);
    ASSERT_TRUE(cost) << i << ": " << cost.error().ToString();
    EXPECT_GT(cost->bytes_sent, 0u);
    EXPECT_EQ(RulesText(DumpOf(instance.get())),
              RulesText(WithoutEmptyTables(model)))
        << i;
  }
}

TEST_P(InstanceTest, ApplyKeepsCountersAndZeroes) {
  const auto instance = Open();
  ASSERT_NE(instance, nullptr);
  ASSERT_TRUE(instance->Replace(Parse(kFilter)));
  Change append;
  append.kind = ChangeKind::kAppend;
  append.chain = "INPUT";
  append.rule = ParseFilterRule("-j ACCEPT");
  ASSERT_TRUE(instance->Apply({append}));
  Ruleset now = DumpOf(instance.get());
  const Chain* input = now.table(TableKind::kFilter)->chain("INPUT");
  ASSERT_EQ(input->rules.size(), 3u);
  EXPECT_EQ(input->rules[0].counters, (Counters{5, 500}));
  EXPECT_EQ(input->counters, engine().name() == "kernel-legacy"
                                 ? (Counters{0, 0})
                                 : (Counters{3, 300}));
  Change zero;
  zero.kind = ChangeKind::kZero;
  zero.chain = "INPUT";
  zero.rulenum = 1;
  ASSERT_TRUE(instance->Apply({zero}));
  now = DumpOf(instance.get());
  input = now.table(TableKind::kFilter)->chain("INPUT");
  EXPECT_EQ(input->rules[0].counters, (Counters{0, 0}));
}

TEST_P(InstanceTest, ARefusedDeltaChangesNothing) {
  const auto instance = Open();
  ASSERT_NE(instance, nullptr);
  const Ruleset before = Parse(kFilter);
  ASSERT_TRUE(instance->Replace(before));
  Change good;
  good.kind = ChangeKind::kAppend;
  good.chain = "INPUT";
  good.rule = ParseFilterRule("-j ACCEPT");
  Change no_such;
  no_such.kind = ChangeKind::kFlush;
  no_such.chain = "nosuch";
  EXPECT_FALSE(instance->Apply({good, no_such}));
  Change refused = good;
  refused.rule = ParseFilterRule(
      "-m recent --rcheck --hitcount 100000 --name x --rsource -j ACCEPT");
  const auto status = instance->Apply({good, refused});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().errno_value, EINVAL) << status.error().ToString();
  EXPECT_EQ(Text(DumpOf(instance.get()), true), Text(before, true));
}

TEST_P(InstanceTest, CountersCountWhatWasClassified) {
  const Ruleset ruleset = Parse(
      "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
      ":OUTPUT ACCEPT [0:0]\n"
      "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n"
      "COMMIT\n");
  const auto packets = ParsePackets(
      "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 LEN=60 PROTO=TCP SPT=1 "
      "DPT=22 SYN\n"
      "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 LEN=60 PROTO=TCP SPT=1 "
      "DPT=23 SYN\n"
      "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 LEN=60 PROTO=TCP SPT=2 "
      "DPT=22 SYN\n",
      "packets");
  ASSERT_TRUE(packets) << packets.error().ToString();
  const auto instance = OpenFor(ruleset, *packets);
  ASSERT_NE(instance, nullptr);
  ASSERT_TRUE(instance->Replace(ruleset));
  std::vector<Outcome> outcomes(packets->size());
  ASSERT_TRUE(instance->Classify(*packets, outcomes, {}));
  const Ruleset now = DumpOf(instance.get());
  const Chain* input = now.table(TableKind::kFilter)->chain("INPUT");
  EXPECT_EQ(input->rules[0].counters, (Counters{2, 120}));
  EXPECT_EQ(input->counters, (Counters{1, 60}));
}

TEST_P(InstanceTest, RefusesWhatAKernelCannotDo) {
  const auto packets = ParsePackets(
      "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=1 DPT=2\n"
      "IN=eth9 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=1 DPT=2\n",
      "packets");
  ASSERT_TRUE(packets);
  auto topology = Topology::For(Ruleset{}, std::span(*packets).first(1));
  ASSERT_TRUE(topology);
  const auto instance = Open(*topology);
  ASSERT_NE(instance, nullptr);
  ASSERT_TRUE(instance->Replace(Parse(kFilter)));
  std::vector<Outcome> outcomes(2);
  ClassifyOptions one_hook;
  one_hook.full_path = false;
  const Status stage = instance->Classify(*packets, outcomes, one_hook);
  ASSERT_FALSE(stage);
  EXPECT_EQ(stage.error().code, ErrorCode::kUnsupported);
  const Status device = instance->Classify(*packets, outcomes, {});
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(device.error().place.line, 2u);
}

TEST_P(InstanceTest, TracesEveryRuleThatMatched) {
  const Ruleset ruleset = Parse(
      "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n"
      ":OUTPUT ACCEPT [0:0]\n:one - [0:0]\n"
      "-A INPUT -p tcp -j DROP\n"
      "-A INPUT -p udp -j one\n"
      "-A INPUT -p udp -j ACCEPT\n"
      "-A one -p udp\n"
      "-A one -p udp -j MARK --set-xmark 0x1/0xffffffff\n"
      "COMMIT\n");
  const auto packets = ParsePackets(
      "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=1 DPT=2\n",
      "packets");
  ASSERT_TRUE(packets);
  const auto instance = OpenFor(ruleset, *packets);
  ASSERT_NE(instance, nullptr);
  ASSERT_TRUE(instance->Replace(ruleset));
  std::vector<Outcome> outcomes(1);
  ClassifyOptions options;
  options.trace = true;
  ASSERT_TRUE(instance->Classify(*packets, outcomes, options));
  std::string trace;
  for (const RuleRef& ref : outcomes[0].trace) {
    trace += RuleRefName(ruleset, ref) + ' ';
  }
  EXPECT_EQ(trace, "filter/INPUT/2 filter/one/1 filter/one/2 filter/INPUT/3 ");
}

TEST_P(InstanceTest, LoadsSetsBeforeTheRuleset) {
  const auto instance =
      Open({}, "create good hash:net family inet\nadd good 192.0.2.0/24\n");
  ASSERT_NE(instance, nullptr);
  OpenOptions options;
  options.ipset_save = "create x nosuchtype\n";
  const auto bad = engine().Open(options);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, ErrorCode::kSyntax);
  EXPECT_NE(bad.error().message.find("nosuchtype"), std::string::npos)
      << bad.error().message;
}

TEST_P(InstanceTest, ActsInPlaceAndLeavesOtherTablesAlone) {
  if (kernel::InUserNamespace()) {
    GTEST_SKIP() << "the network this was called in is not this user's";
  }
  auto ns = kernel::Namespace::Create();
  ASSERT_TRUE(ns);
  const auto scope = kernel::NamespaceScope::Enter(*ns);
  ASSERT_TRUE(scope);
  OpenOptions options;
  options.in_place = true;
  auto first = engine().Open(options);
  ASSERT_TRUE(first) << first.error().ToString();
  const Ruleset filter = Parse(kFilter);
  const Ruleset nat = Parse(kNat);
  ASSERT_TRUE((*first)->Replace(filter));
  ASSERT_TRUE((*first)->Replace(nat));
  // Another instance sees what is in the namespace, not what the first knows.
  auto second = engine().Open(options);
  ASSERT_TRUE(second);
  EXPECT_EQ(Text(DumpOf(second->get()), true),
            Text(Parse(std::string(kFilter) + std::string(kNat)), true));
  Change append;
  append.kind = ChangeKind::kAppend;
  append.chain = "OUTPUT";
  append.rule = ParseFilterRule("-p tcp -j ACCEPT");
  ASSERT_TRUE((*second)->Apply({append}));
  EXPECT_EQ(DumpOf(first->get())
                .table(TableKind::kFilter)
                ->chain("OUTPUT")
                ->rules.size(),
            1u);
  std::vector<Outcome> outcomes;
  const Status classify = (*first)->Classify({}, outcomes, {});
  ASSERT_FALSE(classify);
  EXPECT_EQ(classify.error().code, ErrorCode::kUnsupported);
}

TEST_P(InstanceTest, TimesPacketsAndJudgesThemAlikeAfterwards) {
  std::string text =
      "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
      ":OUTPUT ACCEPT [0:0]\n";
  for (int i = 0; i < 1000; ++i) {
    text += "-A INPUT -s 10.1." + std::to_string(i / 250) + '.' +
            std::to_string(i % 250) + "/32 -j DROP\n";
  }
  text += "COMMIT\n";
  const Ruleset many = Parse(text);
  const auto packets = ParsePackets(
      "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=1 DPT=2\n",
      "packets");
  ASSERT_TRUE(packets);
  const auto instance = OpenFor(many, *packets);
  ASSERT_NE(instance, nullptr);
  ASSERT_TRUE(instance->Replace(Parse(kFilter)));
  const auto few = instance->Time(*packets, 2001, {});
  ASSERT_TRUE(few) << few.error().ToString();
  EXPECT_EQ(few->packets, 2001u);
  ASSERT_TRUE(instance->Replace(many));
  const auto slow = instance->Time(*packets, 2001, {});
  ASSERT_TRUE(slow);
  // 1,000 rules cost microseconds, a write to a TUN about one.
  EXPECT_GT(slow->ns_per_packet, few->ns_per_packet + 500);
  RecordProperty("ns_few", std::to_string(few->ns_per_packet));
  RecordProperty("ns_1000", std::to_string(slow->ns_per_packet));
  // Connections are still confirmed: the probe's last hooks stayed last.
  const Ruleset states = Parse(
      "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n"
      ":OUTPUT ACCEPT [0:0]\n"
      "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n"
      "-A INPUT -p udp -m conntrack --ctstate NEW -j ACCEPT\n"
      "-A OUTPUT -p udp -j ACCEPT\n"
      "COMMIT\n");
  const auto both_ways = ParsePackets(
      "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=1 DPT=2\n"
      "IN= OUT=eth0 SRC=198.51.100.1 DST=192.0.2.1 PROTO=UDP SPT=2 DPT=1\n"
      "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=1 DPT=2\n",
      "packets");
  ASSERT_TRUE(both_ways);
  ASSERT_TRUE(instance->Replace(states));
  std::vector<Outcome> outcomes(3);
  ASSERT_TRUE(instance->Classify(*both_ways, outcomes, {}));
  EXPECT_EQ(testing::Summary(states, outcomes[0]),
            "accept filter/INPUT/2 here 192.0.2.1:1>198.51.100.1:2 ttl=64");
  EXPECT_EQ(testing::Summary(states, outcomes[2]),
            "accept filter/INPUT/1 here 192.0.2.1:1>198.51.100.1:2 ttl=64");
}

// The kernel keeps 1,024 packets a queue; those of a timed run are not left in
// it.
TEST_P(InstanceTest, TimingLeavesNoPacketsInAQueue) {
  const Ruleset ruleset = Parse(
      "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
      ":OUTPUT ACCEPT [0:0]\n"
      "-A INPUT -p udp -j NFQUEUE --queue-num 3\n"
      "COMMIT\n");
  const auto packets = ParsePackets(
      "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=1 DPT=2\n",
      "packets");
  ASSERT_TRUE(packets);
  const auto instance = OpenFor(ruleset, *packets);
  ASSERT_NE(instance, nullptr);
  ASSERT_TRUE(instance->Replace(ruleset));
  ASSERT_TRUE(instance->Time(*packets, 1500, {}));
  std::vector<Outcome> outcomes(1);
  ASSERT_TRUE(instance->Classify(*packets, outcomes, {}));
  EXPECT_EQ(testing::Summary(ruleset, outcomes[0]),
            "queue 3 filter/INPUT/1 192.0.2.1:1>198.51.100.1:2 ttl=64");
}

TEST_P(InstanceTest, ClassifiesTenThousandPacketsASecond) {
  const Ruleset ruleset = Parse(kFilter);
  const auto one = ParsePackets(
      "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=TCP SPT=1 DPT=22 "
      "SYN\n",
      "packets");
  ASSERT_TRUE(one);
  const std::vector<Packet> packets(5000, one->front());
  const auto instance = OpenFor(ruleset, *one);
  ASSERT_NE(instance, nullptr);
  ASSERT_TRUE(instance->Replace(ruleset));
  std::vector<Outcome> outcomes(packets.size());
  // Processor time: other work on the machine does not count.
  const auto seconds = [] {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) +
           static_cast<double>(now.tv_nsec) * 1e-9;
  };
  ASSERT_TRUE(instance->Classify(packets, outcomes, {}));
  const double begin = seconds();
  ASSERT_TRUE(instance->Classify(packets, outcomes, {}));
  const double rate = static_cast<double>(packets.size()) / (seconds() - begin);
  RecordProperty("packets_per_second", std::to_string(rate));
  EXPECT_GT(rate, 10000);
  const RuleRef rule{TableKind::kFilter, 0, 1};
  for (const Outcome& outcome : outcomes) {
    ASSERT_EQ(outcome.verdict, VerdictKind::kAccept);
    ASSERT_EQ(outcome.decided_by, rule);
  }
}

INSTANTIATE_TEST_SUITE_P(All, InstanceTest,
                         ::testing::Values(&KernelLegacyEngine(),
                                           &KernelNftEngine(),
                                           &KernelNftCompatEngine()),
                         [](const auto& param_info) {
                           std::string name(param_info.param->name());
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace nfarena
