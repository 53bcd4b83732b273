"""``bpfree reproduce SUITE --dry-run``: the cells of a suite and what they would take. The data need not be here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bpfree.bench.arm_rules import ArmRules
from bpfree.bench.reproduce import Reproduction
from bpfree.bench.suites.estimate import METHOD
from bpfree.bench.suites.sizes import FROM_FOLDER, KNOWN
from bpfree.cli.output import console, print_json, print_table, say
from bpfree.cli.reproduce import MachineOptions
from bpfree.cli.setting import torch_device
from bpfree.cores import check_jobs
from bpfree.errors import DataError
from bpfree.meter import Meter
from bpfree.planning.cells import cells_of
from bpfree.units import format_bytes, format_count, format_energy, format_time

__all__ = ["dry_run_command"]

NO_JOULES = "the power of a device that is not here is not known"


def dry_run_command(
    chosen: Reproduction, machine: MachineOptions, *, flops_per_second: float | None = None, as_json: bool
) -> int:
    """Print the arms that would be run, with their cost.

    The cost is timed on this machine; with a speed of another device, or where steps would be too large to be timed here, it is
    predicted from multiply-adds.
    """
    device = torch_device(machine.meter.device)
    check_jobs(machine.jobs, str(device))
    absent_data = ""
    try:
        chosen.load(machine.data_dir, download=False)
    except DataError as error:
        if not all(line.row.dataset in KNOWN for line in chosen.lines):
            raise
        absent_data = str(error)
    for line in chosen.lines:
        if line.row.dataset in FROM_FOLDER and not line.row.not_run:
            line.reason = ""  # planned without its images
    chosen.check()
    if flops_per_second is not None or any(line.row.dataset in FROM_FOLDER for line in chosen.lines):
        with console(stderr=True, quiet=as_json).status("") as status:
            arms = _predicted(chosen, flops_per_second, status.update)
        speed = (
            "the speed that backprop's step on each net reaches here"
            if flops_per_second is None
            else f"{flops_per_second:g} FLOP/s"
        )
        method = f"upper bound, predicted: multiply-adds of all passes of all trials and runs, at {speed}, one after another"
    else:
        arms, method = _timed(chosen, device, machine), METHOD
    keys = ("ruleset", "dataset", "net", "arm")
    not_run = [
        dict(zip(keys, (line.section.ruleset, line.row.dataset, line.row.net, line.row.arm), strict=True))
        | {"reason": line.reason}
        for line in chosen.lines
        if line.reason
    ]
    joules, reason = _all_joules(arms)
    plan: dict[str, Any] = {
        "suite": chosen.suite.name,
        "scale": chosen.scale,
        "stamps": list(chosen.stamps),
        "method": method,
        "cells": sum(arm["cells"] for arm in arms),
        "hours": _sum(arms, "hours"),
        "macs": _sum(arms, "macs"),
        "flops_per_second": flops_per_second,
        "joules": joules,
        "joules_reason": reason,
        "absent_data": absent_data or None,
        "arms": arms,
        "not_run": not_run,
    }
    if as_json:
        print_json(plan)
    else:
        _print_plan(plan)
    return 0


def _timed(chosen: Reproduction, device: Any, machine: MachineOptions) -> list[dict[str, Any]]:
    estimates = chosen.estimates(device, Meter.detect(device, estimate=machine.meter.estimate_energy))
    arms = {(group.ruleset, group.dataset, group.net, arm.label): arm for group in chosen.groups() for arm in group.arms}
    return [
        {
            "ruleset": key,
            "dataset": dataset,
            "net": net,
            "arm": arm,
            "cells": ArmRules(chosen.rules[key], arms[key, dataset, net, arm], dataset, net).trials
            + len(chosen.rules[key].plan.seeds),
            "search_hours": e.search_s / 3600,
            "hours": e.hours,
            "macs": None,
            "peak_bytes": None,
            "joules": e.joules,
            "joules_reason": e.joules_reason or None,
        }
        for (key, dataset, net, arm), e in estimates.items()
    ]


def _predicted(chosen: Reproduction, flops_per_second: float | None, on_arm: Any) -> list[dict[str, Any]]:
    return [
        {
            "ruleset": arm.ruleset,
            "dataset": arm.dataset,
            "net": arm.net,
            "arm": arm.arm,
            "cells": arm.cells,
            "hours": arm.hours,
            "search_macs": arm.search_macs,
            "macs": arm.macs,
            "peak_bytes": arm.peak_bytes,
            "macs_reason": arm.reason or None,
            "joules": None,
            "joules_reason": NO_JOULES,
        }
        for arm in cells_of(chosen, flops_per_second, on_arm).arms
    ]


def _sum(arms: Sequence[dict[str, Any]], key: str) -> float | None:
    """None where it is not known of every arm."""
    known = [arm[key] for arm in arms if arm[key] is not None]
    return sum(known) if len(known) == len(arms) else None


def _all_joules(arms: Sequence[dict[str, Any]]) -> tuple[float | None, str | None]:
    """The sum, or None with a reason where it is not known of every arm."""
    if arms and (joules := _sum(arms, "joules")) is not None:
        return joules, None
    return None, next((arm["joules_reason"] for arm in arms if arm["joules_reason"]), "nothing is to be run")


def _print_plan(plan: dict[str, Any]) -> None:
    arms = plan["arms"]
    columns = {
        "Arm": [f"{c['dataset']} {c['net']}\n{c['arm']}" for c in arms],
        "Ruleset": [c["ruleset"] for c in arms],
        "Cells": [str(c["cells"]) for c in arms],
        "At most": [_hours(c["hours"]) for c in arms],
    }
    if any(c["peak_bytes"] is not None for c in arms):
        columns |= {
            "Multiply-adds": [format_count(c["macs"]) for c in arms],
            "Peak": [format_bytes(c["peak_bytes"]) for c in arms],
        }
    else:
        columns["Energy"] = [format_energy(c["joules"]) for c in arms]
    title = ". ".join((*plan["stamps"], f"{plan['suite']}: what would be run"))
    print_table(title, tuple(columns), zip(*columns.values(), strict=True))
    for line in plan["not_run"]:
        say(f"not run: {line['dataset']} {line['net']} {line['arm']}: {line['reason']}")
    for reason in dict.fromkeys(arm["macs_reason"] for arm in arms if arm.get("macs_reason")):
        say(f"multiply-adds that are not known: {reason}")
    macs = "" if plan["macs"] is None else f", {format_count(plan['macs'])} multiply-adds"
    say(f"all arms: {plan['cells']} cells{macs}, at most {_hours(plan['hours'])}; {plan['method']}.")
    energy = f"not estimated ({plan['joules_reason']})" if plan["joules"] is None else format_energy(plan["joules"])
    say(f"energy: {energy}.")
    if plan["absent_data"]:
        say(f"data: {plan['absent_data']}")


def _hours(hours: float | None) -> str:
    return format_time(None if hours is None else 3600 * hours)
