// Targets with effects beside the packet, lowered from their payload.
//
// Where xtables looks before it acts, tests stand behind the counter: a rule
// that one of them ends has counted the packet and goes on to the next rule, as
// a target that returns XT_CONTINUE.
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_AUDIT.h>
#include <linux/netfilter/xt_CONNSECMARK.h>
#include <linux/netfilter/xt_CT.h>
#include <linux/netfilter/xt_SYNPROXY.h>
#include <linux/netfilter/xt_TEE.h>

#include <algorithm>
#include <cstring>

#include "compat/lower/nft_emit.h"
#include "compat/lower/nft_host_payloads.h"
#include "compat/lower/nft_lowering.h"

namespace nfarena::nft {
namespace {

constexpr uint32_t kUntracked = 1u << 6;  // NF_CT_STATE_UNTRACKED_BIT

std::string LowerZone(const Extension& target, LoweredRule* out) {
  const auto ct = PayloadAs<xt_ct_target_info_v1>(target);
  if (!ct) return "another revision";
  if (ct->helper[0] != '\0' || ct->timeout[0] != '\0') {
    return "objects of nf_tables act on a connection, and table raw comes "
           "before it";
  }
  if (ct->ct_events != 0 || ct->exp_events != 0) {
    return "ct event acts on a connection, and table raw comes before it";
  }
  if ((ct->flags & XT_CT_ZONE_MARK) != 0) {
    return "the mark is read when tracking begins, not by the rule";
  }
  constexpr uint16_t kDirections = XT_CT_ZONE_DIR_ORIG | XT_CT_ZONE_DIR_REPL;
  if ((ct->flags & ~kDirections) != 0 ||
      (ct->flags & kDirections) == kDirections)
    return "flags that iptables does not write";
  std::optional<uint8_t> direction;
  if ((ct->flags & XT_CT_ZONE_DIR_ORIG) != 0) direction = uint8_t{0};
  if ((ct->flags & XT_CT_ZONE_DIR_REPL) != 0) direction = uint8_t{1};
  // CT leaves a packet alone that an earlier rule exempts from tracking.
  Emitter emit(&out->exprs);
  emit.Add(Ct{NFT_CT_STATE, kReg1, {}});
  emit.AnyBit(kUntracked, true);
  emit.Add(Immediate{kReg1, Data::Host16(ct->zone)});
  emit.Add(CtWrite{NFT_CT_ZONE, kReg1, direction});
  return "";
}

std::string LowerTee(const Extension& target, const RuleContext& context,
                     LoweredRule* out) {
  const auto tee = PayloadAs<xt_tee_tginfo>(target);
  if (!tee || target.revision != 1) return "another revision";
  if (tee->oif[0] != '\0') {
    return "it follows the device's name, dup has its number";
  }
  const auto* gateway = reinterpret_cast<const uint8_t*>(&tee->gw);
  Emitter emit(&out->exprs);
  emit.Add(Immediate{
      kReg1,
      Data(std::span(gateway, context.family == Family::kIpv4 ? 4 : 16))});
  emit.Add(Dup{.address = kReg1});
  return "";
}

std::string LowerAudit(const Extension& target, LoweredRule* out) {
  const auto audit = PayloadAs<xt_audit_info>(target);
  if (!audit || target.revision != 0 || audit->type >= std::size(kAuditTypes)) {
    return "another revision or type";
  }
  Log log;
  log.level = NFT_LOGLEVEL_AUDIT;
  log.prefix = kAuditTypes[audit->type];
  out->exprs.push_back(std::move(log));
  return "";
}

std::string LowerConnsecmark(const Extension& target,
                             const RuleContext& context, LoweredRule* out) {
  const auto info = PayloadAs<xt_connsecmark_target_info>(target);
  const bool save = info && info->mode == CONNSECMARK_SAVE;
  if (!info || target.revision != 0 ||
      (!save && info->mode != CONNSECMARK_RESTORE)) {
    return "another revision or mode";
  }
  if (context.table != TableKind::kMangle &&
      context.table != TableKind::kSecurity) {
    return "the kernel refuses it in this table";
  }
  // Only where the one has a mark and the other has none.
  Emitter emit(&out->exprs);
  emit.LoadMeta(NFT_META_SECMARK);
  emit.Equal(Data::Zero(4), save);
  emit.Add(Ct{NFT_CT_SECMARK, kReg1, {}});
  emit.Equal(Data::Zero(4), !save);
  if (save) {
    emit.LoadMeta(NFT_META_SECMARK);
    emit.Add(CtWrite{NFT_CT_SECMARK, kReg1, {}});
  } else {
    emit.Add(Ct{NFT_CT_SECMARK, kReg1, {}});
    emit.Add(MetaWrite{NFT_META_SECMARK});
  }
  return "";
}

std::string LowerSynproxy(const Extension& target, const Rule& rule,
                          const RuleContext& context, LoweredRule* out) {
  const auto info = PayloadAs<xt_synproxy_info>(target);
  if (!info || target.revision != 0) return "another revision";
  if ((info->options & ~NF_SYNPROXY_OPT_MASK) != 0) {
    return "synproxy takes no --ecn";
  }
  constexpr uint8_t kHooks = HookBit(Hook::kInput) | HookBit(Hook::kForward);
  if ((context.hook_mask & ~kHooks) != 0) {
    return "the kernel refuses it in this chain";
  }
  const bool tcp = rule.selector.protocol == IPPROTO_TCP &&
                   (rule.selector.inverted & kInvertProtocol) == 0;
  const bool carried = std::ranges::any_of(out->exprs, [](const Expr& expr) {
    const auto* match = std::get_if<CarriedMatch>(&expr);
    return match != nullptr && match->name == "tcp";
  });
  const bool alone =
      std::ranges::any_of(rule.matches, [&](const Extension& match) {
        const auto condition = DecodeMatch(context.family, match);
        const auto* flags =
            condition ? std::get_if<TcpMatch>(&*condition) : nullptr;
        return flags != nullptr && SynproxyFlags(*flags);
      });
  if (!tcp || carried || !alone) {
    return "without --syn it lets other flags pass, synproxy answers or drops "
           "them";
  }
  out->exprs.push_back(Synproxy{info->mss, info->wscale, info->options});
  return "";
}

struct Reason {
  std::string_view name, why;
};
constexpr Reason kReasons[] = {
    {"ECN",
     "nftables writes a header checksum of 0 as 0xffff, and reads no TCP "
     "header "
     "that is cut short"},
    {"HMARK", "nftables' hash of a connection is another one"},
    {"SECMARK", "its context would be an object beside the rule"},
    {"SET", "an ipset is not a set of nf_tables"},
    {"TCPOPTSTRIP",
     "exthdr strips the first option of a kind, and drops no malformed header"},
    {"TPROXY", "without a socket it drops, tproxy goes on to the next rule"},
};

}  // namespace

bool SynproxyFlags(const TcpMatch& tcp) {
  constexpr uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kAck = 0x10;
  constexpr uint8_t kAll = kFin | kSyn | kRst | kAck;
  const auto value = static_cast<uint8_t>(tcp.flags_value & kAll);
  return !tcp.flags_inverted && (tcp.flags_mask & kAll) == kAll &&
         (value == kSyn || value == kAck);
}

std::optional<std::string> LowerHostTarget(const Extension& target,
                                           const Rule& rule,
                                           const RuleContext& context,
                                           LoweredRule* out) {
  if (target.name == "CT" && target.revision == 2) {
    const auto ct = PayloadAs<xt_ct_target_info_v1>(target);
    if (!ct || (ct->flags & XT_CT_NOTRACK) != 0) return std::nullopt;
    return LowerZone(target, out);
  }
  if (target.name == "TEE") return LowerTee(target, context, out);
  if (target.name == "AUDIT") return LowerAudit(target, out);
  if (target.name == "CONNSECMARK") {
    return LowerConnsecmark(target, context, out);
  }
  if (target.name == "SYNPROXY") {
    return LowerSynproxy(target, rule, context, out);
  }
  for (const Reason& reason : kReasons) {
    if (reason.name == target.name) return std::string(reason.why);
  }
  return std::nullopt;
}

}  // namespace nfarena::nft
