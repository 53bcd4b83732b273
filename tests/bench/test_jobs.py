"""How many processes a search may have."""

from __future__ import annotations

import os
import pickle
from typing import Any

import pytest
import torch

from bpfree.bench import jobs
from bpfree.bench.jobs import check_jobs, default_jobs, idle_cores, may_default
from bpfree.errors import RunInterruptedError, UsageError
from bpfree.meter import Meter, ReplaySource

from .test_measure import setting

CPU = torch.device("cpu")
REAL_CORES = jobs.cores


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "cores", lambda: 4)


@pytest.mark.parametrize("asked", [0, -1, 17])
def test_numbers_that_are_no_use_are_refused(asked: int) -> None:
    with pytest.raises(UsageError, match=rf"--jobs must be from 1 to 16 \(4 for each of 4 cores\), got {asked}"):
        check_jobs(asked, CPU)


def test_a_gpu_is_not_shared() -> None:
    gpu = torch.device("cuda:0")
    check_jobs(1, gpu)
    check_jobs(None, gpu)
    with pytest.raises(UsageError, match=r"--jobs 2 was asked on cuda:0: .* use --jobs 1, or --device cpu"):
        check_jobs(2, gpu)


def test_other_numbers_may_be_asked() -> None:
    for asked in (None, 1, 16):
        check_jobs(asked, CPU)


def test_by_default_there_are_several_only_where_it_saves_time() -> None:
    assert default_jobs(jobs.WORTH_S, 8, lambda: 4) == 4
    assert default_jobs(jobs.WORTH_S, 3, lambda: 4) == 3
    assert default_jobs(jobs.WORTH_S, 8, lambda: 0) == 1
    assert default_jobs(jobs.WORTH_S - 0.1, 8, lambda: 4) == 1
    assert default_jobs(1e6, 1, lambda: 4) == 1


def test_by_default_each_must_find_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        available = 2.5 * jobs.PROCESS_BYTES

    monkeypatch.setattr(jobs.psutil, "virtual_memory", Memory)
    assert default_jobs(jobs.WORTH_S, 8, lambda: 4) == 3


def test_by_default_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither joules, nor the threads of a large step, nor compiled code that trials share."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert may_default(setting())
    metered = Meter("cpu", [ReplaySource([0.0, 1e6], [0.0, 2e6], clock=lambda: 0.0)])
    assert not may_default(setting(meter=metered))
    assert not may_default(setting(ruleset=setting().ruleset.with_changes(tier="compiled")))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert not may_default(setting())


@pytest.mark.parametrize(("busy", "idle"), [(0.0, 4), (0.2, 4), (1.0, 3), (2.5, 1), (4.0, 0)])
def test_cores_that_others_use_are_not_idle(monkeypatch: pytest.MonkeyPatch, busy: float, idle: int) -> None:
    """Of four processors, watched for a second."""
    looks = iter([(10.0, 100.0), (10.0 + busy, 104.0)])
    monkeypatch.setattr(jobs, "busy_and_total_s", lambda: next(looks))
    monkeypatch.setattr(jobs.psutil, "cpu_count", lambda: 4)
    assert idle_cores(sleep=lambda _: None) == idle


@pytest.mark.parametrize(("text", "quota"), [("max 100000\n", None), ("250000 100000\n", 2), (None, None)])
def test_the_quota_of_a_container_limits_the_cores(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, text: str | None, quota: int | None
) -> None:
    if text is not None:
        (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(jobs, "_QUOTA", tmp_path / "cpu.max")
    assert jobs._quota() == quota


def test_an_interruption_keeps_its_cause_in_another_process() -> None:
    sent = pickle.loads(pickle.dumps(RunInterruptedError("memory ran out", "memory")))
    assert (type(sent), str(sent), sent.cause) == (RunInterruptedError, "memory ran out", "memory")


@pytest.mark.parametrize(("affinity", "quota", "count"), [({0, 1, 5}, None, 3), ({0, 1, 5}, 2, 2), ({4}, 0, 1), ({0, 1}, 9, 2)])
def test_cores_that_this_process_may_use(
    affinity: set[int], quota: int | None, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: affinity, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(jobs, "_quota", lambda: quota)
    assert REAL_CORES() == count


def test_cores_where_the_system_has_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(jobs, "_quota", lambda: None)
    assert REAL_CORES() == 6


def test_processes_that_were_started_early_are_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four processors 1.5 are busy, one of them with what was started early."""
    looks, ours = iter([(10.0, 100.0), (11.5, 104.0)]), iter([2.0, 3.0])
    monkeypatch.setattr(jobs, "busy_and_total_s", lambda: next(looks))
    monkeypatch.setattr(jobs.early_processes, "busy_s", lambda: next(ours))
    monkeypatch.setattr(jobs.psutil, "cpu_count", lambda: 4)
    assert idle_cores(sleep=lambda _: None) == 3
