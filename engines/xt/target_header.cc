// DSCP, TOS, TTL and HL: they rewrite a field of the network header.
// Source: net/netfilter/xt_DSCP.c, xt_HL.c.

#include <algorithm>
#include <cerrno>

#include "engines/core/rewrite.h"
#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/targets.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

constexpr uint8_t kEcnMask = 3;

}  // namespace

XtTargetResult TargetDscp(const uint8_t* payload, const XtContext& context) {
  const uint8_t dscp = LOAD_FIELD(payload, xt_DSCP_info, dscp);
  if (DsField(*context.packet) >> XT_DSCP_SHIFT != dscp) {
    RewriteTos(context.packet, kEcnMask,
               static_cast<uint8_t>(dscp << XT_DSCP_SHIFT));
  }
  return {};
}

Status CheckDscpTarget(std::span<const uint8_t> payload, const XtUse&) {
  if (LOAD_FIELD(payload.data(), xt_DSCP_info, dscp) > XT_DSCP_MAX) {
    return Refuse(EDOM, "DSCP over 63");
  }
  return {};
}

XtTargetResult TargetTos(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<xt_tos_target_info>(payload);
  const uint8_t old = DsField(*context.packet);
  const auto changed =
      static_cast<uint8_t>((old & ~info.tos_mask) ^ info.tos_value);
  if (old != changed) RewriteTos(context.packet, 0, changed);
  return {};
}

XtTargetResult TargetTtl(const uint8_t* payload, const XtContext& context) {
  PacketState& packet = *context.packet;
  const auto info = LoadAt<TtlInfo>(payload);
  const int old = packet.bytes[IsIpv4(packet) ? 8 : 7];
  int changed = old;
  switch (info.mode) {
    case kTtlSet:
      changed = info.value;
      break;
    case kTtlIncrement:
      changed = std::min(old + info.value, 255);
      break;
    case kTtlDecrement:
      changed = std::max(old - info.value, 0);
      break;
  }
  if (changed != old) RewriteTtl(&packet, static_cast<uint8_t>(changed));
  return {};
}

Status CheckTtlTarget(std::span<const uint8_t> payload, const XtUse&) {
  const auto info = LoadAt<TtlInfo>(payload.data());
  if (info.mode > kTtlDecrement) return Refuse(EINVAL, "unknown mode");
  if (info.mode != kTtlSet && info.value == 0) {
    return Refuse(EINVAL, "change by nothing");
  }
  return {};
}

}  // namespace nfarena::xt
