"""Clock, power and load of the device over time, for each arm: shows whether the clock was steady.

Read from ``timelines/*.jsonl`` of the run directories, one file a run: a header, then one sample a line. A trace that was not
measured during the run (replayed, synthetic) says so in its header, and then in title, axis and words of the figure.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt

from bpfree.errors import RunDirectoryError
from bpfree.report.charts import Chart
from bpfree.report.looks import drawing, on, series
from bpfree.report.model import Table

__all__ = ["DeviceTrace", "timeline_charts", "trace_charts"]

MEASURED = "measured"
LEAST_SAMPLES = 20
"""A run with fewer samples (2 s at 10 Hz) is too short to draw."""

BINS = 150
"""Bins of the time axis; the least and the greatest value of each are drawn, so that no spike is lost."""

_WITH_CLOCKS = ("clock_mhz", "power_w")
_TITLES = {
    "clock_mhz": ("clock", "Clock of the device over time", "clock (MHz)", 1.0),
    "power_w": ("power", "Power of the device over time", "power (W)", 1.0),
    "utilisation": ("load", "Load of the device over time", "load (%)", 100.0),
}
"""Quantity to name of the file, title, title of the axis, factor."""


@dataclass(frozen=True)
class DeviceTrace:
    """The samples of a run of an arm: its name, its place in the order of arms, where the samples are from, the samples."""

    label: str
    index: int
    origin: str
    samples: Sequence[dict[str, Any]]

    def points(self, quantity: str, factor: float) -> list[tuple[float, float]]:
        """Time (s) and value times ``factor``, where it was read."""
        return [(float(s["time_s"]), factor * float(s[quantity])) for s in self.samples if quantity in s]


def timeline_charts(table: Table, directories: Sequence[Path]) -> list[Chart]:
    """Clock and power of each arm's first seed that has a trace; only the load where no clock was read.

    Raises:
        RunDirectoryError: a file of a run directory that is damaged.
    """
    traces = list(_traces(table, directories))
    drawn = {trace.label for trace in traces}
    absent = [row.label for row in table.rows if row.label not in drawn]
    why = f" Not drawn: {', '.join(absent)}; no run has {LEAST_SAMPLES} samples (2 s at 10 a second)." if absent else ""
    return trace_charts(traces, "First seed of each arm.", why)


def trace_charts(traces: Sequence[DeviceTrace], words: str, absent: str = "") -> list[Chart]:
    """Clock and power of each trace; only the load where no clock was read.

    Args:
        words: first sentence of the description: what is drawn.
        absent: last sentence of the caption: what is not drawn, and why.
    """
    has_clocks = any(trace.points("clock_mhz", 1.0) for trace in traces)
    made = (_chart(traces, quantity, words, absent) for quantity in (_WITH_CLOCKS if has_clocks else ("utilisation",)))
    return [chart for chart in made if chart is not None]


def _traces(table: Table, directories: Sequence[Path]) -> Iterator[DeviceTrace]:
    traces: dict[tuple[str, int], tuple[str, list[dict[str, Any]]]] = {}
    for path in (path for directory in directories for path in sorted((directory / "timelines").glob("*.jsonl"))):
        header, samples = _read(path)
        if (header["dataset"], header["net"]) == table.task and len(samples) >= LEAST_SAMPLES:
            traces[header["arm"], header["seed"]] = (header.get("origin", MEASURED), samples)
    for row in table.rows:
        seeds = [run.seed for run in row.runs if (row.arm, run.seed) in traces]
        if seeds:
            yield DeviceTrace(row.label, row.index, *traces[row.arm, min(seeds)])


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        header, *samples = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
        _ = header["arm"], header["dataset"], header["net"], header["seed"], [sample["time_s"] for sample in samples]
    except (ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(f"{path} is no timeline ({error}); move it away to report without it") from error
    return header, samples


def _chart(traces: Sequence[DeviceTrace], quantity: str, first: str, absent: str) -> Chart | None:
    name, title, axis, factor = _TITLES[quantity]
    drawn = [(trace, points) for trace in traces if (points := trace.points(quantity, factor))]
    if not drawn:
        return None
    data = [{"arm": t.label, "x": round(x, 3), "y": round(y, 3)} for t, points in drawn for x, y in _thinned(points)]
    ends = [{"arm": t.label, "x": round(points[-1][0], 3), "y": round(points[-1][1], 3)} for t, points in drawn]
    colour, shape = series([trace for trace, _ in drawn])
    foreign = list(dict.fromkeys(trace.origin for trace, _ in drawn if trace.origin != MEASURED))
    x_title = "time from the start of the run (s)" + ("; trace replayed, not measured" if foreign else "")
    x = alt.X("x:Q", title=x_title, axis=alt.Axis(tickCount=6), scale=alt.Scale(nice=False))
    y = alt.Y("y:Q", title=axis, axis=alt.Axis(tickCount=6), scale=alt.Scale(zero=True, nice=True))
    lines = on("data").mark_line(strokeWidth=1.4).encode(x=x, y=y, color=colour, order=alt.Order("x:Q"))
    tips = on("ends").mark_point(filled=True, size=80, opacity=1).encode(x=x, y=y, color=colour, shape=shape)
    words = "; ".join(_in_words(trace, points) for trace, points in drawn)
    return Chart(
        f"timeline-{name}",
        f"Replayed, not measured: {title[0].lower()}{title[1:]}" if foreign else title,
        " ".join((first, *(f"{origin[0].upper()}{origin[1:]}." for origin in foreign), f"{words}.")),
        drawing(alt.layer(lines, tips), {"data": data, "ends": ends}),
        f"Line: samples of one run, least and greatest of each stretch of time. Mark: its end.{absent}",
    )


def _in_words(trace: DeviceTrace, points: Sequence[tuple[float, float]]) -> str:
    values = [value for _, value in points]
    mean, deviation = statistics.fmean(values), statistics.pstdev(values)
    spread = f", deviation {deviation / mean:.0%} of the mean" if mean else ""
    return f"{trace.label} {mean:.4g} on average, {min(values):.4g} to {max(values):.4g}{spread}"


def _thinned(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """The least and the greatest value of each bin, in the order of time."""
    size = max(1, -(-len(points) // BINS))
    for start in range(0, len(points), size):
        bin_ = points[start : start + size]
        extremes = {min(bin_, key=lambda point: point[1]), max(bin_, key=lambda point: point[1])}
        yield from sorted(extremes)
