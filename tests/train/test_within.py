"""Checkpoints within a pass: a training that was killed between two steps goes on with the next one, to the same result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bpfree.algorithms import Backprop, ForwardForward, MonoForward
from bpfree.data import Dataset
from bpfree.data.npy import load_pair
from bpfree.errors import UsageError
from bpfree.nets import Chain, DenseBlock, ModuleBlock, mlp
from bpfree.testing.bench import fingerprint, tensors_of
from bpfree.train import Patience, initialise, past, training
from bpfree.train.checkpoint import read_header
from bpfree.train.within import Every, Keeper, every_of


class Killed(Exception):  # noqa: N818 - no error
    """Stands for ``kill -9`` in this process."""


class Dying:
    """Data whose batches end with an exception after so many of this training, all passes counted.

    What it gave before is in ``given``, by pass: the numbers of the batches.
    """

    def __init__(self, data: Dataset, monkeypatch: pytest.MonkeyPatch, after: int | None) -> None:
        self.given: dict[int, list[torch.Tensor]] = {}
        real, left = type(data).batches, [after]

        def batches(this, split, size, *, pass_index=0, **options):
            for batch in real(this, split, size, pass_index=pass_index, **options):
                if split == "train":
                    if left[0] == 0:
                        raise Killed
                    left[0] = None if left[0] is None else left[0] - 1
                    self.given.setdefault(pass_index, []).append(batch.x)
                yield batch

        monkeypatch.setattr(type(data), "batches", batches)


def net_of(data: Dataset, *, dropout: bool = False) -> Chain:
    if not dropout:
        return mlp(data.in_shape, (8, 6), data.n_classes)
    module = torch.nn.Sequential(torch.nn.Linear(data.in_shape[0], 8), torch.nn.Dropout(0.3), torch.nn.ReLU())
    return Chain([ModuleBlock(data.in_shape, module), DenseBlock((8,), 6)], data.n_classes)


def train(rule, net, data, path: Path | None, *, every: int | str | None = None, state=None, passes: int = 3):
    state = state or initialise(rule, net, 1)
    seen = list(
        training(
            rule,
            net,
            data,
            Patience(5, passes),
            seed=1,
            batch_size=40,
            state=state,
            checkpoint=path,
            save_every=every,
        )
    )
    return [{k: v for k, v in each.entry.model_dump().items() if "time" not in k} for each in seen], state


@pytest.fixture
def files(tmp_path: Path) -> Dataset:
    """168 of 240 examples to train, in a file."""
    random = np.random.RandomState(0)
    y = np.arange(240) % 4
    np.save(tmp_path / "x.npy", random.standard_normal((240, 6)) + y[:, None])
    np.save(tmp_path / "y.npy", y)
    return load_pair(f"{tmp_path}/x.npy,{tmp_path}/y.npy", data_in="files").without_test()


RULES = [Backprop(lr=0.01), MonoForward(lr=0.01, schedule="staged"), ForwardForward(lr=0.01)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("kind", ["memory", "files", "dropout"])
def test_a_training_killed_within_a_pass_ends_as_if_it_had_not_been(rule, kind, data, files, tmp_path, monkeypatch):
    """Five steps a pass, a checkpoint after every second; killed after the eighth step: the third of its second pass."""
    chosen = files if kind == "files" else data
    net = net_of(chosen, dropout=kind == "dropout")
    with monkeypatch.context() as patch:
        undisturbed = Dying(chosen, patch, None).given
        whole, state = train(rule, net, chosen, None)
    expected = fingerprint(tensors_of(net, state))
    path = tmp_path / "run.safetensors"
    with monkeypatch.context() as patch:
        Dying(chosen, patch, 8)
        with pytest.raises(Killed):
            train(rule, net_of(chosen, dropout=kind == "dropout"), chosen, path, every=2)
    assert len(past(path)) == 1
    assert read_header(path)["format"] == 4
    other = net_of(chosen, dropout=kind == "dropout")
    state = initialise(rule, other, 77)  # everything must come from the file
    with monkeypatch.context() as patch:
        resumed = Dying(chosen, patch, None).given
        rest, state = train(rule, other, chosen, path, every=2, state=state)
    assert rest == whole[1:]
    assert fingerprint(tensors_of(other, state)) == expected
    assert len(resumed[1]) == 3  # the pass had made two steps
    for got, batch in zip(resumed[1], undisturbed[1][2:], strict=True):
        assert torch.equal(got, batch)
    assert read_header(path)["format"] == 3


def test_within_the_first_pass_and_after_its_last_step(data, tmp_path, monkeypatch):
    rule, path = Backprop(lr=0.01), tmp_path / "run.safetensors"
    net = net_of(data)
    whole, state = train(rule, net, data, None, passes=1)
    for after, every, left in ((4, 1, 1), (5, 5, 0)):
        path.unlink(missing_ok=True)
        with monkeypatch.context() as patch:
            Dying(data, patch, after)
            if after == 5:  # die in the validation that follows the pass
                patch.setattr(sys.modules["bpfree.train.passes"], "evaluate", lambda *_, **__: (_ for _ in ()).throw(Killed))
            with pytest.raises(Killed):
                train(rule, net_of(data), data, path, every=every, passes=1)
        assert past(path) == []
        with monkeypatch.context() as patch:
            given = Dying(data, patch, None).given
            other = net_of(data)
            rest, other_state = train(rule, other, data, path, passes=1)
        assert len(given.get(0, [])) == left
        assert rest == whole
        assert rest[0]["joules"] is None
        assert fingerprint(tensors_of(other, other_state)) == fingerprint(tensors_of(net, state))


def test_time_adds_up_over_the_sittings(data, tmp_path, monkeypatch):
    class Ticking:
        def __init__(self) -> None:
            self.now_s = 0.0

        def elapsed_s(self) -> float:
            self.now_s += 1.0
            return self.now_s

        def joules_so_far(self) -> float:
            return 5.0

    path, rule = tmp_path / "run.safetensors", Backprop(lr=0.01)
    options = {"batch_size": 40, "checkpoint": path}
    with monkeypatch.context() as patch:
        Dying(data, patch, 3)
        with pytest.raises(Killed):
            list(training(rule, net_of(data), data, Patience(5, 1), clock=Ticking(), save_every=2, **options))
    (progress,) = training(rule, net_of(data), data, Patience(5, 1), clock=Ticking(), **options)
    assert progress.time_s == 1.0 + 3.0  # one reading of the clock in the first sitting, three in the second
    assert progress.joules is None


def test_how_often():
    path = Path("run")
    assert every_of(500, path) == every_of("500", path) == Every(path, steps=500)
    assert every_of("60s", path) == Every(path, seconds=60.0)
    assert every_of("1.5 s", path) == Every(path, seconds=1.5)
    assert every_of(None, None) is None
    for wrong in (0, "0s", "often", -1, True, "5m"):
        with pytest.raises(
            UsageError, match=r"save_every \(--checkpoint-every\) must be a number of steps \(500\) or of seconds \(60s\)"
        ):
            every_of(wrong, path)


def test_seconds_count_from_the_last_checkpoint(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("bpfree.train.within.time", SimpleNamespace(monotonic=lambda: now[0]))
    written = []
    keeper = Keeper(Every(Path("run"), seconds=10.0), lambda so_far, path: written.append((so_far, path.name)))
    now[0] = 109.9
    assert not keeper.due(1)
    now[0] = 110.0
    assert keeper.due(2)
    keeper.keep("pass")
    assert written == [("pass", "run")]
    now[0] = 119.0
    assert not keeper.due(3)
    keeper.take()
    now[0] = 128.0
    assert not keeper.due(1)
    assert not Keeper().due(1)


def test_a_checkpoint_needs_a_file(data):
    with pytest.raises(UsageError, match="save_every=5 needs a file to write"):
        next(training(Backprop(), net_of(data), data, Patience(1, 1), save_every=5))


def test_other_passes_have_none(data, tmp_path, monkeypatch):
    class Elsewhere:
        def begin(self, work) -> None: ...

        def one_pass(self, inputs, phase, reader, pass_index): ...

    options = {"batch_size": 40, "checkpoint": tmp_path / "run.safetensors", "passes": Elsewhere()}
    with pytest.raises(UsageError, match="have checkpoints after each pass alone; leave out --checkpoint-every"):
        next(training(Backprop(), net_of(data), data, Patience(1, 1), save_every=5, **options))
    with monkeypatch.context() as patch:
        Dying(data, patch, 3)
        with pytest.raises(Killed):
            train(Backprop(), net_of(data), data, options["checkpoint"], every=2)
    with pytest.raises(UsageError, match="which only one process can go on with"):
        next(training(Backprop(), net_of(data), data, Patience(5, 3), seed=1, **options))


KILLED = """
import os, signal, sys
from bpfree.algorithms import Backprop
from bpfree.data import load
from bpfree.nets import mlp
from bpfree.train import Patience, training, within

folder = sys.argv[1]
data = load(f"{folder}/x.npy,{folder}/y.npy", data_in="files").without_test()
keep = within.Keeper.keep

def dying(self, so_far):
    keep(self, so_far)
    if len(so_far.sizes) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

within.Keeper.keep = dying
net = mlp(data.in_shape, (8, 6), data.n_classes)
next(training(Backprop(), net, data, Patience(5, 1), seed=1, batch_size=40, checkpoint=f"{folder}/run", save_every=1))
"""


def test_kill_9_loses_nothing(files, tmp_path, monkeypatch):
    """A real signal to a real process: what follows is the pass from its fourth step on."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not list(tmp_path.glob("run?*"))  # no part of a file
    net, other = net_of(files), net_of(files)
    with monkeypatch.context() as patch:
        undisturbed = Dying(files, patch, None).given
        whole, state = train(Backprop(), net, files, None, passes=1)
    with monkeypatch.context() as patch:
        given = Dying(files, patch, None).given
        rest, other_state = train(Backprop(), other, files, tmp_path / "run", passes=1)
    assert [len(batch) for batch in given[0]] == [40, 8]
    assert all(map(torch.equal, given[0], undisturbed[0][3:]))
    assert rest == whole
    assert fingerprint(tensors_of(other, other_state)) == fingerprint(tensors_of(net, state))
