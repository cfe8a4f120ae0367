// The token bucket of -m limit, in the kernel's integers.
//
// Credits are 1/128 of a jiffy of 1/250 s; a packet costs as many as the rate
// says, and the bucket holds `burst` packets' worth.
// Source: net/netfilter/xt_limit.c.
#pragma once

#include <cstdint>

#include "compat/meaning/match.h"
#include "engines/reference/program.h"

namespace nfarena::reference {

/// checkentry's refusal: burst 0, or more than 32 bits.
bool LimitOverflows(const LimitMatch& limit);

/// Fills the bucket.
void InitLimit(const LimitMatch& limit, Memory* memory);

struct LimitAnswer {
  bool within = false;
  /// False: with a clock that stands still, or one that is up to two seconds
  /// ahead, the answer would be the other one.  A kernel's clock is not the
  /// packets' virtual one, so the two may differ.
  bool certain = true;
};

/// Takes a packet's cost out of the bucket if it is there.
LimitAnswer TakeFromLimit(const LimitMatch& limit, uint64_t now_ms,
                          Memory* memory);

}  // namespace nfarena::reference
