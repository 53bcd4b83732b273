"""Who competes: every rule in a tier, and torch's own training step of the same net."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

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
from bpfree.train.tiers import stepper

__all__ = ["TORCH", "Contender", "of_arm", "of_torch"]

TORCH = "torch"
"""``nn.Module``, autograd and fused AdamW, in the memory layout that all rules train in: what every ratio is to."""

FLOPS = 2
"""Of a multiply-add."""


@dataclass(frozen=True)
class Contender:
    """One that trains the net.

    Attributes:
        label, tier: of the row.
        step: one training step, on a batch that is ready.
        evaluate: one pass over the validation split.
        data: what it reads: examples, or cached features.
        peak_bytes: live bytes of a step, with weights and moments; None where they are not counted.
        multiply_adds: of a step, counted; None where they are not.
        compile_s: what compiling took, None where nothing is compiled.
    """

    label: str
    tier: str
    step: Callable[[Batch], object]
    evaluate: Callable[[], object]
    data: Dataset
    peak_bytes: int | None
    multiply_adds: int | None
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
    if tier != "eager":
        begin_s = time.perf_counter()
        take_step(copy.deepcopy(batch), reader)
        compile_s = time.perf_counter() - begin_s
    return Contender(
        arm.label,
        tier,
        lambda given: take_step(given, reader),
        lambda: evaluate(rule, net, state, read, "validation", reader),
        read,
        counted and counted.peak_bytes,
        counted.by_phase[0] // FLOPS if counted and counted.by_phase else None,
        compile_s,
    )


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

    @torch.no_grad()
    def evaluation() -> float:
        module.eval()
        hits = [(module(b.x).argmax(1) == b.y).sum() for b in data.batches("validation", 500, shuffle=False)]
        module.train()
        return float(torch.stack(hits).sum())

    batch = copied(next(iter(data.batches("train", batch_size))))  # without the batches that were made with it
    step(batch)
    live = live_memory(lambda: step(batch))
    multiply_adds = count_flops(lambda: step(batch)) // FLOPS
    synchronise(data.device)
    return Contender(TORCH, "eager", step, evaluation, data, live.start_bytes + live.peak_bytes, multiply_adds, None)
