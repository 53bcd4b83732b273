"""Published beside measured: the gap, and a verdict that claims no more than is known."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bpfree.published import Number
from bpfree.report.beside import SuiteFacts, SuiteRow, answer_of, measured_beside
from bpfree.report.published import build_suite, suite_summary
from bpfree.report.quantities import DIFFERENCE

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

VERDICTS: dict[str, tuple[Published, str]] = {
    "inside": (lambda m: {"accuracy": 0.975, "spread": (m - 1e-3, m + 1e-3)}, "inside the published spread"),
    "outside": (lambda m: {"accuracy": 0.9, "spread": (m - 0.1, m - 1e-3)}, "outside the published spread"),
    "near": (lambda m: {"accuracy": m}, "no spread published; the published number lies inside the measured interval"),
    "far": (lambda m: {"accuracy": m - 0.1}, "no spread published; the published number lies outside the measured interval"),
    "difference": (lambda m: {"difference": 0.1, "difference_interval": (0.09, 0.11)}, "outside the published interval"),
    "absent": (lambda m: {"net": "mlp:9x9", "accuracy": m}, "not run yet"),
    "refused": (lambda m: {"net": "mlp:9x9", "accuracy": m, "reason": "no data"}, "not run: no data"),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_the_verdict_claims_no_more_than_is_known(run: Path, mean: float, case: str) -> None:
    published, words = VERDICTS[case]
    assert judged(run, row(**published(mean))).verdict == words


def test_the_gap_has_the_interval_of_what_was_measured(run: Path, mean: float) -> None:
    beside = judged(run, row(accuracy=0.9))
    gap, accuracy = beside.gap, beside.accuracy
    assert gap.mean == pytest.approx(mean - 0.9)
    assert (gap.low, gap.high) == (pytest.approx(accuracy.low - 0.9), pytest.approx(accuracy.high - 0.9))


def test_only_a_published_difference_is_held_against_the_measured_difference(run: Path) -> None:
    beside = judged(run, row(difference=0.01))
    assert beside.measured is not None
    assert beside.gap.mean == pytest.approx(beside.mean(DIFFERENCE).mean - 0.01)
    assert judged(run, row("backprop", difference=0.01)).verdict == "no difference was measured"


def test_a_rehearsal_judges_nothing(run: Path) -> None:
    assert judged(run, row(accuracy=0.9, spread=(0.1, 1.0)), scale=0.02).verdict == "not judged: SCALED"
    facts = SuiteFacts(**FACTS, scale=0.02)
    assert "SCALED to 2 %" in answer_of(facts, measured_beside(facts, [row(accuracy=0.9)], {"quick": run}))


def test_one_seed_without_a_published_spread_is_not_judged(runs: Any) -> None:
    one = runs("one", runs.grid(seeds=(0,)))
    assert judged(one, row(accuracy=0.9)).verdict == "no spread published, one seed: not judged"
    assert judged(one, row(accuracy=0.9, spread=(0.0, 1.0))).verdict == "inside the published spread"


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
