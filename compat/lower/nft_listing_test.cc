// What nft makes -> iptables' words: a table of rules.
#include "compat/lower/nft_listing.h"

#include <gtest/gtest.h>
#include <linux/netfilter/nf_tables.h>

#include <regex>
#include <sstream>
#include <string>

#include "compat/lower/nft_expand.h"
#include "compat/lower/testing/nft_socket.h"
#include "compat/lower/testing/xt_socket.h"
#include "compat/syntax/listing_printer.h"
#include "compat/syntax/save_parser.h"

namespace nfarena {
namespace {

constexpr int32_t kDrop = 0;  // NF_DROP

using testing::InNamespace;
using testing::ReadNftWithInet;
using testing::RunCommand;

/// Rules and remarks of what `commands` (nft's language) put in force; handles
/// become "#", which are the kernel's to give.
std::string Listed(const std::string& commands, Family family) {
  return InNamespace([&]() -> std::string {
    int status = 0;
    const std::string said = RunCommand("nft -f /dev/stdin", commands, &status);
    if (status != 0) return "nft: " + said;
    const auto dump = ReadNftWithInet(family);
    if (!dump) return dump.error().ToString();
    const auto listing =
        ListNft(family, {dump->chains, dump->rules, dump->elements});
    if (!listing) return listing.error().ToString();
    const std::string text =
        PrintListing(listing->ruleset, listing->remarks, {.header = false});
    // The text is what iptables-restore takes.
    ParseOptions options;
    options.family = family;
    if (const auto parsed = ParseSave(text, options, nullptr); !parsed) {
      return "not to be parsed: " + parsed.error().ToString() + "\n" + text;
    }
    std::istringstream lines(text);
    std::string kept;
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with('#') && !line.starts_with("-A")) continue;
      kept +=
          std::regex_replace(line, std::regex("handle [0-9]+"), "handle #") +
          "\n";
    }
    return kept;
  });
}

/// The statements as rules of ip filter INPUT, beside a chain `web` and a set.
std::string Rule(const std::string& statements) {
  return "table ip filter {\n"
         "  set named { type ipv4_addr; flags interval;\n"
         "    elements = { 10.0.0.0/8, 192.0.2.1-192.0.2.9 } }\n"
         "  set timed { type ipv4_addr; flags timeout;\n"
         "    elements = { 192.0.2.5 timeout 1h } }\n"
         "  chain INPUT { type filter hook input priority 0; policy drop; }\n"
         "  chain web { }\n"
         "}\n"
         "add rule ip filter INPUT " +
         statements + "\n";
}

class NftListingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto blocked = testing::KernelTestsBlockedBy()) {
      GTEST_SKIP() << *blocked;
    }
    int status = 0;
    (void)RunCommand("nft --version", "", &status);
    if (status != 0) GTEST_SKIP() << "nft is not installed";
  }
};

struct Case {
  const char* statements;
  const char* listed;
};

TEST_F(NftListingTest, RulesThatAreOneRuleOfIptables) {
  const Case cases[] = {
      {"iif lo accept", "-A INPUT -i lo -j ACCEPT\n"},
      {"iifname \"eth0\" drop", "-A INPUT -i eth0 -j DROP\n"},
      {"iifname \"eth*\" drop", "-A INPUT -i eth+ -j DROP\n"},
      {"ip saddr 10.0.0.0/8 ip daddr != 192.0.2.1 accept",
       "-A INPUT -s 10.0.0.0/8 ! -d 192.0.2.1/32 -j ACCEPT\n"},
      {"ip daddr & 255.0.0.255 == 10.0.0.1 accept",
       "-A INPUT -d 10.0.0.1/255.0.0.255 -j ACCEPT\n"},
      {"ip saddr 10.0.0.1-10.0.0.9 accept",
       "-A INPUT -m iprange --src-range 10.0.0.1-10.0.0.9 -j ACCEPT\n"},
      {"ip saddr != 10.0.0.1-10.0.0.9 accept",
       "-A INPUT -m iprange ! --src-range 10.0.0.1-10.0.0.9 -j ACCEPT\n"},
      {"ip saddr != { 1.2.3.4, 5.6.7.8 } drop",
       "-A INPUT -m iprange ! --src-range 1.2.3.4-1.2.3.4 -m iprange ! "
       "--src-range 5.6.7.8-5.6.7.8 -j DROP\n"},
      {"tcp dport 22 accept", "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n"},
      {"udp sport 1000-2000 accept",
       "-A INPUT -p udp -m udp --sport 1000:2000 -j ACCEPT\n"},
      {"tcp dport { 22, 80-90, 443 } accept",
       "-A INPUT -p tcp -m multiport --dports 22,80:90,443 -j ACCEPT\n"},
      {"tcp dport != { 22, 80 } drop",
       "-A INPUT -p tcp -m multiport ! --dports 22,80 -j DROP\n"},
      {"tcp flags syn drop",
       "-A INPUT -p tcp -m tcp ! --tcp-flags SYN NONE -j DROP\n"},
      {"icmp type echo-request accept",
       "-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT\n"},
      {"ip protocol esp accept", "-A INPUT -p esp -j ACCEPT\n"},
      {"ct state established,related accept",
       "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"},
      {"ip dscp ef jump web", "-A INPUT -m dscp --dscp 0x2e -j web\n"},
      {"meta mark 0x5 goto web", "-A INPUT -m mark --mark 0x5 -g web\n"},
      {"meta mark set 0x1", "-A INPUT -j MARK --set-xmark 0x1/0xffffffff\n"},
      {"limit rate 10/second burst 7 packets accept",
       "-A INPUT -m limit --limit 10/sec --limit-burst 7 -j ACCEPT\n"},
      {"counter comment \"seen\"", "-A INPUT -m comment --comment seen\n"},
      {"log prefix \"x: \" level info",
       "-A INPUT -j LOG --log-prefix \"x: \" --log-level 6\n"},
      {"log level audit", "-A INPUT -j AUDIT --type accept\n"},
      {"reject", "-A INPUT -j REJECT --reject-with icmp-port-unreachable\n"},
      {"tcp dport 113 reject with tcp reset",
       "-A INPUT -p tcp -m tcp --dport 113 -j REJECT --reject-with "
       "tcp-reset\n"},
      {"meta ipsec missing accept",
       "-A INPUT -m policy --dir in --pol none -j ACCEPT\n"},
      {"dup to 192.0.2.1", "-A INPUT -j TEE --gateway 192.0.2.1\n"},
  };
  for (const Case& test : cases) {
    EXPECT_EQ(Listed(Rule(test.statements), Family::kIpv4), test.listed)
        << test.statements;
  }
}

TEST_F(NftListingTest, RulesThatAreSeveral) {
  const Case cases[] = {
      {"ip saddr { 10.0.0.1, 10.0.1.0/24, 10.0.2.1-10.0.2.5 } drop",
       "# 3 rules that are one: ip filter INPUT handle #\n"
       "-A INPUT -s 10.0.0.1/32 -j DROP\n"
       "-A INPUT -s 10.0.1.0/24 -j DROP\n"
       "-A INPUT -m iprange --src-range 10.0.2.1-10.0.2.5 -j DROP\n"},
      {"ip saddr @named udp dport 53 drop",
       "# 2 rules that are one: ip filter INPUT handle #\n"
       "-A INPUT -s 10.0.0.0/8 -p udp -m udp --dport 53 -j DROP\n"
       "-A INPUT -p udp -m iprange --src-range 192.0.2.1-192.0.2.9 -m udp "
       "--dport 53 -j DROP\n"},
      {"iifname { \"eth0\", \"eth1\" } accept",
       "# 2 rules that are one: ip filter INPUT handle #\n"
       "-A INPUT -i eth0 -j ACCEPT\n-A INPUT -i eth1 -j ACCEPT\n"},
      {"meta l4proto { tcp, udp } th dport 53 accept",
       "# 2 rules that are one: ip filter INPUT handle #\n"
       "-A INPUT -p tcp -m tcp --dport 53 -j ACCEPT\n"
       "-A INPUT -p udp -m udp --dport 53 -j ACCEPT\n"},
      {"ip saddr . tcp dport { 10.0.0.1 . 22, 10.0.0.2 . 80 } accept",
       "# 2 rules that are one: ip filter INPUT handle #\n"
       "-A INPUT -s 10.0.0.1/32 -p tcp -m tcp --dport 22 -j ACCEPT\n"
       "-A INPUT -s 10.0.0.2/32 -p tcp -m tcp --dport 80 -j ACCEPT\n"},
      {"ip saddr . ip daddr . tcp dport vmap { 1.2.3.4 . 10.0.0.0/8 . 1-100 : "
       "accept }",
       "-A INPUT -s 1.2.3.4/32 -d 10.0.0.0/8 -p tcp -m tcp --dport 1:100 -j "
       "ACCEPT\n"},
      {"tcp dport vmap { 25 : drop, 80 : jump web }",
       "# 2 rules that are one: ip filter INPUT handle #\n"
       "-A INPUT -p tcp -m tcp --dport 25 -j DROP\n"
       "-A INPUT -p tcp -m tcp --dport 80 -j web\n"},
      {"ct state vmap { invalid : drop, established : accept }",
       "# 2 rules that are one: ip filter INPUT handle #\n"
       "-A INPUT -m conntrack --ctstate INVALID -j DROP\n"
       "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n"},
      {"tcp dport 22 log prefix \"ssh \" drop",
       "# 2 rules that are one: ip filter INPUT handle #\n"
       "-A INPUT -p tcp -m tcp --dport 22 -j LOG --log-prefix \"ssh \"\n"
       "-A INPUT -p tcp -m tcp --dport 22 -j DROP\n"},
      {"tcp dport 22 meta mark set 7 accept",
       "# 2 rules that are one: ip filter INPUT handle #\n"
       "-A INPUT -p tcp -m tcp --dport 22 -j MARK --set-xmark "
       "0x7/0xffffffff\n"
       "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n"},
      {"counter tcp dport 22 accept",
       "# 2 rules that are one: ip filter INPUT handle #\n"
       "-A INPUT\n"
       "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n"},
      {"icmp type { echo-reply, echo-request } accept",
       "# 2 rules that are one: ip filter INPUT handle #\n"
       "-A INPUT -p icmp -m icmp --icmp-type 0 -j ACCEPT\n"
       "-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT\n"},
  };
  for (const Case& test : cases) {
    EXPECT_EQ(Listed(Rule(test.statements), Family::kIpv4), test.listed)
        << test.statements;
  }
}

TEST_F(NftListingTest, WhatHasNoFormIsShown) {
  const Case cases[] = {
      {"ct count over 10 drop",
       "# not iptables: ip filter INPUT handle #: [ connlimit count 10 "
       "flags 1 ] [ immediate reg 0 drop ]\n"},
      {"fib saddr . iif oif missing drop",
       "# not iptables: ip filter INPUT handle #: [ fib saddr . iif . oif "
       "present => reg 1 ] [ cmp eq reg 1 0x00000000 ] [ immediate reg 0 drop "
       "]\n"},
      {"socket transparent 1 accept",
       "# not iptables: ip filter INPUT handle #: [ socket load transparent => "
       "reg 1 ] [ cmp eq reg 1 0x01 ] [ immediate reg 0 accept ]\n"},
      {"iif 77 accept",
       "# not iptables: ip filter INPUT handle #: [ meta load iif => reg 1 ] [ "
       "cmp eq reg 1 0x4d000000 ] [ immediate reg 0 accept ]\n"},
      // A limit of its own for each element would let more through.
      {"ip saddr { 10.0.0.1, 10.0.0.2 } limit rate 1/second accept",
       "# not iptables: ip filter INPUT handle #: [ payload load 4b @ network "
       "header + 12 => reg 1 ] [ lookup reg 1 set __set0 { 0x0a000001, "
       "0x0a000002 } ] [ limit rate 1/1s burst 5 type packets ] [ immediate "
       "reg "
       "0 accept ]\n"},
      // The second rule would meet what the first has marked.
      {"meta mark { 1, 2 } meta mark set 2",
       "# not iptables: ip filter INPUT handle #: [ meta load mark => reg 1 ] "
       "[ "
       "lookup reg 1 set __set0 { 0x01000000, 0x02000000 } ] [ immediate reg 1 "
       "0x02000000 ] [ meta set mark with reg 1 ]\n"},
      {"ip saddr @timed drop comment \"for an hour\"",
       "# not iptables: ip filter INPUT handle #: [ payload load 4b @ network "
       "header + 12 => reg 1 ] [ lookup reg 1 set timed { 0xc0000205 } ] [ "
       "immediate reg 0 drop ] comment \"for an hour\"\n"},
  };
  for (const Case& test : cases) {
    const std::string listed = Listed(Rule(test.statements), Family::kIpv4);
    // Elements of a hash come in any order.
    const std::string other = std::regex_replace(
        listed, std::regex("\\{ (0x[0-9a-f]+), (0x[0-9a-f]+) \\}"),
        "{ $2, $1 }");
    EXPECT_TRUE(listed == test.listed || other == test.listed)
        << test.statements << "\n"
        << listed;
  }
}

TEST_F(NftListingTest, TablesOfInetSeeBothFamilies) {
  const char* nat =
      "table inet nat {\n"
      "  chain PREROUTING { type nat hook prerouting priority -100;\n"
      "    tcp dport 80 redirect to :3128\n"
      "    ip daddr 192.0.2.1 dnat ip to 10.0.0.1\n"
      "    ip6 daddr 2001:db8::1 dnat ip6 to 2001:db8::2\n"
      "    dnat ip to tcp dport map { 81 : 10.0.0.1, 82 : 10.0.0.2 }\n"
      "    tcp dport 83 dnat ip to 10.0.0.3:8083\n"
      "  }\n}\n";
  EXPECT_EQ(
      Listed(nat, Family::kIpv4),
      "# of table inet nat\n"
      "-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 3128\n"
      "-A PREROUTING -d 192.0.2.1/32 -j DNAT --to-destination 10.0.0.1\n"
      "# not iptables: inet nat PREROUTING handle #: [ meta load nfproto => "
      "reg 1 ] [ cmp eq reg 1 0x0a ] [ payload load 16b @ network header + 24 "
      "=> reg 1 ] [ cmp eq reg 1 0x20010db8000000000000000000000001 ] [ "
      "immediate reg 1 0x20010db8000000000000000000000002 ] [ nat dnat ip6 "
      "addr_min reg 1 addr_max reg 1 flags 0x1 ]\n"
      "# 2 rules that are one: inet nat PREROUTING handle #\n"
      "-A PREROUTING -p tcp -m tcp --dport 81 -j DNAT --to-destination "
      "10.0.0.1\n"
      "-A PREROUTING -p tcp -m tcp --dport 82 -j DNAT --to-destination "
      "10.0.0.2\n"
      "-A PREROUTING -p tcp -m tcp --dport 83 -j DNAT --to-destination "
      "10.0.0.3:8083\n");
  const char* filter =
      "table inet filter {\n"
      "  chain INPUT { type filter hook input priority 0;\n"
      "    meta nfproto ipv6 tcp dport 22 accept\n    reject\n  }\n}\n";
  EXPECT_EQ(Listed(filter, Family::kIpv6),
            "# of table inet filter\n"
            "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n"
            "-A INPUT -j REJECT --reject-with icmp6-port-unreachable\n");
}

TEST_F(NftListingTest, NothingIsLeftOut) {
  EXPECT_EQ(
      Listed("table ip filter {\n"
             "  chain input { type filter hook input priority 5; policy drop;\n"
             "    tcp dport 22 accept\n  }\n"
             "  chain averyveryverylongchainnameindeed {\n    drop\n  }\n"
             "  chain OUTPUT { type filter hook output priority 0;\n"
             "    jump averyveryverylongchainnameindeed\n  }\n"
             "}\n"
             "table ip mine {\n  chain c {\n    drop\n  }\n}\n"
             "table inet filter {\n"
             "  chain INPUT { type filter hook input priority 0;\n"
             "    accept\n  }\n}\n",
             Family::kIpv4),
      "# not iptables: chain ip filter input: type filter hook input priority "
      "5 policy drop\n"
      "# not iptables: chain ip filter averyveryverylongchainnameindeed\n"
      "# not iptables: ip filter input handle #: [ meta load l4proto => reg 1 "
      "] [ cmp eq reg 1 0x06 ] [ payload load 2b @ transport header + 2 => reg "
      "1 ] [ cmp eq reg 1 0x0016 ] [ immediate reg 0 accept ]\n"
      "# not iptables: ip filter averyveryverylongchainnameindeed handle #: [ "
      "immediate reg 0 drop ]\n"
      "# not iptables: ip filter OUTPUT handle #: [ immediate reg 0 jump -> "
      "averyveryverylongchainnameindeed ]\n"
      "# not iptables: chain ip mine c\n"
      "# not iptables: ip mine c handle #: [ immediate reg 0 drop ]\n"
      "# not iptables: chain inet filter INPUT: type filter hook input "
      "priority 0 policy accept\n"
      "# not iptables: inet filter INPUT handle #: [ immediate reg 0 accept "
      "]\n");
}

TEST_F(NftListingTest, RulesOfIptablesNft) {
  EXPECT_EQ(
      InNamespace([&]() -> std::string {
        int status = 0;
        const std::string said = RunCommand(
            "iptables-nft-restore",
            "*filter\n-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -m "
            "recent --set --name x -j ACCEPT\n"
            "-A INPUT -p tcp -m tcp ! --sport 5 -m limit --limit 3/min -j "
            "TRACE\nCOMMIT\n",
            &status);
        if (status != 0) return said;
        const auto dump = ReadNftWithInet(Family::kIpv4);
        if (!dump) return dump.error().ToString();
        const auto listing =
            ListNft(Family::kIpv4, {dump->chains, dump->rules, dump->elements});
        if (!listing) return listing.error().ToString();
        return PrintListing(listing->ruleset, listing->remarks,
                            {.header = false});
      }),
      "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
      ":OUTPUT ACCEPT [0:0]\n"
      "-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -m recent --set --name "
      "x --mask 255.255.255.255 --rsource -j ACCEPT\n"
      "-A INPUT -p tcp -m tcp ! --sport 5 -m limit --limit 3/min -j TRACE\n"
      "COMMIT\n");
}

// ------------------------------------------------------ without a kernel

TEST(NftExpandTest, TooManyRulesAreNotMade) {
  nft::ElementsRecord set{.table = "filter", .set = "s"};
  for (uint32_t i = 0; i <= nft::kMaxExpansion; ++i) {
    set.elements.push_back({.key = nft::Data::Be32(i << 1)});
  }
  nft::SetContents sets;
  sets.Add(set);
  nft::RuleRecord record;
  record.table = "filter";
  record.exprs = {nft::Payload{NFT_PAYLOAD_NETWORK_HEADER, 12, 4},
                  nft::Lookup{.set = "s"}, nft::Verdict{kDrop, ""}};
  EXPECT_FALSE(nft::RaiseRules(Family::kIpv4, record, sets));
  sets = {};
  set.elements.pop_back();
  sets.Add(set);
  const auto rules = nft::RaiseRules(Family::kIpv4, record, sets);
  ASSERT_TRUE(rules);
  EXPECT_EQ(rules->size(), nft::kMaxExpansion);
}

TEST(NftExpandTest, PacketsOfAllAreCountedAtTheFirst) {
  nft::SetContents sets;
  sets.Add(
      {.table = "filter",
       .set = "s",
       .elements = {{.key = nft::Data::Be32(1)}, {.key = nft::Data::Be32(9)}}});
  nft::RuleRecord record;
  record.table = "filter";
  record.exprs = {nft::Payload{NFT_PAYLOAD_NETWORK_HEADER, 12, 4},
                  nft::Lookup{.set = "s"}, nft::Counter{7, 700},
                  nft::Log{.prefix = "a"}, nft::Verdict{kDrop, ""}};
  const auto rules = nft::RaiseRules(Family::kIpv4, record, sets);
  ASSERT_TRUE(rules) << rules.error().ToString();
  ASSERT_EQ(rules->size(), 4u);
  EXPECT_EQ((*rules)[0].counters, (Counters{7, 700}));
  EXPECT_EQ((*rules)[1].counters, (Counters{7, 700}));
  EXPECT_EQ((*rules)[2].counters, Counters{});
  EXPECT_EQ((*rules)[3].counters, Counters{});
}

TEST(NftExpandTest, LongSetsArePrintedInPart) {
  std::vector<nft::ElementsRecord::Element> elements(70);
  for (auto& element : elements) element.key = nft::Data::U8(5);
  const std::string text = nft::PrintElements(elements);
  EXPECT_TRUE(text.starts_with("0x05, 0x05"));
  EXPECT_TRUE(text.ends_with(", and 6 more"));
}

}  // namespace
}  // namespace nfarena
