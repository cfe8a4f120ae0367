#include "compat/meaning/match_host.h"

#include <gtest/gtest.h>
#include <linux/netfilter.h>
#include <linux/netfilter/xt_cpu.h>
#include <linux/netfilter/xt_devgroup.h>
#include <linux/netfilter/xt_helper.h>
#include <linux/netfilter/xt_physdev.h>
#include <linux/netfilter/xt_policy.h>
#include <linux/netfilter/xt_realm.h>
#include <linux/netfilter/xt_rpfilter.h>
#include <linux/netfilter/xt_socket.h>

#include <cstring>

#include "compat/meaning/match.h"
#include "compat/meaning/testing/decoded.h"

namespace nfarena::testing {
namespace {

TEST(DecodeHost, All) {
  xt_helper_info helper{};
  std::strcpy(helper.name, "ftp");
  helper.invert = 1;
  EXPECT_EQ(DecodedMatch<HelperMatch>(kV4, Placed("helper", 0, helper)),
            (HelperMatch{"ftp", true}));
  xt_rpfilter_info rpfilter{};
  rpfilter.flags = XT_RPFILTER_VALID_MARK | XT_RPFILTER_INVERT;
  EXPECT_EQ(DecodedMatch<RpfilterMatch>(kV6, Placed("rpfilter", 0, rpfilter)),
            (RpfilterMatch{false, true, false, true}));
  xt_policy_info policy{};
  policy.flags = XT_POLICY_MATCH_OUT | XT_POLICY_MATCH_NONE;
  EXPECT_EQ(DecodedMatch<PolicyMatch>(kV4, Placed("policy", 0, policy)),
            (PolicyMatch{false, true}));
  policy.flags = 0;
  EXPECT_EQ(RefusedMatch(kV4, Placed("policy", 0, policy)).code,
            ErrorCode::kRange);
  xt_physdev_info physdev{};
  physdev.bitmask = XT_PHYSDEV_OP_IN;
  std::strcpy(physdev.physindev, "eth0");
  std::memset(physdev.in_mask, 0xff, 5);
  const auto bridge =
      DecodedMatch<PhysdevMatch>(kV4, Placed("physdev", 0, physdev));
  EXPECT_EQ(bridge.in.ToString(), "eth0");
  EXPECT_EQ(bridge.tests, kPhysdevIn);
  physdev.bitmask = 0;
  EXPECT_EQ(RefusedMatch(kV4, Placed("physdev", 0, physdev)).code,
            ErrorCode::kRange);
  EXPECT_EQ(DecodedMatch<CpuMatch>(kV4, Placed("cpu", 0, xt_cpu_info{1, 1})),
            (CpuMatch{1, true}));
  EXPECT_EQ(
      DecodedMatch<RealmMatch>(kV4, Placed("realm", 0, xt_realm_info{1, 2, 0})),
      (RealmMatch{1, 2, false}));
  EXPECT_EQ(
      DecodedMatch<SocketMatch>(
          kV4, Placed("socket", 3, xt_socket_mtinfo3{XT_SOCKET_NOWILDCARD})),
      (SocketMatch{false, true, false}));
  EXPECT_EQ(RefusedMatch(kV4, Placed("socket", 1, xt_socket_mtinfo1{2})).code,
            ErrorCode::kRange);
  Extension plain;
  plain.name = "socket";
  EXPECT_EQ(DecodedMatch<SocketMatch>(kV4, plain), SocketMatch{});
  EXPECT_EQ(RefusedMatch(kV6, plain).code, ErrorCode::kUnsupported);
  xt_devgroup_info devgroup{};
  devgroup.flags = XT_DEVGROUP_MATCH_DST | XT_DEVGROUP_INVERT_DST;
  devgroup.dst_group = 4;
  devgroup.dst_mask = 0xff;
  EXPECT_EQ(DecodedMatch<DevgroupMatch>(kV4, Placed("devgroup", 0, devgroup))
                .destination,
            (DeviceGroupTest{true, 4, 0xff, true}));
}

}  // namespace
}  // namespace nfarena::testing
