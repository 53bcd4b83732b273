"""What a step of Forward-Forward costs."""

from __future__ import annotations

from collections.abc import Iterator

from bpfree.algorithms._cost import Cost, Moment, Shape, one_after_another

__all__ = ["cost_of", "evaluation_macs", "learn_macs", "moments"]


def cost_of(s: Shape, negatives: str, *, first_voting: int, paints_in_weights: bool, head: bool, by_head: bool) -> Cost:
    """What a step and an evaluation cost; None where it is not written down.

    Args:
        negatives: uniform, hard or hybrid.
        first_voting: index of the first block that votes.
        paints_in_weights: whether a first dense block looks its label columns up.
        head: whether a head learns.
        by_head: whether it predicts.
    """
    evaluation = evaluation_macs(s, first_voting=first_voting, paints_in_weights=paints_in_weights, by_head=by_head)
    if negatives == "hybrid":  # the masks of hybrid images are blurred by a convolution of their own
        return Cost(learn=None, evaluation=evaluation)
    hard = negatives == "hard"
    return Cost(
        learn=learn_macs(s, first_voting=first_voting, paints_in_weights=paints_in_weights, head=head, hard=hard),
        evaluation=evaluation,
        moments=() if hard else tuple(moments(s, first_voting=first_voting, by_head=by_head)),
    )


def _once(s: Shape, paints_in_weights: bool) -> int:
    """Multiply-adds of the first block, which multiplies a picture once for all its labellings; 0 where it does not."""
    return s.first if paints_in_weights and s.blocks[0].dense else 0


def _head(s: Shape, first_voting: int) -> int:
    """K Σ o of the voting blocks."""
    return s.classes * sum(block.n_features for block in s.blocks[first_voting:])


def _labelled_forward(s: Shape, paints_in_weights: bool) -> int:
    """F, and of a table that is multiplied with its label inputs K o₁ more."""
    multiplied = s.table and not (paints_in_weights and s.blocks[0].dense)
    return s.forward + (s.classes * s.blocks[0].rows if multiplied else 0)


def learn_macs(s: Shape, *, first_voting: int, paints_in_weights: bool, head: bool, hard: bool) -> int:
    """n (4 F − 2 F₁), with a head n (5 F − 3 F₁ + 2 K Σ o); hard negatives ask the head once more before they are painted."""
    once, forward = _once(s, paints_in_weights), _labelled_forward(s, paints_in_weights)
    if not head:
        return s.n * (4 * forward - 2 * once)
    return s.n * (5 * forward - 3 * once + (3 if hard else 2) * _head(s, first_voting))


def evaluation_macs(s: Shape, *, first_voting: int, paints_in_weights: bool, by_head: bool) -> int:
    """By the head n (F + K Σ o); by goodness n (F₁ + K (F − F₁))."""
    once, forward = _once(s, paints_in_weights), _labelled_forward(s, paints_in_weights)
    if by_head:
        return s.n * (forward + _head(s, first_voting))
    return s.n * (s.classes * (forward - once) + once)


def moments(s: Shape, *, first_voting: int, by_head: bool) -> Iterator[Moment]:
    """One for each block, and one for the head."""
    yield 0, 2 * s.n * s.inputs  # the picture, and the squares that its length is taken from
    yield from one_after_another(s, ([moment] for moment in _each(s, first_voting, by_head)))


def _each(s: Shape, first_voting: int, by_head: bool) -> Iterator[Moment]:
    behind = 0
    for k, block in enumerate(s.blocks):
        neutral = s.n * block.rows if by_head else 0
        if k == 0:  # the picture, both labellings and their deltas, and the sum of these over the labels
            label = s.classes * block.rows if s.table else 0
            yield block.parameters + label, s.n * (s.inputs + 5 * block.rows) + neutral
        else:
            yield block.parameters, behind + 2 * s.n * block.columns + 4 * s.n * block.rows + neutral
        behind += neutral
    if by_head:  # the neutral rows of all blocks, and once more those that the head reads
        read = sum(block.rows for block in s.blocks[first_voting:])
        yield s.classes * read, behind + s.n * (read + s.classes)
