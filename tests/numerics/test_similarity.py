"""Similarity matching: target, gradient, and rows without a direction."""

from __future__ import annotations

import torch
from torch.autograd import gradcheck

from bpfree.numerics.similarity import label_similarity, similarity_loss_and_gradient, spread, spread_gradient


def test_target_is_the_correlation_of_one_hot_labels() -> None:
    y = torch.tensor([0, 2, 1, 2, 3])
    expected = torch.corrcoef(torch.nn.functional.one_hot(y, 5).double())
    torch.testing.assert_close(label_similarity(y, 5, torch.float64), expected)


def test_loss_and_gradient_are_those_of_the_correlation_matrix() -> None:
    x = torch.randn(6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = label_similarity(torch.tensor([0, 1, 0, 2, 2, 1]), 3, torch.float64)
    expected = (torch.corrcoef(x) - target).square().mean()
    (by_autograd,) = torch.autograd.grad(expected, x)
    loss, gradient = similarity_loss_and_gradient(x.detach(), target)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-7, atol=1e-9)  # 1e-8 is added to each length
    torch.testing.assert_close(gradient, by_autograd, rtol=1e-6, atol=1e-9)


def test_silent_rows_get_no_gradient() -> None:
    x = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[1] = 0.0
    loss, gradient = similarity_loss_and_gradient(x, label_similarity(torch.tensor([0, 1, 0, 1]), 2, torch.float64))
    assert loss.isfinite() and gradient.isfinite().all()
    assert gradient[1].abs().max() == 0


def test_spread_and_its_gradient() -> None:
    maps = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert gradcheck(spread, (maps,))
    cotangent = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (expected,) = torch.autograd.grad(spread(maps), maps, cotangent)
    torch.testing.assert_close(spread_gradient(maps.detach(), cotangent), expected, rtol=1e-12, atol=1e-12)


def test_a_constant_channel_gets_no_gradient() -> None:
    assert spread_gradient(torch.ones(2, 3, 4, 4), torch.ones(2, 3)).abs().max() == 0
