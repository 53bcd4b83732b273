"""Multiply-adds of a step by the formulas of the rules' docstrings ("Cost per batch"), to hold the count against.

With n examples in a batch, per example F multiply-adds of all blocks forward, F₁ of the first, O of the output, and heads
P = K Σ dᵢ. The docstrings give the leading terms; here every product of the step is written down. Nothing is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bpfree.algorithms import Algorithm, Phase
from bpfree.algorithms.pepita.rule import NOISE_ROWS
from bpfree.nets import Block, Chain, ConvBlock, DenseBlock
from bpfree.numerics.orthogonal import POWER_STEPS
from bpfree.numerics.orthogonal_conv import overlap

__all__ = ["Shape", "end_of_pass_macs", "evaluation_macs", "orthogonalisation_macs", "shape_of", "step_macs"]


@dataclass(frozen=True)
class BlockShape:
    """One block: multiply-adds forward per example; the matrix (o, i) that is applied; its output in floats, as features.

    ``meeting`` is along each axis the number of patches that a patch shares values with, itself included: 1 without overlap.
    """

    macs: int
    rows: int
    columns: int
    bias: int
    n_in: int
    n_out: int
    n_features: int
    dense: bool
    normalises: bool
    meeting: int


@dataclass(frozen=True)
class Shape:
    """What the formulas know of net and batch: n examples, K classes, inputs, the rule's own learned scalars, blocks."""

    n: int
    classes: int
    inputs: int
    extra: int
    blocks: tuple[BlockShape, ...]

    @property
    def forward(self) -> int:
        """F."""
        return sum(block.macs for block in self.blocks)

    @property
    def first(self) -> int:
        """F₁."""
        return self.blocks[0].macs

    @property
    def output(self) -> int:
        """O = K d_L."""
        return self.classes * self.blocks[-1].n_features

    @property
    def heads(self) -> int:
        """P = K Σ dᵢ."""
        return self.classes * sum(block.n_features for block in self.blocks)


def shape_of(rule: Algorithm, net: Chain, n: int) -> Shape | None:
    """The shape of a net of dense and convolutional blocks; ``None`` with any other block, of which no formula is known."""
    blocks = [_block(block) for block in net]
    if any(block is None for block in blocks):
        return None
    known = tuple(block for block in blocks if block is not None)
    return Shape(n, net.n_classes, math.prod(net.in_shape), rule.traits(net).extra_parameters, known)


def _block(block: Block) -> BlockShape | None:
    n_in, n_out = math.prod(block.in_shape), math.prod(block.out_shape)
    if isinstance(block, DenseBlock):
        weight, bias, positions, meeting = block.linear.weight, block.linear.bias, 1, 1
    elif isinstance(block, ConvBlock):
        weight, bias = block.conv.weight, block.conv.bias
        kernel = block.conv.kernel_size[0]
        places = [(edge + 2 * block.plan.padding - kernel) // block.plan.stride + 1 for edge in block.in_shape[1:]]
        positions = math.prod(places)
        meeting = 2 * overlap(kernel, block.plan.stride) + 1 if positions > 1 else 1
    else:
        return None
    rows, columns = weight.flatten(1).shape
    return BlockShape(
        macs=positions * rows * columns, rows=rows, columns=columns, bias=0 if bias is None else len(bias), n_in=n_in,
        n_out=n_out, n_features=block.n_features, dense=isinstance(block, DenseBlock), normalises=block.normalises_batch,
        meeting=meeting,
    )  # fmt: skip


Formula = Callable[[Any, Shape, Phase], float | None]
"""(rule, shape, phase) to multiply-adds per example; ``None`` where the formula does not reach."""


def _backprop(rule: Any, s: Shape, phase: Phase) -> float:
    del phase
    every = getattr(rule, "checkpoint_every", 0)
    again = (len(s.blocks) - 1) // every * every if every else 0  # all blocks before the last segment run twice
    return 3 * (s.forward + s.output) - s.first + sum(block.macs for block in s.blocks[:again])


def _deep_supervision(rule: Any, s: Shape, phase: Phase) -> float:
    del rule, phase
    return 3 * s.forward - s.first + 3 * s.heads


def _direct_feedback(rule: Any, s: Shape, phase: Phase) -> float:
    del rule, phase
    return 2 * (s.forward + s.output) + s.heads


def _mono_forward(rule: Any, s: Shape, phase: Phase) -> float:
    raw = 2 * s.classes * s.inputs if rule.raw_projection and (rule.schedule == "joint" or not phase.learning) else 0
    reached = s.blocks[: max(phase.learning, default=-1) + 1]
    learning = [s.blocks[k] for k in phase.learning]
    return raw + sum(b.macs for b in reached) + sum(b.macs + 3 * s.classes * b.n_features for b in learning)


def _forward_forward(rule: Any, s: Shape, phase: Phase) -> float | None:
    del phase
    if rule.negatives == "hybrid":
        return None  # the masks of hybrid images are blurred by a convolution of their own
    once = s.first if s.blocks[0].dense and rule.maths != "autograd" else 0  # the picture is multiplied once for all labellings
    if rule.inference != "head" and rule.negatives != "hard":
        return 4 * s.forward - 2 * once
    # Hard negatives read the head before they are painted: one more product with it.
    return 5 * s.forward - 3 * once + (3 if rule.negatives == "hard" else 2) * _voting(rule, s)


def _voting(rule: Any, s: Shape) -> int:
    first = 1 if rule.goodness_blocks == "all-but-first" and len(s.blocks) > 1 else 0
    return s.classes * sum(block.n_features for block in s.blocks[first:])


def _cascaded_forward(rule: Any, s: Shape, phase: Phase) -> float:
    if phase.name == "blocks":
        return 2 * (s.forward + s.output) + s.heads
    reached = sum(b.macs for b in s.blocks[: max(phase.learning, default=len(s.blocks) - 1) + 1])
    learning = [s.blocks[k] for k in phase.learning]
    ridge = sum(b.n_features**2 for b in learning) if rule.predictor == "ridge" else 0
    return (0 if phase.cached else reached) + ridge + 2 * s.classes * sum(b.n_features for b in learning)


def _spatial_goodness(rule: Any, s: Shape, phase: Phase) -> float:
    del rule, phase
    return 2 * s.forward + 3 * s.extra


def _local_similarity(rule: Any, s: Shape, phase: Phase) -> float | None:
    del phase
    if not all(b.dense for b in s.blocks):
        return None
    maps = 3 * sum(b.n_features**2 for b in s.blocks) if rule.similarity_map == "learned" else 0
    return 2 * s.forward + 3 * s.heads + 2 * s.n * sum(b.n_features for b in s.blocks) + maps


def _pepita(rule: Any, s: Shape, phase: Phase) -> float:
    del phase
    mixed = s.forward if rule.presynaptic == "mixed" else 0
    mirrors = 2 * NOISE_ROWS * (s.forward + s.output) + 2 * s.classes * s.forward
    return 3 * s.forward + mixed + 2 * s.output + s.classes * s.inputs + _shared(rule.mirroring, mirrors, rule.mirror_every, s)


def _foton(rule: Any, s: Shape, phase: Phase) -> float:
    del phase
    passes = 3 if rule.memory == "standard" else 4
    composed = _shared(True, s.classes * s.forward, rule.refresh_every, s)
    return passes * s.forward + 2 * s.output + s.classes * s.inputs + composed


def _shared(done: bool, macs: float, every: int, s: Shape) -> float:
    """Work of every so many steps, for one example of one step."""
    return macs / every / s.n if done else 0.0


_STEP: dict[str, Formula] = {
    "backprop": _backprop,
    "deep-supervision": _deep_supervision,
    "feedback-alignment": _backprop,
    "sign-symmetry": _backprop,
    "direct-feedback-alignment": _direct_feedback,
    "mono-forward": _mono_forward,
    "forward-forward": _forward_forward,
    "cascaded-forward": _cascaded_forward,
    "spatial-goodness": _spatial_goodness,
    "local-similarity": _local_similarity,
    "pepita": _pepita,
    "foton": _foton,
}


def step_macs(rule: Algorithm, net: Chain, n: int, phase: Phase) -> int | None:
    """Multiply-adds of a training step on ``n`` examples, orthogonalisation apart; ``None`` where no formula is known."""
    shape, formula = shape_of(rule, net, n), _STEP.get(rule.name)
    if shape is None or formula is None:
        return None
    each = formula(rule, shape, phase)
    return None if each is None else round(n * each)


def evaluation_macs(rule: Algorithm, net: Chain, n: int) -> int | None:
    """Multiply-adds of scoring ``n`` examples after the last phase; ``None`` where no formula is known."""
    s = shape_of(rule, net, n)
    if s is None or rule.name not in _STEP:
        return None
    params = rule.params()
    every = s.forward + s.heads
    if rule.name == "forward-forward":
        if params["inference"] == "head":
            return n * (s.forward + _voting(rule, s))
        once = s.first if s.blocks[0].dense and rule.maths != "autograd" else 0
        tried = s.classes * (s.forward - once) + once
        return n * tried
    if rule.name == "cascaded-forward":
        return n * every
    if rule.name == "spatial-goodness":
        return n * (s.forward + s.extra) if params["readout"] == "sum" else None
    if params.get("readout", "last") == "last":
        return n * (s.forward + s.output)
    return n * every if params["readout"] == "sum" else None


def orthogonalisation_macs(rule: Algorithm, net: Chain) -> int | None:
    """Multiply-adds of one orthogonalisation by Björck or Newton-Schulz steps; ``None`` for others, and for no formula."""
    s, params = shape_of(rule, net, 1), rule.params()
    method = params.get("orthogonalise_by", "bjorck" if params.get("orthogonal") == "kept" else "none")
    if s is None or method not in ("bjorck", "newton-schulz"):
        return None
    steps = int(params.get("orthogonalise_steps") or 1)
    matrices = [(block.rows, block.columns, block.meeting) for block in s.blocks]
    if params.get("output") == "orthonormal":
        matrices.append((s.classes, s.blocks[-1].n_features, 1))
    total = 0
    for a, b, meeting in matrices:
        if meeting > 1:  # a kernel: bpfree.numerics.orthogonal_conv
            total += steps * 2 * a * a * b * meeting**2 + POWER_STEPS * (a * meeting * (meeting + 1)) ** 2
            continue
        small, large = min(a, b), max(a, b)
        each = 2 * small * small * large + (small**3 if method == "newton-schulz" else 0)
        total += steps * each + POWER_STEPS * small * small
    return total


def end_of_pass_macs(rule: Algorithm, net: Chain, phase: Phase) -> int | None:
    """Multiply-adds of Cascaded-Forward's ridge at the end of a pass: Cholesky d³/6 and two triangular solves d² K a block."""
    s = shape_of(rule, net, 1)
    if s is None or rule.params().get("predictor") != "ridge" or phase.name in ("blocks", "statistics"):
        return None
    features = [s.blocks[k].n_features for k in phase.learning]
    return round(sum(d**3 / 6 + s.classes * d * d for d in features))
