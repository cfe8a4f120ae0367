// The batches against the running kernel, each in a network namespace of its
// own, and against iptables-nft where it is installed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <sstream>
#include <string>

#include "compat/lower/nft_batch.h"
#include "compat/lower/nft_records.h"
#include "compat/lower/testing/nft_rules.h"
#include "compat/lower/testing/nft_socket.h"
#include "compat/lower/testing/xt_socket.h"
#include "compat/syntax/save_printer.h"
#include "compat/syntax/testing/parsed.h"

namespace nfarena {
namespace {

using testing::InNamespace;
using testing::NftDumpBytes;
using testing::Parse;
using testing::ParseFilter;
using testing::ReadNft;
using testing::SendNftBatch;

NftDump View(const NftDumpBytes& bytes) {
  return {bytes.chains, bytes.rules, bytes.elements};
}

/// "" or the first thing that went wrong.
std::string Load(const Ruleset& ruleset, const NftOptions& options) {
  const auto batch = LowerNftRuleset(ruleset, options, 0);
  if (!batch) return "lower: " + batch.error().ToString();
  const Status sent = SendNftBatch(batch->bytes);
  return sent ? "" : "send: " + sent.error().ToString();
}

/// What the kernel has, raised, in words.
std::string InForce(Family family) {
  const auto dump = ReadNft(family);
  if (!dump) return "read: " + dump.error().ToString();
  const auto raised = RaiseNft(family, View(*dump));
  if (!raised) return "raise: " + raised.error().ToString();
  return PrintSave(raised->ruleset, {.counters = true});
}

class NftKernelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto blocked = testing::KernelTestsBlockedBy()) {
      GTEST_SKIP() << *blocked;
    }
  }
};

/// Loads the ruleset, and compares what the kernel lists with what the batch
/// itself says.  That the batch says the source is nft_batch_test's business.
std::string LoadsAndComesBack(const Ruleset& source,
                              const NftOptions& options) {
  return InNamespace([&]() -> std::string {
    const auto batch = LowerNftRuleset(source, options, 0);
    if (!batch) return "lower: " + batch.error().ToString();
    const auto said =
        RaiseNft(source.family, {batch->bytes, batch->bytes, batch->bytes});
    if (!said) return "raise the batch: " + said.error().ToString();
    if (const Status sent = SendNftBatch(batch->bytes); !sent) {
      return "send: " + sent.error().ToString();
    }
    const std::string listed = InForce(source.family);
    const std::string expected = PrintSave(said->ruleset, {.counters = true});
    if (listed == expected) return "";
    return "expected\n" + expected + "listed\n" + listed;
  });
}

TEST_F(NftKernelTest, EveryConstructLoadsAndComesBack) {
  NftOptions exact, compat;
  exact.exact_fragments = true;
  compat.mode = NftMode::kCompat;
  const Ruleset rules4 = Parse(testing::kNftRules4);
  const Ruleset rules6 = Parse(testing::kNftRules6, Family::kIpv6);
  for (const NftOptions& options : {NftOptions{}, exact}) {
    EXPECT_EQ(LoadsAndComesBack(rules4, options), "");
    EXPECT_EQ(LoadsAndComesBack(rules6, options), "");
  }
  EXPECT_EQ(LoadsAndComesBack(Parse(testing::NftRulesOfIptables()), compat),
            "");
  EXPECT_EQ(LoadsAndComesBack(rules6, compat), "");
}

TEST_F(NftKernelTest, EmptyRulesetRemovesAllTables) {
  EXPECT_EQ(InNamespace([]() -> std::string {
              std::string error = Load(ParseFilter("-A INPUT -j DROP\n"), {});
              if (!error.empty()) return error;
              error = Load(Ruleset{}, {});
              return error.empty() ? InForce(Family::kIpv4) : error;
            }),
            PrintSave(Ruleset{}, {.counters = true}));
}

TEST_F(NftKernelTest, GenerationThatHasPassedIsRefused) {
  EXPECT_EQ(InNamespace([]() -> std::string {
              const Ruleset ruleset = ParseFilter("-A INPUT -j DROP\n");
              // A namespace begins with generation 1.
              const auto first = LowerNftRuleset(ruleset, {}, 1);
              if (!first) return first.error().ToString();
              if (const Status sent = SendNftBatch(first->bytes); !sent) {
                return sent.error().ToString();
              }
              const Status again = SendNftBatch(first->bytes);
              if (again) return "the old generation was taken";
              return again.error().errno_value == ERESTART
                         ? ""
                         : again.error().ToString();
            }),
            "");
}

TEST_F(NftKernelTest, KernelHasTheLimitsOfTheLowering) {
  const auto nested = [](int depth) {
    std::string chains, rules = "-A INPUT -j C01\n";
    for (int i = 1; i <= depth; ++i) {
      chains += fmt::format(":C{:02} - [0:0]\n", i);
      if (i < depth) rules += fmt::format("-A C{:02} -j C{:02}\n", i, i + 1);
    }
    return ParseFilter(chains + rules);
  };
  EXPECT_EQ(InNamespace([&] { return Load(nested(15), {}); }), "");
  // Rules of many expressions: up to the size in the kernel, 40 bytes for a
  // mark test, and up to their number.
  // More than a line of words has room for, so they are added in the model.
  const auto marks = [](int count) {
    Ruleset ruleset = ParseFilter("-A INPUT -m mark --mark 1\n");
    Rule& rule = ruleset.table(TableKind::kFilter)->chain("INPUT")->rules[0];
    const Extension mark = rule.matches[0];
    rule.matches.assign(static_cast<size_t>(count), mark);
    return ruleset;
  };
  int taken = 0;
  for (int count = 50; count < 110; ++count) {
    const Ruleset ruleset = marks(count);
    if (LowerNftRuleset(ruleset, {}, 0)) {
      EXPECT_EQ(InNamespace([&] { return Load(ruleset, {}); }), "") << count;
      taken = count;
    }
  }
  EXPECT_EQ(taken, 63);  // 127 expressions
}

TEST_F(NftKernelTest, ManyMegabytesAreOneTransaction) {
  constexpr int kRules = 20'000;
  std::string rules;
  for (int i = 0; i < kRules; ++i) {
    rules += fmt::format(
        "-A INPUT -s 10.{}.{}.{}/32 -p tcp -m tcp --dport {} "
        "-j ACCEPT\n",
        i >> 16, i >> 8 & 255, i & 255, i + 1);
  }
  const Ruleset source = ParseFilter(rules);
  EXPECT_EQ(InNamespace([&]() -> std::string {
              if (auto error = Load(source, {}); !error.empty()) return error;
              const auto dump = ReadNft(Family::kIpv4);
              if (!dump) return dump.error().ToString();
              const auto raised = RaiseNft(Family::kIpv4, View(*dump));
              if (!raised) return raised.error().ToString();
              return SameRules(raised->ruleset, source) ? "" : "differs";
            }),
            "");
}

// -------------------------------------------------------------- iptables-nft

/// Everything of a dump that says what packets meet, one line an item.
Result<std::string> Describe(Family family) {
  const auto dump = ReadNft(family);
  if (!dump) return tl::unexpected(dump.error());
  std::string text;
  const auto visit = [&text](const nft::Message& message) -> Status {
    if (auto chain = ReadChain(message); chain && chain->hook) {
      text += fmt::format("{} {} {} {} {} {}\n", chain->table, chain->name,
                          chain->type, *chain->hook, chain->priority,
                          chain->policy.value_or(99));
      text += chain->counters
                  ? fmt::format("  counters {} {}\n", chain->counters->packets,
                                chain->counters->bytes)
                  : "  no counters\n";
    }
    return {};
  };
  RETURN_IF_ERROR(nft::ForEachMessage(dump->chains, visit));
  RETURN_IF_ERROR(nft::ForEachMessage(
      dump->rules, [&text](const nft::Message& message) -> Status {
        ASSIGN_OR_RETURN(const auto rule, ReadRule(message));
        text +=
            fmt::format("{} {} \"{}\"\n", rule.table, rule.chain, rule.comment);
        for (const nft::Expr& expr : rule.exprs) {
          text += "  " + nft::PrintExpr(expr) + "\n";
        }
        return {};
      }));
  return text;
}

/// The lines sorted by table, which iptables-nft makes in its own order.
std::string SortedBlocks(const std::string& text) {
  std::vector<std::string> blocks;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("  ")) blocks.emplace_back();
    blocks.back() += line + "\n";
  }
  // Stable by table and chain: rules keep their order.
  std::ranges::stable_sort(blocks, {}, [](const std::string& block) {
    const size_t table = block.find(' ');
    return block.substr(0, block.find(' ', table + 1));
  });
  std::string out;
  for (const std::string& block : blocks) out += block;
  return out;
}

std::string ComparedWithIptablesNft(Family family, const std::string& text) {
  const std::string tool = family == Family::kIpv4 ? "iptables-nft-restore -c"
                                                   : "ip6tables-nft-restore -c";
  return InNamespace([&]() -> std::string {
    int status = 0;
    const std::string said = testing::RunCommand(tool, text, &status);
    if (status != 0) return tool + ": " + said;
    const auto theirs = Describe(family);
    if (!theirs) return theirs.error().ToString();
    NftOptions compat;
    compat.mode = NftMode::kCompat;
    if (auto error = Load(Parse(text, family), compat); !error.empty()) {
      return error;
    }
    const auto ours = Describe(family);
    if (!ours) return ours.error().ToString();
    if (theirs->empty()) return "nothing was loaded";
    if (SortedBlocks(*ours) == SortedBlocks(*theirs)) return "";
    return "iptables-nft\n" + SortedBlocks(*theirs) + "ours\n" +
           SortedBlocks(*ours);
  });
}

TEST_F(NftKernelTest, CompatEmitsWhatIptablesNftEmits) {
  int status = 0;
  const std::string version =
      testing::RunCommand("iptables-nft --version", "", &status);
  if (status != 0 || version.find("v1.8.9") == std::string::npos) {
    GTEST_SKIP() << "iptables-nft 1.8.9 is not installed: " << version;
  }
  EXPECT_EQ(
      ComparedWithIptablesNft(Family::kIpv4, testing::NftRulesOfIptables()),
      "");
  EXPECT_EQ(
      ComparedWithIptablesNft(Family::kIpv6, testing::NftRulesOfIp6tables()),
      "");
}

// -------------------------------------------------------------------- change

Change Make(ChangeKind kind, const std::string& chain, uint32_t rulenum,
            const std::string& rule) {
  Change change;
  change.kind = kind;
  change.chain = chain;
  change.rulenum = rulenum;
  if (!rule.empty()) {
    auto parsed = ParseRule(rule, Family::kIpv4, TableKind::kFilter);
    EXPECT_TRUE(parsed) << parsed.error().ToString();
    if (parsed) change.rule = *std::move(parsed);
  }
  return change;
}

/// Loads `start`, sends `delta` as its batch, and compares with the model.
std::string Changed(const Ruleset& start, const Delta& delta) {
  return InNamespace([&]() -> std::string {
    if (auto error = Load(start, {}); !error.empty()) return error;
    const auto dump = ReadNft(Family::kIpv4);
    if (!dump) return dump.error().ToString();
    const auto before = RaiseNft(Family::kIpv4, View(*dump));
    if (!before) return before.error().ToString();
    const auto batch =
        LowerNftDelta(before->ruleset, delta, before->handles, {}, 0);
    if (!batch) return "lower: " + batch.error().ToString();
    if (const Status sent = SendNftBatch(batch->bytes); !sent) {
      return "send: " + sent.error().ToString() + "\n" +
             DumpNftBatch(batch->bytes);
    }
    Ruleset expected = before->ruleset;
    if (const Status applied = ApplyDelta(delta, &expected); !applied) {
      return "model: " + applied.error().ToString();
    }
    std::ranges::sort(expected.tables, {}, &Table::kind);
    const std::string listed = InForce(Family::kIpv4);
    const std::string wanted = PrintSave(expected, {.counters = true});
    if (listed == wanted) return "";
    return "expected\n" + wanted + "listed\n" + listed +
           DumpNftBatch(batch->bytes);
  });
}

TEST_F(NftKernelTest, ChangesDoWhatTheModelDoes) {
  const Ruleset start = ParseFilter(
      ":one - [0:0]\n:two - [0:0]\n"
      "[1:2] -A INPUT -s 192.0.2.1/32 -j DROP\n"
      "[3:4] -A INPUT -p tcp -m multiport --dports 80,443 -j one\n"
      "[5:6] -A INPUT -j ACCEPT\n"
      "-A one -j RETURN\n");
  Change rename = Make(ChangeKind::kRenameChain, "one", 0, "");
  rename.rename_to = "three";
  Change policy = Make(ChangeKind::kPolicy, "FORWARD", 0, "");
  policy.policy = Policy::kDrop;
  policy.counters = {7, 8};
  Change raw = Make(ChangeKind::kAppend, "PREROUTING", 0, "-p udp");
  raw.table = TableKind::kRaw;
  Change jump = Make(ChangeKind::kAppend, "FORWARD", 0, "");
  jump.rule.target.kind = TargetKind::kJump;
  jump.rule.target.chain = "new";

  const auto rule = [](int n) { return fmt::format("-s 10.0.0.{}/32", n); };
  const Delta deltas[] = {
      {Make(ChangeKind::kAppend, "INPUT", 0, rule(1))},
      {Make(ChangeKind::kInsert, "INPUT", 1, rule(1))},
      {Make(ChangeKind::kInsert, "INPUT", 2, rule(1)),
       Make(ChangeKind::kInsert, "INPUT", 2, rule(2)),
       Make(ChangeKind::kInsert, "INPUT", 6, rule(3))},
      {Make(ChangeKind::kReplace, "INPUT", 2, rule(1)),
       Make(ChangeKind::kReplace, "INPUT", 2, rule(2)),
       Make(ChangeKind::kInsert, "INPUT", 2, rule(3)),
       Make(ChangeKind::kDeleteIndex, "INPUT", 3, "")},
      {Make(ChangeKind::kDeleteRule, "INPUT", 0, "-j ACCEPT")},
      {Make(ChangeKind::kFlush, "INPUT", 0, ""),
       Make(ChangeKind::kAppend, "INPUT", 0, rule(1)),
       Make(ChangeKind::kDeleteChain, "two", 0, "")},
      {Make(ChangeKind::kFlush, "", 0, ""),
       Make(ChangeKind::kDeleteChain, "", 0, "")},
      {Make(ChangeKind::kNewChain, "new", 0, ""), jump,
       Make(ChangeKind::kAppend, "new", 0, rule(1))},
      {rename},
      {policy},
      {Make(ChangeKind::kZero, "", 0, "")},
      {Make(ChangeKind::kZero, "INPUT", 3, "")},
      {raw},
  };
  for (size_t i = 0; i < std::size(deltas); ++i) {
    EXPECT_EQ(Changed(start, deltas[i]), "") << "delta " << i;
  }
}

}  // namespace
}  // namespace nfarena
