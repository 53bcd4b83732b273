"""Labels in the input, for Forward-Forward; and the first dense block, which looks them up in its weights instead.

The first K inputs of an image are its label pixels, which the label overwrites; a table gets K inputs behind its own. A true or
wrong label is 1 at its place and 0 elsewhere; the neutral input has 0.1 in all of them. Whatever the label, the other inputs are
the same, so a first *dense* block need not compute its product with them more than once: with the blank input x₀ (label pixels
0), labels t, length scales s,

    z = s (x₀ Wᵀ + Σₖ tₖ V·ₖ) + b

holds exactly, the product x₀ Wᵀ serves all labels of an example, and V·ₖ are columns that are looked up: the first K of W for
an image, those of :mod:`bpfree.algorithms.forward_forward.label_inputs` for a table.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from bpfree.nets import DenseBlock
from bpfree.numerics.activations import ACTIVATIONS
from bpfree.numerics.goodness import above_zero
from bpfree.numerics.handover import Handover
from bpfree.numerics.losses import at_least_float32, one_hot

__all__ = [
    "NEUTRAL",
    "Picture",
    "activities",
    "activity_of_all",
    "blank_picture",
    "label_columns",
    "label_gradients",
    "labelled",
    "labelled_activity",
    "neutral",
    "neutral_activity",
    "product",
]

NEUTRAL = 0.1
"""Every label pixel of a neutral input (Hinton, arXiv 2212.13345, section 3.3; loeweX/Forward-Forward)."""


class Picture(NamedTuple):
    """Examples whose labels are not painted in: the first dense block does it.

    Attributes:
        x: (n, inputs), label pixels zero; of a table as it is.
        labelled, neutral: (n, 1), what brings the input to unit root mean square once a label, or the neutral one, is in; None
            for the neutral one where nothing reads it.
        n_classes: number of label pixels.
        product: (n, o), x Wᵀ of the first block, where it is known already.
    """

    x: Tensor
    labelled: Tensor
    neutral: Tensor | None
    n_classes: int
    product: Tensor | None = None


def labelled(x: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """The examples with their one-hot labels (1 and 0), a copy: over the first ``n_classes`` inputs, behind those of a table."""
    if x.dim() == 2:
        return torch.cat([x, one_hot(labels, n_classes, x.dtype)], 1)
    flat = x.flatten(1).clone()
    flat[:, :n_classes] = one_hot(labels, n_classes, x.dtype)
    return flat.reshape(x.shape)


def neutral(x: Tensor, n_classes: int) -> Tensor:
    """The examples with 0.1 in all label inputs, a copy."""
    if x.dim() == 2:
        return torch.cat([x, x.new_full((len(x), n_classes), NEUTRAL)], 1)
    flat = x.flatten(1).clone()
    flat[:, :n_classes] = NEUTRAL
    return flat.reshape(x.shape)


def blank_picture(x: Tensor, n_classes: int, *, reads_neutral: bool) -> Picture:
    """The picture of examples x (n, *shape); images are written over."""
    blank, size = x, math.prod(x.shape[1:]) + n_classes
    if x.dim() > 2:
        blank, size = x.flatten(1), math.prod(x.shape[1:])
        blank[:, :n_classes] = 0
    squares = at_least_float32(blank).square().sum(1, keepdim=True)

    def scale(label_squares: float) -> Tensor:
        """What :func:`length_normalise` would multiply each row by, once the label's squares are in."""
        length = above_zero((squares + label_squares).div_(size))
        return length.reciprocal_().to(x.dtype)

    # Every label paints one 1 and K − 1 zeros, so the length does not depend on which.
    return Picture(blank, scale(1.0), scale(n_classes * NEUTRAL**2) if reads_neutral else None, n_classes)


def product(block: DenseBlock, picture: Picture) -> Tensor:
    """x₀ Wᵀ (n, o), computed unless the picture brings it."""
    return picture.x @ block.linear.weight.t() if picture.product is None else picture.product


def _activity(block: DenseBlock, z: Tensor) -> Tensor:
    """φ(z + b), in place."""
    if block.linear.bias is not None:
        z = z.add_(block.linear.bias)
    return ACTIVATIONS[block.activation].apply_(z)


def labelled_activity(
    block: DenseBlock, picture: Picture, picture_product: Tensor, labels: Tensor, label_weight: Tensor | None
) -> Tensor:
    """The block's activity for every labelling of (k, n): (k n, o)."""
    rows = label_columns(block, picture.n_classes, label_weight).index_select(0, labels.flatten()).view(*labels.shape, -1)
    return _activity(block, rows.add_(picture_product).mul_(picture.labelled)).flatten(0, 1)  # rows: (k, n, o)


def label_columns(block: DenseBlock, n_classes: int, label_weight: Tensor | None) -> Tensor:
    """What each label adds to the product, (classes, o), row after row in memory."""
    return _label_weight(block, n_classes, label_weight).t().contiguous()


def _label_weight(block: DenseBlock, n_classes: int, label_weight: Tensor | None) -> Tensor:
    """The weight of the label's inputs, (o, classes): of the first pixels of an image, or of a table's own label inputs."""
    return block.linear.weight[:, :n_classes] if label_weight is None else label_weight


def activity_of_all(block: DenseBlock, picture: Picture, picture_product: Tensor, columns: Tensor) -> Tensor:
    """The block's activity with each label of ``columns`` (k, o) painted into all examples: (k n, o), label after label."""
    return _activity(block, (columns.unsqueeze(1) + picture_product).mul_(picture.labelled)).flatten(0, 1)


def neutral_activity(block: DenseBlock, picture: Picture, picture_product: Tensor, label_weight: Tensor | None) -> Tensor:
    """The block's activity for the neutral label: (n, o)."""
    assert picture.neutral is not None  # by reads_neutral
    columns = NEUTRAL * _label_weight(block, picture.n_classes, label_weight).sum(1)  # (o,)
    return _activity(block, (picture_product + columns).mul_(picture.neutral))


def activities(
    block: DenseBlock, picture: Picture, labels: Tensor, label_weight: Tensor | None, *, reads_neutral: bool
) -> tuple[Tensor, Tensor | None]:
    """:func:`labelled_activity`, and :func:`neutral_activity` where it is read; the product is freed on return."""
    picture_product = product(block, picture)
    a = labelled_activity(block, picture, picture_product, labels, label_weight)
    return a, neutral_activity(block, picture, picture_product, label_weight) if reads_neutral else None


def label_gradients(
    block: DenseBlock, picture: Picture, labels: Tensor, a: Tensor, delta: Handover, *, own_columns: bool
) -> list[Tensor]:
    """Gradients by weight, bias if there is one, and, with ``own_columns``, the label's weight; a is :func:`labelled_activity`.

    The picture's part comes from the summed deltas, the label columns by scattering.
    """
    k, n = labels.shape
    dz = ACTIVATIONS[block.activation].gradient_(delta.take(), a)
    by_bias = dz.sum(0)
    scaled = dz.view(k, n, -1).mul_(picture.labelled)  # (k, n, o), in the place of dz
    summed = torch.add(scaled[0], scaled[1]) if k == 2 else scaled.sum(0)  # the sum of a short axis takes longer
    by_weight = summed.t() @ picture.x  # (o, i); its label columns are zero, as the picture's are
    columns = dz.new_zeros(picture.n_classes, dz.shape[1])
    columns.index_add_(0, labels.flatten(), scaled.flatten(0, 1))
    gradients = [by_weight] if block.linear.bias is None else [by_weight, by_bias]
    if own_columns:
        return [*gradients, columns.t()]
    by_weight[:, : picture.n_classes] = columns.t()
    return gradients
