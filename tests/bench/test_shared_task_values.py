"""A trial, a run or a study that is a task: what is asked for, told and said; nothing is trained."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bpfree.bench import shared
from bpfree.bench.claims import Claim
from bpfree.bench.tasks import Task

from .sharing import Tried, World, world_of


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return world_of(monkeypatch)


@pytest.mark.parametrize(("others", "at_once"), [(0, 2), (1, 2), (2, 3), (4, 5)])
def test_a_trial_is_asked_made_and_told(others: int, at_once: int, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(shared, "run_trial", lambda *args: asked.append(args) or (Tried(0.51239), "the cause"))
    world.sharing._n_trials = others
    task, claim = Task("trial", 0, 1, "a"), Claim("trial 0 1 a", 3)
    search: Any = world.sharing._search(task)
    assert world.sharing._trial(task, claim) == "the cause"  # type: ignore[comparison-overlap]
    assert asked == [(world.settings[0], world.arms[0], {"lr": 1}, 1, "passed")]
    assert search.told == [Tried(0.51239, at_once)]
    assert world.noted == [
        "patient", ("begin", "search a, trial 1", 4), "patient", "patient", "search a, trial 1: validation accuracy 0.5124"
    ]  # fmt: skip
    world.holds = False
    world.sharing._trial(task, claim)
    assert len(search.told) == 1, "the claim has expired"
    world.holds = True
    looks = iter([[1], [0]])
    search.pending = lambda: next(looks)
    world.sharing._trial(task, claim)
    assert (len(search.told), len(asked)) == (1, 3), "another process told it meanwhile"
    search.pending = lambda: [0, 2]
    world.noted.clear()
    assert world.sharing._trial(task, claim) is None
    assert (len(asked), world.heard()) == (3, []), "it was made before"


def test_a_run_is_measured_with_the_best_values(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    came: Any = SimpleNamespace(test_accuracy=0.91239, status="finished")
    monkeypatch.setattr(shared, "measure_into", lambda *args, **named: asked.append((args, named)) or came)
    world.sharing._run(Task("run", 0, 9, "a"))
    assert (asked, world.noted) == ([], []), "the directory has it"
    world.sharing._run(Task("run", 0, 1, "a"))
    here, arm = world.settings[0], world.arms[0]
    assert asked == [((world.results, here, arm, {"lr": 5}, 1, "cost"), {"on_pass": "passed"})]
    assert world.noted == [("begin", "a, seed 1", 9), "patient", "a, seed 1: test accuracy 0.9124"]
    came.test_accuracy, came.status = None, "failed"
    world.noted.clear()
    world.sharing._run(Task("run", 0, 2, "b"))
    assert world.heard() == [("begin", "b, seed 2", 9), "b, seed 2: failed"]


@pytest.mark.parametrize("directory", [None, SimpleNamespace(checkpoints_path=Path("states"))])
def test_a_study_is_one_task(directory: Any, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []

    class Study:
        n_done = 1

        def __init__(self, *args: Any) -> None:
            assert args[:4] == (world.settings[0], world.arms[0], 4, world.store.storage)
            folders.append(args[4])
            assert directory is not None or args[4].is_dir()

        def run_trial(self, index: int, on_pass: Any, on_trace: Any) -> None:
            world.noted.append((index, on_pass, on_trace))

        def measured(self) -> Any:
            return SimpleNamespace(test_accuracy=0.5, status="finished")

        def close(self) -> None:
            world.noted.append("close")

    monkeypatch.setattr(shared, "ArmStudy", Study)
    world.results.directory = directory
    world.sharing._run(Task("study", 0, 4, "a"))
    begin, first, second, (append, record), *rest = world.heard()
    assert (begin, first, second) == (("begin", "a, study 4", 9), (1, "passed", "keep"), (2, "passed", "keep"))
    assert (append, record.test_accuracy, rest) == ("append", 0.5, ["close", "a, study 4: test accuracy 0.5000"])
    assert (folders == [Path("states")]) is (directory is not None)
    assert not folders[0].exists()
