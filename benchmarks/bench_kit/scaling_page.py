"""The part of docs/performance.md that is made of benchmarks/results/scaling.json: a table and a figure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import altair as alt

from bpfree.files import write_atomic
from bpfree.report.looks import on
from bpfree.report.svg import SERIES, render, standalone
from bpfree.units import format_time

from .looks import CONFIG

__all__ = ["BEGIN", "END", "faster_than_macs", "figure", "part", "write"]

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- made by python benchmarks/scaling.py --page -->", "<!-- end of scaling -->"
FIGURE = "figures/scaling.svg"
Results = Mapping[str, Any]


def write(results: Results) -> None:
    """Put the part and the figure where they belong."""
    path = DOCS / "performance.md"
    text = path.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    write_atomic(path, f"{before}{BEGIN}\n{part(results)}{END}{after}")
    write_atomic(DOCS / FIGURE, figure(results))


def faster_than_macs(results: Results) -> list[str]:
    """Rules whose time grows faster than their multiply-adds by more than the noise, one line each."""
    return [
        f"{row['arm']} over {sweep['sweep']}: {exponents['time']:.2f}, multiply-adds {exponents['macs']:.2f}, "
        f"noise {exponents['noise']:.2f}"
        for sweep in results["sweeps"]
        for row in sweep["rows"]
        if (exponents := row["exponents"])["time"] > exponents["macs"] + exponents["noise"]
    ]


def part(results: Results) -> str:
    """Markdown."""
    facts, load = results["environment"], results["load"]
    exceptions = faster_than_macs(results)
    lines = [
        "",
        f"{results['measured_at'][:10]}, {facts['processor']},",
        f"{facts['torch_threads']} thread, torch {facts['versions']['torch']}; load {load[0]:.1f} before and {load[1]:.1f} "
        f"after; least of {results['windows']} windows.",
        "",
        f"![Time of a step over examples, depth and width]({FIGURE})",
        "",
        *_table(results),
        "",
        *(
            ["Faster than their multiply-adds grow, by more than the noise:", "", *(f"- {line}" for line in exceptions)]
            if exceptions
            else ["No rule grows faster than its multiply-adds by more than the noise."]
        ),
    ]
    return "\n".join(lines) + "\n\n"


def _table(results: Results) -> Iterator[str]:
    yield "| what grows | rule | smallest | largest | exponent of time | of multiply-adds | noise |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for sweep in results["sweeps"]:
        for row in sweep["rows"]:
            exponents = row["exponents"]
            ends = [f"{row['sizes'][k]}: {format_time(row['least_s'][k])}" for k in (0, -1)]
            values = [f"{exponents[name]:.2f}" for name in ("time", "macs", "noise")]
            yield "| " + " | ".join([sweep["sweep"], row["arm"], *ends, *values]) + " |"


def figure(results: Results) -> str:
    """Points and lines are measured; a dashed line is what the largest size would need were time that of multiply-adds."""
    rows = []
    for sweep in results["sweeps"]:
        for row in sweep["rows"]:
            per_mac_s = row["least_s"][-1] / row["macs"][-1]
            for size, least_s, macs in zip(row["sizes"], row["least_s"], row["macs"], strict=True):
                values = {"ms": 1e3 * least_s, "by_macs": 1e3 * per_mac_s * macs}
                rows.append({"sweep": sweep["sweep"], "arm": row["arm"], "size": size} | values)
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    legend = alt.Legend(orient="top", title=None, labelLimit=340, columns=len(arms))
    colour = alt.Color("arm:N", scale=alt.Scale(domain=arms, range=list(SERIES[: len(arms)])), legend=legend)
    log = alt.Scale(type="log", nice=False)
    panels = []
    for sweep in results["sweeps"]:
        here = on("data").transform_filter(alt.datum.sweep == sweep["sweep"])
        sizes = alt.Axis(values=sweep["rows"][0]["sizes"], format="d", labelOverlap=True)
        x = alt.X("size:Q", title=sweep["sweep"], scale=log, axis=sizes)
        y = alt.Y("ms:Q", title="processor ms a step" if not panels else None, scale=log, axis=alt.Axis(tickCount=5, format="~g"))
        by_macs = here.mark_line(strokeDash=[3, 3], strokeWidth=1).encode(x=x, y=alt.Y("by_macs:Q", scale=log), color=colour)
        measured = here.mark_line(point=True).encode(x=x, y=y, color=colour)
        panels.append(alt.layer(by_macs, measured).properties(width=250, height=230))
    spec = alt.hconcat(*panels, spacing=14).to_dict()
    words = (
        "Milliseconds of a training step over examples, blocks and width, a line for each rule; dashed: as multiply-adds grow."
    )
    svg = render(spec | {"config": CONFIG, "datasets": {"data": rows}})
    return standalone(svg, "Time of a training step over its size", words)
