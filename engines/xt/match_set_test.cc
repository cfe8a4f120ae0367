// ipsets exist in a kernel only, and the parser asks it for their indexes; so
// the payloads are made by hand here.
#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

using testing::Ipv4;
using testing::Standing;

/// Set 7 holds source addresses that end in an even byte, set 8 nothing.
class EvenSources : public XtSetSource {
 public:
  bool Exists(uint16_t index) const override {
    return index == 7 || index == 8;
  }
  bool Test(const XtSetQuery& query, const PacketState& packet) const override {
    last = query;
    const size_t at = query.part_is_source(1) ? 15 : 19;
    return query.index == 7 && packet.bytes[at] % 2 == 0;
  }

  mutable XtSetQuery last;
};

template <typename Info>
class SetRule {
 public:
  SetRule(uint8_t revision, const Info& info) : info_(info) {
    match_ = FindXtMatch(Family::kIpv4, "set", revision);
    EXPECT_NE(match_, nullptr);
    bytes_.resize((sizeof(Info) + 7) / 8 * 8);
    std::memcpy(bytes_.data(), &info_, sizeof(Info));
  }
  int Check(const XtSetSource* sets) const {
    XtUse use;
    use.sets = sets;
    const Status status = match_->check(bytes_, use);
    return status ? 0 : status.error().errno_value;
  }
  bool Matches(const XtSetSource* sets, const Packet& packet) const {
    Standing standing(packet, Hook::kForward);
    return match_->match(bytes_.data(), {.packet = &standing.state,
                                         .table = TableKind::kFilter,
                                         .state = nullptr,
                                         .sets = sets});
  }

 private:
  Info info_;
  const XtMatch* match_;
  std::vector<uint8_t> bytes_;
};

const Packet kEven = Ipv4().From("192.0.2.2").To("198.51.100.1").Build();
const Packet kOdd = Ipv4().From("192.0.2.3").To("198.51.100.2").Build();

TEST(MatchSet, EveryRevisionAsksTheSource) {
  const EvenSources sets;
  const xt_set_info src = {.index = 7, .dim = 1, .flags = IPSET_DIM_ONE_SRC};
  const xt_set_info dst = {.index = 7, .dim = 1, .flags = 0};
  const xt_set_info not_src = {
      .index = 7, .dim = 1, .flags = IPSET_DIM_ONE_SRC | IPSET_INV_MATCH};
  for (const uint8_t revision : {uint8_t{1}, uint8_t{2}}) {
    EXPECT_TRUE(
        SetRule(revision, xt_set_info_match_v1{src}).Matches(&sets, kEven));
    EXPECT_FALSE(
        SetRule(revision, xt_set_info_match_v1{src}).Matches(&sets, kOdd));
    EXPECT_TRUE(
        SetRule(revision, xt_set_info_match_v1{dst}).Matches(&sets, kOdd));
    EXPECT_FALSE(
        SetRule(revision, xt_set_info_match_v1{not_src}).Matches(&sets, kEven));
    EXPECT_TRUE(
        SetRule(revision, xt_set_info_match_v1{not_src}).Matches(&sets, kOdd));
  }
  xt_set_info_match_v0 old{};
  old.match_set.index = 7;
  old.match_set.u.flags[0] = IPSET_SRC;
  EXPECT_TRUE(SetRule(0, old).Matches(&sets, kEven));
  old.match_set.u.flags[0] = IPSET_SRC | IPSET_MATCH_INV;
  EXPECT_FALSE(SetRule(0, old).Matches(&sets, kEven));
  xt_set_info_match_v3 third{};
  third.match_set = src;
  EXPECT_TRUE(SetRule(3, third).Matches(&sets, kEven));
  EXPECT_FALSE(SetRule(3, third).Matches(&sets, kOdd));
  xt_set_info_match_v4 fourth{};
  fourth.match_set = not_src;
  EXPECT_FALSE(SetRule(4, fourth).Matches(&sets, kEven));
  EXPECT_TRUE(SetRule(4, fourth).Matches(&sets, kOdd));
}

TEST(MatchSet, CountersAndFlagsReachTheSource) {
  const EvenSources sets;
  xt_set_info_match_v4 info{};
  info.match_set = {.index = 7, .dim = 2, .flags = IPSET_DIM_TWO_SRC};
  info.packets.op = IPSET_COUNTER_GT;
  info.packets.value = 10;
  info.flags = IPSET_FLAG_SKIP_COUNTER_UPDATE;
  SetRule(4, info).Matches(&sets, kEven);
  EXPECT_EQ(sets.last.index, 7);
  EXPECT_EQ(sets.last.dimensions, 2);
  EXPECT_FALSE(sets.last.part_is_source(1));
  EXPECT_TRUE(sets.last.part_is_source(2));
  EXPECT_EQ(sets.last.command_flags, uint32_t{IPSET_FLAG_SKIP_COUNTER_UPDATE} |
                                         uint32_t{IPSET_FLAG_MATCH_COUNTERS});
  EXPECT_EQ(sets.last.packets_op, IPSET_COUNTER_GT);
  EXPECT_EQ(sets.last.packets, 10u);
}

TEST(MatchSet, UnknownSetsAreRefused) {
  const EvenSources sets;
  const auto check = [](uint16_t index, uint8_t dim, const XtSetSource* s) {
    const xt_set_info info = {.index = index, .dim = dim, .flags = 0};
    return SetRule(1, xt_set_info_match_v1{info}).Check(s);
  };
  EXPECT_EQ(check(7, 1, &sets), 0);
  EXPECT_EQ(check(7, 6, &sets), 0);
  EXPECT_EQ(check(7, 7, &sets), ERANGE);
  EXPECT_EQ(check(9, 1, &sets), ENOENT);
  EXPECT_EQ(check(7, 1, nullptr), ENOENT);
  xt_set_info_match_v0 old{};
  old.match_set.index = 9;
  EXPECT_EQ(SetRule(0, old).Check(&sets), ENOENT);
  old.match_set.index = 8;
  EXPECT_EQ(SetRule(0, old).Check(&sets), 0);
  old.match_set.u.flags[IPSET_DIM_MAX - 1] = IPSET_SRC;
  EXPECT_EQ(SetRule(0, old).Check(&sets), ERANGE);
}

}  // namespace
}  // namespace nfarena::xt
