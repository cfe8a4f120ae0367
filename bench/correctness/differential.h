// One ruleset and one packet sequence through several engines, compared.
//
// Every engine is compared with the first one that can run the ruleset.
// Outcomes are compared packet by packet (verdict, deciding rule, rewritten
// packet, mark, answers), then the counters of every rule and policy after the
// whole sequence.  "Unsupported" (the engine says which construct), "not
// available" (the host lacks something) and "different" are different results
// and never mixed.  A difference is shrunk to the fewest packets that still
// show it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "engines/core/engine.h"

namespace nfarena {

struct DifferentialCase {
  std::string id;  // corpus id or file name, for messages
  const Ruleset* ruleset = nullptr;
  std::string ruleset_path;  // what a person passes to --ruleset
  std::span<const Packet> packets;
  std::string ipset_save;  // sets the ruleset refers to, or empty
};

enum class RunState : uint8_t {
  kRan,
  kUnsupported,  // reason = the construct
  kUnavailable,  // reason = what the host lacks
  kFailed,       // reason = an error that should not happen
};
const char* RunStateName(RunState state);

struct EngineRun {
  std::string engine;
  RunState state = RunState::kRan;
  std::string reason;
  Error error;                 // what `reason` says, with its place; if not ran
  uint64_t compared = 0;       // outcomes compared with the base engine's
  uint64_t indeterminate = 0;  // depend on chance or the clock
  uint64_t differences = 0;
  uint64_t counters_compared = 0;  // rules and policies
};

struct Difference {
  std::string base, engine;
  uint64_t packet = 0;               // 1-based; 0 = counters after the sequence
  RuleRef rule;                      // that decided it in the base engine
  std::string what;                  // "verdict: accept / drop; ..."
  std::vector<std::string> packets;  // the fewest that still show it
  /// Everything needed to repeat it by hand.
  std::string ToString(const DifferentialCase& c) const;
};

struct DifferentialReport {
  std::vector<EngineRun> runs;  // base first
  uint64_t compared = 0;
  uint64_t indeterminate = 0;
  uint64_t differences_count = 0;
  std::vector<Difference> differences;  // the first ones
  uint64_t rules_count = 0;
  uint64_t rules_hit = 0;  // counted at least one packet (base engine)
  std::vector<Outcome> base_outcomes;  // one a packet; empty if none ran
};

struct DifferentialOptions {
  uint64_t differences_kept = 5;
  bool shrink = true;
  /// A kernel does not say what it left to chance or the clock; what this twin
  /// says of a packet counts for all engines.  Not compared unless asked for.
  const Engine* chance = nullptr;
  bool with_packets = true;  // false: Difference::packets stays empty
  bool counters = true;
};

/// Errors: kConflict when the packets contradict each other about where a
/// destination is; what an engine cannot do is in its EngineRun.
[[nodiscard]] Result<DifferentialReport> RunDifferential(
    const DifferentialCase& c, std::span<const Engine* const> engines,
    const DifferentialOptions& options);

}  // namespace nfarena
