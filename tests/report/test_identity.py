"""Which runs may stand in one table: the same rules, the same data, the same code; other machines only with a word."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bpfree import report, rulesets
from bpfree.bench.arm import Arm
from bpfree.bench.measure import Setting, measure
from bpfree.cli import run as bpfree
from bpfree.data import Dataset
from bpfree.errors import RulesetError, RunDirectoryError
from bpfree.records import Record
from bpfree.report.material import read_material
from tests.report.conftest import QUICK, digits, facts, make_record, setting, tuned_entry, write_run

Pair = tuple[Path, Path]
SEARCH = {"lr": {"low": 1e-5, "high": 1e-4}}


def changed(run: Record, **fields: Any) -> Record:
    return Record.model_validate(run.model_dump(by_alias=True) | fields)


def pair(path: Path, change: Callable[[Record], Record], ruleset: rulesets.Ruleset = QUICK) -> Pair:
    """Two directories with an arm each; ``change`` is for the runs of the second."""
    one = [make_record("backprop", seed) for seed in (0, 1)]
    other = [change(make_record("mono-forward", seed)) for seed in (0, 1)]
    return write_run(path / "a", one), write_run(path / "b", other, ruleset)


def refused(paths: Pair, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The one line of the command, which ends with 2."""
    assert bpfree(["report", *map(str, paths), *options]) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    (line,) = seen.err.strip().splitlines()
    return line


def versions(run: Record, **other: str) -> Record:
    names = {"code": "bpfree code", "torch": "torch", "optuna": "optuna", "numpy": "numpy"}
    return changed(run, versions=run.versions | {names[key]: value for key, value in other.items()})


def test_a_narrowed_search_space_is_another_ruleset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ranges of 1e-5 to 1e-4 for backprop, in runs that were merged with others as of equal rules (+20.6 points)."""
    spaces = {**QUICK.search.model_dump(mode="json")["spaces"]}
    spaces["*"] = {**spaces["*"], **SEARCH}
    narrow = QUICK.with_changes({"search.spaces": spaces})
    paths = pair(tmp_path, lambda run: changed(run, ruleset_digest=rulesets.digest(narrow)), narrow)
    with pytest.raises(RulesetError):
        report.build(paths)
    line = refused(paths, capsys, "--accept-other-code")
    assert "different rules" in line
    assert "search.spaces.*.lr.high: 0.03 against 0.0001" in line


def test_data_that_were_not_normalised_are_other_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same stored values in the same split: only the digest of what the net was given tells them apart."""

    def measured(data: Dataset, arm: str) -> Record:
        one = dataclasses.replace(setting(QUICK.with_changes(max_passes=1)), data=data)
        assert isinstance(one, Setting)
        return changed(measure(one, Arm.parse(arm), {}, 0, None), ruleset_digest=rulesets.digest(QUICK))

    raw = dataclasses.replace(digits(), normalisation=None)
    paths = (
        write_run(tmp_path / "a", [measured(digits(), "backprop")]),
        write_run(tmp_path / "b", [measured(raw, "mono-forward")]),
    )
    line = refused(paths, capsys, "--accept-other-code")
    assert "different data of the name digits: the same values in the same split, normalised differently" in line
    assert f"{paths[0]} (backprop, seed 0)" in line
    assert f"{paths[1]} (mono-forward, seed 0)" in line


def test_another_file_of_the_same_name_is_other_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = pair(tmp_path, lambda run: changed(run, split="f" * 64, data_digest="e" * 64))
    line = refused(paths, capsys)
    assert f"stored values or split {make_record().split[:16]} and {'f' * 16}" in line


def test_other_data_are_refused_within_one_directory_too(tmp_path: Path) -> None:
    records = [make_record("backprop", 0), changed(make_record("mono-forward", 0), data_digest="e" * 64)]
    with pytest.raises(RunDirectoryError, match="normalised differently"):
        report.build([write_run(tmp_path / "a", records)])


def test_other_splits_by_their_seed_are_a_part_of_the_plan(tmp_path: Path) -> None:
    records = [
        changed(make_record(arm, seed), split_seed=seed, split=f"{seed}" * 64, data_digest=f"{seed + 2}" * 64)
        for arm in ("backprop", "mono-forward")
        for seed in (0, 1)
    ]
    assert len(report.summarise([write_run(tmp_path / "a", records)])["tables"]) == 1


def test_other_data_of_another_name_are_another_table(tmp_path: Path) -> None:
    paths = pair(tmp_path, lambda run: changed(run, dataset="other.npz", split="f" * 64, data_digest="e" * 64))
    assert [table["dataset"] for table in report.summarise(paths)["tables"]] == ["digits", "other.npz"]


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"code": "0123"}, "bpfree code"),
        ({"torch": "1.0"}, "torch"),
        ({"optuna": "2.0"}, "optuna"),
    ],
)
def test_other_code_is_refused_unless_it_is_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], no_charts: None, other: dict[str, str], named: str
) -> None:
    paths = pair(tmp_path, lambda run: versions(run, **other))
    (value,) = other.values()
    line = refused(paths, capsys)
    assert f"DIFFERENT CODE: {named} {make_record().versions[named]} in {paths[0]}, {value} in {paths[1]};" in line
    assert "accuracies cannot be compared either" in line
    assert "--accept-other-code" in line
    assert sum(each in line for each in ("bpfree code", "torch ", "optuna ")) == 1, "only what differs"
    assert bpfree(["report", *map(str, paths), "--accept-other-code", "--quiet"]) == 0
    (flag,) = [flag for flag in report.summarise(paths, accept_other_code=True)["flags"] if "DIFFERENT" in flag]
    both = f"{named} {make_record().versions[named]} and {value}"
    assert flag == f"DIFFERENT CODE: accuracies cannot be compared either ({both})."


def test_code_that_differs_between_tables_is_not_compared(tmp_path: Path) -> None:
    paths = pair(tmp_path, lambda run: versions(changed(run, net="mlp:1x8"), torch="1.0"))
    flags = report.summarise(paths)["flags"]
    assert not any("DIFFERENT CODE" in flag for flag in flags)


def environment_of(path: Path, **changes: Any) -> str:
    """The digest under which a directory describes another environment."""
    known = facts().as_json() | changes
    file = path / "environment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"other": known}))
    return "other"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"processor": "Another 3000"}, "processor {} and Another 3000"),
        ({"processor_kind": "Maker family 1 model 2"}, "processor kind {} and Maker family 1 model 2"),
        ({"instruction_set": "OLD"}, "instruction set {} and OLD"),
        ({"blas": "other 1.0"}, "blas {} and other 1.0"),
        ({"torch_threads": 77}, "torch threads {} and 77"),
        ({"memory_bytes": 1000}, "memory bytes {} and 1000"),
        ({"gpu": "Board 9"}, "gpu none and Board 9"),
    ],
)
def test_another_machine_concerns_times_and_energies(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    paths = pair(tmp_path, lambda run: changed(run, environment_digest="other"))
    environment_of(paths[1], **changes)
    flags = report.summarise(paths)["flags"]
    here = facts().as_json().get(next(iter(changes)))
    said = f"The runs come from different machines ({words.format(here)}): their times and energies cannot be compared, "
    rounds = not {"torch_threads", "memory_bytes"} & changes.keys()
    tail = (
        ", though not digit by digit: kinds of processor round differently, so that the same command gives other accuracies on "
        "another kind"
    )
    assert f"{said}their accuracies can{tail if rounds else ''}." in flags
    assert not any("DIFFERENT CODE" in flag for flag in flags)


def test_another_release_of_the_same_code_is_no_other_machine(tmp_path: Path) -> None:
    paths = pair(tmp_path, lambda run: changed(run, environment_digest="other"))
    environment_of(paths[1], versions=facts().as_json()["versions"] | {"bpfree": "99.0"})
    assert not any("machines" in flag for flag in report.summarise(paths)["flags"])


def test_a_machine_that_is_not_described_is_another_one(tmp_path: Path) -> None:
    paths = pair(tmp_path, lambda run: changed(run, environment_digest="elsewhere"))
    assert any("different machines (not all of them are described)" in flag for flag in report.summarise(paths)["flags"])


def old(run: Record) -> Record:
    """As version 1 had it."""
    later = dict.fromkeys(("data_digest", "code_digest", "steps", "examples_seen", "cpu_s", "other_load", "n_test", "correct"))
    later |= {"evaluation_peak_bytes": None, "stops": [], "schema": 1}
    assert run.flops is not None
    flops = run.flops.model_dump() | {"run_total": None, "mean_step": None}
    return changed(run, **later, flops=flops)


def test_old_records_are_reported_and_say_what_they_lack(tmp_path: Path, no_charts: None) -> None:
    records = [old(make_record(arm, seed)) for arm in ("backprop", "mono-forward") for seed in (0, 1)]
    path = write_run(tmp_path / "a", records)
    summary = report.summarise([path])
    (entry,) = [entry for entry in summary["not_measured"] if entry["reason"] == "records of version 1 do not have it"]
    for name in ("steps", "processor time", "load by other processes", "FLOPs of a step", "peak memory of validation"):
        assert name in entry["quantities"].split(", ")
    assert any("records are of version 1" in flag for flag in summary["flags"])
    assert not any("allocator" in flag for flag in summary["flags"])
    (table,) = summary["tables"]
    assert table["rows"][0]["step_flops"] is None
    page = report.build([path]).page.read_text()
    assert "Not measured for any arm, with the reasons below: Energy" in page
    assert "What a step needs" in page


def test_peak_memory_of_old_records_on_a_gpu_is_another_quantity(tmp_path: Path) -> None:
    records = [old(make_record("backprop", seed)) for seed in (0, 1)]
    records[0] = changed(records[0], plan=records[0].plan | {"device": "cuda:0"})
    flags = report.summarise([write_run(tmp_path / "a", records)])["flags"]
    assert any("peak memory of 1 of 2 runs is that of the allocator of the GPU" in flag for flag in flags)


def test_records_of_two_versions_do_not_mix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = pair(tmp_path, old)
    line = refused(paths, capsys, "--accept-other-code")
    assert f"{paths[1]} has records of version 1" in line
    assert "report them one by one" in line


def test_a_search_on_other_data_of_the_same_name_is_not_that_of_the_runs(tmp_path: Path) -> None:
    """``tune --dataset d1/my.npz`` and ``compare --dataset d2/my.npz`` in one directory: two searches, and no copied values."""
    own = tuned_entry("backprop")
    other = own | {"data_digest": "e" * 64, "best": dict.fromkeys(own["best"], 0.5)}
    path = write_run(tmp_path / "a", [make_record("backprop", seed) for seed in (0, 1)], tuned=[other, own])
    (entry,) = read_material([path]).tuned
    assert entry["best"] == own["best"]
