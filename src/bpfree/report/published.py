"""The report of a suite: published beside measured as a page, Markdown, CSV and SVG."""

from __future__ import annotations

import csv
import io
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bpfree.files import write_atomic, writing
from bpfree.report.beside import Beside, PublishedRow, SuiteFacts, answer_of, measured_beside, percent, points, row_values
from bpfree.report.beside_chart import beside_chart
from bpfree.report.charts import Chart
from bpfree.report.model import Estimate
from bpfree.report.page import ReportPaths
from bpfree.report.rendering import fill
from bpfree.report.svg import inline, standalone
from bpfree.report.tables import CellText, TextTable, escape_markdown
from bpfree.units import MISSING

__all__ = ["PublishedRow", "SuiteFacts", "build_suite", "suite_summary", "suite_tables"]

HEADINGS = {
    "arm": "Arm",
    "published": "Published, %",
    "measured": "Measured, %",
    "gap": "Measured − published, points",
    "verdict": "Verdict",
    "difference": "Difference to backprop, points: published / measured",
    "time": "Time × backprop: published / measured",
    "energy": "Energy × backprop: published / measured",
}


def build_suite(facts: SuiteFacts, rows: Sequence[PublishedRow], directories: Mapping[str, Path], out: Path) -> ReportPaths:
    """Write the report of a suite into ``out``.

    Args:
        facts: of the suite.
        rows: all of them, those that were not run with their reason.
        directories: run directory of each ruleset's key; the page links to their own reports.
        out: where the files go.

    Raises:
        RunDirectoryError, RulesetError: a directory that cannot be reported on.
        StorageError: the place cannot be written.
    """
    beside = measured_beside(facts, rows, directories)
    sections = [_section(facts, title, group) for title, group in _by_section(beside)]
    texts = {"index.html": _page(facts, beside, sections, directories, out), "summary.md": _markdown(facts, beside, sections)}
    texts["summary.csv"] = _csv(facts, beside)
    figures = [chart for section in sections for chart in section["charts"]]
    for chart in figures:
        heading = ". ".join((*facts.stamps, chart.title))
        texts[f"figures/{chart.name}.svg"] = standalone(chart.svg, heading, chart.description)
    with writing(out):
        (out / "figures").mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_atomic(out / name, text)
    drawn = tuple(out / "figures" / f"{chart.name}.svg" for chart in figures)
    return ReportPaths(out, out / "index.html", out / "summary.md", out / "summary.csv", drawn)


def suite_summary(facts: SuiteFacts, rows: Sequence[PublishedRow], directories: Mapping[str, Path]) -> dict[str, Any]:
    """The report of a suite as plain JSON values; nothing is written."""
    beside = measured_beside(facts, rows, directories)
    return {
        "suite": facts.name, "paper": facts.paper, "stamps": list(facts.stamps), "scale": facts.scale,
        "answer": answer_of(facts, beside), "rows": [row_values(row) for row in beside],
    }  # fmt: skip


def suite_tables(facts: SuiteFacts, rows: Sequence[PublishedRow], directories: Mapping[str, Path]) -> list[TextTable]:
    """One table for each section, for a terminal; the stamps lead each title."""
    beside = measured_beside(facts, rows, directories)
    named = ("Row", "Published, %", "Measured, %", "Gap, points", "Verdict")
    made = []
    for title, group in _by_section(beside):
        lines = tuple(
            (f"{b.published.dataset} {b.published.net}\n{b.label}", str(_published(b)), _measured(b), points(b.gap), b.verdict)
            for b in group
        )
        made.append(TextTable(". ".join((*facts.stamps, title)), named, lines))
    return made


def _by_section(rows: Sequence[Beside]) -> list[tuple[str, list[Beside]]]:
    return [(title, list(group)) for title, group in itertools.groupby(rows, key=lambda row: row.published.section)]


def _published(row: Beside) -> CellText:
    published = row.published
    if published.accuracy is None:
        return CellText(MISSING, "only a difference is published")
    half = (published.spread[1] - published.spread[0]) / 2 if published.spread else None
    marks = ["second-hand"] if published.second_hand else []
    return CellText(percent(published.accuracy), ", ".join([*([f"± {100 * half:.2f}"] if half is not None else []), *marks]))


def _measured(row: Beside) -> str:
    return row.measured.accuracy_text if row.measured else MISSING


def _pair(published: str, measured: str) -> str:
    return MISSING if published == MISSING and measured == MISSING else f"{published} / {measured}"


def _times(value: float | Estimate | None) -> str:
    mean = value.mean if isinstance(value, Estimate) else value
    return MISSING if mean is None else f"{mean:.2f}"


def _cells(row: Beside) -> dict[str, CellText]:
    published, measured = row.published, row.measured
    difference = MISSING if published.difference is None else points(Estimate(published.difference, None, None, 1))
    if published.difference_interval:
        difference = points(Estimate(published.difference or 0.0, *published.difference_interval, 1))
    arm = "" if row.label == published.arm else f"; {published.arm}"
    where = f"{published.net}{arm}{f'. {published.note}' if published.note else ''}"
    n = f"{len(measured.runs)} seed{'s' if len(measured.runs) != 1 else ''}, {published.measured_dataset}" if measured else ""
    return {
        "arm": CellText(row.label, where),
        "published": _published(row),
        "measured": CellText(_measured(row), n),
        "gap": CellText(points(row.gap)),
        "verdict": CellText(row.verdict, "", row.tone),
        "difference": CellText(_pair(difference, points(measured.difference if measured else None))),
        "time": CellText(_pair(_times(published.time_ratio), _times(measured.time_ratio if measured else None))),
        "energy": CellText(_pair(_times(published.energy_ratio), _times(measured.energy_ratio if measured else None))),
    }


def _section(facts: SuiteFacts, title: str, rows: list[Beside]) -> dict[str, Any]:
    by_dataset: dict[str, list[Beside]] = {}
    for row in rows:
        by_dataset.setdefault(row.published.dataset, []).append(row)
    slug = "".join(letter if letter.isalnum() else "-" for letter in title.lower())
    numbered = enumerate(by_dataset.items())
    made = [beside_chart(title, dataset, group, number) for number, (dataset, group) in numbered]
    charts = [Chart(f"{slug}-{chart.name}", chart.title, chart.description, chart.svg) for chart in made if chart is not None]
    return {
        "title": title,
        "note": facts.section_notes.get(title, ""),
        "ruleset": rows[0].published.ruleset,
        "groups": [(dataset, [_cells(row) for row in group]) for dataset, group in by_dataset.items()],
        "sources": list(dict.fromkeys(f"{'SECOND-HAND: ' if b.published.second_hand else ''}{b.published.source}" for b in rows)),
        "spreads": list(
            dict.fromkeys(
                f"{b.published.dataset}, {b.label}: {b.published.spread_words}"
                for b in rows
                if b.published.spread is None and b.published.accuracy is not None
            )
        ),
        "charts": charts,
    }


def flags(facts: SuiteFacts, rows: Sequence[Beside]) -> list[str]:
    """What must be known before anything is quoted, most serious first."""
    found = []
    if "NOT COMPARABLE" in facts.stamps:
        found.append("NOT COMPARABLE: the arms run under the unequal rules of the paper; nothing here says which is better.")
    if facts.scale != 1.0:
        found.append(
            f"SCALED: training, validation and test examples, trials and passes are {100 * facts.scale:g} % of what the rules "
            "say (each at least 1, examples at least one a class and one batch). Accuracies, times and ratios are those of a "
            "rehearsal."
        )
    second = sum(row.published.second_hand for row in rows)
    if second:
        found.append(f"{second} of {len(rows)} published numbers are second-hand: check them in the paper before citing.")
    idle = [row for row in rows if row.measured is None]
    if idle:
        found.append(f"{len(idle)} of {len(rows)} rows were not run; each says why.")
    if all(row.measured is None or row.measured.energy_j is None for row in rows):
        found.append("No energy was measured on this machine; published energies stand alone.")
    if any(row.measured is not None and row.accuracy is not None and row.accuracy.n == 1 for row in rows):
        found.append("Rows with one seed have no interval: one run says nothing about the next.")
    return found


def _page(
    facts: SuiteFacts, rows: Sequence[Beside], sections: list[dict[str, Any]], directories: Mapping[str, Path], out: Path
) -> str:
    reports = {key: path / "report" / "index.html" for key, path in directories.items() if (path / "records.jsonl").exists()}
    drawn = [
        {**section, "charts": [
            {"title": chart.title, "svg": Markup(inline(chart.svg, chart.name, chart.title, chart.description))}
            for chart in section["charts"]
        ]}
        for section in sections
    ]  # fmt: skip
    return fill(
        "published.html.j2", facts=facts, headings=HEADINGS, sections=drawn,
        title=". ".join((*facts.stamps, f"bpfree reproduce {facts.name}: published beside measured")),
        answer=answer_of(facts, rows), flags=flags(facts, rows),
        reports={key: Path(os.path.relpath(path, out)).as_posix() for key, path in reports.items()},
    )  # fmt: skip


def _markdown(facts: SuiteFacts, rows: Sequence[Beside], sections: list[dict[str, Any]]) -> str:
    lines = [f"# {escape_markdown(facts.title)}", "", *(line for stamp in facts.stamps for line in (f"**{stamp}**", ""))]
    lines += [escape_markdown(answer_of(facts, rows)), "", f"Published: {escape_markdown(facts.paper)}.", ""]
    lines += [*(f"- {escape_markdown(flag)}" for flag in flags(facts, rows)), ""]
    for section in sections:
        lines += [f"## {escape_markdown(section['title'])}", ""]
        lines += [escape_markdown(section["note"]), ""] if section["note"] else []
        lines += [f"| Data set | {' | '.join(HEADINGS.values())} |", f"| --- | --- |{' ---: |' * (len(HEADINGS) - 1)}"]
        for dataset, group in section["groups"]:
            lines += [f"| {dataset} | {' | '.join(escape_markdown(str(cells[key])) for key in HEADINGS)} |" for cells in group]
        lines += ["", *(f"- {escape_markdown(text)}" for text in (*section["sources"], *section["spreads"])), ""]
    return "\n".join([*lines, f"    {facts.command}"]).rstrip() + "\n"


def _csv(facts: SuiteFacts, rows: Sequence[Beside]) -> str:
    stream = io.StringIO()
    flat = []
    for row in rows:
        values = row_values(row)
        low, high = values.pop("published_spread") or (None, None)
        flat.append(values | {"published_low": low, "published_high": high, "stamps": " ".join(facts.stamps)})
    writer = csv.DictWriter(stream, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return stream.getvalue()
