// One rule of nf_tables -> the rules of iptables that together say the same.
//
// nft folds what iptables says in several rules into one: a set for an "or", a
// verdict map for several targets, a log in front of a verdict.  A rule that
// has no form of its own is taken apart: one rule for each element of a set
// that it looks up, and one for each statement.  Elements of a set do not
// overlap, so a packet meets one of the rules at most, as it met the one; where
// that is not certain (a rule with a state of its own, or one that changes what
// it looks up and goes on) it is not taken apart.
#pragma once

#include <vector>

#include "compat/lower/nft_raising.h"

namespace nfarena::nft {

/// More rules than this are not made of one.
inline constexpr size_t kMaxExpansion = 4096;

/// At least one rule, in order.  The counters of several are those of the rule
/// where each of them meets all its packets, else they stand at the first.
/// Errors: those of RaiseRule for the rule as it stands.
[[nodiscard]] Result<std::vector<Rule>> RaiseRules(Family family,
                                                   const RuleRecord& record,
                                                   const SetContents& sets);

/// The elements of a set: "0x0a000001", "0x0a000001-0x0a000009", with ": drop"
/// or ": 0x01" behind it in a map; of a long set only the first and a number.
std::string PrintElements(const std::vector<ElementsRecord::Element>& elements);

}  // namespace nfarena::nft
