"""What other packages add, by entry points: rules, nets, data sets, and ranges that a search looks through.

A package declares, say, ``[project.entry-points."bpfree.nets"]`` with ``my-net = "my_package.nets:build"``. Nothing is imported
until the name is used; an entry point that cannot be loaded stops only what needs it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from bpfree.errors import UsageError
from bpfree.fields import Admitted

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUPS", "Extension", "Kind", "extensions", "options_read"]

Kind = Literal["rule", "net", "data set", "search space"]

GROUPS: dict[Kind, str] = {
    "rule": "bpfree.algorithms",
    "net": "bpfree.nets",
    "data set": "bpfree.datasets",
    "search space": "bpfree.search_spaces",
}
"""The group of entry points by what it adds."""


@dataclass(frozen=True)
class Extension:
    """One name that other packages declare.

    Attributes:
        kind, name: what it is, and the name under which it is used.
        points: the entry points of this name: one, unless packages contend for it.
    """

    kind: Kind
    name: str
    points: tuple[EntryPoint, ...]

    @property
    def distribution(self) -> str:
        """Name and version of the package that declares it, such as ``"bpfree-random-heads 0.1.0"``."""
        return " and ".join(dict.fromkeys(map(_distribution, self.points)))

    @property
    def place(self) -> str:
        """Module and object, such as ``"my_package.nets:build"``."""
        return " and ".join(dict.fromkeys(point.value for point in self.points))

    def load(self) -> Any:
        """What the entry point names; the caller checks its type with :meth:`refused`.

        Raises:
            UsageError: it cannot be imported, or several packages declare the name.
        """
        if len(self.points) > 1:
            values = " and ".join(f"{point.value} of {_distribution(point)}" for point in self.points)
            raise UsageError(f"the {self.kind} {self.name!r} is declared twice, as {values}; uninstall one of the packages")
        try:
            return next(iter(self.points)).load()
        except (Exception, SystemExit) as error:  # whatever another package's module raises
            reason = (str(error).splitlines() or [""])[0]
            raise self.refused(f"cannot be loaded ({type(error).__name__}: {reason})") from error

    def refused(self, why: str) -> UsageError:
        """An error that names the package: ``why`` follows its name, as in ``"is a str, not a function"``."""
        what = f"the {self.kind} {self.name!r} of {self.distribution} ({self.place})"
        return UsageError(f"{what} {why}; update or uninstall that package")


def _distribution(point: EntryPoint) -> str:
    return "an unnamed package" if point.dist is None else f"{point.dist.name} {point.dist.version}"


@cache
def extensions(kind: Kind) -> dict[str, Extension]:
    """What is installed of a kind, by name, sorted; nothing is imported. Searched once in a process."""
    from importlib.metadata import entry_points  # deferred: help and most errors need no entry point

    by_name: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for point in entry_points(group=GROUPS[kind]):
        by_name.setdefault(point.name, {})[point.value, _distribution(point)] = point  # a folder may be on the path twice
    return {name: Extension(kind, name, tuple(points.values())) for name, points in sorted(by_name.items())}


def options_read(function: Callable[..., Any], texts: Mapping[str, str], what: str) -> dict[str, Any]:
    """Options of a text as keyword arguments: those parameters that have a default, each of its default's type.

    Args:
        what: the text, for messages, such as ``"the net 'wide:width=64'"``.

    Raises:
        UsageError: no such parameter, or a value of another type.
    """
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if isinstance(parameter.default, bool | int | float | str)
    }
    values = {}
    for key, text in texts.items():
        if key not in defaults:
            raise UsageError(f"{what} has an unknown option {key!r}; known: {', '.join(defaults) or 'none'}")
        admitted = Admitted(type(defaults[key]))
        values[key] = text if admitted.kind is str else admitted.read(text)
        if not admitted.holds(values[key]) and admitted.kind is not str:
            raise UsageError(f"{what}: {key} must be {admitted.words()}, got {text!r}")
    return values
