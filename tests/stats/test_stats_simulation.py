"""Do the statistics keep what they promise? 1,000 simulated studies each.

Two arms share the luck of a seed, which pairing takes out; the rest is normal noise of 0.284 points, the pooled
spread of test accuracy that the authors of 2509.19063 found in their revision.
"""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom, norm

from bpfree import stats

STUDIES = 1000
NOISE = 0.00284
MARGIN = 0.0025
AT_MOST_5 = binom.ppf(0.99, STUDIES, 0.05) / STUDIES
"""What 1,000 draws of a true 5 per cent stay below 99 times in 100: 6.7 per cent."""

MORE = pytest.mark.slow
"""The same formula at another number of seeds: a thousand studies take a third of a second."""

HARD = {(5, NOISE, 1), (5, NOISE / 4, -1), (20, NOISE, -1), (20, NOISE / 4, 1)}
"""Both signs, noises and ends of the number of seeds."""


def studies(n, true_difference, seed=0, noise=NOISE):
    rng = np.random.default_rng([seed, n])
    for _ in range(STUDIES):
        luck = rng.normal(0.97, 0.01, n)
        a = luck + true_difference + rng.normal(0, noise / math.sqrt(2), n)
        b = luck + rng.normal(0, noise / math.sqrt(2), n)
        yield stats.paired_difference(dict(enumerate(a)), dict(enumerate(b)))


def rate(found):
    return float(np.mean(list(found)))


@pytest.mark.parametrize("n", [5, pytest.param(10, marks=MORE), 20])
@pytest.mark.parametrize("true_difference", [0.0, 0.004])
def test_the_paired_interval_covers_93_to_97_percent(n, true_difference):
    covered = rate(not p.interval.excludes(true_difference) for p in studies(n, true_difference))
    assert 0.93 <= covered <= 0.97


def test_the_limits_of_coverage_can_fail():
    """A normal interval at five seeds covers 88 per cent: the limits above would catch it."""
    z = norm.ppf(0.975)
    covered = rate(abs(p.interval.mean) <= z * p.sd / math.sqrt(p.n) for p in studies(5, 0.0))
    assert covered < 0.93


@pytest.mark.parametrize("n", [2, 5, pytest.param(10, marks=MORE), pytest.param(20, marks=MORE)])
def test_false_better_at_most_5_percent(n):
    words = [stats.verdict(p, margin=MARGIN).word for p in studies(n, 0.0)]
    assert words.count("better") / STUDIES <= 0.05
    assert (words.count("better") + words.count("worse")) / STUDIES <= AT_MOST_5


@pytest.mark.parametrize("n", [2, pytest.param(3, marks=MORE), 5, pytest.param(10, marks=MORE)])
def test_false_better_with_accuracies_of_a_small_test_set(n):
    """360 test examples of digits: differences come in steps of 1/360 and are often all the same.

    Without the sign test for constant differences, two seeds would claim far too often.
    """
    rng = np.random.default_rng(n)
    a, b = rng.binomial(360, 0.99, (2, STUDIES, n)) / 360
    words = [stats.verdict(stats.paired_difference(x, y), margin=MARGIN).word for x, y in zip(a, b, strict=True)]
    assert words.count("better") / STUDIES <= 0.05
    assert (words.count("better") + words.count("worse")) / STUDIES <= AT_MOST_5


@pytest.mark.parametrize(
    ("n", "noise", "sign"),
    [
        pytest.param(n, noise, sign, marks=() if (n, noise, sign) in HARD else MORE)
        for n, noise, sign in itertools.product([5, 10, 20], [NOISE, NOISE / 4], [1, -1])
    ],
)
def test_false_equivalent_at_the_margin_at_most_5_percent(n, noise, sign):
    """The hardest case: the true difference is the margin itself. Little noise makes the test exact."""
    found = rate(stats.tost(p, MARGIN).equivalent for p in studies(n, sign * MARGIN, noise=noise))
    assert found <= AT_MOST_5


def test_false_equivalent_beyond_the_margin():
    assert rate(stats.tost(p, MARGIN).equivalent for p in studies(10, 1.5 * MARGIN)) <= 0.05


def test_equivalence_is_found_where_it_is():
    assert rate(stats.tost(p, MARGIN).equivalent for p in studies(20, 0.0)) >= 0.9


def test_a_difference_is_found_where_it_is():
    words = [stats.verdict(p, margin=MARGIN).word for p in studies(10, 0.01)]
    assert words.count("better") / STUDIES >= 0.99


@pytest.mark.parametrize("n", [5, pytest.param(10, marks=MORE), pytest.param(20, marks=MORE)])
def test_the_ratio_interval_covers_93_to_97_percent(n):
    rng = np.random.default_rng(n)
    covered = []
    for _ in range(STUDIES):
        b = rng.lognormal(7, 0.3, n)
        a = b * 0.8 * rng.lognormal(0, 0.05, n)
        covered.append(not stats.paired_ratio(a, b).interval.excludes(0.8))
    assert 0.93 <= rate(covered) <= 0.97


def test_holm_keeps_the_family_at_5_percent():
    """Seven arms, none better: at most 5 per cent of studies claim anything; without Holm about 20 or more.

    200 studies, since seven comparisons each take their time; a true 5 per cent stays below the limit 99 times in 100.
    """
    rng = np.random.default_rng(0)
    with_holm, without = [], []
    for _ in range(200):
        values = {str(k): rng.normal(0.97, NOISE, 10) for k in range(8)}
        family = stats.compare_family(values, "0", margin=MARGIN)
        words = {c.verdict.word for c in family.values()}
        with_holm.append(bool(words & {"better", "worse"}))
        without.append(any(c.paired.p_value < 0.05 for c in family.values()))
    assert rate(with_holm) <= binom.ppf(0.99, 200, 0.05) / 200
    assert rate(without) > 0.15
