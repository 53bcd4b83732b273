"""Commands on a terminal of 80 columns and in a pipe: no line is too long, no word is cut; a pipe gets a line for each row."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from .conftest import Outcome

Command = Callable[..., Outcome]

ARMS = "backprop,mono-forward:schedule=staged,cascaded-forward:blocks=random:predictors=staged:combine=logits"
COMMANDS = {
    "measure flops": ("measure", "flops", "--net", "mlp:2x8", "--arms", ARMS),
    "measure memory": ("measure", "memory", "--net", "mlp:2x8", "--arms", ARMS),
    "doctor": ("doctor", "--device", "cpu"),
    "suites": ("reproduce", "--list"),
    "rows of a suite": ("reproduce", "spyra2025", "--list"),
}
UNKNOWN = {"-", "–", "of", "which", "orthogonalisation", "end", "a", "pass", "apart"}
"""Headings of columns in which nothing is known of these rules; a terminal is not shown them."""


def words(text: str) -> set[str]:
    """Without frames, and without labels of arms, which are wrapped behind a colon."""
    plain = re.sub(r"[│┃━─┏┓┗┛┡┩┳┻╇┼╈┴└┘├┤┬]", " ", text).split()
    return {word.rstrip(",") for word in plain if not re.search(r":\S", word)}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_what_a_pipe_gets_stands_in_80_columns_on_a_terminal_word_for_word(
    bpfree: Command, arguments: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    piped = bpfree(*arguments)
    request.getfixturevalue("terminal")
    shown = bpfree(*arguments)
    assert piped.code == shown.code == 0
    assert max(map(len, shown.out.splitlines())) <= 80
    assert not set("│┃━─") & set(piped.out)
    assert words(piped.out) - words(shown.out) <= UNKNOWN


def test_a_row_of_a_suite_is_one_line_in_a_pipe(bpfree: Command) -> None:
    title, headings, *rows = bpfree("reproduce", "spyra2025", "--list").out.splitlines()
    assert title.startswith("spyra2025: ")
    assert headings.split() == ["Row", "Ruleset", "Published"]
    assert rows[0].split() == ["fashion-mnist", "mlp:4x2000,", "backprop", "legacy-2025", "88.88", "%"]
    assert len(rows) == 27


@pytest.mark.usefixtures("terminal")
def test_a_trained_run_says_its_results_in_80_columns(bpfree: Command) -> None:
    lines = bpfree("train", "backprop", "--net", "mlp:1x8", "--max-passes", "1", "--out", "R").out.splitlines()
    assert max(map(len, lines)) <= 80
    starts = [line.partition("  ")[0] for line in lines if not line.startswith(" ")]
    assert starts[:5] == ["test accuracy", "validation accuracy", "passes", "time", "energy"]
    assert starts[-3:] == ["record", "model", "model card"]
    assert all(line.startswith(" " * 21) for line in lines if line.startswith(" "))
