// Matches that ask about earlier packets or about the clock.  See match.h,
// which includes this.
#pragma once

#include <cstdint>
#include <string>

#include "compat/model/ruleset.h"

namespace nfarena {

enum class RecentCommand : uint8_t { kCheck, kSet, kUpdate, kRemove };

/// -m recent: a list of addresses, shared by all rules that use its name.
struct RecentMatch {
  std::string name;
  RecentCommand command = RecentCommand::kCheck;
  bool destination = false;  // --rdest
  bool same_ttl = false;     // --rttl
  bool reap = false;         // --reap
  uint32_t seconds = 0;      // 0 = whenever it was
  uint32_t hit_count = 0;    // 0 = once
  Address mask{};
  bool inverted = false;
  bool operator==(const RecentMatch&) const = default;
};

/// -m hashlimit: a token bucket for every address or port, in a table shared
/// by all rules that use its name.  The first rule that is loaded makes the
/// table: its rate and its key are those of all.
struct HashlimitMatch {
  std::string name;
  bool by_source = false, by_source_port = false;
  bool by_destination = false, by_destination_port = false;
  uint8_t source_bits = 0, destination_bits = 0;
  bool inverted = false;    // --hashlimit-above
  bool bytes = false;       // the rate is of bytes
  bool rate_match = false;  // --hashlimit-rate-match: windows, no bucket
  /// Packets: time between two, in 1 / `scale` seconds.  Bytes: the kernel's
  /// reciprocal of a rate in units of 16 bytes, 2^32 / (rate / 16).
  uint64_t average = 0;
  uint64_t burst = 0;
  uint32_t scale = 1000000;  // revision 1: 10,000
  uint32_t interval_s = 0;   // rate_match
  uint32_t size = 0;         // buckets; 0 = the kernel's choice
  uint32_t max_entries = 0;  // 0 = 8 * size
  uint32_t expire_ms = 0;
  uint32_t collect_ms = 0;  // interval of the garbage collection
  bool operator==(const HashlimitMatch&) const = default;
};

/// -m connlimit: more than `limit` connections of the packet's network.
struct ConnlimitMatch {
  Address mask{};
  bool destination = false;
  uint32_t limit = 0;
  bool inverted = false;  // --connlimit-upto
  bool operator==(const ConnlimitMatch&) const = default;
};

enum class ConnbytesWhat : uint8_t { kPackets, kBytes, kAverage };
enum class ConnbytesDirection : uint8_t { kOriginal, kReply, kBoth };

/// -m connbytes: first <= count <= last, then inverted.
struct ConnbytesMatch {
  ConnbytesWhat what = ConnbytesWhat::kPackets;
  ConnbytesDirection direction = ConnbytesDirection::kOriginal;
  uint64_t first = 0, last = 0;
  bool inverted = false;
  bool operator==(const ConnbytesMatch&) const = default;
};

/// -m quota: the rule's own bytes, used up by each packet that reaches it.
struct QuotaMatch {
  uint64_t bytes = 0;
  bool inverted = false;
  bool operator==(const QuotaMatch&) const = default;
};

/// -m time.  All parts must hold.
struct TimeMatch {
  uint32_t date_first_s = 0, date_last_s = 0xffffffff;  // Unix time
  /// Seconds of a day; first >= last = over midnight.
  uint32_t day_first_s = 0, day_last_s = 24 * 60 * 60 - 1;
  uint32_t month_days = 0xfffffffe;  // bit 1..31
  uint8_t week_days = 0xfe;          // bit 1 = Monday .. 7 = Sunday
  bool local_time = false;           // --kerneltz
  /// A time over midnight belongs whole to the day it begins on.
  bool contiguous = false;
  bool operator==(const TimeMatch&) const = default;
};

}  // namespace nfarena
