"""FLOPs (2 per multiply-add) of operations that torch's counter does not know, from their arguments' shapes.

Decompositions: G. H. Golub and C. F. Van Loan, Matrix Computations, 4th ed. (2013): Cholesky, section 4.2.5; triangular solves,
3.1; SVD, fig. 8.6.1 (the R-SVD column; LAPACK's gesdd, which torch calls, does about as much). They are counts of the algorithm
in the book, leading terms only, not of the instructions of a library.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import sdpa_backward_flop_count, sdpa_flop_count

__all__ = ["FORMULAS", "IN_PLACE_FORMULAS", "Formula"]

Formula = Callable[..., int]

aten = torch.ops.aten


def cholesky_flop(a_shape: Any, *_: Any, **__: Any) -> int:
    """A = L Lᵀ of n x n: n³/3."""
    *batch, n, _n = a_shape
    return prod(batch) * n**3 // 3


def cholesky_solve_flop(b_shape: Any, a_shape: Any, *_: Any, **__: Any) -> int:
    """Two triangular solves for k right-hand sides: 2 n² k."""
    *batch, n, k = b_shape
    return prod(batch) * 2 * n * n * k


def cholesky_inverse_flop(a_shape: Any, *_: Any, **__: Any) -> int:
    """A⁻¹ from its Cholesky factor: 2 n³/3."""
    *batch, n, _n = a_shape
    return prod(batch) * 2 * n**3 // 3


def solve_triangular_flop(a_shape: Any, b_shape: Any, *_: Any, left: bool = True, **__: Any) -> int:
    """One triangular solve for k right-hand sides: n² k."""
    *batch, rows, columns = b_shape
    n, k = (rows, columns) if left else (columns, rows)
    return prod(batch) * n * n * k


def triangular_solve_flop(b_shape: Any, a_shape: Any, *_: Any, **__: Any) -> int:
    """As :func:`solve_triangular_flop`, in the older order of arguments."""
    *batch, n, k = b_shape
    return prod(batch) * n * n * k


def svd_flop(a_shape: Any, full_matrices: bool = False, compute_uv: bool = True, *_: Any, **__: Any) -> int:
    """A = U S Vᵀ, m x n, m >= n: values 2 m n² + 2 n³; thin U, V 6 m n² + 20 n³; full U 4 m² n + 22 n³."""
    *batch, rows, columns = a_shape
    m, n = max(rows, columns), min(rows, columns)
    if not compute_uv:
        one = 2 * m * n * n + 2 * n**3
    elif full_matrices:
        one = 4 * m * m * n + 22 * n**3
    else:
        one = 6 * m * n * n + 20 * n**3
    return prod(batch) * one


def mv_flop(a_shape: Any, x_shape: Any, *_: Any, **__: Any) -> int:
    """A x: 2 m n."""
    return 2 * prod(a_shape)


def addmv_flop(y_shape: Any, a_shape: Any, x_shape: Any, *_: Any, **__: Any) -> int:
    """y + A x: 2 m n."""
    return 2 * prod(a_shape)


def dot_flop(x_shape: Any, y_shape: Any, *_: Any, **__: Any) -> int:
    """x · y: 2 n."""
    return 2 * prod(x_shape)


def attention_flop(q_shape: Any, k_shape: Any, v_shape: Any, *_: Any, **__: Any) -> int:
    """Scores and their product with the values, as torch counts its other attention kernels."""
    return sdpa_flop_count(q_shape, k_shape, v_shape)


def attention_backward_flop(grad: Any, q_shape: Any, k_shape: Any, v_shape: Any, *_: Any, **__: Any) -> int:
    """Five products of matrices: the scores again, and four gradients."""
    return sdpa_backward_flop_count(grad, q_shape, k_shape, v_shape)


def addmm_flop(c_shape: Any, a_shape: Any, b_shape: Any, *_: Any, **__: Any) -> int:
    """C + A B, also of stacks of matrices: 2 m k n each."""
    return 2 * prod(a_shape) * b_shape[-1]


FORMULAS: dict[Any, Formula] = {
    aten.linalg_cholesky_ex: cholesky_flop,
    aten.cholesky: cholesky_flop,
    aten.cholesky_solve: cholesky_solve_flop,
    aten._cholesky_solve_helper: cholesky_solve_flop,
    aten.cholesky_inverse: cholesky_inverse_flop,
    aten.linalg_solve_triangular: solve_triangular_flop,
    aten.triangular_solve: triangular_solve_flop,
    aten._linalg_svd: svd_flop,
    aten._scaled_dot_product_flash_attention_for_cpu: attention_flop,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward_flop,
}
"""Added to the counter's registry in every count."""

IN_PLACE_FORMULAS: dict[Any, Formula] = {
    aten.addmm_: addmm_flop,
    aten.baddbmm_: addmm_flop,
    aten.addmv: addmv_flop,
    aten.addmv_: addmv_flop,
    aten.mv: mv_flop,
    aten.dot: dot_flop,
    aten.vdot: dot_flop,
}
"""For a step that uses these operations; without the formulas its count fails."""
