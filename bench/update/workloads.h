// The update workloads: what is done to a ruleset of N rules.
//
// Each changes filter/INPUT by one step and knows the step back, so that every
// iteration starts from the same N rules.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "compat/model/delta.h"

namespace nfarena {

struct UpdateWorkload {
  std::string_view name;
  std::string_view description;
  /// The change that is timed; `spare` is a rule that is not in the ruleset.
  Delta (*change)(uint64_t rules_count, const Rule& spare);
  /// The way back; `original` is the ruleset of N rules.
  Delta (*undo)(uint64_t rules_count, const Ruleset& original);
};

/// append, insert_head, insert_middle, delete_first, delete_middle,
/// delete_last, replace.
std::span<const UpdateWorkload> UpdateWorkloads();

}  // namespace nfarena
