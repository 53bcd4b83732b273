"""What a comparison runs, in which order, and what it says meanwhile: every line by value, with nothing trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
from bpfree.bench.reproduce import choose
from bpfree.bench.setting import Setting
from bpfree.bench.suites.files import load
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

    def search(setting: Any, arm: Arm, storage: Any, *, on_pass: Callable[[Any], None]) -> Any:
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
    assert heard.heard == [
        event
        for stage, passes, passed, line in stages
        for event in (("begin", stage, passes), ("passed", passed), ("end", f"{stage}: {line}"))
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
