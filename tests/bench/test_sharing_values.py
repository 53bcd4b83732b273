"""One process of a shared comparison: which task it makes next, and what becomes of its claim; nothing is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState

from bpfree.bench import shared
from bpfree.bench.claims import Claim, Entry
from bpfree.bench.tasks import Task
from bpfree.errors import RunInterruptedError, StorageError

from .sharing import World, entry, world_of

RUNNING, FINISHED = TrialState.RUNNING, TrialState.COMPLETE
MEMORY = RunInterruptedError("memory ran out", "memory")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return world_of(monkeypatch)


def test_numbers() -> None:
    assert (shared.LOOK_S, shared.AT_LEAST) == (0.5, 2)


def test_it_looks_until_nothing_is_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = entry("trial 0 1 a", RUNNING), entry("run 0 1 a", RUNNING)
    looks = iter([
        ("made", [a, a, b, entry("trial 0 2 a")]), ("busy", [a]), ("busy", [b]), ("none", [a]), ("none", [b]),
        ("none", [entry("run 0 2 a", FINISHED)]), ("none", []),
    ])  # fmt: skip
    made, now = "", []

    def make(entries: Any) -> str:
        world.noted.append(world.sharing._n_trials)
        assert entries == now
        return made

    def entries() -> list[Entry]:
        nonlocal made, now
        made, now = next(looks)
        return now

    world.claims.entries = entries
    monkeypatch.setattr(world.sharing, "_make_one", make)
    world.lost = iter([["run 1 2 a", "trial 0 3 b"], ["trial 0 1 a"], [], [], [], ["trial 0 1 a"], []])
    world.sharing.work()
    gone = "a, trial 1: its process is gone; it is made again"
    assert world.noted == [
        "patient", "a, seed 2, split 1: its process is gone; it is made again",
        "b, trial 3: its process is gone; it is made again",
        "patient", 2,
        "patient", 1, "patient", gone,
        "patient", 0, "patient", "sleep 0.5",
        "patient", 1, "patient", "sleep 0.5",
        "patient", 0, "patient", "sleep 0.5",
        "patient", 0, "patient", gone,
        "patient", 0, "patient",
    ]  # fmt: skip


class Devices:
    """Locks of devices: which are in use, and how they were asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used: set[tuple[str, bool]] = set()
        self.asked: list[Any] = []
        monkeypatch.setattr(shared, "device_lock", self.lock)

    @contextmanager
    def lock(self, device: str, *, together: bool) -> Iterator[bool]:
        self.asked.append((device, together))
        yield (device, together) not in self.used


def test_the_first_task_that_can_be_made_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(0, 1)
    sharing, devices = world.sharing, Devices(monkeypatch)
    made: list[Any] = []
    monkeypatch.setattr(sharing, "_make", lambda task, claim: made.append((task.key, claim)))
    monkeypatch.setattr(sharing, "_is_ready", lambda task, ready: task.number != 7)
    assert sharing._make_one([]) == "none"
    tasks = [entry("trial 0 1 a", RUNNING), entry("trial 0 2 a", FINISHED), entry("trial 0 7 a")]
    assert sharing._make_one(tasks) == "none"
    assert devices.asked == []
    tasks += [entry("run 1 3 a"), entry("trial 0 4 b"), entry("trial 0 5 b")]
    assert sharing._make_one(tasks) == "made"
    assert devices.asked == [("device 1", False)]
    devices.used, world.faster = {("device 1", False)}, {"trial 0 4 b"}
    assert sharing._make_one(tasks) == "made"
    assert devices.asked[1:] == [("device 1", False), ("device 0", True), ("device 0", True)]
    assert made == [("run 1 3 a", Claim("run 1 3 a", 3)), ("trial 0 5 b", Claim("trial 0 5 b", 3))]
    assert world.noted.count("patient") == 7 + 3, (
        "seven were looked at, three claimed; both wait for a database that is restarted"
    )
    assert sharing._make_one(tasks[:-1]) == "busy", "another process has the one, and the device of the other is in use"
    assert sharing._make_one([tasks[3]]) == "busy"
    assert sharing._make_one([tasks[4]]) == "busy"
    sharing._skipped.add("trial 0 5 b")
    assert sharing._make_one([tasks[5], tasks[5]]) == "none"
    assert len(made) == 2


def test_a_task_that_ends_its_process_is_left_out_after_five_times(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    Devices(monkeypatch)
    monkeypatch.setattr(world.sharing, "_make", lambda task, claim: made.append(task.key))
    entries = [entry("study 0 1 a", n_lost=5), entry("study 0 2 a", n_lost=6), entry("study 0 3 b", n_lost=4)]
    for _ in range(2):
        assert world.sharing._make_one(entries) == "made"
    assert made == ["study 0 3 b"] * 2
    why = "it was begun {} times, and each time its process ended"
    assert world.sharing.interrupted == [f"a, study {number}: {why.format(4 + number)}" for number in (1, 2)]
    assert world.heard() == [f"a, study {number}: interrupted ({why.format(4 + number)})" for number in (1, 2)]
    assert world.sharing.left_out == {"a"}


def test_when_a_task_is_ready(world: World) -> None:
    ready = shared._Ready(world.sharing._search)
    is_ready = lambda key: world.sharing._is_ready(Task.of(key), ready)  # noqa: E731
    search: Any = world.sharing._search(Task.of("trial 0 0 a"))
    assert (search.setting, search.arm, search.storage) == (world.settings[0], world.arms[0], world.store.storage)
    assert search is world.sharing._search(Task.of("run 0 7 a"))
    assert search is not world.sharing._search(Task.of("trial 0 0 b"))
    assert [is_ready(key) for key in ("study 0 9 a", "trial 0 1 a", "trial 0 5 a", "run 0 0 a")] == [True, True, True, False]
    assert search.looked == 1
    search.in_order, search.left = True, []
    assert [is_ready(key) for key in ("trial 0 0 a", "trial 0 1 a")] == [True, False], "by one look at the trials"
    assert search.looked == 1
    ready = shared._Ready(world.sharing._search)
    assert [is_ready(key) for key in ("trial 0 0 a", "trial 0 1 a", "run 0 0 a")] == [True, True, True]
    assert search.looked == 2


def test_a_task_is_finished_with_what_came_of_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    task, claim = Task.of("run 0 1 a"), Claim("run 0 1 a", 3)
    world.results.last = "of the task before"
    monkeypatch.setattr(world.sharing, "_run", lambda task: world.noted.append((task.key, world.results.last)))
    world.sharing._make(task, claim)
    assert world.noted == ["report", ("run 0 1 a", None), "end", "patient", ("finish", "run 0 1 a", {"record": None})]
    world.noted.clear()
    task, claim = Task.of("trial 0 1 a"), Claim("trial 0 1 a", 3)
    problem = RunInterruptedError("device lost", "device")
    monkeypatch.setattr(world.sharing, "_trial", lambda task, claim: problem)
    monkeypatch.setattr(shared, "raise_on", lambda cause: world.noted.append(cause))
    world.sharing._make(task, claim)
    assert world.heard() == ["report", "end", ("finish", "trial 0 1 a", {"record": None}), problem]


@pytest.mark.parametrize(
    ("error", "status", "goes_on"),
    [
        (MEMORY, None, True),
        (MEMORY, "interrupted", True),
        (RunInterruptedError("device lost", "device"), "interrupted", False),
        (KeyboardInterrupt(), None, False),
        (ValueError("a defect"), "failed", False),
    ],
)
def test_a_task_that_was_interrupted(
    error: BaseException, status: str | None, goes_on: bool, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Claim("run 0 1 a", 3)
    freed: list[int] = []

    def fail(task: Task) -> None:
        world.results.last = None if status is None else SimpleNamespace(status=status)
        raise error

    monkeypatch.setattr(world.sharing, "_run", fail)
    monkeypatch.setattr(shared.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(shared.torch.cuda, "empty_cache", lambda: freed.append(1))
    if goes_on:
        world.sharing._make(Task.of(claim.key), claim)
    else:
        with pytest.raises(type(error)):
            world.sharing._make(Task.of(claim.key), claim)
    heard = world.heard()
    undone = ("finish", claim.key, {"record": world.results.last}) if status == "failed" else ("give back", claim.key)
    assert heard[:4] == ["report", "end", undone, ("drop", claim.key)]
    assert heard[4:] == (["a, seed 1: interrupted (memory ran out)"] if goes_on else [])
    assert world.sharing.interrupted == (["a, seed 1: memory ran out"] if goes_on else [])
    assert (world.sharing.left_out, freed) == (({"a"}, [1]) if goes_on else (set(), []))
    monkeypatch.setattr(shared.torch.cuda, "is_available", lambda: False)
    if goes_on:
        world.sharing._make(Task.of(claim.key), claim)
        assert freed == [1]


def test_a_claim_that_cannot_be_given_back_is_dropped_all_the_same(world: World) -> None:
    def lost(claim: Claim) -> None:
        raise StorageError("gone")

    world.claims.give_back = lost
    world.sharing._undone(Claim("run 0 1 a", 3))
    assert world.noted == [("drop", "run 0 1 a")]
