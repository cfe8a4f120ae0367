// rpfilter, realm, physdev and helper: questions about the host around the
// packet.
// Source: net/ipv4/netfilter/ipt_rpfilter.c, net/ipv6/netfilter/
// ip6t_rpfilter.c, net/netfilter/xt_realm.c, xt_physdev.c, xt_helper.c.
#include <cerrno>
#include <string_view>
#include <utility>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/matches.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

/// A packet for everybody from a host that has no address yet.
bool IsFromNobody4(const PacketState& packet) {
  const uint8_t* dst = DestinationBytes(packet);
  const bool local_group = dst[0] == 224 && dst[1] == 0 && dst[2] == 0;
  return LoadBe32(SourceBytes(packet)) == 0 &&
         (LoadBe32(dst) == 0xffffffff || local_group);
}

/// rpfilter_lookup_reverse(), rpfilter_lookup_reverse6(): whether this host
/// would send to the packet's source by the device it came in by.
bool ReverseRouteOk(const PacketState& packet, unsigned flags) {
  const Topology& topology = *packet.topology;
  const Address source = SourceOf(packet);
  switch (topology.TypeOf(source)) {
    case AddressType::kUnicast:
      break;
    case AddressType::kLocal:
      return flags & XT_RPFILTER_ACCEPT_LOCAL &&
             (flags & XT_RPFILTER_LOOSE || !IsIpv4(packet) ||
              topology.TypeOf(source, DeviceName(packet.in)) ==
                  AddressType::kLocal);
    default:
      return false;
  }
  // Every device has its own link-local network.
  if (!IsIpv4(packet) && IsIpv6LinkLocal(SourceOf(packet))) return true;
  const RouteDecision route = topology.FindRoute("", Address{}, source);
  if (!route.ok || route.local) return false;
  return flags & XT_RPFILTER_LOOSE || route.out == DeviceName(packet.in);
}

}  // namespace

bool MatchRpfilter(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  const unsigned flags = LOAD_FIELD(payload, xt_rpfilter_info, flags);
  const bool invert = flags & XT_RPFILTER_INVERT;
  if (DeviceName(packet.in) == "lo") return !invert;
  const bool exempt =
      IsIpv4(packet) ? IsFromNobody4(packet) : SourceOf(packet) == Address{};
  return (exempt || ReverseRouteOk(packet, flags)) != invert;
}

Status CheckRpfilter(std::span<const uint8_t> payload, const XtUse& use) {
  constexpr unsigned kOptions = XT_RPFILTER_LOOSE | XT_RPFILTER_VALID_MARK |
                                XT_RPFILTER_ACCEPT_LOCAL | XT_RPFILTER_INVERT;
  if (LOAD_FIELD(payload.data(), xt_rpfilter_info, flags) & ~kOptions) {
    return Refuse(EINVAL, "unknown flags");
  }
  if (use.table != TableKind::kRaw && use.table != TableKind::kMangle) {
    return Refuse(EINVAL, "only valid in the raw and mangle tables");
  }
  return {};
}

bool MatchRealm(const uint8_t* payload, const XtContext&) {
  // No route of the arena has a realm: it is 0 everywhere.
  const auto info = LoadAt<xt_realm_info>(payload);
  return static_cast<bool>((info.id == 0) ^ info.invert);
}

bool MatchPhysdev(const uint8_t* payload, const XtContext&) {
  // No packet of the arena crosses a bridge, so no condition holds and a rule
  // matches when it inverts each one it asks for.
  const unsigned asked = LOAD_FIELD(payload, xt_physdev_info, bitmask);
  const unsigned inverted = LOAD_FIELD(payload, xt_physdev_info, invert);
  return (asked & ~inverted & XT_PHYSDEV_OP_MASK) == 0;
}

Status CheckPhysdev(std::span<const uint8_t> payload, const XtUse& use) {
  const unsigned asked = LOAD_FIELD(payload.data(), xt_physdev_info, bitmask);
  const unsigned inverted = LOAD_FIELD(payload.data(), xt_physdev_info, invert);
  if (asked == 0 || asked & ~XT_PHYSDEV_OP_MASK) {
    return Refuse(EINVAL, "unknown or no condition");
  }
  const bool bridged_only =
      (asked & XT_PHYSDEV_OP_BRIDGED) && !(inverted & XT_PHYSDEV_OP_BRIDGED);
  if ((asked & (XT_PHYSDEV_OP_OUT | XT_PHYSDEV_OP_ISOUT)) && !bridged_only &&
      (use.hook_mask & 1 << NF_INET_LOCAL_OUT)) {
    return Refuse(EINVAL, "the output port is not known in OUTPUT");
  }
  return {};
}

bool MatchHelper(const uint8_t* payload, const XtContext&) {
  // Connections that a helper expected do not occur: the twins' tracker reads
  // no payload, and the kernel gives no connection a helper on its own.
  return LOAD_FIELD(payload, xt_helper_info, invert) & 1;
}

}  // namespace nfarena::xt
