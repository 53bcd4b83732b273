"""Frozen blocks: nothing but the read-out learns, and its features are computed once where they can be."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from local_reference import EXACT, NETS, assert_same, batch_of, by_autograd, dense, stepped
from torch import Tensor

from bpfree import Patience, fit
from bpfree.algorithms import Backprop, Frozen, State, cost_of
from bpfree.bench.cost import step_cost
from bpfree.data import Dataset, load
from bpfree.nets import Chain, ConvBlock, DenseBlock, mlp
from bpfree.testing.bench import RuleOnNet
from bpfree.train import FitResult, features, initialise, read_by

READOUTS = ("last", "all")
BATCH = batch_of(7)


def digits() -> Dataset:
    return load("digits").limited(300).without_test()


def conv_net() -> Chain:
    """Convolution with BatchNorm, then a dense block."""
    first = ConvBlock((1, 8, 8), 4, pool="max", norm=True)
    return Chain([first, DenseBlock(first.out_shape, 16)], 10)


def trained(net: Chain, data: Dataset, **options: Any) -> FitResult:
    return fit(Frozen(**options), net, data, Patience(10, max_passes=4), batch_size=64)


def widths_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Examples whose features are computed for a cache, as they are."""
    seen: list[int] = []
    original = features.frozen_features
    monkeypatch.setattr(features, "frozen_features", lambda net, x, n: seen.append(len(x)) or original(net, x, n))
    return seen


@pytest.mark.parametrize("kind", ["dense", "module"])
@pytest.mark.parametrize("readout", READOUTS)
def test_it_is_logistic_regression_on_the_features(readout: str, kind: str) -> None:
    def loss(net: Chain, state: State) -> Tensor:
        x, total = BATCH.x, net.output.bias
        for k, block in enumerate(net):
            x = block(x).detach()
            if readout == "all" or k == len(net) - 1:
                head = state.slot(k).projection if readout == "all" else net.output.weight
                total = total + block.features(x) @ head.t()
        return F.cross_entropy(total, BATCH.y)

    bench, gradients, losses = stepped(Frozen(readout=readout), NETS[kind](), BATCH)
    assert_same(gradients, by_autograd(loss, bench))
    torch.testing.assert_close(losses[0], loss(bench.net, bench.state), **EXACT)


@pytest.mark.parametrize("readout", READOUTS)
def test_it_begins_where_backprop_begins_and_its_blocks_stay_there(readout: str) -> None:
    ours, theirs = (RuleOnNet.start(rule, dense(), seed=4) for rule in (Frozen(readout=readout), Backprop()))
    start = {name: value.clone() for name, value in theirs.net.state_dict().items()}
    torch.testing.assert_close(ours.net.state_dict(), start, rtol=0, atol=0)
    ours.steps([8, 8, 5])
    moved = {name for name, value in ours.net.state_dict().items() if not torch.equal(value, start[name])}
    assert moved == {"output.weight", "output.bias"}


def test_the_plain_net_predicts_alike() -> None:
    bench = RuleOnNet.start(Frozen(), dense())
    bench.steps([8, 8])
    assert torch.equal(bench.algorithm.scores(bench.net, bench.state, BATCH.x, bench.last_phase), bench.net(BATCH.x))


@pytest.mark.parametrize("readout", READOUTS)
def test_cached_features_give_the_same_read_out(readout: str) -> None:
    """With BatchNorm, whose statistics are gathered in a pass before."""
    plain, cached = (trained(conv_net(), digits(), readout=readout, cache_features=cache) for cache in (False, True))
    assert [entry.val_accuracy for entry in cached.history] == [entry.val_accuracy for entry in plain.history]
    assert [entry.phase for entry in cached.history] == [0, 1, 1, 1]
    torch.testing.assert_close(cached.state.state_dict(), plain.state.state_dict(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(cached.net.state_dict(), plain.net.state_dict(), rtol=1e-4, atol=1e-5)


def test_the_blocks_run_once_for_every_example(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, data = widths_read(monkeypatch), digits()
    trained(mlp(data.in_shape, (32, 16), 10), data)
    assert sum(seen) == data.n("train") + data.n("validation")


def test_augmented_examples_are_read_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, data = widths_read(monkeypatch), dataclasses.replace(digits(), augmentation="crop-flip")
    net = mlp(data.in_shape, (32, 16), 10)
    phase = Frozen().phases(net)[-1]
    assert read_by(net, data, phase) == (data, phase)
    assert trained(net, data).status == "ok"
    assert not seen


@pytest.mark.parametrize(("readout", "width"), [("last", 16), ("all", 48)])
def test_the_cache_holds_what_is_read_and_is_counted(readout: str, width: int) -> None:
    data = digits()
    net = mlp(data.in_shape, (32, 16), 10)
    rule = Frozen(readout=readout)
    found = step_cost(rule, net, initialise(rule, net, 0), data, 64)
    assert found.memory.feature_cache == (data.n("train") + data.n("validation")) * width * 4
    assert found.by_phase == (2 * 64 * 2 * 10 * width,)
    assert found.features_by_phase == (round(data.n("train") / 64 * 2 * 64 * (64 * 32 + 32 * 16)),)


@pytest.mark.parametrize("readout", READOUTS)
def test_bytes_of_a_step_on_cached_features_are_those_of_the_formula(readout: str) -> None:
    """Of few examples, where the heads weigh more than the scores."""
    data, rule = digits(), Frozen(readout=readout)
    net = mlp(data.in_shape, (32, 16), 10)
    found = step_cost(rule, net, initialise(rule, net, 0), data, 4)
    formula = cost_of(rule, net, 4, found.phases[-1])
    assert formula is not None
    assert formula.peak is not None
    counted = found.memory.gradients, found.memory.activations
    assert counted == tuple(pytest.approx(4 * numbers, rel=0.05) for numbers in formula.peak)


def test_it_says_what_it_is() -> None:
    net = mlp(12, (9, 7), 4)
    last, every = (Frozen(readout=readout).traits(net) for readout in READOUTS)
    assert last.untrained_control
    assert (last.local, last.extra_parameters, last.gradient_path) == (True, 0, 1)
    assert (every.local, every.extra_parameters) == (False, 4 * 9)
    assert "stay as drawn" in last.note
    assert not Backprop().traits(net).untrained_control
