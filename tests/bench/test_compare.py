"""Cells: each once, arms interleaved, and only what is missing."""

from __future__ import annotations

from pathlib import Path

from bpfree.bench import ComparisonRun, RunDirectory, SilentObserver, parse_arms

from .test_measure import setting


def comparison(directory: RunDirectory, seeds: tuple[int, ...]) -> ComparisonRun:
    """Two arms, one trial each."""
    rules = setting().ruleset.with_changes(trials=1, passes_per_trial=1, max_passes=1)
    return ComparisonRun(setting(ruleset=rules), parse_arms("backprop,mono-forward"), seeds, directory, SilentObserver())


def test_seeds_can_be_added_and_nothing_is_run_twice(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "R")
    first = comparison(directory, (0, 1))
    with directory.opened(first.setting.ruleset, first.setting.facts):
        assert len(first.run()) == 4
    before = directory.records_path.read_bytes()
    more = comparison(directory, (0, 1, 2))
    with directory.opened(more.setting.ruleset, more.setting.facts):
        records = more.run()
    assert len(records) == 6
    assert directory.records_path.read_bytes().startswith(before)


def test_arms_are_interleaved_and_each_seed_starts_with_another_arm(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "R")
    both = comparison(directory, (0, 1))
    with directory.opened(both.setting.ruleset, both.setting.facts):
        order = [(record.seed, record.arm) for record in both.run()]
    assert order == [(0, "backprop"), (0, "mono-forward"), (1, "mono-forward"), (1, "backprop")]


def test_batches_of_a_seed_are_the_same_for_every_arm() -> None:
    data = setting().data
    first = [batch.y.tolist() for batch in data.batches("train", 64, pass_index=2, seed=1)]
    assert first == [batch.y.tolist() for batch in data.without_test().batches("train", 64, pass_index=2, seed=1)]
