"""``bpfree compare``: the main job."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import typer
from rich.console import Console

from bpfree import report
from bpfree.bench import Comparison, RunDirectory, check_runnable, check_supported, fresh_path, parse_arms, with_control
from bpfree.cli.interrupt import QuietObserver, watch_for_interrupts
from bpfree.cli.progress import ConsoleObserver
from bpfree.cli.resume import remember
from bpfree.cli.setting import Request
from bpfree.cli.show import print_tables

__all__ = ["compare_command"]


def compare_command(
    request: Request, *, arms: str | None, out: Path | None, accept_other_code: bool = False, as_json: bool, quiet: bool
) -> int:
    """Run or resume a comparison; 1 if every run failed."""
    rules = request.rules("compare")
    chosen = parse_arms(arms if arms is not None else ",".join(rules.plan.arms))
    if rules.plan.control:
        chosen = with_control(chosen)
    check_supported(rules, chosen)
    setting = request.setting(rules)
    check_runnable(setting, chosen)
    others = request.other_splits(setting)
    setting.plan["arms"] = [arm.label for arm in chosen]
    if rules.search.studies > 1:
        setting.plan["studies"] = list(range(rules.search.studies))
    else:
        setting.plan["seeds"] = list(rules.plan.seeds)
    directory = RunDirectory(out or fresh_path(Path(setting.data.name).name))
    console = Console(stderr=True, quiet=quiet)
    watch_for_interrupts()
    with directory.opened(rules, setting.facts, accept_other_code=accept_other_code):
        remember(directory.path)
        comparison = Comparison(setting, chosen, rules.plan.seeds, directory, QuietObserver(), others)
        watched = nullcontext(comparison.observer) if quiet else ConsoleObserver(console, comparison.n_passes())
        with watched as comparison.observer:
            records = comparison.run()
        paths = report.build([directory.path])
    if as_json:
        typer.echo(json.dumps(report.summarise([directory.path]), indent=2))
    elif not quiet:
        print_tables([directory.path])
        typer.echo(f"report: {paths.page}")
    return 0 if any(record.status == "ok" for record in records) else 1
