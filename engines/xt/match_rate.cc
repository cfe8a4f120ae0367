// limit, statistic and quota: matches that remember earlier packets.
//
// limit counts time in jiffies of 1/250 s, as the kernel of the arena's
// machines does; the credit arithmetic gives the same sums for any HZ.  The
// clock a kernel engine runs by is not the packets' virtual one, so a result
// that would be another one if all packets came at once, or if up to two more
// seconds had passed, is marked indeterminate.
// Source: net/netfilter/xt_limit.c, xt_statistic.c, xt_quota.c.

#include <algorithm>
#include <cerrno>
#include <utility>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/matches.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

constexpr uint32_t kHz = 250;
constexpr uint32_t kMsPerJiffy = 1000 / kHz;

/// CREDITS_PER_JIFFY: the largest power of two that lets a rate of one a day
/// fit 32 bits.
constexpr uint32_t kCreditsPerJiffy = 128;
static_assert(kCreditsPerJiffy <= 0xffffffffu / (kHz * 60 * 60 * 24) &&
              kCreditsPerJiffy * 2 > 0xffffffffu / (kHz * 60 * 60 * 24));
constexpr uint64_t kCreditsPerSecond = kHz * kCreditsPerJiffy;
constexpr uint64_t kClockDoubtCredits = 2 * kCreditsPerSecond;

/// user2credits(), with its overflows: a rate is refused by them.
uint32_t ToCredits(uint32_t user) {
  if (user > 0xffffffffu / (kHz * kCreditsPerJiffy)) {
    return user / XT_LIMIT_SCALE * kHz * kCreditsPerJiffy;
  }
  return user * kHz * kCreditsPerJiffy / XT_LIMIT_SCALE;
}

struct LimitState {
  uint64_t previous_jiffy;
  uint32_t credit, cap, cost;
  /// The least credit a faster clock could have left: never refilled.
  uint32_t least_credit;
};

void InitLimit(const uint8_t* payload, void* memory) {
  const uint32_t average = LOAD_FIELD(payload, xt_rateinfo, avg);
  const uint32_t burst = LOAD_FIELD(payload, xt_rateinfo, burst);
  auto* state = static_cast<LimitState*>(memory);
  // The bucket starts full, so it does not matter when its time starts.
  state->previous_jiffy = 0;
  state->credit = state->least_credit = ToCredits(average * burst);
  // A payload that was read back from a kernel has its cost filled in.
  state->cost = LOAD_FIELD(payload, xt_rateinfo, cost);
  state->cap = LOAD_FIELD(payload, xt_rateinfo, credit_cap);
  if (state->cost == 0) {
    state->cap = state->credit;
    state->cost = ToCredits(average);
  }
}

struct StatisticState {
  uint32_t count;
  uint32_t random;
};

void InitStatistic(const uint8_t* payload, void* memory) {
  auto* state = static_cast<StatisticState*>(memory);
  state->count = LOAD_FIELD(payload, xt_statistic_info, u.nth.count);
  // A fixed seed: a run can be repeated.
  state->random = 0x9e3779b9;
}

void InitQuota(const uint8_t* payload, void* memory) {
  *static_cast<uint64_t*>(memory) = LOAD_FIELD(payload, xt_quota_info, quota);
}

/// xorshift32: 31 random bits.
uint32_t NextRandom(uint32_t* state) {
  uint32_t x = *state;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  *state = x;
  return x & 0x7fffffff;
}

}  // namespace

const XtStateLayout kLimitState = {sizeof(LimitState), InitLimit};
const XtStateLayout kStatisticState = {sizeof(StatisticState), InitStatistic};
const XtStateLayout kQuotaState = {sizeof(uint64_t), InitQuota};

bool MatchLimit(const uint8_t*, const XtContext& context) {
  auto* state = static_cast<LimitState*>(context.state);
  const uint64_t now = context.packet->now_ms / kMsPerJiffy;
  // Time never runs backwards here; a caller that places packets without a
  // clock leaves now at 0.
  const uint64_t elapsed =
      now > state->previous_jiffy ? now - state->previous_jiffy : 0;
  state->previous_jiffy = std::max(now, state->previous_jiffy);
  uint64_t credit = state->credit;
  // More than the cap is discarded anyway; the product must not overflow.
  credit += std::min<uint64_t>(elapsed, 0xffffffff) * kCreditsPerJiffy;
  credit = std::min<uint64_t>(credit, state->cap);

  const bool match = credit >= state->cost;
  const bool match_without_refill = state->least_credit >= state->cost;
  const bool match_later = std::min<uint64_t>(credit + kClockDoubtCredits,
                                              state->cap) >= state->cost;
  if (match_without_refill) {
    state->least_credit -= state->cost;
  } else if (match_later) {
    state->least_credit = 0;
    context.packet->MarkIndeterminate("limit");
  }
  if (match) credit -= state->cost;
  state->credit = static_cast<uint32_t>(credit);
  return match;
}

Status CheckLimit(std::span<const uint8_t> payload, const XtUse&) {
  const uint32_t average = LOAD_FIELD(payload.data(), xt_rateinfo, avg);
  const uint32_t burst = LOAD_FIELD(payload.data(), xt_rateinfo, burst);
  if (burst == 0 || ToCredits(average * burst) < ToCredits(average)) {
    return Refuse(ERANGE, "rate and burst overflow, try lower");
  }
  return {};
}

bool MatchStatistic(const uint8_t* payload, const XtContext& context) {
  auto* state = static_cast<StatisticState*>(context.state);
  bool match =
      LOAD_FIELD(payload, xt_statistic_info, flags) & XT_STATISTIC_INVERT;
  switch (LOAD_FIELD(payload, xt_statistic_info, mode)) {
    case XT_STATISTIC_MODE_RANDOM: {
      const uint32_t probability =
          LOAD_FIELD(payload, xt_statistic_info, u.random.probability);
      // 0 never and 2^31 always match; between them lies chance.
      if (probability > 0 && probability <= 0x7fffffff) {
        context.packet->MarkIndeterminate("statistic --mode random");
      }
      if (NextRandom(&state->random) < probability) match = !match;
      break;
    }
    case XT_STATISTIC_MODE_NTH: {
      const uint32_t every =
          LOAD_FIELD(payload, xt_statistic_info, u.nth.every);
      state->count = state->count == every ? 0 : state->count + 1;
      if (state->count == 0) match = !match;
      break;
    }
  }
  return match;
}

Status CheckStatistic(std::span<const uint8_t> payload, const XtUse&) {
  if (LOAD_FIELD(payload.data(), xt_statistic_info, mode) >
          XT_STATISTIC_MODE_MAX ||
      LOAD_FIELD(payload.data(), xt_statistic_info, flags) &
          ~XT_STATISTIC_MASK) {
    return Refuse(EINVAL, "unknown mode or flags");
  }
  return {};
}

bool MatchQuota(const uint8_t* payload, const XtContext& context) {
  auto* left = static_cast<uint64_t*>(context.state);
  const bool invert =
      LOAD_FIELD(payload, xt_quota_info, flags) & XT_QUOTA_INVERT;
  const uint64_t bytes = context.packet->bytes.size();
  if (*left < bytes) {
    *left = 0;  // not even small packets from now on
    return invert;
  }
  *left -= bytes;
  return !invert;
}

Status CheckQuota(std::span<const uint8_t> payload, const XtUse&) {
  if (LOAD_FIELD(payload.data(), xt_quota_info, flags) & ~XT_QUOTA_MASK) {
    return Refuse(EINVAL, "unknown flags");
  }
  return {};
}

}  // namespace nfarena::xt
