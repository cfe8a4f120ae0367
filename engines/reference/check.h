// What the kernel refuses although each part of the rule is well formed: a
// target in the wrong table or hook, a match without its protocol, a loop.
#pragma once

#include <cstdint>
#include <vector>

#include "compat/meaning/match.h"
#include "compat/meaning/target.h"
#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "engines/core/ipset.h"

namespace nfarena::reference {

/// Where a rule stands.
struct Use {
  Family family = Family::kIpv4;
  TableKind table = TableKind::kFilter;
  /// 1 << Hook for every hook from which the rule's chain is reached.
  uint8_t hooks = 0;
  /// The ipsets that rules may name; nullptr: not asked for.
  const IpSets* sets = nullptr;
};

/// For each chain of the table, the hooks that reach it.
/// Errors: kConflict, with ELOOP for a loop that a hook reaches (a loop that
/// none reaches is accepted, as the kernel does).
/// Source: net/ipv4/netfilter/ip_tables.c, mark_source_chains().
[[nodiscard]] Result<std::vector<uint8_t>> HooksOfChains(const Table& table);

/// Errors: kUnsupported with the kernel's errno.
/// Source: xt_check_match() and the checkentry functions.
[[nodiscard]] Status CheckMatch(const Use& use, const Rule& rule,
                                const Extension& match,
                                const Condition& condition);
/// `conditions` are those of the rule's matches.
[[nodiscard]] Status CheckTarget(const Use& use, const Rule& rule,
                                 const std::vector<Condition>& conditions,
                                 const Action& action);

}  // namespace nfarena::reference
