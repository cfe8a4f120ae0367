"""Tables and figures -> one HTML page and the same as Markdown.

Every sentence with a figure in it is made from the data; the templates hold only what is
true of any run.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import jinja2

import figures
import tables
from load import Results

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Section:
    """Figures of one kind with the table under them."""

    title: str
    text: str
    figure: figures.Figure | None
    header: list[str]
    rows: list[list[str]]


def format_ns(ns: float) -> str:
    """A time for people: three digits and a unit."""
    for limit, divisor, unit in ((1e3, 1, "ns"), (1e6, 1e3, "µs"), (1e9, 1e6, "ms")):
        if ns < limit:
            return f"{ns / divisor:.3g} {unit}"
    return f"{ns / 1e9:.3g} s"


def format_count(value: float) -> str:
    """A whole number with thin groups of three."""
    return f"{value:,.0f}"


def _growth(lines: list[tables.Series]) -> str:
    """What the data say of growth, one clause an engine."""
    parts = [
        f"{line.engine} {line.exponent:.2f}" for line in lines if line.exponent is not None
    ]
    if not parts:
        return "Too few sizes were measured to fit a growth exponent."
    return (
        "Growth exponent of time with the number of rules, from 100 rules on "
        f"(1 is linear, 0 constant): {', '.join(parts)}."
    )


def _time_section(
    workload: str, description: str, lines: list[tables.Series], folder: Path, prefix: str
) -> Section:
    """Time of one workload: a figure, and the figures as a table."""
    figure = figures.draw(
        f"{prefix}-{workload}", description, "time", "nanoseconds", lines,
        "Median of processes; bars are 95 % intervals, or the range under 5 samples.", folder,
    )
    sizes = sorted({p.rules for line in lines for p in line.points})
    rows = []
    for line in lines:
        by_size = {p.rules: p for p in line.points}
        row = [line.engine]
        for size in sizes:
            point = by_size.get(size)
            if point is None:
                row.append("not run")
            elif point.error:
                row.append("refused")
            elif point.time_ns is None:
                row.append("no sample")
            else:
                t = point.time_ns
                row.append(
                    f"{format_ns(t.median)} ({format_ns(t.low)} to {format_ns(t.high)}, n={t.count})"
                )
        rows.append(row)
    return Section(
        title=description,
        text=_growth(lines),
        figure=figure,
        header=["engine", *(f"{format_count(s)} rules" for s in sizes)],
        rows=rows,
    )


def _bytes_section(lines: list[tables.Series], workload: str, folder: Path) -> Section:
    """Bytes over the interface for one workload."""
    title = f"Bytes over the interface: {workload}"
    quantity = "bytes_received" if workload == "dump" else "bytes_sent"
    figure = figures.draw(
        f"bytes-{workload}", title, quantity, "bytes", lines, "Exact counts.", folder
    )
    rows = []
    for line in lines:
        for point in line.points:
            if not point.counters:
                continue
            moved = point.counters.get(quantity, 0)
            rows.append(
                [
                    line.engine,
                    format_count(point.rules),
                    format_count(point.counters.get("bytes_sent", 0)),
                    format_count(point.counters.get("bytes_received", 0)),
                    format_count(point.counters.get("messages", 0)),
                    f"{moved / point.rules:.1f}",
                ]
            )
    return Section(
        title=title,
        text="What crosses the border between user space and the engine; exact, not timed.",
        figure=figure,
        header=["engine", "rules", "bytes sent", "bytes received", "messages", "bytes a rule"],
        rows=rows,
    )


def update_sections(results: Results, folder: Path) -> list[Section]:
    """Load, change and dump: time, then bytes."""
    by_workload = tables.series(results, "update")
    sections = [
        _time_section(w, f"Update cost: {w.replace('_', ' ')}", lines, folder, "update")
        for w, lines in by_workload.items()
    ]
    sections += [
        _bytes_section(by_workload[w], w, folder)
        for w in ("load", "append", "dump")
        if w in by_workload
    ]
    return sections


def classify_sections(results: Results, folder: Path) -> list[Section]:
    """Packet cost by which rule a packet hits."""
    return [
        _time_section(
            w, f"Packet cost: {w.replace('_', ' ')} (time a packet)", lines, folder, "classify"
        )
        for w, lines in tables.series(results, "classify").items()
    ]


def summary(results: Results, totals: list[tables.EngineTotal]) -> list[str]:
    """The page's first sentences, from the data."""
    lines = []
    cases = results.cases("correctness")
    if cases:
        compared = sum(t.compared for t in totals)
        kernel = sum(t.compared for t in totals if t.kind == "kernel")
        different = sum(t.differences for t in totals)
        captured = sum(c["case"].startswith("captured/") for c in cases)
        lines.append(
            f"{len(cases)} rulesets ({captured} captured from real frontends) went through "
            f"{sum(t.available for t in totals)} of {len(totals)} engines. "
            f"{format_count(compared)} packet outcomes were compared, {format_count(kernel)} of "
            f"them judged by the real kernel: {format_count(different)} differ."
        )
    for kind, what in (("update", "update"), ("classify", "packet")):
        count = len(results.cases(kind))
        if count:
            lines.append(f"{count} {what} benchmarks were timed.")
    if results.missing:
        lines.append(f"Missing from this page: {', '.join(results.missing)} results.")
    return lines


def machine_rows(results: Results) -> list[tuple[str, str]]:
    """The environment as label and value; what the host did not tell says so."""
    environment = results.any().data["environment"]
    machine = environment["machine"]
    caches = ", ".join(
        f"L{c.get('level')} {c.get('type')} {c.get('size')}" for c in machine.get("caches", [])
    )
    load = environment.get("load_average")
    rows = [
        ("commit", f"{environment['commit']}{' (modified)' if environment.get('dirty') else ''}"),
        ("kernel", environment["kernel"]),
        ("processor", f"{machine.get('cpu')}, {machine.get('cores')} cores"),
        ("caches", caches),
        ("memory", f"{machine.get('memory_bytes', 0) / 2**30:.1f} GiB"),
        ("compiler", f"{environment['compiler']} {environment.get('compiler_flags', '')}"),
        ("build type", environment["build_type"]),
        ("BPF JIT", environment.get("bpf_jit")),
        ("governor", environment.get("governor")),
        ("SMT", environment.get("smt")),
        ("transparent huge pages", environment.get("transparent_hugepages")),
        ("ASLR", environment.get("aslr")),
        ("load average", ", ".join(f"{x:.2f}" for x in load) if load else None),
    ]
    rows += [(name, version) for name, version in environment["versions"].items()]
    rows += [
        (f"mitigation {name}", text) for name, text in environment.get("mitigations", {}).items()
    ]
    return [(label, value or "not told by the host") for label, value in rows]


def render(results: Results, folder: Path) -> None:
    """Writes report.html, report.md, the figures and their data into `folder`."""
    totals = tables.engine_totals(results)
    context = {
        "summary": summary(results, totals),
        "machine": machine_rows(results),
        "totals": totals,
        "cases": tables.case_rows(results),
        "engines": [t.engine for t in totals],
        "update": update_sections(results, folder),
        "classify": classify_sections(results, folder),
        "skipped": tables.skipped(results),
        "commands": [shlex.join(f.data["command"]) for f in results.files.values()],
        "kinds": list(results.files),
        "count": format_count,
    }
    for template, autoescape in (("report.html", True), ("report.md", False)):
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=autoescape,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
        )
        environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
        text = environment.get_template(f"{template}.j2").render(context)
        (folder / template).write_text(text, encoding="utf-8")
