"""Watts of this machine, from records of earlier runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import bpfree
from bpfree.bench import RunDirectory, environment
from bpfree.bench.environment import write_environments
from bpfree.errors import RunDirectoryError
from bpfree.planning.power import metered_power
from bpfree.records import append_record
from tests.report.conftest import make_record

FACTS = environment.facts(torch.device("cpu"))


def written(directory: Path, watts: dict[tuple[str, str], float], *, processor: str = FACTS.processor) -> Path:
    """A run directory with a metered run of 10 s for each arm and net."""
    directory.mkdir(parents=True)
    there = FACTS.model_copy(update={"processor": processor})
    write_environments(RunDirectory(directory).environment_path, {environment.digest(there): there})
    for (arm, net), each in watts.items():
        made = make_record(arm, energy=True, net=net)
        changes = {"environment_digest": environment.digest(there), "time_s": 10.0}
        energy = made.energy.model_copy(update={"joules": 10.0 * each, "resolved": True, "method": "rapl"})
        append_record(RunDirectory(directory).records_path, made.model_copy(update=changes | {"energy": energy}))
    return directory


def test_the_nearest_runs_count(tmp_path: Path) -> None:
    """Of the same arm and net, else of the arm, else of all; watts are joules over seconds."""
    runs = {("backprop", "mlp:2x256"): 20.0, ("backprop", "mlp:3x100"): 30.0, ("mono-forward", "mlp:2x256"): 40.0}
    power = metered_power(written(tmp_path / "a", runs))
    assert power.of("backprop", "mlp:2x256") == (20.0, "20 W, from 1 metered run of backprop on mlp:2x256 (rapl)")
    assert power.of("backprop", "cnn3") == (25.0, "25 W, from 2 metered runs of backprop on other nets (rapl)")
    assert power.of("foton", "cnn3") == (30.0, "30 W, from 3 metered runs of other rules (rapl)")


def test_runs_of_another_machine_do_not_count(tmp_path: Path) -> None:
    watts, why = metered_power(written(tmp_path / "a", {("backprop", "mlp:2x256"): 20.0}, processor="another")).of(
        "foton", "cnn3"
    )
    assert watts is None
    assert "was metered on this machine" in why


def test_runs_are_looked_for_where_bpfree_puts_them(tmp_path: Path) -> None:
    assert metered_power(None).runs == ()
    written(tmp_path / "runs" / "2026-01-01-digits", {("backprop", "mlp:2x256"): 20.0})
    assert metered_power(None).of("foton", "cnn3")[0] == 20.0


def test_a_directory_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"holds no records\.jsonl"):
        metered_power(tmp_path)


def test_joules_are_watts_times_seconds(tmp_path: Path) -> None:
    place = written(tmp_path / "a", {("backprop", "mlp:2x256"): 20.0})
    options: dict[str, Any] = {"batch_size": 20, "max_passes": 2, "measured": place}
    (row,) = bpfree.plan(["backprop"], "mlp:1x4", "synthetic:n=100:inputs=6:classes=3", max_joules=1e-9, **options).rows
    assert row.prediction.joules == pytest.approx(20.0 * (row.prediction.run_s or 0.0))
    assert row.fits is False
    assert "joules" not in row.prediction.reasons
