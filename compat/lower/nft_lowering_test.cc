// One rule -> expressions, in words.
#include "compat/lower/nft_lowering.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "compat/syntax/save_parser.h"

namespace nfarena {
namespace {

using ::testing::HasSubstr;

struct Lowered {
  std::string text;  // one expression a line
  std::string reason;
  std::string comment;
};

Lowered Lower(const std::string& rule_text, Family family, TableKind table,
              const NftOptions& options, uint8_t hook_mask = 0) {
  const auto rule = ParseRule(rule_text, family, table);
  EXPECT_TRUE(rule) << rule_text << ": " << rule.error().ToString();
  if (!rule) return {};
  nft::LoweredRule out;
  uint32_t next_set_id = 1;
  const nft::RuleContext context{family, table, hook_mask};
  const Status lowered =
      nft::LowerRule(*rule, context, options, &next_set_id, &out);
  if (!lowered) return {"error", lowered.error().ToString(), ""};
  Lowered result{"", out.reason, out.comment};
  for (const nft::Expr& expr : out.exprs) {
    result.text += nft::PrintExpr(expr) + "\n";
  }
  return result;
}

struct Case {
  const char* rule;
  const char* exprs;  // without the counter
};

std::string WithoutCounter(std::string text) {
  const std::string counter = "counter pkts 0 bytes 0\n";
  const size_t at = text.find(counter);
  EXPECT_NE(at, std::string::npos) << text;
  if (at != std::string::npos) text.erase(at, counter.size());
  return text;
}

void Check(const Case& test, Family family, TableKind table,
           const NftOptions& options, uint8_t hook_mask = 0) {
  const Lowered lowered = Lower(test.rule, family, table, options, hook_mask);
  EXPECT_EQ(lowered.reason, "") << test.rule;
  EXPECT_EQ(WithoutCounter(lowered.text), test.exprs) << test.rule;
}

TEST(NftLoweringTest, SelectorOfIpv4) {
  const Case cases[] = {
      {"-s 192.0.2.1",
       "payload load 4b @ network header + 12 => reg 1\n"
       "cmp eq reg 1 0xc0000201\n"},
      {"-s 192.0.2.0/24",
       "payload load 3b @ network header + 12 => reg 1\n"
       "cmp eq reg 1 0xc00002\n"},
      {"-d 10.0.0.0/8",
       "payload load 1b @ network header + 16 => reg 1\n"
       "cmp eq reg 1 0x0a\n"},
      {"! -d 10.16.0.0/12",
       "payload load 4b @ network header + 16 => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0xfff00000 ) ^ 0x00000000\n"
       "cmp neq reg 1 0x0a100000\n"},
      {"-s 10.0.0.1/255.0.0.255",
       "payload load 4b @ network header + 12 => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0xff0000ff ) ^ 0x00000000\n"
       "cmp eq reg 1 0x0a000001\n"},
      {"-s 0.0.0.0/0", ""},
      // Never true, and it must stay so.
      {"! -s 0.0.0.0/0",
       "payload load 4b @ network header + 12 => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0x00000000 ) ^ 0x00000000\n"
       "cmp neq reg 1 0x00000000\n"},
      {"-i eth0",
       "meta load iifname => reg 1\n"
       "cmp eq reg 1 0x6574683000\n"},
      {"! -i eth+",
       "meta load iifname => reg 1\n"
       "cmp neq reg 1 0x657468\n"},
      {"-i +", ""},
      {"! -i +",
       "meta load iifname => reg 1\n"
       "cmp eq reg 1 0x494e56414c2f4400\n"},
      {"-p 50",
       "meta load l4proto => reg 1\n"
       "cmp eq reg 1 0x32\n"},
      {"! -p udp",
       "meta load l4proto => reg 1\n"
       "cmp neq reg 1 0x11\n"},
      {"-f",
       "payload load 2b @ network header + 6 => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0x1fff ) ^ 0x0000\n"
       "cmp neq reg 1 0x0000\n"},
      {"! -f",
       "payload load 2b @ network header + 6 => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0x1fff ) ^ 0x0000\n"
       "cmp eq reg 1 0x0000\n"},
  };
  for (const Case& test : cases) {
    Check(test, Family::kIpv4, TableKind::kFilter, {});
  }
}

TEST(NftLoweringTest, SelectorOfIpv6) {
  const Case cases[] = {
      {"-s 2001:db8::/32",
       "payload load 4b @ network header + 8 => reg 1\n"
       "cmp eq reg 1 0x20010db8\n"},
      {"-d fe80::/10",
       "payload load 16b @ network header + 24 => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0xffc00000000000000000000000000000 ) ^ "
       "0x00000000000000000000000000000000\n"
       "cmp eq reg 1 0xfe800000000000000000000000000000\n"},
      {"-s 2001:db8::1",
       "payload load 16b @ network header + 8 => reg 1\n"
       "cmp eq reg 1 0x20010db8000000000000000000000001\n"},
  };
  for (const Case& test : cases) {
    Check(test, Family::kIpv6, TableKind::kFilter, {});
  }
}

TEST(NftLoweringTest, SelectorTestsKeepTheOrderOfIptablesNft) {
  Check({"-s 192.0.2.1 -d 192.0.2.2 -i eth0 -p tcp -j DROP",
         "meta load iifname => reg 1\n"
         "cmp eq reg 1 0x6574683000\n"
         "meta load l4proto => reg 1\n"
         "cmp eq reg 1 0x06\n"
         "payload load 4b @ network header + 12 => reg 1\n"
         "cmp eq reg 1 0xc0000201\n"
         "payload load 4b @ network header + 16 => reg 1\n"
         "cmp eq reg 1 0xc0000202\n"
         "immediate reg 0 drop\n"},
        Family::kIpv4, TableKind::kFilter, {});
}

constexpr const char kTcp[] =
    "meta load l4proto => reg 1\n"
    "cmp eq reg 1 0x06\n";

TEST(NftLoweringTest, PortsAndFlags) {
  const Case cases[] = {
      {"-p tcp -m tcp --dport 22",
       "payload load 2b @ transport header + 2 => reg 1\n"
       "cmp eq reg 1 0x0016\n"},
      {"-p tcp -m tcp ! --sport 22",
       "payload load 2b @ transport header + 0 => reg 1\n"
       "cmp neq reg 1 0x0016\n"},
      {"-p tcp -m tcp --sport 20 --dport 22",
       "payload load 4b @ transport header + 0 => reg 1\n"
       "cmp eq reg 1 0x00140016\n"},
      // Each inverted on its own: not one compare of both.
      {"-p tcp -m tcp ! --sport 20 ! --dport 22",
       "payload load 2b @ transport header + 0 => reg 1\n"
       "cmp neq reg 1 0x0014\n"
       "payload load 2b @ transport header + 2 => reg 1\n"
       "cmp neq reg 1 0x0016\n"},
      {"-p tcp -m tcp --dport 10:20",
       "payload load 2b @ transport header + 2 => reg 1\n"
       "range eq reg 1 0x000a 0x0014\n"},
      {"-p tcp -m tcp ! --dport 10:20",
       "payload load 2b @ transport header + 2 => reg 1\n"
       "range neq reg 1 0x000a 0x0014\n"},
      {"-p tcp -m tcp --dport 0:20",
       "payload load 2b @ transport header + 2 => reg 1\n"
       "cmp lte reg 1 0x0014\n"},
      {"-p tcp -m tcp ! --dport 1024:65535",
       "payload load 2b @ transport header + 2 => reg 1\n"
       "cmp lt reg 1 0x0400\n"},
      {"-p tcp -m tcp --tcp-flags SYN,ACK SYN",
       "payload load 1b @ transport header + 13 => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0x12 ) ^ 0x00\n"
       "cmp eq reg 1 0x02\n"},
  };
  for (const Case& test : cases) {
    const Lowered lowered =
        Lower(test.rule, Family::kIpv4, TableKind::kFilter, {});
    EXPECT_EQ(lowered.reason, "") << test.rule;
    EXPECT_EQ(WithoutCounter(lowered.text), kTcp + std::string(test.exprs))
        << test.rule;
  }
}

TEST(NftLoweringTest, ExactFragmentsGuardEachHeaderTest) {
  NftOptions exact;
  exact.exact_fragments = true;
  Check({"-p tcp -m tcp --dport 22",
         "meta load l4proto => reg 1\n"
         "cmp eq reg 1 0x06\n"
         "payload load 16b @ transport header + 4 => reg 1\n"
         "payload load 2b @ transport header + 2 => reg 1\n"
         "cmp eq reg 1 0x0016\n"},
        Family::kIpv4, TableKind::kFilter, exact);
  Check({"-p icmp -m icmp --icmp-type 8",
         "meta load l4proto => reg 1\n"
         "cmp eq reg 1 0x01\n"
         "payload load 7b @ transport header + 1 => reg 1\n"
         "payload load 1b @ transport header + 0 => reg 1\n"
         "cmp eq reg 1 0x08\n"},
        Family::kIpv4, TableKind::kFilter, exact);
}

TEST(NftLoweringTest, Matches) {
  const Case cases[] = {
      {"-m iprange ! --src-range 10.0.0.1-10.0.0.9",
       "payload load 4b @ network header + 12 => reg 1\n"
       "range neq reg 1 0x0a000001 0x0a000009\n"},
      {"-m conntrack --ctstate RELATED,ESTABLISHED",
       "ct load state => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0x06000000 ) ^ 0x00000000\n"
       "cmp neq reg 1 0x00000000\n"},
      {"-m conntrack ! --ctstate UNTRACKED",
       "ct load state => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0x40000000 ) ^ 0x00000000\n"
       "cmp eq reg 1 0x00000000\n"},
      {"-m conntrack --ctstate DNAT",
       "ct load status => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0x20000000 ) ^ 0x00000000\n"
       "cmp neq reg 1 0x00000000\n"},
      {"-m conntrack --ctexpire 10:20",
       "ct load expiration => reg 1\n"
       "byteorder reg 1 = hton(reg 1, 4, 4)\n"
       "range eq reg 1 0x00002710 0x00005207\n"},
      {"-m mark --mark 0x1/0xff",
       "meta load mark => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0xff000000 ) ^ 0x00000000\n"
       "cmp eq reg 1 0x01000000\n"},
      {"-m mac ! --mac-source 00:11:22:33:44:55",
       "meta load iiftype => reg 1\n"
       "cmp eq reg 1 0x0100\n"
       "payload load 6b @ link header + 6 => reg 1\n"
       "cmp neq reg 1 0x001122334455\n"},
      {"-m addrtype --dst-type LOCAL --limit-iface-in",
       "fib daddr . iif . type => reg 1\n"
       "cmp eq reg 1 0x02000000\n"},
      {"-m length --length 100:200",
       "payload load 2b @ network header + 2 => reg 1\n"
       "range eq reg 1 0x0064 0x00c8\n"},
      {"-m dscp --dscp 10",
       "payload load 1b @ network header + 1 => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0xfc ) ^ 0x00\n"
       "cmp eq reg 1 0x28\n"},
      {"-m ttl --ttl-lt 5",
       "payload load 1b @ network header + 8 => reg 1\n"
       "cmp lt reg 1 0x05\n"},
      {"-m owner --uid-owner 5-10",
       "meta load skuid => reg 1\n"
       "byteorder reg 1 = hton(reg 1, 4, 4)\n"
       "range eq reg 1 0x00000005 0x0000000a\n"},
      {"-m statistic --mode nth --every 5 --packet 2",
       "numgen reg 1 = inc mod 5 offset 0\n"
       "cmp eq reg 1 0x02000000\n"},
      {"-m statistic --mode random --probability 0.5",
       "numgen reg 1 = random mod 2147483648 offset 0\n"
       "byteorder reg 1 = hton(reg 1, 4, 4)\n"
       "cmp lt reg 1 0x40000000\n"},
      {"-m limit --limit 3/min --limit-burst 10",
       "limit rate 3/60s burst 10 type packets\n"},
      {"-m limit --limit 1/sec", "limit rate 1/1s burst 5 type packets\n"},
  };
  for (const Case& test : cases) {
    Check(test, Family::kIpv4, TableKind::kFilter, {});
  }
}

TEST(NftLoweringTest, ClockCountsAndHost) {
  const Case cases[] = {
      {"-m quota ! --quota 1000", "quota bytes 1000 consumed 0 flags 0x1\n"},
      // Without dates iptables' end is that of 2038.
      {"-m time --timestart 08:00 --timestop 17:30",
       "meta load time => reg 1\n"
       "byteorder reg 1 = hton(reg 1, 8, 8)\n"
       "cmp lte reg 1 0x1dcd64ffffffffff\n"
       "meta load hour => reg 1\n"
       "byteorder reg 1 = hton(reg 1, 4, 4)\n"
       "range eq reg 1 0x00007080 0x0000f618\n"},
      {"-m time --datestart 1970-01-01T00:00:01 --datestop 1970-01-01T00:00:02 "
       "--timestart 22:00 --timestop 06:00",
       "meta load time => reg 1\n"
       "byteorder reg 1 = hton(reg 1, 8, 8)\n"
       "range eq reg 1 0x000000003b9aca00 0x00000000b2d05dff\n"
       "meta load hour => reg 1\n"
       "byteorder reg 1 = hton(reg 1, 4, 4)\n"
       "range neq reg 1 0x00005461 0x0001355f\n"},
      {"-m connbytes --connbytes 10:20 --connbytes-mode bytes --connbytes-dir "
       "reply",
       "ct load bytes, dir reply => reg 1\n"
       "byteorder reg 1 = hton(reg 1, 8, 8)\n"
       "range eq reg 1 0x000000000000000a 0x0000000000000014\n"},
      {"-m connbytes --connbytes 0:20 --connbytes-mode avgpkt --connbytes-dir "
       "both",
       "ct load packets => reg 1\n"
       "cmp neq reg 1 0x0000000000000000\n"
       "ct load avgpkt => reg 1\n"
       "byteorder reg 1 = hton(reg 1, 8, 8)\n"
       "cmp lte reg 1 0x0000000000000014\n"},
      {"-m helper --helper ftp",
       "ct load helper => reg 1\n"
       "lookup reg 1 set __set%d\n"},
      {"-m cpu ! --cpu 1",
       "meta load cpu => reg 1\n"
       "cmp neq reg 1 0x01000000\n"},
      {"-m devgroup ! --src-group 0x10/0xf0",
       "meta load iifgroup => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0xf0000000 ) ^ 0x00000000\n"
       "cmp neq reg 1 0x10000000\n"},
      {"-m realm --realm 5",
       "rt load classid => reg 1\n"
       "cmp eq reg 1 0x05000000\n"},
  };
  for (const Case& test : cases) {
    Check(test, Family::kIpv4, TableKind::kFilter, {});
  }
}

TEST(NftLoweringTest, BytesOfThePacket) {
  const Case cases[] = {
      {"-m u32 --u32 12&0xff00>>8=1:3",
       "payload load 4b @ network header + 12 => reg 2\n"
       "bitwise reg 2 = ( reg 2 & 0x0000ff00 ) ^ 0x00000000\n"
       "byteorder reg 2 = ntoh(reg 2, 4, 4)\n"
       "bitwise reg 2 = ( reg 2 >> 0x00000008 )\n"
       "byteorder reg 2 = hton(reg 2, 4, 4)\n"
       "range eq reg 2 0x00000001 0x00000003\n"},
      {"-m u32 --u32 5&0xffffff00=0&&0>>22&0x3C@6=1,5",
       "payload load 4b @ network header + 5 => reg 2\n"
       "bitwise reg 2 = ( reg 2 & 0xffffff00 ) ^ 0x00000000\n"
       "cmp eq reg 2 0x00000000\n"
       "payload load 4b @ transport header + 6 => reg 2\n"
       "lookup reg 2 set __set%d\n"},
      {"-m string --string abcdefghijklmnopqr --algo kmp --from 1 --to 19",
       "payload load 16b @ network header + 1 => reg 3\n"
       "cmp eq reg 3 0x6162636465666768696a6b6c6d6e6f70\n"
       "payload load 2b @ network header + 17 => reg 3\n"
       "cmp eq reg 3 0x7172\n"},
      {"-m ecn --ecn-ip-ect 2",
       "payload load 1b @ network header + 1 => reg 2\n"
       "bitwise reg 2 = ( reg 2 & 0x03 ) ^ 0x00\n"
       "cmp eq reg 2 0x02\n"},
  };
  for (const Case& test : cases) {
    Check(test, Family::kIpv4, TableKind::kFilter, {});
  }
  Check({"-p tcp -m ecn --ecn-tcp-ece ! --ecn-tcp-cwr",
         "meta load l4proto => reg 1\n"
         "cmp eq reg 1 0x06\n"
         "payload load 1b @ transport header + 19 => reg 2\n"
         "payload load 1b @ transport header + 13 => reg 2\n"
         "bitwise reg 2 = ( reg 2 & 0x40 ) ^ 0x00\n"
         "cmp neq reg 2 0x00\n"
         "payload load 1b @ transport header + 13 => reg 2\n"
         "bitwise reg 2 = ( reg 2 & 0x80 ) ^ 0x00\n"
         "cmp eq reg 2 0x00\n"},
        Family::kIpv4, TableKind::kFilter, {});
}

TEST(NftLoweringTest, Ipv6CountsItsHeaderAndItsTrafficClass) {
  const Case cases[] = {
      {"-m length --length 100:200",
       "meta load len => reg 1\n"
       "byteorder reg 1 = hton(reg 1, 4, 4)\n"
       "range eq reg 1 0x00000064 0x000000c8\n"},
      {"-m dscp --dscp 46",
       "payload load 2b @ network header + 0 => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0x0fc0 ) ^ 0x0000\n"
       "cmp eq reg 1 0x0b80\n"},
      {"-m hl --hl-gt 5",
       "payload load 1b @ network header + 7 => reg 1\n"
       "cmp gt reg 1 0x05\n"},
  };
  for (const Case& test : cases) {
    Check(test, Family::kIpv6, TableKind::kFilter, {});
  }
}

TEST(NftLoweringTest, MangleTargets) {
  const Case cases[] = {
      {"-j MARK --set-xmark 0x1/0xffffffff",
       "immediate reg 1 0x01000000\n"
       "meta set mark with reg 1\n"},
      {"-j MARK --set-xmark 0x10/0xff",
       "meta load mark => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0x00ffffff ) ^ 0x10000000\n"
       "meta set mark with reg 1\n"},
      {"-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xffffffff",
       "meta load mark => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0xff000000 ) ^ 0x00000000\n"
       "ct set mark with reg 1\n"},
      {"-j CLASSIFY --set-class 1:10",
       "immediate reg 1 0x10000100\n"
       "meta set priority with reg 1\n"},
  };
  for (const Case& test : cases) {
    Check(test, Family::kIpv4, TableKind::kMangle, {});
  }
}

// IPv4's header has a checksum, which nftables writes differently.
TEST(NftLoweringTest, MangleTargetsOfIpv6) {
  const Case cases[] = {
      {"-j DSCP --set-dscp 10",
       "payload load 2b @ network header + 0 => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0xf03f ) ^ 0x0280\n"
       "payload write reg 1 => 2b @ network header + 0 csum_type 0 csum_off 0 "
       "csum_flags 0x0\n"},
      {"-j TOS --set-tos 0x02/0x3f",
       "payload load 2b @ network header + 0 => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0xfc0f ) ^ 0x0020\n"
       "payload write reg 1 => 2b @ network header + 0 csum_type 0 csum_off 0 "
       "csum_flags 0x0\n"},
      {"-j HL --hl-set 64",
       "immediate reg 1 0x40\n"
       "payload write reg 1 => 1b @ network header + 7 csum_type 0 csum_off 0 "
       "csum_flags 0x0\n"},
  };
  for (const Case& test : cases) {
    Check(test, Family::kIpv6, TableKind::kMangle, {});
  }
}

TEST(NftLoweringTest, NatTargets) {
  constexpr uint8_t kPrerouting = 1 << 0;
  constexpr uint8_t kPostrouting = 1 << 4;
  Check({"-j DNAT --to-destination 192.0.2.1-192.0.2.9 --persistent",
         "immediate reg 1 0xc0000201\n"
         "immediate reg 2 0xc0000209\n"
         "nat dnat ip addr_min reg 1 addr_max reg 2 flags 0x8\n"},
        Family::kIpv4, TableKind::kNat, {}, kPrerouting);
  Check({"-j MASQUERADE --random", "masq flags 0x4\n"}, Family::kIpv4,
        TableKind::kNat, {}, kPostrouting);
  // Without "ports given" among the flags the kernel ignores the ports.
  Check({"-p tcp -j MASQUERADE --to-ports 1024-2048",
         "meta load l4proto => reg 1\n"
         "cmp eq reg 1 0x06\n"
         "immediate reg 3 0x0400\n"
         "immediate reg 4 0x0800\n"
         "masq proto_min reg 3 proto_max reg 4 flags 0x2\n"},
        Family::kIpv4, TableKind::kNat, {}, kPostrouting);
  Check({"-p tcp -j REDIRECT --to-ports 3128 --random",
         "meta load l4proto => reg 1\n"
         "cmp eq reg 1 0x06\n"
         "immediate reg 3 0x0c38\n"
         "redir proto_min reg 3 flags 0x6\n"},
        Family::kIpv4, TableKind::kNat, {}, kPrerouting);
  const char* netmap = "-j NETMAP --to 10.6.0.0/16";
  Check({netmap,
         "immediate reg 1 0x0a060000\n"
         "immediate reg 2 0x0a06ffff\n"
         "nat dnat ip addr_min reg 1 addr_max reg 2 flags 0x40\n"},
        Family::kIpv4, TableKind::kNat, {}, kPrerouting);
  Check({netmap,
         "immediate reg 1 0x0a060000\n"
         "immediate reg 2 0x0a06ffff\n"
         "nat snat ip addr_min reg 1 addr_max reg 2 flags 0x40\n"},
        Family::kIpv4, TableKind::kNat, {}, kPostrouting);
  EXPECT_THAT(Lower(netmap, Family::kIpv4, TableKind::kNat, {},
                    kPrerouting | kPostrouting)
                  .reason,
              HasSubstr("depends on the hook"));
}

TEST(NftLoweringTest, FilterTargets) {
  const Case cases[] = {
      {"-j REJECT --reject-with icmp-admin-prohibited",
       "reject type 0 code 13\n"},
      {"-j LOG --log-prefix \"a \" --log-level 7 --log-uid",
       "log prefix \"a \" level 7 flags 0x8\n"},
      {"-j NFLOG --nflog-group 5 --nflog-size 100 --nflog-threshold 3",
       "log group 5 snaplen 100 qthreshold 3\n"},
      {"-j RETURN", "immediate reg 0 return\n"},
  };
  for (const Case& test : cases) {
    Check(test, Family::kIpv4, TableKind::kFilter, {});
  }
}

TEST(NftLoweringTest, WhatIsNotTheSameIsCarriedWithItsReason) {
  struct Carried {
    const char* rule;
    const char* carried;
    const char* reason;
  };
  const Carried cases[] = {
      {"-p tcp -m tcp", "match tcp rev 0", "whole"},
      {"-p tcp -m tcp --tcp-option 8", "match tcp rev 0", "exthdr"},
      {"-p tcp -m multiport --ports 1,2", "match multiport rev 1", "either"},
      {"-m conntrack --ctstate NEW,DNAT", "match conntrack rev 3", "\"or\""},
      {"-m conntrack ! --ctstate SNAT", "match conntrack rev 3",
       "without connection"},
      // The kernel passes all other tests once INVALID has matched.
      {"-m conntrack --ctstate INVALID --ctproto 6", "match conntrack rev 3",
       "without connection"},
      {"-m owner ! --uid-owner 0", "match owner rev 1", "without a socket"},
      {"-m limit --limit 7/min", "match limit rev 0", "rounds"},
      {"-j NFQUEUE --queue-num 3", "target NFQUEUE rev 3", "CONFIG_NFT_QUEUE"},
      {"-m string --string x --algo bm", "match string rev 1",
       "does not search"},
      {"-m string --string x --algo bm --to 1", "match string rev 1", "pages"},
      {"-m string ! --string x --algo kmp --to 1", "match string rev 1",
       "too short"},
      {"-m u32 ! --u32 0=0", "match u32 rev 0", "too short"},
      {"-m u32 --u32 0>>22&0x3C@4=1", "match u32 rev 0", "later fragments"},
      {"-m u32 --u32 4&0x1fff=0&&0>>22&0x3C@12>>26&0x3C@0=1", "match u32 rev 0",
       "what the packet says"},
      {"-m u32 --u32 256=1", "match u32 rev 0", "255"},
      {"-m u32 --u32 0=2,1", "match u32 rev 0", "order"},
      {"-m u32 --u32 0=1:2,3", "match u32 rev 0", "neighbours"},
      {"-m u32 --u32 0=2:1", "match u32 rev 0", "empty"},
      {"-m quota --quota 9223372036854775808", "match quota rev 0", "2^63"},
      {"-m time --kerneltz", "match time rev 0", "time zone"},
      {"-m time --weekdays Mon", "match time rev 0", "day of the week"},
      {"-m time --monthdays 1", "match time rev 0", "day of the month"},
      {"-m time --timestart 10:00 --timestop 10:00", "match time rev 0",
       "whole day"},
      {"-m time --timestart 23:00 --timestop 01:00 --contiguous",
       "match time rev 0", "--contiguous"},
      {"-m helper ! --helper ftp", "match helper rev 0", "without a helper"},
      {"-m helper --helper abcdefghijklmnop", "match helper rev 0", "longer"},
      {"-m connlimit --connlimit-above 3", "match connlimit rev 1", "zone"},
      {"-m recent --set --name x", "match recent rev 1", "oldest"},
      {"-m hashlimit --hashlimit-upto 5/sec --hashlimit-name x",
       "match hashlimit rev 3", "full"},
      {"-p esp -m esp --espspi 1", "match esp rev 0", "cut off"},
      {"-p tcp -m tcpmss --mss 1:2", "match tcpmss rev 0", "cut off"},
  };
  for (const Carried& test : cases) {
    const Lowered lowered =
        Lower(test.rule, Family::kIpv4, TableKind::kFilter, {});
    EXPECT_THAT(lowered.text, HasSubstr(test.carried)) << test.rule;
    EXPECT_THAT(lowered.reason, HasSubstr(test.reason)) << test.rule;
  }
}

TEST(NftLoweringTest, WhatXtablesRefusesIsLeftToIt) {
  constexpr uint8_t kInput = 1 << static_cast<int>(Hook::kInput);
  constexpr uint8_t kOutput = 1 << static_cast<int>(Hook::kOutput);
  const auto carried = [](const char* rule, TableKind table, uint8_t hooks) {
    return !Lower(rule, Family::kIpv4, table, {}, hooks).reason.empty();
  };
  EXPECT_TRUE(carried("-m owner --uid-owner 0", TableKind::kFilter, kInput));
  EXPECT_FALSE(carried("-m owner --uid-owner 0", TableKind::kFilter, kOutput));
  const char* mac = "-m mac --mac-source 00:11:22:33:44:55";
  EXPECT_TRUE(carried(mac, TableKind::kFilter, kInput | kOutput));
  EXPECT_FALSE(carried(mac, TableKind::kFilter, kInput));
  const char* classify = "-j CLASSIFY --set-class 1:2";
  EXPECT_TRUE(carried(classify, TableKind::kMangle, kInput));
  EXPECT_FALSE(carried(classify, TableKind::kMangle, kOutput));
  const char* realm = "-m realm --realm 1";
  EXPECT_TRUE(carried(realm, TableKind::kMangle, kInput | 1));
  EXPECT_FALSE(carried(realm, TableKind::kMangle, kInput));
  const char* group = "-m devgroup --dst-group 1";
  EXPECT_TRUE(carried(group, TableKind::kFilter, kInput));
  EXPECT_FALSE(carried(group, TableKind::kFilter, kOutput));
  const char* reset = "-j REJECT --reject-with tcp-reset";
  EXPECT_TRUE(carried(reset, TableKind::kFilter, kInput));
  EXPECT_FALSE(carried("-p tcp -j REJECT --reject-with tcp-reset",
                       TableKind::kFilter, kInput));
}

TEST(NftLoweringTest, QueueBecomesAnExpressionWhenAskedFor) {
  NftOptions options;
  options.native_queue = true;
  Check({"-j NFQUEUE --queue-balance 3:6 --queue-bypass",
         "queue num 3 total 4 flags 0x1\n"},
        Family::kIpv4, TableKind::kFilter, options);
}

TEST(NftLoweringTest, FirstCommentGoesIntoUserData) {
  const Lowered lowered =
      Lower("-m comment --comment one -m comment --comment two", Family::kIpv4,
            TableKind::kFilter, {});
  EXPECT_EQ(lowered.comment, "one");
  EXPECT_THAT(lowered.text, HasSubstr("match comment rev 0 0x74776f00"));
}

TEST(NftLoweringTest, CompatKeepsWhatIptablesNftDoes) {
  NftOptions compat;
  compat.mode = NftMode::kCompat;
  // Its compare of both inverted ports as one number, which is not the same.
  const Lowered both = Lower("-p tcp -m tcp ! --sport 20 ! --dport 22",
                             Family::kIpv4, TableKind::kFilter, compat);
  EXPECT_THAT(both.text, HasSubstr("cmp neq reg 1 0x00140016"));
  EXPECT_THAT(both.reason, HasSubstr("one number"));
  // "INVAL/D": what no interface is called.
  EXPECT_THAT(
      Lower("! -i + -j DROP", Family::kIpv4, TableKind::kFilter, compat).text,
      HasSubstr("iifname => reg 1\ncmp eq reg 1 0x494e56414c2f4400"));
  const Lowered queue =
      Lower("-j QUEUE", Family::kIpv4, TableKind::kFilter, compat);
  EXPECT_EQ(queue.text, "error");
  EXPECT_THAT(queue.reason, HasSubstr("module named QUEUE"));
}

TEST(NftLoweringTest, TargetOfAnotherTableIsRefused) {
  const auto rule =
      ParseRule("-j TTL --ttl-set 5", Family::kIpv4, TableKind::kMangle);
  ASSERT_TRUE(rule) << rule.error().ToString();
  for (const NftMode mode : {NftMode::kNative, NftMode::kCompat}) {
    NftOptions options;
    options.mode = mode;
    nft::LoweredRule out;
    uint32_t next_set_id = 1;
    const nft::RuleContext context{Family::kIpv4, TableKind::kFilter, 0};
    const Status lowered =
        nft::LowerRule(*rule, context, options, &next_set_id, &out);
    ASSERT_FALSE(lowered);
    EXPECT_EQ(lowered.error().code, ErrorCode::kUnsupported);
    EXPECT_EQ(lowered.error().place.text, "TTL");
    EXPECT_THAT(lowered.error().message,
                HasSubstr("belongs into table mangle"));
  }
}

}  // namespace
}  // namespace nfarena
