"""When training ends: one rule, the same object for every arm. It belongs to the ruleset, never to an algorithm."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bpfree.algorithms import Phase
from bpfree.errors import UsageError

__all__ = ["Metric", "Patience", "StopRule", "Watch", "stop_in"]

Metric = Literal["validation-accuracy", "validation-loss"]


@dataclass(frozen=True)
class Patience:
    """Stop a phase after ``patience`` passes without improvement, and the run at ``max_passes`` in total.

    A rule of several phases shares the cap: a phase may use the passes that are left divided by the phases still to come,
    rounded up; what it leaves goes to the next. Patience starts afresh with each phase; the best state of a phase is restored
    at its end.

    Args:
        patience: passes without improvement before a phase ends; None never ends it early.
        max_passes: cap on passes, at least 1.
        min_delta: an improvement must exceed this (fraction of accuracy, or nats of loss).
        metric: what is watched on the validation split.
        restore_best: restore the state of the best pass; if not, the last state stays.
        per_phase: every phase has the whole cap to itself (only to reproduce spyra2026).
        own_cap: cap on the passes of this phase alone, instead of its share of what the run has left.
        max_hours: wall time of the run after which it ends as if its passes were used up.

    Raises:
        UsageError: a value out of range.
    """

    patience: int | None
    max_passes: int
    min_delta: float = 0.0
    metric: Metric = "validation-accuracy"
    restore_best: bool = True
    per_phase: bool = False
    own_cap: int | None = None
    max_hours: float | None = None

    def __post_init__(self) -> None:
        if self.patience is not None and self.patience < 1:
            raise UsageError(f"patience must be at least 1 (or None, to never stop early), got {self.patience}")
        if self.max_passes < 1:
            raise UsageError(f"max_passes must be at least 1, got {self.max_passes}")
        if self.own_cap is not None and self.own_cap < 1:
            raise UsageError(f"own_cap must be at least 1 (or None), got {self.own_cap}")
        if not (math.isfinite(self.min_delta) and self.min_delta >= 0):
            raise UsageError(f"min_delta must be a finite number at least 0, got {self.min_delta}")

    def cap(self, used: int, phases_to_come: int) -> int:
        """Passes that a phase may use when ``used`` are gone and ``phases_to_come`` (itself included) remain."""
        if self.per_phase:
            return self.max_passes
        left = self.max_passes - used
        return math.ceil(left / phases_to_come) if self.own_cap is None else min(self.own_cap, left)

    def out_of_time(self, time_s: float) -> bool:
        """Whether the wall time of the run is used up."""
        return self.max_hours is not None and time_s >= 3600 * self.max_hours


StopRule = Patience | Callable[[Phase], Patience]
"""One stop rule for the whole run, or one for each phase (a ruleset may except single phases, in writing)."""


def stop_in(stop: StopRule, phase: Phase) -> Patience:
    """The stop rule that holds in a phase."""
    return stop if isinstance(stop, Patience) else stop(phase)


@dataclass
class Watch:
    """The stop rule at work within one phase.

    Attributes:
        best: best value of the metric so far, None before the first pass.
        waited: passes since then.
        passes: passes of this phase so far.
        cap: passes that this phase may use.
    """

    cap: int
    best: float | None = None
    waited: int = 0
    passes: int = 0

    def see(self, value: float, stop: Patience) -> bool:
        """Take in the value after a pass; returns whether it is the best so far."""
        self.passes += 1
        sign = 1.0 if stop.metric == "validation-accuracy" else -1.0
        improved = math.isfinite(value) and (self.best is None or sign * (value - self.best) > stop.min_delta)
        if improved:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        return improved

    def over(self, stop: Patience) -> bool:
        """Whether the phase has ended."""
        return self.passes >= self.cap or (stop.patience is not None and self.waited >= stop.patience)

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)
