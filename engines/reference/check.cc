#include "engines/reference/check.h"

#include <netinet/in.h>

#include <cerrno>
#include <initializer_list>
#include <string>

#include "engines/reference/hashlimit.h"
#include "engines/reference/limit.h"

namespace nfarena::reference {
namespace {

constexpr uint16_t kTcp = IPPROTO_TCP, kUdp = IPPROTO_UDP, kIcmp = IPPROTO_ICMP,
                   kIcmpv6 = IPPROTO_ICMPV6, kDccp = IPPROTO_DCCP,
                   kSctp = IPPROTO_SCTP, kUdplite = IPPROTO_UDPLITE,
                   kEsp = IPPROTO_ESP, kAh = IPPROTO_AH;

/// The kernel would take it, this engine does not.
tl::unexpected<Error> NotModelled(std::string what) {
  return Fail(ErrorCode::kUnsupported, std::move(what));
}

tl::unexpected<Error> Refuse(int errno_value, std::string reason) {
  return Fail(ErrorCode::kUnsupported,
              "the kernel refuses it: " + std::move(reason), {}, errno_value);
}

constexpr uint8_t kIpSetDimensionsMax = 6;  // IPSET_DIM_MAX

constexpr uint8_t Bit(Hook hook) {
  return static_cast<uint8_t>(1u << static_cast<unsigned>(hook));
}

constexpr uint8_t kPre = Bit(Hook::kPrerouting), kIn = Bit(Hook::kInput),
                  kFwd = Bit(Hook::kForward), kOut = Bit(Hook::kOutput),
                  kPost = Bit(Hook::kPostrouting);

bool HasProtocol(const Rule& rule, std::initializer_list<uint16_t> wanted) {
  if (rule.selector.inverted & kInvertProtocol) return false;
  for (const uint16_t protocol : wanted) {
    if (rule.selector.protocol == protocol) return true;
  }
  return false;
}

Status NeedProtocol(const Rule& rule, std::initializer_list<uint16_t> wanted,
                    const char* option) {
  if (HasProtocol(rule, wanted)) return {};
  return Refuse(EINVAL, std::string("needs ") + option);
}

Status NeedHooks(const Use& use, uint8_t allowed) {
  if ((use.hooks & ~allowed) == 0) return {};
  return Refuse(EINVAL, "not in this chain");
}

Status NeedTable(const Use& use, TableKind table) {
  if (use.table == table) return {};
  return Refuse(EINVAL, std::string("only in table ") + TableName(table));
}

Status NeedTable(const Use& use, TableKind table, uint8_t hooks) {
  RETURN_IF_ERROR(NeedTable(use, table));
  return NeedHooks(use, hooks);
}

struct MatchChecker {
  const Use& use;
  const Rule& rule;
  const Extension& match;

  Status operator()(const TcpMatch&) const {
    return NeedProtocol(rule, {kTcp}, "-p tcp");
  }
  Status operator()(const UdpMatch&) const {
    return match.name == "udplite"
               ? NeedProtocol(rule, {kUdplite}, "-p udplite")
               : NeedProtocol(rule, {kUdp}, "-p udp");
  }
  Status operator()(const IcmpMatch& icmp) const {
    return icmp.family == Family::kIpv4
               ? NeedProtocol(rule, {kIcmp}, "-p icmp")
               : NeedProtocol(rule, {kIcmpv6}, "-p icmpv6");
  }
  Status operator()(const MultiportMatch&) const {
    return NeedProtocol(rule, {kTcp, kUdp, kUdplite, kSctp, kDccp},
                        "-p tcp, udp, udplite, sctp or dccp");
  }
  Status operator()(const LimitMatch& limit) const {
    if (LimitOverflows(limit)) {
      return Refuse(ERANGE, "rate and burst overflow, try lower");
    }
    return {};
  }
  Status operator()(const MacMatch&) const {
    return NeedHooks(use, kPre | kIn | kFwd);
  }
  Status operator()(const OwnerMatch& owner) const {
    for (const auto& range : {owner.uid, owner.gid}) {
      if (range && (range->first > range->last || range->last == 0xffffffff)) {
        return Refuse(EINVAL, "bad range of ids");
      }
    }
    return NeedHooks(use, kOut | kPost);
  }
  Status operator()(const AddrtypeMatch& addrtype) const {
    if (addrtype.limit_in && addrtype.limit_out) {
      return Refuse(EINVAL, "two interface limits");
    }
    if (addrtype.limit_out && (use.hooks & (kPre | kIn))) {
      return Refuse(EINVAL, "no output interface in this chain");
    }
    if (addrtype.limit_in && (use.hooks & (kPost | kOut))) {
      return Refuse(EINVAL, "no input interface in this chain");
    }
    const unsigned types = addrtype.source_types | addrtype.destination_types;
    // BROADCAST (3), BLACKHOLE (6) and everything from PROHIBIT (8) on.
    if (use.family == Family::kIpv6 &&
        ((types & (1u << 3 | 1u << 6)) != 0 || types >= 1u << 8)) {
      return Refuse(EINVAL, "a type that IPv6 does not have");
    }
    return {};
  }
  Status operator()(const SetMatch& set) const {
    if (set.dimensions > kIpSetDimensionsMax) {
      return Refuse(ERANGE, "too many dimensions");
    }
    if (use.sets == nullptr) return {};
    return use.sets->Check(set.index);
  }
  Status operator()(const HashlimitMatch& limit) const {
    if (HashlimitOverflows(limit)) {
      return Refuse(ERANGE, "rate and burst overflow, try lower");
    }
    return {};
  }
  Status operator()(const EcnMatch& ecn) const {
    if (!ecn.test_ece && !ecn.test_cwr) return {};
    return NeedProtocol(rule, {kTcp}, "-p tcp");
  }
  Status operator()(const EspMatch&) const {
    return NeedProtocol(rule, {kEsp}, "-p esp");
  }
  Status operator()(const AhMatch& ah) const {
    // IPv6 looks for the header by itself.
    if (ah.family == Family::kIpv6) return {};
    return NeedProtocol(rule, {kAh}, "-p ah");
  }
  Status operator()(const SctpMatch&) const {
    return NeedProtocol(rule, {kSctp}, "-p sctp");
  }
  Status operator()(const DccpMatch&) const {
    return NeedProtocol(rule, {kDccp}, "-p dccp");
  }
  Status operator()(const TcpmssMatch&) const {
    return NeedProtocol(rule, {kTcp}, "-p tcp");
  }
  Status operator()(const RpfilterMatch&) const {
    if (use.table != TableKind::kRaw && use.table != TableKind::kMangle) {
      return Refuse(EINVAL, "only in tables raw and mangle");
    }
    return NeedHooks(use, kPre);
  }
  Status operator()(const PolicyMatch& policy) const {
    return NeedHooks(use,
                     policy.inbound ? kPre | kIn | kFwd : kFwd | kOut | kPost);
  }
  Status operator()(const PhysdevMatch& physdev) const {
    const bool leaves = physdev.tests & (kPhysdevOut | kPhysdevIsOut);
    const bool bridged =
        (physdev.tests & ~physdev.inverted & kPhysdevBridged) != 0;
    if (!leaves || bridged) return {};
    return NeedHooks(use, kPre | kIn | kFwd | kPost);
  }
  Status operator()(const RealmMatch&) const {
    return NeedHooks(use, kIn | kFwd | kOut | kPost);
  }
  Status operator()(const SocketMatch&) const {
    return NeedHooks(use, kPre | kIn);
  }
  Status operator()(const DevgroupMatch& devgroup) const {
    if (devgroup.source.asked) {
      RETURN_IF_ERROR(NeedHooks(use, kPre | kIn | kFwd));
    }
    if (!devgroup.destination.asked) return {};
    return NeedHooks(use, kFwd | kOut | kPost);
  }
  template <typename Other>
  Status operator()(const Other&) const {
    return {};
  }
};

struct TargetChecker {
  const Use& use;
  const Rule& rule;
  const std::vector<Condition>& conditions;

  Status operator()(const RejectTarget& reject) const {
    RETURN_IF_ERROR(NeedTable(use, TableKind::kFilter, kIn | kFwd | kOut));
    if (!reject.tcp_reset) return {};
    return NeedProtocol(rule, {kTcp}, "-p tcp");
  }
  Status operator()(const SnatTarget&) const {
    return NeedTable(use, TableKind::kNat, kPost | kIn);
  }
  Status operator()(const DnatTarget&) const {
    return NeedTable(use, TableKind::kNat, kPre | kOut);
  }
  Status operator()(const MasqueradeTarget&) const {
    return NeedTable(use, TableKind::kNat, kPost);
  }
  Status operator()(const RedirectTarget&) const {
    return NeedTable(use, TableKind::kNat, kPre | kOut);
  }
  Status operator()(const NetmapTarget&) const {
    return NeedTable(use, TableKind::kNat, kPre | kIn | kOut | kPost);
  }
  Status operator()(const CtTarget&) const {
    return NeedTable(use, TableKind::kRaw);
  }
  Status operator()(const NotrackTarget&) const {
    return NeedTable(use, TableKind::kRaw);
  }
  Status operator()(const TraceTarget&) const {
    return NeedTable(use, TableKind::kRaw);
  }
  Status operator()(const DscpTarget&) const {
    return NeedTable(use, TableKind::kMangle);
  }
  Status operator()(const TosTarget&) const {
    return NeedTable(use, TableKind::kMangle);
  }
  Status operator()(const TtlTarget&) const {
    return NeedTable(use, TableKind::kMangle);
  }
  Status operator()(const ClassifyTarget&) const {
    return NeedHooks(use, kOut | kFwd | kPost);
  }
  Status operator()(const ChecksumTarget&) const {
    return NeedTable(use, TableKind::kMangle);
  }
  Status operator()(const EcnTarget& ecn) const {
    RETURN_IF_ERROR(NeedTable(use, TableKind::kMangle));
    if (!ecn.set_ece && !ecn.set_cwr) return {};
    return NeedProtocol(rule, {kTcp}, "-p tcp");
  }
  Status operator()(const TcpoptstripTarget&) const {
    RETURN_IF_ERROR(NeedTable(use, TableKind::kMangle));
    return NeedProtocol(rule, {kTcp}, "-p tcp");
  }
  Status operator()(const SetTarget& set) const {
    for (const auto& named : {set.add, set.remove, set.map}) {
      if (!named) continue;
      if (named->dimensions > kIpSetDimensionsMax) {
        return Refuse(ERANGE, "too many dimensions");
      }
      if (use.sets != nullptr) RETURN_IF_ERROR(use.sets->Check(named->index));
    }
    if (!set.map) return {};
    RETURN_IF_ERROR(NeedTable(use, TableKind::kMangle));
    if (!set.map_priority && !set.map_queue) return {};
    return NeedHooks(use, kFwd | kOut | kPost);
  }
  Status operator()(const TeeTarget&) const {
    return NotModelled("the way of a copy is not followed here");
  }
  Status operator()(const TcpmssTarget& tcpmss) const {
    RETURN_IF_ERROR(NeedProtocol(rule, {kTcp}, "-p tcp"));
    if (tcpmss.clamp_to_pmtu && (use.hooks & ~(kFwd | kOut | kPost)) != 0) {
      return Refuse(EINVAL, "the path MTU is not known in this chain");
    }
    constexpr uint8_t kSyn = 0x02;
    for (const Condition& condition : conditions) {
      const auto* tcp = std::get_if<TcpMatch>(&condition);
      if (tcp != nullptr && (tcp->flags_value & kSyn) != 0 &&
          !tcp->flags_inverted) {
        return {};
      }
    }
    return Refuse(EINVAL, "only works on SYN packets (--syn)");
  }
  template <typename Other>
  Status operator()(const Other&) const {
    return {};
  }
};

using Callees = std::vector<std::vector<size_t>>;  // [chain]

/// The chains each chain jumps or goes to, each once a rule.
Result<Callees> CalleesOf(const Table& table) {
  Callees callees(table.chains.size());
  for (size_t i = 0; i < table.chains.size(); ++i) {
    for (const Rule& rule : table.chains[i].rules) {
      if (rule.target.kind != TargetKind::kJump &&
          rule.target.kind != TargetKind::kGoto) {
        continue;
      }
      const auto callee = table.FindChain(rule.target.chain);
      if (!callee || table.chains[*callee].hook) {
        SourcePlace place;
        place.line = rule.line;
        place.column = rule.target.column;
        place.text = rule.target.chain;
        return Fail(ErrorCode::kConflict, "no user chain of that name",
                    std::move(place), ENOENT);
      }
      callees[i].push_back(*callee);
    }
  }
  return callees;
}

/// Marks what `start` reaches with `hook`.  Depth first, with a stack of its
/// own: rulesets nest as deep as they have chains.
Status MarkFrom(const Table& table, const Callees& callees, size_t start,
                uint8_t hook, std::vector<uint8_t>* hooks) {
  struct Frame {
    size_t chain;
    size_t next;  // index in callees[chain]
  };
  std::vector<bool> open(table.chains.size());
  std::vector<Frame> stack{{start, 0}};
  (*hooks)[start] |= hook;
  open[start] = true;
  while (!stack.empty()) {
    Frame& top = stack.back();
    if (top.next == callees[top.chain].size()) {
      open[top.chain] = false;
      stack.pop_back();
      continue;
    }
    const size_t callee = callees[top.chain][top.next++];
    if (open[callee]) {
      return Fail(ErrorCode::kConflict,
                  "chain " + table.chains[callee].name + " calls itself", {},
                  ELOOP);
    }
    if ((*hooks)[callee] & hook) continue;
    (*hooks)[callee] |= hook;
    open[callee] = true;
    stack.push_back({callee, 0});
  }
  return {};
}

}  // namespace

Result<std::vector<uint8_t>> HooksOfChains(const Table& table) {
  ASSIGN_OR_RETURN(const Callees callees, CalleesOf(table));
  std::vector<uint8_t> hooks(table.chains.size());
  for (size_t i = 0; i < table.chains.size(); ++i) {
    if (!table.chains[i].hook) continue;
    RETURN_IF_ERROR(
        MarkFrom(table, callees, i, Bit(*table.chains[i].hook), &hooks));
  }
  return hooks;
}

Status CheckMatch(const Use& use, const Rule& rule, const Extension& match,
                  const Condition& condition) {
  return std::visit(MatchChecker{use, rule, match}, condition);
}

Status CheckTarget(const Use& use, const Rule& rule,
                   const std::vector<Condition>& conditions,
                   const Action& action) {
  return std::visit(TargetChecker{use, rule, conditions}, action);
}

}  // namespace nfarena::reference
