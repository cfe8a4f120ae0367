// A few ipsets for fuzzed rules to name.
#pragma once

#include <cstdlib>
#include <utility>

#include "engines/core/ipset_text.h"
#include "engines/core/net_state.h"

namespace nfarena::testing {

/// What rules that name a set ask.
inline NetState SomeSets() {
  auto sets = ReadIpSets(
      "create a hash:ip family inet\nadd a 10.0.0.2\n"
      "create b hash:net,port family inet timeout 9\nadd b 10.0.1.0/24,tcp:80\n"
      "create c hash:ip,port,net family inet6 counters\n"
      "create d list:set\nadd d a\n");
  if (!sets) std::abort();
  return NetState{.sets = std::move(*sets), .named = {}};
}

}  // namespace nfarena::testing
