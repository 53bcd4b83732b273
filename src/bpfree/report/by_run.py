"""Every run of a table in a line: what the means are means of."""

from __future__ import annotations

import math

from bpfree.records import Record
from bpfree.report import quantities as q
from bpfree.report.model import Table
from bpfree.report.phase_ends import END_WORDS, end_of_run
from bpfree.report.quantities import Quantity
from bpfree.report.replicates import is_crossed
from bpfree.units import MISSING, format_percent

__all__ = ["BY_RUN_CAPTION", "by_run_headings", "by_run_rows"]

_SHOWN = (q.ACCURACY, q.PASSES, q.TIME, q.VALIDATION_TIME, q.ENERGY)

BY_RUN_CAPTION = (
    "One line for each run, in the order of the arms. The validation accuracy is the best of the run, by which its state was "
    "chosen; the energy is gross."
)


def by_run_headings(table: Table) -> tuple[str, ...]:
    """Headings of the table of runs."""
    accuracy, *costs = (quantity.heading for quantity in _SHOWN)
    energy = costs.pop().partition(",")[0]
    return ("Arm", table.noun.capitalize(), accuracy, "Validation accuracy, %", *costs, energy, "How it ended")


def by_run_rows(table: Table) -> list[tuple[str, ...]]:
    """Texts of that table."""
    crossed = is_crossed(table.runs)
    return [(row.label, *_texts(run, crossed)) for row in table.rows for run in row.runs]


def _texts(run: Record, crossed: bool) -> tuple[str, ...]:
    number = str(run.replicate[1]) + (f", split {run.split_seed}" if crossed else "")
    accuracy, *costs = (_value(run, quantity) for quantity in _SHOWN)
    return (number, accuracy, format_percent(run.val_accuracy), *costs, _end(run))


def _value(run: Record, quantity: Quantity) -> str:
    value = quantity.pick(run)
    return MISSING if value is None or math.isnan(value) else quantity.show(value)


def _end(run: Record) -> str:
    if run.status != "ok":
        return run.status
    reason = end_of_run(run)
    return MISSING if reason is None else END_WORDS[reason]
