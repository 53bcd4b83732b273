"""Arrays in files that are mapped into memory: only what is read is loaded, and it is let go again.

Pages of a mapped file count as this process's memory from the moment they are read. :func:`release` gives them back; the system
may keep them in its cache of files. Only maps that were opened here are touched: they are read-only, so nothing can be lost.
"""

from __future__ import annotations

import mmap
import sys
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from bpfree.data.array_kinds import Array

__all__ = ["Place", "is_mapped", "note_map", "place_of", "release", "reopened", "want"]

_PAGE = mmap.PAGESIZE
_HAS_ADVICE = sys.platform.startswith("linux")
"""Elsewhere ``MADV_DONTNEED`` may mean something else, and the system decides what stays in memory."""

_files: WeakKeyDictionary[mmap.mmap, Path] = WeakKeyDictionary()
"""Every map that was opened here, and its file."""


class Place(NamedTuple):
    """Where an array lies in a file: enough to map it again in another process.

    Attributes:
        offset, strides: in bytes.
    """

    path: Path
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


def note_map(array: Array, path: Path) -> Array:
    """``array``, which was mapped from ``path`` for reading, to be known as such from now on."""
    if (base := _base(array)) is not None:
        _files[base] = path
    return array


def is_mapped(array: Array) -> bool:
    """Whether the array, perhaps a view, lies in a map that was opened here."""
    return (base := _base(array)) is not None and base in _files


def place_of(array: Array) -> Place | None:
    """Where a mapped array lies; None of any other."""
    base = _base(array)
    if base is None or base not in _files:
        return None
    offset = _address(array) - _address(np.frombuffer(base, np.uint8))
    return Place(_files[base], array.dtype.str, array.shape, array.strides, offset)


def reopened(place: Place) -> Array:
    """The array at a place, mapped again.

    Raises:
        OSError: the file is gone.
        TypeError, ValueError: it is shorter than it was.
    """
    with place.path.open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    array: Array = np.ndarray(place.shape, place.dtype, buffer=whole, offset=place.offset, strides=place.strides)
    return note_map(array, place.path)


def release(array: Array) -> None:
    """Let the pages go that were read of the array's file, where it is mapped; they are read again when they are needed."""
    base = _base(array)
    if _HAS_ADVICE and base is not None and base in _files:
        base.madvise(mmap.MADV_DONTNEED)


def want(array: Array, start: int, stop: int) -> None:
    """Ask the system to read examples ``start`` to ``stop`` of a mapped array soon, without waiting for them."""
    base = _base(array)
    if not _HAS_ADVICE or base is None or base not in _files or array.strides[0] <= 0:
        return
    first = _address(array) + start * array.strides[0] - _address(np.frombuffer(base, np.uint8))
    begin = first // _PAGE * _PAGE
    end = min(len(base), first + (stop - start) * array.strides[0])
    if end > begin:
        base.madvise(mmap.MADV_WILLNEED, begin, end - begin)


def _address(array: Array) -> int:
    return array.__array_interface__["data"][0]


def _base(array: Any) -> mmap.mmap | None:
    while isinstance(array, np.ndarray):
        array = array.base
    return array if isinstance(array, mmap.mmap) else None
