"""Linear regression in closed form from sums over batches: exact after one pass, whatever the sizes of the batches.

Index letters: n example, i feature, c class. With features H (n, i) and targets T (n, c), gathered batch by batch:

    C = Hᵀ H  (i, i) ,   D = Hᵀ T  (i, c)
    W = (C + λ tr(C)/i · I)⁻¹ D

which is the least-squares solution of the system augmented by the same ridge, [H; √(λ tr(C)/i) I] W = [T; 0]. λ is relative
to the mean eigenvalue tr(C)/i, so it depends neither on the number of examples nor on the scale of the features: gathering
the same examples twice changes nothing. The sums stay in the dtype of the buffers; factor and solution are taken in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["gather_", "ridge_solution"]


def gather_(gram: Tensor, cross: Tensor, features: Tensor, targets: Tensor) -> None:
    """C += Hᵀ H and D += Hᵀ T, in place, in the dtype of ``gram`` (i, i) and ``cross`` (i, c)."""
    h = features.to(gram.dtype)
    gram += h.t() @ h
    cross += h.t() @ targets.to(cross.dtype)


def ridge_solution(gram: Tensor, cross: Tensor, ridge: Tensor | float) -> Tensor:
    """W (i, c) in float64, by Cholesky; ``ridge`` is λ, above 0.

    Features that are all zero have no scale that λ could be relative to; their W is 0.
    """
    c = gram.double()  # a copy, unless the sums are in float64
    scale = c.diagonal().mean()
    ridged = c + torch.diag_embed((torch.as_tensor(ridge, device=c.device).double() * scale).expand(c.shape[0]))
    ridged.diagonal().add_((scale == 0).double())
    factor, _ = torch.linalg.cholesky_ex(ridged)
    return torch.cholesky_solve(cross.double(), factor)
