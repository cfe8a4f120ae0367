// The parser asks a kernel for the numbers of sets, so the payloads are made by
// hand here.  What sets hold is tested with them (engines/core/ipset_test.cc).
#include <gtest/gtest.h>

#include <cstring>
#include <string_view>

#include "engines/core/ipset_text.h"
#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

using testing::Ipv4;
using testing::Standing;

NetState Net(std::string_view text) {
  auto sets = ReadIpSets(text);
  EXPECT_TRUE(sets.has_value()) << sets.error().ToString();
  return NetState{.sets = std::move(*sets), .named = {}};
}

/// Set 0 holds 192.0.2.2, set 1 198.51.100.0/24 without .128/25, set 2 nothing
/// that is known here.
NetState TestNet() {
  return Net(
      "create a hash:ip counters\nadd a 192.0.2.2\n"
      "create b hash:net\nadd b 198.51.100.0/24\n"
      "add b 198.51.100.128/25 nomatch\n"
      "create c hash:unheard\n");
}

template <typename Info>
std::vector<uint8_t> BytesOf(const Info& info) {
  std::vector<uint8_t> bytes((sizeof(Info) + 7) / 8 * 8);
  std::memcpy(bytes.data(), &info, sizeof(Info));
  return bytes;
}

template <typename Info>
bool Matches(uint8_t revision, const Info& info, NetState* net,
             const Packet& packet) {
  const XtMatch* match = FindXtMatch(Family::kIpv4, "set", revision);
  EXPECT_NE(match, nullptr);
  Standing standing(packet, Hook::kForward);
  return match->match(BytesOf(info).data(), {.packet = &standing.state,
                                             .table = TableKind::kFilter,
                                             .state = nullptr,
                                             .net = net});
}

template <typename Info>
Status Check(uint8_t revision, const Info& info, NetState* net) {
  XtUse use;
  use.net = net;
  return FindXtMatch(Family::kIpv4, "set", revision)->check(BytesOf(info), use);
}

const Packet kMember = Ipv4().From("192.0.2.2").To("198.51.100.1").Build();
const Packet kOther = Ipv4().From("192.0.2.3").To("198.51.100.200").Build();

TEST(MatchSet, EveryRevisionAsksTheSource) {
  NetState net = TestNet();
  const xt_set_info src = {.index = 0, .dim = 1, .flags = IPSET_DIM_ONE_SRC};
  const xt_set_info dst = {.index = 0, .dim = 1, .flags = 0};
  const xt_set_info not_src = {
      .index = 0, .dim = 1, .flags = IPSET_DIM_ONE_SRC | IPSET_INV_MATCH};
  for (const uint8_t revision : {uint8_t{1}, uint8_t{2}}) {
    EXPECT_TRUE(Matches(revision, xt_set_info_match_v1{src}, &net, kMember));
    EXPECT_FALSE(Matches(revision, xt_set_info_match_v1{src}, &net, kOther));
    EXPECT_FALSE(Matches(revision, xt_set_info_match_v1{dst}, &net, kMember));
    EXPECT_FALSE(
        Matches(revision, xt_set_info_match_v1{not_src}, &net, kMember));
    EXPECT_TRUE(Matches(revision, xt_set_info_match_v1{not_src}, &net, kOther));
  }
  xt_set_info_match_v0 old{};
  old.match_set.index = 0;
  old.match_set.u.flags[0] = IPSET_SRC;
  EXPECT_TRUE(Matches(0, old, &net, kMember));
  EXPECT_FALSE(Matches(0, old, &net, kOther));
  old.match_set.u.flags[0] = IPSET_SRC | IPSET_MATCH_INV;
  EXPECT_FALSE(Matches(0, old, &net, kMember));
  old.match_set.u.flags[0] = IPSET_DST;
  old.match_set.index = 1;
  EXPECT_TRUE(Matches(0, old, &net, kMember));
  xt_set_info_match_v3 third{};
  third.match_set = src;
  EXPECT_TRUE(Matches(3, third, &net, kMember));
  EXPECT_FALSE(Matches(3, third, &net, kOther));
  xt_set_info_match_v4 fourth{};
  fourth.match_set = not_src;
  EXPECT_FALSE(Matches(4, fourth, &net, kMember));
  EXPECT_TRUE(Matches(4, fourth, &net, kOther));
}

TEST(MatchSet, CountersAndFlagsReachTheSet) {
  NetState net = TestNet();
  xt_set_info_match_v4 info{};
  info.match_set = {.index = 0, .dim = 1, .flags = IPSET_DIM_ONE_SRC};
  info.packets.op = IPSET_COUNTER_GT;
  info.packets.value = 2;
  EXPECT_FALSE(Matches(4, info, &net, kMember));
  EXPECT_FALSE(Matches(4, info, &net, kMember));
  EXPECT_TRUE(Matches(4, info, &net, kMember));
  info.flags = IPSET_FLAG_SKIP_COUNTER_UPDATE;
  info.packets.op = IPSET_COUNTER_EQ;
  info.packets.value = 3;
  EXPECT_TRUE(Matches(4, info, &net, kMember));
  EXPECT_TRUE(Matches(4, info, &net, kMember));
  info.packets.op = 9;  // compares as nothing
  EXPECT_FALSE(Matches(4, info, &net, kMember));

  xt_set_info_match_v4 exceptions{};
  exceptions.match_set = {.index = 1, .dim = 1, .flags = 0};
  exceptions.flags = IPSET_FLAG_RETURN_NOMATCH;
  EXPECT_FALSE(Matches(4, exceptions, &net, kMember));
  EXPECT_TRUE(Matches(4, exceptions, &net, kOther));
  const xt_set_info_match_v1 first = {
      {.index = 1, .dim = 1, .flags = IPSET_RETURN_NOMATCH}};
  EXPECT_TRUE(Matches(1, first, &net, kOther));
}

TEST(MatchSet, UnknownSetsAreRefused) {
  NetState net = TestNet();
  const auto check = [](uint16_t index, uint8_t dim, NetState* n) {
    const xt_set_info info = {.index = index, .dim = dim, .flags = 0};
    const Status status = Check(1, xt_set_info_match_v1{info}, n);
    return status ? 0 : status.error().errno_value;
  };
  EXPECT_EQ(check(0, 1, &net), 0);
  EXPECT_EQ(check(0, 6, &net), 0);
  EXPECT_EQ(check(0, 7, &net), ERANGE);
  EXPECT_EQ(check(9, 1, &net), ENOENT);
  EXPECT_EQ(check(0, 1, nullptr), ENOENT);
  const Status unheard = Check(
      4,
      xt_set_info_match_v4{.match_set = {.index = 2, .dim = 1, .flags = 0},
                           .packets = {},
                           .bytes = {},
                           .flags = 0},
      &net);
  ASSERT_FALSE(unheard.has_value());
  EXPECT_EQ(unheard.error().message,
            "set: ipset 'c': type 'hash:unheard' is not modelled (line 6, "
            "column 10)");
  xt_set_info_match_v0 old{};
  old.match_set.index = 9;
  EXPECT_EQ(Check(0, old, &net).error().errno_value, ENOENT);
  old.match_set.index = 0;
  EXPECT_TRUE(Check(0, old, &net).has_value());
  old.match_set.u.flags[IPSET_DIM_MAX - 1] = IPSET_SRC;
  EXPECT_EQ(Check(0, old, &net).error().errno_value, ERANGE);
}

class TargetSetTest : public ::testing::Test {
 protected:
  template <typename Info>
  PacketState Run(uint8_t revision, const Info& info, const Packet& packet) {
    Standing standing(packet, Hook::kForward);
    FindXtTarget(Family::kIpv4, "SET", revision)
        ->target(BytesOf(info).data(), {.packet = &standing.state,
                                        .table = TableKind::kMangle,
                                        .state = nullptr,
                                        .net = &net_});
    return standing.state;
  }
  size_t Size() const { return net_.sets.at(0).elements_count; }

  static constexpr xt_set_info kNone = {
      .index = IPSET_INVALID_ID, .dim = 0, .flags = 0};
  static constexpr xt_set_info kSource = {
      .index = 0, .dim = 1, .flags = IPSET_DIM_ONE_SRC};
  NetState net_ =
      Net("create a hash:ip timeout 100\n"
          "create m hash:net skbinfo\nadd m 192.0.2.0/24 skbmark 0x12/0xff "
          "skbprio 1:2\n");
};

TEST_F(TargetSetTest, AddsAndDeletes) {
  Run(1, xt_set_info_target_v1{kSource, kNone}, kMember);
  EXPECT_EQ(Size(), 1u);
  Run(1, xt_set_info_target_v1{kNone, kSource}, kOther);
  EXPECT_EQ(Size(), 1u);
  Run(1, xt_set_info_target_v1{kNone, kSource}, kMember);
  EXPECT_EQ(Size(), 0u);
  xt_set_info_target_v0 old{};
  old.add_set.u.flags[0] = IPSET_SRC;
  old.del_set.index = IPSET_INVALID_ID;
  Run(0, old, kMember);
  EXPECT_EQ(Size(), 1u);
}

TEST_F(TargetSetTest, TimeoutsAndRenewal) {
  const auto expiry = [this] {
    return net_.sets.at(0).elements.begin()->second.at(0).expires_ms;
  };
  xt_set_info_target_v2 info{kSource, kNone, 0, UINT32_MAX};
  Run(2, info, kMember);
  EXPECT_EQ(expiry(), 100000u);
  info.timeout = 7;
  Run(2, info, kMember);
  EXPECT_EQ(expiry(), 100000u);
  info.flags = IPSET_FLAG_EXIST;
  Run(2, info, kMember);
  EXPECT_EQ(expiry(), 7000u);
}

TEST_F(TargetSetTest, MapsWhatTheSetSays) {
  xt_set_info_target_v3 info{kNone, kNone, kSource, IPSET_FLAG_MAP_SKBMARK,
                             UINT32_MAX};
  info.map_set.index = 1;
  Packet marked = kMember;
  marked.mark = 0xabff;
  EXPECT_EQ(Run(3, info, marked).mark, 0xab12u);
  EXPECT_EQ(Run(3, info, marked).priority, 0u);
  info.flags = IPSET_FLAG_MAP_SKBPRIO;
  EXPECT_EQ(Run(3, info, marked).mark, 0xabffu);
  EXPECT_EQ(Run(3, info, marked).priority, 0x10002u);
  const Packet stranger = Ipv4().From("10.0.0.1").To("198.51.100.1").Build();
  EXPECT_EQ(Run(3, info, stranger).priority, 0u);
}

TEST_F(TargetSetTest, Checks) {
  const auto check = [this](const xt_set_info_target_v3& info, TableKind table,
                            uint8_t hooks) {
    XtUse use;
    use.net = &net_;
    use.table = table;
    use.hook_mask = hooks;
    const Status status =
        FindXtTarget(Family::kIpv4, "SET", 3)->check(BytesOf(info), use);
    return status ? 0 : status.error().errno_value;
  };
  constexpr uint8_t kForward = 1 << NF_INET_FORWARD,
                    kIn = 1 << NF_INET_LOCAL_IN;
  xt_set_info_target_v3 info{kSource, kNone, kNone, 0, UINT32_MAX};
  EXPECT_EQ(check(info, TableKind::kFilter, kIn), 0);
  info.add_set.index = 5;
  EXPECT_EQ(check(info, TableKind::kFilter, kIn), ENOENT);
  info.add_set = kSource;
  info.add_set.dim = 7;
  EXPECT_EQ(check(info, TableKind::kFilter, kIn), ERANGE);
  info = {kNone, kNone, kSource, IPSET_FLAG_MAP_SKBMARK, UINT32_MAX};
  EXPECT_EQ(check(info, TableKind::kFilter, kForward), EINVAL);
  EXPECT_EQ(check(info, TableKind::kMangle, kIn), 0);
  info.flags = IPSET_FLAG_MAP_SKBPRIO;
  EXPECT_EQ(check(info, TableKind::kMangle, kIn), EINVAL);
  EXPECT_EQ(check(info, TableKind::kMangle, kForward), 0);
}

}  // namespace
}  // namespace nfarena::xt
