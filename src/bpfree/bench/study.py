"""The search for one arm's hyper-parameters: Optuna's TPE on the validation split, the same number of trials for every arm.

The state is the journal. The sampler of each trial is seeded from the study's name and the number of finished trials, and a
trial that was killed is enqueued again with its values, so a resumed search is the same search, bit for bit (one worker).
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from bpfree.bench.arm import Arm
from bpfree.bench.measure import Setting
from bpfree.bench.spaces import space_for
from bpfree.records import HistoryEntry, TuningCost
from bpfree.train import Progress, best_of, initialise, stop_in, training

__all__ = ["Tuned", "open_storage", "search"]

SEARCH_SEEDS = 1_000_000
"""Trial t trains with seed SEARCH_SEEDS + t, for every arm the same; measured runs use small seeds, so theirs are fresh."""


SAMPLER_SEED = "sha256 of STUDY/TRIAL, first 4 bytes; STUDY is ARM@DATASET@NET"
"""How the sampler of each trial is seeded, as it stands beside its arguments."""


@dataclass(frozen=True)
class Tuned:
    """Outcome of a search."""

    arm: Arm
    best: dict[str, float]
    best_val_accuracy: float
    cost: TuningCost
    row: dict[str, Any]


def open_storage(journal: Path) -> optuna.storages.BaseStorage:
    """The journal of a run directory."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return JournalStorage(JournalFileBackend(str(journal)))


def _seed(study_name: str, index: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{study_name}/{index}".encode()).digest()[:4], "big")


def search(
    setting: Setting,
    arm: Arm,
    storage: optuna.storages.BaseStorage,
    *,
    on_pass: Callable[[Progress], None] = lambda _: None,
    on_trial: Callable[[int, float], None] = lambda _n, _v: None,
) -> Tuned:
    """Run what is left of the search for ``arm`` and return the best values."""
    rules = setting.ruleset.for_arm(arm.label, setting.data.name, setting.net)
    space = space_for(arm)
    name = f"{arm.label}@{setting.data.name}@{setting.net}"
    study = optuna.create_study(
        study_name=name, storage=storage, direction="maximize", load_if_exists=True,
        pruner=optuna.pruners.NopPruner(), sampler=optuna.samplers.RandomSampler(seed=0),
    )  # fmt: skip
    _enqueue_killed(study)
    finished = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    for index in range(finished, rules.search.trials):
        study.sampler = _sampler(rules.search.sampler.arguments(), _seed(name, index))
        trial = study.ask()
        values = {key: bounds.suggest(trial, key) for key, bounds in space.items()}
        value, attributes = _run_trial(setting, arm, values, index, on_pass)
        for key, attribute in attributes.items():
            trial.set_user_attr(key, attribute)
        study.tell(trial, value)
        on_trial(index, value)
    examples = rules.trial_examples(setting.data.n("train"), setting.data.n_classes)
    tuned = _outcome(study, arm, space, rules.trial_passes(setting.data.name), examples)
    tuned.row["sampler"] = rules.search.sampler.model_dump() | {"seed": SAMPLER_SEED}
    return tuned


def _sampler(arguments: dict[str, Any], seed: int) -> optuna.samplers.TPESampler:
    with warnings.catch_warnings():
        # Optuna deprecates naming arguments whose defaults it likes; we name them because defaults have changed before.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, **arguments)


def _enqueue_killed(study: optuna.Study) -> None:
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)


def _run_trial(
    setting: Setting, arm: Arm, values: dict[str, float], index: int, on_pass: Callable[[Progress], None]
) -> tuple[float, dict[str, Any]]:
    rules = setting.ruleset.for_arm(arm.label, setting.data.name, setting.net)
    algorithm = arm.under(rules).build(values)
    net = setting.build_net()
    blind = setting.data.without_test()
    blind = blind.limited(rules.trial_examples(blind.n("train"), blind.n_classes))
    seed = SEARCH_SEEDS + index
    state = initialise(algorithm, net, seed, setting.device)
    stop = setting.ruleset.stop_rule(arm.label, setting.data.name, setting.net, trial=True)
    history: list[HistoryEntry] = []
    diverged = False
    with setting.meter.window() as window:
        for progress in training(
            algorithm, net, blind, stop, batch_size=rules.batch_size, seed=seed,
            lr_schedule=rules.lr_schedule, state=state, clock=window,
        ):  # fmt: skip
            history.append(progress.entry)
            diverged = progress.diverged
            on_pass(progress)
    reading = window.reading
    assert reading is not None
    last_phase = algorithm.phases(net)[history[-1].phase]
    best = None if diverged else best_of(history, stop_in(stop, last_phase))
    attributes = {
        "passes": history[-1].passes,
        "time_s": reading.time_s,
        "joules": reading.joules,
        "method": reading.method,
        "diverged": diverged,
    }
    return (0.0 if best is None else best), attributes


def _outcome(study: optuna.Study, arm: Arm, space: dict[str, Any], passes_per_trial: int, examples_per_trial: int) -> Tuned:
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    best = max(trials, key=lambda trial: (trial.value if trial.value is not None else -math.inf, -trial.number))
    joules = [trial.user_attrs["joules"] for trial in trials]
    known = [j for j in joules if j is not None]
    cost = TuningCost(
        joules=math.fsum(known) if len(known) == len(joules) else None,
        time_s=math.fsum(trial.user_attrs["time_s"] for trial in trials),
        trials=len(trials),
        passes=sum(trial.user_attrs["passes"] for trial in trials),
        method=trials[0].user_attrs["method"],
    )
    _, dataset, net = study.study_name.rsplit("@", 2)
    row = {
        "arm": arm.label,
        "algorithm": arm.algorithm,
        "dataset": dataset,
        "net": net,
        "best": dict(best.params),
        "best_val_accuracy": best.value,
        "trials": len(trials),
        "diverged_trials": sum(trial.user_attrs["diverged"] for trial in trials),
        "passes_per_trial": passes_per_trial,
        "examples_per_trial": examples_per_trial,
        "time_s": cost.time_s,
        "joules": cost.joules,
        "space": {name: str(bounds) for name, bounds in space.items()},
        "at_edge": [name for name, bounds in space.items() if bounds.at_edge(best.params[name])],
    }
    return Tuned(arm, dict(best.params), float(best.value or 0.0), cost, row)
