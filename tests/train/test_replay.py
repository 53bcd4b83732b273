"""Steps that are repeated from a list are the rule's steps, bit for bit; where they might not be, they are made as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar
from unittest import mock

import pytest
import torch
from torch import Tensor

from bpfree import algorithms, data, nets
from bpfree.algorithms import Algorithm, MonoForward, Phase, State, named_tensors, step
from bpfree.bench.arm import Arm
from bpfree.data import Batch
from bpfree.meter import count_flops, live_memory
from bpfree.nets import Chain
from bpfree.testing.bench import blobs
from bpfree.train import STEPS_BEFORE_REPETITION, Patience, can_replay, initialise, replay, stepper, training
from bpfree.train.replay import Replay

MORE = (
    *("backprop:optimiser=sgd", "mono-forward:optimiser=sgd:weight_decay=0.01", "mono-forward:weight_decay=0.01"),
    *("mono-forward:raw_projection=true", "mono-forward:readout=best-prefix", "forward-forward:negatives=hybrid:inference=head"),
    *("forward-forward:optimiser=sgd", "pepita:optimiser=sgd"),
)


def arms() -> Iterator[str]:
    """Every rule, its variants, and settings that take other operations."""
    for name in algorithms.names():
        yield name
        yield from (f"{name}:{variant}" for variant in algorithms.rule_class(name).variants)
    yield from MORE


NOT_REPEATED = {"cascaded-forward:predictor=ridge": "it counts its batches in Python, in its one pass"}
NO_DENSE_NETS = ("spatial-goodness",)


def started(arm: str | Algorithm[Any], net: str = "mlp:3x16") -> tuple[Algorithm[Any], Chain, State]:
    rule = Arm.parse(arm).build({}) if isinstance(arm, str) else arm
    built = nets.build(net, (1, 8, 8), 10)
    return rule, built, initialise(rule, built, 0, "cpu")


def batches(n_passes: int = 2) -> list[Batch]:
    """Five full batches and a smaller one, in each pass in another order."""
    digits = data.load("digits")
    few = {name: data.Examples(each.x[:270], each.y[:270]) for name, each in digits.splits.items()}
    digits = dataclasses.replace(digits, splits=few)
    return [each for k in range(n_passes) for each in digits.batches("train", 50, pass_index=k)]


@pytest.mark.parametrize("arm", [each for each in arms() if each.split(":")[0] not in NO_DENSE_NETS])
def test_repeated_steps_have_the_bits_of_steps(arm: str) -> None:
    rule, net, state = started(arm)
    _, twin, its_state = started(arm)
    assert can_replay(rule, net)
    for phase in rule.phases(net):
        repeated = Replay(rule, net, state)
        for k, batch in enumerate(batches()):
            if k == 7:
                state.scale_lr(0.5)
                its_state.scale_lr(0.5)
            expected = step(rule, twin, its_state, clone(batch), phase)
            given = repeated(batch, phase)
            assert torch.equal(given, expected), f"losses of step {k}"
        for (name, ours), (_, theirs) in zip(named_tensors(net, state), named_tensors(twin, its_state), strict=True):
            assert torch.equal(ours, theirs), name
        assert is_repeated(repeated) is (arm not in NOT_REPEATED)
        rule.close(net, state, phase)
        rule.close(twin, its_state, phase)


def clone(batch: Batch) -> Batch:
    return Batch(batch.x.clone(), batch.y, batch.key, batch.weight)


def is_repeated(steps: Replay) -> bool:
    return any(each is not None and each.compared for each in steps._recordings.values())


def recording_of(steps: Replay) -> Any:
    """The only one."""
    (recording,) = steps._recordings.values()
    assert recording is not None
    return recording


def test_steps_are_repeated_from_the_fifth_on() -> None:
    rule, net, state = started("mono-forward")
    steps, calls = Replay(rule, net, state), []
    with mock.patch.object(MonoForward, "block_step", autospec=True, side_effect=MonoForward.block_step) as made:
        for batch in [each for each in batches() if len(each.y) == 50][:7]:
            steps(batch, rule.phases(net)[0])
            calls.append(made.call_count)
    assert STEPS_BEFORE_REPETITION == 4
    assert calls == [2, 4, 6, 8, 8, 8, 8]  # two blocks, and the last one by another method


@pytest.mark.parametrize("arm", ["backprop", "mono-forward", "forward-forward"])
def test_the_last_batch_of_a_pass_is_repeated_too(arm: str) -> None:
    """It is smaller, and comes once in a pass; batches of a third size are not."""
    rule, net, state = started(arm)
    _, twin, its_state = started(arm)
    steps, phase = Replay(rule, net, state), rule.phases(net)[0]
    for number, batch in enumerate(batches(8)):
        steps.begin_pass() if number % 6 == 0 else None
        assert torch.equal(steps(clone(batch), phase), step(rule, twin, its_state, batch, phase))
    sizes = [kind[1][0] for kind, recording in steps._recordings.items() if recording is not None and recording.compared]
    assert sizes == [50, 20]
    assert [ready.kind[1][0] for ready in steps._ready] == [50, 20]
    for batch in batches(6):
        few = Batch(batch.x[:10], batch.y[:10], batch.key)
        assert torch.equal(steps(few, phase), step(rule, twin, its_state, clone(few), phase))
    assert len(steps._recordings) == 2
    assert all(map(torch.equal, net.parameters(), twin.parameters()))


def test_the_last_batch_is_not_recorded_where_a_step_needs_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for n_bytes, sizes in ((2**20, [50, 20]), (1000, [50])):
        monkeypatch.setattr(replay, "_SECOND_BYTES", n_bytes)
        rule, net, state = started("backprop")
        steps = Replay(rule, net, state)
        for batch in batches(5):
            steps(batch, rule.phases(net)[0])
        assert [kind[1][0] for kind in steps._recordings] == sizes


@pytest.mark.parametrize("arm", ["backprop", "mono-forward", "forward-forward", "foton", "frozen"])
def test_a_recording_serves_all_passes(arm: str) -> None:
    rule, net, state = started(arm)
    steps, recordings = Replay(rule, net, state), []
    for _ in range(3):
        steps.begin_pass()
        for batch in [each for each in batches(1) if len(each.y) == 50]:
            steps(batch, rule.phases(net)[0])
        state.scale_lr(0.5)
        recordings.append(recording_of(steps))
    assert is_repeated(steps)
    assert recordings == [recordings[0]] * 3


def test_class_weights_are_read_again() -> None:
    rule, net, state = started("mono-forward")
    _, twin, its_state = started("mono-forward")
    steps, phase = Replay(rule, net, state), rule.phases(net)[0]
    for k, batch in enumerate(each for each in batches() if len(each.y) == 50):
        weighted = Batch(batch.x, batch.y, batch.key, torch.rand(50, generator=torch.Generator().manual_seed(k)) + 0.1)
        given = steps(weighted, phase)
        assert torch.equal(given, step(rule, twin, its_state, weighted, phase))
    assert is_repeated(steps)


def test_batches_that_ask_for_derivatives_are_learned_from_as_others() -> None:
    """A loader may make them by autograd."""
    rule, net, state = started("mono-forward")
    _, twin, its_state = started("mono-forward")
    take_step, phase = stepper("eager", rule, net, state), rule.phases(net)[0]
    for batch in [each for each in batches() if len(each.y) == 50]:
        asking = Batch((batch.x.clone().requires_grad_() * 1), batch.y, batch.key)
        assert torch.equal(take_step(asking, phase), step(rule, twin, its_state, clone(batch), phase))
    assert not take_step(batches(1)[0], phase).requires_grad


@pytest.mark.parametrize("arm", ["foton:orthogonalise_every=2", "backprop:orthogonal=kept:orthogonalise_every=3"])
def test_periodic_work_is_done_between_repetitions(arm: str) -> None:
    rule, net, state = started(arm)
    _, twin, its_state = started(arm)
    take_step, phase = stepper("eager", rule, net, state), rule.phases(net)[0]
    for batch in [each for each in batches(3) if len(each.y) == 50]:
        assert torch.equal(take_step(clone(batch), phase), step(rule, twin, its_state, batch, phase))
    assert all(map(torch.equal, net.parameters(), twin.parameters()))


@dataclass(frozen=True, kw_only=True)
class Counts(algorithms.BlockGradients[Any]):
    """Backprop that doubles its losses from the fourth step on: it counts in Python, and says that it does not."""

    name: ClassVar[str] = "counts"
    replays: ClassVar[bool] = True
    inner: ClassVar[Algorithm[Any]] = algorithms.Backprop()
    since: ClassVar[int] = 3

    def traits(self, net: Chain) -> Any:
        return self.inner.traits(net)

    def init(self, net: Chain, generator: torch.Generator) -> Any:
        state = self.inner.init(net, generator)
        state.calls = 0
        return state

    def learn(self, net: Chain, state: Any, batch: Batch, phase: Phase) -> Tensor:
        state.calls += 1
        return self.inner.learn(net, state, batch, phase) * (2 if state.calls > self.since else 1)

    def scores(self, net: Chain, state: Any, x: Tensor, phase: Phase) -> Tensor:
        return net(x)


def test_a_step_that_does_something_else_is_not_repeated() -> None:
    rule, net, state = started(Counts())
    _, twin, its_state = started(Counts())
    steps, phase = Replay(rule, net, state), rule.phases(net)[0]
    for batch in [each for each in batches() if len(each.y) == 50]:
        given = steps(batch, phase)
        assert torch.equal(given, step(rule, twin, its_state, batch, phase))
    assert not is_repeated(steps)


@dataclass(frozen=True, kw_only=True)
class Draws(Counts):
    """Backprop with noise of torch's own generator on its losses."""

    name: ClassVar[str] = "draws"

    def learn(self, net: Chain, state: Any, batch: Batch, phase: Phase) -> Tensor:
        losses = self.inner.learn(net, state, batch, phase)
        return losses + torch.randn_like(losses)


def test_draws_of_torch_go_on_as_without_repetition() -> None:
    rule, net, state = started(Draws())
    steps, phase = Replay(rule, net, state), rule.phases(net)[0]
    full = [each for each in batches() if len(each.y) == 50]
    torch.manual_seed(3)
    given = [steps(batch, phase).clone() for batch in full]
    assert is_repeated(steps)
    _, twin, its_state = started(Draws())
    torch.manual_seed(3)
    assert torch.equal(torch.stack(given), torch.stack([step(rule, twin, its_state, batch, phase) for batch in full]))


def test_a_list_that_torch_cannot_call_is_done_without() -> None:
    rule, net, state = started("backprop")
    _, twin, its_state = started("backprop")
    steps, phase = Replay(rule, net, state), rule.phases(net)[0]
    for k, batch in enumerate(each for each in batches() if len(each.y) == 50):
        if k == 3:
            calls = recording_of(steps).operations.calls
            object.__setattr__(recording_of(steps).operations, "calls", (*calls, lambda: torch.ones(2) @ torch.ones(3)))
        given = steps(batch, phase)
        assert torch.equal(given, step(rule, twin, its_state, batch, phase))
    assert not is_repeated(steps)


def test_what_counts_operations_and_memory_sees_the_step_itself() -> None:
    rule, net, state = started("mono-forward")
    steps, phase = Replay(rule, net, state), rule.phases(net)[0]
    full = [each for each in batches() if len(each.y) == 50]
    for batch in full:
        steps(batch, phase)
    assert is_repeated(steps)

    def repeated() -> object:
        return steps(full[0], phase)

    def made() -> object:
        return step(rule, net, state, full[0], phase)

    assert count_flops(repeated) == count_flops(made) > 0
    assert live_memory(repeated).peak_bytes == live_memory(made).peak_bytes > 0


@pytest.mark.parametrize(
    ("arm", "net", "precision", "why"),
    [
        ("backprop", "cnn3", "float32", "convolutions"),
        ("backprop:maths=autograd", "mlp:2x16", "float32", "autograd inside blocks"),
        ("backprop", "mlp:2x16", "bfloat16", "products are rounded by a mode of torch's functions"),
    ],
)
def test_what_is_never_repeated(arm: str, net: str, precision: str, why: str) -> None:
    del why
    rule = Arm.parse(arm).build({})
    assert not can_replay(rule, nets.build(net, (3, 16, 16), 10), precision)


def test_large_nets_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    rule, net, _ = started("backprop")
    n_bytes = sum(4 * each.numel() for each in net.parameters())
    monkeypatch.setattr(replay, "REPLAY_BYTES", n_bytes)
    assert can_replay(rule, net)
    monkeypatch.setattr(replay, "REPLAY_BYTES", n_bytes - 1)
    assert not can_replay(rule, net)


def test_a_rule_that_does_not_say_so_is_not_repeated() -> None:
    class Silent(Counts):
        replays: ClassVar[bool] = False

    rule, net, _ = started(Silent())
    assert not can_replay(rule, net)


@pytest.mark.parametrize("place", ["parameter", "its memory", "a moment"])
def test_tensors_that_were_replaced_between_passes_are_trained(place: str) -> None:
    """As a callback may do after a pass; repeated, the step would go on with the old ones."""

    def trained(take_step: Any, rule: Algorithm[Any], net: Chain, state: Any) -> list[Tensor]:
        for number in range(2):
            take_step.begin_pass()
            for batch in batches(1):
                take_step(clone(batch), rule.phases(net)[0])
            if number == 0:
                linear: Any = net[0].linear
                if place == "parameter":
                    linear.weight = torch.nn.Parameter(linear.weight.detach() / 2)
                elif place == "its memory":
                    linear.weight.data = linear.weight.detach() / 2
                else:
                    state.optimiser.first_0 = state.optimiser.first_0 / 2
        return [tensor.clone() for _, tensor in named_tensors(net, state)]

    rule, net, state = started("backprop")
    given = trained(stepper("eager", rule, net, state), rule, net, state)
    rule, net, state = started("backprop")
    eager = mock.Mock(side_effect=lambda batch, phase: step(rule, net, state, batch, phase))
    assert all(map(torch.equal, given, trained(eager, rule, net, state)))


@pytest.mark.parametrize("arm", ["mono-forward:schedule=staged", "forward-forward", "frozen"])
def test_a_training_is_the_same_without_repetition(arm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained() -> tuple[list[float], list[Tensor]]:
        rule = Arm.parse(arm).build({})
        net = nets.mlp((16,), (16, 16), 4)
        state = initialise(rule, net, 0, "cpu")
        losses = [
            each.train_loss
            for each in training(rule, net, blobs().without_test(), Patience(None, max_passes=4), batch_size=32, state=state)
        ]
        return losses, [tensor.clone() for _, tensor in named_tensors(net, state)]

    losses, tensors = trained()
    monkeypatch.setattr("bpfree.train.tiers.can_replay", lambda *_: False)
    expected, its_tensors = trained()
    assert losses == expected
    assert all(map(torch.equal, tensors, its_tensors))
