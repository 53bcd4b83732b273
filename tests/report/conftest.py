"""Run directories with realistic numbers, made without training anything."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bpfree import rulesets
from bpfree.records import Record, append_record

ARMS = {  # arm: algorithm, variant, final test accuracy, rate of learning, seconds a pass, passes, watts
    "backprop": ("backprop", "", 0.9750, 0.35, 0.061, 27, 31.0),
    "mono-forward": ("mono-forward", "", 0.9780, 0.42, 0.072, 26, 33.0),
    "mono-forward:schedule=staged": ("mono-forward", "schedule=staged", 0.9610, 0.22, 0.045, 38, 30.0),
    "forward-forward": ("forward-forward", "", 0.9470, 0.14, 0.195, 38, 36.0),
}
SEEDS = (0, 1, 2, 3, 4)
QUICK = rulesets.load("quick")
NO_ENERGY = "no NVIDIA GPU, and RAPL cannot be read; try: bpfree doctor"


PATIENCE = QUICK.stop.patience or 0


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
    return {"lr": 0.003 * float(np.exp(rng.normal(0, 0.3))), "weight_decay": 1e-5 * float(np.exp(rng.normal(0, 0.3)))}


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
    """One valid record; what is null has its reason."""
    algorithm, variant, final, rate, pass_s, passes, watts = ARMS.get(arm, (arm, "", 0.95, 0.3, 0.06, 30, 32.0))
    noise = np.random.default_rng(1000 + seed).normal(0, 0.004) + np.random.default_rng([seed, sum(arm.encode())]).normal(
        0, 0.002
    )
    passes = max(passes + seed - 2, 3)
    time_s = pass_s * passes * (1 + 0.03 * seed)
    joules = watts * time_s if energy else None
    accuracy = round(final + noise, 4) if status == "ok" else None
    reasons = {
        "inference": "not asked for; measure it with: bpfree measure inference MODEL",
        "time_to_target_s": "the ruleset names no target accuracy",
        "energy_to_target_j": "the ruleset names no target accuracy",
        "flops.orthogonalisation": "this rule does not orthogonalise",
        "memory.gradients": "gradients of closed-form rules live inside the step",
    }
    if not energy:
        reasons |= dict.fromkeys(
            (
                "energy",
                "co2e_g",
                "carbon.source",
                "carbon.year",
                "tuning_energy.joules",
                "tuning_energy.method",
            ),
            NO_ENERGY,
        ) | {"carbon.g_per_kwh": "nothing to multiply: no joules"}
    if status != "ok":
        reasons |= dict.fromkeys(("test_accuracy", "val_accuracy"), f"the run {status}")
    passed = history(final + noise, rate, passes, time_s / passes, watts if energy else None, seed)
    record = {
        "schema": 1,
        "arm": arm,
        "algorithm": algorithm,
        "variant": variant,
        "params": tuned_params(arm, dataset, net)
        | ({"schedule": variant.rpartition("=")[2] or "joint"} if algorithm == "mono-forward" else {}),
        "dataset": dataset,
        "split": "sha256:1234",
        "net": net,
        "n_params": 84746,
        "n_aux_params": 0 if algorithm == "backprop" else 5120,
        "seed": seed,
        "ruleset_digest": digest,
        "plan": {
            "command": "bpfree compare --seeds 5 --out runs/x",
            "arms": list(arms),
            "seeds": list(SEEDS),
            "n_train": 1078,
        },
        "status": status,
        "reasons": reasons,
        "val_accuracy": accuracy and max(entry["val_accuracy"] for entry in passed),
        "test_accuracy": accuracy,
        "passes": passes,
        "forward_passes": 1.0 * passes,
        "time_s": time_s,
        "eval_time_s": time_s * 0.1,
        "energy": {
            "joules": joules,
            "net_joules": joules and joules * 0.6,
            "method": "nvml-counter" if energy else None,
            "scope": "gpu" if energy else None,
            "measured": energy,
            "resolved": energy,
            "sources": {"nvml:0": joules} if energy else {},
        },
        "co2e_g": joules and joules / 3.6e6 * 381,
        "carbon": {
            "g_per_kwh": 381.0 if energy else None,
            "pue": 1.0,
            "source": "CodeCarbon 3.0" if energy else None,
            "year": 2023 if energy else None,
        },
        "tuning_energy": {
            "joules": 8 * 15 * pass_s * watts if energy else None,
            "time_s": 8 * 15 * pass_s,
            "trials": 8,
            "passes": 120,
            "method": "nvml-counter" if energy else None,
        },
        "inference": None,
        "time_to_target_s": None,
        "energy_to_target_j": None,
        "flops": {
            "train_step": 32_500_000 if algorithm == "backprop" else 28_100_000,
            "evaluation": 10_800_000,
            "orthogonalisation": None,
            "batch_size": 64,
            "method": "FlopCounterMode",
        },
        "peak_memory_bytes": 2_310_144 if algorithm == "backprop" else 1_904_640,
        "memory": {
            "weights": 338984,
            "auxiliary": 20480,
            "gradients": None,
            "optimiser": 677968,
            "activations": 131072,
            "feature_cache": 0,
            "method": "dispatch mode",
        },
        "tier": "eager",
        "maths": "autograd" if algorithm == "backprop" else "closed",
        "history": passed,
        "environment_digest": "env-1",
        "started_at": "2026-11-21T08:00:00Z",
        "versions": {"bpfree": "0.1.0", "torch": "2.8.0"},
    }
    return Record.model_validate(record | changes)


def tuned_entry(arm: str, dataset: str = "digits", net: str = "mlp:2x256", energy: bool = False) -> dict[str, Any]:
    """What the search of one arm found, as the harness writes it."""
    return {
        "arm": arm,
        "dataset": dataset,
        "net": net,
        "algorithm": ARMS.get(arm, (arm,))[0],
        "best": tuned_params(arm, dataset, net),
        "trials": 8,
        "passes_per_trial": 15,
        "best_val_accuracy": 0.9766,
        "time_s": 8.2,
        "joules": 250.0 if energy else None,
        "space": {"lr": "loguniform 1e-5..1e-2", "weight_decay": "loguniform 1e-6..1e-3"},
        "at_edge": ["weight_decay"] if arm == "forward-forward" else [],
    }


def write_run(
    path: Path,
    records: Sequence[Record],
    ruleset: rulesets.Ruleset = QUICK,
    tuned: Sequence[dict[str, Any]] | None = None,
) -> Path:
    """A run directory that holds ``records``."""
    path.mkdir(parents=True, exist_ok=True)
    rulesets.save(ruleset, path / "ruleset.yaml")
    facts = {
        "cpu": "AMD EPYC 7B13",
        "cores": 2,
        "memory_bytes": 8_589_934_592,
        "gpu": None,
        "os": "Linux 6.1",
        "python": "3.12.4",
        "packages": {"torch": "2.8.0+cpu", "numpy": "2.4.6"},
    }
    (path / "environment.json").write_text(json.dumps({"env-1": facts}))
    for record in records:
        append_record(path / "records.jsonl", record)
    if tuned is not None:
        (path / "tuned.json").write_text(json.dumps(list(tuned)))
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
