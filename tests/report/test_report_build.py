"""The report as a whole: what is written, what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bpfree import report, rulesets
from bpfree.errors import RulesetError, RunDirectoryError, StorageError
from bpfree.records import append_record


def test_everything_is_written(runs):
    paths = report.build([runs()])
    assert paths.page == runs.root / "run/report/index.html"
    names = {figure.name for figure in paths.figures}
    assert names == {"difference.svg", "accuracy-time.svg", "curves-passes.svg", "curves-seconds.svg", "memory.svg"}
    for path in (paths.page, paths.markdown, paths.csv, *paths.figures):
        assert path.stat().st_size > 200
    assert not list(paths.directory.rglob(".*")), "temporary files are left"


def test_with_energy_the_chart_is_about_energy(runs):
    paths = report.build([runs(records=runs.grid(energy=True))])
    assert "accuracy-energy.svg" in {figure.name for figure in paths.figures}


def test_same_records_same_bytes(runs):
    directory = runs()
    first = report.build([directory], runs.root / "a")
    second = report.build([directory], runs.root / "b")
    for one, other in zip((first.page, first.csv, *first.figures), (second.page, second.csv, *second.figures), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_two_rulesets_are_refused_and_the_difference_named(runs):
    other = runs.ruleset.with_changes(trials=4)
    changed = runs("b", runs.grid(digest=rulesets.digest(other)), ruleset=other)
    with pytest.raises(RulesetError, match=r"search\.trials: 8 against 4"):
        report.build([runs("a"), changed])


@pytest.mark.parametrize("place", [0, -1])
def test_a_record_of_another_ruleset_is_refused(runs, place):
    records = runs.grid()
    records.insert(place, runs.record("foton", 0, digest="f" * 64))
    with pytest.raises(RulesetError, match=r"ffffffff.*foton, seed 0"):
        report.build([runs(records=records)])


def test_directories_of_equal_rules_are_merged(runs):
    fashion = runs("b", runs.grid(dataset="fashion-mnist", net="mlp:2x1000"))
    paths = report.build([runs("a"), fashion])
    assert paths.directory == runs.root / "report-merged"
    tables = report.summarise([runs.root / "a", fashion])["tables"]
    assert [(t["dataset"], t["net"]) for t in tables] == [("digits", "mlp:2x256"), ("fashion-mnist", "mlp:2x1000")]
    assert "fashion-mnist-mlp-2x1000-difference.svg" in {figure.name for figure in paths.figures}


def test_seeds_of_two_directories_pair(runs):
    both = report.summarise([runs("a", runs.grid(seeds=(0, 1, 2))), runs("b", runs.grid(seeds=(3, 4)))])
    assert both["tables"][0]["rows"][1]["difference_fraction"]["n"] == 5


def test_a_seed_that_was_measured_twice_is_refused(runs):
    again = [record.model_copy(update={"time_s": 9.0}) for record in runs.grid(seeds=(2,))]
    with pytest.raises(RunDirectoryError, match=r"seed 2, was measured twice .*a seed counts once"):
        report.build([runs("a"), runs("b", again)])


def test_a_copied_directory_counts_once(runs):
    copied = report.summarise([runs("a"), runs("b")])
    assert copied["tables"][0]["rows"][0]["test_accuracy_fraction"]["n"] == 5


def test_an_interrupted_run_gives_way_to_its_successor(runs):
    records = [runs.record("backprop", 0, status="interrupted"), *runs.grid()]
    assert report.summarise([runs(records=records)])["tables"][0]["rows"][0]["statuses"] == {"ok": 5}


def test_no_records(runs, tmp_path):
    with pytest.raises(RunDirectoryError, match="no measured run"):
        report.build([runs(records=[])])
    with pytest.raises(RunDirectoryError, match="not a directory"):
        report.build([tmp_path / "nowhere"])
    with pytest.raises(RunDirectoryError, match="no run directory"):
        report.build([])


def test_without_a_ruleset(runs):
    directory = runs()
    (directory / "ruleset.yaml").unlink()
    with pytest.raises(RunDirectoryError, match=r"no ruleset\.yaml"):
        report.build([directory])


@pytest.mark.parametrize("name", ["environment.json", "tuned.json"])
@pytest.mark.parametrize("content", ["{", "3"])
def test_damaged_side_files_are_named(runs, name, content):
    directory = runs()
    (directory / name).write_text(content)
    with pytest.raises(RunDirectoryError, match=name):
        report.build([directory])


@pytest.mark.usefixtures("no_charts")
def test_side_files_may_be_missing(runs):
    directory = runs()
    (directory / "environment.json").unlink()
    assert "not described" in report.build([directory]).page.read_text()


@pytest.mark.usefixtures("no_charts")
def test_the_earlier_report_stays_when_nothing_can_be_written(runs, monkeypatch):
    directory = runs()
    page = report.build([directory]).page
    before = page.read_text()
    append_record(directory / "records.jsonl", runs.record("foton", 0))

    def full(self, target):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StorageError, match="disk is full"):
        report.build([directory])
    assert page.read_text() == before


def test_torch_is_not_imported(runs):
    code = "import sys, bpfree.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_summary_is_strict_json(runs):
    records = runs.grid()
    broken = records[5].model_copy(update={"time_s": float("nan"), "test_accuracy": float("nan")})
    text = json.dumps(report.summarise([runs(records=[*records[:5], broken, *records[6:]])]), allow_nan=False)
    assert "NaN" not in text
