"""What became slower, or larger, than the committed figures by more than the noise of the two runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .measuring import KINDS

__all__ = ["LEAST_CHANGE", "not_comparable", "slower"]

LEAST_CHANGE = 0.05
"""A smaller change is never named: what else a machine does moves the ratio of two least windows by so much."""

Found = Mapping[str, Any]


def slower(committed: Found, now: Found) -> list[str]:
    """One line for each ratio to torch's own step (of programs: to importing torch) that grew, with both values.

    Seconds of compiling are not compared: they have no ratio to torch's own step, and are measured once.
    """
    return [*_cases(committed, now), *_programs(committed, now)]


def not_comparable(committed: Found, now: Found) -> list[str]:
    """One line for what cannot be held against the committed figures, and why."""
    kinds = [[each["environment"].get(key) for key in ("processor_kind", "instruction_set")] for each in (committed, now)]
    lines = []
    if kinds[0] != kinds[1]:
        was, here = (" with ".join(word or "unknown" for word in kind) for kind in kinds)
        lines.append(f"the committed figures are of another kind of processor ({was}; here {here}): ratios differ between kinds")
    if committed.get("kit") != now.get("kit"):
        lines.append("the committed figures were measured by another version of this benchmark")
    old_rows = _rows(committed)
    known = {case for case, _, _ in old_rows}
    for case in now["cases"]:
        if case["case"] not in known:
            lines.append(f"{case['case']}: the committed figures do not have it")
        for who, why in case["refused"].items():
            if any(key == (case["case"], *who.rsplit(", ", 1)) for key in old_rows):
                lines.append(f"{case['case']}: {who} was measured and is refused now: {why}")
    return lines


def _rows(found: Found) -> dict[tuple[str, str, str], Found]:
    return {(case["case"], row["arm"], row["tier"]): row for case in found["cases"] for row in case["rows"]}


def _cases(committed: Found, now: Found) -> Iterator[str]:
    old_rows = _rows(committed)
    for case in now["cases"]:
        for row in case["rows"]:
            old = old_rows.get((case["case"], row["arm"], row["tier"]))
            for kind in KINDS:
                if old is None or kind not in row or kind not in old:
                    continue
                yield from _line(
                    f"{case['case']}: {kind} of {row['arm']} ({row['tier']})", old[kind], row[kind], "least_ratio", "torch's"
                )
            if old is not None and old.get("peak_ratio") and row.get("peak_ratio"):  # counted, so without noise
                sizes = [{"ratio": each["peak_ratio"], "noise": 0.0} for each in (old, row)]
                yield from _line(f"{case['case']}: live bytes of a step of {row['arm']}", *sizes, "ratio", "torch's")


def _programs(committed: Found, now: Found) -> Iterator[str]:
    old_programs = {each["program"]: each for each in committed["programs"]}
    for each in now["programs"]:
        if each["program"] in old_programs:
            yield from _line(each["program"], old_programs[each["program"]], each, "ratio", "the import of torch")


def _line(what: str, old: Found, new: Found, key: str, unit: str) -> Iterator[str]:
    allowed = max(LEAST_CHANGE, 2 * (old["noise"] ** 2 + new["noise"] ** 2) ** 0.5)
    if new[key] > old[key] * (1 + allowed):
        yield f"{what}: {new[key]:.2f} of {unit}, was {old[key]:.2f} (noise {allowed:.0%})"
