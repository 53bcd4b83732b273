"""Draining the loop: what comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfree.algorithms import Backprop, MonoForward
from bpfree.meter import Meter, ReplaySource
from bpfree.records import HistoryEntry
from bpfree.testing.bench import blobs
from bpfree.train import Patience, best_of, evaluate, fit


def test_the_result_describes_the_net_that_it_holds(data, net) -> None:
    result = fit(MonoForward(lr=0.01), net, data, Patience(3, 12), batch_size=40)
    assert result.status == "ok"
    assert result.net is net
    assert result.passes == len(result.history) <= 12
    rule = result.algorithm
    again = evaluate(rule, net, result.state, data, "validation", rule.phases(net)[-1])
    assert result.val_accuracy == again.accuracy == max(entry.val_accuracy or 0.0 for entry in result.history)
    assert result.reading is None


def test_a_meter_brackets_the_whole_training(data, net) -> None:
    with_power = Meter("cpu", [ReplaySource([0.0, 1e6], [0.0, 25e6])])  # 25 W
    result = fit(Backprop(lr=0.01), net, data, Patience(None, 3), meter=with_power, batch_size=40)
    assert result.reading is not None
    assert result.reading.time_s >= result.history[-1].time_s > 0
    assert result.reading.joules == pytest.approx(25 * result.reading.time_s, rel=0.2, abs=0.1)
    joules = [entry.joules for entry in result.history]
    assert None not in joules
    assert joules == sorted(joules)


def test_divergence_is_told(data, net) -> None:
    result = fit(Backprop(lr=1e30, optimiser="sgd"), net, data, Patience(None, 5))
    assert result.status == "diverged"
    assert result.history[-1].train_loss is None


def test_a_training_that_went_on_has_its_whole_history(data, net, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    options = {"batch_size": 40, "checkpoint": path}
    whole = fit(MonoForward(lr=0.01), net, data, Patience(None, 4), batch_size=40)
    from bpfree.train import training

    run = training(MonoForward(lr=0.01), net, data, Patience(None, 4), **options)
    for _ in range(3):
        next(run)
    resumed = fit(MonoForward(lr=0.01), net, data, Patience(None, 4), **options)
    finished = fit(MonoForward(lr=0.01), net, data, Patience(None, 4), **options)
    for result in (resumed, finished):
        assert [entry.val_accuracy for entry in result.history] == [entry.val_accuracy for entry in whole.history]
        assert result.passes == 4
        assert result.val_accuracy == whole.val_accuracy


def _entry(passes: int, phase: int, accuracy: float | None, improved: bool) -> HistoryEntry:
    loss = None if accuracy is None else 1.0
    return HistoryEntry(
        passes=passes, phase=phase, train_loss=loss, val_accuracy=accuracy, improved=improved, time_s=1.0, joules=None
    )


@pytest.mark.parametrize(
    ("entries", "restored", "last"),
    [
        ([], None, None),
        ([(0, 0.5, True), (0, 0.9, True), (0, 0.7, False)], 0.9, 0.7),
        ([(0, 0.9, True), (1, 0.4, True), (1, 0.3, False)], 0.4, 0.3),  # of the last phase alone
        ([(0, 0.9, True), (0, 0.6, False), (0, None, False)], 0.9, 0.6),  # diverged: the last finite pass
        ([(0, None, False)], None, None),
    ],
)
def test_best_of(entries: list, restored: float | None, last: float | None) -> None:
    history = [_entry(k + 1, *entry) for k, entry in enumerate(entries)]
    assert best_of(history, Patience(None, 9)) == restored
    assert best_of(history, Patience(None, 9, restore_best=False)) == last


def test_the_easy_task_is_learned_end_to_end() -> None:
    from bpfree.nets import mlp

    data = blobs()
    result = fit(MonoForward(lr=0.01), mlp(data.in_shape, (16,), 4), data.without_test(), Patience(5, 20), batch_size=32)
    rule = result.algorithm
    test = evaluate(rule, result.net, result.state, data, "test", rule.phases(result.net)[-1])
    assert test.accuracy >= 0.95
    assert test.correct.shape == (data.n("test"),)


class _LastUpdateBreaks(Backprop):
    """The losses of a pass stay finite; the update of its last step sets the output to infinity."""

    def learn(self, net, state, batch, phase):
        loss = super().learn(net, state, batch, phase)
        if int(state.count.steps) % 3 == 0:
            net.output.weight.fill_(float("inf"))
        return loss


@pytest.mark.parametrize("restore_best", [True, False])
def test_a_last_update_to_infinity_is_diverged(data, net, restore_best) -> None:
    stop = Patience(1, max_passes=1, restore_best=restore_best)
    result = fit(_LastUpdateBreaks(), net, data, stop, batch_size=56)
    assert result.status == "diverged"
    assert result.val_accuracy is None
    assert [(entry.train_loss, entry.val_accuracy, entry.improved) for entry in result.history] == [(None, None, False)]
    assert all(bool(parameter.isfinite().all()) for parameter in net.parameters())  # the state before it is left
