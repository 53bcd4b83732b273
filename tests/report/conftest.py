"""Run directories written by the harness itself, with realistic numbers in their records.

One run of one pass is measured, and one search is read back, for each session; the records of the tests are that run with
other numbers. So the fixtures have the fields, reasons and files that the harness writes, whatever they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from bpfree import data, rulesets
from bpfree.algorithms import params
from bpfree.bench import environment
from bpfree.bench.arm import Arm
from bpfree.bench.directory import RunDirectory
from bpfree.bench.draws import trial_seed
from bpfree.bench.measure import Setting, measure
from bpfree.bench.outcome import Tuned
from bpfree.bench.study import search
from bpfree.bench.tuned import TunedRow
from bpfree.meter import CarbonFactor, Meter, co2e_g
from bpfree.records import Record

ARMS = {  # arm: algorithm, variant, final test accuracy, rate of learning, seconds a pass, passes, watts
    "backprop": ("backprop", "", 0.9750, 0.35, 0.061, 27, 31.0),
    "mono-forward": ("mono-forward", "", 0.9780, 0.42, 0.072, 26, 33.0),
    "mono-forward:schedule=staged": ("mono-forward", "schedule=staged", 0.9610, 0.22, 0.045, 38, 30.0),
    "forward-forward": ("forward-forward", "", 0.9470, 0.14, 0.195, 38, 36.0),
}
SEEDS = (0, 1, 2, 3, 4)
QUICK = rulesets.load("quick")
CPU = torch.device("cpu")
FACTOR = CarbonFactor(g_per_kwh=381.0, year=2023, source="CodeCarbon 3.0")
NVML = {"method": "nvml-counter", "scope": "gpu", "measured": True, "resolved": True}
PATIENCE = QUICK.stop.patience or 0


@cache
def facts() -> dict[str, Any]:
    """Facts about this machine, as the harness writes them into ``environment.json``."""
    return environment.facts(CPU)


@cache
def digits() -> data.Dataset:
    """The data that are embedded."""
    return data.load("digits")


def setting(rules: rulesets.Ruleset) -> Setting:
    """What a run needs: digits, a small net, no energy source."""
    return Setting(rules, digits(), "mlp:1x16", CPU, Meter(CPU), None, {}, facts())


@cache
def template() -> Record:
    """A record that the harness measured."""
    return measure(setting(QUICK.with_changes(max_passes=1)), Arm.parse("backprop"), {}, 0, None)


@cache
def searched(arm: str, values: tuple[tuple[str, float], ...], joules: float | None) -> Tuned:
    """What the harness makes of a finished search of 8 trials with 15 passes, 1.025 s and ``joules`` each."""
    one = setting(QUICK)
    storage = optuna.storages.InMemoryStorage()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=f"{arm}@{one.data.name}@{one.net}@data {one.data.data_digest[:16]}", storage=storage, direction="maximize"
    )
    ranges = {name: optuna.distributions.FloatDistribution(1e-9, 10.0, log=True) for name, _value in values}
    user = {"passes": 15, "time_s": 1.025, "joules": joules, "method": None if joules is None else "nvml-counter"}
    for index in range(8):
        trial = optuna.trial.create_trial(
            params=dict(values),
            distributions=ranges,
            value=0.9766 - index / 100,
            user_attrs={**user, "seed": trial_seed(index), "diverged": index == 7},
        )
        study.add_trial(trial)
    return search(one, Arm.parse(arm), storage)


def history(final: float, rate: float, passes: int, pass_s: float, watts: float | None, seed: int) -> list[dict[str, Any]]:
    """Accuracies that climb towards ``final`` with a little noise, and end by the ruleset's patience."""
    rng = np.random.default_rng(seed)
    noise, best, entries = rng.normal(0, 0.004, passes), 0.0, []
    for k in range(1, passes + 1):
        accuracy = final - (final - 0.1) * math.exp(-rate * k) + noise[k - 1] * math.exp(-0.05 * k)
        waiting = k > passes - PATIENCE
        accuracy = min(accuracy, best - 0.001) if waiting else max(accuracy, best + (0.0001 if k == passes - PATIENCE else 0.0))
        best = max(best, accuracy)
        entries.append(
            {
                "passes": k,
                "phase": 0,
                "train_loss": 2.3 * math.exp(-rate * k) * (1 + rng.normal(0, 0.01)),
                "val_accuracy": round(min(accuracy, 1.0), 5),
                "val_loss": None,
                "time_s": pass_s * k,
                "joules": None if watts is None else watts * pass_s * k,
            }
        )
    return entries


def tuned_params(arm: str, dataset: str, net: str) -> dict[str, float]:
    """As a search of its own would find them: other digits in every cell."""
    rng = np.random.default_rng(list(f"{arm}@{dataset}@{net}".encode()))
    return {"lr": 0.003 * float(np.exp(rng.normal(0, 0.3))), "weight_decay": 0.03 * float(np.exp(rng.normal(0, 0.3)))}


def make_record(
    arm: str = "backprop",
    seed: int = 0,
    *,
    energy: bool = False,
    status: str = "ok",
    dataset: str = "digits",
    net: str = "mlp:2x256",
    digest: str = rulesets.digest(QUICK),
    arms: Sequence[str] = tuple(ARMS),
    **changes: Any,
) -> Record:
    """The measured record with the numbers of another arm and seed; what is null has its reason."""
    algorithm, variant, final, rate, pass_s, passes, watts = ARMS.get(arm, (arm, "", 0.95, 0.3, 0.06, 30, 32.0))
    noise = np.random.default_rng(1000 + seed).normal(0, 0.004)
    noise += np.random.default_rng([seed, sum(arm.encode())]).normal(0, 0.002)
    passes = max(passes + seed - 2, 3)
    time_s = pass_s * passes * (1 + 0.03 * seed)
    joules = watts * time_s if energy else None
    accuracy = round(final + noise, 4) if status == "ok" else None
    passed = history(final + noise, rate, passes, time_s / passes, watts if energy else None, seed)
    tuned = tuned_params(arm, dataset, net)
    record = template().model_dump(by_alias=True) | {
        "arm": arm,
        "algorithm": algorithm,
        "variant": variant,
        "params": params(Arm.parse(arm).build(tuned)) if arm in ARMS else template().params | tuned,
        "dataset": dataset,
        "net": net,
        "seed": seed,
        "ruleset_digest": digest,
        "plan": template().plan | {"command": "bpfree compare --seeds 5 --out runs/x", "arms": list(arms), "seeds": list(SEEDS)},
        "status": status,
        "val_accuracy": accuracy and max(entry["val_accuracy"] for entry in passed),
        "test_accuracy": accuracy,
        "by_class": None,  # that of the measured record belongs to another accuracy
        "passes": passes,
        **counted(passes),
        "cpu_s": 0.95 * time_s,
        "other_load": 0.02,
        "forward_passes": 1.0 * passes,
        "time_s": time_s,
        "eval_time_s": time_s * 0.1,
        "inference": None,
        "history": passed,
        "tuning_energy": tuned_of(arm, dataset, net, energy).cost.model_dump(),
    }
    reasons = {key: why for key, why in record["reasons"].items() if key != "other_load"}
    reasons |= {"inference": "a record of an earlier version"}
    if energy:
        record |= with_energy(joules or 0.0, 0.6 * (joules or 0.0))
        reasons = {key: why for key, why in reasons.items() if key.partition(".")[0] not in ("energy", "co2e_g", "carbon")}
    elif record["tuning_energy"]["joules"] is None:
        reasons |= dict.fromkeys(("tuning_energy.joules", "tuning_energy.method"), "no energy source was given")
    if status != "ok":
        reasons |= dict.fromkeys(("test_accuracy", "val_accuracy", "status"), f"the run {status}")
    return Record.model_validate(record | {"reasons": reasons} | changes)


def counted(passes: int) -> dict[str, Any]:
    """What the loop counted in a run of one phase that ended by patience, of the same steps in every pass as the template."""
    steps, examples = template().steps, template().examples_seen
    assert steps is not None
    assert examples is not None
    return {
        "steps": steps * passes,
        "examples_seen": examples * passes,
        "stops": [{"phase": 0, "reason": "patience", "passes": passes}],
    }


def with_energy(joules: float, net_joules: float, factor: CarbonFactor = FACTOR) -> dict[str, Any]:
    """The fields of a record whose window was metered."""
    return {
        "energy": {"joules": joules, "net_joules": net_joules, "sources": {"nvml:0": joules}} | NVML,
        "co2e_g": co2e_g(joules, factor),
        "carbon": {"g_per_kwh": factor.g_per_kwh, "pue": 1.0, "source": factor.source, "year": factor.year},
    }


def tuned_of(arm: str, dataset: str, net: str, energy: bool) -> Tuned:
    """The search of one arm on one task."""
    values = tuple(tuned_params(arm, dataset, net).items())
    return searched(arm if arm in ARMS else "backprop", values, 31.25 if energy else None)


def tuned_entry(arm: str, dataset: str = "digits", net: str = "mlp:2x256", energy: bool = False) -> dict[str, Any]:
    """The entry of one arm in ``tuned.json``."""
    return tuned_of(arm, dataset, net, energy).row | {"arm": arm, "dataset": dataset, "net": net}


def write_run(
    path: Path,
    records: Sequence[Record],
    ruleset: rulesets.Ruleset = QUICK,
    tuned: Sequence[dict[str, Any]] | None = None,
) -> Path:
    """A run directory that holds ``records``."""
    directory = RunDirectory(path)
    with directory.opened(ruleset, facts()):
        for record in records:
            directory.append(record)
        if tuned is not None:
            directory.add_tuned([TunedRow.model_validate(entry) for entry in tuned])
    return path


class Runs:
    """Makes run directories below a temporary place."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, name: str = "run", records: Sequence[Record] | None = None, **options: Any) -> Path:
        """A directory with ``records``, by default four arms with five seeds and no energy."""
        return write_run(self.root / name, self.grid() if records is None else records, **options)

    def grid(self, arms: Sequence[str] = tuple(ARMS), seeds: Sequence[int] = SEEDS, **options: Any) -> list[Record]:
        """One record for each arm and seed, arms interleaved."""
        return [make_record(arm, seed, arms=arms, **options) for seed in seeds for arm in arms]

    record = staticmethod(make_record)
    tuned = staticmethod(tuned_entry)
    ruleset = QUICK


@pytest.fixture
def no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts take most of the time of a report; for tests that look at something else."""
    monkeypatch.setattr("bpfree.report.page.charts", lambda table: [])


@pytest.fixture(scope="module")
def shared_runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Makes run directories that the tests of a module only read."""
    return Runs(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """Makes run directories."""
    return Runs(tmp_path)
