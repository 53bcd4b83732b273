"""The figure of a suite: measured as a dot with its interval, published as a cross on the bar of its spread."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from bpfree.report.beside import Beside
from bpfree.report.charts import Chart
from bpfree.report.looks import drawing, on
from bpfree.report.svg import INK, MUTED, SERIES
from bpfree.units import format_percent

__all__ = ["LEGEND", "beside_chart"]

ROW_HEIGHT = 40

LEGEND = "Dots are measured, with their 95 % intervals; crosses are published, on the bar of their spread where one is known."


def beside_chart(section: str, dataset: str, rows: Sequence[Beside], number: int) -> Chart | None:
    """One data set of one section; None where no row has a published or a measured accuracy to draw.

    Args:
        number: of the chart in the page, for the name of its file.
    """
    shown = [beside for beside in rows if beside.row.number.accuracy is not None]
    if not shown:
        return None
    labels = {id(beside): f"{beside.label}, {beside.row.net}" for beside in shown}
    published = [{"row": labels[id(beside)], "x": 100 * (beside.row.number.accuracy or 0.0)} for beside in shown]
    spreads, dots, bars = [], [], []
    for beside in shown:
        if beside.row.number.spread is not None:
            spreads.append(_bar(labels[id(beside)], *beside.row.number.spread))
        if (mine := beside.accuracy) is not None:
            dots.append({"row": labels[id(beside)], "x": 100 * mine.mean})
            if mine.low is not None and mine.high is not None:
                bars.append(_bar(labels[id(beside)], mine.low, mine.high))
    order = list(labels.values())
    y = alt.Y("row:N", title=None, sort=order, scale=alt.Scale(domain=order), axis=alt.Axis(labelLimit=200, ticks=False))
    scale = alt.Scale(zero=False, nice=True)

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title="test accuracy (%)", scale=scale, axis=alt.Axis(tickCount=5))

    layers = [
        on("spreads").mark_rule(strokeWidth=9, color=MUTED, opacity=0.35).encode(y=y, x=x("x1"), x2="x2:Q"),
        on("published").mark_point(shape="cross", filled=True, size=110, opacity=1, color=SERIES[2]).encode(y=y, x=x("x")),
        on("bars").mark_rule(strokeWidth=2, color=INK).encode(y=y, x=x("x1"), x2="x2:Q"),
        on("dots").mark_point(filled=True, size=80, opacity=1, color=INK).encode(y=y, x=x("x")),
    ]
    words = "; ".join(
        f"{labels[id(beside)]}: published {format_percent(beside.row.number.accuracy)} %, "
        + (f"measured {beside.measured.accuracy_text} %" if beside.measured and beside.accuracy else "not measured")
        for beside in shown
    )
    return Chart(
        f"published-{number}",
        f"{section}: {dataset}",
        f"{LEGEND} {words}.",
        drawing(
            alt.layer(*layers),
            {"published": published, "spreads": spreads, "dots": dots, "bars": bars},
            height=ROW_HEIGHT * len(shown) if len(shown) > 4 else 0,
        ),
        LEGEND,
    )


def _bar(label: str, low: float, high: float) -> dict[str, str | float]:
    return {"row": label, "x1": 100 * low, "x2": 100 * high}
