"""Training alone and evaluation alone, from windows of repeated passes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from bpfree import data
from bpfree.algorithms import Algorithm, MonoForward
from bpfree.bench import parse_arms
from bpfree.bench.pass_cost import pass_costs, reading_per_s
from bpfree.cli import run
from bpfree.meter import Meter, ReplaySource
from tests.patched import replace_learn

DIGITS = data.load("digits").without_test()


class Clock:
    """Seconds that pass only in steps and scorings."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A step takes 10 ms and a scoring 50 ms, at 20 W."""
    clock = Clock()

    def taking(seconds: float, call: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def timed(*args: object) -> torch.Tensor:
            clock.now_s += seconds
            return call(*args)

        return timed

    replace_learn(monkeypatch, MonoForward, taking(0.01, MonoForward.learn))
    monkeypatch.setattr(MonoForward, "scores", taking(0.05, MonoForward.scores))
    return clock


def metered(clock: Clock, period_s: float) -> Meter:
    source = ReplaySource([0.0, 1e6], [0.0, 2e7], period_s=period_s, clock=clock)
    return Meter("cpu", [source], clock=clock, sleep=lambda _: None)


@pytest.mark.parametrize("period_s", [0.001, 0.5])
def test_windows_are_repeated_until_the_counter_resolves_them(clock: Clock, period_s: float) -> None:
    training, evaluation = pass_costs(
        parse_arms("mono-forward"), "mlp:1x16", DIGITS, metered(clock, period_s), batch_size=128, min_s=0.3
    )
    n_steps, n_scorings = -(-DIGITS.n("train") // 128), -(-DIGITS.n("validation") // 1000)
    assert (training.kind, evaluation.kind) == ("training", "evaluation")
    assert training.pass_s == pytest.approx(0.01 * n_steps)
    assert training.pass_j == pytest.approx(0.2 * n_steps)
    assert evaluation.pass_s == pytest.approx(0.05 * n_scorings)
    for row in (training, evaluation):
        assert row.resolved
        assert row.window_s >= max(0.3, 20 * period_s)
        assert row.n_passes > 1


def test_reading_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is a second: the first batch comes after one, the pass of several batches after more."""
    now = itertools.count(0.0)
    monkeypatch.setattr("bpfree.bench.pass_cost.time", SimpleNamespace(perf_counter=lambda: next(now)))
    n = DIGITS.n("train")
    assert reading_per_s(DIGITS, 128, least_s=1.0) == 128 / 2.0
    assert reading_per_s(DIGITS, 128, least_s=2.0) == 256 / 3.0
    n_batches = DIGITS.n_batches("train", 128)
    assert reading_per_s(DIGITS, 128, least_s=1e9) == n / (n_batches + 1.0)


def test_a_window_that_may_not_last_long_enough_says_that_it_is_not_resolved(clock: Clock) -> None:
    training, _ = pass_costs(
        parse_arms("mono-forward"), "mlp:1x16", DIGITS, metered(clock, 1.0), batch_size=128, min_s=0.3, max_s=2.0
    )
    assert training.pass_j is not None
    assert not training.resolved


def test_every_phase_that_differs_is_measured_and_nothing_is_a_reason_for_0() -> None:
    rows = pass_costs(parse_arms("mono-forward:schedule=staged"), "mlp:2x16", DIGITS, Meter("cpu"), batch_size=128, min_s=0.01)
    kinds = ("training", "evaluation")
    assert [(row.phase, row.kind) for row in rows] == [(f"block {k} of 2", kind) for k in (1, 2) for kind in kinds]
    for row in rows:
        assert row.pass_j is None
        assert row.reasons["energy.joules"]
        assert not row.resolved


def test_a_training_pass_holds_no_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def spied(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def called(self: Algorithm, *args: object) -> object:
            seen.append(name)
            return call(self, *args)

        return called

    replace_learn(monkeypatch, MonoForward, spied("learn", MonoForward.learn))
    monkeypatch.setattr(MonoForward, "scores", spied("scores", MonoForward.scores))
    pass_costs(
        parse_arms("mono-forward"), "mlp:1x16", DIGITS, Meter("cpu"), batch_size=128, min_s=0.01,
        on_row=lambda row: seen.append(row.kind),
    )  # fmt: skip
    at = seen.index("training")
    assert set(seen[:at]) == {"learn"}
    assert set(seen[at + 1 : -1]) == {"scores"}


def test_the_command_prints_both_and_names_an_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["measure", "training", "--arms", "backprop", "--net", "mlp:1x16", "--seconds", "0.1"]
    assert run([*arguments, "--json", "--estimate-energy"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["kind"] for row in rows] == ["training", "evaluation"]
    if rows[0]["method"] == "estimate":
        assert "estimate" in rows[0]["scope"]
    assert run(arguments) == 0
    assert "digits, mlp:1x16, batch 128: one pass" in capsys.readouterr().out
    assert run([*arguments, "--batch-size", "0"]) == 2
