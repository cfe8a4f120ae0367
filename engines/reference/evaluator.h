// The walk over a table's chains for one packet: the plainest form of what
// ipt_do_table() does.
#pragma once

#include <array>
#include <optional>

#include "compat/model/ruleset.h"
#include "engines/core/packet_state.h"
#include "engines/reference/program.h"
#include "engines/reference/shared_memory.h"

namespace nfarena::reference {

class Evaluator : public StageEvaluator {
 public:
  /// Rules may name `sets`, which must outlive this; nullptr: there are none.
  explicit Evaluator(IpSets* sets = nullptr);

  /// Puts `ruleset` in force, with its counters.  What is remembered by name
  /// stays where the new ruleset uses the name too, all else is forgotten.  On
  /// error nothing changes.
  [[nodiscard]] Status Load(const Ruleset& ruleset);
  /// Puts a changed ruleset in force.  Tables of which `touched` is set start
  /// to remember anew, as tables of xtables do that were replaced; the others
  /// keep what their matches remember.  On error nothing changes.
  [[nodiscard]] Status Change(Ruleset ruleset,
                              const std::array<bool, kTableKindCount>& touched);

  const Ruleset& ruleset() const { return ruleset_; }
  /// Whether Evaluate adds the rules that matched to the outcome's trace.
  void set_trace(bool trace) { trace_ = trace; }

  bool HasStage(Stage stage) const override;
  StageVerdict Evaluate(Stage stage, PacketState* packet) override;

 private:
  StageVerdict WalkChains(Table* table, TableMeaning* meaning, size_t base,
                          PacketState* packet);

  Ruleset ruleset_;
  std::array<std::optional<TableMeaning>, kTableKindCount> meanings_;
  IpSets none_;  // the sets, where none are given
  SharedMemory shared_;
  bool trace_ = false;
};

/// The first rule of `ruleset` that cannot be evaluated, as an error.
[[nodiscard]] Status CheckRuleset(const Ruleset& ruleset);

}  // namespace nfarena::reference
