"""``bpfree reproduce --list``: what suites hold. Those of bpfree are listed from the catalogue, without torch."""

from __future__ import annotations

from typing import Any

from bpfree import catalogue
from bpfree.cli.output import print_json, print_pairs, print_table
from bpfree.errors import UsageError
from bpfree.units import MISSING, format_percent

__all__ = ["list_command"]


def list_command(suite: str | None, *, list_: bool, as_json: bool) -> int:
    """The suites, or the rows of one.

    Raises:
        UsageError: no suite was named, and ``--list`` was not given either.
    """
    known = catalogue.suites()
    if suite is not None:
        return _list_rows(suite, known[suite] if suite in known else _of_file(suite), as_json)
    if not list_:
        raise UsageError(f"name a suite: {', '.join(known)} (bpfree reproduce --list says what they are)")
    if as_json:
        print_json({name: {"title": s["title"], "paper": s["paper"], "rows": len(s["rows"])} for name, s in known.items()})
        return 0
    print_pairs({name: f"{s['title']} ({len(s['rows'])} rows): {s['paper']}" for name, s in known.items()})
    return 0


def _of_file(path: str) -> dict[str, Any]:
    from bpfree.bench.suites import load
    from bpfree.bench.suites.listing import listed

    return {"name": (suite := load(path)).name, **listed(suite)}


def _list_rows(name: str, suite: dict[str, Any], as_json: bool) -> int:
    name, rows = suite.get("name", name), suite["rows"]
    if as_json:
        print_json({"suite": name, "rows": rows})
        return 0
    print_table(
        f"{name}: {suite['title']}",
        ("Row", "Ruleset", "Published"),
        [(f"{r['dataset']} {r['net']}\n{r['arm']}", r["ruleset"], _published(r)) for r in rows],
    )
    return 0


def _published(row: dict[str, Any]) -> str:
    if row["published_accuracy"] is not None:
        number = f"{format_percent(row['published_accuracy'])} %"
    elif row["published_difference"] is not None:
        number = f"{100 * row['published_difference']:+.2f} points to backprop"
    else:
        number = MISSING
    return number + (", second-hand" if row["second_hand"] else "") + (f"\nnot run: {row['not_run']}" if row["not_run"] else "")
