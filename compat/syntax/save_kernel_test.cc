// Our print of a text against what iptables-legacy-save says after
// iptables-legacy-restore took the same text, in a namespace of this process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "compat/syntax/save_parser.h"
#include "compat/syntax/save_printer.h"
#include "compat/syntax/testing/legacy_tools.h"

namespace nfarena {
namespace {

// Rules by table.  A rule stands for itself; what it is printed as is the
// kernel tools' answer, not ours.
using Rules = std::vector<std::pair<const char*, std::vector<const char*>>>;

const Rules& CommonRules() {
  static const Rules kRules = {
      {"filter",
       {
           "INPUT -i eth0 -j ACCEPT",
           "INPUT ! -i eth+ -j DROP",
           "FORWARD -i br-1 ! -o veth+ -g user",
           "FORWARD -i abcdefghijklmno -o x -j user",
           "INPUT -p tcp -m tcp --dport 22 -j ACCEPT",
           "INPUT -p tcp --sport 1024:65535 ! --dport 22:23",
           "INPUT -p tcp -m tcp ! --sport :1023 --dport 6000:",
           "INPUT -p tcp --syn -j RETURN",
           "INPUT -p tcp ! --syn",
           "INPUT -p tcp -m tcp --tcp-flags ALL NONE -j DROP",
           "INPUT -p tcp -m tcp ! --tcp-flags SYN,ACK,FIN,RST SYN",
           "INPUT -p tcp -m tcp --tcp-option 5",
           "INPUT -p tcp -m tcp ! --tcp-option 8",
           "INPUT -p udp -m udp --dport 53",
           "INPUT -p udp --sport 67:68 ! --dport 68",
           "INPUT -p udp --dport domain",
           "INPUT -p udplite -j DROP",
           "INPUT -p 47 -j ACCEPT",
           "INPUT ! -p sctp",
           "INPUT -p 253",
           "INPUT -p tcp -m multiport --dports 22,80,443 -j ACCEPT",
           "INPUT -p tcp -m multiport ! --sports 1:1023,8080",
           "INPUT -p udp -m multiport --ports 53,5353,10000:20000",
           "INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
           "INPUT -m conntrack ! --ctstate NEW,INVALID,UNTRACKED",
           "INPUT -m conntrack --ctstate SNAT,DNAT",
           "INPUT -m conntrack --ctproto tcp --ctorigdstport 80:90",
           "INPUT -m conntrack --ctproto 17 ! --ctreplsrcport 53",
           "INPUT -m conntrack --ctstatus EXPECTED,SEEN_REPLY,ASSURED",
           "INPUT -m conntrack --ctexpire 10:20 --ctdir REPLY",
           "INPUT -m state --state NEW -j user",
           "INPUT -m state ! --state ESTABLISHED,RELATED",
           "INPUT -m mark --mark 0x10",
           "INPUT -m mark ! --mark 1/0xff",
           "INPUT -m connmark --mark 0x2/0xf",
           "INPUT -m connmark ! --mark 7",
           "INPUT -m limit --limit 5/min --limit-burst 10 -j LOG",
           "INPUT -m limit --limit 100/second",
           "INPUT -m limit --limit 3/hour",
           "INPUT -m mac --mac-source 00:11:22:aa:BB:cc",
           "INPUT -m mac ! --mac-source 00:11:22:33:44:55",
           "INPUT -m addrtype --dst-type LOCAL",
           "INPUT -m addrtype ! --src-type UNICAST --dst-type LOCAL",
           "INPUT -m addrtype --dst-type LOCAL --limit-iface-in",
           "FORWARD -m addrtype --src-type LOCAL,MULTICAST --limit-iface-out",
           "INPUT -m length --length 100",
           "INPUT -m length ! --length 0:1500",
           "INPUT -m length --length 42:",
           "INPUT -m dscp --dscp 0x2e",
           "INPUT -m dscp ! --dscp-class AF31",
           "INPUT -m tos --tos 0x10/0x3f",
           "INPUT -m tos ! --tos Minimize-Delay",
           "INPUT -m pkttype --pkt-type broadcast",
           "INPUT -m pkttype ! --pkt-type multicast",
           "OUTPUT -m owner --uid-owner 1000 -j ACCEPT",
           "OUTPUT -m owner ! --uid-owner 0-999 --gid-owner 100",
           "OUTPUT -m owner --socket-exists",
           "INPUT -m comment --comment plain",
           "INPUT -m comment --comment \"two words\"",
           "INPUT -m comment --comment \"quote \\\" and \\\\ slash\"",
           "INPUT -m comment --comment \"it's\" -j ACCEPT",
           "INPUT -m statistic --mode nth --every 3 --packet 1",
           "INPUT -m statistic --mode nth ! --every 2 --packet 0",
           "INPUT -m statistic --mode random --probability 0.33332999982",
           "INPUT -m statistic --mode random ! --probability 0.5",
           "INPUT -m hashlimit --hashlimit-upto 5/sec --hashlimit-name h1",
           "INPUT -m connlimit --connlimit-above 10 --connlimit-saddr",
           "INPUT -m recent --set --name r1 --rsource",
           "INPUT -m recent --update --seconds 60 --hitcount 4 --name r1",
           "INPUT -m string --string \"GET /\" --algo bm",
           "INPUT -m u32 --u32 0x6&0xff=0x6",
           "INPUT -m quota --quota 1000",
           "INPUT -m helper --helper ftp",
           "INPUT -m time --timestart 09:00:00 --timestop 17:00:00",
           "INPUT -m cpu --cpu 1",
           "INPUT -m physdev --physdev-in eth0",
           "INPUT -m policy --dir in --pol ipsec --proto esp",
           "INPUT -p dccp -m dccp --sport 1:2 --dccp-types REQUEST",
           "INPUT -p sctp --dport 5 --chunk-types all DATA",
           "INPUT -p esp -m esp --espspi 100:200",
           "INPUT -p tcp -m tcp --dport 1 -m tcp --sport 2 -m limit "
           "--limit 1/s",
           "INPUT -j ACCEPT",
           "INPUT -j DROP",
           "INPUT -j RETURN",
           "INPUT -j QUEUE",
           "INPUT -j user",
           "INPUT -g user",
           "INPUT",
           "INPUT -j REJECT",
           "INPUT -p tcp -j REJECT --reject-with tcp-reset",
           "INPUT -j LOG",
           "INPUT -j LOG --log-prefix \"[drop] \" --log-level info",
           "INPUT -j LOG --log-level 7 --log-tcp-sequence --log-tcp-options "
           "--log-ip-options --log-uid --log-macdecode",
           "INPUT -j NFLOG --nflog-group 5 --nflog-prefix \"a b\"",
           "INPUT -j NFLOG --nflog-size 64 --nflog-threshold 20",
           "INPUT -j NFQUEUE",
           "INPUT -j NFQUEUE --queue-num 7 --queue-bypass",
           "INPUT -j NFQUEUE --queue-balance 0:3 --queue-cpu-fanout",
           "INPUT -j MARK --set-mark 1",
           "INPUT -j AUDIT --type accept",
       }},
      {"mangle",
       {
           "PREROUTING -j MARK --set-mark 0x10/0xff",
           "PREROUTING -j MARK --set-xmark 0x1/0x3",
           "PREROUTING -j MARK --and-mark 0xff",
           "PREROUTING -j MARK --or-mark 0x100",
           "PREROUTING -j MARK --xor-mark 0x5",
           "PREROUTING -j CONNMARK --set-mark 5",
           "PREROUTING -j CONNMARK --save-mark",
           "PREROUTING -j CONNMARK --restore-mark --mask 0xff00",
           "PREROUTING -j CONNMARK --save-mark --nfmask 0xf --ctmask 0xff",
           "FORWARD -p tcp --syn -j TCPMSS --clamp-mss-to-pmtu",
           "POSTROUTING -o ppp0 -p tcp --tcp-flags SYN,RST SYN -j TCPMSS "
           "--set-mss 1400",
           "POSTROUTING -j DSCP --set-dscp 10",
           "POSTROUTING -j DSCP --set-dscp-class EF",
           "POSTROUTING -j TOS --set-tos 0x8/0x1c",
           "POSTROUTING -j TOS --and-tos 0x3",
           "POSTROUTING -j CLASSIFY --set-class 1:ffff",
           "PREROUTING -p tcp -m socket --transparent -j ACCEPT",
           "POSTROUTING -j CHECKSUM --checksum-fill",
           "PREROUTING -p tcp -j TCPOPTSTRIP --strip-options timestamp,3",
           "OUTPUT -o lo -j DROP",
       }},
      {"nat",
       {
           "POSTROUTING -o eth0 -j MASQUERADE",
           "POSTROUTING -o eth0 -p tcp -j MASQUERADE --to-ports 1024-2048",
           "POSTROUTING -o eth0 -j MASQUERADE --random",
           "PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8080",
           "OUTPUT -p udp -j REDIRECT",
           "POSTROUTING -j user",
           "PREROUTING -j ACCEPT",
       }},
      {"raw",
       {
           "PREROUTING -j NOTRACK",
           "OUTPUT -j CT --notrack",
           "PREROUTING -j CT --zone 5",
           "PREROUTING -p tcp -j CT --ctevents new,destroy",
           "PREROUTING -j TRACE",
           "PREROUTING -i lo -j ACCEPT",
           "PREROUTING -m rpfilter --loose -j DROP",
       }},
      {"security", {"INPUT -j ACCEPT", "OUTPUT -o eth+ -j DROP"}},
  };
  return kRules;
}

const Rules& Ipv4Rules() {
  static const Rules kRules = {
      {"filter",
       {
           "INPUT -s 192.0.2.1 -d 198.51.100.0/24 -j ACCEPT",
           "INPUT ! -s 10.0.0.0/8 ! -d 10.1.0.0/255.255.0.255",
           "INPUT -s 10.1.2.3/0 -d 0.0.0.0/0",
           "INPUT ! -s 0.0.0.0/0",
           "INPUT -s 192.0.2.1,192.0.2.2/31 -d 10.0.0.1,10.0.0.2 -j DROP",
           "INPUT -m addrtype ! --src-type UNICAST --dst-type BROADCAST",
           "INPUT -f -j DROP",
           "INPUT ! -f -p tcp",
           "INPUT -p icmp --icmp-type echo-request",
           "INPUT -p icmp -m icmp ! --icmp-type 3/4",
           "INPUT -p icmp -m icmp --icmp-type any",
           "INPUT -m ttl --ttl-eq 64",
           "INPUT -m ttl ! --ttl-eq 1",
           "INPUT -m ttl --ttl-gt 5",
           "INPUT -m ttl --ttl-lt 5",
           "INPUT -m iprange --src-range 10.0.0.1-10.0.0.9",
           "INPUT -m iprange ! --src-range 10.0.0.1-10.0.0.9 --dst-range "
           "10.0.0.1-10.0.0.2",
           "INPUT -m conntrack --ctorigsrc 10.0.0.0/8 ! --ctrepldst 10.1.2.3",
           "INPUT -p ah -m ah --ahspi 1:2",
           "INPUT -m ecn --ecn-ip-ect 1",
           "INPUT -m realm --realm 5",
           "INPUT -j REJECT --reject-with icmp-admin-prohibited",
           "INPUT -j REJECT --reject-with icmp-host-unreachable",
           "INPUT -p tcp -j REJECT --reject-with tcp-reset",
       }},
      {"mangle",
       {
           "PREROUTING -j TTL --ttl-set 64",
           "PREROUTING -j TTL --ttl-inc 1",
           "PREROUTING -j TTL --ttl-dec 1",
           "PREROUTING -p tcp -j ECN --ecn-tcp-remove",
           "PREROUTING -p tcp -j TPROXY --on-port 1234 --on-ip 10.0.0.1 "
           "--tproxy-mark 0x1/0x1",
           "PREROUTING -j TEE --gateway 10.0.0.1",
       }},
      {"nat",
       {
           "POSTROUTING -j SNAT --to-source 10.0.0.1",
           "POSTROUTING -p tcp -j SNAT --to-source 10.0.0.1-10.0.0.9:1000-2000",
           "POSTROUTING -j SNAT --to-source 10.0.0.1 --random --persistent",
           "PREROUTING -p tcp -j DNAT --to-destination 10.0.0.1:80",
           "PREROUTING -p tcp -j DNAT --to-destination 10.0.0.1-10.0.0.5",
           "PREROUTING -p tcp --dport 1:9 -j DNAT --to-destination "
           "10.0.0.1:100-108/1",
           "PREROUTING -d 10.0.0.0/24 -j NETMAP --to 192.168.0.0/24",
       }},
  };
  return kRules;
}

const Rules& Ipv6Rules() {
  static const Rules kRules = {
      {"filter",
       {
           "INPUT -s 2001:db8::1 -d 2001:db8::/32 -j ACCEPT",
           "INPUT ! -s fe80::/10 ! -d 2001:db8::1/ffff::ffff",
           "INPUT ! -s ::/0",
           "INPUT -s 2001:db8::1,2001:db8::2/127 -j DROP",
           "INPUT -s ::ffff:192.0.2.1",
           "INPUT -p ipv6-icmp --icmpv6-type echo-request",
           "INPUT -p icmpv6 -m icmp6 ! --icmpv6-type 1/4",
           "INPUT -m hl --hl-eq 255",
           "INPUT -m hl ! --hl-eq 1",
           "INPUT -m hl --hl-gt 5",
           "INPUT -m iprange --src-range 2001:db8::1-2001:db8::9",
           "INPUT -m conntrack --ctorigsrc 2001:db8::/32",
           "INPUT -m frag --fragid 1:2 --fragmore",
           "INPUT -m ipv6header --header frag --soft",
           "INPUT -m rt --rt-type 0 --rt-segsleft 1:2",
           "INPUT -m hbh --hbh-len 5",
           "INPUT -m ah --ahspi 5 --ahres",
           "INPUT -j REJECT --reject-with icmp6-adm-prohibited",
           "INPUT -j REJECT --reject-with icmp6-no-route",
       }},
      {"mangle",
       {
           "PREROUTING -j HL --hl-set 64",
           "PREROUTING -j HL --hl-dec 1",
           "PREROUTING -p tcp -j TPROXY --on-port 1234 --on-ip 2001:db8::1 "
           "--tproxy-mark 0x1/0x1",
           "PREROUTING -j TEE --gateway 2001:db8::1",
       }},
      {"nat",
       {
           "POSTROUTING -j SNAT --to-source 2001:db8::1",
           "POSTROUTING -p tcp -j SNAT --to-source [2001:db8::1]:1000-2000",
           "PREROUTING -p tcp -j DNAT --to-destination [2001:db8::1]:80",
           "PREROUTING -j DNAT --to-destination 2001:db8::1-2001:db8::5",
           "PREROUTING -d 2001:db8::/64 -j NETMAP --to 2001:db8:1::/64",
       }},
  };
  return kRules;
}

class SaveKernel : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    tools_ = new LegacyTools;
    reason_ = tools_->EnterNamespace();
  }
  static void TearDownTestSuite() { delete tools_; }
  void SetUp() override {
    if (!reason_.empty()) GTEST_SKIP() << reason_;
  }

  static Ran Restore(Family family, const std::string& text,
                     const char* options) {
    return tools_->Restore(family, text, options);
  }

  // Rule by rule, so that the failure names it.
  static void ExpectSameRules(const Ruleset& a, const Ruleset& b) {
    EXPECT_TRUE(SameRules(a, b));
    const std::vector<Chain>& chains = a.tables[0].chains;
    for (size_t i = 0; i < chains.size(); ++i) {
      for (size_t r = 0; r < chains[i].rules.size(); ++r) {
        EXPECT_TRUE(chains[i].rules[r].SameAs(b.tables[0].chains[i].rules[r]))
            << PrintRule(a.family, chains[i].name, chains[i].rules[r]);
      }
    }
  }

  // The rules of a refused text that are refused alone too.
  std::string RefusedAlone(Family family, const std::string& table,
                           const std::string& text) {
    std::string out;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.find("-A ") == std::string::npos) continue;
      const Ran ran = Restore(
          family, "*" + table + "\n:user -\n" + line + "\nCOMMIT\n", "");
      if (ran.status != 0) out += "refused: " + line + "\n" + ran.output;
    }
    return out;
  }

  // One table at a time, as it is the kernel that orders tables.
  void Compare(Family family, const std::string& table,
               const std::string& text) {
    const Ran restored = Restore(family, text, "-c");
    ASSERT_EQ(restored.status, 0)
        << restored.output << RefusedAlone(family, table, text);
    const Ran saved = LegacyTools::Save(family, "-c -t " + table);
    ASSERT_EQ(saved.status, 0) << saved.output;
    std::vector<Warning> warnings;
    const auto parsed = ParseSave(text, {.family = family}, &warnings);
    ASSERT_TRUE(parsed) << parsed.error().ToString();
    const std::string printed =
        PrintSave(*parsed, {.counters = true, .header = false});
    EXPECT_EQ(printed, WithoutComments(saved.output));
    EXPECT_TRUE(warnings.empty()) << warnings[0].message;

    // What was printed says the same again, to us and to the kernel.
    const auto again = ParseSave(printed, {.family = family}, nullptr);
    ASSERT_TRUE(again) << again.error().ToString();
    ExpectSameRules(*parsed, *again);
    EXPECT_EQ(PrintSave(*again, {.counters = true, .header = false}), printed);
    EXPECT_EQ(Restore(family, printed, "").status, 0);
  }

  void CompareAll(Family family, const Rules& own) {
    std::map<std::string, std::vector<const char*>> by_table;
    for (const Rules* rules : {&CommonRules(), &own}) {
      for (const auto& [table, lines] : *rules) {
        auto& all = by_table[table];
        all.insert(all.end(), lines.begin(), lines.end());
      }
    }
    for (const auto& [table, lines] : by_table) {
      SCOPED_TRACE(table);
      std::string text = "*" + table + "\n:OUTPUT ACCEPT [12:3456]\n";
      if (table != "raw" && table != "nat") text += ":INPUT DROP [7:8]\n";
      text += ":user - [0:0]\n:another-user.chain_1 - [0:0]\n";
      size_t number = 0;
      for (const char* line : lines) {
        if (!UsersAreMapped() &&
            std::string(line).find("-owner ") != std::string::npos) {
          continue;
        }
        ++number;
        // A rule with several addresses takes its counters along, too.
        if (number % 3 == 0) {
          text += "[" + std::to_string(number) + ":" +
                  std::to_string(number * 100) + "] ";
        }
        text += std::string("-A ") + line + "\n";
      }
      Compare(family, table, text + "COMMIT\n");
    }
  }

  // The numbers and the form that the kernel and libxtables give, from the
  // "ipset save" text alone.
  static void ExpectSameWithoutTheKernel() {
    const auto sets = ReadKnownSets(RunShell("ipset save").output);
    ASSERT_TRUE(sets);
    const std::string text =
        "*filter\n"
        "-A INPUT -m set --match-set s4 src -j DROP\n"
        "-A INPUT -m set ! --match-set p4 src,dst --return-nomatch\n"
        "-A INPUT -m set --match-set p4 dst,src ! --update-counters "
        "! --update-subcounters --packets-gt 5 --bytes-lt 100\n"
        "-A INPUT -m set --match-set s4 dst ! --packets-eq 1 --bytes-eq 2\n"
        "-A INPUT -j SET --add-set s4 src --exist --timeout 60\n"
        "-A INPUT -j SET --del-set p4 src,dst --add-set s4 dst\n"
        "-A INPUT -j SET --map-set p4 src,dst --map-mark --map-prio "
        "--map-queue\n"
        "COMMIT\n";
    const auto asked = ParseSave(text, {}, nullptr);
    const auto read = ParseSave(text, {.sets = &*sets}, nullptr);
    ASSERT_TRUE(asked) << asked.error().ToString();
    ASSERT_TRUE(read) << read.error().ToString();
    EXPECT_TRUE(SameRules(*asked, *read));
    EXPECT_EQ(PrintSave(*asked, {}), PrintSave(*read, {.sets = &*sets}));
  }

  static LegacyTools* tools_;
  static std::string reason_;
};

LegacyTools* SaveKernel::tools_;
std::string SaveKernel::reason_;

TEST_F(SaveKernel, Ipv4) { CompareAll(Family::kIpv4, Ipv4Rules()); }

TEST_F(SaveKernel, Ipv6) { CompareAll(Family::kIpv6, Ipv6Rules()); }

TEST_F(SaveKernel, Sets) {
  if (RunShell("command -v ipset").status != 0) {
    GTEST_SKIP() << "ipset is not installed";
  }
  const Ran created = RunShell(
      "ipset create s4 hash:ip && ipset create p4 hash:ip,port && "
      "ipset create s6 hash:net family inet6");
  ASSERT_EQ(created.status, 0) << created.output;
  Compare(Family::kIpv4, "filter",
          "*filter\n:INPUT ACCEPT [0:0]\n"
          "-A INPUT -m set --match-set s4 src -j DROP\n"
          "-A INPUT -m set ! --match-set p4 src,dst\n"
          "-A INPUT -m set --match-set s4 src --return-nomatch\n"
          "-A INPUT -m set --match-set p4 dst,src ! --update-counters "
          "--packets-gt 5 --bytes-lt 100\n"
          "-A INPUT -j SET --add-set s4 src --exist --timeout 60\n"
          "-A INPUT -j SET --del-set p4 src,dst\n"
          "COMMIT\n");
  Compare(Family::kIpv6, "filter",
          "*filter\n:INPUT ACCEPT [0:0]\n"
          "-A INPUT -m set --match-set s6 src -j DROP\nCOMMIT\n");
  ExpectSameWithoutTheKernel();
  // A set of the other family.
  const auto wrong = ParseSave(
      "*filter\n-A INPUT -m set --match-set s6 src\nCOMMIT\n", {}, nullptr);
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().message, testing::HasSubstr("IPv6"));
  const auto missing = ParseSave(
      "*filter\n-A INPUT -m set --match-set none src\nCOMMIT\n", {}, nullptr);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message, "Set none doesn't exist.");
  EXPECT_EQ(missing.error().place.column, 17u);
}

// Texts that iptables-legacy-restore refuses must not be taken by us, and the
// other way round; what only the kernel refuses is not among them.
TEST_F(SaveKernel, RefusesWhatRestoreRefuses) {
  const struct {
    const char* text;
    bool good;
  } kCases[] = {
      {"*filter\nCOMMIT\n", true},
      {"*filter\r\nCOMMIT\r\n", false},
      {"*filter\nCOMMIT", false},
      {"*filter\n", false},
      {"*filter\n-A INPUT -j ACCEPT\r\nCOMMIT\n", false},
      {"*filter\n\nCOMMIT\n\n", true},
      {"*filter\n \nCOMMIT\n", false},
      {"*filter\n# x\n  -A INPUT\t-j  DROP \nCOMMIT\n", true},
      {"*nosuch\nCOMMIT\n", false},
      {"*filter\n:INPUT\nCOMMIT\n", false},
      {"*filter\n:INPUT - [0:0]\nCOMMIT\n", true},
      {"*filter\n:INPUT RETURN\nCOMMIT\n", false},
      {"*filter\n:x ACCEPT\nCOMMIT\n", false},
      {"*filter\n:x -\n:x -\nCOMMIT\n", false},
      {"*filter\n:x -\n-A INPUT -j x\n-A x -j x\nCOMMIT\n", false},
      {"*filter\n:x -\n-A x -j x\nCOMMIT\n", true},
      {"*filter\n:x -\n-A INPUT -j ACCEPT\n-A INPUT -j x\n-A x -j x\nCOMMIT\n",
       true},
      {"*filter\n-A INPUT -j nosuch\nCOMMIT\n", false},
      {"*filter\n-A INPUT -j FORWARD\nCOMMIT\n", false},
      {"*filter\n-A INPUT -g ACCEPT\nCOMMIT\n", false},
      {"*filter\n-A nosuch\nCOMMIT\n", false},
      {"*filter\n-A INPUT -m nosuch\nCOMMIT\n", false},
      {"*filter\n-A INPUT -j SNAT --to-source 10.0.0.1\nCOMMIT\n", false},
      {"*filter\n-A INPUT -j NOTRACK\nCOMMIT\n", false},
      {"*filter\n-A INPUT -j TTL --ttl-set 1\nCOMMIT\n", false},
      {"*raw\n-A OUTPUT -j REJECT\nCOMMIT\n", false},
      {"*raw\n-A OUTPUT -j TOS --set-tos 8\nCOMMIT\n", false},
      {"*nat\n-A OUTPUT -j DROP\nCOMMIT\n", false},
      {"*nat\n:OUTPUT DROP\nCOMMIT\n", true},
      {"*filter\n-A INPUT -s ! 10.0.0.1\nCOMMIT\n", false},
      {"*filter\n-A INPUT ! ! -s 10.0.0.1\nCOMMIT\n", false},
      {"*filter\n-A INPUT --dport 5\nCOMMIT\n", false},
      {"*filter\n-A INPUT -p tcp --dpor 5\nCOMMIT\n", true},
      {"*filter\n-A INPUT -p tcp --d 5\nCOMMIT\n", false},
      {"*filter\n-A INPUT -p tcp --des 5\nCOMMIT\n", true},
      {"*filter\n-A INPUT --proto udp --sou 10.0.0.1\nCOMMIT\n", true},
      {"*filter\n-A INPUT -p tcp -m multiport --dport 5\nCOMMIT\n", true},
      {"*filter\n-A INPUT -t nat\nCOMMIT\n", false},
      {"*filter\n-A INPUT -w\nCOMMIT\n", false},
      {"*filter\n-A INPUT -6 --nonsense\nCOMMIT\n", true},
      {"*filter\n-A INPUT -n\nCOMMIT\n", false},
      {"*filter\n-N a\n-A INPUT -j a\n-E a b\n-A INPUT -j b\nCOMMIT\n", true},
      {"*filter\n-N LOG\nCOMMIT\n", false},
      {"*filter\n-N -x\nCOMMIT\n", false},
      {"*filter\n-X INPUT\nCOMMIT\n", false},
      {"*filter\n-N a\n-A INPUT -j a\n-X a\nCOMMIT\n", false},
      {"*filter\n-D INPUT 1\nCOMMIT\n", false},
      {"*filter\n-A INPUT -i eth0\n-D INPUT -i eth0\n-D INPUT -i eth0\n"
       "COMMIT\n",
       false},
      {"*filter\n-I INPUT 2\nCOMMIT\n", false},
      {"*filter\n-A INPUT\n-I INPUT 2\n-R INPUT 2 -j DROP\nCOMMIT\n", true},
      {"*filter\n-A INPUT -c 1\nCOMMIT\n", false},
      {"*filter\n-A INPUT -c 1,2\nCOMMIT\n", true},
      {"*filter\n-A INPUT -o eth0\nCOMMIT\n", false},
      {"*filter\n-A INPUT -p tcp -p tcp\nCOMMIT\n", false},
      {"*filter\n-A INPUT ! -s 10.0.0.1,10.0.0.2\nCOMMIT\n", false},
      {"*filter\n-A INPUT -s 10.0.0.1/33\nCOMMIT\n", false},
      {"*filter\n-A INPUT -p tcp -m tcp --dport 1 --dport 2\nCOMMIT\n", false},
      {"*filter\n-A INPUT -j LOG --log-prefix \"a\"b\"c\"\nCOMMIT\n", false},
      {"*filter\n-A INPUT -j LOG --log-prefix \"\"\nCOMMIT\n", false},
      {"*filter\n-A INPUT --\nCOMMIT\n", true},
      {"*filter\n-A INPUT -- x\nCOMMIT\n", false},
      {"*filter\n-AINPUT -j DROP -fv\nCOMMIT\n", true},
      {"*filter\n-A INPUT -jDROP\nCOMMIT\n", false},
      {"*filter\n-A INPUT -s10.0.0.1\nCOMMIT\n", false},
      {"*filter\n-A INPUT -f=1\nCOMMIT\n", false},
      {"*filter\n-A INPUT --source=10.0.0.1\nCOMMIT\n", false},
      {"*filter\n-A INPUT -p tcp --dport=5\nCOMMIT\n", true},
      {"*filter\n-A INPUT --fragments=1\nCOMMIT\n", false},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(Restore(Family::kIpv4, c.text, "").status == 0, c.good) << c.text;
    const auto parsed =
        ParseSave(c.text, {.counters = false, .resolve = false}, nullptr);
    EXPECT_EQ(parsed.has_value(), c.good) << c.text;
    if (!parsed) {
      EXPECT_NE(parsed.error().place.line, 0u) << c.text;
      continue;
    }
    if (!c.good) continue;
    // Equal sense too, for one table at a time.
    const Ran saved = RunShell(std::string("iptables-legacy-save -t ") +
                               TableName(parsed->tables[0].kind) +
                               " | sed 's/\\[.*\\]/[0:0]/'");
    EXPECT_EQ(PrintSave(*parsed, {.counters = false, .header = false}),
              WithoutComments(saved.output))
        << c.text;
    Restore(Family::kIpv4, "*nat\n:OUTPUT ACCEPT\nCOMMIT\n", "");
  }
}

}  // namespace
}  // namespace nfarena
