// A change to a ruleset: the commands of iptables, in the model's terms.
#pragma once

#include <string>
#include <vector>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"

namespace nfarena {

enum class ChangeKind : uint8_t {
  kAppend,       // -A chain rule
  kInsert,       // -I chain rulenum rule
  kReplace,      // -R chain rulenum rule
  kDeleteIndex,  // -D chain rulenum
  kDeleteRule,   // -D chain rule: the first equal rule
  kFlush,        // -F [chain]; empty chain = the whole table
  kNewChain,     // -N chain
  kDeleteChain,  // -X [chain]
  kRenameChain,  // -E chain rename_to
  kPolicy,       // -P chain policy
  kZero,         // -Z [chain [rulenum]]
};

struct Change {
  ChangeKind kind = ChangeKind::kAppend;
  TableKind table = TableKind::kFilter;
  std::string chain;
  uint32_t rulenum = 0;  // 1-based
  Rule rule;             // kAppend, kInsert, kReplace, kDeleteRule
  std::string rename_to;
  Policy policy = Policy::kAccept;
  Counters counters;  // kPolicy
};

/// Applied in order, all or nothing.
using Delta = std::vector<Change>;

/// Applies one change to the model.  Errors are those iptables gives: no chain
/// by that name, index too big, chain not empty, chain referenced, bad rule.
[[nodiscard]] Status ApplyChange(const Change& change, Ruleset* ruleset);

/// Applies all changes or none.
[[nodiscard]] Status ApplyDelta(const Delta& delta, Ruleset* ruleset);

}  // namespace nfarena
