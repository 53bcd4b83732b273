"""Intervals and tests against scipy, against numbers worked out elsewhere, and at the edges."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from bpfree import stats
from bpfree.errors import UsageError

pytestmark = pytest.mark.filterwarnings("error")

# Student's own data (1908, after Cushny and Peebles): extra hours of sleep by two drugs, ten patients.
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_students_own_example():
    """R's t.test on these data: t = -4.0621, p = 0.002833, [-2.4598858, -0.7001142], mean -1.58."""
    paired = stats.paired_difference(DRUG_1, DRUG_2)
    assert paired.interval.mean == pytest.approx(-1.58)
    assert paired.interval.low == pytest.approx(-2.4598858, abs=1e-7)
    assert paired.interval.high == pytest.approx(-0.7001142, abs=1e-7)
    assert paired.p_value == pytest.approx(0.002833, abs=1e-6)
    assert paired.sd == pytest.approx(1.229995, abs=1e-6)


def test_welch_on_the_same_data():
    """R: t.test(extra ~ group): [-3.3654832, 0.2054832], p = 0.07939."""
    result = stats.welch(DRUG_1, DRUG_2)
    assert result.interval.low == pytest.approx(-3.3654832, abs=1e-7)
    assert result.interval.high == pytest.approx(0.2054832, abs=1e-7)
    assert result.p_value == pytest.approx(0.07939, abs=1e-5)


values = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30)


@settings(deadline=None)
@given(values, st.floats(0.5, 0.999))
def test_mean_interval_is_scipys(x, level):
    interval = stats.mean_interval(x, level)
    if interval.reason:
        assert interval.low == interval.high == x[0]
        return
    low, high = scipy_stats.t.interval(level, len(x) - 1, np.mean(x), scipy_stats.sem(x))
    assert interval.low == pytest.approx(low, rel=1e-9, abs=1e-9)
    assert interval.high == pytest.approx(high, rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=20))
def test_paired_difference_is_antisymmetric(pairs):
    a, b = zip(*pairs, strict=True)
    one, other = stats.paired_difference(a, b), stats.paired_difference(b, a)
    assert one.interval.low == pytest.approx(-other.interval.high, abs=1e-12)
    assert one.p_value == pytest.approx(other.p_value)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6)), min_size=2, max_size=20))
def test_paired_ratio_turned_round_is_the_inverse(pairs):
    a, b = zip(*pairs, strict=True)
    one, other = stats.paired_ratio(a, b), stats.paired_ratio(b, a)
    assert one.interval.mean == pytest.approx(1 / other.interval.mean)
    assert one.p_value == pytest.approx(other.p_value, rel=1e-6, abs=1e-12)


def test_ratio_is_the_geometric_mean():
    paired = stats.paired_ratio([2.0, 8.0], [1.0, 1.0])
    assert paired.interval.mean == pytest.approx(4.0)
    assert paired.scale == "ratio"
    log = stats.mean_interval([math.log(2), math.log(8)])
    assert paired.interval.low == pytest.approx(math.exp(log.low))


class TestPairing:
    def test_by_seed_and_not_by_position(self):
        a, b = {3: 0.9, 1: 0.5, 2: 0.7}, {1: 0.4, 2: 0.6, 3: 0.8}
        paired = stats.paired_difference(a, b)
        assert paired.working == pytest.approx((0.1, 0.1, 0.1))
        assert paired.constant

    def test_seeds_of_one_arm_only_are_named(self):
        paired = stats.paired_difference({1: 0.5, 2: 0.6, 7: 0.1}, {1: 0.4, 2: 0.4, 9: 0.1})
        assert paired.n == 2
        assert paired.unpaired == (7, 9)

    @pytest.mark.parametrize(
        ("a", "b", "words"),
        [
            ([1.0, 2.0], [1.0], "2 and 1"),
            ({1: 0.5}, [0.5], "both arms by seed or both as sequences"),
            ([1.0, math.nan], [1.0, 1.0], "finite"),
            ([1.0, math.inf], [1.0, 1.0], "finite"),
            ([[1.0]], [[1.0]], "shape"),
        ],
    )
    def test_what_cannot_be_paired(self, a, b, words):
        with pytest.raises(UsageError, match=words):
            stats.paired_difference(a, b)

    @pytest.mark.parametrize("cost", [0.0, -1.0])
    def test_a_ratio_needs_positive_costs(self, cost):
        with pytest.raises(UsageError, match="above zero"):
            stats.paired_ratio([1.0, cost], [1.0, 1.0])


class TestEdges:
    def test_one_seed_has_no_interval_and_says_why(self):
        interval = stats.mean_interval([0.5])
        assert (interval.mean, interval.low, interval.high) == (0.5, None, None)
        assert "at least two" in interval.reason
        assert interval.half_width is None
        assert not interval.excludes(0.0)
        paired = stats.paired_difference([0.5], [0.4])
        assert paired.p_value is None
        assert paired.sd is None

    def test_no_seed_at_all(self):
        assert stats.mean_interval([]).mean is None
        paired = stats.paired_difference({1: 0.5}, {2: 0.5})
        assert (paired.n, paired.interval.mean, paired.p_value) == (0, None, None)

    def test_identical_runs(self):
        paired = stats.paired_difference([0.9, 0.91, 0.92], [0.9, 0.91, 0.92])
        assert (paired.interval.low, paired.interval.high) == (0.0, 0.0)
        assert paired.p_value == 1.0
        assert paired.sd == 0.0

    def test_rounding_is_no_spread(self):
        paired = stats.paired_difference([0.1 + 0.2, 0.3], [0.3, 0.1 + 0.2 - 5e-17])
        assert paired.constant
        assert paired.working == (0.0, 0.0)

    def test_a_constant_difference_is_judged_by_the_sign_test(self):
        """The t test would claim certainty from two seeds; 2^(1 - n) is the exact chance."""
        for n, p in ((2, 0.5), (5, 0.0625), (6, 0.03125)):
            paired = stats.paired_difference([0.75] * n, [0.5] * n)
            assert paired.constant
            assert paired.p_value == p
            assert paired.interval.low == paired.interval.high == 0.25

    def test_tiny_but_real_spread_is_kept(self):
        paired = stats.paired_difference([1e-6, 2e-6, 4e-6], [0.0, 0.0, 0.0])
        assert not paired.constant
        assert paired.sd > 0

    @pytest.mark.parametrize("level", [0, 1, -1, math.nan, 95])
    def test_bad_level(self, level):
        with pytest.raises(UsageError, match="between 0 and 1"):
            stats.mean_interval([1.0, 2.0], level)

    def test_welch_edges(self):
        assert stats.welch([1.0], [1.0, 2.0]).p_value is None
        assert stats.welch([], [1.0, 2.0]).interval.mean is None
        same = stats.welch([1.0, 1.0], [2.0, 2.0])
        assert same.interval.mean == same.interval.low == -1.0
        assert same.p_value is None
        one_constant = stats.welch([1.0, 1.0], [2.0, 3.0])
        assert 0 < one_constant.p_value < 1


class TestWilcoxon:
    def test_exact_by_hand(self):
        """Five positive differences: 2 of the 32 signings are as extreme."""
        test = stats.wilcoxon(stats.paired_difference([5, 6, 7, 8, 10], [4, 4, 4, 4, 5]))
        assert test.p_value == pytest.approx(2 / 32)
        assert "cannot give less than 0.0625" in test.reason

    def test_ties_and_zeros_are_exact_too(self):
        """Differences 0, 1, 1, 1, -1: zeros keep their rank (Pratt), so that the others have rank 3.5 each.

        Of the 16 signings of four equal ranks, those with at least 3 alike: 2 x (1 + 4) = 10.
        """
        test = stats.wilcoxon(stats.paired_difference([0, 1, 1, 1, 0], [0, 0, 0, 0, 1]))
        assert test.p_value == pytest.approx(10 / 16)

    def test_students_data(self):
        test = stats.wilcoxon(stats.paired_difference(DRUG_1, DRUG_2))
        assert 0.003 < test.p_value < 0.01

    @pytest.mark.parametrize("n", [13, 40, 60])
    def test_many_pairs(self, n):
        rng = np.random.default_rng(n)
        d = rng.normal(size=n)
        expected = scipy_stats.wilcoxon(d).pvalue
        assert stats.wilcoxon(stats.paired_difference(d, np.zeros(n))).p_value == pytest.approx(expected)
        tied = np.round(d)
        assert 0 < stats.wilcoxon(stats.paired_difference(tied, np.zeros(n))).p_value <= 1

    def test_edges(self):
        assert stats.wilcoxon(stats.paired_difference([1.0], [0.0])).p_value is None
        assert stats.wilcoxon(stats.paired_difference([1.0, 2.0], [1.0, 2.0])).p_value == 1.0


class TestHolm:
    def test_by_hand(self):
        adjusted = stats.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
        assert adjusted == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
        assert list(adjusted) == ["a", "b", "c", "d"]

    def test_what_was_not_tested_does_not_count(self):
        assert stats.holm({"a": 0.03, "b": None}) == {"a": 0.03, "b": None}
        assert stats.holm({}) == {}

    @settings(deadline=None)
    @given(st.dictionaries(st.integers(), st.floats(0, 1), min_size=1, max_size=12))
    def test_properties(self, p_values):
        adjusted = stats.holm(p_values)
        for key, p in p_values.items():
            assert p <= adjusted[key] <= min(1.0, len(p_values) * p) + 1e-15
        order = sorted(p_values, key=p_values.get)
        assert [adjusted[k] for k in order] == sorted(adjusted.values())

    @pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
    def test_not_a_p_value(self, p):
        with pytest.raises(UsageError, match="between 0 and 1"):
            stats.holm({"a": p})


class TestTost:
    def test_equals_two_one_sided_tests_of_scipy(self):
        d = np.array([0.001, -0.0005, 0.0012, 0.0002, 0.0007])
        result = stats.tost(stats.paired_difference(d, np.zeros(5)), 0.0025)
        lower = scipy_stats.ttest_1samp(d, -0.0025, alternative="greater").pvalue
        upper = scipy_stats.ttest_1samp(d, 0.0025, alternative="less").pvalue
        assert result.p_value == pytest.approx(max(lower, upper))
        assert result.equivalent

    @settings(deadline=None)
    @given(st.lists(st.floats(-0.01, 0.01), min_size=3, max_size=12), st.floats(0.0005, 0.02))
    def test_equivalent_exactly_when_the_90_percent_interval_is_within_the_margin(self, d, margin):
        paired = stats.paired_difference(d, np.zeros(len(d)), level=0.90)
        if paired.constant:
            return
        inside = -margin < paired.interval.low and paired.interval.high < margin
        edge = min(abs(margin - paired.interval.high), abs(margin + paired.interval.low)) < 1e-9
        assert edge or stats.tost(paired, margin).equivalent == inside

    def test_identical_runs_need_five_seeds(self):
        same = [stats.tost(stats.paired_difference([0.9] * n, [0.9] * n), 0.0025).equivalent for n in (2, 4, 5, 9)]
        assert same == [False, False, True, True]

    def test_constant_difference_above_the_margin(self):
        result = stats.tost(stats.paired_difference([0.9] * 9, [0.8] * 9), 0.0025)
        assert (result.equivalent, result.p_value) == (False, 1.0)

    def test_ratio_margin_is_a_factor(self):
        a, b = np.array([1.03, 1.031, 1.029, 1.03, 1.0305]), np.ones(5)
        assert stats.tost(stats.paired_ratio(a, b), 0.05).equivalent
        assert stats.tost(stats.paired_ratio(b, a), 0.05).equivalent
        assert not stats.tost(stats.paired_ratio(a, b), 0.02).equivalent

    def test_ratio_margin_is_symmetric(self):
        """0.952 and 1.05 = 1/0.952 are as far from 1 as each other; ±0.05 on the logarithm would let 0.9515 pass."""
        just_inside, just_outside = np.array([1.0499, 1.0499, 1.0499, 1.0499, 1.0499]), 1.0513 * np.ones(5)
        assert stats.tost(stats.paired_ratio(just_inside, np.ones(5)), 0.05).equivalent
        assert not stats.tost(stats.paired_ratio(just_outside, np.ones(5)), 0.05).equivalent
        assert not stats.tost(stats.paired_ratio(np.ones(5), 1.0505 * np.ones(5)), 0.05).equivalent

    def test_one_seed(self):
        result = stats.tost(stats.paired_difference([1.0], [1.0]), 0.1)
        assert not result.equivalent
        assert "at least two" in result.reason

    @pytest.mark.parametrize("margin", [0, -1, math.nan])
    def test_bad_margin(self, margin):
        with pytest.raises(UsageError, match="above 0"):
            stats.tost(stats.paired_difference([1.0, 2.0], [1.0, 2.0]), margin)


class TestBootstrap:
    def naive(self, a, b, n, seed):
        rng = np.random.default_rng(seed)
        d = a.astype(float) - b.astype(float)
        seeds, examples = d.shape
        return np.array([d[np.ix_(rng.integers(0, seeds, seeds), rng.integers(0, examples, examples))].mean() for _ in range(n)])

    def test_equals_the_naive_one_in_distribution(self):
        rng = np.random.default_rng(1)
        a, b = rng.random((6, 200)) < 0.9, rng.random((6, 200)) < 0.87
        fast = stats.hierarchical_bootstrap(a, b, n_resamples=20_000)
        naive = np.quantile(self.naive(a, b, 20_000, 2), [0.025, 0.975])
        assert (fast.low, fast.high) == pytest.approx(tuple(naive), abs=0.0015)
        assert fast.mean == pytest.approx(a.mean() - b.mean())

    def test_spread_of_seeds_and_of_examples_both_count(self):
        """All examples alike within a seed: only seeds matter; all seeds alike: only examples matter."""
        zeros = np.zeros((5, 400), bool)
        by_seed = zeros.copy()
        by_seed[:2] = True
        by_example = zeros.copy()
        by_example[:, :160] = True
        seeds, examples = (stats.hierarchical_bootstrap(x, zeros) for x in (by_seed, by_example))
        assert seeds.mean == examples.mean == 0.4
        assert seeds.half_width == pytest.approx(0.4, abs=0.01)  # binomial(5, 0.4)/5 between 0 and 0.8
        expected = 1.96 * math.sqrt(0.4 * 0.6 / 400)
        assert examples.half_width == pytest.approx(expected, rel=0.05)

    def test_the_pairing_of_seeds_is_kept(self):
        """Both arms fail in the same seeds: the difference has no spread at all."""
        same = np.random.default_rng(0).random((4, 50)) < 0.5
        interval = stats.hierarchical_bootstrap(same, same)
        assert (interval.low, interval.high, interval.mean) == (0.0, 0.0, 0.0)

    def test_same_seed_same_result(self):
        rng = np.random.default_rng(1)
        a, b = rng.random((7, 990)) < 0.9, rng.random((7, 990)) < 0.8
        assert stats.hierarchical_bootstrap(a, b) == stats.hierarchical_bootstrap(a, b)
        assert stats.hierarchical_bootstrap(a, b) != stats.hierarchical_bootstrap(a, b, seed=1)

    def test_one_seed_is_said(self):
        interval = stats.hierarchical_bootstrap(np.ones((1, 9), bool), np.zeros((1, 9), bool))
        assert "test examples only" in interval.reason

    def test_a_real_size_is_fast(self):
        import time

        rng = np.random.default_rng(1)
        a, b = rng.random((20, 10_000)) < 0.98, rng.random((20, 10_000)) < 0.98
        start = time.monotonic()
        stats.hierarchical_bootstrap(a, b)
        assert time.monotonic() - start < 20

    @pytest.mark.parametrize(("a", "b"), [((2, 3), (3, 2)), ((0, 3), (0, 3)), ((3,), (3,)), ((2, 0), (2, 0))])
    def test_bad_shapes(self, a, b):
        with pytest.raises(UsageError, match="seeds, examples"):
            stats.hierarchical_bootstrap(np.zeros(a, bool), np.zeros(b, bool))

    def test_bad_number(self):
        with pytest.raises(UsageError, match="n_resamples"):
            stats.hierarchical_bootstrap(np.zeros((2, 2), bool), np.zeros((2, 2), bool), n_resamples=0)


def test_warnings_are_errors_here():
    """The mark above must be in force, or the edge cases prove less than they claim."""
    with pytest.raises(RuntimeWarning):
        warnings.warn("x", RuntimeWarning, stacklevel=1)
