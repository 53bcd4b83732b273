"""Performance profiles: the share of tasks on which the cost of an arm is within a factor of the cheapest arm's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from bpfree import stats
from bpfree.report.charts import Chart
from bpfree.report.looks import dashes, drawing, on, series
from bpfree.report.model import ArmRow, Table

__all__ = ["profile_chart"]

LARGEST = 32.0
"""Factors beyond this are not drawn."""


def profile_chart(tables: Sequence[Table]) -> Chart | None:
    """Profiles of the arms that every table with a target has, by energy to the target where all have it, else by time.

    A target that the median run of an arm never reached is an infinite cost (Dolan and Moré 2002, doi 10.1007/s101070100263).
    Needs two data sets.
    """
    with_target = [table for table in tables if table.targets is not None]
    if len({table.dataset for table in with_target}) < 2:
        return None
    costs, kind = _costs(with_target)
    if len(costs) < 2:
        return None
    solved = [name for name in next(iter(costs.values())) if any(math.isfinite(row[name]) for row in costs.values())]
    if len(solved) < 2:
        return None
    costs = {arm: {name: row[name] for name in solved} for arm, row in costs.items()}
    profile = stats.performance_profile(costs)
    over = {table.task_text: table.dataset for table in with_target if table.task_text in solved}
    what = "data sets" if len(set(over.values())) == len(solved) else "pairs of data set and net"
    rows = [row for row in with_target[0].rows if row.arm in costs]
    largest = min(LARGEST, 1.25 * max(profile.taus))
    data = [point for row in rows for point in _steps(row, profile, largest)]
    x = alt.X("x:Q", title=f"{kind} to the target, as a multiple of the cheapest arm’s", scale=alt.Scale(type="log", nice=False))
    y = alt.Y("y:Q", title=f"share of the {what} (%)", scale=alt.Scale(domain=[-2, 103], nice=False))
    colour, shape = series(rows)
    lines = on("steps").mark_line(interpolate="step-after", strokeWidth=2.4, clip=True)
    ends = on("starts").mark_point(filled=True, size=80, opacity=1)
    chart = alt.layer(
        lines.encode(x=x, y=y, color=colour, strokeDash=dashes(rows), order=alt.Order("x:Q")),
        ends.encode(x=x, y=y, color=colour, shape=shape),
    )
    starts = [next(point for point in data if point["arm"] == row.label) for row in rows]
    left = [row.label for table in with_target for row in table.rows if row.arm not in costs]
    return Chart(
        "profiles",
        f"Performance profiles over {len(solved)} {what}",
        f"By {kind} to the target, validation included. {_words(rows, profile, what)} Higher and further to the left is better."
        + (f" Left out, since they were not run everywhere: {', '.join(dict.fromkeys(left))}." if left else ""),
        drawing(chart, {"steps": data, "starts": starts}),
        f"Line: the share of the {what} on which the arm reached the target at no more than so many times the cost of the "
        "cheapest arm. Mark: the share on which it is the cheapest.",
    )


def _costs(tables: Sequence[Table]) -> tuple[dict[str, dict[str, float]], str]:
    """Cost to the target by arm and task, of the arms that all tables have, and its kind: energy or time."""
    by_task = {table.task_text: {each.arm: each for each in table.targets.arms} for table in tables if table.targets}
    everywhere = [row.arm for row in tables[0].rows if all(row.arm in arms for arms in by_task.values())]
    chosen = {arm: {task: arms[arm] for task, arms in by_task.items()} for arm in everywhere}
    if all(reached.joules is not None for row in chosen.values() for reached in row.values()):
        return {arm: {p: r.joules or math.inf for p, r in row.items()} for arm, row in chosen.items()}, "energy"
    return {arm: {p: r.time_s or math.inf for p, r in row.items()} for arm, row in chosen.items()}, "time"


def _steps(row: ArmRow, profile: stats.Profile, largest: float) -> list[dict[str, Any]]:
    pairs = list(zip(profile.taus, profile.shares[row.arm], strict=True))
    shown = [(tau, share) for tau, share in pairs if tau <= largest]
    shown.append((largest, shown[-1][1]))
    return [{"arm": row.label, "x": tau, "y": 100 * share} for tau, share in shown]


def _words(rows: Sequence[ArmRow], profile: stats.Profile, what: str) -> str:
    first = "; ".join(f"{row.label} on {100 * profile.shares[row.arm][0]:.0f} %" for row in rows)
    last = "; ".join(f"{row.label} {100 * profile.shares[row.arm][-1]:.0f} %" for row in rows)
    return f"Cheapest arm: {first}. {what[0].upper()}{what[1:]} on which the target was reached at all: {last}."
