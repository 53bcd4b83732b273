"""Spatial goodness: every block learns class scores that are read off its squared activity, averaged over patches (ASGE-style).

Idea
----
As in Forward-Forward a block is judged by its squared activity, but by a vector instead of a number: one mean per channel and
patch of a grid that is finer where there are fewer channels. A linear map turns the vector into class scores and the block
learns by their cross-entropy, so neither negatives nor as many channels as classes are needed. Written after the abstract of
ASGE and after descriptions by others: it is in its style, it is not ASGE.

Update
------
For block l with activity A (n, C, h, w) and a grid of P × P patches, P = max(1, round(√(C_max / C))):

    g  = mean over each patch of A²          (n, C P²)
    G  = g Mᵀ                                class scores
    D  = (softmax(G) − Y) / n                residual of the mean cross-entropy
    dM = Dᵀ g
    dA = 2 A ⊙ spread(D M)                   each patch's derivative shared evenly by its positions; taken with the old M
    dθ = (∂A/∂θ)ᵀ dA                         inside the block

Tokens count as one patch (the mean over tokens), units of a dense block as maps of one position. All are applied at once; the
next block receives A from before the update, detached.

Symbols
-------
    A       carry                       (n, *shape)     activity of the block
    g       vector goodness             (n, C P²)
    C_max   most channels of any block of maps
    P       slot.grid                   –               patches along each side
    M       slot.projection             (classes, C P²)
    G       scores                      (n, classes)
    D       residual                    (n, classes)
    lr      lr                          –               learning rate
    wd      weight_decay                –               decoupled decay, on the block and M
    –       readout                     –               last or sum
    –       optimiser, momentum, maths  –               shared by all rules, see ``Algorithm``

Cost per batch
--------------
1 forward pass. With F multiply-adds per example through the blocks and heads P = K Σ C P²: n (2 F + 3 P): forward and weight
gradients. Extra memory: K Σ C P² parameters and twice that in moments; activations of one block at a time.

Locality
--------
Gradient path 1 (one block and its head). Block l may update as soon as its own activity is there; it reads no later block.

Deviations from the paper
-------------------------
1. The paper's text was not read: grid, head and loss follow its abstract and descriptions by others, hence "ASGE-style".
2. Its prediction strategies are not known here; there are ``last`` and ``sum``.
3. Dense and token blocks are ours.

Defaults
--------
    lr = 1e-3           ours: beside 3e-4 and 3e-3 on 2,000 to 8,000 examples of MNIST (3 passes, mf-cnn4)
    readout = sum       ours: 82.0 % beside 63.7 % with last on 2,000 examples of MNIST (3 passes, mf-cnn4)

Example
-------
>>> import bpfree
>>> data = bpfree.data.load("digits")
>>> net = bpfree.nets.mlp(data.in_shape, (64,), data.n_classes)
>>> rule = bpfree.algorithms.make("spatial-goodness", {"lr": 3e-3})
>>> result = bpfree.fit(rule, net, data, bpfree.Patience(5, max_passes=10))
>>> result.val_accuracy > 0.9
True

Known weakness
--------------
Squares forget the sign of activity and, with average patches, the place within a patch. The net's own output is not used, so
the heads must be kept with the net.

References
----------
@article{gong2025asge,
  title   = {Adaptive Spatial Goodness Encoding: Advancing and Scaling Forward-Forward Learning Without Backpropagation},
  author  = {Gong, Qingchun and Staszewski, Robert Bogdan and Xu, Kai},
  journal = {arXiv preprint arXiv:2509.12394},
  year    = {2025}
}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from bpfree.algorithms._base import BlockGradients, LocalAlgorithm
from bpfree.algorithms._closed_form import block_forward, block_gradients, parameters_of
from bpfree.algorithms._cost import Cost, Moment, Shape, one_after_another
from bpfree.algorithms._declared import Phase, Traits
from bpfree.algorithms._fields import choice, number
from bpfree.algorithms._heads import READOUTS, new_head
from bpfree.algorithms._state import HeadSlot, Optimiser, State
from bpfree.data import Batch
from bpfree.nets import Block, Chain
from bpfree.numerics.handover import Handover, taken
from bpfree.numerics.local import class_scores
from bpfree.numerics.losses import cross_entropy, loss_and_residual
from bpfree.numerics.spatial import grid_size, spatial_goodness, spatial_goodness_gradient

__all__ = ["SpatialGoodness"]


def grids(net: Chain) -> list[int]:
    """P of each block; 1 for blocks whose output has no positions."""
    most = max((block.out_shape[0] for block in net if len(block.out_shape) == 3), default=1)
    return [grid_size(shape[0], most, *shape[1:]) if len(shape) == 3 else 1 for shape in (b.out_shape for b in net)]


def _width(block: Block, grid: int) -> int:
    """Length of the block's vector of goodness."""
    if len(block.out_shape) == 3:
        return block.out_shape[0] * grid**2
    return block.out_shape[-1] if len(block.out_shape) == 2 else torch.Size(block.out_shape).numel()


class SpatialSlot(HeadSlot):
    """A head, and the grid P that it reads."""

    reads_features: ClassVar[bool] = False

    def __init__(self, optimiser: Optimiser, projection: nn.Parameter, grid: int) -> None:
        super().__init__(optimiser, projection)
        self.grid = grid


@final
@dataclass(frozen=True, kw_only=True)
class SpatialGoodness(LocalAlgorithm[State[SpatialSlot], SpatialSlot, Tensor], BlockGradients[State[SpatialSlot]]):
    """Spatial goodness; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "spatial-goodness"
    weighs_classes: ClassVar[bool] = True
    replays: ClassVar[bool] = True
    lr: float = number(1e-3, above=0.0)
    readout: str = choice("sum", READOUTS, readout=True)

    def traits(self, net: Chain) -> Traits:
        return Traits(
            forward_passes=1.0,
            gradient_path=1,
            local=True,
            autograd=self._uses_autograd(net),
            trains_output=False,
            extra_parameters=net.n_classes * sum(_width(b, p) for b, p in zip(net, grids(net), strict=True)),
            note="ASGE-style, not ASGE",
        )

    def init(self, net: Chain, generator: torch.Generator) -> State[SpatialSlot]:
        net.reset_parameters(generator)
        slots = []
        for block, grid in zip(net, grids(net), strict=True):
            head = new_head(net.n_classes, _width(block, grid), net, generator)
            slots.append(SpatialSlot(self._optimiser([*block.parameters(), head]), head, grid))
        return State(self._hyper(net), slots)

    def enter(self, net: Chain, batch: Batch) -> Tensor:
        return batch.x

    def block_step(
        self, block: Block, slot: SpatialSlot, carry: Tensor, y: Tensor, learn: bool, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        a, saved = block_forward(block, carry, self.maths)
        if not learn:
            return a, cross_entropy(spatial_goodness(a, slot.grid).to(a.dtype) @ slot.projection.t(), y, weight)
        return a, self._update(block, slot, a, saved, y, weight)

    def last_step(
        self, block: Block, slot: SpatialSlot, carry: Tensor, y: Tensor, weight: Tensor | None = None
    ) -> tuple[None, Tensor]:
        """As of any other block, but the activity is not read: it is freed once φ′ has been taken of it."""
        a, saved = block_forward(block, carry, self.maths)
        given = Handover(a)
        del a
        return None, self._update(block, slot, given, saved, y, weight)

    def _update(
        self, block: Block, slot: SpatialSlot, a: Tensor | Handover, saved: Any, y: Tensor, weight: Tensor | None
    ) -> Tensor:
        """One step of block and head, from its activity; returns the loss (0-D)."""
        loss, of_head, delta = _at_head(slot, a, y, weight)
        del a
        gradients, _ = block_gradients(block, saved, delta, maths=self.maths)
        slot.optimiser.step([*parameters_of(block), slot.projection], [*gradients, of_head])
        return loss

    def scores(self, net: Chain, state: State[SpatialSlot], x: Tensor, phase: Phase) -> Tensor:
        total: Tensor | None = None
        for k, block in enumerate(net):
            x = block(x)
            if k == len(net) - 1 or self.readout == "sum":
                slot = state.slot(k)
                g = spatial_goodness(x, slot.grid).to(x.dtype) @ slot.projection.t()
                total = g if total is None else total + g
        assert total is not None  # a chain has blocks
        return total

    def cost(self, shape: Shape, phase: Phase) -> Cost:
        s = shape
        return Cost(
            learn=s.n * (2 * s.forward + 3 * s.extra),
            evaluation=s.n * (s.forward + s.extra) if self.readout == "sum" else None,
            moments=tuple(one_after_another(s, (self._moments(s, k) for k in range(len(s.blocks))))),
        )

    def _moments(self, s: Shape, k: int) -> Iterator[Moment]:
        block = s.blocks[k]
        head = s.classes * block.n_features
        yield head, s.input(k) + s.n * (3 * block.rows + s.classes)  # dA is made of A and what the head hands back
        handed_on = 0 if k == len(s.blocks) - 1 else s.n * block.rows  # goes on to the next block
        yield block.parameters + head, s.input(k) + handed_on + s.n * block.rows


def _at_head(slot: SpatialSlot, given: Tensor | Handover, y: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Handover]:
    """Loss (0-D), dM and dA; goodness, scores and residual are freed on return."""
    a, _ = taken(given)
    goodness = spatial_goodness(a, slot.grid).to(a.dtype)  # (n, C P²)
    g = class_scores(goodness, slot.projection)  # (n, c)
    loss, residual = loss_and_residual(g, y, weight)
    of_head = residual.t() @ goodness
    del goodness, g
    return loss, of_head, Handover(spatial_goodness_gradient(a, residual @ slot.projection, slot.grid))
