// ah, rt, frag, hbh, dst, ipv6header and eui64: what IPv6 packets carry
// between the network and the upper layer.
// Source: net/ipv6/netfilter/ip6t_ah.c, ip6t_rt.c, ip6t_frag.c, ip6t_hbh.c,
// ip6t_ipv6header.c, ip6t_eui64.c.
#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/ipv6_headers.h"
#include "engines/xt/matches.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

/// The header of that kind with `bytes` of it present; nullptr when the rule
/// does not match, which may also mean that the packet is dropped.
const uint8_t* FindOrDrop(const XtContext& context, uint8_t kind, size_t bytes,
                          size_t* offset) {
  const PacketState& packet = *context.packet;
  const FoundHeader found = FindExtensionHeader(packet, kind);
  if (found.search == HeaderSearch::kMissing) return nullptr;
  *offset = found.offset;
  const uint8_t* header = found.search == HeaderSearch::kFound
                              ? HeaderAt(packet, found.offset, bytes)
                              : nullptr;
  if (header == nullptr) Hotdrop(context);
  return header;
}

constexpr size_t kRoutingHeaderBytes = 8;  // before the first address

size_t AddressesIn(size_t header_bytes) {
  // Unsigned in the kernel, too: a header of 8 bytes has none.
  return (header_bytes - kRoutingHeaderBytes) / 16;
}

/// `temp`th address of a type 0 routing header; nullptr when it is cut off.
const uint8_t* RoutingAddress(const PacketState& packet, size_t at,
                              size_t index) {
  return HeaderAt(packet, at + kRoutingHeaderBytes + index * 16, 16);
}

/// --rt-0-addrs with and without --rt-0-not-strict; nullopt: cut off.
std::optional<bool> RouteAddressesMatch(const ip6t_rt& info,
                                        const PacketState& packet, size_t at,
                                        size_t header_bytes) {
  const size_t count = AddressesIn(header_bytes);
  if (info.addrnr > count) return false;
  const bool strict = !(info.flags & IP6T_RT_FST_NSTRICT);
  size_t matched = 0;
  for (size_t i = 0; i < count && matched < info.addrnr; ++i) {
    const uint8_t* address = RoutingAddress(packet, at, i);
    if (address == nullptr) return std::nullopt;
    if (std::memcmp(address, &info.addrs[matched], 16) == 0) {
      ++matched;
    } else if (strict) {
      return false;
    }
  }
  return matched == info.addrnr && (!strict || count == info.addrnr);
}

bool FlaggedAndNot(unsigned flags, unsigned bit, bool met) {
  return (flags & bit) && !met;
}

/// The options of a hop-by-hop or destination header against a list of
/// (type, length); length 0xff is any.
bool OptionsMatch(const ip6t_opts& info, const PacketState& packet, size_t at,
                  size_t bytes_left) {
  for (unsigned i = 0; i < info.optsnr; ++i) {
    if (bytes_left < 1) return false;
    const uint8_t* type = HeaderAt(packet, at, 1);
    if (type == nullptr) return false;
    if (*type != info.opts[i] >> 8) return false;
    size_t option_bytes = 1;  // Pad1
    if (*type != 0) {
      if (bytes_left < 2) return false;
      const uint8_t* length = HeaderAt(packet, at + 1, 1);
      if (length == nullptr) return false;
      const unsigned wanted = info.opts[i] & 0xff;
      if (wanted != 0xff && wanted != *length) return false;
      option_bytes = *length + 2u;
    }
    // An option that reaches past the end may only be the last one asked for.
    const bool too_long = packet.bytes.size() < option_bytes ||
                          at > packet.bytes.size() - option_bytes ||
                          bytes_left < option_bytes;
    if (too_long) return i + 1 == info.optsnr;
    at += option_bytes;
    bytes_left -= option_bytes;
  }
  return true;
}

bool MatchOptions(const uint8_t* payload, const XtContext& context,
                  uint8_t kind) {
  size_t at = 0;
  const uint8_t* header = FindOrDrop(context, kind, 2, &at);
  if (header == nullptr) return false;
  const PacketState& packet = *context.packet;
  const size_t header_bytes = ExtensionHeaderBytes(kind, header[1]);
  if (packet.bytes.size() - at < header_bytes) return Hotdrop(context);
  const auto info = LoadAt<ip6t_opts>(payload);
  const bool length_matches = !(info.flags & IP6T_OPTS_LEN) ||
                              (info.hdrlen == header_bytes) !=
                                  ((info.invflags & IP6T_OPTS_INV_LEN) != 0);
  if (!(info.flags & IP6T_OPTS_OPTS)) return length_matches;
  return OptionsMatch(info, packet, at + 2, header_bytes - 2) && length_matches;
}

}  // namespace

bool MatchAh6(const uint8_t* payload, const XtContext& context) {
  size_t at = 0;
  const uint8_t* header = FindOrDrop(context, kHeaderAh, 12, &at);
  if (header == nullptr) return false;
  const size_t header_bytes = ExtensionHeaderBytes(kHeaderAh, header[1]);
  if (context.packet->bytes.size() - at < header_bytes) {
    return Hotdrop(context);
  }
  const auto info = LoadAt<ip6t_ah>(payload);
  if (!InRange(LoadBe32(header + 4), info.spis[0], info.spis[1],
               info.invflags & IP6T_AH_INV_SPI)) {
    return false;
  }
  if (info.hdrlen != 0 && (info.hdrlen == header_bytes) ==
                              ((info.invflags & IP6T_AH_INV_LEN) != 0)) {
    return false;
  }
  return !(info.hdrres && LoadBe16(header + 2) != 0);
}

Status CheckAh6(std::span<const uint8_t> payload, const XtUse&) {
  if (LOAD_FIELD(payload.data(), ip6t_ah, invflags) & ~IP6T_AH_INV_MASK) {
    return Refuse(EINVAL, "unknown inverse flags");
  }
  return {};
}

bool MatchRt(const uint8_t* payload, const XtContext& context) {
  size_t at = 0;
  const uint8_t* header = FindOrDrop(context, kHeaderRouting, 4, &at);
  if (header == nullptr) return false;
  const PacketState& packet = *context.packet;
  const size_t header_bytes = ExtensionHeaderBytes(kHeaderRouting, header[1]);
  if (packet.bytes.size() - at < header_bytes) return Hotdrop(context);
  const auto info = LoadAt<ip6t_rt>(payload);
  bool match = InRange<uint32_t>(header[3], info.segsleft[0], info.segsleft[1],
                                 info.invflags & IP6T_RT_INV_SGS);
  if (info.flags & IP6T_RT_LEN) {
    match &= (info.hdrlen == header_bytes) !=
             ((info.invflags & IP6T_RT_INV_LEN) != 0);
  }
  if (info.flags & IP6T_RT_TYP) {
    match &=
        (info.rt_type == header[2]) != ((info.invflags & IP6T_RT_INV_TYP) != 0);
  }
  if (match && (info.flags & IP6T_RT_RES)) {
    const uint8_t* reserved = HeaderAt(packet, at + 4, 4);
    if (reserved == nullptr) return Hotdrop(context);
    match = LoadBe32(reserved) == 0;
  }
  if (!(info.flags & IP6T_RT_FST)) return match;
  const std::optional<bool> addresses =
      RouteAddressesMatch(info, packet, at, header_bytes);
  if (!addresses.has_value()) return Hotdrop(context);
  return *addresses && match;
}

Status CheckRt(std::span<const uint8_t> payload, const XtUse&) {
  const auto info = LoadAt<ip6t_rt>(payload.data());
  if (info.invflags & ~IP6T_RT_INV_MASK) {
    return Refuse(EINVAL, "unknown inverse flags");
  }
  if (info.addrnr > IP6T_RT_HOPS) return Refuse(EINVAL, "too many addresses");
  if ((info.flags & IP6T_RT_FST_MASK) && info.addrnr == 0) {
    return Refuse(EINVAL, "no addresses to match");
  }
  if ((info.flags & (IP6T_RT_RES | IP6T_RT_FST_MASK)) &&
      (!(info.flags & IP6T_RT_TYP) || info.rt_type != 0 ||
       (info.invflags & IP6T_RT_INV_TYP))) {
    return Refuse(EINVAL, "--rt-0-* needs --rt-type 0");
  }
  return {};
}

bool MatchFrag(const uint8_t* payload, const XtContext& context) {
  size_t at = 0;
  const uint8_t* header = FindOrDrop(context, kHeaderFragment, 8, &at);
  if (header == nullptr) return false;
  const auto info = LoadAt<ip6t_frag>(payload);
  const uint16_t word = LoadBe16(header + 2);
  const bool more = word & 1;
  const bool reserved_zero = header[1] == 0 && (word & 6) == 0;
  const bool first = (word & ~7u) == 0;
  return InRange(LoadBe32(header + 4), info.ids[0], info.ids[1],
                 info.invflags & IP6T_FRAG_INV_IDS) &&
         !FlaggedAndNot(info.flags, IP6T_FRAG_RES, reserved_zero) &&
         !FlaggedAndNot(info.flags, IP6T_FRAG_FST, first) &&
         !FlaggedAndNot(info.flags, IP6T_FRAG_MF, more) &&
         !FlaggedAndNot(info.flags, IP6T_FRAG_NMF, !more);
}

Status CheckFrag(std::span<const uint8_t> payload, const XtUse&) {
  if (LOAD_FIELD(payload.data(), ip6t_frag, invflags) & ~IP6T_FRAG_INV_MASK) {
    return Refuse(EINVAL, "unknown inverse flags");
  }
  return {};
}

bool MatchHbh(const uint8_t* payload, const XtContext& context) {
  return MatchOptions(payload, context, kHeaderHopByHop);
}

bool MatchDst(const uint8_t* payload, const XtContext& context) {
  return MatchOptions(payload, context, kHeaderDestination);
}

Status CheckOptions(std::span<const uint8_t> payload, const XtUse&) {
  const auto info = LoadAt<ip6t_opts>(payload.data());
  if (info.invflags & ~IP6T_OPTS_INV_MASK) {
    return Refuse(EINVAL, "unknown inverse flags");
  }
  if (info.optsnr > IP6T_OPTS_OPTSNR) {
    return Refuse(EINVAL, "too many options");
  }
  if (info.flags & IP6T_OPTS_NSTRICT) {
    return Refuse(EINVAL, "not-strict is not implemented");
  }
  return {};
}

bool MatchIpv6header(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  uint8_t next = packet.bytes[6];
  size_t at = 40;
  // As the kernel, which counts down and may go below zero at a header that
  // is longer than the packet.
  long left = static_cast<long>(packet.bytes.size()) - 40;
  unsigned seen = 0;
  while (IsExtensionHeader(next) || next == kHeaderEsp) {
    if (next == kHeaderNone) {
      seen |= MASK_NONE;
      break;
    }
    if (left < 2) return false;
    if (next == kHeaderEsp) {
      seen |= MASK_ESP;
      break;
    }
    const uint8_t* header = HeaderAt(packet, at, 2);
    if (header == nullptr) return Hotdrop(context);
    const size_t size =
        next == kHeaderFragment ? 8 : ExtensionHeaderBytes(next, header[1]);
    switch (next) {
      case kHeaderHopByHop:
        seen |= MASK_HOPOPTS;
        break;
      case kHeaderRouting:
        seen |= MASK_ROUTING;
        break;
      case kHeaderFragment:
        seen |= MASK_FRAGMENT;
        break;
      case kHeaderAh:
        seen |= MASK_AH;
        break;
      case kHeaderDestination:
        seen |= MASK_DSTOPTS;
        break;
    }
    next = header[0];
    left -= static_cast<long>(size);
    at += size;
    if (at > packet.bytes.size()) break;
  }
  if (next != kHeaderNone && next != kHeaderEsp) seen |= MASK_PROTO;
  const auto info = LoadAt<ip6t_ipv6header_info>(payload);
  if (info.modeflag) {  // --soft
    return ((seen ^ info.matchflags ^ info.invflags) & info.matchflags) == 0;
  }
  return (seen == info.matchflags) != (info.invflags != 0);
}

Status CheckIpv6header(std::span<const uint8_t> payload, const XtUse&) {
  const auto info = LoadAt<ip6t_ipv6header_info>(payload.data());
  if (!info.modeflag && info.invflags != 0x00 && info.invflags != 0xff) {
    return Refuse(EINVAL, "only a whole set of headers can be inverted");
  }
  return {};
}

bool MatchEui64(const uint8_t*, const XtContext& context) {
  const PacketState& packet = *context.packet;
  const auto layer = LinkLayerOf(packet);
  if (!layer) return false;
  const auto& mac = layer->src;
  const std::array<uint8_t, 8> eui64 = {static_cast<uint8_t>(mac[0] ^ 2),
                                        mac[1],
                                        mac[2],
                                        0xff,
                                        0xfe,
                                        mac[3],
                                        mac[4],
                                        mac[5]};
  return std::equal(eui64.begin(), eui64.end(), SourceBytes(packet) + 8);
}

}  // namespace nfarena::xt
