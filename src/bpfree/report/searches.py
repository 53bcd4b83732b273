"""The history of the searches: what was tried, what it gave, and which was taken."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bpfree.report.facts import search_name
from bpfree.report.material import Material
from bpfree.report.model import Table
from bpfree.units import MISSING, format_percent

__all__ = ["TRIALS_CAPTION", "TRIALS_HEADINGS", "dashboard_commands", "trial_rows"]

TRIALS_HEADINGS = ("Arm", "Trial", "Values", "Validation accuracy, %", "Passes", "Outcome")
TRIALS_CAPTION = (
    "Every trial of every search, in order. The first trial with the best validation accuracy is taken; no test data are read."
)

JOURNAL = "study.journal"
"""The journal of the searches of a run directory, which Optuna reads."""


def trial_rows(tables: Sequence[Table], material: Material) -> list[tuple[str, ...]]:
    """Texts of the table of trials; none where nothing was searched or the trials are not known."""
    return [
        (row.label + search_name(row, search) + (f"; {table.task_text}" if len(tables) > 1 else ""), *texts)
        for table in tables
        for row in table.rows
        for search, runs in row.searches.items()
        if (entry := material.tuned_entry(runs[0])) is not None
        for texts in _trials(entry)
    ]


def _trials(entry: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    tried: Sequence[Mapping[str, Any]] = entry.get("tried") or []
    for number, trial in enumerate(tried):
        values = ", ".join(f"{name} = {_number(value)}" for name, value in (trial.get("values") or {}).items())
        passes = trial.get("passes")
        yield (
            str(number),
            values or "nothing to tune",
            format_percent(trial.get("val_accuracy")),
            MISSING if passes is None else str(passes),
            _outcome(number, trial, entry),
        )


def _outcome(number: int, trial: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    if trial.get("diverged"):
        return "diverged"
    taken = entry.get("best_trial")
    is_taken = trial.get("values") == entry.get("best") if taken is None else number == taken
    return "taken" if is_taken else ""


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) and math.isfinite(value) else str(value)


def dashboard_commands(directories: Sequence[Path]) -> list[str]:
    """For each directory with a journal the command that opens it in a browser; the program is a package of that name."""
    # A full path would carry the name of its user into a page that is passed on.
    names = [Path(path.name) if path.is_absolute() else path for path in directories if (path / JOURNAL).is_file()]
    return [f"optuna-dashboard {shlex.quote(str(name / JOURNAL))}" for name in names]
