"""What the commands print and return."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bpfree import catalogue
from bpfree.records import read_records

from .conftest import TINY, Outcome

Command = Callable[..., Outcome]


def test_compare_writes_the_whole_directory_and_prints_table_and_path(bpfree: Command, tmp_path: Path) -> None:
    outcome = bpfree("compare", "--out", "R", "--arms", "backprop,mono-forward", *TINY)
    assert outcome.code == 0
    assert "backprop" in outcome.out
    assert "report: R/report/index.html" in outcome.out
    there = {path.name for path in (tmp_path / "R").iterdir()}
    assert {"ruleset.yaml", "environment.json", "study.journal", "records.jsonl", "tuned.json", "report", "log.txt"} <= there
    assert {p.name for p in (tmp_path / "R" / "report").iterdir()} >= {"index.html", "summary.md", "summary.csv", "figures"}


def test_compare_json_is_nothing_but_the_summary(bpfree: Command) -> None:
    outcome = bpfree("compare", "--out", "R", "--arms", "backprop", "--json", "--quiet", *TINY)
    (table,) = json.loads(outcome.out)["tables"]
    assert [row["arm"] for row in table["rows"]] == ["backprop"]


def test_without_out_a_dated_directory_is_made(bpfree: Command, tmp_path: Path) -> None:
    for _ in range(2):
        assert bpfree("compare", "--arms", "backprop", "--quiet", *TINY).code == 0
    made = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(made) == 2
    assert made[0].endswith("-digits")
    assert made[1].endswith("-digits-2")


def test_a_loss_that_becomes_nan_is_recorded_and_the_comparison_goes_on(bpfree: Command, tmp_path: Path) -> None:
    bad = "mono-forward:optimiser=sgd:lr=1e30"
    assert bpfree("compare", "--out", "R", "--arms", f"{bad},backprop", "--quiet", *TINY).code == 0
    by_arm = {(r.arm, r.seed): r for r in read_records(tmp_path / "R" / "records.jsonl")}
    for seed in (0, 1):
        assert by_arm[bad, seed].status == "diverged"
        assert by_arm[bad, seed].test_accuracy is None
        assert "NaN" in by_arm[bad, seed].reasons["test_accuracy"]
        assert by_arm["backprop", seed].status == "ok"


def test_a_run_that_diverges_alone_is_exit_code_1(bpfree: Command) -> None:
    arguments = ("--set", "optimiser=sgd", "--set", "lr=1e30", "--net", "mlp:1x16", "--max-passes", "2", "--out", "R")
    outcome = bpfree("train", "mono-forward", *arguments)
    assert outcome.code == 1
    assert "diverged" in outcome.out


def test_train_json_is_the_record(bpfree: Command, tmp_path: Path) -> None:
    outcome = bpfree("train", "backprop", "--net", "mlp:1x16", "--max-passes", "2", "--json", "--quiet", "--out", "R")
    assert outcome.code == 0
    (line,) = (tmp_path / "R" / "records.jsonl").read_text().splitlines()
    assert json.loads(outcome.out) == json.loads(line)


def test_balanced_classes_find_a_minority_of_three_per_cent(bpfree: Command, tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    y = np.arange(1000) % 100 < 3
    x = draws.normal(size=(1000, 4)) + 1.5 * y[:, None]
    np.savez(tmp_path / "few.npz", x=x.astype(np.float32), y=y.astype(np.int64))
    options = ("--dataset", "few.npz", "--net", "mlp:1x16", "--max-passes", "3", "--quiet", "--json")
    recalls = {}
    for how in ("none", "balanced"):
        outcome = bpfree("train", "mono-forward:lr=0.003", *options, "--class-weight", how, "--out", how)
        assert outcome.code == 0
        recalls[how] = json.loads(outcome.out)["by_class"]["recall"][1]
        assert f"class_weight: {how}" in (tmp_path / how / "ruleset.yaml").read_text()
    assert recalls["none"] < 0.3
    assert recalls["balanced"] > 0.5


def test_estimated_energy_is_labelled_and_gives_co2e(bpfree: Command, tmp_path: Path) -> None:
    arguments = ("--net", "mlp:1x16", "--max-passes", "2", "--out", "R")
    outcome = bpfree("train", "backprop", *arguments, "--estimate-energy", "--country", "pl")
    assert outcome.code == 0
    assert "an estimate, not a measurement: processor seconds of this process x" in outcome.out
    (record,) = read_records(tmp_path / "R" / "records.jsonl")
    assert record.energy.measured is False
    assert record.energy.method is None or "estimate" in record.energy.method
    if record.energy.joules is not None:
        assert record.carbon.g_per_kwh is not None
        assert record.co2e_g is not None
        assert abs(record.co2e_g - record.energy.joules / 3.6e6 * record.carbon.g_per_kwh) < 1e-12


def test_a_known_weakness_is_said_at_the_start_and_the_record_says_how_the_net_ended(bpfree: Command, tmp_path: Path) -> None:
    outcome = bpfree("train", "foton", "--net", "mlp:10x8", "--max-passes", "1", "--out", "R")
    (line,) = [line for line in outcome.err.splitlines() if "within some 10 blocks" in line]
    assert line.startswith("bpfree: warning: foton: with ReLU") and line.endswith("; use activation=tanh, or fewer blocks")
    (record,) = read_records(tmp_path / "R" / "records.jsonl")
    assert (record.params["optimiser"], record.params["lr"], record.params["temperature"]) == ("sgd", 5e-3, 10.0)
    assert len(record.health.dead_units) == len(record.health.block_accuracy) == 10 and len(record.health.tied_scores) == 1


def test_report_is_rebuilt_from_the_records_and_opened(bpfree: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bpfree("compare", "--out", "R", "--arms", "backprop", "--quiet", *TINY)
    page = tmp_path / "R" / "report" / "index.html"
    page.unlink()
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert bpfree("report", "R").code == 0
    assert page.exists()
    assert opened == []
    assert bpfree("report", "R", "--open", "--quiet").code == 0
    assert opened == [page.resolve().as_uri()]


def test_doctor_says_in_words_what_is_null_and_what_would_change_it(bpfree: Command) -> None:
    outcome = bpfree("doctor", "--device", "cpu")
    assert outcome.code == 0
    for word in ("time", "energy of the processor", "CO2e", "FLOPs", "peak memory"):
        assert word in outcome.out
    findings = json.loads(bpfree("doctor", "--device", "cpu", "--json").out)
    assert all(finding["why_null"] for finding in findings if finding["verdict"] == "null")


def test_cite_prints_bibtex_once(bpfree: Command) -> None:
    outcome = bpfree("cite", "mono-forward", "forward-forward", "mono-forward")
    assert outcome.out.count("@article{gong2025monoforward") == 1
    assert outcome.out.count("@article{hinton2022forward") == 1
    assert "2212.13345" in outcome.out


def test_a_rule_without_a_reference_is_said(bpfree: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.rules(), "frozen", dataclasses.replace(catalogue.rules()["frozen"], bibtex=()))
    assert "frozen has no BibTeX in its docstring (bpfree.algorithms.frozen)" in bpfree("cite", "frozen").one_line()


def test_every_command_has_an_example_in_its_help(bpfree: Command) -> None:
    for command in ("compare", "train", "report", "doctor", "list", "cite"):
        outcome = bpfree(command, "--help")
        assert outcome.code == 0
        assert "Example: bpfree" in " ".join(outcome.out.split())
