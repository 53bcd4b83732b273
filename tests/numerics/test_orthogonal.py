"""Björck and Newton–Schulz against the polar factor by SVD."""

from __future__ import annotations

import pytest
import torch

from bpfree.numerics.orthogonal import METHODS, bjorck, defect, newton_schulz, orthogonal_, orthonormalise, polar

SHAPES = [(1, 1), (5, 5), (7, 20), (20, 7), (1, 9)]


def matrix(shape: tuple[int, int], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_polar_is_semi_orthogonal_and_nearest(shape: tuple[int, int]) -> None:
    w = matrix(shape)
    nearest = polar(w)
    assert float(defect(nearest)) < 1e-12
    other = orthogonal_(torch.empty_like(w), torch.Generator().manual_seed(1))
    assert (w - nearest).norm() <= (w - other).norm()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("method", "steps"), [("bjorck", 40), ("newton-schulz", 20)])
def test_iterations_reach_the_polar_factor(shape: tuple[int, int], method: str, steps: int) -> None:
    w = matrix(shape)
    assert torch.allclose(orthonormalise(w, method, steps), polar(w), atol=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0, 1e4])
def test_iterations_come_back_from_any_scale(scale: float) -> None:
    w = scale * matrix((6, 15))
    assert torch.allclose(bjorck(w, 60), polar(w), atol=1e-10)
    assert torch.allclose(newton_schulz(w, 40), polar(w), atol=1e-10)


def test_error_of_bjorck_is_squared_and_of_newton_schulz_cubed() -> None:
    u = polar(matrix((6, 15)))
    errors = 0.02 * torch.linspace(-1, 1, 6, dtype=torch.float64)
    w = u + errors[:, None] * u  # singular values 1 + errors
    size = float(errors.abs().max())
    assert float((bjorck(w) @ u.t() - torch.eye(6, dtype=w.dtype)).abs().max()) == pytest.approx(1.5 * size**2, rel=0.05)
    assert float((newton_schulz(w) @ u.t() - torch.eye(6, dtype=w.dtype)).abs().max()) == pytest.approx(2.5 * size**3, rel=0.1)


def test_a_warm_step_is_the_plain_formula() -> None:
    """Near the manifold no factor is applied: W ← 3/2 W − 1/2 W Wᵀ W."""
    w = polar(matrix((6, 15))) + 0.01 * matrix((6, 15), seed=2)
    assert torch.allclose(bjorck(w), 1.5 * w - 0.5 * w @ w.t() @ w, atol=1e-14)


def test_a_rank_one_push_of_spectral_norm_four_does_not_diverge() -> None:
    """What a few steps of Adam, each of one sign pattern, can do to a wide matrix."""
    w = polar(matrix((40, 60)))
    pushed = w + 4.0 * torch.ones(40, 60, dtype=w.dtype) / (40 * 60) ** 0.5
    for _ in range(25):
        pushed = bjorck(pushed)
    assert float(defect(pushed)) < 1e-10


def test_zero_stays_zero_and_finite() -> None:
    assert torch.equal(bjorck(torch.zeros(3, 5), 2), torch.zeros(3, 5))


def test_defect_of_known_matrices() -> None:
    assert float(defect(torch.eye(4))) == 0.0
    assert float(defect(2.0 * torch.eye(4))) == pytest.approx(3.0)
    assert float(defect(torch.eye(5)[:, :3])) == 0.0  # tall: its columns


def test_orthogonal_fill_is_reproducible_and_in_place() -> None:
    w = torch.empty(4, 9)
    address = w.data_ptr()
    orthogonal_(w, torch.Generator().manual_seed(3))
    again = orthogonal_(torch.empty(4, 9), torch.Generator().manual_seed(3))
    assert w.data_ptr() == address
    assert torch.equal(w, again)
    assert float(defect(w)) < 1e-6


def test_none_returns_the_matrix_itself() -> None:
    w = matrix((3, 4))
    assert orthonormalise(w, "none") is w
    assert set(METHODS) == {"bjorck", "newton-schulz", "svd", "none"}
