#include "engines/reference/action.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engines/core/bytes.h"
#include "engines/core/checksum.h"
#include "engines/reference/mss.h"
#include "engines/reference/reject.h"
#include "engines/reference/testing/stand.h"

namespace nfarena::reference {
namespace {

using testing::Bench;
using testing::Fields;
using testing::kAck;
using testing::kFin;
using testing::kRst;
using testing::kSyn;
using testing::ParseAddress;
using testing::Stand;

/// Runs one rule of mangle FORWARD on a packet; it must go on behind it.
void Apply(std::string_view rule, Stand* stand) {
  Bench bench(stand->packet.family, TableKind::kMangle,
              "-A FORWARD " + std::string(rule));
  ASSERT_EQ(bench.error(), "") << rule;
  const StageVerdict verdict = bench.Evaluate(stand);
  EXPECT_EQ(verdict.kind, VerdictKind::kAccept);
  EXPECT_EQ(verdict.rule.rule, 0u) << "not the policy";
}

bool ChecksumsHold(const PacketState& state) {
  if (state.family == Family::kIpv4) {
    const auto head =
        std::span<const uint8_t>(state.bytes).first(state.headers.transport);
    if (ChecksumFold(ChecksumPartial(head)) != 0) return false;
  }
  return TransportChecksumOk(state.family, state.bytes, state.headers.transport,
                             state.headers.protocol);
}

TEST(Action, Mark) {
  struct Case {
    const char* rule;
    uint32_t want;
  };
  const Case cases[] = {
      {"-j MARK --set-mark 0x10", 0x10},
      {"-j MARK --set-mark 0x10/0xff", 0xf10},
      {"-j MARK --set-xmark 0x10/0xf0", 0xf1f},
      {"-j MARK --or-mark 0x1000", 0x1f0f},
      {"-j MARK --and-mark 0xf0f", 0xf0f},
      {"-j MARK --xor-mark 0xf", 0xf00},
  };
  for (const Case& c : cases) {
    Stand stand({.mark = 0xf0f}, Hook::kForward);
    Apply(c.rule, &stand);
    EXPECT_EQ(stand.state.mark, c.want) << c.rule;
  }
}

TEST(Action, Connmark) {
  struct Case {
    const char* rule;
    uint32_t mark, connmark;  // afterwards; before: 0x0f0f and 0xf0f0
  };
  const Case cases[] = {
      {"-j CONNMARK --set-mark 1", 0x0f0f, 1},
      {"-j CONNMARK --set-xmark 1/0xf0", 0x0f0f, 0xf001},
      {"-j CONNMARK --save-mark", 0x0f0f, 0x0f0f},
      {"-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff00", 0x0f0f, 0x00ff},
      {"-j CONNMARK --restore-mark", 0xf0f0, 0xf0f0},
      {"-j CONNMARK --restore-mark --mask 0xff", 0x0ff0, 0xf0f0},
      {"-j CONNMARK --and-mark 0xff", 0x0f0f, 0xf0},
      {"-j CONNMARK --or-mark 0xff", 0x0f0f, 0xf0ff},
  };
  for (const Case& c : cases) {
    Stand stand({.mark = 0x0f0f}, Hook::kForward);
    stand.connection.mark = 0xf0f0;
    stand.Track(CtInfo::kEstablished);
    Apply(c.rule, &stand);
    EXPECT_EQ(stand.state.mark, c.mark) << c.rule;
    EXPECT_EQ(stand.connection.mark, c.connmark) << c.rule;
  }
  Stand untracked({.mark = 3}, Hook::kForward);
  Apply("-j CONNMARK --restore-mark", &untracked);
  EXPECT_EQ(untracked.state.mark, 3u);
}

TEST(Action, ConnmarkShifts) {
  ConnmarkTarget connmark;
  connmark.mode = ConnmarkMode::kRestore;
  connmark.connmark_mask = 0xffffffff;
  connmark.mark_mask = 0xffffffff;
  connmark.shift_bits = 4;
  const auto restored = [&](bool right) {
    Stand stand({}, Hook::kForward);
    stand.connection.mark = 0xab0;
    stand.Track(CtInfo::kEstablished);
    connmark.shift_right = right;
    SharedMemory none;
    Perform(connmark, &none, &stand.state);
    return stand.state.mark;
  };
  EXPECT_EQ(restored(true), 0xabu);
  EXPECT_EQ(restored(false), 0xab00u);
}

TEST(Action, HeaderFieldsWithTheirChecksums) {
  struct Case {
    const char* rule;
    uint8_t tos, ttl;  // afterwards; before: 0x2d and 64
  };
  const Case cases[] = {
      {"-j DSCP --set-dscp 0x2e", 0xb9, 64},
      {"-j DSCP --set-dscp 0x0b", 0x2d, 64},
      {"-j TOS --set-tos 0x10/0x3f", 0x10, 64},
      {"-j TOS --set-tos 0x10/0x10", 0x3d, 64},
      {"-j TTL --ttl-set 1", 0x2d, 1},
      {"-j TTL --ttl-inc 191", 0x2d, 255},
      {"-j TTL --ttl-inc 192", 0x2d, 255},
      {"-j TTL --ttl-dec 63", 0x2d, 1},
      {"-j TTL --ttl-dec 65", 0x2d, 0},
  };
  for (const Case& c : cases) {
    Stand stand({.tos = 0x2d}, Hook::kForward);
    Apply(c.rule, &stand);
    EXPECT_EQ(stand.state.bytes[1], c.tos) << c.rule;
    EXPECT_EQ(stand.state.bytes[8], c.ttl) << c.rule;
    EXPECT_TRUE(ChecksumsHold(stand.state)) << c.rule;
  }
  Stand v6({.src = "2001:db8::1", .dst = "2001:db8:1::1", .tos = 0x2d},
           Hook::kForward);
  Apply("-j HL --hl-dec 4", &v6);
  Apply("-j DSCP --set-dscp 0x2e", &v6);
  EXPECT_EQ(v6.state.bytes[7], 60);
  EXPECT_EQ(LoadBe16(v6.state.bytes.data()), 0x6b90);
}

TEST(Action, Classify) {
  Stand stand({}, Hook::kForward);
  Apply("-j CLASSIFY --set-class 1:2", &stand);
  EXPECT_EQ(stand.state.priority, 0x10002u);
}

TEST(Action, Ecn) {
  Stand ip({.tos = 0xb9}, Hook::kForward);
  Bench remove(Family::kIpv4, TableKind::kMangle,
               "-A FORWARD -p tcp -j ECN --ecn-tcp-remove");
  ASSERT_EQ(remove.error(), "");
  Stand tcp({.flags = 0xc2}, Hook::kForward);
  EXPECT_EQ(remove.Evaluate(&tcp).kind, VerdictKind::kAccept);
  EXPECT_EQ(tcp.state.bytes[33], 0x02);
  EXPECT_TRUE(ChecksumsHold(tcp.state));
  EcnTarget ecn;
  ecn.set_ip = true;
  ecn.ip_ect = 2;
  SharedMemory none;
  Perform(ecn, &none, &ip.state);
  EXPECT_EQ(ip.state.bytes[1], 0xba);
  EXPECT_TRUE(ChecksumsHold(ip.state));
}

TEST(Action, Tcpoptstrip) {
  // MSS, NOP, window scale (odd offset), end.
  Stand stand({.options = {2, 4, 5, 0xb4, 1, 3, 3, 7}}, Hook::kForward);
  Apply("-p tcp -j TCPOPTSTRIP --strip-options wscale", &stand);
  EXPECT_THAT(std::vector<uint8_t>(stand.state.bytes.begin() + 40,
                                   stand.state.bytes.end()),
              ::testing::ElementsAre(2, 4, 5, 0xb4, 1, 1, 1, 1));
  EXPECT_TRUE(ChecksumsHold(stand.state));
  Stand kept({.options = {2, 4, 5, 0xb4}}, Hook::kForward);
  const auto before = kept.state.bytes;
  Apply("-p tcp -j TCPOPTSTRIP --strip-options wscale", &kept);
  EXPECT_EQ(kept.state.bytes, before);
}

TEST(Action, LogAndNflogGoOn) {
  Stand stand({}, Hook::kForward);
  Apply("-j LOG --log-prefix \"in: \" --log-level info", &stand);
  Apply("-j NFLOG --nflog-group 3 --nflog-prefix x", &stand);
  ASSERT_EQ(stand.outcome.logs.size(), 2u);
  EXPECT_EQ(stand.outcome.logs[0], (LogRecord{"in: ", 0, false, 6}));
  EXPECT_EQ(stand.outcome.logs[1], (LogRecord{"x", 3, true, 0}));
}

TEST(Action, Nfqueue) {
  struct Case {
    const char* rule;
    uint16_t queue;
    bool certain;
  };
  const Case cases[] = {
      {"-j NFQUEUE", 0, true},
      {"-j NFQUEUE --queue-num 7", 7, true},
      {"-j NFQUEUE --queue-num 7 --queue-bypass", 7, true},
      {"-j NFQUEUE --queue-balance 4:7", 4, false},
  };
  for (const Case& c : cases) {
    Stand stand({}, Hook::kForward);
    Bench bench(Family::kIpv4, TableKind::kFilter,
                std::string("-A FORWARD ") + c.rule);
    ASSERT_EQ(bench.error(), "");
    const StageVerdict verdict = bench.Evaluate(&stand);
    EXPECT_EQ(verdict.kind, VerdictKind::kQueue);
    EXPECT_EQ(verdict.queue, c.queue) << c.rule;
    EXPECT_EQ(stand.outcome.indeterminate.empty(), c.certain) << c.rule;
  }
}

TEST(Action, CtDecidesOnceAndFirst) {
  Bench bench(Family::kIpv4, TableKind::kRaw,
              "-A PREROUTING -m mark --mark 1 -j CT --notrack\n"
              "-A PREROUTING -m mark --mark 2 -j CT --zone-orig 5\n"
              "-A PREROUTING -j CT --zone 9\n"
              "-A PREROUTING -j CT --notrack");
  ASSERT_EQ(bench.error(), "");
  Stand untracked({.mark = 1}, Hook::kPrerouting);
  bench.Evaluate(&untracked);
  EXPECT_EQ(untracked.state.ct_info, CtInfo::kUntracked);
  EXPECT_FALSE(untracked.state.ct_template.set);

  Stand original({.mark = 2}, Hook::kPrerouting);
  bench.Evaluate(&original);
  EXPECT_TRUE(original.state.ct_template.set);
  EXPECT_EQ(original.state.ct_template.zone, 5);
  EXPECT_EQ(original.state.ct_template.zone_directions, 1);
  EXPECT_NE(original.state.ct_info, CtInfo::kUntracked);

  Stand both({}, Hook::kPrerouting);
  bench.Evaluate(&both);
  EXPECT_EQ(both.state.ct_template.zone, 9);
  EXPECT_EQ(both.state.ct_template.zone_directions, 3);

  // A packet on its second way (loopback) has its connection already.
  Stand seen({.mark = 1}, Hook::kPrerouting);
  seen.Track(CtInfo::kEstablished);
  bench.Evaluate(&seen);
  EXPECT_EQ(seen.state.ct_info, CtInfo::kEstablished);
}

TEST(Action, Trace) {
  Bench bench(Family::kIpv4, TableKind::kRaw, "-A PREROUTING -j TRACE");
  Stand stand({}, Hook::kPrerouting);
  EXPECT_EQ(bench.Evaluate(&stand).kind, VerdictKind::kAccept);
  EXPECT_TRUE(stand.state.traced);
}

// --- TCPMSS -----------------------------------------------------------------

std::vector<uint8_t> MssOption(uint16_t mss) {
  return {2, 4, static_cast<uint8_t>(mss >> 8), static_cast<uint8_t>(mss)};
}

TEST(Mss, IsLoweredNeverRaised) {
  struct Case {
    uint16_t set, before, after;
  };
  for (const Case& c : {Case{1400, 1460, 1400}, Case{1460, 1460, 1460},
                        Case{1461, 1460, 1460}, Case{0, 1, 0}}) {
    Stand stand({.options = MssOption(c.before)}, Hook::kForward);
    ASSERT_TRUE(SetMss({false, c.set}, &stand.state));
    EXPECT_EQ(LoadBe16(&stand.state.bytes[42]), c.after) << c.set;
    EXPECT_TRUE(ChecksumsHold(stand.state));
  }
}

TEST(Mss, IsFoundBehindOtherOptions) {
  std::vector<uint8_t> options = {1, 3, 3, 7};
  for (const uint8_t byte : MssOption(1460)) options.push_back(byte);
  Stand stand({.options = options}, Hook::kForward);
  ASSERT_TRUE(SetMss({false, 536}, &stand.state));
  EXPECT_EQ(LoadBe16(&stand.state.bytes[46]), 536);
  EXPECT_TRUE(ChecksumsHold(stand.state));
}

TEST(Mss, IsAddedToASynWithoutData) {
  Stand stand({}, Hook::kForward);
  ASSERT_TRUE(SetMss({false, 1400}, &stand.state));
  EXPECT_EQ(stand.state.bytes.size(), 44u);
  EXPECT_EQ(LoadBe16(&stand.state.bytes[2]), 44);
  EXPECT_EQ(stand.state.bytes[32] >> 4, 6);
  EXPECT_EQ(LoadBe32(&stand.state.bytes[40]), 0x02040218u);  // 536
  EXPECT_TRUE(ChecksumsHold(stand.state));

  Stand v6({.src = "2001:db8::1", .dst = "2001:db8:1::1"}, Hook::kForward);
  ASSERT_TRUE(SetMss({false, 1000}, &v6.state));
  EXPECT_EQ(LoadBe16(&v6.state.bytes[4]), 24);
  EXPECT_EQ(LoadBe32(&v6.state.bytes[60]), 0x020403e8u);
  EXPECT_TRUE(ChecksumsHold(v6.state));

  Stand data({.data = {1}}, Hook::kForward);
  const auto before = data.state.bytes;
  ASSERT_TRUE(SetMss({false, 1400}, &data.state));
  EXPECT_EQ(data.state.bytes, before);
  Stand full({.options = std::vector<uint8_t>(40, 1)}, Hook::kForward);
  ASSERT_TRUE(SetMss({false, 1400}, &full.state));
  EXPECT_EQ(full.state.bytes.size(), 80u);
}

TEST(Mss, AWrongChecksumStaysWrongByTheSame) {
  Stand stand({.options = MssOption(1460)}, Hook::kForward);
  StoreBe16(&stand.state.bytes[36],
            static_cast<uint16_t>(LoadBe16(&stand.state.bytes[36]) ^ 0x0100));
  ASSERT_TRUE(SetMss({false, 1400}, &stand.state));
  EXPECT_FALSE(ChecksumsHold(stand.state));
}

TEST(Mss, BrokenHeadersAreDroppedFragmentsPass) {
  Stand cut({.cut = 19}, Hook::kForward);
  EXPECT_FALSE(SetMss({false, 1400}, &cut.state));
  Stand no_options({}, Hook::kForward);
  no_options.state.bytes[32] = 0x60;  // says 24 bytes, has 20
  EXPECT_FALSE(SetMss({false, 1400}, &no_options.state));
  no_options.state.bytes[32] = 0x40;
  EXPECT_FALSE(SetMss({false, 1400}, &no_options.state));
  Stand fragment({.fragment_offset = 3}, Hook::kForward);
  EXPECT_TRUE(SetMss({false, 1400}, &fragment.state));
}

TEST(Mss, ClampFollowsThePath) {
  // No packet of the arena meets a small MTU.
  Stand stand({.options = MssOption(65500)}, Hook::kForward);
  ASSERT_TRUE(SetMss({true, 0}, &stand.state));
  EXPECT_EQ(LoadBe16(&stand.state.bytes[42]), 65535 - 40);
  stand.topology.devices[0].link_layer = true;  // the way back
  ASSERT_TRUE(SetMss({true, 0}, &stand.state));
  EXPECT_EQ(LoadBe16(&stand.state.bytes[42]), 65521 - 40);
}

// --- REJECT -----------------------------------------------------------------

std::optional<std::vector<uint8_t>> Answer(const RejectTarget& reject,
                                           const Stand& stand) {
  return AnswerOf(reject, stand.state);
}

constexpr RejectTarget kReset4{Family::kIpv4, true, 0, 0},
    kPort4{Family::kIpv4, false, 3, 3}, kReset6{Family::kIpv6, true, 0, 0},
    kPort6{Family::kIpv6, false, 1, 4};

TEST(Reject, ResetOfASyn) {
  const Stand stand({.tos = 8}, Hook::kForward);
  const auto reset = Answer(kReset4, stand);
  ASSERT_TRUE(reset.has_value());
  ASSERT_EQ(reset->size(), 40u);
  EXPECT_EQ((*reset)[0], 0x45);
  EXPECT_EQ((*reset)[1], 0);
  EXPECT_EQ(LoadBe16(&(*reset)[2]), 40);
  EXPECT_EQ(LoadBe16(&(*reset)[6]), 0x4000);  // DF
  EXPECT_EQ((*reset)[8], 64);
  EXPECT_EQ(LoadBe16(&(*reset)[20]), 80);
  EXPECT_EQ(LoadBe16(&(*reset)[22]), 40000);
  EXPECT_EQ(LoadBe32(&(*reset)[24]), 0u);     // sequence
  EXPECT_EQ(LoadBe32(&(*reset)[28]), 1001u);  // a SYN takes one number
  EXPECT_EQ((*reset)[33], kRst | kAck);
  Stand check({}, Hook::kForward);
  check.state.bytes = *reset;
  ParseHeaders(&check.state);
  EXPECT_EQ(SourceOf(check.state), ParseAddress("198.51.100.1"));
  EXPECT_EQ(DestinationOf(check.state), ParseAddress("192.0.2.1"));
  EXPECT_TRUE(ChecksumsHold(check.state));
}

TEST(Reject, ResetOfASegmentWithAcknowledgment) {
  const Stand stand({.flags = kAck | kFin, .acknowledgment = 777},
                    Hook::kForward);
  const auto reset = Answer(kReset4, stand);
  ASSERT_TRUE(reset.has_value());
  EXPECT_EQ(LoadBe32(&(*reset)[24]), 777u);
  EXPECT_EQ(LoadBe32(&(*reset)[28]), 0u);
  EXPECT_EQ((*reset)[33], kRst);
  // Data and FIN count when there is no acknowledgment to answer.
  const Stand data({.flags = kFin, .data = {1, 2, 3}}, Hook::kForward);
  EXPECT_EQ(LoadBe32(&(*Answer(kReset4, data))[28]), 1000u + 3 + 1);
}

TEST(Reject, NoResetForResetsFragmentsGroupsOrBrokenSegments) {
  EXPECT_FALSE(Answer(kReset4, Stand({.flags = kRst}, Hook::kForward)));
  EXPECT_FALSE(Answer(kReset4, Stand({.protocol = 17}, Hook::kForward)));
  EXPECT_FALSE(Answer(kReset4, Stand({.cut = 19}, Hook::kForward)));
  EXPECT_FALSE(Answer(kReset4, Stand({.fragment_offset = 1}, Hook::kForward)));
  EXPECT_FALSE(
      Answer(kReset4, Stand({.dst = "255.255.255.255"}, Hook::kInput)));
  EXPECT_FALSE(Answer(kReset4, Stand({.dst = "192.0.2.255"}, Hook::kInput)));
  EXPECT_FALSE(Answer(
      kReset6, Stand({.src = "2001:db8::1", .dst = "ff02::1"}, Hook::kInput)));
  Stand bad({}, Hook::kForward);
  bad.state.bytes[36] ^= 1;
  EXPECT_FALSE(Answer(kReset4, bad));
}

TEST(Reject, IcmpErrorQuotesThePacket) {
  const Stand stand({.protocol = 17,
                     .dport = 53,
                     .data = std::vector<uint8_t>(1000, 7),
                     .tos = 0x2d},
                    Hook::kForward);
  const auto error = Answer(kPort4, stand);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->size(), 576u);
  EXPECT_EQ((*error)[1], 0xcc);          // (0x2d & 0x1e) | 0xc0
  EXPECT_EQ(LoadBe16(&(*error)[6]), 0);  // may be fragmented
  EXPECT_EQ((*error)[9], 1);
  EXPECT_EQ((*error)[20], 3);
  EXPECT_EQ((*error)[21], 3);
  EXPECT_TRUE(
      std::equal(error->begin() + 28, error->end(), stand.state.bytes.begin()));
  Stand check({}, Hook::kForward);
  check.state.bytes = *error;
  ParseHeaders(&check.state);
  // Forwarded: the address of the device it leaves by.
  EXPECT_EQ(SourceOf(check.state), ParseAddress("192.0.2.254"));
  EXPECT_EQ(DestinationOf(check.state), ParseAddress("192.0.2.1"));
  EXPECT_TRUE(ChecksumsHold(check.state));
  // For this host: the address that was asked.
  const Stand local({.dst = "198.51.100.254", .protocol = 17}, Hook::kInput);
  check.state.bytes = *Answer(kPort4, local);
  EXPECT_EQ(SourceOf(check.state), ParseAddress("198.51.100.254"));
}

TEST(Reject, Icmpv6Error) {
  const Fields udp{.src = "2001:db8::1",
                   .dst = "2001:db8:1::1",
                   .protocol = 17,
                   .data = std::vector<uint8_t>(2000, 7)};
  const Stand stand(udp, Hook::kForward);
  const auto error = Answer(kPort6, stand);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->size(), 1280u);
  EXPECT_EQ((*error)[6], 58);
  EXPECT_EQ((*error)[40], 1);
  EXPECT_EQ((*error)[41], 4);
  Stand check(udp, Hook::kForward);
  check.state.bytes = *error;
  ParseHeaders(&check.state);
  EXPECT_EQ(SourceOf(check.state), ParseAddress("2001:db8::fe"));
  EXPECT_TRUE(ChecksumsHold(check.state));
}

TEST(Reject, NoIcmpErrorAboutErrorsFragmentsOrGroups) {
  const auto icmp = [](uint8_t type) {
    return Fields{.protocol = 1, .type = type};
  };
  EXPECT_TRUE(Answer(kPort4, Stand(icmp(8), Hook::kForward)));
  EXPECT_TRUE(Answer(kPort4, Stand(icmp(13), Hook::kForward)));
  for (const uint8_t type : std::vector<uint8_t>{3, 4, 5, 11, 12, 9, 19, 255}) {
    EXPECT_FALSE(Answer(kPort4, Stand(icmp(type), Hook::kForward)))
        << int{type};
  }
  const auto icmp6 = [](uint8_t type) {
    return Fields{.src = "2001:db8::1",
                  .dst = "2001:db8:1::1",
                  .protocol = 58,
                  .type = type};
  };
  EXPECT_TRUE(Answer(kPort6, Stand(icmp6(128), Hook::kForward)));
  EXPECT_FALSE(Answer(kPort6, Stand(icmp6(1), Hook::kForward)));
  EXPECT_FALSE(Answer(kPort6, Stand(icmp6(127), Hook::kForward)));
  EXPECT_FALSE(Answer(kPort4, Stand({.fragment_offset = 5}, Hook::kForward)));
  EXPECT_FALSE(Answer(
      kPort4, Stand({.dst = "224.0.0.1", .protocol = 17}, Hook::kInput)));
  EXPECT_FALSE(Answer(
      kPort4,
      Stand({.protocol = 17,
             .mac_dst = std::array<uint8_t, 6>{255, 255, 255, 255, 255, 255}},
            Hook::kForward)));
}

TEST(Reject, ChecksumsAreVerifiedWhereTheKernelDoes) {
  Stand udp({.protocol = 17}, Hook::kForward);
  udp.state.bytes[26] ^= 1;
  EXPECT_FALSE(Answer(kPort4, udp));
  StoreBe16(&udp.state.bytes[26], 0);  // none
  EXPECT_TRUE(Answer(kPort4, udp));
  // GRE is not verified; a protocol nobody knows is.
  EXPECT_TRUE(Answer(
      kPort4, Stand({.protocol = 47, .data = {1, 2, 3, 4}}, Hook::kForward)));
  EXPECT_FALSE(Answer(
      kPort4, Stand({.protocol = 253, .data = {1, 2, 3, 4}}, Hook::kForward)));
  EXPECT_TRUE(Answer(
      kPort4, Stand({.protocol = 253, .data = {0xff, 0xff}}, Hook::kForward)));
}

TEST(Reject, DropsThePacket) {
  Bench bench(Family::kIpv4, TableKind::kFilter, "-A FORWARD -j REJECT");
  Stand stand({}, Hook::kForward);
  const StageVerdict verdict = bench.Evaluate(&stand);
  EXPECT_EQ(verdict.kind, VerdictKind::kDrop);
  EXPECT_EQ(verdict.rule.rule, 1u);
}

}  // namespace
}  // namespace nfarena::reference
