"""``benchmarks/scaling.py``: exponents, what grows faster than its multiply-adds, table and figure, each by value."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _kit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def sweep(time: float = 1.0, noise: float = 0.05) -> dict[str, Any]:
    exponents = {"time": time, "macs": 1.0, "noise": noise}
    return {
        "sweep": "blocks",
        "rows": [
            {"arm": "mono-forward", "sizes": [2, 4, 8], "least_s": [0.001, 0.002, 0.004], "macs": [20, 40, 80]}
            | {"exponents": exponents}
        ],
    }


RESULTS: dict[str, Any] = {
    "measured_at": "2026-01-02T03:04:05+00:00",
    "environment": {"processor": "P", "torch_threads": 1, "versions": {"torch": "2.9"}},
    "windows": 5,
    "load": [0.25, 1.5],
    "sweeps": [sweep()],
}


def test_an_exponent_is_fitted_at_the_large_end() -> None:
    from scaling import fitted

    sizes = (1, 10, 100, 1000)
    seconds = [[5.0, 5.0], [1.0, 2.0], [100.0, 200.0], [10000.0, 80000.0]]  # the first is left out; turns: 2, and 2.3
    made = fitted(sizes, seconds, [1, 10, 100, 1000])
    assert made["time"] == pytest.approx(2.0)
    assert made["macs"] == pytest.approx(1.0)
    assert made["noise"] == pytest.approx((2.30103 - 2.0) / 2, abs=1e-5)  # of fewer than four turns: half the range
    five = fitted(sizes, [[1.0] * 5, [1.0] * 5, [1.0] * 5, [1.0, 100.0, 10000.0, 1e6, 1e8]], [1, 10, 100, 1000])
    assert five["noise"] == pytest.approx((3.5 - 0.5) / 2)  # the turns give 0, 1, 2, 3, 4; quartiles .5 and 3.5


def test_what_grows_faster_than_its_multiply_adds_is_named() -> None:
    from bench_kit.scaling_page import faster_than_macs, part

    assert faster_than_macs(RESULTS) == []
    assert part(RESULTS).endswith("No rule grows faster than its multiply-adds by more than the noise.\n\n")
    within, beyond = copy.deepcopy(RESULTS), copy.deepcopy(RESULTS)
    within["sweeps"] = [sweep(1.04)]
    beyond["sweeps"] = [sweep(1.06)]
    assert faster_than_macs(within) == []
    assert faster_than_macs(beyond) == ["mono-forward over blocks: 1.06, multiply-adds 1.00, noise 0.05"]
    assert "- mono-forward over blocks: 1.06" in part(beyond)


def test_the_part_of_the_page_has_a_line_for_each_rule() -> None:
    from bench_kit.scaling_page import figure, part

    assert "| blocks | mono-forward | 2: 1 ms | 8: 4 ms | 1.00 | 1.00 | 0.05 |" in part(RESULTS).splitlines()
    drawn = figure(RESULTS)
    assert drawn.startswith("<svg")
    assert "ms a step" in drawn


def test_the_page_is_that_of_the_results() -> None:
    from bench_kit import scaling_page

    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    results = json.loads((ROOT / "benchmarks" / "results" / "scaling.json").read_text(encoding="utf-8"))
    assert f"{scaling_page.BEGIN}\n{scaling_page.part(results)}{scaling_page.END}" in text


def test_a_sweep_is_measured_whole() -> None:
    from scaling import Sweep, measured

    sizes = (2, 3, 4)
    made = measured(["backprop", "mono-forward:schedule=staged"], 2, 0.0, [Sweep("s", sizes, lambda d: (f"mlp:{d}x4", 8))])
    backprop, staged, update = made["sweeps"][0]["rows"]
    assert (backprop["arm"], staged["arm"]) == ("backprop", "mono-forward:schedule=staged")
    first, block, output = 784 * 4, 16, 40
    assert backprop["macs"] == [8 * (3 * (first + (d - 1) * block + output) - first) for d in sizes]
    assert staged["macs"] == [8 * (first + (d - 1) * block + block + 3 * output) for d in sizes]  # the last phase
    assert update["arm"] == "Adam's update alone"
    assert update["macs"] == [first + 4 + (d - 1) * (block + 4) + output + 10 for d in sizes]  # parameters
    assert all(seconds > 0 for row in (backprop, staged, update) for seconds in row["least_s"])


def test_windows_below_one_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    import scaling

    with pytest.raises(SystemExit):
        scaling.main(["--windows", "0"])
    assert "--windows must be at least 1, got 0" in capsys.readouterr().err
