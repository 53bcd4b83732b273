"""The directory of a suite: one run directory for each of its rulesets, and ``suite.json``, which says what it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bpfree import rulesets
from bpfree.errors import RunDirectoryError
from bpfree.files import PART
from bpfree.rulesets import Ruleset

__all__ = ["check_place"]


def check_place(out: Path, suite: str, scale: float, rules: Mapping[str, Ruleset]) -> None:
    """Refuse a directory that holds something else, or this suite under other rules.

    Args:
        out: directory of a suite, new or not.
        suite, scale: name and scale of the suite that is to be run.
        rules: by their key in the suite.

    Raises:
        RunDirectoryError, RulesetError: it does; the message says what.
    """
    plan = out / "suite.json"
    if out.is_dir() and not plan.exists() and any(not entry.name.startswith(PART) for entry in out.iterdir()):
        raise RunDirectoryError(f"{out} is not empty and holds no suite (it has no suite.json); choose another --out DIR")
    if out.exists() and not out.is_dir():
        raise RunDirectoryError(f"{out} is a file; choose another --out DIR")
    if plan.exists():
        try:
            there = json.loads(plan.read_text(encoding="utf-8"))
            name, scale_there = str(there["suite"]), float(there["scale"])
        except (ValueError, KeyError, TypeError) as error:
            raise RunDirectoryError(f"{plan} cannot be read ({error}); choose another --out DIR") from error
        if (name, scale_there) != (suite, scale):
            raise RunDirectoryError(
                f"{out} holds suite {name} at scale {scale_there:g}, not {suite} at {scale:g}; choose another --out DIR"
            )
    for key, mine in rules.items():
        if (out / key / "ruleset.yaml").exists():
            rulesets.check_equal({str(out / key): rulesets.load(out / key / "ruleset.yaml"), "this command": mine})
