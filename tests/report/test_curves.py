"""Learning curves by value: the points of a run, and the mean of the runs of an arm."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from bpfree.report.curves import MAX_POINTS, Curve, common_mean, run_line


def run(*entries: tuple[int, float, float | None], status: str = "ok") -> Any:
    """A record as far as a curve reads it: passes, seconds and validation accuracy of each entry."""
    history = [SimpleNamespace(passes=p, time_s=t, val_accuracy=a) for p, t, a in entries]
    return SimpleNamespace(history=history, status=status)


def test_points_without_a_finite_accuracy_or_time_are_left_out() -> None:
    seen = run((1, 0.5, 0.2), (2, 1.5, None), (3, 2.5, math.nan), (4, math.inf, 0.3), (5, 4.5, 0.4), status="failed")
    assert run_line(seen, "passes") == Curve((1.0, 5.0), (0.2, 0.4), False)
    assert run_line(seen, "seconds") == Curve((0.5, 4.5), (0.2, 0.4), False)
    assert run_line(run((1, 0.5, None)), "passes") is None


@pytest.mark.parametrize("n", [MAX_POINTS, MAX_POINTS + 1, 1000])
def test_a_long_line_keeps_its_ends_and_its_best_point(n: int) -> None:
    best = n // 3 + 1
    line = run_line(run(*((k, 2.0 * k, 1.0 if k == best else 0.001 * k / n) for k in range(n))), "passes")
    assert line is not None
    assert len(line.x) == n if n <= MAX_POINTS else MAX_POINTS - 1 <= len(line.x) <= MAX_POINTS
    assert (line.x[0], line.x[-1], line.y[line.x.index(best)]) == (0.0, n - 1.0, 1.0)
    assert list(line.x) == sorted(set(line.x))


def test_the_mean_is_over_the_range_of_all_finished_runs() -> None:
    """From 2, where the second begins, to 4, where the first ends; between points a line is straight."""
    lines = [Curve((1.0, 2.0, 4.0), (0.0, 0.2, 0.6), True), Curve((2.0, 3.0, 5.0), (0.4, 0.6, 1.0), True)]
    lost = Curve((3.0, 9.0), (0.0, 0.0), False)
    mean = common_mean([*lines, lost])
    assert mean is not None
    assert (mean.x, mean.finished) == ((2.0, 3.0, 4.0), True)
    assert mean.y == pytest.approx((0.3, 0.5, 0.7))
    assert common_mean([lost]) is None
    assert common_mean([Curve((1.0, 2.0), (0.1, 0.2), True), Curve((3.0, 4.0), (0.1, 0.2), True)]) is None
    touching = common_mean([Curve((1.0, 3.0), (0.1, 0.2), True), Curve((3.0, 4.0), (0.4, 0.5), True)])
    assert touching is not None
    assert (touching.x, touching.y) == ((3.0,), (pytest.approx(0.3),))


@pytest.mark.parametrize("n", [MAX_POINTS - 1, MAX_POINTS, MAX_POINTS + 1, 500])
def test_a_long_mean_has_no_more_points_than_are_drawn_from_end_to_end(n: int) -> None:
    line = Curve(tuple(float(k) for k in range(n)), tuple(0.001 * k for k in range(n)), True)
    mean = common_mean([line, line])
    assert mean is not None
    assert len(mean.x) == min(n, MAX_POINTS)
    assert (mean.x[0], mean.x[-1]) == (0.0, n - 1.0)
    assert mean.y == pytest.approx([0.001 * x for x in mean.x])
