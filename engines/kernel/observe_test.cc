// Stories as the kernel tells them, without a kernel.
#include "engines/kernel/observe.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "engines/kernel/testing/summary.h"

namespace nfarena::kernel {
namespace {

/// INPUT: LOG, REJECT, ACCEPT; OUTPUT: REJECT; one user chain "one".
Ruleset SomeRuleset() {
  Ruleset ruleset;
  Table& table = ruleset.EnsureTable(TableKind::kFilter);
  const auto extension = [](std::string name, size_t bytes) {
    Rule rule;
    rule.target.kind = TargetKind::kExtension;
    rule.target.extension.name = std::move(name);
    rule.target.extension.payload.resize(bytes);
    return rule;
  };
  Rule log = extension("LOG", 32);
  log.target.extension.payload[0] = 4;
  log.target.extension.payload[2] = 'L';
  Rule accept;
  accept.target.kind = TargetKind::kAccept;
  table.chain("INPUT")->rules = {log, extension("REJECT", 8), accept};
  table.chain("OUTPUT")->rules = {extension("REJECT", 8)};
  auto chain = table.AddChain("one");
  if (chain) (*chain)->rules = {accept};
  return ruleset;
}

constexpr uint8_t kPacket[] = {0x45, 0, 0,  20, 0, 0, 0,   0,  64,  17,
                               0,    0, 10, 0,  0, 1, 198, 51, 100, 1};
constexpr uint8_t kAnswer[] = {0x45, 0, 0,   20, 0,   0, 0,  0, 63, 1,
                               0,    0, 198, 51, 100, 1, 10, 0, 0,  1};

Event Mark(std::string_view chain) {
  Event event;
  event.kind = EventKind::kNftTrace;
  event.table = kProbeTable;
  event.chain = chain;
  event.step = TraceStep::kPolicy;
  return event;
}

Event Final(Hook hook, std::span<const uint8_t> bytes, uint32_t mark = 0) {
  Event event;
  event.kind = EventKind::kFinal;
  event.hook = hook;
  event.bytes = bytes;
  event.mark = mark;
  event.out_index = hook == Hook::kPostrouting ? 1 : 0;
  return event;
}

Event Priority(uint32_t value) {
  Event event;
  event.kind = EventKind::kPriority;
  event.mark = value;
  return event;
}

Event Legacy(std::string_view chain, uint32_t rulenum, Hook hook) {
  Event event;
  event.kind = EventKind::kLegacyTrace;
  event.table = "filter";
  event.chain = chain;
  event.rulenum = rulenum;
  event.hook = hook;
  return event;
}

Event Nft(std::string_view chain, uint64_t handle, bool drops,
          TraceStep step = TraceStep::kRule) {
  Event event;
  event.kind = EventKind::kNftTrace;
  event.table = "filter";
  event.chain = chain;
  event.handle = handle;
  event.drops = drops;
  event.step = step;
  return event;
}

Event Nflog(Hook hook, std::string_view prefix) {
  Event event;
  event.kind = EventKind::kNflog;
  event.hook = hook;
  event.prefix = prefix;
  event.group = 5;
  return event;
}

struct Story {
  std::string_view name;
  bool arrives;
  std::vector<Event> events;
  std::string_view expected;
  bool known = true;
};

std::vector<Story> Stories() {
  const Hook in = Hook::kInput;
  const Hook out = Hook::kOutput;
  const Hook post = Hook::kPostrouting;
  return {
      {"accepted",
       true,
       {Mark("pre_begin"), Mark("pre_begin"), Mark("pre_end"), Mark("in_begin"),
        Legacy("INPUT", 1, in), Legacy("INPUT", 3, in), Final(in, kPacket, 7),
        Priority(6), Mark("in_end")},
       "accept filter/INPUT/3 here 10.0.0.1>198.51.100.1 proto=17 ttl=64 "
       "mark=0x7 priority=0x6 log[L]"},
      {"rejected_legacy",
       true,
       {Mark("pre_begin"), Mark("pre_end"), Mark("in_begin"),
        Legacy("INPUT", 2, in), Nflog(out, "answer"), Final(post, kAnswer),
        Priority(0)},
       "drop filter/INPUT/2 answer[lo 198.51.100.1>10.0.0.1 proto=1 ttl=63]"},
      {"rejected_nft",
       true,
       {Mark("pre_begin"), Mark("pre_end"), Mark("in_begin"),
        Final(post, kAnswer), Priority(0), Nft("INPUT", 12, true)},
       "drop filter/INPUT/2 answer[lo 198.51.100.1>10.0.0.1 proto=1 ttl=63]"},
      {"answer_traced_by_the_ruleset",
       true,
       {Mark("pre_begin"), Mark("pre_end"), Legacy("OUTPUT", 1, out),
        Mark("out_end"), Mark("post_begin"), Final(post, kAnswer), Priority(0),
        Mark("post_end")},
       "unrouted filter/INPUT/policy answer[lo 198.51.100.1>10.0.0.1 proto=1 "
       "ttl=63]"},
      {"dropped_by_policy_nft",
       true,
       {Mark("pre_begin"), Mark("pre_end"), Mark("in_begin"),
        Nft("INPUT", 0, true, TraceStep::kPolicy)},
       "drop filter/INPUT/policy"},
      {"hotdrop_legacy_is_not_known",
       true,
       {Mark("pre_begin"), Mark("pre_end"), Mark("in_begin"),
        Legacy("INPUT", 1, in)},
       "drop filter/INPUT/1 log[L]",
       false},
      {"hotdrop_nft_is_known_and_logs_nothing",
       true,
       {Mark("pre_begin"), Mark("pre_end"), Mark("in_begin"),
        Nft("INPUT", 11, true)},
       "drop filter/INPUT/1"},
      {"over_loopback",
       false,
       {Mark("out_begin"), Mark("out_end"), Mark("post_begin"),
        Mark("post_end"), Mark("pre_begin"), Mark("pre_end"), Mark("in_begin"),
        Legacy("INPUT", 3, in), Final(in, kPacket), Priority(0),
        Mark("in_end")},
       "accept filter/INPUT/3 here 10.0.0.1>198.51.100.1 proto=17 ttl=64"},
      {"never_arrived", true, {}, "unrouted filter/INPUT/policy"},
      {"unknown_names_are_passed_over",
       true,
       {Mark("pre_begin"), Legacy("nosuch", 1, Hook::kPrerouting),
        Nft("INPUT", 99, true), Mark("pre_end")},
       "unrouted filter/INPUT/policy"},
  };
}

TEST(ObserverTest, TellsTheOutcome) {
  const Ruleset ruleset = SomeRuleset();
  RuleIndex index(&ruleset);
  index.AddHandle({TableKind::kFilter, 0, 1}, 11);
  index.AddHandle({TableKind::kFilter, 0, 2}, 12);
  index.AddHandle({TableKind::kFilter, 0, 3}, 13);
  const Network network;
  for (const Story& story : Stories()) {
    Outcome outcome;
    Observer observer(&index, &network,
                      {.arrives = story.arrives, .trace = true}, &outcome);
    for (const Event& event : story.events) observer.Take(event);
    EXPECT_FALSE(observer.ExpectsMore()) << story.name;
    observer.Finish();
    EXPECT_EQ(testing::Summary(ruleset, outcome), story.expected) << story.name;
    EXPECT_EQ(outcome.decided_by_known, story.known) << story.name;
  }
}

TEST(ObserverTest, WaitsForThePacketOnLoopback) {
  const Ruleset ruleset = SomeRuleset();
  const RuleIndex index(&ruleset);
  const Network network;
  Outcome outcome;
  Observer observer(&index, &network, {}, &outcome);
  for (const char* chain : {"out_begin", "out_end", "post_begin"}) {
    observer.Take(Mark(chain));
    EXPECT_FALSE(observer.ExpectsMore());
  }
  observer.Take(Mark("post_end"));
  EXPECT_TRUE(observer.ExpectsMore());
  observer.Take(Mark("pre_begin"));
  EXPECT_FALSE(observer.ExpectsMore());
}

TEST(RuleIndexTest, CountsPastTheLastRuleAsTheEnd) {
  const Ruleset ruleset = SomeRuleset();
  const RuleIndex index(&ruleset);
  const auto name = [&](std::string_view chain, uint32_t number) {
    const auto ref = index.Find(Legacy(chain, number, Hook::kInput));
    return ref ? RuleRefName(ruleset, *ref) : "none";
  };
  EXPECT_EQ(name("INPUT", 3), "filter/INPUT/3");
  EXPECT_EQ(name("INPUT", 4), "filter/INPUT/policy");
  EXPECT_EQ(name("one", 1), "filter/one/1");
  EXPECT_EQ(name("one", 2), "filter/one/end");
  EXPECT_EQ(name("two", 1), "none");
}

}  // namespace
}  // namespace nfarena::kernel
