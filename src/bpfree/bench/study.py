"""The one search of a ruleset with a single study: on the validation split, the same number of trials for every arm.

The state is the journal. A trial's seed and the point that it tries are functions of its number (a quasi-random sequence), or of
its number and the finished trials (TPE), and a trial that was killed is begun again, so a resumed search is the same search, bit
for bit (one worker).
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from bpfree.bench.arm import Arm
from bpfree.bench.draws import SEARCH_SEEDS, Sequence, sequence_number, trial_seed
from bpfree.bench.outcome import Tried, Tuned, tuned_of
from bpfree.bench.setting import Setting
from bpfree.bench.spaces import distribution, space_for
from bpfree.records import HistoryEntry
from bpfree.rulesets import Range, Ruleset, Sampler
from bpfree.rulesets.ranges import all_names
from bpfree.train import Progress, best_of, initialise, stop_in, training

__all__ = ["SEARCH_SEEDS", "Proposals", "Tuned", "finished_trials", "open_storage", "open_study", "search"]

TPE_SEED = "sha256 of STUDY/TRIAL, first 4 bytes; STUDY is ARM@DATASET@NET"
QMC_SEED = "the number of the study, the same for every arm"
"""How the sampler is seeded, as it stands beside its arguments."""


def open_storage(journal: Path) -> optuna.storages.BaseStorage:
    """The journal of a run directory."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return JournalStorage(JournalFileBackend(str(journal)))


def open_study(storage: optuna.storages.BaseStorage, setting: Setting, arm: Arm, study: int | None) -> optuna.Study:
    """The study of an arm on these data (known by digest, so that another file of the same name has a study of its own).

    A trial that was running when the process died is given up; its number is tried again.
    """
    name = f"{arm.label}@{setting.data.name}@{setting.net}@data {setting.data.data_digest[:16]}"
    if study is not None:
        name += f"@split {setting.split_seed}@study {study}"
    opened = optuna.create_study(
        study_name=name,
        storage=storage,
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.NopPruner(),
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    for trial in opened.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        opened.tell(trial.number, state=TrialState.FAIL)
    return opened


def finished_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Those that were completed, in order: number ``t`` of the search is the t-th of them."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


class _Given(optuna.samplers.BaseSampler):
    """Gives the values that it was made with."""

    def __init__(self, values: dict[str, float], space: dict[str, Range]) -> None:
        self._values, self._space = values, {name: distribution(bounds) for name, bounds in space.items()}

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        del study, trial
        return dict(self._space)

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        del study, trial, search_space
        return dict(self._values)

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        raise AssertionError(f"{param_name} was not given")


class Proposals:
    """What trial after trial of a study tries.

    Args:
        study: its number; 0 for the one search.
    """

    def __init__(self, setting: Setting, arm: Arm, study: int) -> None:
        self._rules: Ruleset = setting.arm_rules(arm).rules
        self.space = space_for(self._rules, arm)
        number = sequence_number(study, split_seed=setting.split_seed, control=arm.control)
        names = all_names(self._rules.search.spaces or {})
        self._sequence = None if isinstance(self._rules.search.sampler, Sampler) or not names else Sequence(names, number)

    @property
    def words(self) -> dict[str, Any]:
        """The sampler and how it is seeded, as it stands beside what was found."""
        sampler = self._rules.search.sampler
        return sampler.model_dump() | {"seed": TPE_SEED if isinstance(sampler, Sampler) else QMC_SEED}

    def ask(self, study: optuna.Study, index: int) -> tuple[optuna.Trial, dict[str, float]]:
        """Begin trial ``index`` and say what it tries."""
        sampler = self._rules.search.sampler
        if isinstance(sampler, Sampler):
            study.sampler = _tpe(sampler.arguments(), _seed(study.study_name, index))
        else:
            study.sampler = _Given(self._sequence.values(index, self.space) if self._sequence else {}, self.space)
        trial = study.ask()
        return trial, {name: trial.suggest_float(name, bounds.low, bounds.high, log=True) for name, bounds in self.space.items()}


def _seed(study_name: str, index: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{study_name}/{index}".encode()).digest()[:4], "big")


def _tpe(arguments: dict[str, Any], seed: int) -> optuna.samplers.TPESampler:
    with warnings.catch_warnings():
        # Optuna deprecates naming arguments whose defaults it likes; we name them because defaults have changed before.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, **arguments)


def search(
    setting: Setting,
    arm: Arm,
    storage: optuna.storages.BaseStorage,
    *,
    on_pass: Callable[[Progress], None] = lambda _: None,
    on_trial: Callable[[int, float], None] = lambda _n, _v: None,
) -> Tuned:
    """Run what is left of the search for ``arm`` and return the best values; nothing is run where the rules search nothing."""
    proposals = Proposals(setting, arm, 0)
    study = open_study(storage, setting, arm, None)
    for index in range(len(finished_trials(study)), setting.arm_rules(arm).trials):
        trial, values = proposals.ask(study, index)
        value, attributes = _run_trial(setting, arm, values, index, on_pass)
        for key, attribute in attributes.items():
            trial.set_user_attr(key, attribute)
        study.tell(trial, value)
        on_trial(index, value)
    tried = [Tried.of_trial(trial) for trial in finished_trials(study)]
    return tuned_of(setting, arm, tried, proposals.space, proposals.words)


def _run_trial(
    setting: Setting, arm: Arm, values: dict[str, float], index: int, on_pass: Callable[[Progress], None]
) -> tuple[float, dict[str, Any]]:
    under = setting.arm_rules(arm)
    rules = under.rules
    algorithm = under.chosen.build(values)
    net = setting.build_net()
    blind = setting.data.without_test()
    blind = blind.limited(rules.trial_examples(blind.n("train"), blind.n_classes))
    seed = trial_seed(index, control=arm.control)
    state = initialise(algorithm, net, seed, setting.device)
    stop = under.stop(trial=True)
    history: list[HistoryEntry] = []
    diverged = False
    with setting.meter.window() as window:
        for progress in training(
            algorithm,
            net,
            blind,
            stop,
            batch_size=rules.batch_size,
            seed=seed,
            lr_schedule=rules.lr_schedule,
            state=state,
            clock=window,
        ):
            history.append(progress.entry)
            diverged = progress.diverged
            on_pass(progress)
    reading = window.reading
    assert reading is not None
    last_phase = algorithm.phases(net)[history[-1].phase]
    best = None if diverged else best_of(history, stop_in(stop, last_phase), rules.search.metric)
    attributes = {
        "seed": seed,
        "passes": history[-1].passes,
        "time_s": reading.time_s,
        "joules": reading.joules,
        "method": reading.method,
        "diverged": diverged,
    }
    return (0.0 if best is None else best), attributes
