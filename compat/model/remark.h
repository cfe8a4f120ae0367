// A line about something that is in force and that iptables cannot say.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compat/model/ruleset.h"

namespace nfarena {

/// Stands in a listing as a comment, so that what is listed is everything.
struct Remark {
  /// Unset: it belongs to no table of iptables.
  std::optional<TableKind> table;
  std::string chain;      // "": it is about the table
  uint32_t position = 0;  // how many of the chain's rules stand before it
  std::string text;       // without "# ", one line
  /// Whether what it tells of is not in the ruleset beside it.
  bool left_out = true;
};
using Remarks = std::vector<Remark>;

}  // namespace nfarena
