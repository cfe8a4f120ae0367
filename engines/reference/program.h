// A ruleset with the meaning of every match and target next to it, and what
// its matches remember from one packet to the next.
//
// Kept as parallel vectors (table, chain, rule) rather than inside the model,
// because the model is shared with engines that have no use for meanings.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "compat/meaning/match.h"
#include "compat/meaning/target.h"
#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "engines/core/connection_counts.h"
#include "engines/core/ipset.h"

namespace nfarena::reference {

/// What one match of one rule remembers.  Which fields are in use follows from
/// the condition's alternative.
struct Memory {
  // limit: a token bucket
  uint64_t refilled_jiffy = 0;
  uint32_t credit = 0;
  /// The credit if the clock had stood still since the rule was loaded: with
  /// at least that much, the answer depends on no clock.
  uint32_t credit_without_clock = 0;
  // statistic
  uint32_t count = 0;
  uint64_t random = 0;
  // connlimit
  ConnectionCounts connections;
  // quota: what is left
  uint64_t quota_bytes = 0;
};

struct MatchMeaning {
  Condition condition;
  Memory memory;
};

struct RuleMeaning {
  std::vector<MatchMeaning> matches;
  std::optional<Action> action;  // set for extension targets
};

struct TableMeaning {
  std::vector<std::vector<RuleMeaning>> chains;  // [chain][rule - 1]
};

/// Decodes and checks a table, as loading it into the kernel does; every match
/// remembers nothing yet.
/// Errors: kUnsupported (no meaning known, or the kernel would refuse the rule;
/// then with its errno), kRange (bad payload), kConflict (jump to nowhere,
/// loop of chains).  `place` names line and column of the extension.
/// Rules may name `sets`; nullptr: whether they are there is not asked.
[[nodiscard]] Result<TableMeaning> DecodeTable(Family family,
                                               const Table& table,
                                               const IpSets* sets);

}  // namespace nfarena::reference
