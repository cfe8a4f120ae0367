// Ruleset -> what iptables -L prints for it, byte for byte.
#pragma once

#include <cstdint>
#include <string>

#include "compat/model/ruleset.h"
#include "compat/syntax/known_sets.h"

namespace nfarena {

struct ListOptions {
  bool verbose = false;       // -v: counters and interfaces
  bool numeric = false;       // -n: no names of hosts, networks and ports
  bool exact = false;         // -x: 12345678 instead of 12M
  bool line_numbers = false;  // --line-numbers
  /// The ipsets by their numbers; null = the kernel is asked for the names.
  const KnownSets* sets = nullptr;
};

/// All chains of a table, or the one named `only`; with `rulenum` just that
/// rule, without the headings.  Names are looked up where -n is not given.
std::string PrintList(Family family, const Table& table,
                      const ListOptions& options, std::string_view only = {},
                      uint32_t rulenum = 0);

/// The one line that -v prints for a rule that is added, checked or removed.
std::string PrintRuleLine(Family family, const Rule& rule,
                          const KnownSets* sets);

}  // namespace nfarena
