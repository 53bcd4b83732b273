"""A comparison that ends at a given moment: what is cut is interrupted, and made again by the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from bpfree import data, rulesets
from bpfree.bench import ComparisonRun, RunDirectory, Setting, environment, parse_arms
from bpfree.bench.deadline import DeadlineObserver, TimeIsUp
from bpfree.meter import Meter
from bpfree.records import read_records
from bpfree.train import Progress


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Ticking(DeadlineObserver):
    """A pass takes 1 s."""

    def __init__(self, until_s: float, clock: Clock, **options: Any) -> None:
        super().__init__(until_s, clock=clock, **options)
        self._of_passes = clock

    def passed(self, progress: Progress) -> None:
        self._of_passes.now_s += 1.0
        super().passed(progress)


def comparison(path: Path, observer: DeadlineObserver) -> ComparisonRun:
    """Two arms, seeds 0 to 2, three passes each, nothing searched."""
    rules = rulesets.load("quick").with_changes(trials=1, passes_per_trial=1, max_passes=3, seeds=[0, 1, 2])
    device = torch.device("cpu")
    loaded = data.load("synthetic:n=200:inputs=4:classes=2")
    setting = Setting(rules, loaded, "mlp:1x4", device, Meter(device), None, {}, environment.facts(device))
    return ComparisonRun(setting, parse_arms("backprop,mono-forward"), (0, 1, 2), RunDirectory(path), observer)


def statuses(path: Path) -> list[tuple[str, int, str]]:
    return [(record.arm, record.seed, record.status) for record in read_records(path / "records.jsonl")]


def run(path: Path, until_s: float, **options: Any) -> bool:
    """Whether it came to its end."""
    one = comparison(path, Ticking(until_s, Clock(), **options))
    with one.directory.opened(one.setting.ruleset, one.setting.facts):
        try:
            one.run()
        except TimeIsUp:
            return False
    return True


def test_a_run_that_is_cut_is_interrupted_and_the_next_call_makes_it(tmp_path: Path) -> None:
    """Two searches take 1 s each, a run 3 s: the second run is cut after its first pass."""
    assert not run(tmp_path, 2.0 + 3.0 + 1.5, lasted_s={"mono-forward": 0.5})
    assert statuses(tmp_path) == [("backprop", 0, "ok"), ("mono-forward", 0, "interrupted")]
    assert run(tmp_path, 1e9)
    assert [status for _, _, status in statuses(tmp_path)] == ["ok", "interrupted", *["ok"] * 5]


def test_a_run_for_which_there_is_no_time_is_not_begun(tmp_path: Path) -> None:
    """The first run took 3 s, and so would the second; 2.5 s are left."""
    assert not run(tmp_path, 2.0 + 3.0 + 2.5)
    assert statuses(tmp_path) == [("backprop", 0, "ok")]


def test_what_earlier_runs_took_counts(tmp_path: Path) -> None:
    assert not run(tmp_path, 2.0 + 3.0 + 9.0, lasted_s={"backprop": 3.0, "mono-forward": 100.0})
    assert [arm for arm, _, _ in statuses(tmp_path)] == ["backprop"]


def test_a_search_that_is_cut_leaves_no_trial() -> None:
    clock, calls = Clock(), []
    observer = DeadlineObserver(10.0, clock=clock, on_pass=lambda: calls.append(1))
    observer.begin("search backprop", 5)
    clock.now_s = 4.0
    observer.passed(cast(Progress, None))
    clock.now_s = 8.0
    with pytest.raises(TimeIsUp):  # another 4 s would end at 12
        observer.passed(cast(Progress, None))
    assert len(calls) == 2
    clock.now_s = 9.0
    observer.begin("search mono-forward", 5)
    with pytest.raises(KeyboardInterrupt):
        clock.now_s = 11.0
        observer.begin("search mono-forward", 5)
