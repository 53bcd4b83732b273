"""Labels of the user's arrays: whole numbers 0 to K - 1, each of which occurs in training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bpfree.data.array_kinds import Array
from bpfree.errors import DataError

__all__ = ["RELABEL", "check_known_labels", "class_labels"]

RELABEL = "relabel with: labels, y = np.unique(y, return_inverse=True)"
"""The cure of labels that are not 0 to K - 1."""


def class_labels(y: Array, name: str, what: str = "y") -> NDArray[np.int64]:
    """The labels as int64.

    Raises:
        DataError: they are no whole numbers 0 to K - 1 without gaps, or of one class only.
    """
    y = _whole(y, name, what)
    labels = np.unique(y)
    _check_least(labels, name)
    if len(labels) == 1:
        raise DataError(f"{name}: all {len(y)} labels are {labels[0]}; give examples of at least two classes")
    if int(labels[-1]) != len(labels) - 1:
        absent = int(np.flatnonzero(labels != np.arange(len(labels)))[0])
        raise DataError(
            f"{name}: labels must be 0 to K - 1 without gaps, but they go up to {labels[-1]} and no example has label {absent}; "
            f"{RELABEL}"
        )
    return y.astype(np.int64)


def check_known_labels(y: Array, n_classes: int, name: str, what: str) -> NDArray[np.int64]:
    """Labels of a split that the user gave beside that for training, as int64; not every class must occur.

    Raises:
        DataError: they are no whole numbers, or one has no training example.
    """
    y = _whole(y, name, what)
    _check_least(y.min(keepdims=True), name)
    if int(y.max()) >= n_classes:
        raise DataError(
            f"{name}: {what} has label {y.max()}, but training has labels 0 to {n_classes - 1}; give training examples of it, or "
            "leave it out"
        )
    return y.astype(np.int64)


def _whole(y: Array, name: str, what: str) -> Array:
    if y.dtype.kind in "biu":
        return y
    whole = y.dtype.kind == "f" or (y.dtype.kind == "O" and all(type(label) is int for label in y))
    cure = f"{what}.astype(int) if they are whole numbers, else " if whole else ""
    raise DataError(f"{name}: labels must be whole numbers, got {y.dtype}; {cure}{RELABEL}")


def _check_least(labels: Array, name: str) -> None:
    if labels[0] < 0:
        raise DataError(f"{name}: labels must be 0 to K - 1, but the smallest is {labels[0]}; {RELABEL}")
