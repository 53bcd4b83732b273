"""What will be measured on this machine and how, what will be null, and the cure, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from bpfree.errors import DeviceError
from bpfree.meter.carbon import carbon_factor
from bpfree.meter.detect import Detection, detect
from bpfree.meter.reading import RESOLVED_PERIODS, gaps, summed
from bpfree.meter.sources import EnergySource, Missing

__all__ = ["Finding", "diagnose"]

Verdict = Literal["measured", "estimated", "computed", "null"]


@dataclass(frozen=True)
class Finding:
    """One quantity of a record: whether it will have a value, and by what means.

    Attributes:
        quantity: as people say it: ``"energy of the GPU"``.
        verdict: measured, estimated (a model, on request), computed (from something measured), or null.
        how: by which means, with its limits; ``None`` when null.
        why_null: the reason that the record will give; ``None`` unless null.
        cure: what would make it measured, or better; ``None`` when nothing is to be done.
    """

    quantity: str
    verdict: Verdict
    how: str | None = None
    why_null: str | None = None
    cure: str | None = None


def diagnose(
    device: torch.device | str,
    detection: Detection | None = None,
    *,
    country: str | None = None,
    grid_g_per_kwh: float | None = None,
    idle_w: Mapping[str, float] | None = None,
    not_idle: str | None = None,
) -> list[Finding]:
    """What a run on ``device`` will record.

    Args:
        detection: what :func:`detect` found; looked up when not given.
        country, grid_g_per_kwh: the grid, as for :func:`carbon_factor`.
        idle_w: idle power by source (W), where it was measured just now.
        not_idle: why it could not be measured just now.
    """
    device = torch.device(device)
    if detection is None:
        detection = _detect(device)
    energy = [
        _gpu(device, detection),
        _domain("energy of the processor", "cpu-package", detection),
        _domain("energy of the memory", "dram", detection),
    ]
    has_joules = bool(detection.sources) and not gaps(detection.sources, detection.missing)
    return [
        _time(device),
        *energy,
        _idle(detection, idle_w or {}, not_idle),
        _co2e(has_joules, country, grid_g_per_kwh),
        Finding(
            "FLOPs",
            "computed",
            "counted on one eager training step, all passes included; an operation that the counter does not know fails the "
            "count instead of lowering it",
        ),
        _memory(device),
    ]


def _detect(device: torch.device) -> Detection:
    try:
        return detect(device)
    except DeviceError as error:
        rest = detect("cpu")
        absent = Missing("nvml", str(error), "run on a machine with an NVIDIA GPU, and a CUDA build of torch")
        return Detection(rest.sources, (absent, *rest.missing), rest.probe)


def _time(device: torch.device) -> Finding:
    edges = "the device is waited for at both edges" if device.type != "cpu" else "nothing has to be waited for"
    return Finding("time", "measured", f"monotonic clock around the whole run; {edges}")


def _described(sources: Sequence[EnergySource]) -> str:
    chosen = summed(sources)
    words = []
    for source in sources:
        enough_s = RESOLVED_PERIODS * source.period_s
        role = "" if source in chosen else ", as a cross-check that is never added"
        resolved = f"so runs of at least {enough_s:g} s are resolved"
        words.append(f"{source.name}: moves every {source.period_s:g} s, {resolved}{role}")
    return "; ".join(words)


def _absent(quantity: str, missing: Sequence[Missing], otherwise: str, cure: str | None = None) -> Finding:
    if not missing:
        return Finding(quantity, "null", why_null=otherwise, cure=cure)
    why = "; ".join(f"{entry.name}: {entry.reason}" for entry in missing)
    cures = "; ".join(dict.fromkeys(entry.cure for entry in missing))
    return Finding(quantity, "null", why_null=why, cure=cures)


def _gpu(device: torch.device, detection: Detection) -> Finding:
    quantity = "energy of the GPU"
    if device.type == "cpu":
        why = "the work runs on the processor, so no GPU takes part"
        return Finding(quantity, "null", why_null=why, cure="run on a GPU with --device cuda, where there is one")
    sources = [source for source in detection.sources if source.measured and source.scope in ("gpu-board", "machine")]
    missing = [entry for entry in detection.missing if not entry.name.startswith("rapl")]
    if not sources:
        return _absent(quantity, missing, f"no energy counter of a {device.type} device is known")
    cure = "; ".join(f"{entry.name}: {entry.cure}" for entry in missing) or None
    return Finding(quantity, "measured", _described(sources), cure=cure)


def _domain(quantity: str, scope: str, detection: Detection) -> Finding:
    sources = [source for source in detection.sources if source.scope == scope]
    if sources and (absent := [each for each in gaps(detection.sources, detection.missing) if each.scope == scope]):
        return _absent(quantity, absent, "")
    if sources:
        return Finding(quantity, "measured", _described(sources))
    if whole := [source for source in detection.sources if source.measured and source.scope == "machine"]:
        return Finding(quantity, "measured", f"within the machine's own total: {_described(whole)}")
    estimates = [source for source in detection.sources if not source.measured]
    missing = [entry for entry in detection.missing if entry.name.startswith("rapl")]
    if estimates:
        cure = "; ".join(dict.fromkeys(entry.cure for entry in missing)) or None
        how = "an estimate, not a measurement, and labelled so in every record; the report compares nothing by it: "
        how += "; ".join(source.basis for source in estimates)
        return Finding(quantity, "estimated", how, cure=cure)
    of_scope = [entry for entry in missing if ("dram" in entry.name) == (scope == "dram")]
    return _absent(quantity, of_scope or missing, "this processor counts no energy of its memory")


def _idle(detection: Detection, idle_w: Mapping[str, float], not_idle: str | None) -> Finding:
    if not_idle is not None:
        return Finding(
            "net energy",
            "null",
            why_null=f"idle power is measured before the runs, and just now {not_idle}",
            cure="start the runs when nothing else does",
        )
    if detection.sources:
        now = ", ".join(f"{name} {watts:.4g} W" for name, watts in idle_w.items())
        how = "idle power is measured before the runs, and subtracted: net beside gross" + (f"; now: {now}" if now else "")
        return Finding("net energy", "computed", how)
    return Finding("net energy", "null", why_null="there is no gross energy to subtract idle power from")


def _co2e(has_joules: bool, country: str | None, grid_g_per_kwh: float | None) -> Finding:
    factor = carbon_factor(country, grid_g_per_kwh)
    if not has_joules:
        cure = "see energy above"
        cure += "" if factor is not None else "; then name the grid with --country ISO3 or --grid-g-per-kwh X"
        return Finding("CO2e", "null", why_null="there are no joules to compute it from", cure=cure)
    if factor is None:
        cure = "--country ISO3 (such as POL), or --grid-g-per-kwh X"
        return Finding("CO2e", "null", why_null="no grid is named, and none is guessed", cure=cure)
    where = factor.country or "given"
    how = f"joules x {factor.g_per_kwh:g} g/kWh ({where}; {factor.source}, {factor.year or 'no year'})"
    return Finding("CO2e", "computed", how)


def _memory(device: torch.device) -> Finding:
    if device.type == "cuda":
        how = "peak of torch's allocator after a reset, allocated and reserved; live tensor bytes beside it"
        return Finding("peak memory", "measured", how)
    how = "peak of live tensor bytes, followed through every operation of a step; peak resident set beside it"
    return Finding("peak memory", "measured", how)
