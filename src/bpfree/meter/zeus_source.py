"""AMD boards, Apple silicon and Jetson, by way of Zeus (``pip install zeus``; an extra, not a dependency).

Zeus counts in millijoules. Its ``total_energy`` is 0 where nothing was measured, so it is not used; the counters of the devices
are read one by one. Names as in Zeus 0.16: ``zeus.device.get_gpus().get_total_energy_consumption(index)`` and
``zeus.device.get_soc().get_total_energy_consumption()`` with its fields.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any

import torch

from bpfree.meter.sources import EnergySource, Missing, SourceError

__all__ = ["ZeusSource", "detect_zeus"]

_PERIOD_S = 1.0
"""Zeus states no period for these devices; a second is on the safe side."""

_CURE = "pip install zeus (for AMD also ROCm's amdsmi, for Apple zeus-apple-silicon)"

_SOC_FIELDS = (
    ("total_energy_mj", "zeus:board", "machine"),  # Jetson: contains the others
    ("cpu_total_mj", "zeus:processor", "cpu-package"),
    ("cpu_energy_mj", "zeus:processor", "cpu-package"),
    ("gpu_mj", "zeus:gpu", "gpu-board"),
    ("gpu_energy_mj", "zeus:gpu", "gpu-board"),
    ("dram_mj", "zeus:memory", "dram"),
)


class ZeusSource(EnergySource):
    """A counter of Zeus in millijoules; ``read_mj`` gives ``None`` when the device gives no value any more."""

    method = "zeus"
    measured = True
    period_s = _PERIOD_S

    def __init__(self, name: str, scope: str, read_mj: Callable[[], float | None], errors: tuple) -> None:
        self.name, self.scope = name, scope
        self._read_mj, self._errors = read_mj, errors
        self._lock = threading.Lock()

    def joules(self) -> float:
        with self._lock:
            try:
                energy_mj = self._read_mj()
            except self._errors as error:
                raise SourceError(f"Zeus says: {error}") from error
        if energy_mj is None:
            raise SourceError("Zeus gives no value any more")
        return energy_mj / 1e3


def detect_zeus(device: torch.device) -> tuple[list[EnergySource], list[Missing]]:
    """Sources by Zeus for an AMD board (torch's ROCm build calls it cuda), Apple silicon or a Jetson.

    Returns:
        Sources, and what is missing; both empty on a machine that is none of these.
    """
    try:
        zeus = importlib.import_module("zeus.device")
        errors: tuple[type[Exception], ...] = (importlib.import_module("zeus.exception").ZeusBaseError,)
    except ImportError:
        wanted = device.type != "cpu"
        return [], [Missing("zeus", "Zeus is not installed", _CURE)] if wanted else []
    try:
        if device.type == "cuda" and torch.version.hip is not None:
            return _amd(zeus.get_gpus(), device, errors)
        return _soc(zeus.get_soc(), errors)
    except errors as error:
        wanted = device.type != "cpu"
        return [], [Missing("zeus", f"Zeus says: {error}", _CURE)] if wanted else []


def _amd(gpus: Any, device: torch.device, errors: tuple) -> tuple[list[EnergySource], list[Missing]]:
    index = device.index or 0
    if len(gpus) != torch.cuda.device_count():
        reason = f"Zeus sees {len(gpus)} boards and torch {torch.cuda.device_count()}: which is which is not known"
        return [], [Missing("zeus", reason, "make all boards visible, or set the same ones for both")]
    if not gpus.supports_get_total_energy_consumption(index):
        reason = "Zeus says that this board's energy counter is not accurate"
        return [], [Missing("zeus", reason, "use another board")]
    read = lambda: gpus.get_total_energy_consumption(index)  # noqa: E731
    return [ZeusSource(f"zeus:board-{index}", "gpu-board", read, errors)], []


def _soc(soc: Any, errors: tuple) -> tuple[list[EnergySource], list[Missing]]:
    now = soc.get_total_energy_consumption()
    sources: list[EnergySource] = []
    for field, name, scope in _SOC_FIELDS:
        if getattr(now, field, None) is not None:

            def read(field: str = field) -> float | None:
                return getattr(soc.get_total_energy_consumption(), field)

            sources.append(ZeusSource(name, scope, read, errors))
    return sources, []
