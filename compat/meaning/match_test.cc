#include "compat/meaning/match.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_dscp.h>
#include <linux/netfilter/xt_iprange.h>
#include <linux/netfilter/xt_length.h>
#include <linux/netfilter/xt_limit.h>
#include <linux/netfilter/xt_mac.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_owner.h>
#include <linux/netfilter/xt_pkttype.h>
#include <linux/netfilter/xt_set.h>
#include <linux/netfilter/xt_state.h>
#include <linux/netfilter/xt_statistic.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv4/ipt_ttl.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

#include <cstring>

#include "compat/meaning/testing/decoded.h"
#include "compat/model/testing/addresses.h"

namespace nfarena::testing {
namespace {

using ::testing::HasSubstr;

nf_inet_addr Raw4(const char* text) {
  nf_inet_addr raw{};
  EXPECT_EQ(inet_pton(AF_INET, text, &raw), 1);
  return raw;
}

nf_inet_addr Raw6(const char* text) {
  nf_inet_addr raw{};
  EXPECT_EQ(inet_pton(AF_INET6, text, &raw), 1);
  return raw;
}

TEST(DecodeMatch, Tcp) {
  xt_tcp raw{};
  raw.spts[0] = 1024;
  raw.spts[1] = 65535;
  raw.dpts[0] = raw.dpts[1] = 22;
  raw.option = 8;
  raw.flg_mask = 0x17;
  raw.flg_cmp = 0x02;
  raw.invflags = XT_TCP_INV_DSTPT | XT_TCP_INV_FLAGS;
  const auto tcp = DecodedMatch<TcpMatch>(Family::kIpv4, Placed("tcp", 0, raw));
  EXPECT_EQ(tcp, (TcpMatch{.source = {1024, 65535, false},
                           .destination = {22, 22, true},
                           .option = 8,
                           .option_inverted = false,
                           .flags_mask = 0x17,
                           .flags_value = 0x02,
                           .flags_inverted = true}));
  raw.invflags = XT_TCP_INV_SRCPT | XT_TCP_INV_OPTION;
  const auto other =
      DecodedMatch<TcpMatch>(Family::kIpv6, Placed("tcp", 0, raw));
  EXPECT_TRUE(other.source.inverted);
  EXPECT_FALSE(other.destination.inverted);
  EXPECT_TRUE(other.option_inverted);
  EXPECT_FALSE(other.flags_inverted);
  raw.invflags = 0x10;
  EXPECT_EQ(RefusedMatch(Family::kIpv4, Placed("tcp", 0, raw)).code,
            ErrorCode::kRange);
}

TEST(DecodeMatch, UdpAndUdplite) {
  xt_udp raw{};
  raw.spts[1] = 65535;
  raw.dpts[0] = 53;
  raw.dpts[1] = 54;
  raw.invflags = XT_UDP_INV_SRCPT;
  const UdpMatch want{.source = {0, 65535, true},
                      .destination = {53, 54, false}};
  EXPECT_EQ(DecodedMatch<UdpMatch>(Family::kIpv4, Placed("udp", 0, raw)), want);
  EXPECT_EQ(DecodedMatch<UdpMatch>(Family::kIpv6, Placed("udplite", 0, raw)),
            want);
  EXPECT_FALSE(want.source.any());
  EXPECT_TRUE(PortRange{}.any());
}

TEST(DecodeMatch, IcmpTypesAndTheWildcardOfIpv4Only) {
  ipt_icmp raw{};
  raw.type = 3;
  raw.code[0] = raw.code[1] = 4;
  raw.invflags = IPT_ICMP_INV;
  EXPECT_EQ(DecodedMatch<IcmpMatch>(Family::kIpv4, Placed("icmp", 0, raw)),
            (IcmpMatch{Family::kIpv4, false, 3, 4, 4, true}));
  raw = {};
  raw.type = 0xff;
  raw.code[1] = 0xff;
  EXPECT_TRUE(
      DecodedMatch<IcmpMatch>(Family::kIpv4, Placed("icmp", 0, raw)).any_type);
  EXPECT_FALSE(
      DecodedMatch<IcmpMatch>(Family::kIpv6, Placed("icmp6", 0, raw)).any_type);
}

TEST(DecodeMatch, MultiportRangesAndBadRanges) {
  xt_multiport_v1 raw{};
  raw.flags = XT_MULTIPORT_EITHER;
  raw.count = 4;
  raw.ports[0] = 22;
  raw.ports[1] = 1000;
  raw.pflags[1] = 1;
  raw.ports[2] = 2000;
  raw.ports[3] = 80;
  raw.invert = 1;
  MultiportMatch want;
  want.side = PortSide::kEither;
  want.ranges = {{22, 22, false}, {1000, 2000, false}, {80, 80, false}};
  want.inverted = true;
  EXPECT_EQ(
      DecodedMatch<MultiportMatch>(Family::kIpv4, Placed("multiport", 1, raw)),
      want);

  auto broken = raw;
  broken.count = 2;  // the range loses its end
  EXPECT_THAT(
      RefusedMatch(Family::kIpv4, Placed("multiport", 1, broken)).message,
      HasSubstr("no end"));
  broken = raw;
  broken.count = 16;
  EXPECT_EQ(RefusedMatch(Family::kIpv4, Placed("multiport", 1, broken)).code,
            ErrorCode::kRange);
  broken = raw;
  broken.ports[2] = 999;
  EXPECT_THAT(
      RefusedMatch(Family::kIpv4, Placed("multiport", 1, broken)).message,
      HasSubstr("empty"));
  broken = raw;
  broken.flags = 3;
  EXPECT_THAT(
      RefusedMatch(Family::kIpv4, Placed("multiport", 1, broken)).message,
      HasSubstr("side"));
}

TEST(DecodeMatch, Iprange) {
  xt_iprange_mtinfo raw{};
  raw.src_min = Raw4("192.0.2.1");
  raw.src_max = Raw4("192.0.2.9");
  raw.flags = IPRANGE_SRC | IPRANGE_SRC_INV | IPRANGE_DST_INV;
  auto iprange =
      DecodedMatch<IprangeMatch>(Family::kIpv4, Placed("iprange", 1, raw));
  ASSERT_TRUE(iprange.source.has_value());
  EXPECT_EQ(*iprange.source, (AddressRange{ParseAddress("192.0.2.1"),
                                           ParseAddress("192.0.2.9"), true}));
  EXPECT_FALSE(iprange.destination.has_value());

  raw.dst_min = Raw6("2001:db8::1");
  raw.dst_max = Raw6("2001:db8::ff");
  raw.flags = IPRANGE_DST;
  iprange =
      DecodedMatch<IprangeMatch>(Family::kIpv6, Placed("iprange", 1, raw));
  EXPECT_FALSE(iprange.source.has_value());
  ASSERT_TRUE(iprange.destination.has_value());
  EXPECT_EQ(*iprange.destination,
            (AddressRange{ParseAddress("2001:db8::1"),
                          ParseAddress("2001:db8::ff"), false}));
}

TEST(DecodeMatch, ConntrackRevision3) {
  xt_conntrack_mtinfo3 raw{};
  raw.match_flags =
      XT_CONNTRACK_STATE | XT_CONNTRACK_ORIGSRC | XT_CONNTRACK_REPLDST_PORT;
  raw.invert_flags = XT_CONNTRACK_REPLDST_PORT;
  raw.state_mask = XT_CONNTRACK_STATE_INVALID |
                   XT_CONNTRACK_STATE_BIT(IP_CT_NEW) |
                   XT_CONNTRACK_STATE_UNTRACKED | XT_CONNTRACK_STATE_DNAT;
  raw.origsrc_addr = Raw4("198.51.100.0");
  raw.origsrc_mask = Raw4("255.255.255.0");
  raw.repldst_port = 100;
  raw.repldst_port_high = 200;
  raw.expires_min = 3;
  raw.expires_max = 5;
  raw.l4proto = 6;
  raw.status_mask = 0x4;
  const auto conntrack =
      DecodedMatch<ConntrackMatch>(Family::kIpv4, Placed("conntrack", 3, raw));
  EXPECT_EQ(conntrack.tests,
            kCtTestState | kCtTestOriginalSource | kCtTestReplyDestinationPort);
  EXPECT_EQ(conntrack.inverted, kCtTestReplyDestinationPort);
  EXPECT_EQ(conntrack.state_mask,
            kCtStateInvalid | kCtStateNew | kCtStateUntracked | kCtStateDnat);
  EXPECT_EQ(conntrack.original_source,
            (MaskedAddress{ParseAddress("198.51.100.0"),
                           ParseAddress("255.255.255.0")}));
  EXPECT_EQ(conntrack.reply_destination_port, (PortRange{100, 200, true}));
  EXPECT_EQ(conntrack.original_source_port, (PortRange{0, 0, false}));
  EXPECT_EQ(conntrack.expires_first_s, 3u);
  EXPECT_EQ(conntrack.expires_last_s, 5u);
  EXPECT_EQ(conntrack.protocol, 6u);
  EXPECT_EQ(conntrack.status_mask, 4u);
}

TEST(DecodeMatch, ConntrackRevisions1And2HavePortsInNetworkOrder) {
  xt_conntrack_mtinfo2 raw2{};
  raw2.match_flags = XT_CONNTRACK_ORIGDST_PORT;
  raw2.origdst_port = htons(443);
  raw2.state_mask = XT_CONNTRACK_STATE_SNAT;
  auto conntrack =
      DecodedMatch<ConntrackMatch>(Family::kIpv6, Placed("conntrack", 2, raw2));
  EXPECT_EQ(conntrack.original_destination_port, (PortRange{443, 443, false}));
  EXPECT_EQ(conntrack.state_mask, kCtStateSnat);
  xt_conntrack_mtinfo1 raw1{};
  raw1.match_flags = XT_CONNTRACK_REPLSRC_PORT;
  raw1.invert_flags = XT_CONNTRACK_REPLSRC_PORT;
  raw1.replsrc_port = htons(8080);
  raw1.status_mask = 2;
  conntrack =
      DecodedMatch<ConntrackMatch>(Family::kIpv4, Placed("conntrack", 1, raw1));
  EXPECT_EQ(conntrack.reply_source_port, (PortRange{8080, 8080, true}));
  EXPECT_EQ(conntrack.status_mask, 2u);
  EXPECT_EQ(RefusedMatch(Family::kIpv4, Placed("conntrack", 0, raw1)).code,
            ErrorCode::kUnsupported);
}

TEST(DecodeMatch, State) {
  xt_state_info raw{};
  raw.statemask = XT_STATE_UNTRACKED | XT_STATE_BIT(IP_CT_RELATED) |
                  XT_STATE_BIT(IP_CT_ESTABLISHED);
  EXPECT_EQ(DecodedMatch<StateMatch>(Family::kIpv4, Placed("state", 0, raw))
                .state_mask,
            kStateUntracked | kStateRelated | kStateEstablished);
}

TEST(DecodeMatch, MarkAndConnmark) {
  xt_mark_mtinfo1 mark{};
  mark.mark = 0x10;
  mark.mask = 0xf0;
  mark.invert = 1;
  EXPECT_EQ(DecodedMatch<MarkMatch>(Family::kIpv4, Placed("mark", 1, mark)),
            (MarkMatch{0x10, 0xf0, true}));
  xt_connmark_mtinfo1 connmark{};
  connmark.mark = 7;
  connmark.mask = 0xff;
  EXPECT_EQ(DecodedMatch<ConnmarkMatch>(Family::kIpv6,
                                        Placed("connmark", 1, connmark)),
            (ConnmarkMatch{7, 0xff, false}));
}

TEST(DecodeMatch, Limit) {
  xt_rateinfo raw{};
  raw.avg = 600000;  // one a minute
  raw.burst = 5;
  EXPECT_EQ(DecodedMatch<LimitMatch>(Family::kIpv4, Placed("limit", 0, raw)),
            (LimitMatch{600000, 5}));
  raw.burst = 0;
  EXPECT_EQ(RefusedMatch(Family::kIpv4, Placed("limit", 0, raw)).code,
            ErrorCode::kRange);
}

TEST(DecodeMatch, Mac) {
  xt_mac_info raw{};
  raw.srcaddr[0] = 2;
  raw.srcaddr[5] = 9;
  raw.invert = 1;
  EXPECT_EQ(DecodedMatch<MacMatch>(Family::kIpv4, Placed("mac", 0, raw)),
            (MacMatch{{2, 0, 0, 0, 0, 9}, true}));
}

TEST(DecodeMatch, AddrtypeBothRevisions) {
  xt_addrtype_info_v1 raw{};
  raw.source = XT_ADDRTYPE_LOCAL;
  raw.dest = XT_ADDRTYPE_BROADCAST | XT_ADDRTYPE_MULTICAST;
  raw.flags = XT_ADDRTYPE_INVERT_DEST | XT_ADDRTYPE_LIMIT_IFACE_IN;
  AddrtypeMatch want;
  want.source_types = 1u << 2;
  want.destination_types = 1u << 3 | 1u << 5;
  want.destination_inverted = true;
  want.limit_in = true;
  EXPECT_EQ(
      DecodedMatch<AddrtypeMatch>(Family::kIpv6, Placed("addrtype", 1, raw)),
      want);
  xt_addrtype_info old{};
  old.source = XT_ADDRTYPE_UNICAST;
  old.invert_source = 1;
  want = {};
  want.source_types = 1u << 1;
  want.source_inverted = true;
  EXPECT_EQ(
      DecodedMatch<AddrtypeMatch>(Family::kIpv4, Placed("addrtype", 0, old)),
      want);
  EXPECT_THAT(RefusedMatch(Family::kIpv6, Placed("addrtype", 0, old)).message,
              HasSubstr("revision 0"));
}

TEST(DecodeMatch, HeaderFields) {
  xt_length_info length{};
  length.min = 40;
  length.max = 1500;
  length.invert = 1;
  EXPECT_EQ(
      DecodedMatch<LengthMatch>(Family::kIpv4, Placed("length", 0, length)),
      (LengthMatch{40, 1500, true}));
  xt_dscp_info dscp{};
  dscp.dscp = 0x3f;
  EXPECT_EQ(DecodedMatch<DscpMatch>(Family::kIpv4, Placed("dscp", 0, dscp)),
            (DscpMatch{0x3f, false}));
  dscp.dscp = 0x40;
  EXPECT_EQ(RefusedMatch(Family::kIpv4, Placed("dscp", 0, dscp)).code,
            ErrorCode::kRange);
  xt_tos_match_info tos{};
  tos.tos_mask = 0x1e;
  tos.tos_value = 0x10;
  tos.invert = 1;
  EXPECT_EQ(DecodedMatch<TosMatch>(Family::kIpv6, Placed("tos", 1, tos)),
            (TosMatch{0x10, 0x1e, true}));
  ipt_ttl_info ttl{};
  ttl.mode = IPT_TTL_GT;
  ttl.ttl = 64;
  EXPECT_EQ(DecodedMatch<TtlMatch>(Family::kIpv4, Placed("ttl", 0, ttl)),
            (TtlMatch{Family::kIpv4, TtlTest::kGreater, 64}));
  ttl.mode = IPT_TTL_NE;
  EXPECT_EQ(DecodedMatch<TtlMatch>(Family::kIpv6, Placed("hl", 0, ttl)),
            (TtlMatch{Family::kIpv6, TtlTest::kNotEqual, 64}));
  ttl.mode = 4;
  EXPECT_EQ(RefusedMatch(Family::kIpv4, Placed("ttl", 0, ttl)).code,
            ErrorCode::kRange);
  xt_pkttype_info pkttype{};
  pkttype.pkttype = 2;
  pkttype.invert = 1;
  EXPECT_EQ(
      DecodedMatch<PkttypeMatch>(Family::kIpv4, Placed("pkttype", 0, pkttype)),
      (PkttypeMatch{2, true}));
}

TEST(DecodeMatch, Owner) {
  xt_owner_match_info raw{};
  raw.match = XT_OWNER_UID | XT_OWNER_GID | XT_OWNER_SOCKET;
  raw.invert = XT_OWNER_GID;
  raw.uid_min = 1000;
  raw.uid_max = 1999;
  raw.gid_min = raw.gid_max = 100;
  const auto owner =
      DecodedMatch<OwnerMatch>(Family::kIpv4, Placed("owner", 1, raw));
  EXPECT_EQ(owner, (OwnerMatch{.uid = IdRange{1000, 1999, false},
                               .gid = IdRange{100, 100, true},
                               .socket_exists = true,
                               .socket_inverted = false,
                               .supplementary_groups = false}));
  raw.match = 0x10;
  EXPECT_EQ(RefusedMatch(Family::kIpv4, Placed("owner", 1, raw)).code,
            ErrorCode::kRange);
}

TEST(DecodeMatch, CommentOfFullLengthHasNoNul) {
  xt_comment_info raw;
  std::memset(raw.comment, 'x', sizeof(raw.comment));
  EXPECT_EQ(
      DecodedMatch<CommentMatch>(Family::kIpv4, Placed("comment", 0, raw)).text,
      std::string(256, 'x'));
  std::strcpy(raw.comment, "web");
  EXPECT_EQ(
      DecodedMatch<CommentMatch>(Family::kIpv4, Placed("comment", 0, raw)).text,
      "web");
}

TEST(DecodeMatch, Statistic) {
  xt_statistic_info raw{};
  raw.mode = XT_STATISTIC_MODE_RANDOM;
  raw.u.random.probability = 0x40000000;
  raw.flags = XT_STATISTIC_INVERT;
  auto statistic =
      DecodedMatch<StatisticMatch>(Family::kIpv4, Placed("statistic", 0, raw));
  EXPECT_EQ(statistic, (StatisticMatch{.mode = StatisticMode::kRandom,
                                       .probability = 0x40000000,
                                       .inverted = true}));
  raw = {};
  raw.mode = XT_STATISTIC_MODE_NTH;
  raw.u.nth.every = 3;
  raw.u.nth.packet = 1;
  raw.u.nth.count = 2;
  statistic =
      DecodedMatch<StatisticMatch>(Family::kIpv6, Placed("statistic", 0, raw));
  EXPECT_EQ(statistic, (StatisticMatch{.mode = StatisticMode::kNth,
                                       .every = 3,
                                       .packet = 1,
                                       .start_count = 2}));
  raw.mode = 2;
  EXPECT_EQ(RefusedMatch(Family::kIpv4, Placed("statistic", 0, raw)).code,
            ErrorCode::kRange);
}

TEST(DecodeMatch, SetOfAllRevisions) {
  xt_set_info_match_v4 raw4{};
  raw4.match_set.index = 5;
  raw4.match_set.dim = 2;
  raw4.match_set.flags = IPSET_INV_MATCH | IPSET_DIM_TWO_SRC;
  raw4.flags = IPSET_FLAG_SKIP_COUNTER_UPDATE | IPSET_FLAG_RETURN_NOMATCH;
  raw4.packets.op = IPSET_COUNTER_GT;
  raw4.packets.value = 9;
  SetMatch want;
  want.index = 5;
  want.dimensions = 2;
  want.source_mask = 2;
  want.inverted = true;
  want.return_nomatch = true;
  want.update_counters = false;
  want.packets_test = CounterTest::kGreater;
  want.packets = 9;
  EXPECT_EQ(DecodedMatch<SetMatch>(Family::kIpv4, Placed("set", 4, raw4)),
            want);

  xt_set_info_match_v1 raw1{};
  raw1.match_set.index = 1;
  raw1.match_set.dim = 1;
  raw1.match_set.flags = IPSET_DIM_ONE_SRC | IPSET_RETURN_NOMATCH;
  EXPECT_FALSE(DecodedMatch<SetMatch>(Family::kIpv4, Placed("set", 1, raw1))
                   .return_nomatch);
  const auto set2 =
      DecodedMatch<SetMatch>(Family::kIpv6, Placed("set", 2, raw1));
  EXPECT_TRUE(set2.return_nomatch);
  EXPECT_EQ(set2.source_mask, 1);
  raw4.bytes.op = 5;
  EXPECT_EQ(RefusedMatch(Family::kIpv4, Placed("set", 4, raw4)).code,
            ErrorCode::kRange);
}

TEST(DecodeMatch, UnknownNameStandsAtItsColumn) {
  Extension match;
  match.name = "quux";
  match.column = 42;
  const Error error = RefusedMatch(Family::kIpv4, match);
  EXPECT_EQ(error.code, ErrorCode::kUnsupported);
  EXPECT_EQ(error.place.column, 42u);
  EXPECT_EQ(error.place.text, "quux");
  EXPECT_THAT(error.message, HasSubstr("match quux"));
}

TEST(DecodeMatch, WrongFamilyAndRevisionAreNamed) {
  Extension match = Placed("icmp", 0, ipt_icmp{});
  EXPECT_THAT(RefusedMatch(Family::kIpv6, match).message,
              HasSubstr("does not exist for IPv6"));
  match = Placed("multiport", 0, xt_multiport{});
  const Error error = RefusedMatch(Family::kIpv4, match);
  EXPECT_EQ(error.code, ErrorCode::kUnsupported);
  EXPECT_THAT(error.message, HasSubstr("revision 0"));
}

TEST(DecodeMatch, PayloadSizeIsExactOrAligned) {
  Extension match = Placed("length", 0, xt_length_info{});  // 6 bytes
  for (size_t size = 0; size <= 16; ++size) {
    match.payload.assign(size, 0);
    EXPECT_EQ(DecodeMatch(Family::kIpv4, match).has_value(),
              size >= 6 && size <= 8)
        << size;
  }
  match.payload.clear();
  EXPECT_EQ(RefusedMatch(Family::kIpv4, match).place.column, kColumn);
}

}  // namespace
}  // namespace nfarena::testing
