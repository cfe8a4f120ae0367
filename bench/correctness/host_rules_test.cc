// Rules that ask the host or act beside the packet: the same packets through
// the kernel's two engines, and through the twin of the second, which gives the
// same or refuses the extension by name.
//
// Packets are a hit, its neighbours, and what a careless lowering gets wrong:
// later fragments, headers that are cut short, packets exempt from tracking.
#include <gtest/gtest.h>

#include <string>

#include "bench/correctness/differential.h"
#include "compat/syntax/save_parser.h"
#include "engines/core/packet_text.h"
#include "engines/registry.h"

namespace nfarena {
namespace {

struct HostCase {
  const char* name;
  Family family = Family::kIpv4;
  const char* ruleset;
  const char* packets;
  const char* vm_refuses = "";  // the extension that the twin refuses
};

void PrintTo(const HostCase& c, std::ostream* out) { *out << c.name; }

constexpr char kPackets4[] =
    "IN=eth0 OUT= SRC=10.1.1.1 DST=10.2.2.2 PROTO=UDP SPT=5 DPT=53\n"
    "IN=eth0 OUT= SRC=10.1.1.1 DST=10.2.2.2 PROTO=UDP SPT=5 DPT=54\n"
    "IN=eth0 OUT=eth1 SRC=10.1.1.1 DST=10.3.3.3 PROTO=UDP SPT=5 DPT=53\n"
    "IN=eth0 OUT=eth1 SRC=10.1.1.1 DST=10.3.3.3 PROTO=TCP SPT=5 DPT=80 SYN\n"
    "IN=eth0 OUT=eth1 SRC=10.1.1.1 DST=10.3.3.3 PROTO=TCP SPT=5 DPT=80 ACK\n"
    "IN=eth0 OUT=eth1 SRC=10.1.1.1 DST=10.3.3.3 PROTO=ICMP TYPE=8 CODE=0\n"
    "IN= OUT=eth1 SRC=10.2.2.2 DST=10.3.3.3 PROTO=UDP SPT=5 DPT=53\n"
    // A TCP header of 8 bytes, one of none, and protocol 0.
    "IN=eth0 OUT= BYTES=4500001c00010000400663d60a0101010a020202"
    "0005005000000000\n"
    "IN=eth0 OUT= BYTES=4500001400010000400663de0a0101010a020202\n"
    "IN=eth0 OUT= BYTES=4500001400010000400063e40a0101010a020202\n";

constexpr char kPackets6[] =
    "IN=eth0 OUT= SRC=2001:db8::1 DST=2001:db8:2::2 PROTO=UDP SPT=5 DPT=53\n"
    "IN=eth0 OUT= SRC=fe80::1 DST=ff02::1 PROTO=UDP SPT=5 DPT=53\n"
    "IN=eth0 OUT= SRC=:: DST=ff02::1:ff00:1 PROTO=ICMPv6 TYPE=135 CODE=0\n"
    "IN=eth0 OUT= SRC=fe80::1 DST=ff02::2 PROTO=ICMPv6 TYPE=133 CODE=0\n"
    "IN=eth0 OUT= SRC=fec0::1 DST=2001:db8:2::2 PROTO=TCP SPT=5 DPT=80 SYN\n";

constexpr HostCase kCases[] = {
    {"zone_after_notrack", Family::kIpv4,
     "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
     "-A PREROUTING -p udp -m udp --dport 53 -j CT --notrack\n"
     "-A PREROUTING -j CT --zone 5\n-A PREROUTING -j CT --zone 6\n"
     "-A OUTPUT -j CT --zone-orig 7\nCOMMIT\n"
     "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A INPUT -m conntrack --ctstate UNTRACKED -j DROP\n"
     "-A FORWARD -m conntrack --ctstate UNTRACKED -j DROP\n"
     "-A FORWARD -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n",
     kPackets4},
    {"policy", Family::kIpv4,
     "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A INPUT -p udp -m policy --dir in --pol none -j DROP\n"
     "-A INPUT -m policy --dir in --pol ipsec -j DROP\n"
     "-A FORWARD -p udp -m policy --dir out --pol none -j DROP\n"
     "-A FORWARD -m policy --dir out --pol ipsec -j DROP\n"
     "-A FORWARD -m policy --dir in --pol none -p tcp -j DROP\n"
     "-A OUTPUT -m policy --dir out --pol none -j DROP\nCOMMIT\n",
     kPackets4},
    {"realm", Family::kIpv4,
     "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A INPUT -m realm --realm 0x4 -j DROP\n"
     "-A INPUT -p udp -m realm ! --realm 0x4/0xff -j DROP\n"
     "-A FORWARD -p tcp -m realm --realm 0/0xf -j DROP\nCOMMIT\n",
     kPackets4},
    {"audit", Family::kIpv4,
     "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A INPUT -p udp -j AUDIT --type drop\n-A INPUT -p udp -j DROP\n"
     "-A FORWARD -j AUDIT --type accept\nCOMMIT\n",
     kPackets4},
    {"connsecmark", Family::kIpv4,
     "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
     ":FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
     "-A PREROUTING -j CONNSECMARK --restore\n"
     "-A PREROUTING -j CONNSECMARK --save\n"
     "-A PREROUTING -p udp -j MARK --set-xmark 0x1/0xffffffff\nCOMMIT\n",
     kPackets4, "CONNSECMARK"},
    {"tee", Family::kIpv4,
     "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
     ":FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
     "-A FORWARD -p udp -j TEE --gateway 192.0.2.77\n"
     "-A FORWARD -p udp -j MARK --set-xmark 0x1/0xffffffff\nCOMMIT\n",
     kPackets4, "TEE"},
    {"synproxy_neighbours", Family::kIpv4,
     "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A FORWARD -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j SYNPROXY "
     "--mss 1460\n"
     "-A FORWARD -p tcp -j DROP\nCOMMIT\n",
     "IN=eth0 OUT=eth1 SRC=10.1.1.1 DST=10.3.3.3 PROTO=TCP SPT=5 DPT=80 ACK "
     "SYN\n"
     "IN=eth0 OUT=eth1 SRC=10.1.1.1 DST=10.3.3.3 PROTO=TCP SPT=5 DPT=80 SYN "
     "FIN\n"
     "IN=eth0 OUT=eth1 SRC=10.1.1.1 DST=10.3.3.3 PROTO=TCP SPT=5 DPT=80 RST\n"
     "IN=eth0 OUT=eth1 SRC=10.1.1.1 DST=10.3.3.3 PROTO=UDP SPT=5 DPT=80\n",
     "SYNPROXY"},
    // Header checksums that come to 0 behind the change, and their neighbours.
    {"tos_checksum_of_zero", Family::kIpv4,
     "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
     ":FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
     "-A POSTROUTING -j TOS --set-tos 0x10/0xff\nCOMMIT\n",
     "IN=eth0 OUT=eth1 SRC=10.1.1.1 DST=10.2.2.2 ID=25787 PROTO=UDP SPT=1 "
     "DPT=2\n"
     "IN=eth0 OUT=eth1 SRC=10.1.1.1 DST=10.2.2.2 ID=25788 PROTO=UDP SPT=1 "
     "DPT=2\n"},
    {"ttl_checksum_of_zero", Family::kIpv4,
     "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
     ":FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
     "-A POSTROUTING -j TTL --ttl-set 5\nCOMMIT\n",
     "IN=eth0 OUT=eth1 SRC=10.1.1.1 DST=10.2.2.2 ID=40652 PROTO=UDP SPT=1 "
     "DPT=2\n"
     "IN=eth0 OUT=eth1 SRC=10.1.1.1 DST=10.2.2.2 ID=40653 PROTO=UDP SPT=1 "
     "DPT=2\n"},
    {"address_properties", Family::kIpv6,
     "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
     ":FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
     "-A PREROUTING -m addrtype --src-type UNSPEC --dst-type MULTICAST -j "
     "DROP\n"
     "-A PREROUTING -m addrtype --dst-type MULTICAST -p udp -j DROP\n"
     "-A PREROUTING -m addrtype ! --dst-type MULTICAST -j MARK --set-xmark "
     "0x2/0xffffffff\n"
     "-A PREROUTING -m addrtype ! --src-type UNSPEC -j MARK --set-xmark "
     "0x10/0xf0\nCOMMIT\n",
     kPackets6},
    {"policy6", Family::kIpv6,
     "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A INPUT -p udp -m policy --dir in --pol none -j DROP\n"
     "-A INPUT -m policy --dir in --pol ipsec -j DROP\nCOMMIT\n",
     kPackets6},
};

class HostRules : public ::testing::TestWithParam<HostCase> {};

TEST_P(HostRules, MeanTheSameOnBothKernelEngines) {
  const HostCase& c = GetParam();
  ParseOptions options;
  options.file = c.name;
  options.family = c.family;
  const auto ruleset = ParseSave(c.ruleset, options, nullptr);
  ASSERT_TRUE(ruleset.has_value()) << ruleset.error().ToString();
  const auto packets = ParsePackets(c.packets, c.name);
  ASSERT_TRUE(packets.has_value()) << packets.error().ToString();
  const Engine* const engines[] = {*FindEngine("kernel-legacy"),
                                   *FindEngine("kernel-nft"),
                                   *FindEngine("vm")};
  for (const Engine* engine : {engines[0], engines[1]}) {
    if (const Status available = engine->Available(); !available) {
      GTEST_SKIP() << available.error().ToString();
    }
  }
  const DifferentialCase differential{.id = c.name,
                                      .ruleset = &*ruleset,
                                      .ruleset_path = "FILE",
                                      .packets = *packets,
                                      .ipset_save = ""};
  const auto report = RunDifferential(differential, engines, {});
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  for (const Difference& difference : report->differences) {
    ADD_FAILURE() << difference.ToString(differential);
  }
  EXPECT_EQ(report->differences_count, 0u);
  EXPECT_GT(report->rules_hit, 0u);
  for (const EngineRun& run : report->runs) {
    const bool refuses = run.engine == "vm" && c.vm_refuses[0] != '\0';
    if (refuses) {
      EXPECT_EQ(run.state, RunState::kUnsupported) << run.engine;
      EXPECT_NE(run.reason.find(c.vm_refuses), std::string::npos) << run.reason;
    } else {
      EXPECT_EQ(run.state, RunState::kRan) << run.engine << ": " << run.reason;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, HostRules, ::testing::ValuesIn(kCases),
                         [](const auto& test) {
                           return std::string(test.param.name);
                         });

}  // namespace
}  // namespace nfarena
