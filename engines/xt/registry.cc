// Every match and target that the twins know, in one sorted table each.
//
// A row repeats what the kernel registers in its struct xt_match or xt_target:
// revision, families, size, table, hooks and protocol.  The check that callers
// see is made from the row: these limits first, as xt_check_match() and
// xt_check_target() do, then the extension's own checkentry().

#include "engines/xt/registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <tuple>
#include <utility>

#include "engines/xt/check.h"
#include "engines/xt/extension.h"
#include "engines/xt/matches.h"
#include "engines/xt/targets.h"
#include "engines/xt/uapi.h"

namespace nfarena {
namespace xt {
namespace {

/// The kernel aligns every payload to 8 bytes.
constexpr size_t XtAlign(size_t size) { return (size + 7) & ~size_t{7}; }

enum Families : uint8_t { kV4 = 1, kV6 = 2, kBoth = 3 };

/// Where an extension may be used.  Zero: anywhere.
struct Limits {
  std::optional<TableKind> table;
  uint8_t hooks = 0;  // 1 << Hook
  uint8_t protocol = 0;
};

constexpr uint8_t kPre = 1 << NF_INET_PRE_ROUTING;
constexpr uint8_t kIn = 1 << NF_INET_LOCAL_IN;
constexpr uint8_t kForward = 1 << NF_INET_FORWARD;
constexpr uint8_t kOut = 1 << NF_INET_LOCAL_OUT;
constexpr uint8_t kPost = 1 << NF_INET_POST_ROUTING;

using CheckFn = Status (*)(std::span<const uint8_t>, const XtUse&);

template <typename Fn>
struct Row {
  std::string_view name;
  uint8_t revision;
  Families families;
  size_t size;
  Fn function;
  Limits limits = {};
  CheckFn check = nullptr;
  const XtStateLayout* state = nullptr;
};

using MatchRow = Row<XtMatchFn>;
using TargetRow = Row<XtTargetFn>;

constexpr Limits OnlyHooks(uint8_t hooks) { return {.hooks = hooks}; }
constexpr Limits OnlyProtocol(uint8_t protocol) {
  return {.protocol = protocol};
}
constexpr Limits OnlyTable(TableKind table, uint8_t hooks = 0) {
  return {.table = table, .hooks = hooks};
}

// clang-format off
constexpr MatchRow kMatchRows[] = {
    {"addrtype", 0, kV4, sizeof(xt_addrtype_info), MatchAddrtype0},
    {"addrtype", 1, kBoth, sizeof(xt_addrtype_info_v1), MatchAddrtype1, {},
     CheckAddrtype1},
    {"ah", 0, kV4, sizeof(ipt_ah), MatchAh4, OnlyProtocol(IPPROTO_AH),
     CheckSpi},
    {"ah", 0, kV6, sizeof(ip6t_ah), MatchAh6, {}, CheckAh6},
    {"comment", 0, kBoth, sizeof(xt_comment_info), MatchComment},
    {"connbytes", 0, kBoth, sizeof(xt_connbytes_info), MatchConnbytes, {},
     CheckConnbytes},
    {"connlimit", 1, kBoth, sizeof(xt_connlimit_info), MatchConnlimit, {},
     CheckConnlimit, &kConnlimitState},
    {"connmark", 1, kBoth, sizeof(xt_connmark_mtinfo1), MatchConnmark},
    {"conntrack", 1, kBoth, sizeof(xt_conntrack_mtinfo1), MatchConntrack1},
    {"conntrack", 2, kBoth, sizeof(xt_conntrack_mtinfo2), MatchConntrack2},
    {"conntrack", 3, kBoth, sizeof(xt_conntrack_mtinfo3), MatchConntrack3},
    {"cpu", 0, kBoth, sizeof(xt_cpu_info), MatchCpu, {}, CheckCpu},
    {"dccp", 0, kBoth, sizeof(xt_dccp_info), MatchDccp,
     OnlyProtocol(IPPROTO_DCCP), CheckDccp},
    {"devgroup", 0, kBoth, sizeof(xt_devgroup_info), MatchDevgroup, {},
     CheckDevgroup},
    {"dscp", 0, kBoth, sizeof(xt_dscp_info), MatchDscp, {}, CheckDscp},
    {"dst", 0, kV6, sizeof(ip6t_opts), MatchDst, {}, CheckOptions},
    {"ecn", 0, kBoth, sizeof(xt_ecn_info), MatchEcn, {}, CheckEcn},
    {"esp", 0, kBoth, sizeof(xt_esp), MatchEsp, OnlyProtocol(IPPROTO_ESP),
     CheckSpi},
    {"eui64", 0, kV6, sizeof(int), MatchEui64,
     OnlyHooks(kPre | kIn | kForward)},
    {"frag", 0, kV6, sizeof(ip6t_frag), MatchFrag, {}, CheckFrag},
    {"hashlimit", 1, kBoth, sizeof(xt_hashlimit_mtinfo1), MatchHashlimit1, {},
     CheckHashlimit1},
    {"hashlimit", 2, kBoth, sizeof(xt_hashlimit_mtinfo2), MatchHashlimit2, {},
     CheckHashlimit2},
    {"hashlimit", 3, kBoth, sizeof(xt_hashlimit_mtinfo3), MatchHashlimit3, {},
     CheckHashlimit3},
    {"hbh", 0, kV6, sizeof(ip6t_opts), MatchHbh, {}, CheckOptions},
    {"helper", 0, kBoth, sizeof(xt_helper_info), MatchHelper},
    {"hl", 0, kV6, sizeof(TtlInfo), MatchHl, {}, CheckTtl},
    {"icmp", 0, kV4, sizeof(ipt_icmp), MatchIcmp, OnlyProtocol(IPPROTO_ICMP),
     CheckIcmp},
    {"icmp6", 0, kV6, sizeof(ip6t_icmp), MatchIcmp6,
     OnlyProtocol(IPPROTO_ICMPV6), CheckIcmp6},
    {"iprange", 1, kBoth, sizeof(xt_iprange_mtinfo), MatchIprange},
    {"ipv6header", 0, kV6, sizeof(ip6t_ipv6header_info), MatchIpv6header, {},
     CheckIpv6header},
    {"length", 0, kBoth, sizeof(xt_length_info), MatchLength},
    {"limit", 0, kBoth, sizeof(xt_rateinfo), MatchLimit, {}, CheckLimit,
     &kLimitState},
    {"mac", 0, kBoth, sizeof(xt_mac_info), MatchMac,
     OnlyHooks(kPre | kIn | kForward)},
    {"mark", 1, kBoth, sizeof(xt_mark_mtinfo1), MatchMark},
    {"multiport", 1, kBoth, sizeof(xt_multiport_v1), MatchMultiport, {},
     CheckMultiport},
    {"owner", 1, kBoth, sizeof(xt_owner_match_info), MatchOwner,
     OnlyHooks(kOut | kPost), CheckOwner},
    {"physdev", 0, kBoth, sizeof(xt_physdev_info), MatchPhysdev, {},
     CheckPhysdev},
    {"pkttype", 0, kBoth, sizeof(xt_pkttype_info), MatchPkttype},
    {"policy", 0, kBoth, sizeof(xt_policy_info), MatchPolicy, {}, CheckPolicy},
    {"quota", 0, kBoth, sizeof(xt_quota_info), MatchQuota, {}, CheckQuota,
     &kQuotaState},
    {"realm", 0, kV4, sizeof(xt_realm_info), MatchRealm,
     OnlyHooks(kIn | kForward | kOut | kPost)},
    {"recent", 1, kBoth, sizeof(xt_recent_mtinfo_v1), MatchRecent, {},
     CheckRecent},
    {"rpfilter", 0, kBoth, sizeof(xt_rpfilter_info), MatchRpfilter,
     OnlyHooks(kPre), CheckRpfilter},
    {"rt", 0, kV6, sizeof(ip6t_rt), MatchRt, {}, CheckRt},
    {"sctp", 0, kBoth, sizeof(xt_sctp_info), MatchSctp,
     OnlyProtocol(IPPROTO_SCTP), CheckSctp},
    {"set", 0, kBoth, sizeof(xt_set_info_match_v0), MatchSet0, {}, CheckSet0},
    {"set", 1, kBoth, sizeof(xt_set_info_match_v1), MatchSet1, {}, CheckSet1},
    {"set", 2, kBoth, sizeof(xt_set_info_match_v1), MatchSet1, {}, CheckSet1},
    {"set", 3, kBoth, sizeof(xt_set_info_match_v3), MatchSet3, {}, CheckSet1},
    {"set", 4, kBoth, sizeof(xt_set_info_match_v4), MatchSet4, {}, CheckSet1},
    {"socket", 0, kV4, 0, MatchSocket, OnlyHooks(kPre | kIn)},
    {"socket", 1, kBoth, sizeof(xt_socket_mtinfo1), MatchSocket,
     OnlyHooks(kPre | kIn), CheckSocket1},
    {"socket", 2, kBoth, sizeof(xt_socket_mtinfo2), MatchSocket,
     OnlyHooks(kPre | kIn), CheckSocket2},
    {"socket", 3, kBoth, sizeof(xt_socket_mtinfo3), MatchSocket,
     OnlyHooks(kPre | kIn), CheckSocket3},
    {"state", 0, kBoth, sizeof(xt_state_info), MatchState},
    {"statistic", 0, kBoth, sizeof(xt_statistic_info), MatchStatistic, {},
     CheckStatistic, &kStatisticState},
    {"string", 1, kBoth, sizeof(xt_string_info), MatchString, {}, CheckString},
    {"tcp", 0, kBoth, sizeof(xt_tcp), MatchTcp, OnlyProtocol(IPPROTO_TCP),
     CheckTcp},
    {"tcpmss", 0, kBoth, sizeof(xt_tcpmss_match_info), MatchTcpmss,
     OnlyProtocol(IPPROTO_TCP)},
    {"time", 0, kBoth, sizeof(xt_time_info), MatchTime, {}, CheckTime},
    {"tos", 1, kBoth, sizeof(xt_tos_match_info), MatchTos},
    {"ttl", 0, kV4, sizeof(TtlInfo), MatchTtl, {}, CheckTtl},
    {"u32", 0, kBoth, sizeof(xt_u32), MatchU32, {}, CheckU32},
    {"udp", 0, kBoth, sizeof(xt_udp), MatchUdp, OnlyProtocol(IPPROTO_UDP),
     CheckUdp},
    {"udplite", 0, kBoth, sizeof(xt_udp), MatchUdp,
     OnlyProtocol(IPPROTO_UDPLITE), CheckUdp},
};

constexpr TargetRow kTargetRows[] = {
    {"AUDIT", 0, kBoth, sizeof(xt_audit_info), TargetNothing, {}, CheckAudit},
    {"CHECKSUM", 0, kBoth, sizeof(xt_CHECKSUM_info), TargetNothing,
     OnlyTable(TableKind::kMangle), CheckChecksum},
    {"CLASSIFY", 0, kBoth, sizeof(xt_classify_target_info), TargetClassify,
     OnlyHooks(kForward | kOut | kPost)},
    {"CONNMARK", 1, kBoth, sizeof(xt_connmark_tginfo1), TargetConnmark1},
    {"CONNMARK", 2, kBoth, sizeof(xt_connmark_tginfo2), TargetConnmark2, {},
     CheckConnmark2},
    {"CT", 0, kBoth, sizeof(xt_ct_target_info), TargetCt,
     OnlyTable(TableKind::kRaw), CheckCt0},
    {"CT", 1, kBoth, sizeof(xt_ct_target_info_v1), TargetCt,
     OnlyTable(TableKind::kRaw), CheckCt1},
    {"CT", 2, kBoth, sizeof(xt_ct_target_info_v1), TargetCt,
     OnlyTable(TableKind::kRaw), CheckCt2},
    {"DNAT", 0, kV4, sizeof(nf_nat_ipv4_multi_range_compat), TargetDnat0,
     OnlyTable(TableKind::kNat, kPre | kOut), CheckNat0},
    {"DNAT", 1, kBoth, sizeof(nf_nat_range), TargetDnat1,
     OnlyTable(TableKind::kNat, kPre | kOut)},
    {"DNAT", 2, kBoth, sizeof(nf_nat_range2), TargetDnat2,
     OnlyTable(TableKind::kNat, kPre | kOut)},
    {"DSCP", 0, kBoth, sizeof(xt_DSCP_info), TargetDscp,
     OnlyTable(TableKind::kMangle), CheckDscpTarget},
    {"ECN", 0, kV4, sizeof(ipt_ECN_info), TargetEcn,
     OnlyTable(TableKind::kMangle), CheckEcnTarget},
    {"HL", 0, kV6, sizeof(TtlInfo), TargetTtl,
     OnlyTable(TableKind::kMangle), CheckTtlTarget},
    {"LOG", 0, kBoth, sizeof(xt_log_info), TargetLog, {}, CheckLog},
    {"MARK", 2, kBoth, sizeof(xt_mark_tginfo2), TargetMark},
    {"MASQUERADE", 0, kV4, sizeof(nf_nat_ipv4_multi_range_compat),
     TargetMasquerade4, OnlyTable(TableKind::kNat, kPost), CheckNoAddress4},
    {"MASQUERADE", 0, kV6, sizeof(nf_nat_range), TargetMasquerade6,
     OnlyTable(TableKind::kNat, kPost), CheckNoAddress6},
    {"NETMAP", 0, kV4, sizeof(nf_nat_ipv4_multi_range_compat), TargetNetmap4,
     OnlyTable(TableKind::kNat, kPre | kPost | kOut | kIn), CheckNetmap4},
    {"NETMAP", 0, kV6, sizeof(nf_nat_range), TargetNetmap6,
     OnlyTable(TableKind::kNat, kPre | kPost | kOut | kIn), CheckNetmap6},
    {"NFLOG", 0, kBoth, sizeof(xt_nflog_info), TargetNflog, {}, CheckNflog},
    {"NFQUEUE", 0, kBoth, sizeof(xt_NFQ_info), TargetNfqueue0},
    {"NFQUEUE", 1, kBoth, sizeof(xt_NFQ_info_v1), TargetNfqueue1, {},
     CheckNfqueue1},
    {"NFQUEUE", 2, kBoth, sizeof(xt_NFQ_info_v2), TargetNfqueue1, {},
     CheckNfqueue2},
    {"NFQUEUE", 3, kBoth, sizeof(xt_NFQ_info_v3), TargetNfqueue3, {},
     CheckNfqueue3},
    {"NOTRACK", 0, kBoth, 0, TargetNotrack, OnlyTable(TableKind::kRaw)},
    {"REDIRECT", 0, kV4, sizeof(nf_nat_ipv4_multi_range_compat),
     TargetRedirect4, OnlyTable(TableKind::kNat, kPre | kOut),
     CheckNoAddress4},
    {"REDIRECT", 0, kV6, sizeof(nf_nat_range), TargetRedirect6,
     OnlyTable(TableKind::kNat, kPre | kOut), CheckNoAddress6},
    {"REJECT", 0, kV4, sizeof(ipt_reject_info), TargetReject4,
     OnlyTable(TableKind::kFilter, kIn | kForward | kOut), CheckReject4},
    {"REJECT", 0, kV6, sizeof(ip6t_reject_info), TargetReject6,
     OnlyTable(TableKind::kFilter, kIn | kForward | kOut), CheckReject6},
    {"SET", 0, kBoth, sizeof(xt_set_info_target_v0), TargetSet0, {},
     CheckSetTarget0},
    {"SET", 1, kBoth, sizeof(xt_set_info_target_v1), TargetSet1, {},
     CheckSetTarget1},
    {"SET", 2, kBoth, sizeof(xt_set_info_target_v2), TargetSet2, {},
     CheckSetTarget1},
    {"SET", 3, kBoth, sizeof(xt_set_info_target_v3), TargetSet3, {},
     CheckSetTarget3},
    {"SNAT", 0, kV4, sizeof(nf_nat_ipv4_multi_range_compat), TargetSnat0,
     OnlyTable(TableKind::kNat, kPost | kIn), CheckNat0},
    {"SNAT", 1, kBoth, sizeof(nf_nat_range), TargetSnat1,
     OnlyTable(TableKind::kNat, kPost | kIn)},
    {"SNAT", 2, kBoth, sizeof(nf_nat_range2), TargetSnat2,
     OnlyTable(TableKind::kNat, kPost | kIn)},
    {"TCPMSS", 0, kBoth, sizeof(xt_tcpmss_info), TargetTcpmss,
     OnlyProtocol(IPPROTO_TCP), CheckTcpmss},
    {"TCPOPTSTRIP", 0, kBoth, sizeof(xt_tcpoptstrip_target_info),
     TargetTcpoptstrip, {.table = TableKind::kMangle, .protocol = IPPROTO_TCP}},
    {"TOS", 1, kBoth, sizeof(xt_tos_target_info), TargetTos,
     OnlyTable(TableKind::kMangle)},
    {"TRACE", 0, kBoth, 0, TargetTrace, OnlyTable(TableKind::kRaw)},
    {"TTL", 0, kV4, sizeof(TtlInfo), TargetTtl,
     OnlyTable(TableKind::kMangle), CheckTtlTarget},
};
// clang-format on

template <typename Fn>
constexpr bool Before(const Row<Fn>& a, const Row<Fn>& b) {
  if (a.name != b.name) return a.name < b.name;
  if (a.revision != b.revision) return a.revision < b.revision;
  return a.families < b.families;
}
static_assert(std::is_sorted(std::begin(kMatchRows), std::end(kMatchRows),
                             Before<XtMatchFn>));
static_assert(std::is_sorted(std::begin(kTargetRows), std::end(kTargetRows),
                             Before<XtTargetFn>));

/// xt_check_match() and xt_check_target() up to the call of checkentry().
Status CheckLimits(std::string_view name, size_t size, const Limits& limits,
                   std::span<const uint8_t> payload, const XtUse& use) {
  if (payload.size() < size || XtAlign(payload.size()) != XtAlign(size)) {
    return Refuse(EINVAL, std::string(name) + ": payload of " +
                              std::to_string(payload.size()) +
                              " bytes instead of " +
                              std::to_string(XtAlign(size)));
  }
  if (limits.table.has_value() && *limits.table != use.table) {
    return Refuse(EINVAL, std::string(name) + ": only valid in the " +
                              TableName(*limits.table) + " table");
  }
  if (limits.hooks != 0 && (use.hook_mask & ~limits.hooks) != 0) {
    return Refuse(EINVAL, std::string(name) +
                              ": used from a hook that it is not valid in");
  }
  if (limits.protocol != 0 &&
      (limits.protocol != use.protocol || use.protocol_inverted)) {
    return Refuse(EINVAL, std::string(name) + ": only valid for protocol " +
                              std::to_string(limits.protocol));
  }
  return {};
}

template <const auto& kRows, size_t kIndex>
Status CheckRow(std::span<const uint8_t> payload, const XtUse& use) {
  constexpr const auto& row = kRows[kIndex];
  if (Status status = CheckLimits(row.name, row.size, row.limits, payload, use);
      !status) {
    return status;
  }
  if constexpr (row.check != nullptr) {
    Status status = row.check(payload, use);
    if (!status) {
      status.error().message =
          std::string(row.name) + ": " + status.error().message;
    }
    return status;
  } else {
    return {};
  }
}

template <typename Extension, const auto& kRows, size_t kIndex>
Extension Make() {
  constexpr const auto& row = kRows[kIndex];
  return {row.name,
          row.revision,
          (row.families & kV4) != 0,
          (row.families & kV6) != 0,
          static_cast<uint32_t>(row.size),
          row.function,
          row.state != nullptr ? *row.state : XtStateLayout{},
          &CheckRow<kRows, kIndex>,
          row.limits.hooks,
          row.limits.table};
}

template <typename Extension, const auto& kRows, size_t... kIndex>
std::array<Extension, sizeof...(kIndex)> MakeAll(
    std::index_sequence<kIndex...>) {
  return {Make<Extension, kRows, kIndex>()...};
}

template <typename Extension, const auto& kRows>
std::span<const Extension> All() {
  static const auto kAll =
      MakeAll<Extension, kRows>(std::make_index_sequence<std::size(kRows)>());
  return kAll;
}

template <typename Extension>
const Extension* Find(std::span<const Extension> all, Family family,
                      std::string_view name, uint8_t revision) {
  auto it = std::lower_bound(all.begin(), all.end(), std::tie(name, revision),
                             [](const Extension& extension, const auto& key) {
                               return std::tie(extension.name,
                                               extension.revision) < key;
                             });
  for (; it != all.end() && it->name == name && it->revision == revision;
       ++it) {
    if (family == Family::kIpv4 ? it->ipv4 : it->ipv6) return &*it;
  }
  return nullptr;
}

}  // namespace
}  // namespace xt

std::span<const XtMatch> XtMatches() {
  return xt::All<XtMatch, xt::kMatchRows>();
}

std::span<const XtTarget> XtTargets() {
  return xt::All<XtTarget, xt::kTargetRows>();
}

const XtMatch* FindXtMatch(Family family, std::string_view name,
                           uint8_t revision) {
  return xt::Find(XtMatches(), family, name, revision);
}

const XtTarget* FindXtTarget(Family family, std::string_view name,
                             uint8_t revision) {
  return xt::Find(XtTargets(), family, name, revision);
}

VerdictKind VerdictKindOf(XtVerdict verdict) {
  switch (verdict) {
    case XtVerdict::kContinue:
    case XtVerdict::kAccept:
      return VerdictKind::kAccept;
    case XtVerdict::kDrop:
      return VerdictKind::kDrop;
    case XtVerdict::kQueue:
      return VerdictKind::kQueue;
    case XtVerdict::kStolen:
      return VerdictKind::kStolen;
  }
  return VerdictKind::kDrop;
}

const Extension* FindUnknownExtension(Family family, const Rule& rule) {
  for (const Extension& match : rule.matches) {
    if (FindXtMatch(family, match.name, match.revision) == nullptr) {
      return &match;
    }
  }
  const Extension& target = rule.target.extension;
  if (rule.target.kind == TargetKind::kExtension &&
      FindXtTarget(family, target.name, target.revision) == nullptr) {
    return &target;
  }
  return nullptr;
}

Status SupportsExtensions(const Ruleset& ruleset) {
  for (const Table& table : ruleset.tables) {
    for (const Chain& chain : table.chains) {
      for (const Rule& rule : chain.rules) {
        const Extension* unknown = FindUnknownExtension(ruleset.family, rule);
        if (unknown == nullptr) continue;
        return Fail(
            ErrorCode::kUnsupported,
            fmt::format("{} '{}' revision {} is not known to this engine",
                        unknown == &rule.target.extension ? "target" : "match",
                        unknown->name, unknown->revision),
            {.file = {},
             .line = rule.line,
             .column = unknown->column,
             .text = unknown->name},
            ENOENT);
      }
    }
  }
  return {};
}

}  // namespace nfarena
