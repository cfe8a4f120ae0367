#!/usr/bin/python3
"""The programs of iptables, played by nfarena, against the programs themselves.

The same commands run in two network namespaces: in one by iptables-legacy and
its kin, in the other by nfarena under the same names.  After each of them
standard output, standard error, exit status and iptables-save's text must be
equal.  Usage: iptables_test.py NFARENA [CLASS]
"""
import os
import re
import subprocess
import sys
import tempfile
import unittest

NFARENA = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""
PROGRAMS = [f"{family}{role}" for family in ("iptables", "ip6tables")
            for role in ("", "-save", "-restore")]

# What a command does to the rules.  "%" is the program, iptables or ip6tables;
# A and B are addresses of its family.
CHANGES = """
% -A INPUT -p tcp --dport 22 -j ACCEPT
% -A INPUT -p tcp -m tcp --dport 80:90 ! --sport 1024:65535 -j DROP
% -I INPUT -s A -j DROP
% -I INPUT 2 -d A -i eth0 -j ACCEPT
% -I INPUT 9 -j ACCEPT
% -I INPUT 0 -j ACCEPT
% -I INPUT x -j ACCEPT
% -N web
% -N web
% -N WEB
% -N -x
% -N !x
% -N ACCEPT
% -N LOG
% -N "a b"
% -N abcdefghijklmnopqrstuvwxyz12
% -N abcdefghijklmnopqrstuvwxyz123
% -A INPUT -j web
% -A web -j RETURN
% -A FORWARD -g web
% -A web -p udp -m udp --dport domain -m comment --comment "two words" -j ACCEPT
% -A web -m limit --limit 5/min -j LOG --log-prefix "web: "
% -A web -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
% -A web -m multiport -p tcp --dports 1,2,3:9 -j REJECT
% -A web -p tcp -j REJECT --reject-with tcp-reset
% -A web -m mark --mark 0x10/0xff
% -A web -s A,B -j DROP
% -A web -s A,B -d B,A -j DROP -v
% -v -A web -i eth+ -o wlan0 -p 47 -j ACCEPT
% -vA web ! -s A ! -i lo ! -p udp
% -A nowhere -j ACCEPT
% -A INPUT -j nowhere
% -A INPUT -g nowhere
% -A INPUT -j OUTPUT
% -A INPUT -p tcp --dport
% -A INPUT --dport 80
% -A INPUT -p tcp --dport 80 --dport 81
% -A INPUT -p nosuch
% -A INPUT -s 1.2.3.4.5
% -A INPUT -m nosuch
% -A INPUT -j ACCEPT -j DROP
% -A INPUT -o eth0
% -A OUTPUT -i eth0
% -A INPUT extra
% -A INPUT ! ! -s A
% -A INPUT -s A !
% -A
%
% -A INPUT -F
% -c 5 600 -A INPUT -s B -j ACCEPT
% -A INPUT -s B -j ACCEPT -c 7,800
% -A INPUT -c x 1
% -R INPUT 1 -s B -j RETURN
% -R INPUT 99 -s B -j RETURN
% -R INPUT -s B
% -R INPUT 1 -s A,B
% -C INPUT -s B -j RETURN
% -C INPUT -s B -j DROP
% -C nowhere -s B -j DROP
% -D INPUT -s B -j DROP
% -D INPUT -s B -j RETURN
% -D INPUT 1
% -D INPUT 99
% -D INPUT 0
% -D nowhere 1
% -D nowhere -s A
% -P INPUT DROP
% -P INPUT ACCEPT -c 3 400
% -P INPUT REJECT
% -P web DROP
% -P nowhere DROP
% -P INPUT
% -E web shop
% -E web shop
% -E shop INPUT
% -E INPUT shop2
% -E shop ACCEPT
% -E shop
% -Z
% -Z INPUT
% -Z INPUT 1
% -Z INPUT 99
% -Z nowhere
% -v -Z
% -X shop
% -F nowhere
% -v -F web
% -F shop
% -v -X
% -D INPUT -j shop
% -D INPUT -j web
% -F
% -X INPUT
% -X
% -t nat -A POSTROUTING -o eth0 -j MASQUERADE
% -A PREROUTING -t nat -p tcp --dport 80 -j REDIRECT --to-ports 8080
% --table=nat -P PREROUTING DROP
% -t nat -A POSTROUTING -j DROP
% -t mangle -A PREROUTING -j MARK --set-mark 0x1/0xf
% -t mangle -A PREROUTING -j MARK --set-xmark 7
% -t mangle -A FORWARD -p tcp --syn -j TCPMSS --clamp-mss-to-pmtu
% -t raw -A PREROUTING -j CT --notrack
% -t raw -A PREROUTING -j NOTRACK
% -t nosuch -A INPUT
% -t nosuch -L
% -A INPUT -j MASQUERADE
% -t nat -F
% -w -A INPUT -j ACCEPT
% -w 5 -A INPUT -j ACCEPT
% -w5 -A INPUT -j ACCEPT
% --wait=5 -A INPUT -j ACCEPT
% -W 100 -w 5 -A INPUT -j ACCEPT
% --modprobe=/sbin/nothing -A INPUT -j ACCEPT
% --append INPUT --protocol tcp --match tcp --destination-port 1:65535 --jump ACCEPT
% --app INPUT --proto tcp --jum ACCEPT
% --nosuch
% -y
% -V
% --version
""".strip().split("\n")

# The same set of rules, listed in every way.
SETUP = """
% -P FORWARD DROP
% -N web
% -N empty
% -A INPUT -i lo -j ACCEPT -c 100000 12345678901234
% -A INPUT -i eth+ ! -o x -p tcp --dport 22 -j web
% -A INPUT ! -s A -d B -p udp --sport domain -j DROP -c 99999 99999
% -A INPUT -p icmp -j ACCEPT
% -A INPUT -p 47
% -A INPUT -p 253 -g web
% -A web -m limit --limit 5/min -j LOG --log-prefix "web: " --log-level info
% -A web -m comment --comment "a b" -m conntrack --ctstate NEW -j RETURN
% -A web -j REJECT
% -A web -p tcp -m multiport --dports 22,80,443 -m mac --mac-source 00:11:22:33:44:55
""".strip().split("\n")
LISTINGS = """
% -L
% -L -n
% -nL
% -nvL
% -nvxL --line-numbers
% -L INPUT -n
% -L INPUT 2 -n -v
% -L INPUT 99 -n
% -L nowhere
% -S
% -S INPUT
% -S INPUT 3
% -v -S
% -S web -v
% -S nowhere
% -S -n
% -L -Z -n
% -Z -L -n -v
% -S INPUT -Z
% -L INPUT 3 -Z 3 -n -v
% -n -L -v -x
%-save
%-save -c
%-save -t filter
%-save -t nat
%-save -t nosuch
%-save extra
%-save --nosuch
%-save -V
% -L -t nat -n
""".strip().split("\n")

SAVE_TEXT = """*filter
# a comment
:INPUT DROP [5:600]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:web - [0:0]
[1:20] -A INPUT -p tcp -m tcp --dport 22 -j web
-A web -s A -j ACCEPT
COMMIT
*mangle
:PREROUTING ACCEPT [7:8]
-A PREROUTING -j MARK --set-mark 1
COMMIT
"""
RESTORES = [
    ("", SAVE_TEXT),
    ("-c", SAVE_TEXT),
    ("-v", SAVE_TEXT),
    ("--test", SAVE_TEXT.replace("web", "www")),
    ("-T mangle", SAVE_TEXT.replace("web", "vvv")),
    ("-T nat", SAVE_TEXT),
    ("-n", "*filter\n-A INPUT -s B -j DROP\nCOMMIT\n"),
    ("-n -v", "*filter\n:web - [0:0]\n-A web -s B -j DROP\nCOMMIT\n"),
    ("-n", "*filter\n:new - [0:0]\n-I INPUT 2 -j new\n-D INPUT 1\nCOMMIT\n"),
    ("-n", "*filter\n-D INPUT -s A -j DROP\nCOMMIT\n"),
    ("", "*filter\n-A INPUT -j nowhere\nCOMMIT\n"),
    ("", "*filter\n-A INPUT --nosuch\nCOMMIT\n"),
    ("", "*filter\n:INPUT DROP [0:0]\n-A INPUT -j ACCEPT\n"),
    ("", "*nosuch\nCOMMIT\n"),
    ("", "-A INPUT\n"),
    ("", ""),
    ("-w 3 -M /sbin/nothing", "*filter\nCOMMIT\n"),
    ("--wait=3 --wait-interval=1000", "*filter\nCOMMIT\n"),
    ("-h", ""),
    ("-V", ""),
    ("--nosuch", ""),
    ("a b", ""),
    ("/nonexistent/file", ""),
]


class Ran:
    """What one command printed, its exit status, and the rules after it."""

    def __init__(self, path):
        def read(suffix):
            with open(path + suffix, encoding="utf-8", errors="replace") as file:
                return file.read()
        self.stdout = without_dates(read(".out"))
        self.stderr = read(".err")
        self.status = int(read(".status"))
        self.rules = without_dates(read(".rules"))


class Namespace:
    """A network namespace that runs commands under the programs' names."""

    def __init__(self, links, engine=None):
        self.directory = tempfile.mkdtemp(prefix="nfarena-iptables-")
        for program in PROGRAMS:
            target = NFARENA if links else f"/usr/sbin/{program}".replace(
                "tables", "tables-legacy", 1)
            os.symlink(target, os.path.join(self.directory, program))
        self.environment = dict(
            os.environ, PATH=self.directory + ":" + os.environ["PATH"],
            XTABLES_LOCKFILE=os.path.join(self.directory, "lock"),
            NFARENA_STATE_DIR=os.path.join(self.directory, "state"),
            LC_ALL="C")
        if engine:
            self.environment["NFARENA_ENGINE"] = engine
        self.holder = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "echo; exec sleep infinity"],
            stdout=subprocess.PIPE)
        self.holder.stdout.readline()

    def run(self, program, commands):
        """Runs (command, standard input) pairs one after the other.

        One shell for all of them: entering a namespace costs more than most of
        the commands.  Returns what each printed, and the rules after it.
        """
        script = []
        for number, (command, text) in enumerate(commands):
            path = os.path.join(self.directory, str(number))
            with open(path + ".in", "w", encoding="utf-8") as file:
                file.write(text or "")
            script.append(f"{command} <{path}.in >{path}.out 2>{path}.err\n"
                          f"echo $? >{path}.status\n"
                          f"{program}-save -c >{path}.rules 2>&1\n")
        path = os.path.join(self.directory, "script")
        with open(path, "w", encoding="utf-8") as file:
            file.write("".join(script))
        subprocess.run(
            ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", "sh", path],
            env=self.environment, check=True, timeout=500)
        return [Ran(os.path.join(self.directory, str(number)))
                for number in range(len(commands))]

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
        subprocess.run(["rm", "-rf", self.directory], check=True)


def fill_in(command, program):
    a, b = (("192.0.2.1", "198.51.100.0/24") if program == "iptables"
            else ("2001:db8::1", "2001:db8:1::/48"))
    command = re.sub(r"\bA\b(?! (INPUT|FORWARD|OUTPUT|PREROUTING|POSTROUTING|"
                     r"web|shop|nowhere))", a, command)
    command = re.sub(r"\bB\b", b, command)
    if program == "ip6tables":
        command = command.replace("-p icmp", "-p icmpv6")
    return command.replace("%", program)


def without_dates(text):
    text = text.replace("(nf_tables)", "(legacy)")
    return re.sub(r"(?m)^(# (Generated|Completed).* on ).*$", r"\1", text)


@unittest.skipIf(os.geteuid() != 0, "needs root: two network namespaces")
class Comparison(unittest.TestCase):
    """Runs commands on both sides."""

    engine = None
    # Engines of nf_tables list some rules in other words; both sides are then
    # compared as the twin of nf_tables lists them.
    canonical = False
    # libiptc loses a policy's counters when it writes a table back.
    policy_counters = False
    maxDiff = None
    known = {}

    def setUp(self):
        self.real = Namespace(False)
        self.ours = Namespace(True, self.engine)
        self.addCleanup(self.real.close)
        self.addCleanup(self.ours.close)

    def canonical_text(self, program, text):
        """The saved text as the twin of nf_tables lists its rules."""
        key = (program, text)
        if key not in self.known:
            family = ["-6"] if program == "ip6tables" else []
            self.known[key] = subprocess.run(
                [NFARENA, "save", "--engine", "vm", "-c", *family, "-"],
                input=text, capture_output=True, text=True, check=True,
                timeout=60).stdout
        return self.known[key]

    def tables(self, program, text):
        """The saved text, with its tables in a fixed order.

        A table that was only looked at exists for iptables from then on; here
        it does not.  So those in which nothing was changed are left out.
        """
        if self.canonical:
            text = self.canonical_text(program, text)
        if not self.policy_counters:
            text = re.sub(r"(?m)^(:.*) \[.*\]$", r"\1", text)
        tables = re.split(r"(?m)^# Generated", text)
        return "\n".join(sorted(
            table for table in tables
            if re.search(r"(?m)^(:.* (DROP|-)( |$)|-A|\[|:.*\[(?!0:0\]))",
                         table)))

    def compare(self, program, commands):
        """Runs (command, standard input) pairs on both sides."""
        both = zip(commands, self.real.run(program, commands),
                   self.ours.run(program, commands))
        for (command, text), real, ours in both:
            with self.subTest(command=command, text=text):
                said = real.stderr + "-- " + ours.stderr
                self.assertEqual(ours.status, real.status, said)
                self.assertEqual(ours.stdout, real.stdout)
                self.assertEqual(ours.stderr == "", real.stderr == "", said)
                self.assertEqual(self.tables(program, ours.rules),
                                 self.tables(program, real.rules))


class Cases:
    """Everything, on the engine of the class."""

    def test_changes(self):
        for program in ("iptables", "ip6tables"):
            self.compare(program, [(fill_in(command, program), None)
                                   for command in CHANGES])

    def test_listings(self):
        for program in ("iptables", "ip6tables"):
            self.compare(program, [(fill_in(command, program), None)
                                   for command in SETUP + LISTINGS])

    def test_restores(self):
        for program in ("iptables", "ip6tables"):
            self.compare(program, [(f"{program}-restore {options}",
                                    fill_in(text, program))
                                   for options, text in RESTORES])


class KernelLegacy(Cases, Comparison):
    engine = "kernel-legacy"
    policy_counters = True


class KernelNft(Cases, Comparison):
    engine = "kernel-nft"
    canonical = True


class Blob(Cases, Comparison):
    engine = "blob"


class Vm(Cases, Comparison):
    engine = "vm"
    canonical = True


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[2:], verbosity=1)
