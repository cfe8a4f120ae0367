// An outcome in one line that a test can hold as text: verdict, rule, way out,
// addresses and ports at the end, what was sent and logged besides.
#pragma once

#include <string>
#include <vector>

#include "compat/model/ruleset.h"
#include "engines/core/outcome.h"

namespace nfarena::testing {

/// "192.0.2.1:1024>198.51.100.1:22 ttl=63", "... icmp 8/0"; "-" for no packet.
std::string Flow(const std::vector<uint8_t>& bytes);

/// "accept filter/INPUT/1 here 192.0.2.1:1024>198.51.100.1:22 ttl=64 mark=0x1
/// answer[eth0 198.51.100.1>192.0.2.1 icmp 3/3] log[prefix]"
std::string Summary(const Ruleset& ruleset, const Outcome& outcome);

}  // namespace nfarena::testing
