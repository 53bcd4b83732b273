"""What the runs of each arm did and where their time went: a table beside the headline one."""

from __future__ import annotations

from collections.abc import Callable

from bpfree.report import quantities as q
from bpfree.report.model import ArmRow, Table
from bpfree.report.phase_ends import ends_in_words
from bpfree.report.quantities import Quantity
from bpfree.units import MISSING

__all__ = ["PASSES_CAPTION", "PASSES_HEADINGS", "passes_rows"]

_SHOWN = (
    q.PASSES, q.STEPS, q.EXAMPLES, q.TIME, q.VALIDATION_TIME, q.TRAINING_TIME, q.CPU_TIME, q.BUSY_PROCESSORS, q.OTHER_LOAD,
)  # fmt: skip

PASSES_HEADINGS = ("Arm", *(quantity.heading for quantity in _SHOWN), "How the runs ended")
PASSES_CAPTION = (
    "Means over the runs that finished. Steps and examples are counted by the training loop; time is wall time of the whole run, "
    "training is that less validation. Processor time is that of this process alone, so other processes lengthen it less than "
    "the wall time. A run that ended at the cap on passes had not stopped improving by the patience of the ruleset."
)


def passes_rows(table: Table) -> list[tuple[str, ...]]:
    """Texts of that table, in the order of the arms."""
    return [(row.label, *(_mean(row, each) + _times(row, each) for each in _SHOWN), _ends(row)) for row in table.rows]


def _mean(row: ArmRow, quantity: Quantity) -> str:
    mean = row[quantity]
    show: Callable[[float], str] = quantity.show
    return MISSING if mean is None else show(mean.mean)


def _times(row: ArmRow, quantity: Quantity) -> str:
    """The ratio to the baseline's processor time; other ratios stand in the headline table."""
    ratio = row[q.CPU_RATIO] if quantity is q.CPU_TIME else None
    return "" if ratio is None else f" (×{q.CPU_RATIO.show(ratio.mean)})"


def _ends(row: ArmRow) -> str:
    return ends_in_words(row.runs).removeprefix("ended ") or MISSING
