"""The user's own arrays: examples ``x`` and labels ``y``, divided here or by the user.

``x`` is (n, features) for a table, (n, height, width) or four axes for images: (n, channels, height, width) or (n, height, width,
channels), by the rule of :mod:`bpfree.data.axes` or as ``channels`` says. ``y`` is (n,), strings or whole numbers, numbered from
0 in their sorted order. Without splits of the user 70/15/15, stratified. Images of uint8 stay uint8 on the device; they are
divided by 255 and standardised by one mean and one deviation of the training split. Everything else, tables of uint8 among it, is
standardised in float64 by the training split's mean and deviation, per feature of a table and per channel of an image, and stored
as float32; a constant value becomes 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bpfree.data.array_kinds import Array, as_array, check_same_index
from bpfree.data.axes import as_examples
from bpfree.data.dataset import SPLITS, Dataset
from bpfree.data.groups import check_apart, checked_groups, grouped_split
from bpfree.data.labels import ClassNames, check_known_labels, class_labels
from bpfree.data.splits import Indices, digest, stratified_parts, stratified_shares, train_and_validation
from bpfree.data.standardise import (
    Part,
    check_finite,
    check_standardised,
    pixel_normalisation,
    standardised,
    standardiser_of,
)
from bpfree.data.storage import stay_in_files
from bpfree.data.stored import Examples, Normalisation
from bpfree.data.streamed import Rows, streamed
from bpfree.errors import DataError, UsageError
from bpfree.rulesets import Split, standard_split
from bpfree.text import readable

__all__ = ["from_arrays"]


@dataclass(frozen=True)
class _Given:
    """What the user gave for one split: examples, labels, and groups or None."""

    x: Array
    y: NDArray[np.int64]
    groups: Array | None


def from_arrays(
    x: Any = None,
    y: Any = None,
    name: str = "arrays",
    split_seed: int = 0,
    split: Split | None = None,
    *,
    channels: str = "auto",
    groups: Any = None,
    x_train: Any = None,
    y_train: Any = None,
    x_validation: Any = None,
    y_validation: Any = None,
    groups_validation: Any = None,
    x_test: Any = None,
    y_test: Any = None,
    groups_test: Any = None,
    data_in: str = "memory",
) -> Dataset:
    """Make a data set of arrays (numpy, torch, pandas or lists); they are copied, or left in their files.

    Args:
        x: examples, of a shape named at the top of this file; bool, whole or floating numbers.
        y: (n,) labels: strings or any whole numbers; :attr:`Dataset.classes` names them where they are not 0 to K - 1.
        name: for records and messages.
        split_seed: of what is drawn.
        split: its shares, by default 70/15/15. Where the test set is given, ``validation`` is a share of the training examples.
        channels: ``"first"`` or ``"last"`` says how four axes are read; ``"auto"`` goes by the rule of :mod:`bpfree.data.axes`.
        groups: (n,) to which group each example belongs: no group is in two splits.
        x_train, y_train: other names of ``x`` and ``y``.
        x_validation, y_validation: a validation set of the user's own, which needs a test set too.
        x_test, y_test: a test set of the user's own; without a validation set, one is drawn of the training examples.
        groups_validation, groups_test: groups of those, to be checked: none may be in two splits.
        data_in: of arrays that bpfree has mapped from files: see :data:`bpfree.data.storage.DATA_IN`.

    Raises:
        DataError: in one line, what is wrong with the arrays and how to mend it.
        UsageError: arrays that do not belong together, or ``channels`` for what has none.
    """
    if (x is not None and x_train is not None) or (y is not None and y_train is not None):
        raise UsageError(f"{name}: x and x_train, or y and y_train, are two names of one thing; give one of them")
    plain = x_train is None and y_train is None
    raw = {
        "train": (x if x_train is None else x_train, y if y_train is None else y_train, groups),
        "validation": (x_validation, y_validation, groups_validation),
        "test": (x_test, y_test, groups_test),
    }
    whole = plain and all(part is None for split in SPLITS[1:] for part in raw[split])
    given, classes = _checked(
        {split: parts for split, parts in raw.items() if _is_given(split, parts, name)}, whole, channels, name
    )
    train = given["train"]
    rows, words = _divided(given, split or standard_split("arrays"), split_seed, name)
    parts = {k: Part(given[k].x if k in given else train.x, rows.get(k)) for k in SPLITS}
    labels = {k: given[k].y if k in given else train.y for k in SPLITS}
    split_digest = _digest(given, rows, classes)  # before anything is stored: moved channels are copied for it
    n = sum(len(part) for part in parts.values())
    chosen = {k: torch.from_numpy(labels[k][rows[k]] if k in rows else labels[k].copy()) for k in SPLITS}
    made = Dataset(
        name=name,
        n_classes=int(train.y.max()) + 1,
        in_shape=train.x.shape[1:],
        split_digest=split_digest,
        note=f"{name}: {n:,} examples of shape {train.x.shape[1:]}, split {words}.",
        splits={},
        classes=classes,
    )
    if stay_in_files(parts, data_in, name):
        rows_of, normalisation, prepared = _in_files(parts, name)
        return streamed(dataclasses.replace(made, normalisation=normalisation, prepared=prepared), rows_of, chosen)
    stored, normalisation, prepared = _stored(parts, name)
    splits = {k: Examples(torch.from_numpy(stored[k]), chosen[k]) for k in SPLITS}
    return dataclasses.replace(made, splits=splits, normalisation=normalisation, prepared=prepared)


def _is_given(split: str, parts: tuple[Any, Any, Any], name: str) -> bool:
    """Whether the user gave examples and labels of this split.

    Raises:
        UsageError: only one of both, or groups without them.
    """
    x, y, groups = parts
    if split != "train" and x is None and y is None and groups is None:
        return False
    if x is None or y is None:
        what = "x, y" if split == "train" else f"x_{split}, y_{split}"
        raise UsageError(f"{name}: {split} needs both examples and labels; give {what}")
    return True


def _checked(
    raw: Mapping[str, tuple[Any, Any, Any]], whole: bool, channels: str, name: str
) -> tuple[dict[str, _Given], ClassNames | None]:
    given: dict[str, _Given] = {}
    n_classes, classes = 0, None
    for split, (x, y, groups) in raw.items():
        suffix = "" if whole else f"_{split}"
        check_same_index(x, y, name)
        x, y = as_array(x, f"x{suffix}", name), as_array(y, f"y{suffix}", name)
        _check_lengths(x, y, suffix, name)
        if split == "train":
            y, classes = class_labels(y, name, f"y{suffix}")
            n_classes = int(y.max()) + 1
        else:
            y = check_known_labels(y, classes, n_classes, name, f"y{suffix}")
        x = as_examples(x, channels, name)
        check_finite(x, name, f"x{suffix}")
        if groups is not None:
            groups = checked_groups(as_array(groups, "groups", name), len(x), name, f"groups{suffix if split != 'train' else ''}")
        given[split] = _Given(x, y, groups)
    for split, part in given.items():
        _check_alike(given["train"].x, part.x, split, name)
    return given, classes


def _check_lengths(x: Array, y: Array, suffix: str, name: str) -> None:
    if x.ndim == 0 or y.ndim == 0 or x.size == 0 or y.size == 0:
        raise DataError(
            f"{name} is empty: x{suffix} has shape {x.shape}, y{suffix} has shape {y.shape}; give at least 3 of each class"
        )
    if y.ndim != 1:
        cure = f"y{suffix}.argmax(axis=1) if it is one-hot" if y.ndim == 2 and y.shape[1] > 1 else f"y{suffix}.ravel()"
        raise DataError(f"{name}: y{suffix} must have shape (n,), got {y.shape}; give {cure}")
    if len(x) != len(y):
        raise DataError(
            f"{name}: x{suffix} has {len(x)} examples and y{suffix} has {len(y)} labels; give one label for each example"
        )


def _check_alike(train: Array, other: Array, split: str, name: str) -> None:
    if train.shape[1:] != other.shape[1:]:
        raise DataError(
            f"{name}: training examples have shape {train.shape[1:]}, those of x_{split} {other.shape[1:]}; give the same shape"
        )
    if (train.dtype == np.uint8) != (other.dtype == np.uint8):
        raise DataError(
            f"{name}: training examples are {train.dtype}, those of x_{split} {other.dtype}; scale and store both in one way"
        )


def _divided(given: Mapping[str, _Given], split: Split, seed: int, name: str) -> tuple[dict[str, Indices], str]:
    """Which training examples are in each split that is drawn from them, and the division in words."""
    train = given["train"]
    groups = {k: part.groups for k, part in given.items() if part.groups is not None}
    if 1 < len(groups) < len(given) or (groups and "train" not in groups):
        raise UsageError(
            f"{name}: groups were given for {', '.join(groups)} only; give those of {', '.join(given)}, or of training"
        )
    check_apart(groups, name)
    if "validation" in given:
        if "test" not in given:
            raise UsageError(f"{name}: x_validation was given without a test set; give x_test and y_test too, or neither")
        return {}, "as given"
    if "test" not in given:
        validation, test = stratified_shares(split, name=name)
        shares, words = {"validation": validation, "test": test}, str(split)
    elif split.kind == "stratified" or train.groups is not None:
        share = split.validation if isinstance(split.validation, float) else split.validation / len(train.y)
        shares, words = {"validation": share}, f"{100 * share:.3g} % of training validate, test as given"
    else:
        training, validating = train_and_validation(len(train.y), split, seed, name=name)
        return {"train": training, "validation": validating}, f"{split.validation} of training validate, test as given"
    if train.groups is None:
        return stratified_parts(train.y, shares, seed, name=name), words
    return grouped_split(train.y, train.groups, shares, seed, name=name), f"{words}, no group in two splits"


def _digest(given: Mapping[str, _Given], rows: Mapping[str, Indices], classes: ClassNames | None) -> str:
    """Of contents and division; where the user gave no splits, of x, y and the three lists of rows alone; of names of classes."""
    parts: list[str | NDArray[Any]] = [given["train"].x, given["train"].y]
    for split in SPLITS[1:]:
        if split in given:
            parts += [split, given[split].x, given[split].y]
    named = [] if classes is None else ["classes", *(readable(str(each)) for each in classes)]
    return digest(*parts, *rows.values(), *named)


def _stored(
    parts: Mapping[str, Part], name: str
) -> tuple[Mapping[str, NDArray[Any]], Normalisation | None, Normalisation | None]:
    """What the data set holds of each split, the normalisation of its batches, and that which has been done already."""
    if _are_pixels(parts):
        return {split: part.values() for split, part in parts.items()}, pixel_normalisation(parts["train"]), None
    stored, prepared = standardised(parts, name)
    return stored, None, prepared


def _in_files(parts: Mapping[str, Part], name: str) -> tuple[dict[str, Rows], Normalisation | None, Normalisation | None]:
    """The same of examples that stay where they are."""
    if _are_pixels(parts):
        rows = {split: Rows(part.x, part.rows, None) for split, part in parts.items()}
        return rows, pixel_normalisation(parts["train"]), None
    standardiser = standardiser_of(parts, name)
    check_standardised(parts, standardiser, name)
    return {split: Rows(part.x, part.rows, standardiser) for split, part in parts.items()}, None, standardiser.normalisation


def _are_pixels(parts: Mapping[str, Part]) -> bool:
    train = parts["train"].x
    return train.dtype == np.uint8 and train.ndim == 4
