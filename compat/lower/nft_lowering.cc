#include "compat/lower/nft_lowering.h"

#include <fmt/format.h>
#include <netinet/in.h>

namespace nfarena::nft {
namespace {

/// The one table a target belongs to, as its kernel module says
/// (xt_target::table); kNat and so on are not asked for by others.
struct TableOf {
  std::string_view target;
  TableKind table;
};
constexpr TableOf kTables[] = {
    {"REJECT", TableKind::kFilter},   {"SNAT", TableKind::kNat},
    {"DNAT", TableKind::kNat},        {"MASQUERADE", TableKind::kNat},
    {"REDIRECT", TableKind::kNat},    {"NETMAP", TableKind::kNat},
    {"CT", TableKind::kRaw},          {"NOTRACK", TableKind::kRaw},
    {"TRACE", TableKind::kRaw},       {"DSCP", TableKind::kMangle},
    {"TOS", TableKind::kMangle},      {"TTL", TableKind::kMangle},
    {"HL", TableKind::kMangle},       {"ECN", TableKind::kMangle},
    {"CHECKSUM", TableKind::kMangle}, {"TPROXY", TableKind::kMangle},
    {"DNPT", TableKind::kMangle},     {"SNPT", TableKind::kMangle},
};

Status CheckTable(const Rule& rule, TableKind table) {
  if (rule.target.kind != TargetKind::kExtension) return {};
  const Extension& target = rule.target.extension;
  for (const TableOf& entry : kTables) {
    if (entry.target != target.name || entry.table == table) continue;
    return Fail(
        ErrorCode::kUnsupported,
        fmt::format("target {} belongs into table {}, not {}", target.name,
                    TableName(entry.table), TableName(table)),
        PlaceOf(rule, target));
  }
  return {};
}

void AddReason(std::string_view kind, const std::string& name,
               const std::string& why, LoweredRule* out) {
  if (!out->reason.empty()) out->reason += "; ";
  out->reason += fmt::format("{} {}: {}", kind, name, why);
}

/// Why a match that no decoder knows is carried.

}  // namespace

void LoweredRule::Clear() {
  exprs.clear();
  sets.clear();
  comment.clear();
  carried = false;
  compat = false;
  reason.clear();
}

SourcePlace PlaceOf(const Rule& rule) {
  SourcePlace place;
  place.line = rule.line;
  return place;
}

SourcePlace PlaceOf(const Rule& rule, const Extension& extension) {
  SourcePlace place = PlaceOf(rule);
  place.column = extension.column;
  place.text = extension.name;
  return place;
}

namespace {

/// Where xtables lets an extension stand, when nf_tables would let its own
/// expression stand anywhere: struct xt_match and xt_target, member hooks, in
/// net/netfilter/xt_owner.c, xt_mac.c, xt_realm.c and xt_CLASSIFY.c.
struct HookLimit {
  std::string_view name;
  uint8_t hooks;
};
constexpr HookLimit kHookLimits[] = {
    {"owner", HookBit(Hook::kOutput) | HookBit(Hook::kPostrouting)},
    {"mac", HookBit(Hook::kPrerouting) | HookBit(Hook::kInput) |
                HookBit(Hook::kForward)},
    {"realm", HookBit(Hook::kInput) | HookBit(Hook::kForward) |
                  HookBit(Hook::kOutput) | HookBit(Hook::kPostrouting)},
    {"CLASSIFY", HookBit(Hook::kForward) | HookBit(Hook::kOutput) |
                     HookBit(Hook::kPostrouting)},
};

/// Why the kernel would refuse the extension in such a rule, although its
/// native form would load: carried, it is refused as ip_tables refuses it.
std::string WhyRefused(const Extension& extension, const Rule& rule,
                       const RuleContext& context) {
  for (const HookLimit& limit : kHookLimits) {
    if (limit.name == extension.name &&
        (context.hook_mask & ~limit.hooks) != 0) {
      return "the chain is reached from a hook that xtables does not allow";
    }
  }
  const Selector& selector = rule.selector;
  const bool is_tcp = selector.protocol == IPPROTO_TCP &&
                      (selector.inverted & kInvertProtocol) == 0;
  if (extension.name == "REJECT" && !is_tcp) {
    const auto action = DecodeTarget(context.family, extension);
    const auto* reject = action ? std::get_if<RejectTarget>(&*action) : nullptr;
    if (reject != nullptr && reject->tcp_reset) return "needs -p tcp";
  }
  return "";
}

}  // namespace

void CarryMatch(const Extension& match, LoweredRule* out) {
  out->exprs.push_back(CarriedMatch{match.name, match.revision, match.payload});
  out->carried = out->compat = true;
}

void CarryTarget(const Extension& target, LoweredRule* out) {
  out->exprs.push_back(
      CarriedTarget{target.name, target.revision, target.payload});
  out->carried = out->compat = true;
}

Status LowerRule(const Rule& rule, const RuleContext& context,
                 const NftOptions& options, uint32_t* next_set_id,
                 LoweredRule* out) {
  out->Clear();
  RETURN_IF_ERROR(CheckTable(rule, context.table));
  if (options.mode == NftMode::kCompat) {
    return LowerAsIptablesNft(rule, context, out);
  }
  RETURN_IF_ERROR(LowerSelector(rule, context, out));
  static const std::string kUnknown = "nftables has no such expression";
  for (const Extension& match : rule.matches) {
    std::string why = WhyRefused(match, rule, context);
    if (why.empty()) {
      if (auto host = LowerHostMatch(match, context, out)) {
        why = *std::move(host);
      } else {
        const auto condition = DecodeMatch(context.family, match);
        why = condition ? LowerCondition(*condition, rule, context, options,
                                         next_set_id, out)
                        : kUnknown;
      }
    }
    if (why.empty()) continue;
    CarryMatch(match, out);
    AddReason("match", match.name, why, out);
  }
  // Behind the tests, so that it counts the packets that match.
  out->exprs.push_back(Counter{rule.counters.packets, rule.counters.bytes});
  if (rule.target.kind == TargetKind::kQueue) {
    AddReason("target", "QUEUE", "nf_tables has no such verdict", out);
  }
  if (rule.target.kind != TargetKind::kExtension) {
    LowerVerdict(rule.target, out);
    return {};
  }
  const Extension& target = rule.target.extension;
  std::string why = WhyRefused(target, rule, context);
  if (why.empty()) {
    if (auto host = LowerHostTarget(target, rule, context, out)) {
      why = *std::move(host);
    } else {
      const auto action = DecodeTarget(context.family, target);
      why = action ? LowerAction(*action, context, options, out) : kUnknown;
    }
  }
  if (!why.empty()) {
    CarryTarget(target, out);
    AddReason("target", target.name, why, out);
  }
  return {};
}

}  // namespace nfarena::nft
