"""Class weights: an example of weight w counts as w examples, in every rule."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bpfree.algorithms import Algorithm, Backprop, MonoForward, Pepita, make, registry, step
from bpfree.data import Batch, Dataset, from_arrays
from bpfree.errors import UsageError
from bpfree.nets import Chain, DenseBlock
from bpfree.testing.bench import RuleOnNet, chain
from bpfree.text import key_values
from bpfree.train import Patience, evaluate, fit, training

SETTINGS = sorted(path.stem for path in (Path(__file__).parent / "golden").glob("*.json"))


def rule_of(setting: str) -> Algorithm:
    """A rule of a golden file; with SGD, which shows the length of a gradient, and nothing drawn by place in the batch."""
    name, *pairs = setting.split(",")
    rule = dataclasses.replace(make(name, key_values(pairs, form="", where=setting)), optimiser="sgd")
    return dataclasses.replace(rule, dropout=0.0) if isinstance(rule, Pepita) else rule


@pytest.mark.parametrize("setting", SETTINGS)
def test_an_example_of_weight_three_is_three_examples(setting: str) -> None:
    """Two classes, so that a wrong label, drawn by its place in the batch, can be but one."""
    plain = RuleOnNet.start(rule_of(setting), chain(DenseBlock, (2, 3), (5, 4), 2).double())
    weighted = plain.copy()
    for phase in plain.phases:
        for index in range(2):
            batch = plain.batch(6, index)
            counts = 1 + 2 * batch.y  # three times the second class
            repeated = torch.arange(6).repeat_interleave(counts)
            loss = plain.step(Batch(batch.x[repeated], batch.y[repeated], batch.key), phase)
            other = weighted.step(Batch(batch.x.clone(), batch.y, batch.key, counts.double()), phase)
            torch.testing.assert_close(other, loss, rtol=1e-9, atol=1e-12)
        for bench in (plain, weighted):
            bench.algorithm.close(bench.net, bench.state, phase)
    for (name, now), (_, expected) in zip(weighted.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(now, expected, rtol=1e-9, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}")


def test_every_rule_is_among_them() -> None:
    assert {setting.partition(",")[0] for setting in SETTINGS} == set(registry())
    assert all(rule.weighs_classes for rule in registry().values())


def by_torch(rule: Algorithm, net: Chain, heads: list[Tensor], batch: Batch, weights: Tensor) -> dict[str, Tensor]:
    """Gradients of what the rule minimises, by torch: backprop's loss, or a loss of each block and its head."""
    losses, x = [], batch.x
    for block, head in zip(net, heads or [net.output.weight] * len(net), strict=True):
        if heads:
            x = block(x.detach())
            losses.append(F.cross_entropy(block.features(x) @ head.t(), batch.y, weight=weights))
        else:
            x = block(x)
    if not heads:
        losses.append(F.cross_entropy(net.output(net[-1].features(x)), batch.y, weight=weights))
    learned = {**dict(net.named_parameters()), **{f"head {k}": head for k, head in enumerate(heads)}}
    gradients = torch.autograd.grad(torch.stack(losses).sum(), list(learned.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(learned, gradients, strict=True))


@pytest.mark.parametrize("name", ["backprop", "mono-forward"])
def test_the_step_is_that_of_torch_with_weights(name: str) -> None:
    """One step of SGD is lr times the gradient of ``F.cross_entropy(weight=)``, by autograd in float64."""
    weights = torch.tensor([0.3, 2.0, 7.0], dtype=torch.float64)
    rule = make(name, {"optimiser": "sgd", "momentum": 0.0, "lr": 0.5})
    bench = RuleOnNet.start(rule, chain(DenseBlock, (4,), (5, 6), 3).double())
    batch = bench.batch(9)
    heads = [slot.projection for slot in bench.state.slots] if isinstance(rule, MonoForward) else []
    gradients = by_torch(rule, bench.net, heads, batch, weights)
    learned = {**dict(bench.net.named_parameters()), **{f"head {k}": head for k, head in enumerate(heads)}}
    before = {key: value.detach().clone() for key, value in learned.items()}
    bench.step(Batch(batch.x.clone(), batch.y, batch.key, weights[batch.y]))
    for key, value in learned.items():
        torch.testing.assert_close(value.detach(), before[key] - 0.5 * gradients[key], rtol=1e-10, atol=1e-13)


def test_the_shift_of_an_example_does_not_depend_on_its_weight() -> None:
    """PEPITA and FOTON: weights multiply differences of activity, not the change of the input that they come from."""
    for name in ("pepita", "foton"):
        bench = RuleOnNet.start(rule_of(name), chain(DenseBlock, (6,), (6, 6), 3).double())
        other = bench.copy()
        batch = bench.batch(1)
        bench.step(batch)
        other.step(Batch(batch.x.clone(), batch.y, batch.key, torch.tensor([50.0])))  # one example: only ratios matter
        for (_, now), (_, expected) in zip(other.parameters(), bench.parameters(), strict=True):
            torch.testing.assert_close(now, expected, rtol=1e-12, atol=1e-14)


class Unaware(Backprop):
    """A rule of a contributor that has never heard of weights."""

    weighs_classes = False


def test_a_rule_that_reads_no_weights_refuses_them(few: Dataset) -> None:
    net = chain(DenseBlock, (8,), (6,), 2)
    with pytest.raises(UsageError, match=r"does not weigh classes.*leave them out"):
        next(training(Unaware(), net, few.weighted("balanced"), Patience(None, max_passes=1)))
    bench = RuleOnNet.start(Unaware(), net)
    batch = bench.batch(4)
    with pytest.raises(UsageError, match="does not weigh classes"):
        step(bench.algorithm, bench.net, bench.state, Batch(batch.x, batch.y, batch.key, torch.ones(4)), bench.last_phase)


@pytest.fixture(scope="module")
def few() -> Dataset:
    """Two overlapping normal clusters in eight dimensions; 3 % of the examples are of the second."""
    draws = np.random.default_rng(0)
    y = (np.arange(1500) % 100 < 3).astype(np.int64)
    x = draws.normal(size=(1500, 8)).astype(np.float32)
    x[:, :4] += 0.7 * y[:, None]
    return from_arrays(x, y, name="few")


@pytest.mark.parametrize("name", ["backprop", "mono-forward"])
def test_recall_of_a_minority_of_three_per_cent(name: str, few: Dataset) -> None:
    recalls = []
    for data in (few, few.weighted("balanced")):
        net = chain(DenseBlock, data.in_shape, (16,), 2)
        rule = make(name, {"lr": 3e-3})
        result = fit(rule, net, data, Patience(None, max_passes=4, metric="balanced-accuracy"), seed=1)
        seen = evaluate(rule, net, result.state, data, "validation", rule.phases(net)[-1])
        recalls.append(seen.correct_by_class[1] / seen.n_by_class[1])
    plain, weighted = recalls
    assert plain < 0.3
    assert weighted > 0.5


def test_a_checkpoint_of_other_weights_is_refused(few: Dataset, tmp_path: Path) -> None:
    stop, path = Patience(None, max_passes=1), tmp_path / "checkpoint"
    list(training(Backprop(), chain(DenseBlock, (8,), (4,), 2), few, stop, checkpoint=path))
    with pytest.raises(UsageError, match="class_weight = None, this one has 'balanced'"):
        list(training(Backprop(), chain(DenseBlock, (8,), (4,), 2), few.weighted("balanced"), stop, checkpoint=path))
