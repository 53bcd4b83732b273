"""Peer normalisation and the loss on pairs, against autograd."""

from __future__ import annotations

import torch
from torch.autograd import gradcheck

from bpfree.numerics.goodness import pair_loss, pair_residual
from bpfree.numerics.peers import PEER_MOMENTUM, peer_gradient, peer_loss, update_mean_


def test_peer_gradient_is_that_of_the_variance_of_the_running_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    h = torch.rand(6, 5, dtype=torch.float64, generator=generator).requires_grad_()
    start = torch.rand(5, dtype=torch.float64, generator=generator)
    mean = PEER_MOMENTUM * start + (1 - PEER_MOMENTUM) * h.mean(0)
    (expected,) = torch.autograd.grad(peer_loss(mean), h)
    update_mean_(start, h.detach())
    torch.testing.assert_close(start, mean.detach())
    torch.testing.assert_close(peer_gradient(start, 6).expand(6, 5), expected, rtol=1e-12, atol=1e-15)


def test_equal_peers_feel_nothing() -> None:
    assert peer_gradient(torch.full((7,), 0.5), 3).abs().max() == 0
    assert peer_loss(torch.full((7,), 0.5)) == 0


def test_pair_residual_is_the_gradient_of_the_pair_loss() -> None:
    g = (3 * torch.randn(10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))).requires_grad_()
    assert gradcheck(lambda values: pair_loss(values, 1.7), (g,))
    (expected,) = torch.autograd.grad(pair_loss(g, 1.7), g)
    torch.testing.assert_close(pair_residual(g.detach(), 1.7), expected, rtol=1e-12, atol=1e-15)


def test_a_pair_far_apart_costs_nothing() -> None:
    assert pair_loss(torch.tensor([100.0, 200.0, 0.0, 0.0]), 4.0) == 0
