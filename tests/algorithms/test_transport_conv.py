"""Feedback alignment and sign-symmetry on convolutions."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bpfree.algorithms import Algorithm, Backprop, FeedbackAlignment, SignSymmetry, check_net
from bpfree.algorithms._sweep import later_weight
from bpfree.data import load
from bpfree.errors import UsageError
from bpfree.nets import Chain, ConvBlock, DenseBlock, build
from bpfree.testing.bench import ForeignBlock, RuleOnNet, fingerprint
from bpfree.train import Patience, fit

EXACT = {"rtol": 0.0, "atol": 1e-12}
SHAPE = (2, 11, 9)
RULES = [
    FeedbackAlignment(),
    FeedbackAlignment(feedback="orthogonal", optimiser="sgd", lr=0.05),
    SignSymmetry(),
    SignSymmetry(variant="brsf"),
    SignSymmetry(variant="frsf"),
]


def net(*, norm: bool = True) -> Chain:
    """Strides, padding and none, both poolings, BatchNorm before and behind the nonlinearity, no bias, then dense."""
    first = ConvBlock(SHAPE, 5, 3, "tanh", pool="average", norm=norm)
    second = ConvBlock(first.out_shape, 6, 2, "relu", pool="max", norm=norm, order=("norm", "activation", "pool"), padding=1)
    third = ConvBlock(second.out_shape, 7, 2, "leaky-relu", stride=2, padding=1, bias=False)
    fourth = DenseBlock(third.out_shape, 8, "tanh")
    return Chain([first, second, third, fourth], 4).double()


@pytest.mark.parametrize("maths", ["closed", "autograd"])
def test_feedback_of_the_weights_is_backprop(maths: str) -> None:
    ours = RuleOnNet.start(FeedbackAlignment(maths=maths), net())
    theirs = RuleOnNet.start(Backprop(lr=ours.algorithm.lr), net())
    for k, n in enumerate((8, 8, 5, 2)):
        for j, buffer in enumerate(ours.state.feedback(), start=1):
            buffer.copy_(later_weight(ours.net, j))
        torch.testing.assert_close(ours.step(ours.batch(n, k)), theirs.step(theirs.batch(n, k)), **EXACT)
        for (name, mine), (_, other) in zip(ours.net.state_dict().items(), theirs.net.state_dict().items(), strict=True):
            torch.testing.assert_close(mine, other, **EXACT, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_closed_form_equals_autograd(rule: Algorithm) -> None:
    """Parameters, running statistics and losses over four steps, the feedback far from the weights."""
    benches = [RuleOnNet.start(dataclasses.replace(rule, maths=maths), net()) for maths in ("auto", "autograd")]
    losses = [torch.cat(bench.steps([8, 8, 5, 2])) for bench in benches]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-9, atol=1e-9)
    expected = benches[1].values()
    for name, value in benches[0].values().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_matrices_have_the_shapes_of_the_weights_and_keep_the_size_of_a_derivative(rule: Algorithm) -> None:
    bench = RuleOnNet.start(rule, build("lenet5", (3, 32, 32), 10))
    made = [rule.matrix(bench.net, bench.state, bench.batch(4), k) for k in range(1, 5)]
    weights = [later_weight(bench.net, k) for k in range(1, 5)]
    assert [matrix.shape for matrix in made] == [weight.shape for weight in weights]
    if isinstance(rule, SignSymmetry):
        for matrix, weight in zip(made, weights, strict=True):
            assert torch.equal(matrix.sign(), weight.sign())
        return
    kernel = made[0]  # (16, 6, 5, 5): its transpose on white noise puts out noise of the same deviation, away from the edges
    noise = torch.randn(200, 16, 12, 12, generator=torch.Generator().manual_seed(0))
    passed = torch.nn.functional.conv_transpose2d(noise, kernel)[:, :, 4:-4, 4:-4]
    assert float(passed.std()) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_save_load_continue_is_bitwise(rule: Algorithm) -> None:
    bench = RuleOnNet.start(rule, net())
    bench.steps([8, 5])
    kept = bench.copy()
    bench.steps([8, 2], first=2)
    fresh = RuleOnNet.start(rule, net(), seed=7)
    fresh.net.load_state_dict(kept.net.state_dict())
    fresh.state.load_state_dict(kept.state.state_dict())
    fresh.steps([8, 2], first=2)
    assert fingerprint(fresh.tensors()) == fingerprint(bench.tensors())


@pytest.mark.parametrize("rule", [FeedbackAlignment(lr=3e-3), SignSymmetry(lr=3e-3)], ids=lambda rule: rule.name)
def test_learns_digits_with_lenet(rule: Algorithm) -> None:
    data = load("digits").limited(500)
    first = ConvBlock(data.in_shape, 8, 3, pool="average")
    second = ConvBlock(first.out_shape, 16, 3, pool="max")
    result = fit(rule, Chain([first, second], 10), data.without_test(), Patience(None, max_passes=12), batch_size=32)
    assert result.val_accuracy is not None
    assert result.val_accuracy > 0.85


def test_a_chain_with_another_block_is_refused() -> None:
    first = ConvBlock((1, 4, 4), 3)
    mixed = Chain([first, ForeignBlock(first.out_shape, 5)], 3)
    for rule in (FeedbackAlignment(), SignSymmetry()):
        with pytest.raises(
            UsageError, match=r"block 1 \(ForeignBlock\) has no feedback matrix; .*lenet5.*direct-feedback"
        ) as seen:
            check_net(rule, mixed)
        assert "\n" not in str(seen.value)


def test_one_example_is_refused_by_batch_norm_and_a_batch_without_it() -> None:
    for maths in ("auto", "autograd"):
        with pytest.raises(UsageError, match="BatchNorm cannot train on a batch of one"):
            RuleOnNet.start(FeedbackAlignment(maths=maths), net()).steps([1])
        assert all(loss.isfinite().all() for loss in RuleOnNet.start(FeedbackAlignment(maths=maths), net(norm=False)).steps([1]))
