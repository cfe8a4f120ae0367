// The call graph of a table's chains, as nf_tables sees it.
#pragma once

#include <cstdint>
#include <vector>

#include "compat/model/ruleset.h"

namespace nfarena::nft {

/// For each chain the hooks it is reached from (1 << Hook), by chain index.
///
/// Errors: kConflict (a loop that packets can reach, a jump to a chain that
/// does not exist or is built-in), kUnsupported (jumps nested deeper than
/// nf_tables' stack of 16), each with the line of the rule.
/// Source: net/netfilter/nf_tables_api.c, nft_chain_validate().
[[nodiscard]] Result<std::vector<uint8_t>> CheckChains(const Table& table);

}  // namespace nfarena::nft
