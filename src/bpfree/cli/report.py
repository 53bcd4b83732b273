"""``report``: the tables and the page of what was run."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from pathlib import Path

from bpfree import report as reports
from bpfree.cli.options import OutputOptions
from bpfree.cli.output import print_json, print_table, say
from bpfree.cli.target import Target

__all__ = ["print_tables", "report_command"]


def print_tables(directories: Sequence[Path], target: Target = None, *, accept_other_code: bool = False) -> None:
    """The headline table of every data set and net."""
    for text in reports.headline_rows(directories, target, accept_other_code=accept_other_code):
        print_table(text.title, text.headings, text.rows, text.notes)


def report_command(
    directories: Sequence[Path], *, out: Path | None, target: Target, accept_other_code: bool, open_: bool, output: OutputOptions
) -> int:
    """Rebuild the report, print its tables and where it is; open it where that is asked."""
    paths = reports.build(directories, out, target, accept_other_code=accept_other_code)
    if output.as_json:
        print_json(reports.summarise(directories, target, accept_other_code=accept_other_code))
    elif not output.quiet:
        print_tables(directories, target, accept_other_code=accept_other_code)
        say(f"report: {paths.page}")
    if open_:
        webbrowser.open(paths.page.resolve().as_uri())
    return 0
