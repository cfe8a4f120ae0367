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
  /// Lower NFQUEUE to nftables' queue expression.  Off, because a kernel may
  /// have nf_tables without it (CONFIG_NFT_QUEUE) but with the xtables target.
  bool native_queue = false;
  /// Leave the tables that the ruleset does not name as they are, as
  /// iptables-restore does; else they are deleted.
  bool keep_other_tables = false;
};

/// How one rule was lowered.
struct NftRuleNote {
  RuleRef rule;
  bool compat = false;  // a match or target is carried by nft_compat
  std::string reason;   // which, and why it has no native form
};

struct NftBatch {
  std::vector<uint8_t> bytes;  // BATCH_BEGIN ... BATCH_END
  uint32_t messages = 0;
  uint32_t first_seq = 0;
  std::vector<RuleRef> rules;      // of the NEWRULE messages, in order
  std::vector<NftRuleNote> notes;  // only rules with something to say
};

/// Replaces everything of the family's xtables-named tables: delete, create,
/// add.  `genid` 0 = no generation check.
[[nodiscard]] Result<NftBatch> LowerNftRuleset(const Ruleset& ruleset,
                                               const NftOptions& options,
                                               uint32_t genid);

/// The handles of what is in force, needed to change it.  Indices are those of
/// the Ruleset read back together with them.
struct NftHandles {
  /// rule[t][chain index][rule - 1], t = (size_t)TableKind
  std::vector<std::vector<uint64_t>> rule[kTableKindCount];
  /// chain[t][chain index]; 0 for a built-in chain that does not exist yet.
  std::vector<uint64_t> chain[kTableKindCount];
};

/// A change as its smallest batch.  `current` is the ruleset in force before
/// the delta.
/// Errors: kConflict (no such chain, chain exists, no equal rule), kRange (no
/// rule of that number), and those of LowerNftRuleset.
[[nodiscard]] Result<NftBatch> LowerNftDelta(const Ruleset& current,
                                             const Delta& delta,
                                             const NftHandles& handles,
                                             const NftOptions& options,
                                             uint32_t genid);

/// What the kernel answered to the dumps of one family: concatenated netlink
/// messages, in any order; acknowledgements and other tables are skipped.  A
/// batch's own bytes are taken as well (its deletions are skipped).
struct NftDump {
  std::span<const uint8_t> chains;    // GETCHAIN
  std::span<const uint8_t> rules;     // GETRULE
  std::span<const uint8_t> elements;  // GETSETELEM of each set (may be empty)
};

struct NftRaised {
  Ruleset ruleset;  // with counters; tables in the order of TableKind
  NftHandles handles;
};

/// A dump -> ruleset with counters, and the handles.  What native expressions
/// cannot say is given in its usual spelling: ports of multiport in order, -m
/// state as -m conntrack, a comment as the rule's first match.
/// Errors: kUnsupported with the rule and the expression that has no xtables
/// form; kSyntax for bytes that are no such dump.
[[nodiscard]] Result<NftRaised> RaiseNft(Family family, const NftDump& dump);

/// The counters of one rule, or of a chain's policy (rule 0).
struct NftCounters {
  TableKind table = TableKind::kFilter;
  std::string chain;
  uint32_t rule = 0;  // 1-based place in its chain
  uint64_t handle = 0;
  Counters counters;
};

/// Reads the counters of a dump alone (`dump.elements` is not looked at): works
/// for rules that RaiseNft does not understand.  A rule with no counter
/// expression gives zero.
[[nodiscard]] Result<std::vector<NftCounters>> ReadNftCounters(
    Family family, const NftDump& dump);

/// A batch or a dump in words, one message a paragraph, one expression a line.
/// What is not understood is printed as such; never fails.
std::string DumpNftBatch(std::span<const uint8_t> bytes);

}  // namespace nfarena
