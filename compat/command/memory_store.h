// Rules that are in force nowhere: the model by itself.
#pragma once

#include <utility>

#include "compat/command/store.h"

namespace nfarena {

class MemoryStore : public RulesetStore {
 public:
  explicit MemoryStore(Family family) { ruleset_.family = family; }

  Status Lock(int) override { return {}; }
  Result<Ruleset> Read() override { return ruleset_; }
  Status Apply(const Delta& delta) override {
    return ApplyDelta(delta, &ruleset_);
  }
  Status Replace(const Ruleset& ruleset) override {
    for (const Table& table : ruleset.tables) {
      ruleset_.EnsureTable(table.kind) = table;
    }
    return {};
  }

 private:
  Ruleset ruleset_;
};

}  // namespace nfarena
