"""``.npz`` files: ``x`` and ``y``, or the user's own splits under the names of :func:`bpfree.data.from_arrays`.

A file is never unpickled: an object array is refused.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bpfree.data.array_kinds import Array
from bpfree.data.arrays import from_arrays
from bpfree.data.dataset import Dataset
from bpfree.errors import DataError
from bpfree.rulesets import Split
from bpfree.sources import check_file

__all__ = ["load_npz", "objects_refused", "read_npz", "wanted_arrays"]

_SPLIT = tuple(f"{what}_{split}" for split in ("train", "validation", "test") for what in "xy")
_NAMES = ("x", "y", "groups", *_SPLIT, "groups_validation", "groups_test")
"""Arrays that are read; others with such beginnings are refused, since they may be misspelt."""

_BEGINNINGS = ("x_", "y_", "group")

_SAVE = "write it with: np.savez('data.npz', x=x, y=y)"


def load_npz(path: Path | str, split_seed: int = 0, split: Split | None = None, channels: str = "auto") -> Dataset:
    """Load a ``.npz`` file that holds ``x`` and ``y``, or ``x_train``, ``y_train`` and so on; it is named after the file.

    Raises:
        DataError: there is no such file, it is not a .npz, an array is missing or pickled, or see :func:`from_arrays`.
    """
    path = Path(path)
    arrays: dict[str, Any] = dict(read_npz(path, lambda present: wanted_arrays(present, str(path))))
    return from_arrays(**arrays, name=path.name, split_seed=split_seed, split=split, channels=channels)


def wanted_arrays(present: Sequence[str], where: str) -> list[str]:
    """Of the arrays that files have, those that make a data set; what must be there is among them in any case.

    Args:
        where: the files, for messages.

    Raises:
        DataError: an array whose name may be a misspelt one.
    """
    for key in present:
        if key not in _NAMES and key.startswith(_BEGINNINGS):
            raise DataError(f"{where} has an array {key}, which bpfree does not read; it reads: {', '.join(_NAMES)}")
    least = ("x_train", "y_train") if {"x_train", "y_train"} & set(present) else ("x", "y")
    return [*least, *(key for key in present if key in _NAMES and key not in least)]


def read_npz(path: Path, wanted: Callable[[Sequence[str]], list[str]]) -> dict[str, Array]:
    """Some arrays of a file.

    Args:
        wanted: of the names of all arrays, those that are to be read.

    Raises:
        DataError: there is no such file, it is not a .npz, an array is missing or holds Python objects.
    """
    check_file(path)
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is not a .npz file (a .npz is a zip archive; this is not, or is cut off); {_SAVE}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            present = archive.files
            if {"indptr", "format"} <= set(present) or {"row", "col", "format"} <= set(present):
                raise DataError(
                    f"{path} holds a sparse matrix of scipy; write it with: np.savez('data.npz', x=matrix.toarray(), y=y)"
                )
            keys = wanted(present)
            if missing := [key for key in keys if key not in present]:
                raise DataError(
                    f"{path} has no array {' and no array '.join(missing)}, only: {', '.join(present) or 'nothing'}; {_SAVE}"
                )
            return {key: _member(archive, key, path) for key in keys}
    except (OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"cannot read {path} ({error}); it is damaged or too large for the memory: write or copy it again"
        ) from error


def _member(archive: Any, key: str, path: Path) -> Array:
    try:
        return archive[key]
    except ValueError as error:
        if "pickle" in str(error):
            raise objects_refused(key, str(path), "np.savez") from error
        raise DataError(f"{key} in {path} cannot be read ({error}); write the file again") from error


def objects_refused(key: str, where: str, saved_by: str) -> DataError:
    """The error of an array that would have to be unpickled.

    Args:
        saved_by: the function of numpy that wrote it.
    """
    return DataError(
        f"{key} in {where} holds Python objects, which bpfree does not load (unpickling runs code); give numbers in one "
        f"rectangular array: np.stack(list({key})) before {saved_by}, and labels of text as y.astype(str)"
    )
