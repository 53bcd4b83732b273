"""The short answer of docs/answers.md: how far gradients go, what was saved, and at what accuracy."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.report.experiment_places import Experiment, cells, in_two_places  # adds benchmarks/ to the path

from experiments_kit import page, short  # isort: skip


@pytest.fixture
def two_places(tmp_path: Path) -> Experiment:
    return in_two_places(tmp_path)


def test_the_short_answer_by_value(two_places: Experiment) -> None:
    """FLOPs of a run: 120 M and 247.5 M of 157.5 M; bytes 3075 and 6150 of 4099; to the target 60 M of 70 M."""
    found = page.places(two_places, two_places.name)
    lines = list(short.in_short([line for each in found for line in short.lines_of(two_places, each)]))
    of_mine = cells(lines, "3 | G | mono-forward")
    assert of_mine[:6] == ["G", "mono-forward", "in a block", "4", "+3.00 [+0.75, +5.25]", "0.86"]
    assert of_mine[7:11] == ["0.76", "2.83", "0.35", "0.75"]
    assert cells(lines, "3 | P | forward-forward")[4] == "-12.00 [-37.41, +13.41]"
    assert cells(lines, "3 | P | forward-forward")[5:7] == ["never", "never"]
    assert lines[0].startswith("**Does it save, and at what accuracy?** Of the rules whose gradients stay in a block, ")
    assert lines[2] == "- **Accuracy**: lower in 2 of 5 lines: forward-forward (3, G), forward-forward (3, P)."
    assert lines[5:7] == [
        "- **Experiment 3, G**: the most accurate of 3, mono-forward, ended 3.00 points above backprop (4 pairs) at 0.76 of its "
        "FLOPs, 2.83 of its time, 0.35 of its energy, 0.75 of its memory in a step.",
        "- **Experiment 3, P**: the most accurate of 2, pepita, ended level with backprop (4 pairs) at 1.14 of its FLOPs, 1.00 "
        "of its time, 1.25 of its memory in a step.",
    ]
    said = {
        line.split("**")[1] + line.split("**")[2].split(":")[0]: line.split(": ", 1)[1] for line in (*lines[3:5], *lines[7:13])
    }
    assert said["FLOPs of a run"] == "fewer in 1 of 5 lines: mono-forward (3, G)."
    assert said["To the same validation accuracy, FLOPs"] == "fewer in 1 of 5 lines: mono-forward (3, G)."
    assert said["Time of a run"] == "less in none of 5 lines."
    assert said["Energy of a run"] == "less in 1 of 3 lines: mono-forward (3, G)."
    assert said["Memory of a step"] == "less in 1 of 5 lines: mono-forward (3, G)."
    assert said["How sure"].startswith("nothing here is a verdict: no line has more than 4 pairs, ")


def line(
    rule: str, points: float, *costs: float | None, pairs: int = 2, verdict: str = "not judged: few", **more: str
) -> short.Line:
    """Costs: FLOPs, time, energy, memory, memory with validation, FLOPs and energy to the target."""
    gradients = more.get("gradients", short.BLOCK)
    all_costs = costs or (None,) * 7
    return short.Line("7", "G", rule, gradients, pairs, verdict, points, f"{points:+.2f}", *all_costs)


def said(*lines: short.Line, controls: tuple[short.Line, ...] = ()) -> list[str]:
    """From the first bullet on."""
    return list(short.in_short(lines, controls))[2:]


def test_every_cost_has_its_own_sentence() -> None:
    whole = line("w", 9.0, *(0.1,) * 7, gradients=short.WHOLE)
    lines = said(
        whole, line("a", 0.0, 0.5, 1.5, 0.75, 2.0, 0.25, math.inf, 0.9), line("b", -1.0, 1.0, 0.5, 1.0, 0.5, 3.0, 0.8, 4.0)
    )
    assert lines[:10] == [
        "- **Accuracy**: lower in 1 of 2 lines, all but a (7, G).",
        "- **To the same validation accuracy**, FLOPs: fewer in 1 of 2 lines, all but a (7, G).",
        "- **To the same validation accuracy**, energy: less in 1 of 2 lines, all but b (7, G).",
        "- **Experiment 7, G**: the most accurate of 2, a, ended level with backprop (2 pairs) at 0.50 of its FLOPs, 1.50 of its "
        "time, 0.75 of its energy, 2.00 of its memory in a step.",
        "- **FLOPs of a run**: fewer in 1 of 2 lines, all but b (7, G).",
        "- **Time of a run**: less in 1 of 2 lines, all but a (7, G).",
        "- **Energy of a run**: less in 1 of 2 lines, all but b (7, G).",
        "- **Memory of a step**: less in 1 of 2 lines, all but a (7, G).",
        "- **Memory of a step or of validation**: less in 1 of 2 lines, all but b (7, G).",
        "- **How sure**: nothing here is a verdict: no line has more than 2 pairs, and a verdict takes 5.",
    ]
    assert cells(lines, "7 | G | w")[1:4] == ["w", "the whole net", "2"], "in the table it stands all the same"
    assert cells(lines, "7 | G | a")[4:] == ["+0.00", "never", "0.90", "0.50", "1.50", "0.75", "2.00", "0.25"]


def test_words_of_the_short_answer() -> None:
    same = said(line("a", -1.25, *(1.5,) * 7, pairs=1), line("b", -1.5, *(2.0,) * 7, pairs=1))
    assert same[3].startswith(
        "- **Experiment 7, G**: the most accurate of 2, a, ended 1.25 points below backprop (1 pair) at 1.50 "
    )
    assert same[0] == "- **Accuracy**: lower in all of 2 lines."
    assert same[6] == "- **Energy of a run**: less in none of 2 lines."
    assert same[9] == "- **How sure**: nothing here is a verdict: no line has more than 1 pair, and a verdict takes 5."
    judged = said(line("a", -1.0, pairs=5, verdict="worse"), line("b", -1.0))
    assert judged[5] == "- **Time of a run**: not measured."
    assert judged[9] == "- **How sure**: a (7, G) worse. The other lines are not judged."
    lost = said(line("a", -1.0, pairs=6, verdict="unreliable: runs were lost"))
    assert lost[9] == "- **How sure**: nothing here is a verdict."
    control = line("frozen", -14.14, 0.39, 0.6, 0.46, 0.26, 0.3, math.inf, None)
    assert said(line("a", 1.0), controls=(control,))[9] == (
        "- **Without any training of blocks** (`frozen`): 14.14 points below at 0.39 of its FLOPs, 0.60 of its time, 0.46 of its "
        "energy, 0.26 of its memory in a step (7, G)."
    )


def test_the_larger_of_two_peaks_counts() -> None:
    def row(step: int | None, validation: int | None) -> dict[str, int | None]:
        return {"peak_memory_bytes": step, "evaluation_peak_bytes": validation}

    assert [short._whole(row(*pair)) for pair in ((5, 3), (3, 5), (None, 5), (5, None))] == [5, 5, None, None]


def test_to_the_target() -> None:
    base, mine = {"median_passes_count": 2, "f": 4.0}, {"median_passes_count": 3, "f": 5.0}
    never, uncounted = {"median_passes_count": None, "f": None}, {"median_passes_count": 3, "f": None}
    assert [short._to_target(each, base, "f") for each in (mine, never, uncounted)] == [1.25, math.inf, None]
    assert short._to_target(mine, never, "f") is None


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
