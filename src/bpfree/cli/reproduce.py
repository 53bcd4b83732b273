"""``bpfree reproduce SUITE``: a published table, measured again and shown with the published numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bpfree import report
from bpfree.bench import fresh_path
from bpfree.bench.preparation import ready_meter
from bpfree.bench.reproduce import Reproduction
from bpfree.cli.options import CarbonOptions, DirectoryOptions, MeterOptions, OutputOptions
from bpfree.cli.output import print_json, print_table, say
from bpfree.cli.resume import command_line, fail_interrupted
from bpfree.cli.session import start
from bpfree.cli.setting import torch_device
from bpfree.cores import check_jobs
from bpfree.meter import carbon_factor
from bpfree.report.published import SuiteFacts, SuiteRow, build_suite, suite_summary, suite_tables

__all__ = ["MachineOptions", "reproduce_command"]


@dataclass(frozen=True)
class MachineOptions:
    """Where a suite is run, where its data are, and how many processes share a search."""

    meter: MeterOptions
    carbon: CarbonOptions
    data_dir: Path | None
    jobs: int | None = 1


def reproduce_command(chosen: Reproduction, machine: MachineOptions, *, place: DirectoryOptions, output: OutputOptions) -> int:
    """Run what is missing, write the reports; 1 if nothing could be measured, or memory ran out for some of it."""
    device = torch_device(machine.meter.device)
    check_jobs(machine.jobs, str(device))
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
        say(f"report: {paths.page}")
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
