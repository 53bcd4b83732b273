"""When training ends: one rule, the same object for every arm. It belongs to the ruleset, never to an algorithm."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bpfree.errors import UsageError

__all__ = ["Metric", "Patience", "Watch"]

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
    max_hours: float | None = None

    def __post_init__(self) -> None:
        if self.patience is not None and self.patience < 1:
            raise UsageError(f"patience must be at least 1 (or None, to never stop early), got {self.patience}")
        if self.max_passes < 1:
            raise UsageError(f"max_passes must be at least 1, got {self.max_passes}")
        if not (math.isfinite(self.min_delta) and self.min_delta >= 0):
            raise UsageError(f"min_delta must be a finite number at least 0, got {self.min_delta}")

    def cap(self, used: int, phases_to_come: int) -> int:
        """Passes that a phase may use when ``used`` are gone and ``phases_to_come`` (itself included) remain."""
        if self.per_phase:
            return self.max_passes
        return math.ceil((self.max_passes - used) / phases_to_come)

    def out_of_time(self, time_s: float) -> bool:
        """Whether the wall time of the run is used up."""
        return self.max_hours is not None and time_s >= 3600 * self.max_hours


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
