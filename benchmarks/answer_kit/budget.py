"""How the time is shared: every section has a share, what it leaves goes to those after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["LEAST_S", "SHARES", "Plan", "given_s", "plan"]

SHARES = {"doctor": 0.06, "costs": 0.39, "experiment": 0.37, "clocks": 0.08, "tests": 0.10}
"""Of the time, where all sections are to be run: 89, 577, 548, 118 and 148 s of 25 minutes, less 20 s for page and figures."""

LEAST_S = {"tests": 100.0}
"""A section that cannot do anything in less is left to a longer call, and its share to the others."""

_FINISH_S, _FINISH_SHARE = 20.0, 0.15
"""Time that page and figures are given (s), and its greatest share."""


@dataclass(frozen=True)
class Plan:
    """When measuring and testing end, on a monotonic clock (s).

    Attributes:
        end_s: of everything, page and figures included.
        tests_until_s: of the tests.
        worker_until_s: of the measuring sections.
        finish_s: what is left for page and figures after the tests.
        left_out: sections for which the time is too short, with the reason.
    """

    end_s: float
    tests_until_s: float
    worker_until_s: float
    finish_s: float
    left_out: dict[str, str]


def plan(start_s: float, total_s: float, pending: Sequence[str]) -> Plan:
    """Share ``total_s`` from ``start_s`` on among the sections that are to be run."""
    finish_s = min(_FINISH_S, _FINISH_SHARE * total_s)
    usable_s, left_out = total_s - finish_s, {}
    for name, least_s in LEAST_S.items():
        share_s = usable_s * SHARES[name] / sum(SHARES[each] for each in pending) if name in pending else least_s
        if share_s < least_s:
            left_out[name] = f"it needs {least_s:g} s, and its share of this call was {share_s:.0f} s; give it more --max-minutes"
    tests = "tests" in pending and "tests" not in left_out
    tests_s = usable_s * SHARES["tests"] / sum(SHARES[each] for each in pending) if tests else 0.0
    end_s = start_s + total_s
    return Plan(end_s, end_s - finish_s, end_s - finish_s - tests_s, finish_s, left_out)


def given_s(name: str, pending: Sequence[str], left_s: float) -> float:
    """The seconds of section ``name``, of ``left_s`` for all of ``pending``, which begins with it."""
    return max(0.0, left_s) * SHARES[name] / sum(SHARES[each] for each in pending)
