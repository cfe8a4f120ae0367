// cpu, devgroup, policy, socket: what the arena's machine answers alike to
// every packet.  It has one CPU, all devices are in group 0, nothing passes
// IPsec, and no socket takes packets that come in.
// Source: net/netfilter/xt_cpu.c, xt_devgroup.c, xt_policy.c, xt_socket.c.
#include <cerrno>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/matches.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

Status CheckSocketFlags(uint8_t flags, uint8_t known) {
  if (flags & ~known) return Refuse(EINVAL, "unknown flags");
  return {};
}

bool GroupHolds(uint32_t group, uint32_t mask, bool invert) {
  return ((group & mask) == 0) != invert;
}

}  // namespace

bool MatchCpu(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<xt_cpu_info>(payload);
  // A kernel engine's packets run on any CPU.
  context.packet->MarkIndeterminate("cpu");
  return (info.cpu == 0) != static_cast<bool>(info.invert);
}

Status CheckCpu(std::span<const uint8_t> payload, const XtUse&) {
  if (LOAD_FIELD(payload.data(), xt_cpu_info, invert) & ~1u) {
    return Refuse(EINVAL, "unknown flags");
  }
  return {};
}

bool MatchDevgroup(const uint8_t* payload, const XtContext&) {
  const auto info = LoadAt<xt_devgroup_info>(payload);
  return (!(info.flags & XT_DEVGROUP_MATCH_SRC) ||
          GroupHolds(info.src_group, info.src_mask,
                     info.flags & XT_DEVGROUP_INVERT_SRC)) &&
         (!(info.flags & XT_DEVGROUP_MATCH_DST) ||
          GroupHolds(info.dst_group, info.dst_mask,
                     info.flags & XT_DEVGROUP_INVERT_DST));
}

Status CheckDevgroup(std::span<const uint8_t> payload, const XtUse& use) {
  const auto info = LoadAt<xt_devgroup_info>(payload.data());
  constexpr uint32_t kFlags = XT_DEVGROUP_MATCH_SRC | XT_DEVGROUP_INVERT_SRC |
                              XT_DEVGROUP_MATCH_DST | XT_DEVGROUP_INVERT_DST;
  constexpr uint8_t kHasIn =
      1 << NF_INET_PRE_ROUTING | 1 << NF_INET_LOCAL_IN | 1 << NF_INET_FORWARD;
  constexpr uint8_t kHasOut =
      1 << NF_INET_FORWARD | 1 << NF_INET_LOCAL_OUT | 1 << NF_INET_POST_ROUTING;
  if (info.flags & ~kFlags) return Refuse(EINVAL, "unknown flags");
  if (((info.flags & XT_DEVGROUP_MATCH_SRC) && (use.hook_mask & ~kHasIn)) ||
      ((info.flags & XT_DEVGROUP_MATCH_DST) && (use.hook_mask & ~kHasOut))) {
    return Refuse(EINVAL, "the hook has no such device");
  }
  return {};
}

bool MatchPolicy(const uint8_t* payload, const XtContext&) {
  return LOAD_FIELD(payload, xt_policy_info, flags) & XT_POLICY_MATCH_NONE;
}

Status CheckPolicy(std::span<const uint8_t> payload, const XtUse& use) {
  const auto info = LoadAt<xt_policy_info>(payload.data());
  if (!(info.flags & (XT_POLICY_MATCH_IN | XT_POLICY_MATCH_OUT))) {
    return Refuse(EINVAL, "neither incoming nor outgoing policy");
  }
  constexpr uint8_t kArrives = 1 << NF_INET_PRE_ROUTING | 1 << NF_INET_LOCAL_IN;
  constexpr uint8_t kLeaves =
      1 << NF_INET_POST_ROUTING | 1 << NF_INET_LOCAL_OUT;
  if (((info.flags & XT_POLICY_MATCH_OUT) && (use.hook_mask & kArrives)) ||
      ((info.flags & XT_POLICY_MATCH_IN) && (use.hook_mask & kLeaves))) {
    return Refuse(EINVAL, "the policy is not known at this hook");
  }
  if (info.len > XT_POLICY_MAX_ELEM) {
    return Refuse(EINVAL, "too many policy elements");
  }
  return {};
}

bool MatchSocket(const uint8_t*, const XtContext&) { return false; }

Status CheckSocket1(std::span<const uint8_t> payload, const XtUse&) {
  return CheckSocketFlags(payload[0], XT_SOCKET_FLAGS_V1);
}

Status CheckSocket2(std::span<const uint8_t> payload, const XtUse&) {
  return CheckSocketFlags(payload[0], XT_SOCKET_FLAGS_V2);
}

Status CheckSocket3(std::span<const uint8_t> payload, const XtUse&) {
  return CheckSocketFlags(payload[0], XT_SOCKET_FLAGS_V3);
}

}  // namespace nfarena::xt
