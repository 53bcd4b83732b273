"""Checks of the meter on this machine: idle and constant load, counter against integral, true period, overhead."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from bpfree.meter.meter import Meter, Window, synchronise
from bpfree.meter.reading import DISAGREEMENT, RESOLVED_PERIODS, summed
from bpfree.meter.sources import CountingSource, EnergySource, SourceError
from bpfree.meter.tracker import codecarbon_window

__all__ = ["Check", "calibrate", "counter_period_s", "matrix_load"]

OVERHEAD_LIMIT = 0.01
"""Processor seconds that the sampler may take in a second of run."""


@dataclass(frozen=True)
class Check:
    """One finding of a calibration. ``passed`` is ``None`` where nothing could be checked."""

    name: str
    value: float | None
    unit: str
    passed: bool | None
    text: str


def matrix_load(device: torch.device | str, size: int = 1024) -> Callable[[], object]:
    """A constant load: one product of square matrices a call."""
    a = torch.randn(size, size, device=device)
    out = torch.empty_like(a)
    return lambda: torch.mm(a, a, out=out)


def counter_period_s(source: EnergySource, *, seconds: float = 2.0) -> float | None:
    """How often the counter moves (s), by reading it without pause; ``None`` when it moved too seldom."""
    changes: list[float] = []
    last_j: float | None = None
    end_s = time.monotonic() + seconds
    source.open()
    while (now_s := time.monotonic()) < end_s:
        joules = source.joules()
        if last_j is not None and joules != last_j:
            changes.append(now_s)
        last_j = joules
        time.sleep(2e-4)
    gaps = [later - earlier for earlier, later in itertools.pairwise(changes)]
    return statistics.median(gaps) if len(gaps) >= 2 else None


def calibrate(
    meter: Meter, *, seconds: float = 5.0, load: Callable[[], object] | None = None, country: str | None = None
) -> list[Check]:
    """Run all checks that the sources of ``meter`` allow; takes about three times ``seconds``.

    Args:
        seconds: of idling and of load; both last 20 periods of the slowest counter at least.
        load: one call of the constant load; :func:`matrix_load` by default.
        country: where given, CodeCarbon's offline tracker watches the same load once more, as a second opinion.

    Raises:
        UsageError: ``seconds`` is not positive, or an unknown country.
    """
    idle_w = meter.measure_idle(seconds)
    work = matrix_load(meter.device) if load is None else load
    work()  # kernels are loaded before anything counts
    seconds = max([seconds, *(RESOLVED_PERIODS * source.period_s for source in summed(meter.sources))])
    window = _under_load(meter, work, seconds)
    checks = [_overhead(window)]
    if country is not None:
        checks.append(_second_opinion(meter, work, seconds, country))
    if not meter.sources:
        reasons = "; ".join(f"{entry.name}: {entry.reason}" for entry in meter.missing) or "none was given"
        return [Check("sources", None, "", None, f"no energy source to calibrate ({reasons})"), *checks]
    for source in meter.sources:
        checks.append(_power(source, idle_w, window, meter.not_idle))
        if isinstance(source, CountingSource):  # an integral moves whenever it is read
            checks.append(_period(source, seconds))
    return checks + _agreement(meter.sources, window)


def _under_load(meter: Meter, work: Callable[[], object], seconds: float) -> Window:
    with meter.window() as window:
        while window.elapsed_s() < seconds:
            work()
            synchronise(meter.device)
    return window


def _second_opinion(meter: Meter, work: Callable[[], object], seconds: float, country: str) -> Check:
    """What CodeCarbon measures of the same load; its scope differs, so nothing passes or fails."""
    with codecarbon_window(country) as codecarbon:
        window = _under_load(meter, work, seconds)
    assert window.reading is not None
    joules = window.reading.joules
    if codecarbon.joules is None:
        return Check("codecarbon", None, "J", None, str(codecarbon.reason))
    text = f"CodeCarbon gives {codecarbon.joules:.4g} J and {codecarbon.co2e_g:.3g} g CO2e ({codecarbon.scope})"
    beside = f"{joules:.4g} J of {window.reading.scope}" if joules is not None else "nothing that was measured here"
    return Check("codecarbon", codecarbon.joules, "J", None, f"{text}, beside {beside}")


def _overhead(window: Window) -> Check:
    assert window.reading is not None
    share = window.sampler_cpu_s / window.reading.time_s
    text = f"the sampler took {share:.2%} of one processor (limit {OVERHEAD_LIMIT:.0%})"
    return Check("overhead", share, "s/s", share < OVERHEAD_LIMIT, text)


def _power(source: EnergySource, idle_w: dict[str, float], window: Window, not_idle: str | None) -> Check:
    assert window.reading is not None
    name, joules, idle = f"power:{source.name}", window.reading.sources[source.name], idle_w.get(source.name)
    if not source.measured:
        return Check(name, None, "W", None, f"{source.name} is an estimate, not a measurement: {source.basis}")
    if joules is not None and not_idle is not None:
        text = f"{source.name}: {joules / window.reading.time_s:.4g} W under load; idle power is unknown, since {not_idle}"
        return Check(name, joules / window.reading.time_s, "W", None, text)
    if joules is None or idle is None:
        reason = window.reading.reasons.get(f"energy.sources.{source.name}", "it gave nothing while idle")
        return Check(name, None, "W", False, f"{source.name} could not be read: {reason}")
    load_w = joules / window.reading.time_s
    text = f"{source.name}: {idle:.4g} W idle, {load_w:.4g} W under constant load"
    rises = load_w > (1 + DISAGREEMENT) * idle
    text += "" if rises else "; it does not see the load, or something else was running while idle"
    return Check(name, load_w, "W", rises, text)


def _period(source: EnergySource, seconds: float) -> Check:
    name = f"period:{source.name}"
    try:
        period_s = counter_period_s(source, seconds=max(seconds, 3.5 * source.period_s))
    except SourceError as error:
        return Check(name, None, "s", False, f"{source.name} failed while it was read: {error}")
    if period_s is None:
        return Check(name, None, "s", None, f"{source.name} moved too seldom to find its period")
    text = f"{source.name} moves every {period_s:.3g} s; {source.period_s:g} s is assumed"
    return Check(name, period_s, "s", period_s <= source.period_s * 1.5, text)


def _agreement(sources: Sequence[EnergySource], window: Window) -> list[Check]:
    assert window.reading is not None
    checks = []
    for main in summed(sources):
        for other in sources:
            if other is main or (other.scope, other.domain) != (main.scope, main.domain):
                continue
            other_j, main_j = window.reading.sources[other.name], window.reading.sources[main.name]
            if other_j is None or main_j is None:
                continue
            difference = other_j / main_j - 1
            text = f"{other.name} differs from {main.name} by {difference:+.1%} (limit {DISAGREEMENT:.0%})"
            checks.append(Check(f"agreement:{main.domain}", difference, "1", abs(difference) <= DISAGREEMENT, text))
    return checks
