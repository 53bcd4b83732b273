"""From a checked table and labels 0 to K - 1 to a data set of two splits; sparse tables made dense where they are small."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bpfree.data import Dataset, Examples
from bpfree.data.splits import digest
from bpfree.data.standardise import Part, standardised
from bpfree.data.stored import Normalisation
from bpfree.errors import DataError, UsageError

__all__ = ["SparseInputWarning", "as_batch", "as_dataset", "as_dense", "check_in_shape"]

MOST_BYTES = 2**30
"""Of a sparse table once it is dense, in float64; larger ones are refused."""

_NAME = "X"


class SparseInputWarning(UserWarning):
    """A sparse table was made dense, since every rule multiplies dense matrices."""


def as_dense(x: Any) -> Any:
    """``x``, or a sparse matrix as an array.

    Raises:
        DataError: it would take more than :data:`MOST_BYTES`.
    """
    if not hasattr(x, "toarray"):
        return x
    n_bytes = 8 * math.prod(x.shape)
    if n_bytes > MOST_BYTES:
        raise DataError(
            f"X is a sparse matrix of shape {x.shape}, which would take {n_bytes / 2**30:.1f} GiB once it is dense (at most "
            f"{MOST_BYTES / 2**30:.0f} GiB); use fewer features, such as sklearn.decomposition.TruncatedSVD(100)"
        )
    warnings.warn(
        f"X is a sparse matrix of shape {x.shape} and is made dense ({n_bytes / 2**20:.1f} MiB); give X.toarray() to be silent",
        SparseInputWarning,
        stacklevel=4,
    )
    return x.toarray()


def check_in_shape(in_shape: tuple[int, ...] | None, n_features: int) -> tuple[int, ...]:
    """The shape of one example: that of a row, or (channels, height, width) with as many values.

    Raises:
        UsageError: another number of values or of axes.
    """
    if in_shape is None:
        return (n_features,)
    shape = tuple(in_shape)
    if len(shape) not in (1, 3) or math.prod(shape) != n_features:
        raise UsageError(
            f"in_shape must be (features,) or (channels, height, width) with {n_features} values, as X has columns, got {shape}"
        )
    return shape


def as_dataset(
    x: NDArray[Any], y: NDArray[np.int64], n_classes: int, in_shape: tuple[int, ...], fraction: float, seed: int
) -> Dataset:
    """A data set without test examples, standardised by its training split.

    Args:
        x: (n, features), finite.
        y: (n,) labels 0 to n_classes - 1.
        fraction: of each class that validates, rounded; no class loses its last example. Where none is left to validate (0, or
            few examples), the training examples validate too.
        seed: of the split.

    Raises:
        UsageError: a fraction that is not from 0 to less than 1.
        DataError: values too large to standardise.
    """
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction < 1:
        raise UsageError(f"validation_fraction must be from 0 to less than 1, got {fraction!r}; 0.15 is usual")
    x = x.reshape(len(x), *in_shape)
    validating = _validating(y, fraction, seed)
    rows = {"train": np.flatnonzero(~validating), "validation": np.flatnonzero(validating if validating.any() else ~validating)}
    stored, prepared = standardised({split: Part(x, of_split) for split, of_split in rows.items()}, _NAME)
    splits = {split: _examples(stored[split], y[of_split]) for split, of_split in rows.items()}
    return _dataset(splits, n_classes, in_shape, digest(x, y, *rows.values()), prepared)


def as_batch(
    x: NDArray[Any], y: NDArray[np.int64], n_classes: int, in_shape: tuple[int, ...], prepared: Normalisation
) -> Dataset:
    """Some examples, to train on and to validate with, standardised as an earlier data set was."""
    shift, factor = prepared.shift.cpu().numpy(), prepared.factor.cpu().numpy()
    values = ((x.reshape(len(x), *in_shape).astype(np.float64) - shift) * factor).astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{_NAME} has values too large to standardise (up to {np.abs(x).max():.3g}); rescale them")
    examples = _examples(values, y)
    return _dataset({"train": examples, "validation": examples}, n_classes, in_shape, digest(x, y), prepared)


def _examples(x: NDArray[np.float32], y: NDArray[np.int64]) -> Examples:
    return Examples(torch.from_numpy(x), torch.from_numpy(np.ascontiguousarray(y)))


def _dataset(
    splits: dict[str, Examples], n_classes: int, in_shape: tuple[int, ...], split_digest: str, prepared: Normalisation
) -> Dataset:
    return Dataset(
        name=_NAME,
        n_classes=n_classes,
        in_shape=in_shape,
        split_digest=split_digest,
        note="",
        splits=splits,
        prepared=prepared,
    )


def _validating(y: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.bool_]:
    """(n,) which examples validate: the share of every class, at random."""
    random = np.random.RandomState(seed)
    chosen = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        members = random.permutation(np.flatnonzero(y == label))
        chosen[members[: min(round(fraction * len(members)), len(members) - 1)]] = True
    return chosen
