"""Tables: whole words in 80 columns on a terminal, plain unwrapped lines in a pipe."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bpfree.cli import output
from bpfree.cli.output import parts, plain_lines, print_pairs, print_table, say

HEADINGS = ("arm", "training step", "orthogonalisation, share of a step", "gradients + activations by formula")
ROWS = [
    ("backprop", "141 k", "-", "1.5 MiB"),
    ("mono-forward:schedule=staged:optimiser=sgd", "246.1 k", "12.3 k", "873 KiB"),
]


def on_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> io.StringIO:
    """The screen of a terminal of that width, without colours."""
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, color_system=None, width=width, highlight=False)
    monkeypatch.setattr(output, "console", lambda: terminal)
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    return screen


def test_a_pipe_gets_one_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    why = "a reason that is far longer than eighty columns, " * 3 + "and ends here"
    print_table("A title", ("arm", "why"), [("foton\nmlp:2x16", why)])
    assert capsys.readouterr().out.splitlines() == [
        "A title",
        "arm              " + " " * (len(why) - 3) + "why",
        "foton, mlp:2x16  " + why,
    ]


def test_line_breaks_of_a_cell_in_one_line() -> None:
    headings, rows = ("Arm", "Points,\nto backprop"), [("a\n(staged)", "+1.00\nnot judged:\n1 seed")]
    _title, heading, row = plain_lines("T", headings, rows)
    assert heading.split() == ["Arm", "Points,", "to", "backprop"]
    assert row == "a (staged)  +1.00, not judged: 1 seed"


def test_plain_lines_are_aligned() -> None:
    assert plain_lines("T", ("arm", "time"), [("a", "1 s"), ("long", "20 ms")]) == [
        "T",
        "arm    time",
        "a       1 s",
        "long  20 ms",
    ]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_terminal_gets_whole_words_within_its_width(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    screen = on_terminal(monkeypatch, width)
    print_table("A title", HEADINGS, ROWS)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    words = {word for line in lines for word in line.replace("│", " ").replace("┃", " ").split()}
    assert {word for heading in HEADINGS for word in heading.split()} <= words
    assert {"141", "246.1", "873", "MiB", "12.3", "backprop", "optimiser=sgd"} <= words


def test_a_table_that_is_too_wide_is_split_and_each_part_names_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [len(part) for part in parts(HEADINGS, ROWS, 200)] == [4]
    narrow = parts(HEADINGS, ROWS, 62)
    assert [len(part) for part in narrow] == [3, 2]
    assert narrow[0][0] == narrow[1][0]
    assert [column[0].replace("\n", " ") for part in narrow for column in part[1:]] == list(HEADINGS[1:])
    screen = on_terminal(monkeypatch, 62)
    print_table("A title", HEADINGS, ROWS)
    assert screen.getvalue().count("A title") == 2
    assert screen.getvalue().count("backprop") == 2


def test_a_part_is_as_wide_as_allowed_and_no_wider() -> None:
    """1 for the left border, and 3 more than its widest line for each column."""
    columns = ("a" * 10, "b" * 10, "c" * 10)
    assert [len(part) for part in parts(columns, [], 40)] == [3]
    assert [len(part) for part in parts(columns, [], 39)] == [2, 2]


def test_a_long_label_is_broken_after_a_colon() -> None:
    ((label, *_),) = parts(HEADINGS, ROWS, 200)
    assert label[2] == "mono-forward:\nschedule=staged:\noptimiser=sgd"


def test_markup_in_a_cell_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch, 80)
    print_table("a [red]title[/red]", ("a", "[b]"), [("x", "[−100.43, −65.13]"), ("y", "[/bold]")])
    assert "[−100.43, −65.13]" in screen.getvalue()
    assert "[/bold]" in screen.getvalue()
    assert "[b]" in screen.getvalue()
    assert screen.getvalue().startswith("a [red]title[/red]\n")


PAIRS = {
    "test accuracy": "95.56 % (the most frequent class is 10.19 %; balanced 95.50 %)",
    "record": "/a" * 50 + "/r.jsonl",
}


def test_paragraphs_and_pairs_in_a_pipe_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    text = "a reason that is longer than a line of eighty columns can be, " * 2 + "and ends here"
    say(text, 4)
    print_pairs(PAIRS, 2)
    assert capsys.readouterr().out.splitlines() == [
        "    " + text,
        "  test accuracy  95.56 % (the most frequent class is 10.19 %; balanced 95.50 %)",
        "  record         " + "/a" * 50 + "/r.jsonl",
    ]


def test_paragraphs_and_pairs_on_a_terminal_go_on_below_themselves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_terminal(monkeypatch, 40)
    say("a reason that is longer than a line can be", 4)
    print_pairs(PAIRS)
    assert capsys.readouterr().out.splitlines() == [
        "    a reason that is longer than a line",
        "    can be",
        "test accuracy  95.56 % (the most",
        "               frequent class is 10.19",
        "               %; balanced 95.50 %)",
        "record         " + "/a" * 50 + "/r.jsonl",  # whole, so that it can be copied
    ]


def test_an_entry_without_words_is_its_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    on_terminal(monkeypatch, 80)
    print_pairs({"a": "", "long": "x"})
    assert capsys.readouterr().out.splitlines() == ["a", "long  x"]


def test_a_title_is_wrapped_at_the_width_of_the_terminal_not_of_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch, 80)
    title = "mlp:3x256, batch 128: bytes at the highest moment of a training step"
    print_table(title, ("a", "b"), [("x", "1")])
    assert screen.getvalue().splitlines()[:2] == [title, "┏━━━┳━━━┓"]


def test_a_column_in_which_nothing_is_known_is_left_out_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = ("T", ("arm", "energy", "by", "time"), [("-", "–", "-", "1 s"), ("b", "–", "", "2 s")])
    print_table(*table)
    assert capsys.readouterr().out.splitlines()[1].split() == ["arm", "energy", "by", "time"]
    screen = on_terminal(monkeypatch, 80)
    print_table(*table)
    assert screen.getvalue().splitlines()[2].split() == ["┃", "arm", "┃", "time", "┃"]
