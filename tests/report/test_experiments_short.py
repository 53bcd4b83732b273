"""The short answer of docs/answers.md: how far gradients go, what was saved, and at what accuracy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.experiment_places import Experiment, cells, in_two_places  # adds benchmarks/ to the path

from experiments_kit import page, short  # isort: skip


@pytest.fixture
def two_places(tmp_path: Path) -> Experiment:
    return in_two_places(tmp_path)


def test_the_short_answer_by_value(two_places: Experiment) -> None:
    """FLOPs of a run: 120 M and 247.5 M of 157.5 M; bytes 3075 and 6150 of 4099."""
    found = page.places(two_places, two_places.name)
    lines = list(short.in_short([line for each in found for line in short.lines_of(two_places, each)]))
    assert cells(lines, "3 | G | mono-forward") == [
        "G", "mono-forward", "in a block", "4", "+3.00 [+0.75, +5.25]", "0.76", "0.75", "2.83", "0.35",
    ]  # fmt: skip
    assert cells(lines, "3 | P | forward-forward")[4] == "-12.00 [-37.41, +13.41]"
    assert lines[0].startswith("**Does it save, and at what accuracy?** Of the rules whose gradients stay within a block, ")
    assert lines[2:6] == [
        "- **Experiment 3, G**: the most accurate of 3, mono-forward, ended 3.00 points above backprop (4 pairs) at 0.76 of its "
        "FLOPs, 0.75 of its memory, 2.83 of its time, 0.35 of its energy.",
        "- **Experiment 3, P**: the most accurate of 2, pepita, ended level with backprop (4 pairs) at 1.14 of its FLOPs, 1.25 "
        "of its memory, 1.00 of its time.",
        "- **Accuracy**: lower in 2 of 5 lines, all but mono-forward (3, G), pepita (3, G), pepita (3, P).",
        "- **FLOPs**: fewer in 1 of 5 lines, all but pepita (3, G), forward-forward (3, G), pepita (3, P), "
        "forward-forward (3, P).",
    ]
    assert lines[7] == "- **Time**: less in none of 5 lines."
    assert lines[8] == "- **Energy**: less in 1 of 3 lines, all but forward-forward (3, G), forward-forward (3, P)."
    assert lines[9].startswith("- **How sure**: nothing here is a verdict: no line has more than 4 pairs, ")


def test_words_of_the_short_answer() -> None:
    def line(
        rule: str, points: float, cost: float | None = None, *, pairs: int = 2, verdict: str = "not judged: few",
        gradients: str = short.BLOCK,
    ) -> short.Line:  # fmt: skip
        return short.Line("7", "G", rule, gradients, pairs, verdict, points, f"{points:+.2f}", cost, cost, cost, cost)

    whole = line("w", 9.0, 0.1, gradients=short.WHOLE)
    above = list(short.in_short([whole, line("a", 0.0, 0.5), line("b", -1.0, 1.0), line("c", -2.0)]))[2:]
    assert above[0] == (
        "- **Experiment 7, G**: the most accurate of 3, a, ended level with backprop (2 pairs) at 0.50 of its FLOPs, 0.50 of its "
        "memory, 0.50 of its time, 0.50 of its energy."
    )
    assert above[1] == "- **Accuracy**: lower in 2 of 3 lines, all but a (7, G)."
    assert above[2] == "- **FLOPs**: fewer in 1 of 2 lines, all but b (7, G)."
    assert above[6] == "- **How sure**: nothing here is a verdict: no line has more than 2 pairs, and a verdict takes 5."
    assert cells(above, "7 | G | w")[1:4] == ["w", "the whole net", "2"], "in the table it stands all the same"
    same = list(short.in_short([line("a", -1.25, 1.5, pairs=1), line("b", -1.5, 2.0, pairs=1)]))[2:]
    assert same[0].startswith(
        "- **Experiment 7, G**: the most accurate of 2, a, ended 1.25 points below backprop (1 pair) at 1.50 "
    )
    assert same[1] == "- **Accuracy**: lower in all of 2 lines."
    assert same[5] == "- **Energy**: less in none of 2 lines."
    assert same[6] == "- **How sure**: nothing here is a verdict: no line has more than 1 pair, and a verdict takes 5."
    none = list(short.in_short([line("a", -1.0, pairs=5, verdict="worse"), line("b", -1.0)]))[2:]
    assert none[4] == "- **Time**: not measured."
    assert none[6] == "- **How sure**: a (7, G) worse. The other lines are not judged."


@pytest.mark.parametrize(
    ("arm", "net", "how_far"),
    [
        ("mono-forward:schedule=staged", "mlp:3x2000", "in a block"),
        ("forward-forward", "mlp:4x2000", "in a block"),
        ("cascaded-forward:blocks=dfa", "cnn3", "in a block"),
        ("blockwise:reach=2", "mlp:3x2000", "groups of blocks"),
        ("blockwise:reach=3", "mlp:3x2000", "the whole net"),
        ("deep-supervision", "mlp:3x2000", "the whole net"),
        ("backprop", "cnn3", "the whole net"),
    ],
)
def test_how_far_gradients_go(arm: str, net: str, how_far: str) -> None:
    assert short.gradients_of(arm, net) == how_far
