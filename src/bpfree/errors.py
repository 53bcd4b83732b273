"""What can go wrong by a user's hand, each with one clear line: what was asked, what was got, and the cure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Literal

__all__ = [
    "BpfreeError",
    "DataError",
    "DeviceError",
    "RulesetError",
    "RunDirectoryError",
    "RunInterruptedError",
    "StorageError",
    "UnknownNameError",
    "UsageError",
]


class BpfreeError(Exception):
    """Root of all errors that bpfree raises on purpose; the command line prints them as one line, exit code 2."""


class UsageError(BpfreeError, ValueError):
    """A value that cannot be used: a hyper-parameter, a net, an option."""


class UnknownNameError(UsageError):
    """A name that is not registered; the message offers the nearest ones."""


class DataError(BpfreeError, ValueError):
    """Data that cannot be learned from: missing, corrupt, of the wrong shape, not finite."""


class DeviceError(BpfreeError, ValueError):
    """A device that is not there, or cannot do what was asked."""


class RulesetError(BpfreeError, ValueError):
    """A ruleset that cannot be read, or two rulesets where one is needed."""


class RunDirectoryError(BpfreeError, ValueError):
    """A run directory that cannot be resumed or reported on."""


class RunInterruptedError(BpfreeError, ValueError):
    """Something around a run broke it (memory ran out, a device was lost): the same command makes the run again.

    Attributes:
        cause: ``"memory"`` after which other runs may still be made, ``"device"``, or ``"storage"``.
    """

    def __init__(self, message: str, cause: Literal["storage", "memory", "device"]) -> None:
        super().__init__(message)
        self.cause: Literal["storage", "memory", "device"] = cause

    def __reduce__(self) -> tuple[type[RunInterruptedError], tuple[str, str]]:
        """For another process."""
        return type(self), (str(self), self.cause)


class StorageError(BpfreeError, ValueError):
    """A disk that is full or read-only. What was written before stays whole."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Build the error for a name that is not registered.

    Args:
        kind: what was looked for, such as ``"algorithm"``.
        name: what was asked.
        known: the registered names; the nearest three are offered, or all when none is near.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    offer = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
    return UnknownNameError(f"unknown {kind} {name!r}; {offer}")
