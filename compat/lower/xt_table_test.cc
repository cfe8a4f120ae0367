#include "compat/lower/xt_table.h"

#include <gtest/gtest.h>

#include <cstring>

#include "compat/lower/xt_layout.h"

namespace nfarena {
namespace {

Extension MakeExtension(const char* name, uint8_t revision, size_t bytes) {
  Extension e{.name = name, .revision = revision};
  for (size_t i = 0; i < bytes; ++i) {
    e.payload.push_back(static_cast<uint8_t>(i + 1));
  }
  e.user_size = static_cast<uint16_t>(bytes);
  return e;
}

Rule MakeRule(TargetKind kind, const char* chain = "") {
  Rule rule;
  rule.target.kind = kind;
  rule.target.chain = chain;
  return rule;
}

InterfaceTest Interface(const char* name, size_t counted) {
  InterfaceTest test;
  std::memcpy(test.name.data(), name, std::strlen(name));
  for (size_t i = 0; i < counted; ++i) test.mask[i] = 0xff;
  return test;
}

/// A filter table with every kind of target and two user chains.
Table SampleTable() {
  Table table = EmptyTable(TableKind::kFilter);
  EXPECT_TRUE(table.AddChain("web"));
  EXPECT_TRUE(table.AddChain("log"));
  Chain& input = *table.chain("INPUT");
  input.policy = Policy::kDrop;
  input.counters = {7, 700};
  for (TargetKind kind : {TargetKind::kNone, TargetKind::kAccept,
                          TargetKind::kDrop, TargetKind::kQueue}) {
    input.rules.push_back(MakeRule(kind));
    input.rules.back().counters = {input.rules.size(), 60};
  }
  input.rules.push_back(MakeRule(TargetKind::kJump, "web"));
  input.rules.push_back(MakeRule(TargetKind::kGoto, "log"));
  Rule tcp = MakeRule(TargetKind::kReturn);
  tcp.selector.src = {192, 0, 2, 1};
  tcp.selector.src_mask = {255, 255, 255, 255};
  tcp.selector.dst = {198, 51, 100, 0};
  tcp.selector.dst_mask = {255, 255, 255, 0};
  tcp.selector.in = Interface("eth+", 3);
  tcp.selector.out = Interface("eth0", 5);
  tcp.selector.protocol = 6;
  tcp.selector.inverted = kInvertDst | kInvertIn;
  tcp.matches.push_back(MakeExtension("tcp", 0, 16));
  tcp.matches.push_back(MakeExtension("conntrack", 3, 168));
  table.chain("web")->rules.push_back(tcp);
  Rule reject = MakeRule(TargetKind::kExtension);
  reject.target.extension = MakeExtension("REJECT", 0, 8);
  table.chain("log")->rules.push_back(reject);
  return table;
}

template <typename T>
T ReadAt(const std::vector<uint8_t>& bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

bool SameTable(const Table& a, const Table& b) {
  return SameRules(Ruleset{.tables = {a}}, Ruleset{.tables = {b}});
}

Result<Table> Raise(const XtTableImage& image,
                    std::span<const Counters> counters) {
  const auto head = ReadAt<ipt_replace>(image.replace, 0);
  uint32_t entry[5];
  uint32_t underflow[5];
  std::memcpy(entry, head.hook_entry, sizeof(entry));
  std::memcpy(underflow, head.underflow, sizeof(underflow));
  return RaiseXtTable(image.family, image.kind,
                      std::span(image.replace).subspan(sizeof(head)), entry,
                      underflow, head.valid_hooks, counters);
}

TEST(LowerXtTable, EmptyTablesHaveTheKernelsSizes) {
  const auto v4 = LowerXtTable(Family::kIpv4, EmptyTable(TableKind::kFilter));
  ASSERT_TRUE(v4) << v4.error().ToString();
  EXPECT_EQ(v4->replace.size(), 96u + 3 * 152 + 176);
  const auto head = ReadAt<ipt_replace>(v4->replace, 0);
  EXPECT_STREQ(head.name, "filter");
  EXPECT_EQ(head.num_entries, 4u);
  EXPECT_EQ(head.size, 632u);
  EXPECT_EQ(head.valid_hooks, 0x0eu);
  EXPECT_EQ(head.hook_entry[1], 0u);
  EXPECT_EQ(head.hook_entry[2], 152u);
  EXPECT_EQ(head.underflow[3], 304u);
  EXPECT_EQ(head.num_counters, 0u);
  const auto v6 = LowerXtTable(Family::kIpv6, EmptyTable(TableKind::kFilter));
  ASSERT_TRUE(v6) << v6.error().ToString();
  EXPECT_EQ(v6->replace.size(), 96u + 3 * 208 + 232);
}

TEST(LowerXtTable, EntriesAreWhereTheIndexSays) {
  const Table table = SampleTable();
  const auto image = LowerXtTable(Family::kIpv4, table);
  ASSERT_TRUE(image) << image.error().ToString();
  // rules + feet + two heads + the end
  ASSERT_EQ(image->entries.size(), 8u + 5 + 2 + 1);
  ASSERT_EQ(image->counters.size(), image->entries.size());
  size_t at = 0;
  for (const XtEntryRef& ref : image->entries) {
    EXPECT_EQ(ref.offset, at);
    at +=
        ReadAt<ipt_entry>(image->replace, sizeof(ipt_replace) + at).next_offset;
  }
  EXPECT_EQ(at + sizeof(ipt_replace), image->replace.size());
  EXPECT_EQ(image->counters[0], (Counters{1, 60}));
  EXPECT_EQ(image->counters[6], (Counters{7, 700}));  // INPUT's policy
  EXPECT_EQ(image->entries[6].rule, (RuleRef{TableKind::kFilter, 0, 0}));
  // FORWARD, OUTPUT, then "log" sorts before "web".
  EXPECT_TRUE(image->entries[9].head);
  EXPECT_EQ(image->entries[10].rule, (RuleRef{TableKind::kFilter, 3, 1}));
}

TEST(LowerXtTable, JumpsLandBehindTheHead) {
  const auto image = LowerXtTable(Family::kIpv4, SampleTable());
  ASSERT_TRUE(image);
  const auto verdict = [&](size_t entry) {
    const size_t at = sizeof(ipt_replace) + image->entries[entry].offset;
    return ReadAt<xt_standard_target>(
               image->replace,
               at + ReadAt<ipt_entry>(image->replace, at).target_offset)
        .verdict;
  };
  EXPECT_EQ(verdict(0), 152);  // no target: falls through to the next entry
  EXPECT_EQ(verdict(1), -2);
  EXPECT_EQ(verdict(2), -1);
  EXPECT_EQ(verdict(3), -4);
  EXPECT_EQ(verdict(4), static_cast<int>(image->entries[13].offset));
  EXPECT_EQ(verdict(5), static_cast<int>(image->entries[10].offset));
  EXPECT_EQ(verdict(6), -1);  // policy DROP
  EXPECT_EQ(verdict(14), -5);
}

TEST(LowerXtTable, RefusesWhatDoesNotFit) {
  struct Case {
    const char* what;
    void (*change)(Table*);
    ErrorCode code;
  };
  const Case cases[] = {
      {"payload over 64 KiB",
       [](Table* t) {
         t->chain("INPUT")->rules[0].matches = {MakeExtension("u32", 0, 70000)};
       },
       ErrorCode::kRange},
      {"matches over 64 KiB together",
       [](Table* t) {
         t->chain("INPUT")->rules[0].matches.assign(
             3, MakeExtension("u32", 0, 30000));
       },
       ErrorCode::kRange},
      {"extension name too long",
       [](Table* t) {
         t->chain("INPUT")->rules[0].matches = {
             MakeExtension("abcdefghijklmnopqrstuvwxyz012", 0, 8)};
       },
       ErrorCode::kRange},
      {"chain name too long",
       [](Table* t) {
         ASSERT_TRUE(t->AddChain("abcdefghijklmnopqrstuvwxyz0123"));
       },
       ErrorCode::kRange},
      {"jump to nowhere",
       [](Table* t) {
         t->chain("INPUT")->rules.push_back(
             MakeRule(TargetKind::kJump, "nowhere"));
       },
       ErrorCode::kInternal},
      {"chains out of order",
       [](Table* t) { std::swap(t->chains[3], t->chains[4]); },
       ErrorCode::kInternal},
  };
  for (const Case& c : cases) {
    Table table = SampleTable();
    c.change(&table);
    const auto image = LowerXtTable(Family::kIpv4, table);
    ASSERT_FALSE(image) << c.what;
    EXPECT_EQ(image.error().code, c.code) << c.what;
  }
}

TEST(RaiseXtTable, GivesBackWhatWasLowered) {
  for (Family family : {Family::kIpv4, Family::kIpv6}) {
    const Table table = SampleTable();
    const auto image = LowerXtTable(family, table);
    ASSERT_TRUE(image) << image.error().ToString();
    const auto raised = Raise(*image, image->counters);
    ASSERT_TRUE(raised) << raised.error().ToString();
    EXPECT_TRUE(SameTable(table, *raised)) << FamilyName(family);
    EXPECT_EQ(raised->chain("INPUT")->rules[2].counters, (Counters{3, 60}));
    EXPECT_EQ(raised->chain("INPUT")->counters, (Counters{7, 700}));
    const auto again = LowerXtTable(family, *raised);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->replace, image->replace);
  }
}

TEST(RaiseXtTable, EveryTableKindRoundTrips) {
  for (TableKind kind : {TableKind::kRaw, TableKind::kMangle, TableKind::kNat,
                         TableKind::kFilter, TableKind::kSecurity}) {
    Table table = EmptyTable(kind);
    for (Chain& chain : table.chains) {
      chain.rules.push_back(MakeRule(TargetKind::kAccept));
      chain.policy = Policy::kDrop;
    }
    const auto image = LowerXtTable(Family::kIpv6, table);
    ASSERT_TRUE(image) << image.error().ToString();
    const auto raised = Raise(*image, {});
    ASSERT_TRUE(raised) << raised.error().ToString();
    EXPECT_TRUE(SameTable(table, *raised)) << TableName(kind);
  }
}

TEST(RaiseXtTable, RefusesEveryTruncation) {
  const auto image = LowerXtTable(Family::kIpv4, SampleTable());
  ASSERT_TRUE(image);
  for (size_t cut = sizeof(ipt_replace); cut < image->replace.size(); ++cut) {
    XtTableImage shorter = *image;
    shorter.replace.resize(cut);
    EXPECT_FALSE(Raise(shorter, {})) << cut << " bytes were taken as a table";
  }
}

TEST(RaiseXtTable, RefusesBadOffsets) {
  struct Case {
    const char* what;
    size_t entry;
    size_t offset;
    uint16_t value;
  };
  const Case cases[] = {
      {"next_offset 0", 0, 90, 0},
      {"next_offset unaligned", 0, 90, 153},
      {"next_offset past the end", 15, 90, 0xfff8},
      {"target_offset inside the selector", 0, 88, 80},
      {"target_offset at the entry's end", 0, 88, 152},
      {"match size 0", 13, 112, 0},
      {"match size past the target", 13, 112, 0x1000},
      {"target size past the entry", 0, 112, 48},
      {"jump to no entry", 4, 112 + 32, 153},
      {"jump to an entry that starts no chain", 4, 112 + 32, 152},
  };
  const auto image = LowerXtTable(Family::kIpv4, SampleTable());
  ASSERT_TRUE(image);
  ASSERT_TRUE(Raise(*image, {}));
  for (const Case& c : cases) {
    XtTableImage bad = *image;
    std::memcpy(bad.replace.data() + sizeof(ipt_replace) +
                    bad.entries[c.entry].offset + c.offset,
                &c.value, sizeof(c.value));
    const auto raised = Raise(bad, {});
    EXPECT_FALSE(raised) << c.what;
    if (!raised) {
      EXPECT_NE(raised.error().message.find("offset"), std::string::npos)
          << c.what << ": " << raised.error().message;
    }
  }
}

TEST(RaiseXtTable, RefusesHooksThatFrameNoChain) {
  auto image = LowerXtTable(Family::kIpv4, SampleTable());
  ASSERT_TRUE(image);
  for (size_t field : {44u + 4, 44u + 8, 64u + 4, 64u + 12}) {
    XtTableImage bad = *image;
    const auto value = ReadAt<uint32_t>(bad.replace, field) + 8;
    std::memcpy(bad.replace.data() + field, &value, sizeof(value));
    EXPECT_FALSE(Raise(bad, {})) << "field at " << field;
  }
  XtTableImage bad = *image;
  bad.replace[32] = 0x1f;
  EXPECT_FALSE(Raise(bad, {})) << "valid_hooks of another table";
  const std::vector<Counters> few(3);
  EXPECT_FALSE(Raise(*image, few)) << "too few counters";
}

TEST(RaiseXtTable, SortsChainsThatCameUnsorted) {
  auto image = LowerXtTable(Family::kIpv4, SampleTable());
  ASSERT_TRUE(image);
  // Head of "log", the first user chain, renamed behind "web".
  const size_t at = sizeof(ipt_replace) + image->entries[9].offset + 112 + 32;
  std::memcpy(image->replace.data() + at, "zoo", 4);
  const auto raised = Raise(*image, {});
  ASSERT_TRUE(raised) << raised.error().ToString();
  ASSERT_EQ(raised->chains.size(), 5u);
  EXPECT_EQ(raised->chains[3].name, "web");
  EXPECT_EQ(raised->chains[4].name, "zoo");
  EXPECT_EQ(raised->chain("INPUT")->rules[5].target.chain, "zoo");
  std::memcpy(image->replace.data() + at, "web", 4);
  EXPECT_FALSE(Raise(*image, {})) << "two chains of one name";
}

}  // namespace
}  // namespace nfarena
