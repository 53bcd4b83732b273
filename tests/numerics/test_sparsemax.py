"""Sparsemax against a reference that bisects for the threshold, and its loss against its definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from bpfree.numerics.sparsemax import sparsemax, sparsemax_loss, sparsemax_residual


def _reference(z: Tensor) -> Tensor:
    """The threshold at which what is above it sums to 1, by bisection."""
    low, high = z.amax(1, keepdim=True) - 1, z.amax(1, keepdim=True)
    for _ in range(200):
        middle = (low + high) / 2
        above = (z - middle).clamp_min(0).sum(1, keepdim=True) > 1
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return (z - low).clamp_min(0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_equals_the_reference(scale: float) -> None:
    z = scale * torch.randn(50, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    p = sparsemax(z)
    torch.testing.assert_close(p, _reference(z), rtol=0, atol=1e-9)
    torch.testing.assert_close(p.sum(1), torch.ones(50, dtype=torch.float64))


def test_ties_and_extremes() -> None:
    z = torch.tensor([[0.0, 0.0, 0.0, 0.0], [5.0, 0.0, 0.0, 0.0], [1.0, 1.0, -9.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(sparsemax(z), expected)


def test_gradient_of_the_loss_is_the_residual() -> None:
    z = torch.randn(9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    y = torch.arange(9) % 5
    assert gradcheck(lambda scores: sparsemax_loss(scores, y), (z,), atol=1e-8)
    (expected,) = torch.autograd.grad(sparsemax_loss(z, y), z)
    torch.testing.assert_close(sparsemax_residual(z.detach(), y), expected, rtol=0, atol=1e-9)


def test_loss_is_the_regret_of_the_projection() -> None:
    """½‖z − y‖² − ½‖z − sparsemax(z)‖² for one-hot y: at least 0, and 0 for scores that leave no doubt."""
    z = torch.randn(20, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    y = torch.arange(20) % 6
    target = torch.nn.functional.one_hot(y, 6).double()
    regret = 0.5 * (z - target).square().sum(1) - 0.5 * (z - sparsemax(z)).square().sum(1)
    torch.testing.assert_close(sparsemax_loss(z, y), regret.mean())
    assert sparsemax_loss(3 * target, y) == 0


@pytest.mark.parametrize("shift", [0.0, 1e4, 1e7, -1e7, 1e30])
def test_large_scores_keep_their_differences(shift: float) -> None:
    """Adding a number to a row changes nothing; in float32 a sum of such scores would round the 1 away."""
    z = (torch.tensor([[2.0, 1.0, -3.0], [0.0, 0.0, 0.0]]) + shift).requires_grad_()
    differences = (z - z.amax(1, keepdim=True)).detach().double()
    torch.testing.assert_close(sparsemax(z.detach()).double(), _reference(differences), atol=1e-6, rtol=0)
    y = torch.tensor([0, 1])
    loss = sparsemax_loss(z, y)
    torch.testing.assert_close(loss.double(), sparsemax_loss(differences, y), atol=1e-6, rtol=0)
    (gradient,) = torch.autograd.grad(loss, z)
    torch.testing.assert_close(gradient, sparsemax_residual(z.detach(), y), atol=1e-6, rtol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_give_no_finite_loss_and_no_exception(bad: float) -> None:
    z = torch.tensor([[bad, 1.0, 0.0], [0.0, 0.0, 9.0]])
    p, y = sparsemax(z), torch.tensor([1, 2])
    assert bool(p[0].isnan().all())
    assert p[1].tolist() == [0.0, 0.0, 1.0]
    assert not bool(sparsemax_loss(z, y).isfinite())
    assert bool(sparsemax_residual(z, y)[0].isnan().all())
