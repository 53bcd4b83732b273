"""Classes of unequal size: accuracy class by class, and a stop rule that watches balanced accuracy."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from bpfree import algorithms
from bpfree.data import Dataset, from_arrays
from bpfree.nets import mlp
from bpfree.rulesets import Patience
from bpfree.rulesets.stopping import improves
from bpfree.train import best_of, evaluate, fit


@pytest.fixture(scope="module")
def rare() -> Dataset:
    """Two classes, of which one has 5 % of the examples and two of three standard deviations between the means."""
    random = np.random.RandomState(0)
    y = (np.arange(400) % 20 == 0).astype(np.int64)
    return from_arrays(random.standard_normal((400, 3)) + 2.5 * y[:, None], y, "rare")


class Majority:
    """Scores class 0 highest, but for what has its first value above a limit."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def scores(self, net, state, x, phase):
        above = (x[:, 0] > self.limit).float()
        return torch.stack([1 - above, above], 1)


def test_accuracy_by_class_is_counted(rare) -> None:
    net = mlp(3, (2,), 2)
    for limit in (1e9, 0.5):
        seen = evaluate(Majority(limit), net, None, rare, "test", None)  # pyright: ignore
        (batch,) = rare.batches("test", rare.n("test"), shuffle=False)
        named = (batch.x[:, 0] > limit).long()
        by_hand = [int(((named == batch.y) & (batch.y == k)).sum()) for k in (0, 1)]
        assert seen.n_by_class == tuple(batch.y.bincount().tolist())
        assert list(seen.correct_by_class) == by_hand
        recalls = [right / int((batch.y == k).sum()) for k, right in enumerate(by_hand)]
        assert seen.balanced_accuracy == pytest.approx(sum(recalls) / 2)
    assert evaluate(Majority(1e9), net, None, rare, "test", None).balanced_accuracy == 0.5  # pyright: ignore


def test_a_class_that_does_not_occur_is_left_out() -> None:
    data = from_arrays(np.eye(4)[np.arange(12) % 2 * 2], np.arange(12) % 2)
    three = dataclasses.replace(data, n_classes=3)
    seen = evaluate(Majority(1e9), mlp(4, (2,), 3), None, three, "test", None)  # pyright: ignore
    assert (seen.n_by_class[2], seen.balanced_accuracy) == (0, 0.5)


def test_balanced_accuracy_improves_upwards() -> None:
    assert improves(0.6, 0.5, "balanced-accuracy")
    assert not improves(0.5, 0.6, "balanced-accuracy")


@pytest.mark.parametrize("name", algorithms.names())
def test_every_rule_can_stop_by_balanced_accuracy(name: str, rare) -> None:
    """The state that is restored is that of the pass with the best balanced accuracy, whatever its accuracy."""
    rule, net = algorithms.make(name, {}), mlp(3, (6, 6), 2)
    try:
        algorithms.check_net(rule, net)
    except ValueError:
        pytest.skip("the rule does not train this net")
    phases = len(rule.phases(net))
    result = fit(rule, net, rare.without_test(), Patience(None, 3 * phases, metric="balanced-accuracy"), batch_size=32)
    last = [entry for entry in result.history if entry.phase == result.history[-1].phase]
    values = [entry.val_balanced_accuracy for entry in last]
    seen = evaluate(result.algorithm, result.net, result.state, rare, "validation", rule.phases(net)[-1])
    assert seen.balanced_accuracy == pytest.approx(max(values))
    assert [entry.improved for entry in last] == [value > max(values[:k], default=-1.0) for k, value in enumerate(values)]
    assert best_of(result.history, Patience(None, 3, metric="balanced-accuracy"), "balanced-accuracy") == max(values)


def test_the_default_stays_with_the_majority_where_balanced_accuracy_finds_the_rare_class(rare) -> None:
    """With patience, accuracy does not improve for long: the first pass, at the share of the majority, is restored."""
    balanced = []
    for metric in ("validation-accuracy", "balanced-accuracy"):
        stop = Patience(None, 40, metric=metric)
        result = fit(algorithms.Backprop(lr=1e-3), mlp(3, (16,), 2), rare.without_test(), stop, batch_size=64)
        state = evaluate(result.algorithm, result.net, result.state, rare, "validation", result.algorithm.phases(result.net)[-1])
        balanced.append(state.balanced_accuracy)
    assert balanced[1] >= balanced[0]
    assert json.loads(result.history[-1].model_dump_json())["val_balanced_accuracy"] == result.history[-1].val_balanced_accuracy
