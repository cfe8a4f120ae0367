#include "engines/core/tracker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engines/core/bytes.h"
#include "engines/core/testing/stages.h"

namespace nfarena {
namespace {

using ::testing::HasSubstr;
using testing::Host;
using testing::P;
using testing::ParseAddress;

/// Packets of one flow through a host: "in" side 192.168.1.5:1000, "out" side
/// 203.0.113.5:80.
std::string Client(const std::string& rest) {
  return "IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 PROTO=TCP SPT=1000 "
         "DPT=80 " +
         rest;
}
std::string Server(const std::string& rest) {
  return "IN=eth1 OUT=eth0 SRC=203.0.113.5 DST=192.168.1.5 PROTO=TCP SPT=80 "
         "DPT=1000 " +
         rest;
}

/// A sequence of packets and the states they are to have; status and TCP state
/// after the last.
struct Sequence {
  const char* name;
  std::vector<std::pair<std::string, std::string>> steps;  // packet, state
};

void RunSequence(const Sequence& sequence, Host* host) {
  int step = 0;
  for (const auto& [line, state] : sequence.steps) {
    EXPECT_EQ(host->StateOf(line), state)
        << sequence.name << ", step " << step << ": " << line;
    ++step;
  }
}

TEST(TrackerTcp, Sequences) {
  const Sequence sequences[] = {
      {"handshake and data",
       {{Client("SEQ=100 SYN"), "NEW"},
        {Client("SEQ=100 SYN"), "NEW"},  // again
        {Server("SEQ=500 ACK=101 SYN ACK"), "ESTABLISHED/reply"},
        {Client("SEQ=101 ACK=501 ACK"), "ESTABLISHED"},
        {Client("SEQ=101 ACK=501 ACK PSH PAYLOAD=616161"), "ESTABLISHED"},
        {Server("SEQ=501 ACK=104 ACK"), "ESTABLISHED/reply"},
        {Client("SEQ=104 ACK=501 FIN ACK"), "ESTABLISHED"},
        {Server("SEQ=501 ACK=105 FIN ACK"), "ESTABLISHED/reply"},
        {Client("SEQ=105 ACK=502 ACK"), "ESTABLISHED"},
        // Closed by the client: a new SYN starts a new connection.
        {Client("SEQ=90000 SYN"), "NEW"}}},
      {"picked up in the middle",
       {{Client("SEQ=1 ACK=1 ACK PAYLOAD=61"), "NEW"},
        {Server("SEQ=1 ACK=2 ACK"), "ESTABLISHED/reply"},
        {Client("SEQ=2 ACK=1 ACK"), "ESTABLISHED"}}},
      {"what starts no connection",
       {{Client("SYN ACK"), "INVALID"},
        {Client("FIN ACK"), "INVALID"},
        {Client("RST"), "INVALID"},
        {Client("RST ACK"), "INVALID"},
        {Client(""), "INVALID"},
        {Client("SYN FIN"), "INVALID"},
        {Client("SYN RST"), "INVALID"},
        {Client("FIN"), "INVALID"},
        {Client("URG"), "INVALID"},
        {Client("FIN PSH URG"), "INVALID"},
        {Client("PSH ACK"), "NEW"}}},
      {"a reset as the only reply ends it",
       {{Client("SEQ=100 SYN"), "NEW"},
        {Server("SEQ=0 ACK=101 RST ACK"), "ESTABLISHED/reply"},
        {Server("SEQ=0 ACK=101 RST ACK"), "INVALID"},
        {Client("SEQ=200 SYN"), "NEW"}}},
      {"out of the window",
       {{Client("SEQ=100 SYN WINDOW=1000"), "NEW"},
        {Server("SEQ=500 ACK=101 SYN ACK WINDOW=1000"), "ESTABLISHED/reply"},
        {Client("SEQ=101 ACK=501 ACK WINDOW=1000"), "ESTABLISHED"},
        {Client("SEQ=100000 ACK=501 ACK WINDOW=1000"), "INVALID"},
        {Client("SEQ=101 ACK=90000 ACK WINDOW=1000"), "INVALID"},
        {Server("SEQ=400000 ACK=101 RST ACK"), "INVALID"},
        {Client("SEQ=101 ACK=501 ACK WINDOW=1000"), "ESTABLISHED"}}},
      {"simultaneous open",
       {{Client("SEQ=100 SYN"), "NEW"},
        {Server("SEQ=500 SYN"), "ESTABLISHED/reply"},
        {Client("SEQ=100 ACK=501 SYN ACK"), "ESTABLISHED"},
        {Server("SEQ=500 ACK=101 SYN ACK"), "ESTABLISHED/reply"},
        {Client("SEQ=101 ACK=501 ACK"), "ESTABLISHED"}}},
      {"a SYN in an established connection is let pass",
       {{Client("SEQ=100 SYN"), "NEW"},
        {Server("SEQ=500 ACK=101 SYN ACK"), "ESTABLISHED/reply"},
        {Client("SEQ=101 ACK=501 ACK"), "ESTABLISHED"},
        {Client("SEQ=7000 SYN"), "ESTABLISHED"},
        {Server("SEQ=1 SYN"), "INVALID"},
        // and a SYN/ACK that answers it puts the tracker in step.
        {Server("SEQ=900 ACK=7001 SYN ACK"), "ESTABLISHED/reply"},
        {Client("SEQ=7001 ACK=901 ACK"), "ESTABLISHED"}}},
  };
  for (const Sequence& sequence : sequences) {
    Host host;
    RunSequence(sequence, &host);
  }
}

TEST(TrackerTcp, WindowScaleIsHonoured) {
  // Window 100 << 7 = 12800 bytes: 10000 are inside only when both scale.
  for (const bool both : {true, false}) {
    Host host;
    host.Run(Client("SEQ=100 SYN WINDOW=1000 OPT (030307)"));
    host.Run(Server(std::string("SEQ=500 ACK=101 SYN ACK WINDOW=100") +
                    (both ? " OPT (030307)" : "")));
    host.Run(Client("SEQ=101 ACK=501 ACK WINDOW=1000"));
    host.Run(Server("SEQ=501 ACK=101 ACK WINDOW=100"));
    EXPECT_EQ(host.StateOf(Client("SEQ=10101 ACK=501 ACK WINDOW=1000")),
              both ? "ESTABLISHED" : "INVALID");
  }
}

TEST(TrackerTcp, SackMovesTheEdge) {
  Host host;
  host.Run(Client("SEQ=100 SYN OPT (0402)"));
  host.Run(Server("SEQ=500 ACK=101 SYN ACK OPT (0402)"));
  host.Run(Client("SEQ=101 ACK=501 ACK PAYLOAD=61616161"));
  // A SACK block beyond what the client has sent is as invalid as such an ACK.
  EXPECT_EQ(host.StateOf(
                Server("SEQ=501 ACK=101 ACK OPT (0101050a0000006700009999)")),
            "INVALID");
  EXPECT_EQ(host.StateOf(
                Server("SEQ=501 ACK=101 ACK OPT (0101050a0000006700000069)")),
            "ESTABLISHED/reply");
}

uint32_t StatusAfter(Host* host, const std::string& line) {
  uint32_t status = 0;
  host->stages_.Set(TableKind::kMangle, Hook::kPostrouting,
                    [&status](PacketState* p) {
                      if (p->connection != nullptr) {
                        status = p->connection->status;
                      }
                      return StageVerdict();
                    });
  host->Run(line);
  host->stages_.Clear();
  return status;
}

TEST(TrackerStatus, GrowsWithTheConnection) {
  Host host;
  EXPECT_EQ(StatusAfter(&host, Client("SEQ=100 SYN")) &
                (kStatusConfirmed | kStatusSeenReply | kStatusAssured),
            0u);
  EXPECT_EQ(StatusAfter(&host, Server("SEQ=500 ACK=101 SYN ACK")) &
                (kStatusConfirmed | kStatusSeenReply | kStatusAssured),
            kStatusConfirmed | kStatusSeenReply);
  EXPECT_EQ(StatusAfter(&host, Client("SEQ=101 ACK=501 ACK")) & kStatusAssured,
            kStatusAssured);
}

TEST(TrackerTimeouts, FollowThePacketsTime) {
  struct Case {
    const char* name;
    std::vector<std::string> first;
    std::string probe;  // sent at `alive` and, in another run, at `dead`
    uint64_t alive_ms, dead_ms;
    const char* alive_state;
    const char* dead_state;
  };
  const std::string udp =
      "IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 PROTO=UDP SPT=5 DPT=53";
  const std::string udp_reply =
      "IN=eth1 OUT=eth0 SRC=203.0.113.5 DST=192.168.1.5 PROTO=UDP SPT=53 DPT=5";
  const std::string echo =
      "IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 PROTO=ICMP TYPE=8 ID=1";
  const std::string pong =
      "IN=eth1 OUT=eth0 SRC=203.0.113.5 DST=192.168.1.5 PROTO=ICMP TYPE=0 ID=1";
  const Case cases[] = {
      {"udp without reply",
       {udp},
       udp_reply,
       29999,
       30000,
       "ESTABLISHED/reply",
       "NEW"},
      {"icmp", {echo}, pong, 29999, 30000, "ESTABLISHED/reply", "INVALID"},
      {"syn sent",
       {Client("SEQ=1 SYN")},
       Server("SEQ=9 ACK=2 SYN ACK"),
       119999,
       120000,
       "ESTABLISHED/reply",
       "INVALID"},
      {"established",
       {Client("SEQ=1 SYN"), Server("SEQ=9 ACK=2 SYN ACK"),
        Client("SEQ=2 ACK=10 ACK")},
       Server("SEQ=10 ACK=2 FIN ACK"),
       432000000 - 1,
       432000000,
       "ESTABLISHED/reply",
       "INVALID"},
  };
  for (const Case& c : cases) {
    for (const bool dead : {false, true}) {
      Host host;
      for (const std::string& line : c.first) host.Run(line);
      Packet probe = P(c.probe);
      probe.time_ms = dead ? c.dead_ms : c.alive_ms;
      host.Run(probe);
      EXPECT_EQ(host.State(), dead ? c.dead_state : c.alive_state) << c.name;
    }
  }
}

TEST(TrackerUdp, StatesAndAssurance) {
  Host host;
  const std::string query =
      "IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 PROTO=UDP SPT=5 DPT=53";
  const std::string reply =
      "IN=eth1 OUT=eth0 SRC=203.0.113.5 DST=192.168.1.5 PROTO=UDP SPT=53 DPT=5";
  EXPECT_EQ(host.StateOf(query), "NEW");
  EXPECT_EQ(host.StateOf(query), "NEW");
  EXPECT_EQ(host.StateOf(reply), "ESTABLISHED/reply");
  EXPECT_EQ(host.StateOf(query), "ESTABLISHED");
  EXPECT_EQ(StatusAfter(&host, query) & kStatusAssured, 0u);
  // Still talking after two seconds: a stream.
  EXPECT_EQ(StatusAfter(&host, query + " TIME=2001") & kStatusAssured,
            kStatusAssured);
}

TEST(TrackerIcmp, OnlyQueriesStartSomething) {
  struct Case {
    int type;
    const char* state;
  };
  for (const Case& c :
       {Case{8, "NEW"}, Case{13, "NEW"}, Case{15, "NEW"}, Case{17, "NEW"},
        Case{0, "INVALID"}, Case{14, "INVALID"}, Case{9, "INVALID"},
        Case{10, "INVALID"}, Case{19, "INVALID"}, Case{200, "INVALID"}}) {
    Host host;
    EXPECT_EQ(host.StateOf("IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 "
                           "PROTO=ICMP TYPE=" +
                           std::to_string(c.type)),
              c.state)
        << c.type;
  }
  Host host;
  host.Run(
      "IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 PROTO=ICMP TYPE=8 "
      "ID=7 SEQ=1");
  EXPECT_EQ(host.StateOf("IN=eth1 OUT=eth0 SRC=203.0.113.5 DST=192.168.1.5 "
                         "PROTO=ICMP TYPE=0 ID=7 SEQ=1"),
            "ESTABLISHED/reply");
  EXPECT_EQ(host.StateOf("IN=eth1 OUT=eth0 SRC=203.0.113.5 DST=192.168.1.5 "
                         "PROTO=ICMP TYPE=0 ID=8 SEQ=1"),
            "INVALID");
}

TEST(TrackerIcmp, ErrorsBelongToWhatTheyQuote) {
  Host host;
  host.Run(Client("SEQ=100 SYN"));
  const std::string about_client =
      "[SRC=192.168.1.5 DST=203.0.113.5 PROTO=TCP SPT=1000 DPT=80 ]";
  struct Case {
    std::string line;
    const char* state;
  };
  const Case cases[] = {
      // From the server, from a router on the way, from the client about the
      // other direction.
      {"IN=eth1 OUT=eth0 SRC=203.0.113.5 DST=192.168.1.5 PROTO=ICMP TYPE=3 "
       "CODE=3 " +
           about_client,
       "RELATED/reply"},
      {"IN=eth1 OUT=eth0 SRC=203.0.113.99 DST=192.168.1.5 PROTO=ICMP TYPE=11 "
       "CODE=0 " +
           about_client,
       "RELATED/reply"},
      {"IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 PROTO=ICMP TYPE=3 "
       "CODE=3 [SRC=203.0.113.5 DST=192.168.1.5 PROTO=TCP SPT=80 DPT=1000 ]",
       "RELATED"},
      // Another flow, another addressee, an error that is none.
      {"IN=eth1 OUT=eth0 SRC=203.0.113.5 DST=192.168.1.5 PROTO=ICMP TYPE=3 "
       "CODE=3 [SRC=192.168.1.5 DST=203.0.113.5 PROTO=TCP SPT=1001 DPT=80 ]",
       "INVALID"},
      {"IN=eth1 OUT=eth0 SRC=203.0.113.5 DST=192.168.1.6 PROTO=ICMP TYPE=3 "
       "CODE=3 " +
           about_client,
       "INVALID"},
      {"IN=eth1 OUT=eth0 SRC=203.0.113.5 DST=192.168.1.5 PROTO=ICMP TYPE=9 "
       "CODE=0",
       "INVALID"},
      // Quoted too short to be known.
      {"IN=eth1 OUT=eth0 SRC=203.0.113.5 DST=192.168.1.5 LEN=50 PROTO=ICMP "
       "TYPE=3 CODE=3 " +
           about_client,
       "INVALID"},
  };
  for (const Case& c : cases)
    EXPECT_EQ(host.StateOf(c.line), c.state) << c.line;
}

TEST(TrackerIcmpv6, NeighbourDiscoveryIsNotTracked) {
  Host host(Family::kIpv6);
  struct Case {
    int type;
    const char* state;
  };
  for (const Case& c :
       {Case{128, "NEW"}, Case{139, "NEW"}, Case{129, "INVALID"},
        Case{130, "UNTRACKED"}, Case{131, "UNTRACKED"}, Case{132, "UNTRACKED"},
        Case{133, "UNTRACKED"}, Case{134, "UNTRACKED"}, Case{135, "UNTRACKED"},
        Case{136, "UNTRACKED"}, Case{143, "UNTRACKED"}, Case{151, "UNTRACKED"},
        Case{144, "INVALID"}, Case{1, "INVALID"}}) {
    EXPECT_EQ(host.StateOf("IN=eth0 OUT= SRC=2001:db8:1::5 "
                           "DST=2001:db8:1::1 PROTO=ICMPv6 TYPE=" +
                           std::to_string(c.type)),
              c.state)
        << c.type;
  }
}

TEST(TrackerOther, GenericGreAndSctp) {
  Host host;
  EXPECT_EQ(host.StateOf("IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 "
                         "PROTO=99 PAYLOAD=0102"),
            "NEW");
  EXPECT_EQ(host.StateOf("IN=eth1 OUT=eth0 SRC=203.0.113.5 DST=192.168.1.5 "
                         "PROTO=99 PAYLOAD=0102"),
            "ESTABLISHED/reply");
  EXPECT_EQ(host.StateOf("IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 "
                         "PROTO=47 PAYLOAD=00000800"),
            "NEW");
  EXPECT_EQ(host.StateOf("IN=eth1 OUT=eth0 SRC=203.0.113.5 DST=192.168.1.5 "
                         "PROTO=47 PAYLOAD=00000800"),
            "ESTABLISHED/reply");
  // INIT with tag 0x01020304; DATA before any INIT.
  const std::string sctp =
      "IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 PROTO=SCTP SPT=5 "
      "DPT=6 PAYLOAD=";
  EXPECT_EQ(host.StateOf(sctp + "00000010" + "000000010000000000000000"),
            "INVALID");
  EXPECT_EQ(host.StateOf(sctp + "01000014" +
                         "01020304"
                         "00001000"
                         "00010001"
                         "00000001"),
            "NEW");
  EXPECT_EQ(host.StateOf(sctp), "INVALID");
}

TEST(TrackerChecksum, WrongOnArrivalMeansInvalid) {
  Packet packet = P(Client("SYN"));
  packet.bytes[36] ^= 1;
  Host host;
  host.Run(packet);
  EXPECT_EQ(host.State(), "INVALID");
  // What this host sends is believed.
  Packet sent =
      P("IN= OUT=eth1 SRC=198.51.100.1 DST=203.0.113.5 PROTO=TCP SPT=1 DPT=2 "
        "SYN");
  sent.bytes[36] ^= 1;
  host.Run(sent);
  EXPECT_EQ(host.State(), "NEW");
  Packet none =
      P("IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 PROTO=UDP SPT=1 "
        "DPT=2");
  StoreBe16(&none.bytes[26], 0);
  host.Run(none);
  EXPECT_EQ(host.State(), "NEW");
}

TEST(TrackerTemplate, ZonesKeepFlowsApart) {
  Host host;
  uint16_t zone = 1;
  bool from_mark = false;
  host.stages_.Set(TableKind::kRaw, Hook::kPrerouting, [&](PacketState* p) {
    p->ct_template = {.set = true, .zone = zone, .zone_from_mark = from_mark};
    return StageVerdict();
  });
  host.Run(Client("SEQ=100 SYN"));
  EXPECT_EQ(host.StateOf(Server("SEQ=500 ACK=101 SYN ACK")),
            "ESTABLISHED/reply");
  zone = 2;
  EXPECT_EQ(host.StateOf(Server("SEQ=500 ACK=101 SYN ACK")), "INVALID");
  EXPECT_EQ(host.StateOf(Client("SEQ=100 SYN")), "NEW");
  EXPECT_EQ(host.tracker_.connections_count(), 2u);
  from_mark = true;
  EXPECT_EQ(host.StateOf(Client("SEQ=101 ACK=501 ACK MARK=1")), "ESTABLISHED");
}

TEST(TrackerTemplate, UntrackedStaysUntracked) {
  Host host;
  host.stages_.Set(TableKind::kRaw, Hook::kPrerouting, [](PacketState* p) {
    p->ct_info = CtInfo::kUntracked;
    return StageVerdict();
  });
  EXPECT_EQ(host.StateOf(Client("SYN")), "UNTRACKED");
  EXPECT_EQ(host.tracker_.connections_count(), 0u);
}

TEST(TrackerTable, HoldsManyAndForgetsTheExpired) {
  Host host;
  host.stages_.OnlySet();
  Packet packet =
      P("IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 PROTO=UDP SPT=1 "
        "DPT=2");
  StoreBe16(&packet.bytes[26], 0);  // no checksum to keep right
  for (uint32_t i = 0; i < 5000; ++i) {
    StoreBe16(&packet.bytes[20], static_cast<uint16_t>(i));
    host.Run(packet);
  }
  EXPECT_EQ(host.tracker_.connections_count(), 5000u);
  // Every one is found again.
  for (uint32_t i = 0; i < 5000; ++i) {
    StoreBe16(&packet.bytes[20], static_cast<uint16_t>(i));
    host.Run(packet);
  }
  EXPECT_EQ(host.tracker_.connections_count(), 5000u);
  packet.time_ms = 60000;
  for (uint32_t i = 5000; i < 20000; ++i) {
    StoreBe16(&packet.bytes[20], static_cast<uint16_t>(i));
    host.Run(packet);
  }
  EXPECT_LT(host.tracker_.connections_count(), 20000u);
  host.tracker_.Clear();
  EXPECT_EQ(host.tracker_.connections_count(), 0u);
}

// ------------------------------------------------------------------- NAT

/// Applies one NAT rule to every new connection that passes `hook`.
void SetNat(Host* host, Hook hook, NatRange range) {
  host->stages_.Set(TableKind::kNat, hook, [range, hook](PacketState* p) {
    const NatManip manip = hook == Hook::kPrerouting || hook == Hook::kOutput
                               ? NatManip::kDestination
                               : NatManip::kSource;
    StageVerdict verdict;
    if (!p->tracker->SetupNat(p, range, manip)) {
      verdict.kind = VerdictKind::kDrop;
    }
    return verdict;
  });
}

NatRange To(const std::string& min, const std::string& max = "") {
  return {.flags = kNatMapIps,
          .min = ParseAddress(min),
          .max = ParseAddress(max.empty() ? min : max)};
}

TEST(Nat, SourceIsTranslatedThereAndBack) {
  Host host;
  SetNat(&host, Hook::kPostrouting, To("198.51.100.9"));
  host.Run(Client("SEQ=100 SYN"));
  EXPECT_THAT(host.Sent(), HasSubstr("SRC=198.51.100.9 DST=203.0.113.5"));
  EXPECT_THAT(host.Sent(), HasSubstr("SPT=1000 DPT=80"));
  EXPECT_EQ(host.outcome_.out, "eth1");
  const std::string reply =
      "IN=eth1 OUT= SRC=203.0.113.5 DST=198.51.100.9 PROTO=TCP SPT=80 "
      "DPT=1000 SEQ=500 ACK=101 SYN ACK";
  host.Run(reply);
  EXPECT_THAT(host.Sent(), HasSubstr("SRC=203.0.113.5 DST=192.168.1.5"));
  EXPECT_EQ(host.outcome_.out, "eth0");
  EXPECT_EQ(host.State(), "ESTABLISHED/reply");
  EXPECT_EQ(host.Sent().find("BYTES"), std::string::npos);  // checksums right
  // An error about a packet of the translated flow.
  host.Run(
      "IN=eth1 OUT= SRC=203.0.113.5 DST=198.51.100.9 PROTO=ICMP TYPE=11 "
      "CODE=0 [SRC=198.51.100.9 DST=203.0.113.5 PROTO=TCP SPT=1000 DPT=80 ]");
  EXPECT_THAT(host.Sent(), HasSubstr("SRC=203.0.113.5 DST=192.168.1.5 LEN=56"));
  EXPECT_THAT(host.Sent(), HasSubstr("[SRC=192.168.1.5 DST=203.0.113.5 "));
  EXPECT_TRUE(host.outcome_.indeterminate.empty());
}

TEST(Nat, DestinationAndPort) {
  Host host;
  NatRange range = To("192.168.1.77");
  range.flags |= kNatProtoSpecified;
  range.min_port = range.max_port = 8080;
  SetNat(&host, Hook::kPrerouting, range);
  host.Run(
      "IN=eth1 OUT= SRC=203.0.113.5 DST=198.51.100.1 PROTO=TCP SPT=999 DPT=80 "
      "SEQ=1 SYN");
  EXPECT_EQ(host.outcome_.out, "eth0");
  EXPECT_THAT(host.Sent(), HasSubstr("SRC=203.0.113.5 DST=192.168.1.77"));
  EXPECT_THAT(host.Sent(), HasSubstr("SPT=999 DPT=8080"));
  host.Run(
      "IN=eth0 OUT=eth1 SRC=192.168.1.77 DST=203.0.113.5 PROTO=TCP SPT=8080 "
      "DPT=999 SEQ=5 ACK=2 SYN ACK");
  EXPECT_THAT(host.Sent(), HasSubstr("SRC=198.51.100.1 DST=203.0.113.5"));
  EXPECT_THAT(host.Sent(), HasSubstr("SPT=80 DPT=999"));
}

TEST(Nat, AFreePortIsKeptATakenOneIsChance) {
  Host host;
  SetNat(&host, Hook::kPostrouting, To("198.51.100.9"));
  host.Run(Client("SEQ=100 SYN"));
  EXPECT_TRUE(host.outcome_.indeterminate.empty());
  // Another inside host, same port, same server.
  host.Run(
      "IN=eth0 OUT=eth1 SRC=192.168.1.6 DST=203.0.113.5 PROTO=TCP SPT=1000 "
      "DPT=80 SEQ=1 SYN");
  EXPECT_EQ(host.outcome_.indeterminate, "a NAT port chosen at random");
  // Another server: the port is free there.
  host.Run(
      "IN=eth0 OUT=eth1 SRC=192.168.1.7 DST=203.0.113.6 PROTO=TCP SPT=1000 "
      "DPT=80 SEQ=1 SYN");
  EXPECT_TRUE(host.outcome_.indeterminate.empty());
  EXPECT_THAT(host.Sent(), HasSubstr("SPT=1000"));
}

TEST(Nat, WhatChanceMayHaveTakenIsChanceToo) {
  Host host;
  SetNat(&host, Hook::kPostrouting, To("198.51.100.9"));
  struct Case {
    const char* source;
    const char* server;
    const char* rest;
    bool determined;
  };
  const Case cases[] = {
      {"192.168.1.5", "203.0.113.5", "PROTO=UDP SPT=300 DPT=80", true},
      // Taken: now somebody has a port of 1 to 511.
      {"192.168.1.6", "203.0.113.5", "PROTO=UDP SPT=300 DPT=80", false},
      {"192.168.1.7", "203.0.113.5", "PROTO=UDP SPT=301 DPT=80", false},
      {"192.168.1.7", "203.0.113.5", "PROTO=UDP SPT=511 DPT=80", false},
      {"192.168.1.7", "203.0.113.5", "PROTO=UDP SPT=512 DPT=80", true},
      {"192.168.1.7", "203.0.113.5", "PROTO=UDP SPT=302 DPT=81", true},
      {"192.168.1.7", "203.0.113.6", "PROTO=UDP SPT=303 DPT=80", true},
      {"192.168.1.7", "203.0.113.5", "PROTO=TCP SPT=301 DPT=80 SYN", true},
      // The ids of pings likewise: any of 65536.
      {"192.168.1.5", "203.0.113.5", "PROTO=ICMP TYPE=8 CODE=0 ID=1", true},
      {"192.168.1.6", "203.0.113.5", "PROTO=ICMP TYPE=8 CODE=0 ID=1", false},
      {"192.168.1.7", "203.0.113.5", "PROTO=ICMP TYPE=8 CODE=0 ID=2", false},
      {"192.168.1.7", "203.0.113.6", "PROTO=ICMP TYPE=8 CODE=0 ID=3", true},
  };
  for (const Case& c : cases) {
    const std::string line = std::string("IN=eth0 OUT=eth1 SRC=") + c.source +
                             " DST=" + c.server + ' ' + c.rest;
    EXPECT_EQ(host.Run(line).indeterminate,
              c.determined ? "" : "a NAT port chosen at random")
        << line;
  }
}

TEST(Nat, AFixedPortMayClashWithOneDrawnBefore) {
  Host host;
  SetNat(&host, Hook::kPostrouting, To("198.51.100.9"));
  const std::string first =
      "IN=eth0 OUT=eth1 DST=203.0.113.5 PROTO=UDP SPT=300 DPT=80 SRC=";
  host.Run(first + "192.168.1.5");
  host.Run(first + "192.168.1.6");
  NatRange fixed = To("198.51.100.9");
  fixed.flags |= kNatProtoSpecified;
  fixed.min_port = fixed.max_port = 77;
  SetNat(&host, Hook::kPostrouting, fixed);
  // It has that port already, so nobody looks whether it is free.
  const std::string second = "IN=eth0 OUT=eth1 PROTO=UDP SPT=77 DPT=80 ";
  EXPECT_EQ(host.Run(second + "SRC=192.168.1.7 DST=203.0.113.5").indeterminate,
            "a clash with a NAT port chosen at random");
  EXPECT_EQ(host.Run(second + "SRC=192.168.1.8 DST=203.0.113.6").indeterminate,
            "");
}

TEST(Nat, PortRanges) {
  Host host;
  NatRange range = To("198.51.100.9");
  range.flags |= kNatProtoSpecified;
  range.min_port = 900;
  range.max_port = 1100;
  SetNat(&host, Hook::kPostrouting, range);
  host.Run(Client("SEQ=100 SYN"));  // 1000 is inside
  EXPECT_THAT(host.Sent(), HasSubstr("SPT=1000"));
  EXPECT_TRUE(host.outcome_.indeterminate.empty());
  host.Run(
      "IN=eth0 OUT=eth1 SRC=192.168.1.6 DST=203.0.113.5 PROTO=TCP SPT=5000 "
      "DPT=80 SEQ=1 SYN");
  EXPECT_FALSE(host.outcome_.indeterminate.empty());

  // A destination range starts at its first port; an offset shifts.
  Host other;
  NatRange shifted = To("192.168.1.77");
  shifted.flags |= kNatProtoSpecified | kNatProtoOffset;
  shifted.min_port = 5000;
  shifted.max_port = 5100;
  shifted.base_port = 80;
  SetNat(&other, Hook::kPrerouting, shifted);
  other.Run(
      "IN=eth1 OUT= SRC=203.0.113.5 DST=198.51.100.1 PROTO=TCP SPT=999 DPT=83 "
      "SYN");
  EXPECT_THAT(other.Sent(), HasSubstr("DPT=5003"));
  EXPECT_TRUE(other.outcome_.indeterminate.empty());

  Host third;
  NatRange plain = To("192.168.1.77");
  plain.flags |= kNatProtoSpecified;
  plain.min_port = 5000;
  plain.max_port = 5100;
  SetNat(&third, Hook::kPrerouting, plain);
  third.Run(
      "IN=eth1 OUT= SRC=203.0.113.5 DST=198.51.100.1 PROTO=TCP SPT=999 DPT=83 "
      "SYN");
  EXPECT_THAT(third.Sent(), HasSubstr("DPT=5000"));
  EXPECT_TRUE(third.outcome_.indeterminate.empty());
}

TEST(Nat, RandomFlagsAreChance) {
  for (const uint32_t flag : {kNatProtoRandom, kNatProtoRandomFully}) {
    Host host;
    NatRange range = To("198.51.100.9");
    range.flags |= flag;
    SetNat(&host, Hook::kPostrouting, range);
    host.Run(Client("SEQ=100 SYN"));
    EXPECT_FALSE(host.outcome_.indeterminate.empty());
    // And so is all that follows of the flow.
    host.Run(Client("SEQ=101 ACK"));
    EXPECT_FALSE(host.outcome_.indeterminate.empty());
  }
}

/// What Linux 6.18 chose, seen on its TUN devices.
TEST(Nat, AddressesOfARangeAreChosenByTheKernelsHash) {
  struct Case {
    const char* src;
    const char* dst;
    bool persistent;
    const char* chosen;
  };
  const Case cases[] = {
      {"50.190.92.204", "198.51.100.178", false, "10.0.0.34"},
      {"8.216.120.199", "198.51.100.243", false, "10.0.0.33"},
      {"20.167.14.41", "198.51.100.30", false, "10.0.0.32"},
      {"50.121.64.98", "198.51.100.141", false, "10.0.0.12"},
      {"8.147.64.4", "198.51.100.189", false, "10.0.0.18"},
      {"20.105.72.47", "198.51.100.236", false, "10.0.0.12"},
      {"203.41.196.205", "198.51.100.20", false, "10.0.0.9"},
      {"20.159.159.114", "198.51.100.34", false, "10.0.0.25"},
      {"20.1.2.54", "198.51.100.200", false, "10.0.0.31"},
      {"20.43.43.75", "198.51.100.82", false, "10.0.0.13"},
      {"20.139.174.161", "198.51.100.54", false, "10.0.0.15"},
      {"20.177.51.99", "198.51.100.78", false, "10.0.0.15"},
      {"203.149.216.3", "198.51.100.117", true, "10.0.0.38"},
      {"8.182.47.160", "198.51.100.246", true, "10.0.0.9"},
      {"20.31.194.63", "198.51.100.239", true, "10.0.0.30"},
      {"203.89.132.91", "198.51.100.230", true, "10.0.0.20"},
      {"50.199.119.28", "198.51.100.152", true, "10.0.0.34"},
      {"50.221.76.10", "198.51.100.112", true, "10.0.0.36"},
      {"8.54.88.132", "198.51.100.158", true, "10.0.0.26"},
      {"50.38.88.71", "198.51.100.238", true, "10.0.0.19"},
      {"8.80.176.82", "198.51.100.80", true, "10.0.0.34"},
      {"20.205.21.161", "198.51.100.40", true, "10.0.0.32"},
      {"50.124.42.185", "198.51.100.14", true, "10.0.0.21"},
      {"8.154.137.104", "198.51.100.10", true, "10.0.0.15"},
  };
  for (const Case& c : cases) {
    Host host;
    NatRange range = To("10.0.0.9", "10.0.0.40");
    if (c.persistent) range.flags |= kNatPersistent;
    SetNat(&host, Hook::kPrerouting, range);
    host.Run(std::string("IN=eth1 OUT= SRC=") + c.src + " DST=" + c.dst +
             " PROTO=UDP SPT=1 DPT=2");
    EXPECT_THAT(host.Sent(), HasSubstr(std::string(" DST=") + c.chosen + ' '))
        << c.src << ' ' << c.dst;
  }
}

TEST(Nat, TheSameSourceKeepsItsMapping) {
  Host host;
  SetNat(&host, Hook::kPostrouting, To("198.51.100.40", "198.51.100.50"));
  host.Run(
      "IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.5 PROTO=UDP SPT=7 DPT=2");
  const std::string first = host.Sent().substr(host.Sent().find("SRC="), 17);
  host.Run(
      "IN=eth0 OUT=eth1 SRC=192.168.1.5 DST=203.0.113.77 PROTO=UDP SPT=7 "
      "DPT=2");
  EXPECT_THAT(host.Sent(), HasSubstr(first));
}

TEST(Nat, Masquerade) {
  Host host;
  host.stages_.Set(TableKind::kNat, Hook::kPostrouting, [](PacketState* p) {
    EXPECT_TRUE(p->tracker->SetupMasquerade(p, {}));
    return StageVerdict();
  });
  host.Run(Client("SEQ=100 SYN"));
  EXPECT_THAT(host.Sent(), HasSubstr("SRC=198.51.100.1 "));
  host.Run(
      "IN=eth1 OUT= SRC=203.0.113.5 DST=198.51.100.1 PROTO=TCP SPT=80 "
      "DPT=1000 SEQ=500 ACK=101 SYN ACK");
  EXPECT_EQ(host.outcome_.out, "eth0");
  // The route moves to another device: the connection is dead.
  host.topology_.routes.back().out = "eth0";
  host.topology_.BuildIndex();
  EXPECT_EQ(host.Run(Client("SEQ=101 ACK=501 ACK")).verdict,
            VerdictKind::kDrop);
  EXPECT_EQ(host.tracker_.connections_count(), 0u);
}

TEST(Nat, RedirectAndNetmap) {
  Host host;
  host.stages_.Set(TableKind::kNat, Hook::kPrerouting, [](PacketState* p) {
    EXPECT_TRUE(p->tracker->SetupRedirect(
        p, {.flags = kNatProtoSpecified, .min_port = 3128, .max_port = 3128}));
    return StageVerdict();
  });
  host.Run(Client("SEQ=100 SYN"));
  EXPECT_EQ(host.outcome_.out, "");
  EXPECT_THAT(host.Sent(), HasSubstr("DST=192.168.1.1 "));
  EXPECT_THAT(host.Sent(), HasSubstr("DPT=3128"));

  Host other;
  other.stages_.Set(TableKind::kNat, Hook::kPostrouting, [](PacketState* p) {
    EXPECT_TRUE(p->tracker->SetupNetmap(p, To("10.7.7.0", "10.7.7.255"),
                                        NatManip::kSource));
    return StageVerdict();
  });
  other.Run(Client("SEQ=100 SYN"));
  EXPECT_THAT(other.Sent(), HasSubstr("SRC=10.7.7.5 "));
}

TEST(Nat, SourceAndDestinationTogether) {
  // A hairpin: the inside asks for the outside address of an inside server.
  Host host;
  SetNat(&host, Hook::kPrerouting, To("192.168.1.77"));
  SetNat(&host, Hook::kPostrouting, To("192.168.1.1"));
  host.Run(
      "IN=eth0 OUT= SRC=192.168.1.5 DST=198.51.100.1 PROTO=TCP SPT=1000 "
      "DPT=80 SEQ=1 SYN");
  EXPECT_EQ(host.outcome_.out, "eth0");
  EXPECT_THAT(host.Sent(), HasSubstr("SRC=192.168.1.1 DST=192.168.1.77"));
  host.Run(
      "IN=eth0 OUT= SRC=192.168.1.77 DST=192.168.1.1 PROTO=TCP SPT=80 "
      "DPT=1000 SEQ=9 ACK=2 SYN ACK");
  EXPECT_THAT(host.Sent(), HasSubstr("SRC=198.51.100.1 DST=192.168.1.5"));
}

TEST(Nat, InputTranslatesSourcesOfWhatIsDelivered) {
  Host host;
  SetNat(&host, Hook::kInput, To("10.5.5.5"));
  host.Run(
      "IN=eth0 OUT= SRC=192.168.1.5 DST=192.168.1.1 PROTO=UDP SPT=5 DPT=53");
  EXPECT_THAT(host.Sent(), HasSubstr("SRC=10.5.5.5 DST=192.168.1.1"));
  // The answer of a local socket goes to the translated address.
  host.Run("IN= OUT=eth1 SRC=192.168.1.1 DST=10.5.5.5 PROTO=UDP SPT=53 DPT=5");
  EXPECT_THAT(host.Sent(), HasSubstr("SRC=192.168.1.1 DST=192.168.1.5"));
  EXPECT_EQ(host.outcome_.out, "eth0");
}

TEST(Nat, Ipv6) {
  Host host(Family::kIpv6);
  SetNat(&host, Hook::kPostrouting, To("2001:db8:2::9"));
  host.Run(
      "IN=eth0 OUT=eth1 SRC=2001:db8:1::5 DST=2001:db8:9::1 PROTO=ICMPv6 "
      "TYPE=128 ID=5 SEQ=1");
  EXPECT_THAT(host.Sent(), HasSubstr("SRC=2001:db8:2::9 "));
  EXPECT_EQ(host.Sent().find("BYTES"), std::string::npos);
  host.Run(
      "IN=eth1 OUT= SRC=2001:db8:9::1 DST=2001:db8:2::9 PROTO=ICMPv6 TYPE=129 "
      "ID=5 SEQ=1");
  EXPECT_THAT(host.Sent(), HasSubstr("DST=2001:db8:1::5 "));
  host.Run(
      "IN=eth1 OUT= SRC=2001:db8:9::f DST=2001:db8:2::9 PROTO=ICMPv6 TYPE=1 "
      "CODE=0 [SRC=2001:db8:2::9 DST=2001:db8:9::1 PROTO=ICMPv6 TYPE=128 "
      "CODE=0 ID=5 SEQ=1 ]");
  EXPECT_EQ(host.State(), "RELATED/reply");
  EXPECT_THAT(host.Sent(), HasSubstr("[SRC=2001:db8:1::5 "));
}

TEST(Nat, RedirectsOfTranslatedConnectionsAreDropped) {
  Host host;
  SetNat(&host, Hook::kPostrouting, To("198.51.100.9"));
  host.Run(Client("SEQ=100 SYN"));
  EXPECT_EQ(host.Run("IN=eth1 OUT= SRC=203.0.113.5 DST=198.51.100.9 PROTO=ICMP "
                     "TYPE=5 CODE=1 GATEWAY=203.0.113.1 [SRC=198.51.100.9 "
                     "DST=203.0.113.5 PROTO=TCP SPT=1000 DPT=80 ]")
                .verdict,
            VerdictKind::kDrop);
}

}  // namespace
}  // namespace nfarena
