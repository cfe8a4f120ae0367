#include "compat/syntax/save_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "compat/syntax/save_printer.h"

namespace nfarena {
namespace {

using ::testing::HasSubstr;

std::string Save(const Ruleset& ruleset) {
  return PrintSave(ruleset, {.counters = false, .header = false});
}

// The rules of a text as lines, without ':' lines and COMMIT.
std::string Rules(const Ruleset& ruleset) {
  std::string out;
  const std::string text = Save(ruleset);
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    if (text[at] == '-') out += text.substr(at, end + 1 - at);
    at = end + 1;
  }
  return out;
}

Ruleset ParseOk(const std::string& text, ParseOptions options = {}) {
  auto parsed = ParseSave(text, options, nullptr);
  EXPECT_TRUE(parsed) << parsed.error().ToString() << "\n" << text;
  return parsed ? *parsed : Ruleset{};
}

std::string Filter(const std::string& lines) {
  return "*filter\n:user - [0:0]\n" + lines + "COMMIT\n";
}

TEST(ParseSave, RuleForms) {
  const struct {
    const char* rule;
    const char* printed;  // without "-A FORWARD"
  } kCases[] = {
      {"-j DROP", "-j DROP"},
      {"-s 10.1.2.3", "-s 10.1.2.3/32"},
      {"--source 10.1.2.3/8 --dst 1.2.3.4/0", "-s 10.0.0.0/8"},
      {"! -s 10.0.0.0/255.0.255.0", "! -s 10.0.0.0/255.0.255.0"},
      {"! -d 0/0", "! -d 0.0.0.0/0"},
      {"-i eth+ ! -o lo -j RETURN", "-i eth+ ! -o lo -j RETURN"},
      {"-i +", ""},
      {"-p TCP", "-p tcp"},
      {"-p 6 --dport http", "-p tcp -m tcp --dport 80"},
      {"-p all -j ACCEPT", "-j ACCEPT"},
      {"-p 0x2f", "-p gre"},
      {"! -p 143", "! -p ethernet"},
      {"-p 254", "-p 254"},
      {"-f", "-f"},
      {"! -f", "! -f"},
      {"--fragments", "-f"},
      {"-p tcp --dport 22", "-p tcp -m tcp --dport 22"},
      {"-p tcp --dport=22 -guser", "-p tcp -m tcp --dport 22 -g user"},
      {"-p tcp -m tcp --dport 22 -m tcp --sport 1",
       "-p tcp -m tcp --dport 22 -m tcp --sport 1"},
      {"-p tcp --destination-po 22", "-p tcp -m tcp --dport 22"},
      {"-p tcp -m multiport --dport 22", "-p tcp -m multiport --dports 22"},
      {"-p udp ! --sport :53", "-p udp -m udp ! --sport 0:53"},
      {"-p udp --dport 1000:", "-p udp -m udp --dport 1000:65535"},
      {"-p udp --dport 053", "-p udp -m udp --dport 53"},
      {"-p udp --dport domain", "-p udp -m udp --dport 53"},
      {"-g user", "-g user"},
      {"--jump user", "-j user"},
      {"-j QUEUE", "-j QUEUE"},
      {"-m comment --comment \"a \\\"b\\\"\"",
       "-m comment --comment \"a \\\"b\\\"\""},
      {"-m comment --comment plain", "-m comment --comment plain"},
      {"-m state --state NEW", "-m state --state NEW"},
      {"-m conntrack ! --ctstate NEW --ctorigsrc 10.0.0.0/255.0.0.0",
       "-m conntrack ! --ctstate NEW --ctorigsrc 10.0.0.0/8"},
      {"-p icmp --icmp-type echo-request", "-p icmp -m icmp --icmp-type 8"},
      {"-v -j DROP", "-j DROP"},
  };
  for (const auto& c : kCases) {
    const std::string text = Filter(std::string("-A FORWARD ") + c.rule + "\n");
    std::string expected = "-A FORWARD";
    if (*c.printed != '\0') expected += std::string(" ") + c.printed;
    EXPECT_EQ(Rules(ParseOk(text)), expected + "\n") << c.rule;
  }
}

TEST(ParseSave, Ipv6Forms) {
  const struct {
    const char* rule;
    const char* printed;
  } kCases[] = {
      {"-s 2001:db8::/32", "-s 2001:db8::/32"},
      {"-s 2001:DB8::1", "-s 2001:db8::1/128"},
      {"-d 2001:db8::1/ffff::ffff", "-d 2001::1/ffff::ffff"},
      {"! -s ::/0", "! -s ::/0"},
      {"-p icmpv6 --icmpv6-type 128",
       "-p ipv6-icmp -m icmp6 --icmpv6-type 128"},
      {"-p ipv6-icmp -m icmpv6 --icmpv6-type 1",
       "-p ipv6-icmp -m icmp6 --icmpv6-type 1"},
      {"-m hl --hl-eq 255", "-m hl --hl-eq 255"},
      {"-j REJECT", "-j REJECT --reject-with icmp6-port-unreachable"},
  };
  for (const auto& c : kCases) {
    const std::string text = Filter(std::string("-A INPUT ") + c.rule + "\n");
    EXPECT_EQ(Rules(ParseOk(text, {.family = Family::kIpv6})),
              std::string("-A INPUT ") + c.printed + "\n")
        << c.rule;
  }
}

TEST(ParseSave, SeveralAddressesMakeSeveralRules) {
  EXPECT_EQ(Rules(ParseOk(Filter(
                "-A INPUT -s 10.0.0.1,10.0.0.2 -d 10.1.0.1,10.1.0.2 -j DROP\n"
                "-I INPUT -s 10.0.0.3,10.0.0.4\n"
                "-D INPUT -s 10.0.0.1 -d 10.1.0.1,10.1.0.2 -j DROP\n"))),
            "-A INPUT -s 10.0.0.4/32\n"
            "-A INPUT -s 10.0.0.3/32\n"
            "-A INPUT -s 10.0.0.2/32 -d 10.1.0.1/32 -j DROP\n"
            "-A INPUT -s 10.0.0.2/32 -d 10.1.0.2/32 -j DROP\n");
}

TEST(ParseSave, Places) {
  const Ruleset ruleset = ParseOk(
      "*filter\n"
      "[1:2] -A INPUT -p tcp -m tcp --dport 22 -m comment --comment x -j LOG\n"
      "COMMIT\n");
  const Rule& rule = ruleset.table(TableKind::kFilter)->chains[0].rules[0];
  EXPECT_EQ(rule.line, 2u);
  ASSERT_EQ(rule.matches.size(), 2u);
  EXPECT_EQ(rule.matches[0].column, 23u);
  EXPECT_EQ(rule.matches[1].column, 41u);
  EXPECT_EQ(rule.target.column, 64u);
  EXPECT_EQ(rule.target.extension.column, 64u);
  EXPECT_EQ(rule.counters, (Counters{1, 2}));
  // tcp: ports 0:65535 and 22:22; user space sets all 16 bytes of it.
  const Extension& tcp = rule.matches[0];
  EXPECT_EQ(tcp.name, "tcp");
  EXPECT_EQ(tcp.revision, 0);
  EXPECT_EQ(tcp.payload, (std::vector<uint8_t>{0, 0, 0xff, 0xff, 22, 0, 22, 0,
                                               0, 0, 0, 0, 0, 0, 0, 0}));
}

TEST(ParseSave, KernelNames) {
  const Ruleset ruleset =
      ParseOk("*raw\n-A OUTPUT -m state --state NEW -j NOTRACK\nCOMMIT\n");
  const Rule& rule = ruleset.table(TableKind::kRaw)->chains[1].rules[0];
  EXPECT_EQ(rule.matches[0].name, "conntrack");
  EXPECT_EQ(rule.matches[0].revision, 3);
  EXPECT_EQ(rule.target.extension.name, "CT");
}

TEST(ParseSave, BuiltinChainsAreAlwaysThere) {
  const Ruleset ruleset = ParseOk("*nat\n:zz - [0:0]\n:aa - [0:0]\nCOMMIT\n");
  EXPECT_EQ(Save(ruleset),
            "*nat\n"
            ":PREROUTING ACCEPT [0:0]\n"
            ":INPUT ACCEPT [0:0]\n"
            ":OUTPUT ACCEPT [0:0]\n"
            ":POSTROUTING ACCEPT [0:0]\n"
            ":aa - [0:0]\n"
            ":zz - [0:0]\n"
            "COMMIT\n");
}

TEST(ParseSave, CountersAndPolicies) {
  const std::string text =
      "*filter\n"
      ":INPUT DROP [10:200]\n"
      ":FORWARD ACCEPT\n"
      "[18446744073709551615:7] -A INPUT -j ACCEPT\n"
      "-A INPUT -c 5 6 -j DROP\n"
      "-A INPUT -c 8,9\n"
      "-P OUTPUT DROP -c 3 4\n"
      "COMMIT\n";
  EXPECT_EQ(PrintSave(ParseOk(text), {.counters = true, .header = false}),
            "*filter\n"
            ":INPUT DROP [10:200]\n"
            ":FORWARD ACCEPT [0:0]\n"
            ":OUTPUT DROP [3:4]\n"
            "[18446744073709551615:7] -A INPUT -j ACCEPT\n"
            "[5:6] -A INPUT -j DROP\n"
            "[8:9] -A INPUT\n"
            "COMMIT\n");
  const Ruleset without =
      ParseOk("*filter\n:INPUT DROP [1:2]\n[3:4] -A INPUT\nCOMMIT\n",
              {.counters = false});
  EXPECT_EQ(without.tables[0].chains[0].counters, Counters{});
  EXPECT_EQ(without.tables[0].chains[0].rules[0].counters, Counters{});
}

TEST(ParseSave, Commands) {
  EXPECT_EQ(Save(ParseOk("*filter\n"
                         "-N one\n"
                         "-N two\n"
                         "-N three\n"
                         "-A one -j two\n"
                         "-A INPUT -j one\n"
                         "-A INPUT -s 10.0.0.1\n"
                         "-A INPUT -s 10.0.0.2\n"
                         "-A INPUT -s 10.0.0.3\n"
                         "-I INPUT -s 10.0.0.4\n"
                         "-I INPUT 3 -s 10.0.0.5\n"
                         "-C INPUT -s 10.0.0.3\n"
                         "-D INPUT 1\n"
                         "-D INPUT -s 10.0.0.2\n"
                         "-R INPUT 4 -s 10.0.0.6\n"
                         "-E two four\n"
                         "-X three\n"
                         "-L\n"
                         "-S INPUT\n"
                         "-P FORWARD DROP\n"
                         "COMMIT\n")),
            "*filter\n"
            ":INPUT ACCEPT [0:0]\n"
            ":FORWARD DROP [0:0]\n"
            ":OUTPUT ACCEPT [0:0]\n"
            ":four - [0:0]\n"
            ":one - [0:0]\n"
            "-A INPUT -j one\n"
            "-A INPUT -s 10.0.0.5/32\n"
            "-A INPUT -s 10.0.0.1/32\n"
            "-A INPUT -s 10.0.0.6/32\n"
            "-A one -j four\n"
            "COMMIT\n");
  EXPECT_EQ(Rules(ParseOk(Filter("-A INPUT\n-A OUTPUT\n-F INPUT\n"))),
            "-A OUTPUT\n");
  EXPECT_EQ(Rules(ParseOk(Filter("-A INPUT\n-A OUTPUT\n-F\n-X\n"))), "");
  EXPECT_EQ(PrintSave(ParseOk("*filter\n[1:2] -A INPUT\n[3:4] -A INPUT\n"
                              "-Z INPUT 2\nCOMMIT\n"),
                      {.counters = true, .header = false}),
            "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
            ":OUTPUT ACCEPT [0:0]\n[1:2] -A INPUT\n[0:0] -A INPUT\nCOMMIT\n");
}

TEST(ParseSave, LinesForTheOtherFamily) {
  const std::string text =
      Filter("-A INPUT -6 -j NOSUCH\n-4 -A INPUT -j ACCEPT\n");
  EXPECT_EQ(Rules(ParseOk(text)), "-A INPUT -j ACCEPT\n");
  const std::string text6 =
      Filter("-A INPUT -4 -s 10.0.0.1\n-A INPUT --ipv6 -j DROP\n");
  EXPECT_EQ(Rules(ParseOk(text6, {.family = Family::kIpv6})),
            "-A INPUT -j DROP\n");
}

TEST(ParseSave, FamilyFromTheHeader) {
  const std::string v6 =
      "# Generated by ip6tables-save v1.8.9 on Tue\n*filter\nCOMMIT\n";
  EXPECT_EQ(ParseOk(v6).family, Family::kIpv6);
  EXPECT_EQ(ParseOk("# Generated by iptables-save\n*filter\nCOMMIT\n").family,
            Family::kIpv4);
  EXPECT_EQ(ParseOk("*filter\nCOMMIT\n" + v6).family, Family::kIpv4);
  EXPECT_EQ(ParseOk(v6, {.family = Family::kIpv4}).family, Family::kIpv4);
  EXPECT_EQ(ParseOk("").family, Family::kIpv4);
}

TEST(ParseSave, SecondTableOfAKindReplacesTheFirst) {
  EXPECT_EQ(Rules(ParseOk("*filter\n-A INPUT -j DROP\nCOMMIT\n"
                          "*filter\n-A OUTPUT -j DROP\nCOMMIT\n")),
            "-A OUTPUT -j DROP\n");
}

TEST(ParseSave, Noflush) {
  const Ruleset base = ParseOk(
      "*filter\n:INPUT DROP [0:0]\n:a - [0:0]\n:b - [0:0]\n"
      "-A INPUT -j a\n-A a -j ACCEPT\n-A b -j DROP\nCOMMIT\n"
      "*nat\n-A OUTPUT -j ACCEPT\nCOMMIT\n");
  const Ruleset sum = ParseOk(
      "*filter\n:b - [0:0]\n:c - [0:0]\n-A b -j c\n-A INPUT -j b\nCOMMIT\n",
      {.base = &base});
  EXPECT_EQ(Save(sum),
            "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n"
            ":OUTPUT ACCEPT [0:0]\n:a - [0:0]\n:b - [0:0]\n:c - [0:0]\n"
            "-A INPUT -j a\n-A INPUT -j b\n-A a -j ACCEPT\n-A b -j c\nCOMMIT\n"
            "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
            ":OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
            "-A OUTPUT -j ACCEPT\nCOMMIT\n");
  EXPECT_FALSE(ParseSave("*filter\nCOMMIT\n",
                         {.family = Family::kIpv6, .base = &base}, nullptr));
}

TEST(ParseSave, ChainWithTheNameOfATarget) {
  EXPECT_EQ(Rules(ParseOk("*filter\n:LOG - [0:0]\n-A INPUT -j LOG\nCOMMIT\n")),
            "-A INPUT -j LOG\n");
  const Ruleset ruleset = ParseOk(
      "*filter\n:LOG - [0:0]\n-A INPUT -j LOG\nCOMMIT\n"
      "*nat\n-A OUTPUT -j LOG\nCOMMIT\n");
  EXPECT_EQ(ruleset.table(TableKind::kFilter)->chains[0].rules[0].target.kind,
            TargetKind::kJump);
  EXPECT_EQ(ruleset.table(TableKind::kNat)->chains[2].rules[0].target.kind,
            TargetKind::kExtension);
}

TEST(ParseSave, Warnings) {
  std::vector<Warning> warnings;
  ASSERT_TRUE(ParseSave(Filter("-A INPUT -s localhost\n"
                               "-A INPUT -i et/h\n-L\n"),
                        {.file = "f"}, &warnings));
  ASSERT_EQ(warnings.size(), 3u);
  EXPECT_THAT(warnings[0].message, HasSubstr("localhost"));
  EXPECT_EQ(warnings[0].place.line, 3u);
  EXPECT_THAT(warnings[1].message, HasSubstr("et/h"));
  EXPECT_EQ(warnings[1].place.line, 4u);
  EXPECT_EQ(warnings[2].place.line, 5u);
  EXPECT_EQ(warnings[2].place.file, "f");
}

struct BadCase {
  const char* name;
  std::string text;
  ErrorCode code;
  uint32_t line;
  uint32_t column;
  const char* message;
  Family family = Family::kIpv4;
};

std::vector<BadCase> BadCases() {
  using enum ErrorCode;
  const std::string start = "*filter\n:user - [0:0]\n";
  const auto rule = [&](const char* text) { return start + text + "\n"; };
  return {
      {"truncated", start + "-A INPUT -j ACCEPT\n", kSyntax, 4, 0, "COMMIT"},
      {"truncated_in_commit", "*filter\nCOMMIT", kSyntax, 2, 1, "cut off"},
      {"truncated_in_rule", start + "-A INPUT -p tcp --dpo", kSyntax, 3, 17,
       "needs an argument"},
      {"text_before_table", "-A INPUT\n", kSyntax, 1, 1, "*table"},
      {"unknown_table", "*broute\n", kUnsupported, 1, 2, "unknown table"},
      {"no_table_name", "*\n", kUnsupported, 1, 1, "unknown table"},
      {"table_in_table", "*filter\n*nat\nCOMMIT\n", kSyntax, 2, 1,
       "before the COMMIT"},
      {"crlf", "*filter\r\nCOMMIT\r\n", kSyntax, 1, 8, "CR LF"},
      {"crlf_rule", start + "-A INPUT -j DROP\r\nCOMMIT\n", kSyntax, 3, 17,
       "CR LF"},
      {"nul", start + std::string("-A INPUT -j DR\0P\n", 17), kSyntax, 3, 15,
       "NUL"},
      {"nul_in_comment", std::string("# a\0b\n", 6), kSyntax, 1, 4, "NUL"},
      {"long_line",
       start + "-A INPUT -m comment --comment \"" + std::string(1 << 20, 'x') +
           "\"\n",
       kRange, 3, 10239, "line of 1048608 bytes"},
      {"long_comment", "#" + std::string(10240, 'x') + "\n", kRange, 1, 10239,
       "line of"},
      {"long_word",
       start + "-A INPUT -m comment --comment " + std::string(1024, 'x') + "\n",
       kRange, 3, 31, "word of over 1023 bytes"},
      {"open_quote", rule("-A INPUT -m comment --comment \"x -j DROP"), kSyntax,
       3, 31, "quote"},
      {"unknown_match", rule("-A INPUT -m nosuch -j DROP"), kUnsupported, 3, 13,
       "unknown match 'nosuch'"},
      {"match_path", rule("-A INPUT -m ../x"), kUnsupported, 3, 13,
       "unknown match"},
      {"jump_to_nowhere", rule("-A INPUT -j nosuch"), kSyntax, 3, 13,
       "neither a chain of this table nor a target"},
      {"goto_nowhere", rule("-A INPUT -g nosuch"), kSyntax, 3, 13,
       "no such chain"},
      {"jump_to_builtin", rule("-A INPUT -j FORWARD"), kSyntax, 3, 13,
       "built-in"},
      {"jump_before_declaration", "*filter\n-A INPUT -j x\n:x - [0:0]\n",
       kSyntax, 2, 13, "neither"},
      {"standard_as_extension", rule("-A INPUT -j standard"), kSyntax, 3, 13,
       "neither"},
      {"append_to_nowhere", rule("-A nosuch -j DROP"), kConflict, 3, 4,
       "no chain 'nosuch'"},
      {"wrong_table_snat", rule("-A INPUT -j SNAT --to-source 10.0.0.1"),
       kConflict, 3, 13, "wrong table: target SNAT is only for the nat table"},
      {"wrong_table_reject", "*nat\n-A OUTPUT -j REJECT\nCOMMIT\n", kConflict,
       2, 14, "wrong table"},
      {"wrong_table_notrack", rule("-A INPUT -j NOTRACK"), kConflict, 3, 13,
       "wrong table"},
      {"wrong_table_tos", rule("-A INPUT -j TOS --set-tos 8"), kConflict, 3, 13,
       "mangle"},
      {"nat_drop", "*nat\n-A OUTPUT -j DROP\nCOMMIT\n", kSyntax, 2, 14,
       "wrong table"},
      {"nat_policy", "*nat\n-P OUTPUT DROP\nCOMMIT\n", kSyntax, 2, 4,
       "wrong table"},
      {"loop", start + "-A INPUT -j user\n-A user -j user\nCOMMIT\n", kConflict,
       4, 9, "loop of chains in table filter: user -> user"},
      {"unknown_option", rule("-A INPUT --dport 5"), kSyntax, 3, 10,
       "unknown option '--dport' (no -p or -m before it)"},
      {"unknown_short_option", rule("-A INPUT -q"), kSyntax, 3, 10,
       "unknown option '-q'"},
      {"ambiguous_option", rule("-A INPUT --in x"), kSyntax, 3, 10,
       "unknown option"},
      {"option_of_other_family", rule("-A INPUT -f"), kSyntax, 3, 10,
       "not for IPv6", Family::kIpv6},
      {"no_argument", rule("-A INPUT -s"), kSyntax, 3, 10, "needs an argument"},
      {"argument_not_taken", rule("-A INPUT --fragments=1"), kSyntax, 3, 10,
       "takes no argument"},
      {"attached_value", rule("-A INPUT -s10.0.0.1"), kSyntax, 3, 10,
       "word of its own"},
      {"attached_value_long", rule("-A INPUT --jump=DROP"), kSyntax, 3, 10,
       "the value of '-j' must be a word of its own"},
      {"stray_word", rule("-A INPUT DROP"), kSyntax, 3, 10, "bad argument"},
      {"double_not", rule("-A INPUT ! ! -s 10.0.0.1"), kSyntax, 3, 12, "'!'"},
      {"not_at_end", rule("-A INPUT -j DROP !"), kSyntax, 3, 18, "after '!'"},
      {"not_in_old_place", rule("-A INPUT -s ! 10.0.0.1"), kSyntax, 3, 13,
       "must stand before '-s'"},
      {"not_before_jump", rule("-A INPUT ! -j DROP"), kSyntax, 3, 12,
       "not allowed before"},
      {"not_before_match", rule("-A INPUT ! -m tcp"), kSyntax, 3, 12,
       "not allowed before"},
      {"not_before_command", rule("! -A INPUT"), kSyntax, 3, 3,
       "before a command"},
      {"not_all", rule("-A INPUT ! -p all"), kSyntax, 3, 12, "never match"},
      {"not_list", rule("-A INPUT ! -s 10.0.0.1,10.0.0.2"), kSyntax, 3, 15,
       "several addresses"},
      {"twice", rule("-A INPUT -s 10.0.0.1 -s 10.0.0.2"), kSyntax, 3, 22,
       "more than once"},
      {"two_targets", rule("-A INPUT -j DROP -g user"), kSyntax, 3, 18,
       "more than once"},
      {"two_commands", rule("-A INPUT -D INPUT"), kSyntax, 3, 10,
       "two commands"},
      {"no_command", rule("-s 10.0.0.1 -j DROP"), kSyntax, 3, 1, "no command"},
      {"blank_line", rule("  "), kSyntax, 3, 0, "no command"},
      {"bad_address", rule("-A INPUT -s 10.0.0.256/8"), kSyntax, 3, 13,
       "not an address"},
      {"bad_mask", rule("-A INPUT -s 10.0.0.1/99"), kSyntax, 3, 13,
       "invalid mask"},
      {"bad_address6", rule("-A INPUT -s 10.0.0.1"), kSyntax, 3, 13,
       "not an address", Family::kIpv6},
      {"bad_protocol", rule("-A INPUT -p nosuch"), kSyntax, 3, 13,
       "unknown protocol"},
      {"bad_port", rule("-A INPUT -p tcp --dport 65536"), kSyntax, 3, 17,
       "65536"},
      {"bad_port_udp", rule("-A INPUT -p udp --dport nosuch"), kSyntax, 3, 17,
       "nosuch"},
      {"bad_state", rule("-A INPUT -m state --state NEU"), kSyntax, 3, 19,
       "NEU"},
      {"missing_option", rule("-A INPUT -m state -j DROP"), kSyntax, 3, 10,
       "state"},
      {"missing_target_option", "*nat\n-A OUTPUT -j DNAT\nCOMMIT\n", kSyntax, 2,
       11, "DNAT"},
      {"excluded_options",
       rule("-A INPUT -p tcp -m multiport --dports 1 --sports 2"), kSyntax, 3,
       17, "multiport"},
      {"multiport_without_protocol", rule("-A INPUT -m multiport --dports 1"),
       kSyntax, 3, 23, "multiport needs"},
      {"interface_of_other_direction", rule("-A INPUT -o eth0"), kSyntax, 3, 10,
       "-o is not allowed in chain INPUT"},
      {"interface_of_other_direction2", rule("-A OUTPUT -i eth0"), kSyntax, 3,
       11, "-i is not allowed in chain OUTPUT"},
      {"long_interface", rule("-A INPUT -i abcdefghijklmnop"), kSyntax, 3, 13,
       "longer than 15 bytes"},
      {"empty_interface", rule("-A INPUT -i \"\""), kSyntax, 3, 13, "empty"},
      {"table_option", rule("-A INPUT -t nat"), kSyntax, 3, 10, "-t"},
      {"wait_option", rule("-A INPUT -w"), kSyntax, 3, 10, "-w"},
      {"help", rule("-h"), kSyntax, 3, 1, "not a command"},
      {"illegal_option", rule("-F INPUT -j DROP"), kSyntax, 3, 1,
       "'-j' is not allowed with this command"},
      {"counters_on_delete", rule("-D INPUT -c 1 2"), kSyntax, 3, 1, "'-c'"},
      {"numeric", rule("-A INPUT -n"), kSyntax, 3, 1, "'-n'"},
      {"bad_counters", rule("[1] -A INPUT"), kSyntax, 3, 1, "bad counters"},
      {"open_counters", rule("[1:2 -A INPUT"), kSyntax, 3, 1, "bad counters"},
      {"counters_twice", rule("[1:2] -A INPUT -c 1 2"), kSyntax, 3, 1,
       "counters given twice"},
      {"bad_counter", rule("-A INPUT -c x 2"), kSyntax, 3, 10, "not a number"},
      {"one_counter", rule("-A INPUT -c 2"), kSyntax, 3, 10, "byte counter"},
      {"chain_without_name", "*filter\n:\n", kSyntax, 2, 1, "name is missing"},
      {"chain_without_policy", "*filter\n:x\n", kSyntax, 2, 2, "no policy"},
      {"chain_twice", rule(":user - [0:0]"), kConflict, 3, 2, "declared twice"},
      {"chain_name_too_long",
       "*filter\n:" + std::string(29, 'x') + " - [0:0]\n", kSyntax, 2, 2,
       "at most 28"},
      {"chain_like_target", "*filter\n:DROP - [0:0]\n", kConflict, 2, 2,
       "standard target"},
      {"user_policy", "*filter\n:x DROP [0:0]\n", kSyntax, 2, 4,
       "cannot have a policy"},
      {"bad_policy", "*filter\n:INPUT RETURN [0:0]\n", kSyntax, 2, 8,
       "bad policy"},
      {"bad_policy_counters", "*filter\n:INPUT DROP [0]\n", kSyntax, 2, 13,
       "bad policy counters"},
      {"new_chain_exists", rule("-N user"), kConflict, 3, 4, "already exists"},
      {"new_chain_target", rule("-N LOG"), kConflict, 3, 4, "name of a target"},
      {"new_chain_name", rule("-N \"a b\""), kSyntax, 3, 4,
       "invalid chain name"},
      {"new_chain_too_long", rule("-N abcdefghijklmnopqrstuvwxyzabc"), kSyntax,
       3, 1, "longer than 28"},
      {"delete_builtin", rule("-X INPUT"), kConflict, 3, 4, "built in"},
      {"delete_used", start + "-A INPUT -j user\n-X user\n", kConflict, 4, 4,
       "referenced"},
      {"delete_full", start + "-A user\n-X user\n", kConflict, 4, 4,
       "not empty"},
      {"rename_builtin", rule("-E INPUT x"), kConflict, 3, 4, "built in"},
      {"rename_one_name", rule("-E user"), kSyntax, 3, 1, "old and a new"},
      {"policy_of_user", rule("-P user DROP"), kConflict, 3, 4, "no policy"},
      {"policy_word", rule("-P INPUT QUEUE"), kSyntax, 3, 4, "bad policy"},
      {"delete_index", rule("-D INPUT 1"), kRange, 3, 4, "too big"},
      {"delete_zero", rule("-D INPUT 0"), kSyntax, 3, 10, "rule number"},
      {"delete_missing", rule("-D INPUT -j DROP"), kConflict, 3, 4,
       "no such rule"},
      {"check_missing", rule("-C INPUT -j DROP"), kConflict, 3, 4,
       "no such rule"},
      {"insert_index", rule("-I INPUT 2 -j DROP"), kRange, 3, 4, "too big"},
      {"replace_list", start + "-A INPUT\n-R INPUT 1 -s 10.0.0.1,10.0.0.2\n",
       kSyntax, 4, 15, "one source"},
      {"target_of_other_family",
       "*mangle\n-A OUTPUT -j TTL --ttl-set 4\nCOMMIT\n", kSyntax, 2, 14,
       "neither", Family::kIpv6},
      {"target_name_too_long",
       rule("-A INPUT -j abcdefghijklmnopqrstuvwxyzabc"), kSyntax, 3, 13,
       "invalid target name"},
      {"too_many_words",
       start + "-A INPUT" +
           [] {
             std::string many;
             for (int i = 0; i < 250; ++i) many += " -v";
             return many;
           }() +
           "\n",
       kRange, 3, 757, "over 251 words"},
      {"hashlimit_of_no_credit",
       rule("-A INPUT -m hashlimit --hashlimit-upto 1b/s --hashlimit-burst 10 "
            "--hashlimit-mode srcip --hashlimit-name x"),
       kSyntax, 3, 10, "so few bytes"},
      {"unknown_set", rule("-A INPUT -m set --match-set nosuchset src"),
       kSyntax, 3, 17, ""},
  };
}

// Keeps addresses out of the names of the tests.
void PrintTo(const BadCase& c, std::ostream* out) { *out << c.name; }

class ParseSaveRefuses : public testing::TestWithParam<BadCase> {};

TEST_P(ParseSaveRefuses, WithThePlace) {
  const BadCase& c = GetParam();
  const auto parsed = ParseSave(
      c.text, {.file = "rules", .family = c.family, .resolve = false}, nullptr);
  ASSERT_FALSE(parsed);
  const Error& error = parsed.error();
  EXPECT_THAT(error.message, HasSubstr(c.message));
  EXPECT_EQ(error.place.file, "rules");
  EXPECT_EQ(error.place.line, c.line) << error.ToString();
  EXPECT_EQ(error.place.column, c.column) << error.ToString();
  if (std::string_view(c.name) != "unknown_set") {
    EXPECT_EQ(ErrorCodeName(error.code), std::string(ErrorCodeName(c.code)))
        << error.ToString();
  }
}

INSTANTIATE_TEST_SUITE_P(All, ParseSaveRefuses, testing::ValuesIn(BadCases()),
                         [](const auto& param) {
                           return std::string(param.param.name);
                         });

// 65 chains deep is nothing special to xtables, which has no limit.
TEST(ParseSave, DeepJumps) {
  std::string text = "*filter\n";
  for (int i = 0; i < 65; ++i) text += ":c" + std::to_string(i) + " - [0:0]\n";
  text += "-A INPUT -j c0\n";
  for (int i = 0; i + 1 < 65; ++i) {
    text += "-A c" + std::to_string(i) + " -j c" + std::to_string(i + 1) + "\n";
  }
  EXPECT_EQ(ParseOk(text + "COMMIT\n").rules_count(), 65u);
}

TEST(ParseSave, ManyChainsInAnyOrder) {
  std::string text = "*filter\n";
  for (int i = 0; i < 20000; ++i) {
    text += ":c" + std::to_string(i * 7919 % 20000) + " - [0:0]\n";
  }
  for (int i = 0; i < 20000; ++i) {
    text += "-A c" + std::to_string(i * 104729 % 20000) + " -j RETURN\n";
  }
  const Ruleset ruleset = ParseOk(text + "COMMIT\n");
  const Table& table = ruleset.tables[0];
  EXPECT_EQ(table.chains.size(), 20003u);
  for (size_t i = 4; i < table.chains.size(); ++i) {
    ASSERT_LT(table.chains[i - 1].name, table.chains[i].name);
    ASSERT_EQ(table.chains[i].rules.size(), 1u);
  }
}

TEST(ParseRule, WithoutAChain) {
  const auto rule = ParseRule("-s 192.0.2.0/24 -p tcp --dport 22 -j somewhere",
                              Family::kIpv4, TableKind::kFilter);
  ASSERT_TRUE(rule) << rule.error().ToString();
  EXPECT_EQ(rule->target.kind, TargetKind::kJump);
  EXPECT_EQ(PrintRule(Family::kIpv4, "X", *rule),
            "-A X -s 192.0.2.0/24 -p tcp -m tcp --dport 22 -j somewhere");
}

TEST(ParseRule, Refuses) {
  const auto error = [](std::string_view text,
                        TableKind table = TableKind::kFilter) {
    const auto rule = ParseRule(text, Family::kIpv4, table);
    return rule ? std::string("accepted") : rule.error().message;
  };
  EXPECT_THAT(error("-A INPUT -j DROP"), HasSubstr("a command"));
  EXPECT_THAT(error("-s 10.0.0.1,10.0.0.2"), HasSubstr("several"));
  EXPECT_THAT(error("-6"), HasSubstr("other family"));
  EXPECT_THAT(error("-j SNAT --to-source 10.0.0.1"), HasSubstr("wrong table"));
  EXPECT_THAT(error(std::string_view("-j DROP\0", 8)), HasSubstr("NUL"));
  EXPECT_THAT(error(std::string(20000, 'x')), HasSubstr("20000 bytes"));
  EXPECT_EQ(error("-j SNAT --to-source 10.0.0.1", TableKind::kNat), "accepted");
}

}  // namespace
}  // namespace nfarena
