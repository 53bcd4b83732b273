"""Augmentation of training images, on the device, drawn from the batch's key: the same for every arm.

``"crop-flip"`` is that of the CIFAR protocol (``RandomCrop(32, padding=4)`` and ``RandomHorizontalFlip()`` of torchvision): the
image is padded by 4 pixels on each side, a window of the original size is cut at a random place, and it is mirrored with
probability 1/2. It works on the stored values, so the padding is black for pixels (0), as it is there, and the mean for the
user's standardised floats.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from bpfree.errors import UsageError, unknown_name
from bpfree.numerics.streams import integers

__all__ = ["AUGMENTATIONS", "augment", "check_augmentation"]

AUGMENTATIONS = ("none", "crop-flip")

_PAD = 4
"""Pixels on each side: He et al. 2016, section 4.2, and the CIFAR protocol that bpfree reproduces."""

_SALT_ROW, _SALT_COLUMN, _SALT_FLIP = 500_001, 500_002, 500_003
"""Streams of the key that augmentation alone uses; algorithms draw from the salts of their blocks, 0, 1, ..."""


def check_augmentation(augmentation: str, in_shape: tuple[int, ...], name: str) -> None:
    """Raise UsageError where ``augmentation`` is unknown, or cannot be done to examples of this shape."""
    if augmentation not in AUGMENTATIONS:
        raise unknown_name("augmentation", augmentation, AUGMENTATIONS)
    if augmentation != "none" and len(in_shape) != 3:
        raise UsageError(
            f"augmentation {augmentation!r} needs images (channels, height, width), but the examples of {name} have shape "
            f"{in_shape}; choose augmentation 'none'"
        )


def augment(x: Tensor, key: Tensor, augmentation: str) -> Tensor:
    """Augment a batch of stored images.

    Args:
        x: (n, c, h, w), any type.
        key: 0-D int64 on the same device.
        augmentation: one of :data:`AUGMENTATIONS`, already checked.

    Returns:
        The same shape and type; ``x`` itself for ``"none"``.
    """
    if augmentation == "none":
        return x
    n, channels, height, width = x.shape
    device = x.device
    top = integers(key, (n, 1), 2 * _PAD + 1, salt=_SALT_ROW)
    left = integers(key, (n, 1), 2 * _PAD + 1, salt=_SALT_COLUMN)
    mirrored = integers(key, (n, 1), 2, salt=_SALT_FLIP) == 1
    rows = top + torch.arange(height, device=device)  # (n, h), rows of the padded image
    columns = torch.arange(width, device=device)
    columns = left + torch.where(mirrored, columns.flip(0), columns)  # (n, w)
    # One gather by place within the padded plane: three times as fast on a CPU as indexing by four tensors.
    place = (rows[:, :, None] * (width + 2 * _PAD) + columns[:, None, :]).reshape(n, 1, height * width)
    planes = pad(x, (_PAD,) * 4).flatten(2)  # (n, c, padded height x padded width)
    return planes.gather(2, place.expand(n, channels, height * width)).reshape(x.shape)
