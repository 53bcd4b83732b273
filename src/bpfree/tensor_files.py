"""Tensors in one safetensors file, with a JSON header, written whole or not at all; no pickle is written or read.

The header is in the file's metadata under the name of its kind, which tells a checkpoint from a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bpfree.errors import DataError
from bpfree.files import replacing

__all__ = ["fill_tensors", "read_metadata", "read_tensors", "write_tensors"]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], kind: str, header: Mapping[str, Any]) -> None:
    """Write atomically: to another file in the same folder, then rename.

    Args:
        kind: key of the header in the metadata.
        header: JSON values.

    Raises:
        StorageError: the disk is full, read-only or not permitted; an older file stays whole.
    """
    # Not synced: a checkpoint is written after every pass, within the measured time, and a damaged one is noticed when read.
    with replacing(path, part=path.with_name(path.name + ".part"), sync=False) as part:
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part, metadata={kind: json.dumps(header)})
        except SafetensorError as error:  # it wraps the system's message; the error number is lost on the way
            raise OSError(_errno_of(str(error)), str(error)) from error


def _errno_of(message: str) -> int:
    marker = "os error "
    start = message.find(marker)
    digits = message[start + len(marker) :].partition(")")[0] if start >= 0 else ""
    return int(digits) if digits.isdigit() else 0


def read_metadata(path: Path, what: str, cure: str) -> dict[str, str]:
    """Metadata of a file, by kind.

    Args:
        what, cure: for the message, such as ``"a checkpoint"`` and ``"delete it to start again"``.

    Raises:
        DataError: the file is missing, damaged, or no safetensors file.
    """
    if path.is_dir():  # the library's own word for it is "No such device"
        raise DataError(f"{path} cannot be read as {what} (it is a directory); {cure}")
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} cannot be read as {what} ({error}); {cure}") from error


@torch.no_grad()
def fill_tensors(path: Path, targets: Mapping[str, Tensor]) -> None:
    """Copy the tensors of a file into those of the same names, in place, on whatever device they are.

    Raises:
        DataError: a tensor is missing, or has another shape: the file belongs to another rule or net.
    """
    for (name, target), tensor in zip(targets.items(), read_tensors(path, tuple(targets)), strict=True):
        if tensor.shape != target.shape:
            raise DataError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, the net needs {tuple(target.shape)}; it belongs to another net"
            )
        target.copy_(tensor)


def read_tensors(path: Path, names: Sequence[str]) -> Iterator[Tensor]:
    """The tensors of these names in this order, one by one, in host memory; others in the file are not read.

    Raises:
        DataError: one is missing: the file belongs to another rule or net. Or the file is missing or damaged.
    """
    try:
        opened = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}); it is missing or damaged") from error
    with opened as file:
        if missing := sorted(set(names) - set(file.keys())):
            raise DataError(f"{path} has no tensor {missing[0]!r}; it belongs to another rule or net")
        for name in names:
            yield file.get_tensor(name)
