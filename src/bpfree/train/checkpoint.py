"""Checkpoints: one safetensors file, written atomically; no pickle is written or read.

Tensors are ``net.*``, ``state.*`` and ``best.*`` (the snapshot of the best pass); where a rule's head *is* the net's output, the
tensor is stored once. The JSON header carries what is not a tensor.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bpfree.algorithms import State
from bpfree.errors import DataError
from bpfree.files import writing
from bpfree.nets import Chain

__all__ = ["Snapshot", "load", "read_header", "save"]

FORMAT = 1
"""Version of the layout of a checkpoint."""


def _named(net: Chain, state: State) -> Iterator[tuple[str, Tensor]]:
    """Every tensor once, under the first name that it has."""
    seen: set[int] = set()
    for prefix, module in (("net", net), ("state", state)):
        for name, tensor in module.state_dict(keep_vars=True).items():
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield f"{prefix}.{name}", tensor.detach()


class Snapshot:
    """A copy of what makes the model (parameters, and running statistics of the net), at fixed addresses.

    Optimiser moments are not in it: restoring the best state is for using the model, not for going back in training.
    """

    def __init__(self, net: Chain, state: State) -> None:
        heads = {f"state.{name}" for name, _ in state.named_parameters()}
        self._live = [(name, t) for name, t in _named(net, state) if name.startswith("net.") or name in heads]
        self._kept = [tensor.clone() for _, tensor in self._live]

    def take(self) -> None:
        """Copy the live values."""
        for kept, (_, live) in zip(self._kept, self._live, strict=True):
            kept.copy_(live)

    def restore(self) -> None:
        """Put the kept values back, in place."""
        for kept, (_, live) in zip(self._kept, self._live, strict=True):
            live.copy_(kept)

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """Name and kept tensor."""
        return ((name, kept) for kept, (name, _) in zip(self._kept, self._live, strict=True))


def save(path: Path, net: Chain, state: State, snapshot: Snapshot | None, header: dict[str, Any]) -> None:
    """Write atomically: to a file beside it, then rename.

    Raises:
        StorageError: the disk is full, read-only or not permitted; an older checkpoint stays whole.
    """
    tensors = {name: tensor.contiguous() for name, tensor in _named(net, state)}
    if snapshot is not None:
        tensors |= {f"best.{name}": tensor.contiguous() for name, tensor in snapshot.items()}
    part = path.with_name(path.name + ".part")
    with writing(path):
        try:
            save_file(tensors, part, metadata={"bpfree": json.dumps({"format": FORMAT, **header})})
        except SafetensorError as error:  # it wraps the system's message; the error number is lost on the way
            part.unlink(missing_ok=True)
            raise OSError(_errno_of(str(error)), str(error)) from error
        part.replace(path)


def _errno_of(message: str) -> int:
    marker = "os error "
    start = message.find(marker)
    digits = message[start + len(marker) :].partition(")")[0] if start >= 0 else ""
    return int(digits) if digits.isdigit() else 0


def read_header(path: Path) -> dict[str, Any]:
    """What is not a tensor.

    Raises:
        DataError: the file is no checkpoint of bpfree, or of a newer one.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} cannot be read as a checkpoint ({error}); delete it to start afresh") from error
    if "bpfree" not in metadata:
        raise DataError(f"{path} is a safetensors file, but not a checkpoint of bpfree")
    header = json.loads(metadata["bpfree"])
    if header["format"] > FORMAT:
        raise DataError(f"{path} has format {header['format']}, this bpfree reads up to {FORMAT}; update bpfree")
    return header


@torch.no_grad()
def load(path: Path, net: Chain, state: State, snapshot: Snapshot | None) -> dict[str, Any]:
    """Copy a checkpoint into a net and state of the same rule and shapes, in place; returns the header.

    Raises:
        DataError: the file is damaged, or belongs to another rule or net.
    """
    header = read_header(path)
    targets = dict(_named(net, state))
    if snapshot is not None:
        targets |= {f"best.{name}": kept for name, kept in snapshot.items()}
    with safe_open(path, framework="pt", device=str(net.device)) as file:
        stored = set(file.keys())
        if missing := sorted(set(targets) - stored):
            raise DataError(f"{path} has no tensor {missing[0]!r}; it belongs to another rule or net")
        for name, target in targets.items():
            tensor = file.get_tensor(name)
            if tensor.shape != target.shape:
                raise DataError(
                    f"{path}: {name} has shape {tuple(tensor.shape)}, the net needs {tuple(target.shape)}; "
                    "it belongs to another net"
                )
            target.copy_(tensor)
    return header
