"""``bpfree list``: all names on a screen, a line on each of a kind, all of one; plain lines in a pipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfree import catalogue, rulesets
from bpfree.algorithms import names
from bpfree.cli import output
from bpfree.cli.show import KINDS

from .conftest import Outcome

Command = Callable[..., Outcome]


def lines_of(outcome: Outcome) -> list[str]:
    assert outcome.code == 0, outcome.err
    return outcome.out.splitlines()


@pytest.mark.usefixtures("terminal")
def test_everything_fits_a_screen(bpfree: Command) -> None:
    lines = lines_of(bpfree("list"))
    assert len(lines) < 24
    assert max(map(len, lines)) <= 80
    words = {word.strip(",") for line in lines for word in line.split()}
    assert {*KINDS, *names(), *catalogue.nets(), *rulesets.names(), *catalogue.suites(), "mnist"} <= words
    assert lines[-1].endswith("bpfree list rulesets quick")


def test_everything_in_a_pipe_is_a_line_for_each_kind(bpfree: Command) -> None:
    lines = lines_of(bpfree("list"))
    assert [line.split()[0] for line in lines] == list(KINDS)
    assert lines[0] == f"rules     {', '.join(names())}"


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_kind_in_a_pipe_is_a_line_for_each_name(bpfree: Command, kind: str) -> None:
    heading, *lines = lines_of(bpfree("list", kind))
    assert heading == kind
    assert [line.split("  ")[1] for line in lines] == list(KINDS[kind].names())
    assert all(line.startswith("  ") and len(line.split()) > 1 for line in lines)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_kind_on_a_terminal_fits_its_width(bpfree: Command, kind: str) -> None:
    lines = lines_of(bpfree("list", kind))
    assert max(map(len, lines)) <= 80
    assert lines[-1] == f"all of one: bpfree list {kind} NAME"


def test_all_of_a_rule(bpfree: Command) -> None:
    heading, first, *others = lines_of(bpfree("list", "rules", "frozen"))
    assert heading == "frozen"
    assert first == f"  {catalogue.rules()['frozen'].words}"
    assert others[0] == "  lr = 0.001 (a finite number above 0)"
    assert [line.split()[0] for line in others] == list(catalogue.rules()["frozen"].ranges)


def test_all_of_a_ruleset_is_its_title_and_its_rules_in_words(bpfree: Command, tmp_path: Path) -> None:
    words = rulesets.in_words(rulesets.load("quick"))
    after_name = ["  A first look in minutes", *(f"  {line}" for line in words)]
    assert lines_of(bpfree("list", "rulesets", "quick")) == ["quick", *after_name]
    assert max(map(len, words)) > 100, "nothing is wrapped in a pipe"
    rulesets.save(rulesets.load("quick").with_changes({"name": "mine"}), tmp_path / "mine.yaml")
    assert lines_of(bpfree("list", "rulesets", "mine.yaml")) == ["mine.yaml", *after_name]


def test_all_of_a_suite_says_how_to_see_its_rows(bpfree: Command) -> None:
    assert lines_of(bpfree("list", "suites", "foton2025")) == [
        "foton2025",
        "  FOTON, two and fifty hidden layers",
        "  Caillon et al., FOTON, arXiv 2512.20668, ECAI 2025",
        f"  its {len(catalogue.suites()['foton2025']['rows'])} rows: bpfree reproduce foton2025 --list",
    ]


def test_json_has_everything_of_a_kind_and_of_a_name(bpfree: Command) -> None:
    whole = json.loads(bpfree("list", "--json").out)
    assert list(whole) == ["algorithms", "nets", "datasets", "rulesets", "suites"]
    assert set(whole["algorithms"]) == set(names())
    assert whole["rulesets"]["claim"][1:] == rulesets.in_words(rulesets.load("claim"))
    assert json.loads(bpfree("list", "rulesets", "quick", "--json").out) == {"rulesets": {"quick": whole["rulesets"]["quick"]}}


def test_a_name_or_a_kind_that_there_is_not(bpfree: Command) -> None:
    assert "unknown ruleset 'quik'; did you mean quick?" in bpfree("list", "rulesets", "quik").one_line()
    assert "unknown net 'mlp2'; did you mean mlp?" in bpfree("list", "nets", "mlp2").one_line()
    assert "unknown algorithm 'mono'" in bpfree("list", "rules", "mono").one_line()
    assert "did you mean rulesets" in bpfree("list", "ruleset").one_line()


def test_rules_and_algorithms_are_the_same_list(bpfree: Command) -> None:
    assert bpfree("list", "rules").out == bpfree("list", "algorithms").out
    assert set(json.loads(bpfree("list", "rules", "--json").out)) == {"algorithms"}


def test_output_asks_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in (True, False):
        monkeypatch.setattr("sys.stdout.isatty", lambda answer=answer: answer)
        assert output.on_terminal() is answer
