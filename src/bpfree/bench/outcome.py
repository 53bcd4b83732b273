"""What a search found: the trials, the best of them, what it all cost, and its row of ``tuned.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from bpfree.bench.arm import Arm
from bpfree.bench.declared import not_searched
from bpfree.bench.setting import Setting
from bpfree.bench.spaces import fixed_though_searched
from bpfree.records import TuningCost
from bpfree.rulesets import Range

__all__ = ["AT_ONCE", "Tried", "Tuned", "best_trial", "tuned_of"]

AT_ONCE = "not metered: trials of the search ran at once (--jobs), and a device's joules belong to none of them alone"
"""In place of a method, where a search has no joules for this reason."""


@dataclass(frozen=True)
class Tried:
    """One finished trial: its values, its validation accuracy (0 where the loss was not finite), and what it cost.

    Attributes:
        diverged: it has no accuracy, since its loss was not finite or it raised.
        failed: what it raised, as one line; None where it did not.
        at_once: trials that ran at the same time, in so many processes.
        compile_time_s: seconds for which its process compiled, for this trial or an earlier one of the same net; not in
            ``time_s``. None where nothing is compiled.
    """

    values: dict[str, float]
    val_accuracy: float
    seed: int
    passes: int
    time_s: float
    joules: float | None
    method: str | None
    diverged: bool
    failed: str | None = None
    at_once: int = 1
    compile_time_s: float | None = None

    @classmethod
    def of_trial(cls, trial: optuna.trial.FrozenTrial) -> Tried:
        """As it stands in the journal."""
        known = trial.user_attrs
        return cls(
            dict(trial.params),
            float(trial.value or 0.0),
            known["seed"],
            known["passes"],
            known["time_s"],
            known["joules"],
            known["method"],
            known["diverged"],
            known.get("failed"),
            known.get("at_once", 1),
            known.get("compile_time_s"),
        )

    @property
    def attributes(self) -> dict[str, Any]:
        """What is kept of it beside values and accuracy."""
        names = ("seed", "passes", "time_s", "joules", "method", "diverged")
        attributes = {name: getattr(self, name) for name in names}
        if self.failed is not None:
            attributes["failed"] = self.failed
        if self.at_once > 1:
            attributes["at_once"] = self.at_once
        if self.compile_time_s is not None:
            attributes["compile_time_s"] = self.compile_time_s
        return attributes


def best_trial(tried: Sequence[Tried]) -> int:
    """Number of the trial that is best on validation; of several, the earliest; a diverged one only where all are."""
    return max(range(len(tried)), key=lambda t: (not tried[t].diverged, tried[t].val_accuracy, -t))


@dataclass(frozen=True)
class Tuned:
    """Outcome of a search; ``cost`` is None where nothing was searched."""

    arm: Arm
    best: dict[str, float]
    best_val_accuracy: float
    cost: TuningCost | None
    row: dict[str, Any]


def tuned_of(
    setting: Setting,
    arm: Arm,
    tried: Sequence[Tried],
    space: Mapping[str, Range],
    sampler: Mapping[str, Any],
    study: int | None = None,
) -> Tuned:
    """The outcome of the finished trials of one search, in order."""
    under = setting.arm_rules(arm)
    at = best_trial(tried) if tried else None
    best = dict(tried[at].values) if at is not None else {}
    accuracy = tried[at].val_accuracy if at is not None else 0.0
    cost = _cost(tried) if tried else None
    n_train = setting.data.n("train")
    row = {
        "arm": arm.label,
        "algorithm": arm.algorithm,
        "dataset": setting.data.name,
        "data_digest": setting.data.data_digest,
        "split_seed": setting.split_seed,
        "net": setting.net,
        "study": study,
        "control": arm.control,
        "best": best,
        "best_trial": at,
        "best_val_accuracy": accuracy,
        "trials": len(tried),
        "diverged_trials": sum(trial.diverged for trial in tried),
        "failed_trials": sum(trial.failed is not None for trial in tried),
        "passes_per_trial": under.trial_passes,
        "passes_per_run": under.passes,
        "examples_per_trial": under.rules.trial_examples(n_train, setting.data.n_classes),
        "examples_per_run": n_train,
        "n_validation": setting.data.n("validation"),
        "time_s": cost.time_s if cost else 0.0,
        "joules": cost.joules if cost else None,
        "space": {name: str(bounds) for name, bounds in space.items()},
        "at_edge": [name for name, bounds in space.items() if at is not None and bounds.at_edge(best[name])],
        "unequal_search": fixed_though_searched(under.rules, arm),
        "tried": [
            {
                "values": trial.values,
                "val_accuracy": trial.val_accuracy,
                "seed": trial.seed,
                "passes": trial.passes,
                "diverged": trial.diverged,
                **({} if trial.failed is None else {"failed": trial.failed}),
            }
            for trial in tried
        ],
        "sampler": dict(sampler),
        "trials_at_once": max((trial.at_once for trial in tried), default=1),
        "compile_time_s": max((trial.compile_time_s for trial in tried if trial.compile_time_s is not None), default=None),
    }
    if left := not_searched(under.rules, arm):
        row["not_searched"] = left
    return Tuned(arm, best, accuracy, cost, row)


def _cost(tried: Sequence[Tried]) -> TuningCost:
    known = [trial.joules for trial in tried if trial.joules is not None]
    return TuningCost(
        joules=math.fsum(known) if len(known) == len(tried) else None,
        time_s=math.fsum(trial.time_s for trial in tried),
        trials=len(tried),
        passes=sum(trial.passes for trial in tried),
        method=AT_ONCE if any(trial.at_once > 1 for trial in tried) else tried[0].method,
    )
