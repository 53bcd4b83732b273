"""docs/answers.md: made of the committed records, and every number of it by value."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from bpfree.report.model import SeedMean
from tests.report.experiment_places import ROOT, cells, in_two_places, published  # adds benchmarks/ to the path
from tests.report.golden import write_first

import experiments  # isort: skip
from experiments_kit import measured, page, paper, short  # isort: skip
from experiments_kit.listed import EXPERIMENTS, MATCHED, OWN, Experiment, Place  # isort: skip


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The section of the golden report's first task, with 62 ± 1 % of 20 runs published for Mono-Forward."""
    results = tmp_path_factory.mktemp("results")
    write_first(results / "cifar10-cnn3-cpu")
    known = {"mono-forward": Place("table", "mono-forward")}
    experiment = dataclasses.replace(EXPERIMENTS[2], target=0.9, published=known, results=results)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measured, "number_at", lambda *_: published(0.62))
        patch.setattr(paper, "number_at", lambda *_: published(0.62))
        return list(page.section(experiment))


def test_the_page_is_that_of_the_committed_records() -> None:
    assert experiments.PAGE.read_text() == page.page(EXPERIMENTS), "python benchmarks/experiments.py --page"


def test_the_readme_says_what_the_records_say_of_joint_mono_forward_on_cifar10() -> None:
    below = [
        -line.points
        for each in EXPERIMENTS if each.name.startswith("cifar10")
        for found in page.places(each, each.name)
        for line in short.lines_of(each, found) if line.rule == "mono-forward"
    ]  # fmt: skip
    words = f"{min(below):.0f} to {max(below):.0f} points below on CIFAR-10 (an MLP and a CNN, few seeds, not judged)"
    assert words in " ".join((ROOT / "README.md").read_text().split())


def test_other_pages_say_what_the_records_say() -> None:
    lines = [line for each in EXPERIMENTS for found in page.places(each, each.name) for line in short.lines_of(each, found)]

    def below(experiment: str, rule: str) -> str:
        points = sorted(line.points for line in lines if (line.experiment, line.rule) == (experiment, rule))
        assert points[-1] < 0
        first, last = f"{-points[-1]:.2f}", f"{-points[0]:.2f}"
        return first if first == last else f"{first} to {last}"

    results = (ROOT / "docs" / "results.md").read_text()
    negative = (ROOT / "docs" / "negative-results.md").read_text()
    staged, joint = below("1", "mono-forward (staged)"), below("1", "mono-forward")
    assert f"staged {staged} points below, joint {joint}, at 50 passes in all" in results
    forward = "forward-forward (weight_decay=3.1e-4)"
    (energy,) = [line.energy for line in lines if line.rule == forward and line.energy is not None]
    assert f"{below('2', forward)} points below at 10 passes, {energy:.2f} times the energy" in results
    assert f"{below('3', 'mono-forward')} points below on a CNN on CIFAR-10, two seeds" in results
    local = [line for line in lines if line.gradients == short.BLOCK]
    metered = [line.energy_to_target for line in local if line.energy_to_target is not None]
    fewer, less = (sum(cost < 1 for cost in costs) for costs in ([line.flops_to_target for line in local], metered))
    words = f"fewer FLOPs in {fewer} of {len(local)} comparisons, less energy in {less or 'none'} of {len(metered)}; few pairs"
    assert words in results
    boards = [line for line in lines if line.rule == "mono-forward" and line.energy is not None]
    words = [" and ".join(f"{cost:.2f}" for cost in costs) for costs in zip(*((b.energy, b.time) for b in boards), strict=True)]
    assert f"{words[0]} of the energy at {words[1]} of the time, not judged ([answers](answers.md))" in negative
    (cap,) = page.places(EXPERIMENTS[0], "cifar10-mlp-3x2000-stage-cap")
    (staged_cap,) = cap.table["rows"]
    processor = next(each for each in page.places(EXPERIMENTS[0], EXPERIMENTS[0].name) if each.directory.name.endswith("-cpu"))
    base = next(row for row in processor.table["rows"] if row["arm"] == "backprop")
    reached, known = (f"{100 * row['test_accuracy_fraction']['mean']:.2f} %" for row in (staged_cap, base))
    passes, of_base = (f"{row['passes_count']['mean']:.0f}" for row in (staged_cap, base))
    assert (
        f"{reached} after {passes} passes, ended by patience, where backprop reached {known} in {of_base} and 66.37 % are "
        "published"
    ) in negative
    (cascaded,) = page.places(EXPERIMENTS[2], "cifar10-cnn3")
    means = {row["label"]: f"{100 * row['test_accuracy_fraction']['mean']:.1f} %" for row in cascaded.table["rows"]}
    assert (
        f"{means['cascaded-forward']} with random and {means['cascaded-forward (dfa)']} with DFA-trained blocks, where a "
        f"read-out of blocks as they were drawn reaches {means['frozen']}, joint Mono-Forward {means['mono-forward']} and "
        f"backprop {means['backprop']}"
    ) in negative


def test_every_number_of_the_baseline(lines: list[str]) -> None:
    assert cells(lines, "backprop") == [
        "4", "92.00 ± 3.44", "baseline", "–", "4.5", "47.5 s", "475 J", "70 M", "1.00", "4 KiB", "–", "–",
    ]  # fmt: skip


def test_every_number_of_an_arm(lines: list[str]) -> None:
    """Time: 2, 4, 2, 4 times. Energy: 1/2, 1/4, 1/2, 1/4. FLOPs: 120 M of 157.5 M. Bytes: 3075 of 4099."""
    assert cells(lines, "mono-forward")[:11] == [
        "4", "95.00 ± 5.66", "+3.00 [+0.75, +5.25]", "–", "4", "2.83", "0.35", "60 M", "0.76", "0.75", "62.00",
    ]  # fmt: skip
    # Welch: .0356 of four runs, .01 of 20; 33 ± 100 t(3.09) √(.0038 / 12 + .0001 / 20)
    assert cells(lines, "mono-forward")[11] == "+33.00 [+27.39, +38.61] (differs (higher))"


def test_what_is_not_there_is_a_dash_and_a_miss_is_never(lines: list[str]) -> None:
    assert cells(lines, "forward-forward")[7:] == ["never", "1.57", "1.50", "–", "–"]


def test_contradictions_come_first(lines: list[str]) -> None:
    said = [line for line in lines if line.startswith("- ")]
    assert said[0] == "- **mono-forward differs from the paper (higher)**: +33.00 [+27.39, +38.61] points."
    assert said[1] == (
        "- mono-forward: +3.00 [+0.75, +5.25] points to backprop (not judged: 4 seeds, at least 5 are needed), at 0.81 of its "
        "FLOPs a step and 2.83 of its time and 0.35 of its energy; needs 0.86 of its FLOPs to reach 90.00 %."
    )
    never = next(line for line in said if line.startswith("- forward-forward"))
    assert never.endswith("; did not reach 90.00 % on validation.")


def test_without_a_counter_processor_time_is_shown() -> None:
    """Wall time of a machine that does other work as well says little of the arm; and there are no joules."""
    assert [word for word, *_ in measured.costs({"rows": [{"energy_j": None}, {"energy_j": None}]})] == ["processor time"]
    metered = measured.costs({"rows": [{"energy_j": None}, {"energy_j": {"mean": 3.0}}]})
    assert metered == (("time", "time_s", "time_ratio"), ("energy", "energy_j", "energy_ratio"))


def test_what_the_records_were_made_on(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    facts = {
        "one": {"processor": "P", "versions": {"torch": "2.9"}},
        "two": {"processor": "Q", "gpu": "G", "cuda": "13.0", "versions": {"torch": "2.11"}},
    }
    (tmp_path / "made" / "environment.json").write_text(json.dumps(facts))
    (tmp_path / "made" / "records.jsonl").write_text('{"tier":"eager"}\n{"tier":"graph"}\n{"tier":"eager"}\n')
    assert measured.made_on(tmp_path / "made") == "P (torch 2.9) and G (torch 2.11, CUDA 13.0), tier eager and graph"


def test_words_against_frozen_blocks_are_no_stronger_than_the_pairs() -> None:
    def above(mean: float | None, beats: bool | None) -> dict[str, object]:
        return {"arm": "mine", "mean": mean, "beats": beats, "sentence": "so."}

    pairs = [above(-0.01, None), above(-0.01, False), above(0.01, False), above(0.01, True), above(None, None)]
    assert list(measured.contradictions({"above_controls": pairs}, {})) == [
        "**In these runs mine did not end above blocks that stay as they were drawn**: so.",
        "**In these runs mine did not end above blocks that stay as they were drawn**: so.",
        "**In these runs mine is not shown to end above blocks that stay as they were drawn**: so.",
    ]


def test_arms_that_are_still_to_be_run_are_named(lines: list[str]) -> None:
    (missing,) = [line for line in lines if line.startswith("Not measured yet")]
    assert missing.startswith("Not measured yet: cascaded-forward, cascaded-forward (dfa), frozen.")


def test_the_page_of_the_gpu_kit_is_taken_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "KIT", tmp_path / "answer.md")
    assert list(page.of_the_kit()) == [
        "`make answer` has not been run on a GPU yet; the rows of GPUs above were made by `experiments.py`."
    ]
    (tmp_path / "answer.md").write_text("# The answer\n\n![a](figures/a.svg)\n![b](experiment-1/report/figures/b.svg)\n")
    assert list(page.of_the_kit()) == [
        "## The answer",
        "",
        "![a](../benchmarks/results/answer/figures/a.svg)",
        "![b](../benchmarks/results/answer/experiment-1/report/figures/b.svg)",
    ]


def test_operations_that_were_not_counted_are_no_miss(tmp_path: Path) -> None:
    """Records of earlier versions have none; the target was reached all the same."""
    write_first(tmp_path / "old")
    records = tmp_path / "old" / "records.jsonl"
    records.write_text(re.sub(r'"flops":\d+', '"flops":null', records.read_text()))
    found = measured.measured(dataclasses.replace(EXPERIMENTS[2], target=0.9, published={}), tmp_path / "old")
    assert found is not None
    said = {line.split(":")[0]: line for line in measured.plainly(found.table)}
    assert said["mono-forward"].endswith("; reached 90.00 %, after FLOPs that were not counted.")
    assert said["forward-forward"].endswith("; did not reach 90.00 % on validation.")


def test_nothing_asked_for_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        experiments.main([])
    assert "name experiments (1, 2, 3), or give --page" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        experiments.main(["4"])
    assert "name experiments (1, 2, 3), or give --page" in capsys.readouterr().err


def test_the_help_names_the_experiments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        experiments.main(["--help"])
    assert "experiments: 1 cifar10-mlp-3x2000 2 mnist-mlp-4x2000 3 " in " ".join(capsys.readouterr().out.split())


@pytest.fixture
def two_places(tmp_path: Path) -> Experiment:
    return in_two_places(tmp_path)


def test_a_board_and_a_processor_have_a_table_each(two_places: Experiment) -> None:
    """What the processor has measured is not paired with what the board has; an arm is missing where neither has it."""
    lines = list(page.section(two_places))
    first, second = lines.index("### G (torch 2.9), tier eager"), lines.index("### P (torch 2.9), tier eager")
    assert cells(lines[first:second], "mono-forward")[1] == "95.00 ± 5.66"
    assert cells(lines[second:], "backprop")[1] == "92.00 ± 3.44"
    assert not [line for line in lines[second:] if line.startswith("| mono-forward |")]
    (missing,) = [line for line in lines if line.startswith("Not measured yet")]
    assert missing.startswith("Not measured yet: cascaded-forward, cascaded-forward (dfa), frozen.")
    assert lines[-4] == (
        "Made on G (torch 2.9), tier eager; "
        "[`benchmarks/results/cifar10-cnn3`](../benchmarks/results/cifar10-cnn3/report/summary.md), "
        "`python benchmarks/experiments.py 3 --device cuda --tier eager --data-dir DIR`."
    )
    assert lines[-2] == (
        "Made on P (torch 2.9), tier eager; "
        "[`benchmarks/results/cifar10-cnn3-cpu`](../benchmarks/results/cifar10-cnn3-cpu/report/summary.md), "
        "`python benchmarks/experiments.py 3 --data-dir DIR`."
    )


def test_contradictions_of_all_places_come_before_the_tables(two_places: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"backprop": Place("table", "mono-forward")}
    monkeypatch.setattr(measured, "number_at", lambda *_: published(0.62))
    monkeypatch.setattr(paper, "number_at", lambda *_: published(0.62))
    lines = list(page.section(dataclasses.replace(two_places, published=known)))
    led = [line for line in lines[: lines.index("### G (torch 2.9), tier eager")] if line.startswith("- ")]
    assert [line.split("**")[1] for line in led] == ["backprop differs from the paper (higher)"] * 2
    assert [line.rsplit("points. ")[1] for line in led] == ["(G (torch 2.9), tier eager)", "(P (torch 2.9), tier eager)"]


def test_the_papers_protocol_beside(two_places: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """One arm under another ruleset: its accuracy beside what is published, and no comparison of arms."""
    known = {"mono-forward": Place("table", "mono-forward")}
    experiment = dataclasses.replace(two_places, also="other", also_words="As there", published={}, also_published=known)
    assert experiment.rulesets == ("cifar10-cnn3", "other")
    assert list(page.also(experiment, "other")) == ["As there: not measured yet."]
    other = two_places.results / "other-cpu"
    write_first(other)
    (other / "environment.json").write_text(json.dumps({"one": {"processor": "P", "versions": {"torch": "2.9"}}}))
    records = other / "records.jsonl"
    records.write_text("".join(line for line in records.open() if '"algorithm":"mono-forward"' in line))
    monkeypatch.setattr(measured, "number_at", lambda *_: published(0.62))
    (said,) = page.also(experiment, "other")
    assert said == (
        "As there, mono-forward reached 95.00 ± 5.66 % after 4 passes (4 runs); published is 62.00, so +33.00 [+27.39, +38.61] "
        "points (differs (higher)). Made on P (torch 2.9), tier eager; "
        "[`benchmarks/results/other-cpu`](../benchmarks/results/other-cpu/report/summary.md), "
        "`python benchmarks/experiments.py 3 --data-dir DIR`."
    )


def test_without_records_the_command_is_named(tmp_path: Path) -> None:
    experiment = dataclasses.replace(EXPERIMENTS[1], results=tmp_path)
    assert "**Not measured yet.** `python benchmarks/experiments.py 2 --data-dir DIR`" in page.section(experiment)


@pytest.fixture
def beside_the_paper(two_places: Experiment, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Of Mono-Forward, at its own convergence and at matched passes; on a board, then on a processor without it."""
    numbers = {
        OWN: published(0.62, difference=-0.011, time_ratio=2.5, energy_ratio=3.2),
        MATCHED: published(0.6, protocol=MATCHED, difference=0.02, time_ratio=0.75),
    }
    monkeypatch.setattr(measured, "number_at", lambda _, place: numbers[place.protocol])
    monkeypatch.setattr(paper, "number_at", lambda _, place: numbers[place.protocol])
    experiment = dataclasses.replace(
        two_places,
        published={"mono-forward": Place("table", "mono-forward")},
        others={"mono-forward": (Place("table", "mono-forward", protocol=MATCHED),)},
    )
    found = page.places(experiment, experiment.name)
    return [list(which(experiment, each)) for each in found for which in (paper.of_the_paper, paper.other_way)]


def test_what_the_paper_says_of_the_same_rule(beside_the_paper: list[list[str]]) -> None:
    """Measured: 3 points above, 2.83 times the time, 0.35 times the energy. With as many passes the paper's lies above too."""
    table, words, no_table, no_words = beside_the_paper
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table if line.startswith("| mono-forward |")]
    assert rows == [
        ["mono-forward", "own convergence", "-1.10", "+3.00 [+0.75, +5.25]", "2.50", "2.83", "3.20", "0.35"],
        ["mono-forward", "matched passes", "+2.00", "+3.00 [+0.75, +5.25]", "0.75", "2.83", "–", "0.35"],
    ]
    assert (words, no_table, no_words) == ([], [], [])


@pytest.mark.parametrize(
    ("own", "matched", "said"),
    [
        (-0.011, None, "the paper's 1.10 points below it (own convergence)."),
        (0.011, -0.02, "the paper's 2.00 points below it (matched passes)."),
        (0.011, None, None),
        (0.0, None, None),
    ],
)
def test_who_ends_on_the_other_side(
    two_places: Experiment, monkeypatch: pytest.MonkeyPatch, own: float, matched: float | None, said: str | None
) -> None:
    numbers = {
        OWN: published(0.62, difference=own, time_ratio=0.1),
        MATCHED: published(0.6, protocol=MATCHED, difference=matched),
    }
    monkeypatch.setattr(measured, "number_at", lambda _, place: numbers[place.protocol])
    monkeypatch.setattr(paper, "number_at", lambda _, place: numbers[place.protocol])
    others = {} if matched is None else {"mono-forward": (Place("table", "mono-forward", protocol=MATCHED),)}
    experiment = dataclasses.replace(two_places, published={"mono-forward": Place("table", "mono-forward")}, others=others)
    (found,) = page.places(experiment, experiment.name)[:1]
    ahead = "**mono-forward ends on the other side of backprop than in the paper**: 3.00 points above it (4 pairs, not judged), "
    assert list(paper.other_way(experiment, found)) == ([] if said is None else [ahead + said])


def test_times_without_a_counter_are_named_as_the_processors(two_places: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper, "number_at", lambda *_: published(0.62, difference=0.01, time_ratio=0.5))
    monkeypatch.setattr(measured, "number_at", lambda *_: published(0.62))
    experiment = dataclasses.replace(two_places, published={"mono-forward": Place("table", "mono-forward")})
    (found,) = page.places(experiment, experiment.name)[:1]
    for row in found.table["rows"]:
        row["energy_j"] = None
    table = list(paper.of_the_paper(experiment, found))
    assert "| time, × backprop: published | processor time: measured | energy, × backprop: published | measured |" in table[2]
    row = next(line for line in table if line.startswith("| mono-forward |"))
    assert row.endswith("| 0.50 | 4.24 | – | – |"), "the processor's, not 2.83 of the clock"


def test_the_baseline_beside_the_paper_is_said_however_few_its_runs() -> None:
    class Gap:
        word, verdict = "cannot tell", "cannot tell: 1 measured run, at least 3 are needed"
        gap = SeedMean(-0.0406, None, None, 1)

    table = {"above_controls": [], "baseline": "backprop"}
    assert list(measured.contradictions(table, {"mono-forward": Gap(), "backprop": Gap()})) == [  # type: ignore[dict-item]
        "backprop itself, less what is published of it: −4.06 points (cannot tell: 1 measured run, at least 3 are needed)."
    ]


def test_a_difference_without_a_pair_is_a_dash() -> None:
    """As of frozen blocks whose only run was interrupted."""
    assert measured.with_interval(None) == "–"
    assert measured.with_interval({"mean": None, "low": None, "high": None}) == "–"
    assert measured.with_interval({"mean": -0.0125, "low": None, "high": None}) == "-1.25"
    assert measured.with_interval({"mean": -0.0125, "low": -0.02, "high": 0.005}) == "-1.25 [-2.00, +0.50]"
