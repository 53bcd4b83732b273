"""The fields of ``records.jsonl`` and the columns of ``summary.csv``, from the schema and from the list of quantities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bpfree
from bpfree.report.quantities import QUANTITIES, Quantity
from tools.docs_pages.markdown import as_markdown, escaped, table

__all__ = ["OTHER_COLUMNS", "write_records"]

SCHEMA = Path(str(bpfree.__file__)).with_name("records.schema.json")

OTHER_COLUMNS = {
    "dataset": "name of the data set",
    "net": "name of the net",
    "arm": "rule with the values that it fixes",
    "baseline": "the arm that the others are compared with",
    "verdict": "what may be said of the difference: [how to read it](../why-one-ruleset.md)",
    "target_val_accuracy_fraction": "validation accuracy that `--target` named",
    "n_reached_target": "runs that reached it",
    "median_time_to_target_s": "median over the runs; infinite where most did not reach it",
    "median_energy_to_target_j": "likewise",
    "median_to_target_flops": "likewise: FLOPs of training, without validation",
    "mean_balanced_accuracy_fraction": "mean of the recalls of the classes",
    "mean_majority_share_fraction": "accuracy of always naming the most frequent class",
    "mean_recall_by_class_fraction": "one value a class, in the order of the labels",
    "n_ended_by_hours": "phases that ended at `--max-hours`",
    "n_ended_by_cap": "phases that ended at the cap on passes: no comparison of arms at their own convergence",
    "n_ended_by_patience": "phases that the stop rule ended",
    "n_ended_by_itself": "phases that had nothing more to do",
    "n_seeds": "planned runs",
    "n_ok": "runs that ended as they should",
    "n_diverged": "runs whose loss became NaN or infinite",
    "n_failed": "runs that raised an error",
    "n_interrupted": "runs that were stopped",
    "stamps": "warnings that belong to the whole table",
}
"""Columns of ``summary.csv`` that are no quantity of the list."""


def write_records(folder: Path) -> list[Path]:
    """``records.md`` and ``columns.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"records.md": _records(json.loads(SCHEMA.read_text(encoding="utf-8"))), "columns.md": _columns()}
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in pages]


def _type(facts: dict[str, Any]) -> str:
    if "$ref" in facts:
        name = facts["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in facts:
        kinds = dict.fromkeys(_type(each) for each in facts["anyOf"])
        return " or ".join(kinds)
    if "enum" in facts:
        return ", ".join(f"`{each}`" for each in facts["enum"])
    if "const" in facts:
        return f"`{facts['const']}`"
    if facts.get("type") == "array":
        return f"list of {_type(facts.get('items', {}))}"
    return str(facts.get("type", "any"))


def _fields(properties: dict[str, Any], required: list[str]) -> str:
    rows = [
        [f"`{name}`", _type(facts), "always" if name in required else f"`{json.dumps(facts.get('default'))}` if left out"]
        for name, facts in properties.items()
    ]
    return table(("field", "type", ""), rows)


def _records(schema: dict[str, Any]) -> str:
    parts = [
        "# Fields of a record",
        "A run directory keeps one line of JSON for each measured run in `records.jsonl`. The schema is "
        "`bpfree/records.schema.json`; `bpfree.records.read_records` reads and checks the lines. Units are in the names: `_s`, "
        "`_bytes`, `_g`; `joules` are joules; accuracies are fractions from 0 to 1. What was not measured is `null`, and "
        "`reasons` says why under the dotted path of the field; it is never 0.",
        as_markdown(schema["description"]),
        "## Record",
        _fields(schema["properties"], schema["required"]),
    ]
    for name, facts in schema["$defs"].items():
        if "properties" in facts:
            parts += [
                f"## {name}",
                as_markdown(facts.get("description", "")),
                _fields(facts["properties"], facts.get("required", [])),
            ]
        else:
            parts += [f"## {name}", f"One of {_type(facts)}."]
    return "\n\n".join(part for part in parts if part) + "\n"


def _names(quantity: Quantity) -> str:
    if quantity.statistic == "largest":
        return f"`{quantity.key}`"
    return ", ".join(f"`{end}_{quantity.key}`" for end in ("mean", "low95", "high95"))


MADE = {
    "mean": "mean over the runs",
    "difference": "mean of the paired differences to the baseline",
    "ratio": "geometric mean of the paired ratios to the baseline",
    "largest": "largest of the runs",
}


def _columns() -> str:
    rows = [[escaped(each.name), _names(each), MADE[each.statistic], f"`{each.path}`"] for each in QUANTITIES]
    others = [[f"`{name}`", words] for name, words in OTHER_COLUMNS.items()]
    return "\n\n".join([
        "# Columns of a report",
        "`report/summary.csv` has a line for each arm. `mean`, `low95` and `high95` are the estimate and the ends of its 95 % "
        "interval. The page and `summary.md` show the same values. An empty cell was not measured, and the page says why.",
        table(("quantity", "columns", "what is made of the runs", "from the field"), rows),
        "## Other columns",
        table(("column", "meaning"), others),
    ]) + "\n"  # fmt: skip
