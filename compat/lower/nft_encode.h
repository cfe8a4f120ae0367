// Meaning -> the uapi payload that libxtables would make of it: the inverse of
// compat/meaning's decoders, for what nf_tables' own expressions can say.
//
// Revisions are those that iptables 1.8.9 picks on a kernel of today, fields
// that say nothing hold what it puts there, so that a rule read back equals the
// rule that was parsed.
#pragma once

#include <optional>

#include "compat/meaning/match.h"
#include "compat/meaning/target.h"
#include "compat/model/ruleset.h"

namespace nfarena::nft {

/// `protocol` tells udp from udplite.  Never called with a SetMatch: an ipset
/// has no native form.
Extension EncodeMatch(Family family, const Condition& condition,
                      uint8_t protocol);

/// A part of EncodeMatch: nullopt for a condition of another part.
std::optional<Extension> EncodeStateMatch(const Condition& condition);

/// Only the actions that LowerAction lowers natively.
Extension EncodeTarget(Family family, const Action& action);

}  // namespace nfarena::nft
