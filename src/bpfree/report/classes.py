"""What an accuracy is to be held against: the share of the most frequent class, and accuracy class by class."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from bpfree.records import ByClass, Record
from bpfree.report.audit import Flag
from bpfree.report.model import ArmRow, Table
from bpfree.text import readable

__all__ = ["class_fields", "class_flags", "class_words", "majority_words"]

_SHOWN = 10
"""Classes whose recalls are listed one by one; of more, the least and the largest."""


def _by_class(runs: Sequence[Record]) -> list[ByClass]:
    """Of the runs that ended well; nothing where one of them does not have it."""
    seen = [run.by_class for run in runs if run.status == "ok"]
    known = [each for each in seen if each is not None]
    return known if len(known) == len(seen) else []


def _recalls(seen: Sequence[ByClass]) -> dict[str, float]:
    """Mean recall of each class that occurs in the test split, by its name (its number, where it has none)."""
    labels = seen[0].labels or range(len(seen[0].recall))
    by_label = zip(labels, *(each.recall for each in seen), strict=True)
    known = {readable(str(label)): [value for value in values if value is not None] for label, *values in by_label}
    return {label: statistics.fmean(values) for label, values in known.items() if values}


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def majority_words(row: ArmRow) -> str:
    """``"majority 97.0"``, the per cent that always naming the most frequent class would score; empty where it is not known."""
    seen = _by_class(row.runs)
    return f"majority {_percent(statistics.fmean(each.majority_share for each in seen))}" if seen else ""


def class_words(row: ArmRow) -> str:
    """The majority, balanced accuracy and, where classes are uneven, recall by class, in per cent."""
    seen = _by_class(row.runs)
    if not seen:
        return ""
    recalls = _recalls(seen)
    words = f"{majority_words(row)}, balanced {_percent(statistics.fmean(each.balanced_accuracy for each in seen))}"
    if statistics.fmean(each.majority_share for each in seen) * len(recalls) < 1.5:
        return words
    named = seen[0].labels is not None
    listed = (
        ", ".join(f"{label}: {_percent(recall)}" if named else _percent(recall) for label, recall in recalls.items())
        if len(recalls) <= _SHOWN
        else f"{_percent(min(recalls.values()))} to {_percent(max(recalls.values()))}"
    )
    return f"{words}, recall by class {listed}"


def class_fields(row: ArmRow) -> dict[str, str | float | None]:
    """The same as numbers, for CSV; fractions, those of the classes separated by spaces."""
    seen = _by_class(row.runs)
    return {
        "mean_balanced_accuracy_fraction": statistics.fmean(each.balanced_accuracy for each in seen) if seen else None,
        "mean_majority_share_fraction": statistics.fmean(each.majority_share for each in seen) if seen else None,
        "mean_recall_by_class_fraction": " ".join(f"{recall:.6g}" for recall in _recalls(seen).values()) if seen else None,
    }


def class_flags(table: Table) -> Iterator[Flag]:
    """Arms that are no better than the most frequent class alone."""
    for row in table.rows:
        seen = [run for run in row.runs if run.by_class is not None and run.test_accuracy is not None]
        equal = [run for run in seen if run.by_class is not None and (run.test_accuracy or 0.0) <= run.by_class.majority_share]
        if not equal:
            continue
        known = [run.by_class for run in equal if run.by_class is not None]
        share, balanced = known[0].majority_share, statistics.fmean(each.balanced_accuracy for each in known)
        yield Flag(
            "majority-class",
            f"{len(equal)} of {len(row.runs)} runs of {row.label} are no better than always naming the most frequent class "
            f"({_percent(share)} %): balanced accuracy {_percent(balanced)} %. Watch stop.metric: balanced-accuracy instead.",
        )
