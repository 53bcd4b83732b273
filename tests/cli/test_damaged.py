"""Files of a run directory that were cut, edited or deleted: made again where they can be, else one line with what is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Outcome

Command = Callable[..., Outcome]

TASK = ("--dataset", "synthetic:n=200:inputs=4:classes=2", "--net", "mlp:1x4", "--max-passes", "1")
COMPARE = ("compare", "--arms", "backprop", "--trials", "2", "--seeds", "1", "--out", "R", "--quiet", *TASK)


@pytest.fixture
def directory(bpfree: Command, tmp_path: Path, whole: list[Path]) -> Path:
    """A finished comparison, made once for all tests here."""
    if not whole:
        assert bpfree(*COMPARE).code == 0
        whole.append(tmp_path.parent / "whole-of-damaged")
        shutil.copytree(tmp_path / "R", whole[0])
    else:
        shutil.copytree(whole[0], tmp_path / "R")
    return tmp_path / "R"


@pytest.fixture(scope="module")
def whole() -> list[Path]:
    return []


def first_line_of_nonsense(text: str) -> str:
    first, *rest = text.splitlines(keepends=True)
    return "".join([first, '{"op_code": 5, "worker_id": "x"}\n', *rest])


def without_seeds(text: str) -> str:
    return text.replace('"seed":', '"sead":')


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: "x" + text, "line 1 is not JSON"),
        (first_line_of_nonsense, "an operation in it makes no sense"),
        (without_seeds, "has no seed"),
        (lambda text: text.replace('"op_code":0', '"op_code":99'), "an operation in it makes no sense"),
        (lambda text: "[]\n" + text, "an operation in it makes no sense"),
    ],
    ids=["not JSON", "unknown trial", "no seed", "unknown operation", "not an object"],
)
def test_a_damaged_journal_is_one_line_and_deleting_it_searches_again(
    bpfree: Command, directory: Path, damage: Callable[[str], str], words: str
) -> None:
    journal = directory / "study.journal"
    best = [(row["arm"], row["best"]) for row in json.loads((directory / "tuned.json").read_text())]
    records = (directory / "records.jsonl").read_bytes()
    journal.write_text(damage(journal.read_text()))
    outcome = bpfree(*COMPARE)
    assert outcome.code == 2
    assert "study.journal cannot be read" in outcome.one_line()
    assert words in outcome.err
    assert "delete the file" in outcome.err
    journal.unlink()
    assert bpfree(*COMPARE).code == 0
    assert [(row["arm"], row["best"]) for row in json.loads((directory / "tuned.json").read_text())] == best
    assert (directory / "records.jsonl").read_bytes() == records


def test_a_journal_that_ends_early_is_searched_to_its_end(bpfree: Command, directory: Path) -> None:
    journal = directory / "study.journal"
    text = journal.read_text()
    journal.write_text(text[: text.rindex("\n", 0, -1) + 30])
    tuned = (directory / "tuned.json").read_text()
    assert bpfree(*COMPARE).code == 0
    assert [row["tried"] for row in json.loads((directory / "tuned.json").read_text())] == [
        row["tried"] for row in json.loads(tuned)
    ]


@pytest.mark.parametrize("text", ["", "[", "{}", '[{"arm": 1}]'])
def test_damaged_searches_are_made_anew(bpfree: Command, directory: Path, text: str) -> None:
    before = json.loads((directory / "tuned.json").read_text())
    (directory / "tuned.json").write_text(text)
    outcome = bpfree(*COMPARE)
    assert outcome.code == 0
    assert "warning" in outcome.one_line()
    assert "tuned.json cannot be read" in outcome.err
    assert json.loads((directory / "tuned.json").read_text()) == before
    assert (directory / "tuned.json.damaged").read_text() == text


@pytest.mark.parametrize("text", ["", "[", "[]", '{"a": 1}'])
def test_a_damaged_environment_is_made_anew_and_what_is_lost_is_said(bpfree: Command, directory: Path, text: str) -> None:
    (directory / "environment.json").write_text(text)
    outcome = bpfree(*COMPARE)
    assert outcome.code == 0
    assert "environment.json cannot be read" in outcome.one_line()
    assert "the machines of earlier runs are lost" in outcome.err
    assert len(json.loads((directory / "environment.json").read_text())) == 1
    assert bpfree(*COMPARE).err == ""


@pytest.mark.parametrize("text", ["", "name: [", "[]", "nam: quick\n", None], ids=["empty", "cut", "a list", "edited", "deleted"])
def test_a_damaged_ruleset_is_made_anew_where_the_records_say_which_it_was(
    bpfree: Command, directory: Path, text: str | None
) -> None:
    path = directory / "ruleset.yaml"
    whole, records = path.read_text(), (directory / "records.jsonl").read_bytes()
    path.unlink()
    if text is not None:
        path.write_text(text)
    outcome = bpfree("report", "R")
    assert outcome.code == 2
    assert "the command that made the directory makes the file again" in outcome.one_line()
    assert "R/ruleset.yaml" in outcome.err or text is None
    other = bpfree(*COMPARE, "--patience", "1")
    assert other.code == 2
    assert "the records beside it were made under other rules" in other.one_line()
    assert path.exists() == (text is not None)
    outcome = bpfree(*COMPARE)
    assert outcome.code == 0
    assert "R/ruleset.yaml" in outcome.one_line()
    assert "made again, of the rules of this command, under which its records were made" in outcome.err
    assert path.read_text() == whole
    assert (directory / "records.jsonl").read_bytes() == records
    assert text is None or (directory / "ruleset.yaml.damaged").read_text() == text
    assert bpfree(*COMPARE).err == ""
    assert bpfree("report", "R", "--quiet").code == 0


def test_a_search_whose_rules_are_lost_is_not_continued(bpfree: Command, directory: Path) -> None:
    (directory / "records.jsonl").unlink()
    (directory / "ruleset.yaml").write_text("")
    outcome = bpfree(*COMPARE)
    assert outcome.code == 2
    assert "so the rules of the searches in R/study.journal are lost; delete that file" in outcome.one_line()
    (directory / "study.journal").unlink()
    assert bpfree(*COMPARE).code == 0


def test_other_code_is_noticed_without_an_environment(bpfree: Command, directory: Path) -> None:
    records = directory / "records.jsonl"
    (line,) = records.read_text().splitlines()
    value = json.loads(line)
    value["versions"]["torch"] = "1.0"
    records.write_text(json.dumps(value) + "\n")
    (directory / "environment.json").unlink()
    outcome = bpfree(*COMPARE)
    assert outcome.code == 2
    assert "was made by other code (torch 1.0, now " in outcome.one_line()


def test_a_search_whose_code_is_not_known_is_not_continued_unasked(bpfree: Command, directory: Path) -> None:
    (directory / "records.jsonl").unlink()
    (directory / "environment.json").write_text("{")
    outcome = bpfree(*COMPARE)
    assert outcome.code == 2
    assert "environment.json cannot be read" in outcome.one_line()
    assert "--accept-other-code" in outcome.err
    assert bpfree(*COMPARE, "--accept-other-code").code == 0


@pytest.mark.parametrize(("text", "words"), [("{\n", "line 1 is not JSON"), ('{"schema": 2}\n', "line 1: arm: Field required")])
def test_a_damaged_record_names_its_line_and_the_cure(bpfree: Command, directory: Path, text: str, words: str) -> None:
    records = directory / "records.jsonl"
    whole = records.read_text()
    records.write_text(text + whole)
    for command in (COMPARE, ("report", "R")):
        outcome = bpfree(*command)
        assert outcome.code == 2
        assert f"records.jsonl, {words}" in outcome.one_line()
        assert "remove that line, and the same command makes that run again" in outcome.err


@pytest.mark.parametrize("name", ["ruleset.yaml", "records.jsonl", "tuned.json", "environment.json", "study.journal"])
def test_a_file_that_may_not_be_read_is_a_read_error(bpfree: Command, directory: Path, name: str) -> None:
    (directory / name).unlink()
    (directory / name).mkdir()  # a folder refuses to be read as a file, even for root
    outcome = bpfree("report", "R")
    if name in ("records.jsonl", "ruleset.yaml"):
        assert outcome.code == 2
        assert name in outcome.one_line()
        assert "cannot write" not in outcome.err
    outcome = bpfree(*COMPARE)
    assert outcome.code == 2
    assert f"cannot read R/{name}: is a directory" in outcome.one_line()
