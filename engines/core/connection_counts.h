// How many connections a rule of -m connlimit has counted, by address.
//
// The kernel keeps the tuples that a rule has met and asks conntrack which of
// them are still there; it does so at most once a jiffy, so a connection that
// has ended, or a packet that comes twice, may be counted for a moment longer.
// Here a count is what is there now, together with the most that a kernel
// could have counted by then, and the least: a host that nobody listens on
// resets the TCP connections that it is offered, which no twin follows.
// Source: net/netfilter/nf_conncount.c.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "engines/core/packet_state.h"
#include "engines/core/tracker.h"

namespace nfarena {

struct ConnectionCount {
  uint32_t now = 0;
  uint32_t at_least = 0, at_most = 0;

  /// Whether there are more than `limit`, and whether that is certain.
  bool IsOver(uint32_t limit) const { return now > limit; }
  bool IsCertain(uint32_t limit) const {
    return (at_least > limit) == (at_most > limit);
  }
};

/// The counts of one rule.
class ConnectionCounts {
 public:
  /// nf_conncount_count(): counts the packet's connection among those of
  /// `address` (masked), of the same zone.  Nothing: the packet has none and
  /// no tuple either; it is dropped.
  std::optional<ConnectionCount> Count(const Address& address,
                                       const PacketState& packet);

 private:
  struct Key {
    Address address{};
    uint16_t zone = 0;
    auto operator<=>(const Key&) const = default;
  };
  struct Seen {
    Tuple tuple;
    uint16_t zone = 0;
    uint8_t zone_directions = 3;
    bool may_be_reset = false;
  };
  struct List {
    std::vector<Seen> seen;
    uint32_t added = 0;  // ever
  };
  std::map<Key, List> lists_;
};

}  // namespace nfarena
