"""The four charts of a table: each is one Altair specification and a description in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from bpfree import stats
from bpfree.records import Record
from bpfree.report.curves import Curve, common_mean, run_line
from bpfree.report.looks import Drawing, dashes, drawing, on, series
from bpfree.report.model import ArmRow, SeedMean, Table
from bpfree.report.quantities import ACCURACY, DIFFERENCE, ENERGY, TIME
from bpfree.report.replicates import PLURALS, is_crossed
from bpfree.report.svg import INK, MUTED
from bpfree.units import format_time

__all__ = ["Chart", "charts", "front_in_words", "pareto"]

LOG_FROM = 10.0
"""Costs that span more than this factor are drawn on a logarithmic axis."""


@dataclass(frozen=True)
class Chart:
    """One drawing.

    Attributes:
        name: of its file.
        description: its main values in words, for readers who cannot see it.
        drawing: as SVG and as a specification.
        caption: what its lines, bands, bars and points are.
    """

    name: str
    title: str
    description: str
    drawing: Drawing
    caption: str = ""

    @property
    def svg(self) -> str:
        """The drawing in sentinel colours."""
        return self.drawing.svg


def charts(table: Table) -> list[Chart]:
    """All charts for which the table holds data, in reading order."""
    made = (_difference(table), _cost(table), _curves(table, "passes"), _curves(table, "seconds"))
    return [chart for chart in made if chart is not None]


def _difference(table: Table) -> Chart | None:
    differences = [(row, difference) for row in table.rows if (difference := row[DIFFERENCE]) is not None]
    rows = [row for row, _difference in differences]
    if not rows:
        return None
    margin = 100 * table.margin
    data = [{"arm": row.label} | _bounds(difference, 100.0) for row, difference in differences]
    title = f"difference to {table.baseline_label}, percentage points"
    y = alt.Y("arm:N", title=None, sort=None, axis=alt.Axis(labelLimit=190, ticks=False, domain=False))
    colour, shape = series(rows, legend=False)
    base = on("data")
    band = on("margin").mark_rect(color=MUTED, opacity=0.25).encode(x=_x("from", title, ticks=4), x2="to:Q")
    zero = on("zero").mark_rule(color=INK).encode(x="zero:Q")
    interval = base.mark_rule(strokeWidth=2).encode(y=y, x=_x("x1", title, ticks=4), x2="x2:Q", color=colour)
    x = _x("x", title, ticks=4)
    points = base.mark_point(filled=True, size=90, opacity=1).encode(y=y, x=x, color=colour, shape=shape)
    words = "; ".join(f"{row.label} {row.difference_text()} points, {row.verdict.text}" for row in rows)
    return Chart(
        "difference",
        f"Difference in test accuracy to {table.baseline_label}",
        f"Mean paired difference with its 95 % interval: {words}. "
        f"The grey band is the margin of equivalence, ±{margin:g} points.",
        drawing(
            alt.layer(band, zero, interval, points),
            {"data": data, "margin": [{"from": -margin, "to": margin}], "zero": [{"zero": 0}]},
            height=44 * len(rows),
        ),
        f"Point: mean difference, paired by {table.noun}. Bar: its 95 % interval. Line at 0: no difference to "
        f"{table.baseline_label}. Grey band: the margin of equivalence, ±{margin:.2f} points; an interval inside it counts as "
        "equivalent.",
    )


def _cost(table: Table) -> Chart | None:
    rows = [row for row in table.rows if row[ACCURACY] is not None and row[TIME] is not None]
    if not rows:
        return None
    kind = _cost_kind(table)
    quantity = ENERGY if kind == "energy" else TIME
    absent = "for every arm" if any(row[ENERGY] is not None for row in rows) else "measured"
    costs = {row.arm: cost for row in rows if (cost := row[quantity])}
    factor, unit = _unit(max(cost.mean for cost in costs.values()), kind)
    data = []
    for row in rows:
        cost, accuracy = costs[row.arm], row[ACCURACY]
        assert accuracy is not None
        data.append({"arm": row.label} | _bounds(cost, 1 / factor, "x", floor=0.1) | _bounds(accuracy, 100.0, "y"))
    what = "energy of training" if kind == "energy" else f"time of training, energy not {absent}"
    axis_title = f"{what} ({unit})"
    scale = _cost_scale([entry["x"] for entry in data])
    tall, high = "test accuracy (%)", alt.Scale(zero=False, nice=True)
    x, y = _x("x", axis_title, scale), _y("y", tall, high)
    colour, shape = series(rows)
    base = on("data")
    front = pareto(table)
    steps = [{"x": entry["x"], "y": entry["y"]} for arm in front for entry in data if entry["arm"] == arm]
    layers: list[Any] = []
    if len(steps) > 1:
        line = on("front").mark_line(interpolate="step-after", color=MUTED, strokeDash=[3, 3], strokeWidth=1.5)
        layers.append(line.encode(x=x, y=y, order=alt.Order("x:Q")))
    if any("y1" in entry for entry in data):
        layers.append(base.mark_rule().encode(x=x, y=_y("y1", tall, high), y2="y2:Q", color=colour))
    if any("x1" in entry for entry in data):
        layers.append(base.mark_rule().encode(y=y, x=_x("x1", axis_title, scale), x2="x2:Q", color=colour))
    layers.append(base.mark_point(filled=True, size=90, opacity=1).encode(x=x, y=y, color=colour, shape=shape))
    words = "; ".join(f"{row.label} {row.accuracy_text} % for {quantity.show(costs[row.arm].mean)}" for row in rows)
    return Chart(
        f"accuracy-{kind}",
        f"Test accuracy against {kind}",
        f"Up and to the left is better. Means with 95 % intervals: {words}. {front_in_words(table)}",
        drawing(alt.layer(*layers), {"data": data, "front": steps}),
        f"Point: mean over {PLURALS[table.noun]}. Bars: 95 % intervals of accuracy and of {kind}. Dashed line: the front, the "
        "arms that no other is both cheaper than and at least as accurate as.",
    )


def _cost_kind(table: Table) -> str:
    """Cost on the x axis: ``"energy"`` where every arm that finished has it, else ``"time"``."""
    rows = [row for row in table.rows if row[ACCURACY] is not None and row[TIME] is not None]
    return "energy" if all(row[ENERGY] is not None for row in rows) else "time"


def pareto(table: Table) -> list[str]:
    """Labels of the arms on the front of accuracy against cost, cheapest first; an arm that lost runs is not on it."""
    rows = [row for row in table.rows if not row.n_bad]
    quantity = ENERGY if _cost_kind(table) == "energy" else TIME
    points = {row.label: (row[quantity], row[ACCURACY]) for row in rows}
    return stats.pareto_front(
        {label: (cost and cost.mean, accuracy and accuracy.mean) for label, (cost, accuracy) in points.items()}
    )


def front_in_words(table: Table) -> str:
    """Names the arms that no other beats in both; empty where there is nothing to compare."""
    front = pareto(table)
    if len(table.rows) < 2 or not front:
        return ""
    cost = _cost_kind(table)
    if len(front) == 1:
        return f"On the front of accuracy against {cost} is {front[0]} alone: no other arm is cheaper or more accurate."
    return f"On the front of accuracy against {cost} (no other arm is both cheaper and at least as accurate): {', '.join(front)}."


def _curves(table: Table, against: str) -> Chart | None:
    """Validation accuracy during training: one thin line for each seed, and their mean as far as every seed ran."""
    named = [(row, [(_name(run, table), line) for run in row.runs if (line := run_line(run, against))]) for row in table.rows]
    lines = [(row, [line for _name, line in runs]) for row, runs in named if runs]
    if not lines:
        return None
    ends = [line.x[-1] for _row, runs in lines for line in runs]
    factor, unit = _unit(max(ends), "time") if against == "seconds" else (1.0, "")
    title = f"time from the start, validation included ({unit})" if unit else "passes over the training data"
    scale = _cost_scale([end / factor for end in ends]) if against == "seconds" else alt.Scale(nice=False)
    x = _x("x", title, scale)
    low, high = _accuracy_domain(lines)
    y = _y("y", "validation accuracy (%)", alt.Scale(domain=[low, high], nice=False))
    rows = [row for row, _runs in lines]
    colour, shape = series(rows)
    dash = dashes(rows)
    means = [(row, common_mean(runs)) for row, runs in lines]
    many = PLURALS[table.noun]
    thin = [p for row, runs in named for name, line in runs for p in _points(row, line, factor, name)]
    thick = [p for row, line in means if line for p in _points(row, line, factor, f"mean over {many}")]
    tips = [_points(row, line, factor, f"mean over {many}")[-1] for row, line in means if line and 100 * line.y[-1] >= low]
    order = alt.Order("x:Q")
    layers = [
        on("seeds").mark_line(clip=True, strokeWidth=1, opacity=0.3).encode(x=x, y=y, color=colour, detail="run:N", order=order),
        on("means").mark_line(clip=True, strokeWidth=2.4).encode(x=x, y=y, color=colour, strokeDash=dash, order=order),
        on("ends").mark_point(filled=True, size=80, opacity=1).encode(x=x, y=y, color=colour, shape=shape),
    ]
    words = "; ".join(_best_of(row, runs, against) for row, runs in lines)
    lowest = min(100 * min(line.y) for _row, runs in lines for line in runs)
    cut = f" Accuracies below {low:g} % are not drawn." if lowest < low else ""
    return Chart(
        f"curves-{against}",
        f"Validation accuracy against {against}",
        f"Thin lines are single seeds, thick lines their mean as far as all seeds ran. Best of a run, mean: {words}.",
        drawing(alt.layer(*layers), {"seeds": thin, "means": thick, "ends": tips}),
        f"Thin line: one {table.noun}, to the end of its run. Thick line: the mean over {many}, which ends with its mark where "
        f"the first of them ended.{cut}",
    )


def _bounds(mean: SeedMean, factor: float, axis: str = "x", floor: float | None = None) -> dict[str, float]:
    """Mean and interval as ``x``, ``x1``, ``x2``; ``floor``, a share of the mean, is the least ``x1``."""
    ends = {axis: factor * mean.mean}
    if mean.low is not None and mean.high is not None:
        low = mean.low if floor is None else max(mean.low, floor * mean.mean)
        ends |= {f"{axis}1": factor * low, f"{axis}2": factor * mean.high}
    return ends


def _best_of(row: ArmRow, lines: Sequence[Curve], against: str) -> str:
    """Of the runs that finished, as everywhere in the report."""
    runs = [line for line in lines if line.finished]
    if not runs:
        return f"{row.label} no run finished"
    best = sum(max(line.y) for line in runs) / len(runs)
    end = sum(line.x[-1] for line in runs) / len(runs)
    span = format_time(end) if against == "seconds" else f"{end:.0f} passes"
    return f"{row.label} {100 * best:.1f} % within {span}"


def _name(run: Record, table: Table) -> str:
    """Seed or study of a line, with its split where there are several."""
    split = f", split {run.split_seed}" if is_crossed(table.runs) else ""
    return f"{table.noun} {run.replicate[1]}{split}"


def _points(row: ArmRow, line: Curve, factor: float, run: str) -> list[dict[str, Any]]:
    pairs = zip(line.x, line.y, strict=True)
    return [{"arm": row.label, "run": run, "x": round(x / factor, 5), "y": round(100 * y, 3)} for x, y in pairs]


def _accuracy_domain(lines: Sequence[tuple[ArmRow, Sequence[Curve]]]) -> tuple[float, float]:
    """Ends of the axis: the best accuracy of every arm is inside, the first passes may lie below."""
    best = [100 * max(line.y) for _row, runs in lines for line in runs]
    lowest = min(100 * min(line.y) for _row, runs in lines for line in runs)
    wanted = max(best) - 3.0 * max(max(best) - min(best), 3.0)
    low = 5.0 * math.floor(max(lowest, wanted, 0.0) / 5)
    return low, min(100.0, 5.0 * math.ceil((max(best) + 0.5) / 5))


def _cost_scale(values: Sequence[float]) -> alt.Scale:
    if min(values) > 0 and max(values) / min(values) > LOG_FROM:
        return alt.Scale(type="log", nice=True)
    return alt.Scale(zero=True, nice=True)


def _unit(largest: float, kind: str) -> tuple[float, str]:
    ladder = ((1e6, "MJ"), (1e3, "kJ")) if kind == "energy" else ((7200.0, "h"), (300.0, "min"))
    factors = {"h": 3600.0, "min": 60.0}
    for start, unit in ladder:
        if largest >= start:
            return factors.get(unit, start), unit
    return 1.0, "J" if kind == "energy" else "s"


def _x(field: str, title: str, scale: alt.Scale | None = None, ticks: int = 6) -> alt.X:
    return alt.X(f"{field}:Q", title=title, scale=scale or alt.Scale(), axis=alt.Axis(tickCount=ticks))


def _y(field: str, title: str, scale: alt.Scale) -> alt.Y:
    return alt.Y(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(tickCount=6))
