"""Windows of steps and of passes: what is in them, and their share for one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bpfree import data
from bpfree.algorithms import MonoForward
from bpfree.bench import parse_arms
from bpfree.bench.cost_windows import CostWindow, cost_window, phase_names
from bpfree.errors import UsageError
from bpfree.meter import Meter, ReplaySource
from tests.patched import replace_learn

DATA = data.load("synthetic:n=300:inputs=6:classes=3").without_test()
STEP_S, WATTS, IDLE_W = 0.01, 20.0, 5.0


class Clock:
    """Seconds that pass only in steps, and the examples that these were given."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.seen: list[Tensor] = []
        self.first_weights: list[Tensor] = []

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A step takes 10 ms at 20 W, and leaves its batch full of zeros."""
    clock, learn = Clock(), MonoForward.learn

    def timed(self, net, state, batch, phase):
        clock.now_s += STEP_S
        clock.seen.append(batch.x.clone())
        clock.first_weights.append(next(net.parameters()).detach().clone())
        losses = learn(self, net, state, batch, phase)
        batch.x.zero_()
        return losses

    replace_learn(monkeypatch, MonoForward, timed)
    return clock


def measured(clock: Clock, kind: str, arm: str = "mono-forward", **options: object) -> CostWindow:
    source = ReplaySource([0.0, 1e6], [0.0, 1e6 * WATTS], period_s=0.001, clock=clock)
    meter = Meter("cpu", [source], clock=clock, idle_w={source.name: IDLE_W})
    chosen = {"batch_size": 32, "min_s": 0.5, "warm_up_s": 0.0, **options}
    return cost_window(parse_arms(arm)[0], "mlp:2x8", DATA, meter, kind=kind, **chosen)  # type: ignore[arg-type]


def test_a_step(clock: Clock) -> None:
    window = measured(clock, "step")
    assert window.n_steps == window.n_calls >= 50
    assert window.window_s == pytest.approx(STEP_S * window.n_calls)
    assert (window.call_s, window.call_j) == (pytest.approx(STEP_S), pytest.approx(WATTS * STEP_S))
    assert window.net_call_j == pytest.approx((WATTS - IDLE_W) * STEP_S)
    assert (window.arm, window.phase_index, window.n_phases, window.kind, window.batch_size) == ("mono-forward", 0, 1, "step", 32)
    assert window.resolved
    assert window.allocator_bytes is None
    assert "allocator" in window.reasons["allocator_bytes"]


def test_a_pass_reads_every_example_once(clock: Clock) -> None:
    window = measured(clock, "pass")
    n = DATA.n("train")
    assert window.n_steps == window.n_calls * math.ceil(n / 32)
    assert window.call_s == pytest.approx(STEP_S * math.ceil(n / 32))
    first = torch.cat(clock.seen[: math.ceil(n / 32)])
    assert len(first) == n == len(torch.unique(first, dim=0))


def test_steps_read_full_batches_that_no_step_has_written_into(clock: Clock) -> None:
    measured(clock, "step")
    n_full = DATA.n("train") // 32
    assert len(clock.seen) > 2 * n_full
    assert {len(x) for x in clock.seen} == {32}
    assert torch.equal(clock.seen[0], clock.seen[n_full])
    assert all(x.abs().sum() > 0 for x in clock.seen)


def test_every_window_starts_from_the_same_parameters(clock: Clock) -> None:
    measured(clock, "step", min_s=0.1)
    second = len(clock.seen)
    measured(clock, "step", min_s=0.1)
    starts = [k for k, weights in enumerate(clock.first_weights) if torch.equal(weights, clock.first_weights[0])]
    assert starts == [0, second]


def test_the_device_is_warmed_before_the_window(clock: Clock) -> None:
    window = measured(clock, "step", warm_up_s=0.3)
    assert len(clock.seen) == window.n_calls + 1 + 30


@pytest.mark.parametrize("index", [0, 1])
def test_phases_have_windows_of_their_own(clock: Clock, index: int) -> None:
    arm = "mono-forward:schedule=staged"
    assert phase_names(parse_arms(arm)[0], "mlp:2x8", DATA) == ["block 1 of 2", "block 2 of 2"]
    window = measured(clock, "step", arm, phase_index=index)
    assert (window.phase, window.phase_index, window.n_phases) == (f"block {index + 1} of 2", index, 2)
    assert not window.reads_features


def test_joules_that_were_not_measured_are_null_with_their_reason() -> None:
    arm = parse_arms("frozen")[0]
    window = cost_window(arm, "mlp:1x8", DATA, Meter("cpu"), batch_size=32, kind="pass", min_s=0.01, warm_up_s=0.0)
    assert window.call_s > 0
    assert window.joules is window.call_j is window.net_call_j is None
    assert window.reasons["energy.joules"]
    assert window.reads_features


def test_a_batch_beyond_the_training_split_is_refused(clock: Clock) -> None:
    for kind in ("step", "pass"):
        with pytest.raises(UsageError, match="batch size 4096 is larger than the training split"):
            measured(clock, kind, batch_size=4096)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", ["step", "pass"])
def test_on_a_board_joules_and_memory_are_measured(kind: str) -> None:
    meter = Meter.detect("cuda")
    images = data.load("synthetic:n=4000:inputs=3x32x32").without_test().augmented("crop-flip").to("cuda")
    window = cost_window(
        parse_arms("backprop")[0], "mlp:3x2000", images, meter, batch_size=128, kind=kind, min_s=2.5  # type: ignore[arg-type]
    )  # fmt: skip
    assert window.window_s >= 2.5
    assert window.resolved
    assert window.joules is not None and window.joules > 0
    n_params = 3072 * 2000 + 2 * 2000 * 2000
    assert window.allocator_bytes is not None and window.allocator_bytes > 4 * n_params
    assert window.device["clock_mhz"].mean > 0
