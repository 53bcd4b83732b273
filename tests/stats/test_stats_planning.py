"""Looks, power and the least detectable difference: against scipy, published tables and simulation."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bpfree import stats
from bpfree.errors import UsageError

pytestmark = pytest.mark.filterwarnings("error")


class TestSpending:
    def test_by_hand(self):
        assert stats.spent(0.5, 0.05, "pocock") == pytest.approx(0.05 * math.log(1 + (math.e - 1) / 2))
        z = scipy_stats.norm.ppf(0.975)
        assert stats.spent(0.25, 0.05) == pytest.approx(2 * scipy_stats.norm.sf(2 * z))

    @pytest.mark.parametrize("spending", ["pocock", "obrien-fleming"])
    def test_all_at_the_end_and_no_more(self, spending):
        assert stats.spent(1.0, 0.05, spending) == pytest.approx(0.05)
        assert stats.spent(7.0, 0.05, spending) == pytest.approx(0.05)

    def test_refused(self):
        with pytest.raises(UsageError, match="'pocock' or 'obrien-fleming'"):
            stats.spent(0.5, 0.05, "linear")  # pyright: ignore[reportArgumentType]
        for share, alpha in ((0.0, 0.05), (math.nan, 0.05), (0.5, 0.0), (0.5, 1.0)):
            with pytest.raises(UsageError):
                stats.spent(share, alpha)


class TestLooks:
    def test_one_look_at_the_planned_seeds_has_the_whole_level(self):
        assert stats.level_at_look(1, [5], 5) == pytest.approx(0.05)

    def test_seeds_beyond_the_plan_support_no_new_claim(self):
        assert stats.level_at_look(2, [5, 14], 5) == 0.0

    @pytest.mark.parametrize("spending", ["pocock", "obrien-fleming"])
    def test_levels_add_up_to_the_whole(self, spending):
        levels = stats.levels_of_looks([5, 12, 30, 60], 60, spending=spending)
        assert sum(levels) == pytest.approx(0.05)
        assert all(level > 0 for level in levels)
        assert stats.level_at_look(2, [5, 12, 30, 60], 60, spending=spending) == levels[1]
        assert stats.level_at_look(2, [5, 12], 60, spending=spending) == levels[1]

    def test_an_early_look_gets_its_share_only(self):
        assert stats.level_at_look(1, [5], 60) < 1e-9
        assert stats.level_at_look(1, [5], 60, spending="pocock") == pytest.approx(stats.spent(5 / 60, spending="pocock"))

    @pytest.mark.parametrize(
        ("look", "n", "planned"), [(0, [5], 9), (2, [5], 9), (1, [], 9), (2, [5, 5], 9), (2, [5, 4], 9), (1, [0], 9), (1, [5], 0)]
    )
    def test_refused(self, look, n, planned):
        with pytest.raises(UsageError):
            stats.level_at_look(look, n, planned)


def false_claims(levels, n_studies=1000, sd=0.0075, margin=0.0025, most=60):
    """No difference; start with 5 seeds and follow ``seeds_needed`` up to 60, testing whenever there are that many."""
    rng = np.random.default_rng(1)
    claims = 0
    for _ in range(n_studies):
        d, looks = rng.normal(0, sd, most), [5]
        while True:
            paired = stats.paired_difference(d[: looks[-1]], np.zeros(looks[-1]))
            alpha = levels(looks)
            claims += paired.p_value < alpha
            if paired.p_value < alpha or looks[-1] == most or stats.tost(paired, margin).equivalent:
                break
            looks.append(min(stats.seeds_needed(paired, margin) or most, most))
    return claims / n_studies


def test_adding_seeds_until_it_holds_claims_too_often_and_the_spent_level_does_not():
    """Optional stopping: 12.8 per cent in 600 studies, and 4.9 per cent in 4,000 once the level is spent over the looks."""
    assert false_claims(lambda _: 0.05) > 0.10
    assert false_claims(lambda looks: stats.level_at_look(len(looks), looks, 60)) <= 0.055


class TestPower:
    @pytest.mark.parametrize(("n", "effect", "alpha"), [(5, 1.0, 0.05), (10, 0.8, 0.05 / 3), (2, 3.0, 0.05), (30, 0.0, 0.05)])
    def test_is_scipys_noncentral_t(self, n, effect, alpha):
        critical, shift = scipy_stats.t.ppf(1 - alpha / 2, n - 1), effect * math.sqrt(n)
        expected = scipy_stats.nct.sf(critical, n - 1, shift) + scipy_stats.nct.cdf(-critical, n - 1, shift)
        assert stats.power_of(n, 2.0, -2.0 * effect, alpha) == pytest.approx(expected, abs=1e-6)

    def test_cohens_table(self):
        """Two-sided 0.05, effect 0.5, power 0.8: 34 pairs (G*Power, and Cohen's table 2.3.5 for one sample)."""
        assert stats.power_of(34, 1.0, 0.5) >= 0.8 > stats.power_of(33, 1.0, 0.5)

    def test_least_detectable_difference_is_the_inverse(self):
        least = stats.least_detectable_difference(5, 0.002, 0.05)
        assert stats.power_of(5, 0.002, least) == pytest.approx(0.8)
        assert least == pytest.approx(0.00336, abs=1e-5)
        assert (
            stats.least_detectable_difference(5, 0.002, 0.05 / 3) > least > stats.least_detectable_difference(5, 0.002, power=0.5)
        )
        assert stats.least_detectable_difference(5, 0.0) == 0.0

    def test_by_simulation(self):
        least = stats.least_detectable_difference(5, 1.0)
        d = np.random.default_rng(0).normal(least, 1.0, (20_000, 5))
        assert np.mean(scipy_stats.ttest_1samp(d, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.01)

    @pytest.mark.parametrize(
        ("n", "sd", "alpha", "power"), [(1, 1.0, 0.05, 0.8), (5, -1, 0.05, 0.8), (5, 1, 0, 0.8), (5, 1, 0.05, 1)]
    )
    def test_refused(self, n, sd, alpha, power):
        with pytest.raises(UsageError):
            stats.least_detectable_difference(n, sd, alpha, power)


def test_no_advice_without_a_level():
    paired = stats.paired_difference([0.91, 0.92, 0.95], [0.9, 0.93, 0.9])
    assert stats.seeds_needed(paired, 0.0025) is not None
    assert stats.seeds_needed(paired, 0.0025, alpha_different=0.0) is None


class TestSeedsNeeded:
    @pytest.mark.parametrize(
        ("mean", "margin"), [(0.01, 0.0025), (-0.006, 0.0025), (0.0005, 0.01), (-0.002, 0.01), (0.004, 0.004)]
    )
    def test_is_the_first_number_at_which_either_formula_holds(self, mean, margin):
        """Deviations -.008, 0, +.008 around the mean: s = .008."""
        d = mean + 0.008 * np.array([-1, 0, 1])
        first = next(n for n in range(4, 10_001) if self.shows(n, mean, 0.008) or self.equivalent(n, mean, 0.008, margin))
        assert stats.seeds_needed(stats.paired_difference(d, np.zeros(3)), margin) == first

    @staticmethod
    def shows(n, mean, sd):
        t = scipy_stats.t(n - 1)
        return (t.ppf(0.975) + t.ppf(0.8)) * sd / math.sqrt(n) <= abs(mean)

    @staticmethod
    def equivalent(n, mean, sd, margin):
        t, error = scipy_stats.t(n - 1), sd / math.sqrt(n)
        limit = t.ppf(0.95)
        return t.cdf((margin - mean) / error - limit) + t.cdf((margin + mean) / error - limit) - 1 >= 0.8

    @pytest.mark.parametrize(
        ("difference", "n"),
        [
            (0.01, 6),  # two-sided sign test: 2 x .5^6 = .031, 2 x .5^5 = .0625
            (-0.01, 6),
            (0.001, 5),  # within the margin: .5^5 = .031
            (0.0025, 6),  # at the margin is not within it
        ],
    )
    def test_without_spread_it_is_the_sign_test(self, difference, n):
        paired = stats.paired_difference([difference] * 3, [0.0] * 3)
        assert stats.seeds_needed(paired, 0.0025) == n

    def test_more_than_ten_thousand_are_not_named(self):
        d = 0.002500001 + 0.05 * np.array([-1, 0, 1])  # at the margin no number shows that it is within
        assert stats.seeds_needed(stats.paired_difference(d, np.zeros(3)), 0.0025, alpha_different=1e-9) is None
