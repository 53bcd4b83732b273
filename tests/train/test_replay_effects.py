"""What changes beside the tensors of a step, or is called within it, is never lost by repeating its operations."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from bpfree import algorithms
from bpfree.algorithms import Algorithm, Phase, Upkeep, named_tensors, step
from bpfree.data import Batch
from bpfree.nets import Chain
from bpfree.train import replay
from bpfree.train.replay import Replay
from tests.train.test_replay import Counts, batches, clone, is_repeated, recording_of, started


@dataclass(frozen=True, kw_only=True)
class Sums(Counts):
    """Backprop that sums its output's bias in a tensor which nothing saves, or in a new one each time."""

    name: ClassVar[str] = "sums"
    in_place: ClassVar[bool] = True

    def init(self, net: Chain, generator: torch.Generator) -> Any:
        state = self.inner.init(net, generator)
        state.register_buffer("total", torch.zeros(10), persistent=not self.in_place)
        return state

    def learn(self, net: Chain, state: Any, batch: Batch, phase: Phase) -> Tensor:
        losses = self.inner.learn(net, state, batch, phase)
        if self.in_place:
            state.total.add_(net.output.bias)
        else:
            state.total = state.total + net.output.bias
        return losses


class Replaces(Sums):
    name: ClassVar[str] = "replaces"
    in_place: ClassVar[bool] = False


@pytest.mark.parametrize("kind", [Sums, Replaces])
def test_what_cannot_be_undone_or_is_put_elsewhere_is_not_repeated(kind: type[Sums]) -> None:
    rule, net, state = started(kind())
    _, twin, its_state = started(kind())
    steps, phase = Replay(rule, net, state), rule.phases(net)[0]
    for batch in [each for each in batches() if len(each.y) == 50]:
        steps(batch, phase)
        step(rule, twin, its_state, batch, phase)
    total: Any = state.total
    assert torch.equal(total, its_state.total)  # pyright: ignore[reportArgumentType]
    assert not is_repeated(steps)


def test_losses_of_any_layout_are_compared() -> None:
    """Bits of a view with gaps, or of one number for many, are those of its numbers."""

    class Spread(Counts):
        name: ClassVar[str] = "spread"

        def learn(self, net: Chain, state: Any, batch: Batch, phase: Phase) -> Tensor:
            losses = self.inner.learn(net, state, batch, phase)
            return torch.stack([losses[0], losses[0] * 2])[1:].expand(3)

    rule, net, state = started(Spread())
    steps, phase = Replay(rule, net, state), rule.phases(net)[0]
    for batch in [each for each in batches() if len(each.y) == 50]:
        assert steps(batch, phase).shape == (3,)
    assert is_repeated(steps)


def test_a_repetition_that_is_interrupted_leaves_no_half_step() -> None:
    rule, net, state = started("backprop")
    steps, phase = Replay(rule, net, state), rule.phases(net)[0]
    full = [each for each in batches() if len(each.y) == 50]
    for batch in full[:3]:
        steps(batch, phase)
    before = [tensor.clone() for _, tensor in named_tensors(net, state)]
    operations = recording_of(steps).operations
    interrupt = mock.Mock(side_effect=KeyboardInterrupt)
    object.__setattr__(operations, "calls", (*operations.calls, interrupt))
    with pytest.raises(KeyboardInterrupt):
        steps(full[3], phase)
    assert state.count.value == 4
    state.count.steps.sub_(1)  # the step that was begun is counted, as without repetition
    assert all(map(torch.equal, before, (tensor for _, tensor in named_tensors(net, state))))


def change_activation(net: Any, state: Any) -> None:
    net[0].activation = "tanh"


def transpose(net: Any, state: Any) -> None:
    net[1].linear.weight.data = net[1].linear.weight.data.t()


def change_momentum(net: Any, state: Any) -> None:
    for optimiser in state.optimisers():
        optimiser.momentum = 0.5


def change_one_decay(net: Any, state: Any) -> None:
    next(state.optimisers()).weight_decay.fill_(3.0)


def change_threshold(net: Any, state: Any) -> None:
    state.hyper.threshold.data.fill_(0.5)


@pytest.mark.parametrize(
    ("arm", "change"),
    [
        ("forward-forward", change_threshold),
        ("backprop", change_activation),
        ("backprop", transpose),
        ("backprop:optimiser=sgd", change_momentum),
        ("mono-forward:weight_decay=0.01", change_one_decay),
    ],
)
def test_settings_that_were_changed_between_passes_are_used(arm: str, change: Any) -> None:
    """As a callback may do: the same tensors at the same places, used otherwise."""

    def trained(*, repeated: bool) -> list[Tensor]:
        rule, net, state = started(arm)
        steps = Replay(rule, net, state)
        for number in range(2):
            steps.begin_pass()
            for batch in batches(1):
                if repeated:
                    steps(batch, rule.phases(net)[0])
                else:
                    step(rule, net, state, batch, rule.phases(net)[0])
            assert is_repeated(steps) is repeated
            if number == 0:
                change(net, state)
        return [tensor.clone() for _, tensor in named_tensors(net, state)]

    assert all(map(torch.equal, trained(repeated=True), trained(repeated=False)))


@dataclass(frozen=True, kw_only=True)
class Cools(Counts):
    """Forward-Forward whose temperature falls in every fourth step, written to where torch does not count it."""

    name: ClassVar[str] = "cools"
    inner: ClassVar[Algorithm[Any]] = algorithms.ForwardForward()
    by_work: ClassVar[bool] = True

    def init(self, net: Chain, generator: torch.Generator) -> Any:
        return self.inner.init(net, generator)

    def learn(self, net: Chain, state: Any, batch: Batch, phase: Phase) -> Tensor:
        return self.inner.learn(net, state, batch, phase)

    def upkeep(self) -> tuple[Upkeep[Any], ...]:
        return (Upkeep("cool", 4, self.cool),) if self.by_work else ()

    @staticmethod
    def cool(net: Chain, state: Any, batch: Batch | None = None) -> None:
        state.hyper.temperature.data.mul_(0.7)


class CooledBetween(Cools):
    name: ClassVar[str] = "cooled-between"
    by_work: ClassVar[bool] = False


@pytest.mark.parametrize("rule", [Cools(), CooledBetween()], ids=["by periodic work", "between steps"])
def test_hyper_parameters_that_change_within_a_pass_are_used(rule: Cools) -> None:
    _, net, state = started(rule)
    _, twin, its_state = started(rule)
    steps, phase = Replay(rule, net, state), rule.phases(net)[0]
    for number, batch in enumerate([each for each in batches(3) if len(each.y) == 50]):
        assert torch.equal(steps(batch, phase), step(rule, twin, its_state, batch, phase))
        if not rule.by_work and number % 4 == 0:
            for each in (state, its_state):
                each.hyper.temperature.mul_(0.7)  # pyright: ignore[reportCallIssue]
    assert is_repeated(steps)
    assert float(state.hyper.temperature) < 0.04  # of 0.1
    assert bool(len(recording_of(steps).operations.of_constants)) is not rule.by_work


def test_who_observes_gradients_sees_those_of_every_step() -> None:
    rule, net, state = started("backprop")
    observer = mock.Mock()
    next(state.optimisers()).observer = observer
    steps = Replay(rule, net, state)
    steps.begin_pass()
    for batch in batches():
        steps(batch, rule.phases(net)[0])
    assert observer.call_count == len(batches())


def test_hooks_and_modes_are_called_in_every_step() -> None:
    _, net, state = started("foton")
    assert not replay.is_watched(net, state)
    handle = net[0].register_forward_hook(lambda *_: None)
    assert replay.is_watched(net, state)
    handle.remove()
    with torch.overrides.BaseTorchFunctionMode():
        assert replay.is_watched(net, state)
    assert not replay.is_watched(net, state)


class CountsLong(Counts):
    """What it counts would change something long after the comparison."""

    name: ClassVar[str] = "counts-long"
    since: ClassVar[int] = 100


class Tosses(Counts):
    """An event that is rare, so that the comparison does not see it."""

    name: ClassVar[str] = "tosses"
    since: ClassVar[int] = 100
    draw: ClassVar[Any] = staticmethod(random.random)

    def learn(self, net: Chain, state: Any, batch: Batch, phase: Phase) -> Tensor:
        return self.inner.learn(net, state, batch, phase) * (2 if self.draw() > 1 else 1)


class TossesOfNumpy(Tosses):
    name: ClassVar[str] = "tosses-of-numpy"
    draw: ClassVar[Any] = staticmethod(np.random.random)


class Looks(Counts):
    name: ClassVar[str] = "looks"

    def learn(self, net: Chain, state: Any, batch: Batch, phase: Phase) -> Tensor:
        losses = self.inner.learn(net, state, batch, phase)
        return losses * 2 if losses.tolist()[0] > 1e6 else losses


@pytest.mark.parametrize("kind", [CountsLong, Tosses, TossesOfNumpy, Looks])
def test_what_python_may_decide_by_later_is_seen(kind: type[Counts]) -> None:
    rule, net, state = started(kind())
    steps, phase = Replay(rule, net, state), rule.phases(net)[0]
    for batch in [each for each in batches() if len(each.y) == 50]:
        steps(batch, phase)
    assert not is_repeated(steps)


def test_a_step_that_writes_to_its_batch_goes_on_doing_so() -> None:
    class Halves(Counts):
        name: ClassVar[str] = "halves"

        def learn(self, net: Chain, state: Any, batch: Batch, phase: Phase) -> Tensor:
            batch.x.mul_(0.5)
            return self.inner.learn(net, state, batch, phase)

    rule, net, state = started(Halves())
    steps, phase = Replay(rule, net, state), rule.phases(net)[0]
    for batch in [clone(each) for each in batches() if len(each.y) == 50]:
        before = batch.x.clone()
        steps(batch, phase)
        assert torch.equal(batch.x, before / 2)
