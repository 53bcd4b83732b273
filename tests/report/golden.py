"""The runs of the golden report: no two of its numbers agree by chance, so that none can stand in for another.

Two rulesets share a cell; there are two nets and two data sets; energies move against times; seeds are skewed, so that no median
is a mean; one arm reaches exactly the target, one ties with the baseline but has no energy in one run, one lost two runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bpfree import rulesets
from bpfree.meter import CarbonFactor
from bpfree.records import Inference, InferenceAt, Record
from tests.report.conftest import QUICK, counted, make_record, tuned_entry, with_energy, write_run

FIRST = QUICK.with_changes(max_passes=6, patience=2)
SECOND = QUICK.with_changes(max_passes=7, patience=2)
FACTOR = CarbonFactor(g_per_kwh=360.0, year=2025, source="by hand")
"""360 g a kilowatt-hour is 1e-4 g a joule."""

LARGE, SMALL, OTHER = ("digits", "mlp:2x8"), ("digits", "mlp:1x8"), ("mnist", "mlp:2x8")
ARMS = ("mono-forward", "backprop", "pepita", "forward-forward")
"""As the command named them: the baseline is not the first."""

SHORT, LONG = (0.7, 0.92, 0.91, 0.9), (0.6, 0.7, 0.8, 0.95, 0.94, 0.93)
EXACT = (0.5, 0.9, 0.9, 0.9)
EARLY, LATE = (0.91, 0.9, 0.89), (0.8, 0.85, 0.95, 0.94, 0.93)
MISSED, REACHED = (0.3, 0.4, 0.4, 0.4), (0.5, 0.6, 0.9, 0.8, 0.8)
"""Validation accuracies by pass; each ends two passes after its best, as the patience of the rulesets says."""

Run = tuple[int, float, float, float | None, float, Sequence[float]]
"""Seed, test accuracy, seconds, gross and net joules, validation accuracies."""

RUNS: Mapping[tuple[str, str], Mapping[str, Sequence[Run]]] = {
    LARGE: {
        "backprop": (
            (0, 0.90, 10.0, 100.0, 60.0, SHORT),
            (1, 0.92, 20.0, 200.0, 150.0, SHORT),
            (2, 0.91, 40.0, 400.0, 300.0, SHORT),
            (3, 0.95, 120.0, 1200.0, 690.0, LONG),
        ),
        "mono-forward": (
            (0, 0.92, 20.0, 50.0, 20.0, EXACT),
            (1, 0.95, 80.0, 50.0, 30.0, EXACT),
            (2, 0.93, 80.0, 200.0, 100.0, EXACT),
            (3, 1.00, 480.0, 300.0, 170.0, EXACT),
        ),
        "pepita": (
            (0, 0.90, 10.0, 100.0, 60.0, EARLY),
            (1, 0.92, 20.0, 200.0, 150.0, EARLY),
            (2, 0.91, 40.0, None, 0.0, LATE),
            (3, 0.95, 120.0, 1200.0, 690.0, LATE),
        ),
        "forward-forward": (
            (0, 0.80, 30.0, 300.0, 30.0, MISSED),
            (1, 0.78, 50.0, 800.0, 40.0, REACHED),
        ),
    },
    SMALL: {
        "backprop": ((0, 0.80, 6.0, 10.0, 5.0, SHORT), (1, 0.84, 12.0, 30.0, 15.0, SHORT)),
        "mono-forward": ((0, 0.85, 3.0, 40.0, 10.0, EXACT), (1, 0.88, 9.0, 150.0, 20.0, EXACT)),
    },
    OTHER: {
        "backprop": (
            (0, 0.70, 2.0, 8.0, 4.0, SHORT), (1, 0.60, 2.0, 8.0, 4.0, SHORT), (2, 0.65, 2.0, 8.0, 4.0, SHORT),
        ),
        "mono-forward": (
            (0, 0.720, 5.0, 2.0, 1.0, EXACT), (1, 0.621, 5.0, 2.0, 1.0, EXACT), (2, 0.672, 5.0, 2.0, 1.0, EXACT),
        ),
    },
}  # fmt: skip

SECOND_RUNS = {
    "backprop": ((0, 0.50, 1.0, 5.0, 2.0, SHORT), (1, 0.54, 1.0, 5.0, 2.0, SHORT)),
    "mono-forward": ((0, 0.60, 7.0, 45.0, 3.0, EXACT), (1, 0.66, 7.0, 45.0, 3.0, EXACT)),
}
"""Of the same cells as the first two seeds of ``LARGE``, under the other ruleset."""

FLOPS = {"backprop": 3_000_000, "mono-forward": 2_000_000, "pepita": 4_000_000, "forward-forward": 5_000_000}
STEP_FLOPS = {"backprop": 3_500_000, "mono-forward": 2_000_000, "pepita": 4_500_000, "forward-forward": 5_500_000}
"""Of a run over its steps, with even seeds."""
EVALUATION = {"backprop": 10, "mono-forward": 4, "pepita": 10, "forward-forward": 2}
"""The share of validation in the time, as its divisor."""
CPU = {"backprop": 0.5, "mono-forward": 0.75, "pepita": 0.5, "forward-forward": 2.0}
"""Processor seconds a second."""
MEMORY = {"backprop": 4096, "mono-forward": 3072, "pepita": 5120, "forward-forward": 6144}
"""Of seed 0; each further seed has 10 operations and 1 byte more; validation has twice the bytes, and 3 more for a seed."""


def record(rules: rulesets.Ruleset, task: tuple[str, str], arm: str, run: Run, **changes: Any) -> Record:
    """One run as the harness writes it, with chosen numbers."""
    seed, accuracy, time_s, joules, net_joules, validation = run
    dataset, net = task
    blank = make_record(arm, seed, energy=joules is not None, dataset=dataset, net=net, digest=rulesets.digest(rules))
    passes = len(validation)
    history = [
        {"passes": k, "phase": 0, "train_loss": 1 / k + seed, "val_accuracy": value, "time_s": time_s * k / passes,
         "joules": None if joules is None else joules * k / passes, "flops": flops_of_run(arm, seed, 10 * k)["run_total"]}
        for k, value in enumerate(validation, start=1)
    ]  # fmt: skip
    arms, seeds = list(RUNS[task]), [each[0] for each in RUNS[task]["backprop"]]
    return Record.model_validate(
        blank.model_dump(by_alias=True)
        | ({} if joules is None else with_energy(joules, net_joules, FACTOR))
        | {
            "plan": blank.plan | {"arms": [each for each in ARMS if each in arms], "seeds": seeds},
            "test_accuracy": accuracy,
            "by_class": None,
            "val_accuracy": max(validation),
            "passes": passes,
            **counted(passes),
            "steps": 10 * passes,
            "examples_seen": 77 * passes,
            "time_s": time_s,
            "eval_time_s": time_s / EVALUATION[arm],
            "cpu_s": time_s * CPU[arm],
            "other_load": 0.01 * (seed + 1),
            "history": history,
            "flops": {
                **blank.model_dump()["flops"],
                "train_step": FLOPS[arm] + 10 * seed,
                **flops_of_run(arm, seed, 10 * passes),
            },
            "peak_memory_bytes": MEMORY[arm] + seed,
            "evaluation_peak_bytes": 2 * MEMORY[arm] + 3 * seed,
            "inference": inference(seed) if arm == "mono-forward" else None,
        }
        | changes
    )


def flops_of_run(arm: str, seed: int, steps: int) -> dict[str, int]:
    """Of all steps, and of one; Mono-Forward has twice the operations with odd seeds."""
    step = STEP_FLOPS[arm] * (1 + seed % 2 if arm == "mono-forward" else 1)
    return {"mean_step": step, "run_total": step * steps}


def inference(seed: int) -> Inference:
    """Latencies of 1, 2, ... ms for one example, 10, 20, ... ms for 128; each field another multiple."""
    at = {
        size: InferenceAt(
            latency_p50_s=unit * (seed + 1), latency_p95_s=3 * unit * (seed + 1), images_per_s=7 * int(size) * (seed + 1),
            joules_per_1000=5 * int(size) * (seed + 1), n_calls=40,
        )
        for size, unit in (("1", 0.001), ("128", 0.01))
    }  # fmt: skip
    return Inference(batch_size=128, latency_s=1.0, joules_per_1000=2.0, by_batch=at)


def lost_runs() -> list[Record]:
    """Forward-Forward with seed 2 diverged and seed 3 failed; their times and energies must count nowhere."""
    run: Run = (2, 0.99, 1000.0, 9999.0, 9999.0, (0.2,))
    why = {"test_accuracy": "lost", "val_accuracy": "lost"}
    none: dict[str, Any] = {"test_accuracy": None, "val_accuracy": None}
    made = []
    for seed, status in ((2, "diverged"), (3, "failed")):
        whole = record(FIRST, LARGE, "forward-forward", (seed, *run[1:]))
        reasons = whole.reasons | why | {"status": f"as {status}"}
        made.append(record(FIRST, LARGE, "forward-forward", (seed, *run[1:]), status=status, reasons=reasons, **none))
    return made


def write_first(path: Path) -> Path:
    """The run directory of the golden report: three tasks under one ruleset."""
    records = [
        record(FIRST, task, arm, run) for task, arms in RUNS.items() for arm in reversed(arms) for run in reversed(arms[arm])
    ]
    tuned = [tuned_entry(arm, *task, energy=True) for task, arms in RUNS.items() for arm in arms if arm != "pepita"]
    return write_run(path, [*lost_runs(), *records], FIRST, tuned)


def write_second(path: Path) -> Path:
    """The other ruleset, with cells that the first has too."""
    return write_run(path, [record(SECOND, LARGE, arm, run) for arm, runs in SECOND_RUNS.items() for run in runs], SECOND)
