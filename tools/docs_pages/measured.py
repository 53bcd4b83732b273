"""What is committed under benchmarks/results, as the pages of the documentation show it."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "counted_costs", "curves_of", "runs", "summary_of", "table_of_runs"]

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@cache
def runs() -> tuple[dict[str, Any], ...]:
    """The records of ``benchmarks/marks.py``: one run with given values for each rule, net and data set."""
    return tuple(json.loads(line) for line in (RESULTS / "marks.jsonl").read_text(encoding="utf-8").splitlines())


def table_of_runs(rule: str) -> tuple[str, list[list[str]]]:
    """Heading and rows of ``marks.md`` that belong to a rule."""
    lines = [line for line in (RESULTS / "marks.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    mine = [row for row in cells[2:] if row[0].partition(":")[0].partition(",")[0] == rule]
    return "".join(lines[:1]), mine


def curves_of(rule: str) -> tuple[str, dict[str, list[float]]] | None:
    """Data set, net, and validation accuracies by pass of the rule's arms there, beside backprop's; None without a run.

    The place with most of the rule's arms is shown.
    """
    places: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(dict)
    for record in runs():
        accuracies = [entry["val_accuracy"] for entry in record["history"] if entry["val_accuracy"] is not None]
        if len(accuracies) >= 3:
            name = record["arm"] + (", cosine" if record["plan"].get("lr_schedule") == "cosine" else "")
            places[record["dataset"], record["net"]][name] = accuracies
    mine = {
        place: {name: each for name, each in arms.items() if name.partition(":")[0].partition(",")[0] == rule}
        for place, arms in places.items()
    }
    best = max(mine, key=lambda place: len(mine[place]))
    if not mine[best]:
        return None
    beside = {} if rule == "backprop" else {name: each for name, each in places[best].items() if name == "backprop"}
    return f"Validation accuracy in %, {best[0]}, {best[1]}", beside | mine[best]


@cache
def counted_costs() -> tuple[dict[str, Any], ...]:
    """The rows of ``benchmarks/cost.py``: memory and multiply-adds of a step, counted."""
    return tuple(json.loads((RESULTS / "cost.json").read_text(encoding="utf-8"))["rows"])


def summary_of(directory: str) -> list[dict[str, str]]:
    """The rows of the ``summary.csv`` of a committed run directory."""
    with (RESULTS / directory / "report" / "summary.csv").open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
