"""The tiers: on a GPU a recorded step is the eager step, bit for bit; what a device does not have is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import Any
from unittest import mock

import pytest
import torch

from bpfree import algorithms, data, nets
from bpfree.algorithms import Backprop
from bpfree.bench.arm import Arm
from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.numerics.products import products_in
from bpfree.rulesets import Patience
from bpfree.testing.bench import blobs
from bpfree.train import TIERS, check_tier, compile_steps, compiling, initialise, tiers, training

ARMS = (
    *("backprop", "mono-forward", "mono-forward:schedule=staged", "frozen", "deep-supervision", "blockwise:reach=2"),
    *("forward-forward", "cascaded-forward", "cascaded-forward:blocks=dfa", "foton", "pepita", "direct-feedback-alignment"),
)


def trained(
    arm: str, net_name: str, device: str, tier: str, dtype: torch.dtype = torch.float32
) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses and all tensors after two passes (each of four full batches and a smaller one) for each phase."""
    images = data.load("synthetic:n=300:inputs=3x16x16").augmented("crop-flip").to(device, dtype)
    rule = Arm.parse(arm).build({})
    net = nets.build(net_name, images.in_shape, images.n_classes).to(dtype)
    n_phases = len(rule.phases(net))
    state = initialise(rule, net, 0, device)
    stop = Patience(None, max_passes=2 * n_phases, restore_best=False)
    losses = [each.train_loss for each in training(rule, net, images.without_test(), stop, batch_size=48, state=state, tier=tier)]
    return losses, {name: tensor.cpu() for name, tensor in algorithms.named_tensors(net, state)}


@pytest.mark.gpu
@pytest.mark.parametrize("net", ["mlp:3x64", "cnn3"])
@pytest.mark.parametrize("arm", ARMS)
def test_a_recorded_training_is_the_eager_one(arm: str, net: str) -> None:
    try:
        losses, tensors = trained(arm, net, "cuda", "eager")
    except UsageError as refused:
        pytest.skip(f"the rule does not train this net: {refused}")
    recorded_losses, recorded = trained(arm, net, "cuda", "graph")
    exact = net != "cnn3"  # cuDNN may choose another algorithm for a convolution each time
    for name, tensor in tensors.items():
        torch.testing.assert_close(recorded[name], tensor, rtol=0 if exact else 1e-3, atol=0 if exact else 1e-3)
    assert recorded_losses == (losses if exact else pytest.approx(losses, rel=1e-3))


COMPILED_NETS = ("mlp:2x24", "cnn3", "resnet8", "vit")
"""One of each kind of block: dense, convolution, residual, encoder."""


def compiled_is_eager(arm: str, net: str) -> None:
    """Two passes of each phase, full batches and a smaller one, in float64.

    Rounding grows by Adam's root where gradients are nearly 0: to 1e-5, and in float32, otherwise on each processor, to per cent.
    """
    try:
        losses, tensors = trained(arm, net, "cpu", "eager", torch.float64)
    except UsageError as refused:
        pytest.skip(f"the rule does not train this net: {refused}")
    compiled_losses, compiled = trained(arm, net, "cpu", "compiled", torch.float64)
    assert compiled_losses == pytest.approx(losses, rel=1e-3)
    for name, tensor in tensors.items():
        far = (compiled[name] - tensor).double().norm() / tensor.double().norm().clamp(min=1e-6)
        assert far < 1e-3, f"{name}: {far}"


@pytest.mark.slow  # by the compiler itself; the next test has one rule for each net, by a backend that compiles quickly
@pytest.mark.parametrize("net", COMPILED_NETS)
@pytest.mark.parametrize("arm", ARMS)
def test_a_compiled_training_is_the_eager_one(arm: str, net: str) -> None:
    torch._dynamo.reset()
    compiled_is_eager(arm, net)


@pytest.mark.parametrize("net_name", ["cnn3", "resnet8", "vit:depth=2:width=16"])
@pytest.mark.parametrize("arm", ["mono-forward", "backprop"])
def test_a_net_of_each_kind_is_traced_as_a_whole(arm: str, net_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One graph of a step, with the eager losses and all eager tensors. Dense nets: every rule in the conformance kit."""
    graphs: list[torch.fx.GraphModule] = []

    def kept(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    monkeypatch.setattr(compiling, "BACKEND", kept)
    monkeypatch.setattr(compiling, "_STEPS", {})
    images = data.load("synthetic:n=50:inputs=3x8x8:classes=2")
    batches, losses, tensors = list(images.batches("train", 4))[:3], [], []
    for tier in ("eager", "compiled"):
        net = nets.Chain(list(nets.build(net_name, images.in_shape, images.n_classes))[:2], images.n_classes)
        rule = Arm.parse(arm).build({})
        state = initialise(rule, net, 0)
        net.train()
        step = tiers.stepper(tier, rule, net, state)
        losses.append([float(step(batch, rule.phases(net)[0]).sum()) for batch in batches])
        tensors.append({name: tensor.clone() for name, tensor in algorithms.named_tensors(net, state)})
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert tensors[0].keys() == tensors[1].keys()
    for name, tensor in tensors[0].items():
        torch.testing.assert_close(tensors[1][name], tensor, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    assert len(graphs) == 1


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_graphs_need_a_gpu(device: str) -> None:
    with pytest.raises(UsageError, match=rf"^tier graph records CUDA graphs, and the device is {device}; use --tier eager"):
        check_tier("graph", torch.device(device))


def test_an_unknown_tier() -> None:
    with pytest.raises(UsageError, match=r"^unknown tier 'fast'; choose from eager, compiled, graph$"):
        check_tier("fast", torch.device("cpu"))


def test_every_other_tier_runs_anywhere() -> None:
    for tier in set(TIERS) - {"graph"}:
        check_tier(tier, torch.device("cpu"))


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Counts compilations; by a backend that compiles quickly."""
    from torch._dynamo.testing import CompileCounterWithBackend  # deferred: it takes seconds

    backend = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(compiling, "BACKEND", backend)
    monkeypatch.setattr(compiling, "_STEPS", {})
    return backend


@pytest.mark.parametrize(("arm", "precision"), [("mono-forward:schedule=staged", "float32"), ("backprop", "bfloat16")])
def test_steps_are_compiled_before_the_training_and_shared_by_trials(counter: Any, arm: str, precision: str) -> None:
    """Two kinds of batch in each phase; the training itself, and another learning rate and seed, compile nothing."""
    images = blobs(120).without_test()
    n = images.n("train") // 2 + 1  # a full batch and a smaller one
    losses = []
    for lr, tier in ((0.01, "compiled"), (0.001, "compiled"), (0.001, "eager")):
        rule = Arm.parse(arm).build({"lr": lr})
        net = nets.build("mlp:2x16", images.in_shape, images.n_classes)
        phases = len(rule.phases(net))
        state = initialise(rule, net, 0)
        with products_in(precision):
            seconds = compile_steps(rule, net, state, images, n, tier=tier, precision=precision)
        assert counter.frame_count == 2 * phases
        assert seconds is None if tier == "eager" else seconds > 0
        stop = Patience(None, max_passes=phases, restore_best=False)
        run = training(rule, net, images, stop, batch_size=n, state=state, tier=tier, precision=precision)
        losses.append([each.train_loss for each in run])
    assert counter.frame_count == 2 * phases
    assert losses[1] == pytest.approx(losses[2], rel=1e-3)


class PythonRate(Backprop):
    """Reads its learning rate in Python: with another one it is another graph."""

    name = "python-rate"

    def learn(self, net: Any, state: Any, batch: Any, phase: Any) -> torch.Tensor:
        return super().learn(net, state, batch, phase) * self.lr


def test_what_changes_between_trainings_is_compiled_before_the_next_and_within_one_it_is_refused(counter: Any) -> None:
    images = data.load("synthetic:n=120:inputs=4:classes=3").without_test()
    n = images.n("train")
    batch = next(iter(images.batches("train", n)))
    net = nets.build("mlp:1x4", images.in_shape, images.n_classes)
    taken = []
    for k, lr in enumerate((0.1, 0.2, 0.2)):
        rule = PythonRate(lr=lr)
        state = initialise(rule, net, 0)
        taken.append(compile_steps(rule, net, state, images, n))
        assert counter.frame_count == (1, 2, 2)[k]
        take_step = tiers.stepper("compiled", rule, net, state)
        take_step(batch, rule.phases(net)[0])
    assert taken[0] < taken[1] == taken[2]
    again = r"^the step of python-rate was compiled again within a training: .* \(an attribute of the rule.*; use --tier eager$"
    with pytest.raises(UsageError, match=again):
        tiers.stepper("compiled", PythonRate(lr=0.3), net, state)(batch, rule.phases(net)[0])


def test_a_rule_that_is_compiled_for_every_value_is_refused_in_one_line(counter: Any) -> None:
    """torch gives up behind eight graphs of one step."""
    images = data.load("synthetic:n=120:inputs=4:classes=3").without_test()
    net = nets.build("mlp:1x4", images.in_shape, images.n_classes)
    with pytest.raises(UsageError, match=r"^python-rate cannot be compiled \(.*\); use --tier eager$"):
        for k in range(20):
            rule = PythonRate(lr=0.1 + k / 100)
            compile_steps(rule, net, initialise(rule, net, 0), images, images.n("train"))
    assert 4 < counter.frame_count < 20


def test_another_number_of_threads_is_another_step(counter: Any) -> None:
    """torch compiles again for it: in the trials of a search in several processes, which share the threads."""
    images = blobs(120).without_test()
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            rule, net = Backprop(), nets.build("mlp:1x4", images.in_shape, images.n_classes)
            state = initialise(rule, net, 0)
            compile_steps(rule, net, state, images, images.n("train"))
            batch = next(iter(images.batches("train", images.n("train"))))
            tiers.stepper("compiled", rule, net, state)(batch, rule.phases(net)[0])
    finally:
        torch.set_num_threads(before)
    assert counter.frame_count == 2


def test_a_rule_that_cannot_be_compiled_is_named(counter: Any) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Waits(Backprop):
        name = "waits"

        def learn(self, net: Any, state: Any, batch: Batch, phase: Any) -> torch.Tensor:
            losses = Backprop.learn(self, net, state, batch, phase)
            return losses if losses.sum().item() > 0 else -losses  # the host waits for a value, and decides by it

    images = blobs(120).without_test()
    net = nets.build("mlp:1x8", images.in_shape, images.n_classes)
    state = initialise(Waits(), net, 0)
    with pytest.raises(UsageError, match=r"^waits cannot be compiled \(.*\); use --tier eager$"):
        compile_steps(Waits(), net, state, images, 40)


class Replayed(tiers._Recorded):
    """CUDA graphs without a GPU: what is recorded is run again, on the batch that was recorded."""

    def __init__(self, rule: Any, net: Any, state: Any) -> None:
        with mock.patch("torch.cuda.Stream"):
            super().__init__(rule, net, state)

    def _record(self, batch: Batch, phase: Any) -> Any:
        place = Batch(batch.x.clone(), batch.y.clone(), batch.key.clone(), None if batch.weight is None else batch.weight.clone())
        recording = mock.Mock(batch=place, losses=torch.zeros(()))

        def replay() -> None:
            recording.losses = self._rule.learn(self._net, self._state, place, phase)

        recording.graph.replay = replay
        return recording

    def _on_stream(self) -> Any:
        return contextlib.nullcontext()


@pytest.mark.parametrize("arm", ["backprop", "mono-forward:schedule=staged", "forward-forward", "frozen"])
def test_a_recorded_step_reads_each_batch_where_it_was_recorded(arm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full and smaller batches, phases and cached features each have a recording; the results are the eager ones."""
    losses, tensors = trained(arm, "mlp:2x8", "cpu", "eager")
    monkeypatch.setattr(tiers, "_Recorded", Replayed)
    for module in (tiers, sys.modules["bpfree.train.training"]):  # the package has a function of that name
        monkeypatch.setattr(module, "check_tier", lambda *_: None)
    recorded_losses, recorded = trained(arm, "mlp:2x8", "cpu", "graph")
    assert recorded_losses == losses
    assert all(torch.equal(recorded[name], tensor) for name, tensor in tensors.items())
