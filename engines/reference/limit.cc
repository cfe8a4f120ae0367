#include "engines/reference/limit.h"

#include <algorithm>

namespace nfarena::reference {
namespace {

constexpr uint64_t kJiffiesPerSecond = 250;
constexpr uint64_t kMsPerJiffy = 1000 / kJiffiesPerSecond;
// The largest power of two for which a rate of one a day fits 32 bits.
constexpr uint64_t kCreditsPerJiffy = 128;
constexpr uint64_t kCreditsPerSecond = kJiffiesPerSecond * kCreditsPerJiffy;
constexpr uint32_t kIntervalsPerSecond = 10000;  // XT_LIMIT_SCALE
constexpr uint64_t kDoubtSeconds = 2;

/// user2credits(), wrapping where the kernel's 32 bits wrap.
uint32_t ToCredits(uint32_t interval) {
  constexpr auto kFactor = static_cast<uint32_t>(kCreditsPerSecond);
  if (interval > 0xffffffffu / kFactor) {
    return interval / kIntervalsPerSecond * kFactor;
  }
  return interval * kFactor / kIntervalsPerSecond;
}

uint32_t Capacity(const LimitMatch& limit) {
  return ToCredits(limit.interval * limit.burst);
}

}  // namespace

bool LimitOverflows(const LimitMatch& limit) {
  return limit.burst == 0 || Capacity(limit) < ToCredits(limit.interval);
}

void InitLimit(const LimitMatch& limit, Memory* memory) {
  memory->refilled_jiffy = 0;  // a full bucket does not mind when time began
  memory->credit = memory->credit_without_clock = Capacity(limit);
}

LimitAnswer TakeFromLimit(const LimitMatch& limit, uint64_t now_ms,
                          Memory* memory) {
  const uint64_t capacity = Capacity(limit);
  const uint64_t cost = ToCredits(limit.interval);
  const uint64_t now = std::max(now_ms / kMsPerJiffy, memory->refilled_jiffy);
  // Elapsed time beyond what fills any bucket must not overflow the product.
  const uint64_t elapsed =
      std::min<uint64_t>(now - memory->refilled_jiffy, 0xffffffff);
  memory->refilled_jiffy = now;
  uint64_t credit =
      std::min(memory->credit + elapsed * kCreditsPerJiffy, capacity);
  const uint64_t credit_ahead =
      std::min(credit + kDoubtSeconds * kCreditsPerSecond, capacity);

  LimitAnswer answer;
  answer.within = credit >= cost;
  const bool within_without_clock = memory->credit_without_clock >= cost;
  answer.certain = within_without_clock == (credit_ahead >= cost);
  if (within_without_clock) {
    memory->credit_without_clock -= static_cast<uint32_t>(cost);
  } else if (!answer.certain) {
    // The kernel may have taken this packet's cost or not.
    memory->credit_without_clock = 0;
  }
  if (answer.within) credit -= cost;
  memory->credit = static_cast<uint32_t>(credit);
  return answer;
}

}  // namespace nfarena::reference
