"""Who competes: every rule in a tier, and torch's own training step of the same net."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F

from bpfree.algorithms import warn_of_weaknesses
from bpfree.bench.arm import Arm
from bpfree.bench.cost import step_cost
from bpfree.data import Batch, Dataset
from bpfree.meter import count_flops, live_memory
from bpfree.meter.meter import synchronise
from bpfree.nets import build
from bpfree.numerics.layout import is_by_pixels
from bpfree.train import evaluate, initialise, read_by
from bpfree.train.kinds import copied
from bpfree.train.passes import SerialPasses, Work
from bpfree.train.tiers import stepper

__all__ = ["TORCH", "Contender", "of_arm", "of_torch"]

TORCH = "torch"
"""``nn.Module``, autograd and fused AdamW, in the memory layout that all rules train in: what every ratio is to."""

FLOPS = 2
"""Of a multiply-add."""

_SETTLING = 4
"""Steps of the tier ``graph`` before it is timed: some are made as they are, then one is recorded."""


@dataclass(frozen=True)
class Contender:
    """One that trains the net.

    Attributes:
        label, tier: of the row.
        step: one training step, on a batch that is ready.
        one_pass: the training pass of this number, whole: its batches are made, and its losses averaged.
        evaluate: one pass over the validation split.
        data: what it reads: examples, or cached features.
        peak_bytes: live bytes of a step, with weights and moments; None where they are not counted.
        multiply_adds, multiply_adds_of_evaluation: of a step, and of ``evaluate``, counted; None where they are not.
        compile_s: what compiling took, None where nothing is compiled.
    """

    label: str
    tier: str
    step: Callable[[Batch], object]
    one_pass: Callable[[int], object]
    evaluate: Callable[[], object]
    data: Dataset
    peak_bytes: int | None
    multiply_adds: int | None
    multiply_adds_of_evaluation: int | None
    compile_s: float | None


def of_arm(text: str, tier: str, net_name: str, data: Dataset, batch_size: int) -> Contender:
    """An arm, in the first of its phases.

    Raises:
        UsageError: it cannot train the net, or not in this tier.
    """
    arm = Arm.parse(text)
    rule, net = arm.build({}), build(net_name, data.in_shape, data.n_classes)
    state = initialise(rule, net, 0, data.device)
    warn_of_weaknesses(rule, net, batch_size)
    net.train()
    phase = rule.phases(net)[0]
    read, reader = read_by(net, data, phase)
    counted = step_cost(rule, copy.deepcopy(net), copy.deepcopy(state), data, batch_size) if tier == "eager" else None
    take_step = stepper(tier, rule, net, state)
    batch = next(iter(read.batches("train", batch_size)))
    compile_s = None
    if tier == "compiled":
        _load_compiler()
        begin_s = time.perf_counter()
        take_step(copied(batch), reader)
        compile_s = time.perf_counter() - begin_s
    for _ in range(_SETTLING if tier == "graph" else 0):
        take_step(copied(batch), reader)
    passes = SerialPasses(take_step)
    passes.begin(Work(rule, net, state, read, batch_size, 0, "float32"))

    def evaluation() -> object:
        return evaluate(rule, net, state, read, "validation", reader)

    return Contender(
        arm.label,
        tier,
        lambda given: take_step(given, reader),
        lambda pass_index: passes.one_pass(read, phase, reader, pass_index),
        evaluation,
        read,
        counted and counted.peak_bytes,
        counted.by_phase[0] // FLOPS if counted and counted.by_phase else None,
        count_flops(evaluation) // FLOPS if tier == "eager" else None,
        compile_s,
    )


@cache
def _load_compiler() -> None:
    """What torch's compiler needs once in a process is no part of what the first contender's step takes to compile."""
    torch.compile(lambda x: x.relu().sum())(torch.ones(3))


def of_torch(net_name: str, data: Dataset, batch_size: int) -> Contender:
    """torch's own step on the same layers, from the same initial parameters."""
    net = build(net_name, data.in_shape, data.n_classes)
    initialise(Arm.parse("backprop").build({}), net, 0, data.device)
    module = copy.deepcopy(net.to_module())
    by_pixels = any(is_by_pixels(parameter) for parameter in module.parameters())
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-4, weight_decay=0.0, fused=True)

    def step(batch: Batch) -> torch.Tensor:
        x = batch.x.contiguous(memory_format=torch.channels_last) if by_pixels else batch.x
        loss = F.cross_entropy(module(x), batch.y)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.detach()

    def one_pass(pass_index: int) -> float:
        return float(torch.stack([step(batch) for batch in data.batches("train", batch_size, pass_index=pass_index)]).mean())

    @torch.no_grad()
    def evaluation() -> float:
        module.eval()
        hits = [(module(b.x).argmax(1) == b.y).sum() for b in data.batches("validation", 500, shuffle=False)]
        module.train()
        return float(torch.stack(hits).sum())

    batch = copied(next(iter(data.batches("train", batch_size))))  # without the batches that were made with it
    step(batch)
    live = live_memory(lambda: step(batch))
    counted = [count_flops(each) // FLOPS for each in (lambda: step(batch), evaluation)]
    synchronise(data.device)
    return Contender(TORCH, "eager", step, one_pass, evaluation, data, live.start_bytes + live.peak_bytes, *counted, None)
