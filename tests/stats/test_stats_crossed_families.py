"""Studies crossed with splits in a family of comparisons: the interval and both tests are those of the crossed design."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from bpfree import stats
from bpfree.errors import UsageError
from bpfree.stats import TableValues, compare_tables, crossed_comparison, crossed_interval

STUDIES, SPLITS = range(5), range(3)
GRID = np.array(
    [[0.010, 0.016, 0.007], [0.012, 0.021, 0.008], [0.009, 0.014, 0.006], [0.013, 0.020, 0.012], [0.011, 0.017, 0.005]]
)
"""Differences by study and split."""

BASE = {(r, s): 0.9 + 0.001 * r - 0.002 * s for r in SPLITS for s in STUDIES}
ARM = {(r, s): BASE[r, s] + GRID[s, r] for r in SPLITS for s in STUDIES}


def test_interval_and_p_value_are_those_of_the_crossed_design() -> None:
    paired, _ = crossed_comparison(ARM, BASE, 0.0025)
    expected = crossed_interval(GRID)
    assert (paired.interval.mean, paired.interval.low, paired.interval.high) == pytest.approx(
        (expected.interval.mean, expected.interval.low, expected.interval.high)
    )
    assert paired.p_value == pytest.approx(expected.p_value)
    assert (paired.n, paired.interval.n) == (5, 5), "splits are no more pairs"
    assert paired.working == pytest.approx(tuple(GRID.mean(axis=1)))


@pytest.mark.parametrize("sign", [1, -1])
def test_tost_has_the_error_of_the_crossed_design(sign: int) -> None:
    expected = crossed_interval(sign * GRID)
    assert expected.df is not None and expected.interval.half_width is not None
    error = expected.interval.half_width / scipy.stats.t.ppf(0.975, expected.df)
    arm = {key: BASE[key] + sign * GRID[key[1], key[0]] for key in BASE}
    margin = 0.03
    _, p = crossed_comparison(arm, BASE, margin)
    assert p == pytest.approx(scipy.stats.t.sf((margin - abs(GRID.mean())) / error, expected.df))


def test_a_study_without_every_split_is_left_out_and_named() -> None:
    paired, _ = crossed_comparison({key: value for key, value in ARM.items() if key != (1, 3)}, BASE, 0.0025)
    assert (paired.n, paired.unpaired) == (4, (3,))
    assert paired.interval.mean == pytest.approx(np.delete(GRID, 3, axis=0).mean())
    nothing, p = crossed_comparison({(0, 0): 0.9}, {(1, 0): 0.9}, 0.0025)
    assert (nothing.n, nothing.interval.mean, nothing.p_value, p) == (0, None, None, None)


def test_a_ratio_compares_logarithms() -> None:
    arm = {key: BASE[key] * math.exp(GRID[key[1], key[0]]) for key in BASE}
    paired, p = crossed_comparison(arm, BASE, 0.05, "ratio")
    expected = crossed_interval(GRID).interval
    assert expected.mean is not None
    assert paired.interval.mean == pytest.approx(math.exp(expected.mean))
    _, p_log = crossed_comparison(ARM, BASE, math.log(1.05))
    assert p == pytest.approx(p_log)
    with pytest.raises(UsageError, match="above 0"):
        crossed_comparison(dict.fromkeys(BASE, 0.0), BASE, 0.05, "ratio")


def test_equal_differences_have_the_sign_test_over_studies() -> None:
    paired, p = crossed_comparison({key: value + 0.001 for key, value in BASE.items()}, BASE, 0.0025)
    assert (paired.p_value, p) == (2.0**-4, 0.5**5)
    same, _ = crossed_comparison(BASE, BASE, 0.0025)
    assert same.p_value == 1.0


def test_a_table_of_crossed_studies_is_judged_by_them() -> None:
    """Twelve more cells are no more evidence: a paired test over all cells would claim what the crossed one does not."""
    strong = np.array([[0.02, 0.001, -0.004]] * 5) + 0.001 * np.arange(5)[:, None]
    arm = {(r, s): BASE[r, s] + strong[s, r] for r in SPLITS for s in STUDIES}
    table = TableValues(values={"backprop": BASE, "rule": arm}, baseline="backprop", margin=0.0025, crossed=True)
    (compared,) = compare_tables({"": table})[""].values()
    cells = stats.paired_difference(list(arm.values()), list(BASE.values()))
    assert cells.p_value is not None and cells.p_value < 0.05
    assert compared.paired.p_value is not None and compared.paired.p_value > 0.2
    assert compared.verdict.word == "inconclusive"
    assert compared.welch is not None and compared.welch.interval.n == 5
    assert compared.welch.interval.mean == pytest.approx(compared.paired.interval.mean)


def test_equivalence_of_a_table_is_that_of_the_crossed_design() -> None:
    """Study means hardly differ, so that a TOST over them alone would call the arms equivalent; splits differ by more."""
    uneven = np.array([[0.004, -0.004, 0.0]] * 5) + 1e-5 * np.arange(5)[:, None] * np.array([1, -1, 1])
    arm = {(r, s): BASE[r, s] + uneven[s, r] for r in SPLITS for s in STUDIES}
    table = TableValues(values={"backprop": BASE, "rule": arm}, baseline="backprop", margin=0.0025, crossed=True)
    (compared,) = compare_tables({"": table})[""].values()
    assert stats.tost(compared.paired, 0.0025).equivalent
    assert not compared.equivalence.equivalent
    assert compared.verdict.word == "inconclusive"
