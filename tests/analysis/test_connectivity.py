"""Lines, barriers and planes: by hand on functions that are written out, and on a net."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from landscape_models import drawn, material, small_net
from torch import Tensor

from bpfree.analysis import Surface, line, plane
from bpfree.analysis.connectivity import span
from bpfree.errors import UsageError


class Written:
    """A surface whose loss is written out; accuracy is its sign."""

    def __init__(self, function: Callable[[Tensor], float]) -> None:
        self.function = function

    def loss(self, vector: Tensor) -> float:
        return self.function(vector)

    def loss_and_accuracy(self, vector: Tensor) -> tuple[float, float]:
        return self.loss(vector), float(self.loss(vector) > 0.5)


def written(function: Callable[[Tensor], float]) -> Surface:
    return cast(Surface, cast(Any, Written(function)))


def point(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_the_barrier_of_one_parameter_by_hand() -> None:
    """L = (t² - 1)² has minima at -1 and 1; half-way between them it is 1."""
    seen = line(written(lambda v: float((v[0] ** 2 - 1) ** 2)), point(-1.0), point(1.0), 5)
    assert seen.a == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert seen.loss == pytest.approx([0.0, 0.5625, 1.0, 0.5625, 0.0])
    assert seen.accuracy == (0.0, 1.0, 1.0, 1.0, 0.0)
    assert (seen.barrier, seen.at, seen.distance) == (1.0, 0.5, 2.0)


def test_the_barrier_is_measured_from_the_line_between_the_losses() -> None:
    """L = 2t + t(1 - t) from 0 to 1: the ends are 0 and 2, the excess is t(1 - t)."""
    seen = line(written(lambda v: float(2 * v[0] + v[0] * (1 - v[0]))), point(0.0), point(1.0), 11)
    assert seen.barrier == pytest.approx(0.25)
    assert seen.at == 0.5
    below = line(written(lambda v: float(v[0] ** 2)), point(0.0), point(1.0), 11)
    assert below.barrier == 0.0  # a valley on the way is no barrier
    with pytest.raises(UsageError, match="points must be at least 2, got 0"):
        line(written(lambda v: float(v[0])), point(0.0), point(1.0), 0)


def test_the_plane_holds_its_three_points() -> None:
    corners = point(1.0, 2.0, 3.0), point(1.0, 5.0, 3.0), point(5.0, 3.0, 3.0)
    seen = span(*corners)
    assert seen.corners == ((0.0, 0.0), (3.0, 0.0), (1.0, 4.0))
    for (x, y), corner in zip(seen.corners, corners, strict=True):
        torch.testing.assert_close(seen.at(x, y), corner)
    assert float(seen.e1 @ seen.e2) == pytest.approx(0.0, abs=1e-15)
    assert float(seen.e1.norm()) == float(seen.e2.norm()) == 1.0


def test_the_loss_at_the_corners_of_a_plane_is_that_of_the_models() -> None:
    """In float32, as models are; the corners lie within the grid, whose points are where it says."""
    examples = material()
    examples = type(examples)(examples.x.float(), examples.y, examples.train_x.float())
    surfaces = [Surface(drawn(small_net().float(), seed), examples) for seed in range(3)]
    first, second, third = (surface.origin for surface in surfaces)
    seen = plane(surfaces[0], first, second, third, points=4)
    for surface, loss in zip(surfaces, seen.at_corners, strict=True):
        assert loss == pytest.approx(surface.loss(surface.origin), abs=1e-6)
    for coordinates, side in zip(zip(*seen.corners, strict=True), (seen.x, seen.y), strict=True):
        assert side[0] < min(coordinates)
        assert max(coordinates) < side[-1]
        assert len(side) == 4
    there = span(first, second, third).at(seen.x[3], seen.y[1])
    assert seen.loss[1][3] == pytest.approx(surfaces[0].loss(there), abs=1e-9)
    assert len({loss for row in seen.loss for loss in row}) == 16


@pytest.mark.parametrize("third", [point(3.0, 3.0), point(0.0, 0.0)], ids=["beyond", "the first again"])
def test_three_points_on_a_line_span_no_plane(third: Tensor) -> None:
    with pytest.raises(UsageError, match="lie on one line"):
        span(point(0.0, 0.0), point(1.0, 1.0), third)
    with pytest.raises(UsageError, match="lie on one line"):
        span(point(1.0, 1.0), point(1.0, 1.0), third)
