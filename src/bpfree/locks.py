"""Locks between processes of one machine: the system frees them when a process ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from bpfree.files import NO_LOCKS, writing

__all__ = ["held"]


@contextlib.contextmanager
def held(path: Path, *, together: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold a lock file while the block runs.

    Args:
        together: with others that ask for it so; otherwise alone.
        wait: until it is free; otherwise see at once.

    Yields:
        Whether it is held. A file system without locks says yes.

    Raises:
        StorageError: the place cannot be written.
    """
    with writing(path):
        descriptor = _opened(path)
    try:
        yield _taken(descriptor, (fcntl.LOCK_SH if together else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """In a folder that all may write, only its owner may open a file in order to create it (Linux)."""
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)


def _taken(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True
