"""What is done with a rule, the same for all: check a net, take a training step, start again, say what was used."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

from bpfree.algorithms._base import Algorithm
from bpfree.algorithms._closed_form import maths_in
from bpfree.algorithms._cost import Cost, shape_of
from bpfree.algorithms._declared import Phase, Upkeep
from bpfree.algorithms._gather import without_autograd
from bpfree.algorithms._stages import Stages
from bpfree.algorithms._state import State
from bpfree.data import Batch
from bpfree.errors import UsageError, unknown_name
from bpfree.nets import Chain
from bpfree.nets.trainable import check_parameters
from bpfree.numerics.products import PRECISIONS

__all__ = [
    "begin_step",
    "check_net",
    "check_precision",
    "check_shares_rows",
    "check_weights",
    "cost_of",
    "features_of",
    "maths_used",
    "on_net",
    "reset",
    "stages_of",
    "step",
    "sums_over_examples",
]

S = TypeVar("S", bound=State[Any])

TF32_CAPABILITY = (8, 0)
"""Of the first GPUs that multiply in TF32."""


def check_net(rule: Algorithm[Any], net: Chain) -> None:
    """Refuse a net that the rule cannot train.

    Raises:
        UsageError: naming the block and the cure.
    """
    net.check_exact()
    check_parameters(net)
    if net.dtype == torch.bfloat16 and (why := rule._why_not_bfloat16()) is not None:
        raise UsageError(f"{rule.name}: the net is {net.dtype}, in which {why}; use float32")
    rule._check_net(net)


def check_precision(rule: Algorithm[Any], precision: str, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse a number format of products that is unknown, that the device does not have, or that rule or net cannot use.

    Args:
        precision: see :mod:`bpfree.numerics.products`.
        dtype: of the net.
        device: on which it is trained.

    Raises:
        UsageError: naming the cure.
    """
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    if precision != "float32" and dtype != torch.float32:
        given = str(dtype).removeprefix("torch.")
        raise UsageError(f"precision {precision} rounds products of float32, and the net is {given}; use net.float()")
    if precision == "bfloat16" and (why := rule._why_not_bfloat16()) is not None:
        raise UsageError(f"{rule.name}: precision bfloat16 rounds products so that {why}; use precision float32")
    if precision == "tf32" and device.type != "cuda":
        raise UsageError(
            f"precision tf32 is a number format of NVIDIA GPUs, and the device is {device.type}; use --precision float32 or "
            "--device cuda"
        )
    if precision == "tf32" and (capability := torch.cuda.get_device_capability(device)) < TF32_CAPABILITY:
        number = ".".join(map(str, capability))
        raise UsageError(f"precision tf32 needs a GPU of capability 8.0 (Ampere), and this one has {number}; use float32")


def check_weights(rule: Algorithm[Any], weight: object) -> None:
    """Refuse class weights that the rule would not read.

    Args:
        weight: of a batch or of data; None where there is none.

    Raises:
        UsageError: naming the cure.
    """
    if weight is not None and not rule.weighs_classes:
        raise UsageError(
            f"{rule.name} does not weigh classes, and the data have class weights; leave them out, or multiply the rule's losses "
            "by batch.weight and declare weighs_classes = True"
        )


@without_autograd
def step(
    rule: Algorithm[S],
    net: Chain,
    state: S,
    batch: Batch,
    phase: Phase,
    *,
    learn: Callable[[Batch, Phase], Tensor] | None = None,
) -> Tensor:
    """One training step in place: ``rule.learn``, and the upkeep that is due before and after it.

    Args:
        learn: how ``rule.learn`` is executed on this net and state (compiled, or recorded); by default it is called.

    Returns:
        The losses of ``learn``, on the device.

    Raises:
        UsageError: the batch has weights, which the rule does not read.
    """
    due = begin_step(rule, net, state, batch)
    losses = rule.learn(net, state, batch, phase) if learn is None else learn(batch, phase)
    for work in due:
        work.do(net, state, batch)
    return losses


def begin_step(rule: Algorithm[S], net: Chain, state: S, batch: Batch) -> list[Upkeep[S]]:
    """Count a step, and do the upkeep that is due before its ``learn``; returns what is due after it.

    Called with autograd switched off.

    Raises:
        UsageError: the batch has weights, which the rule does not read.
    """
    check_weights(rule, batch.weight)
    number = state.count.advance()
    due = [work for work in rule.upkeep() if work.due(number)]
    for work in due:
        if work.before:
            work.do(net, state, batch)
    return [work for work in due if not work.before]


def reset(rule: Algorithm[S], net: Chain, state: S, generator: torch.Generator) -> None:
    """Start a new trial of a rule in a state that its ``init`` made, at the same addresses.

    The result is bitwise that of a fresh ``init`` from the same generator.

    Raises:
        UsageError: the state was made with other structural hyper-parameters, or for another net.
    """
    twin = copy.deepcopy(net).to("cpu")  # drawn on the CPU, as by train.initialise: the same on every device
    fresh = rule.init(twin, generator)
    for mine, theirs in ((net.state_dict(), twin.state_dict()), (state.state_dict(), fresh.state_dict())):
        if {name: t.shape for name, t in mine.items()} != {name: t.shape for name, t in theirs.items()}:
            raise UsageError(f"{rule.name}: this state was made by another rule or for another net; make one with init")
        for name, tensor in mine.items():
            tensor.copy_(theirs[name])
    for mine, theirs in zip(state.optimisers(), fresh.optimisers(), strict=True):
        mine.decays, mine.momentum = theirs.decays, theirs.momentum


def maths_used(rule: Algorithm[Any], net: Chain) -> str:
    """``"closed"``, ``"autograd"`` or ``"mixed"``: how the rule computes gradients inside the blocks of this net, for the record.

    A rule that uses no automatic differentiation is ``"closed"``.
    """
    if not rule.traits(net).autograd:
        return "closed"
    used = maths_in(net, getattr(rule, "maths", "autograd"))
    return "autograd" if used == "closed" else used  # it uses autograd elsewhere


def on_net(rule: Algorithm[S], net: Chain) -> Algorithm[S]:
    """The rule with every default that follows the net filled in, as a record names it."""
    return rule._on(net)


def features_of(rule: Algorithm[S], net: Chain, state: S, x: Tensor) -> Iterator[Tensor]:
    """Features (n, d) of every block on examples x (n, *in_shape), as the rule uses the blocks at evaluation."""
    return rule._features(net, state, x)


def stages_of(rule: Algorithm[Any], net: Chain, phase: Phase) -> Stages[Any]:
    """``learn`` of a phase, cut into stages for several processes.

    Raises:
        UsageError: the rule cannot be cut, with the reason.
    """
    stages = rule._stages(net, phase)
    if isinstance(stages, str):
        raise UsageError(
            f"{rule.name} cannot be trained layer-parallel: {stages}; use a local rule such as mono-forward, or --parallel data"
        )
    if rule.upkeep():
        raise UsageError(f"{rule.name} cannot be trained layer-parallel: its periodic work reads the whole net; use one process")
    return stages


def check_shares_rows(rule: Algorithm[Any], net: Chain) -> None:
    """Refuse what several processes cannot train by sharing the rows of each batch.

    Raises:
        UsageError: naming the reason.
    """
    why = rule._on(net)._needs_whole_batch(net)
    if why is not None:
        raise UsageError(f"{rule.name} cannot be trained data-parallel: {why}; train in one process")
    for k, block in enumerate(net):
        if block.normalises_batch:
            raise UsageError(
                f"{rule.name} cannot be trained data-parallel on this net: BatchNorm in block {k} ({block.title}) needs the "
                "statistics of the whole batch; use a net without BatchNorm, or one process"
            )


def sums_over_examples(rule: Algorithm[S], state: S) -> list[Tensor]:
    """Tensors of the state to which a step adds for each of its examples, without an optimiser."""
    return list(rule._sums_over_examples(state))


def cost_of(rule: Algorithm[Any], net: Chain, n: int, phase: Phase) -> Cost | None:
    """What the rule says that a batch of ``n`` examples costs on this net; None where no formula is known.

    Moments of memory are those of dense blocks in closed form, and are left out of the answer for any other net.
    """
    shape = shape_of(net, n, rule.traits(net).extra_parameters)
    cost = None if shape is None else rule.cost(shape, phase)
    if shape is None or cost is None:
        return None
    return cost if shape.dense and maths_used(rule, net) == "closed" else cost.without_moments()
