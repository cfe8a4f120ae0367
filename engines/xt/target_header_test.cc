#include <gtest/gtest.h>

#include "engines/core/bytes.h"
#include "engines/core/checksum.h"
#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"

namespace nfarena::xt {
namespace {

using testing::Ipv4;
using testing::Ipv6;
using testing::kAck;
using testing::kSyn;
using testing::PacketBuilder;
using testing::RuleRunner;
using testing::Standing;

/// Runs the target of a rule of mangle's FORWARD and checks that the packet
/// goes on and that its checksums are right afterwards.
std::vector<uint8_t> Rewrite(Family family, const char* rule,
                             const Packet& packet) {
  RuleRunner runner(family, TableKind::kMangle, rule);
  EXPECT_EQ(runner.error(), "") << rule;
  Standing standing(packet, Hook::kForward);
  const XtTargetResult result = runner.RunTarget(&standing);
  EXPECT_EQ(result.verdict, XtVerdict::kContinue) << rule;
  std::vector<uint8_t> fixed = standing.state.bytes;
  if (family == Family::kIpv4) FixIpv4Checksum(fixed);
  EXPECT_EQ(standing.state.bytes, fixed) << rule << ": header checksum";
  EXPECT_TRUE(TransportChecksumOk(family, standing.state.bytes,
                                  standing.state.headers.transport,
                                  standing.state.headers.protocol))
      << rule;
  return standing.state.bytes;
}

std::vector<uint8_t> BytesOf(const PacketBuilder& builder) {
  return builder.Build().bytes;
}

TEST(TargetHeader, DscpKeepsEcn) {
  EXPECT_EQ(Rewrite(Family::kIpv4, "-j DSCP --set-dscp 0x2e",
                    Ipv4().Tos(0x03).Build()),
            BytesOf(Ipv4().Tos(0xbb)));
  EXPECT_EQ(
      Rewrite(Family::kIpv4, "-j DSCP --set-dscp 0", Ipv4().Tos(0xb9).Build()),
      BytesOf(Ipv4().Tos(0x01)));
  EXPECT_EQ(Rewrite(Family::kIpv4, "-j DSCP --set-dscp 0x2e",
                    Ipv4().Tos(0xba).Build()),
            BytesOf(Ipv4().Tos(0xba)));
  EXPECT_EQ(Rewrite(Family::kIpv6, "-j DSCP --set-dscp 0x2e",
                    Ipv6().Tos(0x02).Build()),
            BytesOf(Ipv6().Tos(0xba)));
}

TEST(TargetHeader, Tos) {
  struct Case {
    const char* rule;
    uint8_t before, after;
  };
  const Case cases[] = {
      {"-j TOS --set-tos 0x10/0xff", 0x03, 0x10},
      {"-j TOS --set-tos 0x10/0x3f", 0xc4, 0xd0},
      {"-j TOS --and-tos 0x0f", 0xff, 0x0f},
      {"-j TOS --or-tos 0x80", 0x01, 0x81},
      {"-j TOS --xor-tos 0xff", 0x0f, 0xf0},
      {"-j TOS --set-tos 0x10/0xff", 0x10, 0x10},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Rewrite(Family::kIpv4, c.rule, Ipv4().Tos(c.before).Build()),
              BytesOf(Ipv4().Tos(c.after)))
        << c.rule;
    EXPECT_EQ(Rewrite(Family::kIpv6, c.rule, Ipv6().Tos(c.before).Build()),
              BytesOf(Ipv6().Tos(c.after)))
        << c.rule;
  }
}

TEST(TargetHeader, TtlAndHopLimit) {
  struct Case {
    const char* rule4;
    const char* rule6;
    uint8_t before, after;
  };
  const Case cases[] = {
      {"-j TTL --ttl-set 9", "-j HL --hl-set 9", 64, 9},
      {"-j TTL --ttl-set 0", "-j HL --hl-set 0", 64, 0},
      {"-j TTL --ttl-inc 1", "-j HL --hl-inc 1", 64, 65},
      {"-j TTL --ttl-inc 200", "-j HL --hl-inc 200", 55, 255},
      {"-j TTL --ttl-inc 200", "-j HL --hl-inc 200", 56, 255},
      {"-j TTL --ttl-dec 1", "-j HL --hl-dec 1", 64, 63},
      {"-j TTL --ttl-dec 64", "-j HL --hl-dec 64", 64, 0},
      {"-j TTL --ttl-dec 65", "-j HL --hl-dec 65", 64, 0},
      {"-j TTL --ttl-set 64", "-j HL --hl-set 64", 64, 64},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Rewrite(Family::kIpv4, c.rule4, Ipv4().Ttl(c.before).Build()),
              BytesOf(Ipv4().Ttl(c.after)))
        << c.rule4;
    EXPECT_EQ(Rewrite(Family::kIpv6, c.rule6, Ipv6().Ttl(c.before).Build()),
              BytesOf(Ipv6().Ttl(c.after)))
        << c.rule6;
  }
}

std::vector<uint8_t> Mss(uint16_t mss) {
  return {2, 4, static_cast<uint8_t>(mss >> 8), static_cast<uint8_t>(mss)};
}

TEST(TargetHeader, TcpmssLowersAndNeverRaises) {
  const char* rule = "-p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1000";
  const auto with = [](uint16_t mss) {
    return Ipv4().Tcp(1, 2, kSyn, Mss(mss));
  };
  EXPECT_EQ(Rewrite(Family::kIpv4, rule, with(1460).Build()),
            BytesOf(with(1000)));
  EXPECT_EQ(Rewrite(Family::kIpv4, rule, with(1001).Build()),
            BytesOf(with(1000)));
  EXPECT_EQ(Rewrite(Family::kIpv4, rule, with(1000).Build()),
            BytesOf(with(1000)));
  EXPECT_EQ(Rewrite(Family::kIpv4, rule, with(999).Build()),
            BytesOf(with(999)));
  // Behind other options, too.
  const auto after = [](uint16_t mss) {
    std::vector<uint8_t> options = {1, 1, 4, 2};
    const auto tail = Mss(mss);
    options.insert(options.end(), tail.begin(), tail.end());
    return Ipv6().Tcp(1, 2, kSyn, options);
  };
  EXPECT_EQ(Rewrite(Family::kIpv6, rule, after(1460).Build()),
            BytesOf(after(1000)));
}

TEST(TargetHeader, TcpmssAddsWhatIsMissing) {
  const char* big = "-p tcp --syn -j TCPMSS --set-mss 1400";
  const char* small = "-p tcp --syn -j TCPMSS --set-mss 300";
  const std::vector<uint8_t> sack = {4, 2, 1, 1};
  std::vector<uint8_t> with536 = Mss(536), with300 = Mss(300),
                       with1220 = Mss(1220);
  for (auto* options : {&with536, &with300, &with1220}) {
    options->insert(options->end(), sack.begin(), sack.end());
  }
  // The default of the protocol is the most that is added.
  EXPECT_EQ(Rewrite(Family::kIpv4, big, Ipv4().Tcp(1, 2, kSyn, sack).Build()),
            BytesOf(Ipv4().Tcp(1, 2, kSyn, with536)));
  EXPECT_EQ(Rewrite(Family::kIpv4, small, Ipv4().Tcp(1, 2, kSyn, sack).Build()),
            BytesOf(Ipv4().Tcp(1, 2, kSyn, with300)));
  EXPECT_EQ(Rewrite(Family::kIpv6, big, Ipv6().Tcp(1, 2, kSyn, sack).Build()),
            BytesOf(Ipv6().Tcp(1, 2, kSyn, with1220)));
  // Not in front of data, and not into a full header.
  const auto data = Ipv4().Tcp(1, 2, kSyn, sack).Data("x");
  EXPECT_EQ(Rewrite(Family::kIpv4, big, data.Build()), BytesOf(data));
  const auto full = Ipv4().Tcp(1, 2, kSyn, std::vector<uint8_t>(40, 1));
  EXPECT_EQ(Rewrite(Family::kIpv4, big, full.Build()), BytesOf(full));
}

TEST(TargetHeader, TcpmssClampsToTheDevice) {
  const char* rule = "-p tcp --syn -j TCPMSS --clamp-mss-to-pmtu";
  const auto ipv4 = [](uint16_t mss) {
    return Ipv4().Tcp(1, 2, kSyn, Mss(mss));
  };
  const auto ipv6 = [](uint16_t mss) {
    return Ipv6().Tcp(1, 2, kSyn, Mss(mss));
  };
  EXPECT_EQ(Rewrite(Family::kIpv4, rule, ipv4(8960).Build()),
            BytesOf(ipv4(1460)));
  EXPECT_EQ(Rewrite(Family::kIpv4, rule, ipv4(1461).Build()),
            BytesOf(ipv4(1460)));
  EXPECT_EQ(Rewrite(Family::kIpv4, rule, ipv4(1460).Build()),
            BytesOf(ipv4(1460)));
  EXPECT_EQ(Rewrite(Family::kIpv6, rule, ipv6(8960).Build()),
            BytesOf(ipv6(1440)));
}

TEST(TargetHeader, TcpmssDropsBrokenHeaders) {
  RuleRunner runner(Family::kIpv4, TableKind::kMangle,
                    "-p tcp --syn -j TCPMSS --set-mss 1000");
  ASSERT_EQ(runner.error(), "");
  Packet packet = Ipv4().Tcp(1, 2, kSyn, Mss(1460)).Cut(22).Build();
  Standing truncated(packet, Hook::kForward);
  EXPECT_EQ(runner.RunTarget(&truncated).verdict, XtVerdict::kDrop);
  Standing fragment(Ipv4().Tcp(1, 2).Fragment(4, true).Build(), Hook::kForward);
  EXPECT_EQ(runner.RunTarget(&fragment).verdict, XtVerdict::kContinue);
}

TEST(TargetHeader, Ecn) {
  using testing::kCwr;
  using testing::kEce;
  EXPECT_EQ(
      Rewrite(Family::kIpv4, "-j ECN --ecn-ip-ect 2", Ipv4().Tos(0xb9).Build()),
      BytesOf(Ipv4().Tos(0xba)));
  EXPECT_EQ(
      Rewrite(Family::kIpv4, "-j ECN --ecn-ip-ect 0", Ipv4().Tos(0xbb).Build()),
      BytesOf(Ipv4().Tos(0xb8)));
  EXPECT_EQ(Rewrite(Family::kIpv4, "-p tcp -j ECN --ecn-tcp-remove",
                    Ipv4().Tcp(1, 2, kSyn | kEce | kCwr).Build()),
            BytesOf(Ipv4().Tcp(1, 2, kSyn)));
  EXPECT_EQ(Rewrite(Family::kIpv4, "-p tcp -j ECN --ecn-tcp-ece 1",
                    Ipv4().Tcp(1, 2, kSyn).Build()),
            BytesOf(Ipv4().Tcp(1, 2, kSyn | kEce)));
}

TEST(TargetHeader, TcpoptstripPutsNothingInTheirPlace) {
  const char* rule =
      "-p tcp -j TCPOPTSTRIP --strip-options timestamp,sack-permitted";
  const std::vector<uint8_t> before = {2, 4, 5, 0xb4, 4, 2, 8,    10, 1, 2,
                                       3, 4, 5, 6,    7, 8, 0xff, 2,  1, 1};
  std::vector<uint8_t> after = before;
  std::fill(after.begin() + 4, after.begin() + 16, uint8_t{1});
  EXPECT_EQ(
      Rewrite(Family::kIpv4, rule, Ipv4().Tcp(1, 2, kSyn, before).Build()),
      BytesOf(Ipv4().Tcp(1, 2, kSyn, after)));
  EXPECT_EQ(
      Rewrite(Family::kIpv6, rule, Ipv6().Tcp(1, 2, kSyn, before).Build()),
      BytesOf(Ipv6().Tcp(1, 2, kSyn, after)));
  EXPECT_EQ(Rewrite(Family::kIpv4, rule, Ipv4().Tcp(1, 2).Build()),
            BytesOf(Ipv4().Tcp(1, 2)));
}

TEST(TargetHeader, ChecksumAndAuditChangeNothing) {
  const auto packet = Ipv4().Udp(67, 68);
  EXPECT_EQ(Rewrite(Family::kIpv4, "-p udp -j CHECKSUM --checksum-fill",
                    packet.Build()),
            BytesOf(packet));
  EXPECT_EQ(Rewrite(Family::kIpv4, "-j AUDIT --type accept", packet.Build()),
            BytesOf(packet));
}

TEST(TargetHeader, Refusals) {
  const auto refused = [](TableKind table, const char* rule, Hook hook) {
    return RuleRunner(Family::kIpv4, table, rule,
                      static_cast<uint8_t>(1 << static_cast<int>(hook)))
        .error_number();
  };
  const char* clamp = "-p tcp --syn -j TCPMSS --clamp-mss-to-pmtu";
  EXPECT_EQ(refused(TableKind::kMangle, clamp, Hook::kPostrouting), 0);
  EXPECT_EQ(refused(TableKind::kMangle, clamp, Hook::kPrerouting), EINVAL);
  EXPECT_EQ(refused(TableKind::kMangle, "-p tcp --syn -j TCPMSS --set-mss 9",
                    Hook::kPrerouting),
            0);
  EXPECT_EQ(refused(TableKind::kMangle, "-p tcp -j TCPMSS --set-mss 9",
                    Hook::kForward),
            EINVAL);
  EXPECT_EQ(refused(TableKind::kMangle, "-p tcp ! --syn -j TCPMSS --set-mss 9",
                    Hook::kForward),
            EINVAL);
  EXPECT_EQ(refused(TableKind::kFilter, "-p tcp --syn -j TCPMSS --set-mss 9",
                    Hook::kForward),
            0);
  for (const char* rule :
       {"-j TTL --ttl-set 9", "-j DSCP --set-dscp 9", "-j TOS --set-tos 9"}) {
    const uint8_t hooks = 1 << static_cast<int>(Hook::kOutput);
    for (const TableKind table : {TableKind::kRaw, TableKind::kMangle,
                                  TableKind::kNat, TableKind::kFilter}) {
      EXPECT_EQ(
          RuleRunner(Family::kIpv4, TableKind::kMangle, rule, hooks, table)
              .error_number(),
          table == TableKind::kMangle ? 0 : EINVAL)
          << rule << " in " << TableName(table);
    }
  }
}

}  // namespace
}  // namespace nfarena::xt
