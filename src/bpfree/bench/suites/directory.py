"""The directory of a suite: one run directory for each of its rulesets, and ``suite.json``, which says what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictStr, TypeAdapter

from bpfree import rulesets
from bpfree.bench.damage import rules_of
from bpfree.bench.json_file import read_json
from bpfree.errors import RunDirectoryError
from bpfree.files import PART
from bpfree.records import read_records
from bpfree.rulesets import Ruleset

__all__ = ["check_place"]


class _Identity(BaseModel):
    """What ``suite.json`` says the directory holds; the rows in it are of the last command, and are not read."""

    model_config = ConfigDict(frozen=True)

    suite: StrictStr
    scale: StrictFloat = Field(gt=0, allow_inf_nan=False)


_IDENTITY: TypeAdapter[_Identity | None] = TypeAdapter(_Identity)


def check_place(out: Path, suite: str, scale: float, rules: Mapping[str, Ruleset]) -> str:
    """Refuse a directory that holds something else, or this suite under other rules.

    Args:
        out: directory of a suite, new or not.
        suite, scale: name and scale of the suite that is to be run.
        rules: by their key in the suite.

    Returns:
        What is the matter with ``suite.json``, if it is damaged or missing and can be made again; else nothing.

    Raises:
        RunDirectoryError, RulesetError: it does; the message says what.
    """
    if not out.exists():
        return ""
    if not out.is_dir():
        raise RunDirectoryError(f"{out} is a file; choose another --out DIR")
    plan, damage = out / "suite.json", ""
    try:
        known = read_json(plan, _IDENTITY, None)
    except RunDirectoryError as error:
        known, damage = None, str(error)
    there = {(known.suite, known.scale)} if known else _recorded(out)
    if not there:
        _check_only_rules(out, damage)
    for name, scale_there in there:
        if (name, scale_there) != (suite, scale):
            raise RunDirectoryError(
                f"{out} holds suite {name} at scale {scale_there:g}, not {suite} at {scale:g}; choose another --out DIR"
            )
    for key, mine in rules.items():
        if (out / key).is_dir():
            rulesets.check_equal({str(out / key): rules_of(out / key, mine)[0], "this command": mine})
    return damage or (f"{plan} is missing" if there and not plan.exists() else "")


def _recorded(out: Path) -> set[tuple[str, float]]:
    """Name and scale of every suite that the records of the run directories in ``out`` name."""
    plans = [record.plan for path in sorted(out.glob("*/records.jsonl")) for record in read_records(path)]
    return {(str(plan["suite"]), float(plan.get("scale", 1.0))) for plan in plans if "suite" in plan}


def _check_only_rules(out: Path, damage: str) -> None:
    """Refuse a directory of which nothing says that it is a suite's, unless nothing is in it but rulesets without a record."""
    others = [entry for entry in out.iterdir() if entry.name != "suite.json" and not entry.name.startswith(PART)]
    if all((entry / "ruleset.yaml").is_file() and not read_records(entry / "records.jsonl") for entry in others):
        return
    what = (
        f"{damage}, and no record says what {out} holds"
        if damage
        else f"{out} is not empty and holds no suite (it has no suite.json)"
    )
    raise RunDirectoryError(f"{what}; choose another --out DIR")
