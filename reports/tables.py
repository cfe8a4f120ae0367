"""Result files -> the rows and series that the page shows; no layout here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from load import Results
from stats import Estimate, estimate, growth_exponent


@dataclass(frozen=True)
class EngineTotal:
    """One engine over the whole corpus."""

    engine: str
    kind: str
    available: bool
    reason: str
    rulesets_run: int
    rulesets_unsupported: int
    compared: int
    indeterminate: int
    differences: int
    counters_compared: int


@dataclass(frozen=True)
class CaseRow:
    """One ruleset: what each engine said. `cells` maps engine to (text, state)."""

    case: str
    description: str
    origin: str
    family: str
    rules: int
    packets: int
    rules_hit: int | None
    error: str
    cells: dict[str, tuple[str, str]]
    differences: list[str]
    failed_expectations: list[str]


@dataclass(frozen=True)
class Point:
    """One benchmark of a series."""

    rules: int
    time_ns: Estimate | None
    counters: dict[str, float]
    error: str


@dataclass(frozen=True)
class Series:
    """One engine under one workload, by number of rules."""

    workload: str
    engine: str
    points: list[Point]

    @property
    def exponent(self) -> float | None:
        """Growth of time with rules, from 100 rules on where set-up is small."""
        timed = [p for p in self.points if p.time_ns is not None and p.rules >= 100]
        return growth_exponent(
            [p.rules for p in timed], [p.time_ns.median for p in timed if p.time_ns]
        )


@dataclass(frozen=True)
class Skipped:
    """Something that was left out, and why."""

    what: str
    reason: str


def engine_totals(results: Results) -> list[EngineTotal]:
    """One row an engine, in registry order."""
    rows = []
    for engine in results.any().data["engines"]:
        name = engine["name"]
        runs = [
            run
            for case in results.cases("correctness")
            for run in case["runs"]
            if run["engine"] == name
        ]
        cases_in = {
            state: sum(
                any(r["engine"] == name and r["state"] == state for r in case["runs"])
                for case in results.cases("correctness")
            )
            for state in ("ran", "unsupported")
        }
        rows.append(
            EngineTotal(
                engine=name,
                kind=engine["kind"],
                available=engine["available"],
                reason=engine["reason"],
                rulesets_run=cases_in["ran"],
                rulesets_unsupported=cases_in["unsupported"],
                compared=sum(r["compared"] for r in runs),
                indeterminate=sum(r["indeterminate"] for r in runs),
                differences=sum(r["differences"] for r in runs),
                counters_compared=sum(r["counters_compared"] for r in runs),
            )
        )
    return rows


def _cell(runs: list[dict[str, Any]], is_base: bool) -> tuple[str, str]:
    """The text and state of one engine's cell; what went wrong goes first."""
    for state in ("failed", "unavailable", "unsupported"):
        for run in runs:
            if run["state"] == state:
                return run["reason"], state
    differences = sum(r["differences"] for r in runs)
    if differences:
        return f"{differences} differ", "differs"
    if is_base:
        return "base", "base"
    compared = sum(r["compared"] for r in runs)
    left = sum(r["indeterminate"] for r in runs)
    return f"{compared} equal" + (f", {left} by chance" if left else ""), "equal"


def case_rows(results: Results) -> list[CaseRow]:
    """One row a ruleset, in corpus order."""
    rows = []
    for case in results.cases("correctness"):
        engines = list(dict.fromkeys(run["engine"] for run in case["runs"]))
        base = next((r["engine"] for r in case["runs"] if r["state"] == "ran"), None)
        rows.append(
            CaseRow(
                case=case["case"],
                description=case["description"],
                origin=case["origin"],
                family=case["family"],
                rules=case.get("rules", 0),
                packets=case.get("packets", 0),
                rules_hit=case.get("rules_hit"),
                error=case["error"],
                cells={
                    engine: _cell(
                        [r for r in case["runs"] if r["engine"] == engine], engine == base
                    )
                    for engine in engines
                },
                differences=case["differences"],
                failed_expectations=case["failed_expectations"],
            )
        )
    return rows


def _engine_order(results: Results) -> dict[str, int]:
    """The place of each engine; files of two builds may list different ones."""
    order: dict[str, int] = {}
    for file in results.files.values():
        for engine in file.data["engines"]:
            order.setdefault(engine["name"], len(order))
    return order


def series(results: Results, kind: str) -> dict[str, list[Series]]:
    """Workload -> its series: by name, engines in registry order.

    An engine that no file lists comes last.
    """
    order = _engine_order(results)
    found: dict[tuple[str, str], list[Point]] = {}
    for case in results.cases(kind):
        found.setdefault((case["workload"], case["engine"]), []).append(
            Point(
                rules=case["rules"],
                time_ns=estimate(case["samples_ns"]),
                counters=case["counters"],
                error=case["error"],
            )
        )
    out: dict[str, list[Series]] = {}
    for (workload, engine), points in sorted(
        found.items(),
        key=lambda item: (item[0][0], order.get(item[0][1], len(order)), item[0][1]),
    ):
        points.sort(key=lambda p: p.rules)
        out.setdefault(workload, []).append(Series(workload, engine, points))
    return out


def skipped(results: Results) -> list[Skipped]:
    """Everything that is not on the page although one might look for it."""
    rows = [Skipped(f"{kind} results", "no result file") for kind in results.missing]
    for kind, file in results.files.items():
        if not file.complete:
            rows.append(Skipped(f"the rest of {kind}", "the run was interrupted"))
        rows += [Skipped(s["what"], s["reason"]) for s in file.data["skipped"]]
        for case in file.data["cases"]:
            if kind != "correctness" and case["error"]:
                what = f"{case['workload']} on {case['engine']} with {case['rules']} rules"
                rows.append(Skipped(what, case["error"]))
    for engine in results.any().data["engines"]:
        if not engine["available"]:
            rows.append(Skipped(f"engine {engine['name']}", engine["reason"]))
    return rows
