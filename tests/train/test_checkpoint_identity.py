"""A checkpoint belongs to one training: another is refused, a longer one goes on, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bpfree.algorithms import Backprop, MonoForward
from bpfree.data import Dataset
from bpfree.errors import UsageError
from bpfree.nets import mlp
from bpfree.testing.bench import blobs, fingerprint, tensors_of
from bpfree.train import Patience, fit

STOP = Patience(None, 3)
RULE = Backprop(lr=0.01)


def train(task: Dataset, path: Path | None, **changes: Any) -> Any:
    options: dict[str, Any] = {
        "rule": RULE,
        "net": mlp(task.in_shape, (6,), task.n_classes),
        "data": task,
        "stop": STOP,
        "seed": 1,
    }
    options |= changes
    rule, net, examples, stop = (options.pop(name) for name in ("rule", "net", "data", "stop"))
    return fit(rule, net, examples, stop, batch_size=options.pop("batch_size", 40), checkpoint=path, **options)


OTHERS = {
    "a rate": ({"rule": Backprop(lr=0.02)}, "hyper-parameter lr = 0.01, this one has 0.02"),
    "a rule": ({"rule": MonoForward(lr=0.01)}, "algorithm = 'backprop', this one has 'mono-forward'"),
    "a seed": ({"seed": 2}, "seed = 1, this one has 2"),
    "a batch size": ({"batch_size": 20}, "batch_size = 40, this one has 20"),
    "a schedule": ({"lr_schedule": "cosine"}, "lr_schedule = 'constant', this one has 'cosine'"),
    "a metric": ({"stop": Patience(None, 3, metric="validation-loss")}, "stop metric"),
    "no best state": ({"stop": Patience(None, 3, restore_best=False)}, "restore_best"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_training_is_refused_and_nothing_is_changed(data: Dataset, tmp_path: Path, other: str) -> None:
    path = tmp_path / "c.safetensors"
    train(data, path)
    before = path.read_bytes()
    changes, words = OTHERS[other]
    with pytest.raises(UsageError, match=f"c.safetensors belongs to a run with .*{words}"):
        train(data, path, **changes)
    assert path.read_bytes() == before


def test_other_data_and_another_net_are_refused(data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    train(data, path)
    with pytest.raises(UsageError, match="training data"):
        train(data, path, data=blobs(244).without_test())
    with pytest.raises(UsageError, match="blocks"):
        train(data, path, net=mlp(data.in_shape, (7,), data.n_classes))
    with pytest.raises(UsageError, match="layers"):  # the shapes are the same
        train(data, path, net=mlp(data.in_shape, (6,), data.n_classes, activation="tanh"))


@pytest.mark.parametrize("rate", [0.01, 0.3], ids=["improves to the end", "is best before the end"])
def test_more_passes_go_on_as_if_they_had_been_asked_for_at_once(data: Dataset, tmp_path: Path, rate: float) -> None:
    """The last pass is what training goes on from, not the best one, which the first result holds."""
    rule, longer = Backprop(lr=rate), replace(STOP, max_passes=7)
    whole = train(data, None, rule=rule, stop=longer)
    path = tmp_path / "c.safetensors"
    first = train(data, path, rule=rule)
    assert first.passes == 3
    alone = train(data, None, rule=rule)
    assert fingerprint(tensors_of(first.net, first.state)) == fingerprint(tensors_of(alone.net, alone.state))
    again = train(data, path, rule=rule)  # nothing is left to do, and the best state is given
    assert fingerprint(tensors_of(again.net, again.state)) == fingerprint(tensors_of(alone.net, alone.state))
    rest = train(data, path, rule=rule, stop=longer)
    assert [entry.train_loss for entry in rest.history] == [entry.train_loss for entry in whole.history]
    assert fingerprint(tensors_of(rest.net, rest.state)) == fingerprint(tensors_of(whole.net, whole.state))


def test_a_run_that_patience_ended_does_not_go_on(data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    ended = train(data, path, stop=Patience(1, 50))
    assert ended.passes < 50
    assert train(data, path, stop=Patience(1, 60)).passes == ended.passes


def test_more_passes_are_refused_where_they_would_change_those_that_were_made(data: Dataset, tmp_path: Path) -> None:
    longer = replace(STOP, max_passes=7)
    train(data, tmp_path / "cosine", lr_schedule="cosine")
    with pytest.raises(UsageError, match=r"max_passes = \[3\], this one has \[7\]"):
        train(data, tmp_path / "cosine", lr_schedule="cosine", stop=longer)
    staged = {"rule": MonoForward(lr=0.01, schedule="staged"), "net": mlp(data.in_shape, (6, 5), data.n_classes)}
    train(data, tmp_path / "staged", **staged)
    with pytest.raises(UsageError, match=r"max_passes = \[3, 3\]"):
        train(data, tmp_path / "staged", **{**staged, "net": mlp(data.in_shape, (6, 5), data.n_classes)}, stop=longer)
