"""One published number from the rows of a CSV, by value: units, spread, and what is not published."""

from __future__ import annotations

import dataclasses
import statistics

import pytest

from bpfree.published import Number
from bpfree.published.numbers import number_of
from bpfree.published.tables import _against as against
from bpfree.published.tables import _compared as compared

ROW = {"dataset": "mnist", "net": "mlp:1x8", "algorithm": "pepita", "variant": "", "protocol": ""}


def test_one_row_with_its_deviation_and_cost() -> None:
    row = ROW | {
        "test_accuracy": "97.5", "test_accuracy_sd": "0.5", "seeds": "3", "train_time_s": "12", "gpu_energy_wh": "2",
        "difference_points": "-1.5", "difference_low": "-2", "difference_high": "-1", "time_ratio_to_bp": "0.5",
        "energy_ratio_to_bp": "0.25", "note": "same; table 2",
    }  # fmt: skip
    number = number_of("t", [row], "A paper", second_hand=True)
    assert number.accuracy == pytest.approx(0.975)
    assert number.spread == pytest.approx((0.965, 0.985))
    assert number.spread_words == "mean ± 2 SD of 3 runs"
    assert (number.n_runs, number.time_s, number.energy_j, number.time_ratio, number.energy_ratio) == ("3", 12, 7200, 0.5, 0.25)
    assert (number.difference, *(number.difference_interval or ())) == pytest.approx((-0.015, -0.02, -0.01))
    assert (number.source, number.second_hand) == ("A paper (table 2)", True)


def test_several_rows_are_several_runs() -> None:
    rows = [ROW | {"test_accuracy": text, "train_time_s": time} for text, time in (("90", "1"), ("92", "3"), ("97", ""))]
    number = number_of("t", rows, "A paper", second_hand=False)
    deviation = statistics.stdev([0.90, 0.92, 0.97])
    assert number.spread == pytest.approx((0.93 - 2 * deviation, 0.93 + 2 * deviation))
    assert (number.accuracy, number.time_s, number.energy_j) == (pytest.approx(0.93), 2, None)
    assert (number.n_runs, number.spread_words) == ("3", "mean ± 2 SD of 3 runs")
    same = number_of("t", [ROW | {"test_accuracy": "90"}] * 2, "A paper", second_hand=False)
    assert (same.spread, same.n_runs) == (None, "2")
    assert same.spread_words == "the 2 published runs are identical (one seed counted 2 times): no spread"


@pytest.mark.parametrize("ends", [{}, {"difference_low": "-1"}, {"difference_high": "1"}])
def test_what_is_not_published_is_none(ends: dict[str, str]) -> None:
    number = number_of("t", [ROW | ends], "A paper", second_hand=False)
    assert (number.accuracy, number.spread, number.difference, number.difference_interval, number.time_s) == (None,) * 5
    assert (number.n_runs, number.spread_words, number.source) == ("", "no spread published", "A paper")
    plain = number_of("t", [ROW | {"test_accuracy_mean": "90", "test_accuracy_sd": "1"}], "A paper", second_hand=False)
    assert (plain.accuracy, plain.spread_words) == (pytest.approx(0.9), "mean ± 2 SD")


def number(algorithm: str, **values: float) -> Number:
    return Number(
        table="t", dataset="mnist", net="mlp:1x8", algorithm=algorithm, second_hand=False, source="A paper", **values
    )  # fmt: skip


BACKPROP = number("backprop", accuracy=0.9, time_s=10.0, energy_j=50.0)


def test_differences_and_ratios_to_backprop_are_made_where_the_paper_gives_none() -> None:
    made = against(number("pepita", accuracy=0.85, time_s=5.0, energy_j=100.0), BACKPROP)
    assert (made.difference, made.time_ratio, made.energy_ratio) == (pytest.approx(-0.05), 0.5, 2.0)
    given = number("pepita", accuracy=0.85, time_s=5.0, energy_j=100.0, difference=0.01, time_ratio=3.0, energy_ratio=4.0)
    assert against(given, BACKPROP) == given
    assert against(BACKPROP, BACKPROP) == BACKPROP
    assert against(given, None) == given
    for lacking in (number("pepita"), number("pepita", difference=0.01)):
        assert against(lacking, BACKPROP) == lacking
    without = number("backprop")
    assert against(number("pepita", accuracy=0.85, time_s=5.0, energy_j=1.0), without).difference is None


@pytest.mark.parametrize("place", ["dataset", "net", "protocol"])
def test_a_number_is_compared_with_backprop_of_its_own_task_and_protocol(place: str) -> None:
    here, there = ({place: name} for name in ("one", "other"))
    table = [
        dataclasses.replace(number(rule, accuracy=accuracy, time_s=time_s), **where)
        for rule, accuracy, time_s, where in [
            ("backprop", 0.90, 10.0, here),
            ("pepita", 0.85, 5.0, there),  # before its backprop, which stands last
            ("pepita", 0.88, 20.0, here),
            ("backprop", 0.95, 4.0, there),
            ("foton", 0.85, 5.0, {place: "third"}),
        ]
    ]
    made = [(each.difference, each.time_ratio) for each in compared(table)]
    assert made == [(None, None), (pytest.approx(-0.10), 1.25), (pytest.approx(-0.02), 2.0), (None, None), (None, None)]
