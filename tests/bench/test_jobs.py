"""How many processes a search may have."""

from __future__ import annotations

import pickle

import pytest
import torch

from bpfree.bench import jobs
from bpfree.bench.jobs import default_jobs, idle_cores, may_default
from bpfree.errors import RunInterruptedError
from bpfree.meter import Meter, ReplaySource

from .test_measure import setting

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "cores", lambda: 4)
    monkeypatch.setattr(jobs, "processors", lambda: [4, 5, 6, 7])


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
    monkeypatch.setattr(jobs, "busy_and_total_s", lambda mine: next(looks) if mine == [4, 5, 6, 7] else None)
    assert idle_cores(sleep=lambda _: None) == idle


def test_an_interruption_keeps_its_cause_in_another_process() -> None:
    sent = pickle.loads(pickle.dumps(RunInterruptedError("memory ran out", "memory")))
    assert (type(sent), str(sent), sent.cause) == (RunInterruptedError, "memory ran out", "memory")


def test_processes_that_were_started_early_are_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four processors 1.5 are busy, one of them with what was started early."""
    looks, ours = iter([(10.0, 100.0), (11.5, 104.0)]), iter([2.0, 3.0])
    monkeypatch.setattr(jobs, "busy_and_total_s", lambda _: next(looks))
    monkeypatch.setattr(jobs.early_processes, "busy_s", lambda: next(ours))
    assert idle_cores(sleep=lambda _: None) == 3


@pytest.mark.parametrize(
    ("busy", "of_container", "idle"),
    [(0.0, 0.0, 2), (3.0, 0.0, 2), (63.0, 0.0, 1), (64.0, 0.0, 0), (1.0, 1.0, 1), (2.0, 2.0, 0), (3.0, None, 2)],
)
def test_a_quota_is_used_up_by_the_container_alone(
    busy: float, of_container: float | None, idle: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that may use two of 64: three busy ones elsewhere leave it two; two of its own leave none."""
    looks, used = iter([(0.0, 0.0), (busy, 64.0)]), iter([None, None] if of_container is None else [5.0, 5.0 + of_container])
    monkeypatch.setattr(jobs, "cores", lambda: 2)
    monkeypatch.setattr(jobs, "processors", lambda: list(range(64)))
    monkeypatch.setattr(jobs, "busy_and_total_s", lambda _: next(looks))
    monkeypatch.setattr(jobs, "container_s", lambda: next(used))
    assert idle_cores(sleep=lambda _: None) == idle
