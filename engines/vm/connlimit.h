// The connections that have met one connlimit expression.
//
// The kernel keeps tuples and asks conntrack from time to time which of them
// are still alive; here the tracker's own view at the time of the packet is
// taken, so that a run does not depend on when garbage was collected.
// Source: net/netfilter/nf_conncount.c.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engines/core/tracker.h"

namespace nfarena::vm {

class ConnectionCount {
 public:
  /// Counts `tuple` if it is new and forgets those that ended; returns how
  /// many there are.
  size_t Add(const Tuple& tuple, uint64_t expires_ms, uint64_t now_ms) {
    std::erase_if(entries_, [now_ms](const Entry& entry) {
      return entry.expires_ms <= now_ms;
    });
    const auto known = std::find_if(
        entries_.begin(), entries_.end(),
        [&tuple](const Entry& entry) { return entry.tuple == tuple; });
    if (known == entries_.end()) {
      entries_.push_back({tuple, expires_ms});
    } else {
      known->expires_ms = expires_ms;
    }
    return entries_.size();
  }

 private:
  struct Entry {
    Tuple tuple;
    uint64_t expires_ms;
  };
  std::vector<Entry> entries_;
};

}  // namespace nfarena::vm
