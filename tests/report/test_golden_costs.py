"""Every number about costs of the golden report against a computation by hand (:mod:`tests.report.golden_costs`)."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path

import pytest

from bpfree import report
from bpfree.report import passes
from bpfree.report.material import read_material
from bpfree.report.model import Table, build_tables
from bpfree.report.needs import needs_rows
from bpfree.report.tables import arm_displays, columns_of, headings, left_out
from tests.report.golden import LARGE, write_first
from tests.report.golden_costs import COST_COLUMNS, COST_MEANS, EVALUATION_PEAKS, PASSES_HEADINGS, PASSES_TABLE

SHOWN = {
    # "of which validation", FLOPs a step, peak memory
    "backprop": ("4.75 s", "3.5 M", "4 KiB / 8.01 KiB"),
    "mono-forward": (
        "41.2 s (training ×2.36 [1.25, 4.46])", "3 M (×0.81 [0.43, 1.53])", "3 KiB / 6.01 KiB",
    ),
    "pepita": ("4.75 s (training ×1.00)", "4.5 M (×1.29)", "5 KiB / 10 KiB"),
    "forward-forward": (
        "20 s (training ×1.52 [0.48, 4.85])", "5.5 M (×1.57)", "6 KiB / 12 KiB",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_first(tmp_path_factory.mktemp("golden costs") / "first")


@pytest.fixture(scope="module")
def table(first: Path) -> Table:
    """Of the first task."""
    return build_tables(read_material([first]), 0.9)[0]


def test_every_cost_of_the_csv(first: Path, no_charts: None) -> None:
    rows = list(csv.DictReader(io.StringIO(report.build([first], target=0.9).csv.read_text())))
    assert len(rows) == len(COST_MEANS)
    for row in rows:
        key = ((row["dataset"], row["net"]), row["arm"])
        assert int(row["evaluation_peak_bytes"]) == EVALUATION_PEAKS[key]
        for column in COST_COLUMNS:
            texts = [row[f"{end}_{column}"] for end in ("mean", "low95", "high95")]
            check(texts, COST_MEANS[key], column, missing="")


def test_every_cost_of_the_summary(first: Path) -> None:
    for table in report.summarise([first], 0.9)["tables"]:
        for row in table["rows"]:
            key = ((table["dataset"], table["net"]), row["arm"])
            assert row["evaluation_peak_bytes"] == EVALUATION_PEAKS[key]
            for column in COST_COLUMNS:
                mean = row[column]
                check([mean and mean[end] for end in ("mean", "low", "high")], COST_MEANS[key], column, missing=None)


def check(values: list, expected: Mapping[str, tuple[float, float, float]], column: str, missing: object) -> None:
    if column in expected:
        assert [float(value) for value in values] == pytest.approx(expected[column], rel=1e-9, abs=1e-12), column
    else:
        assert values == [missing] * 3, column


def test_passes_and_where_the_time_went(table: Table) -> None:
    assert passes.PASSES_HEADINGS == PASSES_HEADINGS
    assert tuple(passes.passes_rows(table)) == PASSES_TABLE


def test_the_headline_shows_costs_with_their_ratios(table: Table) -> None:
    shown = {row.arm: tuple(str(arm_displays(row)[key]) for key in ("validation", "flops", "memory")) for row in table.rows}
    assert shown == SHOWN


def test_the_table_of_needs_has_the_same_flops(table: Table) -> None:
    assert [cells[:3] for cells in needs_rows(table)] == [
        ("backprop", "3.5 M", "1.00"),
        ("mono-forward", "3 M", "0.86"),  # 3 / 3.5 of the means
        ("pepita", "4.5 M", "1.29"),
        ("forward-forward", "5.5 M", "1.57"),
    ]


def test_columns_without_a_value_become_one_sentence(table: Table, first: Path) -> None:
    assert left_out(table) == ""
    assert [column.key for column in columns_of(table)] == list(headings(table))
    (small,) = [each for each in build_tables(read_material([first])) if each.task == LARGE]
    rows = tuple(row for row in small.rows if row.arm == "pepita")
    alone = dataclasses.replace(small, rows=rows)
    assert [column.key for column in columns_of(alone)] == [
        "arm", "accuracy", "difference", "passes", "time", "validation", "flops", "memory", "seeds",
    ]  # fmt: skip
    assert left_out(alone) == (
        "Not measured for any arm, with the reasons below: Energy, gross / net; CO₂e; Inference, 1 / 128 examples."
    )
