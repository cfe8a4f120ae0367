// The two engines as the arena sees them: rulesets in, outcomes and rulesets
// out.
#include "engines/vm/vm_engine.h"

#include <gmock/gmock.h>

#include "engines/core/testing/twin_behaviour.h"

namespace nfarena::testing {

using ::testing::HasSubstr;

INSTANTIATE_TEST_SUITE_P(Vm, TwinBehaviour,
                         ::testing::Values(&VmEngine(), &VmCompatEngine()));

class VmEngineTest : public TwinBehaviour {};
INSTANTIATE_TEST_SUITE_P(Vm, VmEngineTest,
                         ::testing::Values(&VmEngine(), &VmCompatEngine()));

TEST_P(VmEngineTest, LoadsAndSaysTheSameAgain) {
  const Ruleset ruleset = ParseFilter(
      ":web - [0:0]\n"
      "-A INPUT -i lo -j ACCEPT\n"
      "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
      "-A INPUT ! -s 192.0.2.0/24 -p tcp -m tcp --dport 22:25 -j web\n"
      "-A INPUT -p tcp -m multiport --dports 80,443,8000:8080 -j web\n"
      "-A INPUT -p icmp -m icmp --icmp-type 8 -m limit --limit 5/sec -j "
      "ACCEPT\n"
      "-A INPUT -m mark --mark 0x1/0xff -j LOG --log-prefix \"marked: \"\n"
      "-A INPUT -m comment --comment \"the rest\" -j REJECT --reject-with "
      "icmp-port-unreachable\n"
      "-A FORWARD -m iprange --src-range 192.0.2.1-192.0.2.9 -g web\n"
      "-A web -m recent --set --name seen --mask 255.255.255.255 --rsource\n"
      "-A web -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j RETURN\n"
      "-A web -j DROP\n");
  const auto instance = Open(ruleset);
  const auto cost = instance->Replace(ruleset);
  ASSERT_TRUE(cost) << cost.error().ToString();
  const auto dump = instance->Dump();
  ASSERT_TRUE(dump) << dump.error().ToString();
  EXPECT_TRUE(SameRules(ruleset, dump->ruleset)) << Dumped(instance.get());
}

TEST_P(VmEngineTest, AChangeIsOneSmallMessage) {
  std::string rules;
  for (int i = 0; i < 1000; ++i) {
    rules += "-A INPUT -s 192.0." + std::to_string(i / 256) + "." +
             std::to_string(i % 256) + "/32 -j DROP\n";
  }
  const Ruleset ruleset = ParseFilter(rules);
  const auto instance = Open(ruleset);
  const auto whole = instance->Replace(ruleset);
  ASSERT_TRUE(whole) << whole.error().ToString();
  Change append;
  append.chain = "INPUT";
  append.rule = *ParseRule("-s 203.0.113.1/32 -j ACCEPT", Family::kIpv4,
                           TableKind::kFilter);
  const auto one = instance->Apply({append});
  ASSERT_TRUE(one) << one.error().ToString();
  EXPECT_LT(one->bytes_sent, 1000u);
  EXPECT_EQ(one->messages, 3u);  // with the begin and the end of the batch
  EXPECT_GT(whole->bytes_sent, 100'000u);

  Change middle = append;
  middle.kind = ChangeKind::kInsert;
  middle.rulenum = 500;
  Change remove;
  remove.kind = ChangeKind::kDeleteIndex;
  remove.chain = "INPUT";
  remove.rulenum = 1;
  ASSERT_TRUE(instance->Apply({middle, remove}));
  Ruleset want = ruleset;
  ASSERT_TRUE(ApplyDelta({append, middle, remove}, &want));
  const auto dump = instance->Dump();
  ASSERT_TRUE(dump) << dump.error().ToString();
  EXPECT_TRUE(SameRules(want, dump->ruleset));
}

TEST_P(VmEngineTest, UserChainsComeAndGo) {
  const Ruleset ruleset = Parse(kBehaviourRules);
  const std::vector<Packet> packets = Packets(kBehaviourPackets);
  const auto instance = Open(ruleset, packets);
  ASSERT_TRUE(instance->Replace(ruleset));
  Change add;
  add.kind = ChangeKind::kNewChain;
  add.chain = "a";
  Change jump;
  jump.chain = "INPUT";
  jump.rule.target.kind = TargetKind::kJump;
  jump.rule.target.chain = "a";
  Change drop;
  drop.chain = "a";
  drop.rule.target.kind = TargetKind::kDrop;
  ASSERT_TRUE(instance->Apply({add, jump, drop}));
  const auto dump = instance->Dump();
  ASSERT_TRUE(dump) << dump.error().ToString();
  // Chain "a" moved "web" to a later place: names must follow.
  EXPECT_EQ(Judge(instance.get(), dump->ruleset, packets),
            (std::vector<std::string>{"accept filter/web/1", "drop filter/a/1",
                                      "accept filter/INPUT/3"}));

  Change gone;
  gone.kind = ChangeKind::kDeleteChain;
  gone.chain = "a";
  EXPECT_FALSE(instance->Apply({gone})) << "it is in use and not empty";
  Change unlink;
  unlink.kind = ChangeKind::kDeleteIndex;
  unlink.chain = "INPUT";
  unlink.rulenum = 4;
  Change flush;
  flush.kind = ChangeKind::kFlush;
  flush.chain = "a";
  const auto done = instance->Apply({unlink, flush, gone});
  ASSERT_TRUE(done) << done.error().ToString();
  EXPECT_EQ(Judge(instance.get(), ruleset, packets)[1],
            "drop filter/INPUT/policy");
}

TEST_P(VmEngineTest, DisassemblesAsNftDebugs) {
  const Ruleset ruleset = ParseFilter("-A INPUT -s 192.0.2.1/32 -j DROP\n");
  const auto instance = Open(ruleset);
  ASSERT_TRUE(instance->Replace(ruleset));
  const std::string text = instance->Disassemble();
  EXPECT_THAT(text,
              HasSubstr("[ payload load 4b @ network header + 12 => reg 1 ]"));
  EXPECT_THAT(text, HasSubstr("[ cmp eq reg 1 0x010200c0 ]"));
  EXPECT_THAT(text, HasSubstr("[ immediate reg 0 drop ]"));
}

TEST_P(VmEngineTest, AnUnknownRevisionIsRefusedWithItsPlace) {
  Ruleset ruleset = ParseFilter(
      "-A INPUT -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n");
  Rule& rule = ruleset.table(TableKind::kFilter)->chain("INPUT")->rules[1];
  rule.matches[0].revision = 9;
  const Status supports = GetParam()->Supports(ruleset);
  ASSERT_FALSE(supports);
  EXPECT_EQ(supports.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(supports.error().place.line, 6u);
  EXPECT_EQ(supports.error().place.column, rule.matches[0].column);
}

TEST_P(VmEngineTest, ARefusedExtensionIsNamedWithItsPlace) {
  // CLASSIFY is not for INPUT.  As an expression nf_tables would take it there,
  // so it is not made one.
  const Ruleset ruleset = Parse(
      "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
      ":FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
      ":POSTROUTING ACCEPT [0:0]\n"
      "-A INPUT -m mark --mark 0x1 -j CLASSIFY --set-class 1:1\nCOMMIT\n");
  const Status supports = GetParam()->Supports(ruleset);
  ASSERT_FALSE(supports);
  EXPECT_EQ(supports.error().place.line, 7u);
  EXPECT_EQ(supports.error().place.column, 29u);
  EXPECT_EQ(supports.error().place.text, "CLASSIFY");
}

TEST(VmEngineNotesTest, SaysWhatIsCarriedByCompat) {
  const Ruleset ruleset = ParseFilter(
      "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n"
      "-A INPUT -m recent --set --name seen --mask 255.255.255.255 "
      "--rsource\n");
  const std::vector<RuleNote> notes = VmEngine().Notes(ruleset);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_EQ(RuleRefName(ruleset, notes[0].rule), "filter/INPUT/2");
  EXPECT_THAT(notes[0].reason, HasSubstr("recent"));
}

}  // namespace nfarena::testing
