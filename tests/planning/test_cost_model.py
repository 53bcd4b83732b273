"""docs/cost-model.md says what benchmarks/results/cost-model.json holds, and its formula is the one of the script."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("cost_model", ROOT / "benchmarks" / "cost_model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["cost_model"] = module  # its dataclasses look their module up
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(ROOT / "benchmarks"))
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "results" / "cost-model.json").read_text())


def test_the_page_is_made_of_the_committed_figures(script: ModuleType, found: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "cost-model.md").read_text()
    assert text.split(script.BEGIN)[1].split(script.END)[0] == f"\n{script.part(found)}"


def test_a_step_is_as_long_as_the_most_loaded_rank_or_the_slowest_hand_over(script: ModuleType) -> None:
    """Two ranks of stages of 3 + 1 and 4 multiply-adds at 2 FLOP/s: 4 s each; 10 steps fill a pipeline of two to 10/11."""
    quick = script.Machine(2.0, 8.0, 0.5)
    values = script.predict([3, 1, 4], [8, 16, 24], 2, 10, quick)
    assert values["compute_s"] == 4.0
    assert values["wire_s"] == 16 / 8 + 0.5
    assert values["step_s"] == 4.0
    assert values["balance"] == 1.0
    assert values["speed_up"] == pytest.approx(2 * 10 / 11)
    assert values["backprop_speed_up"] == pytest.approx(8 / 9 * 8 / 5)  # 2 x 2.5 s on the wire
    slow = script.predict([3, 1, 4], [8, 16, 24], 2, 10, script.Machine(2.0, 2.0, 0.5))
    assert slow["step_s"] == 8.5
    assert slow["speed_up"] == pytest.approx(8 / 8.5 * 10 / 11)


def test_stages_are_counted_and_what_they_hand_on(script: ModuleType) -> None:
    """Mono-Forward: a block's map and its head, forward, and both gradients of the head and one of the map."""
    case = script.Case("mlp:2x7", (5,), 3, 4, 1)
    assert script.stage_macs(case) == [4 * (2 * 5 * 7 + 3 * 7 * 3), 4 * (2 * 7 * 7 + 3 * 7 * 3)]
    assert script.activation_bytes(case) == [4 * 4 * 7] * 2
    row = script.predicted(case, script.Machine(1e9, 1e9, 0.0))
    assert row["blocks"] == 2
    assert row["ranks"] == {"8": None, "64": None, "512": None}
    assert script.timed_block(case, 1)["seconds"] > 0
