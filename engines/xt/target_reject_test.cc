// REJECT on the whole path: what leaves the machine, and when nothing does.
#include <gtest/gtest.h>

#include "engines/core/bytes.h"
#include "engines/core/checksum.h"
#include "engines/core/path.h"
#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"

namespace nfarena::xt {
namespace {

using testing::Ipv4;
using testing::Ipv6;
using testing::kAck;
using testing::kRst;
using testing::kSyn;
using testing::ParseAddress;
using testing::RuleRunner;
using testing::TestTopology;

/// One rule in filter's FORWARD and nothing else.
class ForwardRule : public StageEvaluator {
 public:
  ForwardRule(Family family, const char* rule)
      : runner_(family, TableKind::kFilter, rule), family_(family) {
    EXPECT_EQ(runner_.error(), "") << rule;
  }
  bool HasStage(Stage stage) const override {
    return stage.table == TableKind::kFilter && stage.hook == Hook::kForward;
  }
  StageVerdict Evaluate(Stage, PacketState* packet) override {
    testing::Standing standing(*packet->origin, Hook::kForward);
    // The runner works on a standing packet of its own; only the target needs
    // the real one.
    std::swap(standing.state, *packet);
    const bool match = runner_.Matches(&standing);
    const XtTargetResult result =
        match ? runner_.RunTarget(&standing) : XtTargetResult{};
    std::swap(standing.state, *packet);
    return {.kind = result.verdict == XtVerdict::kDrop ? VerdictKind::kDrop
                                                       : VerdictKind::kAccept,
            .queue = 0,
            .rule = {}};
  }

  Outcome Run(const Packet& packet) {
    const Topology topology = TestTopology(family_);
    Tracker tracker;
    Path path(&topology, &tracker, this);
    Outcome outcome;
    path.Run(packet, {}, &outcome);
    return outcome;
  }

 private:
  RuleRunner runner_;
  Family family_;
};

Outcome Reject(const char* rule, const Packet& packet) {
  return ForwardRule(packet.family, rule).Run(packet);
}

testing::PacketBuilder Forwarded4() { return Ipv4().In("eth0").Out("eth1"); }
testing::PacketBuilder Forwarded6() { return Ipv6().In("eth0").Out("eth1"); }

TEST(TargetReject, IcmpCodes) {
  struct Case {
    const char* rule;
    uint8_t code;
  };
  const Case cases[] = {
      {"-j REJECT", 3},
      {"-j REJECT --reject-with icmp-net-unreachable", 0},
      {"-j REJECT --reject-with icmp-host-unreachable", 1},
      {"-j REJECT --reject-with icmp-proto-unreachable", 2},
      {"-j REJECT --reject-with icmp-port-unreachable", 3},
      {"-j REJECT --reject-with icmp-net-prohibited", 9},
      {"-j REJECT --reject-with icmp-host-prohibited", 10},
      {"-j REJECT --reject-with icmp-admin-prohibited", 13},
  };
  for (const Case& c : cases) {
    const Packet packet = Forwarded4().Udp(1000, 53).Build();
    const Outcome outcome = Reject(c.rule, packet);
    EXPECT_EQ(outcome.verdict, VerdictKind::kDrop);
    ASSERT_EQ(outcome.emissions.size(), 1u) << c.rule;
    const Emission& answer = outcome.emissions[0];
    EXPECT_EQ(answer.out, "eth0");
    ASSERT_EQ(answer.bytes.size(), 20 + 8 + packet.bytes.size());
    EXPECT_EQ(answer.bytes[9], IPPROTO_ICMP);
    EXPECT_EQ(answer.bytes[20], 3) << c.rule;
    EXPECT_EQ(answer.bytes[21], c.code) << c.rule;
    EXPECT_TRUE(
        TransportChecksumOk(Family::kIpv4, answer.bytes, 20, IPPROTO_ICMP));
  }
}

TEST(TargetReject, Icmp6Codes) {
  struct Case {
    const char* rule;
    uint8_t code;
  };
  const Case cases[] = {
      {"-j REJECT", 4},
      {"-j REJECT --reject-with icmp6-no-route", 0},
      {"-j REJECT --reject-with icmp6-adm-prohibited", 1},
      {"-j REJECT --reject-with icmp6-addr-unreachable", 3},
      {"-j REJECT --reject-with icmp6-port-unreachable", 4},
      {"-j REJECT --reject-with icmp6-policy-fail", 5},
      {"-j REJECT --reject-with icmp6-reject-route", 6},
  };
  for (const Case& c : cases) {
    const Outcome outcome = Reject(c.rule, Forwarded6().Udp(1, 53).Build());
    ASSERT_EQ(outcome.emissions.size(), 1u) << c.rule;
    const std::vector<uint8_t>& answer = outcome.emissions[0].bytes;
    ASSERT_GT(answer.size(), 48u);
    EXPECT_EQ(answer[6], IPPROTO_ICMPV6);
    EXPECT_EQ(answer[40], 1) << c.rule;
    EXPECT_EQ(answer[41], c.code) << c.rule;
    EXPECT_TRUE(TransportChecksumOk(Family::kIpv6, answer, 40, IPPROTO_ICMPV6));
  }
}

TEST(TargetReject, TcpReset) {
  const char* rule = "-p tcp -j REJECT --reject-with tcp-reset";
  const Outcome syn =
      Reject(rule, Forwarded4().Tcp(1000, 80, kSyn).Sequence(100, 0).Build());
  ASSERT_EQ(syn.emissions.size(), 1u);
  const std::vector<uint8_t>& answer = syn.emissions[0].bytes;
  ASSERT_EQ(answer.size(), 40u);
  EXPECT_EQ(LoadBe16(&answer[20]), 80);
  EXPECT_EQ(LoadBe16(&answer[22]), 1000);
  EXPECT_EQ(LoadBe32(&answer[24]), 0u);
  EXPECT_EQ(LoadBe32(&answer[28]), 101u);  // the SYN counts as one
  EXPECT_EQ(answer[33], kRst | kAck);

  const Outcome ack = Reject(
      rule, Forwarded4().Tcp(1000, 80, kAck).Sequence(100, 7777).Build());
  ASSERT_EQ(ack.emissions.size(), 1u);
  EXPECT_EQ(LoadBe32(&ack.emissions[0].bytes[24]), 7777u);
  EXPECT_EQ(ack.emissions[0].bytes[33], kRst);

  const Outcome ipv6 = Reject(
      rule,
      Forwarded6().Tcp(1000, 80, kSyn).Sequence(5, 0).Data("abc").Build());
  ASSERT_EQ(ipv6.emissions.size(), 1u);
  ASSERT_EQ(ipv6.emissions[0].bytes.size(), 60u);
  EXPECT_EQ(LoadBe32(&ipv6.emissions[0].bytes[48]), 9u);
}

TEST(TargetReject, SilentDrops) {
  const char* reset = "-p tcp -j REJECT --reject-with tcp-reset";
  Packet corrupt = Forwarded4().Udp(1, 53).Data("abcd").Build();
  corrupt.bytes.back() ^= 0xff;
  struct Case {
    const char* name;
    const char* rule;
    Packet packet;
  };
  const Case cases[] = {
      {"no reset for a reset", reset, Forwarded4().Tcp(1, 2, kRst).Build()},
      {"no error about an error", "-j REJECT", Forwarded4().Icmp(3, 1).Build()},
      {"nor about ICMPv6's", "-j REJECT", Forwarded6().Icmp(1, 0).Build()},
      {"nor about a later fragment", "-j REJECT",
       Forwarded4().Udp(1, 2).Fragment(100, false).Build()},
      {"nor about damaged data", "-j REJECT", corrupt},
  };
  for (const Case& c : cases) {
    const Outcome outcome = Reject(c.rule, c.packet);
    EXPECT_EQ(outcome.verdict, VerdictKind::kDrop) << c.name;
    EXPECT_TRUE(outcome.emissions.empty()) << c.name;
  }
  // An echo request is answered, though it is ICMP.
  EXPECT_EQ(
      Reject("-j REJECT", Forwarded4().Icmp(8, 0).Build()).emissions.size(),
      1u);
}

TEST(TargetReject, Checks) {
  const auto refused = [](TableKind table, const char* rule, Hook hook) {
    return RuleRunner(Family::kIpv4, TableKind::kFilter, rule,
                      static_cast<uint8_t>(1 << static_cast<int>(hook)), table)
        .error_number();
  };
  EXPECT_EQ(refused(TableKind::kFilter, "-j REJECT", Hook::kInput), 0);
  EXPECT_EQ(refused(TableKind::kMangle, "-j REJECT", Hook::kForward), EINVAL);
  EXPECT_EQ(refused(TableKind::kFilter, "-j REJECT --reject-with tcp-reset",
                    Hook::kInput),
            EINVAL);
  EXPECT_EQ(refused(TableKind::kFilter,
                    "! -p tcp -j REJECT --reject-with tcp-reset", Hook::kInput),
            EINVAL);
  EXPECT_EQ(refused(TableKind::kFilter,
                    "-p tcp -j REJECT --reject-with tcp-reset", Hook::kInput),
            0);
}

}  // namespace
}  // namespace nfarena::xt
