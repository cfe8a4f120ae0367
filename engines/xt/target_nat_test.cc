// SNAT, DNAT, MASQUERADE, REDIRECT and NETMAP against the real tracker.
#include <gtest/gtest.h>

#include <cstring>

#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

using testing::Ipv4;
using testing::Ipv6;
using testing::PacketBuilder;
using testing::ParseAddress;
using testing::RuleRunner;
using testing::Standing;

constexpr Hook kPre = Hook::kPrerouting, kPost = Hook::kPostrouting;

/// A new connection at a hook of the nat table.
class NewFlow {
 public:
  NewFlow(const Packet& packet, Hook hook) : standing_(packet, hook) {
    standing_.state.tracker = &tracker_;
    EXPECT_TRUE(tracker_.Track(&standing_.state));
    EXPECT_NE(standing_.state.connection, nullptr);
    EXPECT_EQ(standing_.state.ct_info, CtInfo::kNew);
  }
  ~NewFlow() { tracker_.Release(&standing_.state); }
  NewFlow(const NewFlow&) = delete;
  NewFlow& operator=(const NewFlow&) = delete;

  XtVerdict Run(const char* rule) {
    RuleRunner runner(
        standing_.state.family, TableKind::kNat, rule,
        static_cast<uint8_t>(1 << static_cast<int>(standing_.state.hook)));
    EXPECT_EQ(runner.error(), "") << rule;
    return runner.RunTarget(&standing_).verdict;
  }
  XtVerdict Run(const XtTarget& target, const void* info, size_t size) {
    std::vector<uint8_t> payload((size + 7) / 8 * 8);
    std::memcpy(payload.data(), info, size);
    return target
        .target(payload.data(), {&standing_.state, TableKind::kNat, nullptr})
        .verdict;
  }
  Connection& connection() { return *standing_.state.connection; }
  Tuple reply() { return connection().reply; }

 private:
  Tracker tracker_;
  Standing standing_;
};

TEST(TargetNat, Snat) {
  NewFlow flow(Ipv4().In("").Out("eth1").Tcp(1000, 80).Build(), kPost);
  EXPECT_EQ(flow.Run("-p tcp -j SNAT --to-source 203.0.113.5"),
            XtVerdict::kAccept);
  EXPECT_EQ(flow.reply().dst, ParseAddress("203.0.113.5"));
  EXPECT_EQ(flow.reply().dst_port, 1000);
  EXPECT_EQ(flow.reply().src, ParseAddress("198.51.100.2"));
  EXPECT_TRUE(flow.connection().status & kStatusSrcNat);
}

TEST(TargetNat, SnatToPorts) {
  NewFlow flow(Ipv4().Out("eth1").Tcp(1000, 80).Build(), kPost);
  EXPECT_EQ(flow.Run("-p tcp -j SNAT --to-source 203.0.113.5:4000-4000"),
            XtVerdict::kAccept);
  EXPECT_EQ(flow.reply().dst_port, 4000);
}

TEST(TargetNat, DnatEveryRevision) {
  NewFlow parsed(Ipv4().In("eth0").Tcp(1000, 80).Build(), kPre);
  EXPECT_EQ(parsed.Run("-p tcp -j DNAT --to-destination 10.9.9.9:8080"),
            XtVerdict::kAccept);
  EXPECT_EQ(parsed.reply().src, ParseAddress("10.9.9.9"));
  EXPECT_EQ(parsed.reply().src_port, 8080);
  EXPECT_TRUE(parsed.connection().status & kStatusDstNat);

  nf_nat_ipv4_multi_range_compat old{};
  old.rangesize = 1;
  old.range[0].flags = NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED;
  old.range[0].min_ip = old.range[0].max_ip = htonl(0x0a090908);
  old.range[0].min.all = old.range[0].max.all = htons(8081);
  NewFlow zero(Ipv4().In("eth0").Tcp(1000, 80).Build(), kPre);
  EXPECT_EQ(
      zero.Run(*FindXtTarget(Family::kIpv4, "DNAT", 0), &old, sizeof(old)),
      XtVerdict::kAccept);
  EXPECT_EQ(zero.reply().src, ParseAddress("10.9.9.8"));
  EXPECT_EQ(zero.reply().src_port, 8081);

  nf_nat_range range{};
  range.flags = NF_NAT_RANGE_MAP_IPS;
  const Address to = ParseAddress("2001:db8:9::9");
  std::memcpy(&range.min_addr, to.data(), 16);
  range.max_addr = range.min_addr;
  NewFlow one(Ipv6().In("eth0").Tcp(1000, 80).Build(), kPre);
  EXPECT_EQ(
      one.Run(*FindXtTarget(Family::kIpv6, "DNAT", 1), &range, sizeof(range)),
      XtVerdict::kAccept);
  EXPECT_EQ(one.reply().src, to);
  EXPECT_EQ(one.reply().src_port, 80);
}

TEST(TargetNat, DnatShiftsAPortRange) {
  NewFlow flow(Ipv4().In("eth0").Tcp(1000, 2005).Build(), kPre);
  EXPECT_EQ(flow.Run("-p tcp -j DNAT --to-destination 10.9.9.9:8000-8100/2000"),
            XtVerdict::kAccept);
  EXPECT_EQ(flow.reply().src_port, 8005);
}

TEST(TargetNat, Masquerade) {
  NewFlow flow(Ipv4().Out("eth1").Tcp(1000, 80).Build(), kPost);
  EXPECT_EQ(flow.Run("-j MASQUERADE"), XtVerdict::kAccept);
  EXPECT_EQ(flow.reply().dst, ParseAddress("198.51.100.254"));
  EXPECT_EQ(flow.reply().dst_port, 1000);
  NewFlow ports(Ipv4().Out("eth1").Tcp(1000, 80).Build(), kPost);
  EXPECT_EQ(ports.Run("-p tcp -j MASQUERADE --to-ports 5000"),
            XtVerdict::kAccept);
  EXPECT_EQ(ports.reply().dst_port, 5000);
  NewFlow ipv6(Ipv6().Out("eth1").Tcp(1000, 80).Build(), kPost);
  EXPECT_EQ(ipv6.Run("-j MASQUERADE"), XtVerdict::kAccept);
  EXPECT_EQ(ipv6.reply().dst, ParseAddress("2001:db8:1::fe"));
}

TEST(TargetNat, Redirect) {
  NewFlow flow(Ipv4().In("eth0").Tcp(1000, 80).Build(), kPre);
  EXPECT_EQ(flow.Run("-p tcp -j REDIRECT --to-ports 3128"), XtVerdict::kAccept);
  EXPECT_EQ(flow.reply().src, ParseAddress("192.0.2.254"));
  EXPECT_EQ(flow.reply().src_port, 3128);
  NewFlow local(Ipv4().Out("eth1").Tcp(1000, 80).Build(), Hook::kOutput);
  EXPECT_EQ(local.Run("-p tcp -j REDIRECT"), XtVerdict::kAccept);
  EXPECT_EQ(local.reply().src, ParseAddress("127.0.0.1"));
  NewFlow ipv6(Ipv6().In("eth0").Tcp(1000, 80).Build(), kPre);
  EXPECT_EQ(ipv6.Run("-p tcp -j REDIRECT --to-ports 3128"), XtVerdict::kAccept);
  EXPECT_EQ(ipv6.reply().src, ParseAddress("2001:db8::fe"));
}

TEST(TargetNat, Netmap) {
  NewFlow there(Ipv4().In("eth0").To("198.51.100.77").Build(), kPre);
  EXPECT_EQ(there.Run("-j NETMAP --to 10.5.6.0/24"), XtVerdict::kAccept);
  EXPECT_EQ(there.reply().src, ParseAddress("10.5.6.77"));
  NewFlow back(Ipv4().Out("eth1").From("192.0.2.77").Build(), kPost);
  EXPECT_EQ(back.Run("-j NETMAP --to 10.5.0.0/16"), XtVerdict::kAccept);
  EXPECT_EQ(back.reply().dst, ParseAddress("10.5.2.77"));
  NewFlow ipv6(Ipv6().In("eth0").To("2001:db8:1::77").Build(), kPre);
  EXPECT_EQ(ipv6.Run("-j NETMAP --to 2001:db8:ff::/48"), XtVerdict::kAccept);
  EXPECT_EQ(ipv6.reply().src, ParseAddress("2001:db8:ff::77"));
}

TEST(TargetNat, Checks) {
  const auto refused = [](TableKind table, const char* rule, Hook hook) {
    return RuleRunner(Family::kIpv4, TableKind::kNat, rule,
                      static_cast<uint8_t>(1 << static_cast<int>(hook)), table)
        .error_number();
  };
  EXPECT_EQ(refused(TableKind::kFilter, "-j MASQUERADE", kPost), EINVAL);
  EXPECT_EQ(refused(TableKind::kNat, "-j MASQUERADE", kPost), 0);
  EXPECT_EQ(refused(TableKind::kNat, "-j MASQUERADE", kPre), EINVAL);
  EXPECT_EQ(refused(TableKind::kNat, "-j SNAT --to-source 10.0.0.1", kPre),
            EINVAL);
  EXPECT_EQ(
      refused(TableKind::kNat, "-j SNAT --to-source 10.0.0.1", Hook::kInput),
      0);
  EXPECT_EQ(
      refused(TableKind::kNat, "-j DNAT --to-destination 10.0.0.1", kPost),
      EINVAL);
  EXPECT_EQ(refused(TableKind::kNat, "-p tcp -j REDIRECT", Hook::kInput),
            EINVAL);

  const auto check = [](Family family, const char* name, unsigned flags,
                        unsigned ranges) {
    uint8_t payload[40] = {};
    if (family == Family::kIpv4) {
      nf_nat_ipv4_multi_range_compat info{};
      info.rangesize = ranges;
      info.range[0].flags = flags;
      std::memcpy(payload, &info, sizeof(info));
    } else {
      std::memcpy(payload, &flags, sizeof(flags));
    }
    const XtTarget* target = FindXtTarget(family, name, 0);
    EXPECT_NE(target, nullptr) << name;
    XtUse use;
    use.family = family;
    use.table = TableKind::kNat;
    const size_t size = (target->payload_size + 7) / 8 * 8;
    EXPECT_LE(size, sizeof(payload));
    const Status status = target->check({payload, size}, use);
    return status ? 0 : status.error().errno_value;
  };
  for (const char* name : {"MASQUERADE", "REDIRECT"}) {
    EXPECT_EQ(check(Family::kIpv4, name, 0, 1), 0);
    EXPECT_EQ(check(Family::kIpv4, name, 0, 2), EINVAL);
    EXPECT_EQ(check(Family::kIpv4, name, NF_NAT_RANGE_MAP_IPS, 1), EINVAL);
    EXPECT_EQ(check(Family::kIpv6, name, 0, 1), 0);
    EXPECT_EQ(check(Family::kIpv6, name, NF_NAT_RANGE_MAP_IPS, 1), EINVAL);
  }
  EXPECT_EQ(check(Family::kIpv4, "NETMAP", NF_NAT_RANGE_MAP_IPS, 1), 0);
  EXPECT_EQ(check(Family::kIpv4, "NETMAP", 0, 1), EINVAL);
  EXPECT_EQ(check(Family::kIpv6, "NETMAP", NF_NAT_RANGE_MAP_IPS, 1), 0);
  EXPECT_EQ(check(Family::kIpv6, "NETMAP", 0, 1), EINVAL);
  EXPECT_EQ(check(Family::kIpv4, "SNAT", NF_NAT_RANGE_MAP_IPS, 1), 0);
  EXPECT_EQ(check(Family::kIpv4, "SNAT", NF_NAT_RANGE_MAP_IPS, 2), EINVAL);
}

}  // namespace
}  // namespace nfarena::xt
