#!/usr/bin/python3
"""The nfarena command from outside: forms, exit codes, bad input, interruption.

Usage: cli_test.py PATH-OF-NFARENA
"""

from __future__ import annotations

import json
import os
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

    def available(self, *names: str) -> list[str]:
        """Those of the engines that can run here; skips when none can."""
        engines = json.loads(self.run_it("engines", "--json").stdout)
        usable = [e["name"] for e in engines if e["available"] and e["name"] in names]
        if not usable:
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
            self.run_it("check", "--json", "--packets-count", "300", *sum((["--engine", e] for e in TWINS), []),
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


class BadInput(Command):
    """A clear error with its place, and exit status 1."""

    def refused(self, text: str | bytes, *said: str, engine: str = "reference") -> None:
        path = self.file("bad", text)
        done = self.run_it("restore", "--engine", engine, path, expect=1)
        for part in said:
            self.assertIn(part, done.stderr)
        self.assertIn(path + ":", done.stderr)

    def test_truncated(self) -> None:
        self.refused(RULES[: RULES.index("COMMIT")], "COMMIT")
        self.refused(RULES[: RULES.index("22 -j ACCEPT")], ":6:")

    def test_every_truncation_is_an_answer(self) -> None:
        for length in range(0, len(RULES), 7):
            path = self.file("cut", RULES[:length])
            done = subprocess.run([NFARENA, "restore", "--engine", "blob", path],
                                  capture_output=True, text=True, timeout=20)
            self.assertIn(done.returncode, (0, 1), done.stderr)

    def test_unknown_match(self) -> None:
        self.refused(filter_text("-A INPUT -m nosuchmatch -j DROP"), ":5:", "nosuchmatch")

    def test_wrong_table(self) -> None:
        self.refused(filter_text("-A INPUT -j SNAT --to-source 192.0.2.1"), ":5:", "SNAT")

    def test_loop(self) -> None:
        self.refused(filter_text("-A INPUT -j a", "-A a -j b", "-A b -j a",
                                 chains=":a - [0:0]\n:b - [0:0]\n"), "loop")

    def test_jump_to_nowhere(self) -> None:
        self.refused(filter_text("-A INPUT -j nowhere"), ":5:", "nowhere")

    def test_65_deep(self) -> None:
        chains = "".join(f":c{i:02} - [0:0]\n" for i in range(65))
        rules = ["-A INPUT -j c00"] + [f"-A c{i:02} -j c{i + 1:02}" for i in range(64)]
        path = self.file("deep", filter_text(*rules, "-A c64 -j DROP", chains=chains))
        self.run_it("restore", "--engine", "legacy", path)
        for engine in ("vm",):
            done = self.run_it("restore", "--engine", engine, path, expect=1)
            self.assertIn("nf_tables takes 15", done.stderr)
        packets = self.file("p", PACKETS)
        out = self.run_it("classify", "--engine", "legacy", "--ruleset", path, "--packets", packets)
        self.assertTrue(out.stdout.startswith("drop"), out.stdout)

    def test_one_mebibyte_line(self) -> None:
        comment = "x" * (1 << 20)
        self.refused(filter_text(f"-A INPUT -m comment --comment {comment} -j DROP"), ":5:")

    def test_nul_bytes(self) -> None:
        self.refused(RULES.replace("DROP", "DR\0OP").encode(), ":2:")

    def test_crlf_is_answered(self) -> None:
        path = self.file("crlf", RULES.replace("\n", "\r\n"))
        done = subprocess.run([NFARENA, "restore", "--engine", "reference", path],
                              capture_output=True, text=True, timeout=20)
        self.assertIn(done.returncode, (0, 1))
        if done.returncode == 1:
            self.assertRegex(done.stderr, r":1:.*(CR|carriage|line end)")

    def test_missing_file_and_unknown_engine(self) -> None:
        self.assertIn("No such file", self.run_it("check", "/nonexistent", expect=1).stderr)
        done = self.run_it("restore", "--engine", "nosuch", self.file("r", RULES), expect=1)
        self.assertIn("kernel-nft", done.stderr)

    def test_bad_packets(self) -> None:
        rules = self.file("r", RULES)
        for text, place in (("IN=eth0 OUT= SRC=1.2.3 DST=4.5.6.7 PROTO=UDP\n", ":1:"),
                            ("\n\nIN=eth0 WHAT=5 SRC=1.2.3.4 DST=4.5.6.7\n", ":3:")):
            done = self.run_it("classify", "--engine", "reference", "--ruleset", rules,
                               "--packets", self.file("p", text), expect=1)
            self.assertIn(place, done.stderr)

    def test_full_disk(self) -> None:
        if not Path("/dev/full").exists():
            self.skipTest("no /dev/full")
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([NFARENA, "corpus", "list"], stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=20)
        self.assertEqual(done.returncode, 3)
        self.assertIn("No space left", done.stderr)


class Rights(Command):
    """What happens when a right is missing, or a run is cut off."""

    def test_ordinary_user(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("needs root to become somebody else")
        os.chmod(self.folder, 0o755)
        path = self.file("r", RULES)
        os.chmod(path, 0o644)
        user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", NFARENA]
        done = subprocess.run([*user, "restore", "--engine", "legacy", path],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        # A kernel engine works in a user namespace, or says why not.
        done = subprocess.run([*user, "restore", "--engine", "kernel-legacy", path],
                              capture_output=True, text=True, timeout=60)
        self.assertIn(done.returncode, (0, 3), done.stderr)
        self.assertEqual(done.returncode == 3, "error" in done.stderr, done.stderr)

    def test_namespaces_forbidden(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("needs root to forbid namespaces")
        path = self.file("r", RULES)
        # In a user namespace whose limit of further namespaces is nothing.
        script = ("echo 0 > /proc/sys/user/max_net_namespaces; echo 0 > /proc/sys/user/max_user_namespaces; "
                  f"exec setpriv --bounding-set -all --inh-caps -all '{NFARENA}' restore --engine kernel-nft '{path}'")
        done = subprocess.run(["unshare", "--user", "--map-root-user", "sh", "-c", script],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("error", done.stderr)

    def leftovers(self) -> tuple[str, str]:
        """Devices and named namespaces of the host."""
        show = lambda *a: subprocess.run(["ip", *a], capture_output=True, text=True).stdout  # noqa: E731
        return show("-o", "link", "show").count("\n"), show("netns", "list")

    def test_interrupted_runs_leave_nothing(self) -> None:
        self.available("kernel-legacy")
        before = self.leftovers()
        for number in (signal.SIGINT, signal.SIGKILL):
            out = self.folder / f"results-{number}"
            run = subprocess.Popen([NFARENA, "bench", "--what", "correctness", "--budget", "60s",
                                    "--packets-count", "300", "--out", str(out)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + 60
            while not (out / "correctness.json").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            run.send_signal(number)
            self.assertNotEqual(run.wait(timeout=30), 0)
            data = json.loads((out / "correctness.json").read_text())
            self.assertFalse(data["complete"])
            names = [p.name for p in out.iterdir() if p.name != "correctness.json"]
            if number == signal.SIGINT:
                self.assertEqual(names, [])
        self.assertEqual(self.leftovers(), before)


if __name__ == "__main__":
    NFARENA = sys.argv.pop(1)
    unittest.main(verbosity=1)
