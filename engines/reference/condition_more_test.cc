// The rarer matches: see condition_test.cc for the common ones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "engines/reference/condition.h"
#include "engines/reference/testing/ask.h"
#include "engines/reference/testing/stand.h"

namespace nfarena::reference {
namespace {

using testing::AskAll;
using testing::Bench;
using testing::ExtensionHeader;
using testing::Fields;
using testing::kAck;
using testing::kHit;
using testing::kHotdrop;
using testing::kMiss;
using testing::kSyn;
using testing::Stand;

/// One letter a packet: H hit, M miss, small when indeterminate.
std::string Sequence(std::string_view lines,
                     const std::vector<Fields>& packets) {
  Bench bench(Family::kIpv4, TableKind::kMangle, lines);
  EXPECT_EQ(bench.error(), "") << lines;
  std::string answers;
  for (const Fields& fields : packets) {
    Stand stand(fields, Hook::kForward);
    const bool hit = bench.Evaluate(&stand).kind == VerdictKind::kDrop;
    const bool certain = stand.outcome.indeterminate.empty();
    answers += hit ? (certain ? 'H' : 'h') : (certain ? 'M' : 'm');
  }
  return answers;
}

Fields From(const char* src, uint64_t time_ms = 0) {
  return {.src = src, .time_ms = time_ms};
}

TEST(Recent, SetAndCheck) {
  constexpr auto kLines =
      "-A FORWARD -m mark --mark 1 -m recent --name A --set -j RETURN\n"
      "-A FORWARD -m recent --name A --rcheck -j DROP";
  const auto marked = [](const char* src) {
    return Fields{.src = src, .mark = 1};
  };
  EXPECT_EQ(Sequence(kLines, {From("192.0.2.1"), marked("192.0.2.1"),
                              From("192.0.2.1"), From("192.0.2.2")}),
            "MMHM");
}

TEST(Recent, HitCountAndSeconds) {
  constexpr auto kLines =
      "-A FORWARD -m recent --name S --update --seconds 60 --hitcount 3 "
      "-j DROP\n"
      "-A FORWARD -m recent --name S --set -j RETURN";
  const char* kHost = "192.0.2.1";
  EXPECT_EQ(Sequence(kLines, {From(kHost), From(kHost), From(kHost),
                              From(kHost), From("192.0.2.2")}),
            "MMMHM");
  // A minute later the kernel's own clock has not moved: nobody can tell, then
  // or later.
  EXPECT_EQ(Sequence(kLines, {From(kHost), From(kHost), From(kHost),
                              From(kHost, 61000), From(kHost, 61000)}),
            "MMMmm");
}

TEST(Recent, RemoveAndMask) {
  EXPECT_EQ(
      Sequence("-A FORWARD -m mark --mark 1 -m recent --name R --set --mask "
               "255.255.255.0 -j RETURN\n"
               "-A FORWARD -m mark --mark 2 -m recent --name R --remove "
               "--mask 255.255.255.0 -j RETURN\n"
               "-A FORWARD -m recent --name R --rcheck --mask 255.255.255.0 "
               "-j DROP",
               {{.src = "192.0.2.1", .mark = 1},
                {.src = "192.0.2.200"},
                {.src = "192.0.3.1"},
                {.src = "192.0.2.9", .mark = 2},
                {.src = "192.0.2.1"}}),
      "MHMMM");
}

TEST(Recent, DestinationAndTtl) {
  EXPECT_EQ(
      Sequence("-A FORWARD -m mark --mark 1 -m recent --name T --set --rdest "
               "-j RETURN\n"
               "-A FORWARD -m recent --name T --rcheck --rdest --rttl -j DROP",
               {{.ttl = 60, .mark = 1}, {.ttl = 60}, {.ttl = 61}}),
      "MHM");
}

TEST(Hashlimit, EveryAddressHasABucket) {
  constexpr auto kLines =
      "-A FORWARD -m hashlimit --hashlimit-above 1/hour --hashlimit-burst 2 "
      "--hashlimit-mode srcip --hashlimit-name h -j DROP";
  const Fields a = From("192.0.2.1"), b = From("192.0.2.2");
  EXPECT_EQ(Sequence(kLines, {a, a, a, b, b, b, a}), "MMHMMHH");
}

TEST(Hashlimit, UptoMasksAndPorts) {
  EXPECT_EQ(Sequence("-A FORWARD -m hashlimit --hashlimit-upto 1/hour "
                     "--hashlimit-burst 1 --hashlimit-mode srcip "
                     "--hashlimit-srcmask 24 --hashlimit-name m -j DROP",
                     {From("192.0.2.1"), From("192.0.2.2"), From("192.0.3.2")}),
            "HMH");
  EXPECT_EQ(Sequence("-A FORWARD -p tcp -m hashlimit --hashlimit-upto 1/hour "
                     "--hashlimit-burst 1 --hashlimit-mode dstport "
                     "--hashlimit-name p -j DROP",
                     {{.dport = 1}, {.dport = 1}, {.dport = 2}}),
            "HMH");
}

TEST(Hashlimit, TheClockMakesItUncertain) {
  EXPECT_EQ(
      Sequence("-A FORWARD -m hashlimit --hashlimit-upto 1/sec "
               "--hashlimit-burst 1 --hashlimit-mode srcip "
               "--hashlimit-name c -j DROP",
               {From("192.0.2.1"), From("192.0.2.1"), From("192.0.2.1", 1000)}),
      "Hmh");
}

TEST(Hashlimit, RulesShareATable) {
  EXPECT_EQ(Sequence("-A FORWARD -m mark --mark 1 -m hashlimit "
                     "--hashlimit-upto 1/hour --hashlimit-burst 1 "
                     "--hashlimit-mode srcip --hashlimit-name s -j DROP\n"
                     "-A FORWARD -m hashlimit --hashlimit-upto 1/hour "
                     "--hashlimit-burst 1 --hashlimit-mode srcip "
                     "--hashlimit-name s -j DROP",
                     {{.mark = 1}, {.mark = 0}}),
            "HM");
}

TEST(Hashlimit, APacketWithoutPortsIsDropped) {
  AskAll(
      {{"-p tcp -m hashlimit --hashlimit-upto 1/hour --hashlimit-mode "
        "dstport --hashlimit-name d",
        {.cut = 3},
        kHotdrop}});
}

TEST(Quota, IsUsedUp) {
  // 40 bytes a packet.
  EXPECT_EQ(Sequence("-A FORWARD -m quota --quota 100 -j DROP",
                     std::vector<Fields>(4)),
            "HHMM");
  EXPECT_EQ(Sequence("-A FORWARD -m quota ! --quota 80 -j DROP",
                     std::vector<Fields>(3)),
            "MMH");
}

TEST(Time, IsAMatterOfTheClock) {
  // 1970-01-01 was a Thursday.
  EXPECT_EQ(Sequence("-A FORWARD -m time --weekdays Thu -j DROP", {{}}), "h");
  EXPECT_EQ(Sequence("-A FORWARD -m time --weekdays Fri -j DROP",
                     {{}, {.time_ms = 86400000}}),
            "mh");
  EXPECT_EQ(Sequence("-A FORWARD -m time --monthdays 1,28 -j DROP",
                     {{},
                      {.time_ms = 86400000},
                      {.time_ms = uint64_t{58} * 86400000},
                      {.time_ms = uint64_t{59} * 86400000}}),
            "hmhh");  // January 1 and 2, February 28, March 1
  EXPECT_EQ(Sequence("-A FORWARD -m time --timestart 23:00 --timestop 01:00 "
                     "-j DROP",
                     {{}, {.time_ms = 3601000}, {.time_ms = 82800000}}),
            "hmh");
}

TEST(Headers, Ecn) {
  AskAll({
      {"-m ecn --ecn-ip-ect 3", {.tos = 3}, kHit},
      {"-m ecn --ecn-ip-ect 3", {.tos = 0xfe}, kMiss},
      {"-m ecn ! --ecn-ip-ect 3", {.tos = 2}, kHit},
      {"-p tcp -m ecn --ecn-tcp-cwr", {.flags = 0x80}, kHit},
      {"-p tcp -m ecn --ecn-tcp-cwr", {.flags = 0x40}, kMiss},
      {"-p tcp -m ecn --ecn-tcp-ece", {.flags = 0x40}, kHit},
      {"-p tcp -m ecn ! --ecn-tcp-ece", {.flags = 0x40}, kMiss},
      {"-p tcp -m ecn ! --ecn-tcp-ece", {.cut = 10}, kMiss},
  });
}

TEST(Headers, EspAndAh) {
  const auto esp = [](std::vector<uint8_t> bytes) {
    return Fields{.protocol = 50, .data = std::move(bytes)};
  };
  const auto ah = [](std::vector<uint8_t> bytes) {
    return Fields{.protocol = 51, .data = std::move(bytes)};
  };
  AskAll({
      {"-p esp -m esp --espspi 256:300", esp({0, 0, 1, 0, 0, 0, 0, 0}), kHit},
      {"-p esp -m esp --espspi 256:300", esp({0, 0, 0, 255, 0, 0, 0, 0}),
       kMiss},
      {"-p esp -m esp ! --espspi 256", esp({0, 0, 1, 1, 0, 0, 0, 0}), kHit},
      {"-p esp -m esp --espspi 256", esp({0, 0, 1, 0, 0, 0, 0}), kHotdrop},
      {"-p ah -m ah --ahspi 256", ah({17, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0}),
       kHit},
      {"-p ah -m ah --ahspi 257", ah({17, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0}),
       kMiss},
      {"-p ah -m ah --ahspi 257", ah({17, 1, 0, 0}), kHotdrop},
  });
}

TEST(Headers, Tcpmss) {
  const std::vector<uint8_t> mss = {2, 4, 5, 0xb4};  // 1460
  AskAll({
      {"-p tcp -m tcpmss --mss 1460", {.options = mss}, kHit},
      {"-p tcp -m tcpmss --mss 1461:2000", {.options = mss}, kMiss},
      {"-p tcp -m tcpmss ! --mss 1461:2000", {.options = mss}, kHit},
      {"-p tcp -m tcpmss --mss 1:65535", {}, kMiss},
      {"-p tcp -m tcpmss ! --mss 1:65535", {}, kHit},
      {"-p tcp -m tcpmss --mss 1", {.cut = 19}, kHotdrop},
  });
}

TEST(Headers, Sctp) {
  const auto chunk = [](uint8_t type, uint8_t flags = 0) {
    return Fields{.protocol = 132, .data = {type, flags, 0, 4}};
  };
  AskAll({
      {"-p sctp --dport 80", chunk(0), kHit},
      {"-p sctp --dport 81", chunk(0), kMiss},
      {"-p sctp ! --dport 81", chunk(0), kHit},
      {"-p sctp --chunk-types any INIT", chunk(1), kHit},
      {"-p sctp --chunk-types any INIT", chunk(2), kMiss},
      {"-p sctp ! --chunk-types any INIT", chunk(2), kHit},
      {"-p sctp --chunk-types all INIT,DATA", chunk(1), kMiss},
      {"-p sctp --chunk-types all INIT,DATA",
       {.protocol = 132, .data = {1, 0, 0, 4, 0, 0, 0, 5, 9, 0, 0, 0}},
       kHit},
      {"-p sctp --chunk-types only INIT,DATA", chunk(1), kHit},
      {"-p sctp --chunk-types only DATA", chunk(1), kMiss},
      {"-p sctp --chunk-types any DATA:B", chunk(0, 2), kHit},
      {"-p sctp --chunk-types any DATA:B", chunk(0, 0), kMiss},
      {"-p sctp --chunk-types any INIT", {.protocol = 132}, kHotdrop},
      {"-p sctp --chunk-types any INIT",
       {.protocol = 132, .data = {1, 0, 0, 0}},
       kHotdrop},
  });
}

TEST(Headers, String) {
  const std::vector<uint8_t> text = {'G', 'E', 'T', ' ', '/', 'x'};
  AskAll({
      {"-m string --algo bm --string GET", {.data = text}, kHit},
      {"-m string --algo bm --string POST", {.data = text}, kMiss},
      {"-m string --algo bm ! --string POST", {.data = text}, kHit},
      {"-m string --algo kmp --string get", {.data = text}, kMiss},
      {"-m string --algo kmp --string get --icase", {.data = text}, kHit},
      {"-m string --algo bm --hex-string |4745|", {.data = text}, kHit},
      // Bytes 40 to 42 of the packet.
      {"-m string --algo bm --string GET --from 40", {.data = text}, kHit},
      {"-m string --algo bm --string GET --from 41", {.data = text}, kMiss},
      {"-m string --algo bm --string GET --to 43", {.data = text}, kHit},
      {"-m string --algo bm --string GET --to 42", {.data = text}, kMiss},
  });
}

TEST(Headers, U32) {
  AskAll({
      // Byte 9 is the protocol, byte 0 holds the header's length.
      {"-m u32 --u32 6&0xFF=6", {}, kHit},
      {"-m u32 --u32 6&0xFF=17", {}, kMiss},
      {"-m u32 ! --u32 6&0xFF=17", {}, kHit},
      {"-m u32 --u32 6&0xFF=1:5,7", {}, kMiss},
      {"-m u32 --u32 0>>22&0x3C@0&0xFFFF=80", {}, kHit},
      {"-m u32 --u32 0>>22&0x3C@0&0xFFFF=81", {}, kMiss},
      {"-m u32 --u32 6&0xFF=6&&4&0x1FFF=0", {}, kHit},
      {"-m u32 --u32 36=0:0xFFFFFFFF", {}, kHit},
      {"-m u32 --u32 37=0:0xFFFFFFFF", {}, kMiss},
      {"-m u32 --u32 0>>22&0x3C@17=0:0xFFFFFFFF", {}, kMiss},
  });
}

Fields V6(std::vector<ExtensionHeader> extensions) {
  return {.src = "2001:db8::1",
          .dst = "2001:db8:1::1",
          .extensions = std::move(extensions)};
}

/// Next header, length in 8 bytes beyond the first, type, segments left, 4
/// reserved bytes, addresses.
ExtensionHeader Routing(uint8_t type, uint8_t segments_left,
                        std::vector<const char*> addresses = {}) {
  ExtensionHeader header{43, {0, 0, type, segments_left, 0, 0, 0, 0}};
  header.bytes[1] = static_cast<uint8_t>(2 * addresses.size());
  for (const char* text : addresses) {
    const Address address = testing::ParseAddress(text);
    header.bytes.insert(header.bytes.end(), address.begin(), address.end());
  }
  return header;
}

TEST(Ipv6Headers, Routing) {
  const auto two = V6({Routing(0, 1, {"2001:db8::7", "2001:db8::8"})});
  AskAll({
      {"-m rt --rt-type 0", V6({Routing(0, 0)}), kHit},
      {"-m rt --rt-type 0", V6({Routing(2, 0)}), kMiss},
      {"-m rt ! --rt-type 0", V6({Routing(2, 0)}), kHit},
      {"-m rt --rt-type 0", V6({}), kMiss},
      {"-m rt ! --rt-type 0", V6({}), kMiss},
      {"-m rt --rt-segsleft 1:2", V6({Routing(0, 1)}), kHit},
      {"-m rt --rt-segsleft 1:2", V6({Routing(0, 3)}), kMiss},
      {"-m rt --rt-len 40", two, kHit},
      {"-m rt --rt-len 24", two, kMiss},
      {"-m rt --rt-type 0 --rt-0-addrs 2001:db8::7,2001:db8::8", two, kHit},
      {"-m rt --rt-type 0 --rt-0-addrs 2001:db8::7", two, kMiss},
      {"-m rt --rt-type 0 --rt-0-addrs 2001:db8::8 --rt-0-not-strict", two,
       kHit},
      {"-m rt --rt-type 0", V6({{43, {0, 200, 0, 0, 0, 0, 0, 0}}}), kHotdrop},
  });
}

TEST(Ipv6Headers, Fragment) {
  // Next header, reserved, offset and flags, identification.
  const auto fragment = [](uint8_t offset, uint8_t flags) {
    return V6({{44, {0, 0, offset, flags, 0, 0, 1, 0}}});
  };
  AskAll({
      {"-m frag --fragid 256", fragment(0, 1), kHit},
      {"-m frag --fragid 257", fragment(0, 1), kMiss},
      {"-m frag --fragfirst", fragment(0, 1), kHit},
      {"-m frag --fragfirst", fragment(1, 1), kMiss},
      {"-m frag --fragmore", fragment(1, 1), kHit},
      {"-m frag --fragmore", fragment(1, 0), kMiss},
      {"-m frag --fraglast", fragment(1, 0), kHit},
      {"-m frag --fragres", fragment(1, 2), kMiss},
      {"-m frag --fragfirst", V6({}), kMiss},
  });
}

TEST(Ipv6Headers, Options) {
  const auto hop = [](std::vector<uint8_t> options) {
    std::vector<uint8_t> bytes = {0, 0};
    bytes.insert(bytes.end(), options.begin(), options.end());
    return V6({{0, bytes}});
  };
  const auto alert = hop({5, 2, 0, 0, 1, 0});  // router alert, PadN
  AskAll({
      {"-m hbh --hbh-len 8", alert, kHit},
      {"-m hbh --hbh-len 16", alert, kMiss},
      {"-m hbh --hbh-opts 5:2", alert, kHit},
      {"-m hbh --hbh-opts 5:2,1", alert, kHit},
      {"-m hbh --hbh-opts 5:3", alert, kMiss},
      {"-m hbh --hbh-opts 1", alert, kMiss},
      {"-m dst --dst-opts 5:2", alert, kMiss},
      {"-m hbh --hbh-len 8", V6({}), kMiss},
  });
}

TEST(Ipv6Headers, WhichThereAre) {
  const auto both = V6({{0, {0, 0, 1, 4, 0, 0, 0, 0}}, Routing(0, 0)});
  AskAll({
      {"-m ipv6header --header hop-by-hop,route,prot", both, kHit},
      {"-m ipv6header --header hop-by-hop", both, kMiss},
      {"-m ipv6header ! --header hop-by-hop", both, kHit},
      {"-m ipv6header --header hop-by-hop --soft", both, kHit},
      {"-m ipv6header --header frag --soft", both, kMiss},
      {"-m ipv6header --header prot", V6({}), kHit},
  });
}

TEST(Host, WhatNobodyHereHas) {
  AskAll({
      {"-m helper --helper ftp", {}, kMiss},
      {"-m helper ! --helper ftp", {}, kHit},
      {"-m physdev --physdev-is-bridged", {}, kMiss},
      {"-m physdev ! --physdev-is-bridged", {}, kHit},
      {"-m policy --dir in --pol ipsec", {}, kMiss},
      {"-m policy --dir in --pol none", {}, kHit},
      {"-m realm --realm 0", {}, kHit},
      {"-m realm --realm 1", {}, kMiss},
      {"-m devgroup --src-group 0", {}, kHit},
      {"-m devgroup --src-group 1", {}, kMiss},
      {"-m devgroup ! --src-group 1", {}, kHit},
  });
  AskAll({{"-m socket", {}, kMiss}}, Hook::kPrerouting);
}

TEST(Host, Rpfilter) {
  // 192.0.2.0/24 is behind eth0, the rest behind eth1.
  AskAll(
      {
          {"-m rpfilter", {.src = "192.0.2.9", .in = "eth0"}, kHit},
          {"-m rpfilter", {.src = "192.0.2.9", .in = "eth1"}, kMiss},
          {"-m rpfilter --invert", {.src = "192.0.2.9", .in = "eth1"}, kHit},
          {"-m rpfilter --loose", {.src = "192.0.2.9", .in = "eth1"}, kHit},
          {"-m rpfilter", {.src = "203.0.113.1", .in = "eth1"}, kHit},
          {"-m rpfilter", {.src = "192.0.2.254", .in = "eth0"}, kMiss},
          {"-m rpfilter --accept-local",
           {.src = "192.0.2.254", .in = "eth0"},
           kHit},
          {"-m rpfilter",
           {.src = "0.0.0.0", .dst = "255.255.255.255", .in = "eth0"},
           kHit},
          {"-m rpfilter",
           {.src = "2001:db8::9", .dst = "2001:db8:1::1", .in = "eth0"},
           kHit},
          {"-m rpfilter",
           {.src = "2001:db8::9", .dst = "2001:db8:1::1", .in = "eth1"},
           kMiss},
      },
      Hook::kPrerouting);
}

TEST(Connbytes, Counts) {
  const auto ask = [](const char* rule) {
    Stand stand({}, Hook::kForward);
    stand.connection.direction[0] = {10, 1000};
    stand.connection.direction[1] = {5, 4000};
    stand.Track(CtInfo::kEstablished);
    Bench bench(Family::kIpv4, TableKind::kMangle,
                std::string("-A FORWARD -m connbytes ") + rule + " -j DROP");
    EXPECT_EQ(bench.error(), "") << rule;
    return bench.Evaluate(&stand).kind == VerdictKind::kDrop;
  };
  EXPECT_TRUE(
      ask("--connbytes 10 --connbytes-dir original "
          "--connbytes-mode packets"));
  EXPECT_FALSE(
      ask("--connbytes 11 --connbytes-dir original "
          "--connbytes-mode packets"));
  EXPECT_TRUE(
      ask("--connbytes 5000:5000 --connbytes-dir both "
          "--connbytes-mode bytes"));
  EXPECT_TRUE(
      ask("--connbytes 800 --connbytes-dir reply "
          "--connbytes-mode avgpkt"));
}

TEST(Check, RefusalsOfTheRarer) {
  struct Refusal {
    TableKind table;
    const char* lines;
    int errno_value;
  };
  const Refusal cases[] = {
      {TableKind::kMangle, "-A FORWARD -m rpfilter", EINVAL},
      {TableKind::kFilter, "-A OUTPUT -m policy --dir in --pol none", EINVAL},
      {TableKind::kMangle, "-A PREROUTING -m realm --realm 1", EINVAL},
      {TableKind::kFilter, "-A FORWARD -m socket", EINVAL},
      {TableKind::kFilter, "-A OUTPUT -m devgroup --src-group 1", EINVAL},
      // Without an errno: the kernel would take it, this engine does not.
      {TableKind::kMangle, "-A FORWARD -j TEE --gateway 192.0.2.1", 0},
  };
  for (const Refusal& c : cases) {
    Bench bench(Family::kIpv4, c.table, c.lines);
    EXPECT_NE(bench.error(), "") << c.lines;
    EXPECT_EQ(bench.error_number(), c.errno_value)
        << c.lines << ": " << bench.error();
  }
}

}  // namespace
}  // namespace nfarena::reference
