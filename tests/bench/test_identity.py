"""Rules, data and code are known by what they are, not by their names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from bpfree import data, rulesets
from bpfree.bench import (
    Arm,
    ComparisonRun,
    RunDirectory,
    Setting,
    SilentObserver,
    check_supported,
    environment,
    measure,
    parse_arms,
)
from bpfree.bench.study import open_storage, search
from bpfree.errors import RulesetError, RunDirectoryError

from .test_measure import setting

RULES = rulesets.load("quick").with_changes(trials=1, passes_per_trial=1, max_passes=1)


def file_setting(folder: Path, seed: int) -> Setting:
    """A setting on ``my.npz`` of a folder, whose contents the seed decides."""
    folder.mkdir(exist_ok=True)
    random = np.random.RandomState(seed)
    np.savez(folder / "my.npz", x=random.standard_normal((120, 5)).astype(np.float32), y=np.arange(120) % 3)
    return setting(ruleset=RULES, data=data.load(folder / "my.npz"), net="mlp:1x4")


def run(chosen: Setting, directory: RunDirectory) -> int:
    with directory.opened(RULES, chosen.facts):
        return len(ComparisonRun(chosen, parse_arms("backprop"), (0,), directory, SilentObserver()).run())


def test_a_file_that_was_replaced_does_not_give_the_old_answer(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "R")
    assert run(file_setting(tmp_path, 0), directory) == 1
    assert run(file_setting(tmp_path, 0), directory) == 1  # the same contents, written again
    with pytest.raises(RunDirectoryError, match=r"holds runs on my.npz with other contents .* choose another --out"):
        run(file_setting(tmp_path, 1), directory)


def test_two_files_of_one_name_never_share_a_search(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "journal")
    searched: list[int] = []
    for folder, seed in (("a", 0), ("b", 1), ("a", 0)):
        search(file_setting(tmp_path / folder, seed), Arm.parse("backprop"), storage, on_trial=lambda t: searched.append(t))
    assert searched == [0, 0]  # the third finds the search of the first


def test_other_normalisation_is_other_data() -> None:
    digits = data.load("digits")
    plain = dataclasses.replace(digits, normalisation=None)
    assert plain.split_digest == digits.split_digest
    assert plain.data_digest != digits.data_digest
    assert data.load("digits").data_digest == digits.data_digest
    assert data.load("digits", split_seed=1).data_digest != digits.data_digest


def test_a_record_carries_the_three_identities() -> None:
    record = measure(setting(), parse_arms("backprop")[0], {}, 0, None)
    assert record.ruleset_digest == rulesets.digest(setting().ruleset)
    assert record.data_digest == data.load("digits").data_digest
    assert record.code_digest == environment.run_code_digest()


@pytest.mark.parametrize("other", [{"torch": "0"}, {"optuna": "0"}, {environment.CODE: "0"}])
def test_other_code_has_another_digest(other: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    mine, known = environment.run_code_digest(), environment.versions()
    monkeypatch.setattr(environment, "versions", lambda: known | other)
    assert environment.run_code_digest() != mine


def test_splits_are_executed_as_the_ruleset_has_them() -> None:
    split = rulesets.Split(kind="stratified", validation=0.1, test=0.3)
    digits = data.load("digits", split=split)
    assert [round(digits.n(name) / 1797, 2) for name in ("train", "validation", "test")] == [0.6, 0.1, 0.3]
    standard = data.load("synthetic:n=1000")
    assert [standard.n(name) for name in ("train", "validation", "test")] == pytest.approx([700, 150, 150], abs=5)


def test_an_arm_that_fixes_what_others_search_says_so() -> None:
    fixed = measure(setting(), parse_arms("backprop:lr=2e-5")[0], {}, 0, None)
    assert fixed.unequal_search == ["lr"]
    assert measure(setting(), parse_arms("mono-forward:schedule=staged")[0], {}, 0, None).unequal_search == []


def test_a_ruleset_of_version_1_is_not_run() -> None:
    old = rulesets.load(Path(__file__).parents[2] / "benchmarks" / "results" / "cifar10-patches" / "ruleset.yaml")
    with pytest.raises(RulesetError, match="schema_version 1"):
        check_supported(old, parse_arms("backprop"))
