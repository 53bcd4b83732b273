"""What broke a run: the arm itself, or the world around it (storage, memory, device).

What the world does to a run says nothing about the arm: such a run is interrupted, and the same command makes it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from bpfree.errors import RunInterruptedError, StorageError
from bpfree.files import refusal

__all__ = ["Cause", "ends_the_process", "interruption", "raise_on", "says", "world_cause"]

Cause = Literal["storage", "memory", "device"]

_WORDS: dict[Cause, str] = {
    "storage": "a file could not be read or written",
    "memory": "memory ran out",
    "device": "the device was lost",
}

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "_STATUS_ALLOC_FAILED")
_LOST_DEVICE = (
    "CUDA error",
    "CUDA driver error",
    "_STATUS_EXECUTION_FAILED",
    "_STATUS_INTERNAL_ERROR",
    "_STATUS_NOT_INITIALIZED",
)
_OF_THE_ARM = "device-side assert"
"""An index out of range in the arm's own code. It ends the process as a lost device does, but it is a failure of the arm."""


def world_cause(error: BaseException) -> Cause | None:
    """What the world did, or None where the arm itself broke the run; what an error was raised from counts too."""
    return next((cause for each in _chain(error) if (cause := _cause_of(each)) is not None), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__


def _cause_of(error: BaseException) -> Cause | None:
    if isinstance(error, RunInterruptedError):
        return error.cause
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, OSError | StorageError):
        return "storage"
    if not isinstance(error, RuntimeError):
        return None
    text = str(error)
    # By name: torch is slow to import, and its older versions have no class for a lost device.
    if type(error).__name__ == "OutOfMemoryError" or any(words in text for words in _OUT_OF_MEMORY):
        return "memory"
    if _OF_THE_ARM in text:
        return None
    if type(error).__name__ == "AcceleratorError" or any(words in text for words in _LOST_DEVICE):
        return "device"
    return None


def ends_the_process(error: BaseException) -> bool:
    """Whether the device accepts no more work of this process, whatever the cause."""
    return world_cause(error) == "device" or any(_OF_THE_ARM in str(each) for each in _chain(error))


def says(error: BaseException) -> str:
    """Name and first line of an error."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def interruption(error: BaseException) -> StorageError | RunInterruptedError | None:
    """What the command is to raise for an error of the world: of a disk the refusal with its cure; None for other errors."""
    cause = world_cause(error)
    if cause is None:
        return None
    if cause == "storage":
        for each in _chain(error):
            if isinstance(each, StorageError):
                return each
            if isinstance(each, OSError) and (refused := refusal(each)) is not None:
                return refused
    return error if isinstance(error, RunInterruptedError) else RunInterruptedError(f"{_WORDS[cause]} ({says(error)})", cause)


def raise_on(cause: BaseException | None) -> None:
    """Go on after a run that the arm itself made fail; end after anything else that broke one.

    Args:
        cause: what broke the run, if anything did; its record has been written.

    Raises:
        KeyboardInterrupt, StorageError, RunInterruptedError: according to the cause.
    """
    if isinstance(cause, KeyboardInterrupt):
        raise cause from None
    if isinstance(cause, Exception):
        if (error := interruption(cause)) is not None:
            raise error from cause
        if ends_the_process(cause):
            raise RunInterruptedError(f"the device takes no more work after a failed run ({says(cause)})", "device") from cause
