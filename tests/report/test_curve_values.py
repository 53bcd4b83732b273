"""How many points of a long line are drawn, and which: by value, since no picture shows one point more or less."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bpfree.report.curves import MAX_POINTS, Curve, common_mean, run_line


def run(n: int, best: int) -> Any:
    """A run of ``n`` passes of 2 s, with its best accuracy in one of them."""
    entries = [SimpleNamespace(passes=k, time_s=2.0 * k, val_accuracy=0.9 if k == best else 0.5) for k in range(n)]
    return SimpleNamespace(history=entries, status="ok")


def test_sixty_points_are_drawn_as_they_are() -> None:
    assert MAX_POINTS == 60
    for n in (59, 60):
        line = run_line(run(n, 7), "passes")
        assert line is not None
        assert line.x == tuple(range(n))


def test_of_more_points_59_at_equal_distances_and_the_best() -> None:
    """Of 117 points 0 to 116, steps of 116 / 58 = 2: every even point, and the best one, 33."""
    line = run_line(run(117, 33), "seconds")
    assert line is not None
    assert line.x == tuple(2.0 * k for k in sorted([*range(0, 117, 2), 33]))
    assert line.y == tuple(0.9 if x == 66.0 else 0.5 for x in line.x)
    even = run_line(run(117, 34), "seconds")
    assert even is not None
    assert len(even.x) == 59


@pytest.mark.parametrize(("n", "step"), [(60, 1), (119, 2), (178, 3)])
def test_a_mean_has_60_points_at_equal_distances(n: int, step: int) -> None:
    """60 of 119 points are every second one."""
    line = Curve(tuple(float(k) for k in range(n)), tuple(k / 1000 for k in range(n)), True)
    mean = common_mean([line])
    assert mean is not None
    assert mean.x == tuple(float(k) for k in range(0, n, step))
    assert mean.y == pytest.approx([x / 1000 for x in mean.x])


def test_what_a_line_leaves_out() -> None:
    """Passes without a validation, and values that no axis has."""
    values = ((None, 1.0), (0.5, 2.0), (float("nan"), 3.0), (0.25, float("inf")), (0.75, 5.0))
    entries = [SimpleNamespace(passes=k, time_s=time_s, val_accuracy=value) for k, (value, time_s) in enumerate(values)]
    for status in ("ok", "diverged"):
        made: Any = SimpleNamespace(history=entries, status=status)
        assert run_line(made, "passes") == Curve((1.0, 4.0), (0.5, 0.75), status == "ok")
        assert run_line(made, "seconds") == Curve((2.0, 5.0), (0.5, 0.75), status == "ok")
    made = SimpleNamespace(history=entries[:1], status="ok")
    assert run_line(made, "passes") is None


def test_a_mean_is_over_what_all_finished_lines_cover() -> None:
    one, two = Curve((1.0, 2.0, 4.0), (0.1, 0.2, 0.4), True), Curve((2.0, 3.0, 5.0), (0.4, 0.6, 1.0), True)
    cut = Curve((0.0, 9.0), (0.9, 0.9), False)
    mean = common_mean([one, cut, two])
    assert mean is not None
    assert (mean.x, mean.finished) == ((2.0, 3.0, 4.0), True)
    assert mean.y == pytest.approx((0.3, 0.45, 0.6))  # (.2 + .4) / 2, (.3 + .6) / 2, (.4 + .8) / 2
    touching = common_mean([one, Curve((4.0, 6.0), (0.6, 0.7), True)])
    assert touching is not None
    assert (touching.x, touching.y) == ((4.0,), pytest.approx((0.5,)))
    assert common_mean([one, Curve((4.5, 6.0), (0.6, 0.7), True)]) is None
    assert common_mean([cut]) is None
