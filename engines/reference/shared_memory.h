// What matches remember under a name, for all rules of all tables that use it:
// the address lists of -m recent and the buckets of -m hashlimit.
#pragma once

#include <compare>
#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "compat/meaning/match.h"
#include "engines/core/ipset.h"

namespace nfarena::reference {

/// One address of a "recent" list.
struct RecentEntry {
  Address address{};
  uint8_t ttl = 0;
  /// A ring of the times it was seen, in jiffies: `next` is where the next
  /// goes, `times.size()` how many there are.
  std::vector<uint64_t> times;
  uint32_t next = 0;
  /// Whether it holds what a kernel's would is a matter of the clock.
  bool uncertain = false;
};

struct RecentList {
  Address mask{};
  uint32_t ring_size = 1;          // a power of two
  std::list<RecentEntry> entries;  // least recently seen first
};

struct HashlimitKey {
  Address source{}, destination{};
  uint16_t source_port = 0, destination_port = 0;
  auto operator<=>(const HashlimitKey&) const = default;
};

/// A bucket (or a window) by one clock.
struct HashlimitBucket {
  uint64_t changed_jiffy = 0;
  uint64_t credit = 0, cost = 0, capacity = 0;
  // rate matching
  bool over = false;  // the window before was over the rate
  uint64_t current = 0;
};

struct HashlimitEntry {
  HashlimitBucket by_clock;       // the packets' virtual time
  HashlimitBucket without_clock;  // time stands still
  uint64_t used_jiffy = 0;
  bool uncertain = false;
};

struct HashlimitTable {
  HashlimitMatch config;  // of the rule that made it
  std::map<HashlimitKey, HashlimitEntry> entries;
};

struct SharedMemory {
  /// The ipsets of the instance.
  IpSets* sets = nullptr;
  std::map<std::string, RecentList> recent;
  std::map<std::string, HashlimitTable> hashlimit;

  /// Makes what `condition` names and marks it as used by a rule in force.
  void Use(const Condition& condition);
  /// Drops what no Use has named since the last call.
  void DropUnused();

 private:
  std::map<std::string, bool> used_recent_, used_hashlimit_;
};

}  // namespace nfarena::reference
