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
#include "engines/core/packet_state.h"

namespace nfarena {

/// Mutable state of one match or target of one rule (limit's credit,
/// statistic's count).  It lives outside the payload so that the program stays
/// immutable; `bytes` of it are zeroed, then `init` is called.
struct XtStateLayout {
  uint16_t bytes = 0;
  void (*init)(const uint8_t* payload, void* state) = nullptr;
};

/// How -m set and -j SET ask for an element of a set.
/// Source: include/linux/netfilter/ipset/ip_set.h, struct ip_set_adt_opt.
struct XtSetQuery {
  uint16_t index = 0;          // ip_set_id_t of the payload
  uint8_t dimensions = 0;      // parts given: "src,dst" is 2
  uint8_t flags = 0;           // bit k (from 1): part k is of the source
  uint32_t command_flags = 0;  // IPSET_FLAG_*
  /// Counter conditions, IPSET_COUNTER_*; 0 = none.
  uint8_t packets_op = 0, bytes_op = 0;
  uint64_t packets = 0, bytes = 0;

  bool part_is_source(unsigned part) const { return (flags >> part) & 1u; }
};

/// The ipsets a ruleset refers to.  Sets live outside xtables (in the kernel,
/// or in an "ipset save" text), so whoever owns them supplies this; without it
/// rules that name a set are refused by their check.
class XtSetSource {
 public:
  virtual ~XtSetSource() = default;
  /// Whether a set of that index exists.
  virtual bool Exists(uint16_t index) const = 0;
  /// ip_set_test(): whether the packet's element is in the set.  A set of
  /// another family or of more dimensions than asked for has no element.
  virtual bool Test(const XtSetQuery& query,
                    const PacketState& packet) const = 0;
};

/// What a function sees besides its payload.
struct XtContext {
  PacketState* packet;
  TableKind table;
  void* state;  // XtStateLayout bytes, 8-aligned; nullptr when it has none
  const XtSetSource* sets = nullptr;  // nullptr: no rule names a set
};

enum class XtVerdict : uint8_t { kContinue, kAccept, kDrop, kQueue, kStolen };

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
  const XtSetSource* sets = nullptr;
};

/// Whether this match of a rule makes it one about SYN packets.
/// Source: net/netfilter/xt_TCPMSS.c, find_syn_match().
bool XtWantsSyn(std::string_view name, std::span<const uint8_t> payload);

/// nullptr when the twins do not know it.
const XtMatch* FindXtMatch(Family family, std::string_view name,
                           uint8_t revision);
const XtTarget* FindXtTarget(Family family, std::string_view name,
                             uint8_t revision);

/// ipt_do_table's test of the entry itself (ip_packet_match, ip6_packet_match).
/// Sets `packet.hotdrop` when a rule with a protocol meets an IPv6 packet whose
/// extension headers are broken: it is dropped, not passed on.
bool MatchSelector(const Selector& selector, PacketState& packet);

}  // namespace nfarena
