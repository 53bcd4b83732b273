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
        code: of the function that is compiled, by which torch keeps what it compiled.
        compile_s: seconds that compiling took; None before it is.
    """

    call: Callable[..., Tensor]
    code: types.CodeType
    compile_s: float | None = None

    def prepare(self, rule: Algorithm[Any], net: Chain, state: State, batch: Batch, phase: Phase) -> Tensor:
        """As the rule's ``learn``, with whatever is still to be compiled: a module may differ in what its text does not say.

        Raises:
            UsageError: the rule cannot be compiled.
        """
        before, begin_s = self._n_compiled(), time.perf_counter()
        with _autograd_traced():
            losses = self._made(rule, net, state, batch, phase)
        if self.compile_s is None or self._n_compiled() != before:
            self.compile_s = (self.compile_s or 0.0) + time.perf_counter() - begin_s
        return losses

    def __call__(self, rule: Algorithm[Any], net: Chain, state: State, batch: Batch, phase: Phase) -> Tensor:
        """As the rule's ``learn``; the first call compiles.

        Raises:
            UsageError: the rule cannot be compiled, or was compiled again, which would be in what a window measures.
        """
        if self.compile_s is None:
            return self.prepare(rule, net, state, batch, phase)
        before = self._n_compiled()
        losses = self._made(rule, net, state, batch, phase)
        if self._n_compiled() != before:
            raise UsageError(
                f"the step of {rule.name} was compiled again within a training: something that it reads in Python has changed "
                "(an attribute of the rule or of a module, the number of threads); use --tier eager"
            )
        return losses

    def _made(self, rule: Algorithm[Any], net: Chain, state: State, batch: Batch, phase: Phase) -> Tensor:
        try:
            return self.call(rule, net, state, batch, phase)
        except Exception as error:
            if not type(error).__module__.startswith("torch._dynamo"):
                raise
            reason = str(error).splitlines()[0]
            raise UsageError(f"{rule.name} cannot be compiled ({reason}); use --tier eager") from None

    def _n_compiled(self) -> int:
        """How many graphs torch keeps of this step."""
        from torch._dynamo.eval_frame import _debug_get_cache_entry_list  # deferred: the compiler takes seconds to load

        return len(_debug_get_cache_entry_list(self.code))


_STEPS: dict[Hashable, CompiledStep] = {}


def compiled_step(
    rule: Algorithm[Any], net: Chain, state: State, batch: Batch, phase: Phase, precision: str = "float32"
) -> CompiledStep:
    """The step of this kind; it is compiled when it is first called."""
    structure = {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule) if field.name not in numeric(rule)}
    kind = (
        *(type(rule), repr(structure), repr(net), net.in_shape, net.device, net.dtype, precision, phase),
        *(batch.x.shape, batch.x.dtype, batch.weight is None, torch.get_num_threads()),
        *((each.kind, each.decays, each.momentum) for each in state.optimisers()),
    )
    if kind not in _STEPS:
        _STEPS[kind] = _compiled()
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
            twins = twins or copy.deepcopy((net, state))
            with torch.no_grad():
                step.prepare(rule, *twins, batch, reader)
            seconds += step.compile_s or 0.0
    return seconds


def _compiled() -> CompiledStep:
    """A compiled ``learn`` with a code object of its own: torch keeps what it compiled by code object, a few for each."""

    def learn(rule: Algorithm[Any], net: Chain, state: State, batch: Batch, phase: Phase) -> Tensor:
        return rule.learn(net, state, batch, phase)

    function = types.FunctionType(learn.__code__.replace(), globals())
    return CompiledStep(torch.compile(function, backend=BACKEND, fullgraph=True, dynamic=False), function.__code__)


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
