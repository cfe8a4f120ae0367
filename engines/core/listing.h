// What an instance in somebody else's namespace has to tell beyond a ruleset.
#pragma once

#include "compat/model/remark.h"
#include "compat/model/result.h"
#include "compat/model/ruleset.h"

namespace nfarena {

struct Listing {
  Ruleset ruleset;  // with counters
  /// What is in force there and is no rule of iptables.
  Remarks remarks;
};

/// An Instance may be one as well: what it acts on may hold more than a ruleset
/// can say, where others put rules too.
class Listable {
 public:
  virtual ~Listable() = default;

  /// Everything that is in force: whatever the ruleset leaves out is in the
  /// remarks.
  [[nodiscard]] virtual Result<Listing> List() = 0;
};

}  // namespace nfarena
