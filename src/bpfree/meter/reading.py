"""From counter differences to a reading: which sources are summed, which are cross-checks, and the reason of every null."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bpfree.meter.sources import EnergySource, Missing

__all__ = ["RESOLVED_PERIODS", "Reading", "build_reading", "gaps", "summed"]

RESOLVED_PERIODS = 20
"""A window shorter than this many periods of its slowest counter is not resolved: an edge may be off by one period, 5 %."""

DISAGREEMENT = 0.05
"""Relative difference between a counter and its cross-check from which the reading carries a flag."""

FLAG = "energy.flag."

_METHODS = ("nvml-counter", "rapl", "replay", "zeus", "nvml-power", "estimate")
"""Best first: where two sources measure the same thing, the better is summed and the other checks it."""


@dataclass(frozen=True)
class Reading:
    """What one window measured.

    Attributes:
        time_s: wall time between the synchronised edges (s).
        joules: gross energy of all summed sources (J), or ``None`` with its reason. Never 0 for "not measured".
        net_joules: gross minus idle power x time (J); may be negative by noise. ``None`` without idle power.
        method, scope: of the summed sources, joined by ``+``.
        measured: false when an estimate is in the sum, or there is none.
        resolved: the window was at least 20 periods of the slowest summed counter.
        sources: joules of every source by name, cross-checks too.
        reasons: why each null is null, under ``energy.joules``, ``energy.sources.NAME`` ...; and what a reader must know about a
            number that is there, under ``energy.flag.NAME``.
    """

    time_s: float
    joules: float | None
    net_joules: float | None
    method: str | None
    scope: str | None
    measured: bool
    resolved: bool
    sources: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def flags(self) -> dict[str, str]:
        """Warnings by name: ``cross-check``, ``co-tenant``, ``estimate``."""
        return {key.removeprefix(FLAG): text for key, text in self.reasons.items() if key.startswith(FLAG)}


def _rank(source: EnergySource) -> int:
    return _METHODS.index(source.method) if source.method in _METHODS else len(_METHODS)


def summed(sources: Sequence[EnergySource]) -> tuple[EnergySource, ...]:
    """The sources whose joules add up without counting anything twice.

    One for each (scope, domain), by the best method. A measured source of scope "machine" (a meter at the plug) contains all
    others, and is the only one summed.
    """
    best: dict[tuple[str, str], EnergySource] = {}
    for source in sources:
        if source.scope == "machine" and source.measured:
            return (source,)
        key = (source.scope, source.domain)
        if key not in best or _rank(source) < _rank(best[key]):
            best[key] = source
    return tuple(best.values())


def gaps(sources: Sequence[EnergySource], missing: Sequence[Missing]) -> tuple[Missing, ...]:
    """Counters that are there and cannot be read, without which the summed sources are a part and no total."""
    scopes = {source.scope for source in summed(sources)}
    if not scopes or "machine" in scopes:
        return ()
    spoilt = scopes | {"gpu-board"} | ({"cpu-package"} if "dram" in scopes else set[str]())
    return tuple(each for each in missing if each.scope in spoilt)


def _joined(words: Sequence[str]) -> str | None:
    return "+".join(dict.fromkeys(words)) or None


def build_reading(
    time_s: float,
    sources: Sequence[EnergySource],
    spent: Mapping[str, float | str],
    *,
    missing: Sequence[Missing] = (),
    idle_w: Mapping[str, float] | None = None,
    not_idle: str | None = None,
    others: str | None = None,
) -> Reading:
    """Make the reading of a window.

    Args:
        spent: by source name the joules of the window, or the reason why there are none.
        not_idle: why idle power could not be measured, in words.
        others: other processes on the device, in words.
    """
    reasons: dict[str, str] = {}
    values: dict[str, float | None] = {}
    for source in sources:
        value = spent[source.name]
        if not isinstance(value, str) and not math.isfinite(value):
            value = f"the source gave {value}, which is no number of joules"
        elif not isinstance(value, str) and value <= 0:
            value = _stood_still(source, time_s)
        if isinstance(value, str):
            reasons[f"energy.sources.{source.name}"] = value
        values[source.name] = None if isinstance(value, str) else value
    chosen = summed(sources)
    joules = _total(chosen, values, reasons, missing)
    if joules is not None:
        reasons |= _cross_checks(time_s, sources, chosen, values)
        reasons |= {f"{FLAG}estimate": f"an estimate, not a measurement: {each.basis}" for each in chosen if not each.measured}
        if others is not None:
            reasons[f"{FLAG}co-tenant"] = others
    counted = chosen if joules is not None else ()
    if joules is None:
        reasons["energy.method"] = reasons["energy.scope"] = "no energy was measured"
    return Reading(
        time_s=time_s,
        joules=joules,
        net_joules=_net(joules, time_s, chosen, idle_w, not_idle, reasons),
        method=_joined([source.method for source in counted]),
        scope=_joined([source.scope for source in counted]),
        measured=bool(counted) and all(source.measured for source in counted),
        resolved=bool(counted) and time_s >= RESOLVED_PERIODS * max(source.period_s for source in counted),
        sources=values,
        reasons=reasons,
    )


def _stood_still(source: EnergySource, time_s: float) -> str:
    if time_s < RESOLVED_PERIODS * source.period_s:
        return f"the window ({time_s:.3g} s) is too short for a counter that moves every {source.period_s:g} s"
    return f"the counter stood still for {time_s:.3g} s, so it was not counting"


def _total(
    chosen: Sequence[EnergySource],
    values: Mapping[str, float | None],
    reasons: dict[str, str],
    missing: Sequence[Missing],
) -> float | None:
    if not chosen:
        absent = "; ".join(f"{entry.name}: {entry.reason}" for entry in missing)
        reasons["energy.joules"] = f"no energy source: {absent}" if absent else "no energy source was given"
        return None
    failed = {source.name: reasons[f"energy.sources.{source.name}"] for source in chosen if values[source.name] is None}
    failed |= {each.name: each.reason for each in gaps(chosen, missing)}
    if failed:
        # A sum without one of its parts would look like a cheaper run.
        why = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        reasons["energy.joules"] = f"not every source could be read, and a part is no total ({why})"
        return None
    return sum(value for source in chosen if (value := values[source.name]) is not None)


def _net(
    joules: float | None,
    time_s: float,
    chosen: Sequence[EnergySource],
    idle_w: Mapping[str, float] | None,
    not_idle: str | None,
    reasons: dict[str, str],
) -> float | None:
    if joules is None:
        reasons["energy.net_joules"] = reasons["energy.joules"]
        return None
    if not_idle is not None:
        reasons["energy.net_joules"] = f"idle power was not measured, since {not_idle} while the machine should have been idle"
        return None
    without = [source.name for source in chosen if source.name not in (idle_w or {})]
    if idle_w is None or without:
        reasons["energy.net_joules"] = f"idle power was not measured before the run ({', '.join(without)})"
        return None
    return joules - time_s * sum(idle_w[source.name] for source in chosen)


def _cross_checks(
    time_s: float,
    sources: Sequence[EnergySource],
    chosen: Sequence[EnergySource],
    values: Mapping[str, float | None],
) -> dict[str, str]:
    differences = []
    for check in sources:
        value = values[check.name]
        for main in chosen:
            reference = values[main.name]
            same = (main.scope, main.domain) == (check.scope, check.domain) and main is not check
            # In a short window the two may differ by what lies between their updates.
            resolved = time_s >= RESOLVED_PERIODS * max(main.period_s, check.period_s)
            if same and resolved and value is not None and reference is not None:
                difference = (value - reference) / reference
                if abs(difference) > DISAGREEMENT:
                    gives = f"{check.name} gives {value:.4g} J, {main.name} {reference:.4g} J"
                    differences.append(f"{gives} ({difference:+.1%})")
    return {f"{FLAG}cross-check": "; ".join(differences)} if differences else {}
