"""What using a model costs: every readout is measured, in turns; what cannot be measured is null with its reason."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from small_models import ARMS, IN_SHAPE, N_CLASSES, rule_of, trained

from bpfree.algorithms import names
from bpfree.errors import UsageError
from bpfree.meter import Meter, Missing, Reading, Repeated, ReplaySource
from bpfree.models import InferenceCost, Model, all_readouts, measure_inference, readout_of, readouts
from bpfree.models.inference import _cost

QUICK = {"repeats": 24, "window_s": 0.005, "n_windows": 2, "max_s": 20.0}
METER = Meter("cpu", missing=[Missing("rapl", "no counter here", "another machine")])


def of_power(watts: float, period_s: float = 1e-4) -> Meter:
    """A meter that sees constant power."""
    return Meter("cpu", [ReplaySource([0.0, 1e4], [0.0, watts * 1e4], period_s=period_s)])


@pytest.mark.parametrize("arm", ARMS)
def test_every_rule_and_readout_is_measured(arm: str) -> None:
    for cost in measure_inference({arm: trained(arm)}, METER, batch_sizes=(1, 5), **QUICK):
        assert cost.name == arm
        assert cost.n_calls == 24
        assert 0 < cost.latency_min_s <= cost.latency_p50_s <= (cost.latency_p95_s or 0)
        assert cost.images_per_s > 0
        assert cost.processor_p50_s > 0
        assert (cost.multiply_adds or 0) > 0
        assert (cost.live_bytes or 0) > 0


F1, F2, K = 12 * 9, 9 * 7, N_CLASSES
MULTIPLY_ADDS = {
    "backprop": F1 + F2 + 7 * K,
    "foton": F1 + F2 + 7 * K,
    "mono-forward": F1 + F2 + 7 * K,
    "mono-forward:readout=sum": F1 + F2 + 7 * K + 9 * K,
    "mono-forward:readout=best-prefix": F1 + F2 + 7 * K + 9 * K + 2 * K,
    "cascaded-forward": F1 + F2 + (9 + 7) * K,
    "cascaded-forward:combine=logits": F1 + F2 + (9 + 7) * K,
    "forward-forward": F1 + K * F2,
    "forward-forward:inference=head": F1 + F2 + 7 * K,
}


@pytest.mark.parametrize("arm", MULTIPLY_ADDS)
def test_multiply_adds_are_those_of_the_formula(arm: str) -> None:
    (cost,) = measure_inference({arm: trained(arm)}, METER, batch_sizes=(6,), **QUICK)
    assert cost.multiply_adds == MULTIPLY_ADDS[arm]


def test_joules_are_power_times_time_of_a_thousand_examples() -> None:
    options = QUICK | {"n_windows": 1, "window_s": 0.2}
    (cost,) = measure_inference({"m": trained("backprop")}, of_power(20.0), batch_sizes=(4,), **options)
    assert cost.joules_per_1000 == pytest.approx(20.0 * 1000 / cost.images_per_s, rel=0.2)  # edges of a real clock
    assert (cost.energy_method, cost.energy_scope) == ("replay", "machine")
    assert not {"joules_per_1000", "energy_method", "energy_scope"} & cost.reasons.keys()


def test_a_window_is_repeated_until_the_counter_resolves_it_or_the_time_is_up() -> None:
    model, options = {"m": trained("backprop")}, QUICK | {"n_windows": 1, "max_s": 0.5}
    (cost,) = measure_inference(model, of_power(20.0, period_s=0.01), batch_sizes=(4,), **options)
    assert cost.joules_per_1000 is not None  # although a window of 0.005 s was asked
    (cost,) = measure_inference(model, of_power(20.0, period_s=10.0), batch_sizes=(4,), **options)
    assert cost.joules_per_1000 is None
    assert "too short for the counters" in cost.reasons["joules_per_1000"]


def window(time_s: float, joules: float | None, n_calls: int, *, resolved: bool = True, method: str = "rapl") -> Repeated:
    return Repeated(Reading(time_s, joules, None, method, "package", measured=True, resolved=resolved), n_calls)


def test_each_number_is_a_median_and_joules_are_of_resolved_windows() -> None:
    """Skewed by hand, so that a mean, a neighbour of the median or an unresolved window would give another number."""
    timed = [(0.001, 0.5), (0.010, 0.1), (0.002, 0.2), (0.003, 0.3)]
    windows = [
        window(10.0, 40.0, 100),  # 0.1 s and 0.4 J a call
        window(9.0, 10.0, 10),  # 0.9 s and 1 J
        window(4.0, 1e6, 10, resolved=False, method="nvml"),  # 0.4 s, and joules that do not count
        window(6.0, 90.0, 10),  # 0.6 s and 9 J
    ]
    cost = _cost("m", 8, timed, windows, None)
    assert (cost.latency_min_s, cost.latency_p50_s, cost.processor_p50_s) == (0.001, 0.0025, 0.25)
    assert cost.images_per_s == pytest.approx(8 / 0.5)
    assert cost.joules_per_1000 == pytest.approx(1.0 * 1000 / 8)
    assert cost.energy_method == "rapl"


def nulls(cost: InferenceCost) -> set[str]:
    return {name for name, value in dataclasses.asdict(cost).items() if value is None}


def test_every_null_has_its_reason() -> None:
    (cost,) = measure_inference({"m": trained("backprop")}, METER, batch_sizes=(1,), **QUICK | {"repeats": 3})
    assert nulls(cost) == {"latency_p95_s", "joules_per_1000", "energy_method", "energy_scope"}
    assert nulls(cost) == cost.reasons.keys()
    assert "no counter here" in cost.reasons["joules_per_1000"]
    assert cost.reasons["latency_p95_s"].startswith("3 timed calls are too few")
    (cost,) = measure_inference({"m": trained("backprop")}, METER, batch_sizes=(1,), counted=False, **QUICK)
    assert nulls(cost) == {"joules_per_1000", "energy_method", "energy_scope", "multiply_adds", "live_bytes"}
    assert nulls(cost) == cost.reasons.keys()


def test_what_cannot_be_counted_is_null(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = Model.normalised_scores
    unknown = torch.zeros(3, 3)
    monkeypatch.setattr(Model, "normalised_scores", lambda self, x: scores(self, x) + torch.linalg.qr(unknown)[0][0, 0])
    (cost,) = measure_inference({"m": trained("backprop")}, METER, batch_sizes=(1,), **QUICK)
    assert cost.multiply_adds is None
    assert "multiplies matrices" in cost.reasons["multiply_adds"]


def test_models_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    scores = Model.normalised_scores

    def spy(self: Model, x: torch.Tensor) -> torch.Tensor:
        seen.append(self.algorithm.name)
        return scores(self, x)

    monkeypatch.setattr(Model, "normalised_scores", spy)
    arms = ("backprop", "mono-forward", "pepita")
    models = {arm: trained(arm) for arm in arms}
    measure_inference(models, METER, batch_sizes=(1,), counted=False, **QUICK)
    turns = [name for k, name in enumerate(seen) if k == 0 or seen[k - 1] != name]
    timed = turns[3:]  # after a first call of each
    assert timed[:5] == ["backprop", "mono-forward", "pepita", "mono-forward", "backprop"]  # the next turn runs backwards
    assert all(timed.count(arm) >= 3 for arm in arms)


def test_a_slow_model_is_timed_less_often() -> None:
    (cost,) = measure_inference({"m": trained("backprop")}, METER, batch_sizes=(1,), **QUICK | {"max_s": 1e-6, "window_s": 1e-6})
    assert cost.n_calls == 5  # one in each round


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_sizes": (0,)}, "batch size must be at least 1"),
        ({"repeats": 0}, "repeats must be"),
        ({"n_windows": 0}, "windows"),
    ],
    ids=["batch", "repeats", "windows"],
)
def test_wrong_numbers_are_refused(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        measure_inference({"m": trained("backprop")}, METER, **{**QUICK, **options})


def test_no_model_is_refused() -> None:
    with pytest.raises(UsageError, match="no model was given"):
        measure_inference({}, METER)


def test_a_batch_beyond_the_memory_is_refused() -> None:
    with pytest.raises(UsageError, match="choose a smaller one"):
        measure_inference({"m": trained("backprop")}, METER, batch_sizes=(10**15,), **QUICK)


def test_every_rule_says_how_it_is_read_out() -> None:
    said = {name: [readout_of(rule) for rule in readouts(rule_of(name))] for name in names()}
    assert said["mono-forward"] == ["readout=last", "readout=sum", "readout=best-prefix"]
    assert said["forward-forward"] == ["inference=goodness", "inference=head"]
    assert said["cascaded-forward"] == ["combine=probabilities", "combine=logits"]
    assert said["spatial-goodness"] == ["readout=sum", "readout=last"]  # its own first
    assert said["backprop"] == said["pepita"] == ["output"]


def test_a_readout_that_a_rule_refuses_is_left_out() -> None:
    hybrid = rule_of("forward-forward:negatives=hybrid:inference=head")
    assert readouts(hybrid) == (hybrid,)


@pytest.mark.parametrize(
    ("arm", "expected"),
    [
        ("mono-forward", ["readout=last", "readout=sum"]),
        ("mono-forward:readout=best-prefix", ["readout=best-prefix", "readout=last", "readout=sum"]),
        ("forward-forward", ["inference=goodness"]),
        ("forward-forward:inference=head", ["inference=head", "inference=goodness"]),
        ("cascaded-forward:combine=logits", ["combine=logits", "combine=probabilities"]),
        ("backprop", ["output"]),
    ],
)
def test_weights_serve_the_readouts_that_they_suffice_for(arm: str, expected: list[str]) -> None:
    model = trained(arm)
    x = torch.ones(2, *IN_SHAPE)
    served = all_readouts(model)
    assert [readout_of(each.algorithm) for each in served] == expected
    assert torch.equal(served[0].scores(x), model.scores(x))
    assert all(each.scores(x).shape == (2, N_CLASSES) for each in served)
