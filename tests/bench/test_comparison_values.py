"""What a comparison runs, in which order, and what it says meanwhile: every line by value, with nothing trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bpfree import data, nets, rulesets
from bpfree.bench import compare, environment
from bpfree.bench.arm import Arm
from bpfree.bench.compare import ComparisonRun
from bpfree.bench.directory import RunDirectory
from bpfree.bench.setting import Setting
from bpfree.bench.suite_choice import choose
from bpfree.bench.suites.files import load
from bpfree.errors import RunDirectoryError, RunInterruptedError
from bpfree.meter import Meter
from bpfree.records import CONTROL_SEEDS

CPU = torch.device("cpu")
RULES = rulesets.load("quick").with_changes(
    max_passes=9, passes_per_trial=4, trials=3,
    exceptions=[{"arms": ["mono-forward"], "field": "search.passes_per_trial", "value": 5, "why": "a test"}],
)  # fmt: skip


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

    def end(self, line: str) -> None:
        self.heard.append(("end", line))


def comparison(path: Path, rules: rulesets.Ruleset, arms: tuple[Arm, ...], seeds: tuple[int, ...]) -> ComparisonRun:
    setting = Setting(rules, data.load("digits"), "mlp:1x4", CPU, Meter(CPU), None, {}, environment.facts(CPU))
    observer: Any = Listener()
    return ComparisonRun(setting, arms, seeds, RunDirectory(path), observer)


@pytest.fixture
def nothing_trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Searches find what the name of the arm says; of the runs the second one diverges. Returns what was measured."""
    measured: list[Any] = []

    def search(setting: Any, arm: Arm, storage: Any, *, on_trial: Callable[[int], None], on_pass: Callable[[Any], None]) -> Any:
        on_trial(1)
        on_pass(f"a trial of {arm.label}")
        best = {"lr": 0.123456, "weight_decay": 2.0} if arm.algorithm == "backprop" else {}
        return SimpleNamespace(best=best, best_val_accuracy=0.87654, cost=f"cost of {arm.label}", row={})

    def measure_into(directory: Any, setting: Any, arm: Arm, values: Any, seed: int, tuning: Any, *, on_pass: Any) -> Any:
        measured.append((arm.label, values, seed, tuning))
        on_pass(f"a pass of {arm.label}")
        lost = len(measured) == 2
        accuracy = None if lost else 0.51239
        return SimpleNamespace(
            test_accuracy=accuracy, status="diverged", reasons={"status": "a loss of NaN"}, passes=6, time_s=1.2345
        )

    monkeypatch.setattr(compare, "search", search)
    monkeypatch.setattr(compare, "measure_into", measure_into)
    monkeypatch.setattr(compare.TunedRow, "model_validate", lambda row: row)
    monkeypatch.setattr(RunDirectory, "add_tuned", lambda self, rows: None)
    return measured


def test_order_seeds_values_and_lines(tmp_path: Path, nothing_trained: list[Any]) -> None:
    """Seeds outside, each beginning with another arm; a control has seeds of its own."""
    arms = (Arm.parse("backprop"), Arm.parse("mono-forward"), Arm.parse("backprop").as_control())
    run = comparison(tmp_path / "R", RULES, arms, (0, 1))
    with run.directory.opened(RULES, environment.facts(CPU)):
        run.run()
    best = {"lr": 0.123456, "weight_decay": 2.0}
    assert nothing_trained == [
        ("backprop", best, 0, "cost of backprop"),
        ("mono-forward", {}, 0, "cost of mono-forward"),
        ("backprop#control", best, CONTROL_SEEDS, "cost of backprop#control"),
        ("mono-forward", {}, 1, "cost of mono-forward"),
        ("backprop#control", best, CONTROL_SEEDS + 1, "cost of backprop#control"),
        ("backprop", best, 1, "cost of backprop"),
    ]
    came = "test accuracy 0.5124 after 6 passes in 1.23 s"
    found = "lr 0.123, weight_decay 2, validation accuracy 0.8765"
    stages: list[tuple[str, int, str, str]] = [
        ("search backprop", 3 * 4, "a trial of backprop", found),
        ("search mono-forward", 3 * 5, "a trial of mono-forward", ", validation accuracy 0.8765"),
        ("search backprop#control", 3 * 4, "a trial of backprop#control", found),
        ("backprop, seed 0", 9, "a pass of backprop", came),
        ("mono-forward, seed 0", 9, "a pass of mono-forward", "diverged (a loss of NaN)"),
        (f"backprop#control, seed {CONTROL_SEEDS}", 9, "a pass of backprop#control", came),
        ("mono-forward, seed 1", 9, "a pass of mono-forward", came),
        (f"backprop#control, seed {CONTROL_SEEDS + 1}", 9, "a pass of backprop#control", came),
        ("backprop, seed 1", 9, "a pass of backprop", came),
    ]
    heard: Any = run.observer

    def trial(stage: str, passes: int) -> list[Any]:
        return [("trial", "trial 2 of 3", passes // 3)] if stage.startswith("search") else []

    assert heard.heard == [
        event
        for stage, passes, passed, line in stages
        for event in (("begin", stage, passes), *trial(stage, passes), ("passed", passed), ("end", f"{stage}: {line}"))
    ]
    log = run.directory.log_path.read_text().splitlines()
    assert [line.partition(": ")[0].endswith(stage) or stage in line for line, (stage, *_) in zip(log, stages, strict=True)]
    assert [line[line.index(stage) :] for line, (stage, *_) in zip(log, stages, strict=True)] == [
        f"{stage}: {line}" for stage, _, _, line in stages
    ]


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({}, 2 * 3 * (3 * 4 + 2 * 9)),  # two splits, three arms, three trials of 4 passes and two runs of 9
        ({"trials": 0}, 2 * 3 * 2 * 9),
        ({"studies": 5, "passes_per_trial": None}, 2 * 3 * 5 * 3 * 9),  # a trial is a run
    ],
)
def test_an_upper_bound_of_the_passes(tmp_path: Path, changes: dict[str, Any], passes: int) -> None:
    rules = rulesets.load("quick").with_changes({"budget.max_passes": 9, "search.passes_per_trial": 4, "search.trials": 3} | {
        f"search.{key}": value for key, value in changes.items()
    })  # fmt: skip
    arms = tuple(Arm.parse(name) for name in ("backprop", "mono-forward", "pepita"))
    run = comparison(tmp_path, rules, arms, (0, 1))
    assert replace(run, other_splits=(run.setting,)).n_passes() == passes


def test_a_suite_counts_the_passes_of_all_its_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """3, 4, 5 ... passes of the groups: the bar counts to their sum."""
    suite = choose(load("mf2025"), dataset_names=("mnist", "fashion-mnist"))
    totals: list[int] = []
    ran: list[int] = []

    class Watch:
        def __init__(self, total: int) -> None:
            totals.append(total)

        def __enter__(self) -> str:
            return "observer"

        def __exit__(self, *_: object) -> None:
            pass

    def group(group: Any, *_: Any) -> Any:
        count = 3 + len(made)
        made.append(count)
        net = SimpleNamespace(parameters=lambda: [torch.zeros(2, 3)])
        setting = SimpleNamespace(build_net=lambda: net, ruleset=RULES, facts=None)
        return SimpleNamespace(n_passes=lambda: count, setting=setting, observer=None)

    made: list[int] = []
    watch: Any = Watch
    monkeypatch.setattr(type(suite), "_comparison", lambda self, *args: group(*args))
    monkeypatch.setattr(type(suite), "_run_group", lambda self, comparison, accept: ran.append(comparison.observer))
    suite.run(tmp_path / "out", device=CPU, meter=Meter(CPU), factor=None, command="c", watch=watch)
    assert len(made) == len(suite.groups()) >= 3
    assert totals == [sum(made)]
    assert ran == ["observer"] * len(made)


class Study:
    """Stands for the study of an arm: its trials are finished when they were run."""

    def __init__(self, setting: Any, arm: Arm, number: int, storage: Any, states: Path) -> None:
        self.arm, self.number, self.n_done = arm, number, 0
        assert states.name == "checkpoints"

    def run_trial(self, index: int, *, on_pass: Callable[[Any], None], on_trace: Any) -> Any:
        EVENTS.append(("trial", self.arm.label, self.number, index))
        on_pass(f"{self.arm.label} {index}")
        self.n_done += 1
        lost = index == 1
        return SimpleNamespace(
            val_accuracy=None if lost else 0.43219, status="diverged", reasons={"status": "a loss of NaN"}, passes=5, time_s=2.5
        )

    def tuned(self) -> Any:
        return SimpleNamespace(best={"lr": 0.5}, best_val_accuracy=0.875, row=f"row of {self.arm.label}")

    def measured(self) -> Any:
        EVENTS.append(("measured", self.arm.label, self.number))
        return SimpleNamespace(test_accuracy=0.75, passes=6, time_s=7.0)

    def close(self) -> None:
        EVENTS.append(("closed", self.arm.label, self.number))


EVENTS: list[Any] = []


def test_studies_outside_trials_inside_and_arms_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Study 0 of backprop is finished; trial t of study s begins with arm (2 s + t) modulo 2."""
    EVENTS.clear()
    rules = QUICK_STUDIES
    run = comparison(tmp_path / "R", rules, (Arm.parse("backprop"), Arm.parse("pepita")), ())
    done = {run.setting.arm_rules(run.arms[0]).cell(0): "a record"}
    stored: list[Any] = []
    monkeypatch.setattr(compare, "ArmStudy", Study)
    monkeypatch.setattr(compare, "open_storage", lambda path: path)
    monkeypatch.setattr(compare.TunedRow, "model_validate", lambda row: row)
    monkeypatch.setattr(RunDirectory, "finished", lambda self: done)
    monkeypatch.setattr(RunDirectory, "add_tuned", lambda self, rows: stored.extend(rows))
    monkeypatch.setattr(RunDirectory, "append", lambda self, made: stored.append(made.test_accuracy))
    with run.directory.opened(rules, environment.facts(CPU)):
        run.run()
    assert EVENTS[:5] == [
        ("closed", "backprop", 0), ("trial", "pepita", 0, 0), ("trial", "pepita", 0, 1), ("measured", "pepita", 0),
        ("closed", "pepita", 0),
    ]  # fmt: skip
    assert [event for event in EVENTS if event[0] == "trial" and event[2] == 1] == [
        ("trial", "backprop", 1, 0), ("trial", "pepita", 1, 0), ("trial", "pepita", 1, 1), ("trial", "backprop", 1, 1),
    ]  # fmt: skip
    assert stored == [
        "row of backprop", "row of pepita", 0.75, "row of backprop", 0.75, "row of pepita", 0.75
    ], "the row of the finished study is written again, in case its file was damaged"  # fmt: skip
    heard: Any = run.observer
    assert heard.heard[:8] == [
        ("begin", "pepita, study 0, trial 0", 9),
        ("trial", "1 of 2", 9),
        ("passed", "pepita 0"),
        ("end", "pepita, study 0, trial 0: validation accuracy 0.4322 after 5 passes in 2.50 s"),
        ("begin", "pepita, study 0, trial 1", 9),
        ("trial", "2 of 2", 9),
        ("passed", "pepita 1"),
        ("end", "pepita, study 0, trial 1: diverged (a loss of NaN)"),
    ]
    assert heard.heard[8] == (
        "end", "pepita, study 0: lr 0.5, validation accuracy 0.8750, test accuracy 0.7500 after 6 passes in 7.00 s",
    )  # fmt: skip


QUICK_STUDIES = rulesets.load("quick").with_changes(
    {"search.studies": 2, "search.trials": 2, "search.passes_per_trial": None, "budget.max_passes": 9}
)


def test_other_data_of_the_same_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = comparison(tmp_path / "R", RULES, (Arm.parse("backprop"),), (0,))
    mine = run.setting.data.data_digest
    for digest, split_seed, refused in ((mine, 0, False), ("other contents " * 3, 0, True), ("other", 1, False)):
        stored: Any = SimpleNamespace(dataset="digits", split_seed=split_seed, data_digest=digest, split="split")
        monkeypatch.setattr(RunDirectory, "records", lambda self, stored=stored: [stored])
        if not refused:
            run._check_data()
            continue
        with pytest.raises(RunDirectoryError) as error:
            run._check_data()
        assert str(error.value) == (
            f"{tmp_path / 'R'} holds runs on digits with other contents (digest other contents o, now {mine[:16]}); choose "
            "another --out DIR"
        )


def test_another_net_of_the_same_function_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 x 4 + 4 + 4 x 10 + 10 = 310 parameters."""
    run = comparison(tmp_path / "R", RULES, (Arm.parse("backprop"),), (0,))
    run.setting.net = "mine:make"
    monkeypatch.setattr(Setting, "build_net", lambda self: nets.build("mlp:1x4", (64,), 10))
    mine = run.setting.data.data_digest
    for n_params, net, arm, refused in (
        (310, "mine:make", "backprop", False),
        (311, "mine:make", "backprop", True),
        (311, "other:make", "backprop", False),
        (311, "mine:make", "frozen", False),
    ):
        stored: Any = SimpleNamespace(dataset="digits", split_seed=0, data_digest=mine, net=net, arm=arm, n_params=n_params)
        monkeypatch.setattr(RunDirectory, "records", lambda self, stored=stored: [stored])
        if not refused:
            run._check_data()
            continue
        with pytest.raises(RunDirectoryError) as error:
            run._check_data()
        assert str(error.value) == (
            f"{tmp_path / 'R'} holds runs of mine:make with 311 parameters, and now it makes a net with 310; choose another "
            "--out DIR"
        )


def test_what_a_run_held_on_the_gpu_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append("freed"))
    for device, times in (("cpu", 0), ("cuda", 1)):
        (tmp_path / device).mkdir()
        run = comparison(tmp_path / device, RULES, (Arm.parse("backprop"),), (0,))
        run.setting.device = torch.device(device)
        with run._going_on("backprop, seed 0"):
            raise RunInterruptedError("memory ran out", "memory")
        assert (run.interrupted, len(freed)) == (["backprop, seed 0: memory ran out"], times)


def test_work_of_unknown_code(tmp_path: Path) -> None:
    """Of a directory that has neither records nor environments, the reason says what is missing or damaged."""
    directory = RunDirectory(tmp_path)
    path = tmp_path / "environment.json"
    assert directory._earlier_versions() == [{environment.CODE: f"unknown: {path} is missing"}]
    path.write_text("[broken")
    (versions,) = directory._earlier_versions()
    assert versions[environment.CODE].startswith(f"unknown: {path} ")
    assert "is missing" not in versions[environment.CODE]
