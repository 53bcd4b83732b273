"""Bytes of a step by formula: what must be alive at its highest moment, to hold the measured bytes against.

Numbers, not bytes, until the end. Of block k: iₖ inputs, oₖ outputs, Gₖ = oₖ iₖ + oₖ parameters; n examples, K classes; Xₖ = n iₖ
but 0 for the first block, whose input is the batch, which was there before. A rule's formula lists the moments of its step
that can be the highest, each as (gradients, everything else); the peak is the larger sum. Dense blocks only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bpfree.algorithms import Algorithm, Phase
from bpfree.bench.step_formulas import BlockShape, Shape, shape_of
from bpfree.nets import Chain

__all__ = ["StepBytes", "step_bytes"]

Moment = tuple[int, int]
"""Numbers in gradients, and in all else that the step has made."""


@dataclass(frozen=True)
class StepBytes:
    """Bytes at the highest moment of a step."""

    gradients: int
    activations: int


def _parameters(block: BlockShape) -> int:
    return block.rows * block.columns + block.bias


def _input(s: Shape, k: int) -> int:
    return s.n * s.blocks[k].columns if k > 0 else 0


def _tail(s: Shape, k: int) -> int:
    """Activities that the last block keeps alive to the end of a sweep: its own and its input, where not counted yet."""
    last = len(s.blocks) - 1
    return sum(s.n * s.blocks[j].rows for j in (last, last - 1) if j > k)


def _stored(s: Shape, k: int) -> int:
    """Activities of blocks 0 to k."""
    return s.n * sum(block.rows for block in s.blocks[: k + 1])


def _sweep(s: Shape, k: int) -> int:
    """Everything but gradients while a backward sweep is at block k: activities, two rows of deltas, the next delta."""
    return _stored(s, k) + _tail(s, k) + 2 * s.n * s.blocks[k].rows + _input(s, k)


def _output_parameters(s: Shape) -> int:
    return s.output + s.classes


def _backprop(rule: Any, s: Shape, phase: Phase) -> Iterator[Moment]:
    del phase
    last = len(s.blocks) - 1
    segment = rule.checkpoint_every or len(s.blocks)
    gradients = _output_parameters(s)
    for k in reversed(range(len(s.blocks))):
        first = k // segment * segment
        kept = [*range(segment - 1, first, segment), *range(first, k + 1)]  # inputs of segments, and the activities of this one
        if last not in kept:
            kept.append(last)
        rows = sum(s.blocks[j].rows for j in kept) + 2 * s.blocks[k].rows + 2 * s.classes
        gradients = _parameters(s.blocks[k]) + (gradients if rule.update == "after-sweep" else 0)
        yield gradients, s.n * rows + _input(s, k)


def _feedback(rule: Any, s: Shape, phase: Phase) -> Iterator[Moment]:
    del phase
    # Sign-symmetry draws its feedback anew in every step: a matrix for each weight but the first.
    drawn = sum(b.rows * b.columns for b in s.blocks[1:]) + s.output if rule.name == "sign-symmetry" else 0
    gradients = _output_parameters(s)
    for k in reversed(range(len(s.blocks))):
        gradients += _parameters(s.blocks[k])
        yield gradients, _sweep(s, k) + 2 * s.n * s.classes + drawn


def _deep_supervision(rule: Any, s: Shape, phase: Phase) -> Iterator[Moment]:
    del rule, phase
    n_blocks, gradients = len(s.blocks), s.heads
    for k in reversed(range(n_blocks)):
        gradients += _parameters(s.blocks[k])
        from_above = s.n * s.blocks[k].rows if k < n_blocks - 1 else 0
        yield gradients, _sweep(s, k) + from_above + (n_blocks + 1) * s.n * s.classes


def _direct_feedback(rule: Any, s: Shape, phase: Phase) -> Iterator[Moment]:
    del phase
    for k, block in enumerate(s.blocks):
        kept = _stored(s, len(s.blocks) - 1) if rule.target == "error" else _input(s, k) + s.n * block.rows
        yield _parameters(block), kept + 2 * s.n * block.rows + 3 * s.n * s.classes


def _mono_forward(rule: Any, s: Shape, phase: Phase) -> Iterator[Moment]:
    del rule
    for k in phase.learning:
        block = s.blocks[k]
        yield _parameters(block), _input(s, k) + 3 * s.n * block.rows + 2 * s.n * s.classes


def _spatial_goodness(rule: Any, s: Shape, phase: Phase) -> Iterator[Moment]:
    del rule, phase
    for k, block in enumerate(s.blocks):
        yield _parameters(block), _input(s, k) + 4 * s.n * block.rows + 2 * s.n * s.classes


def _local_similarity(rule: Any, s: Shape, phase: Phase) -> Iterator[Moment]:
    del phase
    for k, block in enumerate(s.blocks):
        of_map = block.rows**2 if rule.similarity_map == "learned" else 0
        rest = _input(s, k) + of_map + 2 * s.n * s.classes
        yield 0, _input(s, k) + 4 * s.n**2 + s.n * block.rows  # similarities of all pairs
        yield _parameters(block), rest + 3 * s.n * block.rows
        yield _parameters(block) + s.classes * block.rows + of_map, rest + 2 * s.n * block.rows


def _forward_forward(rule: Any, s: Shape, phase: Phase) -> Iterator[Moment]:
    del phase
    head = rule.inference == "head"
    kept = 0
    for k, block in enumerate(s.blocks):
        neutral = s.n * block.rows if head else 0
        if k == 0:  # the picture without its label columns, its product with the weights, and both labellings
            picture = s.n * (2 * s.inputs - s.classes)
            yield block.rows * block.columns, picture + 7 * s.n * block.rows + neutral
        else:
            carry = 0 if head else 2 * s.n * block.columns
            yield _parameters(block), kept + carry + 6 * s.n * block.rows + neutral
        kept += 3 * s.n * block.rows if head else 0
    if head:  # the rows of all blocks, and once more those that the head reads
        first = 1 if rule.goodness_blocks == "all-but-first" and len(s.blocks) > 1 else 0
        read = sum(block.rows for block in s.blocks[first:])
        yield s.classes * read, kept + s.n * (read + s.classes)


def _cascaded_forward(rule: Any, s: Shape, phase: Phase) -> Iterator[Moment]:
    scored = 2 * s.n * s.classes
    if phase.name == "blocks":
        for k, block in enumerate(s.blocks):
            before = _parameters(s.blocks[k + 1]) if k + 1 < len(s.blocks) else 0  # freed when the next gradients are there
            yield _parameters(block) + before, _stored(s, k) + _tail(s, k) + 2 * s.n * block.rows + scored
        return
    for k, block in enumerate(s.blocks[: max(phase.learning) + 1]):
        features = s.n * block.rows
        yield 0, _input(s, k) + 2 * features
        if k in phase.learning:
            gradient, sums = (0, block.rows**2) if rule.predictor == "ridge" else (s.classes * block.rows, 0)
            yield gradient, features + sums + scored


def _pepita(rule: Any, s: Shape, phase: Phase) -> Iterator[Moment]:
    del phase
    if rule.presynaptic == "mixed":
        return  # its two products are as large as the gradients, and no formula was written for them
    kept = (2 if rule.dropout > 0 else 1) * _stored(s, len(s.blocks) - 1)  # with dropout, the masks beside the activities
    before = 0
    for block in s.blocks:
        rows = s.n * (s.inputs + block.columns + 3 * block.rows) + 2 * s.n * s.classes
        yield _parameters(block) + before, kept + rows
        before = _parameters(block)


def _foton(rule: Any, s: Shape, phase: Phase) -> Iterator[Moment]:
    del phase
    last, before = s.blocks[-1], 0
    for k, block in enumerate(s.blocks):
        if rule.memory == "standard":
            rest = _stored(s, len(s.blocks) - 1) + s.n * (s.inputs + 2 * block.rows)
            yield _parameters(block) + before, rest + 2 * s.n * s.classes
        else:  # clean and modulated go through a block together: two copies of its input, two of its output
            rest = s.n * (s.inputs + last.rows) + 2 * s.n * s.classes
            yield before, rest + 4 * s.n * block.rows + (4 if k > 0 else 3) * s.n * block.columns
            yield _parameters(block) + before, rest + s.n * (block.columns + 3 * block.rows)
        before = _parameters(block)


Formula = Callable[[Any, Shape, Phase], Iterator[Moment]]

_MOMENTS: dict[str, Formula] = {
    "backprop": _backprop,
    "deep-supervision": _deep_supervision,
    "feedback-alignment": _feedback,
    "sign-symmetry": _feedback,
    "direct-feedback-alignment": _direct_feedback,
    "mono-forward": _mono_forward,
    "forward-forward": _forward_forward,
    "cascaded-forward": _cascaded_forward,
    "spatial-goodness": _spatial_goodness,
    "local-similarity": _local_similarity,
    "pepita": _pepita,
    "foton": _foton,
}


def step_bytes(rule: Algorithm, net: Chain, n: int, phase: Phase) -> StepBytes | None:
    """Bytes at the highest moment of a step on ``n`` examples; ``None`` where no formula is known (other blocks, other rules)."""
    s, moments = shape_of(rule, net, n), _MOMENTS.get(rule.name)
    if s is None or moments is None or not all(block.dense for block in s.blocks) or rule.maths == "autograd":
        return None
    found = list(moments(rule, s, phase))
    if not found:
        return None
    gradients, rest = max(found, key=sum)
    size = net.dtype.itemsize
    return StepBytes(gradients * size, rest * size)
