"""Memory that runs out, a full disk, a lost device: the run is interrupted, made again, and counted against nobody."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from bpfree.algorithms import Backprop, MonoForward
from bpfree.bench import ComparisonRun, RunDirectory, SilentObserver, parse_arms
from bpfree.bench.runs import measure_into
from bpfree.bench.tuned import read_tuned
from bpfree.errors import RunInterruptedError, StorageError
from bpfree.records import Record, read_records
from bpfree.train import Progress
from tests.patched import replace_learn

from .test_measure import setting
from .test_runs import BACKPROP

SMALL = setting(net="mlp:1x4").ruleset.with_changes(trials=2, passes_per_trial=1, max_passes=1)
LOST = RuntimeError("CUDA error: unspecified launch failure")
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "checkpoint")


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [(MemoryError(), RunInterruptedError, "memory ran out"), (LOST, RunInterruptedError, "lost"), (FULL, StorageError, "full")],
    ids=["memory", "device", "disk"],
)
def test_a_run_that_the_world_broke_is_interrupted(tmp_path: Path, error: Exception, raised: type, words: str) -> None:
    def on_pass(_: Progress) -> None:
        raise error

    directory, used = RunDirectory(tmp_path / "R"), setting(ruleset=SMALL, net="mlp:1x4")
    with directory.opened(used.ruleset, used.facts):
        with pytest.raises(raised, match=words):
            measure_into(directory, used, BACKPROP, {}, 0, None, on_pass=on_pass)
        (record,) = directory.records()
        assert record.status == "interrupted"
        assert "the same command runs it again" in record.reasons["status"]
        assert directory.finished() == {}
        again = measure_into(directory, used, BACKPROP, {}, 0, None)
    assert again.status == "ok"
    assert [r.status for r in directory.records()] == ["ok"]


@contextmanager
def breaking(rule: type, error: Exception, *, after: int) -> Iterator[None]:
    """Let a rule's step raise, from one call on."""
    left, plain = [after], rule.learn

    def learn(self: Any, *args: Any) -> torch.Tensor:
        left[0] -= 1
        if left[0] < 0:
            raise error
        return plain(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        replace_learn(patch, rule, learn)
        yield


def compare(place: Path, rules: Any = SMALL) -> tuple[list[Record], ComparisonRun]:
    used, directory = setting(ruleset=rules, net="mlp:1x4"), RunDirectory(place)
    with directory.opened(rules, used.facts):
        run = ComparisonRun(used, parse_arms("mono-forward,backprop"), (0,), directory, SilentObserver())
        return run.run(), run


@pytest.mark.parametrize("after", [0, 20, 45], ids=["before any pass", "in the second trial", "in the run"])
def test_where_memory_runs_out_the_other_arms_go_on(tmp_path: Path, after: int) -> None:
    """17 steps a pass, and a step to warm up before a run."""
    whole, _ = compare(tmp_path / "whole")
    with breaking(MonoForward, MemoryError(), after=after):
        records, run = compare(tmp_path / "R")
    assert [r.arm for r in records if r.status == "ok"] == ["backprop"]
    (why,) = run.interrupted
    assert "mono-forward" in why
    assert "memory ran out" in why
    records, run = compare(tmp_path / "R")
    assert run.interrupted == []
    assert {r.cell: r.test_accuracy for r in records} == {r.cell: r.test_accuracy for r in whole}
    assert {r.status for r in records} == {"ok"}


def test_a_lost_device_ends_the_comparison_and_is_no_failure(tmp_path: Path) -> None:
    with breaking(MonoForward, LOST, after=20), pytest.raises(RunInterruptedError, match="the device was lost"):
        compare(tmp_path / "R")
    assert read_records(tmp_path / "R" / "records.jsonl") == []
    records, _ = compare(tmp_path / "R")
    assert [r.status for r in records] == ["ok", "ok"]


def test_a_trial_that_raises_is_a_failed_trial_and_the_search_goes_on(tmp_path: Path) -> None:
    with breaking(MonoForward, ValueError("no finite threshold"), after=20):
        records, _ = compare(tmp_path / "R")
    by_arm = {record.arm: record for record in records}
    assert by_arm["backprop"].status == "ok"
    assert by_arm["mono-forward"].status == "failed"
    assert by_arm["mono-forward"].reasons["status"] == "ValueError: no finite threshold"
    (row,) = (row for row in read_tuned(tmp_path / "R" / "tuned.json") if row.arm == "mono-forward")
    assert (row.trials, row.failed_trials, row.diverged_trials) == (2, 1, 1)
    assert row.tried is not None
    assert [trial.get("failed") for trial in row.tried] == [None, "ValueError: no finite threshold"]
    assert row.best_trial == 0


def test_a_first_step_that_raises_is_a_failed_run(tmp_path: Path) -> None:
    with breaking(Backprop, ValueError("no finite threshold"), after=0):
        records, _ = compare(tmp_path / "R")
    failed = next(record for record in records if record.arm == "backprop")
    assert failed.status == "failed"
    assert failed.flops is not None
    assert failed.flops.train_step is None
    assert "no finite threshold" in failed.reasons["flops"]
    assert next(record for record in records if record.arm == "mono-forward").status == "ok"


def test_a_test_split_that_cannot_be_scored_is_a_failed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bpfree.bench import record as module

    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("scores of the wrong shape")

    directory, used = RunDirectory(tmp_path / "R"), setting(ruleset=SMALL, net="mlp:1x4")
    with directory.opened(used.ruleset, used.facts), monkeypatch.context() as patch:
        patch.setattr(module, "evaluate", refuse)
        record = measure_into(directory, used, BACKPROP, {}, 0, None)
    assert (record.status, record.val_accuracy, record.test_accuracy) == ("failed", None, None)
    assert record.reasons["status"] == "ValueError: scores of the wrong shape"
