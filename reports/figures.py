"""Series -> figures (SVG, PNG) and their data (CSV)."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first)

from tables import Series  # noqa: E402

# One colour (Okabe and Ito, told apart by colour-blind people) and one mark an engine, in
# every figure; twins are drawn with dashes, kernels with full lines.
ENGINE_STYLE = {
    "reference": ("#999999", "x", ":"),
    "legacy": ("#0072B2", "o", "--"),
    "blob": ("#009E73", "s", "--"),
    "vm": ("#D55E00", "^", "--"),
    "vm-compat": ("#E69F00", "v", "--"),
    "kernel-legacy": ("#0072B2", "o", "-"),
    "kernel-nft": ("#D55E00", "^", "-"),
    "kernel-nft-compat": ("#E69F00", "v", "-"),
}
OTHER_STYLE = ("#CC79A7", "d", "-")
FIGURE_SIZE_IN = (7.2, 4.2)


@dataclass(frozen=True)
class Figure:
    """A drawn figure. `svg` is the text of the image, `csv` its data."""

    name: str
    title: str
    alt: str
    svg: str
    csv: str


def _style() -> dict[str, object]:
    """Settings that make the same input give the same bytes."""
    return {
        "svg.hashsalt": "nfarena",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "figure.dpi": 110,
    }


def _value(point, quantity: str) -> tuple[float, float, float] | None:
    """(value, low, high) of one point, or None where there is nothing to draw."""
    if quantity == "time":
        t = point.time_ns
        return None if t is None or t.median <= 0 else (t.median, t.low, t.high)
    value = point.counters.get(quantity)
    return None if not value else (value, value, value)


def draw(
    name: str, title: str, quantity: str, unit: str, lines: list[Series], caption: str, folder: Path
) -> Figure | None:
    """Draws one quantity of all series over the number of rules, both axes logarithmic.

    `quantity` is "time" (nanoseconds) or a counter's name. None when no series has data.
    """
    drawn = []
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["engine", "rules", quantity, "low", "high", "unit"])
    with plt.rc_context(_style()):
        figure, axes = plt.subplots(figsize=FIGURE_SIZE_IN, layout="constrained")
        for line in lines:
            points = [(p.rules, _value(p, quantity)) for p in line.points]
            points = [(rules, v) for rules, v in points if v is not None]
            if not points:
                continue
            colour, mark, dash = ENGINE_STYLE.get(line.engine, OTHER_STYLE)
            x = [rules for rules, _ in points]
            y = [v[0] for _, v in points]
            error = [[v[0] - v[1] for _, v in points], [v[2] - v[0] for _, v in points]]
            axes.errorbar(
                x, y, yerr=error, label=line.engine, color=colour, marker=mark,
                linestyle=dash, markersize=5, capsize=2, linewidth=1.4,
            )
            drawn.append(line.engine)
            for rules, v in points:
                writer.writerow([line.engine, rules, *(f"{part:.6g}" for part in v), unit])
        if not drawn:
            plt.close(figure)
            return None
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("rules (logarithmic)")
        axes.set_ylabel(f"{unit} (logarithmic)")
        axes.set_title(title)
        axes.legend(fontsize=8, ncols=2)
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(folder / f"{name}.png", metadata={"Software": None})
        plt.close(figure)
    text = svg.getvalue()
    text = text[text.index("<svg") :]
    (folder / f"{name}.svg").write_text(text, encoding="utf-8")
    (folder / f"{name}.csv").write_text(table.getvalue(), encoding="utf-8")
    alt = f"{title}: {unit} over the number of rules for {', '.join(drawn)}. {caption}"
    return Figure(name=name, title=title, alt=alt, svg=text, csv=table.getvalue())
