#!/usr/bin/python3
"""Tests of the reports; run by CTest."""

from __future__ import annotations

import contextlib
import io
import json
import random
import sys
import tempfile
import unittest
from html.parser import HTMLParser
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import load  # noqa: E402
import main  # noqa: E402
import page  # noqa: E402
import stats  # noqa: E402
import tables  # noqa: E402
from samples import ENGINES, judged, result, timed, write  # noqa: E402


class InFolder(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)


class Stats(unittest.TestCase):
    """Figures worked out by hand."""

    def test_no_samples_is_no_estimate(self) -> None:
        self.assertIsNone(stats.estimate([]))

    def test_few_samples_give_their_range(self) -> None:
        e = stats.estimate([3.0, 1.0, 2.0])
        self.assertEqual((e.median, e.low, e.high, e.kind), (2.0, 1.0, 3.0, "range"))

    def test_interval_holds_the_median_and_repeats(self) -> None:
        samples = [10.0, 11.0, 12.0, 13.0, 14.0, 30.0]
        e = stats.estimate(samples)
        self.assertEqual(e.median, 12.5)
        self.assertLess(e.low, e.median)
        self.assertGreater(e.high, e.median)
        self.assertLess(e.high, 30.0)
        self.assertEqual(e, stats.estimate(samples))

    def test_growth_of_a_square_is_two(self) -> None:
        self.assertAlmostEqual(stats.growth_exponent([1, 10, 100], [1, 100, 10000]), 2.0)

    def test_two_points_give_no_growth(self) -> None:
        self.assertIsNone(stats.growth_exponent([1, 10], [1, 10]))


def damaged(whole: dict, chance: random.Random) -> bytes:
    """The JSON of `whole` with one value replaced, or with some bytes changed."""
    if chance.random() < 0.5:
        copy = json.loads(json.dumps(whole))
        at = copy
        while True:
            key = chance.choice(list(at) if isinstance(at, dict) else range(len(at)))
            if not isinstance(at[key], (dict, list)) or not at[key] or chance.random() < 0.2:
                break
            at = at[key]
        if isinstance(at, dict) and chance.random() < 0.3:
            at[chance.choice(["", "name", "x" * 100])] = at.pop(key)
        else:
            at[key] = chance.choice([None, True, -1, 0, 1e300, 2**70, "", "\0", [], {}, [[]], ["a"]])
        return json.dumps(copy).encode()
    data = bytearray(json.dumps(whole).encode())
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data))
        how = chance.randrange(3)
        if how == 0:
            data[at] = chance.randrange(256)
        elif how == 1:
            del data[at : at + chance.randint(1, 20)]
        else:
            data[at:at] = data[chance.randrange(len(data)) :][: chance.randint(1, 40)]
    return bytes(data)


class Load(InFolder):
    """What is refused, and that the refusal names the file."""

    def refused(self, text: str) -> str:
        path = self.folder / "update.json"
        path.write_text(text, encoding="utf-8")
        with self.assertRaises(load.ResultError) as raised:
            load.load_folder(self.folder)
        self.assertIn(str(path), str(raised.exception))
        return str(raised.exception)

    def test_cut_off(self) -> None:
        whole = json.dumps(result("update", [timed("load", "reference", 10, [1.0])]))
        for length in (1, len(whole) // 2, len(whole) - 1):
            self.assertIn("cut off", self.refused(whole[:length]))

    def test_numbers_and_nesting_out_of_bounds(self) -> None:
        whole = json.dumps(result("update", [timed("load", "reference", 10, [1.0])]))
        for number in ("NaN", "-Infinity", "9" * 5000):
            self.assertIn("not JSON", self.refused(whole.replace("1.0", number)))
        self.assertIn("not JSON", self.refused("[" * 100_000))

    def test_any_damage_is_refused_by_name_or_harmless(self) -> None:
        whole = result("update", [timed("load", "reference", 10, [1.0, 2.0])])
        chance = random.Random(20)
        path = self.folder / "update.json"
        refused = 0
        for _ in range(1500):
            path.write_bytes(damaged(whole, chance))
            try:
                loaded = load.load_folder(self.folder)
            except load.ResultError as error:
                self.assertIn(str(path), str(error))
                refused += 1
            else:
                self.assertEqual(loaded.any().kind, "update")
                self.assertIsInstance(loaded.cases("update"), list)
        self.assertGreater(refused, 500)
        self.assertLess(refused, 1450)

    def test_foreign(self) -> None:
        self.assertIn("not an nfarena result", self.refused('{"benchmarks": []}'))
        self.assertIn("not an nfarena result", self.refused("[]"))

    def test_newer_version(self) -> None:
        self.assertIn("version 2", self.refused(json.dumps(result("update", [], version=2))))

    def test_value_that_breaks_the_schema_is_placed(self) -> None:
        bad = timed("load", "reference", 0, [1.0])
        self.assertIn("cases/0/rules", self.refused(json.dumps(result("update", [bad]))))

    def test_kind_that_is_not_the_file_name(self) -> None:
        self.assertIn("kind classify", self.refused(json.dumps(result("classify", []))))

    def test_empty_folder(self) -> None:
        with self.assertRaises(load.ResultError):
            load.load_folder(self.folder)


class Tables(InFolder):
    """Counts that the page shows."""

    def test_totals_add_up(self) -> None:
        write(self.folder, result("correctness", [judged("captured/a"), judged("b", 2)]))
        totals = {t.engine: t for t in tables.engine_totals(load.load_folder(self.folder))}
        self.assertEqual(totals["kernel-nft"].compared, 18)
        self.assertEqual(totals["kernel-nft"].differences, 2)
        self.assertEqual(totals["kernel-nft"].rulesets_run, 2)
        self.assertEqual(totals["kernel-nft"].counters_compared, 6)

    def test_cells_tell_base_equal_and_different(self) -> None:
        write(
            self.folder,
            result("correctness", [judged("a"), judged("b", 2), judged("c", 0, "unsupported")]),
        )
        rows = tables.case_rows(load.load_folder(self.folder))
        self.assertEqual(rows[0].cells["reference"], ("base", "base"))
        self.assertEqual(rows[0].cells["kernel-nft"], ("9 equal, 1 by chance", "equal"))
        self.assertEqual(rows[1].cells["kernel-nft"], ("2 differ", "differs"))
        self.assertEqual(rows[2].cells["kernel-nft"][1], "unsupported")

    def test_series_of_files_of_two_builds(self) -> None:
        newer = [*ENGINES, {**ENGINES[0], "name": "another"}]
        cases = [timed("load", name, 10, [1.0]) for name in ("unlisted", "another", "kernel-nft")]
        write(
            self.folder,
            result("correctness", [judged("a")]),
            result("update", cases, engines=newer),
        )
        lines = tables.series(load.load_folder(self.folder), "update")["load"]
        self.assertEqual([s.engine for s in lines], ["kernel-nft", "another", "unlisted"])

    def test_everything_missing_is_listed(self) -> None:
        case = timed("load", "reference", 10, [])
        case["error"] = "no memory"
        write(
            self.folder,
            result("update", [case], complete=False, skipped=[{"what": "w", "reason": "r"}]),
        )
        rows = {(s.what, s.reason) for s in tables.skipped(load.load_folder(self.folder))}
        self.assertIn(("correctness results", "no result file"), rows)
        self.assertIn(("the rest of update", "the run was interrupted"), rows)
        self.assertIn(("w", "r"), rows)
        self.assertIn(("load on reference with 10 rules", "no memory"), rows)
        self.assertIn(("engine kernel-nft", "no right"), rows)


class Balanced(HTMLParser):
    """Finds tags that are not closed, ids, and the links to them."""

    VOID = {"meta", "br", "link", "img", "input", "hr"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.outside: set[str] = set()

    def handle_starttag(self, tag, attrs) -> None:
        values = dict(attrs)
        if "id" in values:
            self.ids.add(values["id"])
        href = values.get("href") or ""
        if tag == "a" and href.startswith("#"):
            self.links.add(href[1:])
        for name in ("src", "href"):
            if (values.get(name) or "").startswith(("http:", "https:", "//")):
                self.outside.add(values[name])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()


class Page(InFolder):
    """The page as a whole."""

    def render(self) -> tuple[str, str]:
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(main.main([str(self.folder), "--out", str(self.folder / "p")]), 0)
        return tuple(
            (self.folder / "p" / name).read_text(encoding="utf-8")
            for name in ("report.html", "report.md")
        )

    def write_all(self) -> None:
        cases = [
            timed("load", e, n, [n * 10.0 * k, n * 11.0 * k], bytes_sent=n * 200.0, messages=1.0)
            for k, e in ((1, "reference"), (2, "kernel-nft"))
            for n in (10, 100, 1000, 10000)
        ]
        packets = [timed("miss", "reference", n, [n * 4.0]) for n in (10, 100)]
        write(
            self.folder, result("correctness", [judged("captured/a", 1)]),
            result("update", cases), result("classify", packets),
        )

    def test_has_every_part_and_is_well_formed(self) -> None:
        self.write_all()
        html, markdown = self.render()
        parser = Balanced()
        parser.feed(html)
        self.assertEqual(parser.open, [])
        self.assertLessEqual(parser.links, parser.ids)
        self.assertEqual(parser.outside, set(), "the page must work without a network")
        self.assertIn("1 rulesets (1 captured", html)
        self.assertIn("reference 1.00, kernel-nft 1.00", html)
        self.assertEqual(html.count("<figure>"), 3)
        self.assertIn("&lt;b&gt;", html, "text from results is escaped")
        for text in ("## Correctness", "## Update cost", "nfarena bench --what update"):
            self.assertIn(text, markdown)
        for name in ("update-load", "bytes-load", "classify-miss"):
            for suffix in ("svg", "png", "csv"):
                self.assertTrue((self.folder / "p" / f"{name}.{suffix}").exists())

    def test_same_input_gives_the_same_bytes(self) -> None:
        self.write_all()
        self.assertEqual(self.render(), self.render())

    def test_partial_results_give_a_page_that_says_so(self) -> None:
        write(self.folder, result("update", [timed("load", "reference", 10, [5.0])]))
        html, _ = self.render()
        self.assertIn("Missing from this page: correctness, classify results.", html)

    def test_bad_results_leave_an_old_page_alone(self) -> None:
        self.write_all()
        old, _ = self.render()
        (self.folder / "update.json").write_text("{", encoding="utf-8")
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(main.main([str(self.folder), "--out", str(self.folder / "p")]), 1)
        self.assertIn("update.json", said.getvalue())
        self.assertEqual((self.folder / "p" / "report.html").read_text(encoding="utf-8"), old)


class Words(unittest.TestCase):
    """How figures are written."""

    def test_times(self) -> None:
        for ns, text in ((999, "999 ns"), (1500, "1.5 µs"), (2e6, "2 ms"), (3.21e9, "3.21 s")):
            self.assertEqual(page.format_ns(ns), text)


if __name__ == "__main__":
    unittest.main()
