"""Optimiser steps, held against torch.optim."""

from __future__ import annotations

import pytest
import torch
from differences import numbers
from torch import Tensor

from bpfree.numerics.updates import _alike, adam_step_, decay_, same_layout, sgd_step_

SHAPES = ((4, 3), (4,), (2, 4))
STEPS = 12


def _start(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [numbers(*shape, seed=k).to(dtype) for k, shape in enumerate(SHAPES)]


def _gradients(step: int) -> list[Tensor]:
    return [numbers(*shape, seed=100 * step + k) for k, shape in enumerate(SHAPES)]


def _by_torch(optimiser: type, **options: float) -> list[Tensor]:
    parameters = [each.requires_grad_() for each in _start()]
    theirs = optimiser(parameters, **options)
    for step in range(STEPS):
        for parameter, gradient in zip(parameters, _gradients(step), strict=True):
            parameter.grad = gradient
        theirs.step()
    return [each.detach() for each in parameters]


def _assert_close(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-12, rtol=1e-12)


def _adam(weight_decay: float, *, dtype: torch.dtype = torch.float64, compiled: bool = False) -> list[Tensor]:
    parameters, first, second = _start(dtype), [], []
    for parameter in parameters:
        first.append(torch.zeros_like(parameter))
        second.append(torch.zeros_like(parameter))
    counts = [torch.zeros(()) for _ in parameters]
    lr, decay = torch.tensor(0.01, dtype=dtype), torch.tensor(weight_decay, dtype=dtype)
    step_ = torch.compile(adam_step_, backend="eager", fullgraph=True) if compiled else adam_step_
    for step in range(STEPS):
        if weight_decay:
            decay_(parameters, lr, decay)
        step_(parameters, [g.to(dtype) for g in _gradients(step)], first, second, counts, lr)
    assert [float(count) for count in counts] == [STEPS] * len(counts)
    return parameters


def _sgd(momentum: float, weight_decay: float = 0.0, *, compiled: bool = False) -> list[Tensor]:
    parameters = _start()
    velocity = [torch.zeros_like(parameter) for parameter in parameters]
    lr, decay = torch.tensor(0.01, dtype=torch.float64), torch.tensor(weight_decay, dtype=torch.float64)
    step_ = torch.compile(sgd_step_, backend="eager", fullgraph=True) if compiled else sgd_step_
    for step in range(STEPS):
        if weight_decay:
            decay_(parameters, lr, decay)
        step_(parameters, _gradients(step), velocity, lr, momentum)
    return parameters


def test_adam_is_torchs() -> None:
    _assert_close(_adam(0.0), _by_torch(torch.optim.Adam, lr=0.01))


def test_adam_with_decay_is_torchs_adamw() -> None:
    _assert_close(_adam(0.1), _by_torch(torch.optim.AdamW, lr=0.01, weight_decay=0.1))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_torchs(momentum: float) -> None:
    _assert_close(_sgd(momentum), _by_torch(torch.optim.SGD, lr=0.01, momentum=momentum))


def test_decay_is_decoupled_for_sgd_too() -> None:
    """Without momentum, decoupled decay and torch's coupled decay are the same step; with momentum they are not."""
    coupled = _by_torch(torch.optim.SGD, lr=0.01, weight_decay=0.1)
    _assert_close(_sgd(0.0, 0.1), coupled)
    with_momentum = _by_torch(torch.optim.SGD, lr=0.01, momentum=0.9, weight_decay=0.1)
    assert not torch.allclose(_sgd(0.9, 0.1)[0], with_momentum[0], atol=1e-6)


def test_compiled_steps_are_the_same_formula() -> None:
    """A compiler gets torch's written-out formula in place of the fused kernel; its bias correction is in float32."""
    for ours, theirs in ((_adam(0.1, compiled=True), _adam(0.1)), (_sgd(0.9, compiled=True), _sgd(0.9))):
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, other, atol=1e-5, rtol=0)
    torch._dynamo.reset()


def test_steps_write_in_place() -> None:
    parameters, moments = _start(), [[torch.zeros_like(each) for each in _start()] for _ in range(2)]
    counts = [torch.zeros(()) for _ in parameters]
    addresses = [each.data_ptr() for each in [*parameters, *moments[0], *moments[1], *counts]]
    adam_step_(parameters, _gradients(0), moments[0], moments[1], counts, torch.tensor(0.1, dtype=torch.float64))
    assert [each.data_ptr() for each in [*parameters, *moments[0], *moments[1], *counts]] == addresses
    assert all(float(moment.abs().max()) > 0 for moment in [*moments[0], *moments[1]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_formats_follow_the_wide_one(dtype: torch.dtype) -> None:
    for ours, theirs in zip(_adam(0.1, dtype=dtype), _adam(0.1), strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), theirs, atol=1e-6 if dtype == torch.float32 else 0.06, rtol=0)


@pytest.mark.parametrize("which", ["gradients", "first", "second", "velocity"])
def test_another_layout_is_refused_before_anything_is_written(which: str) -> None:
    """Fused kernels walk raw memory: they would pair the wrong elements."""
    parameter = torch.zeros(3, 4)
    lists = {name: [torch.ones(3, 4)] for name in ("gradients", "first", "second", "velocity")}
    lists[which] = [torch.ones(4, 3).t()]
    with pytest.raises(ValueError, match=rf"parameter 0 has shape \(3, 4\) and strides \(4, 1\), but number 0 of {which}"):
        if which != "velocity":
            adam_step_([parameter], lists["gradients"], lists["first"], lists["second"], [torch.zeros(())], torch.tensor(0.1))
        sgd_step_([parameter], lists["gradients"], lists["velocity"], torch.tensor(0.1), 0.9)
    assert not parameter.any()


def test_lists_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 parameters need as many gradients, got 2"):
        sgd_step_([torch.zeros(2)], [torch.ones(2)] * 2, [torch.zeros(2)], torch.tensor(0.1), 0.9)


def test_the_stride_of_an_axis_of_length_one_does_not_matter() -> None:
    one, other = torch.zeros(3, 1), torch.zeros(1, 3).t()
    assert one.stride() != other.stride()
    assert same_layout(one, other)
    assert not same_layout(torch.zeros(3, 2), torch.zeros(2, 3).t())
    assert not same_layout(torch.zeros(3, 2), torch.zeros(2, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rate", "decay"), [(1e-3, 0.01), (0.0211, 0.00161), (0.5, 1.0), (0.0, 0.1)])
def test_the_kernel_decays_as_decay_does(dtype: torch.dtype, rate: float, decay: float) -> None:
    """The fused kernel takes its own factor in double precision; it is given what rounds to the factor of ``decay_``."""
    lr, weight_decay = torch.tensor(rate, dtype=dtype), torch.tensor(decay, dtype=dtype)
    apart, together = _start(dtype), _start(dtype)
    lists = [[[torch.zeros_like(each) for each in _start(dtype)] for _ in range(2)] for _ in range(2)]
    counts = [[torch.zeros(()) for _ in apart] for _ in range(2)]
    for step in range(STEPS):
        gradients = [g.to(dtype) for g in _gradients(step)]
        decay_(apart, lr, weight_decay)
        adam_step_(apart, gradients, *lists[0], counts[0], lr)
        adam_step_(together, gradients, *lists[1], counts[1], lr, weight_decay)
    for mine, other in zip(together, apart, strict=True):
        torch.testing.assert_close(mine, other, atol=0, rtol=1e-7 if dtype == torch.float32 else 1e-14)


def test_a_fused_kernel_is_given_tensors_of_one_kind() -> None:
    one, wide, elsewhere = torch.zeros(2), torch.zeros(2, dtype=torch.float64), torch.zeros(2, device="meta")
    assert _alike([one, torch.ones(3)])
    assert _alike([wide])
    assert not _alike([one, wide])
    assert not _alike([wide, one, one])
    assert not _alike([one, elsewhere])
