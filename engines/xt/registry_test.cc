#include <gtest/gtest.h>

#include "engines/xt/extension.h"

namespace nfarena {
namespace {

TEST(Registry, FindsByFamilyNameAndRevision) {
  const XtMatch* tcp = FindXtMatch(Family::kIpv4, "tcp", 0);
  ASSERT_NE(tcp, nullptr);
  EXPECT_EQ(tcp->name, "tcp");
  EXPECT_EQ(tcp->payload_size, 12u);
  EXPECT_EQ(FindXtMatch(Family::kIpv6, "tcp", 0), tcp);
  EXPECT_EQ(FindXtMatch(Family::kIpv4, "tcp", 1), nullptr);
  EXPECT_EQ(FindXtMatch(Family::kIpv4, "TCP", 0), nullptr);
  EXPECT_EQ(FindXtMatch(Family::kIpv4, "tc", 0), nullptr);
  EXPECT_EQ(FindXtMatch(Family::kIpv4, "tcpp", 0), nullptr);
  EXPECT_EQ(FindXtMatch(Family::kIpv4, "", 0), nullptr);
  EXPECT_EQ(FindXtMatch(Family::kIpv4, "zzz", 0), nullptr);
  EXPECT_EQ(FindXtMatch(Family::kIpv4, "hl", 0), nullptr);
  EXPECT_NE(FindXtMatch(Family::kIpv6, "hl", 0), nullptr);
  EXPECT_NE(FindXtMatch(Family::kIpv4, "ttl", 0), nullptr);
  EXPECT_EQ(FindXtMatch(Family::kIpv6, "ttl", 0), nullptr);
}

TEST(Registry, OneNameMayDifferByFamily) {
  const XtTarget* v4 = FindXtTarget(Family::kIpv4, "MASQUERADE", 0);
  const XtTarget* v6 = FindXtTarget(Family::kIpv6, "MASQUERADE", 0);
  ASSERT_NE(v4, nullptr);
  ASSERT_NE(v6, nullptr);
  EXPECT_NE(v4, v6);
  EXPECT_EQ(v4->payload_size, 20u);
  EXPECT_EQ(v6->payload_size, 40u);
  EXPECT_NE(FindXtTarget(Family::kIpv4, "SNAT", 0), nullptr);
  EXPECT_EQ(FindXtTarget(Family::kIpv6, "SNAT", 0), nullptr);
}

/// What iptables 1.8.9 sends to a kernel of 2025, and what twins must know.
TEST(Registry, HasWhatIptablesSends) {
  struct Name {
    const char* name;
    uint8_t revision;
    bool ipv4, ipv6;
    uint32_t aligned_size;
  };
  const Name matches[] = {
      {"addrtype", 1, true, true, 8},    {"comment", 0, true, true, 256},
      {"connmark", 1, true, true, 16},   {"conntrack", 1, true, true, 152},
      {"conntrack", 2, true, true, 160}, {"conntrack", 3, true, true, 168},
      {"dscp", 0, true, true, 8},        {"hl", 0, false, true, 8},
      {"icmp", 0, true, false, 8},       {"icmp6", 0, false, true, 8},
      {"iprange", 1, true, true, 72},    {"length", 0, true, true, 8},
      {"limit", 0, true, true, 40},      {"mac", 0, true, true, 16},
      {"mark", 1, true, true, 16},       {"multiport", 1, true, true, 48},
      {"owner", 1, true, true, 24},      {"pkttype", 0, true, true, 8},
      {"set", 4, true, true, 48},        {"state", 0, true, true, 8},
      {"statistic", 0, true, true, 24},  {"tcp", 0, true, true, 16},
      {"tos", 1, true, true, 8},         {"ttl", 0, true, false, 8},
      {"udp", 0, true, true, 16},        {"udplite", 0, true, true, 16},
  };
  const auto align = [](uint32_t size) { return (size + 7) / 8 * 8; };
  for (const Name& want : matches) {
    const XtMatch* v4 = FindXtMatch(Family::kIpv4, want.name, want.revision);
    const XtMatch* v6 = FindXtMatch(Family::kIpv6, want.name, want.revision);
    EXPECT_EQ(v4 != nullptr, want.ipv4) << want.name;
    EXPECT_EQ(v6 != nullptr, want.ipv6) << want.name;
    const XtMatch* any = v4 != nullptr ? v4 : v6;
    ASSERT_NE(any, nullptr) << want.name;
    EXPECT_EQ(align(any->payload_size), want.aligned_size) << want.name;
  }
  const Name targets[] = {
      {"CLASSIFY", 0, true, true, 8},  {"CONNMARK", 1, true, true, 16},
      {"CONNMARK", 2, true, true, 16}, {"CT", 0, true, true, 40},
      {"CT", 1, true, true, 72},       {"CT", 2, true, true, 72},
      {"DNAT", 0, true, false, 24},    {"DNAT", 2, true, true, 48},
      {"DSCP", 0, true, true, 8},      {"HL", 0, false, true, 8},
      {"LOG", 0, true, true, 32},      {"MARK", 2, true, true, 8},
      {"NETMAP", 0, true, true, 24},   {"NFLOG", 0, true, true, 80},
      {"NFQUEUE", 3, true, true, 8},   {"NOTRACK", 0, true, true, 0},
      {"REJECT", 0, true, true, 8},    {"SNAT", 2, true, true, 48},
      {"TCPMSS", 0, true, true, 8},    {"TOS", 1, true, true, 8},
      {"TRACE", 0, true, true, 0},     {"TTL", 0, true, false, 8},
  };
  for (const Name& want : targets) {
    const XtTarget* v4 = FindXtTarget(Family::kIpv4, want.name, want.revision);
    const XtTarget* v6 = FindXtTarget(Family::kIpv6, want.name, want.revision);
    EXPECT_EQ(v4 != nullptr, want.ipv4) << want.name;
    EXPECT_EQ(v6 != nullptr, want.ipv6) << want.name;
    const XtTarget* any = v4 != nullptr ? v4 : v6;
    ASSERT_NE(any, nullptr) << want.name;
    EXPECT_EQ(align(any->payload_size), want.aligned_size) << want.name;
  }
}

TEST(Registry, ChecksSizeTableHooksAndProtocol) {
  const XtMatch* tcp = FindXtMatch(Family::kIpv4, "tcp", 0);
  ASSERT_NE(tcp, nullptr);
  const std::vector<uint8_t> payload(64);
  XtUse use;
  use.protocol = 6;
  const auto check = [&](size_t size) {
    const Status status = tcp->check({payload.data(), size}, use);
    return status ? 0 : status.error().errno_value;
  };
  EXPECT_EQ(check(16), 0);
  EXPECT_EQ(check(12), 0);
  EXPECT_EQ(check(11), EINVAL);
  EXPECT_EQ(check(17), EINVAL);
  EXPECT_EQ(check(24), EINVAL);
  EXPECT_EQ(check(0), EINVAL);
  use.protocol_inverted = true;
  EXPECT_EQ(check(16), EINVAL);
  use.protocol_inverted = false;
  use.protocol = 17;
  EXPECT_EQ(check(16), EINVAL);

  const Status wrong = tcp->check({payload.data(), 16}, use);
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(wrong.error().message, "tcp: only valid for protocol 6");

  const XtTarget* dscp = FindXtTarget(Family::kIpv4, "DSCP", 0);
  ASSERT_NE(dscp, nullptr);
  use.table = TableKind::kMangle;
  EXPECT_TRUE(dscp->check({payload.data(), 8}, use).has_value());
  use.table = TableKind::kFilter;
  EXPECT_EQ(dscp->check({payload.data(), 8}, use).error().message,
            "DSCP: only valid in the mangle table");
}

TEST(Registry, ExtensionsWithoutParametersHaveNoPayload) {
  const XtTarget* notrack = FindXtTarget(Family::kIpv4, "NOTRACK", 0);
  ASSERT_NE(notrack, nullptr);
  XtUse use;
  use.table = TableKind::kRaw;
  EXPECT_TRUE(notrack->check({}, use).has_value());
  const std::vector<uint8_t> payload(8);
  EXPECT_FALSE(notrack->check(payload, use).has_value());
}

}  // namespace
}  // namespace nfarena
