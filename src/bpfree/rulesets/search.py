"""The search for hyper-parameters, as a ruleset has it: how many studies and trials, of which sampler, in which spaces."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from bpfree.errors import RulesetError
from bpfree.rulesets.numbers import Count, Natural, Part, Positive
from bpfree.rulesets.ranges import Range, Spaces, check_keys, named_spaces
from bpfree.rulesets.stopping import Metric

__all__ = ["MOST_TRIALS", "STANDARD", "Grid", "QuasiRandom", "Random", "Sampler", "Search"]

STANDARD = "standard"
"""In place of spaces or splits: those of the package under this name."""


def tenth_at_most_25(n: int) -> int:
    """Of ``n`` finished trials, how many count as good: a tenth, rounded up, at most 25 (as Optuna's default)."""
    return min(math.ceil(0.1 * n), 25)


def newest_25_full(n: int) -> np.ndarray:
    """Weights of ``n`` trials, oldest first: the newest 25 full, older ones on a ramp (as Optuna's default)."""
    full = np.ones(min(n, 25))
    if n == len(full):
        return full
    return np.concatenate([np.linspace(1.0 / n, 1.0, num=n - len(full)), full])


class Sampler(Part):
    """Every argument of Optuna's TPE sampler, spelled out, because Optuna 5.0 changed its defaults.

    The values given here are those of Optuna 4.2, which the papers used. ``constant_liar`` is off: with it a
    killed trial, left behind as running, would change what is sampled after a resume.
    """

    name: Literal["tpe"] = "tpe"
    n_startup_trials: Natural = 10
    n_ei_candidates: Count = 24
    gamma: Literal["tenth-at-most-25"] = "tenth-at-most-25"
    weights: Literal["newest-25-full"] = "newest-25-full"
    prior_weight: Positive = 1.0
    consider_magic_clip: bool = True
    consider_endpoints: bool = False
    multivariate: bool = False
    group: bool = False
    constant_liar: bool = False
    warn_independent_sampling: bool = False

    @model_validator(mode="after")
    def _group_needs_multivariate(self) -> Sampler:
        if self.group and not self.multivariate:
            raise ValueError("group: true needs multivariate: true")
        return self

    def arguments(self) -> dict[str, Any]:
        """Keywords for ``optuna.samplers.TPESampler``, all but ``seed`` (from study and trial number).

        ``consider_prior`` is left out: it is always true since Optuna 4.3, and was true by default before.
        """
        gammas: dict[str, Callable[[int], int]] = {"tenth-at-most-25": tenth_at_most_25}
        weights: dict[str, Callable[[int], np.ndarray]] = {"newest-25-full": newest_25_full}
        given = self.model_dump(exclude={"name"})
        return given | {"gamma": gammas[self.gamma], "weights": weights[self.weights]}


class QuasiRandom(Part):
    """One scrambled Sobol sequence over all hyper-parameters of the ruleset, which every arm shares.

    Trial t of study s tries point t of sequence s in every arm, projected on what the arm searches: where two arms search the
    same hyper-parameter, luck is the same for both.
    """

    name: Literal["qmc"] = "qmc"
    sequence: Literal["sobol"] = "sobol"
    scramble: Literal[True] = True


class Random(Part):
    """Independent uniform draws on the logarithmic scale of every range (Bergstra and Bengio 2012): plain random search.

    Trial t of study s draws the same place for a hyper-parameter in every arm (a control has draws of its own), from a seed of
    s, t and the split: no trial depends on another.
    """

    name: Literal["random"] = "random"


class Grid(Part):
    """Places of equal distance on the logarithmic scale of every range, from its low end to its high end.

    Trial t of T tries place t / (T - 1) of each range at once, the same in every arm: one line through the space, not its full
    product, so that an arm with two hyper-parameters has no more trials than an arm with one. With three trials, a range from
    half of a published value to its double holds the value times 1/2, 1 and 2.
    """

    name: Literal["grid"] = "grid"

    @staticmethod
    def place(trial: int, trials: int) -> float:
        """Where trial ``trial`` of ``trials`` lies, from 0 to 1; a single trial lies in the middle."""
        return 0.5 if trials == 1 else trial / (trials - 1)


MOST_TRIALS = 10_000
"""Trials of a search, at most: seeds of two studies must not meet."""


class Search(Part):
    """The search for hyper-parameters: the same for every arm, on the validation split only.

    ``studies``: with one, its best values are trained on the seeds of the plan. With more, the best trial of each study is the
    measured run of that study, so that search luck is in the spread. ``trials`` of each study; 0 searches nothing, and every arm
    has the hyper-parameters that it names. ``passes_per_trial`` counts as the budget does (per run or per phase); ``None`` gives
    a trial the same passes as a run. The stop rule of a trial is that of a run. ``train_examples``: a trial trains on at most so
    many; ``None`` gives it those of a run. ``spaces``: see :mod:`bpfree.rulesets.ranges`; a name is short for those of the
    package, ``None`` stands in rulesets of schema version 1 alone. ``objective``: by which value of a trial's final state the
    best trial is chosen; balanced accuracy where one class is much more frequent than another.
    """

    studies: Annotated[Count, Field(le=MOST_TRIALS)] = 1
    trials: Annotated[Natural, Field(le=MOST_TRIALS)]
    passes_per_trial: Count | None = None
    train_examples: Count | None = None
    objective: Literal["best-validation-accuracy", "best-balanced-accuracy"] = "best-validation-accuracy"
    sampler: Annotated[Sampler | QuasiRandom | Random | Grid, Field(discriminator="name")] = Field(default_factory=QuasiRandom)
    pruner: Literal["none"] = "none"
    spaces: Spaces | None = Field(default_factory=lambda: _ranges(named_spaces(STANDARD)))

    @property
    def metric(self) -> Metric:
        """By what a trial is chosen, as :meth:`bpfree.records.HistoryEntry.watched` names it."""
        return "balanced-accuracy" if self.objective == "best-balanced-accuracy" else "validation-accuracy"

    @field_validator("spaces", mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        """``spaces: standard`` is short for those of the package."""
        if isinstance(value, Mapping):
            _translated(check_keys, value)
        return _translated(named_spaces, value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _a_trial_of_several_studies_is_a_run(self) -> Search:
        if self.studies > 1 and (self.trials == 0 or self.passes_per_trial is not None or self.train_examples is not None):
            raise ValueError(
                f"search.studies is {self.studies}, so that the best trial of each study is its measured run: give at least one "
                "trial, and leave passes_per_trial and train_examples empty"
            )
        return self

    @model_validator(mode="after")
    def _studies_differ(self) -> Search:
        if self.studies > 1 and self.sampler.name == "grid":
            raise ValueError(
                f"search.studies is {self.studies}, but the points of a grid are the same in every study, so that search luck "
                "would not be in the spread; use the sampler qmc or random"
            )
        return self


def _ranges(plain: Mapping[str, Mapping[str, Any]]) -> Spaces:
    return {
        key: {name: None if ends is None else Range.model_validate(ends) for name, ends in ranges.items()}
        for key, ranges in plain.items()
    }


def _translated(call: Callable[[Any], Any], value: object) -> Any:
    """An error of ours as one of pydantic's, which adds the field."""
    try:
        return call(value)
    except RulesetError as error:
        raise ValueError(str(error)) from None
