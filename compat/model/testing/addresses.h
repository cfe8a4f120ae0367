// Addresses of tests, by their text.
#pragma once

#include <string_view>

#include "compat/model/ruleset.h"

namespace nfarena::testing {

/// "192.0.2.1" or "2001:db8::1".  Ends the program on anything else: it would
/// be the test that is wrong.
Address ParseAddress(std::string_view text);

}  // namespace nfarena::testing
