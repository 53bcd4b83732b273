"""How arms and charts look: one colour for each arm in all reports, shape and dash by its place, one frame for all charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import altair as alt

from bpfree.report.model import ArmRow
from bpfree.report.palette import SENTINELS, arm_colour
from bpfree.report.svg import GRID, INK, MUTED, render

__all__ = ["DASHES", "SHAPES", "Drawing", "Drawn", "dashes", "draw", "drawing", "glyph", "on", "series"]

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 2], [12, 3], [2, 4])
WIDTH, HEIGHT = 410, 260


class Drawn(Protocol):
    """What is drawn in a colour of its own: an arm, or whatever else has a name and a place in the order."""

    @property
    def label(self) -> str: ...

    @property
    def index(self) -> int: ...


@dataclass(frozen=True)
class Drawing:
    """A chart as SVG in sentinel colours, and the Vega-Lite specification that it was made from."""

    svg: str
    spec: Mapping[str, Any]


def series(rows: Sequence[Drawn], legend: bool = True) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape of each arm: the colour follows the name, the shape the place in the table."""
    labels = [row.label for row in rows]
    colours = [SENTINELS[arm_colour(row.label)] for row in rows]
    shapes = [_shape(row) for row in rows]
    # Two columns where the names are short enough for the width of a phone.
    columns = 2 if max(len(label) for label in labels) <= 24 else 1
    key = alt.Legend(orient="top", title=None, columns=columns, labelLimit=340, symbolSize=80) if legend else None
    return (
        alt.Color("arm:N", scale=alt.Scale(domain=labels, range=colours), legend=key),
        alt.Shape("arm:N", scale=alt.Scale(domain=labels, range=shapes), legend=key),
    )


def on(name: str) -> alt.Chart:
    """A chart on a data set that :func:`draw` is given by this name.

    Inside the specification Altair would check every row of it against its schema, which takes most of a second.
    """
    return alt.Chart(alt.NamedData(name))


def dashes(rows: Sequence[ArmRow]) -> alt.StrokeDash:
    """The dash of each arm's line; its legend is the mark at the end of the line."""
    patterns = [DASHES[row.index % len(DASHES)] for row in rows]
    scale = alt.Scale(domain=[row.label for row in rows], range=patterns)
    return alt.StrokeDash("arm:N", scale=scale, legend=None)


def draw(chart: alt.LayerChart | alt.FacetChart, datasets: dict[str, list[dict[str, Any]]], height: int = 0) -> str:
    """The chart as SVG in sentinel colours, at least as high as the others."""
    return drawing(chart, datasets, height).svg


def drawing(chart: alt.LayerChart | alt.FacetChart, datasets: dict[str, list[dict[str, Any]]], height: int = 0) -> Drawing:
    """The same, with its specification."""
    text = {"labelColor": INK, "titleColor": INK, "labelFontSize": 13, "titleFontSize": 13}
    config = {
        "aria": False,
        "font": "Helvetica, Arial, sans-serif",
        "background": None,
        "view": {"stroke": None},
        "axis": {
            **text,
            "gridColor": GRID,
            "domainColor": MUTED,
            "tickColor": MUTED,
            "titleFontWeight": "normal",
        },
        "axisY": {"domain": False, "ticks": False, "labelPadding": 6},
        "legend": {**text, "symbolOpacity": 1, "symbolStrokeWidth": 0, "columnPadding": 18},
        # Every chart is as wide as the others, so that their text is scaled alike.
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"left": 8, "right": 8, "top": 4, "bottom": 4},
    }
    # Unchecked: Altair has checked each part when it was made, and comparing the whole with its schema again takes half a second.
    spec = chart.properties(width=WIDTH, height=max(height, HEIGHT)).to_dict(validate=False) | {
        "config": config,
        "datasets": datasets,
    }
    return Drawing(render(spec), spec)


def glyph(row: ArmRow) -> str:
    """The arm's line and mark as a small drawing, shown before its name in a table."""
    dash = " ".join(str(length) for length in DASHES[row.index % len(DASHES)])
    colour = f"var(--arm-{arm_colour(row.label)})"
    return (
        f'<svg class="glyph" viewBox="0 0 28 12" aria-hidden="true"><path d="M0 6H28" stroke="{colour}" '
        f'stroke-width="2" stroke-dasharray="{dash if dash != "1 0" else "none"}" />'
        f'<path d="{_MARKS[_shape(row)]}" transform="translate(14 6)" fill="{colour}" /></svg>'
    )


_MARKS = {
    "circle": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0",
    "square": "M-4-4h8v8h-8z",
    "triangle-up": "M0-4.5L5 4.5H-5z",
    "diamond": "M0-5.5L4.5 0L0 5.5L-4.5 0z",
    "cross": "M-1.7-5h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z",
    "triangle-down": "M0 4.5L5-4.5H-5z",
    "triangle-right": "M5 0L-4.5 5V-5z",
    "triangle-left": "M-5 0L4.5 5V-5z",
}


def _shape(row: Drawn) -> str:
    """Shapes and dashes start again after different numbers of arms, so that the two together stay unique."""
    return SHAPES[row.index % len(SHAPES)]
