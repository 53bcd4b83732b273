"""Unpaired and crossed comparisons, correlation, and the bootstrap by seed."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bpfree import stats
from bpfree.bits import pack_correct, unpack_correct
from bpfree.errors import UsageError

pytestmark = pytest.mark.filterwarnings("error")


class TestWelch:
    @pytest.mark.parametrize("sizes", [(3, 3), (5, 4), (10, 3)])
    def test_summaries_give_scipys_numbers(self, sizes):
        rng = np.random.default_rng(sum(sizes))
        a, b = rng.normal(1, 2, sizes[0]), rng.normal(0, 1, sizes[1])
        expected = scipy_stats.ttest_ind(a, b, equal_var=False)
        low, high = expected.confidence_interval(0.9)
        result = stats.welch_of_summaries(stats.summary(a), stats.summary(b), 0.9)
        assert (result.p_value, result.df) == pytest.approx((expected.pvalue, expected.df))
        assert (result.interval.low, result.interval.high) == pytest.approx((low, high))

    def test_edges(self):
        assert stats.summary([0.5]) == stats.Summary(mean=0.5, sd=None, n=1)
        assert stats.summary([0.1 + 0.2, 0.3]).sd == 0.0
        assert stats.welch([1.0, 2.0], []).interval.reason == "one of the arms has no value"
        for bad in ([], [float("nan")]):
            with pytest.raises(UsageError):
                stats.summary(bad)
        with pytest.raises(UsageError, match="between 0 and 1"):
            stats.welch([1.0, 2.0], [1.0, 3.0], level=95)


class TestCorrelation:
    def test_by_seed_and_not_by_position(self):
        a, b = {0: 1.0, 1: 2.0, 2: 4.0, 9: 0.0}, {2: 1.0, 1: 3.0, 0: 4.0}
        assert stats.paired_correlation(a, b) == pytest.approx(scipy_stats.pearsonr([1, 2, 4], [4, 3, 1]).statistic)

    def test_where_there_is_none(self):
        assert stats.paired_correlation([1.0, 2.0], [1.0, 2.0]) is None
        assert stats.paired_correlation([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]) is None
        assert stats.paired_correlation([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]) <= 1.0


def draws(rng, n, shape, sd_studies, sd_splits, sd_rest):
    studies, splits = shape
    a = rng.normal(0, sd_studies, (n, studies, 1)) + rng.normal(0, sd_splits, (n, 1, splits))
    return a + rng.normal(0, sd_rest, (n, *shape))


class TestCrossed:
    def test_by_hand(self):
        """Rows 1 and 3 and columns 1 and 3 on average: mean squares A 4, B 4, E 1, so 7 of 4 cells, and 49/33 degrees."""
        d = np.array([[0.5, 1.5], [1.5, 4.5]])
        result = stats.crossed_interval(d)
        assert result.interval.mean == 2.0
        assert result.df == pytest.approx(7**2 / (4**2 + 4**2 + 1**2))
        half = scipy_stats.t.ppf(0.975, result.df) * np.sqrt(7 / 4)
        assert result.interval.half_width == pytest.approx(half)
        assert (result.sd_studies, result.sd_splits, result.sd_rest) == pytest.approx((1.5**0.5, 1.5**0.5, 1.0))

    def test_turned_round_it_is_the_same(self):
        d = draws(np.random.default_rng(0), 1, (5, 3), 1, 2, 1)[0]
        one, other = stats.crossed_interval(d), stats.crossed_interval(d.T)
        assert (one.interval.low, one.interval.high) == pytest.approx((other.interval.low, other.interval.high))
        assert (one.sd_studies, one.sd_splits) == pytest.approx((other.sd_splits, other.sd_studies))

    @pytest.mark.parametrize("shape", [(5, 3), (5, 6)])
    @pytest.mark.parametrize("sds", [(1, 1, 1), (0, 2, 1), (1, 0, 1), (0, 0, 1), (0.2, 2, 0.2)])
    def test_coverage(self, shape, sds):
        """At least 93.5 per cent whatever dominates; a t interval over the cells covers far less when splits do."""
        d = draws(np.random.default_rng(0), 1500, shape, *sds)
        covered = np.mean([not stats.crossed_interval(x).interval.excludes(0.0) for x in d])
        assert covered >= 0.935

    def test_cells_as_if_independent_cover_too_little(self):
        d = draws(np.random.default_rng(0), 1500, (5, 3), 0, 2, 1)
        assert np.mean([not stats.mean_interval(x.ravel()).excludes(0.0) for x in d]) < 0.85

    def test_one_split_is_the_paired_interval_and_says_so(self):
        values = [0.1, 0.3, 0.2, 0.5]
        result = stats.crossed_interval(np.array(values)[:, None])
        expected = scipy_stats.ttest_1samp(values, 0)
        assert (result.p_value, result.df) == pytest.approx((expected.pvalue, 3))
        assert result.interval.reason.startswith("one split")
        assert stats.crossed_interval(np.array([values])).interval.reason.startswith("one study")
        assert stats.crossed_interval(np.array([[1.0]])).interval.low is None

    def test_no_spread(self):
        result = stats.crossed_interval(np.full((3, 3), 0.5))
        assert (result.interval.low, result.interval.high, result.p_value) == (0.5, 0.5, None)

    @pytest.mark.parametrize("d", [np.zeros(3), np.zeros((0, 3)), np.full((2, 2), np.nan)])
    def test_refused(self, d):
        with pytest.raises(UsageError):
            stats.crossed_interval(d)


class TestBootstrapBySeed:
    def test_pairs_by_seed_from_packed_bits(self):
        rng = np.random.default_rng(0)
        a, b = rng.random((3, 50)) < 0.9, rng.random((3, 50)) < 0.8
        packed_a = {seed: pack_correct(row) for seed, row in zip((7, 1, 3), a, strict=True)}
        packed_b = {seed: pack_correct(row) for seed, row in zip((7, 1, 3, 9), [*b, b[0]], strict=True)}
        of_a, of_b = ({seed: unpack_correct(text) for seed, text in packed.items()} for packed in (packed_a, packed_b))
        order = [1, 2, 0]
        assert stats.bootstrap_by_seed(of_a, of_b) == stats.hierarchical_bootstrap(a[order], b[order])

    def test_refused(self):
        row = np.ones(5, dtype=bool)
        with pytest.raises(UsageError, match="share no seed"):
            stats.bootstrap_by_seed({0: row}, {1: row})
        with pytest.raises(UsageError, match="one test set"):
            stats.bootstrap_by_seed({0: row}, {0: row[:4]})
