"""Whether examples are copied into memory or stay in their files."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import psutil

from bpfree.data.mapping import is_mapped
from bpfree.data.standardise import Part
from bpfree.errors import UsageError, unknown_name

__all__ = ["DATA_IN", "check_data_in", "stay_in_files"]

DATA_IN = ("auto", "memory", "files")
"""Where examples are kept: ``"memory"``; ``"files"``, of which each batch reads its rows; or, with ``"auto"``, in files where
they would take more than half of the free memory. The batches are the same."""

_SHARE = 0.5
"""Of the free memory, which nets, caches and other processes need too."""


def check_data_in(data_in: str) -> None:
    """Raise UnknownNameError where ``data_in`` is not one of :data:`DATA_IN`."""
    if data_in not in DATA_IN:
        raise unknown_name("place of the data", data_in, DATA_IN)


def stay_in_files(parts: Mapping[str, Part], data_in: str, name: str) -> bool:
    """Whether the examples of these splits stay in their files.

    Raises:
        UsageError: that was asked, and they are in no file that can be mapped.
        UnknownNameError: ``data_in`` is another word.
    """
    check_data_in(data_in)
    mapped = is_mapped(parts["train"].x)
    if data_in == "files" and not mapped:
        raise UsageError(
            f"{name} cannot stay in files: only .npy files in this machine's byte order, folders of images and shards can; "
            "leave out --data-in files"
        )
    if data_in != "auto":
        return data_in == "files"
    return mapped and _bytes_in_memory(parts) > _SHARE * psutil.virtual_memory().available


def _bytes_in_memory(parts: Mapping[str, Part]) -> int:
    one = parts["train"].x
    itemsize = 1 if one.dtype == np.uint8 and one.ndim == 4 else 4
    return sum(len(part) for part in parts.values()) * math.prod(one.shape[1:]) * itemsize
