"""Thousands of comparisons of four identical arms with real search luck: one short search each, and the claim protocol.

The surrogates are fitted to the shipped searches; ``benchmarks/claim_power.py`` prints these numbers.
"""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bpfree import stats
from bpfree.errors import UsageError
from bpfree.stats.search_noise import RateCurve, Surrogate, claim_protocol, protocol_power, quick_protocol, scrambled_points

N_COMPARISONS = 40_000
"""The rates are 4.4 to 4.8 per cent, with a standard error of 0.1."""
MARGIN = 0.0025


def surrogate(top, below, above, trial_top, trial_above, trial_se, validation_se, seed_sd):
    trial = RateCurve(top=trial_top, optimum=-2.92, half_width=0.4, below=below, above=trial_above)
    run = RateCurve(top=top, optimum=-3.52, half_width=0.4, below=below, above=above)
    return Surrogate(trial=trial, run=run, trial_se=trial_se, validation_se=validation_se, seed_sd=seed_sd)


MNIST = surrogate(0.983, 0.0344, 0.0083, 0.962, 0.0256, 0.0034, 0.0010, 0.0016)
FASHION = surrogate(0.893, 0.0129, 0.0292, 0.864, 0.0696, 0.0047, 0.0016, 0.0033)


def share_with_a_claim(comparisons):
    """Share in which the library says "better" or "worse" of at least one of three rivals, after Holm's correction."""
    claims = 0
    for values in comparisons:
        family = stats.compare_family({str(arm): runs for arm, runs in enumerate(values)}, "0", margin=MARGIN)
        claims += any(compared.verdict.word in ("better", "worse") for compared in family.values())
    return claims / len(comparisons)


@pytest.mark.parametrize("case", [MNIST, FASHION], ids=["mnist", "fashion-mnist"])
def test_one_short_search_makes_false_claims_in_every_second_comparison(case):
    """With the old words; 50 and 55 per cent. The same protocol with the words of a search claims nothing."""
    comparisons = quick_protocol(np.random.default_rng(0), case, n_comparisons=120, n_arms=4)
    assert share_with_a_claim(comparisons) > 0.4


@pytest.mark.parametrize("bounds", [(1e-4, 3e-3), (1e-5, 1e-2)], ids=["narrow", "wide"])
@pytest.mark.parametrize("case", [MNIST, FASHION], ids=["mnist", "fashion-mnist"])
def test_the_claim_protocol_makes_false_claims_in_less_than_5_percent(case, bounds):
    low, high = bounds
    options = {"n_comparisons": N_COMPARISONS, "low": low, "high": high, "n_studies": 5, "n_points": 3, "differences": (0.0,) * 4}
    comparisons = claim_protocol(np.random.default_rng(0), case, **options)
    assert share_by_scipy(comparisons) < 0.05
    assert share_with_a_claim(comparisons[:60]) <= share_by_scipy(comparisons[:60])  # less those that are equivalent


def share_by_scipy(comparisons):
    """The same by scipy, for many: Holm claims something exactly where the smallest of m p values is below 0.05/m."""
    d = comparisons[:, 1:] - comparisons[:, :1]
    p = scipy_stats.ttest_1samp(d, 0, axis=-1).pvalue
    return float(np.mean(p.min(axis=1) < 0.05 / d.shape[1]))


def test_the_words_of_a_search_are_no_claims():
    values = quick_protocol(np.random.default_rng(0), MNIST, n_comparisons=1, n_arms=4)[0]
    family = stats.compare_family({str(a): runs for a, runs in enumerate(values)}, "0", margin=MARGIN, claims_allowed=False)
    assert {c.verdict.word for c in family.values()} <= {"ahead", "behind", "level", "inconclusive"}


def test_a_true_difference_is_found():
    design = {"low": 1e-4, "high": 3e-3, "n_points": 3, "difference": 0.003, "n_comparisons": 2000}
    five, ten = (protocol_power(MNIST, n_studies=n, **design) for n in (5, 10))
    assert 0.5 < five.power < 0.75
    assert ten.power > 0.9
    assert five.least_detectable == pytest.approx(0.0038, abs=0.0004)
    assert 0.035 < five.false_claims < 0.065


def test_narrow_ranges_lose_less_to_bad_points():
    wide, narrow = (
        protocol_power(MNIST, low=low, high=high, n_studies=5, n_points=3, difference=0.003, n_comparisons=1000)
        for low, high in ((1e-6, 1e-1), (1e-4, 1e-3))
    )
    assert narrow.shortfall < 0.0003 < wide.shortfall


class TestPoints:
    def test_eight_points_lie_one_in_each_eighth(self):
        points = scrambled_points(np.random.default_rng(0), 50, 8)
        assert (np.sort(np.floor(points * 8), axis=1) == np.arange(8)).all()

    def test_three_points_are_spread_and_uniform(self):
        points = scrambled_points(np.random.default_rng(0), 4000, 3)
        halves = points[:, :2] < 0.5
        assert (halves.sum(axis=1) == 1).all()
        assert scipy_stats.kstest(points[:, 2], "uniform").pvalue > 0.001
        assert len(np.unique(np.floor(points * 4), axis=0)) == 8  # every nested order of the quarters

    def test_one_point_and_none(self):
        assert scrambled_points(np.random.default_rng(0), 2, 1).shape == (2, 1)
        with pytest.raises(UsageError):
            scrambled_points(np.random.default_rng(0), 2, 0)


def test_arms_share_their_points():
    """Without any noise, identical arms give identical runs in every study, and studies differ."""
    quiet = Surrogate(trial=MNIST.trial, run=MNIST.run, trial_se=0, validation_se=0, seed_sd=0)
    runs = claim_protocol(np.random.default_rng(0), quiet, n_comparisons=3, low=1e-5, high=1e-2, n_studies=5, n_points=1)
    assert (runs[:, 0] == runs[:, 1]).all()
    assert (runs.std(axis=-1) > 0).all()


def test_the_curve_by_hand():
    curve = RateCurve(top=0.9, optimum=-3.0, half_width=0.5, below=0.1, above=0.2)
    assert curve.accuracy(np.array([-5.0, -3.4, -3.0, -2.0, 9.0])) == pytest.approx([0.675, 0.9, 0.9, 0.85, 0.0])
