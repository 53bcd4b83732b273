"""The passes of Forward-Forward: of learning rows through a block, the neutral one for the head, and one with every label."""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from typing import TypeGuard

import torch
from torch import Tensor

from bpfree.algorithms._closed_form import Saved, block_activity, block_forward
from bpfree.algorithms.forward_forward.label_inputs import called
from bpfree.algorithms.forward_forward.overlay import (
    Picture,
    activities,
    activity_of_all,
    blank_picture,
    label_columns,
    labelled,
    neutral,
    neutral_activity,
    product,
)
from bpfree.algorithms.forward_forward.rows import ForwardSlot, Rows
from bpfree.nets import Block, Chain, DenseBlock
from bpfree.nets.layout import features_in_memory
from bpfree.numerics.goodness import GoodnessKind, goodness, length_normalise, row_squares

ROWS_BYTES = 512 * 1024
"""Activity that one sweep over the candidates holds at least, on a processor: about a core's second cache."""

__all__ = ["block_pass", "class_goodness", "neutral_pass", "paints_in_weights"]


def paints_in_weights(block: Block, maths: str) -> TypeGuard[DenseBlock]:
    """Whether a first block looks the label columns of its weight up, instead of multiplying every labelling of an example."""
    return type(block) is DenseBlock and maths != "autograd"


def block_pass(block: Block, slot: ForwardSlot, rows: Rows, maths: str) -> tuple[Tensor, Saved, Tensor | None]:
    """The rows of a learning block.

    Returns:
        Activity of the learning rows (2n, *shape); what its gradients need, None where a picture came in; and activity of the
        neutral rows (n, *shape), normalised in length, None where no head reads it.
    """
    saved = None
    neutral_rows = rows.neutral
    if isinstance(rows.learning, Picture):
        assert isinstance(block, DenseBlock)  # by paints_in_weights
        a, neutral_rows = activities(block, rows.learning, rows.labels, slot.label_weight, reads_neutral=rows.reads_neutral)
    else:
        call = None if slot.label_weight is None else called(block, slot.label_weight)
        a, saved = block_forward(block, rows.learning, maths, call=call)
        if neutral_rows is not None:
            neutral_rows = block_activity(block, neutral_rows, statistics="batch", call=call)
    return a, saved, None if neutral_rows is None else length_normalise(neutral_rows)


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
            picture = blank_picture(a, net.n_classes, reads_neutral=True)
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
    """Summed goodness (n, classes) of the voting blocks with each label painted in.

    The first dense block's product serves all labels. On a GPU they go through the later blocks in one batch, on a processor as
    many at once as its cache holds.

    Args:
        x: (n, *in_shape), already divided by the label value; may be written over.
        label_weight: of a table's label inputs, None for images.
    """
    n, n_classes, at_once = x.shape[0], net.n_classes, _labels_at_once(net, x)
    enter = _first_activity(net[0], x, n_classes, maths, label_weight)
    parts = [
        _summed_goodness(net, enter(range(first, min(first + at_once, n_classes))), voting, kind).view(-1, n)
        for first in range(0, n_classes, at_once)
    ]
    return torch.cat(parts).t()


def _labels_at_once(net: Chain, x: Tensor) -> int:
    """How many labels of all examples go through the net together.

    All of them where BatchNorm takes its statistics of them, and in an exported graph, which serves any number of examples.
    """
    if x.device.type != "cpu" or net.training or torch.compiler.is_exporting():
        return net.n_classes
    a_label = x.shape[0] * max(math.prod(block.out_shape) for block in net) * x.element_size()
    return min(net.n_classes, max(1, ROWS_BYTES // a_label))


def _first_activity(
    block: Block, x: Tensor, n_classes: int, maths: str, label_weight: Tensor | None
) -> Callable[[range], Tensor]:
    """The first block's activity (k n, *shape) of all examples with each of k labels painted in, label after label."""
    if paints_in_weights(block, maths):
        picture = blank_picture(x, n_classes, reads_neutral=False)
        once, columns = product(block, picture), label_columns(block, n_classes, label_weight)
        return lambda labels: activity_of_all(block, picture, once, columns[labels.start : labels.stop])

    call = block if label_weight is None else called(block, label_weight)

    def multiplied(labels: range) -> Tensor:
        rows = [labelled(x, torch.full((x.shape[0],), label, device=x.device), n_classes) for label in labels]
        return call(length_normalise(torch.cat(rows)))

    return multiplied


def _summed_goodness(net: Chain, a: Tensor, voting: Container[int], kind: GoodnessKind) -> Tensor:
    """Of the voting blocks (n,), given the first one's activity."""
    total: Tensor | None = None
    squares: Tensor | None = None
    for k, block in enumerate(net):
        if k > 0:
            a = block(length_normalise(a, squares))
        squares = None
        if k in voting:
            rows_in_memory = features_in_memory(block, a)
            h = block.features(a) if rows_in_memory is None else rows_in_memory
            squares = row_squares(h)
            g = goodness(h, kind, squares)
            total = g if total is None else total + g
            if h is not a and rows_in_memory is None:  # features may be more than the activity flattened
                squares = None
    assert total is not None  # the last block votes
    return total
