"""A suite as a list to be shown: plain values, which the catalogue of names keeps."""

from __future__ import annotations

from typing import Any

from bpfree.bench.suites.schema import Suite

__all__ = ["listed"]


def listed(suite: Suite) -> dict[str, Any]:
    """Title, paper and rows, each row with its published number."""
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
    return {"title": suite.title, "paper": suite.paper, "rows": rows}
