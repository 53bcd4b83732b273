"""Write a report: the page, the same numbers as Markdown and CSV, and the charts as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpfree import rulesets
from bpfree.files import write_atomic, writing
from bpfree.report.by_run import BY_RUN_CAPTION
from bpfree.report.charts import Chart, charts
from bpfree.report.facts import commands, environments, missing, tuned_values
from bpfree.report.flags import flags
from bpfree.report.material import Material, read_material
from bpfree.report.model import Table, build_tables
from bpfree.report.needs import NEEDS_CAPTION, NEEDS_HEADINGS, memory_chart
from bpfree.report.origins import links, references
from bpfree.report.passes import PASSES_CAPTION, PASSES_HEADINGS
from bpfree.report.profiles import profile_chart
from bpfree.report.rendering import fill
from bpfree.report.replicates import number_words
from bpfree.report.searches import TRIALS_CAPTION, TRIALS_HEADINGS, dashboard_commands, trial_rows
from bpfree.report.sections import chart_values, legend, section
from bpfree.report.stamps import stamps
from bpfree.report.summary import markdown, summary
from bpfree.report.svg import standalone
from bpfree.report.tables import TARGET_HEADINGS, TextTable, csv_text, text_table
from bpfree.report.targets import Target
from bpfree.report.timelines import timeline_charts
from bpfree.report.words import LOOK, answer, conditions, next_commands, standing
from bpfree.text import slug

__all__ = ["ReportPaths", "build", "headline_rows", "summarise"]


@dataclass(frozen=True)
class ReportPaths:
    """Paths of the files that were written."""

    directory: Path
    page: Path
    markdown: Path
    csv: Path
    figures: tuple[Path, ...]


def summarise(directories: Sequence[Path], target: Target = None, *, accept_other_code: bool = False) -> dict[str, Any]:
    """The report of one or several run directories as plain JSON values; nothing is written."""
    material = read_material(directories, accept_other_code=accept_other_code)
    return summary(build_tables(material, target), material)


def headline_rows(directories: Sequence[Path], target: Target = None, *, accept_other_code: bool = False) -> list[TextTable]:
    """The headline table of every data set and net as text, for a terminal."""
    material = read_material(directories, accept_other_code=accept_other_code)
    kind = (LOOK,) if standing(material) else ()
    return [text_table(table, (*material.ruleset.stamps, *kind)) for table in build_tables(material, target)]


def build(
    directories: Sequence[Path], out: Path | None = None, target: Target = None, *, accept_other_code: bool = False
) -> ReportPaths:
    """Write the report of one or several run directories that share a ruleset.

    Args:
        directories: each holds ``ruleset.yaml`` and ``records.jsonl``, and if known ``environment.json`` and
            ``tuned.json``.
        out: where the files go; by default ``report`` in the run directory, or ``report-merged`` beside the
            first of several, so that the report of one directory is not replaced by that of several.
        target: validation accuracy up to which time and energy are counted, or one for each data set; by default that of
            the runs, or else a share of the baseline's best (:func:`bpfree.report.targets.target_for`).
        accept_other_code: let runs of several versions of the code stand in one table, with a flag.

    Raises:
        UsageError: the target is no fraction above 0 and at most 1.
        RunDirectoryError: a directory without records, a run that was measured twice, or two data or two codes in one table.
        RulesetError: the directories were run under different rules.
        StorageError: the place cannot be written.
    """
    material = read_material(directories, accept_other_code=accept_other_code)
    tables = build_tables(material, target)
    if out is None:
        first = material.directories[0]
        out = first / "report" if len(material.directories) == 1 else first.parent / "report-merged"
    drawn = [
        [*charts(table), *filter(None, [memory_chart(table)]), *timeline_charts(table, material.directories)] for table in tables
    ]
    figures = {}
    prefixes = [f"{_slug(table.dataset)}-{_slug(table.net)}-" if len(tables) > 1 else "" for table in tables]
    for k, (table, made) in enumerate(zip(tables, drawn, strict=True)):
        prefix = f"{prefixes[k]}{k}-" if prefixes[k] in prefixes[:k] else prefixes[k]  # "a b" and "a-b" have one slug
        for chart in made:
            heading = ". ".join((*material.ruleset.stamps, f"{chart.title}: {table.task_text}"))
            figures[f"{prefix}{chart.name}.svg"] = standalone(chart.svg, heading, chart.description)
    profiles = profile_chart(tables)
    if profiles is not None:
        heading = ". ".join((*material.ruleset.stamps, profiles.title))
        figures["profiles.svg"] = standalone(profiles.svg, heading, profiles.description)
    texts = {f"figures/{name}": svg for name, svg in figures.items()}
    texts["summary.md"] = markdown(tables, material)
    texts["summary.csv"] = csv_text(tables, material.ruleset.stamps)
    texts["index.html"] = _page(tables, drawn, profiles, material, out)
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
    return slug(Path(text).name, keep=".") or "unnamed"


def _page(
    tables: Sequence[Table], drawn: Sequence[Sequence[Chart]], profiles: Chart | None, material: Material, out: Path
) -> str:
    rules, raised = material.ruleset, flags(tables, material)
    return fill(
        "page.html.j2",
        has_charts=any(drawn) or profiles is not None,
        title="bpfree: " + "; ".join(table.task_text for table in tables),
        stamps=stamps(tables, material, raised),
        standing=standing(material),
        answers=[answer(table, material, raised) for table in tables],
        facts=_facts(tables, material),
        flags=[str(flag) for flag in raised],
        sections=[section(k, table, made, rules.stamps) for k, (table, made) in enumerate(zip(tables, drawn, strict=True))],
        profiles=profiles and chart_values(profiles, "chart-profiles"),
        legend=legend(tables[0]),
        target_headings=TARGET_HEADINGS,
        by_run_caption=BY_RUN_CAPTION,
        passes_caption=PASSES_CAPTION,
        passes_headings=PASSES_HEADINGS,
        needs_caption=NEEDS_CAPTION,
        needs_headings=NEEDS_HEADINGS,
        conditions=conditions(tables),
        next_commands=next_commands(tables),
        tuned=tuned_values(tables, material),
        trials_caption=TRIALS_CAPTION,
        trials_headings=TRIALS_HEADINGS,
        trial_rows=trial_rows(tables, material),
        dashboard=dashboard_commands(material.directories),
        links=links(material.directories, out),
        references=references(material),
        many_tasks=len(tables) > 1,
        ruleset={
            "name": rules.name,
            "version": rules.version,
            "digest": rulesets.digest(rules),
            "words": rulesets.in_words(rules),
        },
        missing=missing(tables),
        environments=environments(material),
        commands=commands(material, tables),
        n_runs=len(material.records),
    )


def _facts(tables: Sequence[Table], material: Material) -> list[str]:
    n_runs, n_arms = len(material.records), max(len(table.rows) for table in tables)
    draws = dict.fromkeys(number_words(table.numbers, table.noun) for table in tables)
    dates = sorted(record.started_at[:10] for record in material.records)
    return [
        f"{n_arms} arm{'s' if n_arms != 1 else ''}",
        "; ".join(draws),
        f"{n_runs} measured run{'s' if n_runs != 1 else ''}",
        f"ruleset {material.ruleset.name} {rulesets.short_digest(material.ruleset)}",
        dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}",
    ]
