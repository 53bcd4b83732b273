"""The whole report as plain values (for ``--json``) and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bpfree import rulesets
from bpfree.report.above_control import control_notes, control_values
from bpfree.report.evidence import evidence_caption, evidence_headings, evidence_notes, evidence_rows, evidence_values
from bpfree.report.facts import TunedArm, commands, environments, missing, tuned_values
from bpfree.report.flags import flags
from bpfree.report.material import Material
from bpfree.report.model import ArmRow, Table
from bpfree.report.tables import escape_markdown, markdown_table, markdown_targets
from bpfree.report.targets import COSTS_TO_TARGET
from bpfree.report.words import answer, conditions, next_commands, standing

__all__ = ["SUMMARY_VERSION", "markdown", "summary"]

SUMMARY_VERSION = 1


def summary(tables: Sequence[Table], material: Material) -> dict[str, Any]:
    """Contents of the page as JSON values, without NaN and infinity; what was not measured is ``None``."""
    raised = flags(tables, material)
    return {
        "schema": SUMMARY_VERSION,
        "standing": standing(material),
        "ruleset": {
            "name": material.ruleset.name,
            "version": material.ruleset.version,
            "digest": rulesets.digest(material.ruleset),
            "stamps": list(material.ruleset.stamps),
            "claims": material.ruleset.claims,
        },
        "directories": [str(path) for path in material.directories],
        "tables": [
            {
                "dataset": table.dataset,
                "net": table.net,
                "baseline": table.baseline,
                "equivalence_margin_fraction": table.margin,
                "test_level": table.looks.level,
                "looks": list(table.looks.sizes),
                "answer": " ".join(filter(None, (sentences.text, sentences.more))),
                "rows": [_row(row) for row in table.rows],
                "above_controls": control_values(table.above_controls),
                "target": _target(table),
            }
            for table in tables
            for sentences in (answer(table, material, raised),)
        ],
        "flags": [str(flag) for flag in raised],
        "conditions": conditions(tables),
        "not_measured": [asdict(entry) for entry in missing(tables)],
    }


def _target(table: Table) -> dict[str, Any] | None:
    """Costs to the target; ``None`` for what was not measured or never reached (``n_reached`` distinguishes the two)."""
    if table.targets is None:
        return None

    def finite(value: float | None) -> float | None:
        return value if value is not None and math.isfinite(value) else None

    return {
        "val_accuracy_fraction": table.targets.accuracy,
        "source": table.targets.source,
        "arms": [
            {
                "arm": each.arm,
                "n_reached": each.n_reached,
                "n_runs": each.n_runs,
                **{cost.key: finite(cost.pick(each)) for cost in COSTS_TO_TARGET},
            }
            for each in table.targets.arms
        ],
    }


def _row(row: ArmRow) -> dict[str, Any]:
    return {
        "arm": row.arm,
        "label": row.label,
        "algorithm": row.runs[0].algorithm,
        "variant": row.runs[0].variant,
        "seeds": row.seeds,
        "statuses": row.statuses,
        "verdict": row.verdict.text or None,
        "verdict_sentence": row.verdict.sentence or None,
        "time_word": row.time_word or None,
        "energy_word": row.energy_word or None,
        "control": row.control,
        "evidence": evidence_values(row),
        **{key: mean and asdict(mean) for key, mean in row.means.items()},
        **row.largest,
        "test_accuracy_by_seed": {
            str(run.seed): run.test_accuracy for run in row.runs if run.test_accuracy is None or math.isfinite(run.test_accuracy)
        },
        "params": {k: v for k, v in row.runs[0].params.items() if not isinstance(v, float) or math.isfinite(v)},
    }


def markdown(tables: Sequence[Table], material: Material) -> str:
    """The report as Markdown: the answer, the tables, and what must be known before quoting them."""
    lines = ["# bpfree comparison", ""]
    lines += [line for stamp in material.ruleset.stamps for line in (f"**{stamp}**", "")]
    kind, raised = standing(material), flags(tables, material)
    lines += [f"**{escape_markdown(kind)}**", ""] if kind else []
    for table in tables:
        sentences = answer(table, material, raised)
        lines += [escape_markdown(text) + "\n" for text in (sentences.text, sentences.more) if text]
    lines += _bullets("Read this first", [str(flag) for flag in raised])
    for table in tables:
        lines += [
            f"## {escape_markdown(table.task_text)}",
            "",
            *markdown_table(table),
            "",
            *_bullets("", [*control_notes(table.above_controls), *evidence_notes(table)]),
            *_evidence(table),
            *markdown_targets(table),
        ]
    lines += _bullets("What these numbers hold for", conditions(tables))
    lines += [line for command in next_commands(tables) for line in (f"    {command}", "")]
    lines += _bullets("What was tuned to what", [_tuned_line(entry) for entry in tuned_values(tables, material)])
    digest = rulesets.digest(material.ruleset)
    lines += [
        f"## Ruleset {material.ruleset.name}, version {material.ruleset.version}",
        "",
        f"Digest `{digest}`.",
        "",
    ]
    lines += _bullets("", rulesets.in_words(material.ruleset))
    reasons = [f"{entry.quantities}{f' ({entry.arms})' if entry.arms else ''}: {entry.reason}" for entry in missing(tables)]
    lines += _bullets("What was not measured, and why", reasons)
    for machine in environments(material):
        facts = [f"{name}: {value}" for name, value in machine.facts]
        lines += _bullets(escape_markdown(f"Where it ran: {machine.heading}"), facts)
    lines += ["## How to repeat it", "", *(f"    {' '.join(command.split())}" for command in commands(material, tables))]
    return "\n".join(lines).rstrip() + "\n"


def _evidence(table: Table) -> list[str]:
    rows = evidence_rows(table)
    if not rows:
        return []
    lines = [evidence_headings(table), ("---", *["---:"] * (len(rows[0]) - 1)), *rows]
    return [
        escape_markdown(evidence_caption(table)),
        "",
        *("| " + " | ".join(map(escape_markdown, texts)) + " |" for texts in lines),
        "",
    ]


def _bullets(heading: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    return [
        *([f"## {heading}", ""] if heading else []),
        *(f"- {escape_markdown(item)}" for item in items),
        "",
    ]


def _tuned_line(entry: TunedArm) -> str:
    values = ", ".join(
        f"{value.name} = {value.value}{' (at the edge of its space)' if value.at_edge else ''}" for value in entry.values
    )
    cost = f"search {entry.trials}, {entry.time}, {entry.energy}"
    return f"{entry.task}, {entry.label}: {values or 'nothing to tune'}; {cost}"
