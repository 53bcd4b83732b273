"""Checkpoints: whole or not at all, of this run or refused, and a resumed training is the uninterrupted one."""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from scripted_validation import learned

from bpfree import tensor_files
from bpfree.algorithms import Backprop, ForwardForward, MonoForward, params, step
from bpfree.errors import DataError, StorageError, UsageError
from bpfree.nets import Chain, DenseBlock, ModuleBlock, mlp
from bpfree.testing.bench import fingerprint, tensors_of
from bpfree.train import Patience, checkpoint, initialise, past, training

RULES = [
    Backprop(lr=0.01, weight_decay=0.1),
    MonoForward(lr=0.01),
    MonoForward(lr=0.01, schedule="staged"),
    ForwardForward(lr=0.01),
    ForwardForward(lr=0.01, inference="head"),
]


JOINT = MonoForward()


def ids(rule) -> str:
    return "-".join([rule.name, *(str(v) for k, v in params(rule).items() if k in ("schedule", "inference"))])


def new_net(data):
    return mlp(data.in_shape, (8, 6), data.n_classes)


def train(rule, net, data, path=None, *, passes=None, seed=1, stop=None, **options) -> list:
    """Train until ``passes`` have been seen (as if killed there), or to the end."""
    seen = []
    options = {"batch_size": 40, "lr_schedule": "cosine", "checkpoint": path, **options}
    for progress in training(rule, net, data, stop or Patience(3, 7), seed=seed, **options):
        seen.append(progress)
        if passes is not None and len(seen) == passes:
            break
    return seen


def entry(progress) -> dict:
    """A pass without its clock."""
    return {k: v for k, v in progress.entry.model_dump().items() if "time" not in k}


@pytest.mark.parametrize("rule", RULES, ids=ids)
def test_a_resumed_training_is_bitwise_the_uninterrupted_one(rule, data, tmp_path: Path) -> None:
    """Killed after every pass there is: mid-phase, at the boundary of two phases, before the last, after the last."""
    net = new_net(data)
    whole = train(rule, net, data)
    expected = fingerprint(tensors_of(net, whole[-1].state))
    for killed_after in range(1, len(whole) + 1):
        path = tmp_path / f"{killed_after}.safetensors"
        train(rule, new_net(data), data, path, passes=killed_after)
        assert [e.passes for e in past(path)] == list(range(1, killed_after + 1))
        other = new_net(data)
        state = initialise(rule, other, 77)  # of another seed: everything must come from the file
        rest = train(rule, other, data, path, state=state)
        assert [entry(p) for p in rest] == [entry(p) for p in whole[killed_after:]]
        assert fingerprint(tensors_of(other, state)) == expected, f"killed after pass {killed_after}"
        assert [e.passes for e in past(path)] == [p.passes for p in whole]


def test_dropout_inside_a_users_module_resumes_too(data, tmp_path: Path) -> None:
    """Modules draw from torch's global generator: each pass has its own seed there, and the caller's numbers stay his."""

    def net() -> Chain:
        noisy = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(math.prod(data.in_shape), 9), torch.nn.Dropout(0.5))
        return Chain([ModuleBlock(data.in_shape, noisy), DenseBlock((9,), 6)], data.n_classes)

    whole, path = net(), tmp_path / "c.safetensors"
    torch.manual_seed(5)
    train(JOINT, whole, data, passes=4)
    drawn = torch.rand(2)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(2), drawn)
    train(JOINT, net(), data, path, passes=2)
    again = net()
    train(JOINT, again, data, path, passes=2)
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_phases_of_unequal_length_resume_too(data, tmp_path: Path, script) -> None:
    """The first phase ends by patience after 3 of 4 passes; killed just there, the second has the 4 that are left."""
    rule, path = MonoForward(lr=0.01, schedule="staged"), tmp_path / "c.safetensors"
    script(0.9, 0.1, 0.1)
    train(rule, new_net(data), data, path, passes=3, stop=Patience(2, 7))
    script(0.2, 0.3, 0.4, 0.5)
    rest = train(rule, new_net(data), data, path, stop=Patience(2, 7))
    assert [(p.passes, p.phase.index) for p in rest] == [(4, 1), (5, 1), (6, 1), (7, 1)]


def test_a_finished_training_has_nothing_more_to_do(data, tmp_path: Path) -> None:
    path, net = tmp_path / "c.safetensors", new_net(data)
    whole = train(MonoForward(lr=0.01), net, data, path)
    again = new_net(data)
    state = initialise(MonoForward(lr=0.01), again, 5)
    assert train(MonoForward(lr=0.01), again, data, path, state=state) == []
    assert learned(again, state) == learned(net, whole[-1].state)


def test_a_diverged_training_stays_ended(data, tmp_path: Path) -> None:
    rule, path = Backprop(lr=1e30, optimiser="sgd"), tmp_path / "c.safetensors"
    assert train(rule, new_net(data), data, path)[-1].diverged
    assert train(rule, new_net(data), data, path) == []
    assert past(path)[-1].train_loss is None


def test_the_clock_goes_on(data, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    first = train(Backprop(), new_net(data), data, path, passes=2)
    rest = train(Backprop(), new_net(data), data, path, passes=1)
    assert rest[0].time_s > first[-1].time_s
    assert rest[0].eval_time_s > first[-1].eval_time_s


def _saved(data, path: Path, rule=JOINT, **header):
    net = new_net(data)
    state = initialise(rule, net, 0)
    checkpoint.save(path, net, state, checkpoint.Snapshot(net, state), header)
    return net, state


def test_a_shared_head_is_stored_once(data, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    _saved(data, path)
    names = set(load_file(path))
    assert "net.output.weight" in names
    assert "state.slots.0.projection" in names
    assert "state.slots.1.projection" not in names
    assert {"best.net.output.weight", "best.state.slots.0.projection"} <= names
    assert not any(name.startswith("best.state.slots.0.optimiser") for name in names)


def test_the_header_travels(data, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    _saved(data, path, mark={"a": [1, 2.5, None]})
    assert checkpoint.read_header(path)["mark"] == {"a": [1, 2.5, None]}


def test_a_missing_file_has_no_past(tmp_path: Path) -> None:
    assert past(tmp_path / "none.safetensors") == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[: len(raw) // 2], "cannot be read as a checkpoint"),
        (lambda raw: raw[:4], "cannot be read as a checkpoint"),
        (lambda raw: b"", "cannot be read as a checkpoint"),
        (lambda raw: b"{" * 400, "cannot be read as a checkpoint"),
    ],
    ids=["half", "four bytes", "empty", "garbage"],
)
def test_a_damaged_file_is_named_with_its_cure(data, tmp_path: Path, damage, message: str) -> None:
    path = tmp_path / "c.safetensors"
    _saved(data, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"c.safetensors {message}.*delete it"):
        train(MonoForward(), new_net(data), data, path)


def test_a_file_of_something_else_is_refused(data, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(DataError, match="not a checkpoint of bpfree"):
        train(MonoForward(), new_net(data), data, path)


def test_a_file_of_a_newer_bpfree_is_refused(data, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"bpfree": json.dumps({"format": 99})})
    with pytest.raises(DataError, match="has format 99, this bpfree reads format 4; update"):
        train(MonoForward(), new_net(data), data, path)


def test_a_file_of_an_older_layout_is_refused_with_a_cure(data, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"bpfree": json.dumps({"format": 2})})
    with pytest.raises(DataError, match=r"older bpfree \(format 2, this one reads format 3\); delete it to start again"):
        train(MonoForward(), new_net(data), data, path)


def test_a_file_of_another_rule_or_net_is_refused(data, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    _saved(data, path, Backprop())
    with pytest.raises(DataError, match=r"no tensor 'best\.state\.slots\.0\.projection'; it belongs to another rule or net"):
        train(MonoForward(), new_net(data), data, path)
    _saved(data, path)
    with pytest.raises(DataError, match=r"has shape \(.*\), the net needs \(.*\); it belongs to another net"):
        train(MonoForward(), mlp(data.in_shape, (9, 6), 4), data, path)


def test_a_file_of_another_run_is_refused(data, tmp_path: Path) -> None:
    path, identity = tmp_path / "c.safetensors", {"algorithm": "mono-forward", "seed": 1}
    train(MonoForward(), new_net(data), data, path, passes=1, identity=identity)
    with pytest.raises(UsageError, match="belongs to a run with seed = 1, this one has 2; choose another file"):
        train(MonoForward(), new_net(data), data, path, identity={**identity, "seed": 2})
    assert train(MonoForward(), new_net(data), data, path, passes=1, identity=identity)[0].passes == 2
    assert train(MonoForward(), new_net(data), data, path, passes=1)[0].passes == 3  # who asks nothing is not refused


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), "disk is full"),
        (SafetensorError("I/O error: Read-only file system (os error 30)"), "read-only"),
        (OSError(errno.EACCES, os.strerror(errno.EACCES)), "permission denied"),
    ],
)
def test_a_disk_that_refuses_leaves_the_old_file_whole(data, tmp_path: Path, monkeypatch, failure, message: str) -> None:
    path = tmp_path / "c.safetensors"
    _saved(data, path, mark=1)
    before = path.read_bytes()

    def refuse(tensors, file, metadata=None) -> None:
        Path(file).write_bytes(b"half")
        raise failure

    monkeypatch.setattr(tensor_files, "save_file", refuse)
    with pytest.raises(StorageError, match=message):
        _saved(data, path, mark=2)
    assert path.read_bytes() == before


def test_a_kill_while_writing_leaves_the_old_file_whole(data, tmp_path: Path, monkeypatch) -> None:
    """The part that was written lies beside; the next save goes over it."""
    path = tmp_path / "c.safetensors"
    _saved(data, path, mark=1)

    class Killed(BaseException):
        pass

    def die(tensors, file, metadata=None) -> None:
        Path(file).write_bytes(b"half")
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(tensor_files, "save_file", die)
        _saved(data, path, mark=2)
    assert checkpoint.read_header(path)["mark"] == 1
    _saved(data, path, mark=3)
    assert checkpoint.read_header(path)["mark"] == 3
    assert sorted(each.name for each in tmp_path.iterdir()) == ["c.safetensors"]


def test_a_snapshot_restores_what_was_learned_and_nothing_else(data) -> None:
    net = new_net(data)
    state = initialise(MonoForward(), net, 0)
    snapshot = checkpoint.Snapshot(net, state)
    before, moments = learned(net, state), state.slot(0).optimiser.first_0
    batch = next(data.batches("train", 40))
    step(MonoForward(lr=0.1), net, state, batch, MonoForward().phases(net)[0])
    assert learned(net, state) != before
    snapshot.restore()
    assert learned(net, state) == before
    assert moments.any()  # for using the model, not for going back in training
