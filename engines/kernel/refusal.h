// Which rule the kernel means.
//
// ip_tables refuses a table with an errno and not a word about the rule.  The
// rule is found by trying: the first n rules of the table, in a namespace made
// for it, for the smallest n that is refused (log2(n) loads, only when
// something was refused).  Of its matches it is the one without which the
// rule is taken.
#pragma once

#include <string>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"

namespace nfarena::kernel {

/// `refused` with the line, column and text of the rule that `table` was
/// refused for; unchanged when it cannot be found.
[[nodiscard]] Error ExplainXtRefusal(Family family, const Table& table,
                                     Error refused);

/// The same, when the rule is known.  Either is kUnsupported, unless a right
/// or memory is what the host lacks.
[[nodiscard]] Error RefusalOf(Family family, const std::string& chain,
                              const Rule& rule, Error refused);

}  // namespace nfarena::kernel
