"""The whole report as plain values (for ``--json``) and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bpfree import rulesets
from bpfree.report.facts import commands, environments, missing, tuned_values
from bpfree.report.material import Material
from bpfree.report.model import Row, Table
from bpfree.report.tables import escape_markdown, markdown_table, markdown_targets
from bpfree.report.words import answer, conditions, flags, next_commands

__all__ = ["SUMMARY_VERSION", "markdown", "summary"]

SUMMARY_VERSION = 1


def summary(tables: Sequence[Table], material: Material) -> dict[str, Any]:
    """What the page says, as JSON values: no NaN, no infinity; what was not measured is ``None``."""
    return {
        "schema": SUMMARY_VERSION,
        "ruleset": {
            "name": material.ruleset.name,
            "version": material.ruleset.version,
            "digest": rulesets.digest(material.ruleset),
            "stamps": list(material.ruleset.stamps),
        },
        "directories": [str(path) for path in material.directories],
        "tables": [
            {
                "dataset": table.dataset,
                "net": table.net,
                "baseline": table.baseline,
                "equivalence_margin_fraction": table.margin,
                "answer": " ".join(filter(None, (said.text, said.more))),
                "rows": [_row(row) for row in table.rows],
                "target": _target(table),
            }
            for table in tables
            for said in (answer(table, material),)
        ],
        "flags": flags(tables, material),
        "conditions": conditions(tables),
        "not_measured": [asdict(entry) for entry in missing(tables)],
    }


def _target(table: Table) -> dict[str, Any] | None:
    """Costs to the target; ``None`` for what was not measured and for what was never reached (``n_reached`` tells them apart)."""
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
                "median_passes_count": finite(each.passes),
                "median_time_s": finite(each.time_s),
                "median_energy_j": finite(each.joules),
            }
            for each in table.targets.arms
        ],
    }


def _row(row: Row) -> dict[str, Any]:
    estimates = {
        "test_accuracy_fraction": row.accuracy,
        "difference_fraction": row.difference,
        "passes_count": row.passes,
        "time_s": row.time_s,
        "time_ratio": row.time_ratio,
        "energy_j": row.energy_j,
        "net_energy_j": row.net_energy_j,
        "energy_ratio": row.energy_ratio,
        "co2e_g": row.co2e_g,
    }
    return {
        "arm": row.arm,
        "label": row.label,
        "algorithm": row.runs[0].algorithm,
        "variant": row.runs[0].variant,
        "seeds": row.seeds,
        "statuses": row.statuses,
        "verdict": row.verdict or None,
        **{name: estimate and asdict(estimate) for name, estimate in estimates.items()},
        "train_step_flops": row.train_step_flops,
        "peak_memory_bytes": row.peak_memory_bytes,
        "test_accuracy_by_seed": {
            str(run.seed): run.test_accuracy for run in row.runs if run.test_accuracy is None or math.isfinite(run.test_accuracy)
        },
        "params": {k: v for k, v in row.runs[0].params.items() if not isinstance(v, float) or math.isfinite(v)},
    }


def markdown(tables: Sequence[Table], material: Material) -> str:
    """The report as Markdown: the answer, the tables, and what must be known before quoting them."""
    lines = ["# bpfree comparison", ""]
    lines += [line for stamp in material.ruleset.stamps for line in (f"**{stamp}**", "")]
    for table in tables:
        said = answer(table, material)
        lines += [escape_markdown(text) + "\n" for text in (said.text, said.more) if text]
    lines += _bullets("Read this first", flags(tables, material))
    for table in tables:
        lines += [
            f"## {escape_markdown(f'{table.dataset}, {table.net}')}",
            "",
            *markdown_table(table),
            "",
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
    lines += ["## How to repeat it", "", *(f"    {' '.join(command.split())}" for command in commands(material))]
    return "\n".join(lines).rstrip() + "\n"


def _bullets(heading: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    return [
        *([f"## {heading}", ""] if heading else []),
        *(f"- {escape_markdown(item)}" for item in items),
        "",
    ]


def _tuned_line(entry: Any) -> str:
    values = ", ".join(
        f"{value.name} = {value.value}{' (at the edge of its space)' if value.at_edge else ''}" for value in entry.values
    )
    cost = f"search {entry.trials}, {entry.time}, {entry.energy}"
    return f"{entry.cell}, {entry.label}: {values or 'nothing to tune'}; {cost}"
