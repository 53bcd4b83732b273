"""How a training step is executed: ``eager``, ``compiled`` or ``graph``. The mathematics is the rule's, in every tier.

* ``eager``: one kernel after another, each launched by the host. Those of a dense net on a processor are recorded once, and
  launched from a list (:mod:`bpfree.train.replay`): the same kernels, with the same results.
* ``compiled``: ``torch.compile`` of the rule's ``learn``, once for each rule, net, phase and batch shape; trials and learning
  rates share it, since a rule reads them from 0-D tensors. Fused kernels round differently from eager ones.
* ``graph``: the kernels of the eager step, recorded once into a CUDA graph and launched by one call. They are the same kernels on
  the same memory, so the results are those of ``eager``. torch's own ``mode="reduce-overhead"`` compiles first, which takes up
  to a minute for each rule and phase; recording takes milliseconds, so that a search of many short trials gains too.

What the host decides (periodic work, :class:`bpfree.algorithms.Upkeep`) stays outside of what is compiled or recorded.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from bpfree.algorithms import Algorithm, Phase, State, step
from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.nets import Chain
from bpfree.train.compiling import CompiledStep, compiled_step
from bpfree.train.kinds import Kind, copied, fill, fixed, kind_of
from bpfree.train.replay import Replay, can_replay

__all__ = ["TIERS", "Tier", "check_tier", "stepper"]

Tier = Literal["eager", "compiled", "graph"]
TIERS: tuple[Tier, ...] = ("eager", "compiled", "graph")

_WARM_UP = 2
"""Steps of a batch shape that are made eagerly before it is recorded: libraries allocate their work space at first use."""


class Stepper(Protocol):
    """One training step in place, as :func:`bpfree.algorithms.step`; the losses may be overwritten by the next step."""

    def __call__(self, batch: Batch, phase: Phase) -> Tensor: ...

    def begin_pass(self) -> None:
        """Called before each pass: since the last one a caller may have given net or state other tensors or settings."""
        ...


@dataclass(frozen=True)
class _Steps:
    """A :class:`Stepper` of a function, and what it does before each pass."""

    take: Callable[[Batch, Phase], Tensor]
    begin: Callable[[], None] | None = None

    def __call__(self, batch: Batch, phase: Phase) -> Tensor:
        return self.take(batch, phase)

    def begin_pass(self) -> None:
        if self.begin is not None:
            self.begin()


def check_tier(tier: str, device: torch.device) -> None:
    """Refuse a tier that is unknown or that the device does not have.

    Raises:
        UsageError: naming what can be had.
    """
    if tier not in TIERS:
        raise UsageError(f"unknown tier {tier!r}; choose from {', '.join(TIERS)}")
    if tier == "graph" and device.type != "cuda":
        raise UsageError(f"tier graph records CUDA graphs, and the device is {device.type}; use --tier eager or --device cuda")


def stepper(tier: str, rule: Algorithm[Any], net: Chain, state: State, precision: str = "float32") -> Stepper:
    """What makes the steps of one training; they are called within ``products_in(precision)``.

    Raises:
        UsageError: see :func:`check_tier`.
    """
    check_tier(tier, net.device)

    def made_by(learn: Callable[[Batch, Phase], Tensor] | None) -> Callable[[Batch, Phase], Tensor]:
        return lambda batch, phase: step(rule, net, state, batch, phase, learn=learn)

    if tier == "graph":
        recorded = _Recorded(rule, net, state)
        return _Steps(made_by(recorded.learn), begin=recorded.begin_pass)
    if tier == "compiled":
        return _Steps(made_by(_compiled(rule, net, state, precision)))
    if can_replay(rule, net, precision):
        return Replay(rule, net, state)
    return _Steps(made_by(None))


def _compiled(rule: Algorithm[Any], net: Chain, state: State, precision: str) -> Callable[[Batch, Phase], Tensor]:
    """``learn`` as it was compiled for each kind of step, see :mod:`bpfree.train.compiling`."""
    steps: dict[Kind, CompiledStep] = {}

    def learn(batch: Batch, phase: Phase) -> Tensor:
        kind = kind_of(batch, phase)
        if kind not in steps:
            steps[kind] = compiled_step(rule, net, state, batch, phase, precision)
        return steps[kind](rule, net, state, batch, phase)

    return learn


@dataclass(frozen=True)
class _Recording:
    """A recorded step: where it reads its batch, where it leaves its losses."""

    graph: torch.cuda.CUDAGraph
    batch: Batch
    losses: Tensor


class _Recorded:
    """Steps of one rule, net and state: the first of each kind eagerly, then recorded and replayed."""

    def __init__(self, rule: Algorithm[Any], net: Chain, state: State) -> None:
        self._rule, self._net, self._state = rule, net, state
        self._made: collections.Counter[Kind] = collections.Counter()
        self._recordings: dict[Kind, _Recording] = {}
        self._stream = torch.cuda.Stream(net.device)
        self._fixed: tuple[object, ...] = ()

    def begin_pass(self) -> None:
        """See :class:`Stepper`."""
        now = fixed(self._net, self._state)
        if now != self._fixed:
            self._fixed = now
            self._recordings.clear()

    def learn(self, batch: Batch, phase: Phase) -> Tensor:
        """As the rule's ``learn``."""
        kind = kind_of(batch, phase)
        recording = self._recordings.get(kind)
        if recording is not None:
            fill(recording.batch, batch)
        elif self._made[kind] < _WARM_UP:
            self._made[kind] += 1
            return self._eagerly(batch, phase)
        else:
            recording = self._recordings[kind] = self._record(batch, phase)
        recording.graph.replay()
        return recording.losses

    def _eagerly(self, batch: Batch, phase: Phase) -> Tensor:
        """On a stream of its own, as what is recorded afterwards: memory that libraries keep belongs to a stream."""
        with self._on_stream():
            return self._rule.learn(self._net, self._state, batch, phase)

    def _record(self, batch: Batch, phase: Phase) -> _Recording:
        """Record a step that reads a copy of ``batch``; nothing is computed yet.

        Raises:
            UsageError: the rule's step cannot be recorded.
        """
        graph = torch.cuda.CUDAGraph()
        copy = copied(batch)
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                losses = self._rule.learn(self._net, self._state, copy, phase)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"{self._rule.name} cannot be recorded as a CUDA graph ({reason}); use --tier eager") from error
        return _Recording(graph, copy, losses)

    @contextlib.contextmanager
    def _on_stream(self) -> Iterator[None]:
        current = torch.cuda.current_stream(self._net.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            yield
        current.wait_stream(self._stream)
