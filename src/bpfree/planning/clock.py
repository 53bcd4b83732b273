"""Seconds of single operations on this machine: each is run by itself on random numbers, never a step of a rule.

What is measured is kept in the user's cache for this machine (processor, torch's version, number of threads); ``fresh`` measures
again. Between two operations of a step Python and torch's dispatcher take time as well: a fixed time an operation, fitted once to
the step of a net that is too small for its arithmetic to count. Steps that are repeated from a list (:mod:`bpfree.train.replay`)
have a fixed time of their own, often 0: an operation by itself makes its result, one of the list has a place for it.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pooch
import psutil
import torch

from bpfree.algorithms import Backprop, make, step
from bpfree.bench import environment
from bpfree.data import Batch
from bpfree.errors import BpfreeError
from bpfree.files import write_atomic
from bpfree.nets import mlp
from bpfree.planning.operations import Operation, operations_of
from bpfree.train import STEPS_BEFORE_REPETITION, initialise, stepper

__all__ = ["BETWEEN", "REPEATED", "Clock", "NotTimedError"]

WINDOW_S, WINDOWS = 3e-4, 3
"""Calls of one operation fill windows of at least so long; the least of so many windows counts."""

LONG_S = 0.02
"""An operation that takes longer is called once in a round."""

ROUNDS = 3
"""All new operations are timed so many times, one after another, so that no burst of other work falls on all windows of one."""

BETWEEN, REPEATED = "between two operations", "between two operations of a repeated step"
"""Keys of the fixed times an operation."""

SMALL_BATCH, SMALL_WIDTHS = 8, (8, 8, 8)
"""Of the step to which that is fitted."""


class NotTimedError(BpfreeError):
    """An operation that cannot be timed by itself: its arguments do not fit into memory, or it refuses random numbers."""


class Clock:
    """Seconds by operation.

    Args:
        path: file of what was measured before; None keeps nothing.
        fresh: measure again what the file holds.
    """

    def __init__(self, path: Path | None = None, *, fresh: bool = False) -> None:
        self._path = path
        self._known: dict[str, float] = {} if path is None or fresh else _read(path)
        self.measured_s = 0.0
        self._n_new = 0
        self._new: dict[str, Operation] = {}

    @classmethod
    def of_machine(cls, *, fresh: bool = False) -> Clock:
        """The clock of this machine and this number of threads, with what its cache holds."""
        facts = environment.facts(torch.device("cpu"))
        about = [facts.processor, facts.cores, facts.torch_threads, facts.float32_matmul_precision, facts.versions["torch"]]
        name = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
        return cls(Path(pooch.os_cache("bpfree")) / "plan" / f"{name}.json", fresh=fresh)

    def seconds(self, operations: Mapping[Operation, float], *, repeated: bool = False) -> float:
        """Seconds of these operations one after another, with what lies between them.

        Args:
            repeated: they are those of a step that is repeated from a list.

        Raises:
            NotTimedError: see :class:`NotTimedError`.
        """
        alone_s = sum(count * self._alone(operation) for operation, count in operations.items())
        return alone_s + self.between_s(operations, repeated=repeated)

    def between_s(self, operations: Mapping[Operation, float], *, repeated: bool = False) -> float:
        """Seconds between these operations, whatever their shapes."""
        key = REPEATED if repeated else BETWEEN
        if key not in self._known:
            self._keep(key, _between(self._alone, repeated=repeated))
        return self._known[key] * sum(operations.values())

    def settle(self, rounds: int = ROUNDS - 1) -> None:
        """Time what is new in further rounds and keep the least: a busy machine disturbs single windows."""
        if not self._new:
            return
        begin = time.perf_counter()
        for _ in range(rounds):
            for operation in self._new.values():
                self._keep(operation.text, min(self._known[operation.text], _least_s(operation.prepared())))
            for key in (BETWEEN, REPEATED):
                self._keep(key, min(self._known.get(key, math.inf), _between(self._alone, repeated=key == REPEATED)))
        self.measured_s += time.perf_counter() - begin

    def save(self) -> None:
        """Write what was measured into the cache; a cache that cannot be written is done without."""
        if self._path is None or not self._n_new:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._path, json.dumps(_read(self._path) | self._known, indent=0) + "\n")
        except (OSError, BpfreeError):
            return
        self._n_new = 0

    def _alone(self, operation: Operation) -> float:
        if operation.text not in self._known:
            if operation.argument_bytes * 3 > psutil.virtual_memory().available:
                raise NotTimedError("an operation needs more memory than is free, so it cannot be timed")
            begin = time.perf_counter()
            try:
                self._keep(operation.text, _least_s(operation.prepared()))
            except (RuntimeError, IndexError) as error:
                name = operation.text.partition("(")[0]
                raise NotTimedError(f"{name} cannot be timed by itself ({str(error).splitlines()[0]})") from error
            self._new[operation.text] = operation
            self.measured_s += time.perf_counter() - begin
        return self._known[operation.text]

    def _keep(self, key: str, value_s: float) -> None:
        self._known[key] = value_s
        self._n_new += 1


def now() -> float:
    """Seconds, of the processor where torch uses one thread, so that other processes count less; else of the wall."""
    return time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()


def _read(path: Path) -> dict[str, float]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): float(value) for key, value in values.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@torch.no_grad()
def _least_s(call: Callable[[], object]) -> float:
    """Seconds of one call, in the quietest window."""
    call()  # loads the kernel
    least = _window_s(call, 1)
    if least > LONG_S:
        return least
    calls = max(1, round(WINDOW_S / max(least, 1e-7)))
    return min(_window_s(call, calls) for _ in range(WINDOWS))


def _window_s(call: Callable[[], object], calls: int) -> float:
    begin = now()
    for _ in range(calls):
        call()
    return (now() - begin) / calls


def _between(alone: Callable[[Operation], float], *, repeated: bool) -> float:
    """Seconds an operation that the step of a tiny net takes beyond its operations."""
    rule = make(Backprop.name, {})
    net = mlp(SMALL_WIDTHS[0], SMALL_WIDTHS, 2)
    state = initialise(rule, net, 0)
    batch = Batch(torch.rand(SMALL_BATCH, SMALL_WIDTHS[0]), torch.zeros(SMALL_BATCH, dtype=torch.int64), torch.tensor(0))
    (phase,) = rule.phases(net)
    operations = operations_of(lambda: step(rule, net, state, batch, phase))
    take_step = stepper("eager", rule, net, state)
    for _ in range(STEPS_BEFORE_REPETITION):
        take_step(batch, phase)
    once = (lambda: take_step(batch, phase)) if repeated else (lambda: step(rule, net, state, batch, phase))
    least = min(_window_s(once, 20) for _ in range(2 * WINDOWS))
    beyond = (least - sum(count * alone(each) for each, count in operations.items())) / operations.total()
    return max(0.0, beyond)
