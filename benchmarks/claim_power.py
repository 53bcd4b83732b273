# ruff: noqa: T201
"""Which ranges, studies S and points T tell .3 points apart: power of the claim protocol, from the searches on record.

    python benchmarks/claim_power.py            # half a minute; prints three tables, writes nothing, trains nothing

Curves of accuracy against learning rate are fitted to the short trials in the ``study.journal`` of the shipped results; the
spread of runs over seeds is that of their ``records.jsonl``. What the records cannot tell is assumed, and said so:

- The optimum of a run lies below that of a trial by the square root of the ratio of their steps.
- Its fall towards large rates is set by one pair of runs of one rule at two rates (``FALLS``).
- Its fall towards small rates is that of the trials.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import optimize

from bpfree import stats
from bpfree.stats.search_noise import RateCurve, Surrogate, protocol_power, quick_protocol

RESULTS = Path(__file__).parent / "results" / "history"
ARMS = ("backprop", "deep-supervision", "mono-forward", "mono-forward:schedule=staged")
"""Arms whose curves are alike; Forward-Forward's has another shape."""

HALF_WIDTH = 0.4
"""Of the plateau, in decades: as good a fit as any from 0.2 to 0.5."""

SMALLEST = -4.2
"""Trials at smaller rates (log10) lie far down the slope and would bend the fit."""

TRIAL_STEPS, RUN_STEPS = 10 * 79, 30 * 422
CLAIM_STEPS = 15 * 422
"""Steps of a trial and of a run on record, and of a run of the planned claims: batches of 128."""

FALLS = {
    # log10 of the larger rate, and the fall of test accuracy there against the same rule on the plateau, seeds 0 to 2.
    "mnist-mlp-2x1000": (math.log10(3.61e-3), 0.0039),  # staged Mono-Forward, against 6.9e-4
    "fashion-mnist-mlp-2x1000": (math.log10(3.57e-3), 0.0133),  # deep supervision, against 3.02e-4
}
RANGES = ((1e-5, 1e-2), (1e-4, 3e-3), (1e-4, 1e-3))
DESIGNS = ((5, 3), (5, 5), (6, 3), (7, 3), (10, 3))
"""Studies S and points T."""
DIFFERENCE = 0.003
N_RIVALS = 3


@dataclass(frozen=True)
class Trial:
    """One trial of a search: arm, log10 of the learning rate, validation accuracy (a fraction)."""

    arm: str
    log_lr: float
    accuracy: float


def trials_of(journal: Path) -> list[Trial]:
    """The finished trials of the arms in ``ARMS``, from Optuna's journal."""
    studies: list[str] = []
    rows: list[dict[str, float | str]] = []
    for line in journal.read_text().splitlines():
        entry = json.loads(line)
        match entry["op_code"]:
            case 0:
                studies.append(entry["study_name"])
            case 4:
                rows.append({"arm": studies[entry["study_id"]].partition("@")[0]})
            case 5 if entry["param_name"] == "lr":
                rows[entry["trial_id"]]["log_lr"] = math.log10(entry["param_value_internal"])
            case 6 if entry.get("values"):
                rows[entry["trial_id"]]["accuracy"] = entry["values"][0]
    return [
        Trial(str(row["arm"]), float(row["log_lr"]), float(row["accuracy"]))
        for row in rows
        if row["arm"] in ARMS and "accuracy" in row and float(row["log_lr"]) > SMALLEST
    ]


def fitted(trials: list[Trial]) -> tuple[RateCurve, float]:
    """One curve for all arms, with a top for each, by least squares; and the standard deviation of the residuals."""
    arms = sorted({trial.arm for trial in trials})
    of_arm = np.array([arms.index(trial.arm) for trial in trials])
    x, y = np.array([trial.log_lr for trial in trials]), np.array([trial.accuracy for trial in trials])

    def residuals(p: np.ndarray) -> np.ndarray:
        curve = RateCurve(top=1.0, optimum=p[0], half_width=HALF_WIDTH, below=p[1], above=p[2])
        return y - (p[3:][of_arm] - (1.0 - curve.accuracy(x)))

    fit = optimize.least_squares(residuals, [-3.0, 0.02, 0.01, *[float(y.max())] * len(arms)])
    optimum, below, above = (float(value) for value in fit.x[:3])
    spread = math.sqrt(float((fit.fun**2).sum()) / (len(trials) - len(fit.x)))
    return RateCurve(top=float(fit.x[3:].mean()), optimum=optimum, half_width=HALF_WIDTH, below=below, above=above), spread


def spread_of_runs(records: Path, quantity: str, arms: tuple[str, ...] = ARMS) -> float:
    """Standard deviation over seeds at fixed hyper-parameters, pooled over the arms."""
    values: dict[str, list[float]] = {}
    for line in records.read_text().splitlines():
        record = json.loads(line)
        if record["arm"] in arms and record["status"] == "ok":
            values.setdefault(record["arm"], []).append(record[quantity])
    return math.sqrt(float(np.mean([np.var(column, ddof=1) for column in values.values()])))


def surrogate_of(name: str, steps: int = RUN_STEPS, arms: tuple[str, ...] = ARMS) -> Surrogate:
    """Curves and noise of one shipped directory, for runs of so many steps; the noise of runs is that of ``arms``."""
    directory = RESULTS / name
    trial, trial_se = fitted(trials_of(directory / "study.journal"))
    # The fall was measured on runs of RUN_STEPS.
    measured_optimum = trial.optimum - math.log10(RUN_STEPS / TRIAL_STEPS) / 2
    larger, fall = FALLS[name]
    above = fall / (larger - measured_optimum - HALF_WIDTH) ** 2
    optimum = trial.optimum - math.log10(steps / TRIAL_STEPS) / 2
    top = {"mnist-mlp-2x1000": 0.983, "fashion-mnist-mlp-2x1000": 0.893}[name]
    return Surrogate(
        trial=trial,
        run=RateCurve(top=top, optimum=optimum, half_width=HALF_WIDTH, below=trial.below, above=above),
        trial_se=trial_se,
        validation_se=spread_of_runs(directory / "records.jsonl", "val_accuracy", arms),
        seed_sd=spread_of_runs(directory / "records.jsonl", "test_accuracy", arms),
    )


def quick_false_claims(surrogate: Surrogate, n_comparisons: int = 400) -> float:
    """Share of comparisons of four identical arms in which one short search each gives a "better" or "worse"."""
    accuracies = quick_protocol(np.random.default_rng(0), surrogate, n_comparisons=n_comparisons, n_arms=N_RIVALS + 1)
    claims = 0
    for values in accuracies:
        family = stats.compare_family({str(arm): runs for arm, runs in enumerate(values)}, "0", margin=0.0025)
        claims += any(compared.verdict.word in ("better", "worse") for compared in family.values())
    return claims / n_comparisons


def print_power(surrogate: Surrogate) -> None:
    """Power at ``DIFFERENCE`` for some ranges, S and T: of a single rival, and of the strictest of three under Holm."""
    strict = 0.05 / N_RIVALS
    print(f"{'lr':>14} {'S':>3} {'T':>2} {'shortfall':>9} {'sd':>5}   one rival     strictest of {N_RIVALS} under Holm")
    for (low, high), (n_studies, n_points) in itertools.product(RANGES, DESIGNS):
        design = {"low": low, "high": high, "n_studies": n_studies, "n_points": n_points, "difference": DIFFERENCE}
        one, holm = (protocol_power(surrogate, **design, alpha=alpha) for alpha in (0.05, strict))
        words = "   ".join(f"{100 * power.least_detectable:.2f} ({power.power:.2f})" for power in (one, holm))
        print(f"{low:.0e}..{high:.0e} {n_studies:3} {n_points:2} {100 * one.shortfall:9.2f} {100 * one.sd:5.2f}   {words}")


def main() -> int:
    """Print what was fitted, and the tables."""
    print(f"Least difference in points that is shown with a chance of .8 (and the chance to show {100 * DIFFERENCE:g} points)")
    for name, arms in (("mnist-mlp-2x1000", ("backprop",)), ("mnist-mlp-2x1000", ARMS), ("fashion-mnist-mlp-2x1000", ARMS)):
        run = surrogate_of(name, arms=arms)
        print(f"\n{name}, noise of {', '.join(arms)}\n{run}")
        claims = 100 * quick_false_claims(run)
        print(f"Four identical arms, one short search each: false claims in {claims:.0f} % of comparisons")
        print_power(surrogate_of(name, CLAIM_STEPS, arms))
    return 0


if __name__ == "__main__":
    sys.exit(main())
