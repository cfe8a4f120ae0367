#include "engines/core/answers.h"

#include <algorithm>
#include <cstring>

#include "engines/core/bytes.h"
#include "engines/core/checksum.h"
#include "engines/core/tracker_impl.h"

namespace nfarena {
namespace {

constexpr uint8_t kIcmp = 1, kTcp = 6, kUdp = 17, kGre = 47, kEsp = 50,
                  kAh = 51, kIcmpv6 = 58, kSctp = 132, kUdplite = 136;
constexpr uint8_t kDefaultTtl = 64;
// What a quotation may fill: RFC 1812 4.3.2.3 for IPv4, the minimum MTU of
// RFC 8200 for IPv6, less both headers.
constexpr size_t kIpv4Quote = 576 - 20 - 8;
constexpr size_t kIpv6Quote = 1280 - 40 - 8;

bool IsIpv6Multicast(const Address& address) { return address[0] == 0xff; }

/// skb->pkt_type of the rejected packet: only what was sent to this host alone
/// is answered.
bool SentToThisHost(const PacketState& packet) {
  return packet.origin == nullptr || !packet.origin->mac_dst ||
         ((*packet.origin->mac_dst)[0] & 1) == 0;
}

/// RTCF_BROADCAST or RTCF_MULTICAST of its route.
bool RoutedToMany(const PacketState& packet) {
  if (packet.route == RouteKind::kBroadcast ||
      packet.route == RouteKind::kMulticast) {
    return true;
  }
  if (packet.route != RouteKind::kOutput) return false;
  const AddressType type = packet.topology->TypeOf(DestinationOf(packet));
  return type == AddressType::kBroadcast || type == AddressType::kMulticast;
}

/// nf_ip_checksum() == 0 or skb_csum_unnecessary(): every protocol is summed
/// as a whole, with a pseudo header for TCP and UDP (in IPv6 for all).
bool WholeChecksumOk(const PacketState& packet, size_t offset,
                     uint8_t protocol) {
  const auto l4 = std::span(packet.bytes).subspan(offset);
  uint32_t sum = 0;
  if (packet.family == Family::kIpv6 || protocol == kTcp || protocol == kUdp) {
    sum =
        PseudoHeaderSum(packet.family, SourceOf(packet), DestinationOf(packet),
                        protocol, static_cast<uint32_t>(l4.size()));
  }
  return ChecksumFold(ChecksumPartial(l4, sum)) == 0;
}

/// nf_reject_verify_csum(): whether the protocol has such a checksum.
bool HasChecksum(const PacketState& packet, size_t offset, uint8_t protocol) {
  switch (protocol) {
    case kUdp:
      return offset + 8 > packet.bytes.size() ||
             LoadBe16(&packet.bytes[offset + 6]) != 0;
    case kGre:
    case kAh:
    case kEsp:
    case kSctp:
    case kUdplite:
      return false;
    default:
      return true;
  }
}

/// skb->dev of an IPv6 packet: what this host sends has none, and REJECT then
/// takes lo.
std::string_view InputDevice(const PacketState& packet) {
  const std::string_view in = DeviceName(packet.in);
  return in.empty() ? "lo" : in;
}

/// ipv6_chk_addr(): a link-local address counts on its own device alone.
bool IsOwnIpv6Address(const PacketState& packet, const Address& address) {
  const AddressType type =
      IsIpv6LinkLocal(address)
          ? packet.topology->TypeOf(address, InputDevice(packet))
          : packet.topology->TypeOf(address);
  return type == AddressType::kLocal;
}

/// The address that an ICMP error comes from.
std::optional<Address> ErrorSource(const PacketState& rejected) {
  const Topology& topology = *rejected.topology;
  const Address src = SourceOf(rejected);
  const Address dst = DestinationOf(rejected);
  if (rejected.family == Family::kIpv4) {
    // __icmp_send(): the address it was sent to when that is ours.
    const bool to_lo =
        rejected.route == RouteKind::kOutput && rejected.routed_here;
    if (rejected.route == RouteKind::kLocal || to_lo) {
      // ip_route_output_key() refuses a source that is no address of a device
      // (but only a local route).
      return topology.IsLocal(dst) ? std::optional<Address>(dst) : std::nullopt;
    }
  } else if (IsOwnIpv6Address(rejected, dst)) {
    return dst;
  }
  const bool v4 = rejected.family == Family::kIpv4;
  const RouteDecision back =
      v4 ? topology.FindRoute("", Address{}, src)
         : topology.FindRouteAgain(LinkOfError(rejected), Address{}, src);
  if (!back.ok) return std::nullopt;
  const std::string_view in = DeviceName(rejected.in);
  if (back.local && (v4 || in.empty())) return src;
  if (v4) return topology.PrimaryAddress(back.out);
  // icmp6_send(): from the device the packet came in by.
  return topology.SourceFor(in.empty() ? back.out : in, src);
}

void PutIpv4(uint8_t tos, uint16_t fragment, uint8_t ttl, uint8_t protocol,
             const Address& src, const Address& dst,
             std::vector<uint8_t>* out) {
  uint8_t* header = out->data();
  std::fill_n(header, 20, uint8_t{0});
  header[0] = 0x45;
  header[1] = tos;
  StoreBe16(header + 2, static_cast<uint16_t>(out->size()));
  StoreBe16(header + 6, fragment);
  header[8] = ttl;
  header[9] = protocol;
  std::copy_n(src.begin(), 4, header + 12);
  std::copy_n(dst.begin(), 4, header + 16);
  FixIpv4Checksum(*out);
}

void PutIpv6(uint8_t protocol, const Address& src, const Address& dst,
             std::vector<uint8_t>* out) {
  uint8_t* header = out->data();
  std::fill_n(header, 8, uint8_t{0});
  header[0] = 0x60;
  StoreBe16(header + 4, static_cast<uint16_t>(out->size() - 40));
  header[6] = protocol;
  header[7] = kDefaultTtl;
  std::copy_n(src.begin(), 16, header + 8);
  std::copy_n(dst.begin(), 16, header + 24);
}

/// __icmp_send()'s tests: whether an error about this packet may be sent.
bool Ipv4ErrorAllowed(const PacketState& rejected) {
  if (!SentToThisHost(rejected) || RoutedToMany(rejected)) return false;
  if (rejected.headers.fragment_offset != 0) return false;
  if (rejected.headers.protocol != kIcmp) return true;
  // Not about an error.  Types beyond 18 count as errors; of those below,
  // icmp_pointers[].error says which are.
  if (rejected.headers.transport >= rejected.bytes.size()) return false;
  const uint8_t type = rejected.bytes[rejected.headers.transport];
  switch (type) {
    case 0:
    case 8:
    case 13:
    case 14:
    case 15:
    case 16:
    case 17:
    case 18:
      return true;
    default:
      return false;
  }
}

/// icmp6_send()'s tests.
bool Ipv6ErrorAllowed(const PacketState& rejected) {
  if (!SentToThisHost(rejected)) return false;
  const Address src = SourceOf(rejected);
  if (IsIpv6Multicast(DestinationOf(rejected))) return false;
  if (IsIpv6Multicast(src) || src == Address{}) return false;
  // is_ineligible(): ICMPv6 whose type is below 128 or cannot be read.
  const ConntrackHeader header =
      FindConntrackHeader(rejected.family, rejected.bytes, 0);
  if (!header.ok || header.protocol != kIcmpv6) return true;
  return header.offset < rejected.bytes.size() &&
         (rejected.bytes[header.offset] & 0x80) != 0;
}

/// A reset of this host is quoted before its checksum is complete: the field
/// holds the sum of the pseudo header (CHECKSUM_PARTIAL).
/// Source: net/ipv4/netfilter/nf_reject_ipv4.c nf_reject_ip_tcphdr_put().
void QuotePartialChecksum(const PacketState& rejected, uint8_t* quote,
                          size_t quoted) {
  const size_t field = rejected.headers.transport + size_t{16};
  if (field + 2 > quoted) return;
  const auto partial = static_cast<uint16_t>(~ChecksumFold(PseudoHeaderSum(
      rejected.family, SourceOf(rejected), DestinationOf(rejected), kTcp,
      uint32_t{rejected.headers.total_length} - rejected.headers.transport)));
  std::memcpy(quote + field, &partial, sizeof partial);
}

}  // namespace

std::string_view LinkOfError(const PacketState& rejected) {
  const std::string_view in = InputDevice(rejected);
  if (in != "lo") return in;
  // icmp6_dev(): what is on lo belongs to the device of its route.
  const Topology& topology = *rejected.topology;
  const Address dst = DestinationOf(rejected);
  const std::string_view owner = topology.OwnerOf(dst);
  if (!owner.empty()) return owner;
  return topology
      .FindRouteAgain(DeviceName(rejected.out), SourceOf(rejected), dst)
      .out;
}

bool BuildIcmpError(const PacketState& rejected, uint8_t type, uint8_t code,
                    uint32_t info, std::vector<uint8_t>* answer) {
  if (!rejected.headers.ok || rejected.topology == nullptr) return false;
  const bool v4 = rejected.family == Family::kIpv4;
  if (!(v4 ? Ipv4ErrorAllowed(rejected) : Ipv6ErrorAllowed(rejected))) {
    return false;
  }
  const auto source = ErrorSource(rejected);
  if (!source) return false;
  const Address destination = SourceOf(rejected);
  const size_t header = v4 ? 20 : 40;
  const size_t quoted =
      std::min(rejected.bytes.size(), v4 ? kIpv4Quote : kIpv6Quote);
  answer->resize(header + 8 + quoted);
  uint8_t* icmp = answer->data() + header;
  std::fill_n(icmp, 8, uint8_t{0});
  icmp[0] = type;
  icmp[1] = code;
  StoreBe32(icmp + 4, info);
  std::copy_n(rejected.bytes.begin(), quoted, icmp + 8);
  if (v4 && rejected.answer && rejected.headers.protocol == kTcp) {
    QuotePartialChecksum(rejected, icmp + 8, quoted);
  }
  if (v4) {
    // RFC 1812 4.3.2.5: precedence "internetwork control", TOS as it was.
    const auto tos = static_cast<uint8_t>((rejected.bytes[1] & 0x1e) | 0xc0);
    // __ip_make_skb(): what a socket sends to a group goes one hop far.
    const uint8_t ttl = (destination[0] & 0xf0) == 0xe0 ? 1 : kDefaultTtl;
    PutIpv4(tos, 0, ttl, kIcmp, *source, destination, answer);
    FixTransportChecksum(rejected.family, *answer, header, kIcmp);
  } else {
    PutIpv6(kIcmpv6, *source, destination, answer);
    FixTransportChecksum(rejected.family, *answer, header, kIcmpv6);
  }
  return true;
}

bool BuildRejectUnreachable(const PacketState& rejected, uint8_t code,
                            std::vector<uint8_t>* answer) {
  if (!rejected.headers.ok) return false;
  if (rejected.family == Family::kIpv4) {
    if (rejected.headers.fragment_offset != 0) return false;
    const size_t offset = rejected.headers.transport;
    const uint8_t protocol = rejected.headers.protocol;
    if (HasChecksum(rejected, offset, protocol) &&
        !WholeChecksumOk(rejected, offset, protocol)) {
      return false;
    }
    return BuildIcmpError(rejected, 3, code, 0, answer);
  }
  // reject6_csum_ok().
  const ConntrackHeader header =
      FindConntrackHeader(rejected.family, rejected.bytes, 0);
  if (!header.ok || header.offset >= rejected.bytes.size()) return false;
  if (HasChecksum(rejected, header.offset, header.protocol) &&
      !WholeChecksumOk(rejected, header.offset, header.protocol)) {
    return false;
  }
  return BuildIcmpError(rejected, 1, code, 0, answer);
}

bool BuildTcpReset(const PacketState& rejected, std::vector<uint8_t>* answer) {
  if (!rejected.headers.ok) return false;
  const bool v4 = rejected.family == Family::kIpv4;
  const Address src = SourceOf(rejected);
  const Address dst = DestinationOf(rejected);
  size_t offset = rejected.headers.transport;
  if (v4) {
    if (rejected.headers.fragment_offset != 0 ||
        rejected.headers.protocol != kTcp || RoutedToMany(rejected)) {
      return false;
    }
  } else {
    if (IsIpv6Multicast(src) || IsIpv6Multicast(dst) || src == Address{} ||
        dst == Address{}) {
      return false;
    }
    const ConntrackHeader header =
        FindConntrackHeader(rejected.family, rejected.bytes, 0);
    if (!header.ok || header.protocol != kTcp) return false;
    offset = header.offset;
  }
  if (offset + 20 > rejected.bytes.size()) return false;
  const uint8_t* tcp = &rejected.bytes[offset];
  constexpr uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kAck = 0x10;
  const uint8_t flags = tcp[13];
  if ((flags & kRst) != 0) return false;
  if (!WholeChecksumOk(rejected, offset, kTcp)) return false;

  const size_t header = v4 ? 20 : 40;
  answer->assign(header + 20, 0);
  uint8_t* reset = answer->data() + header;
  std::copy_n(tcp + 2, 2, reset);
  std::copy_n(tcp, 2, reset + 2);
  reset[12] = 5 << 4;
  reset[13] = kRst;
  if ((flags & kAck) != 0) {
    std::copy_n(tcp + 8, 4, reset + 4);
  } else {
    const uint32_t length =
        static_cast<uint32_t>(rejected.bytes.size() - offset) -
        static_cast<uint32_t>(tcp[12] >> 4) * 4;
    StoreBe32(reset + 8, LoadBe32(tcp + 4) + ((flags & kSyn) != 0 ? 1 : 0) +
                             ((flags & kFin) != 0 ? 1 : 0) + length);
    reset[13] |= kAck;
  }
  if (v4) {
    PutIpv4(0, 0x4000, kDefaultTtl, kTcp, dst, src, answer);
  } else {
    PutIpv6(kTcp, dst, src, answer);
  }
  FixTransportChecksum(rejected.family, *answer, header, kTcp);
  return true;
}

}  // namespace nfarena
