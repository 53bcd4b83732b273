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
        "mono-forward twice": [0.625, 0.75],
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


def test_refused_rules_say_why(kit: ModuleType) -> None:
    layers, data, refused = kit.admitted()
    assert "`backprop`" in data and "`backprop`" not in layers
    assert "`local-similarity`" in layers and "`local-similarity`" not in data
    rules = [line.split()[1] for line in refused.splitlines() if line.startswith("- ")]
    assert rules == ["local-similarity", "forward-forward", "foton"]
    assert "every pair of examples" in refused and "negatives=hybrid" in refused and "optimiser=rms" in refused
