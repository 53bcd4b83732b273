"""``tuned.json``: rows of one form, one for each search."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from bpfree.bench import Arm, RunDirectory
from bpfree.bench.study import open_storage, search
from bpfree.bench.tuned import TunedRow, read_tuned
from bpfree.errors import RunDirectoryError

from .test_measure import setting

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.fixture
def row(tmp_path: Path) -> TunedRow:
    """What a search of one trial gives."""
    rules = setting().ruleset.with_changes(trials=1, passes_per_trial=1, max_passes=1)
    outcome = search(setting(ruleset=rules), Arm.parse("backprop"), open_storage(tmp_path / "journal"))
    return TunedRow.model_validate(outcome.row)


def test_a_search_gives_a_row_of_this_form(row: TunedRow) -> None:
    assert row.key == ("backprop", "digits", row.data_digest, "mlp:2x16", None)
    assert set(row.as_json()) == set(TunedRow.model_fields) - {"not_searched"}  # every number of a built-in rule has a range


def test_rows_are_added_and_one_of_the_same_search_is_replaced(row: TunedRow, tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    assert directory.tuned() == []
    other = row.model_copy(update={"net": "mlp:1x8"})
    directory.add_tuned([row])
    directory.add_tuned([other])
    assert directory.tuned() == [row, other]
    better = row.model_copy(update={"best_val_accuracy": 0.99})
    directory.add_tuned([better])
    assert directory.tuned() == [better, other]
    assert json.loads((tmp_path / "tuned.json").read_text()) == [better.as_json(), other.as_json()]


def test_an_unknown_field_is_refused(row: TunedRow) -> None:
    with pytest.raises(ValidationError, match="joule"):
        TunedRow.model_validate({**row.as_json(), "joule": 3.0})


def test_a_broken_file_is_one_line_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "tuned.json").write_text('[{"arm": "backprop"}]')
    with pytest.raises(RunDirectoryError, match=r"tuned\.json cannot be read \(0\.algorithm: Field required\)"):
        read_tuned(tmp_path / "tuned.json")


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/tuned.json")), ids=lambda path: path.parent.name)
def test_published_results_have_this_form(path: Path) -> None:
    assert [row.as_json() for row in read_tuned(path)] == json.loads(path.read_text())
