// time: whether now is within dates, days and hours.
//
// "Now" is the packets' virtual time as Unix time.  A kernel goes by its own
// clock, so every answer that could be another one is marked indeterminate.
// Source: net/netfilter/xt_time.c.
#include <cerrno>
#include <chrono>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/matches.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

constexpr int64_t kSecondsPerDay = 24 * 60 * 60;

bool HoldsAt(const xt_time_info& info, int64_t stamp) {
  if (stamp < info.date_start || stamp > info.date_stop) return false;
  const auto second = static_cast<uint32_t>(stamp % kSecondsPerDay);
  if (info.daytime_start < info.daytime_stop) {
    if (second < info.daytime_start || second > info.daytime_stop) return false;
  } else {
    if (second < info.daytime_start && second > info.daytime_stop) return false;
    // After midnight it is still the day before.
    if ((info.flags & XT_TIME_CONTIGUOUS) && second <= info.daytime_stop) {
      stamp -= kSecondsPerDay;
    }
  }
  const std::chrono::sys_days day{
      std::chrono::floor<std::chrono::days>(std::chrono::seconds(stamp))};
  if (!(info.weekdays_match >> std::chrono::weekday(day).iso_encoding() & 1)) {
    return false;
  }
  const auto month_day =
      static_cast<unsigned>(std::chrono::year_month_day(day).day());
  return info.monthdays_match >> month_day & 1;
}

/// Whether the rule says nothing at all.
bool IsAlways(const xt_time_info& info) {
  return info.date_start == 0 && info.date_stop == UINT32_MAX &&
         info.daytime_start == XT_TIME_MIN_DAYTIME &&
         info.daytime_stop == XT_TIME_MAX_DAYTIME &&
         (info.monthdays_match & XT_TIME_ALL_MONTHDAYS) ==
             XT_TIME_ALL_MONTHDAYS &&
         (info.weekdays_match & XT_TIME_ALL_WEEKDAYS) == XT_TIME_ALL_WEEKDAYS;
}

}  // namespace

bool MatchTime(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<xt_time_info>(payload);
  if (IsAlways(info)) return true;
  context.packet->MarkIndeterminate("time");
  return HoldsAt(info, static_cast<int64_t>(context.packet->now_ms / 1000));
}

Status CheckTime(std::span<const uint8_t> payload, const XtUse&) {
  const auto info = LoadAt<xt_time_info>(payload.data());
  if (info.daytime_start > XT_TIME_MAX_DAYTIME ||
      info.daytime_stop > XT_TIME_MAX_DAYTIME) {
    return Refuse(EDOM, "a time after 23:59:59");
  }
  if (info.flags & ~XT_TIME_ALL_FLAGS) return Refuse(EINVAL, "unknown flags");
  if ((info.flags & XT_TIME_CONTIGUOUS) &&
      info.daytime_start < info.daytime_stop) {
    return Refuse(EINVAL, "--contiguous is for times over midnight");
  }
  return {};
}

}  // namespace nfarena::xt
