"""Deep supervision: backpropagation through the same local heads as Mono-Forward; the control for locality.

Idea
----
Every block carries the head that Mono-Forward gives it, and the heads' cross-entropies are summed; but the gradient of the sum
goes through all blocks. Whatever separates it from Mono-Forward is the missing gradient between blocks, and nothing else: same
heads, same initial values, same loss. With ``readout=last`` it is backpropagation with auxiliary losses. With ``output=own`` the
net keeps backprop's output layer beside the heads of all blocks, which then are all auxiliary.

Update
------
With features Hₗ of block l's activity Aₗ, heads Mₗ, weights α₁ … α_{L−1} = aux_weight and α_L = 1:

    Gₗ  = Hₗ Mₗᵀ                     class scores of block l
    Dₗ  = αₗ (softmax(Gₗ) − Y) / n   weighted residual
    dMₗ = Dₗᵀ Hₗ
    dAₗ = Dₗ Mₗ + (dAₗ₊₁ ⊙ φ′(Zₗ₊₁)) Wₗ₊₁         the second term is what Mono-Forward leaves out; none for l = L
    dWₗ = (dAₗ ⊙ φ′(Zₗ))ᵀ Aₗ₋₁ ,  dbₗ = Σₙ dAₗ ⊙ φ′(Zₗ)

With ``output=own`` all weights α₁ … α_L are aux_weight, and the output V, c adds its own loss and term, as in backprop:

    G   = H_L Vᵀ + c                 class scores of the net
    D   = (softmax(G) − Y) / n
    dV  = Dᵀ H_L ,  dc = Σₙ D
    dA_L = D_L M_L + D V

All parameters are updated at the end of the sweep, in one optimiser call.

Symbols
-------
    Aₗ, Hₗ  features                    (n, o)          features of block l
    Mₗ      slot.projection             (classes, o)    last block, with output=head: the net's own output weight
    V, c    net.output                  (classes, o), (classes,)    with output=own
    Gₗ      scores                      (n, classes)
    Dₗ      residual                    (n, classes)
    α       aux_weight                  –               weight of the heads before the last, with output=own of all heads
    dAₗ     delta                       (n, *shape)     derivative of the loss by block l's activity
    lr      lr                          –               learning rate
    wd      weight_decay                –               decoupled decay, on all parameters
    –       readout                     –               last (with output=own: the output) or sum
    –       output                      –               head: the last head is the net's output; own: an output beside all heads
    –       optimiser, momentum, maths  –               shared by all rules, see ``Algorithm``

Cost per batch
--------------
1 forward pass and 1 backward sweep. With F multiply-adds per example forward through the blocks, F₁ those of the first and
heads P = K Σ oₗ: n (3 F − F₁ + 3 P), with ``output=own`` 3 K o_L more. Extra memory: the activities of all blocks, K Σ oₗ
parameters and twice that in moments.

Locality
--------
None: block l waits for all later blocks. Gradient path: all blocks and a head.

Deviations from the paper
-------------------------
1. Companion losses are the plain cross-entropies of linear heads (the paper: squared hinge losses that fade out), since the
   rule is here to be compared with Mono-Forward; so in the ladder of the authors' 2026 revision of arXiv 2509.19063.
2. With ``output=head`` the last head is the net's output weight; its bias is not used (stays 0), as in Mono-Forward. This is the
   revision's rung "MF-Joint", whose gradients, in spite of its name, cross all blocks: it is not joint Mono-Forward.
3. ``output=own`` is the revision's rung "BP-DS", less its head on the raw input, which no block feels and nothing reads. The loss
   that is returned is the weighted sum.

Defaults
--------
    lr = 2.2e-4         as backprop here
    weight_decay = 0    as backprop here
    aux_weight = 1      Mono-Forward's sum of losses; the revision tuned 0.171 (BP-DS) and 9.51 (MF-Joint) on CIFAR-10
    readout = last      the revision
    output = head       Mono-Forward's net

Example
-------
>>> import bpfree
>>> data = bpfree.data.load("digits")
>>> net = bpfree.nets.mlp(data.in_shape, (64, 64), data.n_classes)
>>> result = bpfree.fit(bpfree.algorithms.make("deep-supervision", {"lr": 3e-3}), net, data, bpfree.Patience(5, max_passes=10))
>>> result.val_accuracy > 0.9
True

Known weakness
--------------
All of backprop's (activation memory grows with depth, blocks wait for each other), and heads that the net may not need.

References
----------
@inproceedings{lee2015deeply,
  title     = {Deeply-Supervised Nets},
  author    = {Lee, Chen-Yu and Xie, Saining and Gallagher, Patrick and Zhang, Zhengyou and Tu, Zhuowen},
  booktitle = {Artificial Intelligence and Statistics},
  pages     = {562--570},
  year      = {2015}
}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from bpfree.algorithms._base import BlockGradients
from bpfree.algorithms._closed_form import block_forward, block_gradients, parameters_of
from bpfree.algorithms._cost import Cost, Moment, Shape
from bpfree.algorithms._declared import Phase, Traits
from bpfree.algorithms._fields import choice, number
from bpfree.algorithms._gather import without_autograd
from bpfree.algorithms._heads import READOUTS, head_scores, n_head_parameters, new_head, new_heads
from bpfree.algorithms._state import NetState, ProjectionSlot
from bpfree.data import Batch
from bpfree.nets import Chain
from bpfree.numerics.handover import Handover
from bpfree.numerics.local import class_scores
from bpfree.numerics.losses import loss_and_residual

__all__ = ["DeepSupervision"]


@final
@dataclass(frozen=True, kw_only=True)
class DeepSupervision(BlockGradients[NetState[ProjectionSlot]]):
    """Deep supervision; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "deep-supervision"
    weighs_classes: ClassVar[bool] = True
    replays: ClassVar[bool] = True
    lr: float = number(2.2e-4, above=0.0)
    aux_weight: float = number(1.0, low=0.0)
    readout: str = choice("last", READOUTS, readout=True)
    output: str = choice("head", ("head", "own"))

    def traits(self, net: Chain) -> Traits:
        return Traits(
            forward_passes=1.0,
            gradient_path=len(net) + 1,
            local=False,
            autograd=self._uses_autograd(net),
            trains_output=True,
            extra_parameters=n_head_parameters(net) + (net.output.weight.numel() if self.output == "own" else 0),
            note="backpropagation through Mono-Forward's heads"
            + (", beside an output of the net's own" if self.output == "own" else ""),
        )

    def init(self, net: Chain, generator: torch.Generator) -> NetState[ProjectionSlot]:
        net.reset_parameters(generator)
        heads = new_heads(net, generator)
        if self.output == "own":
            heads[-1] = new_head(net.n_classes, net[-1].n_features, net, generator)
        slots = [ProjectionSlot(head) for head in heads]
        return NetState(self._hyper(net), self._optimiser(self._parameters(net, slots)), slots)

    def _parameters(self, net: Chain, slots: Sequence[ProjectionSlot]) -> list[Tensor]:
        """In the order of the optimiser: blocks, heads, and an output of the net's own."""
        blocks = [parameter for block in net for parameter in parameters_of(block)]
        output = list(net.output.parameters()) if self.output == "own" else []
        return [*blocks, *(slot.projection for slot in slots), *output]

    @without_autograd
    def learn(self, net: Chain, state: NetState[ProjectionSlot], batch: Batch, phase: Phase) -> Tensor:
        x, activities, residuals, of_heads, losses = batch.x, [], [], [], []
        for k, block in enumerate(net):
            x, saved = block_forward(block, x, self.maths)
            activities.append(saved)
            auxiliary = k < len(net) - 1 or self.output == "own"
            loss, residual, of_head = self._at_head(block.features(x), state, k, batch, auxiliary=auxiliary)
            losses.append(loss)
            residuals.append(residual)
            of_heads.append(of_head)
            del saved, residual
        above: list[Tensor] = []  # the derivative from the block behind this one, or from an output of the net's own
        of_output: list[Tensor] = []
        if self.output == "own":
            loss, of_output, by_activity = _at_output(net, x, batch)
            losses = [(state.hyper.aux_weight * torch.stack(losses)).sum() + loss]
            above.append(by_activity)
            del by_activity
        del x
        of_blocks: list[Tensor] = []
        for k in reversed(range(len(net))):
            delta = net[k].features_gradient(residuals.pop() @ state.slot(k).projection)
            if above:  # tokens share a row of the features' derivative, which cannot be added to in place
                delta = delta.add_(above.pop()) if delta.is_contiguous() else delta + above.pop()
            given = Handover(delta)
            del delta
            of_block, by_input = block_gradients(net[k], activities.pop(), given, maths=self.maths, need_input=k > 0)
            of_blocks = [*of_block, *of_blocks]
            above = [] if by_input is None else [by_input]
            del by_input
        parameters = self._parameters(net, [state.slot(k) for k in range(len(net))])
        state.optimiser.step(parameters, [*of_blocks, *of_heads, *of_output])
        return torch.stack(losses)

    @staticmethod
    def _at_head(
        h: Tensor, state: NetState[ProjectionSlot], k: int, batch: Batch, *, auxiliary: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss (0-D), weighted residual (n, classes) and the gradient by the head of block ``k``."""
        g = class_scores(h, state.slot(k).projection)  # (n, c)
        loss, residual = loss_and_residual(g, batch.y, batch.weight)
        if auxiliary:
            residual.mul_(state.hyper.aux_weight.to(residual.dtype))
        return loss, residual, residual.t() @ h

    def scores(self, net: Chain, state: NetState[ProjectionSlot], x: Tensor, phase: Phase) -> Tensor:
        if self.output == "head":
            return head_scores(net, state, x, len(net) - 1, self.readout)
        of_heads = []
        for k, block in enumerate(net):
            x = block(x)
            if self.readout == "sum":
                of_heads.append(block.features(x) @ state.slot(k).projection.t())
        return torch.stack([*of_heads, net.output(net[-1].features(x))]).sum(0)

    def cost(self, shape: Shape, phase: Phase) -> Cost:
        s = shape
        beside = s.output if self.output == "own" else 0
        read = s.output if self.readout == "last" else s.heads + beside
        return Cost(
            learn=s.n * (3 * s.forward - s.first + 3 * (s.heads + beside)),
            evaluation=s.n * (s.forward + read),
            moments=tuple(self._moments(s)),
        )

    def _moments(self, s: Shape) -> Iterator[Moment]:
        beside = self.output == "own"
        n_blocks, gradients = len(s.blocks), s.heads + (s.output_parameters if beside else 0)
        for k in reversed(range(n_blocks)):
            from_above = s.n * s.blocks[k].rows if k < n_blocks - 1 or beside else 0
            yield gradients, s.at_delta(k) + from_above + (k + 1) * s.n * s.classes
            gradients += s.blocks[k].parameters
            yield gradients, s.at_product(k) + k * s.n * s.classes


def _at_output(net: Chain, a: Tensor, batch: Batch) -> tuple[Tensor, list[Tensor], Tensor]:
    """Loss (0-D) of an output of the net's own, the gradients by V and c, and its part of dA_L, from the last activity."""
    h = net[-1].features(a)
    g = class_scores(h, net.output.weight, net.output.bias)
    loss, residual = loss_and_residual(g, batch.y, batch.weight)
    return loss, [residual.t() @ h, residual.sum(0)], net[-1].features_gradient(residual @ net.output.weight)
