"""Splits that tear no group apart: all examples of a patient, a speaker or a day train, or validate, or test."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bpfree.data.array_kinds import Array
from bpfree.data.splits import Indices, check_seed
from bpfree.errors import DataError

__all__ = ["check_apart", "checked_groups", "grouped_split"]

_DRAWS = 20
"""Draws that are tried until every class is in every split."""


def checked_groups(groups: Array, n: int, name: str, what: str = "groups") -> Array:
    """Groups (n,), of whole numbers or texts.

    Raises:
        DataError: another shape, missing values, or values that cannot be put in order.
    """
    if groups.shape != (n,):
        raise DataError(f"{name}: {what} must have shape ({n},), one for each example, got {groups.shape}")
    if groups.dtype.kind == "f" and np.isnan(groups).any():
        raise DataError(f"{name}: {what} has {int(np.isnan(groups).sum())} values that are NaN; give each such example a group")
    try:
        np.unique(groups)
    except TypeError as error:
        raise DataError(f"{name}: {what} has values of several kinds ({error}); give whole numbers or texts") from error
    return groups


def check_apart(groups: Mapping[str, Array], name: str) -> None:
    """Refuse a group that is in two of the splits that the user gave.

    Args:
        groups: by split, such as ``"train"``.

    Raises:
        DataError: naming the group and both splits.
    """
    splits = list(groups)
    for k, one in enumerate(splits):
        for other in splits[k + 1 :]:
            shared = np.intersect1d(groups[one], groups[other])
            if len(shared):
                raise DataError(
                    f"{name}: group {shared[0]} is in {one} and in {other} ({len(shared)} such groups); give all examples of a "
                    "group to one split"
                )


def grouped_split(
    y: NDArray[np.integer], groups: Array, shares: Mapping[str, float], seed: int, *, name: str
) -> dict[str, Indices]:
    """Indices of ``train`` and of each split of ``shares``, each ascending; no group is in two, every class is in each.

    Groups are dealt out from the largest to the smallest, each to the split whose classes it brings nearest to their shares;
    the seed decides among groups of one size.

    Args:
        y: (n,) labels 0 to K - 1.
        groups: (n,) whose group an example belongs to.
        shares: of the examples of each class, by split; the rest trains.

    Raises:
        DataError: a class is in too few groups, or no draw puts every class into every split.
    """
    names, member = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), int(y.max()) + 1))
    np.add.at(counts, (member, y), 1.0)
    wanted = {"train": 1.0 - sum(shares.values()), **shares}
    in_groups = (counts > 0).sum(axis=0)
    scarce = int(in_groups.argmin())
    if in_groups[scarce] < len(wanted):
        raise DataError(
            f"{name}: class {scarce} is in {in_groups[scarce]} of {len(names)} groups, and at least {len(wanted)} are "
            f"needed, one for each of {', '.join(wanted)}; add groups, or give x_validation and x_test yourself"
        )
    fractions = np.array(list(wanted.values()))
    random = np.random.RandomState(check_seed(seed))
    for _ in range(_DRAWS):
        of_group = _dealt(counts, fractions, random.permutation(len(names)))
        parts = [np.flatnonzero(of_group[member] == k).astype(np.int64) for k in range(len(wanted))]
        if all(len(np.unique(y[part])) == counts.shape[1] for part in parts):
            return dict(zip(wanted, parts, strict=True))
    raise DataError(
        f"{name}: no draw of {_DRAWS} puts every class into each of {', '.join(wanted)} without tearing one of {len(names)} "
        "groups apart; add groups, or give x_validation and x_test yourself"
    )


def _dealt(counts: NDArray[np.float64], fractions: NDArray[np.float64], order: NDArray[np.integer]) -> NDArray[np.int64]:
    """Number of the split of each group; ``counts`` (groups, classes), ``fractions`` (splits,)."""
    share = counts / counts.sum(axis=0)
    order = order[np.argsort(-counts.sum(axis=1)[order], kind="stable")]
    missing = np.repeat(fractions[:, None], counts.shape[1], axis=1)  # (splits, classes), still to be dealt
    of_group = np.empty(len(counts), np.int64)
    for group in order:
        gain = (missing * share[group]).sum(axis=1) / fractions  # the split that misses most of these classes, by its size
        chosen = int(gain.argmax())
        of_group[group] = chosen
        missing[chosen] -= share[group]
    return of_group
