// Why a native lowering is right: each match that nf_tables' own expressions
// carry, on packets it holds for, just misses, and that are cut off or
// fragments, through both kernel engines and the twins.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <ctime>
#include <string>
#include <vector>

#include "bench/correctness/differential.h"
#include "compat/syntax/save_parser.h"
#include "engines/core/packet_text.h"
#include "engines/registry.h"

namespace nfarena {
namespace {

/// A rule of FORWARD that accepts, in a chain that drops the rest.
struct Case {
  std::string rule;
  std::vector<std::string> packets;
  std::string verdicts;  // A or D, one a packet
  Family family = Family::kIpv4;
  const char* raw = "";  // rules of raw PREROUTING
  bool twins = true;     // can express it as well
};

std::string RulesetText(const Case& c) {
  std::string text;
  if (*c.raw != 0) {
    text = fmt::format(
        "*raw\n:PREROUTING ACCEPT [0:0]\n"
        ":OUTPUT ACCEPT [0:0]\n-A PREROUTING {}\nCOMMIT\n",
        c.raw);
  }
  return text +
         "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n"
         ":OUTPUT ACCEPT [0:0]\n-A FORWARD " +
         c.rule + " -j ACCEPT\nCOMMIT\n";
}

class NativeKernelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"kernel-legacy", "kernel-nft"}) {
      const Status available = (*FindEngine(name))->Available();
      if (!available) GTEST_SKIP() << available.error().ToString();
    }
  }

  /// "" or what is wrong.
  static std::string Wrong(const Case& c);
};

std::string NativeKernelTest::Wrong(const Case& c) {
  const std::string text = RulesetText(c);
  const auto ruleset =
      ParseSave(text, {.file = "rules", .family = c.family}, nullptr);
  if (!ruleset) return ruleset.error().ToString();
  std::string lines;
  for (const std::string& packet : c.packets) lines += packet + "\n";
  const auto packets = ParsePackets(lines, "packets");
  if (!packets) return packets.error().ToString();

  std::vector<const Engine*> engines;
  for (const char* name :
       {"kernel-legacy", "kernel-nft", "vm", "legacy", "reference"}) {
    engines.push_back(*FindEngine(name));
  }
  if (!c.twins) engines.resize(2);
  for (const RuleNote& note : engines[1]->Notes(*ruleset)) {
    if (note.rule.table == TableKind::kFilter) {
      return "not native: " + note.reason;
    }
  }
  const DifferentialCase differential{.id = c.rule,
                                      .ruleset = &*ruleset,
                                      .ruleset_path = "FILE",
                                      .packets = *packets,
                                      .ipset_save = ""};
  const auto report = RunDifferential(differential, engines, {.shrink = false});
  if (!report) return report.error().ToString();
  for (const EngineRun& run : report->runs) {
    if (run.state != RunState::kRan) return run.engine + ": " + run.reason;
  }
  if (!report->differences.empty()) {
    return report->differences[0].ToString(differential) + text;
  }
  std::string verdicts;
  for (const Outcome& outcome : report->base_outcomes) {
    verdicts += outcome.verdict == VerdictKind::kAccept ? 'A'
                : outcome.verdict == VerdictKind::kDrop ? 'D'
                                                        : '?';
  }
  if (verdicts != c.verdicts) {
    return fmt::format("{}: {}, not {}", c.rule, verdicts, c.verdicts);
  }
  return "";
}

std::string Udp(const std::string& more, int source_port = 1000) {
  return fmt::format(
      "IN=eth0 OUT=eth1 SRC=192.0.2.1 DST=203.0.113.9 {} PROTO=UDP SPT={} "
      "DPT=53 {}",
      more.starts_with("PAYLOAD") ? "" : more, source_port,
      more.starts_with("PAYLOAD") ? more : "");
}

std::string Tcp(const std::string& flags) {
  return "IN=eth0 OUT=eth1 SRC=192.0.2.1 DST=203.0.113.9 PROTO=TCP SPT=1024 "
         "DPT=22 " +
         flags;
}

std::string Udp6(int payload_bytes) {
  return fmt::format(
      "IN=eth0 OUT=eth1 SRC=2001:db8::1 DST=2001:db8:1::9 PROTO=UDP SPT=1 "
      "DPT=53 PAYLOAD={}",
      std::string(static_cast<size_t>(payload_bytes) * 2, '0'));
}

/// An IPv4 packet from 192.0.2.1 to 203.0.113.9 with what follows its header.
std::string Raw(uint8_t protocol, uint16_t fragment,
                const std::string& payload) {
  const size_t length = 20 + payload.size() / 2;
  uint32_t sum = 0x4500 + static_cast<uint32_t>(length) + 1 + fragment +
                 (uint32_t{64} << 8 | protocol) + 0xc000 + 0x0201 + 0xcb00 +
                 0x7109;
  while (sum > 0xffff) sum = (sum >> 16) + (sum & 0xffff);
  return fmt::format(
      "IN=eth0 OUT=eth1 BYTES=4500{:04x}0001{:04x}40{:02x}{:04x}c0000201"
      "cb007109{}",
      length, fragment, protocol, 0xffff - sum, payload);
}

// A TCP header with ECE and SYN.
constexpr const char kTcpEce[] = "040000160000000000000000504203e800000000";

TEST_F(NativeKernelTest, QuotaEndsWithTheByte) {
  // 28 bytes each.
  const std::vector<std::string> five(5, Udp(""));
  for (const Case& c : std::vector<Case>{
           {"-m quota --quota 84", five, "AAADD"},
           {"-m quota --quota 83", five, "AADDD"},
           {"-m quota --quota 111", five, "AAADD"},
           {"-m quota ! --quota 84", five, "DDDAA"},
           {"-m quota --quota 0", five, "DDDDD"},
           {"-m quota ! --quota 0", five, "AAAAA"},
           // What does not fit ends it, also for smaller ones.
           {"-m quota --quota 60",
            {Udp(""), Udp("PAYLOAD=0000000000"), Udp("")},
            "ADD"},
           {"-m quota --quota 9223372036854775807", five, "AAAAA"}}) {
    EXPECT_EQ(Wrong(c), "");
  }
}

TEST_F(NativeKernelTest, WordsOfU32) {
  const std::string udp = Udp("");
  for (const Case& c : std::vector<Case>{
           {"-m u32 --u32 \"6&0xFF=17\"", {udp, Tcp("SYN")}, "AD"},
           {"-m u32 --u32 \"0>>22&0x3C=20\"", {udp}, "A"},
           {"-m u32 --u32 \"0>>22&0x3C=16\"", {udp}, "D"},
           {"-m u32 --u32 \"2<<16>>16=1\"", {udp, Udp("ID=2")}, "AD"},
           {"-m u32 --u32 \"8>>24=1:64\"",
            {udp, Udp("TTL=66"), Udp("TTL=2")},
            "ADA"},
           {"-m u32 --u32 \"20>>16=998,1000:1001,65535\"",
            {udp, Udp("", 998), Udp("", 999), Udp("", 1001), Udp("", 1002),
             Udp("", 65535)},
            "AADADA"},
           {"-m u32 --u32 \"20>>16=999,1000,1002\"",
            {udp, Udp("", 998), Udp("", 1001), Udp("", 1002)},
            "ADDA"},
           {"-m u32 --u32 \"16=0xcb007109\"", {udp}, "A"},
           {"-m u32 --u32 \"16=0xcb007109&&20&0xffff=54\"", {udp}, "D"},
           {"-m u32 --u32 \"0x0=0x0&&0x0=0x1\"", {udp}, "D"},
           // At the end of the packet, and past it.
           {"-m u32 --u32 \"28=0\"",
            {udp, Udp("PAYLOAD=000000"), Udp("PAYLOAD=00000000")},
            "DDA"},
           {"-m u32 --u32 \"29=0\"",
            {Udp("PAYLOAD=00000000"), Udp("PAYLOAD=0000000000")},
            "DA"},
           // Later fragments have words like others.
           {"-m u32 --u32 \"20=0x01020304\"",
            {Raw(17, 0x00b9, "0102030400000000"),
             Raw(17, 0x2000, "0102030400080000")},
            "AA"},
           {"-m u32 --u32 \"4&0x1FFF=0&&0>>22&0x3C@0>>16=0x0102\"",
            {Raw(17, 0x00b9, "0102030400000000"),
             Raw(17, 0x2000, "0102030400080000"), Raw(17, 0, "010203")},
            "DAD"},
           {"! -f -m u32 --u32 \"0>>22&0x3C@2&0xffff=0x0008\"",
            {Raw(17, 0x00b9, "0102030400080000"),
             Raw(17, 0x2000, "0102030400080000")},
            "DA"},
           {"! -f -m u32 --u32 \"0>>22&0x3C@2&0xffff=0x000b\"",
            {Raw(17, 0x2000, "01020035000b0000")},
            "A"},
           {"-m u32 --u32 \"40>>16=1\"", {Udp6(4)}, "A", Family::kIpv6},
           {"-m u32 --u32 \"48=0\"",
            {Udp6(3), Udp6(4)},
            "DA",
            Family::kIpv6}}) {
    EXPECT_EQ(Wrong(c), "");
  }
}

TEST_F(NativeKernelTest, TextAtOnePlace) {
  const char* abc = "-m string --string abc --algo kmp --from 28 --to 31";
  const char* twenty =
      "-m string --string abcdefghijklmnopqrst --algo kmp --from 28 --to 48";
  const std::string text = "6162636465666768696a6b6c6d6e6f7071727374";
  for (const Case& c : std::vector<Case>{
           {abc,
            {Udp("PAYLOAD=616263"), Udp("PAYLOAD=6162"),
             Udp("PAYLOAD=00616263"), Udp("PAYLOAD=61626300"), Udp(""),
             Udp("PAYLOAD=616162636162"), Udp("PAYLOAD=616200")},
            "ADDADDD"},
           {twenty,
            {Udp("PAYLOAD=" + text), Udp("PAYLOAD=" + text + "00"),
             Udp("PAYLOAD=00" + text),
             Udp("PAYLOAD=" + text.substr(0, 38) + "75"),
             Udp("PAYLOAD=" + text.substr(0, 38))},
            "AADDD"},
           {"-m string --string \"\\\\\" --algo kmp --from 20 --to 21",
            {Raw(17, 0x00b9, "5c00000000000000"),
             Raw(17, 0x00b9, "5b5c000000000000")},
            "AD"}}) {
    EXPECT_EQ(Wrong(c), "");
  }
}

TEST_F(NativeKernelTest, EcnOfIpAndTcp) {
  const std::string whole(kTcpEce);
  for (const Case& c : std::vector<Case>{
           {"-m ecn --ecn-ip-ect 2",
            {Udp("TOS=0x02"), Udp("TOS=0x03"), Udp("TOS=0x00"),
             Udp("TOS=0x02 PREC=0xe0")},
            "ADDA"},
           {"-m ecn ! --ecn-ip-ect 0",
            {Udp("TOS=0x00"), Udp("TOS=0x01")},
            "DA"},
           {"-p tcp -m ecn --ecn-tcp-ece",
            {Tcp("SYN"), Tcp("SYN ECE"), Tcp("SYN CWR"), Udp("")},
            "DADD"},
           {"-p tcp -m ecn ! --ecn-tcp-ece --ecn-tcp-cwr --ecn-ip-ect 0",
            {Tcp("SYN CWR"), Tcp("SYN ECE CWR"), Tcp("SYN")},
            "ADD"},
           {"-p tcp -m ecn ! --ecn-tcp-cwr",
            {Tcp("SYN CWR"), Tcp("SYN")},
            "DA"},
           // A header that is cut off misses; a later fragment's bytes count.
           {"-p tcp -m ecn --ecn-tcp-ece",
            {Raw(6, 0, whole), Raw(6, 0, whole.substr(0, 38)),
             Raw(6, 0, whole.substr(0, 28)), Raw(6, 0x00b9, whole + "00000000"),
             Raw(6, 0x00b9, whole.substr(0, 32))},
            "ADDAD"},
           {"-p tcp -m ecn ! --ecn-tcp-ece",
            {Raw(6, 0, whole), Raw(6, 0, whole.substr(0, 28))},
            "DD"}}) {
    EXPECT_EQ(Wrong(c), "");
  }
}

TEST_F(NativeKernelTest, LengthOfIpv6CountsTheHeader) {
  for (const Case& c : std::vector<Case>{
           {"-m length --length 0:58",
            {Udp6(10), Udp6(11)},
            "AD",
            Family::kIpv6},
           {"-m length ! --length 0:58",
            {Udp6(10), Udp6(11)},
            "DA",
            Family::kIpv6},
           {"-m length --length 58:65535",
            {Udp6(9), Udp6(10)},
            "DA",
            Family::kIpv6},
           {"-m length --length 58",
            {Udp6(9), Udp6(10), Udp6(11)},
            "DAD",
            Family::kIpv6},
           {"-m length ! --length 0:65535", {Udp6(9)}, "D", Family::kIpv6}}) {
    EXPECT_EQ(Wrong(c), "");
  }
}

TEST_F(NativeKernelTest, CountsOfTheConnection) {
  const std::string back =
      "IN=eth1 OUT=eth0 SRC=203.0.113.9 DST=192.0.2.1 PROTO=UDP SPT=53 "
      "DPT=1000";
  // A packet that is dropped counts for its connection if that one exists.
  const std::vector<std::string> flow = {Udp(""), Udp(""),
                                         Udp("PAYLOAD=00000000"), Udp("")};
  const std::vector<std::string> both = {Udp(""), back, Udp(""), back, Udp("")};
  const std::string bytes = "--connbytes-mode bytes --connbytes-dir ";
  const std::string packets = "--connbytes-mode packets --connbytes-dir ";
  const std::string average = "--connbytes-mode avgpkt --connbytes-dir ";
  for (const Case& c : std::vector<Case>{
           {"-m connbytes --connbytes 1:1 " + packets + "original", flow,
            "ADDD"},
           {"-m connbytes --connbytes 0:1000 " + packets + "original", flow,
            "AAAA"},
           {"-m connbytes --connbytes 0:0 " + packets + "reply", both, "ADDDD"},
           {"-m connbytes ! --connbytes 1:2 " + packets + "both", flow, "DDDD"},
           {"-m connbytes ! --connbytes 2:3 " + packets + "both", both,
            "ADDAA"},
           {"-m connbytes --connbytes 28:56 " + bytes + "original", flow,
            "AADD"},
           {"-m connbytes --connbytes 0:28 " + average + "both", flow, "AADD"},
           {"-m connbytes --connbytes 29: " + average + "original", flow,
            "DDAA"}}) {
    EXPECT_EQ(Wrong(c), "");
  }
}

TEST_F(NativeKernelTest, DatesAndHours) {
  const auto now = static_cast<int64_t>(std::time(nullptr));
  const auto date = [now](int64_t more_s) {
    const std::time_t at = now + more_s;
    std::tm tm{};
    gmtime_r(&at, &tm);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", tm.tm_year + 1900,
                       tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                       tm.tm_sec);
  };
  const auto hour = [&date](int64_t more_s) { return date(more_s).substr(11); };
  const std::vector<std::string> one = {Udp("")};
  for (const Case& c :
       std::vector<Case>{{fmt::format("-m time --datestart {} --datestop {}",
                                      date(-3600), date(3600)),
                          one, "A"},
                         {fmt::format("-m time --datestart {} --datestop {}",
                                      date(-3600), date(-5)),
                          one, "D"},
                         {fmt::format("-m time --datestart {} --datestop {}",
                                      date(600), date(3600)),
                          one, "D"},
                         // Both ways round: one of these is over midnight.
                         {fmt::format("-m time --timestart {} --timestop {}",
                                      hour(-3600), hour(3600)),
                          one, "A"},
                         {fmt::format("-m time --timestart {} --timestop {}",
                                      hour(3600), hour(-3600)),
                          one, "D"},
                         {fmt::format("-m time --timestart {} --timestop {}",
                                      hour(-7200), hour(-5)),
                          one, "D"},
                         {"-m time", one, "A"}}) {
    EXPECT_EQ(Wrong(c), "");
  }
}

TEST_F(NativeKernelTest, DevicesRoutesAndTheCpu) {
  const std::vector<std::string> one = {Udp("")};
  cpu_set_t before, first;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  CPU_ZERO(&first);
  CPU_SET(0, &first);
  ASSERT_EQ(sched_setaffinity(0, sizeof(first), &first), 0);
  for (const Case& c : std::vector<Case>{
           {"-m devgroup --src-group 0x0", one, "A"},
           {"-m devgroup --src-group 0x1", one, "D"},
           {"-m devgroup ! --src-group 0x1 --dst-group 0x0", one, "A"},
           {"-m devgroup ! --dst-group 0x0/0xf", one, "D"},
           {"-m realm --realm 0x0", one, "A"},
           {"-m realm ! --realm 0x0", one, "D"},
           {"-m realm --realm 0x1/0xff", one, "D"},
           {"-m cpu --cpu 0", one, "A"},
           {"-m cpu ! --cpu 0", one, "D"},
           {"-m cpu --cpu 1", one, "D"},
           {"-m cpu ! --cpu 4294967295", one, "A"}}) {
    EXPECT_EQ(Wrong(c), "");
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST_F(NativeKernelTest, ConnectionThatAHelperExpects) {
  const auto out = [](int source, int destination, const std::string& more) {
    return fmt::format(
        "IN=eth0 OUT=eth1 SRC=192.0.2.1 DST=203.0.113.9 PROTO=TCP SPT={} "
        "DPT={} {}",
        source, destination, more);
  };
  const std::string in =
      "IN=eth1 OUT=eth0 SRC=203.0.113.9 DST=192.0.2.1 PROTO=TCP SPT=21 "
      "DPT=4000 ";
  // 220 hi; 227 Entering Passive Mode (203,0,113,9,8,1)
  const std::string passive =
      "32323720456e746572696e672050617373697665204d6f64652028"
      "3230332c302c3131332c392c382c31290d0a";
  const std::vector<std::string> session = {
      out(4000, 21, "SEQ=100 ACK=0 SYN"),
      in + "SEQ=500 ACK=101 SYN ACK",
      out(4000, 21, "SEQ=101 ACK=501 ACK"),
      in + "SEQ=501 ACK=101 ACK PSH PAYLOAD=3232302068690d0a",
      in + "SEQ=509 ACK=101 ACK PSH PAYLOAD=" + passive,
      out(4001, 2049, "SEQ=1 ACK=0 SYN"),
      out(4001, 2050, "SEQ=1 ACK=0 SYN")};
  for (const auto& [helper, verdicts] :
       std::vector<std::pair<std::string, std::string>>{
           {"ftp", "AAAAAAD"},
           {"ft", "AAAAADD"},
           // As many bytes are compared as the helper's own name has.
           {"ftp-2121", "AAAAAAD"},
           {"irc", "AAAAADD"}}) {
    // The session itself is let through by rules of its own.
    Case c{
        "-p tcp -m tcp --dport 21 -j ACCEPT\n"
        "-A FORWARD -p tcp -m tcp --sport 21 -j ACCEPT\n"
        "-A FORWARD -m helper --helper " +
            helper,
        session, verdicts, Family::kIpv4,
        "-p tcp -m tcp --dport 21 -j CT --helper ftp"};
    c.twins = false;
    EXPECT_EQ(Wrong(c), "") << helper;
  }
}

}  // namespace
}  // namespace nfarena
