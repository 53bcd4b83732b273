"""Goodness of activity (Forward-Forward), its logistic loss, SymBa's loss on pairs, and length normalisation.

Index letters: n row (positives first, then negatives), o unit. Source: Hinton, arXiv 2212.13345, sections 2 and 3;
the constants are those of the public reference code loeweX/Forward-Forward (threshold = width for the sum of squares).
The loss on pairs is that of Lee and Song, arXiv 2303.08418.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bpfree.numerics.layout import is_by_pixels
from bpfree.numerics.losses import at_least_float32, weighted_mean, weighted_rows

__all__ = [
    "NORM_EPS",
    "GoodnessKind",
    "goodness",
    "goodness_gradient",
    "length_normalise",
    "logistic",
    "logistic_loss",
    "logistic_residual",
    "normal_length",
    "pair_loss",
    "pair_residual",
    "row_squares",
]

GoodnessKind = Literal["sum", "mean"]

NORM_EPS = 1e-8
"""Added to the root mean square before dividing (loeweX/Forward-Forward)."""


def row_squares(x: Tensor) -> Tensor:
    """Sum of squares of each row (n, *shape), (n,), in float32 or wider; goodness and length are both made of it."""
    squares = at_least_float32(x).square()
    if is_by_pixels(squares):
        squares = squares.permute(0, 2, 3, 1)  # in the order in which they lie: flattened without a copy
    return (squares if x.dim() == 2 else squares.flatten(1)).sum(1)


def goodness(features: Tensor, kind: GoodnessKind = "sum", squares: Tensor | None = None) -> Tensor:
    """gₙ = Σₒ hₙₒ² (or the mean over o); features (n, o) to (n,), in float32 or wider.

    Args:
        squares: :func:`row_squares` of them, where it is known.
    """
    squares = row_squares(features) if squares is None else squares
    return squares if kind == "sum" else squares / features.shape[1]


def goodness_gradient(features: Tensor, residual: Tensor, kind: GoodnessKind = "sum") -> Tensor:
    """residualₙ ∂gₙ/∂hₙₒ = 2 residualₙ hₙₒ (divided by the width for the mean), (n, o), dtype of ``features``."""
    scale = 2.0 if kind == "sum" else 2.0 / features.shape[1]
    return (scale * residual.unsqueeze(1)).to(features.dtype) * features


def logistic_loss(g: Tensor, threshold: Tensor | float, temperature: Tensor | float = 1.0) -> Tensor:
    """Mean over all rows of softplus(±(threshold − g) / temperature): + for the first half (positive), − for the second; 0-D."""
    return logistic(g, threshold, temperature)[0]


def logistic_residual(g: Tensor, threshold: Tensor | float, temperature: Tensor | float = 1.0) -> Tensor:
    """∂ logistic_loss / ∂ g = (σ((g − threshold) / temperature) − label) / (n temperature), (n,)."""
    return logistic(g, threshold, temperature)[1]


def logistic(
    g: Tensor, threshold: Tensor | float, temperature: Tensor | float = 1.0, weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """:func:`logistic_loss` and :func:`logistic_residual`, of one margin.

    Args:
        weight: (n,), how many times each row counts, see :mod:`bpfree.numerics.losses`; None: once.
    """
    n = g.shape[0]
    scale = _signed(temperature, g)  # the labels: 1 for the first half, 0 for the second, and σ(m) − 1 = −σ(−m)
    margin = (g - threshold).div_(scale)
    return weighted_mean(F.softplus(margin), weight), weighted_rows(torch.sigmoid(margin).div_(n * scale), weight)


def _signed(temperature: Tensor | float, g: Tensor) -> Tensor:
    """−temperature for the first half of the rows of g, temperature for the others, (n,)."""
    n = g.shape[0]
    if not isinstance(temperature, Tensor):
        temperature = g.new_full((), temperature)
    return torch.cat([-temperature.expand(n // 2), temperature.expand(n - n // 2)])


def length_normalise(x: Tensor, squares: Tensor | None = None) -> Tensor:
    """Divide each row by its root mean square over all but the first axis: ‖row‖₂ becomes √(size), not 1.

    Args:
        squares: :func:`row_squares` of x, where it is known.
    """
    return x / normal_length(x, squares).reshape(-1, *([1] * (x.dim() - 1)))


def above_zero(mean_squares: Tensor) -> Tensor:
    """√m + NORM_EPS, in place where no derivative is taken: that of the root reads the root."""
    root = mean_squares.sqrt_()
    return root + NORM_EPS if root.requires_grad else root.add_(NORM_EPS)


def normal_length(x: Tensor, squares: Tensor | None = None) -> Tensor:
    """What :func:`length_normalise` divides each row by, (n,): its root mean square, and a little."""
    squares = row_squares(x) if squares is None else squares
    return above_zero(squares / math.prod(x.shape[1:])).to(x.dtype)


def pair_loss(g: Tensor, alpha: Tensor | float, weight: Tensor | None = None) -> Tensor:
    """Mean over pairs of softplus(−α (g₊ − g₋)); the first half of g are positives, the second their negatives; 0-D.

    ``weight`` (n,) is how many times each pair counts, see :mod:`bpfree.numerics.losses`.
    """
    positive, negative = g.chunk(2)
    return weighted_mean(F.softplus(-alpha * (positive - negative)), weight)


def pair_residual(g: Tensor, alpha: Tensor | float, weight: Tensor | None = None) -> Tensor:
    """∂ pair_loss / ∂ g = ∓ α σ(−α (g₊ − g₋)) / n for n pairs, (2n,)."""
    positive, negative = g.chunk(2)
    pull = weighted_rows(alpha * torch.sigmoid(-alpha * (positive - negative)) / positive.shape[0], weight)
    return torch.cat([-pull, pull])
