"""Labels of the user's arrays: strings or any whole numbers, numbered from 0 in their sorted order.

Whole numbers 0 to K - 1 without gaps are the numbers of their classes, which then have no other names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpfree.data.array_kinds import Array
from bpfree.errors import DataError

__all__ = ["ClassNames", "check_known_labels", "class_labels", "class_names", "class_words"]

ClassNames = tuple[int, ...] | tuple[str, ...]
"""The labels as the user has them, in the order of the classes."""

_SHOWN = 10
"""Classes that a message lists."""


def class_labels(y: Array, name: str, what: str = "y") -> tuple[NDArray[np.int64], ClassNames | None]:
    """The number of each label's class, as int64, and the names of the classes; None where they are 0 to K - 1.

    Raises:
        DataError: labels that are neither strings nor whole numbers, that are missing, or of one class only.
    """
    y = _labels(y, name, what)
    values, numbers = np.unique(y, return_inverse=True)
    if len(values) == 1:
        raise DataError(f"{name}: all {len(y)} labels are {values[0]}; give examples of at least two classes")
    if y.dtype.kind != "U" and values[0] == 0 and int(values[-1]) == len(values) - 1:
        return y.astype(np.int64), None
    return numbers.reshape(y.shape).astype(np.int64), class_names(values.tolist())


def check_known_labels(y: Array, classes: ClassNames | None, n_classes: int, name: str, what: str) -> NDArray[np.int64]:
    """The same of a split that the user gave beside that for training; not every class must occur.

    Args:
        classes, n_classes: of the training examples.

    Raises:
        DataError: as :func:`class_labels`, or a label has no training example.
    """
    y = _labels(y, name, what)
    known = np.asarray(range(n_classes) if classes is None else classes)
    alike = (y.dtype.kind == "U") == (known.dtype.kind == "U")
    if unknown := sorted(set(y.tolist()) - set(known.tolist() if alike else ())):
        has = f"labels 0 to {n_classes - 1}" if classes is None else f"the labels {class_words(classes)}"
        raise DataError(
            f"{name}: {what} has label {unknown[0]!r}, but training has {has}; give training examples of it, or leave it out"
        )
    return np.searchsorted(known, y).astype(np.int64)


def class_names(values: Sequence[Any]) -> ClassNames:
    """Names of classes: all whole numbers, or all strings."""
    return tuple(values) if isinstance(values[0], str) else tuple(int(value) for value in values)


def class_words(classes: Sequence[Any]) -> str:
    """Names of classes for a message: the first few."""
    return ", ".join(map(repr, classes[:_SHOWN])) + (f", ... ({len(classes)} in all)" if len(classes) > _SHOWN else "")


def _labels(y: Array, name: str, what: str) -> Array:
    """Labels as an array of whole numbers, bool or text."""
    if y.dtype.kind == "O":
        y = _of_objects(y, name, what)
    elif y.dtype.kind == "T":  # numpy's strings of any length
        y = y.astype(str)
    elif y.dtype.kind == "S":
        try:
            y = np.char.decode(y, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{name}: {what} has bytes that are no text in UTF-8 ({error.reason}); give strings") from error
    if y.dtype.kind == "U" and (empty := int((np.char.str_len(y) == 0).sum())):
        raise _missing(empty, name, what)
    if y.dtype.kind in "biuU":
        return y
    cure = f"{what}.astype(int) if they are whole numbers, else " if y.dtype.kind == "f" else ""
    raise DataError(f"{name}: labels must be whole numbers or strings, got {y.dtype}; {cure}{_rename(what)}")


def _of_objects(y: Array, name: str, what: str) -> Array:
    values = y.tolist()
    if missing := sum(_is_missing(value) for value in values):
        raise _missing(missing, name, what)
    if all(isinstance(value, str) for value in values):
        return y.astype(str)
    if all(isinstance(value, int | np.integer) and not isinstance(value, bool) for value in values):
        try:
            return y.astype(np.int64)
        except OverflowError as error:
            raise DataError(f"{name}: {what} has whole numbers beyond 64 bits; {_rename(what)}") from error
    kinds = sorted({type(value).__name__ for value in values})
    raise DataError(f"{name}: labels must be whole numbers or strings, all of one kind, got {', '.join(kinds)}; {_rename(what)}")


def _rename(what: str) -> str:
    return f"name the classes: {what}.astype(str)"


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)


def _missing(count: int, name: str, what: str) -> DataError:
    return DataError(f"{name}: {what} has {count} missing labels; drop those examples, or give them a class of their own")
