// A ruleset for people, in the words of the model.
#pragma once

#include <string>

#include "compat/model/ruleset.h"

namespace nfarena::reference {

/// One line a rule: "filter/INPUT/3 [packets:bytes]: -p 6 tcp -> ACCEPT".
std::string Describe(const Ruleset& ruleset);

}  // namespace nfarena::reference
