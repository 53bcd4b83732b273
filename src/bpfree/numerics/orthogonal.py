"""Semi-orthogonal matrices: the nearest one to a given matrix, by iteration or by SVD, and how far a matrix is from being one.

For W (m, n) with W = U S Vᵀ (thin SVD) the nearest semi-orthogonal matrix in the Frobenius norm is the polar factor U Vᵀ: its
rows are orthonormal if m ≤ n, its columns if m ≥ n. Two iterations approach it by matrix products alone; both act on each
singular value s separately and leave U and V as they are:

    bjorck          s ← (3 s − s³) / 2               order 1 of Björck and Bowie (1971), the cubic Newton–Schulz iteration
    newton-schulz   s ← (15 s − 10 s³ + 3 s⁵) / 8    order 2, quintic: the error is cubed where Björck's is squared

They converge where every s lies in (0, √3) and (0, √(7/3)). So that a matrix which a large step has carried further returns, it
is first divided by a factor that brings the largest s² to at most 2: by an estimate (power iteration on the Gram matrix, never
above a rigorous bound) that is 1 for every matrix near the manifold; it can miss a direction that its start has no part in.

Everything runs on the Gram matrix of the shorter side, so a tall matrix costs what its transpose does. Source: Björck and
Bowie, SIAM J. Numer. Anal. 8 (1971), equation 2.8; Higham, Functions of Matrices (2008), chapter 8.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["METHODS", "bjorck", "defect", "newton_schulz", "orthogonal_", "orthonormalise", "polar", "rescue"]

METHODS = ("bjorck", "newton-schulz", "svd", "none")
"""Ways of :func:`orthonormalise`."""

LARGEST_SQUARE = 2.0
"""Largest squared singular value that an iteration starts from; both converge below 7/3, so an estimate may be 1/6 too low."""

POWER_STEPS = 8
"""Products with the Gram matrix for the estimate of its largest eigenvalue."""


def _gram(w: Tensor) -> Tensor:
    """W Wᵀ of a wide matrix: (m, m)."""
    return w @ w.t()


def rescue(product: Callable[[Tensor], Tensor], start: Tensor, bound: Tensor | None = None) -> Tensor:
    """What a Gram operator must be multiplied by before the iterations, 0-D: 1 near the manifold, see :data:`LARGEST_SQUARE`.

    Args:
        product: of the operator with a vector; its largest eigenvalue is estimated by power iteration.
        start: a vector, best one that leans towards the top eigenvectors.
        bound: rigorous, of the largest eigenvalue.
    """
    v, growth = start, start.new_ones(())
    for _ in range(POWER_STEPS):
        v = product(v / v.norm().clamp_min(torch.finfo(v.dtype).tiny))
        growth = v.norm()
    largest = growth if bound is None else torch.minimum(growth, bound)
    return (LARGEST_SQUARE / largest).clamp_max(1.0)


def _off_identity(gram: Tensor) -> Tensor:
    """‖G − I‖_F, 0-D."""
    return (gram - torch.eye(gram.shape[0], dtype=gram.dtype, device=gram.device)).norm()


def _rescue_of(gram: Tensor) -> Tensor:
    row = gram.norm(dim=1).argmax()
    return rescue(lambda v: gram @ v, gram.index_select(0, row.reshape(1)).t(), bound=1 + _off_identity(gram))


def _iterate(w: Tensor, steps: int, coefficients: tuple[float, float, float]) -> Tensor:
    tall = w.shape[0] > w.shape[1]
    x = w.t() if tall else w
    first, second, third = coefficients
    for k in range(steps):
        gram = _gram(x)
        if k == 0:  # later iterates stay below: both maps send (0, √2] into (0, 1.24]
            square = _rescue_of(gram)
            gram, x = gram * square, x * square.sqrt()
        inner = gram if third == 0.0 else torch.addmm(gram, gram, gram, beta=second, alpha=third)
        x = torch.addmm(x, inner, x, beta=first, alpha=second if third == 0.0 else 1.0)
    return x.t() if tall else x


def bjorck(w: Tensor, steps: int = 1) -> Tensor:
    """W ← 3/2 W − 1/2 W Wᵀ W, ``steps`` times; 2 m² n multiply-adds each for m ≤ n."""
    return _iterate(w, steps, (1.5, -0.5, 0.0))


def newton_schulz(w: Tensor, steps: int = 1) -> Tensor:
    """W ← (15 W − 10 G W + 3 G² W) / 8 with G = W Wᵀ, ``steps`` times; 2 m² n + m³ multiply-adds each for m ≤ n."""
    return _iterate(w, steps, (15 / 8, -10 / 8, 3 / 8))


def polar(w: Tensor) -> Tensor:
    """U Vᵀ by SVD, the reference: exact, and some 20 times the work of a Björck step."""
    u, _, vh = torch.linalg.svd(w, full_matrices=False)
    return u @ vh


def orthonormalise(w: Tensor, method: str, steps: int = 1) -> Tensor:
    """The nearest semi-orthogonal matrix, or ``steps`` iterations towards it; ``method`` is one of :data:`METHODS`."""
    if method == "bjorck":
        return bjorck(w, steps)
    if method == "newton-schulz":
        return newton_schulz(w, steps)
    return polar(w) if method == "svd" else w


def defect(w: Tensor) -> Tensor:
    """‖W Wᵀ − I‖_F / √m of the shorter side m, 0-D: 0 for a semi-orthogonal matrix, about the rms error of a singular value² ."""
    x = w.t() if w.shape[0] > w.shape[1] else w
    gram = _gram(x)
    return _off_identity(gram) / gram.shape[0] ** 0.5


def orthogonal_(w: Tensor, generator: torch.Generator) -> Tensor:
    """Fill in place with a semi-orthogonal matrix, uniform (Haar) over all of its shape."""
    return torch.nn.init.orthogonal_(w, generator=generator)
