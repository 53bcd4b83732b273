"""Peer normalisation: no unit of a block should be much more or much less active than its peers.

Index letters: n positive row, o unit. With a running mean μ of the activity of positive rows, momentum m:

    μ ← m μ + (1 − m) meanₙ h
    loss = meanₒ (μₒ − mean μ)²
    ∂loss/∂hₙₒ = (2/o)(μₒ − mean μ)(1 − m)/n          the same for every positive row

Source: public reference code loeweX/Forward-Forward (momentum 0.9, μ starts at 0.5, weight 0.03 in the loss).
"""

from __future__ import annotations

from torch import Tensor

from bpfree.numerics.losses import at_least_float32
from bpfree.numerics.rows import mean_over_batch

__all__ = ["PEER_MOMENTUM", "PEER_START", "peer_gradient", "peer_loss", "update_mean_"]

PEER_MOMENTUM = 0.9
PEER_START = 0.5


def update_mean_(mean: Tensor, positives: Tensor) -> None:
    """μ ← m μ + (1 − m) meanₙ h, in place; mean (o,), positives (n, o). Of processes that share a batch, over all its rows."""
    of_batch = mean_over_batch(at_least_float32(positives).mean(0))
    mean.mul_(PEER_MOMENTUM).add_(of_batch.to(mean.dtype), alpha=1 - PEER_MOMENTUM)


def peer_loss(mean: Tensor) -> Tensor:
    """Variance of the running means over the units, 0-D."""
    return (mean - mean.mean()).square().mean()


def peer_gradient(mean: Tensor, n: int) -> Tensor:
    """∂ peer_loss / ∂ h of one positive row of n, (o,), after :func:`update_mean_`."""
    return (2.0 * (1 - PEER_MOMENTUM) / (mean.shape[0] * n)) * (mean - mean.mean())
