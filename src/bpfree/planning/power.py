"""Watts of this machine while it trains, from the metered runs of earlier run directories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bpfree.bench import RunDirectory, environment
from bpfree.bench.environment import read_environments
from bpfree.errors import BpfreeError, RunDirectoryError
from bpfree.records import Record, read_records

__all__ = ["MeteredPower", "metered_power"]

NONE_HERE = "no run was metered on this machine: give one with --measured DIR, made by bpfree compare or bpfree train"


@dataclass(frozen=True)
class _Run:
    arm: str
    net: str
    joules: float
    time_s: float
    method: str


@dataclass(frozen=True)
class MeteredPower:
    """Watts by arm and net, as far as earlier runs tell.

    Attributes:
        runs: metered on this machine.
        reason: why there are none.
    """

    runs: tuple[_Run, ...]
    reason: str = NONE_HERE

    def of(self, arm: str, net: str) -> tuple[float | None, str]:
        """Watts of the arm on the net, else of the arm, else of all runs, and in words whose they are; None with the reason."""
        if not self.runs:
            return None, self.reason
        alike = [run for run in self.runs if run.arm == arm]
        same = [run for run in alike if run.net == net]
        chosen, whose = (
            (same, f"{arm} on {net}") if same else (alike, f"{arm} on other nets") if alike else (self.runs, "other rules")
        )
        watts = sum(run.joules for run in chosen) / sum(run.time_s for run in chosen)
        methods = ", ".join(sorted({run.method for run in chosen}))
        return watts, f"{watts:.3g} W, from {len(chosen)} metered run{'s' if len(chosen) > 1 else ''} of {whose} ({methods})"


def metered_power(directory: Path | None) -> MeteredPower:
    """The metered runs of one run directory, or, where none is given, of those under ``runs/``.

    Runs of another processor or device do not count, nor windows that were too short for their counter.

    Raises:
        RunDirectoryError: the directory that was given holds no records.
    """
    if directory is not None:
        if not RunDirectory(directory).records_path.is_file():
            raise RunDirectoryError(f"{directory} holds no records.jsonl; give a run directory of bpfree compare or bpfree train")
        runs = _runs_in(directory)
        return MeteredPower(
            runs, f"no run in {directory} was metered on this machine's processor; bpfree doctor says what can be"
        )
    runs = []
    for path in sorted(Path("runs").glob("*/records.jsonl")):
        try:
            runs += _runs_in(path.parent)
        except BpfreeError:
            continue  # a damaged directory that nobody asked for
    return MeteredPower(tuple(runs))


def _runs_in(directory: Path) -> tuple[_Run, ...]:
    place = RunDirectory(directory)
    environments = read_environments(place.environment_path)
    here = environment.facts(torch.device("cpu"))

    def is_ours(record: Record) -> bool:
        there = environments.get(record.environment_digest)
        return there is not None and (there.processor, there.device) == (here.processor, here.device)

    records: Sequence[Record] = read_records(place.records_path)
    return tuple(
        _Run(record.arm, record.net, record.energy.joules, record.time_s, record.energy.method or "unknown")
        for record in records
        if record.status == "ok" and record.energy.joules and record.time_s and record.energy.resolved and is_ours(record)
    )
