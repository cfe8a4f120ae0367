// tcp, udp, udplite and multiport.
// Source: net/netfilter/xt_tcpudp.c, xt_multiport.c.

#include <cerrno>
#include <utility>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/matches.h"
#include "engines/xt/tcp_options.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

constexpr size_t kUdpHeaderBytes = 8;
constexpr size_t kTcpFlagsOffset = 13;

bool PortIn(uint16_t port, const uint16_t (&range)[2], bool invert) {
  return InRange(port, range[0], range[1], invert);
}

}  // namespace

bool MatchTcp(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  if (packet.headers.fragment_offset != 0) {
    // A TCP fragment 8 bytes in could overwrite the flags that a rule has
    // judged.  IPv6 counts the offset in bytes here, so 1 never occurs.
    if (IsIpv4(packet) && packet.headers.fragment_offset == 1) {
      return Hotdrop(context);
    }
    return false;
  }
  const uint8_t* tcp =
      HeaderAt(packet, packet.headers.transport, kTcpHeaderBytes);
  if (tcp == nullptr) return Hotdrop(context);

  const auto info = LoadAt<xt_tcp>(payload);
  if (!PortIn(LoadBe16(tcp), info.spts, info.invflags & XT_TCP_INV_SRCPT) ||
      !PortIn(LoadBe16(tcp + 2), info.dpts, info.invflags & XT_TCP_INV_DSTPT)) {
    return false;
  }
  const bool flags_equal =
      (tcp[kTcpFlagsOffset] & info.flg_mask) == info.flg_cmp;
  if (flags_equal == ((info.invflags & XT_TCP_INV_FLAGS) != 0)) return false;
  if (info.option == 0) return true;

  const size_t header_bytes = static_cast<size_t>(tcp[12] >> 4) * 4;
  if (header_bytes < kTcpHeaderBytes) return Hotdrop(context);
  const bool invert = info.invflags & XT_TCP_INV_OPTION;
  switch (FindOption(packet, packet.headers.transport + kTcpHeaderBytes,
                     header_bytes - kTcpHeaderBytes, info.option)) {
    case OptionSearch::kFound:
      return !invert;
    case OptionSearch::kMissing:
      return invert;
    case OptionSearch::kTruncated:
      break;
  }
  return Hotdrop(context);
}

Status CheckTcp(std::span<const uint8_t> payload, const XtUse&) {
  const uint8_t flags = LOAD_FIELD(payload.data(), xt_tcp, invflags);
  if (flags & ~XT_TCP_INV_MASK) return Refuse(EINVAL, "unknown inverse flags");
  return {};
}

bool MatchUdp(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  if (packet.headers.fragment_offset != 0) return false;
  const uint8_t* udp =
      HeaderAt(packet, packet.headers.transport, kUdpHeaderBytes);
  if (udp == nullptr) return Hotdrop(context);
  const auto info = LoadAt<xt_udp>(payload);
  return PortIn(LoadBe16(udp), info.spts, info.invflags & XT_UDP_INV_SRCPT) &&
         PortIn(LoadBe16(udp + 2), info.dpts, info.invflags & XT_UDP_INV_DSTPT);
}

Status CheckUdp(std::span<const uint8_t> payload, const XtUse&) {
  const uint8_t flags = LOAD_FIELD(payload.data(), xt_udp, invflags);
  if (flags & ~XT_UDP_INV_MASK) return Refuse(EINVAL, "unknown inverse flags");
  return {};
}

bool MatchMultiport(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  if (packet.headers.fragment_offset != 0) return false;
  const uint8_t* ports = HeaderAt(packet, packet.headers.transport, 4);
  if (ports == nullptr) return Hotdrop(context);
  const uint16_t source = LoadBe16(ports);
  const uint16_t destination = LoadBe16(ports + 2);

  const auto info = LoadAt<xt_multiport_v1>(payload);
  const bool try_source = info.flags != XT_MULTIPORT_DESTINATION;
  const bool try_destination = info.flags != XT_MULTIPORT_SOURCE;
  for (unsigned i = 0; i < info.count; ++i) {
    const uint16_t low = info.ports[i];
    // CheckMultiport made sure that a range has its second half.
    const uint16_t high = info.pflags[i] ? info.ports[++i] : low;
    if ((try_source && source >= low && source <= high) ||
        (try_destination && destination >= low && destination <= high)) {
      return !info.invert;
    }
  }
  return info.invert;
}

Status CheckMultiport(std::span<const uint8_t> payload, const XtUse& use) {
  const auto info = LoadAt<xt_multiport_v1>(payload.data());
  switch (use.protocol) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
    case IPPROTO_SCTP:
    case IPPROTO_DCCP:
      break;
    default:
      return Refuse(EINVAL, "needs a protocol with ports");
  }
  if (use.protocol_inverted) {
    return Refuse(EINVAL, "needs a protocol that is not inverted");
  }
  if (info.flags > XT_MULTIPORT_EITHER) return Refuse(EINVAL, "unknown flags");
  if (info.count > XT_MULTI_PORTS) return Refuse(EINVAL, "too many ports");
  for (unsigned i = 0; i < info.count; ++i) {
    if (!info.pflags[i]) continue;
    if (++i >= info.count || info.pflags[i] ||
        info.ports[i - 1] > info.ports[i]) {
      return Refuse(EINVAL, "bad range of ports");
    }
  }
  return {};
}

}  // namespace nfarena::xt
