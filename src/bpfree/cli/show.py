"""``list``: what is available. All of it on one screen; of one kind each in a line; of one name everything."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping

from bpfree import catalogue
from bpfree.catalogue import Extension
from bpfree.cli.output import heading, on_terminal, print_json, print_pairs, say
from bpfree.errors import BpfreeError, unknown_name

__all__ = ["KINDS", "list_command"]

Words = str | list[str]
"""A line on something, or its lines, the first of which stands for it."""

SYNONYMS = {"algorithms": "rules"}
JSON_KEYS = {"rules": "algorithms"}


def list_command(what: str | None, name: str | None = None, *, as_json: bool) -> int:
    """Print the names of everything, a line on each of a kind, or all that there is to say of one.

    Raises:
        UnknownNameError: there is no such kind, or no such name.
    """
    kind = SYNONYMS.get(what or "", what)
    if kind is not None and kind not in KINDS:
        raise unknown_name("thing to list", kind, (*KINDS, *SYNONYMS))
    if as_json:
        print_json({JSON_KEYS.get(each, each): _entries(each, name) for each in ([kind] if kind else KINDS)})
    elif kind is None:
        _print_all()
    elif name is None:
        heading(kind)
        print_pairs({each: KINDS[kind].line(each) for each in KINDS[kind].names()}, 2)
        _hint(f"all of one: bpfree list {kind} NAME")
    else:
        ((_, words),) = _entries(kind, name).items()
        heading(name)
        for line in [words] if isinstance(words, str) else words:
            say(line, 2)
    return 0


def _print_all() -> None:
    print_pairs({kind: ", ".join(listing.names()) for kind, listing in KINDS.items()})
    _hint("more of a kind: bpfree list rules; all of one: bpfree list rulesets quick")


def _hint(text: str) -> None:
    if on_terminal():
        say(text)


def _entries(kind: str, name: str | None) -> Mapping[str, Words]:
    return KINDS[kind].every() if name is None else {name: KINDS[kind].one(name)}


@dataclasses.dataclass(frozen=True)
class Listing:
    """One kind of things.

    Attributes:
        kind: in the singular, for messages.
        names: of all, without loading what other packages add.
        words: of a name that there is.
    """

    kind: str
    names: Callable[[], Iterable[str]]
    words: Callable[[str], Words]

    def line(self, name: str) -> str:
        """The first line of its words."""
        words = self.words(name)
        return words if isinstance(words, str) else words[0]

    def every(self) -> dict[str, Words]:
        """Each by its name."""
        return {name: self.words(name) for name in self.names()}

    def one(self, name: str) -> Words:
        """One of them.

        Raises:
            UnknownNameError: there is none of this name.
        """
        if name not in (known := list(self.names())):
            raise unknown_name(self.kind, name, known)
        return self.words(name)


class _Rules(Listing):
    """Those of the package and of others."""

    def line(self, name: str) -> str:
        """The first line of its documentation, and which other package it is from."""
        other = catalogue.other_rules().get(name)
        return super().line(name) + (f" (from {other.distribution})" if other is not None else "")


class _Rulesets(Listing):
    """Those of the package, and a user's file."""

    def one(self, name: str) -> Words:
        """One of them.

        Raises:
            UnknownNameError: there is none of this name.
            RulesetError: a file that cannot be used.
        """
        if name in catalogue.rulesets():
            return self.words(name)
        from bpfree import rulesets  # deferred: pydantic

        loaded = rulesets.load(name)
        return [loaded.title or loaded.name, *rulesets.in_words(loaded)]


def _rule(name: str) -> Words:
    if (other := catalogue.other_rules().get(name)) is not None:
        return _of_another_package(name, other)
    entry = catalogue.rules()[name]
    return [entry.words, *(f"{key} = {entry.defaults[key]} ({admitted.words()})" for key, admitted in entry.ranges.items())]


def _of_another_package(name: str, extension: Extension) -> list[str]:
    """What a rule says of itself, what is searched of it, and where it comes from; or why it cannot be loaded."""
    from bpfree.algorithms import documentation, rule_class  # deferred: torch
    from bpfree.bench.declared import search_space_of

    try:
        rule, spaces = rule_class(name), search_space_of(name)
    except BpfreeError as error:
        return [str(error)]
    searched = [
        f"searched{f' with {options}' if options else ''}: {key} {bounds or 'not at all'}"
        for options, ranges in ((at.partition(":")[2], ranges) for at, ranges in spaces.items())
        for key, bounds in ranges.items()
    ]
    fields = [f"{field.name} = {field.default} ({field.metadata['range'].words()})" for field in dataclasses.fields(rule)]
    return [documentation(rule).partition("\n")[0], f"from {extension.distribution}", *fields, *searched]


def _of_function(extension: Extension) -> str:
    """The first line of a function's documentation, and where it comes from; or why it cannot be loaded."""
    try:
        words = (inspect.getdoc(extension.load()) or "").partition("\n")[0]
    except BpfreeError as error:
        return str(error)
    return f"{words} (from {extension.distribution})".lstrip()


def _net(name: str) -> Words:
    other = catalogue.other_nets().get(name)
    return catalogue.nets()[name] if other is None else _of_function(other)


def _dataset(name: str) -> Words:
    other = catalogue.other_datasets().get(name)
    return catalogue.datasets()[name] if other is None else _of_function(other)


def _suite(name: str) -> Words:
    suite = catalogue.suites()[name]
    return [
        suite["title"],
        suite["paper"],
        f"its {len(suite['rows'])} rows: bpfree reproduce {name} --list",
    ]


KINDS = {
    "rules": _Rules("algorithm", lambda: sorted([*catalogue.rules(), *catalogue.other_rules()]), _rule),
    "nets": Listing("net", lambda: [*catalogue.nets(), *catalogue.other_nets()], _net),
    "datasets": Listing("data set", lambda: [*catalogue.datasets(), *catalogue.other_datasets()], _dataset),
    "rulesets": _Rulesets("ruleset", catalogue.rulesets, lambda name: catalogue.rulesets()[name]),
    "suites": Listing("suite", catalogue.suites, _suite),
}
