"""Ranges that a rule declares for itself, as a ruleset writes them: log-uniform, by rule and option.

A rule of another package says what its hyper-parameters are searched in, since no ruleset of this package knows it:

    search_space = {"head_scale": (0.01, 1.0), "loss=swish": {"beta": (0.1, 10.0)}}

A name has a range (low, high), or None, which takes a common hyper-parameter out of the search. A key ``option=value`` (several
are joined by ``:``) holds ranges for the rule with that option.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from bpfree.errors import UsageError
from bpfree.rulesets.ranges import Range, Spaces, names_rule
from bpfree.rulesets.ruleset import Ruleset

__all__ = ["declared_ranges", "with_spaces"]

FORM = 'write {"name": (low, high)}, or {"option=value": {"name": (low, high)}}'


def declared_ranges(rule: str, declared: Any) -> Spaces:
    """What a rule declares, as :class:`bpfree.rulesets.Search` has it: keys are the rule, alone and with options.

    Raises:
        UsageError: something of another form, or a range whose ends are no positive numbers in order.
    """
    if not isinstance(declared, Mapping):
        raise UsageError(f"the search space of {rule} is a {type(declared).__name__}; {FORM}")
    plain = {name: ends for name, ends in declared.items() if "=" not in str(name)}
    spaces = {rule: dict(_ranges(rule, plain))} if plain else {}
    for options, ranges in declared.items():
        if "=" in str(options):
            if not isinstance(ranges, Mapping):
                raise UsageError(f"the search space of {rule} gives {options!r} a {type(ranges).__name__}; {FORM}")
            spaces[f"{rule}:{options}"] = dict(_ranges(rule, ranges))
    return spaces


def _ranges(rule: str, plain: Mapping[Any, Any]) -> Iterator[tuple[str, Range | None]]:
    for name, ends in plain.items():
        try:
            if ends is None:
                yield str(name), None
                continue
            low, high = ends
            yield str(name), Range(low=low, high=high)
        except ValidationError as error:
            problem = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise UsageError(f"the search space of {rule} gives {name} the range {ends!r}: {problem}") from None
        except (TypeError, ValueError):
            raise UsageError(f"the search space of {rule} gives {name} the range {ends!r}; {FORM}") from None


def with_spaces(ruleset: Ruleset, declared: Mapping[str, Spaces]) -> Ruleset:
    """The ruleset with the spaces of rules that it does not name; these join its digest, and the rules its name.

    Args:
        declared: by rule, see :func:`declared_ranges`.
    """
    spaces = ruleset.search.spaces or {}
    new = {rule: ranges for rule, ranges in sorted(declared.items()) if ranges and not names_rule(spaces, rule)}
    if not new or ruleset.search.spaces is None:
        return ruleset
    more = {key: ranges for each in new.values() for key, ranges in each.items()}
    return ruleset.with_changes({"search.spaces": {**spaces, **more}, "name": "+".join([ruleset.name, *new])})
