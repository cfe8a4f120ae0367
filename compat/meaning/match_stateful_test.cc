#include "compat/meaning/match_stateful.h"

#include <gtest/gtest.h>
#include <limits.h>
#include <linux/netfilter.h>
#include <linux/netfilter/xt_connbytes.h>
#include <linux/netfilter/xt_connlimit.h>
#include <linux/netfilter/xt_hashlimit.h>
#include <linux/netfilter/xt_quota.h>
#include <linux/netfilter/xt_recent.h>
#include <linux/netfilter/xt_time.h>

#include <cstring>

#include "compat/meaning/match.h"
#include "compat/meaning/testing/decoded.h"

namespace nfarena::testing {
namespace {

TEST(DecodeStateful, Recent) {
  xt_recent_mtinfo_v1 raw{};
  std::strcpy(raw.name, "ssh");
  raw.check_set = XT_RECENT_UPDATE | XT_RECENT_TTL;
  raw.seconds = 60;
  raw.hit_count = 4;
  raw.side = XT_RECENT_DEST;
  raw.invert = 1;
  raw.mask.ip = 0x00ffffff;
  RecentMatch want;
  want.name = "ssh";
  want.command = RecentCommand::kUpdate;
  want.destination = true;
  want.same_ttl = true;
  want.seconds = 60;
  want.hit_count = 4;
  want.mask = {255, 255, 255, 0};
  want.inverted = true;
  EXPECT_EQ(DecodedMatch<RecentMatch>(kV4, Placed("recent", 1, raw)), want);
  auto bad = raw;
  bad.check_set = XT_RECENT_SET;  // takes no seconds
  EXPECT_EQ(RefusedMatch(kV4, Placed("recent", 1, bad)).code,
            ErrorCode::kRange);
  bad = raw;
  bad.check_set = XT_RECENT_CHECK | XT_RECENT_REMOVE;
  EXPECT_EQ(RefusedMatch(kV4, Placed("recent", 1, bad)).code,
            ErrorCode::kRange);
  bad = raw;
  std::strcpy(bad.name, "a/b");
  EXPECT_EQ(RefusedMatch(kV4, Placed("recent", 1, bad)).code,
            ErrorCode::kRange);
  bad = raw;
  std::memset(bad.name, 'x', sizeof(bad.name));
  EXPECT_EQ(RefusedMatch(kV4, Placed("recent", 1, bad)).code,
            ErrorCode::kRange);
  bad = raw;
  bad.hit_count = 256;
  EXPECT_EQ(RefusedMatch(kV4, Placed("recent", 1, bad)).code,
            ErrorCode::kRange);
}

TEST(DecodeStateful, Hashlimit) {
  xt_hashlimit_mtinfo3 raw{};
  std::strcpy(raw.name, "web");
  raw.cfg.mode = XT_HASHLIMIT_HASH_SIP | XT_HASHLIMIT_HASH_DPT |
                 XT_HASHLIMIT_INVERT | XT_HASHLIMIT_BYTES;
  raw.cfg.avg = 7;
  raw.cfg.burst = 9;
  raw.cfg.gc_interval = 1000;
  raw.cfg.expire = 10000;
  raw.cfg.srcmask = 24;
  raw.cfg.dstmask = 32;
  raw.cfg.size = 2000000;
  HashlimitMatch want;
  want.name = "web";
  want.by_source = true;
  want.by_destination_port = true;
  want.source_bits = 24;
  want.destination_bits = 32;
  want.inverted = true;
  want.bytes = true;
  want.average = 7;
  want.burst = 9;
  want.size = 1048576;
  want.expire_ms = 10000;
  want.collect_ms = 1000;
  EXPECT_EQ(DecodedMatch<HashlimitMatch>(kV4, Placed("hashlimit", 3, raw)),
            want);
  auto bad = raw;
  bad.cfg.srcmask = 33;
  EXPECT_EQ(RefusedMatch(kV4, Placed("hashlimit", 3, bad)).code,
            ErrorCode::kRange);
  EXPECT_TRUE(DecodeMatch(kV6, Placed("hashlimit", 3, bad)).has_value());
  bad = raw;
  bad.cfg.mode |= XT_HASHLIMIT_RATE_MATCH;  // without an interval
  EXPECT_EQ(RefusedMatch(kV4, Placed("hashlimit", 3, bad)).code,
            ErrorCode::kRange);
  xt_hashlimit_mtinfo1 old{};
  std::strcpy(old.name, "x");
  old.cfg.gc_interval = old.cfg.expire = 1;
  EXPECT_EQ(
      DecodedMatch<HashlimitMatch>(kV4, Placed("hashlimit", 1, old)).scale,
      10000u);
}

TEST(DecodeStateful, CountersAndTime) {
  xt_connlimit_info connlimit{};
  connlimit.v4_mask = 0x0000ffff;
  connlimit.limit = 5;
  connlimit.flags = XT_CONNLIMIT_DADDR;
  EXPECT_EQ(
      DecodedMatch<ConnlimitMatch>(kV4, Placed("connlimit", 1, connlimit)),
      (ConnlimitMatch{{255, 255}, true, 5, false}));
  xt_connbytes_info connbytes{};
  connbytes.count.from = 10;
  connbytes.count.to = 5;  // the wrong way round: inverted
  connbytes.what = XT_CONNBYTES_AVGPKT;
  connbytes.direction = XT_CONNBYTES_DIR_BOTH;
  EXPECT_EQ(
      DecodedMatch<ConnbytesMatch>(kV4, Placed("connbytes", 0, connbytes)),
      (ConnbytesMatch{ConnbytesWhat::kAverage, ConnbytesDirection::kBoth, 5, 10,
                      true}));
  connbytes.what = 3;
  EXPECT_EQ(RefusedMatch(kV4, Placed("connbytes", 0, connbytes)).code,
            ErrorCode::kRange);
  xt_quota_info quota{};
  quota.quota = 12345;
  quota.flags = XT_QUOTA_INVERT;
  EXPECT_EQ(DecodedMatch<QuotaMatch>(kV4, Placed("quota", 0, quota)),
            (QuotaMatch{12345, true}));
  xt_time_info time{};
  time.date_stop = 100;
  time.daytime_start = 3600;
  time.daytime_stop = 60;
  time.monthdays_match = 2;
  time.weekdays_match = 0x10;
  time.flags = XT_TIME_CONTIGUOUS;
  EXPECT_EQ(DecodedMatch<TimeMatch>(kV4, Placed("time", 0, time)),
            (TimeMatch{0, 100, 3600, 60, 2, 0x10, false, true}));
  time.daytime_stop = 86400;
  EXPECT_EQ(RefusedMatch(kV4, Placed("time", 0, time)).code, ErrorCode::kRange);
}

}  // namespace
}  // namespace nfarena::testing
