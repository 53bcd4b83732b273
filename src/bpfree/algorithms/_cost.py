"""What a step costs by formula: the answer of a rule, and the shapes that formulas are written in.

With n examples in a batch, per example F multiply-adds of all blocks forward, F₁ of the first, O of the output, and heads
P = K Σ dᵢ. A rule's docstring gives the leading terms ("Cost per batch"); its ``cost`` writes down every product of ``learn``.

Memory is given as *moments* of ``learn``: those at which most may be alive, each as numbers in gradients and in all else that the
step has made; the peak is the larger sum. Of block k: iₖ inputs, oₖ outputs, Gₖ = oₖ iₖ + oₖ parameters; Xₖ = n iₖ but 0 for the
first block, whose input is the batch, which was there before. Formulas of memory are for dense blocks in closed form. On a small
net the gradients of blocks that learn one after another stay to the end (:mod:`bpfree.algorithms._gather`), elsewhere each goes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from bpfree.algorithms._gather import is_small
from bpfree.nets import Block, Chain, ConvBlock, DenseBlock
from bpfree.numerics.orthogonal import POWER_STEPS
from bpfree.numerics.orthogonal_conv import overlap

__all__ = ["BlockShape", "Cost", "Moment", "Shape", "one_after_another", "orthogonalisation_macs", "shape_of"]

Moment = tuple[int, int]
"""Numbers in gradients, and in all else that the step has made."""


@dataclass(frozen=True)
class Cost:
    """Multiply-adds and memory of one batch in one phase, by formula. Operations on single elements are not counted.

    Attributes:
        learn: multiply-adds of ``learn``; None where no formula is known.
        evaluation: of ``scores`` after this phase; None where no formula is known.
        close: of ``close``; None where it multiplies no matrices.
        upkeep: of each work of ``upkeep`` when it is done, by its name.
        moments: of ``learn``; empty where no formula is known.
    """

    learn: float | None
    evaluation: float | None = None
    close: float | None = None
    upkeep: Mapping[str, float] = field(default_factory=dict)
    moments: tuple[Moment, ...] = ()

    @property
    def peak(self) -> Moment | None:
        """The moment at which most is alive."""
        return max(self.moments, key=sum, default=None)

    def without_moments(self) -> Cost:
        """The same without its formulas of memory."""
        return dataclasses.replace(self, moments=())


@dataclass(frozen=True)
class BlockShape:
    """One block.

    Attributes:
        macs: multiply-adds forward, per example.
        rows, columns: of the matrix (o, i) that is applied.
        bias: number of biases.
        n_features: width of its features.
        dense: whether it is a dense block.
        meeting: along each axis the number of patches that a patch shares values with, itself included: 1 without overlap.
    """

    macs: int
    rows: int
    columns: int
    bias: int
    n_features: int
    dense: bool
    meeting: int

    @property
    def parameters(self) -> int:
        """G: numbers in the matrix and the bias."""
        return self.rows * self.columns + self.bias


@dataclass(frozen=True)
class Shape:
    """What formulas know of net and batch.

    Attributes:
        n: examples.
        classes: K.
        inputs: numbers in an example.
        extra: the rule's own learned scalars.
        blocks: in order.
        table: whether an example has one axis, of features.
        gathered: whether the gradients of all blocks stay to the end of the step.
    """

    n: int
    classes: int
    inputs: int
    extra: int
    blocks: tuple[BlockShape, ...]
    table: bool
    gathered: bool = False

    @property
    def dense(self) -> bool:
        """Whether all blocks are dense."""
        return all(block.dense for block in self.blocks)

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
    def output_parameters(self) -> int:
        """Numbers in the output's matrix and bias."""
        return self.output + self.classes

    @property
    def heads(self) -> int:
        """P = K Σ dᵢ."""
        return self.classes * sum(block.n_features for block in self.blocks)

    def input(self, k: int) -> int:
        """Xₖ."""
        return self.n * self.blocks[k].columns if k > 0 else 0

    def stored(self, k: int) -> int:
        """Numbers in the activities of blocks 0 to k."""
        return self.n * sum(block.rows for block in self.blocks[: k + 1])

    def at_delta(self, k: int) -> int:
        """All but gradients while a backward sweep has the delta of block k: activities up to its own, and the delta.

        The delta becomes that of the pre-activation in its place.
        """
        return self.stored(k) + self.n * self.blocks[k].rows

    def at_product(self, k: int) -> int:
        """All but gradients once the sweep has multiplied at block k: activities before it, its delta and the next."""
        return self.stored(k - 1) + self.n * self.blocks[k].rows + self.input(k)


def shape_of(net: Chain, n: int, extra: int = 0) -> Shape | None:
    """The shape of a net of dense and convolution blocks for a batch of ``n``; None with any other block.

    Args:
        extra: learned scalars of the rule beside the net.
    """
    blocks = [shape for block in net if (shape := _block_shape(block)) is not None]
    if len(blocks) < len(net):
        return None
    in_shape, gathered = net.in_shape, net.device.type == "cpu" and is_small(net)
    return Shape(n, net.n_classes, math.prod(in_shape), extra, tuple(blocks), len(in_shape) == 1, gathered)


def one_after_another(s: Shape, each: Iterable[Iterable[Moment]], *, before: int = 0) -> Iterator[Moment]:
    """Moments of parts that learn in order, each of which is given as if it were alone.

    Args:
        each: of every part; the most gradients among its moments are those of its update.
        before: numbers in gradients that were used before the first part.
    """
    stay = before if s.gathered else 0
    for moments in each:
        most = 0
        for gradients, rest in moments:
            most = max(most, gradients)
            yield stay + (most if s.gathered else gradients), rest
        stay += most if s.gathered else 0


def _block_shape(block: Block) -> BlockShape | None:
    if isinstance(block, DenseBlock):
        weight, bias, positions, meeting = block.linear.weight, block.linear.bias, 1, 1
    elif isinstance(block, ConvBlock):
        weight, bias = block.conv.weight, block.conv.bias
        kernel = block.conv.kernel_size[0]
        edges = [(edge + 2 * block.plan.padding - kernel) // block.plan.stride + 1 for edge in block.in_shape[1:]]
        positions = math.prod(edges)
        meeting = 2 * overlap(kernel, block.plan.stride) + 1 if positions > 1 else 1
    else:
        return None
    rows, columns = weight.flatten(1).shape
    return BlockShape(
        macs=positions * rows * columns,
        rows=rows,
        columns=columns,
        bias=0 if bias is None else len(bias),
        n_features=block.n_features,
        dense=isinstance(block, DenseBlock),
        meeting=meeting,
    )


def orthogonalisation_macs(shape: Shape, method: str, steps: int, *, output: bool = False) -> int | None:
    """Multiply-adds of ``steps`` iterations on every hidden weight; None for a method whose count has no formula.

    Args:
        method: a name of :data:`bpfree.numerics.orthogonal.METHODS`; formulas are known for ``bjorck`` and ``newton-schulz``.
        output: whether the output's weight is taken along.
    """
    if method not in ("bjorck", "newton-schulz"):
        return None
    matrices = [(block.rows, block.columns, block.meeting) for block in shape.blocks]
    if output:
        matrices.append((shape.classes, shape.blocks[-1].n_features, 1))
    total = 0
    for rows, columns, meeting in matrices:
        if meeting > 1:  # a kernel: bpfree.numerics.orthogonal_conv
            total += steps * 2 * rows * rows * columns * meeting**2 + POWER_STEPS * (rows * meeting * (meeting + 1)) ** 2
            continue
        small, large = min(rows, columns), max(rows, columns)
        each = 2 * small * small * large + (small**3 if method == "newton-schulz" else 0)
        total += steps * each + POWER_STEPS * small * small
    return total
