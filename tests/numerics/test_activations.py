"""Nonlinearities and the product with their derivative."""

from __future__ import annotations

import pytest
import torch
from differences import central_differences, numbers

from bpfree.numerics.activations import ACTIVATIONS


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradient_is_delta_times_the_derivative(name: str) -> None:
    activation = ACTIVATIONS[name]
    z, delta = numbers(6, 5), numbers(6, 5, seed=1)
    expected = central_differences(lambda each: (activation.apply(each) * delta).sum(), z)
    torch.testing.assert_close(activation.gradient(delta, activation.apply(z)), expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradient_equals_autograds(name: str) -> None:
    """At zero too, where the derivative of a kink is a convention: ours is torch's."""
    activation = ACTIVATIONS[name]
    z = torch.tensor([-2.0, -0.0, 0.0, 1e-30, 3.0], dtype=torch.float64, requires_grad=True)
    delta = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=torch.float64)
    a = activation.apply(z)
    (expected,) = torch.autograd.grad(a, z, delta)
    assert torch.equal(activation.gradient(delta, a.detach()), expected)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_is_kept(name: str, dtype: torch.dtype) -> None:
    activation, z = ACTIVATIONS[name], numbers(3).to(dtype)
    assert activation.apply(z).dtype == dtype
    assert activation.gradient(z, activation.apply(z)).dtype == dtype


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_gradient_in_the_place_of_the_activity_is_the_same(name: str) -> None:
    """With a delta that is broadcast, as of an average over windows."""
    activation = ACTIVATIONS[name]
    a, delta = activation.apply(numbers(4, 6)), numbers(4, 1, seed=1)
    expected = activation.gradient(delta.expand(4, 6).contiguous(), a)
    written = activation.gradient_over_(delta, a)
    assert written is a or written.data_ptr() == a.data_ptr()
    assert torch.equal(a, expected)
