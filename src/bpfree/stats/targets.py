"""Cost to a target, the front of accuracy against cost, and performance profiles over data sets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bpfree.errors import UsageError

__all__ = ["Entry", "Profile", "energy_to_target", "pareto_front", "performance_profile", "time_to_target"]


class Entry(NamedTuple):
    """One pass of a run: what was reached, and what it had cost from the start, validation included."""

    value: float | None
    time_s: float
    joules: float | None


def _first(history: Iterable[Entry | tuple[float | None, float, float | None]], target: float) -> Entry | None:
    if math.isnan(target):
        raise UsageError("the target is not a number (nan); give a validation accuracy such as 0.97")
    for value, time_s, joules in history:
        if value is not None and value >= target:
            return Entry(value, time_s, joules)
    return None


def time_to_target(history: Iterable[Entry | tuple[float | None, float, float | None]], target: float) -> float:
    """Seconds until the validation value first reached the target; infinite if it never did.

    A miss scores infinity and is never dropped (AlgoPerf; Dahl et al. 2023, arXiv 2306.07179).

    Args:
        history: passes in order: (value, seconds, joules). A value that is ``None`` or nan reaches nothing.
        target: of the same quantity as the values, reached when value >= target.
    """
    entry = _first(history, target)
    return math.inf if entry is None else entry.time_s


def energy_to_target(history: Iterable[Entry | tuple[float | None, float, float | None]], target: float) -> float | None:
    """Joules until the target was first reached; infinite if never, ``None`` where none were measured."""
    entries = [Entry(*entry) for entry in history]
    if entries and all(entry.joules is None for entry in entries):
        return None
    entry = _first(entries, target)
    return math.inf if entry is None else entry.joules


def pareto_front(points: Mapping[str, tuple[float | None, float | None]]) -> list[str]:
    """Names of the points that no other point dominates, cheapest first.

    A point dominates another when it costs no more and is worth no less, and one of the two strictly. Points of equal cost and
    value are all kept. A point without a finite cost or value is never on the front.

    Args:
        points: (cost, value) by name: joules or seconds, and accuracy.
    """
    known = [
        (cost, value, name)
        for name, (cost, value) in points.items()
        if cost is not None and value is not None and math.isfinite(cost) and math.isfinite(value)
    ]
    front: list[tuple[float, float, str]] = []
    for cost, value, name in sorted(known, key=lambda point: (point[0], -point[1])):
        if not front or value > front[-1][1] or (cost, value) == front[-1][:2]:
            front.append((cost, value, name))
    return [name for _, _, name in front]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """For each arm, the share of data sets on which its cost is at most ``tau`` times that of the cheapest arm.

    ``taus`` rise from 1; ``shares[arm][k]`` belongs to ``taus[k]``; ``ratios[arm][dataset]`` is infinite for a miss.
    """

    taus: tuple[float, ...]
    shares: dict[str, tuple[float, ...]]
    ratios: dict[str, dict[str, float]]


def performance_profile(costs: Mapping[str, Mapping[str, float]], taus: Sequence[float] | None = None) -> Profile:
    """Performance profiles (Dolan and Moré 2002): ρ_arm(τ) = share of data sets with cost ≤ τ x the best.

    Args:
        costs: joules or seconds to a target by arm and data set, above zero; infinite where the target was missed. Every arm
            needs every data set: what was not run is not a miss, and must be left out for all.
        taus: factors, at least 1; by default every factor at which a share changes.

    Raises:
        UsageError: an arm lacks a data set, or a cost is not above zero.
    """
    datasets = list(dict.fromkeys(name for row in costs.values() for name in row))
    if not datasets:
        raise UsageError("a performance profile needs the costs of at least one arm on one data set")
    for arm, row in costs.items():
        for name in datasets:
            if name not in row:
                raise UsageError(f"arm {arm} was not run on {name}; run it, or leave {name} out for every arm")
            if not row[name] > 0:
                raise UsageError(f"a cost must be above zero, got {row[name]} for {arm} on {name}")
    best = {name: min(row[name] for row in costs.values()) for name in datasets}
    ratios = {
        arm: {name: row[name] / best[name] if math.isfinite(row[name]) else math.inf for name in datasets}
        for arm, row in costs.items()
    }
    if taus is None:
        taus = sorted({1.0, *(r for row in ratios.values() for r in row.values() if math.isfinite(r))})
    shares = {
        arm: tuple(float(np.mean([ratio <= tau * (1 + 1e-12) for ratio in row.values()])) for tau in taus)
        for arm, row in ratios.items()
    }
    return Profile(taus=tuple(float(tau) for tau in taus), shares=shares, ratios=ratios)
