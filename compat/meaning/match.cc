#include "compat/meaning/match.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_dscp.h>
#include <linux/netfilter/xt_iprange.h>
#include <linux/netfilter/xt_length.h>
#include <linux/netfilter/xt_limit.h>
#include <linux/netfilter/xt_mac.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_owner.h>
#include <linux/netfilter/xt_pkttype.h>
#include <linux/netfilter/xt_set.h>
#include <linux/netfilter/xt_state.h>
#include <linux/netfilter/xt_statistic.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv4/ipt_ttl.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <linux/netfilter_ipv6/ip6t_hl.h>

#include "compat/meaning/decoders.h"
#include "compat/meaning/payload.h"

namespace nfarena {
namespace {

using payload::FailAt;
using payload::Read;
using payload::RefuseBits;
using payload::ToAddress;

PortRange Ports(const uint16_t (&range)[2], bool inverted) {
  return {range[0], range[1], inverted};
}

Result<Condition> DecodeTcp(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_tcp>(match));
  RETURN_IF_ERROR(
      RefuseBits(match, raw.invflags, XT_TCP_INV_MASK, "inversion flags"));
  TcpMatch tcp;
  tcp.source = Ports(raw.spts, raw.invflags & XT_TCP_INV_SRCPT);
  tcp.destination = Ports(raw.dpts, raw.invflags & XT_TCP_INV_DSTPT);
  tcp.option = raw.option;
  tcp.option_inverted = raw.invflags & XT_TCP_INV_OPTION;
  tcp.flags_mask = raw.flg_mask;
  tcp.flags_value = raw.flg_cmp;
  tcp.flags_inverted = raw.invflags & XT_TCP_INV_FLAGS;
  return tcp;
}

Result<Condition> DecodeUdp(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_udp>(match));
  RETURN_IF_ERROR(
      RefuseBits(match, raw.invflags, XT_UDP_INV_MASK, "inversion flags"));
  return UdpMatch{Ports(raw.spts, raw.invflags & XT_UDP_INV_SRCPT),
                  Ports(raw.dpts, raw.invflags & XT_UDP_INV_DSTPT)};
}

Result<Condition> DecodeIcmp(Family family, const Extension& match) {
  static_assert(sizeof(ipt_icmp) == sizeof(ip6t_icmp));
  ASSIGN_OR_RETURN(const auto raw, Read<ipt_icmp>(match));
  RETURN_IF_ERROR(
      RefuseBits(match, raw.invflags, IPT_ICMP_INV, "inversion flags"));
  IcmpMatch icmp;
  icmp.family = family;
  // ICMPv6 has no such wildcard: its kernel code compares 255 like any type.
  icmp.any_type = family == Family::kIpv4 && raw.type == 0xff;
  icmp.type = raw.type;
  icmp.code_first = raw.code[0];
  icmp.code_last = raw.code[1];
  icmp.inverted = raw.invflags & IPT_ICMP_INV;
  return icmp;
}

Result<Condition> DecodeMultiport(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_multiport_v1>(match));
  MultiportMatch multiport;
  switch (raw.flags) {
    case XT_MULTIPORT_SOURCE:
      multiport.side = PortSide::kSource;
      break;
    case XT_MULTIPORT_DESTINATION:
      multiport.side = PortSide::kDestination;
      break;
    case XT_MULTIPORT_EITHER:
      multiport.side = PortSide::kEither;
      break;
    default:
      return FailAt(match, ErrorCode::kRange, "multiport: unknown side");
  }
  if (raw.count > XT_MULTI_PORTS) {
    return FailAt(match, ErrorCode::kRange, "multiport: over 15 ports");
  }
  for (size_t i = 0; i < raw.count; ++i) {
    PortRange range{raw.ports[i], raw.ports[i], false};
    if (raw.pflags[i] != 0) {  // the next port is this range's end
      ++i;
      if (i >= raw.count || raw.pflags[i] != 0) {
        return FailAt(match, ErrorCode::kRange, "multiport: range has no end");
      }
      range.last = raw.ports[i];
      if (range.first > range.last) {
        return FailAt(match, ErrorCode::kRange, "multiport: range is empty");
      }
    }
    multiport.ranges.push_back(range);
  }
  // The kernel XORs the flag with a truth value, so that any other number than
  // 0 or 1 would read as "always": user space never makes one.
  if (raw.invert > 1) {
    return FailAt(match, ErrorCode::kRange, "multiport: bad inversion flag");
  }
  multiport.inverted = raw.invert != 0;
  return multiport;
}

Result<Condition> DecodeIprange(Family family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_iprange_mtinfo>(match));
  IprangeMatch iprange;
  if (raw.flags & IPRANGE_SRC) {
    iprange.source = AddressRange{ToAddress(family, raw.src_min),
                                  ToAddress(family, raw.src_max),
                                  (raw.flags & IPRANGE_SRC_INV) != 0};
  }
  if (raw.flags & IPRANGE_DST) {
    iprange.destination = AddressRange{ToAddress(family, raw.dst_min),
                                       ToAddress(family, raw.dst_max),
                                       (raw.flags & IPRANGE_DST_INV) != 0};
  }
  return iprange;
}

/// What the three revisions share.
template <typename Raw>
ConntrackMatch ConntrackCommon(Family family, const Raw& raw) {
  ConntrackMatch conntrack;
  conntrack.tests = raw.match_flags;
  conntrack.inverted = raw.invert_flags;
  conntrack.state_mask = raw.state_mask;
  conntrack.status_mask = raw.status_mask;
  conntrack.protocol = raw.l4proto;
  const auto masked = [family](const auto& address, const auto& mask) {
    return MaskedAddress{ToAddress(family, address), ToAddress(family, mask)};
  };
  conntrack.original_source = masked(raw.origsrc_addr, raw.origsrc_mask);
  conntrack.original_destination = masked(raw.origdst_addr, raw.origdst_mask);
  conntrack.reply_source = masked(raw.replsrc_addr, raw.replsrc_mask);
  conntrack.reply_destination = masked(raw.repldst_addr, raw.repldst_mask);
  conntrack.expires_first_s = raw.expires_min;
  conntrack.expires_last_s = raw.expires_max;
  return conntrack;
}

/// `inverted` of the port tests also goes into their ranges, so that a range
/// means the same here as in the tcp match.
void SetPorts(ConntrackMatch* conntrack, uint16_t (&first)[4],
              uint16_t (&last)[4]) {
  const auto range = [&](size_t i, uint16_t test) {
    return PortRange{first[i], last[i], (conntrack->inverted & test) != 0};
  };
  conntrack->original_source_port = range(0, kCtTestOriginalSourcePort);
  conntrack->original_destination_port =
      range(1, kCtTestOriginalDestinationPort);
  conntrack->reply_source_port = range(2, kCtTestReplySourcePort);
  conntrack->reply_destination_port = range(3, kCtTestReplyDestinationPort);
}

/// Revisions 1 and 2: one port a test, network byte order.
template <typename Raw>
Result<Condition> DecodeConntrackOnePort(Family family,
                                         const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<Raw>(match));
  ConntrackMatch conntrack = ConntrackCommon(family, raw);
  uint16_t ports[4] = {ntohs(raw.origsrc_port), ntohs(raw.origdst_port),
                       ntohs(raw.replsrc_port), ntohs(raw.repldst_port)};
  SetPorts(&conntrack, ports, ports);
  return conntrack;
}

/// Revision 3: port ranges, host byte order.
Result<Condition> DecodeConntrackRanges(Family family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_conntrack_mtinfo3>(match));
  ConntrackMatch conntrack = ConntrackCommon(family, raw);
  uint16_t first[4] = {raw.origsrc_port, raw.origdst_port, raw.replsrc_port,
                       raw.repldst_port};
  uint16_t last[4] = {raw.origsrc_port_high, raw.origdst_port_high,
                      raw.replsrc_port_high, raw.repldst_port_high};
  SetPorts(&conntrack, first, last);
  return conntrack;
}

Result<Condition> DecodeState(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_state_info>(match));
  return StateMatch{raw.statemask};
}

Result<Condition> DecodeMark(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_mark_mtinfo1>(match));
  return MarkMatch{raw.mark, raw.mask, raw.invert != 0};
}

Result<Condition> DecodeConnmark(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_connmark_mtinfo1>(match));
  return ConnmarkMatch{raw.mark, raw.mask, raw.invert != 0};
}

Result<Condition> DecodeLimit(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_rateinfo>(match));
  if (raw.burst == 0) {
    return FailAt(match, ErrorCode::kRange, "limit: burst is 0");
  }
  return LimitMatch{raw.avg, raw.burst};
}

Result<Condition> DecodeMac(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_mac_info>(match));
  MacMatch mac;
  std::copy_n(raw.srcaddr, mac.source.size(), mac.source.begin());
  mac.inverted = raw.invert != 0;
  return mac;
}

/// Revision 0 (IPv4): inversion in two words of its own.
Result<Condition> DecodeAddrtype0(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_addrtype_info>(match));
  AddrtypeMatch addrtype;
  addrtype.source_types = raw.source;
  addrtype.destination_types = raw.dest;
  addrtype.source_inverted = raw.invert_source != 0;
  addrtype.destination_inverted = raw.invert_dest != 0;
  return addrtype;
}

Result<Condition> DecodeAddrtype1(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_addrtype_info_v1>(match));
  AddrtypeMatch addrtype;
  addrtype.source_types = raw.source;
  addrtype.destination_types = raw.dest;
  addrtype.source_inverted = raw.flags & XT_ADDRTYPE_INVERT_SOURCE;
  addrtype.destination_inverted = raw.flags & XT_ADDRTYPE_INVERT_DEST;
  addrtype.limit_in = raw.flags & XT_ADDRTYPE_LIMIT_IFACE_IN;
  addrtype.limit_out = raw.flags & XT_ADDRTYPE_LIMIT_IFACE_OUT;
  return addrtype;
}

Result<Condition> DecodeLength(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_length_info>(match));
  return LengthMatch{raw.min, raw.max, raw.invert != 0};
}

Result<Condition> DecodeDscp(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_dscp_info>(match));
  if (raw.dscp > XT_DSCP_MAX) {
    return FailAt(match, ErrorCode::kRange, "dscp: value over 0x3f");
  }
  return DscpMatch{raw.dscp, raw.invert != 0};
}

Result<Condition> DecodeTos(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_tos_match_info>(match));
  return TosMatch{raw.tos_value, raw.tos_mask, raw.invert != 0};
}

Result<Condition> DecodeTtl(Family family, const Extension& match) {
  static_assert(sizeof(ipt_ttl_info) == sizeof(ip6t_hl_info));
  ASSIGN_OR_RETURN(const auto raw, Read<ipt_ttl_info>(match));
  if (raw.mode > IPT_TTL_GT) {
    return FailAt(match, ErrorCode::kRange, match.name + ": unknown test");
  }
  return TtlMatch{family, static_cast<TtlTest>(raw.mode), raw.ttl};
}

Result<Condition> DecodePkttype(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_pkttype_info>(match));
  return PkttypeMatch{raw.pkttype, raw.invert != 0};
}

Result<Condition> DecodeOwner(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_owner_match_info>(match));
  RETURN_IF_ERROR(RefuseBits(match, raw.match, XT_OWNER_MASK, "tests"));
  OwnerMatch owner;
  if (raw.match & XT_OWNER_UID) {
    owner.uid =
        IdRange{raw.uid_min, raw.uid_max, (raw.invert & XT_OWNER_UID) != 0};
  }
  if (raw.match & XT_OWNER_GID) {
    owner.gid =
        IdRange{raw.gid_min, raw.gid_max, (raw.invert & XT_OWNER_GID) != 0};
  }
  owner.socket_exists = raw.match & XT_OWNER_SOCKET;
  owner.socket_inverted = raw.invert & XT_OWNER_SOCKET;
  owner.supplementary_groups = raw.match & XT_OWNER_SUPPL_GROUPS;
  return owner;
}

Result<Condition> DecodeComment(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_comment_info>(match));
  return CommentMatch{payload::Text(raw.comment)};
}

Result<Condition> DecodeStatistic(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_statistic_info>(match));
  RETURN_IF_ERROR(RefuseBits(match, raw.flags, XT_STATISTIC_MASK, "flags"));
  StatisticMatch statistic;
  statistic.inverted = raw.flags & XT_STATISTIC_INVERT;
  switch (raw.mode) {
    case XT_STATISTIC_MODE_RANDOM:
      statistic.mode = StatisticMode::kRandom;
      statistic.probability = raw.u.random.probability;
      return statistic;
    case XT_STATISTIC_MODE_NTH:
      statistic.mode = StatisticMode::kNth;
      statistic.every = raw.u.nth.every;
      statistic.packet = raw.u.nth.packet;
      statistic.start_count = raw.u.nth.count;
      return statistic;
    default:
      return FailAt(match, ErrorCode::kRange, "statistic: unknown mode");
  }
}

/// The part that all revisions from 1 on share.  `flags`: bit 0 inverts, bit i
/// says that dimension i is the source's.
SetMatch SetCommon(const xt_set_info& raw) {
  SetMatch set;
  set.index = raw.index;
  set.dimensions = raw.dim;
  set.inverted = raw.flags & IPSET_INV_MATCH;
  set.source_mask = static_cast<uint8_t>((raw.flags & 0x7e) >> 1);
  return set;
}

Result<Condition> DecodeSet1(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_set_info_match_v1>(match));
  SetMatch set = SetCommon(raw.match_set);
  // Revision 2 is revision 1 plus this one bit.
  set.return_nomatch =
      match.revision >= 2 && (raw.match_set.flags & IPSET_RETURN_NOMATCH);
  return set;
}

template <typename Raw>
Result<Condition> DecodeSetCounters(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<Raw>(match));
  SetMatch set = SetCommon(raw.match_set);
  set.return_nomatch = raw.flags & IPSET_FLAG_RETURN_NOMATCH;
  set.update_counters = !(raw.flags & IPSET_FLAG_SKIP_COUNTER_UPDATE);
  set.update_subcounters = !(raw.flags & IPSET_FLAG_SKIP_SUBCOUNTER_UPDATE);
  if (raw.packets.op > IPSET_COUNTER_GT || raw.bytes.op > IPSET_COUNTER_GT) {
    return FailAt(match, ErrorCode::kRange, "set: unknown counter test");
  }
  set.packets_test = static_cast<CounterTest>(raw.packets.op);
  set.packets = raw.packets.value;
  set.bytes_test = static_cast<CounterTest>(raw.bytes.op);
  set.bytes = raw.bytes.value;
  return set;
}

// Revisions as registered by the kernel (net/netfilter/xt_*.c of 6.1 and 6.18)
// that iptables 1.8.9 may choose.
constexpr payload::Decoder<Condition> kDecoders[] = {
    // name, revision, IPv4, IPv6, decoder
    {"tcp", 0, true, true, DecodeTcp},
    {"udp", 0, true, true, DecodeUdp},
    {"udplite", 0, true, true, DecodeUdp},
    {"icmp", 0, true, false, DecodeIcmp},
    {"icmp6", 0, false, true, DecodeIcmp},
    {"multiport", 1, true, true, DecodeMultiport},
    {"iprange", 1, true, true, DecodeIprange},
    {"conntrack", 1, true, true, DecodeConntrackOnePort<xt_conntrack_mtinfo1>},
    {"conntrack", 2, true, true, DecodeConntrackOnePort<xt_conntrack_mtinfo2>},
    {"conntrack", 3, true, true, DecodeConntrackRanges},
    {"state", 0, true, true, DecodeState},
    {"mark", 1, true, true, DecodeMark},
    {"connmark", 1, true, true, DecodeConnmark},
    {"limit", 0, true, true, DecodeLimit},
    {"mac", 0, true, true, DecodeMac},
    {"addrtype", 0, true, false, DecodeAddrtype0},
    {"addrtype", 1, true, true, DecodeAddrtype1},
    {"length", 0, true, true, DecodeLength},
    {"dscp", 0, true, true, DecodeDscp},
    {"tos", 1, true, true, DecodeTos},
    {"ttl", 0, true, false, DecodeTtl},
    {"hl", 0, false, true, DecodeTtl},
    {"pkttype", 0, true, true, DecodePkttype},
    {"owner", 1, true, true, DecodeOwner},
    {"comment", 0, true, true, DecodeComment},
    {"statistic", 0, true, true, DecodeStatistic},
    {"set", 1, true, true, DecodeSet1},
    {"set", 2, true, true, DecodeSet1},
    {"set", 3, true, true, DecodeSetCounters<xt_set_info_match_v3>},
    {"set", 4, true, true, DecodeSetCounters<xt_set_info_match_v4>},
};

}  // namespace

Result<Condition> DecodeMatch(Family family, const Extension& match) {
  return payload::Decode<Condition>(
      {kDecoders, StatefulDecoders(), HeaderDecoders(), HostDecoders()},
      "match", family, match);
}

}  // namespace nfarena
