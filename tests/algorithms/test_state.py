"""What a rule keeps beside the net: optimisers, slots, schedules of the learning rate, resets."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bpfree.algorithms import Backprop, ForwardForward, MonoForward, Optimiser, reset
from bpfree.errors import UsageError
from bpfree.nets import mlp
from bpfree.testing.bench import RuleOnNet


def test_an_optimiser_allocates_everything_at_once() -> None:
    parameters = [torch.randn(3, 2), torch.randn(3)]
    adam = Optimiser(parameters, kind="adam", lr=0.1)
    assert [tuple(moment.shape) for moment in adam.moments()] == [(3, 2), (3, 2), (3,), (3,)]
    assert not any(moment.any() for moment in adam.moments())
    sgd = Optimiser(parameters, kind="sgd", lr=0.1)
    assert [tuple(moment.shape) for moment in sgd.moments()] == [(3, 2), (3,)]
    assert not any(buffer.requires_grad for buffer in adam.buffers())


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(torch.float64, torch.float64), (torch.float32, torch.float32), (torch.bfloat16, torch.float32)],
)
def test_hyper_parameters_are_never_narrower_than_float32(dtype: torch.dtype, expected: torch.dtype) -> None:
    bench = RuleOnNet.start(MonoForward(lr=1e-3), mlp(12, (9,), 4).to(dtype))
    slot = bench.state.slot(0)
    assert bench.state.hyper.lr.dtype == slot.optimiser.lr.dtype == expected
    assert float(slot.optimiser.lr) == pytest.approx(1e-3, rel=1e-6)
    assert slot.optimiser.first_0.dtype == dtype


def test_a_schedule_scales_every_learning_rate_from_its_own_value() -> None:
    bench = RuleOnNet.start(ForwardForward(lr=0.25, inference="head", head_lr=0.5), mlp(12, (9, 7), 4))
    for factor in (0.5, 0.25, 1.0):  # of the rule's value, not of the last one
        bench.state.scale_lr(factor)
        assert sorted(float(optimiser.lr_now) for optimiser in bench.state.optimisers()) == [
            0.25 * factor,
            0.25 * factor,
            0.5 * factor,
        ]


def test_the_scaled_rate_is_the_one_that_is_used() -> None:
    """Half the factor is half the step (plain SGD)."""
    moves = []
    for factor in (1.0, 0.5):
        bench = RuleOnNet.start(Backprop(lr=0.1, optimiser="sgd", momentum=0.0), mlp(12, (9,), 4).double())
        before = bench.net.output.weight.detach().clone()
        bench.state.scale_lr(factor)
        bench.step(bench.batch(8))
        moves.append(bench.net.output.weight.detach() - before)
    torch.testing.assert_close(moves[1], moves[0] / 2)


def test_weight_decay_shrinks_what_has_no_gradient() -> None:
    """Weights of an input that is always zero get no gradient: they decay by 1 - lr wd a step, under both optimisers."""
    for optimiser in ("adam", "sgd"):
        bench = RuleOnNet.start(Backprop(lr=0.1, weight_decay=0.2, optimiser=optimiser), mlp(12, (9,), 4).double())
        before = bench.net[0].linear.weight[:, 0].detach().clone()
        for index in range(3):
            batch = bench.batch(8, index)
            batch.x.flatten(1)[:, 0] = 0.0
            bench.step(batch)
        torch.testing.assert_close(bench.net[0].linear.weight[:, 0].detach(), before * (1 - 0.1 * 0.2) ** 3)


def test_reset_refuses_a_state_of_another_kind() -> None:
    adam = RuleOnNet.start(MonoForward(), mlp(12, (9,), 4))
    with pytest.raises(UsageError, match="another rule or for another net"):
        reset(dataclasses.replace(adam.algorithm, optimiser="sgd"), adam.net, adam.state, torch.Generator())
    other = mlp(12, (8,), 4)
    with pytest.raises(UsageError, match="another rule or for another net"):
        reset(adam.algorithm, other, adam.state, torch.Generator())


def test_reset_switches_the_decay_on_and_off() -> None:
    for first, then in ((0.0, 0.1), (0.1, 0.0)):
        used = RuleOnNet.start(MonoForward(weight_decay=first), mlp(12, (9,), 4))
        fresh = RuleOnNet.start(MonoForward(weight_decay=then), mlp(12, (9,), 4))
        used.steps([8])
        used.algorithm = fresh.algorithm
        reset(used.algorithm, used.net, used.state, torch.Generator().manual_seed(0))
        for bench in (used, fresh):
            bench.steps([8, 8])
        assert all(torch.equal(value, fresh.tensors()[name]) for name, value in used.tensors().items())


def _stepped(kind: str, parameter: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    optimiser = Optimiser([parameter], kind=kind, lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimiser.step([parameter], [gradient])
    return parameter


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_a_step_pairs_elements_by_index_whatever_their_layout(kind: str) -> None:
    w, g = torch.arange(12.0).reshape(3, 4), torch.linspace(-1, 1, 12).reshape(3, 4)
    expected = _stepped(kind, w.clone(), g)
    base = torch.full((3, 8), 7.0)
    base[:, ::2] = w
    for parameter in (w.clone(), w.t().contiguous().t(), base[:, ::2]):
        for gradient in (g, g.t().contiguous().t(), g.flip(0).flip(0), torch.stack([g, g], -1)[..., 0]):
            torch.testing.assert_close(_stepped(kind, parameter.clone(memory_format=torch.preserve_format), gradient), expected)
    view = base[:, ::2]
    torch.testing.assert_close(_stepped(kind, view, g), expected)
    assert bool((base[:, 1::2] == 7.0).all())  # what lies between is not written


def test_a_layout_that_changes_after_the_moments_were_made() -> None:
    w, g = torch.arange(12.0).reshape(3, 4), torch.linspace(-1, 1, 12).reshape(3, 4)
    optimiser, plain = (Optimiser([w], kind="adam", lr=0.1) for _ in range(2))
    turned, straight = w.t().contiguous().t(), w.clone()
    optimiser.step([turned], [g])
    plain.step([straight], [g])
    assert torch.equal(turned, straight)


def test_a_gradient_of_another_shape_is_refused() -> None:
    w = torch.zeros(3, 4)
    optimiser = Optimiser([w], kind="adam", lr=0.1)
    with pytest.raises(ValueError, match=r"gradient 0 has shape \(4, 3\), its moments have \(3, 4\)"):
        optimiser.step([w], [torch.ones(4, 3)])
    with pytest.raises(ValueError, match=r"parameter 0 has shape \(2, 4\), its moments have \(3, 4\)"):
        optimiser.step([torch.zeros(2, 4)], [torch.ones(3, 4)])
    with pytest.raises(ValueError, match="1 parameters need as many gradients, got 2"):
        optimiser.step([w], [w, w])
    assert not w.any()
