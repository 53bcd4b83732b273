"""``bpfree reproduce SUITE``: a published table, measured again and shown with the published numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from bpfree import report
from bpfree.bench import fresh_path
from bpfree.bench.jobs import check_jobs
from bpfree.bench.preparation import ready_meter
from bpfree.bench.reproduce import Reproduction
from bpfree.bench.suites.estimate import METHOD
from bpfree.bench.suites.sizes import KNOWN
from bpfree.cli.options import CarbonOptions, DirectoryOptions, MeterOptions, OutputOptions
from bpfree.cli.output import print_json, print_table
from bpfree.cli.resume import command_line, fail_interrupted
from bpfree.cli.session import start
from bpfree.cli.setting import torch_device
from bpfree.errors import DataError
from bpfree.meter import Meter, carbon_factor
from bpfree.report.published import SuiteFacts, SuiteRow, build_suite, suite_summary, suite_tables
from bpfree.units import format_energy, format_time

__all__ = ["MachineOptions", "dry_run_command", "reproduce_command"]


@dataclass(frozen=True)
class MachineOptions:
    """Where a suite is run, where its data are, and how many processes share a search."""

    meter: MeterOptions
    carbon: CarbonOptions
    data_dir: Path | None
    jobs: int | None = 1


def dry_run_command(chosen: Reproduction, machine: MachineOptions, *, as_json: bool) -> int:
    """Print the arms that would be run, with their cost; the data need not be here."""
    device = torch_device(machine.meter.device)
    check_jobs(machine.jobs, device)
    absent_data = ""
    try:
        chosen.load(machine.data_dir, download=False)
    except DataError as error:
        if not all(line.row.dataset in KNOWN for line in chosen.lines):
            raise
        absent_data = str(error)
    chosen.check()
    estimates = chosen.estimates(device, Meter.detect(device, estimate=machine.meter.estimate_energy))
    arms = [
        {
            "ruleset": key,
            "dataset": dataset,
            "net": net,
            "arm": arm,
            "search_hours": e.search_s / 3600,
            "hours": e.hours,
            "joules": e.joules,
            "joules_reason": e.joules_reason or None,
        }
        for (key, dataset, net, arm), e in estimates.items()
    ]
    not_run = [
        {
            "ruleset": line.section.ruleset,
            "dataset": line.row.dataset,
            "net": line.row.net,
            "arm": line.row.arm,
            "reason": line.reason,
        }
        for line in chosen.lines
        if line.reason
    ]
    joules, reason = _all_joules(arms)
    plan: dict[str, Any] = {
        "suite": chosen.suite.name,
        "scale": chosen.scale,
        "stamps": list(chosen.stamps),
        "method": METHOD,
        "hours": sum(arm["hours"] for arm in arms),
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


def _all_joules(arms: list[dict[str, Any]]) -> tuple[float | None, str | None]:
    """The sum, or None with a reason where it is not known of every arm."""
    known = [arm["joules"] for arm in arms if arm["joules"] is not None]
    if known and len(known) == len(arms):
        return sum(known), None
    return None, next((arm["joules_reason"] for arm in arms if arm["joules_reason"]), "nothing is to be run")


def _print_plan(plan: dict[str, Any]) -> None:
    rows = [
        (f"{c['dataset']} {c['net']}\n{c['arm']}", c["ruleset"], _hours(c["hours"]), format_energy(c["joules"]))
        for c in plan["arms"]
    ]
    title = ". ".join((*plan["stamps"], f"{plan['suite']}: what would be run"))
    print_table(title, ("Arm", "Ruleset", "At most", "Energy"), rows)
    for line in plan["not_run"]:
        typer.echo(f"not run: {line['dataset']} {line['net']} {line['arm']}: {line['reason']}")
    typer.echo(f"all arms: at most {_hours(plan['hours'])}; {plan['method']}.")
    energy = f"not estimated ({plan['joules_reason']})" if plan["joules"] is None else format_energy(plan["joules"])
    typer.echo(f"energy: {energy}.")
    if plan["absent_data"]:
        typer.echo(f"data: {plan['absent_data']}")


def _hours(hours: float) -> str:
    return format_time(3600 * hours)


def reproduce_command(chosen: Reproduction, machine: MachineOptions, *, place: DirectoryOptions, output: OutputOptions) -> int:
    """Run what is missing, write the reports; 1 if nothing could be measured, or memory ran out for some of it."""
    device = torch_device(machine.meter.device)
    check_jobs(machine.jobs, device)
    factor = carbon_factor(machine.carbon.country, machine.carbon.grid_g_per_kwh)
    root = place.out or fresh_path(chosen.suite.name)
    chosen.check_place(root)
    chosen.load(machine.data_dir)
    chosen.check()
    meter = ready_meter(device, estimate=machine.meter.estimate_energy)
    session = start(root, quiet=output.quiet)
    _announce(session.console, chosen)
    chosen.run(
        root,
        device=device,
        meter=meter,
        factor=factor,
        command=command_line(),
        watch=session.watch,
        accept_other_code=place.accept_other_code,
        jobs=machine.jobs,
    )
    directories = {key: root / key for key in chosen.rules if (root / key / "records.jsonl").exists()}
    for path in directories.values():
        report.build([path], accept_other_code=place.accept_other_code)
    facts, rows = _plain(chosen, command_line())
    paths = build_suite(facts, rows, directories, root / "report")
    summary = suite_summary(facts, rows, directories)
    if output.as_json:
        print_json(summary)
    elif not output.quiet:
        for text in suite_tables(facts, rows, directories):
            print_table(text.title, text.headings, text.rows, text.notes)
        typer.echo(f"report: {paths.page}")
    if chosen.interrupted:
        return fail_interrupted(chosen.interrupted)
    return 0 if any(row["measured_accuracy"] is not None for row in summary["rows"]) else 1


def _announce(console: Console, chosen: Reproduction) -> None:
    if chosen.stamps:
        console.print(f"{chosen.suite.name}: {', '.join(chosen.stamps)}", style="bold red")
    for line in chosen.lines:
        if line.reason:
            console.print(f"not run: {line.row.dataset} {line.row.net} {line.row.arm}: {line.reason}", markup=False)


def _plain(chosen: Reproduction, command: str) -> tuple[SuiteFacts, list[SuiteRow]]:
    """The suite as plain data: the report imports neither torch nor the bench."""
    suite = chosen.suite
    facts = SuiteFacts(
        name=suite.name,
        title=suite.title,
        paper=suite.paper,
        description=suite.description.strip(),
        stamps=chosen.stamps,
        scale=chosen.scale,
        section_notes={section.title: section.note for section in suite.sections},
        command=command,
        n_suite_rows=sum(len(section.rows) for section in suite.sections),
    )
    rows = []
    for line in chosen.lines:
        data = chosen.data.get((line.section.ruleset, line.row.dataset))
        rows.append(
            SuiteRow(
                section=line.section.title,
                ruleset=line.section.ruleset,
                dataset=line.row.dataset,
                measured_dataset=data.name if data is not None else "",
                net=line.row.net,
                arm=line.row.arm,
                number=line.number,
                note=line.row.note,
                reason=line.reason,
            )
        )
    return facts, rows
