"""Data-parallel training in processes is training in one, but for rounding; checked in float64."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.parallel.cases import run_ranks, trained

QUICK = (
    "mono-forward@mlp:3x24",
    "backprop@mlp:1x1500",
    "forward-forward:inference=head:peer_normalisation=0.03@mlp:2x24",
    "cascaded-forward:predictor=ridge@mlp:2x24",
    "frozen@mlp:2x24",
    "foton:dropout=0.1@mlp:2x24",
)
"""A small and a large net; a mean that is added up within a step; sums that a pass closes; cached features; periodic work."""

MORE = (
    "mono-forward:schedule=staged:readout=best-prefix@mlp:2x24",
    "cascaded-forward:cache_features=true@mlp:2x24",
    "cascaded-forward:blocks=dfa:block_passes=2@mlp:2x24",
    "pepita:mirroring=true:premirror_steps=2@mlp:2x24",
    "spatial-goodness@pepita-conv:3",
)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick cases, trained in two ranks."""
    out = tmp_path_factory.mktemp("rows")
    for ended in run_ranks(2, out, QUICK, kind="data"):
        assert ended.returncode == 0, ended.stderr
    return out


@pytest.mark.parametrize("case", QUICK)
def test_two_ranks_train_as_one_process(case: str, two_ranks: Path) -> None:
    """Two passes, whose last batch has one example; net, state, losses and validation."""
    _as_in_one_process(case, two_ranks)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_more_rules_in_more_ranks(size: int, tmp_path: Path) -> None:
    cases = QUICK + MORE
    for ended in run_ranks(size, tmp_path, cases, timeout_s=280, kind="data"):
        assert ended.returncode == 0, ended.stderr
    for case in cases:
        _as_in_one_process(case, tmp_path)


MESH = (
    "mono-forward@mlp:3x24",
    "forward-forward:inference=head:peer_normalisation=0.03@mlp:2x24",
    "cascaded-forward:predictor=ridge@mlp:2x24",
    "blockwise:reach=2@mlp:4x24",
)


@pytest.mark.slow
def test_layers_and_rows_in_four_ranks(tmp_path: Path) -> None:
    """Two pipelines of two, each on its rows."""
    for ended in run_ranks(4, tmp_path, MESH, timeout_s=280, kind="layers,data"):
        assert ended.returncode == 0, ended.stderr
    for case in MESH:
        _as_in_one_process(case, tmp_path)


def _as_in_one_process(case: str, out: Path) -> None:
    tensors, history = trained(case, kind="data")
    path = out / f"{case.replace(':', '+')}.safetensors"
    together = load_file(path)
    assert together.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert together[name].dtype == tensor.dtype
        assert float((together[name] - tensor).abs().max()) < 1e-6, name
    of_ranks = json.loads(path.with_suffix(".json").read_text())
    assert len(of_ranks) == len(history)
    for mine, one in zip(of_ranks, history, strict=True):
        assert mine == pytest.approx(one, rel=1e-6)
        assert mine[1] == one[1]  # counts of examples
    assert any(tensor.any() for name, tensor in tensors.items() if "projection" in name or "weight" in name)
