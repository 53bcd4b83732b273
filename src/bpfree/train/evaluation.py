"""Scoring a split: accuracy, and loss where the stop rule watches it; the device is waited for once, at the end."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bpfree.algorithms import Algorithm, ChoosesReadout, Phase, State
from bpfree.data import Dataset
from bpfree.nets import Chain
from bpfree.numerics.losses import cross_entropy
from bpfree.train.given import in_format_of

__all__ = ["EVALUATION_BATCH", "Evaluation", "evaluate"]

EVALUATION_BATCH = 500
"""Examples scored at once, the same for every arm (Forward-Forward turns them into 500 K rows)."""


@dataclass(frozen=True)
class Evaluation:
    """Of one split.

    Attributes:
        accuracy: a fraction.
        loss: mean cross-entropy of the scores, or None.
        correct: (n,) bool. An example without a finite largest score has no prediction, and is not correct.
        n_by_class: examples of each class.
        correct_by_class: how many of them were classified rightly.
        finite: every example has a finite largest score.
    """

    accuracy: float
    loss: float | None
    correct: torch.Tensor
    n_by_class: tuple[int, ...]
    correct_by_class: tuple[int, ...]
    finite: bool = True

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the classes that occur of the share that was classified rightly."""
        recalls = [correct / n for n, correct in zip(self.n_by_class, self.correct_by_class, strict=True) if n]
        return sum(recalls) / len(recalls)


@torch.no_grad()
def evaluate(
    algorithm: Algorithm,
    net: Chain,
    state: State,
    data: Dataset,
    split: str,
    phase: Phase,
    *,
    with_loss: bool = False,
    choosing: bool = False,
) -> Evaluation:
    """Score a split in its stored order.

    Args:
        choosing: let the split decide among the readouts of a rule that chooses one (by accuracy, the first where several are
            best, and one whose scores are finite before all others); for validation.

    Raises:
        TestSplitError: the test split was asked of data that do not hold it.
    """
    chooser = algorithm if choosing and isinstance(algorithm, ChoosesReadout) else None
    data = in_format_of(net, data)
    net.eval()
    correct, losses, known, labels = [], [], [], []
    for batch in data.batches(
        split, EVALUATION_BATCH if split != "train" else min(EVALUATION_BATCH, data.n("train")), shuffle=False
    ):
        if chooser is None:
            every = algorithm.scores(net, state, batch.x, phase).unsqueeze(0)
        else:
            every = chooser.candidates(net, state, batch.x, phase)  # (r, n, c)
        # Not of every score: the logarithm of a probability of 0 is a score too. NaN passes through the maximum.
        predicted = every.amax(2).isfinite()  # (r, n)
        known.append(predicted.all(1))
        labels.append(batch.y)
        correct.append((every.argmax(2) == batch.y) & predicted)
        if with_loss:
            losses.append(torch.stack([cross_entropy(scores, batch.y) * len(batch.y) for scores in every]))
    net.train()
    hits = torch.cat(correct, 1)
    finite = torch.stack(known).all(0)
    best = int(torch.where(finite, hits.sum(1), hits.sum(1) - hits.shape[1] - 1).argmax())
    if chooser is not None:
        chooser.choose(state, best)
    hits = hits[best]
    loss = float(torch.stack(losses).sum(0)[best]) / len(hits) if with_loss else None
    y = torch.cat(labels)
    counts = torch.zeros(2, data.n_classes, dtype=torch.int64, device=y.device)
    counts[0].index_add_(0, y, torch.ones_like(y))
    counts[1].index_add_(0, y, hits.to(y.dtype))
    by_class = [tuple(row) for row in counts.tolist()]
    return Evaluation(float(hits.double().mean()), loss, hits, by_class[0], by_class[1], bool(finite[best]))
