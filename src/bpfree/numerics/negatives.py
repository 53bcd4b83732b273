"""False examples for Forward-Forward: wrong labels, and hybrids of two images.

Everything is drawn from the key of the batch (:mod:`bpfree.numerics.streams`), so that it is the same on resume, on every
device and in a pipeline. Sources: Hinton, arXiv 2212.13345, sections 3.2 (hybrids) and 3.3 (labels).
"""

from __future__ import annotations

import torch
from torch import Tensor

from bpfree.numerics.losses import at_least_float32
from bpfree.numerics.streams import integers, uniform

__all__ = ["hard_labels", "hybrid_images", "smooth_masks", "wrong_labels"]

BLURS = 6
"""How often a mask of random bits is blurred by [¼, ½, ¼] along both axes (ours; the paper says "repeatedly")."""

_LABELS, _MASKS, _PARTNERS = 0, 1, 2
"""Salts: one stream each."""


def wrong_labels(y: Tensor, n_classes: int, key: Tensor) -> Tensor:
    """Labels (n,) uniform over the classes that are not ``y``."""
    return integers(key, y.shape, n_classes, low=1, salt=_LABELS, by_row=True).add_(y).remainder_(n_classes)


def hard_labels(scores: Tensor, y: Tensor, key: Tensor) -> Tensor:
    """Labels (n,) that are not ``y``, drawn with the softmax probabilities of scores (n, c) among the wrong classes.

    Where the scores are all equal this is uniform over the wrong classes.
    """
    wide = at_least_float32(scores).double()
    true = y.unsqueeze(1) == torch.arange(scores.shape[1], device=y.device)
    cumulative = torch.softmax(wide.masked_fill(true, -torch.inf), dim=1).cumsum(1)
    place = uniform(key, y.shape, salt=_LABELS, dtype=torch.float64, by_row=True).unsqueeze(1) * cumulative[:, -1:]
    return (cumulative <= place).sum(1)  # the true class adds nothing to the sum, so it is never the first above


def smooth_masks(key: Tensor, n: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """Masks (n, 1, height, width) of zeros and ones in large smooth patches: random bits, blurred, cut at ½."""
    bits = (uniform(key, (n, height, width), salt=_MASKS, dtype=torch.float64) < 0.5).to(torch.float32)
    blurred = _blur(height, key.device) @ bits @ _blur(width, key.device).t()
    return (blurred > 0.5).to(dtype).unsqueeze(1)


def _blur(size: int, device: torch.device) -> Tensor:
    """The matrix (size, size) of BLURS blurs by [¼, ½, ¼] along one axis, its ends repeated."""
    place = torch.arange(size, device=device)
    once = torch.zeros(size, size, device=device)
    for shift, weight in ((-1, 0.25), (0, 0.5), (1, 0.25)):
        once[place, (place + shift).clamp(0, size - 1)] += weight
    return torch.linalg.matrix_power(once, BLURS)


def hybrid_images(x: Tensor, key: Tensor) -> Tensor:
    """m ⊙ a + (1 − m) ⊙ b: images x (n, channels, height, width), each mixed with another one of the batch.

    Locally a hybrid looks like an image, at long range it does not. In a batch of one it is the image itself.
    """
    n = x.shape[0]
    mask = smooth_masks(key, n, x.shape[-2], x.shape[-1], x.dtype)
    other = integers(key, (n,), max(n, 2), low=1, salt=_PARTNERS)
    partner = x.index_select(0, (torch.arange(n, device=x.device) + other) % n)
    return mask * x + (1 - mask) * partner
