"""Section 1: what is measured here and how, idle and constant load, counter against integral (``bpfree doctor --calibrate``)."""

from __future__ import annotations

import dataclasses

from bpfree.meter.calibrate import calibrate, matrix_load
from bpfree.meter.doctor import diagnose
from bpfree.meter.sources import CountingSource

from .context import Context
from .store import Section

__all__ = ["run"]

_MOST_S = 21.0
"""An integral of power readings, averages over 1 s, needs 20 s to be compared with a counter."""

_GPU_LOAD, _LOAD = 4096, 1024
"""Size of the matrices of the constant load: a small product leaves a GPU idle half of the time."""


def run(context: Context, section: Section, given_s: float) -> str | None:
    """Calibrate for about ``given_s``; never more than it needs."""
    meter, device = context.meter, context.setting.device
    n_stages = 2 + sum(isinstance(source, CountingSource) for source in meter.sources)
    seconds = max(0.2, min(_MOST_S, 0.9 * given_s / n_stages))
    load = matrix_load(device, _GPU_LOAD if device.type == "cuda" else _LOAD)
    checks = calibrate(meter, seconds=seconds, load=load)
    findings = diagnose(device, context.detection, idle_w=meter.idle_w, not_idle=meter.not_idle)
    section.data = {
        "seconds": seconds,
        "idle_w": meter.idle_w or None,
        "not_idle": meter.not_idle,
        "checks": [dataclasses.asdict(check) for check in checks],
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }
    return None
