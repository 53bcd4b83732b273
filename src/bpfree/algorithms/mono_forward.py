"""Mono-Forward: every block learns from its own class scores, by local cross-entropy through a learned projection.

Idea
----
Each block carries a projection matrix M that turns its activity into class scores. The block's weights and its M follow the
gradient of the cross-entropy of those scores; the activity passes on detached, so no gradient crosses a block. One forward
pass, no negatives, no backward sweep.

Update
------
For block l with input A₋ (n, i), activity A = φ(Z), Z = A₋ Wᵀ + b, features H (n, o):

    G  = H Mᵀ                        class scores
    D  = (softmax(G) − Y) / n        residual of the mean cross-entropy
    dM = Dᵀ H
    dA = D M                         taken with the old M
    dW = (dA ⊙ φ′(Z))ᵀ A₋ ,  db = Σₙ dA ⊙ φ′(Z)

All are applied by the optimiser at once; the next block receives A from before the update. With ``chunk=c`` these lines are
computed for c rows of the batch at a time: D keeps its n, dM, dW and db are summed, and the rows of A take the place of those of
A₋ in memory. It is the same step but for the rounding of the sums.

Symbols
-------
    A₋, A   carry                       (n, *shape)     activity before and after the block
    H       block.features(A)           (n, o)          flattened activity (mean over tokens for token blocks)
    M       slot.projection             (classes, o)    last block: the net's own output weight
    G       scores                      (n, classes)
    D       residual                    (n, classes)
    lr      lr                          –               learning rate
    wd      weight_decay                –               decoupled decay, on W, b and M
    M₀      state.raw.projection        (classes, inputs)   of the raw input, with raw_projection only
    –       schedule                    –               joint or staged
    –       readout                     –               last, sum, or best-prefix: the block whose scores are best on validation
    –       state.prefix                (blocks,)       1 at that block, 0 elsewhere
    –       raw_projection              –               train M₀ as well, which no readout uses
    c       chunk                       –               rows of a batch that a block works on at once; 0: all
    –       optimiser, momentum, maths  –               shared by all rules, see ``Algorithm``

Cost per batch
--------------
Joint: 1 forward pass. With F = Σ nₗ nₗ₋₁ multiply-adds per example and head cost P = K Σ nₗ: n (2 F + 3 P), that is forward,
weight gradients, and three products with each M; the inter-block input gradients of backprop are what is saved. Staged: the
phase of block l costs n (F₁..ₗ + Fₗ + 3 K nₗ). Extra memory: K Σ nₗ parameters and twice that in moments; activations of one
block at a time, that is n (nₗ₋₁ + 2 nₗ) numbers; with chunks n max(nₗ₋₁, nₗ) + 2 c nₗ for the same multiply-adds. Chunks of few
rows multiply more slowly; use some hundreds. BatchNorm, which needs all rows at once, is refused with them.

Locality
--------
Gradient path 1 (one block and its head). Block l may update as soon as its own activity is there; it reads no later block.

Deviations from the paper
-------------------------
1. The last block's M is the net's output layer, so that the trained net is a plain module; its bias is not used (stays 0).
2. The output weight starts at N(0, 0.01²) as in backprop here; the other M at Kaiming uniform with a = √5 (released code of
   arXiv 2509.19063).
3. ``schedule=staged`` is not in the paper: it is how arXiv 2509.19063 trained (one block after another). Its phases here share
   one cap on passes and restore the best state of each phase; theirs kept the last weights.
4. M₀, a projection of the raw input, is not trained, unless ``raw_projection`` asks for it: on every batch (joint), or in a
   phase of its own before the others (staged, as arXiv 2509.19063 did, which makes L + 1 phases). It predicts nothing.

Defaults
--------
    lr = 4.7e-4         arXiv 2509.19063, authors' 2026 revision, MNIST 2x1000 (Adam, batch 128)
    weight_decay = 0    arXiv 2509.19063, published search
    schedule = joint    Algorithm 1 of the paper ("Layer-Wise Training for One Batch")
    readout = last      BP-style inference, used for all published numbers
    raw_projection = False    paper; true only reproduces arXiv 2509.19063
    chunk = 0           all rows at once, as in the paper; a choice of memory, never searched
    optimiser = adam    both papers

Example
-------
>>> import bpfree
>>> data = bpfree.data.load("digits")
>>> net = bpfree.nets.mlp(data.in_shape, (64,), data.n_classes)
>>> rule = bpfree.algorithms.MonoForward(lr=3e-3)
>>> result = bpfree.fit(rule, net, data, bpfree.Patience(5, max_passes=10))
>>> result.val_accuracy > 0.9
True

Known weakness
--------------
Early blocks are pressed to be linearly separable at once, so accuracy saturates with depth: compare readouts on validation.

References
----------
@article{gong2025monoforward,
  title  = {Mono-Forward: Backpropagation-Free Algorithm for Efficient Neural Network Training Harnessing Local Errors},
  author = {Gong, James and Li, Bruce and Abdulla, Waleed},
  journal = {arXiv preprint arXiv:2501.09238},
  year   = {2025}
}
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from bpfree.algorithms._base import BlockGradients, ChoosesReadout, LocalAlgorithm
from bpfree.algorithms._chunks import Chunk, check_chunks, chunks_of, first_rows, labels_of_chunks
from bpfree.algorithms._closed_form import block_activity, block_forward, block_gradients, parameters_of
from bpfree.algorithms._cost import Cost, Moment, Shape, one_after_another
from bpfree.algorithms._declared import Phase, Traits
from bpfree.algorithms._fields import choice, flag, natural, number
from bpfree.algorithms._heads import READOUTS, at_head, each_heads_scores, head_scores, n_head_parameters, new_head, new_heads
from bpfree.algorithms._state import HeadSlot, Hyper, State
from bpfree.data import Batch
from bpfree.nets import Block, Chain
from bpfree.numerics.handover import Handover, taken
from bpfree.numerics.local import add_product, class_scores
from bpfree.numerics.losses import loss_and_residual, softmax_residual

__all__ = ["BEST_PREFIX", "MonoForward"]

BEST_PREFIX = "best-prefix"
"""The readout that validation chooses after each pass: the net up to some block, and that block's scores."""

RAW_INPUT = "raw input"
"""Name of the phase in which M₀ learns alone."""


class MonoState(State[HeadSlot]):
    """The slots of the blocks, that of M₀ with raw_projection, and the chosen block with readout=best-prefix."""

    def __init__(self, hyper: Hyper, slots: list[HeadSlot], raw: HeadSlot | None, prefix: Tensor | None) -> None:
        super().__init__(hyper, slots)
        self.raw = raw
        self.prefix = None if prefix is None else nn.Parameter(prefix, requires_grad=False)


Carry = Tensor | list[Handover]
"""The activity (n, *shape), or its chunks, which are used up."""

DEEP = 6
"""Blocks from which a warning is given: digits, blocks of 48: class means of the first block separate 92 %, of the sixth 81 %."""


@final
@dataclass(frozen=True, kw_only=True)
class MonoForward(LocalAlgorithm[MonoState, HeadSlot, Carry], ChoosesReadout[MonoState], BlockGradients[MonoState]):
    """Mono-Forward; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "mono-forward"
    weighs_classes: ClassVar[bool] = True
    replays: ClassVar[bool] = True
    variants: ClassVar[tuple[str, ...]] = ("schedule=staged",)
    savings: ClassVar[tuple[str, ...]] = (
        "chunk=64",
        "chunk=32",
        "chunk=16",
        "schedule=staged",
        "schedule=staged:chunk=16",
    )
    lr: float = number(4.7e-4, above=0.0)
    schedule: str = choice("joint", ("joint", "staged"))
    readout: str = choice("last", (*READOUTS, BEST_PREFIX), readout=True)
    raw_projection: bool = flag(False)
    chunk: int = natural(0, low=0)

    def _check_net(self, net: Chain) -> None:
        super()._check_net(net)
        check_chunks(self.name, net, self.chunk)

    def traits(self, net: Chain) -> Traits:
        return Traits(
            forward_passes=1.0,
            gradient_path=1,
            local=True,
            autograd=self._uses_autograd(net),
            trains_output=True,
            extra_parameters=n_head_parameters(net)
            + (net.n_classes * math.prod(net.in_shape) if self.raw_projection else 0)
            + (len(net) if self.readout == BEST_PREFIX else 0),
            note="all blocks on every batch" if self.schedule == "joint" else "one block after another",
        )

    def _weaknesses(self, net: Chain, batch_size: int | None = None) -> Iterator[str]:
        if len(net) >= DEEP and self.readout == "last":
            yield (
                f"accuracy saturates with depth, so the last of {len(net)} blocks may not be the best; use readout={BEST_PREFIX} "
                "(chosen on validation), or fewer blocks"
            )

    def init(self, net: Chain, generator: torch.Generator) -> MonoState:
        net.reset_parameters(generator)
        slots = [
            HeadSlot(self._optimiser([*block.parameters(), head]), head)
            for block, head in zip(net, new_heads(net, generator), strict=True)
        ]
        raw = prefix = None
        if self.raw_projection:
            head = new_head(net.n_classes, math.prod(net.in_shape), net, generator)
            raw = HeadSlot(self._optimiser([head]), head)
        if self.readout == BEST_PREFIX:
            prefix = torch.zeros(len(net), dtype=net.dtype, device=net.device)
            prefix[-1] = 1
        return MonoState(self._hyper(net), slots, raw, prefix)

    def phases(self, net: Chain) -> tuple[Phase, ...]:
        if self.schedule == "joint":
            return super().phases(net)
        stages: list[tuple[tuple[int, ...], str]] = [((k,), f"block {k + 1} of {len(net)}") for k in range(len(net))]
        if self.raw_projection:
            stages.insert(0, ((), RAW_INPUT))
        return tuple(Phase(index, len(stages), learning, name) for index, (learning, name) in enumerate(stages))

    def prepare(self, net: Chain, state: MonoState, batch: Batch, phase: Phase) -> Batch:
        """M₀ learns here, if at all: it belongs to no block."""
        if state.raw is not None and (self.schedule == "joint" or phase.name == RAW_INPUT):
            slot, x = state.raw, batch.x.flatten(1)
            residual = softmax_residual(class_scores(x, slot.projection), batch.y, batch.weight)
            slot.optimiser.step([slot.projection], [residual.t() @ x])
        return batch

    def enter(self, net: Chain, batch: Batch) -> Carry:
        return chunks_of(batch.x, self.chunk) if 0 < self.chunk < len(batch.x) else batch.x

    def block_step(
        self, block: Block, slot: HeadSlot, carry: Carry, y: Tensor, learn: bool, weight: Tensor | None = None
    ) -> tuple[Carry, Tensor]:
        if isinstance(carry, list):
            return self._in_chunks(block, slot, carry, y, learn, weight)
        if not learn:  # frozen: running statistics, as at evaluation
            return block_activity(block, carry), carry.new_zeros(())
        a, saved = block_forward(block, carry, self.maths)
        return a, self._update(block, slot, a, saved, y, weight)

    def last_step(
        self, block: Block, slot: HeadSlot, carry: Carry, y: Tensor, weight: Tensor | None = None
    ) -> tuple[None, Tensor]:
        """As of any other block, but the activity is not read: it is freed once φ′ has been taken of it."""
        if isinstance(carry, list):
            return None, self._in_chunks(block, slot, carry, y, True, weight, hand_on=False)[1]
        a, saved = block_forward(block, carry, self.maths)
        given = Handover(a)
        del a
        return None, self._update(block, slot, given, saved, y, weight)

    def _in_chunks(
        self,
        block: Block,
        slot: HeadSlot,
        chunks: list[Handover],
        y: Tensor,
        learn: bool,
        weight: Tensor | None,
        hand_on: bool = True,
    ) -> tuple[list[Handover], Tensor]:
        """:meth:`block_step` with a chunk after the other, each of which is freed when the next block's is there."""
        if not learn:
            return [Handover(block_activity(block, chunk.take())) for chunk in chunks], y.new_zeros((), dtype=torch.float32)
        parameters = [*parameters_of(block), slot.projection]
        sums = [torch.zeros_like(parameter) for parameter in parameters]
        after, losses = [], []
        for chunk, labels in zip(chunks, labels_of_chunks(y, weight, self.chunk), strict=True):
            a, saved = block_forward(block, chunk.take(), self.maths)
            if hand_on:
                after.append(Handover(a))
            given = Handover(block.features(a))
            del a
            loss, _, delta = _at_head(block, slot, given, labels, sums[-1])
            block_gradients(block, saved, delta, maths=self.maths, into=sums[:-1])
            losses.append(loss)
        slot.optimiser.step(parameters, sums)
        return after, torch.stack(losses).sum()

    def _update(
        self, block: Block, slot: HeadSlot, activity: Tensor | Handover, saved: Any, y: Tensor, weight: Tensor | None
    ) -> Tensor:
        """One step of block and head, from its activity; returns the loss (0-D)."""
        loss, of_head, delta = at_head(block, activity, slot.projection, None, y, weight)
        del activity
        gradients, _ = block_gradients(block, saved, delta, maths=self.maths)
        slot.optimiser.step([*parameters_of(block), slot.projection], [*gradients, *of_head])
        return loss

    def scores(self, net: Chain, state: MonoState, x: Tensor, phase: Phase) -> Tensor:
        if state.raw is not None and phase.name == RAW_INPUT:
            return x.flatten(1) @ state.raw.projection.t()
        last = max(phase.learning)
        if self.readout != BEST_PREFIX or state.prefix is None:
            return head_scores(net, state, x, last, self.readout)
        return torch.einsum("k,knc->nc", state.prefix[: last + 1], each_heads_scores(net, state, x, last))

    def candidates(self, net: Chain, state: MonoState, x: Tensor, phase: Phase) -> Tensor:
        """The scores of every block so far with readout=best-prefix, else those of the one readout."""
        if self.readout != BEST_PREFIX or phase.name == RAW_INPUT:
            return self.scores(net, state, x, phase).unsqueeze(0)
        return each_heads_scores(net, state, x, max(phase.learning))

    def choose(self, state: MonoState, index: int) -> None:
        """Read out block ``index``."""
        if self.readout == BEST_PREFIX and state.prefix is not None:
            state.prefix.zero_()
            state.prefix[index] = 1

    def cost(self, shape: Shape, phase: Phase) -> Cost:
        s = shape
        trains_raw = self.raw_projection and (self.schedule == "joint" or not phase.learning)
        reached = s.blocks[: max(phase.learning, default=-1) + 1]
        learning = [s.blocks[k] for k in phase.learning]
        each = 2 * s.classes * s.inputs if trains_raw else 0
        each += sum(b.macs for b in reached) + sum(b.macs + 3 * s.classes * b.n_features for b in learning)
        heads = {"last": reached[-1:], "sum": reached}.get(self.readout)  # best-prefix: validation decides which are computed
        evaluation = None if heads is None else sum(b.macs for b in reached) + s.classes * sum(b.n_features for b in heads)
        if phase.name == RAW_INPUT:
            evaluation = s.classes * s.inputs
        before = s.classes * s.inputs if trains_raw else 0
        learned = one_after_another(s, (self._moments(s, phase, k) for k in phase.learning), before=before)
        frozen = (moment for k in range(min(phase.learning, default=0)) for moment in self._frozen_moments(s, k))
        return Cost(learn=s.n * each, evaluation=None if evaluation is None else s.n * evaluation, moments=(*frozen, *learned))

    def _moments(self, s: Shape, phase: Phase, k: int) -> Iterator[Moment]:
        block, last = s.blocks[k], k == max(phase.learning)  # else the activity goes on to the next block
        activity, head = s.n * block.rows, s.classes * block.n_features
        if 0 < self.chunk < s.n:
            each_in, each_out = s.input(k) // s.n, 0 if last else block.rows
            for first in first_rows(s.n, self.chunk):
                c = min(self.chunk, s.n - first)
                others = first * each_out + (s.n - first - c) * each_in
                yield block.parameters + head, others + c * (each_in + 2 * block.rows + s.classes)
            return
        yield head, s.input(k) + 2 * activity + s.n * s.classes
        yield block.parameters + head, s.input(k) + (0 if last else activity) + activity

    def _frozen_moments(self, s: Shape, k: int) -> Iterator[Moment]:
        each_in, each_out = s.input(k) // s.n, s.blocks[k].rows
        rows = self.chunk or s.n
        for first in first_rows(s.n, rows):
            yield 0, (s.n - first) * each_in + (first + min(rows, s.n - first)) * each_out


def _at_head(
    block: Block, slot: HeadSlot, features: Tensor | Handover, labels: Chunk, into: Tensor | None = None
) -> tuple[Tensor, Tensor, Handover]:
    """Loss (0-D), dM (added to ``into``, where that is given) and dA; scores and residual are freed on return."""
    h, _ = taken(features)  # (n, o)
    projection = slot.projection
    g = class_scores(h, projection)  # (n, c)
    loss, residual = loss_and_residual(g, labels.y, labels.weight)  # (n, c), already divided by n
    del g
    if labels.share is not None:
        loss, residual = loss * labels.share, residual.mul_(labels.share)
    of_head = add_product(residual.t(), h, into)
    return loss, of_head, Handover(block.features_gradient(residual.mm(projection)))
