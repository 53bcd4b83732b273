"""What a step, a pass and a window cost: put together from parts that stand-ins give, every number by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bpfree import data
from bpfree.algorithms import Algorithm
from bpfree.bench import cost, cost_table, counting, parse_arms
from bpfree.bench.cost import NO_ORTHOGONALISATION, StepCost, auxiliary_bytes, step_cost, warm_up
from bpfree.bench.cost_table import ByFormula, cost_rows
from bpfree.bench.counting import LiveStep
from bpfree.bench.pass_cost import PassCost
from bpfree.data import Batch
from bpfree.meter import FlopCountError
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
    silent = SimpleNamespace(learn=0, peak=None, close=None, evaluation=None, upkeep={})
    assert formula(monkeypatch, [], last=silent).evaluation is None
    assert formula(monkeypatch, [], one=None, two=None) == ByFormula(None, 10, None, None, None, None)


def test_rows_of_a_table_are_told_as_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_table, "_row", lambda arm, spec, loaded, size: (arm.label, spec, size))
    heard: list[Any] = []
    made: Any = cost_rows(parse_arms("backprop,pepita"), ["a", "b"], LOADED, 16, heard.append)
    assert made == heard == [("backprop", "a", 16), ("pepita", "a", 16), ("backprop", "b", 16), ("pepita", "b", 16)]
