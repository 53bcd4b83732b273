"""How search luck moves a comparison: a surrogate of accuracy against the learning rate, and two protocols simulated on it.

Use it before a study, to choose ranges, studies S and points T; ``benchmarks/claim_power.py`` does so for MNIST. Everything is
vectorised over simulated comparisons and takes a numpy generator, so results repeat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from bpfree.errors import UsageError
from bpfree.stats.planning import least_detectable_difference

__all__ = ["ProtocolPower", "RateCurve", "Surrogate", "claim_protocol", "protocol_power", "quick_protocol", "scrambled_points"]


@dataclass(frozen=True, kw_only=True)
class RateCurve:
    """Expected accuracy against log10 of the learning rate: a plateau with a quadratic fall on both sides.

    Attributes:
        top: accuracy on the plateau, a fraction.
        optimum: log10 of the learning rate in the middle of the plateau.
        half_width: of the plateau, in decades.
        below, above: fall per squared decade beyond the plateau, towards small and large learning rates (fractions).
    """

    top: float
    optimum: float
    half_width: float
    below: float
    above: float

    def accuracy(self, log_lr: np.ndarray) -> np.ndarray:
        """Expected accuracy, a fraction at least 0, of any shape."""
        x = np.asarray(log_lr) - self.optimum
        low, high = np.maximum(0.0, -x - self.half_width), np.maximum(0.0, x - self.half_width)
        return np.maximum(0.0, self.top - self.below * low**2 - self.above * high**2)


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """A data set and net, seen by a search.

    Attributes:
        trial: curve of a trial shorter than a run; its optimum lies above that of a run, since fewer steps favour larger rates.
        run: curve of a full run.
        trial_se: noise (standard deviation) of a short trial's validation accuracy: of its images and its seed.
        validation_se: the same of a full run.
        seed_sd: standard deviation of a run's test accuracy over seeds at a fixed learning rate.
    """

    trial: RateCurve
    run: RateCurve
    trial_se: float
    validation_se: float
    seed_sd: float


@dataclass(frozen=True, kw_only=True)
class ProtocolPower:
    """What a claim protocol can show.

    Attributes:
        power: chance of a claim in the right direction at the true difference asked about.
        false_claims: chance of any claim where there is no difference (one comparison).
        sd: standard deviation of a paired difference between two equal arms, a fraction.
        least_detectable: true difference that is shown with a chance of 0.8, were the paired differences normal, a fraction.
        shortfall: what an arm loses on average because no point was a good one: top of the curve minus mean accuracy, a fraction.
            It cancels between arms with one curve, and biases the comparison of arms whose optima differ.
    """

    power: float
    false_claims: float
    sd: float
    least_detectable: float
    shortfall: float


def scrambled_points(rng: np.random.Generator, n_sequences: int, n_points: int) -> np.ndarray:
    """The first points of scrambled Sobol sequences in one dimension, (n_sequences, n_points), each uniform on [0, 1).

    In one dimension Sobol's is van der Corput's sequence; scrambling is Owen's (1995, "Randomly permuted (t, m, s)-nets"): each
    binary digit is flipped or not according to the digits before it. 2^k points lie one in each 2^-k-th of the interval.
    """
    if n_sequences < 1 or n_points < 1:
        raise UsageError(f"at least one sequence of one point is needed, got {n_sequences} of {n_points}")
    n_digits = max(1, math.ceil(math.log2(n_points)))
    index = np.arange(n_points)
    points, prefix = np.zeros((n_sequences, n_points)), np.zeros(n_points, dtype=int)
    for digit in range(n_digits):
        bit = (index >> digit) & 1
        flips = rng.integers(0, 2, (n_sequences, 2**digit))[:, prefix]
        points += (bit ^ flips) * 2.0 ** -(digit + 1)
        prefix = 2 * prefix + bit
    return points + rng.random((n_sequences, n_points)) * 2.0**-n_digits


def quick_protocol(
    rng: np.random.Generator,
    surrogate: Surrogate,
    *,
    n_comparisons: int,
    n_arms: int,
    low: float = 1e-5,
    high: float = 1e-2,
    n_trials: int = 8,
    n_seeds: int = 5,
) -> np.ndarray:
    """One short search for each arm, then runs over seeds with the winner: what a ruleset such as ``quick`` does.

    Half of the trials are random, the others lie around the best so far (normal, half a decade), which stands for TPE. Every arm
    draws its own points. Trials are shorter than runs. The luck of the search is the same in all runs of an arm, so it is not
    in an interval over seeds.

    Args:
        rng: of all draws.
        surrogate: of every arm: the arms are identical.
        n_comparisons: simulated comparisons.
        n_arms: arms in each.
        low, high: range of the learning rate.
        n_trials, n_seeds: trials of a search and runs of an arm.

    Returns:
        Test accuracies, (n_comparisons, n_arms, n_seeds).
    """
    start, width = math.log10(low), math.log10(high / low)
    shape = (n_comparisons, n_arms)
    best, best_seen = np.zeros(shape), np.full(shape, -np.inf)
    for trial in range(n_trials):
        if trial < max(1, n_trials // 2):
            point = start + width * rng.random(shape)
        else:
            point = np.clip(best + 0.5 * rng.standard_normal(shape), start, start + width)
        seen = surrogate.trial.accuracy(point) + surrogate.trial_se * rng.standard_normal(shape)
        best, best_seen = np.where(seen > best_seen, point, best), np.maximum(seen, best_seen)
    return surrogate.run.accuracy(best)[..., None] + surrogate.seed_sd * rng.standard_normal((*shape, n_seeds))


def claim_protocol(
    rng: np.random.Generator,
    surrogate: Surrogate,
    *,
    n_comparisons: int,
    low: float,
    high: float,
    n_studies: int,
    n_points: int,
    differences: Sequence[float] = (0.0, 0.0),
) -> np.ndarray:
    """S studies of T full-length trials; all arms share the points of a study, and the best on validation is the measured run.

    Args:
        rng: of all draws.
        surrogate: of every arm, but for its true difference.
        n_comparisons: simulated comparisons.
        low, high: range of the learning rate.
        n_studies, n_points: S and T.
        differences: true advantage of each arm, a fraction; as many as arms, the baseline first.

    Returns:
        Test accuracies of the measured runs, (n_comparisons, arms, n_studies): paired by study.
    """
    n_arms = len(differences)
    start, width = math.log10(low), math.log10(high / low)
    points = start + width * scrambled_points(rng, n_comparisons * n_studies, n_points)
    points = points.reshape(n_comparisons, 1, n_studies, n_points)
    shape = (n_comparisons, n_arms, n_studies, n_points)
    advantage = np.asarray(differences).reshape(1, n_arms, 1, 1)
    expected = surrogate.run.accuracy(points) + advantage
    tested = expected + surrogate.seed_sd * rng.standard_normal(shape)
    validated = expected + surrogate.validation_se * rng.standard_normal(shape)
    winner = validated.argmax(axis=-1)[..., None]
    return np.take_along_axis(tested, winner, axis=-1)[..., 0]


def protocol_power(
    surrogate: Surrogate,
    *,
    low: float,
    high: float,
    n_studies: int,
    n_points: int,
    difference: float,
    alpha: float = 0.05,
    n_comparisons: int = 4000,
    seed: int = 0,
) -> ProtocolPower:
    """Power of the claim protocol to show ``difference`` between two arms, by simulation.

    Args:
        surrogate: of both arms.
        low, high: range of the learning rate.
        n_studies, n_points: S and T.
        difference: true advantage of one arm, a fraction.
        alpha: level of the paired t test: 0.05, or 0.05/m for the strictest of m rivals under Holm.
        n_comparisons, seed: of the simulation; 4,000 give the power to ±1.5 points.
    """
    options = {"n_comparisons": n_comparisons, "low": low, "high": high, "n_studies": n_studies, "n_points": n_points}
    rng = np.random.default_rng(seed)
    equal = claim_protocol(rng, surrogate, **options)
    better = claim_protocol(rng, surrogate, differences=(0.0, difference), **options)
    sd = float((equal[:, 1] - equal[:, 0]).std(ddof=1))
    up, down = _claims(equal, alpha)
    return ProtocolPower(
        power=float(_claims(better, alpha)[0].mean()),
        false_claims=float((up | down).mean()),
        sd=sd,
        least_detectable=least_detectable_difference(n_studies, sd, alpha),
        shortfall=surrogate.run.top - float(equal.mean()),
    )


def _claims(values: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Whether the paired t test shows arm 1 above arm 0, and below it: (comparisons,) each."""
    d = values[:, 1] - values[:, 0]
    n = d.shape[-1]
    t = d.mean(axis=-1) / (d.std(axis=-1, ddof=1) / math.sqrt(n))
    critical = float(special.stdtrit(n - 1, 1 - alpha / 2))
    return t > critical, t < -critical
