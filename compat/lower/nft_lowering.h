// One rule of the model -> nf_tables expressions, in two dialects.
//
// Native: nftables' own expressions wherever they mean exactly what the
// xtables extension means on a packet with complete headers; what they cannot
// say exactly is carried by nft_compat, and the reason is kept.  Compat: what
// iptables-nft 1.8.9 makes of the rule, its quirks included, so that the
// differential run measures the tool that people have.
//
// Nothing is approximated: a function of the native dialect either appends
// expressions that mean the same or says why not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compat/lower/nft_batch.h"
#include "compat/lower/nft_expr.h"
#include "compat/lower/nft_message.h"
#include "compat/meaning/match.h"
#include "compat/meaning/target.h"

namespace nfarena::nft {

/// A hook's bit in RuleContext::hook_mask.
constexpr uint8_t HookBit(Hook hook) {
  return static_cast<uint8_t>(1u << static_cast<int>(hook));
}

/// Where a rule stands.
struct RuleContext {
  Family family = Family::kIpv4;
  TableKind table = TableKind::kFilter;
  /// HookBit() of each hook from which its chain is reached.
  uint8_t hook_mask = 0;
};

struct LoweredRule {
  std::vector<Expr> exprs;
  std::vector<AnonymousSet> sets;  // their ids are referred to by lookups
  std::string comment;             // goes into the rule's user data
  bool carried = false;            // some expression is nft_compat's
  bool compat = false;  // the message names the protocol, for its checks
  std::string reason;   // what is carried by nft_compat, and why

  void Clear();
};

/// Set ids are unique within a batch: `*next_set_id` is the next free one.
/// Errors: kUnsupported (the extension does not belong into this table, or
/// iptables-nft itself cannot load the rule), with the place.
[[nodiscard]] Status LowerRule(const Rule& rule, const RuleContext& context,
                               const NftOptions& options, uint32_t* next_set_id,
                               LoweredRule* out);

/// The place of a rule, or of one of its extensions, for an error.
SourcePlace PlaceOf(const Rule& rule);
SourcePlace PlaceOf(const Rule& rule, const Extension& extension);

// The parts, one file each; only LowerRule calls them.

/// Appends the tests of the rule's own selector (interfaces, protocol,
/// addresses, fragments), in iptables-nft 1.8.9's order.
[[nodiscard]] Status LowerSelector(const Rule& rule, const RuleContext& context,
                                   LoweredRule* out);

/// Appends a condition natively and returns "", or leaves `out` as it is and
/// returns the reason why it cannot be done.
std::string LowerCondition(const Condition& condition, const Rule& rule,
                           const RuleContext& context,
                           const NftOptions& options, uint32_t* next_set_id,
                           LoweredRule* out);

/// Where a condition stands, and where its expressions go.
struct ConditionSite {
  const Selector& selector;
  const RuleContext& context;
  uint32_t* next_set_id;
  LoweredRule* out;
};

/// Parts of LowerCondition: as it, but nullopt for a condition of another part,
/// and on a reason `out` may be half written.
std::optional<std::string> LowerStateMatch(const Condition& condition,
                                           const ConditionSite& site);
std::optional<std::string> LowerBytesMatch(const Condition& condition,
                                           const ConditionSite& site);

/// Appends a lookup of register `sreg` in a set of the rule's own.
void AddLookup(AnonymousSet set, bool inverted, uint32_t sreg,
               const ConditionSite& site);

/// The same for a target.
std::string LowerAction(const Action& action, const RuleContext& context,
                        const NftOptions& options, LoweredRule* out);

/// Those that are lowered from their payload, or carried for a reason of their
/// own; nullopt: not one of them, and nothing was appended.
std::optional<std::string> LowerHostMatch(const Extension& match,
                                          const RuleContext& context,
                                          LoweredRule* out);
std::optional<std::string> LowerHostTarget(const Extension& target,
                                           const Rule& rule,
                                           const RuleContext& context,
                                           LoweredRule* out);

/// Whether the flags of such packets are SYN alone or ACK alone, of the four
/// that SYNPROXY looks at.
bool SynproxyFlags(const TcpMatch& tcp);

/// A verdict or a jump; kNone and kExtension append nothing.
void LowerVerdict(const Target& target, LoweredRule* out);

/// The compat dialect of a whole rule.
[[nodiscard]] Status LowerAsIptablesNft(const Rule& rule,
                                        const RuleContext& context,
                                        LoweredRule* out);

/// Appends an extension as a match or target expression.
void CarryMatch(const Extension& match, LoweredRule* out);
void CarryTarget(const Extension& target, LoweredRule* out);

}  // namespace nfarena::nft
