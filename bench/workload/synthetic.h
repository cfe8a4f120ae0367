// Rulesets of one shape and any size, for scaling curves.
#pragma once

#include <cstdint>
#include <string>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"

namespace nfarena {

/// Rule number `index` of the shape: "-s ADDRESS -p tcp -m tcp --dport PORT -j
/// ACCEPT", all different.
std::string SyntheticRule(Family family, uint64_t index);

/// iptables-save text with `rules_count` of them in filter/INPUT.
std::string SyntheticText(Family family, uint64_t rules_count);

/// The same, parsed.
[[nodiscard]] Result<Ruleset> SyntheticRuleset(Family family,
                                               uint64_t rules_count);

/// A packet line that rule `index` matches, and one that no rule matches.
std::string SyntheticHit(Family family, uint64_t index);
std::string SyntheticMiss(Family family);

}  // namespace nfarena
