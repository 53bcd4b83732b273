"""``bpfree reproduce --list``, and the choice of rows: what suites hold; nothing is run."""

from __future__ import annotations

from typing import Any

import typer

from bpfree.bench import suites
from bpfree.bench.reproduce import Reproduction
from bpfree.bench.suite_choice import choose
from bpfree.bench.suites import Suite
from bpfree.cli.output import print_json, print_table
from bpfree.errors import UsageError
from bpfree.units import format_percent

__all__ = ["choose_rows", "list_command"]


def choose_rows(
    suite: str, *, scale: float, datasets: str | None, arms: str | None, seeds: int | None, max_hours: float | None
) -> Reproduction:
    """The rows of a suite that were asked for, see :func:`bpfree.bench.suite_choice.choose`."""
    return choose(
        suites.load(suite), scale=scale, dataset_names=_words(datasets), arms=_words(arms), n_seeds=seeds, max_hours=max_hours
    )


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def list_command(suite: str | None, *, list_: bool, as_json: bool) -> int:
    """The suites, or the rows of one.

    Raises:
        UsageError: no suite was named, and ``--list`` was not given either.
    """
    if suite is not None:
        return _list_rows(suites.load(suite), as_json)
    if not list_:
        raise UsageError(f"name a suite: {', '.join(suites.names())} (bpfree reproduce --list says what they are)")
    loaded = [suites.load(name) for name in suites.names()]
    if as_json:
        print_json({s.name: {"title": s.title, "paper": s.paper, "rows": _n_rows(s)} for s in loaded})
        return 0
    for s in loaded:
        typer.echo(f"{s.name}: {s.title} ({_n_rows(s)} rows)\n    {s.paper}")
    return 0


def _n_rows(suite: Suite) -> int:
    return sum(len(section.rows) for section in suite.sections)


def _list_rows(suite: Suite, as_json: bool) -> int:
    rows = [
        {
            "section": section.title,
            "ruleset": section.ruleset,
            "dataset": row.dataset,
            "net": row.net,
            "arm": row.arm,
            "published_accuracy": number.accuracy,
            "published_difference": number.difference,
            "second_hand": number.second_hand,
            "source": number.source,
            "not_run": row.not_run or None,
        }
        for section in suite.sections
        for row in section.rows
        for number in (section.number(row),)
    ]
    if as_json:
        print_json({"suite": suite.name, "rows": rows})
        return 0
    print_table(
        f"{suite.name}: {suite.title}",
        ("Row", "Ruleset", "Published"),
        [(f"{r['dataset']} {r['net']}\n{r['arm']}", r["ruleset"], _published(r)) for r in rows],
    )
    return 0


def _published(row: dict[str, Any]) -> str:
    number = f"{format_percent(row['published_accuracy'])} %"
    if row["published_accuracy"] is None:
        number = f"{100 * row['published_difference']:+.2f} points to backprop"
    return number + (", second-hand" if row["second_hand"] else "") + (f"\nnot run: {row['not_run']}" if row["not_run"] else "")
