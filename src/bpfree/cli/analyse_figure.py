"""Figures of an analysis: lines over passes, with the looks of the report's charts; SVG and PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from bpfree.files import write_atomic
from bpfree.report.looks import DASHES, SHAPES, draw, on
from bpfree.report.svg import SERIES, standalone

__all__ = ["Curve", "draw_curves", "draw_series"]

Curve = tuple[str, Sequence[tuple[float, float]]]
"""A label, and points (x, y)."""

_AXES = {
    "cosine": "cosine of the update and backprop's gradient",
    "norm_ratio": "norm of the update over that of the gradient",
    "defect": "orthogonality defect",
}
_TITLES = {
    "cosine": "Alignment with backprop",
    "norm_ratio": "Size against backprop's gradient",
    "defect": "Orthogonality defect",
}
_LOGARITHMIC = ("norm_ratio", "defect")
_SCALE = 2.0
"""Pixels of the PNG for one of the SVG."""


def draw_series(document: dict[str, Any], directory: Path) -> list[Path]:
    """Draw every quantity of a document of :func:`bpfree.analysis.record_series`; returns the files."""
    points = document["points"]
    paths: list[Path] = []
    for name in (key for key, value in points[0].items() if isinstance(value, list)):
        rows = [
            {"block": k, "x": point["passes"], "y": value}
            for point in points
            for k, value in enumerate(point[name][:-1])
            if value is not None and (value > 0 or name not in _LOGARITHMIC)
        ]
        title = f"{_TITLES[name]}: {document['arm']} on {document['net']}, {document['dataset']}"
        svg = draw(alt.layer(*_layers(rows, name, len(document["parts"]) - 1)), {"data": rows})
        paths += _write(directory / f"{document['kind']}-{name.replace('_', '-')}", svg, title, _AXES[name])
    return paths


def _layers(rows: list[dict[str, Any]], name: str, n_blocks: int) -> list[alt.Chart]:
    """One line for each block: named colours for a few, a scale from the first block to the last for many."""
    few = n_blocks <= len(SERIES)
    legend = alt.Legend(orient="top", title="block", direction="horizontal")
    if few:
        domain = list(range(n_blocks))
        colour = alt.Color("block:O", scale=alt.Scale(domain=domain, range=list(SERIES[:n_blocks])), legend=legend)
    else:
        colour = alt.Color("block:Q", scale=alt.Scale(scheme="viridis", domain=[0, n_blocks - 1]), legend=legend)
    scale = _scale(rows, logarithmic=name in _LOGARITHMIC)
    x = alt.X(
        "x:Q", title="passes over the training data", axis=alt.Axis(tickCount=6, tickMinStep=1), scale=alt.Scale(nice=False)
    )
    y = alt.Y("y:Q", title=_AXES[name], scale=scale, axis=_axis(logarithmic=name in _LOGARITHMIC))
    lines = on("data").mark_line(strokeWidth=2 if few else 1.2).encode(x=x, y=y, color=colour, detail="block:N")
    marks = on("data").mark_point(filled=True, size=40 if few else 14, opacity=1).encode(x=x, y=y, color=colour)
    return [lines, marks]


def draw_curves(
    curves: Sequence[Curve],
    path: Path,
    title: str,
    x_title: str,
    y_title: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
    png: bool = True,
) -> list[Path]:
    """Several labelled curves in one frame, as ``path.svg`` and (unless ``png`` is false) ``path.png``; returns the files.

    Args:
        curves: at most as many as there are colours (7); on a logarithmic axis points at or below 0 are left out.
    """
    rows = [
        {"arm": label, "x": x, "y": y}
        for label, points in curves
        for x, y in points
        if (x > 0 or not log_x) and (y > 0 or not log_y)
    ]
    labels = [label for label, _ in curves]
    n = len(labels)
    key = alt.Legend(orient="top", title=None, columns=1 if max(map(len, labels)) > 24 else 2, labelLimit=380, symbolSize=80)
    colour = alt.Color("arm:N", scale=alt.Scale(domain=labels, range=list(SERIES[:n])), legend=key)
    shape = alt.Shape("arm:N", scale=alt.Scale(domain=labels, range=list(SHAPES[:n])), legend=key)
    dash = alt.StrokeDash("arm:N", scale=alt.Scale(domain=labels, range=[list(d) for d in DASHES[:n]]), legend=None)
    xs = alt.Scale(type="log") if log_x else alt.Scale(nice=False, zero=False)
    x = alt.X("x:Q", title=x_title, axis=alt.Axis(tickCount=6), scale=xs)
    y = alt.Y("y:Q", title=y_title, scale=_scale(rows, logarithmic=log_y), axis=_axis(logarithmic=log_y))
    base = on("data")
    layers = [
        base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour, strokeDash=dash, order="x:Q"),
        base.mark_point(filled=True, size=70, opacity=1).encode(x=x, y=y, color=colour, shape=shape),
    ]
    return _write(path, draw(alt.layer(*layers), {"data": rows}), title, f"{y_title} against {x_title}", png=png)


def _scale(rows: Sequence[dict[str, Any]], *, logarithmic: bool) -> alt.Scale:
    return alt.Scale(type="log") if logarithmic and rows else alt.Scale(zero=True, nice=True)


def _axis(*, logarithmic: bool) -> alt.Axis:
    return alt.Axis(tickCount=6, format=".0e") if logarithmic else alt.Axis(tickCount=6)


def _write(path: Path, svg: str, title: str, description: str, *, png: bool = True) -> list[Path]:
    drawing = standalone(svg, title, description)
    vector, pixels = path.parent / f"{path.name}.svg", path.parent / f"{path.name}.png"
    write_atomic(vector, drawing)
    if not png:
        return [vector]
    write_atomic(pixels, vl_convert.svg_to_png(drawing, scale=_SCALE))
    return [vector, pixels]
