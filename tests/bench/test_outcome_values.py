"""The outcome of a search, every field of it by value: of trials that differ in everything, and of none."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bpfree import data, rulesets
from bpfree.bench import environment
from bpfree.bench.arm import Arm
from bpfree.bench.outcome import Tried, best_trial, tuned_of
from bpfree.bench.setting import Setting
from bpfree.meter import Meter
from bpfree.records import TuningCost
from bpfree.rulesets import Range

CPU = torch.device("cpu")
DIGITS = data.load("digits")
RULES = rulesets.load("quick").with_changes(
    max_passes=9, passes_per_trial=4, trials=3,
    **{"search.train_examples": 200},
    exceptions=[{"arms": ["mono-forward"], "field": "search.passes_per_trial", "value": 5, "why": "a test"}],
)  # fmt: skip
SPACE = {"lr": Range(low=1e-4, high=0.02), "weight_decay": Range(low=0.001, high=1.0)}

TRIALS = [
    Tried({"lr": 0.001, "weight_decay": 0.5}, 0.7, 11, 2, 1.25, 10.0, "rapl", False),
    Tried({"lr": 0.02, "weight_decay": 0.25}, 0.9, 12, 3, 2.5, 20.5, "nvml-counter", False),
    Tried({"lr": 0.01, "weight_decay": 0.1}, 0.9, 13, 4, 4.0, 40.0, "rapl", False),
    Tried({"lr": 0.02, "weight_decay": 0.9}, 0.99, 14, 1, 8.0, 80.0, "rapl", True),
]


def setting() -> Setting:
    return Setting(RULES, DIGITS, "mlp:1x4", CPU, Meter(CPU), None, {}, environment.facts(CPU), split_seed=7)


def test_every_field_of_a_search() -> None:
    """Best on validation are trials 1 and 2; the earlier one counts, and that of trial 3, which diverged, does not."""
    arm = Arm.parse("mono-forward:lr=0.02").as_control()
    found = tuned_of(setting(), arm, TRIALS, SPACE, {"name": "qmc"}, 3)
    assert (found.arm, found.best, found.best_val_accuracy) == (arm, TRIALS[1].values, 0.9)
    assert found.cost == TuningCost(joules=150.5, time_s=15.75, trials=4, passes=10, method="rapl")
    n_train, n_validation = DIGITS.n("train"), DIGITS.n("validation")
    assert found.row == {
        "arm": "mono-forward:lr=0.02#control", "algorithm": "mono-forward", "dataset": "digits",
        "data_digest": DIGITS.data_digest, "split_seed": 7, "net": "mlp:1x4", "study": 3, "control": True,
        "best": {"lr": 0.02, "weight_decay": 0.25},
        "best_trial": 1, "best_val_accuracy": 0.9, "trials": 4, "diverged_trials": 1, "failed_trials": 0,
        "passes_per_trial": 5, "passes_per_run": 9,
        "examples_per_trial": 200, "examples_per_run": n_train, "n_validation": n_validation, "time_s": 15.75, "joules": 150.5,
        "trials_at_once": 1, "compile_time_s": None,
        "space": {"lr": "log-uniform 0.0001 to 0.02", "weight_decay": "log-uniform 0.001 to 1"}, "at_edge": ["lr"],
        "unequal_search": ["lr"], "sampler": {"name": "qmc"},
        "tried": [
            {"values": t.values, "val_accuracy": t.val_accuracy, "seed": t.seed, "passes": t.passes, "diverged": t.diverged}
            for t in TRIALS
        ],
    }  # fmt: skip


def test_a_search_without_trials_found_and_cost_nothing() -> None:
    found = tuned_of(setting(), Arm.parse("backprop"), [], SPACE, {})
    assert (found.best, found.best_val_accuracy, found.cost) == ({}, 0.0, None)
    expected: dict[str, Any] = {
        "study": None, "control": False, "best": {}, "best_trial": None, "best_val_accuracy": 0.0, "trials": 0,
        "diverged_trials": 0, "failed_trials": 0,
        "passes_per_trial": 4, "time_s": 0.0, "joules": None, "at_edge": [], "unequal_search": [],
        "tried": [], "sampler": {},
    }  # fmt: skip
    assert {key: found.row[key] for key in expected} == expected


def test_a_trial_that_raised_is_counted_among_those_that_diverged_and_says_what_it_raised() -> None:
    raised = Tried({"lr": 0.003}, 0.0, 16, 0, 0.5, 5.0, "rapl", diverged=True, failed="ValueError: no")
    assert raised.attributes == {
        "seed": 16, "passes": 0, "time_s": 0.5, "joules": 5.0, "method": "rapl", "diverged": True, "failed": "ValueError: no",
    }  # fmt: skip
    row = tuned_of(setting(), Arm.parse("backprop"), [*TRIALS, raised], {}, {}).row
    assert (row["trials"], row["diverged_trials"], row["failed_trials"], row["best_trial"]) == (5, 2, 1, 1)
    assert row["tried"][4] == {
        "values": {"lr": 0.003}, "val_accuracy": 0.0, "seed": 16, "passes": 0, "diverged": True, "failed": "ValueError: no",
    }  # fmt: skip
    assert not [each for each in row["tried"][:4] if "failed" in each]


def test_what_was_compiled_for_a_search_is_apart_from_its_seconds() -> None:
    """Each trial knows what its process compiled so far; a second process compiled less."""
    compiled = [dataclasses.replace(trial, compile_time_s=s) for trial, s in zip(TRIALS, (8.0, 8.0, 7.5, None), strict=True)]
    row = tuned_of(setting(), Arm.parse("backprop"), compiled, SPACE, {}).row
    assert (row["compile_time_s"], row["time_s"]) == (8.0, 15.75)
    assert compiled[2].attributes["compile_time_s"] == 7.5


def test_joules_are_those_of_all_trials_or_of_none() -> None:
    unmetered = Tried({"lr": 0.001}, 0.5, 15, 1, 0.25, None, None, False)
    cost = tuned_of(setting(), Arm.parse("backprop"), [*TRIALS, unmetered], {}, {}).cost
    assert cost == TuningCost(joules=None, time_s=16.0, trials=5, passes=11, method="rapl")


@pytest.mark.parametrize(
    ("outcomes", "best"),
    [
        ([(0.5, False), (0.7, False), (0.7, False)], 1),
        ([(0.9, True), (0.1, False), (0.05, False)], 1),
        ([(0.0, True), (0.0, True)], 0),
        ([(0.2, True), (0.3, True)], 1),
    ],
)
def test_the_best_trial(outcomes: list[tuple[float, bool]], best: int) -> None:
    assert best_trial([Tried({}, accuracy, 0, 1, 1.0, None, None, diverged) for accuracy, diverged in outcomes]) == best


def test_a_trial_of_the_journal() -> None:
    user = {"seed": 3, "passes": 4, "time_s": 5.0, "joules": 6.0, "method": "rapl", "diverged": True}
    trial: Any = SimpleNamespace(user_attrs=user, params={"lr": 0.5}, value=None)
    assert Tried.of_trial(trial) == Tried({"lr": 0.5}, 0.0, 3, 4, 5.0, 6.0, "rapl", True)
    trial.value = 0.25
    assert Tried.of_trial(trial).val_accuracy == 0.25
