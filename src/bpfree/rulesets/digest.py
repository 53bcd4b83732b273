"""The digest: equal for two rulesets exactly when their runs may be compared in one table."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from bpfree.rulesets.schema import UNHASHED

if TYPE_CHECKING:
    from bpfree.rulesets.schema import Rules

__all__ = ["SHORT", "digest", "hashed_fields", "short_digest"]

SHORT = 16
"""Digits of a digest shown on screens; records hold all 64."""


def hashed_fields(ruleset: Rules) -> dict[str, Any]:
    """What decides comparability, as plain JSON values: all but name, title, description, use and plan.

    A field that was added later is left out where it is not used, so that older rulesets keep their digest. In schema version 1
    the digest covers neither search spaces nor what the loaders did; from 2 on both are in it.
    """
    fields = ruleset.model_dump(mode="json", exclude=set(UNHASHED))
    if ruleset.schema_version == 1:
        del fields["search"]["studies"], fields["search"]["spaces"]
    if fields["search"]["train_examples"] is None:
        del fields["search"]["train_examples"]
    if fields["class_weight"] == "none":
        del fields["class_weight"]
    return fields


def digest(ruleset: Rules) -> str:
    """SHA-256 (64 hex digits) of the canonical JSON (keys sorted, no spaces, ASCII) of :func:`hashed_fields`.

    Independent of the order of keys in a file, of the process and of the machine.
    """
    canonical = json.dumps(hashed_fields(ruleset), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def short_digest(ruleset: Rules) -> str:
    """The first 16 digits, for screens."""
    return digest(ruleset)[:SHORT]
