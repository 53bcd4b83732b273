"""The rows that the first block of Forward-Forward receives: true and wrong labels painted in, or images and their hybrids."""

from __future__ import annotations

import torch
from torch import Tensor

from bpfree.algorithms.forward_forward.overlay import blank_picture, labelled, neutral
from bpfree.algorithms.forward_forward.passes import paints_in_weights
from bpfree.algorithms.forward_forward.rows import HardBatch, Rows
from bpfree.data import Batch
from bpfree.nets import Chain
from bpfree.numerics.goodness import length_normalise
from bpfree.numerics.negatives import hybrid_images, wrong_labels

__all__ = ["first_rows"]


def first_rows(net: Chain, batch: Batch, x: Tensor, maths: str, *, hybrid: bool, reads_neutral: bool) -> Rows:
    """Positive rows, then negative ones, normalised in length; or the picture on which the first dense block paints.

    Args:
        batch: its labels and key; hard negatives bring their wrong labels.
        x: its examples (n, *in_shape), divided by the label value.
        maths: of the rule.
        hybrid: no labels: the negatives are hybrids of two images.
        reads_neutral: whether the head reads the neutral input behind every block.
    """
    y, key, n_classes = batch.y, batch.key, net.n_classes
    if hybrid:
        rows = torch.cat([x, hybrid_images(x, key)])
        return Rows(length_normalise(rows), y, None, False)
    wrong = batch.wrong if isinstance(batch, HardBatch) else wrong_labels(y, n_classes, key)
    labels = torch.stack([y, wrong])  # (2, n): positives first
    if paints_in_weights(net[0], maths):
        picture = blank_picture(x, n_classes, reads_neutral=reads_neutral)
        if isinstance(batch, HardBatch):
            picture = picture._replace(product=batch.product)
        return Rows(picture, labels, None, reads_neutral)
    rows = torch.cat([labelled(x, row, n_classes) for row in labels])
    neutral_rows = length_normalise(neutral(x, n_classes)) if reads_neutral else None
    return Rows(length_normalise(rows), labels, neutral_rows, reads_neutral)
