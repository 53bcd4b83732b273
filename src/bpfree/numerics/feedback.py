"""Feedback: random matrices that carry an output error back, and their composition from the matrices of a chain.

Shapes are those of the weights that a matrix stands in for: B (o, i) takes a derivative by a block's output (n, o) to one by
its input as ``delta @ B``. A composed or direct feedback is (classes, width).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bpfree.numerics.losses import at_least_float32

__all__ = ["DISTRIBUTIONS", "compose", "random_feedback"]

DISTRIBUTIONS = ("uniform", "normal", "orthogonal")
"""Distributions of :func:`random_feedback`, all of mean zero."""


def random_feedback(shape: tuple[int, int], distribution: str, std: float, generator: torch.Generator, *, like: Tensor) -> Tensor:
    """A matrix with entries of mean 0 and standard deviation ``std``, dtype and device of ``like``.

    Args:
        shape: (rows, columns).
        distribution: ``uniform`` in ±√3 std, ``normal``, or ``orthogonal``: a Haar semi-orthogonal matrix, scaled so that the
            root mean square of its entries is ``std`` (which gives all its rows, or columns, one length).
    """
    matrix = torch.empty(shape, dtype=like.dtype, device=like.device)
    if distribution == "uniform":
        limit = math.sqrt(3.0) * std
        return matrix.uniform_(-limit, limit, generator=generator)
    if distribution == "normal":
        return matrix.normal_(0.0, std, generator=generator)
    wide = at_least_float32(matrix)  # a narrow type has no QR
    torch.nn.init.orthogonal_(wide, generator=generator)
    return matrix.copy_(wide).mul_(
        std * math.sqrt(max(shape))
    )  # entries of a semi-orthogonal matrix have mean square 1 / max(shape)


def compose(matrices: Sequence[Tensor]) -> Tensor:
    """B_{L+1} B_L … B_1 from [B_1, …, B_{L+1}], multiplied from the output side: rows of the last one at every stage.

    With K rows in the last matrix this costs K Σ oₗ iₗ multiply-adds; from the input side it would cost n₀ / K times as much.
    """
    product = matrices[-1]
    for matrix in reversed(matrices[:-1]):
        product = product @ matrix
    return product
