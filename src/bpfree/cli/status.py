"""``bpfree status``: how far shared work is."""

from __future__ import annotations

import textwrap
from datetime import datetime, timedelta
from pathlib import Path

import typer

from bpfree.bench.published import published
from bpfree.bench.standing import Standing, standing
from bpfree.cli.output import console, print_json
from bpfree.cli.worker import store_of
from bpfree.units import format_time

__all__ = ["lines", "status_command"]

WIDTH = 80
"""Characters of a line on a terminal."""

_KINDS = {"trial": "trials", "run": "measured runs", "study": "studies"}


def status_command(directory: Path | None, *, storage: str | None, as_json: bool) -> int:
    """Print where each comparison stands; 0, also while something is left."""
    store = store_of(directory, storage)
    now = datetime.now()
    with store.answering():
        each = [standing(work.command, work.claims("").entries(), now) for work in published(store)]
    if as_json:
        print_json({"storage": store.place, "work": [one.as_json() for one in each]})
        return 0
    wraps = console().is_terminal
    for one in each:
        for line in lines(one, now):
            typer.echo(textwrap.fill(line, WIDTH, subsequent_indent="    ") if wraps else line)
    return 0


def lines(one: Standing, now: datetime) -> list[str]:
    """A comparison in lines."""
    there = [one.command or "a comparison"]
    for kind, words in _KINDS.items():
        counts = [numbers.get(kind, 0) for numbers in (one.finished, one.running, one.waiting)]
        if any(counts):
            there.append(f"  {words}: {counts[0]} of {sum(counts)} finished, {counts[1]} running, {counts[2]} waiting")
    there += [
        f"  {each.task}: {each.host}, process {each.pid}, {each.device}, for {format_time(each.since_s)}" for each in one.now
    ]
    there += [f"  {task}: not begun again, since each process that made it ended" for task in one.stuck]
    there.append(f"  {_when(one, now)}")
    return there


def _when(one: Standing, now: datetime) -> str:
    if one.done:
        return "done"
    if not one.now:
        return "no process works at it; start bpfree worker, or give the command again"
    if one.left_s is None:
        return "no time is known yet: nothing of a kind that is left has been finished"
    at = now + timedelta(seconds=one.left_s)
    day = "" if at.date() == now.date() else f"{at:%Y-%m-%d} "
    return f"about {format_time(one.left_s)} left with the processes of now, until {day}{at:%H:%M}"
