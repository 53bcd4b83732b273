"""A measured run: its record is whole, honest about what is missing, and reads the test split once."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from bpfree import data, rulesets
from bpfree.algorithms import Algorithm, Backprop
from bpfree.bench import Arm, Setting, environment, measure
from bpfree.bench.measure import RunFailed
from bpfree.data import Dataset
from bpfree.meter import Meter, Missing, ReplaySource, carbon_factor
from bpfree.records import Record, TuningCost
from tests.patched import replace_learn


def setting(**changes: object) -> Setting:
    """Digits on a small net, three passes at most."""
    device = torch.device("cpu")
    rules = rulesets.load("quick").with_changes(max_passes=3)
    values = {
        "ruleset": rules, "data": data.load("digits"), "net": "mlp:2x16", "device": device, "meter": Meter(device),
        "factor": None, "plan": {}, "facts": environment.facts(device),
    }  # fmt: skip
    return Setting(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def record() -> Record:
    cost = TuningCost(joules=None, time_s=1.0, trials=8, passes=80, method=None)
    return measure(setting(), Arm.parse("mono-forward:schedule=staged"), {"lr": 1e-2}, 3, cost)


def test_it_says_what_was_run(record: Record) -> None:
    assert (record.arm, record.algorithm, record.variant) == (
        "mono-forward:schedule=staged", "mono-forward", "schedule=staged",
    )  # fmt: skip
    assert record.params["lr"] == 1e-2
    assert record.seed == 3
    assert record.ruleset_digest == rulesets.digest(rulesets.load("quick").with_changes(max_passes=3))
    assert record.n_params == 64 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10
    assert record.n_aux_params == 16 * 10
    assert record.maths == "closed"


def test_phases_share_the_cap_on_passes(record: Record) -> None:
    assert record.passes == 3
    assert [entry.phase for entry in record.history] == [0, 0, 1]


def test_what_is_not_measured_is_null_with_its_reason(record: Record) -> None:
    assert record.energy.joules is None
    assert record.co2e_g is None
    assert {"energy.joules", "energy.net_joules", "co2e_g", "flops.orthogonalisation"} <= set(record.reasons)


def test_flops_of_a_step_are_those_of_the_docstring() -> None:
    """n (2F + 3P) for joint Mono-Forward and n (3F − F₁) for backprop, two operations per multiply-add."""
    n, f1, f2, head = 64, 64 * 16, 16 * 16, 16 * 10
    joint = measure(setting(), Arm.parse("mono-forward"), {}, 0, None)
    assert joint.flops is not None
    assert joint.flops.train_step == 2 * n * (2 * (f1 + f2) + 3 * 2 * head)
    back = measure(setting(), Arm.parse("backprop"), {}, 0, None)
    assert back.flops is not None
    assert back.flops.train_step == 2 * n * (3 * (f1 + f2 + head) - f1)
    forward = measure(setting(), Arm.parse("forward-forward"), {}, 0, None)
    assert forward.flops is not None
    assert forward.flops.train_step == 2 * n * (4 * (f1 + f2) - 2 * f1)


def test_joules_become_grams_by_the_stated_factor() -> None:
    ticks = iter(range(10_000))
    meter = Meter("cpu", [ReplaySource([0.0, 1e6], [0.0, 2e6], clock=lambda: float(next(ticks)))])
    record = measure(setting(meter=meter, factor=carbon_factor("POL")), Arm.parse("backprop"), {}, 0, None)
    assert record.energy.joules is not None
    assert record.carbon.g_per_kwh is not None
    assert record.co2e_g == pytest.approx(record.energy.joules / 3.6e6 * record.carbon.g_per_kwh, rel=1e-12)
    assert record.history[0].joules is not None


def test_the_test_split_is_read_once_and_only_after_training(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = Dataset.batches

    def spy(self: Dataset, split: str, *args: object, **kwargs: object) -> object:
        read.append(split)
        return original(self, split, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Dataset, "batches", spy)
    measure(setting(), Arm.parse("backprop"), {}, 0, None)
    assert read.count("test") == 1
    assert "train" not in read[read.index("test") :]


def test_a_run_that_breaks_leaves_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {"n": 0}
    original = Backprop.learn

    def breaking(self: Algorithm, *args: object) -> torch.Tensor:
        calls["n"] += 1
        if calls["n"] > 30:
            raise RuntimeError("the device is on fire")
        return original(self, *args)  # type: ignore[arg-type]

    replace_learn(monkeypatch, Backprop, breaking)
    with pytest.raises(RunFailed) as failure:
        measure(setting(), Arm.parse("backprop"), {}, 0, None)
    record = failure.value.record
    assert record.status == "failed"
    assert "on fire" in record.reasons["status"]
    assert record.passes == 1
    assert record.time_s is not None
    assert record.test_accuracy is None


def test_no_name_of_host_or_user_enters(record: Record, tmp_path: Path) -> None:
    text = record.to_json() + str(environment.facts(torch.device("cpu")))
    assert platform.node() not in text or not platform.node()
    assert str(Path.home()) not in text
    assert str(tmp_path) not in text


def test_a_missing_source_gives_its_reason() -> None:
    meter = Meter("cpu", missing=[Missing("rapl", "no counter here", "another machine")])
    record = measure(setting(meter=meter), Arm.parse("backprop"), {}, 0, None)
    assert "no counter here" in record.reasons["energy.joules"]


def test_a_run_with_float64_as_torchs_default_is_the_same_run(record: Record) -> None:
    """The ruleset says float32, whatever the process has as its default."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        again = measure(setting(), Arm.parse("mono-forward:schedule=staged"), {"lr": 1e-2}, 3, None)
    finally:
        torch.set_default_dtype(before)
    assert [entry.val_accuracy for entry in again.history] == [entry.val_accuracy for entry in record.history]
    assert again.health == record.health


def test_the_record_says_how_the_net_ended(record: Record) -> None:
    assert len(record.health.dead_units) == len(record.health.block_accuracy) == 2
    assert 0 <= record.health.tied_scores[0] < 0.5 < record.health.block_accuracy[0]
