"""docs/plan.md says what benchmarks/results/plan.json holds, as benchmarks/plan.py writes it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """benchmarks/plan.py."""
    spec = importlib.util.spec_from_file_location("plan_script", ROOT / "benchmarks" / "plan.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "results" / "plan.json").read_text())


def test_the_page_is_made_of_the_committed_figures(script: ModuleType, found: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "plan.md").read_text()
    assert text.split(script.BEGIN)[1].split(script.END)[0] == f"\n{script.part(found)}"


def test_three_nets_and_five_rules_lie_within_what_was_asked(found: dict[str, Any]) -> None:
    """Bytes within 15 %, seconds of steps within 30 % of what was measured, in the committed run."""
    cells = {(row["net"], row["arm"]): row for row in found["rows"]}
    assert len({net for net, _ in cells}) == 3
    for net in {net for net, _ in cells}:
        assert len([arm for of, arm in cells if of == net]) >= 5
    for row in cells.values():
        assert row["step_bytes"]["predicted"] == pytest.approx(row["step_bytes"]["measured"], rel=0.15)
        assert row["step_s"]["predicted"] == pytest.approx(row["step_s"]["measured"], rel=0.3)


def test_a_ratio_is_predicted_over_measured(script: ModuleType) -> None:
    pair = {"predicted": 1.5, "measured": 2.0, "first": 3.0}
    assert (script.ratio(pair), script.ratio(pair, "first")) == (0.75, 1.5)


def test_a_case_can_be_measured_and_written(script: ModuleType) -> None:
    """One tiny net, one round: the rows are whole, and make a page."""
    rows = list(script.measured_case(("mlp:1x4", "synthetic:n=100:inputs=6:classes=3", 20, 1), ["mono-forward"], 1))
    (row,) = json.loads(json.dumps(rows))
    assert row["step_bytes"]["predicted"] == row["step_bytes"]["measured"]
    assert all(value > 0 for key in ("step_s", "pass_s") for value in row[key].values())
