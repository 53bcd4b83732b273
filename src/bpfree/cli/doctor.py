"""``bpfree doctor``: what can be measured here and what not, and whether the meter can be trusted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
import typer

from bpfree.cli.options import CarbonOptions
from bpfree.cli.output import console, heading, print_json, say
from bpfree.cli.setting import torch_device
from bpfree.errors import UsageError
from bpfree.meter import Meter, detect
from bpfree.meter.calibrate import Check, calibrate
from bpfree.meter.carbon import carbon_factor
from bpfree.meter.doctor import Finding, diagnose

__all__ = ["doctor_command"]

IDLE_S = 1.0
"""How long idle power is measured; longer where a counter is slow."""

_COLOURS = {"measured": "green", "computed": "green", "estimated": "yellow", "null": "red"}
_VERDICTS = {True: ("passed", "green"), False: ("failed", "red"), None: ("not checked", "yellow")}


def doctor_command(
    device: str | None, carbon: CarbonOptions, *, calibrating: bool, seconds: float, estimate_energy: bool, as_json: bool
) -> int:
    """Every quantity: measured or not, how, and what would change that; 1 if a check of the calibration fails.

    Raises:
        UsageError: a device that does not exist, seconds that are not positive, a country that is unknown.
    """
    if not seconds > 0:
        raise UsageError(f"--seconds must be above 0, got {seconds:g}")
    chosen = torch_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    carbon_factor(carbon.country, carbon.grid_g_per_kwh)  # refuses what is unknown before anything is measured
    detected = detect(chosen, estimate=estimate_energy)
    meter = Meter(chosen, detected.sources, missing=detected.missing, probe=detected.probe)
    checks: list[Check] = []
    with console(stderr=True, quiet=as_json).status("measuring" if detected.sources or calibrating else ""):
        if calibrating:
            checks = calibrate(meter, seconds=seconds, country=carbon.country)
        elif detected.sources:
            meter.measure_idle(IDLE_S)
    findings = diagnose(
        chosen, detected, country=carbon.country, grid_g_per_kwh=carbon.grid_g_per_kwh, idle_w=meter.idle_w,
        not_idle=meter.not_idle,
    )  # fmt: skip
    if as_json:
        document: object = [dataclasses.asdict(finding) for finding in findings]
        if calibrating:
            document = {"findings": document, "checks": [dataclasses.asdict(check) for check in checks]}
        print_json(document)
    else:
        _print(findings, checks)
    return 1 if any(check.passed is False for check in checks) else 0


def _print(findings: Sequence[Finding], checks: Sequence[Check]) -> None:
    for finding in findings:
        heading(finding.quantity, finding.verdict, _COLOURS[finding.verdict])
        for label, line in (("", finding.how), ("", finding.why_null), ("to change that: ", finding.cure)):
            if line:
                say(label + line, 4)
    if checks:
        typer.echo()
        heading("calibration")
    for check in checks:
        word, colour = _VERDICTS[check.passed]
        heading(check.name, word, colour)
        say(check.text, 4)
