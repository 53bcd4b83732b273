"""When training ends: one stop rule, the same object for every arm. It belongs to the ruleset, never to an algorithm.

Training follows it, and the auditor of a report replays it over a recorded history; both use :class:`Watch`. Nothing here needs
torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from bpfree.ends import EndReason
from bpfree.errors import UsageError

__all__ = ["EndReason", "Metric", "Patience", "PhaseLike", "StopRule", "Watch", "end_reason", "improves", "phase_cap", "stop_in"]

Metric = Literal["validation-accuracy", "balanced-accuracy", "validation-loss"]
"""What is watched on the validation split; balanced accuracy is the mean over the classes of the share classified rightly."""


class PhaseLike(Protocol):
    """What the stop rule needs to know of a phase; :class:`bpfree.algorithms.Phase` has it."""

    @property
    def index(self) -> int:
        """Which phase it is, from 0."""
        ...

    @property
    def count(self) -> int:
        """Number of phases of the run."""
        ...

    @property
    def name(self) -> str:
        """Name that exceptions of a ruleset refer to."""
        ...

    @property
    def max_passes(self) -> int | None:
        """Passes after which the algorithm has nothing more to do in this phase; None if it always has."""
        ...


def improves(value: float | None, best: float | None, metric: Metric, min_delta: float = 0.0) -> bool:
    """Whether ``value`` is an improvement over ``best``: finite, and better by more than ``min_delta``.

    Args:
        value: metric after a pass; None counts as not finite.
        best: best value so far in this phase; None before the first finite value, which always improves.
        metric: accuracy improves upwards, loss downwards.
        min_delta: in units of the metric (fraction of accuracy, or nats of loss).
    """
    if value is None or not math.isfinite(value):
        return False
    if best is None:
        return True
    gain = best - value if metric == "validation-loss" else value - best
    return gain > min_delta


@dataclass(frozen=True)
class Patience:
    """Stop a phase after ``patience`` passes without improvement, and the run at ``max_passes`` in total.

    An algorithm of several phases shares the cap: a phase may use the passes that are left divided by the phases still to come,
    rounded up; what it leaves goes to the next. The count of passes without improvement starts again with each phase; the best
    state of a phase is restored at its end.

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

    def exhausted(self, waited: int) -> bool:
        """Whether ``waited`` passes without improvement end a phase."""
        return self.patience is not None and waited >= self.patience

    def out_of_time(self, time_s: float) -> bool:
        """Whether the wall time of the run (s) is used up."""
        return self.max_hours is not None and time_s >= 3600 * self.max_hours


StopRule = Patience | Callable[[PhaseLike], Patience]
"""One stop rule for the whole run, or one for each phase (a ruleset may except single phases, in writing)."""


def stop_in(stop: StopRule, phase: PhaseLike) -> Patience:
    """The stop rule that holds in a phase."""
    return stop if isinstance(stop, Patience) else stop(phase)


def phase_cap(stop: Patience, used: int, phase: PhaseLike) -> int:
    """Passes that a phase may use when the run has used ``used``; fewer where the algorithm has nothing more to do."""
    cap = stop.cap(used, phase.count - phase.index)
    return cap if phase.max_passes is None else min(cap, phase.max_passes)


@dataclass
class Watch:
    """The stop rule at work within one phase.

    Attributes:
        cap: passes that this phase may use.
        best: best value of the metric so far, None before the first finite one.
        waited: passes since then.
        passes: passes of this phase so far.
    """

    cap: int
    best: float | None = None
    waited: int = 0
    passes: int = 0

    def see(self, value: float | None, stop: Patience) -> bool:
        """Take in the value after a pass; returns whether it is the best so far."""
        self.passes += 1
        improved = improves(value, self.best, stop.metric, stop.min_delta)
        if improved:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        return improved

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)


def end_reason(watch: Watch, stop: Patience, phase: PhaseLike, *, time_s: float, diverged: bool) -> EndReason | None:
    """Why a phase ended, or None while it goes on.

    The reasons, in the order in which they are looked for where several hold:

    - ``"diverged"``: the loss or the validation scores became NaN or infinite. It ends the run.
    - ``"patience"``: too many passes without improvement.
    - ``"itself"``: the algorithm has nothing more to do after ``phase.max_passes``.
    - ``"cap"``: the passes that the rule gives to the phase are used up, so more of them might have helped.
    - ``"hours"``: the wall time of the run is used up, before the phase would have ended otherwise. It ends the run.

    Args:
        watch: after its last pass; its ``cap`` is :func:`phase_cap`.
        time_s: wall time of the run so far (s).
        diverged: whether the last pass diverged.
    """
    if diverged:
        return "diverged"
    if stop.exhausted(watch.waited):
        return "patience"
    if phase.max_passes is not None and watch.passes >= phase.max_passes:
        return "itself"
    if watch.passes >= watch.cap:
        return "cap"
    return "hours" if stop.out_of_time(time_s) else None
