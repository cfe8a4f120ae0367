// What the fuzzers of this directory share.
#pragma once

#include <string>

#include "compat/model/ruleset.h"

namespace nfarena::fuzz {

/// Whether the printed form of a rule says all that the rule says.  Only for
/// extensions that nfarena gives a meaning to; libxtables' save callbacks of
/// some others lose values or print what they do not take.
bool PrintsFaithfully(const Rule& rule);
bool PrintsFaithfully(const Ruleset& ruleset);

/// Prints both texts and aborts.
[[noreturn]] void Report(const std::string& expected,
                         const std::string& actual);

}  // namespace nfarena::fuzz
