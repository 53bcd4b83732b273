"""Words, sentences and refusals of the statistics, each whole: the least sizes at which they change, singular and plural."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bpfree import stats
from bpfree.errors import UsageError
from bpfree.stats import bootstrap, crossed, intervals, looks, planning, replication, significance, targets, unpaired, words
from bpfree.stats.replication import compare_published
from bpfree.stats.search_noise import scrambled_points
from bpfree.stats.unpaired import Summary
from bpfree.stats.verdicts import TableValues
from bpfree.stats.words import Evidence, judge, resolved_margin


def sample(mean: float, sd: float | None, n: int | None) -> Summary:
    return Summary(mean=mean, sd=sd, n=n)


REFUSALS: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: bootstrap.hierarchical_bootstrap(np.ones((2, 3), bool), np.ones((2, 4), bool)),
        "both arms need the same (seeds, examples), at least 1 x 1; got (2, 3) and (2, 4)",
    ),
    (
        lambda: bootstrap.hierarchical_bootstrap(np.ones((2, 3), bool), np.ones((2, 3), bool), n_resamples=0),
        "n_resamples must be at least 1, got 0",
    ),
    (
        lambda: bootstrap.bootstrap_by_seed({3: np.ones(2), 1: np.ones(2)}, {2: np.ones(2)}),
        "the arms share no seed: [1, 3] and [2]; run both with the same seeds",
    ),
    (
        lambda: bootstrap.bootstrap_by_seed({1: np.ones(2)}, {1: np.ones(3)}),
        "every run needs one boolean for each example of one test set, got arrays of shapes [(2,), (3,)]",
    ),
    (
        lambda: crossed.crossed_interval(np.ones(3)),
        "differences are needed for studies x splits, at least 1 x 1, got an array of shape (3,)",
    ),
    (
        lambda: crossed.crossed_interval(np.array([[1.0, math.inf]])),
        "differences must be finite; leave out a study or split with lost runs from both arms, and say so",
    ),
    (lambda: crossed.crossed_comparison({(0, 0): 0.0}, {(0, 0): 1.0}, 0.1, "ratio"), "a ratio needs values above 0"),
    (lambda: intervals.bound_on_working_scale(0.0, "ratio"), "a margin of equivalence must be above 0, got 0.0"),
    (lambda: intervals.check_level(1.0), "the level of an interval must lie between 0 and 1, got 1.0"),
    (lambda: intervals.check_level(0.0), "the level of an interval must lie between 0 and 1, got 0.0"),
    (lambda: stats.paired_ratio([1.0, 2.0], [0.0, 2.0]), "a ratio needs costs above zero, got 0"),
    (lambda: intervals.finite([[1.0]]), "one value per seed is needed, got an array of shape (1, 1)"),
    (lambda: intervals.finite([1.0, math.inf]), "values must be finite, got inf; leave out runs that diverged, and say so"),
    (lambda: intervals.pairs({0: 1.0}, [1.0]), "give both arms by seed or both as sequences"),
    (lambda: intervals.pairs([1.0], [1.0, 2.0]), "pairs need as many values of one arm as of the other, got 1 and 2"),
    (lambda: looks.spent(0.0), "the share of the planned seeds must be above 0, got 0.0"),
    (lambda: looks.spent(0.5, 1.0), "the level of a test must lie between 0 and 1, got 1.0"),
    (lambda: looks.spent(0.5, 0.0), "the level of a test must lie between 0 and 1, got 0.0"),
    (
        lambda: looks.spent(0.5, spending="other"),  # type: ignore[arg-type]
        "the spending function must be 'pocock' or 'obrien-fleming', got 'other'",
    ),
    (lambda: looks.level_at_look(0, [1], 5), "look 0 needs the number of pairs at looks 1 to 0, got 1 numbers: [1]"),
    (lambda: looks.level_at_look(3, [1, 2], 5), "look 3 needs the number of pairs at looks 1 to 3, got 2 numbers: [1, 2]"),
    (lambda: looks.levels_of_looks([2, 2], 5), "the numbers of pairs at the looks must rise from at least 1, got [2, 2]"),
    (lambda: looks.levels_of_looks([0, 2], 5), "the numbers of pairs at the looks must rise from at least 1, got [0, 2]"),
    (lambda: looks.levels_of_looks([], 5), "the numbers of pairs at the looks must rise from at least 1, got []"),
    (lambda: looks.levels_of_looks([1], 0), "the plan must hold at least one pair, got 0"),
    (
        lambda: planning.least_detectable_difference(5, 1.0, power=0.05),
        "the power must lie between alpha (0.05) and 1, got 0.05",
    ),
    (lambda: planning.least_detectable_difference(5, 1.0, power=1.0), "the power must lie between alpha (0.05) and 1, got 1.0"),
    (lambda: planning.power_of(1, 1.0, 1.0), "a paired test needs at least two pairs, got 1"),
    (
        lambda: planning.power_of(2, 0.0, 1.0),
        "the standard deviation of the differences must be above 0 and finite, got 0.0",
    ),
    (lambda: planning.power_of(2, 1.0, 1.0, 1.0), "the level of a test must lie between 0 and 1, got 1.0"),
    (
        lambda: compare_published(sample(0.5, 0.1, 3), sample(0.5, 0.1, 3), 0.0),
        "a margin of agreement must be above 0, got 0.0",
    ),
    (
        lambda: scrambled_points(np.random.default_rng(0), 0, 3),
        "at least one sequence of one point is needed, got 0 of 3",
    ),
    (
        lambda: scrambled_points(np.random.default_rng(0), 3, 0),
        "at least one sequence of one point is needed, got 3 of 0",
    ),
    (lambda: significance.holm({"a": 1.5}), "a p value must lie between 0 and 1, got 1.5 for a"),
    (lambda: significance.holm({"a": -0.5}), "a p value must lie between 0 and 1, got -0.5 for a"),
    (
        lambda: targets.time_to_target([(0.5, 1.0, None)], math.nan),
        "the target is not a number (nan); give a validation accuracy such as 0.97",
    ),
    (lambda: targets.performance_profile({}), "a performance profile needs the costs of at least one arm on one data set"),
    (
        lambda: targets.performance_profile({"a": {"x": 1.0, "y": 1.0}, "b": {"x": 1.0}}),
        "arm b was not run on y; run it, or leave y out for every arm",
    ),
    (lambda: targets.performance_profile({"a": {"x": 0.0}}), "a cost must be above zero, got 0.0 for a on x"),
    (lambda: sample(math.nan, None, None), "a mean must be finite, got nan"),
    (lambda: sample(0.5, -0.1, None), "a standard deviation must be finite and at least 0, got -0.1"),
    (lambda: sample(0.5, math.inf, None), "a standard deviation must be finite and at least 0, got inf"),
    (lambda: sample(0.5, None, 0), "a sample needs at least one value, got n = 0"),
    (lambda: unpaired.summary([]), "a summary needs at least one value, got none"),
    (
        lambda: TableValues(values={"a": {}}, baseline="a", margin=0.1, scale="other"),  # type: ignore[arg-type]
        "scale must be 'difference' or 'ratio', got 'other'",
    ),
    (
        lambda: TableValues(values={"a": {}}, baseline="a", margin=0.1, quantity="time"),
        "times and energies are compared by their ratio, got scale 'difference' for time",
    ),
    (lambda: resolved_margin(0.0, 10), "a margin of equivalence must be above 0, got 0.0"),
    (lambda: resolved_margin(0.1, 0), "a margin needs at least one test example, got 0"),
]


@pytest.mark.parametrize(("call", "told"), REFUSALS, ids=[told for _, told in REFUSALS])
def test_refusals(call: Callable[[], Any], told: str) -> None:
    with pytest.raises(UsageError) as error:
        call()
    assert str(error.value) == told


def test_a_margin_is_no_finer_than_one_example() -> None:
    assert (resolved_margin(0.0025, 360), resolved_margin(0.0025, 1000), resolved_margin(0.5, 1)) == (1 / 360, 0.0025, 1.0)


def test_levels_of_looks_add_up() -> None:
    """Pocock: α ln(1 + (e - 1) t) of t = .2, .6 and 1; a look after the plan has nothing left."""
    first, second, third, after = looks.levels_of_looks([1, 3, 5, 7], 5, 0.1, "pocock")
    spent = [0.1 * math.log(1 + (math.e - 1) * t) for t in (0.2, 0.6, 1.0)]
    assert (first, second, third, after) == pytest.approx((spent[0], spent[1] - spent[0], 0.1 - spent[1], 0.0), abs=1e-15)
    assert looks.level_at_look(2, [1, 3, 5], 5, 0.1, "pocock") == pytest.approx(second)
    assert looks.spent(0.5) == pytest.approx(2 * 0.5 * math.erfc(1.959963984540054 / math.sqrt(0.5) / math.sqrt(2)))


UP, FLAT = (0.02, 0.03, 0.02, 0.04, 0.04), (0.001, -0.001, 0.0, 0.001, -0.001)
OPEN = (0.02, -0.01, 0.03, -0.02, 0.01)


def evidence(differences: tuple[float, ...], **more: Any) -> Evidence:
    base = [0.5] * len(differences)
    paired = stats.paired_difference([b + d for b, d in zip(base, differences, strict=True)], base)
    options = {"p_difference": 0.0, "p_equivalence": 0.0, "margin": 0.0025} | more
    return Evidence(paired=paired, **options)


WORDS: list[tuple[Evidence, str, str]] = [
    (evidence(UP), "better", "+3.00 points [+1.76, +4.24], p = 0.0026, 5 paired seeds."),
    (evidence(UP, corrected=True), "better", "+3.00 points [+1.76, +4.24], p = 0.0026 after Holm's correction, 5 paired seeds."),
    (evidence(UP, p_difference=0.04), "better", "+3.00 points [+1.76, +4.24], p = 0.04, 5 paired seeds."),
    (evidence(UP, claims_allowed=False), "ahead in this search", "+3.00 points [+1.76, +4.24], p = 0.0026, 5 paired seeds."),
    (evidence(UP, higher_is_better=False), "worse", "+3.00 points [+1.76, +4.24], p = 0.0026, 5 paired seeds."),
    (evidence(UP, percent=False), "better", "+0.03 [+0.0176, +0.0424], p = 0.0026, 5 paired seeds."),
    (evidence(FLAT), "equivalent", "+0.00 points [−0.12, +0.12], p = 1, 5 paired seeds.".replace("−", "-")),
    (evidence(UP, baseline_lost="1 of 6 runs failed"), "better, and of the baseline, 1 of 6 runs failed", ""),
    (evidence(UP, lost="1 of 6 runs failed"), "unreliable: 1 of 6 runs failed", ""),
    (
        evidence(UP, lost="a", baseline_lost="b"), "unreliable: a and of the baseline, b",
        "of the runs at hand: +3.00 points [+1.76, +4.24], 5 paired seeds.",
    ),
    (evidence(UP, unequal_search="x had more"), "not judged: unequal search: x had more", ""),
    (
        evidence(UP[:4]), "not judged: 4 paired seeds, at least 5 are needed",
        "of the runs at hand: +2.75 points [+1.23, +4.27], 4 paired seeds.",
    ),
    (evidence(UP[:1]), "not judged: 1 paired seed, at least 5 are needed", "not judged: 1 paired seed, at least 5 are needed."),
    (
        evidence(UP, p_difference=0.06, p_equivalence=1.0), "inconclusive", "+3.00 points [+1.76, +4.24], p = 0.06, 5 "
        "paired seeds; about 9 "
        "seeds would settle it, if planned and tested once.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "text", "ends"), WORDS, ids=[text for _, text, _ in WORDS])
def test_words_and_sentences(given: Evidence, text: str, ends: str) -> None:
    verdict = judge(given)
    assert verdict.text == text
    assert verdict.sentence.startswith(text)
    if "about" not in ends:
        assert verdict.sentence.endswith(ends)
    else:
        assert verdict.seeds_needed is not None
        assert verdict.sentence == (
            f"{text}: +3.00 points [+1.76, +4.24], p = 0.06, 5 paired seeds; about {verdict.seeds_needed} seeds would "
            f"settle it, if "
            "planned and tested once."
        )


@pytest.mark.parametrize(
    ("quantity", "texts"),
    [("time", ("slower", "faster", "as fast", "not told apart")), ("energy", ("more energy", "less energy", "as much "
    "energy", "not told apart"))],
)  # fmt: skip
@pytest.mark.parametrize("claims", [True, False])
def test_words_for_costs(quantity: Any, texts: tuple[str, ...], claims: bool) -> None:
    spread = (1.0, 1.02, 0.98, 1.01, 0.99)
    factors = (2.0, 0.5, 1.0)
    scope = "" if claims else " in this search"
    for factor, text in zip(factors, texts, strict=False):
        paired = stats.paired_ratio([factor * s for s in spread], [1.0] * 5)
        made = judge(
            Evidence(paired=paired, p_difference=0.0, p_equivalence=0.0, margin=0.05, quantity=quantity, claims_allowed=claims)
        )
        assert made.text == text + scope
    wide = stats.paired_ratio([1.0, 3.0, 0.5, 2.0, 0.7], [1.0] * 5)
    made = judge(
        Evidence(paired=wide, p_difference=0.0, p_equivalence=0.0, margin=0.05, quantity=quantity, claims_allowed=claims)
    )
    assert made.text == texts[3]
    assert " times [" in made.sentence


def test_seeds_that_one_arm_lacks_are_named() -> None:
    one = stats.paired_difference({0: 0.5, 1: 0.6, 2: 0.7, 9: 0.1}, {0: 0.4, 1: 0.55, 2: 0.6})
    assert words._left_out(one) == " (seed 9 left out, run by one arm only)"
    two = stats.paired_difference({0: 0.5, 9: 0.1}, {0: 0.4, 3: 0.55})
    assert words._left_out(two) == " (seeds 3, 9 left out, run by one arm only)"
    assert (words._p(0.0009), words._p(0.001), words._p(0.0123)) == ("< 0.001", "= 0.001", "= 0.012")


PUBLISHED: list[tuple[Summary, Summary, str]] = [
    (sample(0.90, 0.001, 3), sample(0.90, 0.001, 3), "agrees"),
    (sample(0.95, 0.001, 3), sample(0.90, 0.001, 3), "differs (higher)"),
    (sample(0.85, 0.001, 3), sample(0.90, 0.001, 3), "differs (lower)"),
    (sample(0.90, 0.05, 3), sample(0.90, 0.05, 3), "cannot tell: the interval is too wide for the margin"),
    (sample(0.90, 0.001, 2), sample(0.90, 0.001, 3), "cannot tell: 2 measured runs, at least 3 are needed"),
    (sample(0.90, None, 1), sample(0.90, 0.001, 3), "cannot tell: 1 measured run, at least 3 are needed"),
    (sample(0.90, 0.001, 3), sample(0.90, 0.001, 2), "cannot tell: 2 published runs, at least 3 are needed"),
    (sample(0.90, 0.001, 3), sample(0.90, 0.001, None), "cannot tell: the number of published runs is not known"),
    (sample(0.90, 0.001, 3), sample(0.90, None, 3), "cannot tell: the spread of the published runs is not known"),
]


@pytest.mark.parametrize(("mine", "theirs", "text"), PUBLISHED, ids=[text for *_, text in PUBLISHED])
def test_measured_beside_published(mine: Summary, theirs: Summary, text: str) -> None:
    made = replication.compare_published(mine, theirs, 0.01)
    assert (made.text, made.margin) == (text, 0.01)


def test_a_family_in_words() -> None:
    assert stats.family_words({"a": 1}) == "Holm's correction over 1 comparison with the baseline in one table"
    assert stats.family_words({"a": 3}) == "Holm's correction over 3 comparisons with the baseline in one table"
    assert stats.family_words({"a": 3, "b": 2}) == "Holm's correction over 5 comparisons with the baseline in 2 tables together"
