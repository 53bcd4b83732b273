"""One published number: what a paper says about one arm on one data set with one net."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bpfree.units import J_PER_WH

__all__ = ["SPREAD_SDS", "Number"]

SPREAD_SDS = 2.0
"""The published spread reaches this many standard deviations to both sides of the mean (about 95 % of single runs)."""


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number of a published table, in SI units and fractions; None where the paper does not give it.

    Attributes:
        table: name of the CSV, or ``"suite"`` for a number written in a suite's own file.
        accuracy: of the test split, a fraction.
        spread: (low, high), fractions: the range of single runs; None where no spread is known.
        spread_words: how the spread was made, or why there is none.
        n_runs: as printed, such as ``"3"`` or ``"20+"``; empty where unknown.
        difference: test accuracy less backprop's, a fraction, where the paper gives that (or both accuracies).
        difference_interval: (low, high) of it, as published.
        time_ratio, energy_ratio: to backprop.
        second_hand: taken from another text, not from the paper itself.
        source: paper, table, and what must be known before quoting the number.
    """

    table: str
    dataset: str
    net: str
    algorithm: str
    variant: str = ""
    protocol: str = ""
    accuracy: float | None = None
    spread: tuple[float, float] | None = None
    spread_words: str = "no spread published"
    n_runs: str = ""
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    time_s: float | None = None
    energy_j: float | None = None
    time_ratio: float | None = None
    energy_ratio: float | None = None
    second_hand: bool
    source: str

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What identifies it in its table."""
        return (self.dataset, self.net, self.algorithm, self.variant, self.protocol)


def number_of(table: str, rows: Sequence[Mapping[str, str]], source: str, second_hand: bool) -> Number:
    """One number of the CSV rows that share its key: one row, or one for each run."""
    first = rows[0]
    accuracies = [value for row in rows if (value := _accuracy(row)) is not None]
    sd = _part(first, "test_accuracy_sd", 0.01)
    spread, words, n_runs = None, "no spread published", first.get("seeds") or first.get("runs") or ""
    accuracy = statistics.mean(accuracies) if accuracies else None
    if len(rows) > 1:
        n_runs, sd = str(len(rows)), statistics.stdev(accuracies)
        if max(accuracies) == min(accuracies):
            sd, words = None, f"the {n_runs} published runs are identical (one seed counted {n_runs} times): no spread"
    if accuracy is not None and sd is not None:
        spread = (accuracy - SPREAD_SDS * sd, accuracy + SPREAD_SDS * sd)
        words = f"mean ± {SPREAD_SDS:g} SD{f' of {n_runs} runs' if n_runs else ''}"
    low, high = _part(first, "difference_low", 0.01), _part(first, "difference_high", 0.01)
    note = (first.get("source") or first.get("note") or "").removeprefix("same").lstrip("; ")  # as the row above
    return Number(
        table=table,
        dataset=first["dataset"],
        net=first["net"],
        algorithm=first["algorithm"],
        variant=first.get("variant") or "",
        protocol=first.get("protocol") or "",
        accuracy=accuracy,
        spread=spread,
        spread_words=words,
        n_runs=n_runs,
        difference=_part(first, "difference_points", 0.01),
        difference_interval=None if low is None or high is None else (low, high),
        time_s=_mean(rows, "train_time_s"),
        energy_j=_mean(rows, "gpu_energy_wh", J_PER_WH),
        time_ratio=_part(first, "time_ratio_to_bp"),
        energy_ratio=_part(first, "energy_ratio_to_bp"),
        second_hand=second_hand,
        source=f"{source} ({note})" if note else source,
    )


def _accuracy(row: Mapping[str, str]) -> float | None:
    value = _part(row, "test_accuracy", 0.01)
    return _part(row, "test_accuracy_mean", 0.01) if value is None else value


def _part(row: Mapping[str, str], column: str, factor: float = 1.0) -> float | None:
    text = row.get(column) or ""
    return float(text) * factor if text else None


def _mean(rows: Sequence[Mapping[str, str]], column: str, factor: float = 1.0) -> float | None:
    values = [value for row in rows if (value := _part(row, column, factor)) is not None]
    return statistics.mean(values) if values else None
