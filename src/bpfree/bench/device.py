"""The device that a text names."""

from __future__ import annotations

import torch

from bpfree.catalogue import check_device
from bpfree.errors import DeviceError

__all__ = ["torch_device"]


def torch_device(name: str) -> torch.device:
    """The device of this name.

    Raises:
        DeviceError: it does not exist here, or the name is unknown.
    """
    check_device(name)
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            built = "this torch was built without CUDA" if torch.version.cuda is None else "torch finds no NVIDIA GPU"
            raise DeviceError(f"--device {name} was asked, but {built}; choose --device cpu (bpfree doctor says more)")
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise DeviceError(f"--device {name} was asked, but there are {torch.cuda.device_count()} GPUs, numbered from 0")
    return device
