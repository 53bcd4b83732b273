"""Whether a directory can hold a suite: the same name, scale and rules, or nothing yet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpfree import rulesets
from bpfree.bench.suites.directory import check_place
from bpfree.errors import RulesetError, RunDirectoryError, StorageError
from tests.report.golden import FIRST, LARGE, RUNS, record
from tests.report.page_pins import pinned, written

RULES = {"quick": rulesets.load("quick")}


def holding(place: Path, text: str) -> Path:
    place.mkdir()
    (place / "suite.json").write_text(text)
    return place


def test_a_new_or_empty_directory_and_one_of_the_same_suite(tmp_path: Path) -> None:
    same = holding(tmp_path / "same", json.dumps({"suite": "mine", "scale": 0.5}))
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "new", tmp_path / "empty", same):
        assert check_place(place, "mine", 0.5, RULES) == ""


@pytest.mark.parametrize(("suite", "scale"), [("other", 0.5), ("mine", 1.0)])
def test_another_suite_or_scale_is_refused(tmp_path: Path, suite: str, scale: float) -> None:
    place = holding(tmp_path / "R", json.dumps({"suite": suite, "scale": scale}))
    with pytest.raises(RunDirectoryError, match=f"holds suite {suite} at scale {scale:g}, not mine at 0.5"):
        check_place(place, "mine", 0.5, RULES)


def test_what_is_no_suite_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="holds no suite"):
        check_place(tmp_path, "mine", 1.0, RULES)
    with pytest.raises(RunDirectoryError, match="is a file"):
        check_place(tmp_path / "file", "mine", 1.0, RULES)


def test_run_directories_of_comparisons_are_no_suite(tmp_path: Path) -> None:
    """A folder that holds nothing but runs of bpfree compare: their records name no suite."""
    written(tmp_path / "mine", [record(FIRST, LARGE, "backprop", RUNS[LARGE]["backprop"][0])], FIRST)
    with pytest.raises(RunDirectoryError, match="holds no suite"):
        check_place(tmp_path, "mine", 1.0, RULES)


DAMAGES = (
    "", "{", "[]", "null", '{"suite": "mine"}', '{"suite": "mine", "scale": "large"}', '{"suite": "mine", "scale": true}',
    '{"suite": "mine", "scale": NaN}', '{"suite": ["mine"], "scale": 1.0}', '{"suite": "mine", "scale": 0}', "[" * 100_000,
)  # fmt: skip


@pytest.mark.parametrize("text", DAMAGES, ids=range(len(DAMAGES)))
def test_a_damaged_file_is_made_anew_where_nothing_else_is(tmp_path: Path, text: str) -> None:
    place = holding(tmp_path / "R", text)
    assert check_place(place, "mine", 1.0, RULES).startswith(f"{place / 'suite.json'} cannot be read (")
    (place / "quick").mkdir()
    rulesets.save(RULES["quick"], place / "quick" / "ruleset.yaml")
    assert check_place(place, "mine", 1.0, RULES).startswith(f"{place / 'suite.json'} cannot be read (")
    (place / "thesis.tex").touch()
    with pytest.raises(
        RunDirectoryError, match=r"suite.json cannot be read .*, and no record says what .* holds; choose another"
    ):
        check_place(place, "mine", 1.0, RULES)


def test_a_file_that_may_not_be_read_is_not_made_anew(tmp_path: Path) -> None:
    (tmp_path / "suite.json").mkdir()
    with pytest.raises(StorageError, match=r"cannot read .*suite\.json: is a directory"):
        check_place(tmp_path, "mine", 1.0, RULES)


@pytest.mark.parametrize("text", ["{", None], ids=["damaged", "deleted"])
def test_the_records_say_what_a_damaged_file_does_not(tmp_path: Path, text: str | None) -> None:
    plan = {"suite": "mine", "scale": 0.5}
    written(tmp_path / "quick", [pinned(record(FIRST, LARGE, "backprop", RUNS[LARGE]["backprop"][0]), 0, plan=plan)], FIRST)
    if text is not None:
        (tmp_path / "suite.json").write_text(text)
    assert "suite.json" in check_place(tmp_path, "mine", 0.5, {})
    for suite, scale in (("other", 0.5), ("mine", 1.0)):
        with pytest.raises(RunDirectoryError, match=f"holds suite mine at scale 0.5, not {suite} at {scale:g}"):
            check_place(tmp_path, suite, scale, {})


def test_other_rules_are_refused(tmp_path: Path) -> None:
    place = holding(tmp_path / "R", json.dumps({"suite": "mine", "scale": 1.0}))
    (place / "quick").mkdir()
    rulesets.save(RULES["quick"].with_changes(patience=3), place / "quick" / "ruleset.yaml")
    with pytest.raises(RulesetError, match="patience"):
        check_place(place, "mine", 1.0, RULES)
