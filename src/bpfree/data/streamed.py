"""Data sets that stay in their files: a batch reads the rows that it needs, while the step before it is made.

The batches are those of the same data in memory, bit for bit: the order is drawn in the same way, and what is done to values when
they are loaded into memory is done here when they are read.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from bpfree.data.array_kinds import Array
from bpfree.data.dataset import Dataset
from bpfree.data.mapping import Place, place_of, release, reopened, want
from bpfree.data.splits import Indices, digest, stratified_order
from bpfree.data.standardise import Standardiser
from bpfree.data.stored import Examples

__all__ = ["Rows", "Streamed", "streamed"]

T = TypeVar("T")
U = TypeVar("U")

AHEAD = 3
"""Groups of batches that are read before they are asked for."""

SAMPLE = 4096
"""Examples of each split that are kept in memory, to count steps and to look at the trained net by; fewer if they are large."""

SAMPLE_BYTES = 64 * 2**20

AT_ONCE = 8
"""Rows that are read at random before their pages are given back: with one page the system maps those around it, up to 2 MiB
where its cache has them in one piece, and all of them count as memory of this process."""


class Rows:
    """The examples of one split, in files.

    Args:
        x: (n_stored, \\*shape), mapped.
        rows: which of them are in the split, in its order; None for all.
        standardiser: of the values; None where they are given as they are stored.
    """

    def __init__(self, x: Array, rows: Indices | None, standardiser: Standardiser | None) -> None:
        self._x, self._rows, self._standardiser = x, rows, standardiser

    def __len__(self) -> int:
        return len(self._x) if self._rows is None else len(self._rows)

    def __getstate__(self) -> dict[str, Any]:
        """For another process: where the examples are, not the examples."""
        place = place_of(self._x)
        return {**self.__dict__, "_x": self._x if place is None else place}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self._x, Place):
            self._x = reopened(self._x)

    def stored(self, chosen: slice | Indices) -> slice | Indices:
        """Where examples of the split are in the file."""
        return chosen if self._rows is None else self._rows[chosen]

    def expect(self, chosen: slice | Indices) -> None:
        """Say that these examples will be read soon: the system reads them from the disk at once, all together."""
        at = self.stored(chosen)
        if isinstance(at, slice):
            start, stop, _ = at.indices(len(self._x))
            want(self._x, start, stop)
            return
        for row in at.tolist():
            want(self._x, row, row + 1)

    def take(self, chosen: slice | Indices) -> Array:
        """A copy of some examples of the split, as they would be kept in memory: (n, \\*shape) uint8 or float32."""
        at = self.stored(chosen)
        if isinstance(at, slice):
            values = np.array(self._x[at], order="C")
            release(self._x)
        else:
            values = np.empty((len(at), *self._x.shape[1:]), self._x.dtype)
            for start in range(0, len(at), AT_ONCE):
                values[start : start + AT_ONCE] = self._x[at[start : start + AT_ONCE]]
                release(self._x)
        return values if self._standardiser is None else self._standardiser.of(values)

    def limited(self, order: Indices) -> Rows:
        """Some examples of the split, in this order."""
        return Rows(self._x, order if self._rows is None else self._rows[order], self._standardiser)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Streamed(Dataset):
    """A data set in files: its splits hold the first examples of each, its batches are read.

    Attributes:
        rows: the examples, by split.
        labels: (n,) int64, by split, on the CPU.
    """

    rows: Mapping[str, Rows]
    labels: Mapping[str, Tensor]

    def stored(self) -> Dataset:
        """The first examples of each split, as a data set in memory."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(Dataset)}
        return Dataset(**{**fields, "part": (0, 1)})

    def without_test(self) -> Dataset:
        """See :meth:`Dataset.without_test`."""
        views = {name: _but_test(getattr(self, name)) for name in ("splits", "rows", "labels")}
        return dataclasses.replace(self, **views)

    def limited(self, n_train: int) -> Dataset:
        """See :meth:`Dataset.limited`; the examples stay in their files."""
        total = len(self.labels["train"])
        self.check_limit(n_train, total)
        if n_train == total:
            return self
        order = stratified_order(self.labels["train"].numpy())[:n_train]
        rows, labels = self.rows["train"].limited(order), self.labels["train"][torch.from_numpy(order)]
        first = _first(rows, labels)
        sample = Examples(first.x.to(self.device), first.y.to(self.device))
        return dataclasses.replace(
            self,
            name=f"{self.name}[{n_train}]",
            splits={**self.splits, "train": sample},
            rows={**self.rows, "train": rows},
            labels={**self.labels, "train": labels},
            split_digest=digest(self.split_digest, f"train[:{n_train}]"),
            note=f"{self.note} Limited to {n_train:,} of {total:,} training examples.",
        )

    def _labels(self, split: str) -> Tensor:
        self._examples(split)  # refuses a split that is not there
        return self.labels[split]

    def _read(self, split: str, order: Tensor | None, places: Sequence[slice]) -> Iterator[tuple[Tensor, Tensor]]:
        rows, labels = self.rows[split], self.labels[split]
        chosen = None if order is None else order.numpy()

        def wanted(place: slice) -> slice:
            rows.expect(place if chosen is None else chosen[place])
            return place

        def read(place: slice) -> Array:
            return rows.take(place if chosen is None else chosen[place])

        for place, x in zip(places, _ahead(read, map(wanted, places)), strict=True):
            y = labels[place].clone() if order is None else labels.index_select(0, order[place])
            yield torch.from_numpy(x).to(self.device), y.to(self.device)


def streamed(data: Dataset, rows: Mapping[str, Rows], labels: Mapping[str, Tensor]) -> Streamed:
    """``data``, whose splits are empty, with examples in files.

    Args:
        labels: (n,) int64 of each split.
    """
    fields = {field.name: getattr(data, field.name) for field in dataclasses.fields(Dataset)}
    samples = {split: _first(rows[split], labels[split]) for split in rows}
    return Streamed(**{**fields, "splits": samples}, rows=rows, labels=labels)


def _first(rows: Rows, labels: Tensor) -> Examples:
    n = min(len(rows), SAMPLE)
    one = rows.take(slice(0, 1)).nbytes
    n = min(n, max(1, SAMPLE_BYTES // one))
    return Examples(torch.from_numpy(rows.take(slice(0, n))), labels[:n].clone())


def _but_test(of_splits: Mapping[str, Any]) -> dict[str, Any]:
    return {split: each for split, each in of_splits.items() if split != "test"}


def _ahead(read: Callable[[T], U], items: Iterator[T]) -> Iterator[U]:
    """``read`` of each item, in their order; a thread reads the next ones meanwhile."""
    waiting: deque[Future[U]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="bpfree-data")
    try:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
