"""Files of examples without labels, for a model that is trained."""

from __future__ import annotations

from pathlib import Path

import torch

from bpfree.data.columns import Columns
from bpfree.data.new_examples import new_examples
from bpfree.data.npy import read_npy
from bpfree.data.npz import read_npz
from bpfree.data.table_files import read_frame
from bpfree.errors import DataError
from bpfree.sources import file_kind
from bpfree.text import readable

__all__ = ["load_examples"]


def load_examples(
    path: Path | str, in_shape: tuple[int, ...] | None = None, channels: str = "auto", columns: Columns | None = None
) -> torch.Tensor:
    """The examples of a file that needs no labels: (n, features) or (n, c, h, w), as they are stored.

    Args:
        path: a ``.npz`` file with ``x``, a ``.npy`` file, or a ``.csv`` or ``.parquet`` file of a table.
        in_shape: what a model takes; it decides how four axes are read where ``channels`` does not and only one way gives it.
        channels: see :func:`from_arrays`.
        columns: how the rows of a table become examples, as the model has it.

    Raises:
        DataError: there is no such file, it cannot be read, ``x`` is missing or pickled or holds what no example can, or a table
            has other columns or categories than the model was trained on.
    """
    path = Path(path)
    name = readable(path.name)
    kind = file_kind(path)
    if kind == "table":
        if columns is None:
            raise DataError(f"{name} is a table, but the model was trained on arrays; give its examples as x in a .npz file")
        return torch.from_numpy(columns.encode(read_frame(path, columns.texts), name))
    x = read_npy(path) if kind == "npy" else read_npz(path, lambda _: ["x"])["x"]
    return new_examples(x, name, in_shape, channels)
