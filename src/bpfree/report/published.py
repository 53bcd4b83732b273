"""The report of a suite: published numbers beside measured ones, as a page, Markdown, CSV and SVG."""

from __future__ import annotations

import csv
import io
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from bpfree.files import write_atomic, writing
from bpfree.report.audit import Flag
from bpfree.report.beside import Beside, SuiteFacts, SuiteRow, answer_of, measured_beside, points, row_values
from bpfree.report.beside_chart import beside_chart
from bpfree.report.model import SeedMean
from bpfree.report.page import ReportPaths
from bpfree.report.quantities import DIFFERENCE, ENERGY, ENERGY_RATIO, TIME, TIME_RATIO
from bpfree.report.rendering import fill
from bpfree.report.sections import chart_values
from bpfree.report.stamps import suite_stamps
from bpfree.report.svg import standalone
from bpfree.report.tables import Display, TextTable, escape_markdown
from bpfree.stats.replication import LEAST_RUNS
from bpfree.units import J_PER_WH, MISSING, format_percent

__all__ = ["SuiteFacts", "SuiteRow", "build_suite", "suite_summary", "suite_tables"]

HEADINGS = {
    "arm": "Arm",
    "published": "Published, %",
    "measured": "Measured, %",
    "gap": "Measured − published, points",
    "verdict": "Verdict",
    "difference": "Difference to backprop, points: published / measured",
    "time": "Time × backprop, and in all: published / measured",
    "energy": "Energy × backprop, and in all: published / measured",
}


def build_suite(facts: SuiteFacts, rows: Sequence[SuiteRow], directories: Mapping[str, Path], out: Path) -> ReportPaths:
    """Write the report of a suite into ``out``.

    Args:
        facts: about the suite.
        rows: all rows; those that were not run carry their reason.
        directories: run directory of each ruleset's key; the page links to the report of each.
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


def suite_summary(facts: SuiteFacts, rows: Sequence[SuiteRow], directories: Mapping[str, Path]) -> dict[str, Any]:
    """The report of a suite as plain JSON values; nothing is written."""
    beside = measured_beside(facts, rows, directories)
    return {
        "suite": facts.name, "paper": facts.paper, "stamps": list(facts.stamps), "scale": facts.scale,
        "answer": answer_of(facts, beside), "rows": [row_values(row) for row in beside],
    }  # fmt: skip


def suite_tables(facts: SuiteFacts, rows: Sequence[SuiteRow], directories: Mapping[str, Path]) -> list[TextTable]:
    """One table for each section, for a terminal; the stamps lead each title."""
    beside = measured_beside(facts, rows, directories)
    made = []
    for title, group in _by_section(beside):
        columns = {
            "Row": [f"{b.row.dataset} {b.row.net}\n{b.label}" for b in group],
            "Published, %": [str(_published(b)) for b in group],
            "Measured, %": [_measured(b) for b in group],
            "Gap, points": [points(b.gap) for b in group],
            "Verdict": [b.verdict for b in group],
        }
        if any(b.row.number.time_s is not None or b.row.number.energy_j is not None for b in group):
            columns["Time\npublished / measured"] = [_in_all(b, "time") or MISSING for b in group]
            columns["Energy\npublished / measured"] = [_in_all(b, "energy") or MISSING for b in group]
        note = facts.section_notes.get(title, "")
        lines = tuple(zip(*columns.values(), strict=True))
        made.append(TextTable(". ".join((*facts.stamps, title)), tuple(columns), lines, (note,) if note else ()))
    return made


def _by_section(rows: Sequence[Beside]) -> list[tuple[str, list[Beside]]]:
    return [(title, list(group)) for title, group in itertools.groupby(rows, key=lambda beside: beside.row.section)]


def _published(beside: Beside) -> Display:
    number = beside.row.number
    if number.accuracy is None:
        return Display(MISSING, "nothing is published" if number.difference is None else "only a difference is published")
    half = (number.spread[1] - number.spread[0]) / 2 if number.spread else None
    notes = [*([f"± {100 * half:.2f}"] if half is not None else []), *(["second-hand"] if number.second_hand else [])]
    return Display(format_percent(number.accuracy), ", ".join(notes))


def _measured(row: Beside) -> str:
    return row.measured.accuracy_text if row.measured else MISSING


def _verdict(beside: Beside) -> Display:
    """The word, and below it the reason and the margin; in a neutral colour."""
    replication = beside.replication
    if replication is None or beside.word == "not judged":
        return Display(beside.verdict, "", "soft")
    reason = beside.verdict.partition(": ")[2]
    return Display(beside.word, "; ".join(filter(None, (reason, f"margin ±{100 * replication.margin:.2f} points"))), "soft")


def _pair(published: str, measured: str) -> str:
    return MISSING if published == MISSING and measured == MISSING else f"{published} / {measured}"


def _times(value: float | SeedMean | None) -> str:
    mean = value.mean if isinstance(value, SeedMean) else value
    return MISSING if mean is None else f"{mean:.2f}"


def _in_all(beside: Beside, what: Literal["time", "energy"]) -> str:
    """Seconds or watt-hours of a run, published and measured; empty where neither is known."""
    if what == "time":
        published, measured, unit, factor = beside.row.number.time_s, beside.mean(TIME), "s", 1.0
    else:
        published, measured, unit, factor = beside.row.number.energy_j, beside.mean(ENERGY), "Wh", J_PER_WH
    if published is None and measured is None:
        return ""
    texts = (
        MISSING if value is None else f"{_digits(value / factor)} {unit}" for value in (published, measured and measured.mean)
    )
    return " / ".join(texts)


def _digits(value: float) -> str:
    """Three digits, and no exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{float(f'{value:.3g}'):f}".rstrip("0").rstrip(".")


def _displays(beside: Beside) -> dict[str, Display]:
    """One row as text by the keys of :data:`HEADINGS`."""
    row, number, measured = beside.row, beside.row.number, beside.measured
    difference = MISSING
    if number.difference is not None or number.difference_interval:
        difference = points(SeedMean(number.difference or 0.0, *(number.difference_interval or (None, None)), 1))
    arm = "" if beside.label == row.arm else f"; {row.arm}"
    where = f"{row.net}{arm}{f'. {row.note}' if row.note else ''}"
    n = f"{len(measured.runs)} seed{'s' if len(measured.runs) != 1 else ''}, {row.measured_dataset}" if measured else ""
    return {
        "arm": Display(beside.label, where),
        "published": _published(beside),
        "measured": Display(_measured(beside), n),
        "gap": Display(points(beside.gap)),
        "verdict": _verdict(beside),
        "difference": Display(_pair(difference, points(beside.mean(DIFFERENCE)))),
        "time": Display(_pair(_times(number.time_ratio), _times(beside.mean(TIME_RATIO))), _in_all(beside, "time")),
        "energy": Display(_pair(_times(number.energy_ratio), _times(beside.mean(ENERGY_RATIO))), _in_all(beside, "energy")),
    }


def _section(facts: SuiteFacts, title: str, rows: list[Beside]) -> dict[str, Any]:
    by_dataset: dict[str, list[Beside]] = {}
    for beside in rows:
        by_dataset.setdefault(beside.row.dataset, []).append(beside)
    slug = "".join(letter if letter.isalnum() else "-" for letter in title.lower())
    numbered = enumerate(by_dataset.items())
    made = [beside_chart(title, dataset, group, number) for number, (dataset, group) in numbered]
    charts = [replace(chart, name=f"{slug}-{chart.name}") for chart in made if chart is not None]
    return {
        "title": title,
        "note": facts.section_notes.get(title, ""),
        "ruleset": rows[0].row.ruleset,
        "groups": [(dataset, [_displays(beside) for beside in group]) for dataset, group in by_dataset.items()],
        "sources": list(
            dict.fromkeys(f"{'SECOND-HAND: ' if b.row.number.second_hand else ''}{b.row.number.source}" for b in rows)
        ),
        "spreads": list(
            dict.fromkeys(
                f"{b.row.dataset}, {b.label}: {b.row.number.spread_words}"
                for b in rows
                if b.row.number.spread is None and b.row.number.accuracy is not None
            )
        ),
        "charts": charts,
    }


def suite_flags(facts: SuiteFacts, rows: Sequence[Beside]) -> list[Flag]:
    """What must be known before anything is quoted, most serious first."""
    return [Flag(key, text) for key, text in _suite_flags(facts, rows)]


def _suite_flags(facts: SuiteFacts, rows: Sequence[Beside]) -> Iterator[tuple[str, str]]:
    if "NOT COMPARABLE" in facts.stamps:
        text = "NOT COMPARABLE: the arms run under the unequal rules of the paper; nothing here says which is better."
        yield "not-comparable", text
    if facts.scale != 1.0:
        yield (
            "scaled",
            f"SCALED: training, validation and test examples, trials and passes are {100 * facts.scale:g} % of what the rules "
            "say (each at least 1, examples at least one a class and one batch). Accuracies, times and ratios are those of a "
            "rehearsal.",
        )
    second = sum(beside.row.number.second_hand for beside in rows)
    if second:
        text = f"{second} of {len(rows)} published numbers are second-hand: check them in the paper before citing."
        yield "second-hand", text
    n_idle = sum(beside.measured is None for beside in rows)
    if n_idle:
        yield "rows-not-run", f"{n_idle} of {len(rows)} rows were not run; each says why."
    if all(beside.mean(ENERGY) is None for beside in rows):
        yield "no-energy", "No energy was measured on this machine; published energies stand alone."
    few = sum(beside.accuracy is not None and beside.accuracy.n < LEAST_RUNS for beside in rows)
    if few:
        yield "few-seeds", f"{few} of {len(rows)} rows have fewer than {LEAST_RUNS} seeds, from which nothing can be concluded."


def _page(
    facts: SuiteFacts, rows: Sequence[Beside], sections: list[dict[str, Any]], directories: Mapping[str, Path], out: Path
) -> str:
    raised = suite_flags(facts, rows)
    reports = {key: path / "report" / "index.html" for key, path in directories.items() if (path / "records.jsonl").exists()}
    drawn = [{**section, "charts": [chart_values(chart, chart.name) for chart in section["charts"]]} for section in sections]
    return fill(
        "published.html.j2", has_charts=any(each["charts"] for each in sections), facts=facts, headings=HEADINGS, sections=drawn,
        title=". ".join((*facts.stamps, f"bpfree reproduce {facts.name}: published beside measured")),
        answer=answer_of(facts, rows), flags=[str(flag) for flag in raised], stamps=suite_stamps(facts.stamps, raised),
        reports={key: Path(os.path.relpath(path, out)).as_posix() for key, path in reports.items()},
    )  # fmt: skip


def _markdown(facts: SuiteFacts, rows: Sequence[Beside], sections: list[dict[str, Any]]) -> str:
    lines = [f"# {escape_markdown(facts.title)}", "", *(line for stamp in facts.stamps for line in (f"**{stamp}**", ""))]
    lines += [escape_markdown(answer_of(facts, rows)), "", f"Published: {escape_markdown(facts.paper)}.", ""]
    lines += [*(f"- {escape_markdown(str(flag))}" for flag in suite_flags(facts, rows)), ""]
    for section in sections:
        lines += [f"## {escape_markdown(section['title'])}", ""]
        lines += [escape_markdown(section["note"]), ""] if section["note"] else []
        lines += [f"| Data set | {' | '.join(HEADINGS.values())} |", f"| --- | --- |{' ---: |' * (len(HEADINGS) - 1)}"]
        for dataset, group in section["groups"]:
            lines += [
                f"| {dataset} | {' | '.join(escape_markdown(str(displays[key])) for key in HEADINGS)} |" for displays in group
            ]
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
