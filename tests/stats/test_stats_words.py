"""From evidence to a word: every word, every condition, and the edges where a test could be strict or not."""

import dataclasses

import numpy as np
import pytest

from bpfree import stats
from bpfree.errors import UsageError

pytestmark = pytest.mark.filterwarnings("error")

MARGIN = 0.0025
NOISE = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])


def evidence(mean, spread=0.001, n=5, **changes):
    d = mean + spread * np.resize(NOISE, n)
    paired = stats.paired_difference(0.9 + d, np.full(n, 0.9))
    p_equivalence = stats.tost(paired, MARGIN).p_value
    return stats.Evidence(paired=paired, p_difference=paired.p_value, p_equivalence=p_equivalence, margin=MARGIN, **changes)


def ratio(factor, spread=0.01, **changes):
    paired = stats.paired_ratio(factor * np.exp(spread * NOISE), np.ones(5))
    p_equivalence = stats.tost(paired, 0.05).p_value
    return stats.Evidence(paired=paired, p_difference=paired.p_value, p_equivalence=p_equivalence, margin=0.05, **changes)


@pytest.mark.parametrize(
    ("mean", "spread", "claim", "look"),
    [
        (0.01, 0.001, "better", "ahead in this search"),
        (-0.01, 0.001, "worse", "behind in this search"),
        (0.0, 0.001, "equivalent", "level in this search"),
        (0.001, 0.0005, "equivalent", "level in this search"),
        (0.0, 0.02, "inconclusive", "inconclusive"),
    ],
)
def test_claims_where_they_are_allowed_and_the_search_named_elsewhere(mean, spread, claim, look):
    allowed, elsewhere = (stats.judge(evidence(mean, spread, claims_allowed=yes)) for yes in (True, False))
    assert (allowed.word, allowed.text, allowed.scope) == (claim, claim, "")
    assert elsewhere.text == look
    assert elsewhere.sentence.startswith(f"{look}: ")
    assert elsewhere.word not in ("better", "worse", "equivalent")


@pytest.mark.parametrize(
    ("factor", "spread", "time", "energy"),
    [
        (2.0, 0.01, "slower", "more energy"),
        (0.5, 0.01, "faster", "less energy"),
        (1.01, 0.01, "as fast", "as much energy"),
        (1.01, 3.0, "not told apart", "not told apart"),
        (1.2, 0.5, "not told apart", "not told apart"),
    ],
)
def test_times_and_energies_get_a_word_only_from_the_interval(factor, spread, time, energy):
    assert stats.judge(ratio(factor, spread, quantity="time")).word == time
    assert stats.judge(ratio(factor, spread, quantity="energy")).word == energy


def test_the_margin_of_a_ratio_is_on_the_logarithm():
    """1.0499 is within a factor 1.05, 1.0505 is not; both differ from 1, with hardly any spread."""
    assert stats.judge(ratio(1.0499, 1e-7, quantity="time")).word == "as fast"
    assert stats.judge(ratio(1.0501, 1e-7, quantity="time")).word == "slower"
    assert stats.judge(ratio(1 / 1.0499, 1e-7, quantity="time")).word == "as fast"


def test_times_carry_the_scope_too():
    assert stats.judge(ratio(0.5, quantity="time", claims_allowed=False)).text == "faster in this search"
    assert stats.judge(ratio(1.2, 0.5, quantity="time", claims_allowed=False)).text == "not told apart"


class TestConditions:
    def test_five_pairs_are_needed_and_five_are_enough(self):
        four = stats.judge(evidence(0.01, n=4))
        assert four.text == "not judged: 4 paired seeds, at least 5 are needed"
        assert stats.judge(evidence(0.01, n=5)).word == "better"

    def test_two_seeds_with_a_tiny_p_value_are_not_judged(self):
        """The case of the review: (0.96, 0.9601) against (0.95, 0.95), p = 0.003, was "better"."""
        paired = stats.paired_difference([0.96, 0.9601], [0.95, 0.95])
        assert paired.p_value < 0.005
        assert stats.verdict(paired, margin=MARGIN).word == "not judged"

    @pytest.mark.parametrize("mean", [0.01, -0.01, 0.0])
    def test_an_unequal_search_is_never_judged(self, mean):
        result = stats.judge(evidence(mean, unequal_search="backprop fixes lr, which the others search"))
        assert result.text == "not judged: unequal search: backprop fixes lr, which the others search"

    @pytest.mark.parametrize(
        ("mean", "lost", "text"),
        [
            (0.01, "arm", "unreliable: 1 of 6 runs diverged"),
            (0.0, "arm", "unreliable: 1 of 6 runs diverged"),
            (-0.01, "arm", "worse, and 1 of 6 runs diverged"),
            (-0.01, "baseline", "unreliable: of the baseline, 1 of 6 runs diverged"),
            (0.0, "baseline", "unreliable: of the baseline, 1 of 6 runs diverged"),
            (0.01, "baseline", "better, and of the baseline, 1 of 6 runs diverged"),
            (0.01, "both", "unreliable: 1 of 6 runs diverged and of the baseline, 1 of 6 runs diverged"),
            (-0.01, "both", "unreliable: 1 of 6 runs diverged and of the baseline, 1 of 6 runs diverged"),
        ],
    )
    def test_lost_runs_on_either_side(self, mean, lost, text):
        words = "1 of 6 runs diverged"
        arm, baseline = (words if lost in (side, "both") else "" for side in ("arm", "baseline"))
        assert stats.judge(evidence(mean, lost=arm, baseline_lost=baseline)).text == text

    def test_lost_runs_with_few_left_are_unreliable(self):
        assert stats.judge(evidence(-0.01, n=3, lost="2 of 5 runs diverged")).word == "unreliable"

    def test_lost_runs_make_times_unreliable_either_way(self):
        assert {stats.judge(ratio(f, quantity="time", lost="x")).word for f in (0.5, 2.0)} == {"unreliable"}

    def test_no_pair_at_all(self):
        paired = stats.paired_difference({1: 0.5}, {2: 0.5})
        result = stats.judge(stats.Evidence(paired=paired, p_difference=None, p_equivalence=None, margin=MARGIN))
        assert result.word == "not judged"
        assert "seeds 1, 2 left out" in result.sentence

    def test_lower_is_better_turns_the_words(self):
        assert stats.judge(evidence(0.01, higher_is_better=False)).word == "worse"
        assert stats.judge(evidence(-0.01, higher_is_better=False, lost="x")).word == "unreliable"
        assert stats.judge(evidence(0.01, higher_is_better=False, lost="x")).word == "worse"


class TestLevels:
    def test_a_p_value_at_the_level_is_no_claim(self):
        case = evidence(0.01)
        at = dataclasses.replace(case, p_difference=0.05, p_equivalence=1.0)
        assert stats.judge(at).word == "inconclusive"
        assert stats.judge(dataclasses.replace(at, p_difference=np.nextafter(0.05, 0))).word == "better"

    def test_an_equivalence_at_the_level_is_none(self):
        at = dataclasses.replace(evidence(0.0), p_equivalence=0.05)
        assert stats.judge(at).word == "inconclusive"
        assert stats.judge(dataclasses.replace(at, p_equivalence=np.nextafter(0.05, 0))).word == "equivalent"

    def test_a_correction_can_only_raise_a_p_value(self):
        assert stats.judge(dataclasses.replace(evidence(0.001, 0.02), p_difference=0.0)).word == "inconclusive"
        assert stats.judge(dataclasses.replace(evidence(0.0, 0.02), p_equivalence=0.0)).word == "inconclusive"
        strict = dataclasses.replace(evidence(0.01, 0.004), p_difference=0.0, alpha=0.001)
        assert 0.001 < strict.paired.p_value < 0.05
        assert stats.judge(strict).word == "inconclusive"

    def test_the_interval_must_agree(self):
        """At a level above that of the interval, p alone does not make a claim."""
        case = evidence(0.003, 0.004, alpha=0.9)
        assert 0.05 < case.paired.p_value < 0.9
        assert stats.judge(dataclasses.replace(case, p_equivalence=None)).word == "inconclusive"

    def test_a_level_that_is_spent_claims_nothing(self):
        result = stats.judge(evidence(0.01, alpha=0.0))
        assert (result.word, result.seeds_needed) == ("inconclusive", None)

    @pytest.mark.parametrize("margin", [0, -1.0, float("nan")])
    def test_bad_margin(self, margin):
        with pytest.raises(UsageError, match="above 0"):
            stats.judge(dataclasses.replace(evidence(0.0), margin=margin))


class TestResolvedMargin:
    def test_never_finer_than_one_test_image(self):
        assert stats.resolved_margin(0.0025, 360) == 1 / 360
        assert stats.resolved_margin(0.0025, 400) == 0.0025
        assert stats.resolved_margin(0.0025, 10_000) == 0.0025

    @pytest.mark.parametrize(("margin", "n"), [(0, 10), (-1, 10), (float("nan"), 10), (0.1, 0)])
    def test_refused(self, margin, n):
        with pytest.raises(UsageError):
            stats.resolved_margin(margin, n)


def test_the_advice_says_planned_and_tested_once():
    result = stats.judge(evidence(0.002, 0.006))
    assert result.seeds_needed > 5
    assert f"about {result.seeds_needed} seeds would settle it, if planned and tested once" in result.sentence
    assert "optional stopping" in stats.OPTIONAL_STOPPING
