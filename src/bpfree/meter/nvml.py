"""Energy of an NVIDIA board: the driver's own counter, its power reading integrated as a cross-check, and its timeline.

Boards are found by UUID, never by index: ``CUDA_VISIBLE_DEVICES`` and PCI order change what index 0 means.

Sources: NVML API reference, ``nvmlDeviceGetTotalEnergyConsumption`` (millijoules since the driver was loaded, Volta and later),
``nvmlDeviceGetPowerUsage`` (milliwatts; from Ampere on, GA100 excepted, an average over one second; on A100 and H100 it samples a
quarter of the time, arXiv 2312.02741). The counter moves every 20 to 100 ms (PETSc manual, energy).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Any

import psutil
import pynvml
import torch

from bpfree.meter.power import PowerIntegral
from bpfree.meter.sources import CountingSource, EnergySource, Missing, SourceError
from bpfree.meter.timeline import Probe, Sample, busy_processors, processor_seconds

__all__ = ["NvmlProbe", "cuda_uuid", "detect_nvml", "driver_version"]

_COUNTER_PERIOD_S = 0.1
_MAX_BOARD_W = 3000.0
"""More than any board or module draws (a GB200 superchip is specified at 2,700 W)."""

_CURE_NO_DRIVER = (
    "install NVIDIA's driver (it brings libnvidia-ml.so.1); in a container, start it with --gpus all and "
    "NVIDIA_DRIVER_CAPABILITIES=compute,utility"
)
_CURE_MIG = "turn MIG off (nvidia-smi -mig 0, as root), or run on a board without it: NVML has no energy per instance"
_CURE_COUNTER = "run on a board of the Volta generation or later that is not a virtual GPU"
_CURE_PERMISSION = "ask the administrator of the machine; the driver refuses this query to this user"


def cuda_uuid(device: torch.device) -> str:
    """The UUID of a CUDA device as torch numbers it, ``CUDA_VISIBLE_DEVICES`` included; without the ``GPU-``."""
    index = device.index if device.index is not None else torch.cuda.current_device()
    return str(torch.cuda.get_device_properties(index).uuid).removeprefix("GPU-")


def _described(error: pynvml.NVMLError) -> str:
    return f"NVML says: {error}"


def _query(call: Callable[..., Any], *args: Any) -> Any:
    """Call NVML; its refusal becomes a :class:`SourceError`."""
    try:
        return call(*args)
    except pynvml.NVMLError as error:
        raise SourceError(_described(error)) from error


def _quietly(call: Callable[..., Any], *args: Any) -> Any:
    """Call NVML; ``None`` where it refuses."""
    try:
        return call(*args)
    except pynvml.NVMLError:
        return None


def driver_version() -> str | None:
    """Of NVIDIA's driver, such as ``"580.159.04"``; ``None`` where there is none, or it does not say."""
    _quietly(pynvml.nvmlInit)
    version = _quietly(pynvml.nvmlSystemGetDriverVersion)
    return version.decode() if isinstance(version, bytes) else version


def detect_nvml(uuid: str) -> tuple[list[EnergySource], list[Missing], Probe | None]:
    """Energy sources and probe of the board with this UUID (without ``GPU-``).

    Returns:
        The sources, best first; what is missing, with its cure; the probe, or ``None`` when there is no driver.
    """
    name = f"GPU-{uuid[:8]}"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return (
            [],
            [Missing("nvml", f"no NVIDIA driver could be asked ({_described(error)})", _CURE_NO_DRIVER)],
            None,
        )
    handle = _quietly(pynvml.nvmlDeviceGetHandleByUUID, f"GPU-{uuid}")
    if handle is None:
        if _quietly(pynvml.nvmlDeviceGetHandleByUUID, f"MIG-{uuid}") is not None:
            return [], [Missing(f"nvml:{name}", "the device is a MIG instance", _CURE_MIG)], None
        return [], [Missing(f"nvml:{name}", "the driver has no board of this UUID", _CURE_NO_DRIVER)], None
    mig = _quietly(pynvml.nvmlDeviceGetMigMode, handle)
    if mig is not None and mig[0] == pynvml.NVML_DEVICE_MIG_ENABLE:
        reason = "MIG is on: the board's energy is that of all instances together"
        return [], [Missing(f"nvml:{name}", reason, _CURE_MIG)], NvmlProbe(handle)
    sources: list[EnergySource] = []
    missing: list[Missing] = []
    for make in (_counter, _power):
        try:
            sources.append(make(handle, name))
        except pynvml.NVMLError as error:
            refused = error.value == pynvml.NVML_ERROR_NO_PERMISSION  # type: ignore[attr-defined]  # made when the module is imported
            cure = _CURE_PERMISSION if refused else _CURE_COUNTER
            missing.append(Missing(f"nvml-{make.__name__.strip('_')}:{name}", _described(error), cure))
    return sources, missing, NvmlProbe(handle)


def _counter(handle: Any, name: str) -> CountingSource:
    pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)  # raises where the board has no counter
    return CountingSource(
        f"nvml-counter:{name}",
        scope="gpu-board",
        method="nvml-counter",
        period_s=_COUNTER_PERIOD_S,
        read=lambda: _query(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle),
        joules_per_count=1e-3,
        modulus=1 << 64,
        max_power_w=_MAX_BOARD_W,
    )


def _power(handle: Any, name: str) -> PowerIntegral:
    pynvml.nvmlDeviceGetPowerUsage(handle)
    return PowerIntegral(
        f"nvml-power:{name}",
        scope="gpu-board",
        method="nvml-power",
        read_w=lambda: _query(pynvml.nvmlDeviceGetPowerUsage, handle) / 1e3,
    )


class NvmlProbe(Probe):
    """Clocks (MHz), power (W), utilisation (fraction), temperature (degrees Celsius), used memory (bytes) of a board."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._process = psutil.Process()
        self._start = processor_seconds(self._process)

    def open(self) -> None:
        self._start = processor_seconds(self._process)

    def not_idle(self, scopes: Collection[str]) -> str | None:
        on_board = super().not_idle(scopes)
        if on_board is not None or set(scopes) <= {"gpu-board"}:
            return on_board
        return busy_processors(self._start, processor_seconds(self._process))

    def sample(self, time_s: float) -> Sample:
        handle = self._handle
        power_mw = _quietly(pynvml.nvmlDeviceGetPowerUsage, handle)
        rates = _quietly(pynvml.nvmlDeviceGetUtilizationRates, handle)
        memory = _quietly(pynvml.nvmlDeviceGetMemoryInfo, handle)
        return Sample(
            time_s,
            power_w=None if power_mw is None else power_mw / 1e3,
            clock_mhz=_quietly(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
            memory_clock_mhz=_quietly(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_MEM),
            utilisation=None if rates is None else rates.gpu / 100,
            temperature_c=_quietly(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
            memory_bytes=None if memory is None else memory.used,
        )

    def others(self) -> str | None:
        processes = _quietly(pynvml.nvmlDeviceGetComputeRunningProcesses, self._handle)
        if not processes:
            return None
        n_others = sum(process.pid != os.getpid() for process in processes)
        # In a container the driver reports pids of the host, so this process is among those that seem to be others.
        if n_others == len(processes) and torch.cuda.is_initialized():
            n_others -= 1
        if n_others <= 0:
            return None
        who = "another process" if n_others == 1 else f"{n_others} other processes"
        return f"{who} computed on the same board, and its joules include theirs"
