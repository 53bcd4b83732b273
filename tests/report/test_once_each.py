"""One record for each cell: which attempt counts, by directory and status."""

from __future__ import annotations

from typing import Any

import pytest

from bpfree.errors import RunDirectoryError
from bpfree.report.material import read_material


def statuses(runs: Any, *by_directory: tuple[str, ...]) -> list[str]:
    """Of the record that counts, where the attempts at one cell are these, in order."""
    paths = [
        runs(f"d{k}", [runs.record("backprop", 0, status=status) for status in attempts])
        for k, attempts in enumerate(by_directory)
    ]
    return [record.status for record in read_material(paths).records]


def test_in_one_directory_the_attempt_after_a_lost_one_counts(runs: Any) -> None:
    for k, attempts in enumerate(
        [("failed", "ok"), ("interrupted", "ok"), ("ok", "interrupted"), ("interrupted", "failed", "ok")]
    ):
        runs.root = runs.root / str(k)
        assert statuses(runs, attempts) == ["ok"]


def test_a_later_interruption_replaces_no_result(runs: Any) -> None:
    assert statuses(runs, ("failed", "interrupted")) == ["failed"]


def test_a_result_of_another_directory_replaces_an_interrupted_run_only(runs: Any) -> None:
    assert statuses(runs, ("interrupted",), ("ok",)) == ["ok"]
    for k, first in enumerate(("failed", "ok")):
        runs.root = runs.root / str(k)
        with pytest.raises(RunDirectoryError, match="was measured twice"):
            statuses(runs, (first,), ("failed" if first == "ok" else "ok",))
