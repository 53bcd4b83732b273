"""Studies crossed with splits: each search has its own values, and each run is held against those of its own search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bpfree import report
from bpfree.report.facts import tuned_values
from bpfree.report.material import read_material
from bpfree.report.model import build_tables
from tests.report.conftest import make_record, tuned_entry, write_run

RATES = {(0, 0): 0.001, (0, 1): 0.002, (1, 0): 0.003, (1, 1): 0.004}
"""Learning rate that the search of a study on a split chose."""


def crossed(path: Path, rates: dict[tuple[int, int], float]) -> Path:
    """Two studies on two splits; runs have ``rates``, searches :data:`RATES`."""
    params = make_record().params
    runs = [
        make_record(
            seed=study + 2 * split,
            study=study,
            split_seed=split,
            data_digest=f"{split:064d}",
            params=params | {"lr": rate},
        )
        for (study, split), rate in rates.items()
    ]
    rows = [
        tuned_entry("backprop") | {"study": study, "split_seed": split, "best": {"lr": rate}, "data_digest": f"{split:064d}"}
        for (study, split), rate in RATES.items()
    ]
    return write_run(path, runs, tuned=rows)


def flags(path: Path) -> list[str]:
    report.build([path])
    text = (path / "report" / "summary.md").read_text()
    return [line for line in text.splitlines() if "COPIED HYPER-PARAMETERS" in line]


def test_values_of_each_search_are_its_own(tmp_path: Path) -> None:
    assert flags(crossed(tmp_path / "run", RATES)) == []


def test_a_value_of_another_split_is_copied(tmp_path: Path) -> None:
    (flag,) = flags(crossed(tmp_path / "run", RATES | {(1, 1): 0.003}))
    assert "the runs of backprop used lr = 0.003, but its search chose 0.004" in flag


def test_every_search_is_listed(tmp_path: Path) -> None:
    material = read_material([crossed(tmp_path / "run", RATES)])
    listed = [(entry.label, entry.values[0].value) for entry in tuned_values(build_tables(material), material)]
    assert listed == [
        ("backprop, study 0, split 0", "0.001"),
        ("backprop, study 1, split 0", "0.003"),
        ("backprop, study 0, split 1", "0.002"),
        ("backprop, study 1, split 1", "0.004"),
    ]


@pytest.mark.parametrize(("splits", "label"), [((0, 0), "backprop, study 1"), ((0, 1), "backprop, study 1, split 1")])
def test_only_what_differs_is_named(tmp_path: Path, splits: tuple[int, int], label: str) -> None:
    keys = [(study, split) for study, split in enumerate(splits)]
    material = read_material([crossed(tmp_path / "run", {key: RATES[key] for key in keys})])
    assert [entry.label for entry in tuned_values(build_tables(material), material)][1] == label


@pytest.mark.parametrize(
    ("facts", "ending"),
    [
        ({"trials_at_once": 1, "compile_time_s": None}, " s"),
        ({"trials_at_once": 4}, " s in all, 4 trials at once"),
        ({"trials_at_once": 1, "compile_time_s": 12.5}, " s, and 12.5 s to compile"),
    ],
)
def test_seconds_that_overlap_and_those_of_the_compiler_are_said(tmp_path: Path, facts: dict[str, Any], ending: str) -> None:
    row = tuned_entry("backprop") | facts
    material = read_material([write_run(tmp_path / "run", [make_record()], tuned=[row])])
    (entry,) = tuned_values(build_tables(material), material)
    assert entry.time.endswith(ending)
