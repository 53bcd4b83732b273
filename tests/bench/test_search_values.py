"""The search of a comparison: in how many processes, what is said meanwhile, and what is left out; nothing is trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bpfree import data, rulesets
from bpfree.bench import compare, environment
from bpfree.bench.arm import Arm
from bpfree.bench.compare import ComparisonRun
from bpfree.bench.directory import RunDirectory
from bpfree.bench.setting import Setting
from bpfree.bench.studies import ArmStudy
from bpfree.errors import RunDirectoryError, RunInterruptedError
from bpfree.meter import Meter

ANY: Any = None
CPU = torch.device("cpu")
SMALL = data.load("synthetic:n=300:inputs=4:classes=3")
QUICK = rulesets.load("quick").with_changes(max_passes=9, passes_per_trial=4, trials=3)
BACKPROP = Arm.parse("backprop")


def setting(rules: rulesets.Ruleset = QUICK, **changes: Any) -> Setting:
    here = Setting(rules, SMALL, "mlp:1x4", CPU, Meter(CPU), None, {}, environment.facts(CPU))
    return dataclasses.replace(here, **changes)


class Listener:
    """Writes down what an observer is told."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def begin(self, stage: str, passes: int) -> None:
        self.heard.append(("begin", stage, passes))

    def trial(self, words: str, passes: int) -> None:
        self.heard.append(("trial", words, passes))

    def passed(self, progress: Any) -> None:
        self.heard.append(("passed", progress))

    def advance(self, n: int) -> None:
        self.heard.append(("advance", n))

    def end(self, line: str) -> None:
        self.heard.append(("end", line))


def comparison(path: Path, rules: rulesets.Ruleset = QUICK, jobs: int | None = 1, arms: str = "backprop") -> ComparisonRun:
    observer: Any = Listener()
    path.mkdir(exist_ok=True)
    chosen = tuple(Arm.parse(each) for each in arms.split(","))
    return ComparisonRun(setting(rules), chosen, (0,), RunDirectory(path), observer, jobs=jobs)


class Search:
    """Stands for the search of an arm: so many trials left, and seconds of those that are finished."""

    def __init__(self, label: str, left: int, *, in_order: bool = False, times_s: tuple[float, ...] = ()) -> None:
        self.setting, self.arm, self.in_order = setting(), Arm(label, "backprop", {}), in_order
        self.left, self.times_s = list(range(left)), list(times_s)
        self.fails: Exception | None = None

    def pending(self) -> list[int]:
        return list(self.left)

    def finished(self) -> list[Any]:
        return [SimpleNamespace(time_s=time_s) for time_s in self.times_s]

    def make(self, index: int, on_pass: Any) -> Any:
        on_pass(f"trial {index} of {self.arm.label}")
        if self.fails is not None:
            raise self.fails
        self.left.remove(index)
        self.times_s.append(2.0)
        return SimpleNamespace(passes=3)


def test_a_search_in_one_process_asks_for_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(ComparisonRun, "_search_at_once", lambda self, searches: asked.append(len(searches)) or {"backprop": 5})
    found = SimpleNamespace(best={}, best_val_accuracy=0.5)
    monkeypatch.setattr(compare, "search", lambda *args, **named: found)
    for jobs, times in ((1, 0), (2, 1), (None, 2)):
        run = comparison(tmp_path / "R", jobs=jobs)
        assert run._tune(run.setting) == {"backprop": found}
        assert asked == [1] * times
        heard: Any = run.observer
        assert heard.heard[0] == ("begin", "search backprop", 12 if jobs == 1 else 7)
    assert ComparisonRun(run.setting, (), (), run.directory, run.observer).jobs == 1
    silent = comparison(tmp_path / "R", QUICK.with_changes(trials=0))
    silent._tune(silent.setting)
    heard = silent.observer
    assert heard.heard == [], "nothing is searched"


def test_what_was_interrupted_first_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = comparison(tmp_path / "R")
    monkeypatch.setattr(ComparisonRun, "_tune", lambda self, here: "tuned")
    assert run.tune() == "tuned"
    run.interrupted = ["one", "two"]
    with pytest.raises(RunInterruptedError) as error:
        run.tune()
    assert (str(error.value), error.value.cause) == ("one", "memory")


def test_what_memory_left_out_is_said_and_a_lost_device_is_raised(tmp_path: Path) -> None:
    run = comparison(tmp_path / "R")
    with run._going_on("a"):
        raise RunInterruptedError("memory ran out", "memory")
    heard: Any = run.observer
    assert (run.interrupted, heard.heard) == (["a: memory ran out"], [("end", "a: interrupted (memory ran out)")])
    with pytest.raises(RunInterruptedError), run._going_on("a"):
        raise RunInterruptedError("lost", "device")
    with run._going_on("a"):
        pass
    assert len(run.interrupted) == 1


@pytest.mark.parametrize(
    ("jobs", "lefts", "in_order", "used"),
    [
        (2, (4,), True, 1), (3, (4, 4), True, 2), (2, (1,), True, None), (2, (2,), True, 1), (2, (1, 2), True, None),
        (3, (2,), False, None),
    ],
)  # fmt: skip
def test_processes_that_tpe_cannot_use_are_told(
    jobs: int, lefts: tuple[int, ...], in_order: bool, used: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "search_at_once", lambda searches, jobs, observer, say: 0)
    discarded: list[int] = []
    monkeypatch.setattr(compare, "discard_waiting", lambda: discarded.append(1))
    run = comparison(tmp_path / "R", jobs=jobs)
    searches: Any = [Search(str(k), left, in_order=in_order) for k, left in enumerate(lefts)]
    run._search_at_once(searches)
    heard: Any = run.observer
    said = [event[1] for event in heard.heard if event[0] == "end"]
    assert said == ([] if used is None else [
        "the sampler tpe proposes a trial from those before it, so only arms are searched at once, and the trials of an arm one "
        f"after another: --jobs {jobs} uses {used}"
    ])  # fmt: skip
    at_once = min(jobs, len(lefts) if in_order else sum(lefts))
    assert len(discarded) == (at_once < 2)
    assert (("begin", f"search, {at_once} processes", 0) in heard.heard) == (at_once >= 2)


def test_passes_that_early_stopping_saved_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 3 + 2 trials of at most 4 passes four were made, in 11 passes of 16; in 17, since one was made again."""
    for passes, saved in ((11, 5), (17, 0)):
        run = comparison(tmp_path / "R", jobs=2)
        one, other = Search("a", 3), Search("b", 2)

        def made(searches: Any, jobs: int, observer: Any, say: Any, passes: int = passes) -> int:
            del searches[0].left[:3], searches[1].left[:1]
            return passes

        monkeypatch.setattr(compare, "search_at_once", made)
        searches: Any = [one, other]
        assert run._search_at_once(searches) == {"a": 12, "b": 4}
        heard: Any = run.observer
        assert heard.heard == [("begin", "search, 2 processes", 0), ("advance", saved)]


def test_by_default_the_time_of_a_trial_tells_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(compare, "may_default", lambda here: may)
    monkeypatch.setattr(compare, "default_jobs", lambda expected_s, n: asked.append((expected_s, n)) or 7)
    run = comparison(tmp_path / "R", jobs=None)
    may, shown = False, {}
    one, other = Search("a", 0), Search("b", 3)
    searches: Any = [one, other]
    assert run._default_jobs(searches, shown) == 1
    may = True
    lone: Any = [Search("c", 1)]
    assert (run._default_jobs(lone, shown), asked) == (1, [])
    assert run._default_jobs(searches, shown) == 7
    heard: Any = run.observer
    assert heard.heard == [("begin", "search b", 0), ("trial", "trial 1 of 3", 4), ("passed", "trial 0 of b")]
    assert (shown, asked) == ({"b": 3}, [(2 * 2.0, 2)])
    two: Any = [Search("a", 1, times_s=(1.0, 6.0)), Search("b", 1)]
    assert run._default_jobs(two, shown) == 7
    assert asked[1] == (2 * 3.5, 2)
    assert len(heard.heard) == 3, "the time of a trial is known"
    monkeypatch.setattr(compare, "search_at_once", lambda searches, jobs, observer, say: 0)
    assert run._search_at_once(two) == {"a": 0, "b": 0}
    for cause in ("memory", "device"):
        fresh: Any = [Search("d", 2)]
        fresh[0].fails = RunInterruptedError("no", cause)  # type: ignore[arg-type]
        if cause == "memory":
            assert run._default_jobs(fresh, {}) == 1
        else:
            with pytest.raises(RunInterruptedError):
                run._default_jobs(fresh, {})


def test_a_directory_of_other_data_is_refused_before_anything_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: ComparisonRun) -> None:
        raise RunDirectoryError("other contents")

    monkeypatch.setattr(ComparisonRun, "_check_data", refuse)
    monkeypatch.setattr(ComparisonRun, "_tune", lambda self, here: pytest.fail("a search began"))
    run = comparison(tmp_path / "R")
    for call in (run.run, run.tune):
        with pytest.raises(RunDirectoryError):
            call()


def test_outcomes_of_searches_are_written_before_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    found = {label: SimpleNamespace(row=f"row of {label}") for label in ("backprop", "pepita")}
    monkeypatch.setattr(ComparisonRun, "_tune", lambda self, here: found)
    monkeypatch.setattr(ComparisonRun, "_measure", lambda self, here, arm, seed, tuned: done.append((arm.label, seed, tuned.row)))
    monkeypatch.setattr(compare.TunedRow, "model_validate", lambda row: row)
    monkeypatch.setattr(RunDirectory, "add_tuned", lambda self, rows: done.append(rows))
    comparison(tmp_path / "R", arms="backprop,pepita,frozen").run()
    rows = ["row of backprop", "row of pepita"]
    assert done == [rows, ("backprop", 0, rows[0]), ("pepita", 0, rows[1])], "the search of the third was interrupted"


@pytest.mark.parametrize(("jobs", "told"), [(None, False), (1, False), (2, True)])
def test_studies_are_made_in_one_process(jobs: int | None, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = rulesets.load("quick").with_changes({"search.studies": 2, "search.trials": 1, "search.passes_per_trial": None})
    discarded: list[int] = []
    monkeypatch.setattr(compare, "discard_waiting", lambda: discarded.append(1))
    monkeypatch.setattr(ComparisonRun, "_measure_study", lambda self, one: None)
    monkeypatch.setattr(ComparisonRun, "_run_trial", lambda self, here, one, index: ran.append((one.number, index)))
    monkeypatch.setattr(ArmStudy, "n_done", property(lambda self: len([one for one in ran if one[0] == self.number])))
    ran: list[tuple[int, int]] = []
    run = comparison(tmp_path / "R", rules, jobs)
    run.run()
    heard: Any = run.observer
    line = (
        f"--jobs {jobs} is without effect: under ruleset quick+changed every trial is a measured run, and measured runs stay "
        "alone on their device"
    )
    assert heard.heard == ([("end", line)] if told else [])
    assert (ran, discarded) == ([(0, 0), (1, 0)], [1])
    run.run()
    assert ran == [(0, 0), (1, 0)], "what is done is not done again"
