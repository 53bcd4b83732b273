"""What a ruleset is: everything that decides whether two runs may be compared in one table, frozen and checked.

The ruleset belongs to the harness, never to an algorithm. The best-known claims of this field did not hold, because the arms of
one table stopped by different rules and had different numbers of trials and different batch sizes. Here there is one object for
all arms, and what differs for an arm is an :class:`ArmException` with its reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from bpfree.errors import RulesetError
from bpfree.rulesets.numbers import Count, Fraction, Natural, NonNegative, Part, Positive, Share, Word
from bpfree.rulesets.search import STANDARD, Search
from bpfree.rulesets.splits import Split, kind_of, standard_splits
from bpfree.rulesets.stopping import Metric

__all__ = [
    "SCHEMA_VERSION",
    "ArmException",
    "Budget",
    "LrSchedule",
    "Plan",
    "Rules",
    "Stop",
    "whole_name",
]

SCHEMA_VERSION = 2
"""Meaning of the fields. It rises when the same words come to mean another rule, and every digest changes with it.

1: the search spaces were a file of the program and not hashed, ``splits`` was text that nothing executed, and a comparison had
one search. Such a ruleset can be read and reported, with the digest that it had; it cannot be run.
2: ``search.spaces`` and ``splits`` are executed as they stand, and hashed.
"""

FEWEST_STUDIES = 5
"""Below this the spread over studies is hardly known."""

Augmentation = Literal["none", "crop-flip"]
ClassWeights = Literal["none", "balanced"]
LrSchedule = Literal["constant", "linear-cooldown", "cosine"]


class Stop(Part):
    """When a phase ends, and which state is restored then.

    ``patience`` counts passes without an improvement larger than ``min_delta`` (in units of the metric: a fraction of accuracy,
    or nats of loss); ``None`` never stops early. ``restore_best``: the state of the best pass is restored; otherwise the last
    state stays.
    """

    metric: Metric
    patience: Count | None
    min_delta: NonNegative = 0.0
    restore_best: bool = True


class Budget(Part):
    """How long a run may be.

    ``per="run"``: ``max_passes`` is the cap on the total, shared by the phases: a phase may use the passes that are left divided
    by the phases still to come, rounded up. ``per="phase"``: every phase has the whole cap to itself, which is what spyra2026
    did, and costs a rule of many phases more. ``passes_by_dataset`` replaces ``max_passes`` for the named data sets.
    ``max_hours`` is wall time of one run; a run that reaches it ends as if its passes were used up.
    """

    max_passes: Count
    per: Literal["run", "phase"] = "run"
    max_hours: Positive | None = None
    passes_by_dataset: dict[str, Count] = Field(default_factory=dict)

    def passes_for(self, dataset: str | None) -> int:
        """The cap on passes for a data set: of the run, or of each phase where ``per`` says so."""
        return self.passes_by_dataset.get(whole_name(dataset), self.max_passes) if dataset else self.max_passes


def whole_name(dataset: str) -> str:
    """``"mnist"`` of ``"mnist[10000]"``: the rules for a data set hold for a part of its training examples too."""
    return re.sub(r"\[\d+\]$", "", dataset)


class Plan(Part):
    """What is run under the rules. Recorded, not hashed, so that seeds can be added and data sets merged.

    ``target``: a validation accuracy (a fraction), or one for each data set; time and energy to it are counted.
    ``split_seeds``: of the splits that are drawn, crossed with seeds or studies. ``control``: the baseline is run a second time
    under a label of its own, with other draws; its spread is what two equal arms differ by.
    """

    seeds: tuple[Natural, ...] = (0, 1, 2, 3, 4)
    split_seeds: tuple[Natural, ...] = (0,)
    control: bool = False
    datasets: tuple[Word, ...] = ()
    nets: tuple[Word, ...] = ()
    arms: tuple[Word, ...] = ()
    tier: Literal["eager", "compiled", "graph"] = "eager"
    device: Word | None = None
    target: Share | dict[str, Share] | None = None

    def target_for(self, dataset: str) -> float | None:
        """The validation accuracy (a fraction) up to which seconds and joules are counted, None where there is none."""
        return self.target.get(whole_name(dataset)) if isinstance(self.target, dict) else self.target

    @field_validator("seeds", "split_seeds", mode="before")
    @classmethod
    def _count_or_list(cls, value: object) -> object:
        """``seeds: 5`` is short for ``[0, 1, 2, 3, 4]``."""
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return tuple(range(value))
        return value

    @field_validator("seeds", "split_seeds")
    @classmethod
    def _a_seed_counts_once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        twice = [f"{seed} ({times} times)" for seed, times in Counter(seeds).items() if times > 1]
        if twice:
            raise ValueError(f"the same seed is listed again: {', '.join(twice)}; a seed counts once")
        if not seeds:
            raise ValueError("at least one seed is needed")
        return seeds


def _covers(given: str, arm: str) -> bool:
    """Whether ``arm`` is of the algorithm of ``given`` and has at least its options."""
    algorithm, *options = given.split(":")
    its_algorithm, *its_options = arm.split(":")
    return algorithm == its_algorithm and set(options) <= set(its_options)


class ArmException(Part):
    """One rule that differs for some arms, with the reason. It is hashed, and every output shows it in words.

    ``arms`` holds algorithms (``"mono-forward"``), or algorithms with some of an arm's options
    (``"mono-forward:schedule=staged"``; the arm may have more). ``field`` is a dotted rule such as ``"stop.patience"``.
    ``datasets``, ``nets`` and ``phases`` narrow it where they are given. Where two exceptions meet, the later one holds.
    """

    arms: tuple[Word, ...] = Field(min_length=1)
    field: Word
    value: bool | int | float | str | None
    why: Word
    datasets: tuple[Word, ...] = ()
    nets: tuple[Word, ...] = ()
    phases: tuple[Word, ...] = ()

    def applies(self, arm: str, dataset: str | None, net: str | None, phase: str | None) -> bool:
        """Whether it holds for this arm, here; one for some data sets, nets or phases never holds where None is given."""
        return (
            any(_covers(given, arm) for given in self.arms)
            and (not self.datasets or (dataset is not None and whole_name(dataset) in self.datasets))
            and (not self.nets or net in self.nets)
            and (not self.phases or phase in self.phases)
        )


class Rules(Part):
    """The fields of a ruleset; :class:`bpfree.rulesets.Ruleset` adds what is done with them."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    name: Word
    version: Count = 1
    title: str = ""
    description: str = ""
    only_for: Literal["any", "reproduce"] = "any"
    comparable: bool = True
    stop: Stop
    budget: Budget
    search: Search
    batch_size: Count
    lr_schedule: LrSchedule = "constant"
    readout: Literal["as-the-arm-says", "best-prefix-on-validation"] = "as-the-arm-says"
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    augmentation: Augmentation | dict[str, Augmentation] = "none"
    class_weight: ClassWeights = "none"
    splits: dict[str, Split] | dict[str, Word] = Field(default_factory=lambda: _splits(standard_splits()))
    train_examples: Count | None = None
    scale: Share = 1.0
    equivalence_margin: Fraction = 0.0025
    energy_equivalence_margin: Fraction = 0.05
    exceptions: tuple[ArmException, ...] = ()
    plan: Plan = Field(default_factory=Plan)

    @field_validator("splits", mode="before")
    @classmethod
    def _standard_splits(cls, value: object) -> object:
        """``splits: standard`` is short for those of the package."""
        return standard_splits() if value == STANDARD else value

    @model_validator(mode="after")
    def _is_of_its_version(self) -> Rules:
        if self.schema_version == 1:
            if self.search.studies != 1 or self.search.spaces is not None or self.search.sampler.name != "tpe":
                raise ValueError("schema_version 1 has one study, TPE and no search.spaces; write schema_version: 2")
            return self
        prose = [name for name, split in self.splits.items() if isinstance(split, str)]
        if prose:
            raise ValueError(
                f"splits.{prose[0]} must say what the loader does, such as {{kind: stratified, validation: 0.2, test: 0.2}}; "
                "or write splits: standard"
            )
        if self.search.spaces is None:
            raise ValueError("search.spaces is empty; write spaces: standard, or the ranges")
        return self

    @model_validator(mode="after")
    def _a_trial_is_not_longer_than_a_run(self) -> Rules:
        passes = self.search.passes_per_trial
        longest = max([self.budget.max_passes, *self.budget.passes_by_dataset.values()])
        if passes is not None and passes > longest and self.budget.per == "run":
            raise ValueError(
                f"search.passes_per_trial is {passes}, more than the {longest} of a run; lower it, or leave it empty for the "
                "same as a run"
            )
        return self

    @model_validator(mode="after")
    def _exceptions_name_rules(self) -> Rules:
        for exception in self.exceptions:
            try:
                replace(self.model_dump(exclude={"exceptions"}), {exception.field: exception.value})
            except KeyError:
                raise ValueError(f"exceptions: there is no rule {exception.field!r}") from None
            if exception.field.partition(".")[0] in _COMMON:
                raise ValueError(f"exceptions: {exception.field!r} cannot differ between arms")
        return self

    def augmentation_for(self, dataset: str) -> Augmentation:
        """What is done to training images of a data set (the entry ``default`` holds for those not named)."""
        if isinstance(self.augmentation, Mapping):
            return self.augmentation.get(whole_name(dataset), self.augmentation.get("default", "none"))
        return self.augmentation

    @property
    def weighted_by(self) -> str | None:
        """What :meth:`bpfree.data.Dataset.weighted` takes: how training examples are weighted by their class, None where not."""
        return None if self.class_weight == "none" else self.class_weight

    @property
    def claims(self) -> bool:
        """Whether a table under these rules may say better, worse or equivalent.

        Only where search luck is in the spread (several studies of trials that are runs), or where nothing was searched.
        """
        whole = self.comparable and self.scale == 1.0
        return whole and (self.search.trials == 0 or self.search.studies >= FEWEST_STUDIES)

    def split_for(self, dataset: str) -> Split:
        """How a data set is divided.

        Raises:
            RulesetError: the ruleset does not say so.
        """
        split = self.splits.get(kind_of(dataset))
        if not isinstance(split, Split):
            raise RulesetError(
                f"ruleset {self.name} does not say how {kind_of(dataset)} is split; write splits: standard, or an entry "
                f"{kind_of(dataset)}: {{kind: stratified, validation: 0.15, test: 0.15}}"
            )
        return split

    def examples_for(self, n_available: int) -> int:
        """How many of the available training examples are used, at least 1."""
        limit = n_available if self.train_examples is None else min(self.train_examples, n_available)
        return max(1, round(limit * self.scale))


def _splits(plain: Mapping[str, Any]) -> dict[str, Split]:
    return {name: Split.model_validate(split) for name, split in plain.items()}


UNHASHED = frozenset({"name", "title", "description", "only_for", "plan"})
"""Top-level fields that do not decide comparability."""

_COMMON = UNHASHED | {
    *("exceptions", "schema_version", "version", "comparable", "splits", "train_examples", "scale", "class_weight"),
    *("equivalence_margin", "energy_equivalence_margin"),
}
"""Fields that hold for the whole table, so that an exception for some arms has no meaning."""


def replace(fields: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Set dotted keys in nested dictionaries, in place.

    Raises:
        KeyError: a key is not there.
    """
    for dotted, value in changes.items():
        *parents, last = dotted.split(".")
        target: Any = fields
        for parent in parents:
            if not isinstance(target, dict) or parent not in target:
                raise KeyError(dotted)
            target = target[parent]
        if not isinstance(target, dict) or last not in target:
            raise KeyError(dotted)
        target[last] = value
    return fields
