"""Processor and memory energy from RAPL, through Linux' powercap tree (Intel, and AMD from Zen on).

Only the domains ``package-N`` and their subdomains ``dram`` are read. ``core`` and ``uncore`` are parts of the package, ``psys``
contains it, and ``intel-rapl-mmio`` is the same package read in another way: adding any of them would count twice. A package of
several dies has a domain for each (``package-0-die-1``). On some processors these are counters of their own, on others all show
the one counter of the package: dies of a package whose counters show the same energy are one domain, read once.

Sources: Linux, Documentation/power/powercap/powercap.rst (energy_uj, max_energy_range_uj in microjoules); the counter moves about
every millisecond (Intel SDM vol. 3B, 16.10.3); since 2020 it can be read by root only (CVE-2020-8694).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

from bpfree.meter.sources import CountingSource, EnergySource, Missing, SourceError

__all__ = ["POWERCAP_ROOT", "detect_rapl"]

POWERCAP_ROOT = Path("/sys/class/powercap")

_PERIOD_S = 1e-3
_MAX_PACKAGE_W = 1000.0
"""More than any processor package draws (the largest of 2025 are specified at 500 W)."""

_UDEV_RULE = 'SUBSYSTEM=="powercap", ACTION=="add", RUN+="/bin/chmod -R a+r /sys%p"'
_CURE_PERMISSION = (
    "as root: chmod -R a+r /sys/class/powercap/intel-rapl:*; to keep it over a restart, put this line into "
    f"/etc/udev/rules.d/99-rapl.rules: {_UDEV_RULE}"
)
_CURE_ABSENT = (
    "run on the machine itself rather than in a virtual machine; in a container, mount /sys/class/powercap; on bare metal: "
    "modprobe intel_rapl_msr. Or ask for a labelled estimate with --estimate-energy"
)


def detect_rapl(root: Path = POWERCAP_ROOT) -> tuple[list[EnergySource], list[Missing]]:
    """Find the package and DRAM domains under ``root``; what cannot be read comes back as missing, with its cure."""
    packages = sorted(path for path in _entries(root) if re.fullmatch(r"intel-rapl:\d+", path.name))
    sources: list[EnergySource] = []
    missing: list[Missing] = []
    taken: dict[tuple[str, str], list[Path]] = {}
    for path, name, scope, package in _domains(root, packages):
        twins = taken.setdefault((package, scope), [])
        if any(_mirror(path, twin) for twin in twins):
            continue
        twins.append(path)
        if name in (source.name for source in sources):
            name = f"{name} ({path.name})"  # two domains of one name that count apart
        source = _open(path, name, scope)
        (missing if isinstance(source, Missing) else sources).append(source)  # type: ignore[arg-type]  # one of two lists, by the type of the item
    if not sources and not missing:
        reason = "Linux offers no RAPL energy counter here (a virtual machine, a container, or another processor)"
        missing.append(Missing("rapl", reason, _CURE_ABSENT))
    return sources, missing


def _domains(root: Path, packages: list[Path]) -> Iterator[tuple[Path, str, str, str]]:
    """Path, name, scope and package of every domain to read."""
    for package in packages:
        label = _label(package)
        if label is None or not label.startswith("package"):
            continue
        number = label.removeprefix("package-")
        whole = number.partition("-die-")[0]
        yield package, f"rapl:{label}", "cpu-package", whole
        for path in _subdomains(root, package):
            if _label(path) == "dram":
                yield path, f"rapl:dram-{number}", "dram", whole


def _mirror(path: Path, other: Path) -> bool:
    """Whether two domains of one package show the same counter: equal but for what is drawn from one reading to the next.

    Counters of their own, which run from when the machine started, agree so by chance about once in 20,000 times.
    """
    try:
        start_s = time.monotonic()
        first, second, again = (_read_uj(each / "energy_uj") for each in (other, path, other))
        modulus = int((path / "max_energy_range_uj").read_text()) + 1
    except (OSError, ValueError, SourceError):
        return False
    drawn_uj = _MAX_PACKAGE_W * (time.monotonic() - start_s + 2 * _PERIOD_S) * 1e6
    return min(abs(second - value) for value in (first, again, first + modulus, again - modulus)) <= drawn_uj


def _entries(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError:
        return []


def _subdomains(root: Path, package: Path) -> list[Path]:
    """Each subdomain once: ``intel-rapl:0:2`` is listed both next to ``intel-rapl:0`` and inside it."""
    pattern = re.compile(re.escape(package.name) + r":\d+")
    by_name = {path.name: path for path in [*_entries(root), *_entries(package)] if pattern.fullmatch(path.name)}
    return [by_name[name] for name in sorted(by_name)]


def _label(path: Path) -> str | None:
    try:
        return (path / "name").read_text().strip()
    except OSError:
        return None


def _read_uj(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError) as error:
        raise SourceError(f"{path.parent.name}/{path.name} cannot be read any more: {error}") from error


def _open(path: Path, name: str, scope: str) -> CountingSource | Missing:
    try:
        modulus = int((path / "max_energy_range_uj").read_text()) + 1
        int((path / "energy_uj").read_text())
    except PermissionError:
        return Missing(name, "the counter is there, but Linux lets only root read it", _CURE_PERMISSION, scope)
    except (OSError, ValueError) as error:
        return Missing(name, f"the counter is there, but reading it failed: {error}", _CURE_ABSENT, scope)
    return CountingSource(
        name,
        scope=scope,
        method="rapl",
        period_s=_PERIOD_S,
        read=lambda: _read_uj(path / "energy_uj"),
        joules_per_count=1e-6,
        modulus=modulus,
        max_power_w=_MAX_PACKAGE_W,
    )
