#include "engines/core/ipset_key.h"

#include <netinet/in.h>

#include <algorithm>

#include "engines/core/bytes.h"

namespace nfarena {
namespace {

using enum IpSetPart;

struct Port {
  uint8_t protocol = 0;
  uint16_t port = 0;
};

/// ip_set_get_ip4_port(), ip_set_get_ip6_port()
std::optional<Port> PortOf(const PacketState& packet, bool source) {
  const Headers& headers = packet.headers;
  if (!headers.transport_ok) return std::nullopt;
  const bool later_fragment = headers.fragment_offset != 0;
  if (packet.family == Family::kIpv6 &&
      (later_fragment || headers.protocol == IPPROTO_NONE)) {
    return std::nullopt;
  }
  Port port{headers.protocol, 0};
  size_t header_bytes = 0;
  switch (headers.protocol) {
    case IPPROTO_IP:
      // As a protocol it is no protocol, but IPv6's hop-by-hop options are
      // never the upper layer.
      return std::nullopt;
    case IPPROTO_TCP:
      header_bytes = 20;
      break;
    case IPPROTO_SCTP:
      header_bytes = 12;
      break;
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
    case IPPROTO_ICMP:
      header_bytes = 8;
      break;
    case IPPROTO_ICMPV6:
      if (later_fragment) return port;
      header_bytes = 8;
      break;
    default:
      return port;
  }
  if (later_fragment || packet.bytes.size() < headers.transport ||
      packet.bytes.size() - headers.transport < header_bytes) {
    return std::nullopt;
  }
  const uint8_t* header = packet.bytes.data() + headers.transport;
  const bool icmp =
      port.protocol == IPPROTO_ICMP || port.protocol == IPPROTO_ICMPV6;
  // Type and code stand where the source port does.
  port.port = LoadBe16(header + (source || icmp ? 0 : 2));
  return port;
}

/// The Ethernet address, if the packet came with an Ethernet header.
std::optional<std::array<uint8_t, 6>> MacOf(const PacketState& packet,
                                            bool source) {
  if (packet.local_out || packet.answer || packet.looped ||
      packet.origin == nullptr) {
    return std::nullopt;
  }
  const auto& mac = source ? packet.origin->mac_src : packet.origin->mac_dst;
  if (!mac || *mac == std::array<uint8_t, 6>{}) return std::nullopt;
  return mac;
}

bool FillAddress(const IpSet& set, const Address& address, Address* out) {
  *out = address;
  if (set.mask) *out = MaskedBy(*out, *set.mask);
  if (set.type->bitmap) {
    const uint32_t number = LoadBe32(address.data());
    return number >= set.first && number <= set.last;
  }
  // The kernel keeps no zero address where it masks them, or has nothing else.
  const bool zero_is_none = set.mask.has_value() || set.type->dimensions() == 1;
  return !zero_is_none || *out != Address{};
}

bool FillPort(const IpSet& set, const Port& port, IpSetKey* key) {
  key->port = port.port;
  if (!set.type->bitmap) {
    key->protocol = port.protocol;
    return true;
  }
  return (port.protocol == IPPROTO_TCP || port.protocol == IPPROTO_UDP) &&
         port.port >= set.first && port.port <= set.last;
}

bool FillPart(const IpSet& set, IpSetPart part, bool source,
              const PacketState& packet, size_t* addresses, IpSetPoint* point) {
  IpSetKey& key = point->key;
  const Address address = source ? SourceOf(packet) : DestinationOf(packet);
  switch (part) {
    case kAddress:
      return FillAddress(set, address, &key.address[(*addresses)++]);
    case kNet:
      key.address[(*addresses)++] = address;
      return true;
    case kPort: {
      const auto port = PortOf(packet, source);
      return port && FillPort(set, *port, &key);
    }
    case kMac: {
      const auto mac = MacOf(packet, source);
      if (!mac) return false;
      (set.type->bitmap ? point->mac : key.mac) = *mac;
      return true;
    }
    case kDevice:
      point->device = source ? packet.in : packet.out;
      return point->device[0] != '\0';
    case kMark:
      key.mark = packet.mark & set.mark_mask;
      return true;
    case kNone:
    case kSet:
      break;
  }
  return true;
}

}  // namespace

std::optional<IpSetPoint> IpSetPointOf(const IpSet& set,
                                       const IpSetQuery& query,
                                       const PacketState& packet) {
  IpSetPoint point;
  size_t addresses = 0;
  for (size_t i = 0; i < set.type->parts.size(); ++i) {
    const bool source = (query.source_parts >> i & 1u) != 0;
    if (!FillPart(set, set.type->parts[i], source, packet, &addresses,
                  &point)) {
      return std::nullopt;
    }
  }
  return point;
}

Address PrefixOf(const Address& address, uint8_t bits) {
  Address prefix = address;
  for (size_t i = 0; i < prefix.size(); ++i) {
    const size_t before = i * 8;
    const size_t kept = bits > before ? std::min<size_t>(bits - before, 8) : 0;
    prefix[i] = static_cast<uint8_t>(prefix[i] & (0xff00 >> kept));
  }
  return prefix;
}

Address MaskedBy(const Address& address, const Address& mask) {
  Address masked;
  for (size_t i = 0; i < masked.size(); ++i) {
    masked[i] = static_cast<uint8_t>(address[i] & mask[i]);
  }
  return masked;
}

}  // namespace nfarena
