"""Random rulesets that every engine should judge alike.

A ruleset is a function of (seed, family).  It draws on everything the twins
have a meaning for, in every table and chain where the kernel takes it, over
few addresses, ports and marks, so that rules meet each other's packets.

Left out on purpose:
- what the clock or chance decides (limit, statistic random): such outcomes are
  reported as indeterminate anyway;
- "! --sport A ! --dport B" of tcp and udp: iptables-nft compares both inverted
  ports as one number, so its engine rightly differs from the others.
"""

from __future__ import annotations

import random

CHAINS = {
    "raw": ["PREROUTING", "OUTPUT"],
    "mangle": ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
    "nat": ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
    "filter": ["INPUT", "FORWARD", "OUTPUT"],
}
USER = ""  # a user chain: no hook is known
PORTS = [22, 53, 80, 443, 8080]
TCP_FLAGS = ["SYN,RST,ACK,FIN SYN", "SYN,RST SYN", "ALL NONE", "ALL FIN,PSH,URG", "RST RST", "ACK,FIN FIN"]
STATES = ["NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"]


class Grammar:
    def __init__(self, seed: int, ipv6: bool) -> None:
        self.random = random.Random(f"{seed}/{6 if ipv6 else 4}")
        self.ipv6 = ipv6

    # ------------------------------------------------------------ small words

    def one(self, *choices):
        return self.random.choice(choices)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def neg(self, probability: float = 0.2) -> str:
        return "! " if self.chance(probability) else ""

    def some(self, choices: list[str], most: int) -> str:
        return ",".join(self.random.sample(choices, self.random.randint(1, most)))

    def host(self) -> str:
        a, b = self.random.randrange(4), self.random.randrange(1, 20)
        return f"2001:db8:{a:x}::{b:x}" if self.ipv6 else f"198.18.{a}.{b}"

    def net(self) -> str:
        if self.ipv6:
            return self.one(f"{self.host()}/128", "2001:db8:1::/48", "2001:db8::/32", "fe80::/10", "2001:db8::1/ffff:ffff::ff")
        return self.one(f"{self.host()}/32", "198.18.1.0/24", "198.18.0.0/15", "224.0.0.0/4", "198.0.0.1/255.0.0.255")

    def port(self) -> int:
        return self.one(*PORTS, self.random.randrange(65536))

    def ports(self) -> str:
        low, high = sorted((self.port(), self.port()))
        return str(low) if low == high or self.chance(0.6) else f"{low}:{high}"

    # ---------------------------------------------------------------- matches

    def protocol(self) -> tuple[str, str]:
        """The words, and the protocol that a target may rely on."""
        kind = self.one("tcp", "tcp", "udp", "icmp", "multiport", "multiport", "bare", "none")
        if kind in ("tcp", "udp"):
            words = [f"-p {kind} -m {kind}"]
            inverted = False
            if self.chance(0.4):
                inverted = self.chance(0.2)
                words.append(f"{'! ' if inverted else ''}--sport {self.ports()}")
            if self.chance(0.7):
                words.append(f"{'' if inverted else self.neg()}--dport {self.ports()}")
            if kind == "tcp" and self.chance(0.4):
                words.append(f"{self.neg()}--tcp-flags {self.one(*TCP_FLAGS)}")
            if kind == "tcp" and self.chance(0.15):
                words.append(f"{self.neg()}--tcp-option {self.one(2, 3, 8)}")
            return " ".join(words), kind
        if kind == "icmp":
            if self.ipv6:
                return f"-p ipv6-icmp -m icmp6 {self.neg()}--icmpv6-type {self.one('128', '129', '1', '1/4', '3', '2', '134')}", ""
            return f"-p icmp -m icmp {self.neg()}--icmp-type {self.one('8', '0', '3', '3/4', '11', 'any', '5/1')}", ""
        if kind == "multiport":
            name = self.one("tcp", "udp")
            ports = ",".join(self.ports() for _ in range(self.random.randint(1, 5)))
            return f"-p {name} -m multiport {self.neg()}--{self.one('sports', 'dports', 'ports')} {ports}", name
        if kind == "bare":
            return f"{self.neg()}-p {self.one('tcp', 'udp', 'sctp', 'udplite', 'esp', '47')}", ""
        return "", ""

    def match(self, chain: str) -> str:
        neg = self.neg()
        mask = self.one("0xffffffff", "0x3", "0x1")
        all_bits = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" if self.ipv6 else "255.255.255.255"
        low, high = sorted((self.random.randrange(256), self.random.randrange(256)))
        addresses = f"2001:db8::{low:x}-2001:db8::{high:x}" if self.ipv6 else f"198.18.0.{low}-198.19.1.{high}"
        u32 = ["6&0xff=17", "4>>16=20:40", "40&0xffff=53"] if self.ipv6 else ["6&0xff=6", "2&0xffff=0x28:0x3c", "0>>22&0x3c@12>>26&0x3c@0=0x0"]
        choices = [
            f"-m conntrack {neg}--ctstate {self.some(STATES + ['SNAT', 'DNAT'], 3)}",
            f"-m conntrack {neg}--ctstatus {self.one('NONE', 'EXPECTED', 'SEEN_REPLY', 'ASSURED', 'SEEN_REPLY,ASSURED')}",
            f"-m conntrack {neg}--ctproto {self.one(6, 17)}",
            f"-m conntrack {neg}--{self.one('ctorigsrc', 'ctreplsrc', 'ctorigdst')} {self.host()}",
            f"-m conntrack {neg}--{self.one('ctorigdstport', 'ctreplsrcport')} {self.ports()}",
            f"-m conntrack --ctdir {self.one('ORIGINAL', 'REPLY')}",
            f"-m state {neg}--state {self.some(STATES, 2)}",
            f"-m mark {neg}--mark 0x{self.random.randrange(4):x}/{mask}",
            f"-m connmark {neg}--mark 0x{self.random.randrange(4):x}/{mask}",
            f"-m connbytes {neg}--connbytes {self.one('1:2', '2', '100:1000')} --connbytes-dir {self.one('original', 'reply', 'both')} --connbytes-mode {self.one('packets', 'bytes', 'avgpkt')}",
            f"-m addrtype {neg}--{self.one('src', 'dst')}-type {self.one('LOCAL', 'UNICAST', 'MULTICAST', 'LOCAL,MULTICAST')}",
            f"-m length {neg}--length {self.one('40', '0:60', '41:1500')}",
            f"-m dscp {neg}--dscp {self.one('0x00', '0x0a', '0x2e')}",
            f"-m tos {neg}--tos {self.one('0x00', '0x10', '0x08')}/{self.one('0x3f', '0xff')}",
            f"-m {'hl --hl' if self.ipv6 else 'ttl --ttl'}-{self.one('eq', 'gt', 'lt')} {self.one(1, 63, 64, 65)}",
            f"-m pkttype {neg}--pkt-type {self.one('unicast', 'multicast', 'broadcast')}",
            f"-m iprange {neg}--{self.one('src', 'dst')}-range {addresses}",
            f"-m statistic --mode nth --every {self.one(2, 3, 5)} --packet {self.one(0, 1)}",
            f"-m ecn {neg}--ecn-ip-ect {self.random.randrange(4)}",
            f"-m quota --quota {self.one(100, 5000)}",
            f"-m recent {self.one('--set', '--rcheck', '! --rcheck', '--update --hitcount 2', '--remove')} --name r{self.random.randrange(2)} --mask {all_bits} --rsource",
            f'-m u32 {neg}--u32 "{self.one(*u32)}"',
            f'-m string --string "AB" --algo {self.one("bm", "kmp")} --to 65535',
            f'-m comment --comment "{self.one("a", "two words", chr(92) + chr(34))}"',
            f'-m helper {neg}--helper "ftp"',
        ]
        if chain in ("PREROUTING", "INPUT", "FORWARD"):
            choices.append(f"-m mac {neg}--mac-source 00:11:22:33:44:55")
        if chain in ("OUTPUT", "POSTROUTING"):
            choices.append(f"-m owner {neg}--{self.one('uid', 'gid')}-owner {self.one('0', '1000', '5-10')}")
        if self.ipv6:
            choices.append(f"-m rt {neg}--rt-type 0")
        return self.random.choice(choices)

    # ---------------------------------------------------------------- targets

    def target(self, table: str, chain: str, protocol: str, below: list[str]) -> str:
        choices = ["", "-j ACCEPT", "-j RETURN", "-j DROP"]
        choices += [f"-j {name}" for name in below] + [f"-g {name}" for name in below]
        if table == "nat":
            return self.one(*choices[1:3], *choices[4:], *self.nat(chain, protocol))
        choices.append(f'-j LOG --log-prefix "p{self.random.randrange(9)} "')
        choices.append(f'-j NFLOG --nflog-prefix "n" --nflog-group {self.random.randrange(3)}')
        return self.one(*choices, *getattr(self, table)(chain, protocol))

    def raw(self, chain: str, protocol: str) -> list[str]:
        return ["-j CT --notrack", "-j CT --zone 3"]

    def mangle(self, chain: str, protocol: str) -> list[str]:
        choices = [
            f"-j MARK --set-xmark {self.one('0x1/0xffffffff', '0x2/0x2', '0x0/0x1')}",
            "-j CONNMARK --set-xmark 0x1/0xffffffff",
            f"-j CONNMARK {self.one('--save-mark --nfmask 0xffffffff --ctmask 0xffffffff', '--restore-mark --nfmask 0x3 --ctmask 0x3')}",
            f"-j DSCP --set-dscp {self.one('0x00', '0x0a', '0x2e')}",
            f"-j TOS --set-tos {self.one('0x00', '0x10')}/{self.one('0xff', '0x3f')}",
            f"-j {'HL --hl' if self.ipv6 else 'TTL --ttl'}-{self.one('set', 'inc', 'dec')} {self.one(1, 5, 64)}",
        ]
        if chain in ("FORWARD", "OUTPUT", "POSTROUTING"):
            choices.append(f"-j CLASSIFY --set-class 1:{self.random.randrange(1, 9)}")
        if protocol == "tcp":
            choices.append("-j TCPOPTSTRIP --strip-options 2,8")
            if not self.ipv6:
                choices.append("-j ECN --ecn-tcp-remove")
        return choices

    def filter(self, chain: str, protocol: str) -> list[str]:
        kinds = ["icmp6-port-unreachable", "icmp6-no-route", "icmp6-adm-prohibited"] if self.ipv6 else ["icmp-port-unreachable", "icmp-net-unreachable", "icmp-admin-prohibited"]
        if protocol == "tcp":
            kinds += ["tcp-reset"] * 3
        return [f"-j REJECT --reject-with {self.one(*kinds)}", f"-j REJECT --reject-with {self.one(*kinds)}", "-j NFQUEUE --queue-num 1"]

    def nat(self, chain: str, protocol: str) -> list[str]:
        to = self.host()
        with_port = f"[{to}]" if self.ipv6 else to
        ports = protocol != ""
        if chain in ("PREROUTING", "OUTPUT"):
            choices = [f"-j DNAT --to-destination {to}", "-j REDIRECT"]
            if ports:
                choices += [f"-j DNAT --to-destination {with_port}:8080", "-j REDIRECT --to-ports 3128"]
        elif chain == "POSTROUTING":
            choices = [f"-j SNAT --to-source {to}", "-j MASQUERADE"]
            if ports:
                choices += [f"-j SNAT --to-source {with_port}:1024-65535", "-j MASQUERADE --to-ports 1024-2000"]
        elif chain == "INPUT":
            choices = [f"-j SNAT --to-source {to}"]
        else:
            choices = []
        return choices

    # ------------------------------------------------------------------ rules

    def rule(self, table: str, name: str, hook: str, below: list[str]) -> str:
        words = [f"-A {name}"]
        if self.chance(0.3):
            words.append(f"{self.neg()}-s {self.net()}")
        if self.chance(0.3):
            words.append(f"{self.neg()}-d {self.net()}")
        devices = ("eth0", "eth1", "eth+", "lo")
        if hook in ("PREROUTING", "INPUT", "FORWARD") and self.chance(0.2):
            words.append(f"{self.neg()}-i {self.one(*devices)}")
        if hook in ("OUTPUT", "POSTROUTING", "FORWARD") and self.chance(0.2):
            words.append(f"{self.neg()}-o {self.one(*devices)}")
        protocol = ""
        if not self.ipv6 and self.chance(0.05):
            words.append(f"{self.neg(0.5)}-f")
        else:
            text, protocol = self.protocol()
            words.append(text)
        words += [self.match(hook) for _ in range(self.one(0, 0, 1, 1, 2))]
        words.append(self.target(table, hook, protocol, below))
        return " ".join(word for word in words if word)

    def ruleset(self) -> str:
        """The text of iptables-save, ready for --ruleset."""
        lines = []
        for table, hooks in CHAINS.items():
            if table != "filter" and self.chance(0.25):
                continue
            users = [f"u{i}" for i in range(self.random.randrange(4))]
            lines.append(f"*{table}")
            for hook in hooks:
                drops = table == "filter" and self.chance(0.3)
                lines.append(f":{hook} {'DROP' if drops else 'ACCEPT'} [0:0]")
            lines += [f":{user} - [0:0]" for user in users]
            for hook in hooks:
                lines += [self.rule(table, hook, hook, users) for _ in range(self.random.randint(1, 6))]
            for i, user in enumerate(users):
                # Only chains further down, so that there is no loop.
                lines += [self.rule(table, user, USER, users[i + 1 :]) for _ in range(self.random.randint(1, 4))]
            lines.append("COMMIT")
        return "\n".join(lines) + "\n"
