// Ruleset <-> xtables2-style blob (blob_format.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "compat/lower/blob_view.h"
#include "compat/model/result.h"
#include "compat/model/ruleset.h"

namespace nfarena {

struct BlobOptions {
  /// A count action in every rule and chain end.  xtables2 left them out unless
  /// asked; outcomes can be compared in full only with them.
  bool counters = true;
};

struct BlobImage {
  std::vector<uint8_t> bytes;
  /// Slot by slot, from the model; empty without counters.
  std::vector<Counters> counters;
};

/// Errors: kRange (over 4 GiB, payload over 65,520 bytes, name too long),
/// kUnsupported (an interface mask that is no prefix, a selector bit of IPv4
/// in IPv6), each with the rule's line.
[[nodiscard]] Result<BlobImage> LowerBlob(const Ruleset& ruleset,
                                          const BlobOptions& options);

/// Reads a checked blob back.  `counters` is by slot, or empty for zeros.
/// Errors: kUnsupported (rules that iptables has no words for: several
/// targets, a match behind a target), with the offset.
[[nodiscard]] Result<Ruleset> RaiseBlob(const BlobView& blob,
                                        std::span<const Counters> counters);

}  // namespace nfarena
