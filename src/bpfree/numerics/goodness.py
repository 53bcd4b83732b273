"""Goodness of activity (Forward-Forward), its logistic loss, SymBa's loss on pairs, and length normalisation.

Index letters: n row (positives first, then negatives), o unit. Source: Hinton, arXiv 2212.13345, sections 2 and 3;
the constants are those of the public reference code loeweX/Forward-Forward (threshold = width for the sum of squares).
The loss on pairs is that of Lee and Song, arXiv 2303.08418.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bpfree.numerics.losses import at_least_float32

__all__ = [
    "NORM_EPS",
    "GoodnessKind",
    "goodness",
    "goodness_gradient",
    "length_normalise",
    "logistic_loss",
    "logistic_residual",
    "normal_length",
    "pair_loss",
    "pair_residual",
]

GoodnessKind = Literal["sum", "mean"]

NORM_EPS = 1e-8
"""Added to the root mean square before dividing (loeweX/Forward-Forward)."""


def goodness(features: Tensor, kind: GoodnessKind = "sum") -> Tensor:
    """gₙ = Σₒ hₙₒ² (or the mean over o); features (n, o) to (n,), in float32 or wider."""
    squares = at_least_float32(features).square()
    return squares.sum(1) if kind == "sum" else squares.mean(1)


def goodness_gradient(features: Tensor, residual: Tensor, kind: GoodnessKind = "sum") -> Tensor:
    """residualₙ ∂gₙ/∂hₙₒ = 2 residualₙ hₙₒ (divided by the width for the mean), (n, o), dtype of ``features``."""
    scale = 2.0 if kind == "sum" else 2.0 / features.shape[1]
    return (scale * residual.unsqueeze(1)).to(features.dtype) * features


def _labels(n: int, like: Tensor) -> Tensor:
    """1 for the first half (positive rows), 0 for the second."""
    return (torch.arange(n, device=like.device) < n // 2).to(like.dtype)


def logistic_loss(g: Tensor, threshold: Tensor | float, temperature: Tensor | float = 1.0) -> Tensor:
    """Mean over all rows of softplus(±(threshold − g) / temperature): + for the first half (positive), − for the second; 0-D."""
    margin = (g - threshold) / temperature
    sign = 1.0 - 2.0 * _labels(g.shape[0], margin)
    return F.softplus(sign * margin).mean()


def logistic_residual(g: Tensor, threshold: Tensor | float, temperature: Tensor | float = 1.0) -> Tensor:
    """∂ logistic_loss / ∂ g = (σ((g − threshold) / temperature) − label) / (n temperature), (n,)."""
    margin = (g - threshold) / temperature
    return (torch.sigmoid(margin) - _labels(g.shape[0], margin)) / (g.shape[0] * temperature)


def length_normalise(x: Tensor) -> Tensor:
    """Divide each row by its root mean square over all but the first axis: ‖row‖₂ becomes √(size), not 1."""
    return x / normal_length(x).reshape(-1, *([1] * (x.dim() - 1)))


def normal_length(x: Tensor) -> Tensor:
    """What :func:`length_normalise` divides each row by, (n,): its root mean square, and a little."""
    rms = at_least_float32(x).square().flatten(1).mean(1).sqrt() + NORM_EPS
    return rms.to(x.dtype)


def pair_loss(g: Tensor, alpha: Tensor | float) -> Tensor:
    """Mean over pairs of softplus(−α (g₊ − g₋)); the first half of g are positives, the second their negatives; 0-D."""
    positive, negative = g.chunk(2)
    return F.softplus(-alpha * (positive - negative)).mean()


def pair_residual(g: Tensor, alpha: Tensor | float) -> Tensor:
    """∂ pair_loss / ∂ g = ∓ α σ(−α (g₊ − g₋)) / n for n pairs, (2n,)."""
    positive, negative = g.chunk(2)
    pull = alpha * torch.sigmoid(-alpha * (positive - negative)) / positive.shape[0]
    return torch.cat([-pull, pull])
