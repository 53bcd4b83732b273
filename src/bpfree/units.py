"""Units: conversions, and numbers as people read them. Inside bpfree everything is SI (s, J, W, bytes) and fractions."""

from __future__ import annotations

import math
import re

from bpfree.errors import UsageError

__all__ = [
    "J_PER_WH",
    "check_limit",
    "format_bytes",
    "format_co2",
    "format_count",
    "format_energy",
    "format_percent",
    "format_time",
    "j_to_kwh",
    "parse_bytes",
]

J_PER_WH = 3600.0
"""Joules in a watt-hour (exact)."""

MISSING = "–"
"""What stands on a screen where nothing was measured; never 0."""


def j_to_kwh(energy_j: float) -> float:
    """Joules to kilowatt-hours."""
    return energy_j / (1000.0 * J_PER_WH)


def _scaled(value: float, steps: tuple[tuple[float, str], ...]) -> str:
    """Three digits in the largest unit that gives at least 1 once rounded; never an exponent where people read digits."""
    factor, unit = next((step for step in steps if float(f"{abs(value) / step[0]:.3g}") >= 1), steps[-1])
    number = value / factor
    return f"{number:.0f} {unit}" if abs(number) >= 999.5 else f"{number:.3g} {unit}"


def format_energy(energy_j: float | None) -> str:
    """``1234.5`` J to ``"1.23 kJ"``."""
    if energy_j is None:
        return MISSING
    return _scaled(energy_j, ((1e9, "GJ"), (1e6, "MJ"), (1e3, "kJ"), (1.0, "J"), (1e-3, "mJ")))


def format_time(time_s: float | None) -> str:
    """``0.0123`` s to ``"12.3 ms"``; from two minutes on as ``"3 min 20 s"``; infinite is ``"never"``."""
    if time_s is None:
        return MISSING
    if math.isinf(time_s):
        return "never"
    if time_s >= 7200:
        hours, rest = divmod(round(time_s / 60), 60)
        return f"{hours} h {rest:02d} min"
    if time_s >= 120:
        minutes, rest = divmod(round(time_s), 60)
        return f"{minutes} min {rest:02d} s"
    return _scaled(time_s, ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")))


def format_bytes(size_bytes: float | None) -> str:
    """Bytes in binary units: ``"1.5 MiB"``."""
    if size_bytes is None:
        return MISSING
    return _scaled(size_bytes, ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")))


def format_count(count: float | None) -> str:
    """A count (operations, parameters) with decimal prefixes: ``"3.4 G"``."""
    if count is None:
        return MISSING
    return _scaled(count, ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))).rstrip()


def format_co2(mass_g: float | None) -> str:
    """Grams of CO2 equivalent."""
    if mass_g is None:
        return MISSING
    return _scaled(mass_g, ((1e6, "t"), (1e3, "kg"), (1.0, "g"), (1e-3, "mg"), (1e-6, "µg")))


def format_percent(fraction: float | None, digits: int = 2) -> str:
    """A fraction as per cent, ``0.9785`` to ``"97.85"`` (the column says that it is per cent)."""
    return MISSING if fraction is None else f"{100 * fraction:.{digits}f}"


_BYTES = {"b": 1} | {
    f"{prefix}{unit}": base**power for power, prefix in enumerate("kmgt", 1) for unit, base in (("ib", 1024), ("b", 1000))
}


def parse_bytes(text: str, option: str = "--max-memory") -> int:
    """``"2GiB"``, ``"1.5 GB"`` or ``"800MiB"`` as bytes; a number alone is bytes.

    Raises:
        UsageError: something else, or nothing above 0; ``option`` names what was asked.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z]*)\s*", text)
    factor = _BYTES.get((match[2] or "b").lower()) if match else None
    if match is None or factor is None or round(float(match[1]) * factor) < 1:
        raise UsageError(f"{option} must be bytes above 0 with a unit (B, kB, MB, GB, KiB, MiB, GiB), such as 2GiB, got {text!r}")
    return round(float(match[1]) * factor)


def check_limit(name: str, value: float | None) -> None:
    """Refuse a limit that nothing can keep.

    Args:
        name: of the option, such as ``"max_seconds"``.
        value: None for no limit.

    Raises:
        UsageError: not a finite number above 0.
    """
    if value is not None and not (math.isfinite(value) and value > 0):
        raise UsageError(f"--{name.replace('_', '-')} must be above 0, got {value:g}")
