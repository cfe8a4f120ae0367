// Where the rules are that a command reads and changes.
#pragma once

#include "compat/model/delta.h"
#include "compat/model/result.h"
#include "compat/model/ruleset.h"

namespace nfarena {

class RulesetStore {
 public:
  virtual ~RulesetStore() = default;

  /// Keeps others who change rules here out until the store is gone.  Waits
  /// `seconds` for them; negative: for ever.
  /// Errors: kConflict (somebody else has it still), kSystem.
  [[nodiscard]] virtual Status Lock(int seconds) = 0;
  /// What is in force, with counters.  A table that nobody has used yet may be
  /// missing.
  [[nodiscard]] virtual Result<Ruleset> Read() = 0;
  /// `rule` as Read() would give it back from this chain: an engine with
  /// another form than iptables' lists some rules in other words of the same
  /// meaning.
  [[nodiscard]] virtual Rule Shown(TableKind table, const Chain& chain,
                                   const Rule& rule) {
    (void)table;
    (void)chain;
    return rule;
  }
  /// All changes or none.
  [[nodiscard]] virtual Status Apply(const Delta& delta) = 0;
  /// The named tables whole; others stay as they are.
  [[nodiscard]] virtual Status Replace(const Ruleset& ruleset) = 0;
};

}  // namespace nfarena
