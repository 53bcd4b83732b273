"""Gradients of one affine map, held against central differences and against autograd."""

from __future__ import annotations

import pytest
import torch
from differences import central_differences, numbers
from torch import Tensor

from bpfree.numerics.activations import ACTIVATIONS
from bpfree.numerics.goodness import goodness, goodness_gradient, logistic_loss, logistic_residual
from bpfree.numerics.local import dense_activity, dense_gradients
from bpfree.numerics.losses import cross_entropy, softmax_residual

X, W, B = numbers(6, 5), numbers(4, 5, seed=1), numbers(4, seed=2)
M, Y = numbers(3, 4, seed=3), torch.tensor([0, 1, 2, 2, 1, 0])


def _mono_forward(a: Tensor) -> tuple[Tensor, Tensor]:
    scores = a @ M.t()
    return cross_entropy(scores, Y), softmax_residual(scores, Y) @ M


def _forward_forward(a: Tensor) -> tuple[Tensor, Tensor]:
    g = goodness(a)
    return logistic_loss(g, 2.0), goodness_gradient(a, logistic_residual(g, 2.0))


LOSSES = {"mono-forward": _mono_forward, "forward-forward": _forward_forward}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_closed_form_equals_central_differences(loss: str, activation: str) -> None:
    """Test 1 of the specification: by weight, bias and input, for both local losses."""
    rule = LOSSES[loss]
    a = dense_activity(X, W, B, activation)
    (dw, db), dx = dense_gradients(X, a, W, rule(a)[1], activation, bias=True, need_input=True)
    close = {"atol": 1e-8, "rtol": 0}
    torch.testing.assert_close(dw, central_differences(lambda w: rule(dense_activity(X, w, B, activation))[0], W), **close)
    torch.testing.assert_close(db, central_differences(lambda b: rule(dense_activity(X, W, b, activation))[0], B), **close)
    assert dx is not None
    torch.testing.assert_close(dx, central_differences(lambda x: rule(dense_activity(x, W, B, activation))[0], X), **close)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_closed_form_equals_autograd(activation: str) -> None:
    x, w, b = (each.clone().requires_grad_() for each in (X, W, B))
    delta = numbers(6, 4, seed=5)
    expected = torch.autograd.grad(dense_activity(x, w, b, activation), (w, b, x), delta)
    a = dense_activity(X, W, B, activation)
    gradients, dx = dense_gradients(X, a, W, delta, activation, bias=True, need_input=True)
    for ours, theirs in zip([*gradients, dx], expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


def test_activity_is_the_layer() -> None:
    expected = torch.relu(torch.nn.functional.linear(X, W, B))
    torch.testing.assert_close(dense_activity(X, W, B, "relu"), expected, atol=1e-15, rtol=0)
    torch.testing.assert_close(dense_activity(X, W, None, "tanh"), torch.tanh(X @ W.t()), atol=1e-15, rtol=0)


def test_what_is_not_asked_for_is_not_computed() -> None:
    a = dense_activity(X, W, None, "relu")
    gradients, dx = dense_gradients(X, a, W, a, "relu", bias=False, need_input=False)
    assert len(gradients) == 1
    assert dx is None
