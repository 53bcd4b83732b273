"""The reports of suites whose whole text is compared: published numbers beside the two golden reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bpfree.published import Number
from bpfree.report.beside import SuiteFacts, SuiteRow
from bpfree.report.published import build_suite, suite_summary, suite_tables
from tests.report.conftest import write_run
from tests.report.golden import FIRST, LARGE, OTHER, RUNS, SECOND, SMALL, lost_runs, record, write_first, write_second
from tests.report.page_pins import repinned
from tests.report.page_text import report_text

__all__ = ["rehearsal", "suite"]

FIVE = {"accuracy": 0.93, "spread": (0.89, 0.97), "n_runs": "5"}


def _row(ruleset: str, task: tuple[str, str], arm: str, section: str, told: dict[str, Any], **changes: Any) -> SuiteRow:
    dataset, net = task
    number: dict[str, Any] = {
        "table": "suite",
        "dataset": dataset,
        "net": net,
        "algorithm": arm,
        "second_hand": False,
        "source": "them",
    }
    place: dict[str, Any] = {"section": section, "ruleset": ruleset, "dataset": dataset, "measured_dataset": dataset, "net": net}
    return SuiteRow(**(place | {"arm": arm} | changes), number=Number(**(number | told)))


def _suite(root: Path, facts: SuiteFacts, rows: Sequence[SuiteRow]) -> str:
    lost = [record(FIRST, OTHER, "backprop", RUNS[OTHER]["backprop"][0]), *lost_runs()]
    places = {
        "first": repinned(write_first(root / "first"), FIRST),
        "second": repinned(write_second(root / "second"), SECOND),
        "empty": root / "empty",
        "lost": repinned(write_run(root / "lost", lost, FIRST), FIRST),
    }
    return report_text(
        lambda: build_suite(facts, rows, places, root / "out"),
        lambda: suite_tables(facts, rows, places),
        lambda: suite_summary(facts, rows, places),
        None,
        root,
    )


def suite(root: Path) -> str:
    """Published numbers beside two rulesets: agreeing, differing, second-hand, without a spread, not run."""
    rows = [
        _row(
            "first",
            LARGE,
            "mono-forward",
            "Table 1",
            FIVE | {"time_ratio": 3.0},
        ),
        _row("first", LARGE, "backprop", "Table 1", {"accuracy": 0.5, "spread": (0.49, 0.51), "n_runs": "20+"}, note="a note"),
        _row("first", LARGE, "pepita", "Table 1", {"accuracy": 0.99, "n_runs": "3", "second_hand": True, "source": "a review"}),
        _row("first", LARGE, "forward-forward", "Table 1", {"accuracy": 0.8, "spread": (0.7, 0.9)}),
        _row(
            "first",
            OTHER,
            "mono-forward",
            "Table 1",
            {"accuracy": 0.672, "spread": (0.67, 0.674), "n_runs": "4", "energy_ratio": 0.5},
        ),
        _row("first", SMALL, "mono-forward", "Table 2", {"difference": 0.06, "difference_interval": (0.05, 0.08), "n_runs": "4"}),
        _row("second", LARGE, "mono-forward", "Table 2", {"accuracy": 0.6, "n_runs": "1", "second_hand": True}),
        _row(
            "second", SMALL, "mono-forward:schedule=staged", "Table 2", {"accuracy": 0.6}, reason="too long", measured_dataset=""
        ),
        _row("second", SMALL, "backprop", "Table 2", {"difference": 0.01}),
    ]
    facts = SuiteFacts(
        name="golden", title="A golden suite", paper="Them (2020)", description="What they did.", n_suite_rows=12,
        section_notes={"Table 2": "With other rules."}, command="bpfree reproduce golden", stamps=("NOT COMPARABLE",),
    )  # fmt: skip
    return _suite(root, facts, rows)


def rehearsal(root: Path) -> str:
    """The same at a tenth of the scale: nothing is judged."""
    rows = [
        _row("first", LARGE, "mono-forward", "Table 1", FIVE),
        _row("second", LARGE, "backprop", "Table 1", {"accuracy": 0.52}),
        _row("second", LARGE, "mono-forward", "Table 1", {}),
        _row("lost", LARGE, "forward-forward", "Table 1", {"accuracy": 0.6}),
        _row("lost", OTHER, "backprop", "Table 1", {"difference": 0.6}),
    ]
    facts = SuiteFacts(name="golden", title="A golden suite", paper="Them", stamps=("SCALED",), scale=0.1, command="again")
    return _suite(root, facts, rows)
