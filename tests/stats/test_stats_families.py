"""Holm's correction over the family that is stated: one table or several, differences and equivalences."""

import numpy as np
import pytest

from bpfree import stats
from bpfree.errors import UnknownNameError, UsageError

pytestmark = pytest.mark.filterwarnings("error")

MARGIN = 0.0025
NOISE = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
BASE = np.linspace(0.90, 0.92, 5)


def arm(mean, spread):
    return BASE + mean + spread * NOISE


def p_of(mean, spread):
    return stats.paired_difference(arm(mean, spread), BASE).p_value


RIVALS = {"a": arm(0.01, 0.004), "b": arm(0.01, 0.0075), "c": arm(0.01, 0.0075), "d": arm(0.0, 0.02)}
"""p of a, b and c alone are below 0.05; b and c do not survive four comparisons."""


def test_holm_by_hand():
    family = stats.compare_family({"base": BASE, **RIVALS}, "base", margin=MARGIN)
    raw = {
        name: p_of(*case) for name, case in zip("abcd", [(0.01, 0.004), (0.01, 0.0075), (0.01, 0.0075), (0, 0.02)], strict=True)
    }
    assert raw["b"] < 0.05 < 3 * raw["b"]
    expected = {"a": 4 * raw["a"], "b": 3 * raw["b"], "c": 3 * raw["b"], "d": 1.0}
    assert {name: compared.p_holm for name, compared in family.items()} == pytest.approx(expected)
    assert [family[name].verdict.word for name in "abcd"] == ["better", "inconclusive", "inconclusive", "inconclusive"]
    assert family["a"].family_size == 4


def test_the_second_step_of_holm_is_less_strict_than_bonferroni():
    """0.05/4 < p < 0.05/3 after a smaller one: Holm claims it, Bonferroni would not."""
    second = next(case for s in np.linspace(0.003, 0.009, 200) if 0.05 / 4 < p_of(*(case := (0.01, s))) < 0.05 / 3)
    values = {"base": BASE, "a": arm(0.01, 0.001), "b": arm(*second), "c": arm(0.0, 0.02), "d": arm(0.0, 0.03)}
    family = stats.compare_family(values, "base", margin=MARGIN)
    assert family["b"].verdict.word == "better"


def test_equivalence_is_corrected_within_the_family():
    spread = next(s for s in np.linspace(0.001, 0.004, 300) if 0.02 < equivalence_p(s) < 0.04)
    alone = stats.compare_family({"base": BASE, "a": arm(0.0, spread)}, "base", margin=MARGIN)
    assert alone["a"].verdict.word == "equivalent"
    three = {name: arm(0.0, spread) for name in "abc"}
    family = stats.compare_family({"base": BASE, **three}, "base", margin=MARGIN)
    assert {compared.verdict.word for compared in family.values()} == {"inconclusive"}
    assert not family["a"].equivalence.equivalent
    assert family["a"].p_equivalence_holm == pytest.approx(3 * family["a"].equivalence.p_value)


def equivalence_p(spread):
    return stats.tost(stats.paired_difference(arm(0.0, spread), BASE), MARGIN).p_value


def test_merged_tables_are_one_family():
    table = {"base": BASE, "a": arm(0.01, 0.0075)}
    assert stats.compare_family(table, "base", margin=MARGIN)["a"].verdict.word == "better"
    tables = {name: stats.TableValues(values=table, baseline="base", margin=MARGIN) for name in ("mnist", "digits", "cifar10")}
    merged = stats.compare_tables(tables)
    assert [merged[name]["a"].verdict.word for name in tables] == ["inconclusive"] * 3
    assert merged["mnist"]["a"].p_holm == pytest.approx(3 * p_of(0.01, 0.0075))
    assert merged["mnist"]["a"].family_size == 3
    assert stats.family_words(dict.fromkeys(tables, 1)) == (
        "Holm's correction over 3 comparisons with the baseline in 3 tables together"
    )
    assert stats.family_words({"mnist": 1}) == "Holm's correction over 1 comparison with the baseline in one table"


def test_tables_keep_their_margins_and_quantities():
    times = {"base": np.ones(5), "a": 2 * np.exp(0.01 * NOISE)}
    tables = {
        "accuracy": stats.TableValues(values={"base": BASE, "a": arm(0.001, 0.0005)}, baseline="base", margin=MARGIN),
        "time": stats.TableValues(values=times, baseline="base", margin=0.05, scale="ratio", quantity="time"),
    }
    merged = stats.compare_tables(tables)
    assert (merged["accuracy"]["a"].verdict.word, merged["time"]["a"].verdict.word) == ("equivalent", "slower")


def test_the_level_of_a_look_reaches_the_words():
    values = {"base": BASE, "a": arm(0.01, 0.006)}
    assert stats.compare_family(values, "base", margin=MARGIN, alpha=0.04)["a"].verdict.word == "better"
    assert stats.compare_family(values, "base", margin=MARGIN, alpha=0.001)["a"].verdict.word == "inconclusive"


def test_lost_runs_and_unequal_searches_reach_their_arms():
    values = {"base": BASE, "a": arm(0.01, 0.001), "b": arm(-0.01, 0.001)}
    lost = stats.compare_family(values, "base", margin=MARGIN, lost={"base": "1 of 6 runs diverged"})
    assert [lost[name].verdict.word for name in "ab"] == ["better", "unreliable"]
    unequal = stats.compare_family(values, "base", margin=MARGIN, unequal_search={"a": "it fixes lr"})
    assert [unequal[name].verdict.word for name in "ab"] == ["not judged", "worse"]
    all_unequal = stats.compare_family(values, "base", margin=MARGIN, unequal_search={"base": "it fixes lr"})
    assert [all_unequal[name].verdict.word for name in "ab"] == ["not judged", "not judged"]
    looks = stats.compare_family(values, "base", margin=MARGIN, claims_allowed=False)
    assert [looks[name].verdict.word for name in "ab"] == ["ahead", "behind"]


def test_second_opinions_stand_beside():
    values = {"base": BASE, "a": arm(0.01, 0.004)}
    compared = stats.compare_family(values, "base", margin=MARGIN)["a"]
    assert compared.welch == stats.welch(values["a"], BASE)
    assert compared.correlation == pytest.approx(np.corrcoef(values["a"], BASE)[0, 1])
    assert compared.least_detectable == pytest.approx(stats.least_detectable_difference(5, compared.paired.sd, 0.05))
    three = stats.compare_family({**values, "b": arm(0, 0.01), "c": arm(0, 0.01)}, "base", margin=MARGIN)["a"]
    assert three.least_detectable == pytest.approx(stats.least_detectable_difference(5, compared.paired.sd, 0.05 / 3))
    costs = {name: np.exp(row) for name, row in values.items()}
    of_ratio = stats.compare_family(costs, "base", margin=0.05, scale="ratio")["a"]
    assert of_ratio.welch.interval.mean == pytest.approx(compared.welch.interval.mean)
    same = stats.compare_family({"base": BASE, "a": BASE}, "base", margin=MARGIN)["a"]
    assert same.least_detectable is None


def test_what_cannot_be_a_table():
    with pytest.raises(UnknownNameError):
        stats.TableValues(values={"a": BASE}, baseline="base", margin=MARGIN)
    with pytest.raises(UsageError, match="by their ratio"):
        stats.TableValues(values={"a": BASE}, baseline="a", margin=MARGIN, quantity="time")


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_level_that_no_test_can_have_has_no_least_detectable_difference(alpha):
    """0 is the level of a look beyond the plan."""
    values = {"base": [0.9, 0.91, 0.92], "a": [0.91, 0.93, 0.92]}
    assert stats.compare_family(values, "base", margin=MARGIN)["a"].least_detectable > 0
    assert stats.compare_family(values, "base", margin=MARGIN, alpha=alpha)["a"].least_detectable is None
