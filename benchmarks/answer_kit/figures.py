"""Figures of the answer as SVG: ratios of costs by batch size, clocks and power over time. The experiment has its report's."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from bpfree import report
from bpfree.report.looks import draw as drawn
from bpfree.report.looks import on, series
from bpfree.report.svg import INK, standalone
from bpfree.report.timelines import DeviceTrace, trace_charts

from .store import Store, say

__all__ = ["draw"]

_FIGURES_S, _REPORT_S = 4.0, 8.0
"""Time that the figures, and the report of the experiment, may take on a slow machine (s)."""


@dataclass(frozen=True)
class _Arm:
    label: str
    index: int


def draw(store: Store, end_s: float) -> None:
    """Draw what there is; what would take longer than ``end_s`` on the monotonic clock is left to ``--show``."""
    if end_s - time.monotonic() < _FIGURES_S:
        say("no time for figures; draw them with --show")
        return
    sections = store.answer()["sections"]
    costs = sections["costs"]["data"]
    for name, value, title in (
        ("costs-time", "call_s_ratio", "Time of a pass"),
        ("costs-energy", "call_j_ratio", "Energy of a pass"),
    ):
        _ratios(store, name, value, title, costs)
    _clocks(store, sections["clocks"]["data"].get("windows", []))
    directory = sections["experiment"]["data"].get("directory")
    if directory is None or not sections["experiment"]["data"].get("runs"):
        return
    if end_s - time.monotonic() < _REPORT_S:
        say(f"no time for the report of {directory}; make it with --show, or bpfree report {store.out / directory}")
        return
    report.build([store.out / directory])


def _ratios(store: Store, name: str, value: str, title: str, costs: dict[str, Any]) -> None:
    rows = [row for row in costs.get("summary", []) if row["kind"] == "pass" and row[value] is not None]
    if not rows:
        return
    arms = [_Arm(label, k) for k, label in enumerate(dict.fromkeys(row["arm"] for row in rows))]
    data = [{"arm": row["arm"], "x": row["batch_size"], "y": round(row[value], 4)} for row in rows]
    colour, shape = series(arms)
    sizes = sorted({row["batch_size"] for row in rows})
    x = alt.X("x:Q", title="batch size", scale=alt.Scale(type="log", nice=False), axis=alt.Axis(values=sizes))
    y = alt.Y("y:Q", title=f"{title.lower()} / {costs['reference']}", scale=alt.Scale(zero=True, nice=True))
    one = on("one").mark_rule(color=INK, strokeWidth=1).encode(y="y:Q")
    lines = on("data").mark_line(strokeWidth=1.4).encode(x=x, y=y, color=colour)
    points = on("data").mark_point(filled=True, size=80, opacity=1).encode(x=x, y=y, color=colour, shape=shape)
    words = "; ".join(f"{row['arm']} at batch {row['batch_size']}: {row[value]:.2f}" for row in rows)
    svg = drawn(alt.layer(one, lines, points), {"data": data, "one": [{"y": 1}]})
    store.write_text(f"figures/{name}.svg", standalone(svg, f"{title}, as a multiple of {costs['reference']}'s", f"{words}."))


def _clocks(store: Store, windows: Sequence[dict[str, Any]]) -> None:
    """The first window of each arm; a trace of less than two samples is no line."""
    traces = []
    for window in windows:
        header, *samples = map(json.loads, (store.out / window["trace"]).read_text(encoding="utf-8").splitlines())
        if window["turn"] == 0 and len(samples) > 1:
            traces.append(DeviceTrace(window["arm"], len(traces), header["origin"], samples))
    for chart in trace_charts(traces, "First turn of each arm."):
        name = chart.name.replace("timeline", "clocks")
        store.write_text(f"figures/{name}.svg", standalone(chart.svg, chart.title, chart.description))
