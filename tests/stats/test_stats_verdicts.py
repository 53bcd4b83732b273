"""The words, the seeds that would settle it, costs to a target, fronts and profiles."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpfree import stats
from bpfree.errors import UnknownNameError, UsageError

pytestmark = pytest.mark.filterwarnings("error")

MARGIN = 0.0025
NOISE = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])


def difference(mean, spread, n=5):
    d = mean + spread * np.resize(NOISE, n)
    return stats.paired_difference(0.9 + d, np.full(n, 0.9))


class TestWords:
    @pytest.mark.parametrize(
        ("mean", "spread", "word"),
        [
            (0.01, 0.001, "better"),
            (-0.01, 0.001, "worse"),
            (0.0, 0.001, "equivalent"),
            (0.0010, 0.0005, "equivalent"),
            (0.0, 0.02, "inconclusive"),
            (0.005, 0.02, "inconclusive"),
            (0.0, 0.0, "equivalent"),
        ],
    )
    def test_each_word_can_be_reached(self, mean, spread, word):
        result = stats.verdict(difference(mean, spread), margin=MARGIN)
        assert result.word == word
        assert result.sentence.startswith(word)
        assert (result.seeds_needed is not None) == (word == "inconclusive")

    def test_lower_is_better_for_energy(self):
        paired = stats.paired_ratio(np.array([0.6, 0.61, 0.59, 0.6, 0.6]), np.ones(5))
        assert stats.verdict(paired, margin=0.05, higher_is_better=False).word == "better"
        assert stats.verdict(paired, margin=0.05, higher_is_better=True).word == "worse"
        sentence = stats.verdict(paired, margin=0.05, higher_is_better=False).sentence
        assert sentence.startswith("better: 0.6 times [0.591, 0.609], p < 0.001, 5 paired seeds")

    def test_sentence_has_points_interval_p_and_n(self):
        sentence = stats.verdict(difference(0.01, 0.001), margin=MARGIN).sentence
        assert sentence == "better: +1.00 points [+0.90, +1.10], p < 0.001, 5 paired seeds."

    def test_sentence_in_plain_units(self):
        paired = stats.paired_difference([10.0, 11.0, 12.5, 11.0, 12.0], [1.0] * 5)
        assert "+10.3 [+9.09, +11.5]" in stats.verdict(paired, margin=0.5, percent=False).sentence

    def test_holm_can_take_a_claim_back(self):
        paired = difference(0.01, 0.008)
        assert paired.p_value < 0.05
        assert stats.verdict(paired, margin=MARGIN).word == "better"
        corrected = stats.verdict(paired, margin=MARGIN, p_adjusted=4 * paired.p_value)
        assert corrected.word == "inconclusive"
        assert "after Holm's correction" in corrected.sentence

    def test_holm_cannot_make_a_claim(self):
        paired = difference(0.001, 0.02)
        assert stats.verdict(paired, margin=MARGIN, p_adjusted=0.0).word == "inconclusive"

    @pytest.mark.parametrize("n", [0, 1, 2, 4])
    def test_too_few_seeds(self, n):
        a = np.array([0.9, 0.91, 0.92, 0.93])[:n]
        result = stats.verdict(stats.paired_difference(a, [0.8] * n), margin=MARGIN)
        assert result.word == "not judged"
        assert f"{n} paired seed{'' if n == 1 else 's'}, at least 5 are needed" in result.sentence
        assert result.text.startswith(f"not judged: {n} paired seed")
        assert result.seeds_needed is None

    def test_seeds_left_out_are_named(self):
        a = {seed: 0.9 + seed / 1000 for seed in range(6)}
        sentence = stats.verdict(stats.paired_difference(a, dict.fromkeys(range(5), 0.8)), margin=MARGIN).sentence
        assert "(seed 5 left out, run by one arm only)" in sentence
        few = stats.verdict(stats.paired_difference(a, dict.fromkeys(range(4), 0.8)), margin=MARGIN).sentence
        assert "(seeds 4, 5 left out, run by one arm only)" in few

    def test_two_identical_differences_are_no_certainty(self):
        """The trap of quantised accuracies: a few seeds that differ by the same one example."""
        result = stats.verdict(stats.paired_difference([0.975] * 5, [0.972] * 5), margin=MARGIN)
        assert (result.word, result.seeds_needed) == ("inconclusive", 6)
        assert stats.verdict(stats.paired_difference([0.975] * 6, [0.972] * 6), margin=MARGIN).word == "better"

    @settings(deadline=None)
    @given(st.lists(st.floats(-0.05, 0.05), min_size=2, max_size=15), st.floats(1e-4, 0.02))
    def test_always_one_word_and_no_nan(self, d, margin):
        result = stats.verdict(stats.paired_difference(d, np.zeros(len(d))), margin=margin)
        few = len(d) < stats.LEAST_PAIRS
        assert result.word in ({"not judged"} if few else {"better", "worse", "equivalent", "inconclusive"})
        assert "nan" not in result.sentence
        assert result.seeds_needed is None or result.seeds_needed > len(d)


class TestSeedsNeeded:
    @pytest.mark.parametrize(("mean", "sd"), [(0.002, 0.003), (0.001, 0.003), (0.004, 0.006), (0.0, 0.004)])
    def test_that_many_seeds_settle_it_four_times_in_five(self, mean, sd):
        """Given the true mean and spread, the named number concludes in 80 per cent of simulated studies."""
        d = np.array([mean - sd / math.sqrt(2), mean + sd / math.sqrt(2)])  # mean and sd exactly
        n = stats.seeds_needed(stats.paired_difference(d, np.zeros(2)), 0.0025)
        rng = np.random.default_rng(0)

        def settled(n):
            pairs = [stats.paired_difference(rng.normal(mean, sd, n), np.zeros(n)) for _ in range(400)]
            return np.mean([p.interval.excludes(0.0) or stats.tost(p, 0.0025).equivalent for p in pairs])

        assert settled(n) >= 0.75
        assert settled(n // 3) < 0.75  # and not by naming far too many

    def test_fewer_for_less_spread(self):
        many, few = (stats.seeds_needed(difference(0.001, s), MARGIN) for s in (0.02, 0.005))
        assert few < many

    def test_hopeless_cases_are_not_given_a_number(self):
        # at the margin exactly, and with a spread a thousand times the difference
        assert stats.seeds_needed(difference(1e-5, 10.0), MARGIN) is None
        result = stats.verdict(difference(1e-5, 10.0), margin=MARGIN)
        assert "no sensible number" in result.sentence


class TestFamily:
    VALUES = {
        "backprop": {s: 0.90 + 0.001 * s for s in range(5)},
        "a": {s: 0.92 + 0.001 * s + 0.0003 * (s % 2) for s in range(5)},
        "b": {s: 0.90 + 0.001 * s + 0.0002 * (s % 2) for s in range(5)},
    }

    def test_compares_all_with_the_baseline_under_holm(self):
        family = stats.compare_family(self.VALUES, "backprop", margin=MARGIN)
        assert list(family) == ["a", "b"]
        assert family["a"].verdict.word == "better"
        assert family["b"].verdict.word == "equivalent"
        assert family["a"].p_holm == pytest.approx(2 * family["a"].paired.p_value)
        assert family["b"].equivalence.equivalent
        assert family["a"].wilcoxon.p_value == pytest.approx(0.0625)

    def test_ratios(self):
        costs = {arm: {s: v * 100 for s, v in row.items()} for arm, row in self.VALUES.items()}
        family = stats.compare_family(costs, "backprop", margin=0.05, scale="ratio", higher_is_better=False)
        assert family["a"].verdict.word == "equivalent"

    def test_unknown_baseline(self):
        with pytest.raises(UnknownNameError, match="did you mean backprop"):
            stats.compare_family(self.VALUES, "backprob", margin=MARGIN)

    def test_unknown_scale(self):
        with pytest.raises(UsageError, match="'difference' or 'ratio'"):
            stats.compare_family(self.VALUES, "backprop", margin=MARGIN, scale="log")


class TestTargets:
    HISTORY = ((0.5, 1.0, 10.0), (math.nan, 2.0, 20.0), (None, 2.5, 25.0), (0.9, 3.0, 30.0), (0.8, 4.0, 40.0))

    def test_first_pass_that_reaches_it(self):
        assert stats.time_to_target(self.HISTORY, 0.9) == 3.0
        assert stats.energy_to_target(self.HISTORY, 0.9) == 30.0
        assert stats.time_to_target(self.HISTORY, 0.1) == 1.0

    def test_a_miss_is_infinite(self):
        assert stats.time_to_target(self.HISTORY, 0.91) == math.inf
        assert stats.energy_to_target(self.HISTORY, 0.91) == math.inf
        assert stats.time_to_target([], 0.9) == math.inf

    def test_no_joules_no_energy(self):
        blind = [(value, time, None) for value, time, _ in self.HISTORY]
        assert stats.energy_to_target(blind, 0.9) is None
        assert stats.energy_to_target(blind, 0.99) is None

    def test_one_pass_without_joules_does_not_hide_the_others(self):
        history = [(0.5, 1.0, None), (0.9, 3.0, 30.0)]
        assert stats.energy_to_target(history, 0.9) == 30.0
        assert stats.energy_to_target(history, 0.5) is None
        assert stats.energy_to_target(history, 0.99) == math.inf
        assert stats.energy_to_target([], 0.9) == math.inf

    def test_nan_target(self):
        with pytest.raises(UsageError, match="nan"):
            stats.time_to_target(self.HISTORY, math.nan)


class TestFront:
    def test_by_hand(self):
        points = {"a": (1, 0.5), "b": (2, 0.9), "c": (3, 0.8), "d": (4, 0.95), "e": (2, 0.7), "f": (2, 0.9)}
        assert stats.pareto_front(points) == ["a", "b", "f", "d"]

    def test_what_was_not_measured_is_not_on_it(self):
        points = {"a": (None, 0.99), "b": (math.inf, 1.0), "c": (5, None), "d": (9, 0.1), "e": (1, math.nan)}
        assert stats.pareto_front(points) == ["d"]
        assert stats.pareto_front({}) == []

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
    def test_is_exactly_what_nobody_beats(self, pairs):
        points = {str(k): (float(c), float(v)) for k, (c, v) in enumerate(pairs)}

        def beaten(name):
            c, v = points[name]
            return any(c2 <= c and v2 >= v and (c2 < c or v2 > v) for c2, v2 in points.values())

        assert set(stats.pareto_front(points)) == {name for name in points if not beaten(name)}


class TestProfile:
    COSTS = {
        "a": {"x": 1.0, "y": 4.0, "z": math.inf},
        "b": {"x": 2.0, "y": 2.0, "z": math.inf},
    }

    def test_by_hand(self):
        profile = stats.performance_profile(self.COSTS)
        assert profile.taus == (1.0, 2.0)
        assert profile.shares["a"] == pytest.approx((1 / 3, 2 / 3))
        assert profile.shares["b"] == pytest.approx((1 / 3, 2 / 3))
        assert profile.ratios["a"] == {"x": 1.0, "y": 2.0, "z": math.inf}

    def test_a_miss_stays_a_miss_at_any_factor(self):
        profile = stats.performance_profile(self.COSTS, taus=[1, 1e9])
        assert profile.shares["a"][-1] == pytest.approx(2 / 3)

    def test_what_was_not_run_is_not_a_miss(self):
        with pytest.raises(UsageError, match="arm b was not run on y"):
            stats.performance_profile({"a": {"x": 1.0, "y": 1.0}, "b": {"x": 1.0}})

    @pytest.mark.parametrize("cost", [0.0, -1.0, math.nan])
    def test_bad_cost(self, cost):
        with pytest.raises(UsageError, match="above zero"):
            stats.performance_profile({"a": {"x": cost}})

    def test_nothing(self):
        with pytest.raises(UsageError, match="at least one arm"):
            stats.performance_profile({})
