"""The weight gradient of a convolution as a matrix product, where that is quicker than torch's kernel for it.

Index letters: n example; c, o channel in and out; i, j position; u, v place in the kernel. With the patches of the padded input
as rows, P[nij, uvc] = x[n, c, s i + u, s j + v] for stride s,

    dW[o, uvc] = Σ_nij dz[nij, o] P[nij, uvc]          as a matrix: dzᵀ P

Images that lie pixel after pixel (:mod:`bpfree.numerics.layout`) have dz as this matrix already, their patches are copied in runs
of k c numbers, and dW comes out in the layout of the weight. P is k² times as large as the input, so the sum goes over a few
examples at a time, whose patches stay in the cache.

On a processor with AVX2 (a Zen 3) torch's kernel for this gradient does about half the multiply-adds a second of its kernels for
the activity and for the gradient by the input; a matrix product does as many as those. Of 128 images from 16 x 16 to 4 x 4 and
kernels of 3 x 3 it takes .6 to .9 of the kernel's time from 128 channels out and 32 in on; with fewer the patches take longer
than is won. With AVX-512 (a Zen 4) torch's kernel is the quicker one in float32: with products backprop's step takes 1.11 times
as long on ``cnn3``, and 1.06 times on ``mf-cnn4``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bpfree.numerics.layout import is_by_pixels
from bpfree.numerics.products import are_rounded

__all__ = ["by_patches", "is_quicker"]

PATCH_BYTES = 2 << 20
"""Of the patches that are multiplied at once."""

CHANNELS_OUT, PATCH = 128, 256
"""Least channels out, and least numbers in a patch, from which the product is quicker."""

_FORMATS = (torch.float32, torch.float64)


_KERNEL_IS_SLOW = torch.backends.cpu.get_cpu_capability() != "AVX512"
"""Whether torch's own kernel does fewer multiply-adds a second in float32 than a product, on this processor."""


def is_quicker(dz: Tensor, x: Tensor, kernel: int) -> bool:
    """Whether :func:`by_patches` is the quicker way: many channels, on a processor, images that lie pixel after pixel.

    Never where autograd records or a compiler traces, and not in formats that are too narrow to add parts up in.

    Args:
        dz: derivative by the convolution's result (n, o, i, j).
        x: its input (n, c, h, w).
        kernel: edge of the kernel.
    """
    return (
        x.device.type == "cpu"
        and x.dtype in _FORMATS
        and dz.shape[1] >= CHANNELS_OUT
        and x.shape[1] * kernel**2 >= PATCH
        and is_by_pixels(x)
        and is_by_pixels(dz)
        and (_KERNEL_IS_SLOW or x.dtype == torch.float64)
        and not (torch.is_grad_enabled() or torch.compiler.is_compiling() or are_rounded())
    )


def by_patches(dz: Tensor, x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """dW (o, c, k, k), pixel after pixel; arguments as of :func:`is_quicker`, which must hold."""
    n, o, height, width = dz.shape
    c = x.shape[1]
    rows, images = dz.permute(0, 2, 3, 1), x.permute(0, 2, 3, 1)  # views, contiguous
    at_once = max(1, PATCH_BYTES // (height * width * kernel**2 * c * x.element_size()))
    total: Tensor | None = None
    for first in range(0, n, at_once):
        patches = _patches(images[first : first + at_once], kernel, stride, padding, height, width)
        part = rows[first : first + at_once].reshape(-1, o).t()
        total = part.mm(patches) if total is None else torch.addmm(total, part, patches, out=total)
    assert total is not None  # a batch has an example
    return total.view(o, kernel, kernel, c).permute(0, 3, 1, 2)


def _patches(images: Tensor, kernel: int, stride: int, padding: int, height: int, width: int) -> Tensor:
    """P (n h w, k k c) of images (n, h, w, c), for results of ``height`` by ``width``."""
    if padding > 0:
        images = F.pad(images, (0, 0, padding, padding, padding, padding))
    n, c = images.shape[0], images.shape[3]
    by_n, by_row, by_column, by_channel = images.stride()
    windows = images.as_strided(
        (n, height, width, kernel, kernel, c), (by_n, by_row * stride, by_column * stride, by_row, by_column, by_channel)
    )
    return windows.reshape(n * height * width, -1)
