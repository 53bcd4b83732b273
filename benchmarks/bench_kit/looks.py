"""What the figures of the benchmarks share."""

from __future__ import annotations

from typing import Any

from bpfree.report.svg import GRID, INK, MUTED

__all__ = ["CONFIG"]

_TEXT = {"labelColor": INK, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 12}

CONFIG: dict[str, Any] = {
    "aria": False,
    "font": "Helvetica, Arial, sans-serif",
    "view": {"stroke": None},
    "axis": {**_TEXT, "gridColor": GRID, "domainColor": MUTED, "tickColor": MUTED, "titleFontWeight": "normal"},
    "legend": _TEXT,
    "title": {"color": INK, "fontSize": 12},
}
"""Of Vega-Lite."""
