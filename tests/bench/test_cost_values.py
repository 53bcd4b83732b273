"""What a step costs on two tiny nets, every number of a row by hand: 63 inputs, 10 classes, a batch of 16.

Multiply-adds of mlp:1x4: forward 16 (63 x 4 + 4 x 10) = 4672, the gradients of the weights as many, the error of the hidden units
16 x 4 x 10 = 640. It has 63 x 4 + 4 + 4 x 10 + 10 = 306 parameters. mlp:6-4 has 63 x 6 + 6 x 4 + 4 x 10 = 442 weights, 462 with
their biases. A number has 4 bytes, and Adam keeps two for each.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bpfree import data
from bpfree.algorithms import registry
from bpfree.bench import cost_table, parse_arms, step_time
from bpfree.bench.cost import StepCost
from bpfree.bench.cost_table import UNKNOWN, ByFormula, CostRow, MemoryBytes, cost_rows, main_arms, ratios, step_macs
from bpfree.bench.counting import ApartCount
from bpfree.bench.pass_cost import PassCost, pass_costs
from bpfree.bench.step_time import StepTimes, step_times
from bpfree.errors import UsageError
from bpfree.meter import Meter
from bpfree.records import Flops, Memory

SMALL = data.load("synthetic:n=300:inputs=1x7x9").without_test()
NONE = "the rule has none"
NOTHING = "nothing that multiplies matrices closes a pass"


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], CostRow]:
    arms = parse_arms("backprop,foton,mono-forward:schedule=staged,cascaded-forward:predictor=ridge")
    heard: list[CostRow] = []
    made = cost_rows(arms, ["mlp:1x4", "mlp:6-4"], SMALL, 16, heard.append)
    assert heard == made
    assert [(row.net, row.arm) for row in made] == [(net, arm.label) for net in ("mlp:1x4", "mlp:6-4") for arm in arms]
    return {(row.arm, row.net): row for row in made}


def test_backprop(rows: dict[tuple[str, str], CostRow]) -> None:
    row = rows["backprop", "mlp:1x4"]
    step = 2 * 4672 + 640
    assert row == CostRow(
        arm="backprop", net="mlp:1x4", batch_size=16, n_parameters=306,
        memory=MemoryBytes(weights=4 * 306, auxiliary=0, optimiser=8 * 306, gradients=0, activations=row.memory.activations),
        step=step, by_phase=(step,), evaluation=4672, whole_step=float(step),
        by_formula=ByFormula(step, 4672, None, None, gradients_bytes=4 * 306, activations_bytes=4 * 16 * 4),
        reasons={
            "orthogonalisation": NONE, "orthogonalisation_per_step": NONE, "end_of_pass": NOTHING,
            "by_formula.orthogonalisation": UNKNOWN, "by_formula.end_of_pass": UNKNOWN,
        },
    )  # fmt: skip
    assert row.memory.peak == 4 * 306 + 8 * 306 + row.memory.activations
    assert row.as_json()["memory"] == vars(row.memory)
    assert MemoryBytes(1, 20, 300, 4000, 50000).peak == 54321


def test_orthogonalisation_is_beside_the_step(rows: dict[tuple[str, str], CostRow]) -> None:
    """Once in ten steps."""
    row = rows["foton", "mlp:1x4"]
    assert row.orthogonalisation is not None
    assert row.step is not None
    assert (row.orthogonalisation_per_step, row.whole_step) == (row.orthogonalisation / 10, row.step + row.orthogonalisation / 10)
    assert row.by_formula is not None
    assert (row.by_formula.orthogonalisation, row.by_formula.step) == (row.orthogonalisation, row.step)
    assert row.reasons == {"end_of_pass": NOTHING, "by_formula.end_of_pass": UNKNOWN}


def test_the_step_of_several_phases_is_their_mean(rows: dict[tuple[str, str], CostRow]) -> None:
    """First phase: 63 x 6 with a head of 6 x 10, forward and weights, and the error of 6 units. Second: 63 x 6 forward,
    6 x 4 and 4 x 10 forward and weights, and the error of 4 units.
    """
    row = rows["mono-forward:schedule=staged", "mlp:6-4"]
    first, second = 16 * (2 * (378 + 60) + 60), 16 * (378 + 2 * (24 + 40) + 40)
    assert (row.by_phase, row.step, row.evaluation) == ((first, second), (first + second) // 2, 16 * 442)
    assert row.by_formula is not None
    assert (row.by_formula.step, row.by_formula.evaluation) == (row.step, 16 * 442), "scored as after the last phase"
    assert row.memory is not None
    assert (row.n_parameters, row.memory.auxiliary) == (462, 4 * 60), "the head of the first block, without a bias"


def test_what_closes_a_pass(rows: dict[tuple[str, str], CostRow]) -> None:
    row = rows["cascaded-forward:predictor=ridge", "mlp:6-4"]
    assert row.end_of_pass is not None
    assert row.by_formula is not None
    assert row.by_formula.end_of_pass == pytest.approx(row.end_of_pass, abs=1)
    assert "end_of_pass" not in row.reasons


def counted(**changes: Any) -> StepCost:
    """A count of other numbers in every place."""
    flops = Flops(train_step=2000, evaluation=300, orthogonalisation=70, batch_size=16, method="x")
    memory = Memory(weights=1, auxiliary=2, gradients=3, optimiser=4, activations=5, method="x")
    made: dict[str, Any] = {
        "flops": flops, "memory": memory, "peak_bytes": 15, "reasons": {"flops.evaluation": "why", "other": "else"},
        "by_phase": (1001, 3000), "end_of_pass": 90, "apart": ApartCount("x", 5, 70),
    }  # fmt: skip
    return StepCost(**(made | changes))


def test_a_row_has_each_number_of_the_count_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two operations are one multiply-add; work apart is done every five steps."""
    monkeypatch.setattr(cost_table, "step_cost", lambda *args: counted())
    monkeypatch.setattr(cost_table, "_by_formula", lambda *args: ByFormula(1, None, 3, None, 5, 6))
    (row,) = cost_rows(parse_arms("backprop"), ["mlp:1x4"], SMALL, 16)
    assert row == CostRow(
        "backprop", "mlp:1x4", 16, 306, MemoryBytes(weights=1, auxiliary=2, optimiser=4, gradients=3, activations=5), step=1000,
        by_phase=(500, 1500), evaluation=150, orthogonalisation=35, orthogonalisation_per_step=7.0, whole_step=1007.0,
        end_of_pass=45, by_formula=ByFormula(1, None, 3, None, 5, 6),
        reasons={
            "evaluation": "why", "other": "else", "by_formula.evaluation": UNKNOWN, "by_formula.end_of_pass": UNKNOWN,
        },
    )  # fmt: skip
    nothing = Memory(weights=None, auxiliary=None, gradients=None, optimiser=None, activations=None, method="x")
    flops = Flops(train_step=None, evaluation=None, orthogonalisation=None, batch_size=16, method="x")
    reasons = {"flops.orthogonalisation": "none here"}
    empty = counted(flops=flops, memory=nothing, by_phase=(), end_of_pass=None, apart=None, reasons=reasons)
    monkeypatch.setattr(cost_table, "step_cost", lambda *args: empty)
    (row,) = cost_rows(parse_arms("backprop"), ["mlp:1x4"], SMALL, 16)
    assert row.memory == MemoryBytes(0, 0, 0, 0, 0)
    assert (row.step, row.by_phase, row.evaluation, row.whole_step, row.orthogonalisation_per_step) == (
        None,
        (),
        None,
        None,
        None,
    )
    assert row.reasons["orthogonalisation_per_step"] == row.reasons["orthogonalisation"] == "none here"
    assert row.reasons["end_of_pass"] == NOTHING


def test_ratios_are_to_backprop_on_the_same_net(rows: dict[tuple[str, str], CostRow]) -> None:
    chosen = [rows["foton", "mlp:6-4"], rows["backprop", "mlp:1x4"], rows["foton", "mlp:1x4"], rows["backprop", "mlp:6-4"]]
    sizes = {("backprop", "mlp:1x4"): 4.0, ("foton", "mlp:1x4"): 6.0, ("backprop", "mlp:6-4"): 8.0, ("foton", "mlp:6-4"): 2.0}
    assert list(ratios(chosen, lambda row: sizes[row.arm, row.net])) == [0.25, 1.0, 1.5, 1.0]
    assert list(ratios(chosen[:1], lambda row: 1.0)) == [None]
    assert list(ratios(chosen[1:3], lambda row: 0.0 if row.arm == "backprop" else 1.0)) == [None, None]
    assert list(ratios(chosen[1:3], lambda row: None if row.arm == "foton" else 1.0)) == [1.0, None]


def test_a_net_that_a_rule_cannot_train_is_a_row_with_its_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(rule: Any, net: Any) -> None:
        raise UsageError("not this net")

    monkeypatch.setattr("bpfree.bench.cost_table.check_net", refused)
    assert cost_rows(parse_arms("pepita"), ["mlp:1x4"], SMALL, 16) == [CostRow("pepita", "mlp:1x4", 16, refusal="not this net")]


def test_periodic_work_counts_by_its_share() -> None:
    def work(name: str, every: int | None, apart: bool = False) -> Any:
        return SimpleNamespace(name=name, every=every, apart=apart)

    rule: Any = SimpleNamespace(upkeep=lambda: [work("a", 4), work("b", 2), work("c", None), work("d", 3, apart=True)])

    def cost(**upkeep: float) -> Any:
        return SimpleNamespace(learn=100, upkeep=upkeep)

    assert step_macs(rule, cost(a=10, b=7, d=1000)) == round(100 + 2.5 + 3.5)
    assert step_macs(rule, cost(a=10)) is None
    assert step_macs(rule, None) is None
    assert step_macs(rule, SimpleNamespace(learn=None, upkeep={})) is None


def test_every_rule_is_listed_with_its_variants_and_the_baseline_first() -> None:
    arms = main_arms()
    assert arms[0] == "backprop"
    plain = [arm for arm in arms if ":" not in arm]
    assert plain == ["backprop", *sorted(name for name in registry() if name != "backprop")]
    for name, rule in registry().items():
        at = arms.index(name)
        assert arms[at + 1 : at + 1 + len(rule.variants)] == tuple(f"{name}:{variant}" for variant in rule.variants)


def test_the_baseline_is_first_whatever_the_name_of_another_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    variants = {"z": ("q", "p"), "a-rule": (), "backprop": ("v",)}
    rules = {name: SimpleNamespace(variants=each) for name, each in variants.items()}
    monkeypatch.setattr(cost_table, "registry", lambda: rules)
    assert main_arms() == ("backprop", "backprop:v", "a-rule", "z", "z:q", "z:p")


def test_steps_are_timed_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of backprop takes 1 s, of Mono-Forward 3 s, and each window a second longer than the one before."""
    clock, steps = [0.0], []

    def step(rule: Any, chain: Any, state: Any, batch: Any, phase: Any) -> None:
        steps.append((rule.name, len(batch.y)))
        clock[0] += (1.0 if rule.name == "backprop" else 3.0) + 0.1 * (len(steps) // 10)

    monkeypatch.setattr(step_time, "step", step)
    monkeypatch.setattr(step_time.time, "perf_counter", lambda: clock[0])
    made = step_times(parse_arms("backprop,mono-forward"), "mlp:1x4", SMALL, batch_size=100, steps=3, windows=2)
    names = [name for name, _ in steps]
    assert names == ["backprop", "mono-forward", *(["backprop"] * 3 + ["mono-forward"] * 3) * 2]
    assert {size for _, size in steps} == {100}, "210 examples are two full batches"
    assert [each.arm for each in made] == ["backprop", "mono-forward"]
    assert made[0].windows_s == pytest.approx((1.0, 1 + 0.1 * 2 / 3))  # steps 3 to 5 and 9 to 11
    assert made[1].windows_s == pytest.approx((3.0, 3.1))
    times = StepTimes("a", (5.0, 1.0, 2.0))
    assert (times.least_s, times.median_s) == (1.0, 2.0)


def test_passes_are_measured_by_kind_and_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first and the last phase, training before evaluation; each row has the share of a call."""
    asked: list[Any] = []

    def measured(meter: Any, call: Any, *, min_s: float, max_s: float) -> Any:
        call()
        asked.append((min_s, max_s))
        n = len(asked)
        reading = SimpleNamespace(
            time_s=10.0 * n, resolved=n == 1, method=f"m{n}", scope=f"s{n}", reasons={"energy.joules": f"r{n}"}
        )
        return SimpleNamespace(reading=reading, n_calls=2 * n, call_s=0.5 * n, call_j=None if n == 2 else 3.0 * n)

    from bpfree.bench import pass_cost

    monkeypatch.setattr(pass_cost, "measure_repeated", measured)
    heard: list[PassCost] = []
    made = pass_costs(
        parse_arms("mono-forward:schedule=staged"), "mlp:6-4-4", SMALL, Meter("cpu"), batch_size=70, min_s=2.0, max_s=3.0,
        on_row=heard.append,
    )  # fmt: skip
    assert heard == made
    assert asked == [(2.0, 3.0)] * 4
    assert [row.kind for row in made] == ["training", "evaluation"] * 2
    assert len({row.phase for row in made}) == 2
    assert made[1] == PassCost(
        "mono-forward:schedule=staged", "mlp:6-4-4", made[0].phase, "evaluation", 1.0, None, 4, 20.0, False, "m2", "s2",
        {"energy.joules": "r2"}, SMALL.n("validation"),
    )  # fmt: skip
    assert made[1].examples_per_s == SMALL.n("validation")  # in one second
    assert made[2].examples_per_s == SMALL.n("train") / 1.5
    assert (made[0].pass_j, made[0].resolved) == (3.0, True)
