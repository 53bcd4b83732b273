"""The one search of a ruleset with a single study: on the validation split, the same number of trials for every arm.

The state is the journal, which has the finished trials. A trial's seed and the point that it tries are functions of its number (a
quasi-random sequence, random draws, a grid), or of its number and the finished trials before it (TPE), so a resumed search is the
same search, bit for bit, in however many processes it runs (:mod:`bpfree.bench.parallel`).
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from typing import Any

import optuna

from bpfree.algorithms import Algorithm
from bpfree.bench.arm import Arm
from bpfree.bench.causes import interruption, raise_on, says
from bpfree.bench.draws import SEARCH_SEEDS, Draws, Points, Sequence, sequence_number, trial_seed
from bpfree.bench.journal import add_trial, finished_trials, open_storage
from bpfree.bench.outcome import Tried, Tuned, tuned_of
from bpfree.bench.setting import Setting
from bpfree.bench.spaces import distribution, space_for
from bpfree.bench.storages import namespace
from bpfree.data import Dataset
from bpfree.errors import BpfreeError
from bpfree.nets import Chain
from bpfree.numerics.products import products_in
from bpfree.records import HistoryEntry
from bpfree.rulesets import Grid, QuasiRandom, Random, Ruleset
from bpfree.rulesets.ranges import all_names
from bpfree.train import Progress, best_of, compile_steps, initialise, stop_in

__all__ = [
    "SEARCH_SEEDS",
    "ArmSearch",
    "Proposals",
    "Tuned",
    "finished_trials",
    "open_storage",
    "open_study",
    "run_trial",
    "search",
]

TPE_SEED = "sha256 of STUDY/TRIAL, first 4 bytes; STUDY is ARM@DATASET@NET"
QMC_SEED = "the number of the study, the same for every arm"
RANDOM_SEED = "the numbers of the study and of the trial, the same for every arm but a control"
_SEEDED = {"tpe": {"seed": TPE_SEED}, "qmc": {"seed": QMC_SEED}, "random": {"seed": RANDOM_SEED}, "grid": {}}
"""How the sampler is seeded, as it stands beside its arguments."""


def open_study(storage: optuna.storages.BaseStorage, setting: Setting, arm: Arm, study: int | None) -> optuna.Study:
    """The study of an arm on these data (known by digest, so that another file of the same name has a study of its own)."""
    return optuna.create_study(
        study_name=namespace(storage, setting.ruleset) + _name(setting, arm, study),
        storage=storage,
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.NopPruner(),
        sampler=optuna.samplers.RandomSampler(seed=0),
    )


def _name(setting: Setting, arm: Arm, study: int | None) -> str:
    name = f"{arm.label}@{setting.data.name}@{setting.net}@data {setting.data.data_digest[:16]}"
    return name if study is None else f"{name}@split {setting.split_seed}@study {study}"


class Proposals:
    """What trial after trial of a study tries.

    Args:
        study: its number; 0 for the one search.
    """

    def __init__(self, setting: Setting, arm: Arm, study: int) -> None:
        self._rules: Ruleset = setting.arm_rules(arm).rules
        self._name = _name(setting, arm, study if setting.ruleset.search.studies > 1 else None)
        self.space = space_for(self._rules, arm)
        number = sequence_number(study, split_seed=setting.split_seed, control=arm.control)
        names = all_names(self._rules.search.spaces or {})
        kind = {QuasiRandom: Sequence, Random: Draws}.get(type(self._rules.search.sampler))
        self._points: Points | None = kind(names, number) if kind and names else None

    @property
    def in_order(self) -> bool:
        """Whether a trial needs those before it to be finished, since it is proposed from what they came to."""
        return self._rules.search.sampler.name == "tpe"

    @property
    def words(self) -> dict[str, Any]:
        """The sampler and how it is seeded, as it stands beside what was found."""
        sampler = self._rules.search.sampler
        return sampler.model_dump() | _SEEDED[sampler.name]

    def ask(self, study: optuna.Study, index: int) -> dict[str, float]:
        """What trial ``index`` tries; nothing is written."""
        sampler = self._rules.search.sampler
        if isinstance(sampler, Grid):
            place = sampler.place(index, self._rules.search.trials)
            return {name: bounds.at(place) for name, bounds in self.space.items()}
        if isinstance(sampler, (QuasiRandom, Random)):
            return self._points.values(index, self.space) if self._points else {}
        # In memory: a trial that is begun in the journal would stay there, half a trial, after a kill.
        twin = optuna.create_study(direction="maximize", sampler=_tpe(sampler.arguments(), _seed(self._name, index)))
        twin.add_trials(finished_trials(study))
        trial = twin.ask()
        return {name: trial.suggest_float(name, bounds.low, bounds.high, log=True) for name, bounds in self.space.items()}

    def tell(self, study: optuna.Study, tried: Tried, **attributes: Any) -> None:
        """Write a finished trial."""
        space = {name: distribution(bounds) for name, bounds in self.space.items()}
        add_trial(study, tried.values, space, tried.val_accuracy, {**tried.attributes, **attributes})


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
    on_trial: Callable[[int], None] = lambda _: None,
) -> Tuned:
    """Run what is left of the search for ``arm`` and return the best values; nothing is run where the rules search nothing.

    A trial that raises is a failed trial: it is recorded and counted, and the search goes on.

    Args:
        on_trial: given the number of each trial before it is made.

    Raises:
        RunInterruptedError, StorageError: the world broke a trial, which the same search will make again.
    """
    arm_search = ArmSearch(setting, arm, storage)
    for index in arm_search.pending():
        on_trial(index)
        arm_search.make(index, on_pass)
    return arm_search.tuned()


class ArmSearch:
    """The one search of an arm: what is finished of it, and what is left."""

    def __init__(self, setting: Setting, arm: Arm, storage: optuna.storages.BaseStorage) -> None:
        self.setting, self.arm = setting, arm
        self._proposals = Proposals(setting, arm, 0)
        self._study = open_study(storage, setting, arm, None)

    @property
    def in_order(self) -> bool:
        """See :attr:`Proposals.in_order`."""
        return self._proposals.in_order

    def finished(self) -> list[Tried]:
        """The finished trials, by number."""
        return [Tried.of_trial(trial) for trial in finished_trials(self._study)]

    def pending(self) -> list[int]:
        """Numbers of the trials that are not finished, ascending."""
        seeds = {trial.seed for trial in self.finished()}
        numbers = range(self.setting.arm_rules(self.arm).trials)
        return [index for index in numbers if trial_seed(index, control=self.arm.control) not in seeds]

    def ask(self, index: int) -> dict[str, float]:
        """What trial ``index`` tries; nothing is written."""
        return self._proposals.ask(self._study, index)

    def tell(self, trial: Tried) -> None:
        """Write a finished trial."""
        self._proposals.tell(self._study, trial)

    def compile(self) -> None:
        """Compile the next trial, in the tier ``compiled``: a rule that cannot be is refused before another is searched.

        Raises:
            UsageError: the rule cannot be compiled.
            RunInterruptedError: the world broke it, such as a lack of memory.
        """
        under = self.setting.arm_rules(self.arm)
        for index in self.pending()[:1]:
            algorithm, net = under.chosen.build(self.ask(index)), self.setting.build_net()
            try:
                _compile(algorithm, net, self.setting, _blind(self.setting, under.rules), under.rules)
            except Exception as error:
                if (of_the_world := interruption(error)) is not None:
                    raise of_the_world from error
                raise

    def make(self, index: int, on_pass: Callable[[Progress], None]) -> Tried:
        """Run trial ``index`` here, and write it.

        Raises:
            RunInterruptedError, StorageError: see :func:`search`.
        """
        trial, problem = run_trial(self.setting, self.arm, self.ask(index), index, on_pass)
        self.tell(trial)
        raise_on(problem)
        return trial

    def tuned(self) -> Tuned:
        """What the finished trials found."""
        return tuned_of(self.setting, self.arm, self.finished(), self._proposals.space, self._proposals.words)


def _blind(setting: Setting, rules: Ruleset) -> Dataset:
    """What a trial trains on."""
    data = setting.data.without_test()
    return data.limited(rules.trial_examples(data.n("train"), data.n_classes))


def _compile(algorithm: Algorithm, net: Chain, setting: Setting, data: Dataset, rules: Ruleset) -> float | None:
    """Compile the steps of a trial before its window opens, where no trial before it has.

    Returns:
        As :func:`bpfree.train.compile_steps`.

    Raises:
        UsageError: the rule cannot be compiled.
    """
    if rules.plan.tier != "compiled":
        return None
    state = initialise(algorithm, net, 0, setting.device)
    with products_in(rules.precision):
        return compile_steps(algorithm, net, state, data, rules.batch_size, precision=rules.precision)


def run_trial(
    setting: Setting, arm: Arm, values: dict[str, float], index: int, on_pass: Callable[[Progress], None]
) -> tuple[Tried, Exception | None]:
    """Train trial ``index`` of the one search of an arm; nothing is written.

    Returns:
        The trial, and what it raised where that was the arm's own fault.

    Raises:
        RunInterruptedError, StorageError: the world broke the trial, which is to be made again.
        BpfreeError: the harness refuses it, as it would every trial.
    """
    under = setting.arm_rules(arm)
    rules = under.rules
    algorithm = under.chosen.build(values)
    net = setting.build_net()
    blind = _blind(setting, rules)
    seed = trial_seed(index, control=arm.control)
    stop = under.stop(trial=True)
    history: list[HistoryEntry] = []
    diverged = False
    problem: Exception | None = None
    compile_time_s = _compile(algorithm, net, setting, blind, rules)
    with setting.meter.window() as window:
        try:
            state = initialise(algorithm, net, seed, setting.device)
            run = under.training(algorithm, net, blind, state, window, seed=seed, trial=True)
            for progress in run:
                history.append(progress.entry)
                diverged = progress.diverged
                on_pass(progress)
        except Exception as error:
            if (of_the_world := interruption(error)) is not None:
                raise of_the_world from error
            if isinstance(error, BpfreeError) and error.__cause__ is None:
                raise  # a refusal of the harness, such as of the test split: it would be the same in every trial
            problem = error
    reading = window.reading
    assert reading is not None
    best = None
    if not diverged and problem is None:
        best = best_of(history, stop_in(stop, algorithm.phases(net)[history[-1].phase]), rules.search.metric)
    trial = Tried(
        values,
        0.0 if best is None else best,
        seed,
        history[-1].passes if history else 0,
        reading.time_s,
        reading.joules,
        reading.method,
        diverged or problem is not None,
        None if problem is None else says(problem),
        compile_time_s=compile_time_s,
    )
    return trial, problem
