#include <arpa/inet.h>
#include <linux/icmp.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/xt_CLASSIFY.h>
#include <linux/netfilter/xt_CT.h>
#include <linux/netfilter/xt_DSCP.h>
#include <linux/netfilter/xt_LOG.h>
#include <linux/netfilter/xt_NFLOG.h>
#include <linux/netfilter/xt_NFQUEUE.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter_ipv4/ipt_REJECT.h>
#include <linux/netfilter_ipv4/ipt_TTL.h>
#include <linux/netfilter_ipv6/ip6t_HL.h>
#include <linux/netfilter_ipv6/ip6t_REJECT.h>

#include <algorithm>
#include <cstring>

#include "compat/lower/nft_encode.h"
#include "compat/lower/nft_pack.h"

namespace nfarena::nft {
namespace {

class TargetEncoder {
 public:
  explicit TargetEncoder(Family family) : family_(family) {}

  Extension operator()(const RejectTarget& reject) const {
    if (reject.family == Family::kIpv6) {
      static constexpr ip6t_reject_with kByCode[] = {
          IP6T_ICMP6_NO_ROUTE,      IP6T_ICMP6_ADM_PROHIBITED,
          IP6T_ICMP6_NOT_NEIGHBOUR, IP6T_ICMP6_ADDR_UNREACH,
          IP6T_ICMP6_PORT_UNREACH,  IP6T_ICMP6_POLICY_FAIL,
          IP6T_ICMP6_REJECT_ROUTE};
      ip6t_reject_info raw{};
      raw.with = reject.tcp_reset
                     ? uint32_t{IP6T_TCP_RESET}
                     : uint32_t{kByCode[std::min<size_t>(
                           reject.icmp_code, std::size(kByCode) - 1)]};
      return Pack("REJECT", 0, raw);
    }
    ipt_reject_info raw{};
    raw.with = reject.tcp_reset ? IPT_TCP_RESET : Reject4(reject.icmp_code);
    return Pack("REJECT", 0, raw);
  }

  Extension operator()(const LogTarget& log) const {
    xt_log_info raw{};
    raw.level = log.level;
    raw.logflags = log.flags;
    CopyText(log.prefix, raw.prefix);
    return Pack("LOG", 0, raw);
  }

  Extension operator()(const NflogTarget& log) const {
    xt_nflog_info raw{};
    raw.len = log.length;
    raw.group = log.group;
    raw.threshold = log.threshold;
    raw.flags = Bit<uint16_t>(log.has_length, XT_NFLOG_F_COPY_LEN);
    CopyText(log.prefix, raw.prefix);
    return Pack("NFLOG", 0, raw);
  }

  Extension operator()(const NfqueueTarget& queue) const {
    xt_NFQ_info_v3 raw{};
    raw.queuenum = queue.first;
    raw.queues_total = queue.count;
    raw.flags =
        static_cast<uint16_t>((queue.bypass ? NFQ_FLAG_BYPASS : 0) |
                              (queue.cpu_fanout ? NFQ_FLAG_CPU_FANOUT : 0));
    return Pack("NFQUEUE", 3, raw);
  }

  Extension operator()(const MarkTarget& mark) const {
    xt_mark_tginfo2 raw{};
    raw.mark = mark.value;
    raw.mask = mark.mask;
    return Pack("MARK", 2, raw);
  }

  Extension operator()(const ConnmarkTarget& mark) const {
    xt_connmark_tginfo2 raw{};
    raw.ctmark = mark.value;
    raw.ctmask = mark.connmark_mask;
    // What a mode does not use keeps libxtables' default.
    raw.nfmask = mark.mode == ConnmarkMode::kSet ? 0xffffffff : mark.mark_mask;
    raw.mode = mark.mode == ConnmarkMode::kSet    ? XT_CONNMARK_SET
               : mark.mode == ConnmarkMode::kSave ? XT_CONNMARK_SAVE
                                                  : XT_CONNMARK_RESTORE;
    return Pack("CONNMARK", 2, raw);
  }

  Extension operator()(const SnatTarget& snat) const {
    if (family_ == Family::kIpv4) return Nat4("SNAT", snat.to);
    return Pack("SNAT", 1, Nat<nf_nat_range>(snat.to));
  }

  Extension operator()(const DnatTarget& dnat) const {
    return Pack("DNAT", 2, Nat<nf_nat_range2>(dnat.to));
  }

  Extension operator()(const MasqueradeTarget& masquerade) const {
    if (family_ == Family::kIpv4) return Nat4("MASQUERADE", masquerade.to);
    return Pack("MASQUERADE", 0, Nat<nf_nat_range>(masquerade.to));
  }

  Extension operator()(const RedirectTarget& redirect) const {
    if (family_ == Family::kIpv4) return Nat4("REDIRECT", redirect.to);
    return Pack("REDIRECT", 0, Nat<nf_nat_range>(redirect.to));
  }

  Extension operator()(const NetmapTarget& netmap) const {
    if (family_ == Family::kIpv4) return Nat4("NETMAP", netmap.to);
    return Pack("NETMAP", 0, Nat<nf_nat_range>(netmap.to));
  }

  Extension operator()(const CtTarget& ct) const {
    xt_ct_target_info_v1 raw{};
    raw.flags = Bit<uint16_t>(ct.notrack, XT_CT_NOTRACK);
    return PackPart("CT", 2, raw, offsetof(xt_ct_target_info_v1, ct));
  }

  Extension operator()(const NotrackTarget&) const {
    return (*this)(CtTarget{.notrack = true, .helper = "", .timeout = ""});
  }

  Extension operator()(const TraceTarget&) const {
    Extension extension;
    extension.name = "TRACE";
    return extension;
  }

  // TCPMSS is never native: exthdr cannot add the option.
  Extension operator()(const TcpmssTarget&) const { return {}; }

  Extension operator()(const DscpTarget& dscp) const {
    xt_DSCP_info raw{};
    raw.dscp = dscp.value;
    return Pack("DSCP", 0, raw);
  }

  Extension operator()(const TosTarget& tos) const {
    xt_tos_target_info raw{};
    raw.tos_value = tos.value;
    raw.tos_mask = tos.mask;
    return Pack("TOS", 1, raw);
  }

  Extension operator()(const TtlTarget& ttl) const {
    static_assert(sizeof(ipt_TTL_info) == sizeof(ip6t_HL_info));
    static_assert(IPT_TTL_SET == int{IP6T_HL_SET});
    ipt_TTL_info raw{};
    raw.mode = IPT_TTL_SET;
    raw.ttl = ttl.value;
    return Pack(ttl.family == Family::kIpv4 ? "TTL" : "HL", 0, raw);
  }

  Extension operator()(const ClassifyTarget& classify) const {
    xt_classify_target_info raw{};
    raw.priority = classify.priority;
    return Pack("CLASSIFY", 0, raw);
  }

  /// Targets that no native form is raised to.
  template <typename Other>
  Extension operator()(const Other&) const {
    return {};
  }

 private:
  static ipt_reject_with Reject4(uint8_t code) {
    switch (code) {
      case ICMP_NET_UNREACH:
        return IPT_ICMP_NET_UNREACHABLE;
      case ICMP_HOST_UNREACH:
        return IPT_ICMP_HOST_UNREACHABLE;
      case ICMP_PROT_UNREACH:
        return IPT_ICMP_PROT_UNREACHABLE;
      case ICMP_NET_ANO:
        return IPT_ICMP_NET_PROHIBITED;
      case ICMP_HOST_ANO:
        return IPT_ICMP_HOST_PROHIBITED;
      case ICMP_PKT_FILTERED:
        return IPT_ICMP_ADMIN_PROHIBITED;
      default:
        return IPT_ICMP_PORT_UNREACHABLE;
    }
  }

  static Extension Nat4(std::string name, const NatParameters& to) {
    nf_nat_ipv4_multi_range_compat raw{};
    raw.rangesize = 1;
    raw.range[0].flags = to.flags;
    std::memcpy(&raw.range[0].min_ip, to.first.data(), 4);
    std::memcpy(&raw.range[0].max_ip, to.last.data(), 4);
    raw.range[0].min.all = htons(to.first_port);
    raw.range[0].max.all = htons(to.last_port);
    return Pack(std::move(name), 0, raw);
  }

  template <typename Range>
  static Range Nat(const NatParameters& to) {
    Range raw{};
    raw.flags = to.flags;
    CopyAddress(to.first, &raw.min_addr);
    CopyAddress(to.last, &raw.max_addr);
    raw.min_proto.all = htons(to.first_port);
    raw.max_proto.all = htons(to.last_port);
    return raw;
  }

  Family family_;
};

}  // namespace

Extension EncodeTarget(Family family, const Action& action) {
  return std::visit(TargetEncoder(family), action);
}

}  // namespace nfarena::nft
