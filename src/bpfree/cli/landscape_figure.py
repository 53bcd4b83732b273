"""Figures of a landscape as SVG: slices with their spread, lines between minima, planes with their three points."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import altair as alt

from bpfree.cli.analyse_figure import Curve, draw_curves
from bpfree.files import write_atomic
from bpfree.report.looks import draw, on
from bpfree.report.svg import INK, SERIES, standalone
from bpfree.text import slug

__all__ = ["draw_landscape", "legend_levels"]

Document = dict[str, Any]
POINTS = ("circle", "square", "triangle-up")


def draw_landscape(document: Document, directory: Path) -> list[Path]:
    """Draw what a document of :func:`bpfree.analysis.record_landscape` holds; returns the files."""
    paths: list[Path] = []
    if document["slices"]:
        paths.append(_slices(document, directory / "landscape-slices.svg"))
    if document["line"]:
        paths += _lines(document, directory / "landscape-lines")
    for entry in document["plane"]:
        labels = [_label(document, name) for name in entry["of"]]
        name = "landscape-plane" if len(document["plane"]) == 1 else f"landscape-plane-{slug(labels[1])}"
        paths.append(_plane(document, entry, labels, directory / f"{name}.svg"))
    return paths


def _label(document: Document, name: str) -> str:
    return next(model["label"] for model in document["models"] if model["name"] == name)


def _about(document: Document) -> str:
    return f"{document['net']} on {document['dataset']}"


def _slices(document: Document, path: Path) -> Path:
    """Mean over models of a label and over directions, with one standard deviation of all of them."""
    of_label: dict[str, list[list[float]]] = {}
    for entry in document["slices"]:
        of_label.setdefault(_label(document, entry["of"][0]), []).extend(entry["losses"])
    rows = []
    for label, losses in of_label.items():
        for k, distance in enumerate(document["slices"][0]["distances"]):
            values = [line[k] for line in losses if line[k] is not None]
            if values:
                mean = sum(values) / len(values)
                sd = math.sqrt(sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1))
                rows.append({"arm": label, "x": distance, "y": mean, "low": max(0.0, mean - sd), "high": mean + sd})
    labels = list(of_label)
    n = len(labels)
    key = alt.Legend(orient="top", title=None, columns=1 if max(map(len, labels)) > 24 else 2, labelLimit=380)
    colour = alt.Color("arm:N", scale=alt.Scale(domain=labels, range=[SERIES[k % len(SERIES)] for k in range(n)]), legend=key)
    x = alt.X("x:Q", title="distance, in norms of each filter", axis=alt.Axis(tickCount=6))
    title = "validation loss, nats (mean ± SD)"
    y = alt.Y("y:Q", title=title, axis=alt.Axis(tickCount=6))
    base = on("data")
    band = base.mark_area(opacity=0.18).encode(x=x, y=alt.Y("low:Q", title=title), y2="high:Q", color=colour)
    svg = draw(alt.layer(band, base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour)), {"data": rows})
    heading = f"Filter-normalised slices: {_about(document)}"
    write_atomic(path, standalone(svg, heading, "loss against distance along random directions, mean and standard deviation"))
    return path


def _lines(document: Document, path: Path) -> list[Path]:
    """The mean line of each kind of pair: same start and other start, for each label at its end."""
    kinds: dict[str, list[list[float]]] = {}
    for entry in document["line"]:
        first, last = (_label(document, name) for name in entry["of"])
        kinds.setdefault(f"{first} to {last}, {entry['between']}", []).append(entry["loss"])
    curves: list[Curve] = [
        (
            kind,
            [
                (a, sum(column) / len(column))
                for a, column in zip(document["line"][0]["a"], zip(*losses, strict=True), strict=True)
            ],
        )
        for kind, losses in list(kinds.items())[: len(SERIES)]
        if all(value is not None for line in losses for value in line)
    ]
    if not curves:
        return []
    left_out = len(kinds) - len(SERIES)
    more = f"; {left_out} more in landscape.json" if left_out > 0 else ""
    title = f"Lines between minima: {_about(document)}{more}"
    return draw_curves(curves, path, title, "share of the way", "validation loss, nats", png=False)


def legend_levels(losses: list[float], n: int = 6) -> list[float]:
    """For the key of a plane: at most ``n`` losses from the least to the greatest, in equal ratios, to two digits."""
    low, high = min(losses), max(losses)
    return sorted({float(f"{low * (high / low) ** (k / (n - 1)):.2g}") for k in range(n)})


def _plane(document: Document, entry: dict[str, Any], labels: list[str], path: Path) -> Path:
    """Logarithm of the loss as colour, and the three points."""
    xs, ys = entry["x"], entry["y"]
    dx, dy = (xs[1] - xs[0]) / 2, (ys[1] - ys[0]) / 2
    cells = [
        {"x": x - dx, "x2": x + dx, "y": y - dy, "y2": y + dy, "loss": max(value, 1e-6)}
        for y, row in zip(ys, entry["loss"], strict=True)
        for x, value in zip(xs, row, strict=True)
        if value is not None
    ]
    names = [*labels, "start"]
    points = [{"x": x, "y": y, "arm": name} for (x, y), name in zip(entry["corners"], names, strict=True)]
    scale = alt.Scale(type="log", scheme="viridis", reverse=True)
    levels = legend_levels([cell["loss"] for cell in cells])  # of its own, the scale names its low values only
    key = alt.Legend(title="loss, nats", orient="right", format=".3~g", values=levels)
    shown = alt.Color("loss:Q", scale=scale, legend=key)
    domain = [[min(c[a] for c in cells), max(c[b] for c in cells)] for a, b in (("x", "x2"), ("y", "y2"))]
    x = alt.X("x:Q", title="distance in parameters", scale=alt.Scale(domain=domain[0], nice=False), axis=alt.Axis(tickCount=6))
    y = alt.Y("y:Q", title="distance in parameters", scale=alt.Scale(domain=domain[1], nice=False), axis=alt.Axis(tickCount=6))
    edge = alt.Stroke("loss:Q", scale=scale, legend=None)  # no gaps between the cells
    rectangles = on("cells").mark_rect(strokeWidth=0.6).encode(x=x, x2="x2:Q", y=y, y2="y2:Q", color=shown, stroke=edge)
    key = alt.Legend(orient="top", title=None, columns=1, labelLimit=380, symbolSize=80, symbolFillColor=INK)
    shape = alt.Shape("arm:N", scale=alt.Scale(domain=names, range=list(POINTS)), legend=key)
    marks = on("points").mark_point(size=110, fill=INK, stroke="white", strokeWidth=1.5, opacity=1).encode(x=x, y=y, shape=shape)
    svg = draw(alt.layer(rectangles, marks), {"cells": cells, "points": points}, height=340)
    title = f"Plane through three points: {_about(document)}"
    write_atomic(path, standalone(svg, title, f"loss in the plane through {', '.join(names)}"))
    return path
