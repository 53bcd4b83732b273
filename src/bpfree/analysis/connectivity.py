"""Between minima: the straight line through two and its barrier, and the plane through three.

The line is θ(a) = (1 - a) θ₁ + a θ₂; its barrier is the largest L(θ(a)) - ((1 - a) L(θ₁) + a L(θ₂)) (Entezari et al. 2022, "The
role of permutation invariance in linear mode connectivity of neural networks", arXiv 2110.06296; Frankle et al. 2020, arXiv
1912.05671, subtract the mean of L(θ₁) and L(θ₂) instead). Hidden units are not matched first: two nets that compute the same in
another order of their units have a barrier here, so a barrier is no proof that two minima lie in different basins. Nor is it
independent of the scale of the layers, unless both nets are rescaled alike.

The plane is spanned by u = θ₂ - θ₁ and the part of θ₃ - θ₁ orthogonal to it, both of length 1 (Garipov et al. 2018, "Loss
surfaces, mode connectivity, and fast ensembling of DNNs", arXiv 1802.10026, appendix).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bpfree.analysis.slices import grid
from bpfree.analysis.surface import Surface
from bpfree.errors import UsageError

__all__ = ["Line", "Plane", "Span", "line", "plane", "span"]

MARGIN = 0.25
"""Of the plane around the three points, as a share of their extent."""

FLAT = 1e-9
"""Share of the third point's distance that must lie off the line through the other two."""


@dataclass(frozen=True)
class Line:
    """Loss (nats) and accuracy (a fraction) at every a from 0 to 1; ``barrier`` in nats, ``at`` where it is."""

    a: tuple[float, ...]
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    distance: float

    @property
    def excess(self) -> list[float]:
        """L(θ(a)) above the straight line between the losses at the ends."""
        first, last = self.loss[0], self.loss[-1]
        return [loss - ((1 - a) * first + a * last) for a, loss in zip(self.a, self.loss, strict=True)]

    @property
    def barrier(self) -> float:
        """Never below 0: at the ends the excess is 0."""
        return max(0.0, *self.excess)

    @property
    def at(self) -> float:
        """The a of the barrier."""
        return max(zip(self.excess, self.a, strict=True))[1]


def line(surface: Surface, first: Tensor, last: Tensor, points: int = 21) -> Line:
    """Loss and accuracy along the straight line.

    Raises:
        UsageError: fewer than two points.
    """
    steps = grid(points, 0.0, 1.0)
    values = [surface.loss_and_accuracy((1 - a) * first + a * last) for a in steps]
    loss, accuracy = zip(*values, strict=True)
    return Line(steps, loss, accuracy, float((last - first).norm()))


@dataclass(frozen=True, eq=False)
class Span:
    """A plane in the space of parameters: θ = origin + x e₁ + y e₂.

    Attributes:
        e1, e2: orthonormal, (n,).
        corners: x and y of the three points.
    """

    origin: Tensor
    e1: Tensor
    e2: Tensor
    corners: tuple[tuple[float, float], ...]

    def at(self, x: float, y: float) -> Tensor:
        """The point with these coordinates, (n,)."""
        return self.origin + x * self.e1 + y * self.e2


def span(first: Tensor, second: Tensor, third: Tensor) -> Span:
    """The plane through three points, the first at (0, 0) and the second at (x, 0).

    Raises:
        UsageError: they lie on one line.
    """
    u, w = second - first, third - first
    x2 = float(u.norm())
    e1 = u / x2 if x2 > 0 else u
    x3 = float(w @ e1)
    v = w - x3 * e1
    v -= (v @ e1) * e1  # once more: rounding
    y3 = float(v.norm())
    if x2 == 0 or y3 <= FLAT * float(w.norm()):
        raise UsageError("the three points of a plane lie on one line; give models of different training")
    return Span(first, e1, v / y3, ((0.0, 0.0), (x2, 0.0), (x3, y3)))


@dataclass(frozen=True)
class Plane:
    """Loss (nats) on a grid: ``loss[j][i]`` is at (x[i], y[j]).

    Attributes:
        corners: x and y of the three points.
        at_corners: the loss at them.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    loss: tuple[tuple[float, ...], ...]
    corners: tuple[tuple[float, float], ...]
    at_corners: tuple[float, ...]


def plane(surface: Surface, first: Tensor, second: Tensor, third: Tensor, points: int = 15) -> Plane:
    """Loss on ``points`` x ``points`` points of the plane through three, which lie within the grid.

    Raises:
        UsageError: fewer than two points on a side, or three points on one line.
    """
    plane_of = span(first, second, third)
    sides = []
    for values in zip(*plane_of.corners, strict=True):
        margin = MARGIN * (max(values) - min(values))
        sides.append(grid(points, min(values) - margin, max(values) + margin))
    x, y = sides
    loss = tuple(tuple(surface.loss(plane_of.at(a, b)) for a in x) for b in y)
    return Plane(x, y, loss, plane_of.corners, tuple(surface.loss(plane_of.at(a, b)) for a, b in plane_of.corners))
