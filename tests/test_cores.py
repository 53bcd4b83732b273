"""Cores that this process may use, and numbers of processes that are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bpfree import cores as module
from bpfree.cores import check_jobs, cores
from bpfree.errors import UsageError


@pytest.fixture
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 4)


@pytest.mark.parametrize("asked", [0, -1, 17])
@pytest.mark.usefixtures("_four_cores")
def test_numbers_that_are_no_use_are_refused(asked: int) -> None:
    with pytest.raises(UsageError, match=rf"--jobs must be from 1 to 16 \(4 for each of 4 cores\), got {asked}"):
        check_jobs(asked, "cpu")


@pytest.mark.usefixtures("_four_cores")
def test_a_gpu_is_not_shared() -> None:
    check_jobs(1, "cuda:0")
    check_jobs(None, "cuda:0")
    with pytest.raises(UsageError, match=r"--jobs 2 was asked on cuda:0: .* use --jobs 1, or --device cpu"):
        check_jobs(2, "cuda:0")


@pytest.mark.usefixtures("_four_cores")
def test_other_numbers_may_be_asked() -> None:
    for asked in (None, 1, 16):
        check_jobs(asked, "cpu")


@pytest.mark.parametrize(("text", "quota"), [("max 100000\n", None), ("250000 100000\n", 2), (None, None)])
def test_the_quota_of_a_container_limits_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, quota: int | None
) -> None:
    if text is not None:
        (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(module, "_QUOTA", tmp_path / "cpu.max")
    assert module._quota() == quota


@pytest.mark.parametrize(("text", "used_s"), [("usage_usec 2500000\nuser_usec 9\n", 2.5), ("user_usec 9\n", None), (None, None)])
def test_what_a_container_with_a_quota_has_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, used_s: float | None
) -> None:
    if text is not None:
        (tmp_path / "cpu.stat").write_text(text)
    monkeypatch.setattr(module, "_USED", tmp_path / "cpu.stat")
    monkeypatch.setattr(module, "_quota", lambda: 2)
    assert module.container_s() == used_s
    monkeypatch.setattr(module, "_quota", lambda: None)
    assert module.container_s() is None, "without a quota it limits nothing"


@pytest.mark.parametrize(
    ("affinity", "quota", "count"), [({0, 1, 5}, None, 3), ({0, 1, 5}, 2, 2), ({0, 1, 5}, 0, 1), ({4}, 0, 1), ({0, 1}, 9, 2)]
)
def test_cores_that_this_process_may_use(
    affinity: set[int], quota: int | None, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: affinity, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(module, "_quota", lambda: quota)
    assert cores() == count


def test_cores_where_the_system_has_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(module, "_quota", lambda: None)
    assert cores() == 6


def test_cores_of_a_machine_that_does_not_know_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    monkeypatch.setattr(module, "_quota", lambda: None)
    assert cores() == 1
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(module, "_quota", lambda: 0)
    assert cores() == 1, "less than one core is one"
