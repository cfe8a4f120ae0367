#!/usr/bin/python3
"""The nfarena command from outside: forms, exit codes, bad input, interruption.

Usage: cli_test.py PATH-OF-NFARENA
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

NFARENA = ""
TWINS = ["reference", "legacy", "blob", "vm", "vm-compat"]
KERNELS = ["kernel-legacy", "kernel-nft", "kernel-nft-compat"]

RULES = """\
*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:user - [0:0]
-A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p udp -j user
-A user -m mark --mark 0x1 -j RETURN
-A user -j REJECT --reject-with icmp-port-unreachable
COMMIT
"""
PACKETS = """\
IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 TTL=64 PROTO=TCP SPT=1024 DPT=22 SYN
IN=eth0 OUT= SRC=203.0.113.1 DST=198.51.100.1 TTL=64 PROTO=TCP SPT=1024 DPT=22 SYN
IN=eth0 OUT= SRC=192.0.2.1 DST=198.51.100.1 TTL=64 PROTO=UDP SPT=1024 DPT=53
"""


def filter_text(*rules: str, chains: str = "") -> str:
    """A filter table with the rules."""
    body = "\n".join(rules)
    return (
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
        f"{chains}{body}\nCOMMIT\n"
    )


def deep_text() -> str:
    """65 chains, each of which jumps to the next."""
    chains = "".join(f":c{i:02} - [0:0]\n" for i in range(65))
    rules = ["-A INPUT -j c00"] + [f"-A c{i:02} -j c{i + 1:02}" for i in range(64)]
    return filter_text(*rules, "-A c64 -j DROP", chains=chains)


class Command(unittest.TestCase):
    """A test with a folder of its own and a way to run nfarena."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def file(self, name: str, text: str | bytes) -> str:
        """Writes a file into the folder; its path."""
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def run_it(self, *arguments: str, expect: int = 0, stdin: str | None = None):
        """Runs nfarena and checks its exit status."""
        done = subprocess.run(
            [NFARENA, *arguments], capture_output=True, text=True, input=stdin, timeout=120,
            errors="replace",
        )
        self.assertEqual(done.returncode, expect, f"{arguments}\n{done.stdout}\n{done.stderr}")
        return done

    def usable(self, *names: str) -> list[str]:
        """Those of the engines that can run here."""
        engines = json.loads(self.run_it("engines", "--json").stdout)
        return [e["name"] for e in engines if e["available"] and e["name"] in names]

    def available(self, *names: str) -> list[str]:
        """The same; skips when none can."""
        usable = self.usable(*names)
        if not usable:
            engines = json.loads(self.run_it("engines", "--json").stdout)
            self.skipTest("; ".join(f"{e['name']}: {e['reason']}" for e in engines if e["reason"]))
        return usable


class Forms(Command):
    """What scripts rely on."""

    def test_engines(self) -> None:
        engines = json.loads(self.run_it("engines", "--json").stdout)
        self.assertEqual([e["name"] for e in engines], TWINS + KERNELS)
        for engine in engines:
            self.assertEqual(engine["available"], engine["reason"] == "")

    def test_every_command_has_help_with_examples(self) -> None:
        for command in "engines check classify restore save diff bench report corpus".split():
            self.assertIn("Example", self.run_it(command, "--help").stdout, command)

    def test_usage_errors(self) -> None:
        for arguments in ([], ["nonsense"], ["diff"], ["diff", "--engines", "vm", "--ruleset", "x"],
                          ["bench", "--budget", "soon"], ["check", "--engine"]):
            self.run_it(*arguments, expect=2)

    def test_check_json(self) -> None:
        report = json.loads(
            self.run_it("check", "--json", *sum((["--engine", e] for e in TWINS), []),
                        self.file("r", RULES)).stdout)
        self.assertEqual(len(report["rules"]), 4 * len(TWINS))
        self.assertEqual(report["summary"]["refused"], 0)
        self.assertEqual(report["summary"]["differs"], 0)
        first = report["rules"][0]
        self.assertEqual((first["line"], first["engine"], first["verdict"]), (6, "reference", "same"))
        self.assertIn("--dport 22", first["text"])

    def test_restore_prints_the_cost(self) -> None:
        path = self.file("r", RULES)
        for engine in self.available(*TWINS, *KERNELS):
            cost = json.loads(self.run_it("restore", "--engine", engine, "--json", path).stdout)
            self.assertEqual(cost["rules"], 4)
            self.assertGreater(cost["wall_ns"], 0)
            if engine != "reference":
                self.assertGreater(cost["bytes_sent"], 0, engine)

    def test_save_gives_back_what_was_loaded(self) -> None:
        path = self.file("r", RULES)
        want = [line for line in RULES.splitlines() if line.startswith(("-A", ":", "*"))]
        for engine in self.available(*TWINS, *KERNELS):
            text = self.run_it("save", "--engine", engine, path).stdout
            got = [line for line in text.splitlines() if line.startswith(("-A", ":", "*"))]
            self.assertEqual(got, want, engine)

    def test_classify_one_line_a_packet(self) -> None:
        rules, packets = self.file("r", RULES), self.file("p", PACKETS)
        for engine in self.available(*TWINS, *KERNELS):
            lines = self.run_it("classify", "--engine", engine, "--ruleset", rules,
                                "--packets", packets).stdout.splitlines()
            self.assertEqual(len(lines), 3, engine)
            self.assertEqual([line.split()[0] for line in lines], ["accept", "drop", "drop"], engine)

    def test_classify_by_no_rule(self) -> None:
        rules, packets = self.file("r", "*filter\nCOMMIT\n"), self.file("p", PACKETS)
        empty = self.file("e", "# nothing\n")
        for engine in self.available(*TWINS):
            for path, want in ((rules, "accept filter/INPUT/policy here"), (empty, "accept none here")):
                lines = self.run_it("classify", "--engine", engine, "--ruleset", path,
                                    "--packets", packets).stdout.splitlines()
                self.assertIn(want, lines, engine)

    def test_classify_says_what_was_rewritten(self) -> None:
        rules = self.file("nat", """\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 198.51.100.9:8080
COMMIT
""")
        packet = "IN=eth0 OUT=eth1 SRC=192.0.2.1 DST=203.0.113.1 TTL=64 PROTO=TCP SPT=1024 DPT={} SYN\n"
        packets = self.file("p", packet.format(80) + packet.format(81))
        for engine in self.available(*TWINS, *KERNELS):
            arguments = ["classify", "--engine", engine, "--ruleset", rules, "--packets", packets]
            hit, miss = self.run_it(*arguments).stdout.splitlines()
            self.assertRegex(hit, r" rewritten DST=198\.51\.100\.9 TTL=63 .*DPT=8080$", engine)
            self.assertTrue(miss.endswith(" rewritten TTL=63"), (engine, miss))
            hit = json.loads(self.run_it(*arguments, "--json").stdout)[0]
            self.assertIn("DPT=8080", hit["rewriting"])

    def test_sets_keep_their_names(self) -> None:
        rule = "-A INPUT -m set --match-set second src -j DROP"
        rules = self.file("r", filter_text(rule))
        sets = self.file("s", "create first hash:ip\ncreate second hash:net\nadd second 192.0.2.0/24\n")
        for engine in self.available(*TWINS, *KERNELS):
            text = self.run_it("save", "--engine", engine, "--ipset", sets, rules).stdout
            self.assertIn(rule + "\n", text, engine)
        report = json.loads(self.run_it("check", "--json", "--engine", "legacy", "--ipset", sets,
                                        rules).stdout)
        self.assertEqual(report["rules"][0]["text"], rule)

    def test_check_and_what_no_rule_shows_alone(self) -> None:
        # MASQUERADE is for POSTROUTING; only where the chain is called from tells.
        rules = self.file("r", """\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:sub - [0:0]
-A PREROUTING -j sub
-A sub -j MASQUERADE
COMMIT
""")
        for engine in self.available(*TWINS, *KERNELS):
            done = self.run_it("check", "--json", "--engine", engine, rules, expect=1)
            verdicts = [(r["line"], r["column"], r["verdict"])
                        for r in json.loads(done.stdout)["rules"] if r["verdict"] != "same"]
            self.assertEqual(verdicts, [(8, 8, "refused")], engine)
            # A refusal, not a lack of the host's: 1.
            done = self.run_it("restore", "--engine", engine, rules, expect=1)
            self.assertIn(f"{rules}:8:8: error: ", done.stderr, engine)

    def test_check_without_the_reference(self) -> None:
        # Nobody but the kernel runs BPF: the kernel's engines are compared.
        kernels = self.available(*KERNELS)
        if len(kernels) != len(KERNELS):
            self.skipTest("needs every kernel engine")
        rules = self.file("r", filter_text(
            '-A INPUT -m bpf --bytecode "4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0" -j DROP'))
        report = json.loads(self.run_it("check", "--json", *sum((["--engine", e] for e in kernels), []),
                                        rules).stdout)
        compared = {e["engine"]: (e["base"], e["compared"] > 0) for e in report["engines"]}
        self.assertEqual(compared, {"kernel-legacy": ("", False),
                                    "kernel-nft": ("kernel-legacy", True),
                                    "kernel-nft-compat": ("kernel-legacy", True)})

    def test_chance_between_two_kernels(self) -> None:
        kernels = self.available("kernel-legacy", "kernel-nft")
        if len(kernels) != 2:
            self.skipTest("needs both kernel engines")
        rules = self.file("r", filter_text(
            "-A INPUT -m statistic --mode random --probability 0.5 -j DROP"))
        report = json.loads(self.run_it("diff", "--json", "--engines", ",".join(kernels), "--ruleset",
                                        rules, "--packets", "auto:40").stdout)
        self.assertEqual(report["differences"], [])
        self.assertGreater(report["indeterminate"], 0)

    def test_diff_counts_outcomes(self) -> None:
        usable = self.available(*TWINS, *KERNELS)
        report = json.loads(
            self.run_it("diff", "--json", "--engines", ",".join(usable), "--ruleset",
                        self.file("r", RULES), "--packets", "auto:300", "--seed", "5").stdout)
        self.assertEqual(report["differences"], [])
        self.assertEqual(report["unsupported"], [])
        self.assertEqual(report["compared"] + report["indeterminate"], 300 * (len(usable) - 1))

    def test_standard_input_and_ipv6_by_header(self) -> None:
        text = "# Generated by ip6tables-save v1.8.9\n" + filter_text("-A INPUT -s 2001:db8::/32 -j DROP")
        out = self.run_it("save", "--engine", "legacy", "-", stdin=text).stdout
        self.assertIn("-A INPUT -s 2001:db8::/32 -j DROP", out)

    def test_corpus_list(self) -> None:
        entries = json.loads(self.run_it("corpus", "list", "--json").stdout)
        self.assertGreaterEqual(sum(e["id"].startswith("captured/") for e in entries), 14)
        ruleset = self.run_it("corpus", "show", "handwritten/web-host").stdout
        self.assertTrue(ruleset.startswith("*filter"))

    def test_in_place_acts_on_the_namespace_it_is_called_in(self) -> None:
        self.available("kernel-legacy")
        path = self.file("r", RULES)
        if os.geteuid() != 0:
            self.skipTest("needs root to make a namespace for the call")
        # Once by the system's own tool, once by ours.
        rule = "-A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 22 -j ACCEPT"
        for engine, tool, own in (("kernel-legacy", "iptables-legacy-save -t filter", rule),
                                  ("kernel-nft-compat", "iptables-nft-save -t filter", rule),
                                  ("kernel-nft", "nft list table ip filter", "dport 22")):
            done = subprocess.run(
                ["unshare", "--net", "sh", "-c",
                 f"'{NFARENA}' restore --in-place --engine {engine} '{path}' && {tool} &&"
                 f"'{NFARENA}' save --in-place --engine {engine}"],
                capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            theirs, ours = done.stdout.split("# Generated by iptables-save v1.8.9 (nfarena)")
            self.assertIn(own, theirs, engine)
            self.assertIn(rule, ours, engine)

    def test_rules_of_nft_are_listed_and_not_lost(self) -> None:
        self.available("kernel-nft")
        if os.geteuid() != 0:
            self.skipTest("needs root to make a namespace for the call")
        nft = self.file("n", "table ip filter { chain INPUT { type filter hook input priority 0\n"
                             "tcp dport { 22, 80 } accept\nct count over 10 drop\n}\n}\n")
        more = self.file("m", "*filter\n-A INPUT -j DROP\nCOMMIT\n")
        done = subprocess.run(
            ["unshare", "--net", "sh", "-c",
             f"nft -f '{nft}' && '{NFARENA}' save --in-place --engine kernel-nft &&"
             f"'{NFARENA}' restore --in-place --engine kernel-nft -n '{more}'"],
            capture_output=True, text=True, timeout=60)
        self.assertIn("\n-A INPUT -p tcp -m multiport --dports 22,80 -j ACCEPT\n"
                      "# not iptables: ip filter INPUT handle ", done.stdout)
        self.assertIn("[ connlimit count 10 flags 1 ] [ immediate reg 0 drop ]\n",
                      done.stdout)
        # To write the table anew would lose the limit.
        self.assertEqual(done.returncode, 1)
        self.assertIn("table filter holds what iptables cannot write", done.stderr)

    def test_corpus_generate(self) -> None:
        def make(*arguments: str) -> str:
            return self.run_it("corpus", "generate", "--rules", "50", *arguments).stdout

        for profile in ("acl", "fw", "ipc"):
            for family in ([], ["-6"]):
                base = ["--profile", profile, *family]
                text = make(*base)
                self.assertEqual(text.count("\n-A FORWARD "), 50)
                self.assertEqual(text, make(*base))
                self.assertNotEqual(text, make(*base, "--seed", "2"))
                self.assertEqual(make(*base, "--input").count("\n-A INPUT "), 50)
                packets = make(*base, "--packets", "200")
                self.assertEqual(packets.count("IN=eth0 OUT=eth1 "), 200)
                # Every packet meets a rule: none gets to the policy.
                report = json.loads(
                    self.run_it("diff", "--json", "--engines", "reference,legacy,blob,vm",
                                "--ruleset", self.file("g", text),
                                "--packets", self.file("p", packets)).stdout)
                self.assertEqual(report["compared"], 600)
                self.assertEqual(report["differences"], [])
                lines = self.run_it("classify", "--engine", "reference", "--ruleset",
                                    str(self.folder / "g"), "--packets",
                                    str(self.folder / "p")).stdout.splitlines()
                self.assertEqual([line for line in lines if "policy" in line], [])
        for arguments in (["--profile", "nosuch", "--rules", "1"], ["--profile", "acl"],
                          ["--profile", "acl", "--rules", "0"],
                          ["--profile", "acl", "--rules", "1000001"]):
            self.run_it("corpus", "generate", *arguments, expect=2)

    def test_refusal_in_diff(self) -> None:
        path = self.file("deep", deep_text())
        done = self.run_it("diff", "--json", "--engines", "reference,legacy,vm", "--ruleset", path,
                           "--packets", "auto:20", expect=1)
        report = json.loads(done.stdout)
        self.assertEqual(report["differences"], [])
        self.assertEqual([u["engine"] for u in report["unsupported"]], ["vm"])
        self.assertRegex(report["unsupported"][0]["reason"], rf"{path}:\d+:\d+: .*nf_tables")


class Docs(Command):
    """The manual page and the completion know every command and option."""

    DOC = Path(__file__).resolve().parent.parent / "doc"

    def subcommands(self, *command: str) -> list[str]:
        text = self.run_it(*command, "--help").stdout
        names = text.split("Subcommands:\n")[1].split("\n\n")[0].splitlines()
        return [line.split()[0] for line in names if re.match("  [a-z]", line)]

    def test_manual(self) -> None:
        page = (self.DOC / "nfarena.1").read_text()
        commands = self.subcommands()
        self.assertIn("diff", commands)
        for name in commands:
            self.assertIn(f".B nfarena {name}", page)
            self.assertRegex(page, rf"\.TP\n\.B {name}\n")
        for name in self.subcommands("corpus"):
            self.assertIn(f".B nfarena corpus {name}", page)

    def test_manual_has_every_option(self) -> None:
        page = (self.DOC / "nfarena.1").read_text().replace("\\-", "-")
        commands = [[name] for name in self.subcommands() if name != "corpus"]
        commands += [["corpus", name] for name in self.subcommands("corpus")]
        known = set()
        for command in commands:
            text = self.run_it(*command, "--help").stdout
            options = set(re.findall(r"^  (?:-\w,)?(--[a-z0-9-]+)(?=\s|$)", text, re.MULTILINE))
            options |= set(re.findall(r"^  -\w,(--[a-z0-9-]+)", text, re.MULTILINE))
            self.assertIn("--help", options, command)
            self.assertNotIn("{", text.split("Options:")[1].split("\n\n")[0].replace(":{", ""))
            known |= options
            for option in options:
                self.assertRegex(page, rf"{option}(?![a-z-])", command)
        # And nothing that is not there.
        self.assertEqual(set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", page)) - known, set())

    def test_readme(self) -> None:
        """The README's commands work; in a namespace, with a state of their own."""
        if os.geteuid() != 0:
            self.skipTest("needs root: a network namespace")
        root = Path(__file__).resolve().parent.parent.parent
        blocks = re.findall(r"```sh\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
        commands = [line for block in blocks for line in block.splitlines()
                    if "build/nfarena" in line]
        self.assertGreater(len(commands), 5)
        script = "\n".join(["set -e"] + [c.replace("build/nfarena", NFARENA) for c in commands])
        done = subprocess.run(
            ["unshare", "-n", "sh", "-c", script], capture_output=True, text=True, cwd=root,
            timeout=300, env={**os.environ, "NFARENA_STATE_DIR": str(self.folder),
                              "XTABLES_LOCKFILE": str(self.folder / "lock")})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def complete(self, *words: str) -> list[str]:
        """What the completion offers for the last word."""
        script = (
            f"PATH={Path(NFARENA).parent}:$PATH; source {self.DOC / 'nfarena.bash'}; "
            'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _nfarena; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(["bash", "-c", script, "bash", *words],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_completion(self) -> None:
        offered = self.complete("nfarena", "")
        for name in self.subcommands():
            self.assertIn(name, offered)
        self.assertEqual(sorted(self.complete("nfarena", "corpus", "")),
                         sorted(self.subcommands("corpus")))
        self.assertEqual(self.complete("nfarena", "diff", "--engines", "vm,kernel-l"),
                         ["vm,kernel-legacy"])
        self.assertIn("--locality", self.complete("nfarena", "corpus", "generate", "--lo"))
        self.assertEqual(self.complete("nfarena", "corpus", "generate", "--profile", "f"), ["fw"])
        self.assertIn("captured/ufw", self.complete("nfarena", "corpus", "show", "captured/uf"))
        self.assertIn("--ruleset", self.complete("nfarena", "classify", "--"))


class BadInput(Command):
    """A clear error with its place, and exit status 1, from every command that reads a ruleset."""

    def refused(self, text: str | bytes, line: int, *said: str) -> None:
        """Each command refuses the text at that line, and says all of `said`."""
        path = self.file("bad", text)
        packets = self.file("p", PACKETS)
        place = f"{path}:{line}:"
        for arguments in (
            ["restore", "--engine", "reference", path],
            ["restore", "--test", "--engine", "vm", path],
            ["save", "--engine", "legacy", path],
            ["classify", "--engine", "blob", "--ruleset", path, "--packets", packets],
            ["diff", "--engines", "reference,legacy", "--ruleset", path, "--packets", packets],
            ["check", "--engine", "vm", path],
        ):
            done = self.run_it(*arguments, expect=1)
            for part in (place, "error", *said):
                self.assertIn(part, done.stderr, arguments)
            self.assertLess(len(done.stderr), 4000, arguments)
        report = json.loads(self.run_it("check", "--json", "--engine", "vm", "--engine", "blob", path,
                                        expect=1).stdout)
        self.assertEqual([(r["line"], r["verdict"]) for r in report["rules"]],
                         [(line, "refused")] * 2)
        self.assertEqual(report["summary"]["refused"], 2)
        for part in said:
            self.assertIn(part, report["rules"][0]["reason"] + report["rules"][0]["text"])
        report = json.loads(self.run_it("diff", "--json", "--engines", "vm,blob", "--ruleset", path,
                                        expect=1).stdout)
        self.assertEqual((report["compared"], report["differences"]), (0, []))
        self.assertEqual([u["engine"] for u in report["unsupported"]], ["vm", "blob"])
        self.assertIn(place, report["unsupported"][0]["reason"])

    def test_truncated(self) -> None:
        self.refused(RULES[: RULES.index("COMMIT")], RULES.count("\n"), "COMMIT")
        self.refused(RULES[: RULES.index("22 -j ACCEPT")], 6, "--dport")
        self.refused(RULES[: RULES.index("ACCEPT [0:0]\n:OUT") + 3], 3)

    def test_every_truncation_is_an_answer(self) -> None:
        for length in range(0, len(RULES), 7):
            path = self.file("cut", RULES[:length])
            done = subprocess.run([NFARENA, "restore", "--engine", "blob", path],
                                  capture_output=True, text=True, timeout=20)
            # Nothing at all is a text with no table.
            self.assertEqual(done.returncode, 1 if length > 0 else 0, done.stderr)
            if length > 0:
                self.assertRegex(done.stderr, rf"{path}:\d+:")

    def test_unknown_match(self) -> None:
        self.refused(filter_text("-A INPUT -m nosuchmatch -j DROP"), 5, "nosuchmatch")
        self.refused(filter_text("-A INPUT -p tcp --nosuchoption 1 -j DROP"), 5, "--nosuchoption")

    def test_wrong_table(self) -> None:
        self.refused(filter_text("-A INPUT -j SNAT --to-source 192.0.2.1"), 5, "SNAT", "filter")
        self.refused("*nat\n-A PREROUTING -j REJECT\nCOMMIT\n", 2, "REJECT", "nat")

    def test_loop(self) -> None:
        self.refused(filter_text("-A INPUT -j a", "-A a -j b", "-A b -j a",
                                 chains=":a - [0:0]\n:b - [0:0]\n"), 9, "loop", "a -> b -> a")
        self.refused(filter_text("-A INPUT -j a", "-A a -g a", chains=":a - [0:0]\n"), 7, "loop")

    def test_jump_to_nowhere(self) -> None:
        self.refused(filter_text("-A INPUT -j nowhere"), 5, "nowhere")
        self.refused(filter_text("-A INPUT -g nowhere"), 5, "nowhere")

    def test_65_deep(self) -> None:
        path = self.file("deep", deep_text())
        kernels = set(self.usable(*KERNELS))
        for engine in ["reference", "legacy", "blob", *({"kernel-legacy"} & kernels)]:
            self.run_it("restore", "--engine", engine, path)
        # The line that goes one deeper than nf_tables does.
        place = f"{path}:{1 + deep_text().splitlines().index('-A c14 -j c15')}:"
        for engine in ["vm", "vm-compat", *({"kernel-nft", "kernel-nft-compat"} & kernels)]:
            done = self.run_it("restore", "--engine", engine, path, expect=1)
            self.assertIn(place, done.stderr)
            self.assertIn("nf_tables takes 15", done.stderr)
        packets = self.file("p", PACKETS)
        done = self.run_it("classify", "--engine", "vm", "--ruleset", path, "--packets", packets,
                           expect=1)
        self.assertIn(place, done.stderr)
        done = self.run_it("diff", "--engines", "reference,vm", "--ruleset", path, expect=1)
        self.assertIn(place, done.stdout)
        done = self.run_it("check", "--engine", "vm", path, expect=1)
        self.assertIn(place, done.stdout)
        for engine in ["reference", "legacy", "blob", *({"kernel-legacy"} & kernels)]:
            out = self.run_it("classify", "--engine", engine, "--ruleset", path,
                              "--packets", packets).stdout
            self.assertEqual([line.split()[:2] for line in out.splitlines()],
                             [["drop", "filter/c64/1"]] * 3, engine)

    def test_one_mebibyte_line(self) -> None:
        comment = "x" * (1 << 20)
        self.refused(filter_text(f"-A INPUT -m comment --comment {comment} -j DROP"), 5, "bytes")
        self.refused("x" * (1 << 20), 1)

    def test_nul_bytes(self) -> None:
        self.refused(RULES.replace("DROP", "DR\0OP").encode(), 2, "NUL")
        self.refused(b"\0" * 4096, 1, "NUL")

    def test_crlf(self) -> None:
        self.refused(RULES.replace("\n", "\r\n"), 1, "CR LF")

    def test_bytes_that_are_no_text(self) -> None:
        self.refused(bytes(range(1, 256)) * 16, 1)

    def test_missing_file(self) -> None:
        for arguments in (["check"], ["restore", "--engine", "legacy"], ["save", "--engine", "legacy"],
                          ["diff", "--engines", "legacy,vm", "--ruleset"],
                          ["classify", "--engine", "legacy", "--ruleset"]):
            done = self.run_it(*arguments, "/nonexistent", expect=1)
            self.assertIn("/nonexistent: error: cannot be read: No such file", done.stderr)
        self.assertIn("Is a directory",
                      self.run_it("check", str(self.folder), expect=1).stderr)

    def test_unknown_engine_is_usage(self) -> None:
        rules = self.file("r", RULES)
        for arguments in (["restore", "--engine", "nosuch", rules],
                          ["save", "--engine", "nosuch"],
                          ["check", "--engine", "nosuch", rules],
                          ["check", "--base", "nosuch", rules],
                          ["classify", "--engine", "nosuch", "--ruleset", rules],
                          ["diff", "--engines", "vm,nosuch", "--ruleset", rules]):
            self.assertIn("kernel-nft", self.run_it(*arguments, expect=2).stderr, arguments)

    def test_bad_packets(self) -> None:
        rules = self.file("r", RULES)
        for text, place in (("IN=eth0 OUT= SRC=1.2.3 DST=4.5.6.7 PROTO=UDP\n", ":1:"),
                            ("\n\nIN=eth0 WHAT=5 SRC=1.2.3.4 DST=4.5.6.7\n", ":3:"),
                            ("IN=eth0 OUT= SRC=2001:db8::1 DST=2001:db8::2 PROTO=UDP\n", ":1:"),
                            ("\0", ":1:"), ("x" * (1 << 20), ":1:")):
            packets = self.file("p", text)
            for arguments in (["classify", "--engine", "reference"],
                              ["diff", "--engines", "reference,legacy"]):
                done = self.run_it(*arguments, "--ruleset", rules, "--packets", packets, expect=1)
                self.assertIn(packets + place, done.stderr)
                self.assertLess(len(done.stderr), 4000)
        for spec in ("auto:0", "auto:x", "auto:-1", "auto:99999999999999999999"):
            self.run_it("diff", "--engines", "reference,legacy", "--ruleset", rules,
                        "--packets", spec, expect=2)
        # The magic of a pcap file and then nothing.
        packets = self.file("p", b"\xd4\xc3\xb2\xa1\x02\x00")
        self.assertIn(packets, self.run_it("classify", "--engine", "reference", "--ruleset", rules,
                                           "--packets", packets, expect=1).stderr)


class Output(Command):
    """Where output cannot go, that is an error: exit status 3."""

    def commands(self) -> list[list[str]]:
        rules, packets = self.file("r", RULES), self.file("p", PACKETS)
        return [
            ["engines"], ["engines", "--json"], ["--help"], ["diff", "--help"], ["--version"],
            ["check", rules], ["check", "--json", rules],
            ["restore", "--engine", "legacy", rules], ["save", "--engine", "legacy", rules],
            ["classify", "--engine", "vm", "--ruleset", rules, "--packets", packets],
            ["diff", "--engines", "reference,vm", "--ruleset", rules, "--packets", packets],
            ["corpus", "list"], ["corpus", "show", "handwritten/web-host"],
            ["corpus", "generate", "--profile", "acl", "--rules", "5000"],
        ]

    def test_full_disk(self) -> None:
        for arguments in self.commands():
            with open("/dev/full", "w", encoding="ascii") as full:
                done = subprocess.run([NFARENA, *arguments], stdout=full, stderr=subprocess.PIPE,
                                      text=True, timeout=60)
            self.assertEqual(done.returncode, 3, arguments)
            self.assertIn("No space left", done.stderr, arguments)

    def test_closed(self) -> None:
        for arguments in self.commands():
            for how, said in ((">&-", "Bad file descriptor"), ("| true", "")):
                done = subprocess.run(
                    ["bash", "-c", f'"$@" {how}; exit ${{PIPESTATUS[0]}}', "bash", NFARENA, *arguments],
                    capture_output=True, text=True, timeout=60)
                # A pipe's reader may be late to close it.
                self.assertIn(done.returncode, (3,) if said else (0, 3), (arguments, how))
                self.assertIn(said, done.stderr, arguments)

    def test_reader_that_stops(self) -> None:
        done = subprocess.run(
            ["bash", "-c", '"$0" corpus generate --profile fw --rules 20000 | head -1; '
             "exit ${PIPESTATUS[0]}", NFARENA], capture_output=True, text=True, timeout=60)
        self.assertTrue(done.stdout.startswith("# Generated by"))
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("Broken pipe", done.stderr)

    def test_errors_that_cannot_be_told(self) -> None:
        for how in ("2>/dev/full", "2>&-", ">&- 2>&- <&-"):
            done = subprocess.run(["bash", "-c", f'"$0" check /nonexistent {how}', NFARENA], timeout=60)
            self.assertEqual(done.returncode, 1, how)

    def test_full_disk_under_results(self) -> None:
        """A file system of 16 KiB, in a mount namespace, for the results and the page."""
        command = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        small = self.folder / "small"
        small.mkdir()
        mount = f"mount -t tmpfs -o size=16k none '{small}'"
        if subprocess.run([*command, "sh", "-c", mount], capture_output=True).returncode != 0:
            self.skipTest("no file system can be mounted in a mount namespace")
        done = subprocess.run(
            [*command, "sh", "-c", f"{mount} && '{NFARENA}' bench -q --what correctness --budget 20s"
             f" --packets-count 50 --out '{small}'; code=$?; ls -lA '{small}'; exit $code"],
            capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertIn("correctness.json", done.stderr)
        self.assertIn("No space left", done.stderr)
        self.assertNotIn(".tmp", done.stdout)
        # The page of results that are elsewhere.
        results = self.folder / "results"
        self.run_it("bench", "-q", "--what", "correctness", "--budget", "1s", "--packets-count", "20",
                    "--out", str(results), expect=0)
        done = subprocess.run(
            [*command, "sh", "-c", f"{mount} && '{NFARENA}' report '{results}' --out '{small}';"
             f" code=$?; ls -lA '{small}'; exit $code"], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertIn("No space left", done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertIn("total 0", done.stdout)


class Rights(Command):
    """What happens when a right is missing."""

    USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

    def as_user(self, *arguments: str) -> subprocess.CompletedProcess:
        """Runs nfarena as nobody."""
        if os.geteuid() != 0:
            self.skipTest("needs root to become somebody else")
        os.chmod(self.folder, 0o755)
        return subprocess.run([*self.USER, NFARENA, *arguments], capture_output=True, text=True,
                              timeout=60)

    def test_ordinary_user(self) -> None:
        path = self.file("r", RULES)
        for engine in TWINS:
            done = self.as_user("restore", "--engine", engine, path)
            self.assertEqual(done.returncode, 0, done.stderr)
        # A kernel engine works in a user namespace, or says why not.
        listed = {e["name"]: e for e in json.loads(self.as_user("engines", "--json").stdout)}
        for engine in KERNELS:
            done = self.as_user("restore", "--engine", engine, path)
            if listed[engine]["available"]:
                self.assertEqual(done.returncode, 0, done.stderr)
            else:
                self.assertEqual(done.returncode, 3, done.stderr)
                self.assertIn(listed[engine]["reason"], done.stderr)

    def test_root_of_a_user_namespace(self) -> None:
        """Who is root, but not of the network he is in, gets one of his own."""
        call = ["unshare", "--user", "--map-root-user"]
        if os.geteuid() == 0:
            call = [*self.USER, *call]
            os.chmod(self.folder, 0o755)
        if subprocess.run([*call, "true"], capture_output=True).returncode != 0:
            self.skipTest("no user namespaces here")
        path = self.file("r", RULES)
        done = subprocess.run([*call, NFARENA, "engines", "--json"], capture_output=True, text=True,
                              timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        listed = {e["name"]: e for e in json.loads(done.stdout)}
        for engine in KERNELS:
            done = subprocess.run([*call, NFARENA, "restore", "--engine", engine, path],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0 if listed[engine]["available"] else 3, done.stderr)
            done = subprocess.run([*call, NFARENA, "restore", "--in-place", "--engine", engine, path],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertIn("no right to change the network namespace", done.stderr)

    def test_in_place_needs_the_right(self) -> None:
        path = self.file("r", RULES)
        for engine in KERNELS:
            for command in (["restore", "--in-place", "--engine", engine, path],
                            ["save", "--in-place", "--engine", engine]):
                done = self.as_user(*command)
                self.assertEqual(done.returncode, 3, f"{command} {done.stdout} {done.stderr}")
                self.assertIn("error", done.stderr)

    def test_files_of_others(self) -> None:
        path = self.file("r", RULES)
        os.chmod(path, 0)
        for arguments in (["check", path], ["restore", "--engine", "legacy", path],
                          ["diff", "--engines", "legacy,vm", "--ruleset", path],
                          ["classify", "--engine", "vm", "--ruleset", path]):
            done = self.as_user(*arguments)
            self.assertEqual(done.returncode, 1, arguments)
            self.assertIn(f"{path}: error: cannot be read: Permission denied", done.stderr)
        for out in (self.folder / "results", self.folder):
            done = self.as_user("bench", "-q", "--what", "correctness", "--budget", "1s", "--out", str(out))
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertIn("Permission denied", done.stderr)

    def test_namespaces_forbidden(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("needs root to forbid namespaces")
        path = self.file("r", RULES)
        # In a user namespace whose limits of further namespaces are nothing.
        forbid = ("echo 0 > /proc/sys/user/max_net_namespaces; "
                  "echo 0 > /proc/sys/user/max_user_namespaces; "
                  "exec setpriv --bounding-set -all --inh-caps -all ")

        def run(*arguments: str) -> subprocess.CompletedProcess:
            return subprocess.run(
                ["unshare", "--user", "--map-root-user", "sh", "-c", forbid + '"$0" "$@"', NFARENA,
                 *arguments], capture_output=True, text=True, timeout=60)

        listed = {e["name"]: e for e in json.loads(run("engines", "--json").stdout)}
        for engine in KERNELS:
            self.assertFalse(listed[engine]["available"])
            self.assertIn("namespace", listed[engine]["reason"])
            done = run("restore", "--engine", engine, path)
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertIn(f"error: {listed[engine]['reason']}", done.stderr)
            done = run("diff", "--engines", f"reference,{engine}", "--ruleset", path)
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertIn(listed[engine]["reason"], done.stdout)
            done = run("check", "--engine", engine, path)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(listed[engine]["reason"], done.stdout)
        # Twins need nothing.
        done = run("diff", "--engines", ",".join(TWINS), "--ruleset", path)
        self.assertEqual(done.returncode, 0, done.stderr)


class Interruption(Command):
    """SIGINT and SIGKILL in the middle leave nothing but whole results."""

    def start(self, *arguments: str) -> subprocess.Popen:
        """Runs nfarena, it and its children marked."""
        self.mark = f"NFARENA_TEST_MARK={self.id()}-{os.getpid()}-{time.monotonic_ns()}"
        name, value = self.mark.split("=")
        run = subprocess.Popen([NFARENA, *arguments], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env={**os.environ, name: value})
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        return run

    def marked(self) -> list[Path]:
        """/proc/PID of the run and of all its children that still live."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                    found.append(process)
            except OSError:
                pass
        return found

    @staticmethod
    def arguments_of(process: Path) -> bytes:
        try:
            return (process / "cmdline").read_bytes()
        except OSError:
            return b""

    def wait_until(self, what: str, condition, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"never came true: {what}")
            time.sleep(0.02)

    def holds(self, process: Path, target: str) -> bool:
        """Whether the process has an open file of that name."""
        try:
            return any(os.readlink(fd).startswith(target) for fd in (process / "fd").iterdir())
        except OSError:
            return False

    def leftovers(self) -> tuple[int, str]:
        """Devices and named namespaces of the host."""
        show = lambda *a: subprocess.run(["ip", *a], capture_output=True, text=True).stdout  # noqa: E731
        return show("-o", "link", "show").count("\n"), show("netns", "list")

    def end(self, run: subprocess.Popen, number: signal.Signals) -> None:
        """Sends the signal to the run alone; it and all its children end."""
        run.send_signal(number)
        self.assertEqual(run.wait(timeout=30), -number)
        self.wait_until("every child has ended", lambda: not self.marked(), 10)

    def test_correctness(self) -> None:
        self.available("kernel-legacy")
        before = self.leftovers()
        for number in (signal.SIGINT, signal.SIGKILL):
            out = self.folder / f"results-{number}"
            run = self.start("bench", "--what", "correctness", "--budget", "60s",
                             "--packets-count", "300", "--out", str(out))
            self.wait_until("a first result", (out / "correctness.json").exists)
            self.end(run, number)
            data = json.loads((out / "correctness.json").read_text())
            self.assertFalse(data["complete"])
            self.assertGreater(len(data["cases"]), 0)
            self.assertEqual([p.name for p in out.iterdir()], ["correctness.json"])
            # What there is makes a page, which says that it is not all.
            self.run_it("report", str(out))
            self.assertRegex((out / "report.md").read_text(), "(?i)(not|in)[ -]?complete|cut off|interrupted")
        self.assertEqual(self.leftovers(), before)

    def test_timed_children_die_too(self) -> None:
        for number in (signal.SIGINT, signal.SIGKILL):
            out = self.folder / f"results-{number}"
            run = self.start("bench", "--what", "update", "--budget", "60s", "--out", str(out))
            self.wait_until("a child", lambda: any(
                b"nfarena-bench" in self.arguments_of(p) for p in self.marked()))
            time.sleep(0.3)
            self.end(run, number)
            names = [p.name for p in out.iterdir()]
            self.assertIn(names, ([], ["update.json"]))
            if names:
                self.assertFalse(json.loads((out / "update.json").read_text())["complete"])

    def test_engines_at_work(self) -> None:
        usable = self.available(*KERNELS)
        path = self.file("r", RULES)
        before = self.leftovers()
        for engine in usable:
            for number in (signal.SIGINT, signal.SIGKILL):
                run = self.start("classify", "--engine", engine, "--ruleset", path,
                                 "--packets", "auto:60000")
                self.wait_until("its devices are there",
                                lambda: self.holds(Path(f"/proc/{run.pid}"), "/dev/net/tun"))
                self.end(run, number)
        self.assertEqual(self.leftovers(), before)

    def test_report(self) -> None:
        results = self.folder / "results"
        self.run_it("bench", "-q", "--what", "correctness", "--budget", "1s", "--packets-count", "20",
                    "--out", str(results))
        for number in (signal.SIGINT, signal.SIGKILL):
            run = self.start("report", str(results))
            time.sleep(0.4)
            run.send_signal(number)
            self.assertNotEqual(run.wait(timeout=30), 0)
            # A scratch folder may stay of the killed one; half a page may not.
            self.assertEqual([p.name for p in results.iterdir() if not p.name.startswith(".")],
                             ["correctness.json"])
            if number == signal.SIGINT:
                self.assertEqual([p.name for p in results.iterdir()], ["correctness.json"])
        self.run_it("report", str(results))
        self.assertEqual([p.name for p in results.iterdir() if p.name.startswith(".")], [])


if __name__ == "__main__":
    NFARENA = sys.argv.pop(1)
    unittest.main(verbosity=1)
