"""Scoring a split."""

from __future__ import annotations

import pytest
import torch

from bpfree.algorithms import Backprop, MonoForward
from bpfree.nets import mlp
from bpfree.train import evaluate, evaluation, initialise


def test_accuracy_loss_and_hits(data, net, monkeypatch) -> None:
    """36 validation examples in batches of 10, 10, 10 and 6: as if they came at once."""
    rule = Backprop()
    state = initialise(rule, net, 0)
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH", 10)
    result = evaluate(rule, net, state, data, "validation", rule.phases(net)[0], with_loss=True)
    batch = next(data.batches("validation", data.n("validation"), shuffle=False))
    scores = net(batch.x).detach()
    assert torch.equal(result.correct, scores.argmax(1) == batch.y)
    assert result.accuracy == pytest.approx(float((scores.argmax(1) == batch.y).double().mean()))
    assert result.loss == pytest.approx(float(torch.nn.functional.cross_entropy(scores, batch.y)), rel=1e-6)


def test_the_loss_is_only_computed_where_it_is_watched(data, net) -> None:
    rule = Backprop()
    state = initialise(rule, net, 0)
    assert evaluate(rule, net, state, data, "validation", rule.phases(net)[0]).loss is None


def test_the_net_is_scored_in_eval_mode_and_left_in_train_mode(data, net) -> None:
    modes = []
    net.register_forward_hook(lambda module, args, out: modes.append((module.training, torch.is_grad_enabled())))
    rule = Backprop()
    evaluate(rule, net, initialise(rule, net, 0), data, "train", rule.phases(net)[0])
    assert set(modes) == {(False, False)}
    assert net.training


class _Fixed(Backprop):
    """Gives the scores that it was given."""

    def __init__(self, rows: torch.Tensor) -> None:
        super().__init__()
        object.__setattr__(self, "rows", rows)

    def scores(self, net, state, x, phase):
        return self.rows[: len(x)]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_example_without_a_finite_score_is_no_prediction(data, net, bad) -> None:
    batch = next(data.batches("validation", data.n("validation"), shuffle=False))
    rows = torch.nn.functional.one_hot(batch.y, data.n_classes).float()
    state = initialise(Backprop(), net, 0)
    phase = Backprop().phases(net)[0]
    result = evaluate(_Fixed(rows), net, state, data, "validation", phase)
    assert (result.accuracy, result.finite) == (1.0, True)
    rows[3, int(batch.y[3])] = bad  # the greatest, and of the right class
    result = evaluate(_Fixed(rows), net, state, data, "validation", phase)
    assert not result.finite
    assert [k for k, hit in enumerate(result.correct.tolist()) if not hit] == [3]
    assert result.accuracy == pytest.approx(35 / 36)


def test_a_probability_of_zero_is_a_score(data, net) -> None:
    """Its logarithm is minus infinity; the largest score is finite."""
    batch = next(data.batches("validation", data.n("validation"), shuffle=False))
    rows = torch.nn.functional.one_hot(batch.y, data.n_classes).float().log()
    state = initialise(Backprop(), net, 0)
    result = evaluate(_Fixed(rows), net, state, data, "validation", Backprop().phases(net)[0])
    assert (result.accuracy, result.finite) == (1.0, True)


def test_a_readout_with_finite_scores_is_chosen_before_one_without(data) -> None:
    rule = MonoForward(readout="best-prefix")
    net = mlp(data.in_shape, (8, 6), data.n_classes)
    state = initialise(rule, net, 0)
    with torch.no_grad():
        state.slot(1).projection.fill_(float("nan"))
    phase = rule.phases(net)[-1]
    candidates = rule.candidates(net, state, torch.zeros(1, *data.in_shape), phase)
    assert [bool(each.isfinite().all()) for each in candidates].count(True) == 1
    result = evaluate(rule, net, state, data, "validation", phase, choosing=True)
    assert result.finite
