"""Processor and memory energy from RAPL, through Linux' powercap tree (Intel, and AMD from Zen on).

Only the domains ``package-N`` and their subdomains ``dram`` are read. ``core`` and ``uncore`` are parts of the package, ``psys``
contains it, and ``intel-rapl-mmio`` is the same package read in another way: adding any of them would count twice.

Sources: Linux, Documentation/power/powercap/powercap.rst (energy_uj, max_energy_range_uj in microjoules); the counter moves about
every millisecond (Intel SDM vol. 3B, 16.10.3); since 2020 it can be read by root only (CVE-2020-8694).
"""

from __future__ import annotations

import re
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
    for package in packages:
        label = _label(package)
        if label is None or not label.startswith("package"):
            continue
        domains = [(package, f"rapl:{label}", "cpu-package")]
        number = label.removeprefix("package-")
        domains += [(path, f"rapl:dram-{number}", "dram") for path in _subdomains(root, package) if _label(path) == "dram"]
        for path, name, scope in domains:
            source = _open(path, name, scope)
            (missing if isinstance(source, Missing) else sources).append(source)  # type: ignore[arg-type]  # one of two lists, by the type of the item
    if not sources and not missing:
        reason = "Linux offers no RAPL energy counter here (a virtual machine, a container, or another processor)"
        missing.append(Missing("rapl", reason, _CURE_ABSENT))
    return sources, missing


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
        return Missing(name, "the counter is there, but Linux lets only root read it", _CURE_PERMISSION)
    except (OSError, ValueError) as error:
        return Missing(name, f"the counter is there, but reading it failed: {error}", _CURE_ABSENT)
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
