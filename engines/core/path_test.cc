#include "engines/core/path.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engines/core/answers.h"
#include "engines/core/bytes.h"
#include "engines/core/checksum.h"
#include "engines/core/rewrite.h"
#include "engines/core/testing/stages.h"

namespace nfarena {
namespace {

using testing::Drop;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using testing::Host;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::P;
using testing::ParseAddress;

constexpr char kForwarded[] =
    "IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 PROTO=TCP SPT=1000 "
    "DPT=80 SYN";
constexpr char kDelivered[] =
    "IN=eth0 OUT= SRC=192.168.1.5 DST=192.168.1.1 PROTO=TCP SPT=1000 DPT=22 "
    "SYN";
constexpr char kSent[] =
    "IN= OUT=eth1 SRC=198.51.100.1 DST=203.0.113.5 PROTO=TCP SPT=1000 DPT=80 "
    "SYN";
constexpr char kLooped[] =
    "IN= OUT=lo SRC=192.168.1.1 DST=192.168.1.1 PROTO=UDP SPT=1000 DPT=80";

TEST(PathOrder, Forwarded) {
  Host host;
  const Outcome& outcome = host.Run(kForwarded);
  EXPECT_THAT(
      host.stages_.visits_,
      ElementsAre("PREROUTING raw", "PREROUTING mangle", "PREROUTING nat",
                  "FORWARD mangle", "FORWARD filter", "FORWARD security",
                  "POSTROUTING mangle", "POSTROUTING nat"));
  EXPECT_EQ(outcome.verdict, VerdictKind::kAccept);
  EXPECT_EQ(outcome.out, "eth1");
  EXPECT_EQ(outcome.bytes[8], 63);  // one hop less
  EXPECT_EQ(outcome.decided_by.table, TableKind::kNat);
}

TEST(PathOrder, Delivered) {
  Host host;
  const Outcome& outcome = host.Run(kDelivered);
  EXPECT_THAT(host.stages_.visits_,
              ElementsAre("PREROUTING raw", "PREROUTING mangle",
                          "PREROUTING nat", "INPUT mangle", "INPUT filter",
                          "INPUT security", "INPUT nat"));
  EXPECT_EQ(outcome.verdict, VerdictKind::kAccept);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.bytes[8], 64);
}

TEST(PathOrder, Sent) {
  Host host;
  const Outcome& outcome = host.Run(kSent);
  EXPECT_THAT(
      host.stages_.visits_,
      ElementsAre("OUTPUT raw", "OUTPUT mangle", "OUTPUT nat", "OUTPUT filter",
                  "OUTPUT security", "POSTROUTING mangle", "POSTROUTING nat"));
  EXPECT_EQ(outcome.out, "eth1");
  EXPECT_EQ(outcome.bytes[8], 64);
}

TEST(PathOrder, OverLoopback) {
  Host host;
  std::vector<std::string> devices;
  const auto note = [&devices](PacketState* packet) {
    devices.push_back(std::string(DeviceName(packet->in)) + ">" +
                      std::string(DeviceName(packet->out)));
    return StageVerdict();
  };
  host.stages_.Set(TableKind::kMangle, Hook::kOutput,
                   [&note](PacketState* packet) {
                     packet->mark = 7;
                     return note(packet);
                   });
  host.stages_.Set(TableKind::kMangle, Hook::kPostrouting, note);
  host.stages_.Set(TableKind::kMangle, Hook::kPrerouting, note);
  host.stages_.Set(TableKind::kMangle, Hook::kInput, note);
  const Outcome& outcome = host.Run(kLooped);
  // NAT was settled on the way out; it is not asked again on the way in, but
  // for the source at INPUT, which POSTROUTING has settled as well.
  EXPECT_THAT(
      host.stages_.visits_,
      ElementsAre("OUTPUT raw", "OUTPUT mangle", "OUTPUT nat", "OUTPUT filter",
                  "OUTPUT security", "POSTROUTING mangle", "POSTROUTING nat",
                  "PREROUTING raw", "PREROUTING mangle", "INPUT mangle",
                  "INPUT filter", "INPUT security"));
  EXPECT_THAT(devices, ElementsAre(">lo", ">lo", "lo>", "lo>"));
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.mark, 7u);
}

TEST(PathOrder, StagesThatDoNotExistAreNotAsked) {
  Host host;
  host.stages_.OnlySet();
  EXPECT_EQ(host.Run(kForwarded).verdict, VerdictKind::kAccept);
  EXPECT_THAT(host.stages_.visits_, IsEmpty());
}

TEST(PathOrder, NatNeedsTrackingAndATable) {
  Host host;
  host.path_.SetTracking(false);
  host.Run(kForwarded);
  EXPECT_THAT(host.stages_.visits_, Not(::testing::Contains(HasSubstr("nat"))));
  EXPECT_EQ(host.tracker_.connections_count(), 0u);
  Host plain;
  plain.path_.SetNat(false);
  plain.Run(kForwarded);
  EXPECT_THAT(plain.stages_.visits_,
              Not(::testing::Contains(HasSubstr("nat"))));
  EXPECT_EQ(plain.tracker_.connections_count(), 1u);
}

TEST(PathOrder, NatIsAskedOnceAConnection) {
  Host host;
  host.Run(kForwarded);
  host.Run(
      "IN=eth1 OUT=eth0 SRC=203.0.113.5 DST=192.168.1.5 PROTO=TCP SPT=80 "
      "DPT=1000 SYN ACK");
  EXPECT_EQ(host.State(), "ESTABLISHED/reply");
  EXPECT_THAT(host.stages_.visits_, Not(::testing::Contains(HasSubstr("nat"))));
}

TEST(PathVerdict, EndsWhereItIsSaid) {
  Host host;
  host.stages_.Set(TableKind::kFilter, Hook::kForward, Drop);
  const Outcome& outcome = host.Run(kForwarded);
  EXPECT_EQ(outcome.verdict, VerdictKind::kDrop);
  EXPECT_EQ(outcome.decided_by.table, TableKind::kFilter);
  EXPECT_THAT(outcome.bytes, IsEmpty());
  EXPECT_EQ(host.stages_.visits_.back(), "FORWARD filter");
  // What is dropped is never confirmed.
  EXPECT_EQ(host.tracker_.connections_count(), 0u);

  host.stages_.Set(TableKind::kFilter, Hook::kForward, [](PacketState* packet) {
    packet->mark = 9;
    return StageVerdict{.kind = VerdictKind::kQueue, .queue = 12};
  });
  host.Run(kForwarded);
  EXPECT_EQ(outcome.verdict, VerdictKind::kQueue);
  EXPECT_EQ(outcome.queue, 12);
  EXPECT_EQ(outcome.mark, 9u);
  EXPECT_THAT(outcome.bytes, Not(IsEmpty()));
  EXPECT_EQ(host.tracker_.connections_count(), 0u);
}

TEST(PathVerdict, OneStageAlone) {
  Host host;
  host.stages_.Set(TableKind::kFilter, Hook::kForward, [](PacketState* packet) {
    EXPECT_EQ(DeviceName(packet->in), "eth0");
    EXPECT_EQ(DeviceName(packet->out), "eth1");
    return StageVerdict{.kind = VerdictKind::kDrop};
  });
  ClassifyOptions options;
  options.full_path = false;
  options.table = TableKind::kFilter;
  options.hook = Hook::kForward;
  Outcome outcome;
  host.path_.Run(P(kForwarded), options, &outcome);
  EXPECT_EQ(outcome.verdict, VerdictKind::kDrop);
  EXPECT_THAT(host.stages_.visits_, ElementsAre("FORWARD filter"));
}

TEST(PathReceive, MalformedPacketsMeetNoRule) {
  Host host;
  const Packet good = P(kForwarded);
  for (const auto& [at, value] : std::vector<std::pair<size_t, uint8_t>>{
           {0, 0x46}, {0, 0x44}, {0, 0x65}, {2, 1}, {3, 19}, {10, 0xee}}) {
    Packet bad = good;
    bad.bytes[at] = value;
    EXPECT_EQ(host.Run(bad).verdict, VerdictKind::kUnrouted) << at;
    EXPECT_THAT(host.stages_.visits_, IsEmpty()) << at;
  }
  Packet empty = good;
  empty.bytes.clear();
  EXPECT_EQ(host.Run(empty).verdict, VerdictKind::kUnrouted);
  // A padded frame is cut to its length.
  Packet padded = good;
  padded.bytes.resize(64);
  EXPECT_EQ(host.Run(padded).bytes.size(), 40u);
}

TEST(PathReceive, Ipv6AddressesTheStackRefuses) {
  Host host(Family::kIpv6);
  struct Case {
    const char* src;
    const char* dst;
    bool met;  // a rule
  };
  for (const Case& c : {Case{"2001:db8:1::5", "2001:db8:9::1", true},
                        Case{"::1", "2001:db8:9::1", false},
                        Case{"2001:db8:1::5", "::1", false},
                        Case{"ff02::1", "2001:db8:9::1", false},
                        Case{"2001:db8:1::5", "ff01::1", false},
                        Case{"2001:db8:1::5", "ff00::1", false},
                        Case{"2001:db8:1::5", "ff02::1", true}}) {
    host.Run(std::string("IN=eth0 OUT= SRC=") + c.src + " DST=" + c.dst +
             " PROTO=UDP SPT=1 DPT=2");
    EXPECT_EQ(!host.stages_.visits_.empty(), c.met) << c.src << ' ' << c.dst;
  }
}

TEST(PathRoute, UnroutedAfterPrerouting) {
  Host host;
  const Outcome& outcome = host.Run(
      "IN=eth0 OUT= SRC=192.168.1.5 DST=127.0.0.1 PROTO=UDP SPT=1 DPT=2");
  EXPECT_EQ(outcome.verdict, VerdictKind::kUnrouted);
  EXPECT_EQ(host.stages_.visits_.back(), "PREROUTING nat");
}

TEST(PathRoute, PrioritySetByTosOfWhatIsForwarded) {
  Host host;
  const std::pair<int, uint32_t> cases[] = {{0x00, 0}, {0x02, 0}, {0x08, 2},
                                            {0x10, 6}, {0x18, 4}, {0x1e, 4}};
  for (const auto& [tos, priority] : cases) {
    host.Run("IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 TOS=" +
             std::to_string(tos) + " PROTO=UDP SPT=1 DPT=2");
    EXPECT_EQ(host.outcome_.priority, priority) << tos;
  }
  host.Run(
      "IN=eth0 OUT= SRC=192.168.1.5 DST=192.168.1.1 TOS=16 PROTO=UDP SPT=1 "
      "DPT=2");
  EXPECT_EQ(host.outcome_.priority, 0u);
}

TEST(PathTtl, ExpiryIsAnsweredBeforeForward) {
  Host host;
  const Outcome& outcome = host.Run(
      "IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 TOS=0x10 TTL=1 "
      "PROTO=UDP SPT=1 DPT=2");
  EXPECT_EQ(outcome.verdict, VerdictKind::kUnrouted);
  ASSERT_EQ(outcome.emissions.size(), 1u);
  EXPECT_EQ(outcome.emissions[0].out, "eth0");
  EXPECT_THAT(Host::Line(outcome.emissions[0].bytes, "eth0"),
              HasSubstr("SRC=192.168.1.1 DST=192.168.1.5 LEN=56 TOS=0x10 "
                        "PREC=0xC0 TTL=64 ID=0 PROTO=ICMP TYPE=11 CODE=0 "
                        "[SRC=192.168.1.5 DST=203.0.113.5 LEN=28 TOS=0x10 "
                        "PREC=0x00 TTL=1 "));
  EXPECT_THAT(
      host.stages_.visits_,
      ElementsAre("PREROUTING raw", "PREROUTING mangle", "PREROUTING nat",
                  // the answer
                  "OUTPUT raw", "OUTPUT mangle", "OUTPUT filter",
                  "OUTPUT security", "POSTROUTING mangle"));
  EXPECT_EQ(host.State(), "RELATED/reply");
  // No error about an error.
  host.Run(
      "IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 TTL=1 PROTO=ICMP "
      "TYPE=3 CODE=1 [SRC=203.0.113.5 DST=192.168.1.5 PROTO=UDP SPT=1 DPT=2]");
  EXPECT_THAT(outcome.emissions, IsEmpty());
}

TEST(PathTtl, HopLimitLikewise) {
  Host host(Family::kIpv6);
  const Outcome& outcome = host.Run(
      "IN=eth0 OUT=eth1 SRC=2001:db8:1::5 DST=2001:db8:9::1 HOPLIMIT=1 "
      "PROTO=UDP SPT=1 DPT=2");
  EXPECT_EQ(outcome.verdict, VerdictKind::kUnrouted);
  ASSERT_EQ(outcome.emissions.size(), 1u);
  EXPECT_THAT(Host::Line(outcome.emissions[0].bytes, "eth0"),
              HasSubstr("SRC=2001:db8:1::1 DST=2001:db8:1::5 LEN=96 TC=0 "
                        "HOPLIMIT=64 FLOWLBL=0 PROTO=ICMPv6 TYPE=3 CODE=0"));
  EXPECT_TRUE(
      TransportChecksumOk(Family::kIpv6, outcome.emissions[0].bytes, 40, 58));
  // From a link-local address nothing is forwarded.
  host.Run(
      "IN=eth0 OUT=eth1 SRC=fe80::5 DST=2001:db8:9::1 PROTO=UDP SPT=1 DPT=2");
  EXPECT_EQ(outcome.verdict, VerdictKind::kUnrouted);
}

/// A stage that rejects as xt_REJECT does.
testing::Stages::Function Reject(bool reset) {
  return [reset](PacketState* packet) {
    std::vector<uint8_t> answer;
    if (reset
            ? BuildTcpReset(*packet, &answer)
            : BuildRejectUnreachable(
                  *packet, packet->family == Family::kIpv4 ? 3 : 4, &answer)) {
      packet->path->AddAnswer(answer);
    }
    return StageVerdict{.kind = VerdictKind::kDrop};
  };
}

TEST(PathAnswer, ResetIsWalkedAndAttached) {
  Host host;
  host.stages_.Set(TableKind::kFilter, Hook::kForward, Reject(true));
  std::string state;
  host.stages_.Set(TableKind::kFilter, Hook::kOutput, [&](PacketState* p) {
    state = testing::StateName(*p);
    EXPECT_TRUE(p->answer);
    p->mark = 3;
    return StageVerdict();
  });
  const Outcome& outcome = host.Run(
      "IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 PROTO=TCP SPT=1000 "
      "DPT=80 SEQ=7 SYN MARK=0x5");
  EXPECT_EQ(outcome.verdict, VerdictKind::kDrop);
  EXPECT_EQ(outcome.decided_by.table, TableKind::kFilter);
  EXPECT_EQ(outcome.decided_by.rule, 3u);  // FORWARD, not the answer's
  EXPECT_EQ(state, "RELATED/reply");
  ASSERT_EQ(outcome.emissions.size(), 1u);
  EXPECT_EQ(outcome.emissions[0].mark, 3u);
  EXPECT_THAT(Host::Line(outcome.emissions[0].bytes, "eth0"),
              HasSubstr("SRC=203.0.113.5 DST=192.168.1.5 LEN=40 TOS=0x00 "
                        "PREC=0x00 TTL=64 ID=0 DF PROTO=TCP SPT=80 DPT=1000 "
                        "SEQ=0 ACK=8 WINDOW=0 RES=0x00 ACK RST URGP=0"));
  // The new connection has no source mapping yet: POSTROUTING is asked.
  EXPECT_EQ(host.stages_.visits_.back(), "POSTROUTING nat");
}

TEST(PathAnswer, MarkOfTheConnectionReachesTheErrorAboutDnattedTraffic) {
  Host host;
  host.stages_.Set(TableKind::kNat, Hook::kPrerouting, [](PacketState* p) {
    p->connection->mark = 0x42;
    NatRange range{.flags = kNatMapIps,
                   .min = ParseAddress("10.9.9.9"),
                   .max = ParseAddress("10.9.9.9")};
    EXPECT_TRUE(p->tracker->SetupNat(p, range, NatManip::kDestination));
    return StageVerdict();
  });
  host.stages_.Set(TableKind::kMangle, Hook::kOutput, [](PacketState* p) {
    p->mark = p->connection != nullptr ? p->connection->mark : 0;
    return StageVerdict();
  });
  host.stages_.Set(TableKind::kFilter, Hook::kForward, Reject(false));
  const Outcome& outcome = host.Run(
      "IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 PROTO=UDP SPT=1 "
      "DPT=53 MARK=0x9");
  ASSERT_EQ(outcome.emissions.size(), 1u);
  EXPECT_EQ(outcome.emissions[0].mark, 0x42u);
  // The client sees its own packet in the error, not the translated one.
  EXPECT_THAT(Host::Line(outcome.emissions[0].bytes, "eth0"),
              HasSubstr("[SRC=192.168.1.5 DST=203.0.113.5 "));
  EXPECT_TRUE(
      TransportChecksumOk(Family::kIpv4, outcome.emissions[0].bytes, 20, 1));
}

TEST(PathAnswer, OfAPacketSentHereGoesOverLoopback) {
  Host host;
  host.stages_.Set(TableKind::kFilter, Hook::kOutput, [](PacketState* p) {
    return p->answer ? StageVerdict() : Reject(false)(p);
  });
  const Outcome& outcome = host.Run(kSent);
  ASSERT_EQ(outcome.emissions.size(), 1u);
  EXPECT_EQ(outcome.emissions[0].out, "lo");
  EXPECT_THAT(Host::Line(outcome.emissions[0].bytes, "lo"),
              HasSubstr("SRC=198.51.100.1 DST=198.51.100.1 "));
  EXPECT_EQ(host.stages_.visits_.back(), "INPUT security");
}

/// A host whose eth0 has fe80::1 and whose eth1 has fe80::2, with neighbours
/// fe80::77 on eth0 and 2001:db8:9::9 behind eth1.
void AddLinkLocals(Host* host) {
  host->topology_.devices[0].addresses.push_back(
      {ParseAddress("fe80::1"), 128});
  host->topology_.devices[1].addresses.push_back(
      {ParseAddress("fe80::2"), 128});
  host->topology_.routes.push_back(
      {.in = "*",
       .destination = {ParseAddress("fe80::77"), 128},
       .out = "eth0"});
  host->topology_.BuildIndex();
}

TEST(PathAnswer, LinkLocalSendersAreReachedOnTheirLinkAlone) {
  struct Case {
    const char* packet;
    const char* out;  // of the error; "" = none is sent
  };
  const Case cases[] = {
      {"IN=eth0 OUT= SRC=fe80::77 DST=2001:db8:1::1 PROTO=UDP SPT=1 DPT=2",
       "eth0"},
      // The only route to it leads elsewhere than it came from.
      {"IN=eth1 OUT= SRC=fe80::77 DST=2001:db8:1::1 PROTO=UDP SPT=1 DPT=2",
       "eth1"},
      {"IN=eth0 OUT= SRC=fe80::78 DST=2001:db8:1::1 PROTO=UDP SPT=1 DPT=2", ""},
      // Forged from our own address: the error goes to ourselves, if that
      // address is on the device the packet would have left by.
      {"IN= OUT=eth1 SRC=fe80::2 DST=2001:db8:9::9 PROTO=UDP SPT=1 DPT=2",
       "lo"},
      {"IN= OUT=eth1 SRC=fe80::1 DST=2001:db8:9::9 PROTO=UDP SPT=1 DPT=2",
       "eth1"},
      {"IN= OUT=lo SRC=fe80::1 DST=2001:db8:1::1 PROTO=UDP SPT=1 DPT=2", "lo"},
      {"IN= OUT=lo SRC=fe80::1 DST=::1 PROTO=UDP SPT=1 DPT=2", ""},
  };
  for (const Case& c : cases) {
    Host host(Family::kIpv6);
    AddLinkLocals(&host);
    for (const Hook hook : {Hook::kInput, Hook::kOutput}) {
      host.stages_.Set(TableKind::kFilter, hook, [](PacketState* p) {
        return p->answer ? StageVerdict() : Reject(false)(p);
      });
    }
    const Outcome& outcome = host.Run(c.packet);
    EXPECT_EQ(outcome.emissions.empty() ? "" : outcome.emissions[0].out, c.out)
        << c.packet;
  }
}

TEST(PathAnswer, RedirectedToLoopbackNoLinkIsLeft) {
  Host host(Family::kIpv6);
  AddLinkLocals(&host);
  host.stages_.Set(TableKind::kNat, Hook::kOutput, [](PacketState* p) {
    EXPECT_TRUE(p->tracker->SetupRedirect(p, NatRange{}));
    return StageVerdict();
  });
  host.stages_.Set(TableKind::kFilter, Hook::kOutput, Reject(false));
  const Outcome& outcome = host.Run(
      "IN= OUT=eth1 SRC=fe80::2 DST=2001:db8:9::9 PROTO=UDP SPT=1 DPT=2");
  EXPECT_EQ(outcome.verdict, VerdictKind::kDrop);
  EXPECT_THAT(outcome.emissions, IsEmpty());
}

TEST(PathAnswer, AnErrorAboutAResetToALinkLocalAddressComesFromAnotherOne) {
  Host host(Family::kIpv6);
  AddLinkLocals(&host);
  // The packet gets a reset, the reset an error: that one goes to the forged
  // destination, and on lo a link-local address is nobody's.
  host.stages_.Set(TableKind::kFilter, Hook::kOutput, [](PacketState* p) {
    if (p->headers.protocol != 6) return StageVerdict();
    return Reject(!p->answer)(p);
  });
  const Outcome& outcome = host.Run(
      "IN= OUT=eth1 SRC=fe80::2 DST=2001:db8:9::9 PROTO=TCP SPT=1 DPT=2 SYN");
  ASSERT_EQ(outcome.emissions.size(), 1u);
  EXPECT_EQ(outcome.emissions[0].out, "eth1");
  EXPECT_THAT(Host::Line(outcome.emissions[0].bytes, "eth1"),
              HasSubstr("SRC=2001:db8:2::1 DST=2001:db8:9::9 "));
}

TEST(PathAnswer, RejectedAnswersEnd) {
  Host host;
  host.stages_.Set(TableKind::kFilter, Hook::kForward, Reject(true));
  // The reset itself is rejected with an error, the error is not answered.
  host.stages_.Set(TableKind::kFilter, Hook::kOutput, Reject(false));
  const Outcome& outcome = host.Run(kForwarded);
  EXPECT_EQ(outcome.verdict, VerdictKind::kDrop);
  EXPECT_THAT(outcome.emissions, IsEmpty());
}

TEST(PathAnswer, NoneForWhatDoesNotDeserveOne) {
  Host host;
  host.stages_.Set(TableKind::kFilter, Hook::kForward, Reject(false));
  host.stages_.Set(TableKind::kFilter, Hook::kInput, Reject(false));
  const char* silent[] = {
      "IN=eth0 OUT= SRC=192.168.1.5 DST=255.255.255.255 PROTO=UDP SPT=1 DPT=2",
      "IN=eth0 OUT= SRC=192.168.1.5 DST=224.0.0.1 PROTO=UDP SPT=1 DPT=2",
      // A protocol whose payload is no checksummed whole: 99 of 1, 2.
      "IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 PROTO=99 PAYLOAD=0102",
      "IN=eth0 OUT= MAC=ff:ff:ff:ff:ff:ff:02:00:00:00:00:02:08:00 "
      "SRC=192.168.1.5 DST=192.168.1.1 PROTO=UDP SPT=1 DPT=2",
  };
  for (const char* line : silent) {
    EXPECT_EQ(host.Run(line).verdict, VerdictKind::kDrop) << line;
    EXPECT_THAT(host.outcome_.emissions, IsEmpty()) << line;
  }
  // ESP has none to check.
  host.Run("IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 PROTO=ESP SPI=1");
  EXPECT_EQ(host.outcome_.emissions.size(), 1u);
  host.stages_.Set(TableKind::kFilter, Hook::kForward, Reject(true));
  host.Run(
      "IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 PROTO=TCP SPT=1 DPT=2 "
      "RST");
  EXPECT_THAT(host.outcome_.emissions, IsEmpty());
}

TEST(PathAnswer, QuotesAsMuchAsTheStackDoes) {
  Host host;
  host.stages_.Set(TableKind::kFilter, Hook::kForward, Reject(false));
  host.Run(
      "IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 LEN=1400 PROTO=UDP "
      "SPT=1 DPT=2");
  ASSERT_EQ(host.outcome_.emissions.size(), 1u);
  EXPECT_EQ(host.outcome_.emissions[0].bytes.size(), 576u);
  Host six(Family::kIpv6);
  six.stages_.Set(TableKind::kFilter, Hook::kForward, Reject(false));
  six.Run(
      "IN=eth0 OUT=eth1 SRC=2001:db8:1::5 DST=2001:db8:9::1 LEN=1400 PROTO=UDP "
      "SPT=1 DPT=2");
  ASSERT_EQ(six.outcome_.emissions.size(), 1u);
  EXPECT_EQ(six.outcome_.emissions[0].bytes.size(), 1280u);
}

TEST(PathReroute, DnatAtOutputKeepsTheOldDeviceInFilter) {
  Host host;
  host.stages_.Set(TableKind::kNat, Hook::kOutput, [](PacketState* p) {
    NatRange range{.flags = kNatMapIps,
                   .min = ParseAddress("192.168.1.77"),
                   .max = ParseAddress("192.168.1.77")};
    EXPECT_TRUE(p->tracker->SetupNat(p, range, NatManip::kDestination));
    return StageVerdict();
  });
  std::string filter, mangle;
  host.stages_.Set(TableKind::kFilter, Hook::kOutput, [&](PacketState* p) {
    filter = DeviceName(p->out);
    return StageVerdict();
  });
  host.stages_.Set(TableKind::kMangle, Hook::kPostrouting, [&](PacketState* p) {
    mangle = DeviceName(p->out);
    return StageVerdict();
  });
  const Outcome& outcome = host.Run(kSent);
  EXPECT_EQ(filter, "eth1");
  EXPECT_EQ(mangle, "eth0");
  EXPECT_EQ(outcome.out, "eth0");
  EXPECT_THAT(host.Sent(), HasSubstr("DST=192.168.1.77"));
}

TEST(PathReroute, RedirectAtOutputGoesToLoopback) {
  Host host;
  host.stages_.Set(TableKind::kNat, Hook::kOutput, [](PacketState* p) {
    NatRange range{
        .flags = kNatProtoSpecified, .min_port = 3128, .max_port = 3128};
    EXPECT_TRUE(p->tracker->SetupRedirect(p, range));
    return StageVerdict();
  });
  const Outcome& outcome = host.Run(kSent);
  EXPECT_EQ(outcome.verdict, VerdictKind::kAccept);
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(host.Sent(), HasSubstr("DST=127.0.0.1"));
  EXPECT_THAT(host.Sent(), HasSubstr("DPT=3128"));
  EXPECT_EQ(host.stages_.visits_.back(), "INPUT security");
}

TEST(PathFragments, TrackingSeesWholeDatagrams) {
  Host host;
  const char* first =
      "IN=eth0 OUT= SRC=192.168.1.5 DST=192.168.1.1 LEN=44 ID=7 MF PROTO=UDP "
      "SPT=1000 DPT=53 LEN=32";
  const char* last =
      "IN=eth0 OUT= SRC=192.168.1.5 DST=192.168.1.1 ID=7 FRAG:3 PROTO=UDP "
      "PAYLOAD=0000000000000000";
  for (const bool reverse : {false, true}) {
    EXPECT_EQ(host.Run(reverse ? last : first).verdict, VerdictKind::kStolen);
    EXPECT_THAT(host.stages_.visits_, IsEmpty());
    const Outcome& outcome = host.Run(reverse ? first : last);
    EXPECT_EQ(outcome.verdict, VerdictKind::kAccept);
    EXPECT_EQ(outcome.bytes.size(), 52u);
    EXPECT_EQ(LoadBe16(&outcome.bytes[6]), 0);
    EXPECT_EQ(host.stages_.visits_.front(), "PREROUTING raw");
  }
}

TEST(PathFragments, WithoutTrackingOnlyDeliveryJoinsThem) {
  Host host;
  host.path_.SetTracking(false);
  const auto run = [&](const char* where, const char* rest) {
    return host.Run(std::string(where) + " ID=9 " + rest).verdict;
  };
  const char* here = "IN=eth0 OUT= SRC=192.168.1.5 DST=192.168.1.1";
  EXPECT_EQ(run(here, "MF PROTO=UDP SPT=1 DPT=2"), VerdictKind::kUnrouted);
  EXPECT_EQ(host.stages_.visits_.back(), "PREROUTING mangle");
  EXPECT_EQ(run(here, "FRAG:1 PROTO=UDP PAYLOAD=01"), VerdictKind::kAccept);
  EXPECT_EQ(host.stages_.visits_.back(), "INPUT security");
  EXPECT_EQ(host.outcome_.bytes.size(), 29u);
  const char* through = "IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5";
  EXPECT_EQ(run(through, "MF PROTO=UDP SPT=1 DPT=2"), VerdictKind::kAccept);
  EXPECT_EQ(run(through, "FRAG:1 PROTO=UDP PAYLOAD=01"), VerdictKind::kAccept);
  EXPECT_TRUE(host.outcome_.indeterminate.empty());
}

TEST(PathFragments, OverlapVoidsADatagram) {
  Host host;
  const std::string here =
      "IN=eth0 OUT= SRC=192.168.1.5 DST=192.168.1.1 ID=5 PROTO=UDP ";
  EXPECT_EQ(host.Run("IN=eth0 OUT= SRC=192.168.1.5 DST=192.168.1.1 ID=5 MF "
                     "PROTO=UDP SPT=1 DPT=2 PAYLOAD=0102030405060708")
                .verdict,
            VerdictKind::kStolen);
  // Offset 8, 16 bytes: 8 of them are there already.
  EXPECT_EQ(host.Run("IN=eth0 OUT= SRC=192.168.1.5 DST=192.168.1.1 ID=5 MF "
                     "FRAG:1 PROTO=UDP "
                     "PAYLOAD=01020304050607080102030405060708")
                .verdict,
            VerdictKind::kStolen);
  // The rest alone does not make it whole.
  EXPECT_EQ(host.Run("IN=eth0 OUT= SRC=192.168.1.5 DST=192.168.1.1 ID=5 "
                     "FRAG:2 PROTO=UDP PAYLOAD=01")
                .verdict,
            VerdictKind::kStolen);
}

TEST(PathFragments, Ipv6) {
  Host host(Family::kIpv6);
  // Small fragments that are not the last are refused.
  EXPECT_EQ(host.Run("IN=eth0 OUT= SRC=2001:db8:1::5 DST=2001:db8:1::1 FRAG:0 "
                     "INC ID:00000001 PROTO=UDP SPT=1 DPT=2")
                .verdict,
            VerdictKind::kStolen);
  EXPECT_EQ(host.Run("IN=eth0 OUT= SRC=2001:db8:1::5 DST=2001:db8:1::1 "
                     "LEN=1280 FRAG:0 INC ID:00000002 PROTO=UDP SPT=1 DPT=2 "
                     "LEN=1240")
                .verdict,
            VerdictKind::kStolen);
  const Outcome& outcome = host.Run(
      "IN=eth0 OUT= SRC=2001:db8:1::5 DST=2001:db8:1::1 FRAG:1232 "
      "ID:00000002 PROTO=UDP PAYLOAD=0000000000000000");
  EXPECT_EQ(outcome.verdict, VerdictKind::kAccept);
  EXPECT_EQ(outcome.bytes.size(), 40u + 1240u);
  EXPECT_EQ(outcome.bytes[6], 17);  // no fragment header any more
}

TEST(PathChance, FollowsTheFlow) {
  Host host;
  host.stages_.Set(TableKind::kFilter, Hook::kForward, [](PacketState* p) {
    p->MarkIndeterminate("statistic --mode random");
    return StageVerdict{.kind = VerdictKind::kDrop};
  });
  EXPECT_EQ(host.Run(kForwarded).indeterminate, "statistic --mode random");
  host.stages_.Clear();
  // Dropped here, but perhaps not elsewhere: the answer is in doubt too.
  EXPECT_EQ(host.Run("IN=eth1 OUT=eth0 SRC=203.0.113.5 DST=192.168.1.5 "
                     "PROTO=TCP SPT=80 DPT=1000 SYN ACK")
                .indeterminate,
            "statistic --mode random");
  EXPECT_EQ(host.Run("IN=eth1 OUT=eth0 SRC=203.0.113.5 DST=192.168.1.5 "
                     "PROTO=TCP SPT=80 DPT=1001 SYN")
                .indeterminate,
            "");
}

TEST(NeedsTracking, OnlyWhatRegistersConntrack) {
  const auto with = [](const std::string& match, const std::string& target) {
    Ruleset ruleset;
    Rule rule;
    if (!match.empty()) rule.matches.push_back({.name = match});
    if (!target.empty()) {
      rule.target.kind = TargetKind::kExtension;
      rule.target.extension.name = target;
    }
    Result<Chain*> chain =
        ruleset.EnsureTable(TableKind::kMangle).AddChain("unused");
    (*chain)->rules.push_back(rule);
    return NeedsTracking(ruleset);
  };
  for (const char* match : {"state", "conntrack", "connmark", "connbytes",
                            "connlimit", "connlabel", "helper", "cluster"}) {
    EXPECT_TRUE(with(match, "")) << match;
  }
  for (const char* target : {"CONNMARK", "CONNSECMARK", "CT", "SNAT", "DNAT",
                             "REDIRECT", "MASQUERADE", "NETMAP", "SYNPROXY"}) {
    EXPECT_TRUE(with("", target)) << target;
  }
  for (const char* match : {"tcp", "mark", "limit", "addrtype"}) {
    EXPECT_FALSE(with(match, "")) << match;
  }
  for (const char* target : {"NOTRACK", "LOG", "REJECT", "MARK", "TPROXY"}) {
    EXPECT_FALSE(with("", target)) << target;
  }
  EXPECT_FALSE(NeedsTracking({}));
  // "CT --notrack", which is what iptables makes of NOTRACK.
  Ruleset ruleset;
  Rule rule;
  rule.target.kind = TargetKind::kExtension;
  rule.target.extension = {.name = "CT", .payload = {1, 0, 0, 0}};
  ruleset.EnsureTable(TableKind::kRaw).chains[0].rules.push_back(rule);
  EXPECT_FALSE(NeedsTracking(ruleset));
}

}  // namespace
}  // namespace nfarena
