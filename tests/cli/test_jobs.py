"""``--jobs``: the command as users give it, its mistakes, and what becomes of it when it is killed."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from bpfree.bench import ComparisonRun, jobs
from bpfree.errors import StorageError
from tests.bench.test_suites import written

from .conftest import Outcome, start_cold

Command = Callable[..., Outcome]


@pytest.mark.parametrize(
    "command",
    [("compare",), ("tune", "backprop"), ("reproduce", "spyra2025"), ("reproduce", "spyra2025", "--dry-run")],
    ids=lambda words: " ".join(words),
)
@pytest.mark.parametrize("asked", ["0", "9"])
def test_a_number_that_is_no_use_is_one_line(
    command: tuple[str, ...], asked: str, bpfree: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "cores", lambda: 2)
    outcome = bpfree(*command, "--jobs", asked)
    assert outcome.code == 2
    assert f"--jobs must be from 1 to 8 (4 for each of 2 cores), got {asked}" in outcome.one_line()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("asked", [None, 2])
@pytest.mark.parametrize("command", [("compare",), ("tune", "backprop"), ("reproduce", "mine.yaml")], ids=lambda words: words[0])
def test_the_number_reaches_the_search(
    command: tuple[str, ...], asked: int | None, bpfree: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int | None] = []

    def stop(self: ComparisonRun, *_: object) -> None:
        seen.append(self.jobs)
        raise StorageError("that is enough")

    monkeypatch.setattr(jobs, "cores", lambda: 2)
    monkeypatch.setattr(ComparisonRun, "_tune", stop)
    written(tmp_path / "mine.yaml")
    outcome = bpfree(*command, *(() if asked is None else ("--jobs", str(asked))), "--quiet", "--out", "R")
    assert outcome.one_line() == "bpfree: that is enough"
    assert seen == [asked]


SEARCH = ("tune", "forward-forward", "--net", "mlp:1x64", "--trials", "8", "--max-passes", "12")


def tuned(directory: Path) -> dict[str, Any]:
    (row,) = json.loads((directory / "tuned.json").read_text())
    return {key: row[key] for key in ("best", "best_trial", "best_val_accuracy", "tried")}


@pytest.mark.slow  # each of the commands starts a process that imports torch, and trains for seconds
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_search_of_two_processes_that_is_ended_goes_on(number: signal.Signals, bpfree: Command, tmp_path: Path) -> None:
    assert bpfree(*SEARCH, "--jobs", "1", "--out", "alone", "--quiet").code == 0
    running = start_cold([*SEARCH, "--jobs", "2", "--out", "R", "--quiet"], tmp_path)
    journal = tmp_path / "R" / "study.journal"
    until_s = time.monotonic() + 120
    while not (journal.exists() and journal.read_bytes().count(b'"at_once"') > 1):
        assert time.monotonic() < until_s
        assert running.poll() is None
        time.sleep(0.05)
    others = psutil.Process(running.pid).children()
    assert len(others) >= 1
    if number == signal.SIGKILL:
        running.kill()
    else:
        for each in (running.pid, *(other.pid for other in others)):  # as a terminal or a scheduler does
            os.kill(each, number)
    _, err = running.communicate(timeout=60)
    assert psutil.wait_procs(others, timeout=60)[1] == []
    if number != signal.SIGKILL:
        assert running.returncode == 128 + number
        (line,) = err.strip().splitlines()
        assert "interrupted; what was finished is in R" in line
    done = journal.read_bytes().count(b'"at_once"')
    assert 1 < done < 8
    assert bpfree(*SEARCH, "--jobs", "2", "--out", "R", "--quiet").code == 0
    assert tuned(tmp_path / "R") == tuned(tmp_path / "alone")
