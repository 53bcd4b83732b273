"""Random heads: every block learns from a classifier of its own that is drawn once and never learns.

Idea
----
Each block carries a random linear classifier on its features. The block follows the gradient of the cross-entropy of these
scores, and the classifier stays as it was drawn, so that every unit is tuned to the classes by chance and for ever. No gradient
crosses a block. The net's own output learns to read the last block.

Update
------
For block l with input A₋ (n, i), activity A = φ(Z), Z = A₋ Wᵀ + b, features H (n, o), and its fixed R:

    G  = H Rᵀ                        local class scores
    D  = (softmax(G) − Y) / n        residual of the mean cross-entropy
    dA = D R
    dW = (dA ⊙ φ′(Z))ᵀ A₋ ,  db = Σₙ dA ⊙ φ′(Z)

The next block receives A from before the update. With the features H_L of the last block, the output (V, c) takes one step of
softmax regression:

    D_out = (softmax(H_L Vᵀ + c) − Y) / n ,  dV = D_outᵀ H_L ,  dc = Σₙ D_out

Symbols
-------
    A₋, A   carry                       (n, *shape)     activity before and after the block
    H       block.features(A)           (n, o)
    R       slot.head                   (classes, o)    fixed, uniform, standard deviation head_scale / √o
    G       scores                      (n, classes)
    D       residual                    (n, classes)
    –       head_scale                  –               size of R: large ones make the local softmax sharp
    lr      lr                          –               learning rate
    wd      weight_decay                –               decoupled decay, on W, b, V and c
    –       optimiser, momentum, maths  –               shared by all rules, see ``Algorithm`` and ``BlockGradients``

Cost per batch
--------------
1 forward pass. With F = Σ nₗ nₗ₋₁ multiply-adds per example, O of the output and P = K Σ nₗ of the heads: n (2 F + 2 P + 2 O).
Extra memory: K Σ nₗ numbers for the heads; activations of one block at a time.

Locality
--------
Gradient path 1 (one block and its head). Block l may update as soon as its own activity is there; it reads no later block.

Deviations from the paper
-------------------------
1. Adam where the paper has SGD with momentum; the optimiser is a choice here, as for every rule.
2. The prediction is that of an output that learns. The paper predicts with the classifier of the top layer.
3. The backward matrix is R itself. The paper also studies one that shares only its signs.
4. Neither dropout nor augmentation.

Defaults
--------
    lr = 1e-3           ours, untuned
    head_scale = 1      ours: scores of the size of the features

Example
-------
>>> import bpfree
>>> from bpfree_random_heads import RandomHeads
>>> data = bpfree.data.load("digits")
>>> net = bpfree.nets.mlp(data.in_shape, (64,), data.n_classes)
>>> result = bpfree.fit(RandomHeads(lr=3e-3), net, data, bpfree.Patience(5, max_passes=10))
>>> result.val_accuracy > 0.9
True

Known weakness
--------------
A block can separate the classes only along the directions that its R happens to have; learned heads (mono-forward) do better
where blocks are narrow.

References
----------
@article{mostafa2018deep,
  title   = {Deep Supervised Learning Using Local Errors},
  author  = {Mostafa, Hesham and Ramesh, Vishwajith and Cauwenberghs, Gert},
  journal = {Frontiers in Neuroscience},
  volume  = {12},
  pages   = {608},
  year    = {2018},
  note    = {arXiv:1711.06756}
}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from bpfree.algorithms import (
    BlockGradients,
    Cost,
    LearningSlot,
    LocalAlgorithm,
    NetState,
    Optimiser,
    Phase,
    Shape,
    Traits,
    number,
)
from bpfree.algorithms.building import (
    block_activity,
    block_forward,
    block_gradients,
    class_scores,
    hyper_of,
    loss_and_residual,
    new_optimiser,
    parameters_of,
    random_feedback,
    uses_autograd,
)
from bpfree.data import Batch
from bpfree.nets import Block, Chain

__all__ = ["RandomHeads"]


class RandomSlot(LearningSlot):
    """A slot with the block's fixed classifier, a buffer (classes, o)."""

    def __init__(self, optimiser: Optimiser, head: Tensor) -> None:
        super().__init__(optimiser)
        self.head: Tensor
        self.register_buffer("head", head)


RandomState = NetState[RandomSlot]
"""The optimiser of the net's output, and a slot for each block."""


@final
@dataclass(frozen=True, kw_only=True)
class RandomHeads(LocalAlgorithm[RandomState, RandomSlot, Tensor], BlockGradients[RandomState]):
    """Local errors by fixed random classifiers; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "random-heads"
    weighs_classes: ClassVar[bool] = True
    replays: ClassVar[bool] = True
    search_space: ClassVar[Mapping[str, Any]] = {"head_scale": (0.1, 10.0)}
    lr: float = number(1e-3, above=0.0)
    head_scale: float = number(1.0, above=0.0)

    def traits(self, net: Chain) -> Traits:
        return Traits(
            forward_passes=1.0,
            gradient_path=1,
            local=True,
            autograd=uses_autograd(self, net),
            trains_output=True,
            extra_parameters=0,
            note="a fixed random classifier on each block",
        )

    def init(self, net: Chain, generator: torch.Generator) -> RandomState:
        net.reset_parameters(generator)
        slots = [RandomSlot(new_optimiser(self, list(block.parameters())), self._head(net, block, generator)) for block in net]
        return RandomState(hyper_of(self, net), new_optimiser(self, list(net.output.parameters())), slots)

    def _head(self, net: Chain, block: Block, generator: torch.Generator) -> Tensor:
        std = self.head_scale * block.n_features**-0.5
        return random_feedback((net.n_classes, block.n_features), "uniform", std, generator, like=net.output.weight)

    def enter(self, net: Chain, batch: Batch) -> Tensor:
        return batch.x

    def block_step(
        self, block: Block, slot: RandomSlot, carry: Tensor, y: Tensor, learn: bool, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if not learn:
            return block_activity(block, carry), carry.new_zeros(())
        a, saved = block_forward(block, carry, self.maths)
        loss, residual = loss_and_residual(class_scores(block.features(a), slot.head), y, weight)
        delta = block.features_gradient(residual @ slot.head)
        gradients, _ = block_gradients(block, saved, delta, maths=self.maths)
        slot.optimiser.step(parameters_of(block), gradients)
        return a, loss

    def leave(self, net: Chain, state: RandomState, batch: Batch, carry: Tensor) -> None:
        """The output learns here: it reads the last block and teaches none."""
        h = net[-1].features(carry)
        _, residual = loss_and_residual(class_scores(h, net.output.weight, net.output.bias), batch.y, batch.weight)
        state.optimiser.step(list(net.output.parameters()), [residual.t() @ h, residual.sum(0)])

    def scores(self, net: Chain, state: RandomState, x: Tensor, phase: Phase) -> Tensor:
        return net(x)

    def cost(self, shape: Shape, phase: Phase) -> Cost:
        s = shape
        return Cost(learn=s.n * 2 * (s.forward + s.heads + s.output), evaluation=s.n * (s.forward + s.output))
