"""The user's own arrays: a ``.npz`` file with ``x`` and ``y``, or two arrays in Python.

``x`` is (n, features), (n, height, width), (n, channels, height, width), or (n, height, width, channels) where the last axis is 1
or 3 and the second is neither. ``y`` is (n,), whole numbers 0 to K - 1. Splits 70/15/15, stratified. uint8 stays uint8 on the
device; it is divided by 255 and standardised by one mean and one deviation of the training split. Everything else is standardised
in float64 by the training split's mean and deviation, per feature of a table and per channel of an image, and stored as float32;
a constant value becomes 0. A file is never unpickled: an object array is refused.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bpfree.data.dataset import Dataset, Examples, Normalisation
from bpfree.data.splits import digest, stratified_shares, stratified_split
from bpfree.errors import DataError
from bpfree.rulesets import Split, standard_split

__all__ = ["from_arrays", "load_examples", "load_npz"]

Array = NDArray[Any]

_RELABEL = "relabel with: labels, y = np.unique(y, return_inverse=True)"
_SAVE = "write it with: np.savez('data.npz', x=x, y=y)"


def load_npz(path: Path | str, split_seed: int = 0, split: Split | None = None) -> Dataset:
    """Load a ``.npz`` file that holds ``x`` and ``y``; the data set is named after the file.

    Raises:
        DataError: there is no such file, it is not a .npz, an array is missing or pickled, or see :func:`from_arrays`.
    """
    path = Path(path)
    x, y = _read(path, ("x", "y"))
    return from_arrays(x, y, name=path.name, split_seed=split_seed, split=split)


def load_examples(path: Path | str) -> torch.Tensor:
    """The examples of a ``.npz`` file that needs no labels: (n, features) or (n, c, h, w), as they are stored.

    Raises:
        DataError: there is no such file, it is not a .npz, ``x`` is missing or pickled, or holds what no example can.
    """
    path = Path(path)
    (x,) = _read(path, ("x",))
    if x.size == 0 or x.ndim == 0:
        raise DataError(f"{path.name} is empty: x has shape {x.shape}; give at least one example")
    return torch.from_numpy(np.ascontiguousarray(_checked_examples(x, path.name)))


def _read(path: Path, keys: tuple[str, ...]) -> list[Array]:
    if not path.is_file():
        raise DataError(f"there is no file {path}; check the path, or {_SAVE}")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is not a .npz file (a .npz is a zip archive; this is not, or is cut off); {_SAVE}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in keys if key not in archive.files]
            if missing:
                present = ", ".join(archive.files) or "nothing"
                raise DataError(f"{path} has no array {' and no array '.join(missing)}, only: {present}; {_SAVE}")
            return [_member(archive, key, path) for key in keys]
    except (OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"cannot read {path} ({error}); it is damaged or too large for the memory: write or copy it again"
        ) from error


def _member(archive: Any, key: str, path: Path) -> Array:
    try:
        return archive[key]
    except ValueError as error:
        if "pickle" in str(error):
            raise DataError(
                f"{key} in {path} holds Python objects, which bpfree does not load (unpickling runs code); give numbers in one "
                f"rectangular array: np.stack(list({key})) before np.savez"
            ) from error
        raise DataError(f"{key} in {path} cannot be read ({error}); write the file again") from error


def from_arrays(x: Any, y: Any, name: str = "arrays", split_seed: int = 0, split: Split | None = None) -> Dataset:
    """Make a data set of two arrays (numpy, torch or lists); they are copied.

    Args:
        x: examples, of a shape named at the top of this file; bool, whole or floating numbers.
        y: (n,) labels, whole numbers 0 to K - 1.
        name: for records and messages.
        split_seed: of the stratified split.
        split: its shares, by default 70/15/15.

    Raises:
        DataError: in one line, what is wrong with the arrays and how to mend it.
    """
    x, y = _as_array(x, "x", name), _as_array(y, "y", name)
    _check_lengths(x, y, name)
    y = _checked_labels(y, name)
    x = _checked_examples(x, name)
    split = split or standard_split("arrays")
    indices = stratified_split(y, stratified_shares(split, name=name), split_seed, name=name)
    raw_digest = digest(x, y, *indices.values())
    norm = prepared = None
    if x.dtype == np.uint8:
        norm = _pixel_normalisation(x[indices["train"]])
    else:
        x, prepared = _standardised(x, indices["train"], name)
    return Dataset(
        name=name,
        n_classes=int(y.max()) + 1,
        in_shape=x.shape[1:],
        split_digest=raw_digest,
        note=f"{name}: {len(y):,} examples of shape {x.shape[1:]}, split {split}.",
        splits={k: Examples(torch.from_numpy(x[i]), torch.from_numpy(y[i])) for k, i in indices.items()},
        normalisation=norm,
        prepared=prepared,
    )


def _as_array(values: Any, what: str, name: str) -> Array:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()  # numpy has no bfloat16
    try:
        return np.asarray(values)
    except ValueError as error:
        raise DataError(f"{name}: {what} is not one rectangular array ({error}); make its rows equally long") from error


def _check_lengths(x: Array, y: Array, name: str) -> None:
    if x.ndim == 0 or y.ndim == 0 or x.size == 0 or y.size == 0:
        raise DataError(f"{name} is empty: x has shape {x.shape}, y has shape {y.shape}; give at least 3 of each class")
    if y.ndim != 1:
        cure = "y.argmax(axis=1) if it is one-hot" if y.ndim == 2 and y.shape[1] > 1 else "y.ravel()"
        raise DataError(f"{name}: y must have shape (n,), got {y.shape}; give {cure}")
    if len(x) != len(y):
        raise DataError(f"{name}: x has {len(x)} examples and y has {len(y)} labels; give one label for each example")


def _checked_labels(y: Array, name: str) -> NDArray[np.int64]:
    if y.dtype.kind not in "biu":
        cure = "y.astype(int) if they are whole numbers, else " if y.dtype.kind == "f" else ""
        raise DataError(f"{name}: labels must be whole numbers, got {y.dtype}; {cure}{_RELABEL}")
    labels = np.unique(y)
    if labels[0] < 0:
        raise DataError(f"{name}: labels must be 0 to K - 1, but the smallest is {labels[0]}; {_RELABEL}")
    if len(labels) == 1:
        raise DataError(f"{name}: all {len(y)} labels are {labels[0]}; give examples of at least two classes")
    if int(labels[-1]) != len(labels) - 1:
        absent = int(np.flatnonzero(labels != np.arange(len(labels)))[0])
        raise DataError(
            f"{name}: labels must be 0 to K - 1 without gaps, but they go up to {labels[-1]} and no example has label {absent}; "
            f"{_RELABEL}"
        )
    return y.astype(np.int64)


def _checked_examples(x: Array, name: str) -> Array:
    """``x`` as (n, features) or (n, c, h, w)."""
    if x.dtype.kind not in "biuf":
        raise DataError(f"{name}: x must hold numbers, got {x.dtype}; encode it as uint8 or float32 first")
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
        x = np.moveaxis(x, 3, 1)
    elif x.ndim not in (2, 4):
        raise DataError(
            f"{name}: x must have 2 axes (n, features), 3 (n, h, w) or 4 (n, c, h, w), got shape {x.shape}; "
            + ("give x.reshape(-1, 1)" if x.ndim == 1 else "give x.reshape(len(x), -1)")
        )
    if x.dtype.kind == "f" and not (finite := np.isfinite(x)).all():
        bad = np.flatnonzero(~finite.reshape(len(x), -1).all(axis=1))
        raise DataError(
            f"{name}: x has {int((~finite).sum())} values that are NaN or infinite, the first in example {bad[0]}; fill them "
            "in, or drop those examples"
        )
    return x


def _pixel_normalisation(train: NDArray[np.uint8]) -> Normalisation:
    # By the histogram of the 256 values: exact, and no floating copy of all pixels is made.
    counts = np.bincount(train.reshape(-1), minlength=256) / train.size
    values = np.arange(256) / 255.0
    mean = float(counts @ values)
    std = float(np.sqrt(counts @ (values - mean) ** 2))
    scale = 1.0 / (255.0 * std) if std > 1e-12 else 1.0  # all pixels alike: they become 0
    return Normalisation(torch.tensor([255.0 * mean], dtype=torch.float64), torch.tensor([scale], dtype=torch.float64))


def _standardised(x: Array, train: NDArray[np.int64], name: str) -> tuple[NDArray[np.float32], Normalisation]:
    axes = (0,) if x.ndim == 2 else (0, 2, 3)
    x = x.astype(np.float64)  # before any subtraction: times and money have means far above their deviations
    seen = x[train]
    with np.errstate(all="ignore"):  # an overflow is reported below
        mean = seen.mean(axis=axes, keepdims=True)
        std = seen.std(axis=axes, keepdims=True)
        # A constant feature's deviation is rounding noise of its mean: it becomes 0, not noise of size one.
        constant = std <= 1e-12 * np.abs(mean)
        divisor = np.where(constant, 1.0, std)
        result = np.where(constant, 0.0, (x - mean) / divisor).astype(np.float32)
    if not (np.isfinite(result).all() and np.isfinite(std).all()):
        raise DataError(f"{name}: x has values too large to standardise (up to {np.abs(x).max():.3g}); rescale them")
    factor = np.where(constant, 0.0, 1.0 / divisor)
    return result, Normalisation(torch.from_numpy(mean[0]), torch.from_numpy(factor[0]))
