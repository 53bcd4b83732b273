"""``bpfree reproduce SUITE``: a published table, measured beside published."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bpfree.cli.options import AcceptOtherCode, Country, DataDir, Device, Estimate, Grid, Json, MaxHours, Out, Quiet

__all__ = ["reproduce"]

Suite = Annotated[str | None, typer.Argument(help="A suite (bpfree reproduce --list) or a YAML file.")]


def reproduce(
    suite: Suite = None,
    list_: Annotated[bool, typer.Option("--list", help="The suites, or the rows of one.")] = False,
    scale: Annotated[float, typer.Option(help="Multiplies examples, trials and passes, each at least 1; stamped SCALED.")] = 1.0,
    datasets: Annotated[str | None, typer.Option(help="Only rows on these, comma-separated.")] = None,
    arms: Annotated[str | None, typer.Option(help="Only these arms, or all arms of these rules, comma-separated.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Measured runs of each arm (seeds 0 to N-1).")] = None,
    max_hours: MaxHours = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells with an estimate of hours and joules.")] = False,
    data_dir: DataDir = None,
    device: Device = "cpu",
    out: Out = None,
    country: Country = None,
    grid_g_per_kwh: Grid = None,
    estimate_energy: Estimate = False,
    accept_other_code: AcceptOtherCode = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """A published table, measured beside published, under the paper's own rules.

    Example: bpfree reproduce spyra2025 --scale 0.02 --seeds 1
    """
    from bpfree.bench import suites
    from bpfree.bench.reproduce import choose
    from bpfree.errors import UsageError

    if suite is None:
        if not list_:
            raise UsageError(f"name a suite: {', '.join(suites.names())} (bpfree reproduce --list says what they are)")
        return _list_suites(as_json)
    loaded = suites.load(suite)
    if list_:
        return _list_rows(loaded, as_json)
    chosen = choose(
        loaded, scale=scale, dataset_names=_words(datasets), arms=_words(arms), n_seeds=seeds, max_hours=max_hours,
    )  # fmt: skip
    place = _Place(device, data_dir, country, grid_g_per_kwh, estimate_energy, accept_other_code)
    if dry_run:
        return _dry_run(chosen, place, as_json)
    return _run(chosen, place, out, as_json=as_json, quiet=quiet)


@dataclass(frozen=True)
class _Place:
    device: str
    data_dir: Path | None
    country: str | None
    grid_g_per_kwh: float | None
    estimate_energy: bool
    accept_other_code: bool


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _list_suites(as_json: bool) -> int:
    from bpfree.bench import suites

    loaded = [suites.load(name) for name in suites.names()]
    if as_json:
        found = {s.name: {"title": s.title, "paper": s.paper, "rows": sum(len(x.rows) for x in s.sections)} for s in loaded}
        typer.echo(json.dumps(found, indent=2))
        return 0
    for s in loaded:
        typer.echo(f"{s.name}: {s.title} ({sum(len(x.rows) for x in s.sections)} rows)\n    {s.paper}")
    return 0


def _list_rows(suite: Any, as_json: bool) -> int:
    rows = [
        {"section": section.title, "ruleset": section.ruleset, "dataset": row.dataset, "net": row.net, "arm": row.arm,
         "published_accuracy": number.accuracy, "published_difference": number.difference, "second_hand": number.second_hand,
         "source": number.source, "not_run": row.not_run or None}
        for section in suite.sections for row in section.rows for number in (section.number(row),)
    ]  # fmt: skip
    if as_json:
        typer.echo(json.dumps({"suite": suite.name, "rows": rows}, indent=2))
        return 0
    _print_table(
        f"{suite.name}: {suite.title}",
        ("Row", "Ruleset", "Published"),
        [(f"{r['dataset']} {r['net']}\n{r['arm']}", r["ruleset"], _published_words(r)) for r in rows],
    )
    return 0


def _published_words(row: dict[str, Any]) -> str:
    from bpfree.units import format_percent

    number = f"{format_percent(row['published_accuracy'])} %"
    if row["published_accuracy"] is None:
        number = f"{100 * row['published_difference']:+.2f} points to backprop"
    return number + (", second-hand" if row["second_hand"] else "") + (f"\nnot run: {row['not_run']}" if row["not_run"] else "")


def _dry_run(chosen: Any, place: _Place, as_json: bool) -> int:
    """The cells with their cost; data need not be here."""
    from bpfree.bench.suites.estimate import METHOD
    from bpfree.bench.suites.sizes import KNOWN
    from bpfree.cli.setting import torch_device
    from bpfree.errors import DataError
    from bpfree.meter import Meter
    from bpfree.units import format_energy

    device = torch_device(place.device)
    absent = ""
    try:
        chosen.load(place.data_dir, download=False)
    except DataError as error:
        if not all(line.row.dataset in KNOWN for line in chosen.lines):
            raise
        absent = str(error)
    chosen.check()
    estimates = chosen.estimates(device, Meter.detect(device, estimate=place.estimate_energy))
    cells = [
        {"ruleset": key, "dataset": dataset, "net": net, "arm": arm, "search_hours": e.search_s / 3600, "hours": e.hours,
         "joules": e.joules, "joules_reason": e.joules_reason or None}
        for (key, dataset, net, arm), e in estimates.items()
    ]  # fmt: skip
    not_run = [
        {"ruleset": line.section.ruleset, "dataset": line.row.dataset, "net": line.row.net, "arm": line.row.arm,
         "reason": line.reason} for line in chosen.lines if line.reason
    ]  # fmt: skip
    hours = sum(cell["hours"] for cell in cells)
    known = [cell["joules"] for cell in cells if cell["joules"] is not None]
    joules = sum(known) if known and len(known) == len(cells) else None
    reason = next((cell["joules_reason"] for cell in cells if cell["joules_reason"]), "nothing is to be run")
    stamps = list(chosen.stamps)
    if as_json:
        plan = {"suite": chosen.suite.name, "scale": chosen.scale, "stamps": stamps, "method": METHOD, "hours": hours,
                "joules": joules, "joules_reason": None if joules is not None else reason, "absent_data": absent or None,
                "cells": cells, "not_run": not_run}  # fmt: skip
        typer.echo(json.dumps(plan, indent=2))
        return 0
    rows = [
        (f"{c['dataset']} {c['net']}\n{c['arm']}", c["ruleset"], _hours(c["hours"]), format_energy(c["joules"])) for c in cells
    ]
    _print_table(". ".join((*stamps, f"{chosen.suite.name}: what would be run")), ("Cell", "Ruleset", "At most", "Energy"), rows)
    for line in not_run:
        typer.echo(f"not run: {line['dataset']} {line['net']} {line['arm']}: {line['reason']}")
    typer.echo(f"all cells: at most {_hours(hours)}; {METHOD}.")
    energy = f"energy: {format_energy(joules)}" if joules is not None else f"energy: not estimated ({reason})"
    typer.echo(f"{energy}.")
    if absent:
        typer.echo(f"data: {absent}")
    return 0


def _hours(hours: float) -> str:
    from bpfree.units import format_time

    return format_time(3600 * hours)


def _run(chosen: Any, place: _Place, out: Path | None, *, as_json: bool, quiet: bool) -> int:
    """Run what is missing, write the reports; 1 if nothing could be measured."""
    from bpfree import report
    from bpfree.bench import fresh_path
    from bpfree.cli.interrupt import QuietObserver, watch_for_interrupts
    from bpfree.cli.progress import ConsoleObserver
    from bpfree.cli.resume import command_line, remember
    from bpfree.cli.setting import IDLE_S, torch_device
    from bpfree.meter import Meter, carbon_factor
    from bpfree.report.published import build_suite, suite_summary, suite_tables

    device = torch_device(place.device)
    factor = carbon_factor(place.country, place.grid_g_per_kwh)
    root = out or fresh_path(chosen.suite.name)
    chosen.check_place(root)
    chosen.load(place.data_dir)
    chosen.check()
    meter = Meter.detect(device, estimate=place.estimate_energy)
    if meter.sources:
        meter.measure_idle(IDLE_S)
    console = Console(stderr=True, quiet=quiet)
    _announce(console, chosen)
    watch_for_interrupts()
    remember(root)
    with ExitStack() as stack:
        watch: Callable[[int], Any] = lambda n: (  # noqa: E731 - one of two observers
            QuietObserver() if quiet else stack.enter_context(ConsoleObserver(console, n))
        )
        chosen.run(
            root, device=device, meter=meter, factor=factor, command=command_line(), watch=watch,
            accept_other_code=place.accept_other_code,
        )  # fmt: skip
    directories = {key: root / key for key in chosen.rules if (root / key / "records.jsonl").exists()}
    for path in directories.values():
        report.build([path])
    facts, rows = _plain(chosen, command_line())
    paths = build_suite(facts, rows, directories, root / "report")
    if as_json:
        typer.echo(json.dumps(suite_summary(facts, rows, directories), indent=2))
    elif not quiet:
        for text in suite_tables(facts, rows, directories):
            _print_table(text.title, text.headings, text.rows)
        typer.echo(f"report: {paths.page}")
    return 0 if any(row["measured_accuracy"] is not None for row in suite_summary(facts, rows, directories)["rows"]) else 1


def _announce(console: Console, chosen: Any) -> None:
    if chosen.stamps:
        console.print(f"{chosen.suite.name}: {', '.join(chosen.stamps)}", style="bold red", highlight=False)
    for line in chosen.lines:
        if line.reason:
            console.print(
                f"not run: {line.row.dataset} {line.row.net} {line.row.arm}: {line.reason}", highlight=False, markup=False
            )


def _plain(chosen: Any, command: str) -> tuple[Any, list[Any]]:
    """The suite as plain data: a report imports nothing of the bench."""
    from bpfree.report.published import SuiteFacts, SuiteRow

    suite = chosen.suite
    facts = SuiteFacts(
        name=suite.name, title=suite.title, paper=suite.paper, description=suite.description.strip(), stamps=chosen.stamps,
        scale=chosen.scale, section_notes={section.title: section.note for section in suite.sections}, command=command,
        n_suite_rows=sum(len(section.rows) for section in suite.sections),
    )  # fmt: skip
    rows = []
    for line in chosen.lines:
        data = chosen.data.get((line.section.ruleset, line.row.dataset))
        rows.append(
            SuiteRow(
                section=line.section.title, ruleset=line.section.ruleset, dataset=line.row.dataset,
                measured_dataset=data.name if data is not None else "", net=line.row.net, arm=line.row.arm,
                number=line.number, note=line.row.note, reason=line.reason,
            )
        )  # fmt: skip
    return facts, rows


def _print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for k, heading in enumerate(headings):
        table.add_column(heading, justify="left" if k == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
