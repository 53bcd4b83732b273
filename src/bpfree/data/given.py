"""Data that code of others returns: of a user's function, or of an entry point of another package."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from bpfree.catalogue import Extension, options_read
from bpfree.data.arrays import from_arrays
from bpfree.data.dataset import Dataset
from bpfree.data.tables import Table, from_table
from bpfree.errors import UsageError
from bpfree.functions import called
from bpfree.rulesets import Split
from bpfree.text import key_values

__all__ = ["dataset_of", "of_extension", "of_table", "resident"]


def dataset_of(made: Any, name: str, split_seed: int, split: Split | None, channels: str) -> Dataset:
    """What a function returned, as a data set of this name.

    Raises:
        UsageError: something else than data.
        DataError: arrays that cannot be learned from.
    """
    if isinstance(made, Dataset):
        made = resident(made)
        return dataclasses.replace(made, name=name) if made.name == "arrays" else made
    if isinstance(made, Table):
        return of_table(made, name, split_seed, split)
    if isinstance(made, Mapping):
        return from_arrays(**made, name=name, split_seed=split_seed, split=split, channels=channels)
    if isinstance(made, tuple) and len(made) == 2:
        return from_arrays(*made, name=name, split_seed=split_seed, split=split, channels=channels)
    raise UsageError(
        f"{name} must return a bpfree Dataset or Table, a pair (x, y), or the named arrays of bpfree.data.from_arrays, got a "
        f"{type(made).__name__}"
    )


def resident(data: Dataset) -> Dataset:
    """The data, if they are in memory; loaders have no test split, and batches of their own.

    Raises:
        UsageError: they are loaders.
    """
    if data.fixed_batch_size is not None:
        raise UsageError(
            f"{data.name} gives batches of its own, and a comparison draws them, the same for every arm and seed; give arrays: "
            "bpfree.data.from_arrays(x, y)"
        )
    return data


def of_table(table: Table, name: str | None, split_seed: int, split: Split | None) -> Dataset:
    """The rows of a table as a data set; None for its own name.

    Raises:
        DataError: a table that cannot be learned from.
    """
    return from_table(table.source, table.target, split_column=table.split_column, name=name, split_seed=split_seed, split=split)


def of_extension(extension: Extension, text: str, split_seed: int, split: Split | None, channels: str) -> Dataset:
    """A data set of another package: its function, with the options of the text (``name:key=value``) as keyword arguments.

    Raises:
        UsageError: it cannot be loaded, is no function, takes no such option, raises, or returns something else.
        DataError: arrays that cannot be learned from.
    """
    function = extension.load()
    if not callable(function):
        raise extension.refused(f"is a {type(function).__name__}, not a function that returns data")
    what = f"the data set {text!r}"
    options = options_read(function, key_values(text.split(":")[1:], form="NAME:key=value", where=what), what)
    return dataset_of(called(lambda: function(**options), extension.place), text, split_seed, split, channels)
