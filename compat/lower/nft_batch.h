// A ruleset or delta -> one nfnetlink batch for nf_tables, made by libnftnl,
// and a dump of nf_tables -> ruleset.
//
// Tables are named as in iptables and bound with iptables' priorities, so that
// one table of xtables is one table of nf_tables ("ip filter").  Native mode
// uses nftables' own expressions wherever they mean exactly the same, and
// carries the rest as match/target expressions (nft_compat); compat mode emits
// what iptables-nft 1.8.9 emits.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compat/model/delta.h"
#include "compat/model/result.h"
#include "compat/model/ruleset.h"

namespace nfarena {

enum class NftMode : uint8_t { kNative, kCompat };

struct NftOptions {
  NftMode mode = NftMode::kNative;
  /// Guard port tests with the fragment offset, so that later fragments mean
  /// what they mean to xtables; costs two expressions a rule.
  bool exact_fragments = false;
};

/// How one rule was lowered.
struct NftRuleNote {
  RuleRef rule;
  bool compat = false;      // a match or target is carried by nft_compat
  std::string reason;       // which, and why it has no native form
};

struct NftBatch {
  std::vector<uint8_t> bytes;   // BATCH_BEGIN ... BATCH_END
  uint32_t messages = 0;
  uint32_t first_seq = 0;
  std::vector<RuleRef> rules;   // of the NEWRULE messages, in order
  std::vector<NftRuleNote> notes;  // only rules with something to say
};

/// Replaces everything of the family's xtables-named tables: delete, create,
/// add.  `genid` 0 = no generation check.
[[nodiscard]] Result<NftBatch> LowerNftRuleset(const Ruleset& ruleset,
                                               const NftOptions& options,
                                               uint32_t genid);

/// The handles of the rules in force, needed to change them.
struct NftHandles {
  /// handle[t][chain index][rule - 1], t = (size_t)TableKind
  std::vector<std::vector<uint64_t>> handle[kTableKindCount];
};

/// A change as its smallest batch.  `current` is the ruleset in force before
/// the delta.
[[nodiscard]] Result<NftBatch> LowerNftDelta(const Ruleset& current,
                                             const Delta& delta,
                                             const NftHandles& handles,
                                             const NftOptions& options,
                                             uint32_t genid);

/// The kernel's answers to GETTABLE, GETCHAIN and GETRULE dumps (concatenated
/// netlink messages) -> ruleset with counters, and the handles.
/// Errors: kUnsupported with the expression that has no xtables form.
struct NftRaised {
  Ruleset ruleset;
  NftHandles handles;
};
[[nodiscard]] Result<NftRaised> RaiseNft(Family family,
                                         std::span<const uint8_t> chains,
                                         std::span<const uint8_t> rules);

}  // namespace nfarena
