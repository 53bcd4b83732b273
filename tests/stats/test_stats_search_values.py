"""The simulated searches against plain loops over the same draws, and the curve that they search, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bpfree import stats
from bpfree.stats.search_noise import RateCurve, Surrogate, claim_protocol, protocol_power, quick_protocol, scrambled_points

RUN = RateCurve(top=0.9, optimum=-3.0, half_width=0.5, below=0.1, above=0.4)
TRIAL = RateCurve(top=0.8, optimum=-2.5, half_width=0.25, below=0.2, above=0.3)
NOISY = Surrogate(trial=TRIAL, run=RUN, trial_se=0.02, validation_se=0.01, seed_sd=0.03)


def test_a_plateau_with_a_fall_on_both_sides() -> None:
    values = {-3.5: 0.9, -2.5: 0.9, -4.5: 0.9 - 0.1, -1.5: 0.9 - 0.4, -1.0: 0.0, -7.5: 0.0}
    assert RUN.accuracy(np.array(list(values))).tolist() == pytest.approx(list(values.values()))


@pytest.mark.parametrize("n_points", [1, 2, 5, 8])
def test_scrambled_points_against_digits(n_points: int) -> None:
    """Each digit of van der Corput's number is flipped or not by a draw of its own for all digits before it."""
    mine, theirs = np.random.default_rng(3), np.random.default_rng(3)
    n_digits = max(1, math.ceil(math.log2(n_points)))
    flips = [mine.integers(0, 2, (2, 2**digit)) for digit in range(n_digits)]
    rest = mine.random((2, n_points))
    expected = np.zeros((2, n_points))
    for sequence in range(2):
        for index in range(n_points):
            digits = [(index >> digit) & 1 for digit in range(n_digits)]
            for digit, bit in enumerate(digits):
                before = int("".join(map(str, digits[:digit])) or "0", 2)
                expected[sequence, index] += (bit ^ int(flips[digit][sequence, before])) / 2 ** (digit + 1)
            expected[sequence, index] += rest[sequence, index] / 2**n_digits
    assert scrambled_points(theirs, 2, n_points) == pytest.approx(expected)


@pytest.mark.parametrize("n_trials", [1, 5, 6])
def test_the_quick_protocol_against_loops(n_trials: int) -> None:
    mine, theirs = np.random.default_rng(5), np.random.default_rng(5)
    shape, start, width = (3, 2), -4.0, 3.0
    best, seen_best = np.zeros(shape), np.full(shape, -np.inf)
    for trial in range(n_trials):
        if trial < max(1, n_trials // 2):
            points = start + width * mine.random(shape)
        else:
            points = np.clip(best + 0.5 * mine.standard_normal(shape), start, start + width)
        seen = TRIAL.accuracy(points) + 0.02 * mine.standard_normal(shape)
        for place in np.ndindex(shape):
            if seen[place] > seen_best[place]:
                best[place], seen_best[place] = points[place], seen[place]
    expected = RUN.accuracy(best)[..., None] + 0.03 * mine.standard_normal((*shape, 4))
    made = quick_protocol(theirs, NOISY, n_comparisons=3, n_arms=2, low=1e-4, high=1e-1, n_trials=n_trials, n_seeds=4)
    assert made == pytest.approx(expected)
    if n_trials == 1:
        default = quick_protocol(np.random.default_rng(0), NOISY, n_comparisons=1, n_arms=1)
        given = quick_protocol(
            np.random.default_rng(0), NOISY, n_comparisons=1, n_arms=1, low=1e-5, high=1e-2, n_trials=8, n_seeds=5
        )
        assert default.tolist() == given.tolist()


def test_the_claim_protocol_against_loops() -> None:
    mine, theirs = np.random.default_rng(7), np.random.default_rng(7)
    points = (-4.0 + 2.0 * scrambled_points(mine, 2 * 3, 4)).reshape(2, 3, 4)
    shape = (2, 2, 3, 4)
    test_noise, validation_noise = mine.standard_normal(shape), mine.standard_normal(shape)
    expected = np.zeros((2, 2, 3))
    for comparison, arm, study in np.ndindex(2, 2, 3):
        level = RUN.accuracy(points[comparison, study]) + (0.0, 0.05)[arm]
        winner = int(np.argmax(level + 0.01 * validation_noise[comparison, arm, study]))
        expected[comparison, arm, study] = (level + 0.03 * test_noise[comparison, arm, study])[winner]
    made = claim_protocol(theirs, NOISY, n_comparisons=2, low=1e-4, high=1e-2, n_studies=3, n_points=4, differences=(0.0, 0.05))
    assert made == pytest.approx(expected)


def test_the_power_of_a_protocol() -> None:
    options = {"low": 1e-4, "high": 1e-2, "n_studies": 5, "n_points": 4}
    power = protocol_power(NOISY, difference=0.05, n_comparisons=200, seed=3, **options)  # type: ignore[arg-type]
    rng = np.random.default_rng(3)
    equal = claim_protocol(rng, NOISY, n_comparisons=200, **options)  # type: ignore[arg-type]
    better = claim_protocol(rng, NOISY, n_comparisons=200, differences=(0.0, 0.05), **options)  # type: ignore[arg-type]

    def shown(values: np.ndarray) -> list[int]:
        signs = []
        for one, other in zip(values[:, 0], values[:, 1], strict=True):
            paired = stats.paired_difference(list(other), list(one))
            significant = paired.p_value is not None and paired.p_value < 0.05
            signs.append(int(np.sign(np.mean(paired.working))) if significant else 0)
        return signs

    assert power.power == pytest.approx(np.mean([sign > 0 for sign in shown(better)]))
    assert power.false_claims == pytest.approx(np.mean([sign != 0 for sign in shown(equal)]))
    sd = float(np.std(equal[:, 1] - equal[:, 0], ddof=1))
    assert power.sd == pytest.approx(sd)
    assert power.least_detectable == pytest.approx(stats.least_detectable_difference(5, sd, 0.05))
    assert power.shortfall == pytest.approx(0.9 - equal.mean())


def test_a_comparison_is_constant_only_where_it_says_so() -> None:
    interval = stats.mean_interval([1.0, 2.0])
    paired = stats.Paired(scale="difference", interval=interval, p_value=0.5, n=2, working=(1.0, 2.0))
    assert (paired.constant, paired.unpaired, interval.reason) == (False, (), None)
    assert stats.paired_difference([1.0, 2.0], [0.0, 1.0]).constant
    assert not stats.paired_difference([1.0, 2.0], [0.0, 1.5]).constant
