"""``bpfree train`` again in one directory: other values are other runs, and a model follows its record."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfree.cli import train as module
from bpfree.records import read_records

from .conftest import Outcome

Command = Callable[..., Outcome]

TASK = ("--dataset", "synthetic:n=200:inputs=4:classes=2", "--max-passes", "2", "--quiet", "--out", "R")
PLAIN = ("train", "backprop", "--net", "mlp:1x4", *TASK)


class Killed(BaseException):
    """As kill -9: nothing catches it."""


def digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.glob("*.safetensors")}


def interrupted(bpfree: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C after the first pass."""

    def press(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_line", press)
        assert bpfree(*PLAIN).code == 130


OTHERS = {
    "--set": (("train", "backprop", "--net", "mlp:1x4", "--set", "lr=0.02", *TASK), "backprop:lr=0.02"),
    "--net": (("train", "backprop", "--net", "mlp:1x5", *TASK), "backprop"),
    "--dataset": (
        ("train", "backprop", "--net", "mlp:1x4", *TASK, "--dataset", "synthetic:n=210:inputs=4:classes=2"),
        "backprop",
    ),
}


@pytest.mark.parametrize("option", OTHERS)
def test_other_values_beside_an_interrupted_run_are_a_run_of_their_own(
    bpfree: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    interrupted(bpfree, monkeypatch)
    arguments, arm = OTHERS[option]
    outcome = bpfree(*arguments)
    assert outcome.code == 0, outcome.err
    assert bpfree(*PLAIN).code == 0
    records = [r for r in read_records(tmp_path / "R" / "records.jsonl") if r.status != "interrupted"]
    assert [(r.arm, r.status) for r in records] == [(arm, "ok"), ("backprop", "ok")]
    assert list((tmp_path / "R" / "checkpoints").iterdir()) == []
    assert set(digests(tmp_path / "R")) == {"model.safetensors", "model-2.safetensors"}


def test_a_checkpoint_of_another_run_is_refused_and_nothing_is_written(
    bpfree: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(bpfree, monkeypatch)
    (mine,) = (tmp_path / "R" / "checkpoints").iterdir()
    monkeypatch.setattr(module, "cell_name", lambda *_: mine.stem)
    before = (tmp_path / "R" / "records.jsonl").read_bytes()
    outcome = bpfree(*OTHERS["--set"][0])
    assert outcome.code == 2
    assert "belongs to a run with arm = 'backprop', this one has 'backprop:lr=0.02'" in outcome.one_line()
    assert "delete it" in outcome.err
    assert (tmp_path / "R" / "records.jsonl").read_bytes() == before
    mine.unlink()  # the cure
    assert bpfree(*OTHERS["--set"][0]).code == 0


def test_a_damaged_checkpoint_is_one_line_and_no_failed_run(
    bpfree: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(bpfree, monkeypatch)
    (mine,) = (tmp_path / "R" / "checkpoints").iterdir()
    mine.write_bytes(mine.read_bytes()[:100])
    outcome = bpfree(*PLAIN)
    assert outcome.code == 2
    assert "cannot be read as a checkpoint" in outcome.one_line()
    assert "delete it to start again" in outcome.err
    assert [r.status for r in read_records(tmp_path / "R" / "records.jsonl")] == ["interrupted"]


@pytest.mark.parametrize("call", ["save", "_model_path"])
def test_a_model_that_a_kill_prevented_is_written_by_the_same_command(
    bpfree: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    assert bpfree(*PLAIN).code == 0
    (tmp_path / "R").rename(tmp_path / "whole")

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, call, die)
        with pytest.raises(Killed):
            bpfree(*PLAIN)
    assert digests(tmp_path / "R") == {}
    assert bpfree(*PLAIN).code == 0
    assert digests(tmp_path / "R") == digests(tmp_path / "whole")
    assert len(read_records(tmp_path / "R" / "records.jsonl")) == 1


def test_a_finished_run_is_shown_again_and_writes_no_second_model(bpfree: Command, tmp_path: Path) -> None:
    assert bpfree(*PLAIN).code == 0
    before = digests(tmp_path / "R")
    assert bpfree(*PLAIN).code == 0
    assert digests(tmp_path / "R") == before
