"""Which example belongs to which split, and the digest that identifies a split.

Draws come from numpy's ``RandomState``, whose streams never change (NEP 19): a split is the same under every version of numpy,
which its newer generators do not guarantee.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from bpfree.data.mapping import release
from bpfree.errors import DataError, UsageError
from bpfree.rulesets import Split

__all__ = [
    "Indices",
    "check_seed",
    "digest",
    "random_split",
    "stratified_order",
    "stratified_parts",
    "stratified_shares",
    "stratified_split",
    "train_and_validation",
]

Indices = NDArray[np.int64]
"""Numbers of examples."""

_AT_ONCE_BYTES = 4 * 2**20
"""Of an array that is hashed."""


def digest(*parts: str | NDArray[np.generic]) -> str:
    """sha256 over texts and arrays (their type, shape and little-endian bytes), in hexadecimal."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            sha.update(f"text {len(part)} {part}\n".encode())
        else:
            kind = part.dtype.newbyteorder("<")
            sha.update(f"array {kind.str} {part.shape or (1,)}\n".encode())
            for rows in _rows(part):
                sha.update(np.ascontiguousarray(rows, dtype=kind).data)
                release(part)
    return sha.hexdigest()


def _rows(array: NDArray[np.generic]) -> Iterator[NDArray[np.generic]]:
    """A few megabytes of an array at a time, so that a mapped one need not fit into memory."""
    if array.ndim == 0 or array.size == 0:
        yield from (array,) if array.size else ()
        return
    step = max(1, _AT_ONCE_BYTES * len(array) // array.nbytes)
    for start in range(0, len(array), step):
        yield array[start : start + step]


def check_seed(seed: int) -> int:
    """Return ``seed`` if numpy's ``RandomState`` takes it, else raise UsageError."""
    if not 0 <= seed < 2**32:
        raise UsageError(f"the seed of a split or of synthetic data must be from 0 to 2**32 - 1, got {seed}")
    return seed


def random_split(n: int, n_validation: int, seed: int) -> tuple[Indices, Indices]:
    """Indices (train, validation), each ascending, of a plain random split of ``n`` examples."""
    order = np.random.RandomState(seed).permutation(n).astype(np.int64)
    return np.sort(order[n_validation:]), np.sort(order[:n_validation])


def train_and_validation(n: int, split: Split, seed: int, *, name: str) -> tuple[Indices, Indices]:
    """Indices (train, validation) of the ``n`` examples of a training file, for a data set with an official test set.

    Raises:
        UsageError: the split is of another kind, or leaves nothing to train on.
    """
    if split.kind == "stratified":
        raise UsageError(f"{name} has an official test set, which a stratified split would replace; use kind: random or last")
    n_validation = split.n_validation(n)
    if not 0 < n_validation < n:
        raise UsageError(f"{name} has {n} training examples, and {n_validation} of them are to validate; give fewer")
    if split.kind == "random":
        return random_split(n, n_validation, seed)
    return np.arange(n - n_validation), np.arange(n - n_validation, n)


def stratified_shares(split: Split, *, name: str) -> tuple[float, float]:
    """Shares (validation, test) of a data set that comes without a test set.

    Raises:
        UsageError: the split is of another kind.
    """
    if split.kind != "stratified" or isinstance(split.test, str):
        raise UsageError(f"{name} comes without a test set, so its split must be stratified and draw one, got kind: {split.kind}")
    return float(split.validation), split.test


def stratified_split(y: NDArray[np.integer], fractions: tuple[float, float], seed: int, *, name: str) -> Mapping[str, Indices]:
    """Indices of train, validation and test, each ascending; every class is in every split.

    Args:
        y: (n,) labels 0 to K - 1, each of which occurs.
        fractions: of each class that go to validation and to test (rounded, at least one example each).
        seed: of the draw.
        name: of the data set, for the message.

    Raises:
        DataError: a class has fewer than three examples.
    """
    validation, test = fractions
    return stratified_parts(y, {"validation": validation, "test": test}, seed, name=name)


def stratified_parts(y: NDArray[np.integer], shares: Mapping[str, float], seed: int, *, name: str) -> dict[str, Indices]:
    """Indices of ``train`` and of each split of ``shares``, each ascending; every class is in each.

    Args:
        y: (n,) labels 0 to K - 1, each of which occurs.
        shares: of each class, by split (rounded, at least one example each); the rest trains.
        seed: of the draw.
        name: of the data set, for the message.

    Raises:
        DataError: a class has fewer examples than there are splits.
    """
    counts = np.bincount(y)
    scarce = int(counts.argmin())
    least = 1 + len(shares)
    if counts[scarce] < least:
        aims = " (to train, to validate, to test)" if least == 3 else f" (for {', '.join(('train', *shares))})"
        raise DataError(
            f"{name}: class {scarce} has {_examples(int(counts[scarce]))}, and at least {least} of each are needed{aims}; add "
            "examples or leave that class out"
        )
    random = np.random.RandomState(check_seed(seed))
    parts: dict[str, list[Indices]] = {split: [] for split in ("train", *shares)}
    for label in range(len(counts)):
        rest = random.permutation(np.flatnonzero(y == label)).astype(np.int64)
        sizes = [max(1, round(share * len(rest))) for share in shares.values()]
        if sum(sizes) >= len(rest):  # large shares of a small class, all rounded up: one example trains
            sizes[int(np.argmax(sizes))] -= sum(sizes) - len(rest) + 1
        for split, size in zip(shares, sizes, strict=True):
            parts[split].append(rest[:size])
            rest = rest[size:]
        parts["train"].append(rest)
    return {split: np.sort(np.concatenate(indices)) for split, indices in parts.items()}


def stratified_order(y: NDArray[np.integer]) -> Indices:
    """A fixed order of all examples; the first n examples have the classes in proportion, for every n.

    One example of each class comes first; after it, the j-th of the m shuffled members of a class is at (j + 1/2) / m. Places
    shared by classes are put in the order of the labels.
    """
    random = np.random.RandomState(0)
    place = np.empty(len(y))
    for label in np.unique(y):
        members = random.permutation(np.flatnonzero(y == label))
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
        place[members[0]] = 0.0
    return np.lexsort((y, place)).astype(np.int64)


def _examples(n: int) -> str:
    return "1 example" if n == 1 else f"{n} examples"
