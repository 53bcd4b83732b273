"""benchmarks/analyses.py counts a training step with what is due at every k-th, as docs/foton.md says."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from bpfree import data


def test_upkeep_is_counted_by_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backprop by hand; of FOTON the difference of two intervals is the orthogonalisation's share."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    step_macs = importlib.import_module("analyses").step_macs
    loaded = data.load("synthetic:n=40:inputs=6:classes=3").without_test()
    n, first, second, output = 8, 6 * 5, 5 * 4, 4 * 3
    assert step_macs("backprop", "mlp:5-4", loaded, n) == n * (3 * (first + second + output) - first)
    of_k = {k: step_macs(f"foton:orthogonalise_every={k}", "mlp:5-4", loaded, n) for k in (1, 2, 10)}
    assert of_k[1] > of_k[2] > of_k[10] > 0
    assert (of_k[1] - of_k[10]) / (of_k[1] - of_k[2]) == pytest.approx(0.9 / 0.5)
