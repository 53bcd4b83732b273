"""Blockwise training: gradients cross a given number of blocks and stop; the dial from Mono-Forward to backprop.

Idea
----
The blocks form groups of ``reach`` consecutive ones. At the border of each group a head turns the activity into class scores; the
gradient of their cross-entropy goes through the blocks of the group, and the activity passes on detached. With ``reach=1`` this
is joint Mono-Forward. With ``reach`` of at least the depth there is one group, whose head is the net's output: backprop whose
output has no bias. In between it is decoupled greedy learning.

Update
------
For the group of blocks a … b with input A_{a−1}, features H (n, o) of block b, head M:

    G    = H Mᵀ                      class scores at the border
    D    = (softmax(G) − Y) / n      residual of the mean cross-entropy
    dM   = Dᵀ H ,  dA_b = D M        taken with the old M
    dWₗ = (dAₗ ⊙ φ′(Zₗ))ᵀ Aₗ₋₁ ,  dbₗ = Σₙ dAₗ ⊙ φ′(Zₗ) ,  dAₗ₋₁ = (dAₗ ⊙ φ′(Zₗ)) Wₗ      l = b … a

dA_{a−1} is never computed. The parameters of a group and its head are updated in one optimiser call at the end of its sweep; the
next group receives A_b from before the update. Groups are counted from the input; the last one may be shorter.

Symbols
-------
    Aₗ      carry                       (n, *shape)     activity of block l
    H       features                    (n, o)          of the last block of a group
    M       slot.projection             (classes, o)    of that block; of the last block: the net's own output weight
    G       scores                      (n, classes)
    D       residual                    (n, classes)
    dAₗ     delta                       (n, *shape)     derivative of the group's loss by block l's activity
    lr      lr                          –               learning rate
    wd      weight_decay                –               decoupled decay, on all parameters
    –       reach                       –               blocks in a group
    –       optimiser, momentum, maths  –               shared by all rules, see ``Algorithm``

Cost per batch
--------------
1 forward pass, and 1 backward sweep in each group. With F multiply-adds per example forward through the blocks, S those of the
blocks that begin a group, and heads P = K Σ o over the borders: n (3 F − S + 3 P). Extra memory: the heads before the last and
twice that in moments; activities and gradients of one group at a time, whatever the depth.

Locality
--------
A group waits for nothing but its own activities and reads no later group; within a group every block waits for the ones behind
it. Gradient path: the blocks of a group and its head. With ``reach=1`` no block reads a later one.

Deviations from the paper
-------------------------
1. The heads are linear and have no bias, as in Mono-Forward; the paper's auxiliary nets have up to three layers.
2. The last head is the net's output weight, drawn from N(0, 0.01²) as in backprop here; its bias stays 0. The others are Kaiming
   uniform with a = √5, as in Mono-Forward here.
3. All groups learn on every batch; the paper also has an asynchronous form with a buffer of activities.

Defaults
--------
    lr = 4.7e-4         as Mono-Forward here
    reach = 2           ours, untuned: the smallest that is not Mono-Forward

Example
-------
>>> import bpfree
>>> data = bpfree.data.load("digits")
>>> net = bpfree.nets.mlp(data.in_shape, (64, 64, 64), data.n_classes)
>>> rule = bpfree.algorithms.make("blockwise", {"reach": 2, "lr": 3e-3})
>>> result = bpfree.fit(rule, net, data, bpfree.Patience(5, max_passes=10))
>>> result.val_accuracy > 0.9
True

Known weakness
--------------
Early groups are pressed to be linearly separable at their border, less so with a longer reach, which costs memory and waiting
in proportion.

References
----------
@inproceedings{belilovsky2020decoupled,
  title     = {Decoupled Greedy Learning of {CNNs}},
  author    = {Belilovsky, Eugene and Eickenberg, Michael and Oyallon, Edouard},
  booktitle = {International Conference on Machine Learning},
  year      = {2020},
  note      = {arXiv:1901.08164}
}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from bpfree.algorithms._base import BlockGradients
from bpfree.algorithms._closed_form import block_forward, block_gradients, parameters_of
from bpfree.algorithms._cost import Cost, Moment, Shape, one_after_another
from bpfree.algorithms._declared import Phase, Traits
from bpfree.algorithms._fields import natural, number
from bpfree.algorithms._gather import gathered
from bpfree.algorithms._heads import at_head, new_head, output_head
from bpfree.algorithms._stages import Stages, in_turn
from bpfree.algorithms._state import HeadSlot, Slot, State
from bpfree.data import Batch
from bpfree.nets import Chain
from bpfree.numerics.handover import Handover

__all__ = ["Blockwise"]


@final
@dataclass(frozen=True, kw_only=True)
class Blockwise(BlockGradients[State[Slot]]):
    """Blockwise training; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "blockwise"
    weighs_classes: ClassVar[bool] = True
    replays: ClassVar[bool] = True
    variants: ClassVar[tuple[str, ...]] = ("reach=4",)
    savings: ClassVar[tuple[str, ...]] = ("reach=2", "reach=1")
    lr: float = number(4.7e-4, above=0.0)
    reach: int = natural(2)

    def traits(self, net: Chain) -> Traits:
        groups = self._groups(len(net))
        longest = len(groups[0])
        return Traits(
            forward_passes=1.0,
            gradient_path=1 if longest == 1 else longest + 1,
            local=longest == 1,
            autograd=self._uses_autograd(net),
            trains_output=True,
            extra_parameters=sum(net.n_classes * net[group[-1]].n_features for group in groups[:-1]),
            note=f"{len(groups)} groups of at most {longest} blocks; no gradient crosses their borders",
        )

    def _groups(self, n_blocks: int) -> list[range]:
        """Indices of the blocks of each group, in order."""
        return [range(first, min(first + self.reach, n_blocks)) for first in range(0, n_blocks, self.reach)]

    def init(self, net: Chain, generator: torch.Generator) -> State[Slot]:
        """A block at a border has the head and the optimiser of its group; the slots of the others are empty."""
        net.reset_parameters(generator)
        slots: list[Slot] = [Slot() for _ in net]
        for group in self._groups(len(net)):
            last = group[-1]
            head = output_head(net) if last == len(net) - 1 else new_head(net.n_classes, net[last].n_features, net, generator)
            slots[last] = HeadSlot(self._optimiser([*_parameters(net, group), head]), head)
        return State(self._hyper(net), slots)

    @gathered
    def learn(self, net: Chain, state: State[Slot], batch: Batch, phase: Phase) -> Tensor:
        """Update all groups; returns a loss for each of them."""
        return in_turn(self._stages(net, phase), net, state, batch)

    def _learn_group(
        self, net: Chain, group: range, state: State[Slot], carry: Tensor, batch: Batch
    ) -> tuple[Tensor | None, Tensor]:
        """One step of a group from its input; what the next group receives (None after the last), and the loss (0-D)."""
        slot = state.slot(group[-1])
        assert isinstance(slot, HeadSlot)  # a border has one
        x, activities = carry, []
        for k in group:
            x, saved = block_forward(net[k], x, self.maths)
            activities.append(saved)
            del saved
        loss, of_head, delta = at_head(net[group[-1]], x, slot.projection, None, batch.y, batch.weight)
        after = None if group[-1] == len(net) - 1 else x
        del x
        gradients: list[Tensor] = []
        for k in reversed(group):
            need_input = k > group[0]
            of_block, by_input = block_gradients(net[k], activities.pop(), delta, maths=self.maths, need_input=need_input)
            gradients = [*of_block, *gradients]
            if by_input is not None:
                delta = Handover(by_input)
            del by_input
        slot.optimiser.step([*_parameters(net, group), slot.projection], [*gradients, *of_head])
        return after, loss

    def _stages(self, net: Chain, phase: Phase) -> Stages[Tensor]:
        return _GroupStages(tuple(self._groups(len(net))), self)

    def scores(self, net: Chain, state: State[Slot], x: Tensor, phase: Phase) -> Tensor:
        for block in net:
            x = block(x)
        return net[-1].features(x) @ net.output.weight.t()

    def cost(self, shape: Shape, phase: Phase) -> Cost:
        s, groups = shape, self._groups(len(shape.blocks))
        firsts = sum(s.blocks[group[0]].macs for group in groups)
        heads = s.classes * sum(s.blocks[group[-1]].n_features for group in groups)
        return Cost(
            learn=s.n * (3 * s.forward - firsts + 3 * heads),
            evaluation=s.n * (s.forward + s.output),
            moments=tuple(one_after_another(s, (self._moments(s, group) for group in groups))),
        )

    @staticmethod
    def _moments(s: Shape, group: range) -> Iterator[Moment]:
        """As backprop's within the group; its input stays alive, and its last activity unless it is the net's."""
        last = group[-1]
        gradients = s.classes * s.blocks[last].n_features
        handed_on = s.n * s.blocks[last].rows if last < len(s.blocks) - 1 else 0
        before = s.input(group[0])
        yield gradients, before + s.n * (sum(s.blocks[k].rows for k in group) + s.blocks[last].rows + s.classes)
        for k in reversed(group):
            stored = s.n * sum(s.blocks[j].rows for j in range(group[0], k))
            activity = delta = s.n * s.blocks[k].rows
            yield gradients, before + stored + delta + activity + (handed_on if k < last else 0)
            gradients += s.blocks[k].parameters
            yield gradients, before + stored + delta + handed_on + (s.input(k) if k > group[0] else 0)


@dataclass(frozen=True)
class _GroupStages(Stages[Tensor]):
    """The groups, one a stage."""

    rule: Blockwise

    def enter(self, net: Chain, state: State[Any], batch: Batch) -> Tensor:
        return batch.x

    def run(self, index: int, net: Chain, state: State[Any], batch: Batch, carry: Tensor) -> tuple[Tensor | None, Tensor]:
        return self.rule._learn_group(net, self.blocks[index], state, carry, batch)


def _parameters(net: Chain, group: range) -> list[Tensor]:
    return [parameter for k in group for parameter in parameters_of(net[k])]
