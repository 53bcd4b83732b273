"""Processes that are started early are taken, replaced where they died, and ended where nobody took them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from bpfree import early_processes
from bpfree.cli import app
from bpfree.cli.options import MeterOptions
from bpfree.early_processes import SEARCH, busy_s, discard_waiting, may_start_early, start_early, take

ANSWER = "tests.early_answer:answer"


def test_taken_replaced_and_ended() -> None:
    start_early(ANSWER, 3)
    first, second, third = early_processes._waiting[ANSWER]
    assert first.connection.recv() == first.process.pid != os.getpid()
    assert busy_s() > 0
    second.connection.recv()
    os.kill(second.process.pid, signal.SIGKILL)
    second.process.join()
    one, two = take(ANSWER), take(ANSWER)
    assert (one, two) == (first, third)  # the dead one is left out
    one.connection.send("a trial")
    assert one.connection.recv() == "a trial"
    assert early_processes._waiting[ANSWER] == []
    other = take(ANSWER)  # nobody waits: a new one
    assert other.connection.recv() == other.process.pid
    assert other.process.pid not in (first.process.pid, second.process.pid, third.process.pid)
    start_early(ANSWER, 1)
    (waiting,) = early_processes._waiting[ANSWER]
    discard_waiting()
    assert not psutil.pid_exists(waiting.process.pid)
    assert busy_s() == 0.0
    for started in (one, two, other):
        assert started.process.is_alive()
        started.connection.close()  # the end of the connection ends it
        started.process.join(20)
        assert started.process.exitcode == 0


def test_only_where_nothing_meters_and_a_core_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(early_processes, "_COUNTERS", (tmp_path / "none",))
    monkeypatch.setattr(early_processes, "cores", lambda: 2)
    assert may_start_early()
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(early_processes, "_COUNTERS", (tmp_path / "empty",))
    assert may_start_early()
    (tmp_path / "empty" / "intel-rapl:0").mkdir()
    assert not may_start_early()
    monkeypatch.setattr(early_processes, "_COUNTERS", (Path("/dev/null"),))  # a device file
    assert not may_start_early()
    monkeypatch.setattr(early_processes, "_COUNTERS", ())
    monkeypatch.setattr(early_processes, "cores", lambda: 1)
    assert not may_start_early()


@pytest.mark.parametrize(
    ("jobs", "device", "ruleset", "count"),
    [
        (None, "cpu", "quick", 1),
        (1, "cpu", "quick", 0),
        (3, "cpu", "quick", 2),
        (50, "cpu", "quick", app.MOST_EARLY - 1),
        (3, "cuda", "quick", 0),
        (3, "cpu", "claim", 0),
    ],
)
def test_how_many(jobs: int | None, device: str, ruleset: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(early_processes, "may_start_early", lambda: True)
    monkeypatch.setattr(early_processes, "start_early", lambda answer, n: asked.append((answer, n)))
    app._start_early(jobs, MeterOptions(device=device), ruleset)
    assert asked == ([(SEARCH, count)] if count else [])
