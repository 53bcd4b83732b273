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
