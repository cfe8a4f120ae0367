#include "compat/lower/blob_lower.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

#include "compat/model/testing/rule_builder.h"

namespace nfarena {
namespace {

using testing::LimitBurst;
using testing::R;
using testing::SetMark;
using testing::TcpPort;

Ruleset Sample(Family family) {
  Ruleset ruleset{.family = family};
  Table& filter = ruleset.EnsureTable(TableKind::kFilter);
  EXPECT_TRUE(filter.AddChain("web"));
  EXPECT_TRUE(filter.AddChain("log"));
  Chain& input = *filter.chain("INPUT");
  input.policy = Policy::kDrop;
  input.counters = {9, 900};
  input.rules = {
      R().Src({192, 0, 2, 1}, 4)
          .Proto(6)
          .Match(TcpPort(22))
          .Count(1, 2)
          .Accept(),
      R().Dst({198, 51}, 2).Not(kInvertDst).In("eth+").Out("lo").Drop(),
      R().Proto(17).Not(kInvertProtocol).Jump("web"),
      R().Goto("log"),
      R().Queue(),
      R().None(),
      R().Match(LimitBurst(2)).Match(TcpPort(1)).Do(SetMark(5)),
  };
  filter.chain("web")->rules = {R().Return(), R().Jump("log")};
  Table& nat = ruleset.EnsureTable(TableKind::kNat);
  EXPECT_TRUE(nat.AddChain("web"));
  nat.chain("PREROUTING")->rules = {R().In("eth0").Not(kInvertIn).Jump("web")};
  ruleset.EnsureTable(TableKind::kRaw).chain("OUTPUT")->rules = {R().Drop()};
  if (family == Family::kIpv4) {
    nat.chain("web")->rules = {R().Fragment().Drop(),
                               R().Fragment().Not(kInvertFragment).Accept()};
  }
  return ruleset;
}

std::vector<uint8_t> Blob(const Ruleset& ruleset, bool counters = true) {
  const auto image = LowerBlob(ruleset, {.counters = counters});
  EXPECT_TRUE(image) << image.error().ToString();
  return image->bytes;
}

TEST(LowerBlob, GivesBackWhatWasLowered) {
  for (Family family : {Family::kIpv4, Family::kIpv6}) {
    const Ruleset ruleset = Sample(family);
    for (bool counters : {true, false}) {
      const auto image = LowerBlob(ruleset, {.counters = counters});
      ASSERT_TRUE(image) << image.error().ToString();
      const auto view = BlobView::Parse(image->bytes);
      ASSERT_TRUE(view) << view.error().ToString();
      const auto raised = RaiseBlob(*view, image->counters);
      ASSERT_TRUE(raised) << raised.error().ToString();
      EXPECT_TRUE(SameRules(ruleset, *raised));
      const Chain& input = *raised->table(TableKind::kFilter)->chain("INPUT");
      const Counters first = counters ? Counters{1, 2} : Counters{};
      const Counters policy = counters ? Counters{9, 900} : Counters{};
      EXPECT_EQ(input.rules[0].counters, first);
      EXPECT_EQ(input.counters, policy);
      EXPECT_EQ(Blob(*raised, counters), image->bytes);
    }
  }
}

TEST(LowerBlob, BareRulesAreSmall) {
  struct Case {
    const char* what;
    Rule rule;
    uint32_t v4_bytes;  // without counter
  };
  const Case cases[] = {
      {"-j ACCEPT", R().Accept(), 16},
      {"-s A/32 -j ACCEPT", R().Src({1, 2, 3, 4}, 4).Accept(), 32},
      {"-p tcp -j DROP", R().Proto(6).Drop(), 24},
      {"-i eth0 -j ACCEPT", R().In("eth0").Accept(), 40},
      {"-s A/32 -p tcp --dport N -j ACCEPT",
       R().Src({1, 2, 3, 4}, 4).Proto(6).Match(TcpPort(1)).Accept(), 64},
  };
  for (const Case& c : cases) {
    Ruleset ruleset;
    ruleset.EnsureTable(TableKind::kFilter).chain("INPUT")->rules = {c.rule};
    const auto bare = Blob(ruleset, false);
    const auto view = BlobView::Parse(bare);
    ASSERT_TRUE(view);
    EXPECT_EQ(view->RuleAt(view->chains()[0].first).size, c.v4_bytes) << c.what;
    const auto counted = Blob(ruleset, true);
    const auto counted_view = BlobView::Parse(counted);
    ASSERT_TRUE(counted_view);
    EXPECT_EQ(counted_view->RuleAt(counted_view->chains()[0].first).size,
              c.v4_bytes + 8)
        << c.what;
  }
}

TEST(LowerBlob, SectionsFollowThePriorities) {
  Ruleset ruleset;
  // In an order that is not theirs.
  for (TableKind kind : {TableKind::kNat, TableKind::kSecurity, TableKind::kRaw,
                         TableKind::kFilter, TableKind::kMangle}) {
    ruleset.EnsureTable(kind);
  }
  const auto bytes = Blob(ruleset);
  const auto view = BlobView::Parse(bytes);
  ASSERT_TRUE(view) << view.error().ToString();
  std::string text;
  Hook last = Hook::kPostrouting;
  for (const BlobSection& section : view->sections()) {
    if (section.hook != last) {
      text += std::string("|") + HookChainName(section.hook);
    }
    last = section.hook;
    text += std::string(" ") + TableName(section.table);
    EXPECT_EQ(view->chains()[section.chain].name, HookChainName(section.hook));
  }
  EXPECT_EQ(text,
            "|PREROUTING raw mangle nat|INPUT mangle filter security nat"
            "|FORWARD mangle filter security"
            "|OUTPUT raw mangle nat filter security|POSTROUTING mangle nat");
}

TEST(LowerBlob, RefusesWhatHasNoForm) {
  struct Case {
    const char* what;
    Rule rule;
    Family family;
    ErrorCode code;
  };
  Rule odd_mask = R().In("eth0").Line(7).Drop();
  odd_mask.selector.in.mask[1] = 0;
  Extension big{.name = "u32", .payload = std::vector<uint8_t>(65536)};
  const Case cases[] = {
      {"mask with a hole", odd_mask, Family::kIpv4, ErrorCode::kUnsupported},
      {"fragment in IPv6", R().Fragment().Line(7).Drop(), Family::kIpv6,
       ErrorCode::kUnsupported},
      {"big payload", R().Match(big).Line(7).Drop(), Family::kIpv4,
       ErrorCode::kRange},
      {"jump to nowhere", R().Line(7).Jump("nowhere"), Family::kIpv4,
       ErrorCode::kInternal},
  };
  for (const Case& c : cases) {
    Ruleset ruleset{.family = c.family};
    ruleset.EnsureTable(TableKind::kFilter).chain("INPUT")->rules = {c.rule};
    const auto image = LowerBlob(ruleset, {});
    ASSERT_FALSE(image) << c.what;
    EXPECT_EQ(image.error().code, c.code) << c.what;
    EXPECT_EQ(image.error().place.line, 7u) << c.what;
  }
}

TEST(BlobView, RefusesEveryTruncation) {
  const std::vector<uint8_t> bytes = Blob(Sample(Family::kIpv4));
  ASSERT_TRUE(BlobView::Parse(bytes));
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    const auto view = BlobView::Parse(std::span(bytes).first(cut));
    ASSERT_FALSE(view) << cut;
    EXPECT_NE(view.error().message.find("offset"), std::string::npos);
  }
  std::vector<uint8_t> longer = bytes;
  longer.resize(bytes.size() + 8);
  EXPECT_FALSE(BlobView::Parse(longer));
}

TEST(BlobView, TruncatedBlobThatLiesAboutItsSizeIsRefused) {
  const std::vector<uint8_t> bytes = Blob(Sample(Family::kIpv4));
  for (size_t cut = sizeof(BlobHeader); cut < bytes.size(); cut += 8) {
    std::vector<uint8_t> shorter(bytes.begin(),
                                 bytes.begin() + static_cast<ptrdiff_t>(cut));
    const auto size = static_cast<uint32_t>(cut);
    std::memcpy(shorter.data() + 8, &size, sizeof(size));
    EXPECT_FALSE(BlobView::Parse(shorter)) << cut;
  }
}

/// Offset of the n-th action of a rule.
uint32_t ActionOffset(const BlobView& view, uint32_t rule, int n) {
  uint32_t at = rule + static_cast<uint32_t>(sizeof(BlobRuleHead));
  for (int i = 0; i < n; ++i) view.ActionAt(at, &at);
  return at;
}

TEST(BlobView, RefusesWrongNumbers) {
  const std::vector<uint8_t> good = Blob(Sample(Family::kIpv4));
  const auto view = BlobView::Parse(good);
  ASSERT_TRUE(view);
  const uint32_t rule1 = view->chains()[0].first;
  const uint32_t rule2 = rule1 + view->RuleAt(rule1).size;
  const uint32_t rule3 = rule2 + view->RuleAt(rule2).size;
  uint32_t end = rule1;
  while (view->RuleAt(end).number != 0) end += view->RuleAt(end).size;
  struct Case {
    const char* what;
    uint32_t offset;
    uint8_t value;
  };
  const Case cases[] = {
      {"magic", 0, 0},
      {"version", 4, 2},
      {"family", 6, 5},
      {"reserved", 7, 1},
      {"chains_count", 12, 1},
      {"sections_count", 16, 1},
      {"extensions_count", 20, 0},
      {"counters_count", 24, 1},
      {"rules_count", 28, 1},
      {"chains_offset", 32, 64},
      {"rules_offset", 40, 0},
      {"chain name out of the pool", 56 + 3, 0xff},
      {"chain name empty", 56 + 4, 0},
      {"chain table", 56 + 5, 9},
      {"chain hook not of its table", 56 + 6, 0},
      {"chain first", 56 + 8, 0},
      {"chain rules_count", 56 + 16, 1},
      {"section of another hook", view->header().sections_offset, 4},
      {"section's chain", view->header().sections_offset + 4, 200},
      {"extension kind", view->header().extensions_offset + 6, 1},
      {"rule size zero", rule1, 0},
      {"rule size unaligned", rule1, 71},
      {"rule number", rule1 + 4, 2},
      {"op", ActionOffset(*view, rule1, 0), 99},
      {"op of another size", ActionOffset(*view, rule1, 0), 1},
      {"selector flag", ActionOffset(*view, rule1, 0) + 1, 2},
      {"action size zero", ActionOffset(*view, rule1, 2) + 2, 0},
      {"network offset", ActionOffset(*view, rule1, 0) + 4, 13},
      {"match refers to a target", ActionOffset(*view, rule1, 2) + 4, 3},
      {"counter slot", ActionOffset(*view, rule1, 3) + 4, 200},
      {"verdict", ActionOffset(*view, rule1, 4) + 1, 7},
      {"verdict with an argument", ActionOffset(*view, rule1, 4) + 4, 1},
      {"verdict that is no last action", ActionOffset(*view, rule1, 3), 9},
      {"device bytes", ActionOffset(*view, rule2, 1) + 4, 17},
      {"jump to a base chain", ActionOffset(*view, rule3, 2) + 4, 0},
      {"jump to another table's chain", ActionOffset(*view, rule3, 2) + 4, 9},
      {"policy return", ActionOffset(*view, end, 1) + 1, 4},
      {"padding", static_cast<uint32_t>(good.size() - 1), 1},
  };
  for (const Case& c : cases) {
    std::vector<uint8_t> bad = good;
    ASSERT_NE(bad[c.offset], c.value) << c.what;
    bad[c.offset] = c.value;
    const auto parsed = BlobView::Parse(bad);
    ASSERT_FALSE(parsed) << c.what;
    EXPECT_NE(parsed.error().message.find("offset"), std::string::npos)
        << c.what;
  }
}

TEST(BlobView, FindsLoopsThatAHookReaches) {
  Ruleset ruleset;
  Table& filter = ruleset.EnsureTable(TableKind::kFilter);
  ASSERT_TRUE(filter.AddChain("a"));
  ASSERT_TRUE(filter.AddChain("b"));
  filter.chain("a")->rules = {R().Proto(6).Jump("b")};
  filter.chain("b")->rules = {R().None(), R().Goto("a")};
  EXPECT_TRUE(BlobView::Parse(Blob(ruleset))) << "no hook reaches it";
  filter.chain("INPUT")->rules = {R().Accept(), R().Jump("a")};
  EXPECT_TRUE(BlobView::Parse(Blob(ruleset))) << "behind an ACCEPT of all";
  filter.chain("INPUT")->rules = {R().Proto(6).Accept(), R().Jump("a")};
  const auto bytes = Blob(ruleset);
  const auto view = BlobView::Parse(bytes);
  ASSERT_FALSE(view);
  EXPECT_EQ(view.error().errno_value, ELOOP);
}

TEST(BlobView, HandsHooksOnToUserChains) {
  Ruleset ruleset;
  Table& filter = ruleset.EnsureTable(TableKind::kFilter);
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(filter.AddChain(name));
  filter.chain("INPUT")->rules = {R().Jump("a")};
  filter.chain("OUTPUT")->rules = {R().Jump("b"), R().Drop(), R().Jump("c")};
  filter.chain("b")->rules = {R().Jump("a")};
  const auto bytes = Blob(ruleset);
  const auto view = BlobView::Parse(bytes);
  ASSERT_TRUE(view);
  const std::vector<uint8_t> want = {
      2,     2,        // INPUT: rule, end
      4,               // FORWARD
      8,     8, 0, 0,  // OUTPUT: nothing behind its DROP
      2 | 8,           // a
      8,     8,        // b
      0,               // c
  };
  EXPECT_EQ(view->HookMasks(), want);
}

TEST(RaiseBlob, RefusesRulesThatIptablesCannotSay) {
  // Two targets in one rule: fine for the engine, no words in iptables.
  Ruleset ruleset;
  Rule rule = R().Match(TcpPort(1)).Match(TcpPort(2)).Do(SetMark(1));
  ruleset.EnsureTable(TableKind::kFilter).chain("INPUT")->rules = {rule};
  std::vector<uint8_t> bytes = Blob(ruleset, false);
  auto view = BlobView::Parse(bytes);
  ASSERT_TRUE(view);
  const uint32_t first = view->chains()[0].first;
  // The first match becomes a target of the same size.
  const uint32_t match = ActionOffset(*view, first, 0);
  bytes[match] = static_cast<uint8_t>(BlobOp::kTarget);
  bytes[match + 4] = 1;
  view = BlobView::Parse(bytes);
  ASSERT_TRUE(view) << view.error().ToString();
  const auto raised = RaiseBlob(*view, {});
  ASSERT_FALSE(raised);
  EXPECT_EQ(raised.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(raised.error().message.find("offset"), std::string::npos);
}

}  // namespace
}  // namespace nfarena
