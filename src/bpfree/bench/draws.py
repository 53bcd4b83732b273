"""What is drawn, as functions of indices: seeds of trials, and the points that they try. Nothing here depends on the arm.

So two arms meet the same luck, and a comparison that was killed draws the same again.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from bpfree.records import CONTROL_SEEDS
from bpfree.rulesets import Range
from bpfree.rulesets.search import MOST_TRIALS

__all__ = ["SEARCH_SEEDS", "Draws", "Points", "Sequence", "sequence_number", "study_seed", "trial_seed"]

SEARCH_SEEDS = 1_000_000
"""Of the one search of a ruleset whose runs have seeds of their own: those are small, so theirs are fresh."""


def trial_seed(trial: int, *, control: bool = False) -> int:
    """With which trial number ``trial`` of the one search is trained."""
    return SEARCH_SEEDS + trial + (CONTROL_SEEDS if control else 0)


def study_seed(study: int, trial: int, *, split_seed: int = 0, control: bool = False) -> int:
    """With which trial number ``trial`` of study number ``study`` is trained; no two trials share one."""
    return sequence_number(study, split_seed=split_seed, control=control) * MOST_TRIALS + trial


def sequence_number(study: int, *, split_seed: int = 0, control: bool = False) -> int:
    """Which sequence of points a study tries: one of its own for every study and split."""
    return (CONTROL_SEEDS // MOST_TRIALS if control else 0) + split_seed * MOST_TRIALS + study


class Points(ABC):
    """Points of the unit cube of all hyper-parameters of a ruleset, by number.

    An arm takes the coordinates of what it searches: where two arms have other ranges for one name, they share the place within
    the range.
    """

    @abstractmethod
    def point(self, index: int) -> dict[str, float]:
        """Coordinates of point ``index``, from 0, by name; the same however many are asked for."""

    def values(self, index: int, space: Mapping[str, Range]) -> dict[str, float]:
        """Point ``index`` in the ranges of an arm."""
        point = self.point(index)
        return {name: bounds.at(point[name]) for name, bounds in space.items()}


class Draws(Points):
    """Independent uniform draws, each point from a seed of its own.

    Args:
        names: of all dimensions, in order.
        number: first part of the seed; the number of the point is the second.
    """

    def __init__(self, names: tuple[str, ...], number: int) -> None:
        self._names, self._number = names, number

    def point(self, index: int) -> dict[str, float]:
        """See :class:`Points`."""
        drawn = np.random.default_rng((self._number, index)).random(len(self._names))
        return dict(zip(self._names, drawn.tolist(), strict=True))


class Sequence(Points):
    """One scrambled Sobol sequence over the unit cube of all hyper-parameters of a ruleset (Optuna's ``QMCSampler``).

    Args:
        names: of all dimensions, in order.
        number: seed of the scrambling.
    """

    def __init__(self, names: tuple[str, ...], number: int) -> None:
        self._names = names
        cube = {name: FloatDistribution(0.0, 1.0) for name in names}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.QMCSampler(
                qmc_type="sobol", scramble=True, seed=number, warn_asynchronous_seeding=False, warn_independent_sampling=False
            )
        self._study = optuna.create_study(sampler=sampler)
        # Without a finished trial Optuna does not know the space, and draws the first point independently.
        self._study.add_trial(create_trial(params=dict.fromkeys(names, 0.5), distributions=dict(cube), value=0.0))
        self._points: list[dict[str, float]] = []

    def point(self, index: int) -> dict[str, float]:
        """See :class:`Points`."""
        while len(self._points) <= index:
            trial = self._study.ask()
            self._points.append({name: trial.suggest_float(name, 0.0, 1.0) for name in self._names})
        return self._points[index]
