"""``bpfree doctor``: what can be measured here and what not, and whether the meter is to be believed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import torch
import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from bpfree.cli.setting import torch_device
from bpfree.errors import UsageError
from bpfree.meter import Meter, detect
from bpfree.meter.calibrate import Check, calibrate
from bpfree.meter.carbon import carbon_factor
from bpfree.meter.doctor import Finding, diagnose

__all__ = ["doctor_command"]

IDLE_S = 1.0
"""How long idle power is looked at; longer where a counter is slow."""

_COLOURS = {"measured": "green", "computed": "green", "estimated": "yellow", "null": "red"}
_VERDICTS = {True: ("passed", "green"), False: ("failed", "red"), None: ("not checked", "yellow")}


def doctor_command(
    device: str | None, *, calibrating: bool, seconds: float, country: str | None, grid_g_per_kwh: float | None,
    estimate_energy: bool, as_json: bool,
) -> int:  # fmt: skip
    """Every quantity: measured or not, how, and what would change that; 1 if a check of the calibration fails.

    Raises:
        UsageError: a device that is not there, seconds that are not positive, a country that is unknown.
    """
    if not seconds > 0:
        raise UsageError(f"--seconds must be above 0, got {seconds:g}")
    chosen = torch_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    carbon_factor(country, grid_g_per_kwh)  # refuses what is unknown before anything is waited for
    found = detect(chosen, estimate=estimate_energy)
    meter = Meter(chosen, found.sources, missing=found.missing, probe=found.probe)
    checks: list[Check] = []
    with Console(stderr=True, quiet=as_json).status("measuring" if found.sources or calibrating else ""):
        if calibrating:
            checks = calibrate(meter, seconds=seconds, country=country)
        elif found.sources:
            meter.measure_idle(IDLE_S)
    findings = diagnose(chosen, found, country=country, grid_g_per_kwh=grid_g_per_kwh, idle_w=meter.idle_w)
    if as_json:
        told: object = [dataclasses.asdict(finding) for finding in findings]
        if calibrating:
            told = {"findings": told, "checks": [dataclasses.asdict(check) for check in checks]}
        typer.echo(json.dumps(told, indent=2))
    else:
        _print(findings, checks)
    return 1 if any(check.passed is False for check in checks) else 0


def _print(findings: Sequence[Finding], checks: Sequence[Check]) -> None:
    console = Console(highlight=False)
    for finding in findings:
        console.print(f"[bold]{finding.quantity}[/bold]  [{_COLOURS[finding.verdict]}]{finding.verdict}[/]")
        for label, line in (("", finding.how), ("", finding.why_null), ("to change that: ", finding.cure)):
            if line:
                console.print(Padding(Text(label + line), (0, 0, 0, 4)))
    if checks:
        console.print("\n[bold]calibration[/bold]")
    for check in checks:
        word, colour = _VERDICTS[check.passed]
        console.print(f"[bold]{check.name}[/bold]  [{colour}]{word}[/]")
        console.print(Padding(Text(check.text), (0, 0, 0, 4)))
