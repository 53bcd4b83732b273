"""Tables of two arms with chosen accuracies, for the tests of words and flags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bpfree import report
from bpfree.records import Record

PAIR = ("backprop", "mono-forward")
BASE = (0.90, 0.92, 0.91, 0.93, 0.94, 0.925, 0.915, 0.905, 0.935, 0.945)
UP = (0.02, 0.03, 0.02, 0.04, 0.04, 0.03, 0.02, 0.03, 0.04, 0.03)


def with_accuracies(records: Sequence[Record], **by_arm: Sequence[float]) -> list[Record]:
    """The records with other test accuracies, by seed."""
    named = {arm.replace("_", "-"): values for arm, values in by_arm.items()}
    return [r.model_copy(update={"test_accuracy": named[r.arm][r.seed]}) if r.arm in named else r for r in records]


def ahead(runs: Any, n: int = 5, **options: Any) -> list[Record]:
    """Backprop and Mono-Forward, which is better by 2 to 4 points in every seed."""
    plan = {"arms": list(PAIR), "seeds": list(range(n))}
    made = with_accuracies(
        runs.grid(PAIR, range(n), **options), backprop=BASE, mono_forward=[b + u for b, u in zip(BASE, UP, strict=True)]
    )
    return [r.model_copy(update={"plan": r.plan | plan}) for r in made]


def summary_of(runs: Any, records: Sequence[Record], **options: Any) -> dict[str, Any]:
    return report.summarise([runs(records=records, **options)])


def verdict_of(summary: dict[str, Any], arm: str = "mono-forward", table: int = 0) -> str:
    return next(row["verdict"] for row in summary["tables"][table]["rows"] if row["arm"] == arm)


def flag_with(summary: dict[str, Any], words: str) -> str:
    (found,) = [flag for flag in summary["flags"] if words in flag]
    return found
