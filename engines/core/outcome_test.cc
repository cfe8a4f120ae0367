#include "engines/core/outcome.h"

#include <gtest/gtest.h>

namespace nfarena {
namespace {

Ruleset Filter() {
  Ruleset ruleset;
  ruleset.EnsureTable(TableKind::kFilter);
  return ruleset;
}

Outcome Accepted() {
  Outcome outcome;
  outcome.out = "eth1";
  outcome.bytes = {0x45, 0, 0, 20};
  outcome.mark = 1;
  outcome.decided_by = {TableKind::kFilter, 1, 3};
  return outcome;
}

TEST(Outcome, ClearEmptiesEverything) {
  Outcome outcome = Accepted();
  outcome.verdict = VerdictKind::kQueue;
  outcome.queue = 3;
  outcome.priority = 4;
  outcome.emissions.push_back({});
  outcome.logs.push_back({});
  outcome.trace.push_back({});
  outcome.indeterminate = "limit";
  outcome.Clear();
  EXPECT_EQ(outcome.verdict, VerdictKind::kAccept);
  EXPECT_EQ(outcome.queue, 0);
  EXPECT_EQ(outcome.priority, 0u);
  EXPECT_EQ(outcome.mark, 0u);
  EXPECT_TRUE(outcome.out.empty());
  EXPECT_TRUE(outcome.bytes.empty());
  EXPECT_TRUE(outcome.emissions.empty());
  EXPECT_TRUE(outcome.logs.empty());
  EXPECT_TRUE(outcome.trace.empty());
  EXPECT_TRUE(outcome.indeterminate.empty());
  EXPECT_EQ(outcome.decided_by, RuleRef());
}

TEST(Outcome, EveryDifferenceIsNamed) {
  const Ruleset ruleset = Filter();
  struct Case {
    void (*change)(Outcome*);
    const char* difference;
  };
  const Case cases[] = {
      {[](Outcome*) {}, ""},
      {[](Outcome* o) { o->verdict = VerdictKind::kDrop; },
       "verdict: accept / drop"},
      {[](Outcome* o) { o->out = "eth0"; }, "out: \"eth1\" / \"eth0\""},
      {[](Outcome* o) { o->mark = 2; }, "mark: 0x1 / 0x2"},
      {[](Outcome* o) { o->priority = 6; }, "priority: 0x0 / 0x6"},
      {[](Outcome* o) { o->bytes[3] = 21; }, "bytes: [3] 14 / 15"},
      {[](Outcome* o) { o->bytes.pop_back(); },
       "bytes: 4 bytes / 3 bytes (45000014 / 450000)"},
      {[](Outcome* o) { o->decided_by.rule = 0; },
       "decided by: filter/FORWARD/3 / filter/FORWARD/policy"},
      {[](Outcome* o) { o->emissions.emplace_back(); }, "emissions: 0 / 1"},
      {[](Outcome* o) { o->logs.push_back({.prefix = "x"}); }, "logs: 0 / 1"},
      {[](Outcome* o) {
         o->mark = 2;
         o->out = "lo";
       },
       "out: \"eth1\" / \"lo\"; mark: 0x1 / 0x2"},
      // Not a difference: which kind of chance it was.
      {[](Outcome* o) { o->indeterminate = "limit"; }, ""},
  };
  for (const Case& c : cases) {
    Outcome other = Accepted();
    c.change(&other);
    EXPECT_EQ(DescribeDifference(ruleset, Accepted(), other), c.difference);
  }
}

TEST(Outcome, WhatMeansNothingIsNotCompared) {
  const Ruleset ruleset = Filter();
  Outcome a = Accepted();
  Outcome b = Accepted();
  a.verdict = b.verdict = VerdictKind::kDrop;
  b.mark = 9;
  b.out = "x";
  b.bytes.clear();
  EXPECT_EQ(DescribeDifference(ruleset, a, b), "");
  a.verdict = b.verdict = VerdictKind::kQueue;
  a.bytes = b.bytes;
  a.mark = b.mark;
  b.queue = 4;
  EXPECT_EQ(DescribeDifference(ruleset, a, b), "queue: 0 / 4");
  Outcome c = Accepted();
  c.bytes[0] = 0;
  c.decided_by.rule = 9;
  c.logs.push_back({});
  EXPECT_EQ(
      DescribeDifference(ruleset, Accepted(), c,
                         {.decided_by = false, .bytes = false, .logs = false}),
      "");
}

TEST(Outcome, FieldsOfACounterOrAHashAreMasked) {
  const Ruleset ruleset = Filter();
  Outcome a, b;
  Emission icmp{.out = "eth0", .bytes = std::vector<uint8_t>(28)};
  icmp.bytes[0] = 0x45;
  a.emissions.push_back(icmp);
  icmp.bytes[4] = 7;   // id
  icmp.bytes[10] = 9;  // its checksum
  b.emissions.push_back(icmp);
  EXPECT_EQ(DescribeDifference(ruleset, a, b), "");
  // With DF the id is zero and means it.
  a.emissions[0].bytes[6] = b.emissions[0].bytes[6] = 0x40;
  EXPECT_NE(DescribeDifference(ruleset, a, b), "");
  Outcome c, d;
  Emission six{.out = "eth0", .bytes = std::vector<uint8_t>(48)};
  six.bytes[0] = 0x60;
  c.emissions.push_back(six);
  six.bytes[2] = 0x55;  // flow label
  d.emissions.push_back(six);
  EXPECT_EQ(DescribeDifference(ruleset, c, d), "");
  d.emissions[0].mark = 1;
  EXPECT_EQ(DescribeDifference(ruleset, c, d), "emission 1 mark: 0x0 / 0x1");
}

TEST(Outcome, OneLineSaysItAll) {
  Outcome outcome = Accepted();
  outcome.logs.push_back({.prefix = "in ", .level = 4});
  outcome.indeterminate = "limit";
  EXPECT_EQ(OutcomeLine(Filter(), outcome),
            "accept filter/FORWARD/3 out=eth1 mark=0x1 LOG 4 \"in \" "
            "(indeterminate: limit)");
  Outcome queued;
  queued.verdict = VerdictKind::kQueue;
  queued.queue = 5;
  EXPECT_EQ(OutcomeLine(Filter(), queued), "queue 5 filter/INPUT/policy");
  Outcome here;
  here.emissions.push_back({.out = "lo", .bytes = {1, 2}});
  EXPECT_EQ(OutcomeLine(Filter(), here),
            "accept filter/INPUT/policy here emits out=lo 0102");
  for (VerdictKind kind :
       {VerdictKind::kAccept, VerdictKind::kDrop, VerdictKind::kQueue,
        VerdictKind::kStolen, VerdictKind::kUnrouted}) {
    EXPECT_STRNE(VerdictKindName(kind), "unknown");
  }
}

}  // namespace
}  // namespace nfarena
