#include "compat/meaning/match_headers.h"

#include <gtest/gtest.h>
#include <linux/netfilter.h>
#include <linux/netfilter/xt_dccp.h>
#include <linux/netfilter/xt_ecn.h>
#include <linux/netfilter/xt_esp.h>
#include <linux/netfilter/xt_string.h>
#include <linux/netfilter/xt_tcpmss.h>
#include <linux/netfilter/xt_u32.h>
#include <linux/netfilter_ipv4/ipt_ah.h>
#include <linux/netfilter_ipv6/ip6t_ah.h>
#include <linux/netfilter_ipv6/ip6t_frag.h>
#include <linux/netfilter_ipv6/ip6t_ipv6header.h>
#include <linux/netfilter_ipv6/ip6t_opts.h>
#include <linux/netfilter_ipv6/ip6t_rt.h>

#include <cstring>

#include "compat/meaning/match.h"
#include "compat/meaning/testing/decoded.h"

namespace nfarena::testing {
namespace {

TEST(DecodeHeaders, EcnEspAhTcpmss) {
  xt_ecn_info ecn{};
  ecn.operation = XT_ECN_OP_MATCH_IP | XT_ECN_OP_MATCH_CWR;
  ecn.invert = XT_ECN_OP_MATCH_CWR;
  ecn.ip_ect = 2;
  EXPECT_EQ(DecodedMatch<EcnMatch>(kV6, Placed("ecn", 0, ecn)),
            (EcnMatch{true, 2, false, false, false, true, true}));
  ecn.operation = 2;
  EXPECT_EQ(RefusedMatch(kV6, Placed("ecn", 0, ecn)).code, ErrorCode::kRange);
  xt_esp esp{};
  esp.spis[0] = 1;
  esp.spis[1] = 9;
  esp.invflags = XT_ESP_INV_SPI;
  EXPECT_EQ(DecodedMatch<EspMatch>(kV4, Placed("esp", 0, esp)).spi,
            (NumberRange{1, 9, true}));
  ipt_ah ah{};
  ah.spis[1] = 7;
  EXPECT_EQ(DecodedMatch<AhMatch>(kV4, Placed("ah", 0, ah)).spi,
            (NumberRange{0, 7, false}));
  ip6t_ah ah6{};
  ah6.spis[1] = 7;
  ah6.hdrlen = 24;
  ah6.hdrres = 1;
  ah6.invflags = IP6T_AH_INV_LEN;
  EXPECT_EQ(DecodedMatch<AhMatch>(kV6, Placed("ah", 0, ah6)),
            (AhMatch{kV6, {0, 7, false}, 24, true, true}));
  xt_tcpmss_match_info tcpmss{};
  tcpmss.mss_min = 1;
  tcpmss.mss_max = 2;
  tcpmss.invert = 1;
  EXPECT_EQ(DecodedMatch<TcpmssMatch>(kV4, Placed("tcpmss", 0, tcpmss)),
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
  const auto sctp = DecodedMatch<SctpMatch>(kV4, Placed("sctp", 0, raw));
  EXPECT_EQ(sctp.source, (NumberRange{1000, 2000, false}));
  EXPECT_EQ(sctp.destination, (NumberRange{80, 90, true}));
  EXPECT_EQ(sctp.chunks, SctpChunks::kAll);
  EXPECT_EQ(sctp.chunk_types[0], 2u);
  ASSERT_EQ(sctp.chunk_flags.size(), 1u);
  EXPECT_EQ(sctp.chunk_flags[0], (SctpChunkFlags{3, 2, 1}));
  raw[70] = 5;
  EXPECT_EQ(RefusedMatch(kV4, Placed("sctp", 0, raw)).code, ErrorCode::kRange);
  raw[70] = 0xffffffff;
  EXPECT_EQ(RefusedMatch(kV4, Placed("sctp", 0, raw)).code, ErrorCode::kRange);
  raw[70] = 0;
  raw[66] = 3;
  EXPECT_EQ(RefusedMatch(kV4, Placed("sctp", 0, raw)).code, ErrorCode::kRange);
}

TEST(DecodeHeaders, Dccp) {
  xt_dccp_info raw{};
  raw.flags = XT_DCCP_TYPE | XT_DCCP_OPTION;
  raw.invflags = XT_DCCP_OPTION;
  raw.typemask = 5;
  raw.option = 32;
  const auto dccp = DecodedMatch<DccpMatch>(kV4, Placed("dccp", 0, raw));
  EXPECT_FALSE(dccp.test_source);
  EXPECT_TRUE(dccp.test_type && dccp.test_option && dccp.option_inverted);
  EXPECT_EQ(dccp.types, 5);
  raw.invflags = XT_DCCP_SRC_PORTS;  // not asked for
  EXPECT_EQ(RefusedMatch(kV4, Placed("dccp", 0, raw)).code, ErrorCode::kRange);
}

TEST(DecodeHeaders, String) {
  xt_string_info raw{};
  raw.from_offset = 10;
  raw.to_offset = 100;
  std::strcpy(raw.algo, "kmp");
  std::memcpy(raw.pattern, "a\0b", 3);
  raw.patlen = 3;
  raw.u.v1.flags = XT_STRING_FLAG_IGNORECASE;
  const auto string = DecodedMatch<StringMatch>(kV4, Placed("string", 1, raw));
  EXPECT_EQ(string.pattern, (std::vector<uint8_t>{'a', 0, 'b'}));
  EXPECT_EQ(string.algorithm, "kmp");
  EXPECT_TRUE(string.ignore_case);
  EXPECT_FALSE(string.inverted);
  auto bad = raw;
  bad.patlen = 129;
  EXPECT_EQ(RefusedMatch(kV4, Placed("string", 1, bad)).code,
            ErrorCode::kRange);
  bad = raw;
  bad.from_offset = 101;
  EXPECT_EQ(RefusedMatch(kV4, Placed("string", 1, bad)).code,
            ErrorCode::kRange);
  bad = raw;
  std::strcpy(bad.algo, "fsm");
  EXPECT_EQ(RefusedMatch(kV4, Placed("string", 1, bad)).code,
            ErrorCode::kUnsupported);
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
  EXPECT_EQ(DecodedMatch<U32Match>(kV4, Placed("u32", 0, raw)).tests,
            std::vector<U32Test>{want});
  auto bad = raw;
  bad.ntests = 12;
  EXPECT_EQ(RefusedMatch(kV4, Placed("u32", 0, bad)).code, ErrorCode::kRange);
  bad = raw;
  bad.tests[0].nnums = 12;
  EXPECT_EQ(RefusedMatch(kV4, Placed("u32", 0, bad)).code, ErrorCode::kRange);
  bad = raw;
  bad.tests[0].location[1].nextop = XT_U32_LEFTSH;  // by 255
  EXPECT_EQ(RefusedMatch(kV4, Placed("u32", 0, bad)).code, ErrorCode::kRange);
}

TEST(DecodeHeaders, Ipv6) {
  ip6t_frag frag{};
  frag.ids[1] = 5;
  frag.flags = IP6T_FRAG_FST | IP6T_FRAG_MF;
  EXPECT_EQ(DecodedMatch<FragMatch>(kV6, Placed("frag", 0, frag)),
            (FragMatch{{0, 5, false}, false, true, true, false}));
  EXPECT_EQ(RefusedMatch(kV4, Placed("frag", 0, frag)).code,
            ErrorCode::kUnsupported);
  ip6t_rt rt{};
  rt.flags = IP6T_RT_TYP | IP6T_RT_FST | IP6T_RT_FST_NSTRICT;
  rt.segsleft[1] = 3;
  rt.addrnr = 1;
  rt.addrs[0].s6_addr[15] = 9;
  const auto route = DecodedMatch<RtMatch>(kV6, Placed("rt", 0, rt));
  EXPECT_TRUE(route.test_type && route.test_addresses && route.addresses_among);
  EXPECT_EQ(route.segments_left, (NumberRange{0, 3, false}));
  ASSERT_EQ(route.addresses.size(), 1u);
  EXPECT_EQ(route.addresses[0][15], 9);
  rt.addrnr = 17;
  EXPECT_EQ(RefusedMatch(kV6, Placed("rt", 0, rt)).code, ErrorCode::kRange);
  rt.addrnr = 1;
  rt.rt_type = 2;
  EXPECT_EQ(RefusedMatch(kV6, Placed("rt", 0, rt)).code, ErrorCode::kRange);
  ip6t_opts opts{};
  opts.flags = IP6T_OPTS_OPTS;
  opts.optsnr = 2;
  opts.opts[0] = 0x05ff;
  opts.opts[1] = 0x0104;
  const auto options = DecodedMatch<OptionsMatch>(kV6, Placed("dst", 0, opts));
  EXPECT_FALSE(options.hop_by_hop);
  EXPECT_EQ(options.options,
            (std::vector<OptionTest>{{5, true, 255}, {1, false, 4}}));
  opts.optsnr = 17;
  EXPECT_EQ(RefusedMatch(kV6, Placed("dst", 0, opts)).code, ErrorCode::kRange);
  ip6t_ipv6header_info header{};
  header.matchflags = MASK_AH;
  header.invflags = 0xff;
  EXPECT_EQ(DecodedMatch<Ipv6headerMatch>(kV6, Placed("ipv6header", 0, header)),
            (Ipv6headerMatch{kHeaderAuth, 0xff, false}));
  header.invflags = 8;
  EXPECT_EQ(RefusedMatch(kV6, Placed("ipv6header", 0, header)).code,
            ErrorCode::kRange);
}

}  // namespace
}  // namespace nfarena::testing
