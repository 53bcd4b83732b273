"""Which energy sources this machine offers for a device, and which it does not, with the cure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch

from bpfree.errors import DeviceError
from bpfree.meter import nvml
from bpfree.meter.estimate import EstimateSource
from bpfree.meter.rapl import POWERCAP_ROOT, detect_rapl
from bpfree.meter.sources import EnergySource, Missing
from bpfree.meter.timeline import HostProbe, Probe
from bpfree.meter.zeus_source import detect_zeus

__all__ = ["Detection", "detect"]


@dataclass(frozen=True)
class Detection:
    """Sources that the machine offers, sources that are missing, and a probe for the timeline of the device."""

    sources: tuple[EnergySource, ...]
    missing: tuple[Missing, ...]
    probe: Probe | None = None


def detect(device: torch.device | str, *, estimate: bool = False, powercap_root: Path = POWERCAP_ROOT) -> Detection:
    """Find the energy sources for work on ``device``: its board if it is a GPU, the processor, the memory.

    Args:
        device: where the work runs.
        estimate: add a labelled estimate for the processor and memory where they cannot be measured.
        powercap_root: Linux' powercap tree; another one in tests.

    Raises:
        DeviceError: a CUDA device that torch does not see.
    """
    device = torch.device(device)
    is_nvidia = device.type == "cuda" and torch.version.hip is None
    sources: list[EnergySource] = []
    missing: list[Missing] = []
    # A board of AMD has no probe here: its clocks stay out of the timeline.
    probe: Probe | None = HostProbe()
    if device.type == "cuda":
        n_boards = torch.cuda.device_count()
        if (device.index or 0) >= n_boards:
            raise DeviceError(f"device {device} is not there: torch sees {n_boards} CUDA devices; use cpu")
        if is_nvidia:
            sources, missing, probe = nvml.detect_nvml(nvml.cuda_uuid(device))
    rapl_sources, rapl_missing = detect_rapl(powercap_root)
    sources += rapl_sources
    missing += rapl_missing
    if not sources or (device.type != "cpu" and sources == rapl_sources):
        zeus_sources, zeus_missing = detect_zeus(device)
        sources += zeus_sources
        missing += [] if is_nvidia else zeus_missing  # NVML has given the reason already
    if device.type != "cpu" and not any(source.scope in ("gpu-board", "machine") for source in sources):
        missing = _without_board(device, missing)
    if estimate and not _processor_measured(sources, missing):
        sources = [source for source in sources if source.scope not in ("cpu-package", "dram")]  # the estimate has them in it
        sources.append(EstimateSource())
    return Detection(tuple(sources), tuple(missing), probe)


def _processor_measured(sources: list[EnergySource], missing: list[Missing]) -> bool:
    scopes = {source.scope for source in sources}
    return "machine" in scopes or ("cpu-package" in scopes and "cpu-package" not in {each.scope for each in missing})


def _without_board(device: torch.device, missing: list[Missing]) -> list[Missing]:
    """The missing sources, those of the board that does the work marked as such: without it no sum is a total."""
    board = [dataclasses.replace(each, scope="gpu-board") for each in missing if not each.name.startswith("rapl")]
    unknown = Missing(device.type, f"no energy counter of a {device.type} device is known", "run on another device", "gpu-board")
    return [*(board or [unknown]), *(each for each in missing if each.name.startswith("rapl"))]
