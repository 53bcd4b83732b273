"""The local loss of a Forward-Forward block."""

from __future__ import annotations

import torch
from torch import Tensor

from bpfree.algorithms.forward_forward.rows import ForwardSlot
from bpfree.numerics.goodness import (
    GoodnessKind,
    goodness,
    goodness_gradient,
    logistic,
    pair_loss,
    pair_residual,
)
from bpfree.numerics.losses import weighted_rows
from bpfree.numerics.peers import peer_gradient, peer_loss, update_mean_

__all__ = ["local_loss"]


def local_loss(
    h: Tensor,
    squares: Tensor,
    slot: ForwardSlot,
    kind: GoodnessKind,
    *,
    pairs: bool,
    peers: bool,
    learn: bool,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """A block's loss (0-D), and its derivative by the features.

    Args:
        h: features (2n, o), positive rows first.
        squares: their :func:`~bpfree.numerics.goodness.row_squares`.
        pairs: the loss of pairs (symba) instead of the logistic one.
        peers: whether peer normalisation is on; its running mean moves where the block learns.
        weight: (n,), how many times each example counts, with both of its rows; None: once.
    """
    g = goodness(h, kind, squares)
    units = h.shape[1] if kind == "sum" else 1
    if pairs:
        alpha = slot.hyper.alpha / units
        loss, residual = pair_loss(g, alpha, weight), pair_residual(g, alpha, weight)
    else:
        threshold, temperature = slot.hyper.threshold * units, slot.hyper.temperature * units
        loss, residual = logistic(g, threshold, temperature, None if weight is None else torch.cat([weight, weight]))
    gradient = goodness_gradient(h, residual, kind)
    if peers:
        mean, n, strength = slot.mean_activity, h.shape[0] // 2, slot.hyper.peer_normalisation
        if learn:
            update_mean_(mean, weighted_rows(h[:n], weight))
        pull = (strength * peer_gradient(mean, n)).to(h.dtype)
        gradient[:n] += pull if weight is None else weighted_rows(pull.expand(n, -1), weight)
        loss = loss + strength * peer_loss(mean)
    return loss, gradient
