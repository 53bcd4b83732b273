"""A ruleset as a command or a call asks for it: by name or file, with single rules changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bpfree.errors import RulesetError
from bpfree.rulesets.files import load
from bpfree.rulesets.ruleset import Ruleset

__all__ = ["changed_rules"]


def changed_rules(ruleset: str | Path | Ruleset, use: str, changes: Mapping[str, Any]) -> Ruleset:
    """A ruleset with changes.

    Args:
        ruleset: a name, a YAML file, or the rules.
        use: name of the command; some rulesets are for one command only.
        changes: rules by name, such as ``trials``; None leaves one as it is.

    Raises:
        RulesetError: a change out of range, or a ruleset that is not for this use.
    """
    rules = ruleset if isinstance(ruleset, Ruleset) else load(ruleset)
    rules.check_use(use)
    changes = {name: value for name, value in changes.items() if value is not None}
    for option in ("seeds", "split_seeds"):
        if isinstance(count := changes.get(option), int) and count < 1:
            raise RulesetError(f"--{option.replace('_', '-')} must be at least 1, got {count}")
    if (changes.get("studies") or 1) > 1 and rules.search.passes_per_trial is not None:
        raise RulesetError(
            f"ruleset {rules.name} searches once, by trials shorter than runs, and has no studies; use --ruleset claim, or "
            "leave --studies out"
        )
    rules = rules.with_changes(changes) if changes else rules
    if "seeds" in changes and rules.search.studies > 1:
        raise RulesetError(
            f"ruleset {rules.name} draws its runs by studies, one run of each arm in each; give --studies instead of --seeds"
        )
    return rules
