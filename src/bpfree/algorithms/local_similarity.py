"""Local similarity (predsim): every block learns from its own class scores and from how its examples resemble each other.

Idea
----
Beside the local cross-entropy of Mono-Forward, a block is asked that the activities of two examples be similar where their
labels are equal and dissimilar where they differ. The second loss compares all pairs of a batch, so it couples the examples;
it wants classes to form clusters, which later blocks can still work with, where cross-entropy alone wants them separable at once.

Update
------
For block l with input A₋, activity A, features H (n, o), head M and similarity map U:

    G  = H Mᵀ ,  D = (1 − β) (softmax(G) − Y) / n
    T  = H Uᵀ                                T = H for similarity_map=none; maps: T = A ∗ U, a 3 × 3 convolution
    R  = correlation of the rows of T        (n, n); of maps: of the channels' standard deviations over positions
    S  = 1 for equal labels, −1/(K − 1) for different ones
    loss = (1 − β) cross-entropy(G) + β meanₙₘ (R − S)²
    dT = β ∂ meanₙₘ (R − S)² / ∂T            closed form in ``bpfree.numerics.similarity``
    dM = Dᵀ H ,  dU = dTᵀ H ,  dH = D M + dT U
    dW = (dA ⊙ φ′(Z))ᵀ A₋ ,  db = Σₙ dA ⊙ φ′(Z)

All are applied at once, taken with the old M and U; the next block receives A from before the update, detached and, with dropout,
multiplied by a mask, which the own losses of the block do not see.

Symbols
-------
    A₋, A   carry                       (n, *shape)     activity before and after the block
    H       block.features(A)           (n, o)
    M       slot.projection             (classes, o)    last block: the net's own output weight
    U       slot.similarity             (o, o), of maps (C, C, 3, 3)
    G       scores                      (n, classes)
    R, S    similarity, its target      (n, n)
    β       beta                        –               weight of similarity matching
    lr      lr                          –               learning rate
    wd      weight_decay                –               decoupled decay, on W, b, M and U
    –       similarity_map              –               learned or none
    –       dropout                     –               probability that an activity is masked on its way to the next block
    –       readout                     –               last or sum
    –       optimiser, momentum, maths  –               shared by all rules, see ``Algorithm``

Cost per batch
--------------
1 forward pass. With F = Σ nₗ nₗ₋₁ multiply-adds per example and heads P = K Σ nₗ: n (2 F + 3 P) as Mono-Forward, 2 n² Σ nₗ for
the similarities, and 3 n Σ nₗ² for learned maps (as much again as the net where layers are equally wide). Extra memory: the
heads, Σ nₗ² numbers of the maps, twice both in moments; activations of one block at a time.

Locality
--------
Gradient path 1 (one block, its head and its map). Block l may update as soon as its own activity is there; it reads no later
block. Examples of a batch are coupled: the result depends on what else is in the batch.

Deviations from the paper
-------------------------
1. ReLU and no BatchNorm, unless the net has it; constant learning rate unless the ruleset has a schedule.
2. The last block's head is the net's output weight (its bias stays 0), so that the trained net is a plain module; the paper
   trains a separate output layer by cross-entropy.
3. Heads read flattened maps; the paper pools large ones first.
4. Token blocks are ours: the mean over tokens.

Defaults
--------
    lr = 5e-4               paper (Adam)
    beta = 0.99             paper, section 3
    similarity_map = learned    paper
    readout = last          paper
    dropout = 0             ours; paper 0.1 to 0.3, by data set

Example
-------
>>> import bpfree
>>> data = bpfree.data.load("digits")
>>> net = bpfree.nets.mlp(data.in_shape, (64,), data.n_classes)
>>> rule = bpfree.algorithms.make("local-similarity", {"lr": 3e-3})
>>> result = bpfree.fit(rule, net, data, bpfree.Patience(5, max_passes=10))
>>> result.val_accuracy > 0.9
True

Known weakness
--------------
Needs batches with several examples of a class: with one example per batch, or labels that are all different, there is nothing
to match. The learned map costs as much as a layer.

References
----------
@inproceedings{nokland2019training,
  title     = {Training Neural Networks with Local Error Signals},
  author    = {N{\\o}kland, Arild and Eidnes, Lars Hiller},
  booktitle = {International Conference on Machine Learning},
  pages     = {4839--4850},
  year      = {2019}
}
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor, nn

from bpfree.algorithms._base import BlockGradients, LocalAlgorithm
from bpfree.algorithms._closed_form import block_forward, block_gradients, parameters_of
from bpfree.algorithms._cost import Cost, Moment, Shape, one_after_another
from bpfree.algorithms._declared import Phase, Traits
from bpfree.algorithms._fields import choice, number
from bpfree.algorithms._heads import READOUTS, head_scores, n_head_parameters, new_heads
from bpfree.algorithms._state import HeadSlot, Hyper, Optimiser, State
from bpfree.data import Batch
from bpfree.nets import Block, Chain
from bpfree.numerics.dropout import consistent_mask
from bpfree.numerics.handover import Handover, taken
from bpfree.numerics.local import class_scores
from bpfree.numerics.losses import loss_and_residual
from bpfree.numerics.similarity import label_similarity, similarity_loss_and_gradient, spread, spread_gradient

__all__ = ["LocalSimilarity"]


def _has_positions(block: Block) -> bool:
    """Whether the activity has positions over which channels could vary."""
    return len(block.out_shape) == 3 and math.prod(block.out_shape[1:]) > 1


def _map_shape(block: Block) -> tuple[int, ...]:
    """Of U: a 3 x 3 convolution for maps, a square matrix on the features otherwise."""
    if _has_positions(block):
        return (block.out_shape[0], block.out_shape[0], 3, 3)
    return (block.n_features, block.n_features)


class _Passed(NamedTuple):
    """What a block returns to the next: its activity, masked; the key of the batch; the index of the next block."""

    x: Tensor
    key: Tensor
    block: int


class SimilaritySlot(HeadSlot):
    """A head, the map before the similarities (None with similarity_map=none), and the hyper-parameters of the rule."""

    def __init__(self, hyper: Hyper, optimiser: Optimiser, head: nn.Parameter, similarity: nn.Parameter | None) -> None:
        super().__init__(optimiser, head)
        self.hyper = hyper
        self.similarity = similarity


@final
@dataclass(frozen=True, kw_only=True)
class LocalSimilarity(LocalAlgorithm[State[SimilaritySlot], SimilaritySlot, _Passed], BlockGradients[State[SimilaritySlot]]):
    """Local similarity; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "local-similarity"
    weighs_classes: ClassVar[bool] = True
    replays: ClassVar[bool] = True
    lr: float = number(5e-4, above=0.0)
    beta: float = number(0.99, low=0.0, high=1.0)
    similarity_map: str = choice("learned", ("learned", "none"))
    readout: str = choice("last", READOUTS, readout=True)
    dropout: float = number(0.0, low=0.0, high=0.9)

    def traits(self, net: Chain) -> Traits:
        maps = sum(math.prod(_map_shape(block)) for block in net) if self.similarity_map == "learned" else 0
        return Traits(
            forward_passes=1.0,
            gradient_path=1,
            local=True,
            autograd=self._uses_autograd(net),
            trains_output=True,
            extra_parameters=n_head_parameters(net) + maps,
            note="the loss couples the examples of a batch",
        )

    def _weaknesses(self, net: Chain, batch_size: int | None = None) -> Iterator[str]:
        if batch_size is not None and batch_size < 2 * net.n_classes:
            yield (
                f"batches of {batch_size} have fewer than two examples of each of {net.n_classes} classes on average, and little "
                f"to match; use --batch-size {2 * net.n_classes} or more"
            )

    def _needs_whole_batch(self, net: Chain) -> str:
        return "its loss compares every pair of examples of a batch"

    def init(self, net: Chain, generator: torch.Generator) -> State[SimilaritySlot]:
        net.reset_parameters(generator)
        hyper, slots = self._hyper(net), []
        for block, head in zip(net, new_heads(net, generator), strict=True):
            learned = [*parameters_of(block), head]
            similarity = None
            if self.similarity_map == "learned":
                similarity = nn.Parameter(torch.empty(_map_shape(block), dtype=net.dtype, device=net.device))
                nn.init.kaiming_uniform_(similarity, a=math.sqrt(5), generator=generator)
                learned.append(similarity)
            slots.append(SimilaritySlot(hyper, self._optimiser(learned), head, similarity))
        return State(hyper, slots)

    def enter(self, net: Chain, batch: Batch) -> _Passed:
        return _Passed(batch.x, batch.key, 0)

    def block_step(
        self, block: Block, slot: SimilaritySlot, carry: _Passed, y: Tensor, learn: bool, weight: Tensor | None = None
    ) -> tuple[_Passed, Tensor]:
        a, saved = block_forward(block, carry.x, self.maths)
        if learn:
            loss = self._update(block, slot, a, saved, y, weight)
        else:
            loss, _, _ = self._at_head(block, slot, a, y, weight)
        if self.dropout > 0:
            a = a * consistent_mask(carry.key, a.shape, carry.block, slot.hyper.dropout, a.dtype)
        return _Passed(a, carry.key, carry.block + 1), loss

    def last_step(
        self, block: Block, slot: SimilaritySlot, carry: _Passed, y: Tensor, weight: Tensor | None = None
    ) -> tuple[None, Tensor]:
        """As of any other block, but the activity is not read: it is freed once φ′ has been taken of it."""
        a, saved = block_forward(block, carry.x, self.maths)
        given = Handover(a)
        del a
        return None, self._update(block, slot, given, saved, y, weight)

    def _update(
        self, block: Block, slot: SimilaritySlot, a: Tensor | Handover, saved: Any, y: Tensor, weight: Tensor | None
    ) -> Tensor:
        """One step of block, head and map, from its activity; returns the loss (0-D)."""
        loss, delta, of_heads = self._at_head(block, slot, a, y, weight)
        del a
        gradients, _ = block_gradients(block, saved, delta, maths=self.maths)
        parameters = [*parameters_of(block), slot.projection]
        if slot.similarity is not None:
            parameters.append(slot.similarity)
        slot.optimiser.step(parameters, [*gradients, *of_heads])
        return loss

    def _at_head(
        self, block: Block, slot: SimilaritySlot, given: Tensor | Handover, y: Tensor, weight: Tensor | None
    ) -> tuple[Tensor, Handover, list[Tensor]]:
        """Loss (0-D), dA, and the gradients by head and map; all else is freed on return."""
        a, _ = taken(given)
        h = block.features(a)  # (n, o)
        g = class_scores(h, slot.projection)  # (n, c)
        beta = slot.hyper.beta
        similarity, delta, of_map = self._similarity(block, slot, a, h, y, g.shape[1], weight)
        loss, residual = loss_and_residual(g, y, weight)
        loss = (1 - beta) * loss + beta * similarity
        residual.mul_((1 - beta).to(g.dtype))
        of_heads = [residual.t() @ h]
        if of_map is not None:
            of_heads.append(of_map.mul_(beta.to(of_map.dtype)))
        scale = beta.to(a.dtype)
        delta = delta.mul_(scale) if delta.is_contiguous() else delta * scale  # tokens share a row
        return loss, Handover(delta.add_(block.features_gradient(residual @ slot.projection))), of_heads

    def _similarity(
        self, block: Block, slot: SimilaritySlot, a: Tensor, h: Tensor, y: Tensor, n_classes: int, weight: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The similarity loss, and its derivatives by the activity (in its shape) and by the map."""
        maps, u = _has_positions(block), slot.similarity
        dtype = slot.hyper.beta.dtype
        if not maps:  # arguments without names here, so that each is freed in the call
            loss, by_mapped = similarity_loss_and_gradient(
                h if u is None else h @ u.t(), label_similarity(y, n_classes, dtype), weight
            )
            if u is None:
                return loss, block.features_gradient(by_mapped), None
            return loss, block.features_gradient(by_mapped @ u), by_mapped.t() @ h
        mapped = a if u is None else nn.functional.conv2d(a, u, padding=1)
        loss, by_features = similarity_loss_and_gradient(spread(mapped), label_similarity(y, n_classes, dtype), weight)
        by_mapped = spread_gradient(mapped, by_features)
        if u is None:
            return loss, by_mapped, None
        del mapped
        by_source, by_map, _ = torch.ops.aten.convolution_backward(
            by_mapped, a, u, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, False]
        )
        return loss, by_source, by_map

    def scores(self, net: Chain, state: State[SimilaritySlot], x: Tensor, phase: Phase) -> Tensor:
        return head_scores(net, state, x, len(net) - 1, self.readout)

    def cost(self, shape: Shape, phase: Phase) -> Cost:
        s = shape
        evaluation = s.n * (s.forward + (s.output if self.readout == "last" else s.heads))
        if not s.dense:  # the products of maps are not written down
            return Cost(learn=None, evaluation=evaluation)
        maps = 3 * sum(b.n_features**2 for b in s.blocks) if self.similarity_map == "learned" else 0
        similarities = 2 * s.n * sum(b.n_features for b in s.blocks)
        return Cost(
            learn=s.n * (2 * s.forward + 3 * s.heads + similarities + maps),
            evaluation=evaluation,
            moments=tuple(one_after_another(s, (self._moments(s, k) for k in range(len(s.blocks))))),
        )

    def _moments(self, s: Shape, k: int) -> Iterator[Moment]:
        block = s.blocks[k]
        activity, alive = s.n * block.rows, s.input(k) + s.n * s.classes
        of_map = block.rows**2 if self.similarity_map == "learned" else 0
        yield 0, alive + 2 * s.n**2 + 3 * activity  # similarities of all pairs, and the target or their squares
        yield 0, alive + s.n**2 + 4 * activity
        yield of_map + s.classes * block.rows, alive + 3 * activity
        handed_on = 0 if k == len(s.blocks) - 1 else activity  # goes on to the next block
        yield block.parameters + s.classes * block.rows + of_map, s.input(k) + handed_on + activity
