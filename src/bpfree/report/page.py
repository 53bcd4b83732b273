"""Write a report: the page, the same numbers as Markdown and CSV, and the charts as files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bpfree import rulesets
from bpfree._version import __version__
from bpfree.files import write_atomic, writing
from bpfree.report.charts import Chart, charts
from bpfree.report.facts import commands, environments, missing, tuned_values
from bpfree.report.looks import glyph
from bpfree.report.material import Material, read_material
from bpfree.report.model import Table, build_tables
from bpfree.report.summary import markdown, summary
from bpfree.report.svg import inline, standalone
from bpfree.report.tables import COLUMNS, TextTable, csv_text, headings, row_cells, text_table
from bpfree.report.words import answer, conditions, flags, next_commands

__all__ = ["ReportPaths", "build", "headline_rows", "summarise"]


@dataclass(frozen=True)
class ReportPaths:
    """What was written."""

    directory: Path
    page: Path
    markdown: Path
    csv: Path
    figures: tuple[Path, ...]


def summarise(directories: Sequence[Path]) -> dict[str, Any]:
    """The report of one or several run directories as plain JSON values; nothing is written."""
    material = read_material(directories)
    return summary(build_tables(material), material)


def headline_rows(directories: Sequence[Path]) -> list[TextTable]:
    """The headline table of every data set and net as text, for a terminal."""
    material = read_material(directories)
    return [text_table(table, material.ruleset.stamps) for table in build_tables(material)]


def build(directories: Sequence[Path], out: Path | None = None) -> ReportPaths:
    """Write the report of one or several run directories that share a ruleset.

    Args:
        directories: each holds ``ruleset.yaml`` and ``records.jsonl``, and if known ``environment.json`` and
            ``tuned.json``.
        out: where the files go; by default ``report`` in the run directory, or ``report-merged`` beside the
            first of several, so that no directory's own report is replaced by that of a set.

    Raises:
        RunDirectoryError: a directory without records, or a run that was measured twice.
        RulesetError: the directories were run under different rules.
        StorageError: the place cannot be written.
    """
    material = read_material(directories)
    tables = build_tables(material)
    if out is None:
        first = material.directories[0]
        out = first / "report" if len(material.directories) == 1 else first.parent / "report-merged"
    drawn = [charts(table) for table in tables]
    figures = {}
    for table, made in zip(tables, drawn, strict=True):
        prefix = f"{_slug(table.dataset)}-{_slug(table.net)}-" if len(tables) > 1 else ""
        for chart in made:
            heading = ". ".join((*material.ruleset.stamps, f"{chart.title}: {table.dataset}, {table.net}"))
            figures[f"{prefix}{chart.name}.svg"] = standalone(chart.svg, heading, chart.description)
    texts = {f"figures/{name}": svg for name, svg in figures.items()}
    texts["summary.md"] = markdown(tables, material)
    texts["summary.csv"] = csv_text(tables, material.ruleset.stamps)
    texts["index.html"] = _page(tables, drawn, material)
    with writing(out):
        (out / "figures").mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_atomic(out / name, text)
    return ReportPaths(
        out,
        out / "index.html",
        out / "summary.md",
        out / "summary.csv",
        tuple(out / "figures" / name for name in figures),
    )


def _slug(text: str) -> str:
    """A part of a file name; ``:`` and ``/`` stand in the names of nets and data files."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", Path(text).name).strip("-.") or "unnamed"


def _page(tables: Sequence[Table], drawn: Sequence[Sequence[Chart]], material: Material) -> str:
    environment = Environment(
        loader=PackageLoader("bpfree.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    css = environment.loader.get_source(environment, "page.css")[0] if environment.loader else ""
    rules = material.ruleset
    return environment.get_template("page.html.j2").render(
        version=__version__,
        css=Markup(css.strip()),
        title="bpfree: " + "; ".join(f"{table.dataset}, {table.net}" for table in tables),
        stamps=rules.stamps,
        answers=[answer(table, material) for table in tables],
        facts=_facts(tables, material),
        flags=flags(tables, material),
        columns=COLUMNS,
        sections=[_section(k, table, made) for k, (table, made) in enumerate(zip(tables, drawn, strict=True))],
        conditions=conditions(tables),
        next_commands=next_commands(tables),
        tuned=tuned_values(tables, material),
        many_cells=len(tables) > 1,
        ruleset={
            "name": rules.name,
            "version": rules.version,
            "digest": rulesets.digest(rules),
            "words": rulesets.in_words(rules),
        },
        missing=missing(tables),
        environments=environments(material),
        commands=commands(material),
        n_runs=len(material.records),
    )


def _facts(tables: Sequence[Table], material: Material) -> list[str]:
    n_runs, n_arms = len(material.records), max(len(table.rows) for table in tables)
    n_seeds = max(len(row.runs) for table in tables for row in table.rows)
    dates = sorted(record.started_at[:10] for record in material.records)
    return [
        f"{n_arms} arm{'s' if n_arms != 1 else ''}",
        f"{n_seeds} seed{'s' if n_seeds != 1 else ''} for each",
        f"{n_runs} measured run{'s' if n_runs != 1 else ''}",
        f"ruleset {material.ruleset.name} {rulesets.short_digest(material.ruleset)}",
        dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}",
    ]


def _section(number: int, table: Table, made: Sequence[Chart]) -> dict[str, Any]:
    return {
        "heading": f"Results on {table.dataset}, {table.net}",
        "caption": (
            "Means over seeds with 95 % intervals (±); differences are paired by seed, with interval and "
            "verdict. Time and energy are of the whole run, validation included; × is the ratio to "
            f"{table.baseline_label} with its interval. A dash was not measured."
        ),
        "headings": headings(table),
        "rows": [{"cells": row_cells(row), "glyph": Markup(glyph(row))} for row in table.rows],
        "notes": [f"{row.label} against {table.baseline_label}: {row.sentence}" for row in table.rows if row.sentence],
        "charts": [
            {
                "title": chart.title,
                "svg": Markup(inline(chart.svg, f"chart-{number}-{chart.name}", chart.title, chart.description)),
            }
            for chart in made
        ],
    }
