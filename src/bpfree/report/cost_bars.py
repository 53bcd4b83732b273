"""The memory of a training step as stacked bars: one panel for each net, one bar for each arm, parts by use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from bpfree.report.looks import on
from bpfree.report.palette import USE_SENTINELS
from bpfree.report.svg import GRID, INK, MUTED, render, standalone
from bpfree.units import format_bytes

__all__ = ["COLOURS", "PARTS", "bar_parts", "memory_bars"]

PARTS = ("weights", "auxiliary", "optimiser", "gradients", "activations")
"""From what stays for the whole run to what lives within a step."""

COLOURS = alt.Scale(domain=list(PARTS), range=list(USE_SENTINELS))
MIB = 2**20
PANEL_WIDTH = 250
BAR = 17
"""Width of a panel and height of a bar in the drawing's units."""


def bar_parts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each part of a bar, ``mib`` long, in the order of the stack; other keys are copied."""
    return [
        {
            **{key: value for key, value in row.items() if key not in PARTS},
            "part": part,
            "order": k,
            "mib": round(row[part] / MIB, 5),
        }
        for row in rows
        for k, part in enumerate(PARTS)
    ]


def memory_bars(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """The bars as an SVG file of its own.

    Args:
        rows: ``arm``, ``net`` and the bytes of each of :data:`PARTS`; panels and bars in the order of the rows.
        title: text above the drawing.
    """
    nets, arms = (list(dict.fromkeys(str(row[key]) for row in rows)) for key in ("net", "arm"))
    panels = []
    for k, net in enumerate(nets):
        labels = alt.Axis(labelLimit=260, ticks=False, domain=False, labels=k == 0)
        panel = on("data").transform_filter(alt.datum.net == net).mark_bar(height=BAR - 5)
        panel = panel.encode(
            y=alt.Y("arm:N", title=None, sort=arms, axis=labels),
            x=alt.X("mib:Q", title=f"{net} (MiB)", axis=alt.Axis(tickCount=5)),
            color=alt.Color("part:N", scale=COLOURS, legend=alt.Legend(orient="top", title=None, labelLimit=340, columns=5)),
            order=alt.Order("order:Q"),
        )
        panels.append(panel.properties(width=PANEL_WIDTH, height=BAR * len(arms)))
    text = {"labelColor": INK, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 12}
    config = {
        "aria": False,
        "font": "Helvetica, Arial, sans-serif",
        "view": {"stroke": None},
        "axis": {**text, "gridColor": GRID, "domainColor": MUTED, "tickColor": MUTED, "titleFontWeight": "normal"},
        "legend": text,
    }
    spec = alt.hconcat(*panels, spacing=14).to_dict()
    words = "; ".join(f"{row['arm']} on {row['net']} {format_bytes(sum(float(row[part]) for part in PARTS))}" for row in rows)
    return standalone(
        render(spec | {"config": config, "datasets": {"data": bar_parts(rows)}}), title, f"All parts together: {words}."
    )
