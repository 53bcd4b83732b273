"""Checks that all runs of a table were made under one ruleset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from bpfree.errors import RulesetError
from bpfree.rulesets.digest import SHORT, digest
from bpfree.rulesets.ruleset import Ruleset
from bpfree.rulesets.words import difference

__all__ = ["check_equal", "refuse_mixed"]


def check_equal(rulesets: Mapping[str, Ruleset]) -> str:
    """The common digest of several rulesets, by place (a run directory, an arm).

    Raises:
        RulesetError: they differ; the message names the first two that do, and in what.
    """
    if not rulesets:
        raise RulesetError("no ruleset was given; one is needed for a table")
    (first_place, first), *others = rulesets.items()
    for place, other in others:
        if digest(other) != digest(first):
            raise RulesetError(
                f"{first_place} ({first.name}) and {place} ({other.name}) were run under different rules and cannot stand in "
                f"one table: {'; '.join(difference(first, other))}"
            )
    return digest(first)


def refuse_mixed(digests: Mapping[str, str]) -> str:
    """The common digest of several places, when only the digests of their records are known.

    Raises:
        RulesetError: there are two or more; the message says which place has which.
    """
    if not digests:
        raise RulesetError("no record was given; one is needed for a table")
    places: dict[str, list[str]] = defaultdict(list)
    for place, digest_there in digests.items():
        places[digest_there].append(place)
    if len(places) > 1:
        which = "; ".join(f"{each[:SHORT]} in {', '.join(where)}" for each, where in places.items())
        raise RulesetError(f"records of {len(places)} rulesets cannot stand in one table: {which}; report them one by one")
    return next(iter(places))
