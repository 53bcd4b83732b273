"""What a search looks for: log-uniform ranges by rule and option, part of the ruleset and hashed with it.

A key is ``*`` (every rule), a rule (``pepita``), or either with options (``*:optimiser=sgd``, ``pepita:optimiser=adam``).
The more special key has the last word: a rule before ``*``, then more options before fewer. ``null`` in place of a range takes a
hyper-parameter out of the search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from bpfree.errors import RulesetError, unknown_name
from bpfree.rulesets.numbers import Positive

__all__ = ["EVERY_RULE", "Range", "Spaces", "all_names", "known_spaces", "named_spaces", "names_rule", "ranges_of"]

EVERY_RULE = "*"
"""The rule of a key that holds for all."""

EDGE = 0.05
"""A value within this share of the (logarithmic) range from an end is reported as "at the edge"."""


class Range(BaseModel):
    """A log-uniform range of one hyper-parameter, from ``low`` to ``high``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: Positive
    high: Positive

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"the low end of a range must be below its high end, got {self.low:g} to {self.high:g}")
        return self

    def at(self, place: float) -> float:
        """The value at ``place``, from 0 (the low end) to 1 (the high end)."""
        value = self.low * (self.high / self.low) ** place
        return min(max(value, self.low), self.high)

    def at_edge(self, value: float) -> bool:
        """Whether ``value`` lies so near an end that the range may have been too narrow."""
        place = math.log(value / self.low) / math.log(self.high / self.low)
        return place < EDGE or place > 1 - EDGE

    def __str__(self) -> str:
        return f"log-uniform {self.low:g} to {self.high:g}"


Spaces = dict[str, dict[str, Range | None]]
"""Ranges by key, then by hyper-parameter."""


def _parsed(key: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """``"pepita:sign=plus"`` as ``("pepita", (("sign", "plus"),))``."""
    rule, *options = key.split(":")
    return rule, tuple((name, value) for name, _, value in (option.partition("=") for option in options))


def ranges_of(spaces: Mapping[str, Mapping[str, Range | None]], rule: str, options: Mapping[str, str]) -> dict[str, Range]:
    """What is searched for a rule with these options (as text, defaults included), sorted by name."""
    ranges: dict[str, Range | None] = {}
    for key in sorted(spaces, key=lambda key: (_parsed(key)[0] != EVERY_RULE, len(_parsed(key)[1]), key)):
        whose, wanted = _parsed(key)
        if whose in (EVERY_RULE, rule) and set(wanted) <= set(options.items()):
            ranges |= spaces[key]
    return {name: ranges[name] for name in sorted(ranges) if ranges[name] is not None}  # type: ignore[misc]  # the condition does not narrow a subscript


def all_names(spaces: Mapping[str, Mapping[str, Range | None]]) -> tuple[str, ...]:
    """Every hyper-parameter that is searched for any rule, sorted: the dimensions of the sequence that all arms share."""
    return tuple(sorted({name for ranges in spaces.values() for name, bounds in ranges.items() if bounds is not None}))


def names_rule(spaces: Mapping[str, Any], rule: str) -> bool:
    """Whether a key is this rule, alone or with options."""
    return any(_parsed(key)[0] == rule for key in spaces)


@cache
def _file() -> dict[str, Any]:
    return yaml.safe_load((resources.files("bpfree.rulesets") / "standard" / "spaces.yaml").read_text(encoding="utf-8"))


def known_spaces() -> list[str]:
    """Names of the search spaces of the package."""
    return sorted(_file())


def named_spaces(name: str) -> dict[str, Any]:
    """Search spaces of the package by name, as plain values.

    Raises:
        UnknownNameError: there are none of this name.
    """
    if name not in _file():
        raise unknown_name("search spaces", name, known_spaces())
    return _file()[name]


def check_keys(spaces: Mapping[str, Any]) -> None:
    """Refuse a key that cannot be read.

    Raises:
        RulesetError: naming it.
    """
    for key in spaces:
        rule, options = _parsed(key)
        if not rule or not all(name and value for name, value in options):
            raise RulesetError(f"search.spaces: cannot read the key {key!r}; write *, RULE, or RULE:option=value")
