#include "compat/meaning/target.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/xt_AUDIT.h>
#include <linux/netfilter/xt_CHECKSUM.h>
#include <linux/netfilter/xt_CLASSIFY.h>
#include <linux/netfilter/xt_CT.h>
#include <linux/netfilter/xt_DSCP.h>
#include <linux/netfilter/xt_LOG.h>
#include <linux/netfilter/xt_NFLOG.h>
#include <linux/netfilter/xt_NFQUEUE.h>
#include <linux/netfilter/xt_TCPMSS.h>
#include <linux/netfilter/xt_TCPOPTSTRIP.h>
#include <linux/netfilter/xt_TEE.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter/xt_set.h>
#include <linux/netfilter_ipv4/ipt_ECN.h>
#include <linux/netfilter_ipv4/ipt_REJECT.h>
#include <linux/netfilter_ipv4/ipt_TTL.h>
#include <linux/netfilter_ipv6/ip6t_REJECT.h>

#include <cstring>

#include "compat/meaning/testing/decoded.h"
#include "compat/model/testing/addresses.h"

namespace nfarena::testing {
namespace {

using ::testing::HasSubstr;

TEST(DecodeTarget, RejectKindsOfBothFamilies) {
  struct Case {
    Family family;
    uint32_t with;
    RejectTarget want;
  };
  const auto v4 = [](bool reset, uint8_t type, uint8_t code) {
    return RejectTarget{Family::kIpv4, reset, type, code};
  };
  const auto v6 = [](bool reset, uint8_t type, uint8_t code) {
    return RejectTarget{Family::kIpv6, reset, type, code};
  };
  // Types and codes: RFC 792, RFC 1812 section 5.2.7.1, RFC 4443 section 3.1.
  const Case cases[] = {
      {Family::kIpv4, IPT_ICMP_NET_UNREACHABLE, v4(false, 3, 0)},
      {Family::kIpv4, IPT_ICMP_HOST_UNREACHABLE, v4(false, 3, 1)},
      {Family::kIpv4, IPT_ICMP_PROT_UNREACHABLE, v4(false, 3, 2)},
      {Family::kIpv4, IPT_ICMP_PORT_UNREACHABLE, v4(false, 3, 3)},
      {Family::kIpv4, IPT_ICMP_NET_PROHIBITED, v4(false, 3, 9)},
      {Family::kIpv4, IPT_ICMP_HOST_PROHIBITED, v4(false, 3, 10)},
      {Family::kIpv4, IPT_ICMP_ADMIN_PROHIBITED, v4(false, 3, 13)},
      {Family::kIpv4, IPT_TCP_RESET, v4(true, 0, 0)},
      {Family::kIpv6, IP6T_ICMP6_NO_ROUTE, v6(false, 1, 0)},
      {Family::kIpv6, IP6T_ICMP6_ADM_PROHIBITED, v6(false, 1, 1)},
      {Family::kIpv6, IP6T_ICMP6_NOT_NEIGHBOUR, v6(false, 1, 2)},
      {Family::kIpv6, IP6T_ICMP6_ADDR_UNREACH, v6(false, 1, 3)},
      {Family::kIpv6, IP6T_ICMP6_PORT_UNREACH, v6(false, 1, 4)},
      {Family::kIpv6, IP6T_ICMP6_POLICY_FAIL, v6(false, 1, 5)},
      {Family::kIpv6, IP6T_ICMP6_REJECT_ROUTE, v6(false, 1, 6)},
      {Family::kIpv6, IP6T_TCP_RESET, v6(true, 0, 0)},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(
        DecodedTarget<RejectTarget>(c.family, Placed("REJECT", 0, c.with)),
        c.want)
        << FamilyName(c.family) << " " << c.with;
  }
  for (const uint32_t with : {uint32_t{IPT_ICMP_ECHOREPLY}, 9u, 0xffffffffu}) {
    EXPECT_EQ(RefusedTarget(Family::kIpv4, Placed("REJECT", 0, with)).code,
              ErrorCode::kRange);
  }
  EXPECT_EQ(
      RefusedTarget(Family::kIpv6, Placed("REJECT", 0, IP6T_ICMP6_ECHOREPLY))
          .code,
      ErrorCode::kRange);
}

TEST(DecodeTarget, Log) {
  xt_log_info raw{};
  raw.level = 4;
  raw.logflags = XT_LOG_TCPSEQ | XT_LOG_UID;
  std::strcpy(raw.prefix, "drop: ");
  EXPECT_EQ(DecodedTarget<LogTarget>(Family::kIpv4, Placed("LOG", 0, raw)),
            (LogTarget{4, kLogTcpSequence | kLogUid, "drop: "}));
  raw.level = 8;
  EXPECT_EQ(RefusedTarget(Family::kIpv4, Placed("LOG", 0, raw)).code,
            ErrorCode::kRange);
  raw.level = 4;
  std::memset(raw.prefix, 'x', sizeof(raw.prefix));
  EXPECT_EQ(RefusedTarget(Family::kIpv4, Placed("LOG", 0, raw)).code,
            ErrorCode::kRange);
}

TEST(DecodeTarget, Nflog) {
  xt_nflog_info raw{};
  raw.group = 5;
  raw.threshold = 20;
  raw.len = 256;
  raw.flags = XT_NFLOG_F_COPY_LEN;
  std::strcpy(raw.prefix, "ips");
  NflogTarget want;
  want.group = 5;
  want.threshold = 20;
  want.has_length = true;
  want.length = 256;
  want.prefix = "ips";
  EXPECT_EQ(DecodedTarget<NflogTarget>(Family::kIpv6, Placed("NFLOG", 0, raw)),
            want);
  raw.flags = 2;
  EXPECT_EQ(RefusedTarget(Family::kIpv6, Placed("NFLOG", 0, raw)).code,
            ErrorCode::kRange);
}

TEST(DecodeTarget, NfqueueOfAllRevisions) {
  EXPECT_EQ(DecodedTarget<NfqueueTarget>(Family::kIpv4,
                                         Placed("NFQUEUE", 0, xt_NFQ_info{7})),
            (NfqueueTarget{7, 1, false, false}));
  EXPECT_EQ(DecodedTarget<NfqueueTarget>(
                Family::kIpv4, Placed("NFQUEUE", 1, xt_NFQ_info_v1{7, 4})),
            (NfqueueTarget{7, 4, false, false}));
  EXPECT_EQ(DecodedTarget<NfqueueTarget>(
                Family::kIpv4, Placed("NFQUEUE", 2, xt_NFQ_info_v2{7, 4, 1})),
            (NfqueueTarget{7, 4, true, false}));
  EXPECT_EQ(DecodedTarget<NfqueueTarget>(
                Family::kIpv4, Placed("NFQUEUE", 3, xt_NFQ_info_v3{7, 4, 2})),
            (NfqueueTarget{7, 4, false, true}));
  EXPECT_EQ(
      DecodedTarget<NfqueueTarget>(
          Family::kIpv4, Placed("NFQUEUE", 3, xt_NFQ_info_v3{65535, 1, 0}))
          .first,
      65535);
  for (const auto& bad : {xt_NFQ_info_v3{65535, 2, 0}, xt_NFQ_info_v3{0, 0, 0},
                          xt_NFQ_info_v3{0, 1, 4}}) {
    EXPECT_EQ(RefusedTarget(Family::kIpv4, Placed("NFQUEUE", 3, bad)).code,
              ErrorCode::kRange);
  }
}

TEST(DecodeTarget, Marks) {
  xt_mark_tginfo2 mark{};
  mark.mark = 1;
  mark.mask = 0xff;
  EXPECT_EQ(DecodedTarget<MarkTarget>(Family::kIpv4, Placed("MARK", 2, mark)),
            (MarkTarget{1, 0xff}));
  xt_connmark_tginfo2 connmark{};
  connmark.ctmark = 3;
  connmark.ctmask = 0xf0;
  connmark.nfmask = 0x0f;
  connmark.mode = XT_CONNMARK_SAVE;
  connmark.shift_dir = D_SHIFT_RIGHT;
  connmark.shift_bits = 31;
  EXPECT_EQ(DecodedTarget<ConnmarkTarget>(Family::kIpv4,
                                          Placed("CONNMARK", 2, connmark)),
            (ConnmarkTarget{ConnmarkMode::kSave, 3, 0xf0, 0x0f, true, 31}));
  connmark.shift_bits = 32;
  EXPECT_EQ(RefusedTarget(Family::kIpv4, Placed("CONNMARK", 2, connmark)).code,
            ErrorCode::kRange);
  xt_connmark_tginfo1 old{};
  old.ctmask = 0xff;
  old.mode = XT_CONNMARK_RESTORE;
  EXPECT_EQ(
      DecodedTarget<ConnmarkTarget>(Family::kIpv6, Placed("CONNMARK", 1, old)),
      (ConnmarkTarget{ConnmarkMode::kRestore, 0, 0xff, 0, false, 0}));
  old.mode = 3;
  EXPECT_EQ(RefusedTarget(Family::kIpv6, Placed("CONNMARK", 1, old)).code,
            ErrorCode::kRange);
}

nf_nat_ipv4_multi_range_compat OldRange() {
  nf_nat_ipv4_multi_range_compat raw{};
  raw.rangesize = 1;
  raw.range[0].flags = NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED;
  inet_pton(AF_INET, "192.0.2.1", &raw.range[0].min_ip);
  inet_pton(AF_INET, "192.0.2.3", &raw.range[0].max_ip);
  raw.range[0].min.all = htons(1024);
  raw.range[0].max.all = htons(2048);
  return raw;
}

TEST(DecodeTarget, NatRevision0) {
  const NatParameters want{.flags = kNatToAddresses | kNatToPorts,
                           .first = ParseAddress("192.0.2.1"),
                           .last = ParseAddress("192.0.2.3"),
                           .first_port = 1024,
                           .last_port = 2048};
  auto raw = OldRange();
  EXPECT_EQ(DecodedTarget<SnatTarget>(Family::kIpv4, Placed("SNAT", 0, raw)).to,
            want);
  EXPECT_EQ(DecodedTarget<DnatTarget>(Family::kIpv4, Placed("DNAT", 0, raw)).to,
            want);
  EXPECT_EQ(
      DecodedTarget<NetmapTarget>(Family::kIpv4, Placed("NETMAP", 0, raw)).to,
      want);
  // These two take no address.
  EXPECT_EQ(RefusedTarget(Family::kIpv4, Placed("REDIRECT", 0, raw)).code,
            ErrorCode::kRange);
  EXPECT_EQ(RefusedTarget(Family::kIpv4, Placed("MASQUERADE", 0, raw)).code,
            ErrorCode::kRange);
  raw.range[0].flags = NF_NAT_RANGE_PROTO_SPECIFIED;
  EXPECT_EQ(
      DecodedTarget<RedirectTarget>(Family::kIpv4, Placed("REDIRECT", 0, raw))
          .to.first_port,
      1024);
  EXPECT_EQ(DecodedTarget<MasqueradeTarget>(Family::kIpv4,
                                            Placed("MASQUERADE", 0, raw))
                .to.last_port,
            2048);
  EXPECT_EQ(RefusedTarget(Family::kIpv4, Placed("NETMAP", 0, raw)).code,
            ErrorCode::kRange);
  raw.rangesize = 2;
  EXPECT_THAT(RefusedTarget(Family::kIpv4, Placed("SNAT", 0, raw)).message,
              HasSubstr("one range"));
  EXPECT_EQ(RefusedTarget(Family::kIpv6, Placed("SNAT", 0, raw)).code,
            ErrorCode::kUnsupported);
}

TEST(DecodeTarget, NatRevisions1And2) {
  nf_nat_range2 raw2{};
  raw2.flags = NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED |
               NF_NAT_RANGE_PROTO_OFFSET;
  inet_pton(AF_INET6, "2001:db8::1", &raw2.min_addr);
  inet_pton(AF_INET6, "2001:db8::2", &raw2.max_addr);
  raw2.min_proto.all = htons(5000);
  raw2.max_proto.all = htons(5100);
  raw2.base_proto.all = htons(4000);
  NatParameters want{.flags = kNatToAddresses | kNatToPorts | kNatToPortOffset,
                     .first = ParseAddress("2001:db8::1"),
                     .last = ParseAddress("2001:db8::2"),
                     .first_port = 5000,
                     .last_port = 5100,
                     .base_port = 4000};
  EXPECT_EQ(
      DecodedTarget<DnatTarget>(Family::kIpv6, Placed("DNAT", 2, raw2)).to,
      want);
  nf_nat_range raw1{};
  raw1.flags = NF_NAT_RANGE_MAP_IPS;
  raw1.min_addr = raw2.min_addr;
  raw1.max_addr = raw2.max_addr;
  want = {.flags = kNatToAddresses,
          .first = ParseAddress("2001:db8::1"),
          .last = ParseAddress("2001:db8::2")};
  EXPECT_EQ(
      DecodedTarget<SnatTarget>(Family::kIpv6, Placed("SNAT", 1, raw1)).to,
      want);
  EXPECT_EQ(
      DecodedTarget<NetmapTarget>(Family::kIpv6, Placed("NETMAP", 0, raw1)).to,
      want);
  raw1.flags = NF_NAT_RANGE_PROTO_RANDOM;
  EXPECT_EQ(DecodedTarget<MasqueradeTarget>(Family::kIpv6,
                                            Placed("MASQUERADE", 0, raw1))
                .to.flags,
            kNatToRandom);
}

TEST(DecodeTarget, CtRevisions) {
  xt_ct_target_info_v1 raw{};
  raw.flags = XT_CT_ZONE_DIR_ORIG;
  raw.zone = 9;
  raw.ct_events = 3;
  raw.exp_events = 1;
  std::strcpy(raw.helper, "ftp");
  std::strcpy(raw.timeout, "slow");
  CtTarget want;
  want.zone = 9;
  want.zone_original = true;
  want.events = 3;
  want.expect_events = 1;
  want.helper = "ftp";
  want.timeout = "slow";
  EXPECT_EQ(DecodedTarget<CtTarget>(Family::kIpv4, Placed("CT", 2, raw)), want);
  EXPECT_EQ(RefusedTarget(Family::kIpv4, Placed("CT", 1, raw)).code,
            ErrorCode::kRange);  // no directions in revision 1
  xt_ct_target_info old{};
  old.flags = XT_CT_NOTRACK;
  want = {};
  want.notrack = true;
  EXPECT_EQ(DecodedTarget<CtTarget>(Family::kIpv6, Placed("CT", 0, old)), want);
  std::memset(raw.helper, 'x', sizeof(raw.helper));
  EXPECT_THAT(RefusedTarget(Family::kIpv4, Placed("CT", 2, raw)).message,
              HasSubstr("helper"));
}

TEST(DecodeTarget, TargetsWithoutParameters) {
  Extension target;
  target.name = "NOTRACK";
  DecodedTarget<NotrackTarget>(Family::kIpv4, target);
  target.name = "TRACE";
  DecodedTarget<TraceTarget>(Family::kIpv6, target);
  target.payload.resize(8);
  EXPECT_EQ(RefusedTarget(Family::kIpv6, target).code, ErrorCode::kRange);
}

TEST(DecodeTarget, HeaderChanges) {
  EXPECT_EQ(DecodedTarget<TcpmssTarget>(
                Family::kIpv4, Placed("TCPMSS", 0, xt_tcpmss_info{1400})),
            (TcpmssTarget{false, 1400}));
  EXPECT_EQ(DecodedTarget<TcpmssTarget>(
                Family::kIpv4, Placed("TCPMSS", 0, xt_tcpmss_info{0xffff})),
            (TcpmssTarget{true, 0}));
  EXPECT_EQ(DecodedTarget<DscpTarget>(Family::kIpv4,
                                      Placed("DSCP", 0, xt_DSCP_info{0x2e})),
            (DscpTarget{0x2e}));
  EXPECT_EQ(
      RefusedTarget(Family::kIpv4, Placed("DSCP", 0, xt_DSCP_info{0x40})).code,
      ErrorCode::kRange);
  EXPECT_EQ(DecodedTarget<TosTarget>(
                Family::kIpv6, Placed("TOS", 1, xt_tos_target_info{8, 0x3f})),
            (TosTarget{8, 0x3f}));
  EXPECT_EQ(DecodedTarget<TtlTarget>(
                Family::kIpv4, Placed("TTL", 0, ipt_TTL_info{IPT_TTL_DEC, 1})),
            (TtlTarget{Family::kIpv4, TtlChange::kDecrease, 1}));
  EXPECT_EQ(DecodedTarget<TtlTarget>(
                Family::kIpv6, Placed("HL", 0, ipt_TTL_info{IPT_TTL_SET, 0})),
            (TtlTarget{Family::kIpv6, TtlChange::kSet, 0}));
  EXPECT_EQ(RefusedTarget(Family::kIpv4,
                          Placed("TTL", 0, ipt_TTL_info{IPT_TTL_INC, 0}))
                .code,
            ErrorCode::kRange);
  EXPECT_EQ(DecodedTarget<ClassifyTarget>(
                Family::kIpv4,
                Placed("CLASSIFY", 0, xt_classify_target_info{0x10002})),
            (ClassifyTarget{0x10002}));
}

TEST(DecodeTarget, TheRarer) {
  DecodedTarget<ChecksumTarget>(Family::kIpv4,
                                Placed("CHECKSUM", 0, xt_CHECKSUM_info{1}));
  EXPECT_EQ(
      RefusedTarget(Family::kIpv4, Placed("CHECKSUM", 0, xt_CHECKSUM_info{2}))
          .code,
      ErrorCode::kRange);
  ipt_ECN_info ecn{};
  ecn.operation = IPT_ECN_OP_SET_ECE | IPT_ECN_OP_SET_CWR;
  ecn.proto.tcp.cwr = 1;
  EXPECT_EQ(DecodedTarget<EcnTarget>(Family::kIpv4, Placed("ECN", 0, ecn)),
            (EcnTarget{false, 0, true, false, true, true}));
  ecn.ip_ect = 4;
  EXPECT_EQ(RefusedTarget(Family::kIpv4, Placed("ECN", 0, ecn)).code,
            ErrorCode::kRange);
  xt_tcpoptstrip_target_info strip{};
  tcpoptstrip_set_bit(strip.strip_bmap, 34);
  EXPECT_EQ(DecodedTarget<TcpoptstripTarget>(Family::kIpv6,
                                             Placed("TCPOPTSTRIP", 0, strip))
                .kinds[1],
            4u);
  xt_tee_tginfo tee{};
  inet_pton(AF_INET, "192.0.2.1", &tee.gw);
  std::strcpy(tee.oif, "eth0");
  EXPECT_EQ(DecodedTarget<TeeTarget>(Family::kIpv4, Placed("TEE", 1, tee)),
            (TeeTarget{ParseAddress("192.0.2.1"), "eth0"}));
  EXPECT_EQ(
      RefusedTarget(Family::kIpv4, Placed("TEE", 1, xt_tee_tginfo{})).code,
      ErrorCode::kRange);
  EXPECT_EQ(DecodedTarget<AuditTarget>(Family::kIpv4,
                                       Placed("AUDIT", 0, xt_audit_info{2})),
            (AuditTarget{AuditType::kReject}));
  EXPECT_EQ(
      RefusedTarget(Family::kIpv4, Placed("AUDIT", 0, xt_audit_info{3})).code,
      ErrorCode::kRange);
}

TEST(DecodeTarget, Set) {
  const xt_set_info none = {.index = IPSET_INVALID_ID, .dim = 0, .flags = 0};
  const xt_set_info first = {.index = 3, .dim = 2, .flags = IPSET_DIM_ONE_SRC};
  const xt_set_info second = {
      .index = 4, .dim = 1, .flags = IPSET_DIM_ONE_SRC | IPSET_INV_MATCH};
  SetTarget want;
  want.add = SetSelection{3, 2, 1};
  EXPECT_EQ(
      DecodedTarget<SetTarget>(
          Family::kIpv4, Placed("SET", 1, xt_set_info_target_v1{first, none})),
      want);
  xt_set_info_target_v3 raw{first, second, second,
                            IPSET_FLAG_EXIST | IPSET_FLAG_MAP_SKBMARK,
                            UINT32_MAX};
  want.remove = want.map = SetSelection{4, 1, 1};
  want.renew = want.map_mark = want.map_inverted = true;
  EXPECT_EQ(DecodedTarget<SetTarget>(Family::kIpv6, Placed("SET", 3, raw)),
            want);
  raw.timeout = UINT32_MAX - 1;
  want.timeout_s = 2147483;
  EXPECT_EQ(DecodedTarget<SetTarget>(Family::kIpv6, Placed("SET", 3, raw)),
            want);
  raw.timeout = 0;
  want.timeout_s = 0;
  EXPECT_EQ(DecodedTarget<SetTarget>(Family::kIpv6, Placed("SET", 3, raw)),
            want);
}

TEST(DecodeTarget, UnknownNameStandsAtItsColumn) {
  Extension target;
  target.name = "IDLETIMER";
  target.column = 55;
  const Error error = RefusedTarget(Family::kIpv4, target);
  EXPECT_EQ(error.code, ErrorCode::kUnsupported);
  EXPECT_EQ(error.place.column, 55u);
  EXPECT_EQ(error.place.text, "IDLETIMER");
  EXPECT_THAT(error.message, HasSubstr("target IDLETIMER"));
}

}  // namespace
}  // namespace nfarena::testing
