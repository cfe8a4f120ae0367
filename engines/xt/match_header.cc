// length, dscp, tos, ttl and hl: fields of the network header.
// Source: net/netfilter/xt_length.c, xt_dscp.c, xt_hl.c.

#include <cerrno>
#include <utility>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/matches.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

bool CompareTtl(uint8_t ttl, const TtlInfo& info) {
  switch (info.mode) {
    case kTtlEqual:
      return ttl == info.value;
    case kTtlNotEqual:
      return ttl != info.value;
    case kTtlLess:
      return ttl < info.value;
    case kTtlGreater:
      return ttl > info.value;
  }
  return false;
}

}  // namespace

bool MatchLength(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  const auto info = LoadAt<xt_length_info>(payload);
  // IPv4 believes its header, IPv6 counts what arrived.
  const size_t length =
      IsIpv4(packet) ? LoadBe16(packet.bytes.data() + 2) : packet.bytes.size();
  return static_cast<bool>(InRange<size_t>(length, info.min, info.max, false) ^
                           info.invert);
}

bool MatchDscp(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<xt_dscp_info>(payload);
  const unsigned dscp = DsField(*context.packet) >> XT_DSCP_SHIFT;
  return (dscp == info.dscp) != (info.invert != 0);
}

Status CheckDscp(std::span<const uint8_t> payload, const XtUse&) {
  if (LOAD_FIELD(payload.data(), xt_dscp_info, dscp) > XT_DSCP_MAX) {
    return Refuse(EDOM, "DSCP over 63");
  }
  return {};
}

bool MatchTos(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<xt_tos_match_info>(payload);
  const bool same =
      (DsField(*context.packet) & info.tos_mask) == info.tos_value;
  return same != (info.invert != 0);
}

bool MatchTtl(const uint8_t* payload, const XtContext& context) {
  return CompareTtl(context.packet->bytes[8], LoadAt<TtlInfo>(payload));
}

bool MatchHl(const uint8_t* payload, const XtContext& context) {
  return CompareTtl(context.packet->bytes[7], LoadAt<TtlInfo>(payload));
}

Status CheckTtl(std::span<const uint8_t> payload, const XtUse&) {
  if (LOAD_FIELD(payload.data(), TtlInfo, mode) > kTtlGreater) {
    return Refuse(EINVAL, "unknown comparison");
  }
  return {};
}

}  // namespace nfarena::xt
