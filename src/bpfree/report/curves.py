"""Learning curves: the history of each run as a line, and the mean of an arm's runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bpfree.records import Record

__all__ = ["MAX_POINTS", "Curve", "common_mean", "run_line"]

MAX_POINTS = 60
"""Most points drawn of a line; more cannot be told apart at the width of a chart and make the file larger."""


@dataclass(frozen=True)
class Curve:
    """Validation accuracy (a fraction) over passes or seconds."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    finished: bool


def run_line(run: Record, against: str) -> Curve | None:
    """One run against ``"passes"`` or ``"seconds"``; passes without a validation are left out."""
    points = [
        (float(entry.passes if against == "passes" else entry.time_s), entry.val_accuracy)
        for entry in run.history
        if entry.val_accuracy is not None and math.isfinite(entry.val_accuracy) and math.isfinite(entry.time_s)
    ]
    if not points:
        return None
    xs, ys = zip(*_thinned(points), strict=True)
    return Curve(xs, ys, run.status == "ok")


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(points) <= MAX_POINTS:
        return points
    best = max(range(len(points)), key=lambda k: points[k][1])
    chosen = {round(k) for k in np.linspace(0, len(points) - 1, MAX_POINTS - 1)} | {best}
    return [points[k] for k in sorted(chosen)]


def common_mean(lines: Sequence[Curve]) -> Curve | None:
    """Mean of the finished runs, over the range that all of them cover.

    Beyond the end of one run, the mean of the others would jump for a reason that is not in the training.
    """
    finished = [line for line in lines if line.finished]
    if not finished:
        return None
    start, end = max(line.x[0] for line in finished), min(line.x[-1] for line in finished)
    if end < start:
        return None
    grid = sorted({x for line in finished for x in line.x if start <= x <= end})
    grid = [grid[round(k)] for k in np.linspace(0, len(grid) - 1, min(len(grid), MAX_POINTS))]
    mean = np.mean([np.interp(grid, line.x, line.y) for line in finished], axis=0)
    return Curve(tuple(grid), tuple(float(value) for value in mean), True)
