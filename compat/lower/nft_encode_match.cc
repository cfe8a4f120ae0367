#include <arpa/inet.h>
#include <linux/netfilter.h>
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
#include <linux/netfilter/xt_state.h>
#include <linux/netfilter/xt_statistic.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv4/ipt_ttl.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <linux/netfilter_ipv6/ip6t_hl.h>

#include <algorithm>

#include "compat/lower/nft_encode.h"
#include "compat/lower/nft_pack.h"

namespace nfarena::nft {
namespace {

class MatchEncoder {
 public:
  MatchEncoder(Family family, uint8_t protocol)
      : family_(family), protocol_(protocol) {}

  Extension operator()(const TcpMatch& tcp) const {
    xt_tcp raw{};
    Range(tcp.source, raw.spts);
    Range(tcp.destination, raw.dpts);
    raw.option = tcp.option;
    raw.flg_mask = tcp.flags_mask;
    raw.flg_cmp = tcp.flags_value;
    raw.invflags =
        static_cast<uint8_t>((tcp.source.inverted ? XT_TCP_INV_SRCPT : 0) |
                             (tcp.destination.inverted ? XT_TCP_INV_DSTPT : 0) |
                             (tcp.flags_inverted ? XT_TCP_INV_FLAGS : 0) |
                             (tcp.option_inverted ? XT_TCP_INV_OPTION : 0));
    return Pack("tcp", 0, raw);
  }

  Extension operator()(const UdpMatch& udp) const {
    xt_udp raw{};
    Range(udp.source, raw.spts);
    Range(udp.destination, raw.dpts);
    raw.invflags =
        static_cast<uint8_t>((udp.source.inverted ? XT_UDP_INV_SRCPT : 0) |
                             (udp.destination.inverted ? XT_UDP_INV_DSTPT : 0));
    return Pack(protocol_ == IPPROTO_UDPLITE ? "udplite" : "udp", 0, raw);
  }

  Extension operator()(const IcmpMatch& icmp) const {
    ipt_icmp raw{};
    static_assert(sizeof(ipt_icmp) == sizeof(ip6t_icmp));
    raw.type = icmp.type;
    raw.code[0] = icmp.code_first;
    raw.code[1] = icmp.code_last;
    raw.invflags = Bit<uint8_t>(icmp.inverted, IPT_ICMP_INV);
    return Pack(icmp.family == Family::kIpv4 ? "icmp" : "icmp6", 0, raw);
  }

  Extension operator()(const MultiportMatch& multiport) const {
    xt_multiport_v1 raw{};
    raw.flags = multiport.side == PortSide::kSource ? XT_MULTIPORT_SOURCE
                : multiport.side == PortSide::kDestination
                    ? XT_MULTIPORT_DESTINATION
                    : XT_MULTIPORT_EITHER;
    for (const PortRange& range : multiport.ranges) {
      if (raw.count >= XT_MULTI_PORTS) break;
      raw.ports[raw.count] = range.first;
      if (range.first != range.last && raw.count + 1 < XT_MULTI_PORTS) {
        raw.pflags[raw.count++] = 1;
        raw.ports[raw.count] = range.last;
      }
      ++raw.count;
    }
    raw.invert = multiport.inverted ? 1 : 0;
    return Pack("multiport", 1, raw);
  }

  Extension operator()(const IprangeMatch& iprange) const {
    xt_iprange_mtinfo raw{};
    if (iprange.source) {
      CopyAddress(iprange.source->first, &raw.src_min);
      CopyAddress(iprange.source->last, &raw.src_max);
      raw.flags |= IPRANGE_SRC;
      if (iprange.source->inverted) raw.flags |= IPRANGE_SRC_INV;
    }
    if (iprange.destination) {
      CopyAddress(iprange.destination->first, &raw.dst_min);
      CopyAddress(iprange.destination->last, &raw.dst_max);
      raw.flags |= IPRANGE_DST;
      if (iprange.destination->inverted) raw.flags |= IPRANGE_DST_INV;
    }
    return Pack("iprange", 1, raw);
  }

  Extension operator()(const ConntrackMatch& conntrack) const {
    xt_conntrack_mtinfo3 raw{};
    raw.match_flags = conntrack.tests;
    raw.invert_flags = conntrack.inverted;
    raw.state_mask = conntrack.state_mask;
    raw.status_mask = conntrack.status_mask;
    raw.l4proto = conntrack.protocol;
    raw.expires_min = conntrack.expires_first_s;
    raw.expires_max = conntrack.expires_last_s;
    CopyAddress(conntrack.original_source.address, &raw.origsrc_addr);
    CopyMask(conntrack.original_source.mask, &raw.origsrc_mask);
    CopyAddress(conntrack.original_destination.address, &raw.origdst_addr);
    CopyMask(conntrack.original_destination.mask, &raw.origdst_mask);
    CopyAddress(conntrack.reply_source.address, &raw.replsrc_addr);
    CopyMask(conntrack.reply_source.mask, &raw.replsrc_mask);
    CopyAddress(conntrack.reply_destination.address, &raw.repldst_addr);
    CopyMask(conntrack.reply_destination.mask, &raw.repldst_mask);
    const auto ports = [&conntrack](ConntrackTest test, const PortRange& range,
                                    auto* first, auto* last) {
      if ((conntrack.tests & test) == 0) return;
      *first = range.first;
      *last = range.last;
    };
    ports(kCtTestOriginalSourcePort, conntrack.original_source_port,
          &raw.origsrc_port, &raw.origsrc_port_high);
    ports(kCtTestOriginalDestinationPort, conntrack.original_destination_port,
          &raw.origdst_port, &raw.origdst_port_high);
    ports(kCtTestReplySourcePort, conntrack.reply_source_port,
          &raw.replsrc_port, &raw.replsrc_port_high);
    ports(kCtTestReplyDestinationPort, conntrack.reply_destination_port,
          &raw.repldst_port, &raw.repldst_port_high);
    return Pack("conntrack", 3, raw);
  }

  Extension operator()(const StateMatch& state) const {
    return Pack("state", 0, xt_state_info{state.state_mask});
  }

  Extension operator()(const MarkMatch& mark) const {
    xt_mark_mtinfo1 raw{};
    raw.mark = mark.value;
    raw.mask = mark.mask;
    raw.invert = mark.inverted;
    return Pack("mark", 1, raw);
  }

  Extension operator()(const ConnmarkMatch& mark) const {
    xt_connmark_mtinfo1 raw{};
    raw.mark = mark.value;
    raw.mask = mark.mask;
    raw.invert = mark.inverted;
    return Pack("connmark", 1, raw);
  }

  Extension operator()(const LimitMatch& limit) const {
    xt_rateinfo raw{};
    raw.avg = limit.interval;
    raw.burst = limit.burst;
    return PackPart("limit", 0, raw, offsetof(xt_rateinfo, prev));
  }

  Extension operator()(const MacMatch& mac) const {
    xt_mac_info raw{};
    std::ranges::copy(mac.source, raw.srcaddr);
    raw.invert = mac.inverted;
    return Pack("mac", 0, raw);
  }

  Extension operator()(const AddrtypeMatch& addrtype) const {
    xt_addrtype_info_v1 raw{};
    raw.source = addrtype.source_types;
    raw.dest = addrtype.destination_types;
    raw.flags =
        Bit<uint32_t>(addrtype.source_inverted, XT_ADDRTYPE_INVERT_SOURCE) |
        Bit<uint32_t>(addrtype.destination_inverted, XT_ADDRTYPE_INVERT_DEST) |
        Bit<uint32_t>(addrtype.limit_in, XT_ADDRTYPE_LIMIT_IFACE_IN) |
        Bit<uint32_t>(addrtype.limit_out, XT_ADDRTYPE_LIMIT_IFACE_OUT);
    return Pack("addrtype", 1, raw);
  }

  Extension operator()(const LengthMatch& length) const {
    xt_length_info raw{};
    raw.min = length.first;
    raw.max = length.last;
    raw.invert = length.inverted;
    return Pack("length", 0, raw);
  }

  Extension operator()(const DscpMatch& dscp) const {
    xt_dscp_info raw{};
    raw.dscp = dscp.value;
    raw.invert = dscp.inverted;
    return Pack("dscp", 0, raw);
  }

  Extension operator()(const TosMatch& tos) const {
    xt_tos_match_info raw{};
    raw.tos_mask = tos.mask;
    raw.tos_value = tos.value;
    raw.invert = tos.inverted;
    return Pack("tos", 1, raw);
  }

  Extension operator()(const TtlMatch& ttl) const {
    static_assert(IPT_TTL_EQ == int{IP6T_HL_EQ} &&
                  IPT_TTL_NE == int{IP6T_HL_NE});
    static_assert(sizeof(ipt_ttl_info) == sizeof(ip6t_hl_info));
    static constexpr uint8_t kModes[] = {IPT_TTL_EQ, IPT_TTL_NE, IPT_TTL_LT,
                                         IPT_TTL_GT};
    ipt_ttl_info raw{};
    raw.mode = kModes[static_cast<size_t>(ttl.test)];
    raw.ttl = ttl.value;
    return Pack(ttl.family == Family::kIpv4 ? "ttl" : "hl", 0, raw);
  }

  Extension operator()(const PkttypeMatch& pkttype) const {
    xt_pkttype_info raw{};
    raw.pkttype = pkttype.type;
    raw.invert = pkttype.inverted;
    return Pack("pkttype", 0, raw);
  }

  Extension operator()(const OwnerMatch& owner) const {
    xt_owner_match_info raw{};
    if (owner.uid) {
      raw.match |= XT_OWNER_UID;
      raw.uid_min = owner.uid->first;
      raw.uid_max = owner.uid->last;
    }
    if (owner.gid) {
      raw.match |= XT_OWNER_GID;
      raw.gid_min = owner.gid->first;
      raw.gid_max = owner.gid->last;
    }
    return Pack("owner", 1, raw);
  }

  Extension operator()(const CommentMatch& comment) const {
    xt_comment_info raw{};
    CopyText(comment.text, raw.comment);
    return Pack("comment", 0, raw);
  }

  Extension operator()(const StatisticMatch& statistic) const {
    xt_statistic_info raw{};
    raw.flags = Bit<uint16_t>(statistic.inverted, XT_STATISTIC_INVERT);
    if (statistic.mode == StatisticMode::kRandom) {
      raw.mode = XT_STATISTIC_MODE_RANDOM;
      raw.u.random.probability = statistic.probability;
    } else {
      raw.mode = XT_STATISTIC_MODE_NTH;
      raw.u.nth.every = statistic.every;
      raw.u.nth.packet = statistic.packet;
      raw.u.nth.count = statistic.start_count;
    }
    return PackPart("statistic", 0, raw,
                    offsetof(xt_statistic_info, u.nth.count));
  }

  /// Conditions that no native form is raised to.
  template <typename Other>
  Extension operator()(const Other&) const {
    return {};
  }

 private:
  /// libxtables begins with a mask of ones and writes the 4 bytes of IPv4's
  /// only when one was given.
  template <typename Union>
  void CopyMask(Address mask, Union* to) const {
    const auto is_one = [](uint8_t byte) { return byte == 0xff; };
    if (family_ == Family::kIpv4 &&
        std::all_of(mask.begin(), mask.begin() + 4, is_one)) {
      mask.fill(0xff);
    }
    CopyAddress(mask, to);
  }

  static void Range(const PortRange& range, uint16_t (&to)[2]) {
    to[0] = range.first;
    to[1] = range.last;
  }

  Family family_;
  uint8_t protocol_;
};

}  // namespace

Extension EncodeMatch(Family family, const Condition& condition,
                      uint8_t protocol) {
  if (auto part = EncodeStateMatch(condition)) return *std::move(part);
  return std::visit(MatchEncoder(family, protocol), condition);
}

}  // namespace nfarena::nft
