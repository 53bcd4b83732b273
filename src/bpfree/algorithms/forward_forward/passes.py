"""The passes of Forward-Forward that predict: the neutral one, which the head reads, and one with every label painted in."""

from __future__ import annotations

from collections.abc import Container
from typing import TypeGuard

import torch
from torch import Tensor

from bpfree.algorithms._closed_form import block_activity
from bpfree.algorithms.forward_forward.label_inputs import called
from bpfree.algorithms.forward_forward.overlay import (
    blank_picture,
    labelled,
    labelled_activity,
    neutral,
    neutral_activity,
    product,
)
from bpfree.nets import Block, Chain, DenseBlock
from bpfree.numerics.goodness import GoodnessKind, goodness, length_normalise

__all__ = ["class_goodness", "neutral_pass", "paints_in_weights"]


def paints_in_weights(block: Block, maths: str) -> TypeGuard[DenseBlock]:
    """Whether a first block looks the label columns of its weight up, instead of multiplying every labelling of an example."""
    return type(block) is DenseBlock and maths != "autograd"


def neutral_pass(
    net: Chain, x: Tensor, voting: Container[int], maths: str, label_weight: Tensor | None, *, painted: bool = True
) -> tuple[Tensor, Tensor | None]:
    """What the head reads of examples x (n, *in_shape), already divided by the label value.

    Args:
        x: may be written over.
        voting: indices of the blocks whose activity it reads.
        label_weight: of a table's label inputs, None for images.
        painted: whether the neutral label is painted in; if not, the head reads the examples as they are (hybrids).

    Returns:
        (n, Σ o), and the first dense block's product with the picture (n, o) where it paints in its weights, else None.
    """
    picture_product: Tensor | None = None
    parts = []
    a = x
    del x  # a picture of it is freed behind the first block
    for k, block in enumerate(net):
        if k == 0 and painted and paints_in_weights(block, maths):
            picture = blank_picture(a, net.n_classes)
            picture_product = product(block, picture)
            a = neutral_activity(block, picture, picture_product, label_weight)
            del picture
        else:
            if k == 0 and painted:
                a = neutral(a, net.n_classes)
            call = called(block, label_weight) if k == 0 and label_weight is not None else None
            a = block_activity(block, length_normalise(a), statistics="batch", call=call)
        if k in voting:
            parts.append(block.features(length_normalise(a)))
    return torch.cat(parts, 1), picture_product


def class_goodness(
    net: Chain, x: Tensor, voting: Container[int], maths: str, label_weight: Tensor | None, kind: GoodnessKind
) -> Tensor:
    """Summed goodness (n, classes) of the voting blocks with each label painted in, all in one batched pass.

    Args:
        x: (n, *in_shape), already divided by the label value; may be written over.
        label_weight: of a table's label inputs, None for images.
    """
    n, n_classes = x.shape[0], net.n_classes
    every = torch.arange(n_classes, device=x.device).unsqueeze(1).expand(n_classes, n)
    total = torch.zeros(n_classes * n, device=x.device)
    a = x
    for k, block in enumerate(net):
        if k == 0 and paints_in_weights(block, maths):
            picture = blank_picture(x, n_classes)
            a = labelled_activity(block, picture, product(block, picture), every, label_weight)
        else:
            if k == 0:
                a = torch.cat([labelled(x, row, n_classes) for row in every])
            call = called(block, label_weight) if k == 0 and label_weight is not None else block
            a = call(length_normalise(a))
        if k in voting:
            total = total + goodness(block.features(a), kind)
    return total.reshape(n_classes, n).t()
