"""What the page shows of each table, and of each chart, as values for its template."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from bpfree.report.above_control import control_notes
from bpfree.report.by_run import by_run_headings, by_run_rows
from bpfree.report.charts import Chart, front_in_words
from bpfree.report.copies import copies
from bpfree.report.evidence import evidence_caption, evidence_headings, evidence_notes, evidence_rows
from bpfree.report.interactive import live
from bpfree.report.looks import glyph
from bpfree.report.model import Table
from bpfree.report.needs import needs_rows
from bpfree.report.passes import passes_rows
from bpfree.report.svg import inline
from bpfree.report.tables import arm_displays, columns_of, headings, left_out, sort_values, target_rows

__all__ = ["chart_values", "legend", "section"]


def section(number: int, table: Table, made: Sequence[Chart], stamps: Sequence[str]) -> dict[str, Any]:
    """One table with its charts.

    Args:
        number: of the table in the page, for names that are unique.
        made: its charts.
        stamps: of the ruleset, for the texts to copy.
    """
    return {
        "heading": f"Results on {table.task_text}",
        "caption": (
            f"Means with 95 % intervals (±); differences are paired by {table.noun}, with interval and "
            "verdict. Time and energy are of the whole run, validation included; × is the ratio to "
            f"{table.baseline_label} with its interval. A dash was not measured."
        ),
        "columns": columns_of(table),
        "headings": headings(table),
        "rows": [
            {"displays": arm_displays(row), "glyph": Markup(glyph(row)), "sorts": _sorts(sort_values(row))} for row in table.rows
        ],
        "legend": legend(table),
        "noun": table.noun,
        "notes": [
            *control_notes(table.above_controls),
            *evidence_notes(table),
            *filter(None, [front_in_words(table), left_out(table)]),
        ],
        "evidence_caption": evidence_caption(table),
        "evidence_headings": evidence_headings(table),
        "evidence_rows": evidence_rows(table),
        "target": table.targets and table.targets.caption,
        "target_rows": target_rows(table),
        "needs_rows": needs_rows(table),
        "passes_rows": passes_rows(table),
        "by_run_headings": by_run_headings(table),
        "by_run_rows": by_run_rows(table),
        "copies": copies(table, stamps),
        "charts": [chart_values(chart, f"chart-{number}-{chart.name}") for chart in made],
    }


def legend(table: Table) -> list[dict[str, Any]]:
    """The arms of a table with their marks."""
    return [{"label": row.label, "glyph": Markup(glyph(row))} for row in table.rows]


def chart_values(chart: Chart, name: str) -> dict[str, Any]:
    """One chart: drawn, and as what a script draws it from.

    Args:
        name: unique in the page.
    """
    return {
        "title": chart.title,
        "caption": chart.caption,
        "svg": Markup(inline(chart.svg, name, chart.title, chart.description)),
        "description": chart.description,
        "printed": not chart.name.startswith("timeline"),
        "live": Markup(live(chart.drawing.spec)),
    }


def _sorts(values: dict[str, float | None]) -> dict[str, str]:
    """As a script reads numbers; a cell without one comes last."""
    return {key: "" if value is None or math.isnan(value) else repr(value) for key, value in values.items()}
