// The words of one call of iptables -> what is asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "compat/syntax/rule_parser.h"

namespace nfarena {

struct Call {
  CommandKind kind = CommandKind::kNone;
  std::string table = "filter";
  std::string chain, new_name, policy;
  uint32_t rulenum = 0;
  /// Every source with every destination is a rule of its own.
  std::vector<Rule> rules;
  bool has_counters = false;
  bool also_zero = false;     // with kList and kListRules
  uint32_t zero_rulenum = 0;  // of it, only this rule
  uint32_t verbose = 0;
  bool numeric = false, exact = false, line_numbers = false;
  int wait_seconds = 0;  // negative: for ever
  bool version = false, help = false;
  std::string extensions_help;  // with `help`: of those that were named
  /// What libxtables had to say, a line each.
  std::vector<std::string> warnings;
};

/// `arguments` are without the program's name.  `warnings` are filled in on an
/// error, too.  Errors: as RuleParser's.
[[nodiscard]] Status ParseCall(Family family,
                               std::span<const char* const> arguments,
                               Call* call);

/// Decides which of the rules' targets are chains of `table`, as iptables does
/// when it has read the table, and whether they may stand in it.
/// Errors: kSyntax (what iptables refuses itself), kConflict (what the kernel
/// refuses).
[[nodiscard]] Status ResolveTargets(const Table& table, Call* call);

}  // namespace nfarena
