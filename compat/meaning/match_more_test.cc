// Decoders of the rarer matches: see match_test.cc for the common ones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <linux/netfilter.h>
#include <linux/netfilter/xt_connbytes.h>
#include <linux/netfilter/xt_connlimit.h>
#include <linux/netfilter/xt_cpu.h>
#include <linux/netfilter/xt_dccp.h>
#include <linux/netfilter/xt_devgroup.h>
#include <linux/netfilter/xt_ecn.h>
#include <linux/netfilter/xt_esp.h>
#include <linux/netfilter/xt_hashlimit.h>
#include <linux/netfilter/xt_helper.h>
#include <linux/netfilter/xt_physdev.h>
#include <linux/netfilter/xt_policy.h>
#include <linux/netfilter/xt_quota.h>
#include <linux/netfilter/xt_realm.h>
#include <linux/netfilter/xt_recent.h>
#include <linux/netfilter/xt_rpfilter.h>
#include <linux/netfilter/xt_socket.h>
#include <linux/netfilter/xt_string.h>
#include <linux/netfilter/xt_tcpmss.h>
#include <linux/netfilter/xt_time.h>
#include <linux/netfilter/xt_u32.h>
#include <linux/netfilter_ipv4/ipt_ah.h>
#include <linux/netfilter_ipv6/ip6t_ah.h>
#include <linux/netfilter_ipv6/ip6t_frag.h>
#include <linux/netfilter_ipv6/ip6t_ipv6header.h>
#include <linux/netfilter_ipv6/ip6t_opts.h>
#include <linux/netfilter_ipv6/ip6t_rt.h>

#include <cstring>

#include "compat/meaning/match.h"

namespace nfarena {
namespace {

template <typename Raw>
Extension Make(const char* name, uint8_t revision, const Raw& raw) {
  Extension match;
  match.name = name;
  match.revision = revision;
  match.payload.resize((sizeof(Raw) + 7) / 8 * 8);
  std::memcpy(match.payload.data(), &raw, sizeof(Raw));
  return match;
}

template <typename Meaning>
Meaning Decoded(Family family, const Extension& match) {
  const Result<Condition> condition = DecodeMatch(family, match);
  if (!condition || !std::holds_alternative<Meaning>(*condition)) {
    ADD_FAILURE() << match.name << ": "
                  << (condition ? "another alternative"
                                : condition.error().ToString());
    return {};
  }
  return std::get<Meaning>(*condition);
}

void ExpectRefused(Family family, const Extension& match, ErrorCode code) {
  const Result<Condition> condition = DecodeMatch(family, match);
  ASSERT_FALSE(condition.has_value()) << match.name;
  EXPECT_EQ(condition.error().code, code) << condition.error().ToString();
}

constexpr Family kV4 = Family::kIpv4, kV6 = Family::kIpv6;

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
  EXPECT_EQ(Decoded<RecentMatch>(kV4, Make("recent", 1, raw)), want);
  auto bad = raw;
  bad.check_set = XT_RECENT_SET;  // takes no seconds
  ExpectRefused(kV4, Make("recent", 1, bad), ErrorCode::kRange);
  bad = raw;
  bad.check_set = XT_RECENT_CHECK | XT_RECENT_REMOVE;
  ExpectRefused(kV4, Make("recent", 1, bad), ErrorCode::kRange);
  bad = raw;
  std::strcpy(bad.name, "a/b");
  ExpectRefused(kV4, Make("recent", 1, bad), ErrorCode::kRange);
  bad = raw;
  std::memset(bad.name, 'x', sizeof(bad.name));
  ExpectRefused(kV4, Make("recent", 1, bad), ErrorCode::kRange);
  bad = raw;
  bad.hit_count = 256;
  ExpectRefused(kV4, Make("recent", 1, bad), ErrorCode::kRange);
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
  EXPECT_EQ(Decoded<HashlimitMatch>(kV4, Make("hashlimit", 3, raw)), want);
  auto bad = raw;
  bad.cfg.srcmask = 33;
  ExpectRefused(kV4, Make("hashlimit", 3, bad), ErrorCode::kRange);
  EXPECT_TRUE(DecodeMatch(kV6, Make("hashlimit", 3, bad)).has_value());
  bad = raw;
  bad.cfg.mode |= XT_HASHLIMIT_RATE_MATCH;  // without an interval
  ExpectRefused(kV4, Make("hashlimit", 3, bad), ErrorCode::kRange);
  xt_hashlimit_mtinfo1 old{};
  std::strcpy(old.name, "x");
  old.cfg.gc_interval = old.cfg.expire = 1;
  EXPECT_EQ(Decoded<HashlimitMatch>(kV4, Make("hashlimit", 1, old)).scale,
            10000u);
}

TEST(DecodeStateful, CountersAndTime) {
  xt_connlimit_info connlimit{};
  connlimit.v4_mask = 0x0000ffff;
  connlimit.limit = 5;
  connlimit.flags = XT_CONNLIMIT_DADDR;
  EXPECT_EQ(Decoded<ConnlimitMatch>(kV4, Make("connlimit", 1, connlimit)),
            (ConnlimitMatch{{255, 255}, true, 5, false}));
  xt_connbytes_info connbytes{};
  connbytes.count.from = 10;
  connbytes.count.to = 5;  // the wrong way round: inverted
  connbytes.what = XT_CONNBYTES_AVGPKT;
  connbytes.direction = XT_CONNBYTES_DIR_BOTH;
  EXPECT_EQ(Decoded<ConnbytesMatch>(kV4, Make("connbytes", 0, connbytes)),
            (ConnbytesMatch{ConnbytesWhat::kAverage, ConnbytesDirection::kBoth,
                            5, 10, true}));
  connbytes.what = 3;
  ExpectRefused(kV4, Make("connbytes", 0, connbytes), ErrorCode::kRange);
  xt_quota_info quota{};
  quota.quota = 12345;
  quota.flags = XT_QUOTA_INVERT;
  EXPECT_EQ(Decoded<QuotaMatch>(kV4, Make("quota", 0, quota)),
            (QuotaMatch{12345, true}));
  xt_time_info time{};
  time.date_stop = 100;
  time.daytime_start = 3600;
  time.daytime_stop = 60;
  time.monthdays_match = 2;
  time.weekdays_match = 0x10;
  time.flags = XT_TIME_CONTIGUOUS;
  EXPECT_EQ(Decoded<TimeMatch>(kV4, Make("time", 0, time)),
            (TimeMatch{0, 100, 3600, 60, 2, 0x10, false, true}));
  time.daytime_stop = 86400;
  ExpectRefused(kV4, Make("time", 0, time), ErrorCode::kRange);
}

TEST(DecodeHeaders, EcnEspAhTcpmss) {
  xt_ecn_info ecn{};
  ecn.operation = XT_ECN_OP_MATCH_IP | XT_ECN_OP_MATCH_CWR;
  ecn.invert = XT_ECN_OP_MATCH_CWR;
  ecn.ip_ect = 2;
  EXPECT_EQ(Decoded<EcnMatch>(kV6, Make("ecn", 0, ecn)),
            (EcnMatch{true, 2, false, false, false, true, true}));
  ecn.operation = 2;
  ExpectRefused(kV6, Make("ecn", 0, ecn), ErrorCode::kRange);
  xt_esp esp{};
  esp.spis[0] = 1;
  esp.spis[1] = 9;
  esp.invflags = XT_ESP_INV_SPI;
  EXPECT_EQ(Decoded<EspMatch>(kV4, Make("esp", 0, esp)).spi,
            (NumberRange{1, 9, true}));
  ipt_ah ah{};
  ah.spis[1] = 7;
  EXPECT_EQ(Decoded<AhMatch>(kV4, Make("ah", 0, ah)).spi,
            (NumberRange{0, 7, false}));
  ip6t_ah ah6{};
  ah6.spis[1] = 7;
  ah6.hdrlen = 24;
  ah6.hdrres = 1;
  ah6.invflags = IP6T_AH_INV_LEN;
  EXPECT_EQ(Decoded<AhMatch>(kV6, Make("ah", 0, ah6)),
            (AhMatch{kV6, {0, 7, false}, 24, true, true}));
  xt_tcpmss_match_info tcpmss{};
  tcpmss.mss_min = 1;
  tcpmss.mss_max = 2;
  tcpmss.invert = 1;
  EXPECT_EQ(Decoded<TcpmssMatch>(kV4, Make("tcpmss", 0, tcpmss)),
            (TcpmssMatch{1, 2, true}));
}

TEST(DecodeHeaders, Sctp) {
  // <linux/netfilter/xt_sctp.h> is no C++; 32-bit words of its structure.
  uint32_t raw[73] = {};
  raw[0] = 80 | 90u << 16;      // destination ports
  raw[1] = 1000 | 2000u << 16;  // source ports
  raw[2] = 1u << 1;             // chunk map: INIT
  raw[66] = 2;                  // all of them
  raw[67] = 0x010203;           // type 3, flag 2, mask 1
  raw[70] = 1;                  // one such
  raw[71] = 7;                  // everything is asked
  raw[72] = 2;                  // destination ports inverted
  const auto sctp = Decoded<SctpMatch>(kV4, Make("sctp", 0, raw));
  EXPECT_EQ(sctp.source, (NumberRange{1000, 2000, false}));
  EXPECT_EQ(sctp.destination, (NumberRange{80, 90, true}));
  EXPECT_EQ(sctp.chunks, SctpChunks::kAll);
  EXPECT_EQ(sctp.chunk_types[0], 2u);
  ASSERT_EQ(sctp.chunk_flags.size(), 1u);
  EXPECT_EQ(sctp.chunk_flags[0], (SctpChunkFlags{3, 2, 1}));
  raw[70] = 5;
  ExpectRefused(kV4, Make("sctp", 0, raw), ErrorCode::kRange);
  raw[70] = 0xffffffff;
  ExpectRefused(kV4, Make("sctp", 0, raw), ErrorCode::kRange);
  raw[70] = 0;
  raw[66] = 3;
  ExpectRefused(kV4, Make("sctp", 0, raw), ErrorCode::kRange);
}

TEST(DecodeHeaders, Dccp) {
  xt_dccp_info raw{};
  raw.flags = XT_DCCP_TYPE | XT_DCCP_OPTION;
  raw.invflags = XT_DCCP_OPTION;
  raw.typemask = 5;
  raw.option = 32;
  const auto dccp = Decoded<DccpMatch>(kV4, Make("dccp", 0, raw));
  EXPECT_FALSE(dccp.test_source);
  EXPECT_TRUE(dccp.test_type && dccp.test_option && dccp.option_inverted);
  EXPECT_EQ(dccp.types, 5);
  raw.invflags = XT_DCCP_SRC_PORTS;  // not asked for
  ExpectRefused(kV4, Make("dccp", 0, raw), ErrorCode::kRange);
}

TEST(DecodeHeaders, String) {
  xt_string_info raw{};
  raw.from_offset = 10;
  raw.to_offset = 100;
  std::strcpy(raw.algo, "kmp");
  std::memcpy(raw.pattern, "a\0b", 3);
  raw.patlen = 3;
  raw.u.v1.flags = XT_STRING_FLAG_IGNORECASE;
  const auto string = Decoded<StringMatch>(kV4, Make("string", 1, raw));
  EXPECT_EQ(string.pattern, (std::vector<uint8_t>{'a', 0, 'b'}));
  EXPECT_EQ(string.algorithm, "kmp");
  EXPECT_TRUE(string.ignore_case);
  EXPECT_FALSE(string.inverted);
  auto bad = raw;
  bad.patlen = 129;
  ExpectRefused(kV4, Make("string", 1, bad), ErrorCode::kRange);
  bad = raw;
  bad.from_offset = 101;
  ExpectRefused(kV4, Make("string", 1, bad), ErrorCode::kRange);
  bad = raw;
  std::strcpy(bad.algo, "fsm");
  ExpectRefused(kV4, Make("string", 1, bad), ErrorCode::kUnsupported);
}

TEST(DecodeHeaders, U32) {
  xt_u32 raw{};
  raw.ntests = 1;
  raw.tests[0].nnums = 2;
  raw.tests[0].location[0].number = 6;
  raw.tests[0].location[1].number = 0xff;
  raw.tests[0].location[1].nextop = XT_U32_AND;
  raw.tests[0].nvalues = 1;
  raw.tests[0].value[0].min = raw.tests[0].value[0].max = 6;
  U32Test want;
  want.start = 6;
  want.steps = {{U32Operation::kAnd, 0xff}};
  want.values = {{6, 6, false}};
  EXPECT_EQ(Decoded<U32Match>(kV4, Make("u32", 0, raw)).tests,
            std::vector<U32Test>{want});
  auto bad = raw;
  bad.ntests = 12;
  ExpectRefused(kV4, Make("u32", 0, bad), ErrorCode::kRange);
  bad = raw;
  bad.tests[0].nnums = 12;
  ExpectRefused(kV4, Make("u32", 0, bad), ErrorCode::kRange);
  bad = raw;
  bad.tests[0].location[1].nextop = XT_U32_LEFTSH;  // by 255
  ExpectRefused(kV4, Make("u32", 0, bad), ErrorCode::kRange);
}

TEST(DecodeHeaders, Ipv6) {
  ip6t_frag frag{};
  frag.ids[1] = 5;
  frag.flags = IP6T_FRAG_FST | IP6T_FRAG_MF;
  EXPECT_EQ(Decoded<FragMatch>(kV6, Make("frag", 0, frag)),
            (FragMatch{{0, 5, false}, false, true, true, false}));
  ExpectRefused(kV4, Make("frag", 0, frag), ErrorCode::kUnsupported);
  ip6t_rt rt{};
  rt.flags = IP6T_RT_TYP | IP6T_RT_FST | IP6T_RT_FST_NSTRICT;
  rt.segsleft[1] = 3;
  rt.addrnr = 1;
  rt.addrs[0].s6_addr[15] = 9;
  const auto route = Decoded<RtMatch>(kV6, Make("rt", 0, rt));
  EXPECT_TRUE(route.test_type && route.test_addresses && route.addresses_among);
  EXPECT_EQ(route.segments_left, (NumberRange{0, 3, false}));
  ASSERT_EQ(route.addresses.size(), 1u);
  EXPECT_EQ(route.addresses[0][15], 9);
  rt.addrnr = 17;
  ExpectRefused(kV6, Make("rt", 0, rt), ErrorCode::kRange);
  rt.addrnr = 1;
  rt.rt_type = 2;
  ExpectRefused(kV6, Make("rt", 0, rt), ErrorCode::kRange);
  ip6t_opts opts{};
  opts.flags = IP6T_OPTS_OPTS;
  opts.optsnr = 2;
  opts.opts[0] = 0x05ff;
  opts.opts[1] = 0x0104;
  const auto options = Decoded<OptionsMatch>(kV6, Make("dst", 0, opts));
  EXPECT_FALSE(options.hop_by_hop);
  EXPECT_EQ(options.options,
            (std::vector<OptionTest>{{5, true, 255}, {1, false, 4}}));
  opts.optsnr = 17;
  ExpectRefused(kV6, Make("dst", 0, opts), ErrorCode::kRange);
  ip6t_ipv6header_info header{};
  header.matchflags = MASK_AH;
  header.invflags = 0xff;
  EXPECT_EQ(Decoded<Ipv6headerMatch>(kV6, Make("ipv6header", 0, header)),
            (Ipv6headerMatch{kHeaderAuth, 0xff, false}));
  header.invflags = 8;
  ExpectRefused(kV6, Make("ipv6header", 0, header), ErrorCode::kRange);
}

TEST(DecodeHost, All) {
  xt_helper_info helper{};
  std::strcpy(helper.name, "ftp");
  helper.invert = 1;
  EXPECT_EQ(Decoded<HelperMatch>(kV4, Make("helper", 0, helper)),
            (HelperMatch{"ftp", true}));
  xt_rpfilter_info rpfilter{};
  rpfilter.flags = XT_RPFILTER_VALID_MARK | XT_RPFILTER_INVERT;
  EXPECT_EQ(Decoded<RpfilterMatch>(kV6, Make("rpfilter", 0, rpfilter)),
            (RpfilterMatch{false, true, false, true}));
  xt_policy_info policy{};
  policy.flags = XT_POLICY_MATCH_OUT | XT_POLICY_MATCH_NONE;
  EXPECT_EQ(Decoded<PolicyMatch>(kV4, Make("policy", 0, policy)),
            (PolicyMatch{false, true}));
  policy.flags = 0;
  ExpectRefused(kV4, Make("policy", 0, policy), ErrorCode::kRange);
  xt_physdev_info physdev{};
  physdev.bitmask = XT_PHYSDEV_OP_IN;
  std::strcpy(physdev.physindev, "eth0");
  std::memset(physdev.in_mask, 0xff, 5);
  const auto bridge = Decoded<PhysdevMatch>(kV4, Make("physdev", 0, physdev));
  EXPECT_EQ(bridge.in.ToString(), "eth0");
  EXPECT_EQ(bridge.tests, kPhysdevIn);
  physdev.bitmask = 0;
  ExpectRefused(kV4, Make("physdev", 0, physdev), ErrorCode::kRange);
  EXPECT_EQ(Decoded<CpuMatch>(kV4, Make("cpu", 0, xt_cpu_info{1, 1})),
            (CpuMatch{1, true}));
  EXPECT_EQ(Decoded<RealmMatch>(kV4, Make("realm", 0, xt_realm_info{1, 2, 0})),
            (RealmMatch{1, 2, false}));
  EXPECT_EQ(
      Decoded<SocketMatch>(
          kV4, Make("socket", 3, xt_socket_mtinfo3{XT_SOCKET_NOWILDCARD})),
      (SocketMatch{false, true, false}));
  ExpectRefused(kV4, Make("socket", 1, xt_socket_mtinfo1{2}),
                ErrorCode::kRange);
  Extension plain;
  plain.name = "socket";
  EXPECT_EQ(Decoded<SocketMatch>(kV4, plain), SocketMatch{});
  ExpectRefused(kV6, plain, ErrorCode::kUnsupported);
  xt_devgroup_info devgroup{};
  devgroup.flags = XT_DEVGROUP_MATCH_DST | XT_DEVGROUP_INVERT_DST;
  devgroup.dst_group = 4;
  devgroup.dst_mask = 0xff;
  EXPECT_EQ(
      Decoded<DevgroupMatch>(kV4, Make("devgroup", 0, devgroup)).destination,
      (DeviceGroupTest{true, 4, 0xff, true}));
}

}  // namespace
}  // namespace nfarena
