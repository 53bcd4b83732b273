"""Normalisation by the training split, and checks of values, a few megabytes at a time: no whole copy in float64 is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bpfree.data.array_kinds import Array
from bpfree.data.mapping import release
from bpfree.data.stored import Normalisation
from bpfree.errors import DataError

__all__ = ["Part", "Standardiser", "check_finite", "check_standardised", "pixel_normalisation", "standardised", "standardiser_of"]

_CHUNK = 2**18
"""Values that are worked on at a time, 2 MiB in double precision."""

_BLOCK = 2**15
"""Values that are standardised at a time, 256 KiB in double precision: they stay in the processor's cache."""


class Part(NamedTuple):
    """One split: some examples of an array.

    Attributes:
        x: (n, *shape), of any numeric type.
        rows: which examples, ascending; None for all.
    """

    x: Array
    rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.x) if self.rows is None else len(self.rows)

    def values(self) -> Array:
        """A copy, row after row in memory."""
        copy = np.empty((len(self), *self.x.shape[1:]), self.x.dtype)
        for place, chunk in self.chunks():
            copy[place] = chunk
        return copy

    def chunks(self) -> Iterator[tuple[slice, Array]]:
        """A few examples at a time, and where they stand among those of the split."""
        step = max(1, _CHUNK // max(1, int(np.prod(self.x.shape[1:]))))
        for start in range(0, len(self), step):
            stop = min(start + step, len(self))
            yield slice(start, stop), self.x[start:stop] if self.rows is None else self.x[self.rows[start:stop]]
            release(self.x)


def check_finite(x: Array, name: str, what: str = "x") -> None:
    """Refuse values that are NaN or infinite.

    Raises:
        DataError: how many there are, and where the first is.
    """
    if x.dtype.kind != "f":
        return
    count, first = 0, None
    for place, chunk in Part(x).chunks():
        finite = np.isfinite(chunk)
        if not finite.all():
            if first is None:
                first = place.start + int(np.flatnonzero(~finite.reshape(len(chunk), -1).all(axis=1))[0])
            count += int((~finite).sum())
    if count:
        raise DataError(
            f"{name}: {what} has {count} values that are NaN or infinite, the first in example {first}; fill them in, or drop "
            "those examples"
        )


def pixel_normalisation(train: Part) -> Normalisation:
    """One mean and one deviation of uint8 pixels, by the histogram of the 256 values: exact."""
    counts = np.zeros(256, np.int64)
    for _, chunk in train.chunks():
        counts += np.bincount(chunk.reshape(-1), minlength=256)
    shares = counts / counts.sum()
    values = np.arange(256) / 255.0
    mean = float(shares @ values)
    std = float(np.sqrt(shares @ (values - mean) ** 2))
    scale = 1.0 / (255.0 * std) if std > 1e-12 else 1.0  # all pixels alike: they become 0
    return Normalisation(torch.tensor([255.0 * mean], dtype=torch.float64), torch.tensor([scale], dtype=torch.float64))


class Standardiser(NamedTuple):
    """What is done to each value: ``(x - mean) / divisor`` in float64, and 0 where the training values are all alike.

    Attributes:
        mean, divisor: (1, d) or (1, c, 1, 1), float64.
        constant: of the same shape, bool.
    """

    mean: NDArray[np.float64]
    divisor: NDArray[np.float64]
    constant: NDArray[np.bool_]

    def of(self, x: Array) -> NDArray[np.float32]:
        """Some examples (n, \\*shape), standardised."""
        result = np.empty(x.shape, np.float32)
        step = max(1, _BLOCK // max(1, int(np.prod(x.shape[1:]))))
        for start in range(0, len(x), step):
            block = x[start : start + step].astype(np.float64)
            block -= self.mean
            block /= self.divisor
            result[start : start + step] = block
        np.copyto(result, 0.0, where=self.constant)
        return result

    @property
    def normalisation(self) -> Normalisation:
        """The same as a shift and a factor."""
        factor = np.where(self.constant, 0.0, 1.0 / self.divisor)
        return Normalisation(torch.from_numpy(self.mean[0]), torch.from_numpy(factor[0]))


def standardiser_of(parts: Mapping[str, Part], name: str) -> Standardiser:
    """Of the mean and the deviation of ``"train"``, per feature of a table and per channel of an image.

    Computed in float64, since times and money have means far above their deviations.

    Raises:
        DataError: values too large to standardise.
    """
    train = parts["train"]
    shape = train.x.shape
    axes = (0,) if len(shape) == 2 else (0, 2, 3)
    count = len(train) * int(np.prod([shape[axis] for axis in axes[1:]]))
    with np.errstate(all="ignore"):  # an overflow is reported
        none = np.zeros([1 if axis in axes else length for axis, length in enumerate(shape)])
        mean = sum((chunk.astype(np.float64).sum(axis=axes, keepdims=True) for _, chunk in train.chunks()), none) / count
        deviations = (np.square(chunk.astype(np.float64) - mean) for _, chunk in train.chunks())
        squares = sum((each.sum(axis=axes, keepdims=True) for each in deviations), none)
        std = np.sqrt(squares / count)
    # A constant feature's deviation is rounding noise of its mean: it becomes 0, not noise of size one.
    constant = std <= 1e-12 * np.abs(mean)
    if not np.isfinite(std).all():
        raise _too_large(parts, name)
    return Standardiser(mean, np.where(constant, 1.0, std), constant)


def standardised(parts: Mapping[str, Part], name: str) -> tuple[dict[str, NDArray[np.float32]], Normalisation]:
    """Each split with the mean and the deviation of ``"train"`` removed; a constant value becomes 0.

    Raises:
        DataError: values too large to standardise.
    """
    standardiser = standardiser_of(parts, name)
    result: dict[str, NDArray[np.float32]] = {}
    with np.errstate(all="ignore"):  # an overflow is reported
        for split, part in parts.items():
            values = result[split] = np.empty((len(part), *part.x.shape[1:]), np.float32)
            for place, chunk in part.chunks():
                values[place] = standardiser.of(chunk)
                if not np.isfinite(values[place]).all():
                    raise _too_large(parts, name)
    return result, standardiser.normalisation


def check_standardised(parts: Mapping[str, Part], standardiser: Standardiser, name: str) -> None:
    """Refuse what :func:`standardised` refuses, of examples that are not kept.

    Those that train are within √n of 0.

    Raises:
        DataError: values too large to standardise.
    """
    with np.errstate(all="ignore"):  # an overflow is reported
        for split, part in parts.items():
            if split != "train" and not all(np.isfinite(standardiser.of(chunk)).all() for _, chunk in part.chunks()):
                raise _too_large(parts, name)


def _too_large(parts: Mapping[str, Part], name: str) -> DataError:
    largest = max(float(np.abs(chunk.astype(np.float64)).max()) for part in parts.values() for _, chunk in part.chunks())
    return DataError(f"{name}: x has values too large to standardise (up to {largest:.3g}); rescale them")
