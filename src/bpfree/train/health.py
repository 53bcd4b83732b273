"""Signs of a net that has stopped to learn: units that say nothing, equal scores, and how well each block separates classes.

They are taken once, of the final state, on examples of training and validation; no decision is made by them. A unit is dead or
saturated where its activity is the same for every example (of a convolution: at every place too). Scores are tied where two
classes share the largest. A block's accuracy is that of the nearest class mean: means of its features over training examples,
asked on validation examples. It is defined alike for every rule, and is no readout of any of them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from bpfree.algorithms import Algorithm, Phase, State, features_of
from bpfree.data import Batch, Dataset
from bpfree.nets import Block, Chain
from bpfree.train.evaluation import EVALUATION_BATCH
from bpfree.train.given import in_format_of

__all__ = ["Health", "UnhealthyNetWarning", "health_of", "warn_of_health"]

MOST_EXAMPLES = EVALUATION_BATCH
"""Of training, and of validation: no more memory than validation takes. Fewer where the features are wide."""

MOST_NUMBERS = 2**24
"""Features held at once."""

FLAT = 1e-6
"""Largest spread of a constant unit over the block's largest activity."""

LIMIT = 0.5
"""Share above which a warning is given."""


class UnhealthyNetWarning(UserWarning):
    """More than half of a block's units say nothing, or more than half of the scores are tied."""


@dataclass(frozen=True)
class Health:
    """Of one trained net.

    Attributes:
        dead_units: by block, the share of units that are the same for every example.
        tied_scores: share of the validation examples whose largest score two classes share.
        block_accuracy: by block, accuracy of the nearest class mean on validation.
    """

    dead_units: tuple[float, ...]
    tied_scores: float
    block_accuracy: tuple[float, ...]

    def words(self) -> list[str]:
        """What is above the limit, one line each, with what usually helps."""
        ill = {k: share for k, share in enumerate(self.dead_units) if share > LIMIT}
        lines = []
        if ill:
            worst = max(ill, key=lambda k: ill[k])
            others = f" (and more than half in {len(ill) - 1} other blocks)" if len(ill) > 1 else ""
            lines.append(
                f"{ill[worst]:.0%} of the units of block {worst}{others} are dead or saturated, the same for every example; use "
                "a lower learning rate, wider blocks or another activation"
            )
        if self.tied_scores > LIMIT:
            lines.append(
                f"for {self.tied_scores:.0%} of the examples two classes share the largest score, so the prediction is the first "
                "of them; use wider blocks or a lower learning rate"
            )
        return lines


@torch.no_grad()
def health_of(algorithm: Algorithm, net: Chain, state: State, data: Dataset, phase: Phase) -> Health:
    """Look at a trained net; neither net, state nor the caller's random numbers change.

    Args:
        data: with its training and validation splits; the same examples for every rule and seed.
    """
    data = in_format_of(net, data.stored())
    widest = max(block.n_features for block in net)
    n = max(1, min(MOST_EXAMPLES, MOST_NUMBERS // widest))
    train, validation = (_some(data, split, n) for split in ("train", "validation"))
    modes = net.training
    net.eval()
    dead, accuracies = [], []
    of_splits = (features_of(algorithm, net, state, split.x) for split in (train, validation))
    for block, seen, asked in zip(net, *of_splits, strict=True):
        dead.append(_dead(block, asked))
        accuracies.append(_nearest_mean(seen, train.y, asked, validation.y, net.n_classes))
    scores = algorithm.scores(net, state, validation.x, phase)
    net.train(modes)
    tied = (scores == scores.amax(1, keepdim=True)).sum(1) > 1
    return Health(tuple(dead), float(tied.double().mean()), tuple(accuracies))


def warn_of_health(name: str, health: Health) -> None:
    """Warn of what is above the limit.

    Args:
        name: of the rule or arm.
    """
    for words in health.words():
        warnings.warn(f"{name}: {words}", UnhealthyNetWarning, stacklevel=3)


def _some(data: Dataset, split: str, n: int) -> Batch:
    plain = data if data.augmentation == "none" else data.augmented("none")
    return next(plain.batches(split, min(n, data.n(split))))


def _dead(block: Block, features: Tensor) -> float:
    """Share of units, or of channels of a convolution, whose features are the same everywhere."""
    units = features.reshape(len(features), block.out_shape[0], -1) if len(block.out_shape) == 3 else features.unsqueeze(2)
    spread = units.amax((0, 2)) - units.amin((0, 2))
    return float((spread <= FLAT * features.abs().amax()).double().mean())


def _nearest_mean(seen: Tensor, seen_y: Tensor, asked: Tensor, asked_y: Tensor, n_classes: int) -> float:
    wide = seen.dtype if seen.dtype == torch.float64 else torch.float32
    members = torch.nn.functional.one_hot(seen_y, n_classes).to(wide)
    means = members.t() @ seen.to(wide) / members.sum(0).clamp_min(1.0).unsqueeze(1)
    distances = torch.cdist(asked.to(wide), means)
    distances[:, members.sum(0) == 0] = torch.inf  # a class that is not among the examples
    return float((distances.argmin(1) == asked_y).double().mean())
