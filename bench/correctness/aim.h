// Packets aimed at the rules of a ruleset.
//
// For every rule, a packet that should reach it and match (hit) and one that
// misses by a single condition (near miss); for every built-in chain, packets
// that should fall through to its policy.  Stateful conditions get the packets
// that make the state: an opening packet before an ESTABLISHED one, a broken
// TCP packet for INVALID, an ICMP error about an earlier flow for RELATED.
//
// Aiming is best effort, because an earlier rule may catch the packet; what
// was really hit is counted from the outcomes.  The result is text in the
// words of engines/core/packet_text.h, so that a case can be kept, mailed and
// rerun.  Same ruleset, options and seed: same text.
#pragma once

#include <cstdint>
#include <string>

#include "compat/model/ruleset.h"

namespace nfarena {

struct AimOptions {
  /// At most this many lines; rules are visited round robin until it is
  /// reached, so that a large ruleset is sampled evenly.
  uint64_t packets_count = 1000;
  uint64_t seed = 1;
};

std::string AimPackets(const Ruleset& ruleset, const AimOptions& options);

}  // namespace nfarena
