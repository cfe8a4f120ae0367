// The matches and targets of xtables, for twins: one function per extension
// and revision, fed with the uapi payload, exactly as the kernel's modules are.
//
// legacy and blob call them for every extension; vm calls them for the
// match/target expressions of nft_compat.  reference does not: it has its own
// evaluation from decoded meaning, so that the two check each other.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "engines/core/net_state.h"
#include "engines/core/packet_state.h"

namespace nfarena {

/// Mutable state of one match or target of one rule (limit's credit,
/// statistic's count).  It lives outside the payload so that the program stays
/// immutable; `bytes` of it are zeroed, then `init` is called.
struct XtStateLayout {
  uint16_t bytes = 0;
  void (*init)(const uint8_t* payload, void* state) = nullptr;
};

/// What a function sees besides its payload.
struct XtContext {
  PacketState* packet;
  TableKind table;
  void* state;  // XtStateLayout bytes, 8-aligned; nullptr when it has none
  NetState* net = nullptr;  // nullptr: no rule names a set or a state
};

enum class XtVerdict : uint8_t { kContinue, kAccept, kDrop, kQueue, kStolen };

/// What a target's word comes to as the end of a stage.
VerdictKind VerdictKindOf(XtVerdict verdict);

struct XtTargetResult {
  XtVerdict verdict = XtVerdict::kContinue;
  uint16_t queue = 0;
};

using XtMatchFn = bool (*)(const uint8_t* payload, const XtContext& context);
using XtTargetFn = XtTargetResult (*)(const uint8_t* payload,
                                      const XtContext& context);

struct XtUse;  // where a check is asked: family, table, hooks, protocol

struct XtMatch {
  std::string_view name;
  uint8_t revision;
  bool ipv4, ipv6;
  uint32_t payload_size;  // exact, before alignment
  XtMatchFn match;
  XtStateLayout state;
  /// checkentry(): ok or the kernel's errno with a reason.
  Status (*check)(std::span<const uint8_t> payload, const XtUse& use);
  /// Where it may be used, as `check` tests it too; 0 and nothing: anywhere.
  uint8_t hooks = 0;  // 1 << Hook
  std::optional<TableKind> only_table = {};
};

struct XtTarget {
  std::string_view name;
  uint8_t revision;
  bool ipv4, ipv6;
  uint32_t payload_size;
  XtTargetFn target;
  XtStateLayout state;
  Status (*check)(std::span<const uint8_t> payload, const XtUse& use);
  /// Where it may be used, as `check` tests it too; 0 and nothing: anywhere.
  uint8_t hooks = 0;  // 1 << Hook
  std::optional<TableKind> only_table = {};
};

struct XtUse {
  Family family = Family::kIpv4;
  TableKind table = TableKind::kFilter;
  uint8_t hook_mask = 0;  // 1 << Hook, hooks from which the rule is reached
  uint16_t protocol = 0;  // of the entry, 0 = any
  bool protocol_inverted = false;
  /// Whether the rule has a tcp match that wants SYN (XtWantsSyn), which
  /// TCPMSS demands; unset = not asked, as for nft_compat.
  std::optional<bool> wants_syn;
  /// nullptr: rules that name a set or a state are refused.
  NetState* net = nullptr;
  /// Keeps the states that rules name; the program owns it.
  NamedHolds* holds = nullptr;
};

/// Whether this match of a rule makes it one about SYN packets.
/// Source: net/netfilter/xt_TCPMSS.c, find_syn_match().
bool XtWantsSyn(std::string_view name, std::span<const uint8_t> payload);

/// nullptr when the twins do not know it.
const XtMatch* FindXtMatch(Family family, std::string_view name,
                           uint8_t revision);
const XtTarget* FindXtTarget(Family family, std::string_view name,
                             uint8_t revision);

/// The first match or target of a rule that the twins do not know; nullptr:
/// they know all.
const Extension* FindUnknownExtension(Family family, const Rule& rule);
/// Engine::Supports() of an engine whose extensions are these functions.
[[nodiscard]] Status SupportsExtensions(const Ruleset& ruleset);

/// ipt_do_table's test of the entry itself (ip_packet_match, ip6_packet_match).
/// Sets `packet.hotdrop` when a rule with a protocol meets an IPv6 packet whose
/// extension headers are broken: it is dropped, not passed on.
bool MatchSelector(const Selector& selector, PacketState& packet);

}  // namespace nfarena
