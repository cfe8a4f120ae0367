#include <gtest/gtest.h>

#include <string>

#include "engines/reference/testing/stand.h"

namespace nfarena::reference {
namespace {

using testing::Bench;
using testing::Fields;
using testing::Stand;

constexpr char kSets[] =
    "create a hash:ip counters\n"
    "add a 192.0.2.1 packets 5 bytes 500\n"
    "create b hash:net\n"
    "add b 198.51.100.0/24\n"
    "add b 198.51.100.128/25 nomatch\n"
    "create c hash:ip,port\n"
    "create m hash:net skbinfo\n"
    "add m 192.0.2.0/24 skbmark 0x12/0xff skbprio 1:2\n"
    "create u hash:unheard\n";

/// The rule that judged a packet in FORWARD.
std::string Judge(Bench* bench, const Fields& fields) {
  EXPECT_EQ(bench->error(), "");
  Stand stand(fields, Hook::kForward);
  return bench->Name(bench->Evaluate(&stand).rule);
}

struct Case {
  const char* match;
  const char* src;
  const char* dst;
  bool want;
};

TEST(ConditionSet, AsksTheSet) {
  const Case cases[] = {
      {"--match-set a src", "192.0.2.1", "198.51.100.1", true},
      {"--match-set a src", "192.0.2.2", "198.51.100.1", false},
      {"--match-set a dst", "192.0.2.1", "198.51.100.1", false},
      {"! --match-set a dst", "192.0.2.1", "198.51.100.1", true},
      {"--match-set b dst", "192.0.2.1", "198.51.100.1", true},
      {"--match-set b dst", "192.0.2.1", "198.51.100.129", false},
      {"--match-set b dst --return-nomatch", "192.0.2.1", "198.51.100.129",
       true},
      {"--match-set b dst --return-nomatch", "192.0.2.1", "198.51.100.1",
       false},
      {"--match-set a src --packets-eq 6", "192.0.2.1", "198.51.100.1", true},
      {"--match-set a src ! --packets-eq 6", "192.0.2.1", "198.51.100.1",
       false},
      {"--match-set a src --packets-lt 6", "192.0.2.1", "198.51.100.1", false},
      {"--match-set a src --packets-gt 5", "192.0.2.1", "198.51.100.1", true},
      {"--match-set a src --packets-eq 5 ! --update-counters", "192.0.2.1",
       "198.51.100.1", true},
      {"--match-set a src --bytes-eq 500 ! --update-counters", "192.0.2.1",
       "198.51.100.1", true},
      {"--match-set a src --bytes-lt 500", "192.0.2.1", "198.51.100.1", false},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.match);
    const std::string rule =
        std::string("-A FORWARD -m set ") + c.match + " -j DROP";
    Bench bench(Family::kIpv4, TableKind::kFilter, rule, kSets);
    EXPECT_EQ(Judge(&bench, {.src = c.src, .dst = c.dst}),
              c.want ? "filter/FORWARD/1" : "filter/FORWARD/policy");
  }
}

TEST(ConditionSet, SetsThatCannotBeAsked) {
  Bench bench(Family::kIpv4, TableKind::kFilter,
              "-A FORWARD -m set --match-set u src -j DROP", kSets);
  EXPECT_EQ(bench.error(),
            "2:12: error: ipset 'u': type 'hash:unheard' is not modelled (line "
            "9, column 10) [set]");
}

TEST(ActionSet, AddsAndDeletes) {
  Bench bench(Family::kIpv4, TableKind::kFilter,
              "-A FORWARD -m set --match-set c src,dst -j DROP\n"
              "-A FORWARD -p tcp -j SET --add-set c src,dst",
              kSets);
  EXPECT_EQ(Judge(&bench, {.dport = 80}), "filter/FORWARD/policy");
  EXPECT_EQ(Judge(&bench, {.dport = 81}), "filter/FORWARD/policy");
  EXPECT_EQ(Judge(&bench, {.dport = 80}), "filter/FORWARD/1");
  EXPECT_EQ(bench.sets().at(2).elements_count, 2u);
  Bench other(Family::kIpv4, TableKind::kFilter,
              "-A FORWARD -j SET --del-set a src", kSets);
  Judge(&other, {.src = "192.0.2.9"});
  EXPECT_EQ(other.sets().at(0).elements_count, 1u);
  Judge(&other, {.src = "192.0.2.1"});
  EXPECT_EQ(other.sets().at(0).elements_count, 0u);
}

TEST(ActionSet, Maps) {
  Bench bench(Family::kIpv4, TableKind::kMangle,
              "-A FORWARD -j SET --map-set m src --map-mark --map-prio", kSets);
  ASSERT_EQ(bench.error(), "");
  Stand stand({.mark = 0xabff}, Hook::kForward);
  bench.Evaluate(&stand);
  EXPECT_EQ(stand.state.mark, 0xab12u);
  EXPECT_EQ(stand.state.priority, 0x10002u);
  Stand stranger({.src = "10.0.0.1", .mark = 0xabff}, Hook::kForward);
  bench.Evaluate(&stranger);
  EXPECT_EQ(stranger.state.mark, 0xabffu);
  EXPECT_EQ(stranger.state.priority, 0u);
}

TEST(ActionSet, MapsWhereTheKernelDoes) {
  Bench filter(Family::kIpv4, TableKind::kFilter,
               "-A FORWARD -j SET --map-set m src --map-mark", kSets);
  EXPECT_EQ(filter.error_number(), EINVAL);
  Bench early(Family::kIpv4, TableKind::kMangle,
              "-A PREROUTING -j SET --map-set m src --map-prio", kSets);
  EXPECT_EQ(early.error_number(), EINVAL);
}

}  // namespace
}  // namespace nfarena::reference
