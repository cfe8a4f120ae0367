#include "compat/meaning/target.h"

#include <arpa/inet.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/xt_AUDIT.h>
#include <linux/netfilter/xt_CHECKSUM.h>
#include <linux/netfilter/xt_CLASSIFY.h>
#include <linux/netfilter/xt_CT.h>
#include <linux/netfilter/xt_DSCP.h>
#include <linux/netfilter/xt_LOG.h>
#include <linux/netfilter/xt_NFLOG.h>
#include <linux/netfilter/xt_NFQUEUE.h>
#include <linux/netfilter/xt_TCPMSS.h>
#include <linux/netfilter/xt_TCPOPTSTRIP.h>
#include <linux/netfilter/xt_TEE.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_dscp.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter/xt_set.h>
#include <linux/netfilter_ipv4/ipt_ECN.h>
#include <linux/netfilter_ipv4/ipt_REJECT.h>
#include <linux/netfilter_ipv4/ipt_TTL.h>
#include <linux/netfilter_ipv6/ip6t_HL.h>
#include <linux/netfilter_ipv6/ip6t_REJECT.h>

#include <algorithm>
#include <type_traits>

#include "compat/meaning/payload.h"

namespace nfarena {
namespace {

using payload::FailAt;
using payload::Read;
using payload::RefuseBits;
using payload::Text;
using payload::ToAddress;

tl::unexpected<Error> UnknownReject(const Extension& target) {
  return FailAt(target, ErrorCode::kRange, "REJECT: unknown kind of answer");
}

Result<Action> DecodeReject4(const Extension& target) {
  // Read as a number: struct ipt_reject_info holds an enum, and a value outside
  // of it must not be loaded as one.
  static_assert(sizeof(ipt_reject_info) == sizeof(uint32_t));
  ASSIGN_OR_RETURN(const auto with, Read<uint32_t>(target));
  RejectTarget reject;
  reject.family = Family::kIpv4;
  reject.icmp_type = ICMP_DEST_UNREACH;
  switch (with) {
    case IPT_ICMP_NET_UNREACHABLE:
      reject.icmp_code = ICMP_NET_UNREACH;
      return reject;
    case IPT_ICMP_HOST_UNREACHABLE:
      reject.icmp_code = ICMP_HOST_UNREACH;
      return reject;
    case IPT_ICMP_PROT_UNREACHABLE:
      reject.icmp_code = ICMP_PROT_UNREACH;
      return reject;
    case IPT_ICMP_PORT_UNREACHABLE:
      reject.icmp_code = ICMP_PORT_UNREACH;
      return reject;
    case IPT_ICMP_NET_PROHIBITED:
      reject.icmp_code = ICMP_NET_ANO;
      return reject;
    case IPT_ICMP_HOST_PROHIBITED:
      reject.icmp_code = ICMP_HOST_ANO;
      return reject;
    case IPT_ICMP_ADMIN_PROHIBITED:
      reject.icmp_code = ICMP_PKT_FILTERED;
      return reject;
    case IPT_TCP_RESET:
      reject.tcp_reset = true;
      reject.icmp_type = 0;
      return reject;
    default:  // IPT_ICMP_ECHOREPLY: the kernel refuses it
      return UnknownReject(target);
  }
}

Result<Action> DecodeReject6(const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<ip6t_reject_info>(target));
  RejectTarget reject;
  reject.family = Family::kIpv6;
  reject.icmp_type = ICMPV6_DEST_UNREACH;
  switch (raw.with) {
    case IP6T_ICMP6_NO_ROUTE:
      reject.icmp_code = ICMPV6_NOROUTE;
      return reject;
    case IP6T_ICMP6_ADM_PROHIBITED:
      reject.icmp_code = ICMPV6_ADM_PROHIBITED;
      return reject;
    case IP6T_ICMP6_NOT_NEIGHBOUR:
      reject.icmp_code = ICMPV6_NOT_NEIGHBOUR;
      return reject;
    case IP6T_ICMP6_ADDR_UNREACH:
      reject.icmp_code = ICMPV6_ADDR_UNREACH;
      return reject;
    case IP6T_ICMP6_PORT_UNREACH:
      reject.icmp_code = ICMPV6_PORT_UNREACH;
      return reject;
    case IP6T_ICMP6_POLICY_FAIL:
      reject.icmp_code = ICMPV6_POLICY_FAIL;
      return reject;
    case IP6T_ICMP6_REJECT_ROUTE:
      reject.icmp_code = ICMPV6_REJECT_ROUTE;
      return reject;
    case IP6T_TCP_RESET:
      reject.tcp_reset = true;
      reject.icmp_type = 0;
      return reject;
    default:
      return UnknownReject(target);
  }
}

Result<Action> DecodeReject(Family family, const Extension& target) {
  return family == Family::kIpv4 ? DecodeReject4(target)
                                 : DecodeReject6(target);
}

Result<Action> DecodeLog(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_log_info>(target));
  if (raw.level >= 8) {
    return FailAt(target, ErrorCode::kRange, "LOG: level over 7");
  }
  if (raw.prefix[sizeof(raw.prefix) - 1] != '\0') {
    return FailAt(target, ErrorCode::kRange, "LOG: prefix has no end");
  }
  return LogTarget{raw.level, raw.logflags, Text(raw.prefix)};
}

Result<Action> DecodeNflog(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_nflog_info>(target));
  RETURN_IF_ERROR(RefuseBits(target, raw.flags, XT_NFLOG_MASK, "flags"));
  if (raw.prefix[sizeof(raw.prefix) - 1] != '\0') {
    return FailAt(target, ErrorCode::kRange, "NFLOG: prefix has no end");
  }
  NflogTarget nflog;
  nflog.group = raw.group;
  nflog.threshold = raw.threshold;
  nflog.has_length = raw.flags & XT_NFLOG_F_COPY_LEN;
  nflog.length = raw.len;
  nflog.prefix = Text(raw.prefix);
  return nflog;
}

Result<Action> CheckQueues(const Extension& target, NfqueueTarget queue) {
  if (queue.count == 0 || queue.first + (queue.count - 1u) > 0xffff) {
    return FailAt(target, ErrorCode::kRange,
                  "NFQUEUE: number of queues out of range");
  }
  return queue;
}

Result<Action> DecodeNfqueue0(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_NFQ_info>(target));
  return NfqueueTarget{raw.queuenum, 1, false, false};
}

Result<Action> DecodeNfqueue1(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_NFQ_info_v1>(target));
  return CheckQueues(target, {raw.queuenum, raw.queues_total, false, false});
}

Result<Action> DecodeNfqueue2(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_NFQ_info_v2>(target));
  RETURN_IF_ERROR(RefuseBits(target, raw.bypass, NFQ_FLAG_BYPASS, "bypass"));
  return CheckQueues(target,
                     {raw.queuenum, raw.queues_total, raw.bypass != 0, false});
}

Result<Action> DecodeNfqueue3(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_NFQ_info_v3>(target));
  RETURN_IF_ERROR(RefuseBits(target, raw.flags, NFQ_FLAG_MASK, "flags"));
  return CheckQueues(target, {raw.queuenum, raw.queues_total,
                              (raw.flags & NFQ_FLAG_BYPASS) != 0,
                              (raw.flags & NFQ_FLAG_CPU_FANOUT) != 0});
}

Result<Action> DecodeMark(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_mark_tginfo2>(target));
  return MarkTarget{raw.mark, raw.mask};
}

Result<ConnmarkMode> ToConnmarkMode(const Extension& target, uint8_t mode) {
  switch (mode) {
    case XT_CONNMARK_SET:
      return ConnmarkMode::kSet;
    case XT_CONNMARK_SAVE:
      return ConnmarkMode::kSave;
    case XT_CONNMARK_RESTORE:
      return ConnmarkMode::kRestore;
    default:
      return FailAt(target, ErrorCode::kRange, "CONNMARK: unknown mode");
  }
}

Result<Action> DecodeConnmark1(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_connmark_tginfo1>(target));
  ConnmarkTarget connmark;
  ASSIGN_OR_RETURN(connmark.mode, ToConnmarkMode(target, raw.mode));
  connmark.value = raw.ctmark;
  connmark.connmark_mask = raw.ctmask;
  connmark.mark_mask = raw.nfmask;
  return connmark;
}

Result<Action> DecodeConnmark2(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_connmark_tginfo2>(target));
  if (raw.shift_dir > D_SHIFT_RIGHT || raw.shift_bits >= 32) {
    return FailAt(target, ErrorCode::kRange, "CONNMARK: bad shift");
  }
  ConnmarkTarget connmark;
  ASSIGN_OR_RETURN(connmark.mode, ToConnmarkMode(target, raw.mode));
  connmark.value = raw.ctmark;
  connmark.connmark_mask = raw.ctmask;
  connmark.mark_mask = raw.nfmask;
  connmark.shift_right = raw.shift_dir == D_SHIFT_RIGHT;
  connmark.shift_bits = raw.shift_bits;
  return connmark;
}

/// struct nf_nat_ipv4_multi_range_compat, IPv4's oldest form.
Result<NatParameters> ReadNatOld(const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw,
                   Read<nf_nat_ipv4_multi_range_compat>(target));
  if (raw.rangesize != 1) {
    return FailAt(target, ErrorCode::kRange,
                  target.name + ": takes one range, not " +
                      std::to_string(raw.rangesize));
  }
  const nf_nat_ipv4_range& range = raw.range[0];
  NatParameters to;
  to.flags = range.flags;
  std::memcpy(to.first.data(), &range.min_ip, sizeof(range.min_ip));
  std::memcpy(to.last.data(), &range.max_ip, sizeof(range.max_ip));
  to.first_port = ntohs(range.min.all);
  to.last_port = ntohs(range.max.all);
  return to;
}

template <typename Raw>
NatParameters NatCommon(Family family, const Raw& raw) {
  NatParameters to;
  to.flags = raw.flags;
  to.first = ToAddress(family, raw.min_addr);
  to.last = ToAddress(family, raw.max_addr);
  to.first_port = ntohs(raw.min_proto.all);
  to.last_port = ntohs(raw.max_proto.all);
  return to;
}

Result<NatParameters> ReadNat1(Family family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<nf_nat_range>(target));
  return NatCommon(family, raw);
}

Result<NatParameters> ReadNat2(Family family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<nf_nat_range2>(target));
  NatParameters to = NatCommon(family, raw);
  to.base_port = ntohs(raw.base_proto.all);
  return to;
}

template <typename To>
Result<Action> DecodeNat0(Family, const Extension& target) {
  ASSIGN_OR_RETURN(auto to, ReadNatOld(target));
  return To{to};
}

template <typename To>
Result<Action> DecodeNat1(Family family, const Extension& target) {
  ASSIGN_OR_RETURN(auto to, ReadNat1(family, target));
  return To{to};
}

template <typename To>
Result<Action> DecodeNat2(Family family, const Extension& target) {
  ASSIGN_OR_RETURN(auto to, ReadNat2(family, target));
  return To{to};
}

/// MASQUERADE, REDIRECT and NETMAP revision 0: the old form for IPv4, struct
/// nf_nat_range for IPv6.  `addresses`: whether the kernel's check wants
/// NF_NAT_RANGE_MAP_IPS set or clear.
template <typename To, bool addresses>
Result<Action> DecodeNatByFamily(Family family, const Extension& target) {
  ASSIGN_OR_RETURN(auto to, family == Family::kIpv4 ? ReadNatOld(target)
                                                    : ReadNat1(family, target));
  if (((to.flags & NF_NAT_RANGE_MAP_IPS) != 0) != addresses) {
    return FailAt(
        target, ErrorCode::kRange,
        target.name + (addresses ? ": has no addresses" : ": has addresses"));
  }
  return To{to};
}

template <typename Raw>
Result<CtTarget> CtCommon(const Extension& target, const Raw& raw,
                          uint32_t known_flags) {
  RETURN_IF_ERROR(RefuseBits(target, raw.flags, known_flags, "flags"));
  CtTarget ct;
  ct.notrack = raw.flags & XT_CT_NOTRACK;
  ct.zone = raw.zone;
  ct.zone_original = raw.flags & XT_CT_ZONE_DIR_ORIG;
  ct.zone_reply = raw.flags & XT_CT_ZONE_DIR_REPL;
  ct.zone_from_mark = raw.flags & XT_CT_ZONE_MARK;
  ct.events = raw.ct_events;
  ct.expect_events = raw.exp_events;
  if (!ct.notrack && raw.helper[sizeof(raw.helper) - 1] != '\0') {
    return FailAt(target, ErrorCode::kRange, "CT: helper name has no end");
  }
  ct.helper = Text(raw.helper);
  return ct;
}

Result<Action> DecodeCt0(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_ct_target_info>(target));
  ASSIGN_OR_RETURN(auto ct, CtCommon(target, raw, XT_CT_NOTRACK));
  return ct;
}

Result<Action> DecodeCt1(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_ct_target_info_v1>(target));
  // Revision 2 is revision 1 with more flags.
  const uint32_t known =
      target.revision == 1 ? uint32_t{XT_CT_NOTRACK} : uint32_t{XT_CT_MASK};
  ASSIGN_OR_RETURN(auto ct, CtCommon(target, raw, known));
  if (!ct.notrack && raw.timeout[sizeof(raw.timeout) - 1] != '\0') {
    return FailAt(target, ErrorCode::kRange, "CT: timeout name has no end");
  }
  ct.timeout = Text(raw.timeout);
  return ct;
}

/// NOTRACK and TRACE have no parameters.
template <typename To>
Result<Action> DecodeEmpty(Family, const Extension& target) {
  if (!target.payload.empty()) {
    return FailAt(target, ErrorCode::kRange,
                  target.name + " takes no parameters");
  }
  return To{};
}

Result<Action> DecodeTcpmss(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_tcpmss_info>(target));
  TcpmssTarget tcpmss;
  tcpmss.clamp_to_pmtu = raw.mss == XT_TCPMSS_CLAMP_PMTU;
  if (!tcpmss.clamp_to_pmtu) tcpmss.mss = raw.mss;
  return tcpmss;
}

Result<Action> DecodeDscp(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_DSCP_info>(target));
  if (raw.dscp > XT_DSCP_MAX) {
    return FailAt(target, ErrorCode::kRange, "DSCP: value over 0x3f");
  }
  return DscpTarget{raw.dscp};
}

Result<Action> DecodeTos(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_tos_target_info>(target));
  return TosTarget{raw.tos_value, raw.tos_mask};
}

Result<Action> DecodeTtl(Family family, const Extension& target) {
  static_assert(sizeof(ipt_TTL_info) == sizeof(ip6t_HL_info));
  ASSIGN_OR_RETURN(const auto raw, Read<ipt_TTL_info>(target));
  if (raw.mode > IPT_TTL_MAXMODE) {
    return FailAt(target, ErrorCode::kRange, target.name + ": unknown mode");
  }
  const auto change = static_cast<TtlChange>(raw.mode);
  if (change != TtlChange::kSet && raw.ttl == 0) {
    return FailAt(target, ErrorCode::kRange, target.name + ": changes by 0");
  }
  return TtlTarget{family, change, raw.ttl};
}

Result<Action> DecodeClassify(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_classify_target_info>(target));
  return ClassifyTarget{raw.priority};
}

Result<Action> DecodeChecksum(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_CHECKSUM_info>(target));
  if (raw.operation != XT_CHECKSUM_OP_FILL) {
    return FailAt(target, ErrorCode::kRange, "CHECKSUM: unknown operation");
  }
  return ChecksumTarget{};
}

Result<Action> DecodeEcn(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<ipt_ECN_info>(target));
  constexpr uint32_t kKnown =
      IPT_ECN_OP_SET_IP | IPT_ECN_OP_SET_ECE | IPT_ECN_OP_SET_CWR;
  RETURN_IF_ERROR(RefuseBits(target, raw.operation, kKnown, "operation"));
  RETURN_IF_ERROR(RefuseBits(target, raw.ip_ect, 3, "codepoint"));
  EcnTarget ecn;
  ecn.set_ip = raw.operation & IPT_ECN_OP_SET_IP;
  ecn.ip_ect = raw.ip_ect;
  ecn.set_ece = raw.operation & IPT_ECN_OP_SET_ECE;
  ecn.ece = raw.proto.tcp.ece;
  ecn.set_cwr = raw.operation & IPT_ECN_OP_SET_CWR;
  ecn.cwr = raw.proto.tcp.cwr;
  return ecn;
}

Result<Action> DecodeTcpoptstrip(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_tcpoptstrip_target_info>(target));
  TcpoptstripTarget strip;
  std::copy_n(raw.strip_bmap, strip.kinds.size(), strip.kinds.begin());
  return strip;
}

Result<Action> DecodeTee(Family family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_tee_tginfo>(target));
  if (raw.oif[sizeof(raw.oif) - 1] != '\0') {
    return FailAt(target, ErrorCode::kRange, "TEE: device name has no end");
  }
  TeeTarget tee;
  tee.gateway = ToAddress(family, raw.gw);
  tee.out = Text(raw.oif);
  if (tee.gateway == Address{}) {
    return FailAt(target, ErrorCode::kRange, "TEE: no gateway");
  }
  return tee;
}

std::optional<SetSelection> SelectionOf(const xt_set_info& raw) {
  if (raw.index == IPSET_INVALID_ID) return std::nullopt;
  return SetSelection{raw.index, raw.dim,
                      static_cast<uint8_t>((raw.flags & 0x7e) >> 1)};
}

template <typename Info>
Result<Action> DecodeSet(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<Info>(target));
  SetTarget set;
  set.add = SelectionOf(raw.add_set);
  set.remove = SelectionOf(raw.del_set);
  if constexpr (!std::is_same_v<Info, xt_set_info_target_v1>) {
    // Milliseconds of it fit 31 bits in the kernel.
    constexpr uint32_t kNone = UINT32_MAX, kMax = (kNone >> 1) / 1000;
    set.renew = raw.flags & IPSET_FLAG_EXIST;
    if (raw.timeout != kNone) set.timeout_s = std::min(raw.timeout, kMax);
  }
  if constexpr (std::is_same_v<Info, xt_set_info_target_v3>) {
    set.map = SelectionOf(raw.map_set);
    set.map_inverted = raw.map_set.flags & IPSET_INV_MATCH;
    set.map_mark = raw.flags & IPSET_FLAG_MAP_SKBMARK;
    set.map_priority = raw.flags & IPSET_FLAG_MAP_SKBPRIO;
    set.map_queue = raw.flags & IPSET_FLAG_MAP_SKBQUEUE;
  }
  return set;
}

Result<Action> DecodeAudit(Family, const Extension& target) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_audit_info>(target));
  if (raw.type > XT_AUDIT_TYPE_MAX) {
    return FailAt(target, ErrorCode::kRange, "AUDIT: unknown type");
  }
  return AuditTarget{static_cast<AuditType>(raw.type)};
}

// Revisions as registered by the kernel (net/netfilter/xt_*.c of 6.1 and 6.18)
// that iptables 1.8.9 may choose.
constexpr payload::Decoder<Action> kDecoders[] = {
    // name, revision, IPv4, IPv6, decoder
    {"REJECT", 0, true, true, DecodeReject},
    {"LOG", 0, true, true, DecodeLog},
    {"NFLOG", 0, true, true, DecodeNflog},
    {"NFQUEUE", 0, true, true, DecodeNfqueue0},
    {"NFQUEUE", 1, true, true, DecodeNfqueue1},
    {"NFQUEUE", 2, true, true, DecodeNfqueue2},
    {"NFQUEUE", 3, true, true, DecodeNfqueue3},
    {"MARK", 2, true, true, DecodeMark},
    {"CONNMARK", 1, true, true, DecodeConnmark1},
    {"CONNMARK", 2, true, true, DecodeConnmark2},
    {"SNAT", 0, true, false, DecodeNat0<SnatTarget>},
    {"SNAT", 1, true, true, DecodeNat1<SnatTarget>},
    {"SNAT", 2, true, true, DecodeNat2<SnatTarget>},
    {"DNAT", 0, true, false, DecodeNat0<DnatTarget>},
    {"DNAT", 1, true, true, DecodeNat1<DnatTarget>},
    {"DNAT", 2, true, true, DecodeNat2<DnatTarget>},
    {"MASQUERADE", 0, true, true, DecodeNatByFamily<MasqueradeTarget, false>},
    {"REDIRECT", 0, true, true, DecodeNatByFamily<RedirectTarget, false>},
    {"NETMAP", 0, true, true, DecodeNatByFamily<NetmapTarget, true>},
    {"CT", 0, true, true, DecodeCt0},
    {"CT", 1, true, true, DecodeCt1},
    {"CT", 2, true, true, DecodeCt1},
    {"NOTRACK", 0, true, true, DecodeEmpty<NotrackTarget>},
    {"TRACE", 0, true, true, DecodeEmpty<TraceTarget>},
    {"TCPMSS", 0, true, true, DecodeTcpmss},
    {"DSCP", 0, true, true, DecodeDscp},
    {"TOS", 1, true, true, DecodeTos},
    {"TTL", 0, true, false, DecodeTtl},
    {"HL", 0, false, true, DecodeTtl},
    {"CLASSIFY", 0, true, true, DecodeClassify},
    {"CHECKSUM", 0, true, true, DecodeChecksum},
    {"ECN", 0, true, false, DecodeEcn},
    {"TCPOPTSTRIP", 0, true, true, DecodeTcpoptstrip},
    {"TEE", 1, true, true, DecodeTee},
    {"AUDIT", 0, true, true, DecodeAudit},
    {"SET", 1, true, true, DecodeSet<xt_set_info_target_v1>},
    {"SET", 2, true, true, DecodeSet<xt_set_info_target_v2>},
    {"SET", 3, true, true, DecodeSet<xt_set_info_target_v3>},
};

}  // namespace

Result<Action> DecodeTarget(Family family, const Extension& target) {
  return payload::Decode<Action>({kDecoders}, "target", family, target);
}

}  // namespace nfarena
