// Sets from the text that makes them: what "ipset save" prints and "ipset
// restore" reads.
//
// Only what builds sets is read (create and add, in their long and short
// forms); a text that destroys, swaps or flushes is refused, not half obeyed.
// A set whose type or options are not modelled is kept by name and number, so
// that a ruleset that does not ask it anything can be used.
#pragma once

#include <string_view>

#include "compat/model/result.h"
#include "engines/core/ipset.h"

namespace nfarena {

/// Errors, with line, column and the piece of text: kSyntax (not what ipset
/// reads), kRange (a number or address out of its limits, too many elements),
/// kConflict (a set or an element twice, no such set), kUnsupported (another
/// command).
[[nodiscard]] Result<IpSets> ReadIpSets(std::string_view ipset_save);

}  // namespace nfarena
