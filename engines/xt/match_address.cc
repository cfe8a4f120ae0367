// iprange, addrtype, mac and pkttype: who sent it and to whom.
// Source: net/netfilter/xt_iprange.c, xt_addrtype.c, xt_mac.c, xt_pkttype.c.

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/matches.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

/// Addresses in network byte order compare as byte strings.
bool AddressIn(const uint8_t* address, const uint8_t* min, const uint8_t* max,
               size_t size) {
  return std::memcmp(address, min, size) >= 0 &&
         std::memcmp(address, max, size) <= 0;
}

/// inet_dev_addr_type(): the type in the local table; an address of another
/// device than `device` counts as unicast.  `device` empty = any.
AddressType TypeOf4(const PacketState& packet, std::string_view device,
                    const uint8_t* bytes) {
  const AddressType type = packet.topology->TypeOf(ToAddress(bytes, 4), device);
  switch (type) {
    case AddressType::kLocal:
    case AddressType::kBroadcast:
    case AddressType::kMulticast:
      return type;
    default:
      // Routes of blackhole and the like live in other tables.
      return AddressType::kUnicast;
  }
}

bool TypeIn4(const PacketState& packet, std::string_view device,
             const uint8_t* address, uint16_t mask) {
  const auto type = static_cast<unsigned>(TypeOf4(packet, device, address));
  return (mask >> type) & 1u;
}

/// match_type6()
bool TypeIn6(const PacketState& packet, std::string_view device,
             const uint8_t* bytes, uint16_t mask) {
  const Address address = ToAddress(bytes, 16);
  const bool multicast = address[0] == 0xff;
  const bool unspecified = address == Address{};
  if ((mask & XT_ADDRTYPE_MULTICAST) && !multicast) return false;
  if ((mask & XT_ADDRTYPE_UNICAST) && (multicast || unspecified)) return false;
  if ((mask & XT_ADDRTYPE_UNSPEC) && !unspecified) return false;
  if (!(mask &
        (XT_ADDRTYPE_LOCAL | XT_ADDRTYPE_ANYCAST | XT_ADDRTYPE_UNREACHABLE))) {
    return true;
  }
  // match_lookup_rt6(): the address as a destination of this host's own.  A
  // local address counts as such through its own device only, if one is named.
  const Topology& topology = *packet.topology;
  const bool local = topology.TypeOf(address) == AddressType::kLocal;
  if (!local && !multicast && !topology.FindRoute("", Address{}, address).ok) {
    return mask & XT_ADDRTYPE_UNREACHABLE;
  }
  const bool counts = topology.TypeOf(address, device) == AddressType::kLocal;
  return counts && (mask & XT_ADDRTYPE_LOCAL);
}

}  // namespace

bool MatchIprange(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  const size_t size = AddressBytes(packet);
  const uint8_t flags = LOAD_FIELD(payload, xt_iprange_mtinfo, flags);
  if (flags & IPRANGE_SRC) {
    const bool in = AddressIn(
        SourceBytes(packet), payload + offsetof(xt_iprange_mtinfo, src_min),
        payload + offsetof(xt_iprange_mtinfo, src_max), size);
    if (in == ((flags & IPRANGE_SRC_INV) != 0)) return false;
  }
  if (flags & IPRANGE_DST) {
    const bool in =
        AddressIn(DestinationBytes(packet),
                  payload + offsetof(xt_iprange_mtinfo, dst_min),
                  payload + offsetof(xt_iprange_mtinfo, dst_max), size);
    if (in == ((flags & IPRANGE_DST_INV) != 0)) return false;
  }
  return true;
}

bool MatchAddrtype0(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  const auto info = LoadAt<xt_addrtype_info>(payload);
  // The inverts are numbers that are xor-ed with a truth value, and the
  // result is masked with 1: only their lowest bit counts.
  bool match = true;
  if (info.source) {
    match &= (TypeIn4(packet, "", SourceBytes(packet), info.source) ^
              info.invert_source) &
             1;
  }
  if (info.dest) {
    match &= (TypeIn4(packet, "", DestinationBytes(packet), info.dest) ^
              info.invert_dest) &
             1;
  }
  return match;
}

bool MatchAddrtype1(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  const auto info = LoadAt<xt_addrtype_info_v1>(payload);
  std::string_view device;
  if (info.flags & XT_ADDRTYPE_LIMIT_IFACE_IN) {
    device = DeviceName(packet.in);
  } else if (info.flags & XT_ADDRTYPE_LIMIT_IFACE_OUT) {
    device = DeviceName(packet.out);
  }
  const auto type_in = IsIpv4(packet) ? TypeIn4 : TypeIn6;
  if (info.source) {
    const bool in = type_in(packet, device, SourceBytes(packet), info.source);
    if (in == ((info.flags & XT_ADDRTYPE_INVERT_SOURCE) != 0)) return false;
  }
  if (info.dest) {
    const bool in =
        type_in(packet, device, DestinationBytes(packet), info.dest);
    if (in == ((info.flags & XT_ADDRTYPE_INVERT_DEST) != 0)) return false;
  }
  return true;
}

Status CheckAddrtype1(std::span<const uint8_t> payload, const XtUse& use) {
  const auto info = LoadAt<xt_addrtype_info_v1>(payload.data());
  const bool limit_in = info.flags & XT_ADDRTYPE_LIMIT_IFACE_IN;
  const bool limit_out = info.flags & XT_ADDRTYPE_LIMIT_IFACE_OUT;
  if (limit_in && limit_out) {
    return Refuse(EINVAL, "both interfaces cannot limit the lookup");
  }
  if (limit_out &&
      (use.hook_mask & (1 << NF_INET_PRE_ROUTING | 1 << NF_INET_LOCAL_IN))) {
    return Refuse(EINVAL, "no output interface in PREROUTING and INPUT");
  }
  if (limit_in &&
      (use.hook_mask & (1 << NF_INET_POST_ROUTING | 1 << NF_INET_LOCAL_OUT))) {
    return Refuse(EINVAL, "no input interface in POSTROUTING and OUTPUT");
  }
  if (use.family == Family::kIpv6) {
    const unsigned types = info.source | info.dest;
    if (types & XT_ADDRTYPE_BLACKHOLE) {
      return Refuse(EINVAL, "IPv6 has no BLACKHOLE type");
    }
    if (types >= XT_ADDRTYPE_PROHIBIT) {
      return Refuse(EINVAL, "IPv6 has no PROHIBIT, THROW or NAT type");
    }
    if (types & XT_ADDRTYPE_BROADCAST) {
      return Refuse(EINVAL, "IPv6 has no BROADCAST type");
    }
  }
  return {};
}

bool MatchMac(const uint8_t* payload, const XtContext& context) {
  // No Ethernet header, no match, inverted or not.
  const auto layer = LinkLayerOf(*context.packet);
  if (!layer) return false;
  const bool same =
      std::memcmp(layer->src.data(), payload + offsetof(xt_mac_info, srcaddr),
                  6) == 0;
  return static_cast<bool>(same ^ LOAD_FIELD(payload, xt_mac_info, invert));
}

bool MatchPkttype(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  int type = PACKET_HOST;
  if (!packet.local_out && packet.origin != nullptr &&
      packet.origin->mac_dst.has_value()) {
    const auto& mac = *packet.origin->mac_dst;
    if (std::all_of(mac.begin(), mac.end(),
                    [](uint8_t b) { return b == 0xff; })) {
      type = PACKET_BROADCAST;
    } else if (mac[0] & 1) {
      type = PACKET_MULTICAST;
    }
  }
  const auto info = LoadAt<xt_pkttype_info>(payload);
  return static_cast<bool>((type == info.pkttype) ^ info.invert);
}

}  // namespace nfarena::xt
