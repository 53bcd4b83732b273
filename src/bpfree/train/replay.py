"""Steps of dense nets on a processor: recorded once, then repeated as a list of operations.

On a small net the Python between the operations takes a third to a half of a step, for every rule; on a wide one the memory of
gradients is asked for and given back in each step, and the system clears it. What is repeated are the operations of the eager
step, on the same numbers, so the results are the same bits; that is compared once for each recording. A rule says that its step
may be repeated (:attr:`bpfree.algorithms.Algorithm.replays`).
"""

from __future__ import annotations

import pickle
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode

from bpfree.algorithms import Algorithm, Phase, State, begin_step, maths_used, named_tensors
from bpfree.data import Batch
from bpfree.meter import tensor_bytes
from bpfree.nets import Chain, DenseBlock
from bpfree.nets.exact import why_hooked
from bpfree.numerics.operations import Operations, as_list, recording
from bpfree.numerics.whole import same_bits
from bpfree.train.kinds import Kind, copied, fill, fixed, kind_of

__all__ = ["REPLAY_BYTES", "STEPS_BEFORE_REPETITION", "Replay", "can_replay"]

REPLAY_BYTES = 128 << 20
"""Bytes of a net's parameters up to which steps are repeated. Between steps the memory of a step stays with the process, and one
comparison needs a copy of parameters and moments. A tensor above 32 MiB that is made in each step is mapped again each time, a
page fault for every 4 KiB: a tenth of a step of ``mlp:2x4000`` (61 MiB of gradient), which a list does not have."""

_is_dispatched = torch._C._len_torch_dispatch_stack
"""How many dispatch modes are entered."""

_WARM_UP = 2
"""Steps of a kind that are made as they are before one is recorded: rare kinds are never recorded."""

_KINDS = 2
"""Kinds of steps of a phase that are recorded: on full batches, and on the last one of a pass, which is smaller."""

_SECOND_BYTES = 4 << 20
"""Bytes of the first recording up to which there is a second: on larger nets one step of a pass takes as long without."""

STEPS_BEFORE_REPETITION = _WARM_UP + 2
"""Steps of a kind before the first that is repeated: then comes one that is recorded, and one that is compared."""


def can_replay(rule: Algorithm[Any], net: Chain, precision: str = "float32") -> bool:
    """Whether steps of this rule and net are repeated: dense blocks in closed form, of :data:`REPLAY_BYTES` at most, on
    a processor, in products of full precision."""
    return (
        rule.replays
        and net.device.type == "cpu"
        and net.dtype in (torch.float32, torch.float64)
        and precision == "float32"
        and tensor_bytes(net.parameters()) <= REPLAY_BYTES
        and all(type(block) is DenseBlock for block in net)
        and maths_used(rule, net) == "closed"
    )


@dataclass
class _Recording:
    """A recorded step: where it reads its batch, and its operations.

    Attributes:
        compared: whether a repetition has given the bits of the step itself.
    """

    batch: Batch
    operations: Operations
    compared: bool = False


@dataclass(frozen=True)
class _Ready:
    """A repetition without anything before or after it: no periodic work, no class weights.

    Attributes:
        kind: of the step.
        places: where it reads what parts of a batch, by name; only those that it reads.
    """

    kind: Kind
    places: tuple[tuple[str, Tensor], ...]
    operations: Operations


class Replay:
    """Steps of one rule, net and state, as a :class:`bpfree.train.tiers.Stepper`.

    The first steps are made as they are. Then one is recorded while it is made. The next of its kind is repeated, undone, made as
    it is, and compared; only if all tensors have the same bits are later ones repeated. At most two kinds of steps of a phase are
    recorded, of a larger net one, and the memory of as many steps is held.
    """

    def __init__(self, rule: Algorithm[Any], net: Chain, state: State) -> None:
        self._rule, self._net, self._state = rule, net, state
        state.gather(net)  # asked now: in the first step it would note that it was, and look changed after the first pass
        self._fixed: tuple[object, ...] = ()
        self._watched = False
        self._begin(None)

    def begin_pass(self) -> None:
        """Forget what was recorded where net and state have other tensors or settings since; look who watches."""
        self._watched = is_watched(self._net, self._state)
        now = fixed(self._net, self._state)
        if now != self._fixed:
            self._fixed = now
            self._begin(self._phase)

    def _begin(self, phase: Phase | None) -> None:
        self._phase = phase
        self._made: dict[Kind, int] = {}
        self._recordings: dict[Kind, _Recording | None] = {}  # None: it cannot be repeated
        self._ready: tuple[_Ready, ...] = ()

    def __call__(self, batch: Batch, phase: Phase) -> Tensor:
        """One step, as :func:`bpfree.algorithms.step`; the losses may be overwritten by the next one.

        A repetition alone takes as little Python as can be: behind the operations it is read from memory each time, and takes a
        tenth of a small step.
        """
        if self._ready and not (self._watched or _is_dispatched() > 0 or batch.x.requires_grad):
            kind = kind_of(batch, phase)
            for ready in self._ready:
                if ready.kind == kind:
                    self._state.count.advance()
                    for name, place in ready.places:
                        place.copy_(getattr(batch, name))
                    return ready.operations.repeat()
        return self._with_upkeep(batch, phase)

    @torch.no_grad()
    def _with_upkeep(self, batch: Batch, phase: Phase) -> Tensor:
        due = begin_step(self._rule, self._net, self._state, batch)
        losses = self._learn(batch, phase)
        for work in due:
            work.do(self._net, self._state, batch)
        return losses

    def _learn(self, batch: Batch, phase: Phase) -> Tensor:
        if self._watched or _is_dispatched() > 0:  # who counts operations or memory sees those of the step itself
            return self._as_it_is(batch, phase)
        if phase is not self._phase and phase != self._phase:
            self._begin(phase)
        kind = kind_of(batch, phase)
        recording = self._recordings.get(kind)
        if recording is not None:
            if not recording.compared:
                return self._compared(recording, kind, batch)
            fill(recording.batch, batch)
            return recording.operations.repeat()
        if kind in self._recordings or not self._may_record():
            return self._as_it_is(batch, phase)
        self._made[kind] = self._made.get(kind, 0) + 1
        if self._made[kind] <= _WARM_UP:
            return self._as_it_is(batch, phase)
        return self._record(kind, batch)

    def _may_record(self) -> bool:
        held = sum(each.operations.n_bytes for each in self._recordings.values() if each is not None)
        return len(self._recordings) < _KINDS and held <= _SECOND_BYTES

    def _as_it_is(self, batch: Batch, phase: Phase) -> Tensor:
        return self._rule.learn(self._net, self._state, batch, phase)

    def _record(self, kind: Kind, batch: Batch) -> Tensor:
        self._recordings[kind] = None
        mine = copied(batch)
        with recording() as recorder:
            losses = self._as_it_is(mine, kind[0])
        operations = as_list(recorder, losses, self._constants())
        if isinstance(operations, Operations):
            if operations.writes_only(self._tensors()):
                self._recordings[kind] = _Recording(mine, operations)
            else:
                fill(batch, mine)  # it may have written to its batch
        return losses

    def _compared(self, recording: _Recording, kind: Kind, batch: Batch) -> Tensor:
        """The step as it is; whether a repetition of the recorded one gives the same is noted."""
        undo = _Undo(self._tensors())
        fill(recording.batch, batch)
        its_losses = None
        try:
            its_losses = recording.operations.repeat().clone()
        except Exception:  # noqa: BLE001 - whatever a call of the list raises, the step itself follows
            self._recordings[kind] = None
        finally:
            undo()
        before = self._beside_tensors()
        losses = self._as_it_is(batch, kind[0])
        repeated = None if its_losses is None else [its_losses, *undo.instead]
        if repeated and all(map(same_bits, repeated, [losses, *self._tensors()])) and before == self._beside_tensors():
            recording.compared = True
            self._make_ready(recording, kind)
        else:
            self._recordings[kind] = None
        return losses

    def _make_ready(self, recording: _Recording, kind: Kind) -> None:
        mine, operations = recording.batch, recording.operations
        if mine.weight is None and not self._rule.upkeep():
            parts = (("x", mine.x), ("y", mine.y), ("key", mine.key))
            places = tuple((name, part) for name, part in parts if operations.uses(part))
            self._ready = (*self._ready, _Ready(kind, places, operations))

    def _beside_tensors(self) -> tuple[object, ...]:
        """What a step changes only if it counts or draws in Python, or puts other tensors into the places of those that are."""
        numbers = pickle.dumps(np.random.get_state())
        return fixed(self._net, self._state), random.getstate(), numbers

    def _constants(self) -> list[Tensor]:
        """Hyper-parameters, which no step changes; periodic work may, and torch does not count every way to write."""
        return [] if self._rule.upkeep() else list(self._state.hyper.buffers())

    def _tensors(self) -> list[Tensor]:
        return [tensor for _, tensor in named_tensors(self._net, self._state)]


class _Undo:
    """Puts back what tensors, and torch's draws on a processor, were when it was made.

    Attributes:
        instead: what the tensors were when they were put back, once they have been.
    """

    def __init__(self, tensors: list[Tensor]) -> None:
        self._tensors, self._before, self._draws = tensors, [each.clone() for each in tensors], torch.get_rng_state()
        self.instead = self._before

    def __call__(self) -> None:
        for tensor, value in zip(self._tensors, self._before, strict=True):
            now = tensor.clone()
            tensor.copy_(value)
            value.copy_(now)
        torch.set_rng_state(self._draws)


def is_watched(net: Chain, state: State) -> bool:
    """Whether Python is to be called within steps: hooks, observers of optimisers, or a mode of torch's functions."""
    return (
        _get_current_function_mode() is not None
        or bool(nn.modules.module._has_any_global_hook())
        or any(optimiser.observer is not None or optimiser.addition is not None for optimiser in state.optimisers())
        or any(why_hooked(module) is not None for module in net.modules())
    )
