"""What can be named on the command line, without importing torch: rules with their hyper-parameters, nets, data sets, rulesets,
suites.

``bpfree list``, ``bpfree cite`` and the refusal of a misspelt name need no more. ``catalogue.json`` is made of the code by
``python -m bpfree.testing.catalogue``; a test compares them. What other packages add is found by its entry points.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bpfree.catalogue.extensions import GROUPS, Extension, Kind, extensions, options_read
from bpfree.catalogue.spec import Spec
from bpfree.errors import DeviceError, unknown_name
from bpfree.fields import Admitted, Value, hold, read
from bpfree.functions import is_function_text
from bpfree.sources import check_spec

__all__ = [
    "FILE",
    "GROUPS",
    "Extension",
    "RuleEntry",
    "check_arm",
    "check_dataset",
    "check_device",
    "check_net",
    "check_rule",
    "check_suite",
    "datasets",
    "net_options",
    "nets",
    "options_read",
    "other_datasets",
    "other_nets",
    "other_rules",
    "other_spaces",
    "rules",
    "rulesets",
    "suites",
]

FILE = Path(__file__).with_name("catalogue.json")

_KINDS: dict[str, type] = {kind.__name__: kind for kind in (float, int, bool, str)}
_OTHER_DEVICES = ("mps", "xpu", "hip", "xla", "meta", "mtia", "hpu", "ipu", "vulkan", "lazy", "privateuseone")
"""Of torch."""


@dataclass(frozen=True)
class RuleEntry:
    """A rule of the package.

    Attributes:
        module: where it is written.
        words: the first line of its documentation.
        bibtex: the entries of its documentation.
        defaults, ranges: of its hyper-parameters, in their order.
    """

    module: str
    words: str
    bibtex: tuple[str, ...]
    defaults: dict[str, Value]
    ranges: dict[str, Admitted]


@cache
def _content() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


def _admitted(values: dict[str, Any]) -> Admitted:
    low, high = (limit if values[key] is None else values[key] for key, limit in (("low", -math.inf), ("high", math.inf)))
    return Admitted(
        _KINDS[values["kind"]], low, high, values["open_low"], choices=tuple(values["choices"]), readout=values["readout"]
    )


@cache
def rules() -> dict[str, RuleEntry]:
    """The rules of the package, by name."""
    return {
        name: RuleEntry(
            entry["module"],
            entry["words"],
            tuple(entry["bibtex"]),
            {key: field["default"] for key, field in entry["fields"].items()},
            {key: _admitted(field) for key, field in entry["fields"].items()},
        )
        for name, entry in _content()["rules"].items()
    }


def other_rules() -> dict[str, Extension]:
    """The rules of other packages, by name; they are not loaded. A name of the package itself cannot be taken, here and below."""
    return _beside("rule", rules())


def other_nets() -> dict[str, Extension]:
    """The families of nets of other packages, likewise."""
    return _beside("net", nets())


def other_datasets() -> dict[str, Extension]:
    """The data sets of other packages, likewise."""
    return _beside("data set", datasets())


def other_spaces() -> dict[str, Extension]:
    """Search spaces that packages declare for rules of other packages, by the name of the rule, likewise."""
    return _beside("search space", rules())


def _beside(kind: Kind, ours: Iterable[str]) -> dict[str, Extension]:
    return {name: extension for name, extension in extensions(kind).items() if name not in ours}


def nets() -> dict[str, str]:
    """Name of each family of nets to one line of help."""
    return dict(_content()["nets"])


def net_options(family: str) -> tuple[str, ...]:
    """Keys of the options that a family of nets reads."""
    return tuple(arguments[0] for method, arguments, _ in _content()["net_texts"][family] if method in ("word", "natural"))


def rulesets() -> dict[str, list[str]]:
    """Name of each ruleset of the package to its title and its rules in words."""
    return dict(_content()["rulesets"])


def suites() -> dict[str, dict[str, Any]]:
    """Name of each suite to its ``title``, ``paper`` and ``rows``, as :mod:`bpfree.bench.suites.listing` makes them."""
    return dict(_content()["suites"])


def datasets() -> dict[str, str]:
    """Name of each data set to one line of help."""
    return dict(_content()["datasets"])


def check_rule(name: str) -> None:
    """Refuse a name that no rule has.

    Raises:
        UnknownNameError: with the nearest names.
    """
    if name not in rules() and name not in other_rules():
        raise unknown_name("algorithm", name, [*rules(), *other_rules()])


def check_arm(text: str) -> None:
    """Refuse an arm ``name:key=value`` by its name, a key, or a value out of range. What it cannot know, it lets pass.

    Raises:
        UsageError: as building the rule would.
    """
    name, *pairs = text.strip().split(":")
    check_rule(name)
    if name not in rules() or not all(pair.partition("=")[1] for pair in pairs):
        return
    ranges = rules()[name].ranges
    for key, value in read(name, ranges, dict(pair.split("=", 1) for pair in pairs)).items():
        hold(name, key, ranges[key], value)


def check_net(text: str) -> None:
    """Refuse a net of an unknown family, and a text that its family does not read.

    Raises:
        UnknownNameError: with the nearest names.
        UsageError: as building the net would.
    """
    family = text.partition(":")[0]
    if family not in nets():
        if is_function_text(text) or family in other_nets():
            return
        raise unknown_name("net", family, [*nets(), *other_nets()])
    spec = Spec(text)
    for method, arguments, named in _content()["net_texts"][family]:
        getattr(spec, method)(*arguments, **named)
    spec.close()


def check_dataset(text: str) -> None:
    """Refuse what cannot be the name or the file of a data set; nothing is read.

    Raises:
        UnknownNameError: there is no such data set.
        UsageError: options that the data set does not take, or a file of another kind.
    """
    check_spec(text, [name for name in datasets() if name.islower()], tuple(other_datasets()))


def check_device(text: str) -> None:
    """Refuse the name of a device that no rule can be trained on; whether it is there is not looked at.

    Raises:
        DeviceError: naming those that there are.
    """
    if re.fullmatch(r"(cpu|cuda)(:\d+)?", text):
        return
    known = re.fullmatch(rf"({'|'.join(_OTHER_DEVICES)})(:\d+)?", text)
    what = f"device {text!r} is not supported" if known else f"unknown device {text!r}"
    raise DeviceError(f"{what}; choose --device cpu or --device cuda")


def check_suite(text: str) -> None:
    """Refuse a name that no suite has; a file is not looked at.

    Raises:
        UnknownNameError: with the nearest names.
    """
    names = list(suites())
    if text not in names and "/" not in text and not text.endswith(".yaml"):
        raise unknown_name("suite", text, names)
