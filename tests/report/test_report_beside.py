"""Published beside measured: the gap with its interval, and words that say no more than is known."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bpfree.published import Number
from bpfree.report.beside import SuiteFacts, SuiteRow, answer_of, measured_beside
from bpfree.report.published import build_suite, suite_summary, suite_tables
from bpfree.report.quantities import ACCURACY, DIFFERENCE

FACTS: dict[str, Any] = {"name": "mine", "title": "Mine", "paper": "us"}


def row(arm: str = "mono-forward", **changes: Any) -> SuiteRow:
    """A published row of what the fixtures measured."""
    place = {"section": "Table 1", "ruleset": "quick", "dataset": "digits", "net": "mlp:2x256", "arm": arm}
    place |= {key: changes.pop(key) for key in (*place, "measured_dataset", "note", "reason") if key in changes}
    number: dict[str, Any] = {"table": "suite", "dataset": "digits", "net": place["net"], "algorithm": arm.partition(":")[0]}
    number |= {"second_hand": False, "source": "us"}
    return SuiteRow(**({"measured_dataset": "digits"} | place), number=Number(**(number | changes)))


def judged(run: Path, published: SuiteRow, **facts: Any) -> Any:
    """The row beside what the directory holds."""
    return measured_beside(SuiteFacts(**FACTS, **facts), [published], {"quick": run})[0]


@pytest.fixture(scope="module")
def run(shared_runs: Any) -> Path:
    """Four arms, five seeds."""
    return shared_runs("beside")


@pytest.fixture(scope="module")
def mean(shared_runs: Any) -> float:
    """Test accuracy of the measured arm."""
    return statistics.mean(record.test_accuracy for record in shared_runs.grid(("mono-forward",)))


Published = Callable[[float], dict[str, Any]]
"""What is published, by the mean that was measured."""

FEW = "cannot tell: 2 published runs, at least 3 are needed"
UNKNOWN = "cannot tell: the number of published runs is not known"
NO_SPREAD = "cannot tell: the spread of the published runs is not known"
WIDE = "cannot tell: the interval is too wide for the margin"

VERDICTS: dict[str, tuple[Published, str]] = {
    "far above": (lambda m: {"accuracy": m - 0.05, "spread": (m - 0.051, m - 0.049), "n_runs": "5"}, "differs (higher)"),
    "far below": (lambda m: {"accuracy": m + 0.05, "spread": (m + 0.049, m + 0.051), "n_runs": "20+"}, "differs (lower)"),
    "near": (lambda m: {"accuracy": m, "spread": (m - 1e-3, m + 1e-3), "n_runs": "5"}, WIDE),
    "two runs": (lambda m: {"accuracy": m, "spread": (m - 1e-3, m + 1e-3), "n_runs": "2"}, FEW),
    "runs not counted": (lambda m: {"accuracy": m, "spread": (m - 1e-3, m + 1e-3)}, UNKNOWN),
    "no spread": (lambda m: {"accuracy": m - 0.1, "n_runs": "5"}, NO_SPREAD),
    "difference": (lambda m: {"difference": 0.1, "difference_interval": (0.09, 0.11), "n_runs": "10"}, "differs (lower)"),
    "difference alone": (lambda m: {"difference": 0.1, "n_runs": "10"}, NO_SPREAD),
    "absent": (lambda m: {"net": "mlp:9x9", "accuracy": m}, "not run yet"),
    "refused": (lambda m: {"net": "mlp:9x9", "accuracy": m, "reason": "no data"}, "not run: no data"),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_the_words_claim_no_more_than_is_known(run: Path, mean: float, case: str) -> None:
    published, words = VERDICTS[case]
    assert judged(run, row(**published(mean))).verdict == words


def measured(runs: Any, accuracies: Sequence[float]) -> Path:
    """Backprop and Mono-Forward, which has these test accuracies."""
    seeds = range(len(accuracies))
    large = {"n_test": 10_000, "correct": None}
    records = [
        r.model_copy(update={"test_accuracy": accuracies[r.seed], "reasons": r.reasons | {"correct": "large"}} | large)
        if r.arm == "mono-forward"
        else r
        for r in runs.grid(("backprop", "mono-forward"), seeds)
    ]
    return runs(records=records)


ONE, TWO = (f"cannot tell: {count}, at least 3 are needed" for count in ("1 measured run", "2 measured runs"))
SPREAD = (0.0, 0.001, -0.001, 0.0005, -0.0005, 0.0002, -0.0002, 0.0001, -0.0001, 0.0)
"""Of single runs around their mean."""

REVIEWED: dict[str, tuple[Sequence[float], dict[str, Any], str]] = {
    # published 62.34 ± .05, measured 66.4 (5 seeds): was "outside", red, though it is four points better
    "higher": (
        [0.664 + d for d in SPREAD[:5]], {"accuracy": 0.6234, "spread": (0.6229, 0.6239), "n_runs": "5"}, "differs (higher)",
    ),
    # published 98.14 ± .02, measured 98.19 [98.03, 98.35]: was "outside", without regard to what was measured
    "uncertain": (
        [0.9819 + 1.3 * d for d in SPREAD[:5]], {"accuracy": 0.9814, "spread": (0.9812, 0.9816), "n_runs": "5"}, "agrees",
    ),
    # published 79.32 ± 3.99, measured 72.0 with one seed: was "inside", green, though it is seven points worse
    "one seed": ([0.72], {"accuracy": 0.7932, "spread": (0.7134, 0.873), "n_runs": "3"}, ONE),
    # no spread published, 2 seeds, 55 and 58: was "inside the measured interval", green
    "two seeds": ([0.55, 0.58], {"accuracy": 0.623, "n_runs": "5"}, TWO),
    # no spread published, 10 seeds 62.54 ± .02: was "outside", red
    "precise": ([0.6254 + 0.2 * d for d in SPREAD], {"accuracy": 0.623, "n_runs": "5"}, NO_SPREAD),
}  # fmt: skip
"""The five cases of the review: what was measured, what is published, and what may be said."""


@pytest.mark.parametrize("case", REVIEWED)
def test_precision_is_not_punished_and_imprecision_not_rewarded(runs: Any, case: str) -> None:
    accuracies, published, words = REVIEWED[case]
    assert judged(measured(runs, accuracies), row(**published)).verdict == words


def test_no_word_has_a_colour(run: Path, tmp_path: Path, mean: float) -> None:
    rows = [row(**published(mean)) for published, _ in VERDICTS.values()]
    page = build_suite(SuiteFacts(**FACTS), rows, {"quick": run}, tmp_path / "report").page.read_text()
    assert 'class="soft">differs (higher)' in page
    assert not re.search(r'<span class="(better|worse|unreliable)"', page)
    assert "margin ±0.28 points" in page, "one of 360 test images"


def test_an_arm_that_lost_runs_is_not_held_against_a_paper(runs: Any) -> None:
    records = [
        r.model_copy(update={"status": "diverged"}) if (r.arm, r.seed) == ("mono-forward", 1) else r
        for r in runs.grid(("backprop", "mono-forward"))
    ]
    told = row(accuracy=0.5, spread=(0.49, 0.51), n_runs="5")
    assert judged(runs(records=records), told).verdict == "cannot tell: 1 of 5 runs diverged"


def test_the_answer_counts_the_words(run: Path, mean: float) -> None:
    rows = [row(**VERDICTS[case][0](mean)) for case in ("far above", "no spread", "near", "absent")]
    facts = SuiteFacts(**FACTS)
    text = answer_of(facts, measured_beside(facts, rows, {"quick": run}))
    assert text == "3 of 4 published rows of mine were run: 2 cannot tell; 1 differs (higher)."


def test_the_gap_has_no_interval_without_a_published_spread(run: Path, mean: float) -> None:
    gap = judged(run, row(accuracy=0.9)).gap
    assert gap.mean == pytest.approx(mean - 0.9)
    assert (gap.low, gap.high) == (None, None)


def test_only_a_published_difference_is_held_against_the_measured_difference(run: Path) -> None:
    beside = judged(run, row(difference=0.01))
    assert beside.measured is not None
    assert beside.gap.mean == pytest.approx(beside.mean(DIFFERENCE).mean - 0.01)
    assert judged(run, row("backprop", difference=0.01)).verdict == "no difference was measured"


def test_a_rehearsal_judges_nothing(run: Path) -> None:
    assert judged(run, row(accuracy=0.9, spread=(0.1, 1.0)), scale=0.02).verdict == "not judged: SCALED"
    facts = SuiteFacts(**FACTS, scale=0.02)
    assert "SCALED to 2 %" in answer_of(facts, measured_beside(facts, [row(accuracy=0.9)], {"quick": run}))


def test_a_row_stands_beside_the_runs_of_its_ruleset_and_net(run: Path, runs: Any, mean: float) -> None:
    """Two directories hold the same arm, data and net under two rulesets."""
    second = measured(runs, [0.5, 0.6, 0.7])
    rows = [row(accuracy=0.9), row(accuracy=0.9, ruleset="other"), row(accuracy=0.9, net="mlp:1x8")]
    for directories in ({"quick": run, "other": second}, {"other": second, "quick": run}):
        first, other, elsewhere = measured_beside(SuiteFacts(**FACTS), rows, directories)
        assert [each.row.ruleset for each in (first, other)] == ["quick", "other"]
        assert first.measured is not None
        assert other.measured is not None
        assert first.measured[ACCURACY].mean == pytest.approx(mean)
        assert other.measured[ACCURACY].mean == pytest.approx(0.6)
        assert (elsewhere.measured, elsewhere.verdict) == (None, "not run yet")


def test_lost_runs_have_no_gap(runs: Any) -> None:
    lost = runs("lost", runs.grid(("backprop", "mono-forward"), status="diverged"))
    beside = judged(lost, row(accuracy=0.9, spread=(0.0, 1.0)))
    assert (beside.verdict, beside.gap) == ("no run finished", None)


def test_the_page_holds_every_row_its_source_and_what_was_not_run(run: Path, tmp_path: Path) -> None:
    rows = [
        row("backprop", accuracy=0.97, spread=(0.96, 0.98)),
        row(accuracy=0.98, second_hand=True, source="a blog <b>"),
        row(net="cnn3", accuracy=0.99, reason="no such net"),
    ]
    facts = SuiteFacts(**FACTS, stamps=("NOT COMPARABLE",), n_suite_rows=9)
    paths = build_suite(facts, rows, {"quick": run}, tmp_path / "report")
    page = paths.page.read_text()
    assert "<title>NOT COMPARABLE" in page
    assert "2 of 3 published rows of mine (of 9, the others were not asked for) were run" in page
    assert "not run: no such net" in page
    assert "SECOND-HAND: a blog &lt;b&gt;" in page
    assert len(paths.figures) == 1
    assert "NOT COMPARABLE" in paths.figures[0].read_text()
    assert paths.csv.read_text().count("\n") == 4
    values = suite_summary(facts, rows, {"quick": run})["rows"]
    assert [value["measured_accuracy"] is None for value in values] == [False, False, True]


def test_seconds_and_watt_hours_stand_beside_what_was_measured(runs: Any, tmp_path: Path) -> None:
    """Published 250 s and 5.4 Wh; measured 36,000 J are 10 Wh, and 12.5 s. A terminal has them only where a paper has."""
    cost = {"time_s": 12.5}
    records = [
        r.model_copy(update=cost | {"energy": r.energy.model_copy(update={"joules": 36e3})}) for r in runs.grid(energy=True)
    ]
    run = runs(records=records)
    told = row(accuracy=0.9, time_s=250.0, energy_j=5.4 * 3600, time_ratio=0.9)
    facts = SuiteFacts(**FACTS, section_notes={"Table 1": "a note"})
    (values,) = suite_summary(facts, [told], {"quick": run})["rows"]
    keys = ("published_time_s", "measured_time_s", "published_energy_j", "measured_energy_j")
    assert [values[key] for key in keys] == pytest.approx([250, 12.5, 19440, 36e3])
    paths = build_suite(facts, [told], {"quick": run}, tmp_path / "report")
    (table,) = suite_tables(facts, [told], {"quick": run})
    for text in (paths.page.read_text(), paths.markdown.read_text(), str(table.rows)):
        assert "250 s / 12.5 s" in text
        assert "5.4 Wh / 10 Wh" in text
    assert table.notes == ("a note",)
    (plain,) = suite_tables(SuiteFacts(**FACTS), [row(accuracy=0.9)], {"quick": run})
    assert (len(plain.headings), plain.notes) == (5, ())
    (lone,) = suite_tables(SuiteFacts(**FACTS), [row(net="cnn3", time_s=61.84, difference=0.0)], {"quick": run})
    assert lone.rows[0][-2:] == ("61.8 s / –", "–")
