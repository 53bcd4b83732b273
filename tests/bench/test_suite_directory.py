"""Whether a directory can hold a suite: the same name, scale and rules, or nothing yet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpfree import rulesets
from bpfree.bench.suites.directory import check_place
from bpfree.errors import RulesetError, RunDirectoryError

RULES = {"quick": rulesets.load("quick")}


def holding(place: Path, text: str) -> Path:
    place.mkdir()
    (place / "suite.json").write_text(text)
    return place


def test_a_new_or_empty_directory_and_one_of_the_same_suite(tmp_path: Path) -> None:
    check_place(tmp_path / "new", "mine", 0.5, RULES)
    check_place(tmp_path, "mine", 0.5, RULES)
    check_place(holding(tmp_path / "same", json.dumps({"suite": "mine", "scale": 0.5})), "mine", 0.5, RULES)


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
    for k, text in enumerate(("{", "[]", '{"suite": "mine"}', '{"suite": "mine", "scale": "large"}')):
        with pytest.raises(RunDirectoryError, match="cannot be read"):
            check_place(holding(tmp_path / str(k), text), "mine", 1.0, RULES)


def test_other_rules_are_refused(tmp_path: Path) -> None:
    place = holding(tmp_path / "R", json.dumps({"suite": "mine", "scale": 1.0}))
    (place / "quick").mkdir()
    rulesets.save(RULES["quick"].with_changes(patience=3), place / "quick" / "ruleset.yaml")
    with pytest.raises(RulesetError, match="patience"):
        check_place(place, "mine", 1.0, RULES)
