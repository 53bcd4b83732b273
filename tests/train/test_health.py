"""Dead and saturated units, tied scores, accuracy by block: of nets whose answer is known by construction."""

from __future__ import annotations

import warnings

import pytest
import torch

from bpfree.algorithms import Backprop, ForwardForward, make, names
from bpfree.data import Dataset, from_arrays
from bpfree.nets import Chain, ConvBlock, DenseBlock, build, mlp
from bpfree.testing.bench import blobs
from bpfree.train import Health, Patience, UnhealthyNetWarning, fit, health_of, initialise, warn_of_health


@pytest.fixture(scope="module")
def data() -> Dataset:
    return blobs(240).without_test()


def looked_at(net: Chain, data: Dataset, rule=None) -> Health:
    rule = rule or Backprop()
    state = initialise(rule, net, 0)
    return health_of(rule, net, state, data, rule.phases(net)[-1])


def broken(net: Chain, data: Dataset, breaks) -> Health:
    rule = Backprop()
    state = initialise(rule, net, 0)
    with torch.no_grad():
        breaks(net)
    return health_of(rule, net, state, data, rule.phases(net)[-1])


def dense(net: Chain, k: int) -> DenseBlock:
    block = net[k]
    assert isinstance(block, DenseBlock)
    return block


def test_units_that_never_fire_are_dead(data: Dataset) -> None:
    health = broken(mlp(16, (8, 6), 4), data, lambda net: dense(net, 1).linear.bias[:3].fill_(-1e6))
    assert health.dead_units[1] == 0.5 and health.dead_units[0] < 0.3


def test_units_that_always_saturate_are_too(data: Dataset) -> None:
    health = broken(mlp(16, (8, 6), 4, "tanh"), data, lambda net: dense(net, 0).linear.bias[:6].fill_(1e4))
    assert health.dead_units == (0.75, 0.0)


def test_a_channel_is_dead_where_it_is_the_same_at_every_place() -> None:
    x = torch.randn(60, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    images = from_arrays(x, torch.arange(60) % 3).without_test()

    def breaks(net: Chain) -> None:
        block = net[0]
        assert isinstance(block, ConvBlock)
        block.conv.weight[1].zero_()

    health = broken(build("mf-cnn4:4", (1, 6, 6), 3), images, breaks)
    assert health.dead_units == (0.25,)


def test_tied_scores_are_counted_by_example(data: Dataset) -> None:
    assert looked_at(mlp(16, (8,), 4), data).tied_scores == 0.0
    assert broken(mlp(16, (8,), 4), data, lambda net: (net.output.weight.zero_(), net.output.bias.zero_())).tied_scores == 1.0

    def two_alike(net: Chain) -> None:
        net.output.weight[1].copy_(net.output.weight[0])
        net.output.bias[:2].fill_(100.0)

    assert broken(mlp(16, (8,), 4), data, two_alike).tied_scores == 1.0
    assert broken(mlp(16, (8,), 4), data, lambda net: net.output.weight[1].copy_(net.output.weight[0])).tied_scores < 1.0


def test_the_accuracy_of_a_block_is_that_of_its_nearest_class_mean(data: Dataset) -> None:
    """The first block hands the inputs on, which are separable; the second forgets everything."""

    def breaks(net: Chain) -> None:
        dense(net, 0).linear.weight.copy_(torch.eye(16))
        dense(net, 0).linear.bias.zero_()
        dense(net, 1).linear.weight.zero_()

    net = mlp(16, (16, 6), 4, "identity")
    health = broken(net, data, breaks)
    train, validation = data.splits["train"], data.splits["validation"]
    means = torch.stack([train.x[train.y == k].mean(0) for k in range(4)])
    expected = (torch.cdist(validation.x, means).argmin(1) == validation.y).double().mean()
    assert health.block_accuracy[0] == pytest.approx(float(expected))
    assert health.block_accuracy[1] == pytest.approx(0.25, abs=0.05) and health.dead_units[1] == 1.0


@pytest.mark.parametrize("rule", names())
def test_every_rule_is_looked_at_without_a_trace(rule: str, data: Dataset) -> None:
    algorithm = make(rule)
    net = mlp(16, (20, 20), 4)
    state = initialise(algorithm, net, 0)
    before = [value.clone() for value in [*net.state_dict().values(), *state.state_dict().values()]]
    chance, mode = torch.get_rng_state(), net.training
    health = health_of(algorithm, net, state, data, algorithm.phases(net)[-1])
    assert len(health.dead_units) == len(health.block_accuracy) == 2
    assert all(0 <= share <= 1 for share in (*health.dead_units, health.tied_scores, *health.block_accuracy))
    assert health.block_accuracy[0] > 0.5, "random features of separable classes"
    assert torch.equal(chance, torch.get_rng_state()) and net.training == mode
    after = [*net.state_dict().values(), *state.state_dict().values()]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (Health((0.5, 0.51), 0.0, ()), "x: 51% of the units of block 1 are dead or saturated"),
        (
            Health((0.6, 0.5, 0.9, 0.7), 0.0, ()),
            r"x: 90% of the units of block 2 .and more than half in 2 other blocks. are",
        ),
        (Health((0.0,), 0.51, ()), "x: for 51% of the examples two classes share the largest score"),
        (Health((0.5, 0.5), 0.5, ()), None),
    ],
)
def test_above_a_half_there_is_a_warning_with_the_cure(health: Health, words: str | None) -> None:
    if words is None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warn_of_health("x", health)
    else:
        with pytest.warns(UnhealthyNetWarning, match=f"^{words}.*; use|^{words}.*: use") as caught:
            warn_of_health("x", health)
        assert len(caught) == 1


def test_forward_forward_on_a_block_that_died_says_so(data: Dataset) -> None:
    """Ten equal scores for every example were status ok, without a word."""
    rule = ForwardForward(lr=1.0)
    with pytest.warns(UnhealthyNetWarning) as caught:
        result = fit(rule, mlp(16, (16, 2), 4), data, Patience(None, 8, restore_best=False))
    texts = [str(each.message) for each in caught]
    assert any("100% of the units of block 1 are dead or saturated" in text for text in texts)
    assert any("for 100% of the examples two classes share the largest score" in text for text in texts)
    assert result.status == "ok" and result.health is not None
    assert (result.health.dead_units[1], result.health.tied_scores) == (1.0, 1.0)
    assert result.health.block_accuracy == pytest.approx((0.9, 0.25), abs=0.1), "the first block has learned, the second nothing"


def test_a_training_that_diverged_has_none(data: Dataset) -> None:
    assert fit(Backprop(lr=1e30, optimiser="sgd"), mlp(16, (8,), 4), data, Patience(None, 3)).health is None
