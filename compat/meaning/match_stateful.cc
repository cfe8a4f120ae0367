#include "compat/meaning/match_stateful.h"

#include <limits.h>
#include <linux/netfilter.h>
#include <linux/netfilter/xt_connbytes.h>
#include <linux/netfilter/xt_connlimit.h>
#include <linux/netfilter/xt_hashlimit.h>
#include <linux/netfilter/xt_quota.h>
#include <linux/netfilter/xt_recent.h>
#include <linux/netfilter/xt_time.h>

#include "compat/meaning/decoders.h"

namespace nfarena {
namespace {

using payload::FailAt;
using payload::Read;
using payload::RefuseBits;
using payload::Text;
using payload::ToAddress;

/// xt_check_proc_name(): the name becomes a file of /proc.
template <size_t N>
Status CheckName(const Extension& match, const char (&field)[N]) {
  const std::string name = Text(field);
  if (name.empty() || name.size() == N || name == "." || name == ".." ||
      name.find('/') != std::string::npos) {
    return FailAt(match, ErrorCode::kRange, match.name + ": bad name");
  }
  return {};
}

Result<RecentCommand> ToCommand(const Extension& match, uint8_t flags) {
  switch (flags & (XT_RECENT_SET | XT_RECENT_REMOVE | XT_RECENT_CHECK |
                   XT_RECENT_UPDATE)) {
    case XT_RECENT_CHECK:
      return RecentCommand::kCheck;
    case XT_RECENT_SET:
      return RecentCommand::kSet;
    case XT_RECENT_UPDATE:
      return RecentCommand::kUpdate;
    case XT_RECENT_REMOVE:
      return RecentCommand::kRemove;
    default:
      return FailAt(match, ErrorCode::kRange, "recent: not one command");
  }
}

template <typename Raw>
Result<RecentMatch> RecentCommon(const Extension& match, const Raw& raw) {
  RETURN_IF_ERROR(
      RefuseBits(match, raw.check_set, XT_RECENT_VALID_FLAGS, "flags"));
  RETURN_IF_ERROR(CheckName(match, raw.name));
  RecentMatch recent;
  ASSIGN_OR_RETURN(recent.command, ToCommand(match, raw.check_set));
  recent.name = Text(raw.name);
  recent.destination = raw.side == XT_RECENT_DEST;
  recent.same_ttl = raw.check_set & XT_RECENT_TTL;
  recent.reap = raw.check_set & XT_RECENT_REAP;
  recent.seconds = raw.seconds;
  recent.hit_count = raw.hit_count;
  recent.inverted = raw.invert != 0;
  const bool changes = recent.command == RecentCommand::kSet ||
                       recent.command == RecentCommand::kRemove;
  if ((changes && (recent.seconds != 0 || recent.hit_count != 0 ||
                   recent.same_ttl || recent.reap)) ||
      (recent.reap && recent.seconds == 0) || recent.hit_count >= 256) {
    return FailAt(match, ErrorCode::kRange, "recent: options contradict");
  }
  return recent;
}

Result<Condition> DecodeRecent0(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_recent_mtinfo>(match));
  ASSIGN_OR_RETURN(auto recent, RecentCommon(match, raw));
  recent.mask.fill(0xff);
  return recent;
}

Result<Condition> DecodeRecent1(Family family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_recent_mtinfo_v1>(match));
  ASSIGN_OR_RETURN(auto recent, RecentCommon(match, raw));
  recent.mask = ToAddress(family, raw.mask);
  return recent;
}

template <typename Raw>
Result<HashlimitMatch> HashlimitCommon(Family family, const Extension& match,
                                       const Raw& raw) {
  RETURN_IF_ERROR(CheckName(match, raw.name));
  constexpr uint32_t kKnown = XT_HASHLIMIT_HASH_DIP | XT_HASHLIMIT_HASH_DPT |
                              XT_HASHLIMIT_HASH_SIP | XT_HASHLIMIT_HASH_SPT |
                              XT_HASHLIMIT_INVERT | XT_HASHLIMIT_BYTES |
                              XT_HASHLIMIT_RATE_MATCH;
  RETURN_IF_ERROR(RefuseBits(match, raw.cfg.mode, kKnown, "mode"));
  const int bits = family == Family::kIpv4 ? 32 : 128;
  if (raw.cfg.gc_interval == 0 || raw.cfg.expire == 0 ||
      raw.cfg.srcmask > bits || raw.cfg.dstmask > bits) {
    return FailAt(match, ErrorCode::kRange, "hashlimit: bad times or masks");
  }
  constexpr uint32_t kMaxSize = 1048576;  // HASHLIMIT_MAX_SIZE
  HashlimitMatch limit;
  limit.name = Text(raw.name);
  limit.by_source = raw.cfg.mode & XT_HASHLIMIT_HASH_SIP;
  limit.by_source_port = raw.cfg.mode & XT_HASHLIMIT_HASH_SPT;
  limit.by_destination = raw.cfg.mode & XT_HASHLIMIT_HASH_DIP;
  limit.by_destination_port = raw.cfg.mode & XT_HASHLIMIT_HASH_DPT;
  limit.source_bits = raw.cfg.srcmask;
  limit.destination_bits = raw.cfg.dstmask;
  limit.inverted = raw.cfg.mode & XT_HASHLIMIT_INVERT;
  limit.bytes = raw.cfg.mode & XT_HASHLIMIT_BYTES;
  limit.rate_match = raw.cfg.mode & XT_HASHLIMIT_RATE_MATCH;
  limit.average = raw.cfg.avg;
  limit.burst = raw.cfg.burst;
  limit.size = std::min(raw.cfg.size, kMaxSize);
  limit.max_entries = std::min(raw.cfg.max, kMaxSize);
  limit.expire_ms = raw.cfg.expire;
  limit.collect_ms = raw.cfg.gc_interval;
  return limit;
}

Result<Condition> DecodeHashlimit1(Family family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_hashlimit_mtinfo1>(match));
  ASSIGN_OR_RETURN(auto limit, HashlimitCommon(family, match, raw));
  limit.scale = XT_HASHLIMIT_SCALE;
  if (limit.rate_match) {
    return FailAt(match, ErrorCode::kRange,
                  "hashlimit: rate matching needs revision 3");
  }
  return limit;
}

Result<Condition> DecodeHashlimit2(Family family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_hashlimit_mtinfo2>(match));
  ASSIGN_OR_RETURN(auto limit, HashlimitCommon(family, match, raw));
  if (limit.rate_match) {
    return FailAt(match, ErrorCode::kRange,
                  "hashlimit: rate matching needs revision 3");
  }
  return limit;
}

Result<Condition> DecodeHashlimit3(Family family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_hashlimit_mtinfo3>(match));
  ASSIGN_OR_RETURN(auto limit, HashlimitCommon(family, match, raw));
  limit.interval_s = raw.cfg.interval;
  if (limit.rate_match && (limit.average == 0 || limit.average > 0xffffffff ||
                           limit.interval_s == 0)) {
    return FailAt(match, ErrorCode::kRange, "hashlimit: bad rate or interval");
  }
  return limit;
}

Result<Condition> DecodeConnlimit(Family family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_connlimit_info>(match));
  RETURN_IF_ERROR(RefuseBits(
      match, raw.flags, XT_CONNLIMIT_INVERT | XT_CONNLIMIT_DADDR, "flags"));
  ConnlimitMatch connlimit;
  connlimit.mask = ToAddress(family, raw.mask);
  connlimit.destination = raw.flags & XT_CONNLIMIT_DADDR;
  connlimit.limit = raw.limit;
  connlimit.inverted = raw.flags & XT_CONNLIMIT_INVERT;
  return connlimit;
}

Result<Condition> DecodeConnbytes(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_connbytes_info>(match));
  if (raw.what > XT_CONNBYTES_AVGPKT || raw.direction > XT_CONNBYTES_DIR_BOTH) {
    return FailAt(match, ErrorCode::kRange,
                  "connbytes: unknown mode or direction");
  }
  ConnbytesMatch connbytes;
  connbytes.what = static_cast<ConnbytesWhat>(raw.what);
  connbytes.direction = static_cast<ConnbytesDirection>(raw.direction);
  // A range the wrong way round is how an inverted one is written.
  connbytes.inverted = raw.count.to < raw.count.from;
  connbytes.first = std::min<uint64_t>(raw.count.from, raw.count.to);
  connbytes.last = std::max<uint64_t>(raw.count.from, raw.count.to);
  return connbytes;
}

Result<Condition> DecodeQuota(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_quota_info>(match));
  RETURN_IF_ERROR(RefuseBits(match, raw.flags, XT_QUOTA_MASK, "flags"));
  return QuotaMatch{raw.quota, (raw.flags & XT_QUOTA_INVERT) != 0};
}

Result<Condition> DecodeTime(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_time_info>(match));
  RETURN_IF_ERROR(RefuseBits(match, raw.flags, XT_TIME_ALL_FLAGS, "flags"));
  TimeMatch time;
  time.date_first_s = raw.date_start;
  time.date_last_s = raw.date_stop;
  time.day_first_s = raw.daytime_start;
  time.day_last_s = raw.daytime_stop;
  time.month_days = raw.monthdays_match;
  time.week_days = raw.weekdays_match;
  time.local_time = raw.flags & XT_TIME_LOCAL_TZ;
  time.contiguous = raw.flags & XT_TIME_CONTIGUOUS;
  if (time.day_first_s > XT_TIME_MAX_DAYTIME ||
      time.day_last_s > XT_TIME_MAX_DAYTIME ||
      (time.contiguous && time.day_first_s < time.day_last_s)) {
    return FailAt(match, ErrorCode::kRange, "time: bad time of day");
  }
  return time;
}

constexpr payload::Decoder<Condition> kDecoders[] = {
    // name, revision, IPv4, IPv6, decoder
    {"recent", 0, true, true, DecodeRecent0},
    {"recent", 1, true, true, DecodeRecent1},
    {"hashlimit", 1, true, true, DecodeHashlimit1},
    {"hashlimit", 2, true, true, DecodeHashlimit2},
    {"hashlimit", 3, true, true, DecodeHashlimit3},
    {"connlimit", 1, true, true, DecodeConnlimit},
    {"connbytes", 0, true, true, DecodeConnbytes},
    {"quota", 0, true, true, DecodeQuota},
    {"time", 0, true, true, DecodeTime},
};

}  // namespace

std::span<const payload::Decoder<Condition>> StatefulDecoders() {
  return kDecoders;
}

}  // namespace nfarena
