// SET (revisions 0 to 3): puts the packet's element into an ipset, takes it
// out, or gives the packet what the set maps it to.
// Source: net/netfilter/xt_set.c.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/sets.h"
#include "engines/xt/targets.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

constexpr uint32_t kNoTimeout = UINT32_MAX;                 // IPSET_NO_TIMEOUT
constexpr uint32_t kMaxTimeout = (UINT32_MAX >> 1) / 1000;  // in seconds

template <typename Info>
bool Named(const Info& set) {
  return set.index != IPSET_INVALID_ID;
}

template <typename Info>
void AddAndDelete(const Info& info, bool renew, uint32_t timeout,
                  const XtContext& context) {
  const std::lock_guard lock(context.net->mutex);
  if (Named(info.add_set)) {
    IpSetQuery query = SetQueryOf(info.add_set);
    query.renew = renew;
    if (timeout != kNoTimeout) query.timeout_s = std::min(timeout, kMaxTimeout);
    context.net->sets.Add(query, context.packet);
  }
  if (Named(info.del_set)) {
    context.net->sets.Delete(SetQueryOf(info.del_set), context.packet);
  }
}

template <typename Info>
Status CheckNamed(const Info& set, const XtUse& use) {
  if (!Named(set)) return {};
  return CheckSetExists(static_cast<uint16_t>(set.index), use);
}

}  // namespace

XtTargetResult TargetSet0(const uint8_t* payload, const XtContext& context) {
  AddAndDelete(LoadAt<xt_set_info_target_v0>(payload), false, kNoTimeout,
               context);
  return {};
}

XtTargetResult TargetSet1(const uint8_t* payload, const XtContext& context) {
  AddAndDelete(LoadAt<xt_set_info_target_v1>(payload), false, kNoTimeout,
               context);
  return {};
}

XtTargetResult TargetSet2(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<xt_set_info_target_v2>(payload);
  AddAndDelete(info, info.flags & IPSET_FLAG_EXIST, info.timeout, context);
  return {};
}

XtTargetResult TargetSet3(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<xt_set_info_target_v3>(payload);
  AddAndDelete(info, info.flags & IPSET_FLAG_EXIST, info.timeout, context);
  if (!Named(info.map_set)) return {};
  IpSetMapping mapping;
  PacketState& packet = *context.packet;
  const bool invert = info.map_set.flags & IPSET_INV_MATCH;
  {
    const std::lock_guard lock(context.net->mutex);
    const IpSetQuery query = SetQueryOf(info.map_set);
    if (context.net->sets.Test(query, &packet, &mapping) == invert) return {};
  }
  if (info.flags & IPSET_FLAG_MAP_SKBMARK) {
    packet.mark = (packet.mark & ~mapping.mark_mask) ^ mapping.mark;
  }
  if (info.flags & IPSET_FLAG_MAP_SKBPRIO) packet.priority = mapping.priority;
  return {};
}

Status CheckSetTarget0(std::span<const uint8_t> payload, const XtUse& use) {
  const auto info = LoadAt<xt_set_info_target_v0>(payload.data());
  if (Status status = CheckNamed(info.add_set, use); !status) return status;
  if (Status status = CheckNamed(info.del_set, use); !status) return status;
  if (info.add_set.u.flags[IPSET_DIM_MAX - 1] != 0 ||
      info.del_set.u.flags[IPSET_DIM_MAX - 1] != 0) {
    return Refuse(ERANGE, "too many dimensions");
  }
  return {};
}

Status CheckSetTarget1(std::span<const uint8_t> payload, const XtUse& use) {
  const auto info = LoadAt<xt_set_info_target_v1>(payload.data());
  if (Status status = CheckNamed(info.add_set, use); !status) return status;
  if (Status status = CheckNamed(info.del_set, use); !status) return status;
  if (info.add_set.dim > IPSET_DIM_MAX || info.del_set.dim > IPSET_DIM_MAX) {
    return Refuse(ERANGE, "too many dimensions");
  }
  return {};
}

Status CheckSetTarget3(std::span<const uint8_t> payload, const XtUse& use) {
  const auto info = LoadAt<xt_set_info_target_v3>(payload.data());
  if (Status status = CheckNamed(info.add_set, use); !status) return status;
  if (Status status = CheckNamed(info.del_set, use); !status) return status;
  if (Named(info.map_set)) {
    if (use.table != TableKind::kMangle) {
      return Refuse(EINVAL, "--map-set is for the mangle table");
    }
    constexpr uint8_t kHooks = 1 << NF_INET_FORWARD | 1 << NF_INET_LOCAL_OUT |
                               1 << NF_INET_POST_ROUTING;
    if ((info.flags & (IPSET_FLAG_MAP_SKBPRIO | IPSET_FLAG_MAP_SKBQUEUE)) &&
        (use.hook_mask & ~kHooks) != 0) {
      return Refuse(EINVAL,
                    "priority and queue are mapped in OUTPUT, FORWARD and "
                    "POSTROUTING only");
    }
    if (Status status = CheckNamed(info.map_set, use); !status) return status;
  }
  if (info.add_set.dim > IPSET_DIM_MAX || info.del_set.dim > IPSET_DIM_MAX ||
      info.map_set.dim > IPSET_DIM_MAX) {
    return Refuse(ERANGE, "too many dimensions");
  }
  return {};
}

}  // namespace nfarena::xt
