// SNAT, DNAT, MASQUERADE, REDIRECT and NETMAP: they hand a range of addresses
// and ports to the tracker, which binds the connection.
//
// The nat table is asked only about packets that open a connection, so these
// always have one; a packet without is let pass, as nf_nat_inet_fn() does
// before it asks the table.
// Source: net/netfilter/xt_nat.c, xt_MASQUERADE.c, xt_REDIRECT.c, xt_NETMAP.c,
// nf_nat_masquerade.c, nf_nat_redirect.c.

#include <cerrno>

#include "engines/core/tracker.h"
#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/targets.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

XtTargetResult Verdict(bool bound) {
  return {bound ? XtVerdict::kAccept : XtVerdict::kDrop, 0};
}

uint16_t PortOf(const nf_conntrack_man_proto& proto) {
  return ntohs(proto.all);
}

/// nf_nat_ipv4_multi_range_compat, of which one range is in use.
NatRange RangeOf4(const uint8_t* payload) {
  const auto multi = LoadAt<nf_nat_ipv4_multi_range_compat>(payload);
  const nf_nat_ipv4_range& from = multi.range[0];
  NatRange range;
  range.flags = from.flags;
  std::memcpy(range.min.data(), &from.min_ip, 4);
  std::memcpy(range.max.data(), &from.max_ip, 4);
  range.min_port = PortOf(from.min);
  range.max_port = PortOf(from.max);
  return range;
}

/// nf_nat_range, of either family.
NatRange RangeOf(const uint8_t* payload, size_t address_bytes) {
  const auto from = LoadAt<nf_nat_range>(payload);
  NatRange range;
  range.flags = from.flags;
  std::memcpy(range.min.data(), &from.min_addr, address_bytes);
  std::memcpy(range.max.data(), &from.max_addr, address_bytes);
  range.min_port = PortOf(from.min_proto);
  range.max_port = PortOf(from.max_proto);
  return range;
}

NatRange RangeOf2(const uint8_t* payload, size_t address_bytes) {
  static_assert(offsetof(nf_nat_range2, base_proto) ==
                offsetof(nf_nat_range, max_proto) +
                    sizeof(nf_conntrack_man_proto));
  NatRange range = RangeOf(payload, address_bytes);
  range.base_port = PortOf(LOAD_FIELD(payload, nf_nat_range2, base_proto));
  return range;
}

XtTargetResult Bind(const XtContext& context, const NatRange& range,
                    NatManip manip) {
  PacketState* packet = context.packet;
  return Verdict(packet->connection == nullptr ||
                 packet->tracker->SetupNat(packet, range, manip));
}

XtTargetResult Masquerade(const XtContext& context, const NatRange& range) {
  PacketState* packet = context.packet;
  return Verdict(packet->connection == nullptr ||
                 packet->tracker->SetupMasquerade(packet, range));
}

XtTargetResult Redirect(const XtContext& context, const NatRange& range) {
  PacketState* packet = context.packet;
  return Verdict(packet->connection == nullptr ||
                 packet->tracker->SetupRedirect(packet, range));
}

XtTargetResult Netmap(const XtContext& context, const NatRange& range) {
  PacketState* packet = context.packet;
  const bool destination =
      packet->hook == Hook::kPrerouting || packet->hook == Hook::kOutput;
  return Verdict(packet->connection == nullptr ||
                 packet->tracker->SetupNetmap(
                     packet, range,
                     destination ? NatManip::kDestination : NatManip::kSource));
}

Status CheckOneRange(std::span<const uint8_t> payload) {
  if (LOAD_FIELD(payload.data(), nf_nat_ipv4_multi_range_compat, rangesize) !=
      1) {
    return Refuse(EINVAL, "needs exactly one range");
  }
  return {};
}

uint32_t Flags4(std::span<const uint8_t> payload) {
  return RangeOf4(payload.data()).flags;
}

uint32_t Flags6(std::span<const uint8_t> payload) {
  return LOAD_FIELD(payload.data(), nf_nat_range, flags);
}

}  // namespace

XtTargetResult TargetSnat0(const uint8_t* payload, const XtContext& context) {
  return Bind(context, RangeOf4(payload), NatManip::kSource);
}
XtTargetResult TargetSnat1(const uint8_t* payload, const XtContext& context) {
  return Bind(context, RangeOf(payload, AddressBytes(*context.packet)),
              NatManip::kSource);
}
XtTargetResult TargetSnat2(const uint8_t* payload, const XtContext& context) {
  return Bind(context, RangeOf2(payload, AddressBytes(*context.packet)),
              NatManip::kSource);
}
XtTargetResult TargetDnat0(const uint8_t* payload, const XtContext& context) {
  return Bind(context, RangeOf4(payload), NatManip::kDestination);
}
XtTargetResult TargetDnat1(const uint8_t* payload, const XtContext& context) {
  return Bind(context, RangeOf(payload, AddressBytes(*context.packet)),
              NatManip::kDestination);
}
XtTargetResult TargetDnat2(const uint8_t* payload, const XtContext& context) {
  return Bind(context, RangeOf2(payload, AddressBytes(*context.packet)),
              NatManip::kDestination);
}

Status CheckNat0(std::span<const uint8_t> payload, const XtUse&) {
  return CheckOneRange(payload);
}

XtTargetResult TargetMasquerade4(const uint8_t* payload,
                                 const XtContext& context) {
  return Masquerade(context, RangeOf4(payload));
}
XtTargetResult TargetMasquerade6(const uint8_t* payload,
                                 const XtContext& context) {
  return Masquerade(context, RangeOf(payload, 16));
}
XtTargetResult TargetRedirect4(const uint8_t* payload,
                               const XtContext& context) {
  return Redirect(context, RangeOf4(payload));
}
XtTargetResult TargetRedirect6(const uint8_t* payload,
                               const XtContext& context) {
  return Redirect(context, RangeOf(payload, 16));
}
XtTargetResult TargetNetmap4(const uint8_t* payload, const XtContext& context) {
  return Netmap(context, RangeOf4(payload));
}
XtTargetResult TargetNetmap6(const uint8_t* payload, const XtContext& context) {
  return Netmap(context, RangeOf(payload, 16));
}

Status CheckNoAddress4(std::span<const uint8_t> payload, const XtUse&) {
  if (Flags4(payload) & NF_NAT_RANGE_MAP_IPS) {
    return Refuse(EINVAL, "the range must not name addresses");
  }
  return CheckOneRange(payload);
}

Status CheckNoAddress6(std::span<const uint8_t> payload, const XtUse&) {
  if (Flags6(payload) & NF_NAT_RANGE_MAP_IPS) {
    return Refuse(EINVAL, "the range must not name addresses");
  }
  return {};
}

Status CheckNetmap4(std::span<const uint8_t> payload, const XtUse&) {
  if (!(Flags4(payload) & NF_NAT_RANGE_MAP_IPS)) {
    return Refuse(EINVAL, "the range must name addresses");
  }
  return CheckOneRange(payload);
}

Status CheckNetmap6(std::span<const uint8_t> payload, const XtUse&) {
  if (!(Flags6(payload) & NF_NAT_RANGE_MAP_IPS)) {
    return Refuse(EINVAL, "the range must name addresses");
  }
  return {};
}

}  // namespace nfarena::xt
