// Does a ruleset keep its meaning on an engine?  One verdict a rule.
//
// A rule is refused (the engine cannot express it, or takes the ruleset as a
// whole not), differs (a packet that this rule decides comes out otherwise
// than on the base engine), compat (keeps its meaning through nft_compat) or
// same.  "same" rests on the engine's own statement and on the packets aimed at
// the rules; how many were compared is in the report.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bench/correctness/differential.h"
#include "compat/model/ruleset.h"
#include "compat/syntax/known_sets.h"
#include "engines/core/engine.h"

namespace nfarena {

enum class RuleVerdict : uint8_t { kSame, kCompat, kDiffers, kRefused };
/// "same", "compat", "differs", "refused".
const char* RuleVerdictName(RuleVerdict verdict);

struct CheckedRule {
  RuleRef rule;
  uint32_t line = 0;
  uint32_t column = 0;  // of what was refused; 0 = the whole line
  std::string text;     // "-A INPUT ..." as we print it
  std::string engine;
  RuleVerdict verdict = RuleVerdict::kSame;
  std::string reason;
};

struct CheckedEngine {
  std::string engine;
  /// Not empty: the ruleset as a whole was not loaded or compared, and why.
  std::string not_run;
  std::string base;  // what it was compared with; empty for the base itself
  uint64_t compared = 0;
  uint64_t indeterminate = 0;
};

struct CheckReport {
  std::vector<CheckedRule> rules;  // by engine, then in file order
  std::vector<CheckedEngine> engines;
};

struct CheckOptions {
  uint64_t packets_count = 2000;  // 0 = say only what the engines state
  uint64_t seed = 1;
};

/// `bases`: the engines whose meaning counts; the first that can run the
/// ruleset is what the others are compared with (the reference, and
/// kernel-legacy for what only a kernel knows).  `sets` names ipsets in the
/// rules' text; null = the kernel is asked.
[[nodiscard]] Result<CheckReport> CheckRuleset(
    const Ruleset& ruleset, const std::string& ipset_save,
    const KnownSets* sets, std::span<const Engine* const> bases,
    std::span<const Engine* const> engines, const CheckOptions& options);

}  // namespace nfarena
