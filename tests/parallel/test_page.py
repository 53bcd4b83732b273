"""docs/parallel.md says what benchmarks/results/parallel.json holds, as benchmarks/parallel.py --page writes it."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import parallel_kit.page

    return parallel_kit.page


@pytest.fixture
def found() -> dict[str, Any]:
    """A net on which two ranks take .6 of the time, and two trainings at once 1.25 of it."""
    step_s = {
        "mono-forward": [0.5, 1.0, 0.6],
        "mono-forward at once": [0.625, 0.75],
        "mono-forward layers": [0.3, 0.5, 0.35],
        "mono-forward data": [0.4, 0.5, 0.45],
    }
    return {"nets": {"mlp:2x8": {"steps": 2, "step_s": step_s, "loads": {"mono-forward": [300, 100]}}}}


def test_the_page_is_that_of_the_results(kit: ModuleType) -> None:
    results = json.loads((ROOT / "benchmarks" / "results" / "parallel.json").read_text())
    assert (ROOT / "docs" / "parallel.md").read_text() == kit.page(results), "python benchmarks/parallel.py --page"


def test_speed_up_ideal_and_limit(kit: ModuleType, found: dict[str, Any]) -> None:
    serial, layers, data = kit.rows(found)
    assert serial[:5] == ("mlp:2x8", "mono-forward", "500 ms", "600 ms", "1")
    assert layers == ("mlp:2x8", "mono-forward layers", "300 ms", "350 ms", "1.67", "1.71", "1.33", "1.25", "1.60", "1.04")
    assert data[4:8] == ("1.25", "1.33", "2.00", "0.62")


def test_the_limit_is_that_of_as_many_trainings_as_ranks(kit: ModuleType, found: dict[str, Any]) -> None:
    """Four at once take 1.25 times as long as one: 3.2 times its throughput."""
    four = found["nets"]["mlp:2x8"] | {"loads": {"mono-forward": [100, 100, 100, 100]}}
    assert kit.limit_of(four, "mono-forward") == 4 * 0.5 / 0.625


def test_a_prediction_is_bound_by_a_rank_by_the_machine_or_by_the_wire(kit: ModuleType) -> None:
    """One process takes 4 s a step; of two ranks the first takes 3 s of them; nine steps fill a pipeline of two to .9."""
    from parallel_kit.check import predicted_speed_up

    assert predicted_speed_up([300, 100], 2.0, 4.0, 0.0, 9) == pytest.approx(0.9 * 4 / 3)
    assert predicted_speed_up([300, 100], 1.25, 4.0, 0.0, 9) == pytest.approx(0.9 * 1.25)
    assert predicted_speed_up([300, 100], 2.0, 4.0, 5.0, 9) == pytest.approx(0.9 * 4 / 5)
    assert predicted_speed_up([400], 1.0, 4.0, 0.0, 9) == 1.0


def test_a_row_of_the_check(kit: ModuleType, found: dict[str, Any]) -> None:
    from parallel_kit.check import table

    checked = found["nets"]["mlp:2x8"] | {"load": 0.25, "measured_at": "2026-01-02T03:04", "hand_over_s": 0.125, "steps": 9}
    header, _, row, _, words = table({"checks": {"mlp:2x8 2": checked}})
    assert header.count("|") == row.count("|")
    assert row == "| `mlp:2x8` | 2 | 500 ms | 0.67 | 1.60 | 125 ms | 1.20 | 1.67 | 1.39 |"
    assert words.startswith("Measured 2026-01-02, one thread a rank, load before 0.2 to 0.2")
    assert table({"nets": {}}) == []


def test_refused_rules_say_why(kit: ModuleType) -> None:
    layers, data, refused = kit.admitted()
    assert "`backprop`" in data and "`backprop`" not in layers
    assert "`local-similarity`" in layers and "`local-similarity`" not in data
    rules = [line.split()[1] for line in refused.splitlines() if line.startswith("- ")]
    assert rules == ["local-similarity", "forward-forward", "foton"]
    assert "every pair of examples" in refused and "negatives=hybrid" in refused and "optimiser=rms" in refused
