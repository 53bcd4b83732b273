"""``bpfree cite DIRECTORY`` prints what a paper must cite for the runs in it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from bpfree import catalogue
from bpfree.catalogue.cited import BIBTEX, cited
from bpfree.catalogue.used import family
from bpfree.testing.docstrings import bibtex_problems
from tests.cli.conftest import Outcome

Command = Callable[..., Outcome]
ROOT = Path(__file__).parents[2]
MNIST = ROOT / "benchmarks" / "results" / "mnist-mlp-2x1000"


def keys(text: str) -> list[str]:
    return re.findall(r"^@\w+\{([^,]+),$", text, re.MULTILINE)


def one_record(directory: Path, **changes: object) -> Path:
    """A run directory with the first record of a committed one, changed."""
    directory.mkdir()
    record = json.loads((MNIST / "records.jsonl").read_text().splitlines()[0])
    (directory / "records.jsonl").write_text(json.dumps(record | changes) + "\n")
    return directory


def test_a_comparison_on_mnist(bpfree: Command) -> None:
    outcome = bpfree("cite", str(MNIST))
    assert outcome.code == 0
    assert keys(outcome.out)[0] == "bpfree"
    entries = [entry for name in ("backprop", "deep-supervision", "mono-forward") for entry in catalogue.rules()[name].bibtex]
    rules = [key for entry in entries for key in keys(entry)]
    assert keys(outcome.out)[1:] == [*rules, "lecun1998gradient", "ansel2024pytorch", "akiba2019optuna"]


def test_a_run_without_a_search_on_own_data_with_a_grid_factor(bpfree: Command, tmp_path: Path) -> None:
    carbon = {"g_per_kwh": 661.9, "pue": 1.0, "source": "codecarbon 3.3.2 table, POL", "year": 2023}
    out = bpfree("cite", str(one_record(tmp_path / "run", dataset="mine.npz", carbon=carbon))).out
    assert keys(out)[-2:] == ["ansel2024pytorch", "courty2024codecarbon"]
    assert "akiba2019optuna" not in out
    assert "% The data set mine.npz is no named one: cite where you have it from" in out


def test_a_rule_that_is_not_installed_and_the_directory_of_a_suite(bpfree: Command, tmp_path: Path) -> None:
    (tmp_path / "suite").mkdir()
    shutil.copytree(one_record(tmp_path / "run", algorithm="elsewhere", dataset="digits[200]"), tmp_path / "suite" / "quick")
    out = bpfree("cite", str(tmp_path / "suite")).out
    assert "% The rule elsewhere is not installed here: cite its package" in out
    assert keys(out) == ["bpfree", "alpaydin1998optical", "ansel2024pytorch", "pedregosa2011scikit"]


def test_rules_and_directories_in_one_command_print_an_entry_once(bpfree: Command) -> None:
    assert keys(bpfree("cite", "mono-forward", str(MNIST)).out).count("gong2025monoforward") == 1


def test_a_directory_without_records(bpfree: Command, tmp_path: Path) -> None:
    outcome = bpfree("cite", str(tmp_path))
    assert outcome.code == 2
    assert "holds no records of runs" in outcome.one_line()


@pytest.mark.parametrize(
    ("dataset", "name"),
    [("mnist[1000]", "mnist"), ("synthetic:n=300", "synthetic"), ("my.npz", "my.npz"), ("mine:load", "mine:load")],
)
def test_the_name_of_a_data_set(dataset: str, name: str) -> None:
    assert family(dataset) == name


def test_every_entry_is_whole_and_every_named_data_set_has_one() -> None:
    text = BIBTEX.read_text()
    assert bibtex_problems(text) == []
    assert len(keys(text)) == len(set(cited().values()))
    named = {name for name in catalogue.datasets() if re.fullmatch(r"[a-z0-9-]+", name)} - {"synthetic"}
    assert {name for kind, name in cited() if kind == "data"} == named


def test_the_entry_of_bpfree_says_what_the_citation_file_says() -> None:
    facts = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    entry = cited()["self", ""]
    assert [f"{{{facts['title']}}}" in entry, f"{{{facts['version']}}}" in entry, facts["repository-code"] in entry] == [True] * 3
    assert str(facts["date-released"])[:4] in entry
