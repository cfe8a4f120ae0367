// icmp and icmp6.
// Source: icmp_match() of net/ipv4/netfilter/ip_tables.c, icmp6_match() of
// net/ipv6/netfilter/ip6_tables.c (both in net/netfilter/xt_tcpudp.c since
// 6.4).

#include <cerrno>
#include <utility>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/matches.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

constexpr size_t kIcmpHeaderBytes = 8;
constexpr uint8_t kAnyIcmpType = 0xff;

const uint8_t* IcmpHeader(const PacketState& packet) {
  return HeaderAt(packet, packet.headers.transport, kIcmpHeaderBytes);
}

}  // namespace

bool MatchIcmp(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  if (packet.headers.fragment_offset != 0) return false;
  const uint8_t* icmp = IcmpHeader(packet);
  if (icmp == nullptr) return Hotdrop(context);
  const auto info = LoadAt<ipt_icmp>(payload);
  const bool same = info.type == kAnyIcmpType ||
                    (icmp[0] == info.type && icmp[1] >= info.code[0] &&
                     icmp[1] <= info.code[1]);
  return same != ((info.invflags & IPT_ICMP_INV) != 0);
}

Status CheckIcmp(std::span<const uint8_t> payload, const XtUse&) {
  const uint8_t flags = LOAD_FIELD(payload.data(), ipt_icmp, invflags);
  if (flags & ~IPT_ICMP_INV) return Refuse(EINVAL, "unknown inverse flags");
  return {};
}

bool MatchIcmp6(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  if (packet.headers.fragment_offset != 0) return false;
  const uint8_t* icmp = IcmpHeader(packet);
  if (icmp == nullptr) return Hotdrop(context);
  const auto info = LoadAt<ip6t_icmp>(payload);
  // Unlike icmp there is no "any" type here.
  const bool same = icmp[0] == info.type && icmp[1] >= info.code[0] &&
                    icmp[1] <= info.code[1];
  return same != ((info.invflags & IP6T_ICMP_INV) != 0);
}

Status CheckIcmp6(std::span<const uint8_t> payload, const XtUse&) {
  const uint8_t flags = LOAD_FIELD(payload.data(), ip6t_icmp, invflags);
  if (flags & ~IP6T_ICMP_INV) return Refuse(EINVAL, "unknown inverse flags");
  return {};
}

}  // namespace nfarena::xt
