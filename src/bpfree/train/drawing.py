"""A training as a chart, and as a few lines of HTML for notebooks."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bpfree.records import HistoryEntry

if TYPE_CHECKING:
    import altair

__all__ = ["as_chart", "as_html"]

_WIDTH, _HEIGHT = 240, 48
"""Of the curve in a notebook, in pixels."""


def as_chart(name: str, history: Sequence[HistoryEntry]) -> altair.LayerChart | altair.FacetChart:
    """Validation accuracy (a fraction) by pass, and a point on the last pass that was the best of its phase.

    Args:
        name: of the rule, for the title.
    """
    import altair as alt  # deferred: it takes a second

    rows = [
        {"passes": entry.passes, "accuracy": entry.val_accuracy, "train_loss": entry.train_loss, "phase": entry.phase}
        for entry in history
        if entry.val_accuracy is not None
    ]
    best = [row for row, entry in zip(rows, (e for e in history if e.val_accuracy is not None), strict=True) if entry.improved]
    x = alt.X("passes:Q", title="passes")
    y = alt.Y("accuracy:Q", title="validation accuracy", scale=alt.Scale(zero=False), axis=alt.Axis(format="%"))
    tooltip = ["passes:Q", alt.Tooltip("accuracy:Q", format=".2%"), alt.Tooltip("train_loss:Q", format=".4g"), "phase:O"]
    line = alt.Chart(alt.Data(values=rows)).mark_line().encode(x=x, y=y, detail="phase:O")
    points = alt.Chart(alt.Data(values=rows)).mark_circle(size=20).encode(x=x, y=y, tooltip=tooltip)
    mark = alt.Chart(alt.Data(values=best[-1:])).mark_point(size=90).encode(x=x, y=y)
    return alt.layer(line, points, mark).properties(title=name)


def as_html(rows: Mapping[str, str], accuracies: Sequence[float | None]) -> str:
    """A table of two columns, and the accuracies as a small curve between their least and their greatest."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in rows.items()
    )
    return f"<table>{cells}</table>{_curve(accuracies)}"


def _curve(accuracies: Sequence[float | None]) -> str:
    known = [(k, value) for k, value in enumerate(accuracies) if value is not None]
    if len(known) < 2:
        return ""
    low, high = min(value for _, value in known), max(value for _, value in known)
    across, up = _WIDTH / (len(accuracies) - 1), (_HEIGHT - 4) / ((high - low) or 1.0)
    points = " ".join(f"{k * across:.1f},{_HEIGHT - 2 - (value - low) * up:.1f}" for k, value in known)
    label = f"validation accuracy by pass, from {100 * low:.2f} % to {100 * high:.2f} %"
    return (
        f"<svg width='{_WIDTH}' height='{_HEIGHT}' role='img' aria-label='{label}'><title>{label}</title>"
        f"<polyline points='{points}' fill='none' stroke='currentColor'/></svg>"
    )
