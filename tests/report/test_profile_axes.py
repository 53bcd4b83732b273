"""The axes of the performance profiles: lines are clipped at them, so a line at 0 or 100 % must lie within."""

from __future__ import annotations

from typing import Any

import pytest

from bpfree.report.material import read_material
from bpfree.report.model import build_tables
from bpfree.report.profiles import profile_chart


def test_the_shares_of_all_and_of_none_are_drawn(runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("bpfree.report.profiles.drawing", lambda chart, data: drawn.append((chart, data)) or "")
    records = [*runs.grid(), *runs.grid(dataset="mnist")]
    assert profile_chart(build_tables(read_material([runs(records=records)]), 0.9)) is not None
    ((chart, data),) = drawn
    assert {0.0, 100.0} <= {point["y"] for point in data["steps"]}
    for layer in chart.layer:
        low, high = layer.to_dict()["encoding"]["y"]["scale"]["domain"]
        assert low < 0
        assert high > 100
