"""What is refused before anything is written, and files of a run directory: which checks are made, in which order, with what."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bpfree import data, rulesets
from bpfree.bench import checked as checking
from bpfree.bench import damage, environment
from bpfree.bench import directory as directories
from bpfree.bench import setting as settings
from bpfree.bench.arm import Arm, parse_arms
from bpfree.bench.checked import Checked, arms_for, checked
from bpfree.bench.damage import DamagedFileWarning, rules_of, set_aside
from bpfree.bench.directory import RunDirectory
from bpfree.bench.setting import Setting, Together, check_runnable, check_supported
from bpfree.bench.spaces import searched_names
from bpfree.bench.tuned import TunedRow
from bpfree.errors import BpfreeError, RunDirectoryError, StorageError
from bpfree.files import PART
from bpfree.meter import Meter

ANY: Any = None
CPU = torch.device("cpu")
QUICK = rulesets.load("quick")
SMALL = data.load("synthetic:n=300:inputs=4:classes=3")


def setting(rules: rulesets.Ruleset = QUICK, **changes: Any) -> Setting:
    return Setting(rules, SMALL, "mlp:1x4", CPU, Meter(CPU), None, {}, environment.facts(CPU), **changes)


def refusal(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(BpfreeError) as error:
        call(*arguments, **named)
    return str(error.value)


class Notes:
    """Stands for functions of a module, and writes down with what they are called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, *names: str) -> None:
        self.made: list[Any] = []
        for name in names:
            monkeypatch.setattr(module, name, lambda *args, name=name, **named: self.made.append((name, *args, *named.items())))


def test_budgets_that_are_short_are_told_by_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = QUICK.with_changes(
        {"budget.max_passes": 7, "batch_size": 32},
        exceptions=[{"arms": ["pepita"], "field": "batch_size", "value": 16, "why": "a test"}],
    )
    asked: list[Any] = []

    def short(n: int, batch_size: int, passes: int, name: str) -> str | None:
        asked.append((n, batch_size, passes, name))
        return "too few" if batch_size == 16 else None

    monkeypatch.setattr(checking, "short_budget", short)
    here = setting(rules)
    here.data = dataclasses.replace(SMALL, name="some/folder/file.npz")
    assert list(Checked(here, parse_arms("backprop,pepita")).short_budgets()) == ["too few"]
    assert asked == [(SMALL.n("train"), size, 7, "file.npz") for size in (32, 16)]


@pytest.mark.parametrize("use", ["compare", "tune", "train"])
def test_searched_commands_check_what_is_searched(use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes(monkeypatch, checking, "check_supported", "check_named", "warn_of_not_searched")
    arms = parse_arms("pepita,backprop")
    assert arms_for(QUICK, use, arms) == (QUICK, arms)
    names = ["check_supported", *(["check_named", "warn_of_not_searched"] if use != "train" else [])]
    assert notes.made == [(name, QUICK, arms) for name in names]
    assert [arm.label for arm in arms_for(QUICK, use)[1]] == list(QUICK.plan.arms)
    notes = Notes(monkeypatch, checking, "check_runnable")
    here = setting()
    assert checked(here, arms, use, [5]) == Checked(here, arms)
    assert notes.made == [("check_runnable", here, arms, ("searched", use != "train"))]
    assert here.plan == {"arms": ["pepita", "backprop"], "seeds": [5]}


@pytest.mark.parametrize("searched", [True, False])
def test_everything_is_checked_before_a_run(searched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run has 100 examples in batches of 64, or of 32 for one arm; a trial has 50."""
    rules = QUICK.with_changes(
        {"search.train_examples": 50, "batch_size": 64, "plan.tier": "eager"},
        exceptions=[{"arms": ["pepita"], "field": "batch_size", "value": 32, "why": "a test"}],
    )
    notes = Notes(
        monkeypatch, settings, "check_tier", "check_net", "check_precision", "check_weights", "check_supported",
        "warn_of_weaknesses", "check_passes",
    )  # fmt: skip
    net: Any = SimpleNamespace(dtype="dtype", check_batches=lambda n, size: notes.made.append(("batches", n, size)))
    monkeypatch.setattr(Setting, "build_net", lambda self: net)
    here = setting(rules)
    here.data = SMALL.limited(100).weighted("balanced")
    arms = parse_arms("backprop,pepita")
    check_runnable(here, arms, searched=searched)
    one, other = (arm.build({}) for arm in arms)

    def of(rule: Any, size: int) -> list[Any]:
        trial = [("batches", 50, size)] if searched else []
        return [
            ("check_net", rule, net), ("check_precision", rule, "float32", "dtype", CPU), ("check_weights", rule, "balanced"),
            ("batches", 100, size), *trial,
        ]  # fmt: skip

    assert notes.made == [
        ("check_tier", "eager", CPU), *of(one, 64), *of(other, 32), ("check_supported", rules, arms, net),
        ("warn_of_weaknesses", one, net, 64), ("warn_of_weaknesses", other, net, 64),
        ("check_passes", rules, arms, net, here.data.name, "mlp:1x4"),
    ]  # fmt: skip
    assert check_runnable.__kwdefaults__ == {"searched": True}


def test_rules_that_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    old: Any = SimpleNamespace(schema_version=1, name="old")
    assert refusal(check_supported, old, ()) == (
        "ruleset old has schema_version 1, which says neither what is searched nor how data are split; to run it, write "
        "schema_version: 2, splits: standard and search.spaces: standard"
    )
    notes = Notes(monkeypatch, settings, "check_spaces", "check_phases")
    new: Any = SimpleNamespace(schema_version=2, name="new")
    arms: Any = [SimpleNamespace(under=lambda rules: notes.made.append(("under", rules)))]
    check_supported(new, arms, ANY)
    assert notes.made == [("under", new), ("check_spaces", new, arms), ("check_phases", new, arms, None)]
    assert Together(ANY, "layers", 3).words == "layers, 3 ranks"
    assert (setting().split_seed, setting().together) == (0, None)


def test_what_a_ruleset_names_for_a_rule() -> None:
    rules = QUICK.with_changes(
        {"search.spaces": {"*": {"lr": {"low": 0.1, "high": 0.2}}, "pepita:optimiser=adam": {"weight_decay": None}}}
    )
    assert (searched_names(rules, "pepita"), searched_names(rules, "backprop")) == ({"weight_decay"}, set())


def test_a_file_that_is_made_again_is_set_aside_where_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for there, aside in ((False, ""), (True, "; the damaged file is kept as x.json.damaged")):
        if there:
            path.write_text("odd")
        with pytest.warns(DamagedFileWarning) as caught:
            set_aside(path, "x.json is odd", "and little is lost")
        assert [str(each.message) for each in caught] == [f"x.json is odd: it is made again, and little is lost{aside}"]
        assert caught[0].filename == __file__
    assert (path.exists(), (tmp_path / "x.json.damaged").read_text()) == (False, "odd")


def records(monkeypatch: pytest.MonkeyPatch, *digests: str) -> None:
    monkeypatch.setattr(damage, "read_records", lambda path: [SimpleNamespace(ruleset_digest=each) for each in digests])


@pytest.mark.parametrize("names", [(), (".lock",), (".lock", f"{PART}x")])
def test_a_directory_without_work_takes_the_rules_of_the_command(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert rules_of(tmp_path, QUICK) == (QUICK, "")


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    for name in (".lock", f"{PART}x", "thesis.tex"):
        (tmp_path / name).touch()
    told = f"{tmp_path} is not empty and not a run directory (it has no ruleset.yaml); choose another --out DIR"
    assert refusal(rules_of, tmp_path, QUICK) == told
    (tmp_path / "tuned.json").mkdir()  # a folder is no file of ours
    assert refusal(rules_of, tmp_path, QUICK) == told


@pytest.mark.parametrize("name", ["records.jsonl", "study.journal", "environment.json", "tuned.json"])
def test_a_directory_that_lost_its_rules_takes_those_of_its_records(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).touch()
    mine, missing = rulesets.digest(QUICK), f"{tmp_path / 'ruleset.yaml'} is missing"
    records(monkeypatch, mine, mine)
    assert rules_of(tmp_path, QUICK) == (QUICK, missing)
    records(monkeypatch, "0123456789abcdefghij", mine)
    assert refusal(rules_of, tmp_path, QUICK) == (
        f"{missing}, and the records beside it were made under other rules (digest 0123456789abcdef) than those of this command "
        f"({rulesets.short_digest(QUICK)}); give the options they were made with, or choose another --out DIR"
    )
    records(monkeypatch)
    assert rules_of(tmp_path, QUICK) == (QUICK, missing)


def test_searches_whose_rules_are_lost_are_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, path = tmp_path / "study.journal", tmp_path / "ruleset.yaml"
    path.write_text("name: [")
    damaged = rules_of(tmp_path, QUICK)[1]
    assert damaged.startswith(f"{path} cannot be read (")
    journal.write_text("{}\n")
    assert refusal(rules_of, tmp_path, QUICK) == (
        f"{damaged}, so the rules of the searches in {journal} are lost; delete that file, and the same command searches again, "
        "or choose another --out DIR"
    )
    records(monkeypatch, rulesets.digest(QUICK))
    assert rules_of(tmp_path, QUICK) == (QUICK, damaged)
    rulesets.save(QUICK, path)
    assert rules_of(tmp_path, QUICK.with_changes(patience=3)) == (rulesets.load(path), "")
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError, match=r"^cannot read .*ruleset\.yaml: is a directory"):
        rules_of(tmp_path, QUICK)


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    """In a directory whose parents are made; under a lock."""
    place = tmp_path / "a" / "b"
    facts = environment.facts(CPU)
    with RunDirectory(place).opened(QUICK, facts) as opened:
        assert opened.path == place
    assert rulesets.load(place / "ruleset.yaml") == QUICK
    assert (place / "environment.json").read_text().startswith('{\n  "')
    folders = [place, place / "checkpoints", place / "timelines", place / "report", place / "report" / "figures"]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        (folder / f"{PART}x").touch()
    (place / "study.journal").write_text("whole\nhalf")
    with RunDirectory(place).opened(QUICK, facts):
        assert not [path for folder in folders for path in folder.glob(f"{PART}*")]
        assert (place / "study.journal").read_text() == "whole\n"
    (place / "ruleset.yaml").write_text("name: [")
    (place / "study.journal").write_text("")
    with pytest.warns(DamagedFileWarning, match="made again, of the rules of this command, under which its records were made"):
        RunDirectory(place).opened(QUICK, facts).__enter__()
    assert rulesets.load(place / "ruleset.yaml") == QUICK


def test_a_mixture_of_code_that_was_accepted_is_known(tmp_path: Path) -> None:
    facts = environment.facts(CPU)
    others = [facts.model_copy(update={"versions": facts.versions | {"torch": version}}) for version in ("0.0", "0.1")]
    place = RunDirectory(tmp_path / "R")
    with place.opened(QUICK, facts):
        place.records_path.touch()
    with place.opened(QUICK, others[0]):
        place.records_path.write_text("x")  # work of both, as nobody knows better
    with place.opened(QUICK, facts), pytest.raises(BpfreeError):
        RunDirectory(tmp_path / "R").opened(QUICK, facts).__enter__()  # in use
    assert place._other_code(others[1]) == "torch 0.0, now 0.1"
    older = facts.model_copy(update={"versions": {key: value for key, value in facts.versions.items() if key != "optuna"}})
    now = facts.versions
    assert place._other_code(older) == f"torch 0.0, now {now['torch']}; optuna {now['optuna']}, now None"
    environment.write_environments(place.environment_path, {"a": older})
    assert place._other_code(facts) == "", "what an older version did not write does not differ"


def test_a_trace_is_written_before_the_record_and_does_not_lose_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    place, full = RunDirectory(tmp_path), StorageError("full")
    made: Any = "record"
    monkeypatch.setattr(directories, "append_record", lambda path, record: done.append((path, record)))
    monkeypatch.setattr(RunDirectory, "keep_trace", lambda self, record, trace: done.append((record, trace)))
    place.append(made, ["one", "two"])  # type: ignore[list-item]
    place.append(made)
    written = (tmp_path / "records.jsonl", "record")
    assert done == [("record", "one"), ("record", "two"), written, written]

    def refuse(self: Any, record: Any, trace: Any) -> None:
        raise full

    done.clear()
    monkeypatch.setattr(RunDirectory, "keep_trace", refuse)
    with pytest.raises(StorageError) as error:
        place.append(made, ["one"])  # type: ignore[list-item]
    assert (error.value, done) == (full, [written])
    cell = ("a", "d", "x", "n", 7)
    assert directories.cell_name(cell) == directories.cell_name(cell, study=False) != directories.cell_name(cell, study=True)


def test_a_run_that_was_interrupted_is_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = [SimpleNamespace(cell=status, status=status) for status in ("ok", "failed", "interrupted", "diverged")]
    monkeypatch.setattr(RunDirectory, "records", lambda self: stored)
    assert list(RunDirectory(tmp_path).finished()) == ["ok", "failed", "diverged"]


def row(arm: str) -> TunedRow:
    fields = {"algorithm": "a", "dataset": "d", "net": "n", "best": {}, "best_val_accuracy": 0.5, "trials": 1, "time_s": 1.0}
    return TunedRow.model_validate(fields | {"arm": arm, "joules": None, "space": {}, "at_edge": []})


def test_rows_of_searches_are_added_to_a_file_that_is_there(tmp_path: Path) -> None:
    place = RunDirectory(tmp_path)
    place.add_tuned([])
    assert place.tuned_path.read_text() == "[]\n"
    place.add_tuned([row("a")])
    place.add_tuned([row("b")])
    assert place.tuned() == [row("a"), row("b")]
    assert place.tuned_path.read_text().startswith('[\n  {\n    "arm": "a"')
    assert (row("a").split_seed, row("a").control) == (0, False)


def test_only_a_run_directory_of_our_own_form_is_read(tmp_path: Path) -> None:
    (tmp_path / "environment.json").write_text(json.dumps({"a": {}}))
    with pytest.raises(RunDirectoryError, match=r"environment\.json cannot be read \(a\.device: Field required\)$"):
        environment.read_environments(tmp_path / "environment.json")
    assert Arm.parse("backprop").control is False
