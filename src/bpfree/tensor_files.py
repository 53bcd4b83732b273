"""Tensors in one safetensors file, with a JSON header, written whole or not at all; no pickle is written or read.

The header is in the file's metadata under the name of its kind, which tells a checkpoint from a model. Beside it is a checksum of
header and tensors: a file of which a byte has changed is refused. It does not protect against someone who writes a new one.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bpfree.errors import DataError
from bpfree.files import replacing

CHECKSUM = "crc32"
"""Key of the checksum in the header; files of older versions have none."""

__all__ = ["fill_tensors", "read_metadata", "read_tensors", "write_tensors"]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], kind: str, header: Mapping[str, Any]) -> None:
    """Write atomically: to another file in the same folder, then rename.

    Args:
        kind: key of the header in the metadata.
        header: JSON values.

    Raises:
        StorageError: the disk is full, read-only or not permitted; an older file stays whole.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    plain = json.loads(json.dumps(header))  # as it will be read
    plain[CHECKSUM] = _checksum(plain, stored.items())
    # Not synced: a checkpoint is written after every pass, within the measured time, and a damaged one is noticed when read.
    with replacing(path, part=path.with_name(path.name + ".part"), sync=False) as part:
        try:
            save_file(stored, part, metadata={kind: json.dumps(plain)})
        except SafetensorError as error:  # it wraps the system's message; the error number is lost on the way
            raise OSError(_errno_of(str(error)), str(error)) from error


def _checksum(header: Mapping[str, Any], tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Of the header, and of names, types, shapes and bytes.

    CRC-32 is fast: a checkpoint is written after every pass, within the measured time.
    """
    total = zlib.crc32(json.dumps({key: value for key, value in header.items() if key != CHECKSUM}, sort_keys=True).encode())
    parts = {}
    for name, tensor in tensors:
        content = tensor.contiguous().flatten().view(torch.uint8).numpy()
        parts[name] = (str(tensor.dtype), list(tensor.shape), zlib.crc32(content.data))
    return f"{zlib.crc32(json.dumps(parts, sort_keys=True).encode(), total):08x}"


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
        raise DataError(f"{path} cannot be read as {what} ({_why_unreadable(path, error)}); {cure}") from error


def _why_unreadable(path: Path, error: Exception) -> str:
    """In words, for a pickle, which is never loaded, and a file that is cut off; else the library's own."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError:
        return str(error)
    # A zip archive, as torch.save writes it, or a plain pickle; a safetensors file has a brace behind the length of its header.
    if start[8:] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80"):
        return "it is a pickle or an archive of torch.save, which is never loaded, since that runs code"
    if any(words in str(error) for words in ("not fully covered", "invalid header length", "header too small")):
        return f"it is cut off or damaged: {path.stat().st_size} bytes are left"
    return str(error)


@torch.no_grad()
def fill_tensors(path: Path, targets: Mapping[str, Tensor]) -> None:
    """Copy the tensors of a file into those of the same names, in place, on whatever device they are.

    All are checked before the first is copied: what is refused has changed nothing.

    Raises:
        DataError: a tensor is missing, or has another shape or type: the file belongs to another rule or net. Or the file is
            damaged.
    """
    tensors = list(read_tensors(path, tuple(targets)))  # views of the file, of which the system loads what is used
    for (name, target), tensor in zip(targets.items(), tensors, strict=True):
        if tensor.shape != target.shape:
            raise DataError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, the net needs {tuple(target.shape)}; it belongs to another net"
            )
        if tensor.dtype != target.dtype:
            raise DataError(f"{path}: {name} is {tensor.dtype}, the net needs {target.dtype}; it belongs to another net")
    _check_content(path)
    for target, tensor in zip(targets.values(), tensors, strict=True):
        target.copy_(tensor)


def _check_content(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        for header in map(_as_header, (file.metadata() or {}).values()):
            if CHECKSUM not in header:
                continue
            computed = _checksum(header, ((name, file.get_tensor(name)) for name in file.keys()))  # noqa: SIM118 - no mapping
            if computed != header[CHECKSUM]:
                raise DataError(
                    f"{path} is damaged or was changed (its checksum is {computed}, it says {header[CHECKSUM]}); copy it "
                    "again, or train again"
                )


def _as_header(text: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}


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
