"""Around one minimum: filter-normalised random slices, and sharpness within a radius.

A slice is L(θ + a d) along a random direction d whose every filter (row of a weight; output channel of a convolution) has the
norm of the filter of θ; biases and BatchNorm's parameters have none. A net of ReLUs computes the same when one layer is
multiplied by c and the next divided by it, and so does its slice (Li et al. 2018, "Visualizing the loss landscape of neural
nets", arXiv 1712.09913, section 4).

Sharpness is the largest L(θ + e) - L(θ) for ‖e‖₂ ≤ ρ, to first order: e = ρ g / ‖g‖ with g the gradient of L at θ (Foret et al.
2021, "Sharpness-aware minimization", arXiv 2010.01412, equation 2). It depends on the scale of the layers. The filter-normalised
one does not: e = ρ T² g / ‖T g‖ is the step for ‖T⁻¹ e‖₂ ≤ ρ, where T multiplies every filter by its norm, and biases by 0 (Kwon
et al. 2021, "ASAM", arXiv 2102.11600, with filters in place of single weights).
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bpfree.analysis.surface import Surface
from bpfree.errors import UsageError
from bpfree.numerics.streams import stream_key

__all__ = ["Sharpness", "Slices", "filter_direction", "random_slices", "sharpness"]

RISE = 0.1
"""Nats of loss above the minimum at which the width of a slice is taken."""


@dataclass(frozen=True)
class Slices:
    """The loss along random directions.

    Attributes:
        distances: a, in units of the norm of each filter.
        losses: for each direction the loss (nats) at each distance.
        at_zero: the loss of the model itself.
    """

    distances: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    at_zero: float

    @property
    def mean(self) -> list[float]:
        """Over directions, at each distance."""
        return [statistics.fmean(column) for column in zip(*self.losses, strict=True)]

    @property
    def sd(self) -> list[float]:
        """Standard deviation over directions at each distance; 0 for one direction."""
        return [statistics.stdev(column) if len(column) > 1 else 0.0 for column in zip(*self.losses, strict=True)]

    @property
    def rise(self) -> float:
        """Loss above the minimum's, mean over directions and distances."""
        return statistics.fmean(self.mean) - self.at_zero

    def width(self, rise: float = RISE) -> float | None:
        """Mean distance, over directions and both senses, at which the loss first lies ``rise`` above the minimum's.

        Linear between grid points. None where a direction does not rise so far within the slice.
        """
        widths = []
        for losses in self.losses:
            for sense in (1.0, -1.0):
                side = sorted((sense * a, loss) for a, loss in zip(self.distances, losses, strict=True) if sense * a > 0)
                width = _first_crossing([(0.0, self.at_zero), *side], self.at_zero + rise)
                if width is None:
                    return None
                widths.append(width)
        return statistics.fmean(widths)


def _first_crossing(line: Sequence[tuple[float, float]], level: float) -> float | None:
    for (a, low), (b, high) in itertools.pairwise(line):
        if high >= level:
            return a + (b - a) * (level - low) / (high - low)
    return None


def filter_direction(surface: Surface, point: Tensor, key: int) -> Tensor:
    """A random direction, (n,) float64: normal, every filter scaled to the norm that it has at ``point``, the rest 0.

    The same numbers are drawn for every model of one space, whatever its weights.
    """
    generator = torch.Generator().manual_seed(key)
    direction = torch.zeros_like(point)
    for part in surface.parts:
        if part.filtered:
            rows, there = part.of(direction), part.of(point)
            drawn = torch.randn(rows.shape, generator=generator, dtype=torch.float64).to(point.device)
            rows.copy_(drawn * (there.norm(dim=1, keepdim=True) / drawn.norm(dim=1, keepdim=True)))
    return direction


def random_slices(
    surface: Surface, point: Tensor, *, directions: int = 10, points: int = 21, radius: float = 1.0, seed: int = 0
) -> Slices:
    """Slices along ``directions`` directions, at ``points`` distances from -radius to radius.

    Raises:
        UsageError: no direction, fewer than two points, a radius that is not above 0.
    """
    if directions < 1:
        raise UsageError(f"directions must be at least 1, got {directions}")
    distances = grid(points, -radius, radius)
    losses = []
    for k in range(directions):
        direction = filter_direction(surface, point, stream_key(seed, k))
        losses.append(tuple(surface.loss(point + a * direction) for a in distances))
    return Slices(distances, tuple(losses), surface.loss(point))


def grid(points: int, low: float, high: float) -> tuple[float, ...]:
    """``points`` numbers from low to high, equally far apart.

    Raises:
        UsageError: fewer than two points, or no distance between low and high.
    """
    if points < 2:
        raise UsageError(f"points must be at least 2, got {points}")
    if not high > low:
        raise UsageError(f"the radius must be above 0, got {high:g}")
    return tuple(low + (high - low) * k / (points - 1) for k in range(points))


@dataclass(frozen=True)
class Sharpness:
    """How much the loss rises (nats) in one step of length ρ along the gradient; in the second, lengths are those of filters."""

    rho: float
    plain: float
    filter_normalised: float
    gradient_norm: float


def sharpness(surface: Surface, point: Tensor, rho: float = 0.05) -> Sharpness:
    """SAM's sharpness at a point, in both scales; 0 where the gradient is zero.

    Raises:
        UsageError: ρ is not above 0, or autograd cannot differentiate the scores.
    """
    if not rho > 0:
        raise UsageError(f"rho must be above 0, got {rho:g}")
    gradient, before = surface.gradient(point), surface.loss(point)
    scale = torch.zeros_like(point)
    for part in surface.parts:
        if part.filtered:
            part.of(scale).copy_(part.of(point).norm(dim=1, keepdim=True).expand(*part.of(scale).shape))

    def rise(step: Tensor, length: float) -> float:
        return surface.loss(point + rho * step / length) - before if length > 0 else 0.0

    norm, scaled = float(gradient.norm()), float((scale * gradient).norm())
    return Sharpness(rho, rise(gradient, norm), rise(scale**2 * gradient, scaled), norm)
