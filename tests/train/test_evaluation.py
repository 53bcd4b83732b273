"""Scoring a split."""

from __future__ import annotations

import pytest
import torch

from bpfree.algorithms import Backprop
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
