// Rulesets and packets through the running kernel, with what is known of the
// kernel's behaviour as the expectation.
#include "engines/kernel/kernel_engines.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "compat/syntax/save_parser.h"
#include "engines/core/packet_text.h"
#include "engines/kernel/rights.h"
#include "engines/kernel/testing/summary.h"

namespace nfarena {
namespace {

struct Case {
  std::string_view name;
  Family family;
  std::string_view ruleset;
  /// One line a packet.
  std::string_view packets;
  /// One line a packet, as testing::Summary prints it.
  std::string_view expected;
};

void PrintTo(const Case& c, std::ostream* os) { *os << c.name; }

constexpr Case kCases[] = {
    {"accept_drop_policy", Family::kIpv4,
     "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
     "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n"
     "-A INPUT -p tcp -m tcp --dport 23 -j DROP\n"
     "COMMIT\n",
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=TCP SPT=1024 DPT=22 "
     "SYN\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=TCP SPT=1024 DPT=23 "
     "SYN\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=1024 DPT=53\n",
     "accept filter/INPUT/1 here 192.0.2.1:1024>198.51.100.1:22 ttl=64\n"
     "drop filter/INPUT/2\n"
     "drop filter/INPUT/policy\n"},
    {"jump_goto_return", Family::kIpv4,
     "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
     ":one - [0:0]\n:two - [0:0]\n"
     "-A INPUT -p udp -j one\n"
     "-A INPUT -p tcp -g two\n"
     "-A INPUT -j ACCEPT\n"
     "-A one -p udp -m udp --dport 53 -j ACCEPT\n"
     "-A one -p udp -m udp --dport 54 -j RETURN\n"
     "-A one -p udp -m udp --dport 55 -j DROP\n"
     "-A two -p tcp -m tcp --dport 80 -j ACCEPT\n"
     "COMMIT\n",
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=1 DPT=53\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=1 DPT=54\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=1 DPT=55\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=1 DPT=56\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=TCP SPT=1 DPT=80 SYN\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=TCP SPT=1 DPT=81 "
     "SYN\n",
     "accept filter/one/1 here 192.0.2.1:1>198.51.100.1:53 ttl=64\n"
     "accept filter/INPUT/3 here 192.0.2.1:1>198.51.100.1:54 ttl=64\n"
     "drop filter/one/3\n"
     "accept filter/INPUT/3 here 192.0.2.1:1>198.51.100.1:56 ttl=64\n"
     "accept filter/two/1 here 192.0.2.1:1>198.51.100.1:80 ttl=64\n"
     "drop filter/INPUT/policy\n"},
    {"forward_reject", Family::kIpv4,
     "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A FORWARD -p udp -j REJECT --reject-with icmp-port-unreachable\n"
     "-A FORWARD -p tcp -m tcp --dport 25 -j REJECT --reject-with tcp-reset\n"
     "-A FORWARD -p tcp -m tcp --dport 80 -j ACCEPT\n"
     "COMMIT\n",
     "IN=eth0 OUT=eth1 SRC=192.0.2.1 DST=203.0.113.9 PROTO=UDP SPT=9 DPT=7\n"
     "IN=eth0 OUT=eth1 SRC=192.0.2.1 DST=203.0.113.9 PROTO=TCP SPT=9 DPT=25 "
     "SYN\n"
     "IN=eth0 OUT=eth1 SRC=192.0.2.1 DST=203.0.113.9 PROTO=TCP SPT=9 DPT=80 "
     "SYN\n",
     "drop filter/FORWARD/1 answer[eth0 198.18.1.1>192.0.2.1 icmp 3/3 ttl=64]\n"
     "drop filter/FORWARD/2 answer[eth0 203.0.113.9:25>192.0.2.1:9 ttl=64 "
     "RST]\n"
     "accept filter/FORWARD/3 out=eth1 192.0.2.1:9>203.0.113.9:80 ttl=63\n"},
    {"nat_sequence", Family::kIpv4,
     "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
     "-A PREROUTING -i eth0 -p tcp -m tcp --dport 80 -j DNAT "
     "--to-destination 10.0.0.2:8080\n"
     "-A PREROUTING -i eth0 -p udp -m udp --dport 53 -j REDIRECT "
     "--to-ports 5353\n"
     "-A POSTROUTING -o eth0 -j SNAT --to-source 192.0.2.254\n"
     "COMMIT\n"
     "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
     "-A FORWARD -i eth1 -o eth0 -j ACCEPT\n"
     "-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT\n"
     "COMMIT\n",
     "IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.254 PROTO=TCP SPT=1024 DPT=80 "
     "SYN\n"
     "IN=eth1 OUT=eth0 SRC=10.0.0.2 DST=192.0.2.1 PROTO=TCP SPT=8080 DPT=1024 "
     "SYN ACK\n"
     "IN=eth1 OUT=eth0 SRC=10.0.0.3 DST=192.0.2.1 PROTO=UDP SPT=4000 DPT=123\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.254 PROTO=UDP SPT=123 DPT=4000\n"
     "IN=eth0 OUT= SRC=192.0.2.7 DST=192.0.2.254 PROTO=UDP SPT=99 DPT=53\n"
     "IN=eth0 OUT=eth1 SRC=192.0.2.1 DST=10.0.0.9 PROTO=UDP SPT=1 DPT=2\n",
     "accept nat/POSTROUTING/policy out=eth1 192.0.2.1:1024>10.0.0.2:8080 "
     "ttl=63\n"
     "accept filter/FORWARD/1 out=eth0 192.0.2.254:80>192.0.2.1:1024 ttl=63\n"
     "accept nat/POSTROUTING/1 out=eth0 192.0.2.254:4000>192.0.2.1:123 "
     "ttl=63\n"
     "accept filter/FORWARD/1 out=eth1 192.0.2.1:123>10.0.0.3:4000 ttl=63\n"
     "accept nat/INPUT/policy here 192.0.2.7:99>192.0.2.254:5353 ttl=64\n"
     "drop filter/FORWARD/policy\n"},
    {"masquerade", Family::kIpv4,
     "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
     "-A POSTROUTING -s 10.0.0.0/8 -o eth0 -j MASQUERADE\n"
     "COMMIT\n",
     "IN=eth1 OUT=eth0 SRC=10.0.0.3 DST=192.0.2.1 PROTO=UDP SPT=4000 "
     "DPT=123\n",
     "accept nat/POSTROUTING/1 out=eth0 198.18.2.1:4000>192.0.2.1:123 "
     "ttl=63\n"},
    {"queue_log_mark", Family::kIpv4,
     "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
     ":FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
     "-A PREROUTING -p udp -j MARK --set-xmark 0x7/0xffffffff\n"
     "COMMIT\n"
     "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A INPUT -p udp -m udp --dport 1 -j NFQUEUE --queue-num 5\n"
     "-A INPUT -p udp -m udp --dport 2 -j LOG --log-prefix \"two: \"\n"
     "-A INPUT -p udp -m udp --dport 3 -j NFLOG --nflog-prefix three "
     "--nflog-group 9\n"
     "-A INPUT -p udp -m mark --mark 0x7 -j ACCEPT\n"
     "COMMIT\n",
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=9 DPT=1\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=9 DPT=2\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=9 DPT=3\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=9 DPT=4\n",
     "queue 5 filter/INPUT/1 192.0.2.1:9>198.51.100.1:1 ttl=64 mark=0x7\n"
     "accept filter/INPUT/4 here 192.0.2.1:9>198.51.100.1:2 ttl=64 mark=0x7 "
     "log[two: ]\n"
     "accept filter/INPUT/4 here 192.0.2.1:9>198.51.100.1:3 ttl=64 mark=0x7 "
     "nflog[9 three]\n"
     "accept filter/INPUT/4 here 192.0.2.1:9>198.51.100.1:4 ttl=64 "
     "mark=0x7\n"},
    {"notrack_states", Family::kIpv4,
     "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
     "-A PREROUTING -p udp -m udp --dport 9 -j NOTRACK\n"
     "COMMIT\n"
     "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A INPUT -m conntrack --ctstate UNTRACKED -j ACCEPT\n"
     "-A INPUT -m conntrack --ctstate INVALID -j DROP\n"
     "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n"
     "-A INPUT -m conntrack --ctstate NEW -j ACCEPT\n"
     "COMMIT\n",
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=9 DPT=9\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=9 DPT=10\n"
     "IN= OUT=eth0 SRC=198.51.100.1 DST=192.0.2.1 PROTO=UDP SPT=10 DPT=9\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=9 DPT=10\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=TCP SPT=9 DPT=10 ACK "
     "FIN SYN\n",
     "accept filter/INPUT/1 here 192.0.2.1:9>198.51.100.1:9 ttl=64\n"
     "accept filter/INPUT/4 here 192.0.2.1:9>198.51.100.1:10 ttl=64\n"
     "accept filter/OUTPUT/policy out=eth0 198.51.100.1:10>192.0.2.1:9 "
     "ttl=64\n"
     "accept filter/INPUT/3 here 192.0.2.1:9>198.51.100.1:10 ttl=64\n"
     "drop filter/INPUT/2\n"},
    {"output_and_loopback", Family::kIpv4,
     "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A INPUT -i lo -p udp -m udp --dport 7 -j DROP\n"
     "-A INPUT -i lo -p udp -m udp --dport 9 -j REJECT "
     "--reject-with icmp-port-unreachable\n"
     "-A INPUT -i lo -j ACCEPT\n"
     "-A OUTPUT -p udp -m udp --dport 25 -j DROP\n"
     "-A OUTPUT -p udp -m udp --dport 26 -j REJECT "
     "--reject-with icmp-port-unreachable\n"
     "-A OUTPUT -m owner --uid-owner 1000 -j DROP\n"
     "-A OUTPUT -o lo -j ACCEPT\n"
     "COMMIT\n",
     "IN= OUT=eth0 SRC=198.51.100.1 DST=192.0.2.1 PROTO=UDP SPT=10 DPT=24\n"
     "IN= OUT=eth0 SRC=198.51.100.1 DST=192.0.2.1 PROTO=UDP SPT=10 DPT=25\n"
     "IN= OUT=eth0 SRC=198.51.100.1 DST=192.0.2.1 PROTO=UDP SPT=10 DPT=26\n"
     "IN= OUT=eth0 SRC=198.51.100.1 DST=192.0.2.1 PROTO=UDP SPT=10 DPT=24 "
     "UID=1000 GID=1000\n"
     "IN= OUT=lo SRC=127.0.0.1 DST=127.0.0.1 PROTO=UDP SPT=10 DPT=6\n"
     "IN= OUT=lo SRC=127.0.0.1 DST=127.0.0.1 PROTO=UDP SPT=10 DPT=7\n"
     "IN= OUT=lo SRC=127.0.0.1 DST=127.0.0.1 PROTO=UDP SPT=10 DPT=9\n",
     "accept filter/OUTPUT/policy out=eth0 198.51.100.1:10>192.0.2.1:24 "
     "ttl=64\n"
     "drop filter/OUTPUT/1\n"
     "drop filter/OUTPUT/2 answer[lo 198.51.100.1>198.51.100.1 icmp 3/3 "
     "ttl=64]\n"
     "drop filter/OUTPUT/3\n"
     "accept filter/INPUT/3 here 127.0.0.1:10>127.0.0.1:6 ttl=64\n"
     "drop filter/INPUT/1\n"
     "drop filter/INPUT/2 answer[lo 127.0.0.1>127.0.0.1 icmp 3/3 ttl=64]\n"},
    {"arriving_mark", Family::kIpv4,
     "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A INPUT -m mark --mark 0x10/0xf0 -j ACCEPT\n"
     "COMMIT\n",
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=9 DPT=9 "
     "MARK=0x1f\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=9 DPT=9\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=9 DPT=9 "
     "MARK=0x10\n",
     "accept filter/INPUT/1 here 192.0.2.1:9>198.51.100.1:9 ttl=64 "
     "mark=0x1f\n"
     "drop filter/INPUT/policy\n"
     "accept filter/INPUT/1 here 192.0.2.1:9>198.51.100.1:9 ttl=64 "
     "mark=0x10\n"},
    {"classify_priority", Family::kIpv4,
     "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
     ":FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
     "-A POSTROUTING -p udp -m udp --dport 9 -j CLASSIFY --set-class 1:2\n"
     "COMMIT\n",
     "IN=eth0 OUT=eth1 SRC=192.0.2.1 DST=203.0.113.9 PROTO=UDP SPT=9 DPT=9\n"
     "IN=eth0 OUT=eth1 SRC=192.0.2.1 DST=203.0.113.9 PROTO=UDP SPT=9 DPT=8\n",
     "accept mangle/POSTROUTING/policy out=eth1 192.0.2.1:9>203.0.113.9:9 "
     "ttl=63 priority=0x10002\n"
     "accept mangle/POSTROUTING/policy out=eth1 192.0.2.1:9>203.0.113.9:8 "
     "ttl=63\n"},
    {"mac", Family::kIpv4,
     "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A INPUT -m mac --mac-source 02:00:00:00:00:01 -j ACCEPT\n"
     "COMMIT\n",
     "IN=eth0 OUT= MAC=02:00:00:00:00:02:02:00:00:00:00:01:08:00 SRC=192.0.2.1 "
     "DST=198.51.100.1 PROTO=UDP SPT=9 DPT=9\n"
     "IN=eth0 OUT= MAC=02:00:00:00:00:02:02:00:00:00:00:03:08:00 SRC=192.0.2.1 "
     "DST=198.51.100.1 PROTO=UDP SPT=9 DPT=9\n",
     "accept filter/INPUT/1 here 192.0.2.1:9>198.51.100.1:9 ttl=64\n"
     "drop filter/INPUT/policy\n"},
    {"unrouted", Family::kIpv4,
     "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "COMMIT\n",
     "IN=eth0 OUT=eth1 SRC=192.0.2.1 DST=203.0.113.9 TTL=1 PROTO=UDP SPT=9 "
     "DPT=9\n"
     "IN=eth0 OUT= SRC=127.0.0.1 DST=198.51.100.1 PROTO=UDP SPT=9 DPT=9\n",
     "unrouted filter/INPUT/policy answer[eth0 198.51.100.1>192.0.2.1 icmp "
     "11/0 ttl=64]\n"
     "unrouted filter/INPUT/policy\n"},
    // The rejected packet's own way is told from its answer's, though both are
    // traced.
    {"trace_target", Family::kIpv4,
     "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
     "-A PREROUTING -j TRACE\n"
     "-A OUTPUT -j TRACE\n"
     "COMMIT\n"
     "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A INPUT -p udp -j REJECT --reject-with icmp-port-unreachable\n"
     "-A INPUT -p tcp -j ACCEPT\n"
     "-A OUTPUT -p icmp -j NFLOG --nflog-prefix answer --nflog-group 3\n"
     "COMMIT\n",
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=9 DPT=9\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=TCP SPT=9 DPT=9 SYN\n"
     "IN=eth0 OUT=eth1 SRC=192.0.2.1 DST=203.0.113.9 TTL=1 PROTO=UDP SPT=9 "
     "DPT=9\n",
     "drop filter/INPUT/1 answer[eth0 198.51.100.1>192.0.2.1 icmp 3/3 "
     "ttl=64]\n"
     "accept filter/INPUT/2 here 192.0.2.1:9>198.51.100.1:9 ttl=64\n"
     "unrouted raw/PREROUTING/policy answer[eth0 198.51.100.1>192.0.2.1 icmp "
     "11/0 ttl=64]\n"},
    // A packet rejected behind DNAT is answered by the address it was sent to.
    {"reject_behind_dnat", Family::kIpv4,
     "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
     "-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination "
     "10.0.0.2\n"
     "COMMIT\n"
     "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A FORWARD -d 10.0.0.2/32 -j REJECT --reject-with "
     "icmp-host-prohibited\n"
     "COMMIT\n",
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=TCP SPT=9 DPT=80 "
     "SYN\n",
     "drop filter/FORWARD/1 answer[eth0 198.51.100.1>192.0.2.1 icmp 3/10 "
     "ttl=64]\n"},
    // The copy is told from the original by its own way through OUTPUT.
    {"tee", Family::kIpv4,
     "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
     ":FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
     "-A PREROUTING -p udp -j TEE --gateway 192.0.2.9\n"
     "COMMIT\n",
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=9 DPT=9\n",
     "accept mangle/INPUT/policy here 192.0.2.1:9>198.51.100.1:9 ttl=64 "
     "answer[eth0 192.0.2.1:9>198.51.100.1:9 ttl=63]\n"},
    {"broadcast_and_group", Family::kIpv4,
     "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A INPUT -m addrtype --dst-type BROADCAST -j ACCEPT\n"
     "-A INPUT -m addrtype --dst-type MULTICAST -j ACCEPT\n"
     "COMMIT\n",
     "IN=eth0 OUT= SRC=192.0.2.1 DST=255.255.255.255 PROTO=UDP SPT=68 DPT=67\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=239.1.2.3 PROTO=UDP SPT=9 DPT=9\n"
     "IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 PROTO=UDP SPT=9 DPT=9\n",
     "accept filter/INPUT/1 here 192.0.2.1:68>255.255.255.255:67 ttl=64\n"
     "accept filter/INPUT/2 here 192.0.2.1:9>239.1.2.3:9 ttl=64\n"
     "drop filter/INPUT/policy\n"},
    {"ipv6", Family::kIpv6,
     "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n"
     "-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT\n"
     "-A INPUT -p udp -j REJECT --reject-with icmp6-port-unreachable\n"
     "-A FORWARD -s 2001:db8::/32 -p tcp -j REJECT --reject-with tcp-reset\n"
     "COMMIT\n",
     "IN=eth0 OUT= SRC=2001:db8::1 DST=2001:db8:1::1 PROTO=TCP SPT=1 DPT=22 "
     "SYN\n"
     "IN=eth0 OUT= SRC=2001:db8::1 DST=2001:db8:1::1 PROTO=ICMPv6 TYPE=128 "
     "CODE=0\n"
     "IN=eth0 OUT= SRC=2001:db8::1 DST=2001:db8:1::1 PROTO=UDP SPT=1 DPT=2\n"
     "IN=eth0 OUT=eth1 SRC=2001:db8::1 DST=2001:db8:2::1 PROTO=TCP SPT=1 DPT=2 "
     "SYN\n"
     "IN=eth0 OUT=eth1 SRC=2001:db8::1 DST=2001:db8:2::1 PROTO=UDP SPT=1 "
     "DPT=2\n"
     "IN= OUT=eth0 SRC=2001:db8:1::1 DST=2001:db8::1 PROTO=UDP SPT=1 DPT=2\n",
     "accept filter/INPUT/1 here 2001:db8::1:1>2001:db8:1::1:22 ttl=64\n"
     "accept filter/INPUT/2 here 2001:db8::1>2001:db8:1::1 icmp 128/0 ttl=64\n"
     "drop filter/INPUT/3 answer[eth0 2001:db8:1::1>2001:db8::1 icmp 1/4 "
     "ttl=64]\n"
     "drop filter/FORWARD/1 answer[eth0 2001:db8:2::1:2>2001:db8::1:1 ttl=64 "
     "RST]\n"
     "accept filter/FORWARD/policy out=eth1 2001:db8::1:1>2001:db8:2::1:2 "
     "ttl=63\n"
     "accept filter/OUTPUT/policy out=eth0 2001:db8:1::1:1>2001:db8::1:2 "
     "ttl=64\n"},
};

struct Opened {
  Ruleset ruleset;
  std::vector<Packet> packets;
  std::unique_ptr<Instance> instance;
};

Result<Opened> OpenCase(const Engine& engine, Family family,
                        std::string_view ruleset, std::string_view packets) {
  Opened opened;
  ParseOptions parse;
  parse.file = "ruleset";
  parse.family = family;
  ASSIGN_OR_RETURN(opened.ruleset, ParseSave(ruleset, parse, nullptr));
  ASSIGN_OR_RETURN(opened.packets, ParsePackets(packets, "packets"));
  OpenOptions options;
  options.family = family;
  ASSIGN_OR_RETURN(options.topology,
                   Topology::For(opened.ruleset, opened.packets));
  ASSIGN_OR_RETURN(opened.instance, engine.Open(options));
  RETURN_IF_ERROR(opened.instance->Replace(opened.ruleset));
  return opened;
}

Result<std::string> Judge(Opened* opened) {
  std::vector<Outcome> outcomes(opened->packets.size());
  RETURN_IF_ERROR(opened->instance->Classify(opened->packets, outcomes, {}));
  std::string text;
  for (const Outcome& outcome : outcomes) {
    text += testing::Summary(opened->ruleset, outcome) + '\n';
  }
  return text;
}

class KernelEngineTest
    : public ::testing::TestWithParam<std::tuple<const Engine*, Case>> {
 protected:
  static void SetUpTestSuite() { (void)kernel::EnsureNetAdmin(); }
  void SetUp() override {
    const Status available = engine().Available();
    if (!available) GTEST_SKIP() << available.error().ToString();
  }
  const Engine& engine() const { return *std::get<0>(GetParam()); }
  const Case& test_case() const { return std::get<1>(GetParam()); }
};

TEST_P(KernelEngineTest, JudgesAsExpected) {
  const Case& c = test_case();
  if (!kernel::UserIsMapped(1000) &&
      (c.ruleset.find("owner") != std::string::npos ||
       c.packets.find("UID=") != std::string::npos)) {
    GTEST_SKIP() << "user 1000 does not exist in this user namespace";
  }
  auto opened = OpenCase(engine(), c.family, c.ruleset, c.packets);
  ASSERT_TRUE(opened) << opened.error().ToString();
  const auto outcomes = Judge(&*opened);
  ASSERT_TRUE(outcomes) << outcomes.error().ToString();
  EXPECT_EQ(*outcomes, c.expected) << c.ruleset << c.packets;
}

INSTANTIATE_TEST_SUITE_P(
    All, KernelEngineTest,
    ::testing::Combine(::testing::Values(&KernelLegacyEngine(),
                                         &KernelNftEngine(),
                                         &KernelNftCompatEngine()),
                       ::testing::ValuesIn(kCases)),
    [](const auto& param_info) {
      std::string name(std::get<0>(param_info.param)->name());
      std::replace(name.begin(), name.end(), '-', '_');
      return name + '_' + std::string(std::get<1>(param_info.param).name);
    });

}  // namespace
}  // namespace nfarena
