// The buckets of -m hashlimit, in the kernel's integers.
// Source: net/netfilter/xt_hashlimit.c.
#pragma once

#include <cstdint>
#include <optional>

#include "compat/meaning/match.h"
#include "engines/core/packet_state.h"
#include "engines/reference/shared_memory.h"

namespace nfarena::reference {

/// checkentry's refusal: a rate that does not fit its integers.
bool HashlimitOverflows(const HashlimitMatch& limit);

/// Which bucket the packet belongs to; nullopt when it ends before its ports.
std::optional<HashlimitKey> HashlimitKeyOf(const HashlimitMatch& config,
                                           const PacketState& packet);

struct HashlimitAnswer {
  bool within = false;
  bool certain = true;
};

/// Takes the packet out of its bucket, which is made when it is not there;
/// nullopt when the table is full.  `limit` is the asking rule's own.
std::optional<HashlimitAnswer> TakeFromHashlimit(const HashlimitMatch& limit,
                                                 const HashlimitKey& key,
                                                 uint64_t packet_bytes,
                                                 uint64_t now_jiffies,
                                                 HashlimitTable* table);

}  // namespace nfarena::reference
