// Any choices as a table that keeps the model's invariants, for fuzzers of
// lowerings and engines.  What its extensions hold is up to the caller.
#pragma once

#include <functional>

#include "compat/model/ruleset.h"
#include "compat/model/testing/choices.h"

namespace nfarena::testing {

/// Makes a match, or a target when `target` is set.
using ExtensionMaker = std::function<Extension(bool target, Choices*)>;

/// All built-in chains and user chains "a", "b" and "c", few rules in each.
/// Jumps may make loops.
Table RandomTable(Family family, TableKind kind, const ExtensionMaker& make,
                  Choices* choices);

}  // namespace nfarena::testing
