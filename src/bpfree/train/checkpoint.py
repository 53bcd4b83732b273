"""Checkpoints: one safetensors file, written atomically; no pickle is written or read.

Tensors are ``net.*``, ``state.*`` and ``best.*`` (the snapshot of the best pass); where a rule's head *is* the net's output, the
tensor is stored once. The JSON header carries what is not a tensor.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bpfree.algorithms import State, model_tensors, named_tensors
from bpfree.errors import DataError
from bpfree.nets import Chain
from bpfree.tensor_files import fill_tensors, read_metadata, read_tensors, write_tensors

__all__ = ["Snapshot", "load", "load_within", "read_header", "save"]

FORMAT = 3
"""Version of the layout of a checkpoint; 3 says whose training it is, and keeps the last pass of a phase that is over."""

WITHIN = 4
"""That of a checkpoint that was written within a pass."""

KIND = "bpfree"
"""Key of the header in the metadata of a file."""


class Snapshot:
    """A copy of what makes the model (parameters, and running statistics of the net), at fixed addresses.

    Optimiser moments are not in it: restoring the best state is for using the model, not for going back in training.
    """

    def __init__(self, net: Chain, state: State) -> None:
        self._live = list(model_tensors(net, state))
        self._copies = [tensor.clone() for _, tensor in self._live]

    def take(self) -> None:
        """Copy the live values."""
        for copy, (_, live) in zip(self._copies, self._live, strict=True):
            copy.copy_(live)

    def restore(self) -> None:
        """Write the copies back into the live tensors, in place."""
        for copy, (_, live) in zip(self._copies, self._live, strict=True):
            live.copy_(copy)

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """Name and copy of each tensor."""
        return ((name, copy) for copy, (name, _) in zip(self._copies, self._live, strict=True))


def save(
    path: Path,
    net: Chain,
    state: State,
    snapshot: Snapshot | None,
    header: dict[str, Any],
    within: Mapping[str, Tensor] | None = None,
) -> None:
    """Write atomically: to another file in the same folder, then rename.

    Args:
        within: tensors of a pass that is under way.

    Raises:
        StorageError: the disk is full, read-only or not permitted; an older checkpoint stays whole.
    """
    tensors = dict(named_tensors(net, state))
    if snapshot is not None:
        tensors |= {f"best.{name}": tensor for name, tensor in snapshot.items()}
    if within:
        tensors, header = tensors | dict(within), {**header, "within": list(within)}
    write_tensors(path, tensors, KIND, {"format": WITHIN if within else FORMAT, **header})


def read_header(path: Path) -> dict[str, Any]:
    """What is not a tensor.

    Raises:
        DataError: the file is no checkpoint of bpfree, or of a newer one.
    """
    metadata = read_metadata(path, "a checkpoint", "delete it to start again")
    if KIND not in metadata:
        raise DataError(f"{path} is a safetensors file, but not a checkpoint of bpfree")
    header = json.loads(metadata[KIND])
    if header["format"] > WITHIN:
        raise DataError(f"{path} has format {header['format']}, this bpfree reads format {WITHIN}; update bpfree")
    if header["format"] < FORMAT:
        raise DataError(
            f"{path} was written by an older bpfree (format {header['format']}, this one reads format {FORMAT}); delete it to "
            "start again, or finish that run with the older version"
        )
    return header


def load(path: Path, net: Chain, state: State, snapshot: Snapshot | None) -> dict[str, Any]:
    """Copy a checkpoint into a net and state of the same rule and shapes, in place; returns the header.

    Raises:
        DataError: the file is damaged, or belongs to another rule or net.
    """
    targets = dict(named_tensors(net, state))
    if snapshot is not None:
        targets |= {f"best.{name}": copy for name, copy in snapshot.items()}
    header = read_header(path)
    fill_tensors(path, targets)
    return header


def load_within(path: Path) -> dict[str, Tensor]:
    """What a checkpoint has of a pass that is under way; nothing if it was written between passes.

    Raises:
        DataError: the file is damaged.
    """
    names = read_header(path).get("within", [])
    return dict(zip(names, read_tensors(path, names), strict=True))
