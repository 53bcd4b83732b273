"""``bpfree tune``: the search alone, resumable, its result usable as options."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

from bpfree.bench.study import open_storage

from .conftest import Outcome

Command = Callable[..., Outcome]

SMALL = ("--net", "mlp:1x16", "--trials", "2", "--max-passes", "3")


def trials(directory: Path) -> dict[str, int]:
    """Trials of every study in the journal, whatever became of them."""
    storage = open_storage(directory / "study.journal")
    return {study.study_name: len(storage.get_all_trials(study._study_id)) for study in storage.get_all_studies()}


def test_the_best_values_are_options_of_train(bpfree: Command, tmp_path: Path) -> None:
    outcome = bpfree("tune", "mono-forward", *SMALL, "--out", "T")
    assert outcome.code == 0, outcome.err
    options = shlex.split(outcome.out.splitlines()[0])
    (row,) = json.loads((tmp_path / "T" / "tuned.json").read_text())
    assert options == [word for name, value in row["best"].items() for word in ("--set", f"{name}={value!r}")]
    assert "best of 2 trials of at most 3 passes" in outcome.out
    assert not (tmp_path / "T" / "records.jsonl").exists()
    trained = bpfree("train", "mono-forward", "--net", "mlp:1x16", "--max-passes", "3", *options, "--out", "R", "--json")
    params = json.loads(trained.out)["params"]
    assert {name: params[name] for name in row["best"]} == row["best"]


def test_a_finished_search_is_not_run_again(bpfree: Command, tmp_path: Path) -> None:
    first = bpfree("tune", "backprop", *SMALL, "--out", "T", "--quiet")
    before = trials(tmp_path / "T")
    again = bpfree("tune", "backprop", *SMALL, "--out", "T", "--quiet")
    assert again.out == first.out
    assert trials(tmp_path / "T") == before
    ((name, n_trials),) = before.items()
    assert (name.partition("@data ")[0], n_trials) == ("backprop@digits@mlp:1x16", 2)


def test_two_rules_share_a_directory_and_compare_uses_their_searches(bpfree: Command, tmp_path: Path) -> None:
    found = [json.loads(bpfree("tune", name, *SMALL, "--out", "T", "--json").out) for name in ("backprop", "mono-forward")]
    rows = json.loads((tmp_path / "T" / "tuned.json").read_text())
    assert [row["best"] for row in rows] == [row["best"] for row in found]
    before = trials(tmp_path / "T")
    arms = ("--arms", "backprop,mono-forward", "--seeds", "1", "--quiet")
    assert bpfree("compare", *SMALL, *arms, "--out", "T").code == 0
    assert trials(tmp_path / "T") == before


def test_what_is_set_is_not_searched(bpfree: Command) -> None:
    row = json.loads(bpfree("tune", "backprop", *SMALL, "--set", "lr=1e-3", "--out", "T", "--json").out)
    assert set(row["best"]) == {"weight_decay"}
    assert row["arm"] == "backprop:lr=1e-3"


def test_a_mistake_is_one_line(bpfree: Command, tmp_path: Path) -> None:
    outcome = bpfree("tune", "mono-forwrd", "--out", "T")
    assert outcome.code == 2
    assert "did you mean mono-forward" in outcome.one_line()
    assert list(tmp_path.iterdir()) == []
