"""What a step of Cascaded-Forward costs: of block training by direct feedback, and of the predictors on frozen blocks."""

from __future__ import annotations

from collections.abc import Iterator

from bpfree.algorithms._cost import Cost, Moment, Shape, one_after_another
from bpfree.algorithms._declared import Phase

__all__ = ["of_blocks", "of_predictors"]


def of_blocks(s: Shape) -> Cost:
    """Block training: n (2 (F + O) + P), forward and weight gradients."""
    return Cost(
        learn=s.n * (2 * (s.forward + s.output) + s.heads),
        evaluation=s.n * (s.forward + s.output),
        moments=tuple(one_after_another(s, (_moments_of_block(s, k) for k in reversed(range(len(s.blocks)))))),
    )


def of_predictors(s: Shape, phase: Phase, *, predictor: str, solves: bool) -> Cost:
    """Predictors: n (F + 2 K d), with a ridge Σ dᵢ² more; where a pass solves for it, Cholesky and two triangular solves."""
    ridge = predictor == "ridge"
    reached = s.blocks[: max(phase.learning, default=len(s.blocks) - 1) + 1]
    learning = [s.blocks[k] for k in phase.learning]
    each = 0 if phase.cached else sum(b.macs for b in reached)
    each += sum(b.n_features**2 for b in learning) if ridge else 0
    each += 2 * s.classes * sum(b.n_features for b in learning)
    solution = sum(b.n_features**3 / 6 + s.classes * b.n_features**2 for b in learning)
    return Cost(
        learn=s.n * each,
        evaluation=s.n * sum((0 if phase.cached else b.macs) + s.classes * b.n_features for b in reached),
        close=solution if ridge and solves else None,
        moments=()
        if phase.cached
        else tuple(one_after_another(s, (_moments_at(s, k, phase, predictor) for k in range(len(reached))))),
    )


def _moments_of_block(s: Shape, k: int) -> Iterator[Moment]:
    of_output = s.output_parameters if k == len(s.blocks) - 1 else 0  # updated together with the last block
    yield of_output, s.at_delta(k) + s.n * s.classes
    yield s.blocks[k].parameters + of_output, s.at_product(k) - s.input(k) + s.n * s.classes


def _moments_at(s: Shape, k: int, phase: Phase, predictor: str) -> Iterator[Moment]:
    block = s.blocks[k]
    features = s.n * block.rows
    yield 0, s.input(k) + features
    if k in phase.learning:
        gradient, sums = (0, block.rows**2) if predictor == "ridge" else (s.classes * block.rows, 0)
        if (
            predictor != "ridge"
        ):  # scores, shifted ones, and four of their size while sparsemax finds its threshold; or logarithms
            yield 0, features + (6 if predictor == "sparsemax" else 4) * s.n * s.classes  # and two derivatives
        yield gradient, features + sums + 2 * s.n * s.classes
