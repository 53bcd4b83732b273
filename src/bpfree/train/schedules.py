"""Learning-rate schedules: a factor by passes done (e) and cap (E), both of the phase; a ruleset opens one to all arms."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["LR_SCHEDULES"]


def _constant(_passes: int, _cap: int) -> float:
    return 1.0


def _linear_cooldown(passes: int, cap: int) -> float:
    """1 in the first half of the nominal passes, then linearly towards 0: 2 (1 + E − e) / E (loeweX/Forward-Forward)."""
    return min(1.0, 2.0 * (cap - passes) / cap)


def _cosine(passes: int, cap: int) -> float:
    """½ (1 + cos(π e / E)) (Loshchilov and Hutter, arXiv 1608.03983, without restarts)."""
    return 0.5 * (1.0 + math.cos(math.pi * passes / cap))


LR_SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "constant": _constant,
    "linear-cooldown": _linear_cooldown,
    "cosine": _cosine,
}
"""Factor on the learning rate, by name; the names are those of :data:`bpfree.rulesets.schema.LrSchedule`."""
