"""Killed at any event in the file system, the same command ends with the same records, searches, models and files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import warm

from .conftest import environment

TASK = ("--dataset", "synthetic:n=200:inputs=4:classes=2", "--net", "mlp:1x4", "--max-passes", "2", "--quiet")
TRAIN = ("train", "backprop", *TASK)
COMMANDS = {
    "train": TRAIN,
    "compare": ("compare", "--arms", "backprop", "--trials", "2", "--seeds", "2", *TASK),
    "studies": ("compare", "--ruleset", "claim", "--arms", "backprop", "--trials", "2", "--studies", "2", *TASK),
    "tune": ("tune", "mono-forward", "--trials", "3", *TASK),
}


def sweep(folder: Path, step: int, arguments: tuple[str, ...]) -> dict[str, object]:
    """See :mod:`kill_sweep`, which runs in a process of its own: it forks."""
    done = warm.start([str(folder), str(step), *arguments], Path.cwd(), environment(), module="tests.cli.kill_sweep")
    out, err = done.communicate()
    assert done.returncode == 0, err
    return json.loads(out[out.index("{") :])


def test_kills_at_some_events_of_a_run(tmp_path: Path) -> None:
    """Some events, since each takes two commands; all of them are in the slow test."""
    found = sweep(tmp_path, 29, TRAIN)
    assert found["wrong"] == []
    assert found["events"] > 30  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_kill_at_every_event(name: str, tmp_path: Path) -> None:
    found = sweep(tmp_path, 1, COMMANDS[name])
    assert found["wrong"] == []
    assert found["tried"] == found["events"]
