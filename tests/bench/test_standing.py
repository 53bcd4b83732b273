"""How far shared work is said to be."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from optuna.trial import TrialState

from bpfree.bench.claims import MOST_BEGUN, Entry
from bpfree.bench.standing import standing
from bpfree.cli.status import lines

NOW = datetime(2026, 11, 26, 12, 0, 0)
WAITING, RUNNING, FINISHED = TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE


def entry(key: str, state: TrialState, begun_s: float = 0, ended_s: float = 0, host: str = "a", n_lost: int = 0) -> Entry:
    """A task that was begun and has ended so many seconds before now."""
    begun = None if state == WAITING else NOW - timedelta(seconds=begun_s)
    ended = NOW - timedelta(seconds=ended_s) if state == FINISHED else None
    owner = {} if state == WAITING else {"host": host, "pid": 7, "device": "cpu"}
    return Entry(key, state, 0, owner, begun, ended, {}, n_lost)


ENTRIES = [
    entry("trial 0 0 backprop", FINISHED, 110, 100),  # 10 s
    entry("trial 0 1 backprop", FINISHED, 100, 80),  # 20 s
    entry("run 0 0 backprop", FINISHED, 80, 20),  # 60 s
    entry("trial 0 2 backprop", RUNNING, 5),  # 10 s left of 15
    entry("trial 0 3 backprop", RUNNING, 100, host="b"),  # longer than the mean: nothing left
    entry("trial 0 4 backprop", WAITING),  # 15 s
    entry("run 0 1 backprop", WAITING),  # 60 s
]


def test_it_counts_and_names_who_works() -> None:
    one = standing("bpfree compare", ENTRIES, NOW)
    assert (one.finished, one.running, one.waiting) == ({"trial": 2, "run": 1}, {"trial": 2}, {"trial": 1, "run": 1})
    assert [(each.task, each.host, each.since_s) for each in one.now] == [
        ("backprop, trial 2", "a", 5.0),
        ("backprop, trial 3", "b", 100.0),
    ]
    assert not one.done


def test_the_time_left_is_that_of_the_processes_and_devices_of_now() -> None:
    assert standing("", ENTRIES, NOW).left_s == pytest.approx((10 + 0 + 15) / 2 + 60 / 2)
    assert standing("", [*ENTRIES, entry("study 0 0 a", WAITING)], NOW).left_s is None
    assert standing("", ENTRIES[:3] + ENTRIES[5:], NOW).left_s is None  # nobody works
    assert standing("", ENTRIES[:3], NOW).left_s == 0


def test_lines() -> None:
    assert lines(standing("bpfree compare --out R", ENTRIES, NOW), NOW) == [
        "bpfree compare --out R",
        "  trials: 2 of 5 finished, 2 running, 1 waiting",
        "  measured runs: 1 of 2 finished, 0 running, 1 waiting",
        "  backprop, trial 2: a, process 7, cpu, for 5 s",
        "  backprop, trial 3: b, process 7, cpu, for 100 s",
        "  about 42.5 s left with the processes of now, until 12:00",
    ]
    stuck = entry("trial 1 3 backprop", WAITING, n_lost=MOST_BEGUN)
    assert lines(standing("c", [stuck], NOW), NOW)[-2:] == [
        "  backprop, trial 3, split 1: not begun again, since each process that made it ended",
        "  no process works at it; start bpfree worker, or give the command again",
    ]
    assert lines(standing("c", ENTRIES[:3], NOW), NOW)[-1] == "  done"
