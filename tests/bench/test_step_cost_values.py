"""What a step, a pass and a window cost: put together from parts that stand-ins give, every number by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bpfree import data
from bpfree.algorithms import Algorithm
from bpfree.bench import cost, cost_table, counting, parse_arms, pass_cost, step_time
from bpfree.bench import cost_windows as windows
from bpfree.bench.cost import NO_ORTHOGONALISATION, StepCost, auxiliary_bytes, step_cost, warm_up
from bpfree.bench.cost_table import ByFormula, cost_rows
from bpfree.bench.counting import LiveStep
from bpfree.bench.pass_cost import PassCost, pass_costs, reading_per_s, training_pass
from bpfree.bench.step_time import step_times
from bpfree.data import Batch
from bpfree.meter import FlopCountError, Meter
from bpfree.nets import build
from bpfree.records import Flops, Memory
from bpfree.train import initialise

ANY: Any = None
CACHED = "cascaded-forward:predictors=staged:cache_features=true"
LOADED = data.load("synthetic:n=300:inputs=20").without_test()
N_TRAIN, N_VALIDATION = LOADED.n("train"), LOADED.n("validation")


def costs(arm: str, spec: str = "mlp:16-12", loaded: data.Dataset = LOADED) -> StepCost:
    rule, net = parse_arms(arm)[0].build({}), build(spec, loaded.in_shape, 10)
    return step_cost(rule, net, initialise(rule, net, 0), loaded, 16)


def test_features_that_are_computed_once_cost_all_examples_their_blocks() -> None:
    """20 x 16 multiply-adds an example for the first phase, 16 x 12 more for the second; scores and gradients of 10 classes."""
    found = costs(CACHED)
    assert found.features_by_phase == (2 * N_TRAIN * 20 * 16, 2 * N_TRAIN * (20 * 16 + 16 * 12))
    assert found.by_phase == (2 * 2 * 16 * 16 * 10, 2 * 2 * 16 * 12 * 10)
    assert found.flops.train_step == (found.by_phase[0] + found.by_phase[1]) // 2
    assert found.memory.feature_cache == 4 * (16 + 12) * (N_TRAIN + N_VALIDATION), "of the phase that reads both blocks"
    assert (found.ends_by_phase, found.end_of_pass) == ((0, 0), None)
    plain = costs("backprop")
    assert (plain.features_by_phase, plain.memory.feature_cache, plain.ends_by_phase) == ((0,), 0, (0,))


def test_bytes_are_those_of_the_phase_that_needs_most(monkeypatch: pytest.MonkeyPatch) -> None:
    live = {0: LiveStep(100, 1000), 1: LiveStep(300, 700)}
    monkeypatch.setattr(cost, "live_step", lambda rule, net, state, given, phase: live[phase.index])
    monkeypatch.setattr(cost, "_evaluation_bytes", lambda *args: 5000)
    found = costs(CACHED)
    memory = found.memory
    assert (memory.gradients, memory.activations) == (100, 1000)
    lasting = sum(part or 0 for part in (memory.weights, memory.auxiliary, memory.optimiser, memory.feature_cache))
    assert lasting > 4 * (20 * 16 + 16 * 12)
    assert found.peak_bytes == lasting + 1100
    assert found.evaluation_peak_bytes == lasting + 5000
    assert [phase.index for phase in found.phases] == [0, 1]


def test_what_cannot_be_counted_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise FlopCountError("an odd operation has no formula")

    monkeypatch.setattr(cost, "evaluation_flops", refuse)
    found = costs("foton")
    why = "an odd operation has no formula"
    assert found.reasons == {"flops.train_step": why, "flops.evaluation": why, "flops.orthogonalisation": why}
    assert (found.flops.train_step, found.flops.evaluation, found.flops.orthogonalisation, found.by_phase) == (None,) * 3 + ((),)
    assert found.memory.weights
    assert costs("pepita", "mlp:1x4").reasons.get("flops.orthogonalisation") == why


def test_a_rule_that_has_no_orthogonalisation_says_so() -> None:
    assert costs("backprop").reasons == {"flops.orthogonalisation": NO_ORTHOGONALISATION}
    assert costs("foton").reasons == {}


def test_nothing_is_assumed_of_a_count() -> None:
    flops = Flops(train_step=1, evaluation=1, orthogonalisation=1, batch_size=1, method="x")
    memory = Memory(weights=1, auxiliary=1, gradients=1, optimiser=1, activations=1, method="x")
    assert StepCost(flops, memory, 0, {}).evaluation_peak_bytes == 0
    assert PassCost("a", "n", "p", "k", 1.0, None, 1, 1.0, False, None, None).examples == 0


def test_scalars_are_no_auxiliary_bytes() -> None:
    net = build("mlp:1x4", (3,), 2)
    moment, shared = torch.zeros(5), next(net.parameters())
    optimiser = SimpleNamespace(moments=lambda: [moment])
    state: Any = SimpleNamespace(
        parameters=lambda: [torch.zeros(2, 3), shared], buffers=lambda: [torch.zeros(()), torch.zeros(7), moment],
        optimisers=lambda: [optimiser],
    )  # fmt: skip
    assert auxiliary_bytes(net, state) == 4 * (6 + 7)


class Rule:
    """Notes what is called, on which nets, and in which mode they are."""

    def __init__(self) -> None:
        self.done: list[Any] = []

    def phases(self, net: Any) -> list[str]:
        return ["first", "second", "last"]

    def upkeep(self) -> list[Any]:
        return []

    def learn(self, net: Any, state: Any, batch: Any, phase: str) -> None:
        self.done.append(("learn", net.training, phase, batch.x.tolist()))

    def scores(self, net: Any, state: Any, x: Any, phase: str) -> Any:
        self.done.append(("scores", net.training, phase, x.tolist()))
        return x @ x.t()

    def close(self, net: Any, state: Any, phase: str) -> None:
        self.done.append(("close", net.training, phase))


BATCH = Batch(torch.tensor([[1.0, 2.0]]), torch.tensor([1]), torch.tensor(0))


def test_a_run_is_warmed_up_by_its_last_phase_and_its_scores() -> None:
    rule, net = Rule(), build("mlp:1x4", (2,), 2)
    loaded: Any = SimpleNamespace(batches=lambda split, size: iter([BATCH] if (split, size) == ("train", 9) else []))
    warm_up(rule, net, SimpleNamespace(), loaded, 9)  # type: ignore[arg-type]
    x = [[1.0, 2.0]]
    assert rule.done == [("learn", True, "last", x), ("scores", False, "last", x)]
    assert net.training


def test_the_bytes_of_scoring_are_those_of_one_batch_of_the_validation_split(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def evaluate(rule: Any, net: Any, state: Any, loaded: Any, split: str, phase: Any, *, choosing: bool) -> None:
        asked.append((split, phase, choosing, loaded.n("train"), loaded.n("validation"), "test" in loaded.splits))
        torch.zeros(1000, dtype=torch.float64)

    monkeypatch.setattr(cost, "evaluate", evaluate)
    many = data.load("synthetic:n=4000:inputs=2")
    assert many.n("validation") > 500
    assert cost._evaluation_bytes(Rule(), build("mlp:1x4", (2,), 2), SimpleNamespace(), many) == 8000  # type: ignore[arg-type]
    assert asked == [("validation", "last", True, 500, 500, False)]


def test_scores_and_features_are_counted_in_the_mode_of_scoring(monkeypatch: pytest.MonkeyPatch) -> None:
    rule, net = Rule(), build("mlp:1x4", (2,), 2)
    assert counting.evaluation_flops(rule, net, SimpleNamespace(), BATCH, "first") == 2 * 2  # type: ignore[arg-type]
    assert rule.done == [("scores", False, "first", [[1.0, 2.0]])]
    modes: list[Any] = []

    def features(net: Any, x: torch.Tensor, n_blocks: int) -> Any:
        modes.append((net.training, n_blocks))
        yield x @ x.t()

    monkeypatch.setattr(counting, "frozen_features", features)
    assert counting.features_flops(net, SimpleNamespace(), BATCH, 3) == 2 * 2  # type: ignore[arg-type]
    assert modes == [(False, 3)]
    assert net.training


def test_there_is_something_to_close_and_work_that_multiplies_nothing_is_no_error() -> None:
    net = build("mlp:1x4", (2,), 2)
    rule = Rule()
    assert counting.end_of_pass_flops(rule, net, SimpleNamespace(), BATCH, "first") is None  # type: ignore[arg-type]
    assert rule.done == [("learn", True, "first", [[1.0, 2.0]]), ("close", True, "first")]
    plain: Any = SimpleNamespace
    assert counting._upkeep_flops(plain(do=lambda *_: None), net, plain(), BATCH) == 0
    assert counting._upkeep_flops(plain(do=lambda net, state, batch: batch.x @ batch.x.t()), net, plain(), BATCH) == 4
    assert Algorithm.close is not Rule.close


def work(name: str, *, apart: bool, every: int | None = 4) -> Any:
    return SimpleNamespace(name=name, every=every, apart=apart)


def formula(monkeypatch: pytest.MonkeyPatch, works: list[Any], **changes: Any) -> ByFormula:
    """Of phases "one" and "two", which learn, and "idle", which does not; scoring and work apart are those of "last"."""

    def known(learn: float, peak: Any, **more: Any) -> Any:
        return SimpleNamespace(**({"learn": learn, "peak": peak, "close": None, "evaluation": None, "upkeep": {}} | more))

    by_name = {
        "one": known(100, (3, 10), close=7), "two": known(51, (1, 20), close=4.4), "idle": known(2, (90, 90)),
        "last": known(0, None, evaluation=9.6, upkeep={"a": 21.2, "b": 30.1}),
    } | changes  # fmt: skip
    monkeypatch.setattr(cost_table, "cost_of", lambda rule, net, n, phase: by_name[phase.name])
    phases: Any = [SimpleNamespace(name=name, learning=(0,) if name != "idle" else ()) for name in ("one", "two", "idle")]
    rule: Any = SimpleNamespace(
        upkeep=lambda: works, phases=lambda net: [*phases, SimpleNamespace(name="last", learning=())]
    )  # fmt: skip
    net: Any = SimpleNamespace(dtype=torch.float32)
    return cost_table._by_formula(rule, net, 16, phases)


def test_formulas_of_several_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of 100, 51 and 2; two ends of a pass; the moment of most numbers is that of the second phase, 1 and 20."""
    both = [work("a", apart=True), work("b", apart=True), work("c", apart=False, every=None)]
    assert formula(monkeypatch, both) == ByFormula(51, 10, 51, 11, gradients_bytes=4, activations_bytes=80)
    assert formula(monkeypatch, both[1:2]).orthogonalisation == 30
    assert formula(monkeypatch, [work("none", apart=True), both[0]]).orthogonalisation is None
    assert formula(monkeypatch, []).orthogonalisation is None
    unknown = formula(monkeypatch, both, two=None, last=None)
    assert unknown == ByFormula(None, None, None, 7, gradients_bytes=12, activations_bytes=40)
    assert formula(monkeypatch, [], one=None, two=None) == ByFormula(None, 10, None, None, None, None)


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
        assert made.allocator_bytes == (None if peak is None else 10**6 - 700 - 3 * 64 * 20 * 4)
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


def test_rows_of_a_table_are_told_as_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_table, "_row", lambda arm, spec, loaded, size: (arm.label, spec, size))
    heard: list[Any] = []
    made: Any = cost_rows(parse_arms("backprop,pepita"), ["a", "b"], LOADED, 16, heard.append)
    assert made == heard == [("backprop", "a", 16), ("pepita", "a", 16), ("backprop", "b", 16), ("pepita", "b", 16)]
