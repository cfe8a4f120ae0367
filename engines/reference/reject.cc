#include "engines/reference/reject.h"

#include <netinet/in.h>

#include <algorithm>

#include "engines/core/checksum.h"
#include "engines/reference/view.h"

namespace nfarena::reference {
namespace {

constexpr uint8_t kTtl = 64;
constexpr size_t kIpv4Header = 20, kIpv6Header = 40, kTcpHeader = 20,
                 kTcpChecksumAt = 16, kIcmpHeader = 8;
// Largest ICMP error: RFC 1812 section 4.3.2.3, RFC 4443 section 2.4 (c).
constexpr size_t kLargestIcmp = 576, kLargestIcmpv6 = 1280;
constexpr uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kAck = 0x10;

bool IsIpv4Broadcastlike(const Address& address) {
  const bool multicast = (address[0] & 0xf0) == 0xe0;
  const bool limited = address[0] == 0xff && address[1] == 0xff &&
                       address[2] == 0xff && address[3] == 0xff;
  return multicast || limited;
}

/// The route was one to a group or to everybody.
bool IsToMany(const PacketState& packet) {
  if (packet.route == RouteKind::kBroadcast ||
      packet.route == RouteKind::kMulticast) {
    return true;
  }
  const Address destination = DestinationOf(packet);
  if (!IsIpv4(packet)) return destination[0] == 0xff;
  return IsIpv4Broadcastlike(destination) ||
         packet.topology->TypeOf(destination) == AddressType::kBroadcast;
}

/// skb->pkt_type != PACKET_HOST: the link layer sent it to more than us.
bool CameByLinkBroadcast(const PacketState& packet) {
  return !packet.local_out && !packet.answer && packet.origin != nullptr &&
         packet.origin->mac_dst && ((*packet.origin->mac_dst)[0] & 1) != 0;
}

bool TcpOrUdp(uint8_t protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

/// nf_reject_verify_csum(): protocols whose payload is not covered by one
/// plain checksum are not verified; every other is, known or not.
bool MustVerify(const PacketState& packet) {
  switch (packet.headers.protocol) {
    case IPPROTO_UDP: {
      const auto header = Transport(packet, 8);
      return !header || LoadBe16(header->data() + 6) != 0;
    }
    case IPPROTO_GRE:
    case IPPROTO_AH:
    case IPPROTO_ESP:
    case IPPROTO_SCTP:
    case IPPROTO_UDPLITE:
    case IPPROTO_DCCP:
      return false;
    default:
      return true;
  }
}

/// nf_ip_checksum(), nf_ip6_checksum() of everything behind the headers.
bool ChecksumHolds(const PacketState& packet) {
  const Headers& headers = packet.headers;
  const auto payload =
      std::span<const uint8_t>(packet.bytes).subspan(headers.transport);
  uint32_t sum = 0;
  // Over IPv4 only TCP and UDP have a pseudo header; over IPv6 all have.
  if (!IsIpv4(packet) || TcpOrUdp(headers.protocol)) {
    sum = PseudoHeaderSum(packet.family, SourceOf(packet),
                          DestinationOf(packet), headers.protocol,
                          static_cast<uint32_t>(payload.size()));
  }
  return ChecksumFold(ChecksumPartial(payload, sum)) == 0;
}

/// The IP header of an answer from `source` to `destination`; its length and
/// checksum are put in by Finish.
std::vector<uint8_t> Ipv4Head(const Address& source, const Address& destination,
                              uint8_t protocol, uint8_t ttl, uint8_t tos,
                              bool dont_fragment) {
  std::vector<uint8_t> head(kIpv4Header);
  head[0] = 0x45;
  head[1] = tos;
  if (dont_fragment) head[6] = 0x40;
  head[8] = ttl;
  head[9] = protocol;
  std::copy_n(source.begin(), 4, &head[12]);
  std::copy_n(destination.begin(), 4, &head[16]);
  return head;
}

std::vector<uint8_t> Ipv6Head(const Address& source, const Address& destination,
                              uint8_t protocol) {
  std::vector<uint8_t> head(kIpv6Header);
  head[0] = 0x60;
  head[6] = protocol;
  head[7] = kTtl;
  std::copy_n(source.begin(), 16, &head[8]);
  std::copy_n(destination.begin(), 16, &head[24]);
  return head;
}

/// Appends what the IP header carries and fills in lengths and checksums.
/// `check_at`: offset of the checksum in `payload`.
std::vector<uint8_t> Finish(Family family, std::vector<uint8_t> packet,
                            std::vector<uint8_t> payload, size_t check_at) {
  const bool v4 = family == Family::kIpv4;
  const uint8_t protocol = packet[v4 ? 9 : 6];
  uint32_t sum = 0;
  if (protocol != IPPROTO_ICMP) {
    Address source{}, destination{};
    const size_t length = v4 ? 4 : 16;
    std::copy_n(&packet[v4 ? 12 : 8], length, source.begin());
    std::copy_n(&packet[v4 ? 16 : 24], length, destination.begin());
    sum = PseudoHeaderSum(family, source, destination, protocol,
                          static_cast<uint32_t>(payload.size()));
  }
  StoreRaw16(&payload[check_at], ChecksumFold(ChecksumPartial(payload, sum)));
  const size_t total = packet.size() + payload.size();
  if (v4) {
    StoreBe16(&packet[2], static_cast<uint16_t>(total));
    FixIpv4Checksum(packet);
  } else {
    StoreBe16(&packet[4], static_cast<uint16_t>(payload.size()));
  }
  packet.insert(packet.end(), payload.begin(), payload.end());
  return packet;
}

// --- TCP reset --------------------------------------------------------------

/// The segment that refuses `tcp`, `bytes` long with its data: RFC 9293
/// section 3.10.7.1.
std::vector<uint8_t> ResetSegment(std::span<const uint8_t> tcp, size_t bytes) {
  std::vector<uint8_t> reset(kTcpHeader);
  std::copy_n(&tcp[2], 2, &reset[0]);
  std::copy_n(&tcp[0], 2, &reset[2]);
  reset[12] = kTcpHeader / 4 << 4;
  reset[13] = kRst;
  const uint8_t flags = tcp[13];
  if (flags & kAck) {
    std::copy_n(&tcp[8], 4, &reset[4]);  // its acknowledgment is our sequence
  } else {
    const uint32_t sequence = LoadBe32(&tcp[4]);
    const auto header = static_cast<uint32_t>(4 * (tcp[12] >> 4));
    StoreBe32(&reset[8], sequence + ((flags & kSyn) ? 1 : 0) +
                             ((flags & kFin) ? 1 : 0) +
                             static_cast<uint32_t>(bytes) - header);
    reset[13] |= kAck;
  }
  return reset;
}

std::optional<std::vector<uint8_t>> TcpReset(const PacketState& rejected) {
  const Headers& headers = rejected.headers;
  if (headers.fragment_offset != 0 || !headers.transport_ok ||
      headers.protocol != IPPROTO_TCP) {
    return std::nullopt;
  }
  const auto tcp = Transport(rejected, kTcpHeader);
  if (!tcp || ((*tcp)[13] & kRst) != 0) return std::nullopt;
  if (!ChecksumHolds(rejected) || IsToMany(rejected)) return std::nullopt;
  const Address source = SourceOf(rejected);
  const Address destination = DestinationOf(rejected);
  const std::vector<uint8_t> reset =
      ResetSegment(*tcp, rejected.bytes.size() - headers.transport);
  if (IsIpv4(rejected)) {
    return Finish(Family::kIpv4,
                  Ipv4Head(destination, source, IPPROTO_TCP, kTtl, 0, true),
                  reset, 16);
  }
  // Neither end may be a group or nobody.
  if (source[0] == 0xff || source == Address{} || destination == Address{}) {
    return std::nullopt;
  }
  return Finish(Family::kIpv6, Ipv6Head(destination, source, IPPROTO_TCP),
                reset, 16);
}

// --- ICMP errors ------------------------------------------------------------

/// Whether the packet was sent to an address of ours; a link-local one is ours
/// only on its own link, which for what comes from this host is none.
bool WasSentToUs(const PacketState& rejected) {
  const Address destination = DestinationOf(rejected);
  std::string_view link;
  if (!IsIpv4(rejected) && IsIpv6LinkLocal(destination)) {
    link = DeviceName(rejected.in);
    if (link.empty()) link = "lo";
  }
  return rejected.topology->TypeOf(destination, link) == AddressType::kLocal;
}

/// The route of an ICMPv6 error: a link-local sender is looked for on the link
/// the packet came in by; when that is this host itself, on the link the packet
/// was bound for.
RouteDecision WayBack6(const PacketState& rejected) {
  const Topology& topology = *rejected.topology;
  const Address sender = SourceOf(rejected);
  if (!IsIpv6LinkLocal(sender)) return topology.FindRoute("", {}, sender);
  std::string_view link = DeviceName(rejected.in);
  if (link.empty() || link == "lo") {
    const Address destination = DestinationOf(rejected);
    link = topology.OwnerOf(destination);
    if (link.empty()) {
      const std::string_view out = DeviceName(rejected.out);
      link = topology.FindRouteAgain(out, sender, destination).out;
    }
  }
  return topology.FindRouteAgain(link, {}, sender);
}

/// The address an error comes from: the one the packet was sent to when it is
/// ours, else that of the device it goes out by.
std::optional<Address> SourceOfError(const PacketState& rejected) {
  const Topology& topology = *rejected.topology;
  const Address destination = DestinationOf(rejected);
  const Address sender = SourceOf(rejected);
  const bool ours = WasSentToUs(rejected);
  if (IsIpv4(rejected)) {
    // A packet that is delivered here is answered from where it was sent to;
    // ip_route_output_key_hash() takes no source that is only routed here.
    const bool to_ourselves =
        rejected.route == RouteKind::kOutput && rejected.routed_here;
    if (rejected.route == RouteKind::kLocal || to_ourselves) {
      return ours ? std::optional(destination) : std::nullopt;
    }
  } else if (ours) {
    return destination;
  }
  const RouteDecision way = IsIpv4(rejected)
                                ? topology.FindRoute("", {}, sender)
                                : WayBack6(rejected);
  if (!way.ok) return std::nullopt;
  // icmp6_send() prefers the device the packet came in by.
  const std::string_view in = DeviceName(rejected.in);
  const bool v4 = IsIpv4(rejected);
  if (way.local && (v4 || in.empty())) return sender;  // to ourselves
  if (v4) return topology.PrimaryAddress(way.out);
  return topology.SourceFor(in.empty() ? way.out : in, sender);
}

/// ICMP types that are errors, and those nobody knows: never answered.
bool IsIcmpError(uint8_t type) {
  constexpr uint8_t kLargestType = 18;
  if (type > kLargestType) return true;
  switch (type) {
    case 3:   // destination unreachable
    case 4:   // source quench
    case 5:   // redirect
    case 11:  // time exceeded
    case 12:  // parameter problem
    // Numbers without a meaning.
    case 1:
    case 2:
    case 6:
    case 7:
    case 9:
    case 10:
      return true;
    default:
      return false;
  }
}

std::vector<uint8_t> IcmpBody(const RejectTarget& reject,
                              const PacketState& rejected, size_t room) {
  const size_t quoted = std::min(rejected.bytes.size(), room - kIcmpHeader);
  std::vector<uint8_t> body(kIcmpHeader + quoted);
  body[0] = reject.icmp_type;
  body[1] = reject.icmp_code;
  const auto quote = body.begin() + kIcmpHeader;
  std::copy_n(rejected.bytes.begin(), quoted, quote);
  // A reset of this host has only the sum of its pseudo header yet
  // (CHECKSUM_PARTIAL, nf_reject_ip_tcphdr_put()).
  const Headers& headers = rejected.headers;
  const size_t field = headers.transport + kTcpChecksumAt;
  if (IsIpv4(rejected) && rejected.answer && headers.protocol == IPPROTO_TCP &&
      field + 2 <= quoted) {
    const uint32_t length = headers.total_length - headers.transport;
    const auto partial = static_cast<uint16_t>(~ChecksumFold(
        PseudoHeaderSum(Family::kIpv4, SourceOf(rejected),
                        DestinationOf(rejected), IPPROTO_TCP, length)));
    StoreRaw16(&body[kIcmpHeader + field], partial);
  }
  return body;
}

std::optional<std::vector<uint8_t>> IcmpError4(const RejectTarget& reject,
                                               const PacketState& rejected) {
  if (rejected.headers.fragment_offset != 0) return std::nullopt;
  if (MustVerify(rejected) && !ChecksumHolds(rejected)) return std::nullopt;
  if (CameByLinkBroadcast(rejected) || IsToMany(rejected)) return std::nullopt;
  if (rejected.headers.protocol == IPPROTO_ICMP) {
    const auto icmp = Transport(rejected, 1);
    if (!icmp || IsIcmpError((*icmp)[0])) return std::nullopt;
  }
  const auto source = SourceOfError(rejected);
  if (!source) return std::nullopt;
  // The type of service of the rejected packet, at the precedence of network
  // control: RFC 1812 section 4.3.2.5.
  const auto tos = static_cast<uint8_t>((TosOf(rejected) & 0x1e) | 0xc0);
  const Address destination = SourceOf(rejected);
  // Sockets send to a group (224.0.0.0/4) one hop far: ip(7), IP_MULTICAST_TTL.
  const bool group = (destination[0] & 0xf0) == 0xe0;
  return Finish(Family::kIpv4,
                Ipv4Head(*source, destination, IPPROTO_ICMP, group ? 1 : kTtl,
                         tos, false),
                IcmpBody(reject, rejected, kLargestIcmp - kIpv4Header), 2);
}

std::optional<std::vector<uint8_t>> IcmpError6(const RejectTarget& reject,
                                               const PacketState& rejected) {
  const Headers& headers = rejected.headers;
  if (!headers.transport_ok || headers.fragment_offset != 0 ||
      headers.transport >= rejected.bytes.size()) {
    return std::nullopt;
  }
  if (MustVerify(rejected) && !ChecksumHolds(rejected)) return std::nullopt;
  if (CameByLinkBroadcast(rejected) || IsToMany(rejected)) return std::nullopt;
  const Address sender = SourceOf(rejected);
  if (sender == Address{} || sender[0] == 0xff) return std::nullopt;
  if (headers.protocol == IPPROTO_ICMPV6) {
    // Errors have a type under 128.
    const auto icmp = Transport(rejected, 1);
    if (!icmp || (*icmp)[0] < 128) return std::nullopt;
  }
  const auto source = SourceOfError(rejected);
  if (!source) return std::nullopt;
  return Finish(Family::kIpv6, Ipv6Head(*source, sender, IPPROTO_ICMPV6),
                IcmpBody(reject, rejected, kLargestIcmpv6 - kIpv6Header), 2);
}

}  // namespace

std::optional<std::vector<uint8_t>> AnswerOf(const RejectTarget& reject,
                                             const PacketState& rejected) {
  if (reject.tcp_reset) return TcpReset(rejected);
  return IsIpv4(rejected) ? IcmpError4(reject, rejected)
                          : IcmpError6(reject, rejected);
}

}  // namespace nfarena::reference
