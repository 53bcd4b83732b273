"""``.npy`` files: a pair ``x.npy,y.npy``, or a folder whose files are named as the arrays of a ``.npz`` file.

They are mapped into memory, not read as a whole, and never unpickled.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bpfree.data.array_kinds import Array
from bpfree.data.arrays import from_arrays
from bpfree.data.dataset import Dataset
from bpfree.data.mapping import note_map
from bpfree.data.npz import objects_refused, wanted_arrays
from bpfree.errors import DataError
from bpfree.rulesets import Split
from bpfree.sources import check_file
from bpfree.text import readable

__all__ = ["load_folder", "load_pair", "read_npy"]

_MAGIC = b"\x93NUMPY"
"""With which every .npy file begins."""


def load_pair(
    spec: str, split_seed: int = 0, split: Split | None = None, channels: str = "auto", data_in: str = "auto"
) -> Dataset:
    """Load examples and labels, ``x.npy,y.npy``; the data set is named after the first file.

    Args:
        data_in: see :data:`bpfree.data.storage.DATA_IN`.

    Raises:
        DataError: there is no such file, it is not a .npy or pickled, or see :func:`from_arrays`.
    """
    first, second = (Path(part) for part in spec.split(","))
    x, y = read_npy(first), read_npy(second)
    name = readable(first.name)
    return from_arrays(x, y, name=name, split_seed=split_seed, split=split, channels=channels, data_in=data_in)


def load_folder(
    folder: Path, split_seed: int = 0, split: Split | None = None, channels: str = "auto", data_in: str = "auto"
) -> Dataset:
    """Load ``x.npy`` and ``y.npy``, or ``x_train.npy``, ``y_train.npy``, ``x_test.npy`` and so on, of one folder.

    Args:
        data_in: see :data:`bpfree.data.storage.DATA_IN`.

    Raises:
        DataError: a file is missing, not a .npy or pickled, or see :func:`from_arrays`.
    """
    present = sorted(path.stem for path in folder.glob("*.npy"))
    shown = readable(str(folder))
    keys = wanted_arrays(present, shown)
    if missing := [f"{key}.npy" for key in keys if key not in present]:
        held = ", ".join(f"{key}.npy" for key in present) or "no .npy file"
        raise DataError(
            f"the folder {shown} has no {' and no '.join(missing)}, only: {held}; write them with: np.save('x.npy', x), "
            "np.save('y.npy', y)"
        )
    name = readable(f"{folder.resolve().name}.npy")
    arrays = {key: read_npy(folder / f"{key}.npy") for key in keys}
    return from_arrays(**arrays, name=name, split_seed=split_seed, split=split, channels=channels, data_in=data_in)


def read_npy(path: Path) -> Array:
    """One array, mapped into memory where its kind allows it.

    Raises:
        DataError: there is no such file, it is not a .npy, cut off, or holds Python objects.
    """
    check_file(path)
    shown = readable(str(path))
    damaged = f"{shown} cannot be read as a .npy file (damaged, cut off, or of another kind); write it with: np.save('x.npy', x)"
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
        if start.startswith(b"PK"):
            raise DataError(f"{shown} is a .npz file, though it is called .npy; rename it")
        if start != _MAGIC:  # numpy would call it a pickle
            raise DataError(damaged)
        return note_map(np.load(path, mmap_mode="r", allow_pickle=False), path)
    except DataError:
        raise
    except (ValueError, OSError, EOFError, MemoryError) as error:
        if "object" in str(error):
            raise objects_refused(path.stem, shown, "np.save") from error
        raise DataError(damaged) from error
