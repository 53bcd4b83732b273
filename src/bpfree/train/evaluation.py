"""Scoring a split: accuracy, and loss where the stop rule watches it; the device is waited for once, at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from bpfree.algorithms import Algorithm, ChoosesReadout, Phase, State
from bpfree.data import Dataset
from bpfree.nets import Chain
from bpfree.numerics.losses import cross_entropy
from bpfree.train.given import in_format_of

__all__ = ["EVALUATION_BATCH", "Evaluation", "ScoredBatch", "evaluate", "evaluation_of", "scored"]

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


@dataclass(frozen=True, eq=False)
class ScoredBatch:
    """What the scores of one batch came to, for each of r candidates (1 unless a rule chooses its readout).

    Attributes:
        index: of the batch in its split.
        y: (n,) labels.
        hits: (r, n) bool.
        known: (r,) bool, whether every example has a prediction.
        loss: (r,) summed over the examples, or None.
    """

    index: int
    y: torch.Tensor
    hits: torch.Tensor
    known: torch.Tensor
    loss: torch.Tensor | None

    def on_host(self) -> ScoredBatch:
        """A copy in the processor's memory."""
        loss = None if self.loss is None else self.loss.cpu()
        return ScoredBatch(self.index, self.y.cpu(), self.hits.cpu(), self.known.cpu(), loss)


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
    batches = list(scored(algorithm, net, state, data, split, phase, with_loss=with_loss, choosing=choosing))
    return evaluation_of(batches, algorithm if choosing else None, state, data.n_classes)


@torch.no_grad()
def scored(
    algorithm: Algorithm,
    net: Chain,
    state: State,
    data: Dataset,
    split: str,
    phase: Phase,
    *,
    with_loss: bool = False,
    choosing: bool = False,
    every: int = 1,
    first: int = 0,
) -> Iterator[ScoredBatch]:
    """Score every so many of the batches of a split, from number ``first`` on; what a batch comes to depends on no other one.

    Args:
        with_loss, choosing: see :func:`evaluate`.

    Raises:
        TestSplitError: see :func:`evaluate`.
    """
    chooser = algorithm if choosing and isinstance(algorithm, ChoosesReadout) else None
    data = in_format_of(net, data)
    net.eval()
    size = EVALUATION_BATCH if split != "train" else min(EVALUATION_BATCH, data.n("train"))
    for index, batch in enumerate(data.batches(split, size, shuffle=False)):
        if index % every != first:
            continue
        if chooser is None:
            each = algorithm.scores(net, state, batch.x, phase).unsqueeze(0)
        else:
            each = chooser.candidates(net, state, batch.x, phase)  # (r, n, c)
        # Not of every score: the logarithm of a probability of 0 is a score too. NaN passes through the maximum.
        predicted = each.amax(2).isfinite()  # (r, n)
        loss = torch.stack([cross_entropy(scores, batch.y) * len(batch.y) for scores in each]) if with_loss else None
        yield ScoredBatch(index, batch.y, (each.argmax(2) == batch.y) & predicted, predicted.all(1), loss)
    net.train()


def evaluation_of(batches: Sequence[ScoredBatch], chooser: Algorithm | None, state: State, n_classes: int) -> Evaluation:
    """What the batches of a split come to together.

    Args:
        batches: all, in order.
        chooser: the rule, where it is to take the best of the candidates.
    """
    hits = torch.cat([batch.hits for batch in batches], 1)
    finite = torch.stack([batch.known for batch in batches]).all(0)
    best = int(torch.where(finite, hits.sum(1), hits.sum(1) - hits.shape[1] - 1).argmax())
    if isinstance(chooser, ChoosesReadout):
        chooser.choose(state, best)
    hits = hits[best]
    losses = [batch.loss for batch in batches if batch.loss is not None]
    loss = float(torch.stack(losses).sum(0)[best]) / len(hits) if losses else None
    y = torch.cat([batch.y for batch in batches])
    counts = torch.zeros(2, n_classes, dtype=torch.int64, device=y.device)
    counts[0].index_add_(0, y, torch.ones_like(y))
    counts[1].index_add_(0, y, hits.to(y.dtype))
    by_class = [tuple(row) for row in counts.tolist()]
    return Evaluation(float(hits.double().mean()), loss, hits, by_class[0], by_class[1], bool(finite[best]))
