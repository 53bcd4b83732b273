"""The tier ``compiled``: the whole step of a rule, compiled once for each rule, net, phase and batch shape.

What is compiled is kept for the process. Trials, seeds and learning rates share it, since a rule reads numeric hyper-parameters
from 0-D tensors; a weight decay of 0 and another momentum are other steps. Nothing is compiled twice: each kind of step is a
function (and code object) of its own, so that no kind pushes another out of torch's cache.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import time
import types
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bpfree.algorithms import Algorithm, Phase, State, numeric
from bpfree.data import Batch, Dataset, Examples
from bpfree.errors import UsageError
from bpfree.nets import Chain
from bpfree.train.features import read_by
from bpfree.train.given import in_format_of

__all__ = ["CompiledStep", "compile_steps", "compiled_step"]

BACKEND: str | Callable[..., Any] = "inductor"
"""Of ``torch.compile``."""


@dataclass
class CompiledStep:
    """A step of one kind.

    Attributes:
        call: ``learn(rule, net, state, batch, phase)``.
        compile_s: seconds of its first call, in which it is compiled; None before.
    """

    call: Callable[..., Tensor]
    compile_s: float | None = None

    def __call__(self, rule: Algorithm[Any], net: Chain, state: State, batch: Batch, phase: Phase) -> Tensor:
        """As the rule's ``learn``.

        Raises:
            UsageError: the rule cannot be compiled, or was compiled again, which would be in what a window measures.
        """
        if self.compile_s is not None:
            counts = torch._dynamo.utils.counters["stats"]
            before = counts["unique_graphs"]
            losses = self.call(rule, net, state, batch, phase)
            if counts["unique_graphs"] != before:
                raise UsageError(
                    f"the step of {rule.name} was compiled again within a training: it reads a number in Python that has changed "
                    "(an attribute of the rule or of a module), or the compiler was reset; use --tier eager"
                )
            return losses
        from torch._dynamo.exc import TorchDynamoException  # deferred: the compiler takes seconds to load

        begin_s = time.perf_counter()
        try:
            with _autograd_traced():
                losses = self.call(rule, net, state, batch, phase)
        except TorchDynamoException as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"{rule.name} cannot be compiled ({reason}); use --tier eager") from None
        self.compile_s = time.perf_counter() - begin_s
        return losses


_STEPS: dict[Hashable, CompiledStep] = {}


def compiled_step(
    rule: Algorithm[Any], net: Chain, state: State, batch: Batch, phase: Phase, precision: str = "float32"
) -> CompiledStep:
    """The step of this kind; it is compiled when it is first called."""
    structure = {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule) if field.name not in numeric(rule)}
    kind = (
        *(type(rule), repr(structure), repr(net), net.in_shape, net.device, net.dtype, precision, phase),
        *(batch.x.shape, batch.x.dtype, batch.weight is None),
        *((each.kind, each.decays, each.momentum) for each in state.optimisers()),
    )
    if kind not in _STEPS:
        _STEPS[kind] = CompiledStep(_compiled())
    return _STEPS[kind]


def compile_steps(
    rule: Algorithm[Any],
    net: Chain,
    state: State,
    data: Dataset,
    batch_size: int,
    *,
    tier: str = "compiled",
    precision: str = "float32",
) -> float | None:
    """Compile all steps of a training before it begins: of every phase, for full batches and for the smaller last one.

    They are made on copies: neither net nor state changes. To be called outside of what is metered, within
    :func:`~bpfree.numerics.products.products_in` of the same precision.

    Returns:
        Seconds that compiling them took, now or earlier in this process; None where ``tier`` compiles nothing.

    Raises:
        UsageError: the rule cannot be compiled.
    """
    if tier != "compiled":
        return None
    data = in_format_of(net, data.without_test())
    net.train()
    seconds, twins = 0.0, None
    for phase in rule.phases(net):
        batches, reader = _batches(net, data, phase, batch_size)
        for batch in batches:
            step = compiled_step(rule, net, state, batch, reader, precision)
            if step.compile_s is None:
                twins = twins or copy.deepcopy((net, state))
                with torch.no_grad():
                    step(rule, *twins, batch, reader)
            seconds += step.compile_s or 0.0
    return seconds


def _compiled() -> Callable[..., Tensor]:
    """A compiled ``learn`` with a code object of its own: torch keeps what it compiled by code object, a few for each."""

    def learn(rule: Algorithm[Any], net: Chain, state: State, batch: Batch, phase: Phase) -> Tensor:
        return rule.learn(net, state, batch, phase)

    return torch.compile(types.FunctionType(learn.__code__.replace(), globals()), backend=BACKEND, fullgraph=True, dynamic=False)


def _batches(net: Chain, data: Dataset, phase: Phase, batch_size: int) -> tuple[list[Batch], Phase]:
    """A batch of each size that a pass of the phase has, and the phase that reads them."""
    stored = data.stored()
    few = {name: Examples(each.x[:batch_size], each.y[:batch_size]) for name, each in stored.splits.items()}
    inputs, reader = read_by(net, dataclasses.replace(stored, splits=few), phase)
    full = next(iter(inputs.batches("train", batch_size)))
    rest = data.n("train") % batch_size
    if rest == 0:
        return [full], reader
    weight = None if full.weight is None else full.weight[:rest]
    return [full, Batch(full.x[:rest].clone(), full.y[:rest], full.key, weight)], reader


def _autograd_traced() -> contextlib.AbstractContextManager[object]:
    """Let the compiler trace ``torch.autograd.grad`` (inside a block without closed form), where this torch can."""
    if not hasattr(torch._dynamo.config, "trace_autograd_ops"):
        return contextlib.nullcontext()
    return torch._dynamo.config.patch(trace_autograd_ops=True)
