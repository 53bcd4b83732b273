"""Windows of steps and of passes, and batches that are read alone: in which order, how long, and their share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bpfree import data
from bpfree.bench import cost_windows as windows
from bpfree.bench import parse_arms, pass_cost, step_time
from bpfree.bench.pass_cost import pass_costs, reading_per_s, training_pass
from bpfree.bench.step_time import step_times
from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.meter import Meter
from bpfree.nets import build
from bpfree.train import initialise

ANY: Any = None
LOADED = data.load("synthetic:n=300:inputs=20").without_test()
N_TRAIN, N_VALIDATION = LOADED.n("train"), LOADED.n("validation")
BATCH = Batch(torch.tensor([[1.0, 2.0]]), torch.tensor([1]), torch.tensor(0))


def test_windows_of_steps_and_what_is_asked_of_the_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three full batches of 64 x 20 numbers are ready and held; 700 bytes were held before."""
    asked: list[Any] = []
    reset: list[Any] = []
    seeds: list[int] = []
    plain = windows.initialise

    def initialised(rule: Any, net: Any, seed: int, device: Any) -> Any:
        seeds.append(seed)
        return plain(rule, net, seed, device)

    def measured(meter: Any, call: Any, **options: Any) -> Any:
        asked.append(options | {"reset": len(reset), "steps": len(steps)})
        reading = SimpleNamespace(
            reasons={"energy.joules": "no"}, time_s=8.0, joules=None, net_joules=None, resolved=False, method="m", scope="s"
        )
        return SimpleNamespace(reading=reading, n_calls=4, trace=SimpleNamespace(samples="samples"))

    steps: list[Any] = []

    def step(rule: Any, net: Any, state: Any, batch: Any, phase: Any) -> None:
        steps.append((net.training, len(batch.y)))

    monkeypatch.setattr(windows, "initialise", initialised)
    monkeypatch.setattr(windows, "measure_repeated", measured)
    monkeypatch.setattr(windows, "step", step)
    monkeypatch.setattr(windows, "reset_device_peak", lambda device: reset.append(str(device)))
    monkeypatch.setattr(windows, "_allocated_bytes", lambda device: 700)
    monkeypatch.setattr(windows, "spread", lambda samples, name: f"{samples} of {name}" if "_" in name else None)
    arm = parse_arms("backprop")[0]
    for peak, reason in ((10**6, None), (None, None), (None, "why")):
        told = SimpleNamespace(allocated_bytes=peak, reason=reason)
        monkeypatch.setattr(windows, "device_peak", lambda device, told=told: told)
        made = windows.cost_window(arm, "mlp:1x4", LOADED, Meter("cpu"), batch_size=64, kind="step")
        # the last batch, which is smaller, was made with the full ones, in the same memory
        assert made.allocator_bytes == (None if peak is None else 10**6 - 700 - N_TRAIN * 20 * 4)
        assert made.reasons.get("allocator_bytes") == (None if peak else reason or "not known")
    assert N_TRAIN // 64 == 3
    assert asked[0] == {"min_s": 10.0, "max_s": 60.0, "warm_up": 1, "warm_up_s": 0.5, "reset": 1, "steps": 1}
    assert (reset, seeds, steps[0]) == (["cpu"] * 3, [0] * 3, (True, 64))
    assert made.device == {f"{name}": f"samples of {name}" for name in ("clock_mhz", "power_w", "temperature_c")}
    assert (made.call_s, made.call_j, made.net_call_j, made.n_steps) == (2.0, None, None, 4)
    made = windows.cost_window(arm, "mlp:1x4", LOADED, Meter("cpu"), batch_size=64, kind="pass")
    assert made.n_steps == 4 * 4, "210 examples are four batches"


def test_memory_that_is_allocated_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 77)
    assert (windows._allocated_bytes(torch.device("cpu")), windows._allocated_bytes(torch.device("cuda"))) == (0, 77)


def test_each_call_is_the_next_pass_and_the_first_step_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []

    def batches(split: str, size: int, *, pass_index: int, seed: int) -> Any:
        done.append((split, size, pass_index, seed))
        return ["batch one", "batch two"]

    monkeypatch.setattr(pass_cost, "step", lambda rule, net, state, batch, phase: done.append((batch, phase)))
    rule: Any = SimpleNamespace(close=lambda net, state, phase: done.append(("close", phase)))
    loaded: Any = SimpleNamespace(batches=batches)
    one_pass = training_pass(rule, ANY, ANY, loaded, "phase", 32)  # type: ignore[arg-type]
    one_pass()
    one_pass()
    whole = [("batch one", "phase"), ("batch two", "phase"), ("close", "phase")]
    assert done == [("train", 32, 0, 0), *whole, ("train", 32, 1, 0), *whole]

    asked: list[Any] = []
    plain = pass_cost.training_pass

    def noted(rule: Any, net: Any, state: Any, *rest: Any) -> Any:
        asked.append((state.count.value, torch.equal(next(net.parameters()), reference)))
        return plain(rule, net, state, *rest)

    def measured(meter: Any, call: Any, **options: Any) -> Any:
        asked.append(options)
        reading = SimpleNamespace(time_s=1.0, resolved=True, method="m", scope="s", reasons={})
        return SimpleNamespace(reading=reading, n_calls=1, call_s=1.0, call_j=None)

    arm, spec = parse_arms("backprop")[0], "mlp:1x4"
    net, rule = build(spec, (20,), 10), arm.build({})
    initialise(rule, net, 0)
    reference = next(net.parameters())
    monkeypatch.setattr(pass_cost, "training_pass", noted)
    monkeypatch.setattr(pass_cost, "measure_repeated", measured)
    pass_costs([arm], spec, LOADED, Meter("cpu"), batch_size=64)
    assert asked == [(1, True), *[{"min_s": 1.0, "max_s": 60.0}] * 2]


def test_windows_of_step_times_begin_and_end_with_a_device_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first phase of each arm, every arm from the same seed, on batches of the pass after pass."""
    done: list[Any] = []
    monkeypatch.setattr(step_time, "synchronise", lambda device: done.append("wait"))
    monkeypatch.setattr(
        step_time, "step", lambda rule, chain, state, batch, phase: done.append((rule.name, chain.training, phase.index))
    )
    monkeypatch.setattr(step_time, "initialise", lambda rule, chain, seed, device: done.append(seed))
    arms = parse_arms("backprop,mono-forward:schedule=staged")
    step_times(arms, "mlp:2x4", LOADED, batch_size=64, steps=2, windows=1)
    one, other = ("backprop", True, 0), ("mono-forward", True, 0)
    assert done == [0, one, 0, other, "wait", one, one, "wait", "wait", other, other, "wait"]
    done.clear()
    made = step_times(arms[:1], "mlp:1x4", LOADED)
    assert len(made[0].windows_s) == 7
    assert done.count(one) == 1 + 7 * 100
    passes: list[Any] = []

    def batches(split: str, size: int, *, pass_index: int) -> Any:
        passes.append((split, size, pass_index))
        return [SimpleNamespace(y=range(size)), SimpleNamespace(y=range(size - 1))]

    endless = step_time._endless(SimpleNamespace(batches=batches), 5)  # type: ignore[arg-type]
    assert [len(next(endless).y) for _ in range(3)] == [5, 5, 5]
    assert passes == [("train", 5, 0), ("train", 5, 1), ("train", 5, 2)]
    assert reading_per_s.__kwdefaults__ == {"least_s": 0.5}
    assert step_times.__kwdefaults__ == {"batch_size": 128, "steps": 100, "windows": 7}


def test_a_rule_that_cannot_train_the_net_is_refused_before_it_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(rule: Any, net: Any) -> None:
        raise UsageError("not this net")

    arm = parse_arms("backprop")[0]
    for module in (windows, pass_cost):
        monkeypatch.setattr(module, "check_net", refuse)
        monkeypatch.setattr(module, "initialise", lambda *_: pytest.fail("it was made ready"))
    meter = Meter("cpu")
    for call in (
        lambda: windows.phase_names(arm, "mlp:1x4", LOADED),
        lambda: windows.cost_window(arm, "mlp:1x4", LOADED, meter, batch_size=64, kind="step"),
        lambda: pass_costs([arm], "mlp:1x4", LOADED, meter, batch_size=64),
    ):
        with pytest.raises(UsageError, match="not this net"):
            call()


def test_reading_on_a_gpu_ends_when_the_gpu_has_read(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append(device.type))
    for device in ("cpu", "cuda"):
        loaded: Any = SimpleNamespace(batches=lambda split, size: [BATCH], device=torch.device(device))
        assert reading_per_s(loaded, 1) > 0
    assert waited == ["cuda"]
