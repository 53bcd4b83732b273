"""Frozen blocks: the blocks stay as they were drawn and a linear read-out learns; the control for learning in hidden blocks.

Idea
----
A net whose blocks are random is already a set of random features, and a linear classifier on them is already better than chance.
A rule whose net is not better than this one has learned nothing in its hidden blocks, whatever its accuracy is. The blocks are
those with which backprop starts from the same seed.

Update
------
With features Hₖ (n, oₖ) of the blocks that are read (``readout=last``: k = L alone; ``readout=all``: k = 1 … L):

    G   = Σₖ Hₖ Mₖᵀ + c              class scores
    D   = (softmax(G) − Y) / n       residual of the mean cross-entropy
    dMₖ = Dᵀ Hₖ ,  dc = Σₙ D

All are applied by the optimiser in one call. This is multinomial logistic regression: the loss is convex in what is learned.
Nothing else changes, except running statistics of BatchNorm: they are gathered in a phase of one pass before the read-out learns.

Symbols
-------
    Hₖ      features                    (n, oₖ)         of block k, as at evaluation
    M_L     net.output.weight           (classes, o_L)
    Mₖ      slot.projection             (classes, oₖ)   readout=all; that of the last block is M_L
    c       net.output.bias             (classes,)
    G       scores                      (n, classes)
    D       residual                    (n, classes)
    lr      lr                          –               learning rate
    wd      weight_decay                –               decoupled decay, on Mₖ and c
    –       readout                     –               last or all: the blocks whose features are read
    –       cache_features              –               compute the features once, where training batches are not augmented
    –       optimiser, momentum         –               shared by all rules, see ``Algorithm``

Cost per batch
--------------
With F multiply-adds per example forward through the blocks and P = K Σₖ oₖ over the blocks that are read: n (F + 2 P). With
cached features 2 n P, and F once for every example, and Σₖ oₖ numbers are kept for each. Extra memory: with ``readout=all`` the
heads of the blocks before the last. Moments for the read-out alone.

Locality
--------
No block is updated. ``readout=last`` reads nothing but the last block's features; with ``readout=all`` the heads share one
residual, so that each waits for all blocks. Gradient path: the read-out.

Deviations from the paper
-------------------------
1. Saxe et al. solve for the read-out by a support-vector machine; here it learns by the cross-entropy and the optimiser that all
   arms have, so that nothing but the hidden blocks differs from backprop.
2. ``readout=all`` has no source: it is the same read-out on the features of all blocks, as Cascaded-Forward and ``readout=sum``
   of the local rules read all blocks.
3. BatchNorm normalises by running statistics of the training data, as in Cascaded-Forward here.

Defaults
--------
    lr = 1e-3               ours, untuned: Adam's usual rate; the loss is convex
    readout = last          backprop's read-out
    cache_features = True   ours: the same training up to rounding, and the honest cost of the control

Example
-------
>>> import bpfree
>>> data = bpfree.data.load("digits")
>>> net = bpfree.nets.mlp(data.in_shape, (128,), data.n_classes)
>>> rule = bpfree.algorithms.make("frozen", {"lr": 1e-2})
>>> result = bpfree.fit(rule, net, data, bpfree.Patience(5, max_passes=10))
>>> result.val_accuracy > 0.85
True

Known weakness
--------------
Random features need width, and lose with depth: on natural images they stay far behind learned blocks, and a narrow net makes
them look worse than a fair control should.

References
----------
@inproceedings{saxe2011random,
  title     = {On Random Weights and Unsupervised Feature Learning},
  author    = {Saxe, Andrew M. and Koh, Pang Wei and Chen, Zhenghao and Bhand, Maneesh and Suresh, Bipin and Ng, Andrew Y.},
  booktitle = {International Conference on Machine Learning},
  year      = {2011}
}
@inproceedings{rahimi2008weighted,
  title     = {Weighted Sums of Random Kitchen Sinks: Replacing Minimization with Randomization in Learning},
  author    = {Rahimi, Ali and Recht, Benjamin},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2008}
}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from bpfree.algorithms._base import Algorithm
from bpfree.algorithms._closed_form import block_activity, frozen_features
from bpfree.algorithms._cost import Cost, Moment, Shape
from bpfree.algorithms._declared import Phase, Traits
from bpfree.algorithms._fields import choice, flag, number
from bpfree.algorithms._gather import without_autograd
from bpfree.algorithms._heads import n_head_parameters, new_heads
from bpfree.algorithms._state import NetState, ProjectionSlot
from bpfree.data import Batch
from bpfree.nets import Chain
from bpfree.numerics.losses import loss_and_residual

__all__ = ["Frozen"]

STATISTICS = "statistics"
"""Name of the phase that gathers running statistics; there is one where a block has BatchNorm."""


@final
@dataclass(frozen=True, kw_only=True)
class Frozen(Algorithm[NetState[ProjectionSlot]]):
    """Frozen blocks and a linear read-out; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "frozen"
    weighs_classes: ClassVar[bool] = True
    replays: ClassVar[bool] = True
    variants: ClassVar[tuple[str, ...]] = ("readout=all",)
    lr: float = number(1e-3, above=0.0)
    readout: str = choice("last", ("last", "all"))
    cache_features: bool = flag(True)

    def traits(self, net: Chain) -> Traits:
        alone = self.readout == "last" or len(net) == 1
        return Traits(
            forward_passes=1.0,
            gradient_path=1,
            local=alone,
            autograd=False,
            trains_output=True,
            extra_parameters=0 if alone else n_head_parameters(net),
            note=f"blocks stay as drawn; a linear read-out of {'the last block' if alone else 'all blocks'} learns",
            untrained_control=True,
        )

    def init(self, net: Chain, generator: torch.Generator) -> NetState[ProjectionSlot]:
        net.reset_parameters(generator)
        slots = [ProjectionSlot(head) for head in new_heads(net, generator)] if self.readout == "all" else []
        heads = [slot.projection for slot in slots] or [net.output.weight]
        return NetState(self._hyper(net), self._optimiser([*heads, net.output.bias]), slots)

    def phases(self, net: Chain) -> tuple[Phase, ...]:
        normalises = any(block.normalises_batch for block in net)
        read_out = Phase(
            index=int(normalises),
            count=1 + normalises,
            learning=tuple(range(len(net))),
            name="read-out",
            frozen=len(net) if self.cache_features else 0,
            last_only=self.readout == "last",
            or_examples=True,
        )
        return (Phase(0, 2, (), STATISTICS, max_passes=1), read_out) if normalises else (read_out,)

    @without_autograd
    def learn(self, net: Chain, state: NetState[ProjectionSlot], batch: Batch, phase: Phase) -> Tensor:
        if phase.name == STATISTICS:
            x = batch.x
            for block in net:
                x = block_activity(block, x, statistics="update")
            return torch.zeros(1, device=x.device)
        read = list(self._read(net, batch.x, phase))
        heads = self._heads(net, state)
        g = _scores(net, heads, read)
        loss, residual = loss_and_residual(g, batch.y, batch.weight)
        del g
        gradients = [residual.t() @ h for h in read]
        state.optimiser.step([*heads, net.output.bias], [*gradients, residual.sum(0)])
        return loss.reshape(1)

    def scores(self, net: Chain, state: NetState[ProjectionSlot], x: Tensor, phase: Phase) -> Tensor:
        return _scores(net, self._heads(net, state), list(self._read(net, x, phase)))

    def _heads(self, net: Chain, state: NetState[ProjectionSlot]) -> list[Tensor]:
        """Mₖ of the blocks that are read, in order."""
        return [net.output.weight] if self.readout == "last" else [state.slot(k).projection for k in range(len(net))]

    def _read(self, net: Chain, x: Tensor, phase: Phase) -> Iterator[Tensor]:
        """Hₖ of the blocks that are read: computed, or cut from the rows of a cache."""
        if phase.cached:
            yield from (x,) if self.readout == "last" else x.split([block.n_features for block in net], dim=1)
            return
        for k, h in enumerate(frozen_features(net, x, len(net))):
            if self.readout == "all" or k == len(net) - 1:
                yield h

    def cost(self, shape: Shape, phase: Phase) -> Cost:
        s = shape
        forward = 0 if phase.cached else s.forward
        heads = s.output if self.readout == "last" else s.heads
        learns = phase.name != STATISTICS
        return Cost(
            learn=s.n * (forward + (2 * heads if learns else 0)),
            evaluation=s.n * (forward + heads),
            moments=tuple(self._moments(s, cached=phase.cached)) if learns else (),
        )

    def _moments(self, s: Shape, *, cached: bool) -> Iterator[Moment]:
        every = self.readout == "all"
        features = 0  # cached ones are the batch
        if not cached:
            for k, block in enumerate(s.blocks):
                yield 0, s.stored(k) if every else s.input(k) + s.n * block.rows
            features = s.stored(len(s.blocks) - 1) if every else s.n * s.blocks[-1].rows
        yield 0, features + 2 * s.n * s.classes
        yield (s.heads if every else s.output) + s.classes, features + s.n * s.classes


def _scores(net: Chain, heads: list[Tensor], read: list[Tensor]) -> Tensor:
    """G = Σₖ Hₖ Mₖᵀ + c."""
    *others, (h, head) = zip(read, heads, strict=True)
    total = F.linear(h, head, net.output.bias)
    for h, head in others:
        total = total + h @ head.t()
    return total
