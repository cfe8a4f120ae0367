// Rulesets that hold every construct the nf_tables lowerings know, for the
// tests of this directory.  Rules that iptables-nft itself cannot load are
// marked by the two lists at the end.
#pragma once

#include <string>
#include <string_view>

namespace nfarena::testing {

inline constexpr std::string_view kNftRules4 = R"save(*raw
:PREROUTING ACCEPT [1:2]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 53 -j CT --notrack
-A PREROUTING -p tcp -m tcp --dport 80 -j TRACE
-A PREROUTING -s 10.1.0.0/16 -j CT --zone 5
-A PREROUTING -s 10.2.0.0/16 -j CT --zone-orig 6
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD DROP [3:4]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -j MARK --set-xmark 0x1/0xffffffff
-A PREROUTING -j MARK --set-xmark 0x10/0xff
-A PREROUTING -j CONNMARK --set-xmark 0x5/0xffffffff
-A PREROUTING -j CONNMARK --set-xmark 0x5/0xf
-A PREROUTING -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff
-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
-A PREROUTING -j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff
-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xff00
-A PREROUTING -j DSCP --set-dscp 0x0a
-A PREROUTING -j TOS --set-tos 0x10/0xff
-A PREROUTING -j TOS --set-tos 0x02/0x3f
-A PREROUTING -j TTL --ttl-set 64
-A PREROUTING -j TTL --ttl-dec 1
-A PREROUTING -m policy --dir in --pol ipsec -j ACCEPT
-A POSTROUTING -m policy --dir out --pol none -j ACCEPT
-A POSTROUTING -m realm --realm 0x4/0xf -j ACCEPT
-A FORWARD -j TEE --gateway 192.0.2.1
-A FORWARD -j AUDIT --type reject
-A FORWARD -j CONNSECMARK --save
-A FORWARD -j CONNSECMARK --restore
-A FORWARD -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j SYNPROXY --mss 1460
-A POSTROUTING -j CLASSIFY --set-class 1:10
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1400
-A PREROUTING -m statistic --mode random --probability 0.5 -j ACCEPT
-A PREROUTING -m statistic --mode nth --every 5 --packet 2 -j ACCEPT
-A PREROUTING -m statistic --mode nth --every 5 --packet 0 -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:U - [0:0]
-A PREROUTING -i eth0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 192.168.1.2:80
-A PREROUTING -i eth0 -j DNAT --to-destination 192.168.1.2-192.168.1.9
-A PREROUTING -p udp -m udp --dport 1000:2000 -j DNAT --to-destination 192.168.1.2-192.168.1.9:100-200
-A PREROUTING -p udp -m udp --dport 1000:2000 -j DNAT --to-destination :100-200
-A PREROUTING -p udp -m udp --dport 1000:2000 -j DNAT --to-destination 192.168.1.2:100-200/150
-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 3128
-A PREROUTING -p tcp -m tcp --dport 81 -j REDIRECT --to-ports 3128-3130 --random
-A PREROUTING -p tcp -m tcp --dport 82 -j REDIRECT
-A PREROUTING -d 10.5.0.0/16 -j NETMAP --to 10.6.0.0/16
-A POSTROUTING -s 10.5.0.0/16 -j NETMAP --to 10.6.0.0/16
-A POSTROUTING -o eth+ -j MASQUERADE
-A POSTROUTING -o ppp+ -p tcp -j MASQUERADE --to-ports 1024-2048 --random-fully
-A POSTROUTING -s 10.0.0.0/8 ! -d 10.0.0.0/8 -j SNAT --to-source 192.0.2.1
-A POSTROUTING -s 10.0.0.0/8 -j SNAT --to-source 192.0.2.1-192.0.2.9 --persistent
-A POSTROUTING -s 10.0.0.0/8 -p tcp -j SNAT --to-source 192.0.2.1:1000-2000 --random
-A POSTROUTING -j U
-A PREROUTING -j U
-A U -d 10.5.0.0/16 -j NETMAP --to 10.6.0.0/16
COMMIT
*filter
:INPUT ACCEPT [5:6]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:CH - [0:0]
:chain2 - [0:0]
-A INPUT -s 192.0.2.1/32 -j ACCEPT
-A INPUT -s 192.0.2.0/24 -d 10.0.0.0/8 -j ACCEPT
-A INPUT ! -s 192.0.0.0/12 ! -d 10.1.0.0/16 -j DROP
-A INPUT -s 10.0.0.1/255.0.0.255 -j DROP
-A INPUT -i eth0 -j ACCEPT
-A INPUT -i eth+ ! -p tcp -j ACCEPT
-A FORWARD ! -i veth0123456789a -o lo -j ACCEPT
-A INPUT ! -s 0.0.0.0/0 -j DROP
-A INPUT -f -j DROP
-A INPUT ! -f -j RETURN
-A INPUT -p tcp -j CH
-A INPUT -p udp -g CH
-A INPUT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p tcp -m tcp --sport 1024:65535 --dport 22 -j ACCEPT
-A INPUT -p tcp -m tcp --sport 20 --dport 22 -j ACCEPT
-A INPUT -p tcp -m tcp ! --sport 20 ! --dport 22 -j ACCEPT
-A INPUT -p tcp -m tcp --sport 0:1023 ! --dport 100:200 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT
-A INPUT -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT
-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE -j DROP
-A INPUT -p tcp -m tcp --tcp-option 8 -j DROP
-A INPUT -p tcp -m tcp -j DROP
-A INPUT -p udp -m udp -j DROP
-A INPUT -p udp -m udp --sport 53 -j DROP
-A INPUT -p udp -m udp --sport 53 ! --dport 1:5 -j DROP
-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A INPUT -p icmp -m icmp ! --icmp-type 3/4 -j ACCEPT
-A INPUT -p icmp -m icmp --icmp-type any -j ACCEPT
-A INPUT -p tcp -m multiport --dports 22,80,443 -j ACCEPT
-A INPUT -p tcp -m multiport ! --sports 22,80:90,443 -j ACCEPT
-A INPUT -p tcp -m multiport --ports 22,80 -j ACCEPT
-A INPUT -p udp -m multiport --dports 53 -j ACCEPT
-A INPUT -p udp -m multiport --dports 60000:65535,1 -j ACCEPT
-A INPUT -m iprange --src-range 10.0.0.1-10.0.0.9 -j ACCEPT
-A INPUT -m iprange ! --src-range 10.0.0.1-10.0.0.9 --dst-range 1.2.3.4-1.2.3.4 -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -m conntrack ! --ctstate NEW -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID,UNTRACKED -j ACCEPT
-A INPUT -m conntrack --ctstate DNAT -j ACCEPT
-A INPUT -m conntrack --ctstate NEW,DNAT -j ACCEPT
-A INPUT -m conntrack ! --ctstate SNAT -j ACCEPT
-A INPUT -m conntrack --ctstate NEW --ctproto 6 --ctorigsrc 10.0.0.0/8 ! --ctorigdst 10.1.1.1 --ctreplsrc 10.9.0.0/16 --ctrepldst 10.2.2.2 --ctorigsrcport 1000:2000 --ctorigdstport 80 --ctreplsrcport 80 ! --ctrepldstport 5:65535 --ctstatus ASSURED --ctexpire 10:100 --ctdir REPLY -j ACCEPT
-A INPUT -m conntrack --ctexpire 10 -j ACCEPT
-A INPUT -m conntrack --ctstatus NONE -j ACCEPT
-A INPUT -m conntrack ! --ctstatus SEEN_REPLY,EXPECTED -j ACCEPT
-A INPUT -m state --state NEW -j ACCEPT
-A INPUT -m mark --mark 0x1 -j ACCEPT
-A INPUT -m mark ! --mark 0x1/0xff -j ACCEPT
-A INPUT -m connmark --mark 0x1/0xff -j ACCEPT
-A INPUT -m limit --limit 3/min --limit-burst 10 -j ACCEPT
-A INPUT -m limit --limit 10/sec -j ACCEPT
-A INPUT -m limit --limit 7/min -j ACCEPT
-A INPUT -m limit --limit 1/hour --limit-burst 1 -j ACCEPT
-A INPUT -m mac --mac-source 00:11:22:33:44:55 -j ACCEPT
-A INPUT -m mac ! --mac-source 00:11:22:33:44:55 -j ACCEPT
-A INPUT -m addrtype --src-type LOCAL -j ACCEPT
-A INPUT -m addrtype ! --src-type LOCAL --dst-type BROADCAST,MULTICAST -j ACCEPT
-A INPUT -m addrtype --dst-type LOCAL --limit-iface-in -j ACCEPT
-A INPUT -m length --length 100:200 -j ACCEPT
-A INPUT -m length ! --length 0:200 -j ACCEPT
-A INPUT -m length --length 77 -j ACCEPT
-A INPUT -m dscp --dscp 0x0a -j ACCEPT
-A INPUT -m dscp ! --dscp 0x0a -j ACCEPT
-A INPUT -m tos --tos 0x10/0x3f -j ACCEPT
-A INPUT -m tos ! --tos 0x10/0xff -j ACCEPT
-A INPUT -m ttl --ttl-eq 5 -j ACCEPT
-A INPUT -m ttl --ttl-gt 5 -j ACCEPT
-A INPUT -m ttl --ttl-lt 5 -j ACCEPT
-A INPUT -m ttl ! --ttl-eq 5 -j ACCEPT
-A INPUT -m pkttype --pkt-type broadcast -j ACCEPT
-A INPUT -m pkttype ! --pkt-type multicast -j ACCEPT
-A OUTPUT -m owner --uid-owner 0 -j ACCEPT
-A OUTPUT -m owner ! --uid-owner 0 -j ACCEPT
-A OUTPUT -m owner --uid-owner 5-10 --gid-owner 7 -j ACCEPT
-A OUTPUT -m owner --socket-exists -j ACCEPT
-A INPUT -m comment --comment "hello \"world\"" -j ACCEPT
-A INPUT -p tcp -m comment --comment "first" -m tcp --dport 5 -m comment --comment second -j ACCEPT
-A INPUT -m string --string "xyz" --algo bm --to 65535 -j ACCEPT
-A INPUT -m u32 --u32 "0x0>>0x16&0x3c@0x4=0x1" -j ACCEPT
-A INPUT -m u32 --u32 "0x4&0x1fff=0x0&&0x0>>0x16&0x3c@0x4<<0x8>>0x10=0x0:0xff,0x1f4,0xfffffffe:0xffffffff" -j ACCEPT
-A INPUT -m u32 --u32 "0xc=0xa000001&&0x10=0x0:0xa000001" -j ACCEPT
-A INPUT ! -f -m u32 --u32 "0x0>>0x16&0x3c@0x0=0x1,0x3,0x4" -j ACCEPT
-A INPUT -m u32 ! --u32 "0x0=0x0" -j ACCEPT
-A INPUT -m string --string "abcdefghijklmnopqrstuvwxyz" --algo kmp --from 12 --to 38 -j ACCEPT
-A INPUT -m string --hex-string "|0a000001|" --algo kmp --from 12 --to 16 -j ACCEPT
-A INPUT -m string --string "abc" --algo bm --from 12 --to 15 -j ACCEPT
-A INPUT -m ecn --ecn-ip-ect 2 -j ACCEPT
-A INPUT -m ecn ! --ecn-ip-ect 0 -j ACCEPT
-A INPUT -p tcp -m ecn --ecn-tcp-ece ! --ecn-tcp-cwr --ecn-ip-ect 3 -j ACCEPT
-A INPUT -p tcp -m ecn ! --ecn-tcp-ece -j ACCEPT
-A INPUT -m quota --quota 0 -j ACCEPT
-A INPUT -m quota ! --quota 100000 -j ACCEPT
-A INPUT -m quota --quota 18446744073709551615 -j ACCEPT
-A INPUT -m time -j ACCEPT
-A INPUT -m time --timestart 08:00:00 --timestop 17:30:00 -j ACCEPT
-A INPUT -m time --timestart 22:00:00 --timestop 06:00:00 --datestart 2026-01-02T03:04:05 --datestop 2027-01-01T00:00:00 -j ACCEPT
-A INPUT -m time --weekdays Sat,Sun -j ACCEPT
-A INPUT -m connbytes --connbytes 10:20 --connbytes-mode packets --connbytes-dir original -j ACCEPT
-A INPUT -m connbytes --connbytes 0:1000 --connbytes-mode bytes --connbytes-dir both -j ACCEPT
-A INPUT -m connbytes ! --connbytes 10:20 --connbytes-mode avgpkt --connbytes-dir reply -j ACCEPT
-A INPUT -m connbytes ! --connbytes 0:20 --connbytes-mode packets --connbytes-dir both -j ACCEPT
-A INPUT -m helper --helper ftp -j ACCEPT
-A INPUT -m helper ! --helper sip-5061 -j ACCEPT
-A INPUT -m cpu --cpu 1 -j ACCEPT
-A INPUT -m cpu ! --cpu 4294967295 -j ACCEPT
-A INPUT -m devgroup --src-group 0x1 -j ACCEPT
-A FORWARD -m devgroup ! --src-group 0x10/0xf0 --dst-group 0x2 -j ACCEPT
-A FORWARD -m realm --realm 0x1/0x2a -j ACCEPT
-A FORWARD -m realm ! --realm 0x2a -j ACCEPT
-A INPUT -m connlimit --connlimit-above 3 --connlimit-mask 32 --connlimit-saddr -j ACCEPT
-A INPUT -m hashlimit --hashlimit-upto 5/sec --hashlimit-burst 5 --hashlimit-name foo -j ACCEPT
-A INPUT -m recent --set --name bar --mask 255.255.255.255 --rsource -j ACCEPT
-A INPUT -j LOG
-A INPUT -j LOG --log-prefix "x \"y\" " --log-level 7 --log-tcp-sequence --log-ip-options --log-uid
-A INPUT -j NFLOG --nflog-group 5 --nflog-prefix "abc" --nflog-threshold 3 --nflog-size 100
-A INPUT -j NFLOG
-A INPUT -j NFLOG --nflog-range 40
-A INPUT -j REJECT --reject-with icmp-port-unreachable
-A INPUT -p tcp -j REJECT --reject-with tcp-reset
-A INPUT -j REJECT --reject-with icmp-admin-prohibited
-A INPUT -j NFQUEUE --queue-num 3
-A INPUT -j NFQUEUE --queue-balance 3:6 --queue-bypass
-A INPUT -j QUEUE
-A INPUT -j MARK --set-xmark 0x1/0xffffffff
[7:8] -A INPUT -s 1.2.3.4/32 -j DROP
-A CH -j RETURN
-A CH -j chain2
-A chain2 -j DROP
COMMIT
)save";

inline constexpr std::string_view kNftRules6 = R"save(*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 53 -j CT --notrack
-A OUTPUT -o lo -j TRACE
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -j MARK --set-xmark 0x1/0xffffffff
-A PREROUTING -j DSCP --set-dscp 0x0a
-A PREROUTING -j TOS --set-tos 0x10/0xff
-A PREROUTING -j HL --hl-set 64
-A PREROUTING -j HL --hl-inc 1
-A OUTPUT -j CLASSIFY --set-class 1:10
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination [2001:db8::1]:8080
-A PREROUTING -j DNAT --to-destination 2001:db8::1-2001:db8::9 --persistent
-A PREROUTING -p tcp -m tcp --dport 81 -j REDIRECT --to-ports 3128
-A PREROUTING -d 2001:db8:1::/64 -j NETMAP --to 2001:db8:2::/64
-A POSTROUTING -s 2001:db8:2::/64 -j NETMAP --to 2001:db8:1::/64
-A POSTROUTING -s fd00::/8 -j SNAT --to-source 2001:db8::5
-A POSTROUTING -s fd00::/8 -p udp -j SNAT --to-source [2001:db8::5-2001:db8::7]:1000-2000 --random
-A POSTROUTING -o eth+ -j MASQUERADE
-A POSTROUTING -o eth+ -p tcp -j MASQUERADE --to-ports 1024-65535
COMMIT
*filter
:INPUT DROP [10:20]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:zone - [0:0]
-A INPUT -s 2001:db8::1/128 -j ACCEPT
-A INPUT -s 2001:db8::/32 ! -d fe80::/10 -j ACCEPT
-A INPUT ! -s 2001:db8::1/ffff::ffff -j DROP
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -g zone
-A INPUT ! -p tcp -j zone
-A INPUT -p tcp -m tcp --sport 1 --dport 22 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22:65535 --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT
-A INPUT -p udp -m udp ! --dport 53 -j DROP
-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT
-A INPUT -p ipv6-icmp -m icmp6 ! --icmpv6-type 1/4 -j ACCEPT
-A INPUT -p tcp -m multiport --dports 22,80:90,443 -j ACCEPT
-A INPUT -m iprange --src-range 2001:db8::1-2001:db8::9 -j ACCEPT
-A INPUT -m iprange ! --dst-range 2001:db8::1-2001:db8::9 -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -m conntrack --ctorigsrc 2001:db8::/32 --ctreplsrc 2001:db8::1 -j ACCEPT
-A INPUT -m mark --mark 0x1/0xff -j ACCEPT
-A INPUT -m limit --limit 10/min -j ACCEPT
-A INPUT -m mac --mac-source 00:11:22:33:44:55 -j ACCEPT
-A INPUT -m addrtype --dst-type LOCAL -j ACCEPT
-A INPUT -m length --length 100:200 -j ACCEPT
-A INPUT -m length --length 0:200 -j ACCEPT
-A INPUT -m length ! --length 40 -j ACCEPT
-A INPUT -m length --length 100:65535 -j ACCEPT
-A INPUT -m length ! --length 101:65535 -j ACCEPT
-A INPUT -m ecn --ecn-ip-ect 1 -j ACCEPT
-A INPUT -p tcp -m ecn --ecn-tcp-cwr -j ACCEPT
-A INPUT -m u32 --u32 "0x28=0x0&&0x4>>0x10=0x1" -j ACCEPT
-A INPUT -m devgroup ! --src-group 0x1 -j ACCEPT
-A INPUT -m helper --helper ftp -j ACCEPT
-A INPUT -m dscp --dscp 0x2e -j ACCEPT
-A INPUT -m tos --tos 0x10/0xff -j ACCEPT
-A INPUT -m hl --hl-eq 255 -j ACCEPT
-A INPUT -m hl --hl-gt 5 -j ACCEPT
-A INPUT -m pkttype --pkt-type unicast -j ACCEPT
-A OUTPUT -m owner --uid-owner 0 -j ACCEPT
-A INPUT -m comment --comment "six" -j ACCEPT
-A INPUT -m statistic --mode random --probability 0.25 -j ACCEPT
-A INPUT -m frag --fragid 5 -j ACCEPT
-A INPUT -m rt --rt-type 0 -j DROP
-A INPUT -j REJECT --reject-with icmp6-port-unreachable
-A INPUT -j REJECT --reject-with icmp6-adm-prohibited
-A INPUT -p tcp -j REJECT --reject-with tcp-reset
-A INPUT -j LOG --log-prefix "six: " --log-level 6
-A INPUT -j NFLOG --nflog-group 2
-A INPUT -j NFQUEUE --queue-num 1
[3:4] -A zone -j RETURN
COMMIT
)save";

/// The text without the lines that contain `what`.
inline std::string Without(std::string_view text, std::string_view what) {
  std::string out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    const std::string_view line = text.substr(0, end);
    if (line.find(what) == std::string_view::npos) out += line;
    text.remove_prefix(end);
  }
  return out;
}

/// IPv4's rules that iptables-nft 1.8.9 loads.
inline std::string NftRulesOfIptables() {
  return Without(Without(kNftRules4, "-j QUEUE"), "! -s 0.0.0.0/0");
}

/// IPv6's rules without a counter of a rule: ip6tables-nft-restore 1.8.9 reads
/// and forgets it.
inline std::string NftRulesOfIp6tables() {
  std::string text(kNftRules6);
  constexpr std::string_view kCounted = "[3:4] -A zone";
  const size_t at = text.find(kCounted);
  return at == std::string::npos ? text : text.erase(at, 6);
}

}  // namespace nfarena::testing
