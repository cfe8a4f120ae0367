// Extensions that ask the host or act beside the packet: to nf_tables and back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netfilter/nf_tables.h>

#include <string>

#include "compat/lower/nft_lowering.h"
#include "compat/lower/nft_raising.h"
#include "compat/syntax/save_parser.h"
#include "compat/syntax/save_printer.h"

namespace nfarena {
namespace {

using ::testing::HasSubstr;

constexpr uint8_t Bit(Hook hook) {
  return static_cast<uint8_t>(1u << static_cast<int>(hook));
}

struct Place {
  Family family = Family::kIpv4;
  TableKind table = TableKind::kMangle;
  Hook hook = Hook::kPrerouting;
};

struct Lowered {
  std::string words;  // one expression a line
  std::string reason;
  std::string back;  // the expressions raised, in iptables' words
};

Lowered Lower(const std::string& text, const Place& place) {
  const auto rule = ParseRule(text, place.family, place.table);
  EXPECT_TRUE(rule) << text << ": " << rule.error().ToString();
  if (!rule) return {};
  nft::LoweredRule out;
  uint32_t next_set_id = 1;
  const nft::RuleContext context{place.family, place.table, Bit(place.hook)};
  const Status lowered = nft::LowerRule(*rule, context, {}, &next_set_id, &out);
  EXPECT_TRUE(lowered) << text << ": " << lowered.error().ToString();
  Lowered result;
  result.reason = out.reason;
  for (const nft::Expr& expr : out.exprs) {
    if (std::holds_alternative<nft::Counter>(expr)) {
      result.words += "counter\n";
    } else {
      result.words += nft::PrintExpr(expr) + "\n";
    }
  }
  nft::RuleRecord record;
  record.exprs = out.exprs;
  const auto back = nft::RaiseRule(place.family, record, {});
  result.back =
      back ? PrintRule(place.family, "C", *back) : back.error().ToString();
  return result;
}

struct Native {
  Place place;
  const char* rule;
  const char* words;
};

TEST(NftHostTest, SaidByNftablesItself) {
  const Place raw{.table = TableKind::kRaw};
  const Place ipv6{.family = Family::kIpv6};
  const Place out{.hook = Hook::kPostrouting};
  const Place in{.table = TableKind::kFilter, .hook = Hook::kInput};
  const Native cases[] = {
      {{},
       "-m policy --dir in --pol none -j ACCEPT",
       "meta load secpath => reg 1\ncmp eq reg 1 0x00\ncounter\n"
       "immediate reg 0 accept\n"},
      {{},
       "-m policy --dir in --pol ipsec -j ACCEPT",
       "meta load secpath => reg 1\ncmp eq reg 1 0x01\ncounter\n"
       "immediate reg 0 accept\n"},
      {out, "-m policy --dir out --pol none -j ACCEPT",
       "rt load ipsec => reg 1\ncmp eq reg 1 0x00\ncounter\n"
       "immediate reg 0 accept\n"},
      {out, "-m policy --dir out --pol ipsec -j ACCEPT",
       "rt load ipsec => reg 1\ncmp eq reg 1 0x01\ncounter\n"
       "immediate reg 0 accept\n"},
      {out, "-m realm --realm 0x4/0xf -j ACCEPT",
       "rt load classid => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0x0f000000 ) ^ 0x00000000\n"
       "cmp eq reg 1 0x04000000\ncounter\nimmediate reg 0 accept\n"},
      {out, "-m realm ! --realm 0x4 -j ACCEPT",
       "rt load classid => reg 1\ncmp neq reg 1 0x04000000\ncounter\n"
       "immediate reg 0 accept\n"},
      {ipv6, "-m addrtype --dst-type MULTICAST -j ACCEPT",
       "payload load 4b @ network header + 24 => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0xff000000 ) ^ 0x00000000\n"
       "cmp eq reg 1 0xff000000\ncounter\nimmediate reg 0 accept\n"},
      {ipv6, "-m addrtype --src-type UNSPEC ! --dst-type MULTICAST -j ACCEPT",
       "payload load 16b @ network header + 8 => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0xffffffffffffffffffffffffffffffff ) ^ "
       "0x00000000000000000000000000000000\n"
       "cmp eq reg 1 0x00000000000000000000000000000000\n"
       "payload load 4b @ network header + 24 => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0xff000000 ) ^ 0x00000000\n"
       "cmp neq reg 1 0xff000000\ncounter\nimmediate reg 0 accept\n"},
      // A packet that an earlier rule exempts keeps its exemption.
      {raw, "-j CT --zone 5",
       "counter\nct load state => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0x40000000 ) ^ 0x00000000\n"
       "cmp eq reg 1 0x00000000\nimmediate reg 1 0x0500\n"
       "ct set zone with reg 1\n"},
      {raw, "-j CT --zone-orig 65535",
       "counter\nct load state => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0x40000000 ) ^ 0x00000000\n"
       "cmp eq reg 1 0x00000000\nimmediate reg 1 0xffff\n"
       "ct set zone, dir original with reg 1\n"},
      {raw, "-j CT --zone-reply 1",
       "counter\nct load state => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0x40000000 ) ^ 0x00000000\n"
       "cmp eq reg 1 0x00000000\nimmediate reg 1 0x0100\n"
       "ct set zone, dir reply with reg 1\n"},
      {{},
       "-j TEE --gateway 192.0.2.1",
       "counter\nimmediate reg 1 0xc0000201\ndup sreg_addr 1\n"},
      {ipv6, "-j TEE --gateway 2001:db8::1",
       "counter\nimmediate reg 1 0x20010db8000000000000000000000001\n"
       "dup sreg_addr 1\n"},
      {in, "-j AUDIT --type drop", "counter\nlog prefix \"drop\" level 8\n"},
      {in, "-j AUDIT --type accept",
       "counter\nlog prefix \"accept\" level 8\n"},
      {{},
       "-j CONNSECMARK --save",
       "counter\nmeta load secmark => reg 1\ncmp neq reg 1 0x00000000\n"
       "ct load secmark => reg 1\ncmp eq reg 1 0x00000000\n"
       "meta load secmark => reg 1\nct set secmark with reg 1\n"},
      {{},
       "-j CONNSECMARK --restore",
       "counter\nmeta load secmark => reg 1\ncmp eq reg 1 0x00000000\n"
       "ct load secmark => reg 1\ncmp neq reg 1 0x00000000\n"
       "ct load secmark => reg 1\nmeta set secmark with reg 1\n"},
      {in,
       "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j SYNPROXY --sack-perm "
       "--timestamp --wscale 7 --mss 1460",
       "meta load l4proto => reg 1\ncmp eq reg 1 0x06\n"
       "payload load 1b @ transport header + 13 => reg 1\n"
       "bitwise reg 1 = ( reg 1 & 0x17 ) ^ 0x00\ncmp eq reg 1 0x02\n"
       "counter\nsynproxy mss 1460 wscale 7 flags 0xf\n"},
  };
  for (const Native& test : cases) {
    const Lowered lowered = Lower(test.rule, test.place);
    EXPECT_EQ(lowered.reason, "") << test.rule;
    EXPECT_EQ(lowered.words, test.words) << test.rule;
    EXPECT_EQ(lowered.back, std::string("-A C ") + test.rule);
  }
}

struct Carried {
  Place place;
  const char* rule;
  const char* reason;
};

TEST(NftHostTest, CarriedWhereAnythingDiffers) {
  const Place raw{.table = TableKind::kRaw};
  const Place in{.table = TableKind::kFilter, .hook = Hook::kInput};
  const Place out{.table = TableKind::kFilter, .hook = Hook::kOutput};
  const Carried cases[] = {
      {raw, "-m rpfilter -j ACCEPT", "broadcast and anycast"},
      {{}, "-m socket --nowildcard -j ACCEPT", "defragmentation"},
      {in, "-m connlabel --label \"3\" -j ACCEPT", "room for labels"},
      {out, "-m cgroup --cgroup 1 -j ACCEPT", "a listener"},
      {in, "-m policy --dir in --pol ipsec --strict --reqid 5 -j ACCEPT",
       "one state of a bundle"},
      {{.family = Family::kIpv6},
       "-m addrtype --dst-type LOCAL -j ACCEPT",
       "several properties"},
      {{.family = Family::kIpv6},
       "-m addrtype --dst-type MULTICAST --limit-iface-in -j ACCEPT",
       "several properties"},
      {{},
       "-p tcp -j TPROXY --on-port 50 --on-ip 0.0.0.0 --tproxy-mark 0x1/0x1",
       "it drops"},
      {raw, "-p tcp -j CT --helper ftp", "table raw comes before"},
      {raw, "-j CT --ctevents new", "table raw comes before"},
      {raw, "-j CT --zone mark", "when tracking begins"},
      {{}, "-j TEE --gateway 192.0.2.1 --oif eth1", "the device's name"},
      {in, "-p tcp -j SYNPROXY --mss 1460", "without --syn"},
      {in, "-p tcp -m tcp --tcp-flags SYN,ACK SYN -j SYNPROXY --mss 1460",
       "without --syn"},
      {in, "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j SYNPROXY --ecn",
       "--ecn"},
      {{}, "-j DSCP --set-dscp 0x0a", "header checksum of 0"},
      {{}, "-j TOS --set-tos 0x10/0xff", "header checksum of 0"},
      {{}, "-j TTL --ttl-set 64", "header checksum of 0"},
      {{}, "-p tcp -j ECN --ecn-tcp-remove", "header checksum of 0"},
      {{}, "-p tcp -j TCPOPTSTRIP --strip-options 2,3", "first option"},
  };
  for (const Carried& test : cases) {
    const Lowered lowered = Lower(test.rule, test.place);
    EXPECT_THAT(lowered.reason, HasSubstr(test.reason)) << test.rule;
    EXPECT_EQ(lowered.back, std::string("-A C ") + test.rule);
  }
}

// What the kernel refuses of the module must not load by the back door.
TEST(NftHostTest, NotSaidWhereTheModuleIsRefused) {
  const Place out{.table = TableKind::kFilter, .hook = Hook::kOutput};
  const Place in{.table = TableKind::kFilter, .hook = Hook::kInput};
  for (const auto& [place, rule] : {
           std::pair(out, "-m policy --dir in --pol none"),
           std::pair(in, "-m policy --dir out --pol none"),
           std::pair(in, "-j CONNSECMARK --save"),
           std::pair(out,
                     "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j "
                     "SYNPROXY --mss 1460"),
       }) {
    EXPECT_THAT(Lower(rule, place).reason, HasSubstr("the kernel refuses"))
        << rule;
  }
}

// Tests behind the counter are a target's, and only in the shape of one.
TEST(NftHostTest, OtherTestsBehindTheCounterHaveNoForm) {
  using nft::Bitwise, nft::Cmp, nft::Ct, nft::CtWrite, nft::Data,
      nft::Immediate;
  const auto raised = [](std::vector<nft::Expr> exprs) {
    nft::RuleRecord record;
    record.exprs = std::move(exprs);
    const auto rule = nft::RaiseRule(Family::kIpv4, record, {});
    return rule ? PrintRule(Family::kIpv4, "C", *rule) : rule.error().message;
  };
  const nft::Expr zone[] = {Immediate{1, Data::Host16(5)},
                            CtWrite{NFT_CT_ZONE, 1, {}}};
  EXPECT_THAT(raised({nft::Counter{}, zone[0], zone[1]}),
              HasSubstr("exempt from tracking"));
  EXPECT_THAT(raised({nft::Counter{}, Ct{NFT_CT_STATE, 1, {}},
                      Bitwise{4, 1, 1, Data::Host32(8), Data::Zero(4)},
                      Cmp{NFT_CMP_EQ, 1, Data::Zero(4)}, zone[0], zone[1]}),
              HasSubstr("exempt from tracking"));
  EXPECT_THAT(raised({nft::Counter{}, Ct{NFT_CT_STATE, 1, {}},
                      Bitwise{4, 1, 1, Data::Host32(64), Data::Zero(4)},
                      Cmp{NFT_CMP_EQ, 1, Data::Zero(4)}}),
              HasSubstr("behind the counter"));
  EXPECT_THAT(raised({nft::Counter{}, nft::Synproxy{1460, 7, 15}}),
              HasSubstr("more than SYN and ACK"));
}

}  // namespace
}  // namespace nfarena
