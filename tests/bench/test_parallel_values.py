"""How many processes search, and what each trial's way is: stand-ins for processes and clocks, every line by value."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bpfree import data, rulesets
from bpfree.bench import environment, jobs, parallel
from bpfree.bench.arm import Arm
from bpfree.bench.outcome import Tried
from bpfree.bench.parallel import _ArmTrials, _Searching, _threads_shared, n_at_once, search_at_once
from bpfree.bench.setting import Setting
from bpfree.bench.worker import Outcome, Passes, Task
from bpfree.bench.workers import Died
from bpfree.errors import RunInterruptedError, UsageError
from bpfree.meter import Meter

ANY: Any = None
CPU = torch.device("cpu")
SMALL = data.load("synthetic:n=300:inputs=4:classes=3")
ARM = Arm.parse("backprop")


def setting(**changes: Any) -> Setting:
    here = Setting(rulesets.load("quick"), SMALL, "mlp:1x4", CPU, Meter(CPU), None, {"a": 1}, environment.facts(CPU))
    return dataclasses.replace(here, **changes)


@pytest.mark.parametrize(
    ("busy", "total", "processors", "idle"), [(0.0, 0.0, 4, 4), (6.0, 4.0, 4, 0), (0.5, 1.0, 1, 0), (1.25, 4.0, 4, 3)]
)
def test_idle_cores(busy: float, total: float, processors: int, idle: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four cores, after a fifth of a second."""
    looks, slept = iter([(10.0, 100.0), (10.0 + busy, 100.0 + total)]), []
    monkeypatch.setattr(jobs, "cores", lambda: 4)
    monkeypatch.setattr(jobs, "processors", lambda: list(range(processors)))
    monkeypatch.setattr(jobs, "busy_and_total_s", lambda _: next(looks))
    monkeypatch.setattr(jobs.early_processes, "busy_s", lambda: 0.0)
    assert jobs.idle_cores(sleep=slept.append) == idle
    assert slept == [0.2]


def test_by_default_a_search_of_six_seconds_is_shared_by_two(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(available=2**30)
    monkeypatch.setattr(jobs.psutil, "virtual_memory", lambda: memory)
    assert jobs.default_jobs(6.0, 2, lambda: 4) == 2
    assert jobs.default_jobs(6.0, 8, lambda: 4) == 2, "one more process finds a gibibyte"
    memory.available -= 1
    assert jobs.default_jobs(6.0, 8, lambda: 4) == 1
    for expected_s, n in ((5.99, 8), (6.0, 1)):
        assert jobs.default_jobs(expected_s, n, lambda: pytest.fail("nobody looks for idle cores")) == 1


@pytest.mark.parametrize(("cores", "device", "may"), [(1, "cpu", False), (2, "cpu", True), (2, "cuda", False)])
def test_a_search_is_shared_by_default_on_two_cores(cores: int, device: str, may: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(jobs, "cores", lambda: cores)
    assert jobs.may_default(setting(device=torch.device(device))) is may


class Search:
    """Stands for the search of an arm with so many trials left."""

    def __init__(self, label: str, pending: list[int], *, in_order: bool = False) -> None:
        self.arm: Any = SimpleNamespace(label=label, plain=label)
        self.setting, self.in_order, self.told = setting(), in_order, []
        self._pending = pending

    def pending(self) -> list[int]:
        return list(self._pending)

    def ask(self, index: int) -> dict[str, float]:
        return {"lr": float(index)}

    def tell(self, trial: Tried) -> None:
        self.told.append(trial)


def test_trials_are_taken_in_their_order_and_with_tpe_one_at_a_time() -> None:
    search: Any = Search("a", [3, 5, 6])
    trials = _ArmTrials(search, search.pending())
    assert [trials.take(), trials.take()] == [Task(search.arm, index, {"lr": float(index)}) for index in (3, 5)]
    assert (trials.waiting, trials.running) == ([6], 2)
    in_order: Any = Search("b", [3, 5], in_order=True)
    trials = _ArmTrials(in_order, in_order.pending())
    assert trials.take() is not None
    assert trials.take() is None
    trials.running -= 1
    assert trials.take() is not None
    trials.running -= 1
    assert trials.take() is None
    searches: Any = [
        Search("a", [1, 2, 3]),
        Search("b", [1, 2, 3], in_order=True),
        Search("c", [], in_order=True),
        Search("d", []),
    ]
    assert n_at_once(searches) == 4


@pytest.mark.parametrize(("before", "n", "each"), [(8, 3, 2), (1, 2, 1), (4, 4, 1), (7, 1, 7)])
def test_threads_are_divided_and_given_back(before: int, n: int, each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: before)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    with pytest.raises(KeyError), _threads_shared(n) as threads:
        assert threads == each
        raise KeyError
    assert asked == [each, before]


class Others:
    """Stands for the other processes: what they say, look after look, and who is idle."""

    def __init__(self, *looks: list[Any], idle: list[Any] | None = None) -> None:
        self.looks, self.waited, self._idle = list(looks), [], idle or []

    @property
    def busy(self) -> bool:
        return bool(self.looks)

    def messages(self, *, waiting: bool) -> Any:
        self.waited.append(waiting)
        said: list[Any] = self.looks.pop(0) if self.looks else []
        for each in said:
            if isinstance(each, Exception):
                raise each
            yield each

    def idle(self) -> list[Any]:
        return [each for each in self._idle if each.task is None]


class Other:
    """A process that was given a trial."""

    def __init__(self, task: Task | None = None) -> None:
        self.task = task
        self.given: list[Task] = []

    def give(self, task: Task) -> None:
        self.task = task
        self.given.append(task)


def tried(value: float, **changes: Any) -> Tried:
    return Tried(**({"values": {"lr": value}, "val_accuracy": value, "seed": 1, "passes": 2, "time_s": 3.0, "joules": None,
                     "method": None, "diverged": False} | changes))  # fmt: skip


class Heard:
    """An observer."""

    def __init__(self) -> None:
        self.passes: list[int] = []
        self.trials: list[tuple[str, int]] = []

    def trial(self, words: str, n_passes: int) -> None:
        self.trials.append((words, n_passes))

    def passed(self, progress: Any) -> None:
        self.passes.append(1)

    def advance(self, n: int) -> None:
        self.passes.append(n)


def searching(searches: list[Any], others: Others) -> tuple[_Searching, Heard, list[str]]:
    heard, said = Heard(), []
    return _Searching(searches, 3, others, heard, said.append), heard, said  # type: ignore[arg-type]


def test_this_process_makes_trials_and_hears_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has two passes a trial; another says five passes, then the end of its trial."""
    one: Any = Search("a", [0, 1])
    other = Other()
    others = Others([], [(other, Passes(5))], [], [(other, Outcome(tried(0.5), None))], idle=[other])

    def run_trial(here: Setting, arm: Any, values: Any, index: int, on_pass: Any) -> Any:
        assert not here.meter.sources
        on_pass("progress")
        return tried(float(index)), None

    monkeypatch.setattr(parallel, "run_trial", run_trial)
    found, heard, said = searching([one], others)
    assert found.run() == 6
    assert [task.index for task in other.given] == [0]
    assert [(each.val_accuracy, each.at_once) for each in one.told] == [(1.0, 3), (0.5, 3)]
    assert (sorted(heard.passes), said) == ([1, 5], [])
    under = one.setting.ruleset
    assert heard.trials == [(f"a, trial 2 of {under.search.trials}", under.search.passes_per_trial)]
    assert (other.task, others.waited) == (None, [False, False, False, True, False])


def test_a_process_that_died_leaves_its_trial_to_the_others() -> None:
    one: Any = Search("a", [4, 7, 8])
    found, _, said = searching([one], Others())
    task = found._take()
    assert task is not None
    arm = found._arms["a"]
    found._heard(Other(task), Died(-9))  # type: ignore[arg-type]
    assert (arm.waiting, arm.running) == ([4, 7, 8], 0)
    found._heard(Other(), Died(3))  # type: ignore[arg-type]
    assert said == [
        "search a: the process of trial 4 was killed (signal 9); the trial is run again",
        "search: a further process ended (exit code 3) before it had a trial; the others run them",
    ]


def test_a_trial_whose_process_died_after_memory_ran_out_is_not_run_beside_others() -> None:
    found, _, said = searching([Search("a", [0, 1, 2])], Others())
    first, second = found._take(), found._take()
    assert first is not None
    found._heard(Other(first), Outcome(None, RunInterruptedError("memory ran out", "memory")))  # type: ignore[arg-type]
    found._heard(Other(second), Died(-9))  # type: ignore[arg-type]
    assert found._take() is None
    assert said[1] == "search a: the process of trial 1 was killed (signal 9); the trial is run again alone"
    assert found._arms["a"].running == 0


def test_where_memory_ran_out_the_rest_of_the_arm_is_left_and_other_errors_end_the_search() -> None:
    one: Any = Search("a", [0, 1, 2])
    two: Any = Search("b", [0])
    found, _, said = searching([one, two], Others())
    task = found._take()
    assert task is not None
    worker_: Any = Other(task)
    found._heard(worker_, Outcome(None, RunInterruptedError("memory ran out", "memory")))
    assert said == ["search a: trial 0 was interrupted beside others (memory ran out); it is run again alone"]
    arm = found._arms["a"]
    assert (arm.alone, arm.take(), arm.running, worker_.task, one.told) == (True, None, 0, None, [])
    following = found._take()
    assert (following is not None and following.arm) == two.arm
    lost, later = RunInterruptedError("lost", "device"), UsageError("later")
    found._ended(Task(two.arm, 0, {}), Outcome(tried(0.25), lost))
    found._ended(Task(two.arm, 0, {}), Outcome(None, later))
    assert [each.val_accuracy for each in two.told] == [0.25]
    assert found._take() is None
    with pytest.raises(RunInterruptedError) as error:
        found.run()
    assert error.value is lost


def test_an_error_of_another_process_ends_the_trial_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    one: Any = Search("a", [0, 1])
    first = OSError("first")
    found, heard, _ = searching([one], Others([], [first], [OSError("second")]))

    def run_trial(here: Any, arm: Any, values: Any, index: int, on_pass: Any) -> Any:
        on_pass("progress")
        pytest.fail("the trial went on")

    monkeypatch.setattr(parallel, "run_trial", run_trial)
    with pytest.raises(OSError, match="first") as error:
        found.run()
    assert error.value is first
    assert (heard.passes, one.told) == ([1], [])


def test_a_trial_that_the_harness_refuses_ends_the_search_and_one_that_raises_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = UsageError("no")
    outcomes: list[Any] = [(tried(0.1), ValueError("its own")), (tried(0.2), MemoryError()), refused]

    def run_trial(*_: Any) -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(parallel, "run_trial", run_trial)
    one: Any = Search("a", [0, 1, 2, 3])
    found, _, _ = searching([one], Others())
    with pytest.raises(RunInterruptedError, match="memory ran out"):
        found.run()
    assert [each.val_accuracy for each in one.told] == [0.1, 0.2]
    with pytest.raises(UsageError) as error:
        found.run()
    assert error.value is refused


def test_one_process_less_is_started_than_there_are_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Started(Others):
        def __init__(self, here: Setting, count: int, threads: int) -> None:
            super().__init__()
            asked.append((here, count, threads))

        def __enter__(self) -> Started:
            return self

        def __exit__(self, *_: object) -> None:
            asked.append("ended")

    monkeypatch.setattr(parallel, "Workers", Started)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    one: Any = Search("a", [])
    assert search_at_once([one], 3, Heard(), print) == 0  # type: ignore[arg-type]
    assert asked == [(one.setting, 2, 2), "ended"]
