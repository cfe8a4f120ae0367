// Loops among the chains of a table.
#pragma once

#include "compat/model/result.h"
#include "compat/model/ruleset.h"

namespace nfarena {

/// Ok, or kConflict naming the chains of the first loop that a built-in chain
/// reaches, at the rule that closes it.  As in the kernel, what stands behind
/// an unconditional verdict is not reached.  Every jump of the table must name
/// one of its chains.
/// Source: net/ipv4/netfilter/ip_tables.c, mark_source_chains().
[[nodiscard]] Status CheckLoops(const Table& table);

}  // namespace nfarena
