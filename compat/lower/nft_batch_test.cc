// Whole rulesets, changes and dumps, without a kernel.
#include "compat/lower/nft_batch.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <string>

#include "compat/lower/testing/nft_rules.h"
#include "compat/syntax/save_printer.h"
#include "compat/syntax/testing/parsed.h"

namespace nfarena {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::Parse;
using testing::ParseFilter;
using testing::ParseFilterRule;
using ::testing::StartsWith;

NftBatch MustLower(const Ruleset& ruleset, const NftOptions& options = {}) {
  auto batch = LowerNftRuleset(ruleset, options, 0);
  EXPECT_TRUE(batch) << batch.error().ToString();
  return batch ? *std::move(batch) : NftBatch{};
}

TEST(NftBatchTest, ReplacesEverythingInOneTransaction) {
  const Ruleset ruleset = Parse(R"(*filter
:INPUT DROP [5:6]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:web - [0:0]
[7:8] -A INPUT -p tcp -m multiport --dports 80,443 -j web
-A web -m comment --comment "in" -j ACCEPT
COMMIT
)");
  const NftBatch batch = MustLower(ruleset);
  EXPECT_EQ(DumpNftBatch(batch.bytes), R"(begin
add table ip raw
delete table ip raw
add table ip mangle
delete table ip mangle
add table ip nat
delete table ip nat
add table ip filter
delete table ip filter
add table ip security
delete table ip security
add table ip filter
add chain ip filter INPUT type filter hook 1 priority 0 policy drop packets 5 bytes 6
add chain ip filter FORWARD type filter hook 2 priority 0 policy accept packets 0 bytes 0
add chain ip filter OUTPUT type filter hook 3 priority 0 policy accept packets 0 bytes 0
add chain ip filter web
add set ip filter __set%d id 1 key 2b flags 0x3
add elements ip filter __set%d id 1 0050 01bb
append rule ip filter INPUT
  [ meta load l4proto => reg 1 ]
  [ cmp eq reg 1 0x06 ]
  [ payload load 2b @ transport header + 2 => reg 1 ]
  [ lookup reg 1 set __set%d ]
  [ counter pkts 7 bytes 8 ]
  [ immediate reg 0 jump -> web ]
append rule ip filter web comment "in"
  [ counter pkts 0 bytes 0 ]
  [ immediate reg 0 accept ]
end
)");
  EXPECT_EQ(batch.messages, 21u);
  EXPECT_EQ(batch.first_seq, 1u);
  const std::vector<RuleRef> rules = {{TableKind::kFilter, 0, 1},
                                      {TableKind::kFilter, 3, 1}};
  EXPECT_EQ(batch.rules, rules);
  EXPECT_TRUE(batch.notes.empty());
}

TEST(NftBatchTest, SetOfRangesHasNoOverlaps) {
  const NftBatch batch = MustLower(ParseFilter(
      "-A INPUT -p tcp -m multiport --dports 90,80:89,100:200,150:65535 -j "
      "DROP\n"));
  EXPECT_THAT(DumpNftBatch(batch.bytes),
              HasSubstr("add set ip filter __set%d id 1 key 2b flags 0x7\n"
                        "add elements ip filter __set%d id 1 0050 end 005b "
                        "0064\n"));
}

TEST(NftBatchTest, TablesAreBoundAsInIptables) {
  const NftBatch batch = MustLower(
      Parse("*raw\nCOMMIT\n*mangle\nCOMMIT\n*nat\nCOMMIT\n*security\nCOMMIT\n",
            Family::kIpv6));
  const std::string text = DumpNftBatch(batch.bytes);
  for (const char* line : {
           "ip6 raw PREROUTING type filter hook 0 priority -300",
           "ip6 raw OUTPUT type filter hook 3 priority -300",
           "ip6 mangle OUTPUT type route hook 3 priority -150",
           "ip6 mangle FORWARD type filter hook 2 priority -150",
           "ip6 nat PREROUTING type nat hook 0 priority -100",
           "ip6 nat INPUT type nat hook 1 priority 100",
           "ip6 nat OUTPUT type nat hook 3 priority -100",
           "ip6 nat POSTROUTING type nat hook 4 priority 100",
           "ip6 security INPUT type filter hook 1 priority 50",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(NftBatchTest, PlainRuleIsAsSmallAsTheKernelTakesIt) {
  std::string rules;
  for (int i = 0; i < 100; ++i) {
    rules += fmt::format(
        "-A INPUT -s 10.0.0.{}/32 -p tcp -m tcp --dport {} -j ACCEPT\n", i,
        i + 1);
  }
  const size_t with = MustLower(ParseFilter(rules)).bytes.size();
  const size_t without = MustLower(ParseFilter("")).bytes.size();
  EXPECT_EQ(with - without, 100u * 388u);
}

TEST(NftBatchTest, NotesSayWhatIsCarried) {
  const NftBatch batch = MustLower(
      ParseFilter("-A INPUT -j ACCEPT\n"
                  "-A INPUT -m string --string x --algo bm -j ACCEPT\n"));
  ASSERT_EQ(batch.notes.size(), 1u);
  EXPECT_EQ(batch.notes[0].rule, (RuleRef{TableKind::kFilter, 0, 2}));
  EXPECT_TRUE(batch.notes[0].compat);
  EXPECT_THAT(batch.notes[0].reason, HasSubstr("string"));
}

/// A chain of `depth` jumps from INPUT down.
std::string Nested(int depth) {
  std::string chains, rules = "-A INPUT -j C01\n";
  for (int i = 1; i <= depth; ++i) {
    chains += fmt::format(":C{:02} - [0:0]\n", i);
    if (i < depth) rules += fmt::format("-A C{:02} -j C{:02}\n", i, i + 1);
  }
  return chains + rules;
}

TEST(NftBatchTest, FifteenJumpsNestAndSixteenDoNot) {
  EXPECT_TRUE(LowerNftRuleset(ParseFilter(Nested(15)), {}, 0));
  const auto deep = LowerNftRuleset(ParseFilter(Nested(16)), {}, 0);
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(deep.error().place.text, "C16");
  EXPECT_NE(deep.error().place.line, 0u);
}

TEST(NftBatchTest, DeepestNestingIsFoundWithoutRecursion) {
  Ruleset ruleset;
  Table& table = ruleset.EnsureTable(TableKind::kFilter);
  constexpr int kChains = 20'000;
  for (int i = 0; i < kChains; ++i) {
    ASSERT_TRUE(table.AddChain(fmt::format("C{:06}", i)));
  }
  for (int i = -1; i + 1 < kChains; ++i) {
    Rule rule;
    rule.target.kind = TargetKind::kJump;
    rule.target.chain = fmt::format("C{:06}", i + 1);
    table.chain(i < 0 ? "INPUT" : fmt::format("C{:06}", i))
        ->rules.push_back(rule);
  }
  const auto deep = LowerNftRuleset(ruleset, {}, 0);
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(deep.error().message, HasSubstr("20000 deep"));
}

TEST(NftBatchTest, ReachableLoopIsAConflict) {
  // The parser refuses it too, so it is made by hand.
  Ruleset ruleset = ParseFilter(":A - [0:0]\n:B - [0:0]\n-A A -j B\n");
  Rule back;
  back.line = 9;
  back.target.kind = TargetKind::kGoto;
  back.target.chain = "A";
  ruleset.tables[0].chain("B")->rules.push_back(back);
  // Nothing leads there yet: the kernel takes it.
  EXPECT_TRUE(LowerNftRuleset(ruleset, {}, 0));
  Rule in = back;
  in.target.kind = TargetKind::kJump;
  ruleset.tables[0].chain("INPUT")->rules.push_back(in);
  const auto loop = LowerNftRuleset(ruleset, {}, 0);
  ASSERT_FALSE(loop);
  EXPECT_EQ(loop.error().code, ErrorCode::kConflict);
  EXPECT_EQ(loop.error().place.line, 9u);
}

TEST(NftBatchTest, JumpToNowhereIsAConflict) {
  Ruleset ruleset = ParseFilter("");
  Rule rule;
  rule.target.kind = TargetKind::kJump;
  rule.target.chain = "nowhere";
  ruleset.tables[0].chains[0].rules.push_back(rule);
  const auto batch = LowerNftRuleset(ruleset, {}, 0);
  ASSERT_FALSE(batch);
  EXPECT_EQ(batch.error().code, ErrorCode::kConflict);
  EXPECT_EQ(batch.error().place.text, "nowhere");
}

TEST(NftBatchTest, RuleThatIsTooBigIsOutOfRange) {
  for (const auto& [matches, size] :
       {std::pair<size_t, size_t>{128, 8}, {30, 184}}) {
    Ruleset ruleset = ParseFilter("");
    Rule rule;
    rule.line = 7;
    Extension match;
    match.name = "unheard-of";
    match.payload.resize(size);
    rule.matches.assign(matches, match);
    ruleset.tables[0].chains[0].rules.push_back(rule);
    const auto batch = LowerNftRuleset(ruleset, {}, 0);
    ASSERT_FALSE(batch) << matches;
    EXPECT_EQ(batch.error().code, ErrorCode::kRange);
    EXPECT_EQ(batch.error().place.line, 7u);
  }
}

// ---------------------------------------------------------------- round trip

/// Rules whose native expressions have another usual spelling.
const std::map<std::string, std::string> kRespelled = {
    {"-A INPUT -p udp -m multiport --dports 60000:65535,1 -j ACCEPT",
     "-A INPUT -p udp -m multiport --dports 1,60000:65535 -j ACCEPT"},
    {"-A INPUT -m state --state NEW -j ACCEPT",
     "-A INPUT -m conntrack --ctstate NEW -j ACCEPT"},
    {"-A INPUT -j NFLOG --nflog-range 40", "-A INPUT -j NFLOG"},
};

void ExpectRaised(const Ruleset& source, const NftOptions& options) {
  const NftBatch batch = MustLower(source, options);
  const auto raised =
      RaiseNft(source.family, {batch.bytes, batch.bytes, batch.bytes});
  ASSERT_TRUE(raised) << raised.error().ToString();
  size_t compared = 0;
  for (const Table& table : source.tables) {
    const Table* other = raised->ruleset.table(table.kind);
    ASSERT_NE(other, nullptr);
    ASSERT_EQ(other->chains.size(), table.chains.size());
    for (size_t c = 0; c < table.chains.size(); ++c) {
      const Chain& chain = table.chains[c];
      const Chain& back = other->chains[c];
      EXPECT_EQ(back.name, chain.name);
      EXPECT_EQ(back.policy, chain.policy);
      EXPECT_EQ(back.counters, chain.counters);
      ASSERT_EQ(back.rules.size(), chain.rules.size());
      for (size_t r = 0; r < chain.rules.size(); ++r) {
        ++compared;
        EXPECT_EQ(back.rules[r].counters, chain.rules[r].counters);
        if (back.rules[r].SameAs(chain.rules[r])) continue;
        const std::string text =
            PrintRule(source.family, chain.name, chain.rules[r]);
        const auto respelled = kRespelled.find(text);
        ASSERT_NE(respelled, kRespelled.end())
            << text << "\n came back as\n"
            << PrintRule(source.family, back.name, back.rules[r]);
        EXPECT_EQ(PrintRule(source.family, back.name, back.rules[r]),
                  respelled->second);
      }
    }
  }
  EXPECT_EQ(compared, source.rules_count());
  EXPECT_GT(compared, 50u);
}

TEST(NftRaiseTest, NativeRulesComeBack) {
  ExpectRaised(Parse(testing::kNftRules4), {});
  ExpectRaised(Parse(testing::kNftRules6, Family::kIpv6), {});
}

TEST(NftRaiseTest, PortsUpToTheLastComeBack) {
  // An interval up to the last number has no end among a set's elements.
  const Ruleset source = ParseFilter(
      "-A INPUT -p tcp -m multiport --dports 0:65535 -j ACCEPT\n"
      "-A INPUT -p tcp -m multiport ! --dports 60000:65535 -j ACCEPT\n"
      "-A INPUT -p udp -m multiport --sports 5,65534:65535 -j DROP\n"
      "-A INPUT -p udp -m multiport --sports 5,65535 -j DROP\n");
  const NftBatch batch = MustLower(source);
  const auto raised =
      RaiseNft(Family::kIpv4, {batch.bytes, batch.bytes, batch.bytes});
  ASSERT_TRUE(raised);
  EXPECT_TRUE(SameRules(raised->ruleset, source))
      << PrintSave(raised->ruleset, {});
}

TEST(NftRaiseTest, GuardedRulesComeBack) {
  NftOptions exact;
  exact.exact_fragments = true;
  ExpectRaised(Parse(testing::kNftRules4), exact);
  ExpectRaised(Parse(testing::kNftRules6, Family::kIpv6), exact);
}

TEST(NftRaiseTest, RulesOfIptablesNftComeBack) {
  NftOptions compat;
  compat.mode = NftMode::kCompat;
  ExpectRaised(Parse(testing::NftRulesOfIptables()), compat);
  ExpectRaised(Parse(testing::kNftRules6, Family::kIpv6), compat);
}

TEST(NftRaiseTest, MatchesOfNoConnectionAreNotJoined) {
  // Joined, the state would let packets without connection pass the protocol.
  const Ruleset source = ParseFilter(
      "-A INPUT -m conntrack --ctstate INVALID -m conntrack --ctproto 6\n"
      "-A INPUT -m conntrack --ctproto 6 -m conntrack --ctstate INVALID\n");
  const NftBatch batch = MustLower(source);
  EXPECT_TRUE(batch.notes.empty());
  const auto raised =
      RaiseNft(Family::kIpv4, {batch.bytes, batch.bytes, batch.bytes});
  ASSERT_TRUE(raised);
  EXPECT_TRUE(SameRules(raised->ruleset, source))
      << PrintSave(raised->ruleset, {});
}

TEST(NftRaiseTest, CountersAreReadWithoutTheRules) {
  const NftBatch batch =
      MustLower(ParseFilter("[1:2] -A INPUT -m string --string x --algo bm\n"
                            "[3:4] -A INPUT -j ACCEPT\n"));
  const auto counters =
      ReadNftCounters(Family::kIpv4, {batch.bytes, batch.bytes, {}});
  ASSERT_TRUE(counters);
  ASSERT_EQ(counters->size(), 5u);  // three policies, two rules
  EXPECT_EQ((*counters)[3].rule, 1u);
  EXPECT_EQ((*counters)[3].counters, (Counters{1, 2}));
  EXPECT_EQ((*counters)[4].chain, "INPUT");
  EXPECT_EQ((*counters)[4].rule, 2u);
  EXPECT_EQ((*counters)[4].counters, (Counters{3, 4}));
}

// libnftnl alone reads a name that is not there.
TEST(NftRaiseTest, AnExpressionWithoutANameIsAnError) {
  NftBatch batch = MustLower(ParseFilter("-A INPUT -j DROP\n"));
  constexpr std::string_view kName("counter", 8);  // with its NUL
  const auto name = std::search(batch.bytes.begin(), batch.bytes.end(),
                                kName.begin(), kName.end());
  ASSERT_NE(name, batch.bytes.end());
  ASSERT_EQ(*(name - 2), NFTA_EXPR_NAME);
  *(name - 2) = 9;  // no type of attribute that an expression has
  const auto raised =
      RaiseNft(Family::kIpv4, {batch.bytes, batch.bytes, batch.bytes});
  ASSERT_FALSE(raised);
  EXPECT_THAT(raised.error().message, HasSubstr("without a name"));
  EXPECT_THAT(DumpNftBatch(batch.bytes), HasSubstr("without a name"));
}

TEST(NftRaiseTest, CutDumpsAreErrors) {
  const NftBatch batch = MustLower(Parse(testing::kNftRules4));
  const std::span<const uint8_t> whole(batch.bytes);
  for (const size_t size :
       {size_t{1}, size_t{15}, whole.size() - 1, whole.size() / 2 + 1}) {
    const auto part = whole.first(size);
    EXPECT_FALSE(RaiseNft(Family::kIpv4, {part, part, part})) << size;
  }
  EXPECT_TRUE(RaiseNft(Family::kIpv4, {}));
}

// -------------------------------------------------------------------- change

class NftDeltaTest : public ::testing::Test {
 protected:
  NftDeltaTest()
      : current_(ParseFilter(":web - [0:0]\n"
                             "-A INPUT -s 192.0.2.1/32 -j DROP\n"
                             "-A INPUT -j web\n"
                             "-A web -j ACCEPT\n")) {
    handles_.rule[static_cast<size_t>(TableKind::kFilter)] = {
        {11, 12}, {}, {}, {13}};
    handles_.chain[static_cast<size_t>(TableKind::kFilter)] = {1, 2, 3, 4};
  }

  static Change Make(ChangeKind kind, const std::string& chain,
                     uint32_t rulenum = 0, const std::string& rule = "") {
    Change change;
    change.kind = kind;
    change.chain = chain;
    change.rulenum = rulenum;
    if (!rule.empty()) change.rule = ParseFilterRule(rule);
    return change;
  }

  /// The batch's messages but its begin and end, without expressions.
  std::string Lower(const Delta& delta) {
    const auto batch = LowerNftDelta(current_, delta, handles_, {}, 0);
    if (!batch) return batch.error().ToString();
    std::istringstream lines(DumpNftBatch(batch->bytes));
    std::string text;
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("  ") && line != "begin" && line != "end") {
        text += line + "\n";
      }
    }
    return text;
  }

  Ruleset current_;
  NftHandles handles_;
};

TEST_F(NftDeltaTest, OneChangeIsOneMessage) {
  const std::string rule = "-s 192.0.2.9/32 -j DROP";
  EXPECT_EQ(Lower({Make(ChangeKind::kAppend, "INPUT", 0, rule)}),
            "append rule ip filter INPUT id 1\n");
  EXPECT_EQ(Lower({Make(ChangeKind::kInsert, "INPUT", 1, rule)}),
            "insert rule ip filter INPUT id 1\n");
  EXPECT_EQ(Lower({Make(ChangeKind::kInsert, "INPUT", 2, rule)}),
            "insert rule ip filter INPUT position 12 id 1\n");
  EXPECT_EQ(Lower({Make(ChangeKind::kInsert, "INPUT", 3, rule)}),
            "append rule ip filter INPUT id 1\n");
  EXPECT_EQ(Lower({Make(ChangeKind::kReplace, "INPUT", 2, rule)}),
            "replace rule ip filter INPUT handle 12 id 1\n");
  EXPECT_EQ(Lower({Make(ChangeKind::kDeleteIndex, "INPUT", 1)}),
            "delete rule ip filter INPUT handle 11\n");
  EXPECT_EQ(Lower({Make(ChangeKind::kDeleteRule, "web", 0, "-j ACCEPT")}),
            "delete rule ip filter web handle 13\n");
  EXPECT_EQ(Lower({Make(ChangeKind::kFlush, "web")}),
            "delete rule ip filter web\n");
  EXPECT_EQ(Lower({Make(ChangeKind::kFlush, "")}), "delete rule ip filter\n");
  EXPECT_EQ(Lower({Make(ChangeKind::kNewChain, "dmz")}),
            "add chain ip filter dmz\n");
  EXPECT_EQ(Lower({Make(ChangeKind::kDeleteChain, "web")}),
            "delete chain ip filter web\n");
  Change rename = Make(ChangeKind::kRenameChain, "web");
  rename.rename_to = "www";
  EXPECT_EQ(Lower({rename}), "add chain ip filter www handle 4\n");
  Change policy = Make(ChangeKind::kPolicy, "INPUT");
  policy.policy = Policy::kDrop;
  policy.counters = {1, 2};
  EXPECT_EQ(Lower({policy}),
            "add chain ip filter INPUT policy drop packets 1 bytes 2\n");
  EXPECT_EQ(Lower({Make(ChangeKind::kZero, "INPUT", 2)}),
            "replace rule ip filter INPUT handle 12 id 1\n");
}

TEST_F(NftDeltaTest, RulesOfTheBatchAreNamedByTheirIds) {
  EXPECT_EQ(Lower({
                Make(ChangeKind::kAppend, "INPUT", 0, "-j ACCEPT"),
                Make(ChangeKind::kInsert, "INPUT", 3, "-j DROP"),
                Make(ChangeKind::kReplace, "INPUT", 4, "-j RETURN"),
                Make(ChangeKind::kDeleteIndex, "INPUT", 3),
                Make(ChangeKind::kDeleteRule, "INPUT", 0, "-j RETURN"),
            }),
            "append rule ip filter INPUT id 1\n"
            "insert rule ip filter INPUT id 2 position id 1\n"
            "insert rule ip filter INPUT id 3 position id 1\n"
            "delete rule ip filter INPUT id 1\n"
            "delete rule ip filter INPUT id 2\n"
            "delete rule ip filter INPUT id 3\n");
}

TEST_F(NftDeltaTest, JumpToARenamedChainUsesTheNameUntilCommit) {
  Change rename = Make(ChangeKind::kRenameChain, "web");
  rename.rename_to = "www";
  Change jump = Make(ChangeKind::kAppend, "INPUT");
  jump.rule.target.kind = TargetKind::kJump;
  jump.rule.target.chain = "www";
  const auto batch = LowerNftDelta(current_, {rename, jump}, handles_, {}, 0);
  ASSERT_TRUE(batch) << batch.error().ToString();
  EXPECT_THAT(DumpNftBatch(batch->bytes), HasSubstr("jump -> web"));
  // The name is not free before the transaction ends.
  EXPECT_THAT(Lower({rename, Make(ChangeKind::kNewChain, "web")}),
              HasSubstr("becomes free only"));
}

TEST_F(NftDeltaTest, MissingTableAndChainsAreMade) {
  Change change = Make(ChangeKind::kPolicy, "PREROUTING");
  change.table = TableKind::kRaw;
  change.policy = Policy::kDrop;
  const std::string text = Lower({change});
  EXPECT_THAT(text, StartsWith("add table ip raw\n"));
  EXPECT_THAT(text, HasSubstr("add chain ip raw OUTPUT type filter hook 3"));
  EXPECT_THAT(text, EndsWith("policy drop packets 0 bytes 0\n"));
  // iptables-nft makes built-in chains when they are first used.
  handles_.chain[static_cast<size_t>(TableKind::kFilter)][2] = 0;
  EXPECT_THAT(Lower({Make(ChangeKind::kAppend, "OUTPUT", 0, "-j DROP")}),
              StartsWith("add chain ip filter OUTPUT type filter hook 3"));
}

TEST_F(NftDeltaTest, ErrorsAreThoseOfIptables) {
  EXPECT_THAT(Lower({Make(ChangeKind::kAppend, "none", 0, "-j DROP")}),
              HasSubstr("no chain 'none'"));
  EXPECT_THAT(Lower({Make(ChangeKind::kDeleteIndex, "INPUT", 3)}),
              HasSubstr("rule number 3 is too big"));
  EXPECT_THAT(Lower({Make(ChangeKind::kInsert, "INPUT", 4, "-j DROP")}),
              HasSubstr("rule number 4 is too big"));
  EXPECT_THAT(Lower({Make(ChangeKind::kReplace, "INPUT", 0, "-j DROP")}),
              HasSubstr("rule number 0"));
  EXPECT_THAT(Lower({Make(ChangeKind::kDeleteRule, "INPUT", 0, "-j RETURN")}),
              HasSubstr("no such rule"));
  EXPECT_THAT(Lower({Make(ChangeKind::kNewChain, "web")}),
              HasSubstr("already exists"));
  EXPECT_THAT(Lower({Make(ChangeKind::kDeleteChain, "INPUT")}),
              HasSubstr("built in"));
  EXPECT_THAT(Lower({Make(ChangeKind::kPolicy, "web")}),
              HasSubstr("has no policy"));
}

}  // namespace
}  // namespace nfarena
