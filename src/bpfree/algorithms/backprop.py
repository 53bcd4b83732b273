"""Backpropagation: the baseline, with every trick that the other rules get.

Idea
----
The gradient of the cross-entropy of the net's output by all parameters, by the chain rule through all blocks. Given here in
closed form, block by block, exactly as the local rules are, so that no rule wins by a lighter implementation; autograd inside
blocks that have no closed form.

Update
------
With features H of the last block's activity A_L, output weights V, bias c:

    G  = H Vᵀ + c                    class scores
    D  = (softmax(G) − Y) / n        residual of the mean cross-entropy
    dV = Dᵀ H ,  dc = Σₙ D ,  dA_L = D V
    dWₗ = (dAₗ ⊙ φ′(Zₗ))ᵀ Aₗ₋₁ ,  dbₗ = Σₙ dAₗ ⊙ φ′(Zₗ) ,  dAₗ₋₁ = (dAₗ ⊙ φ′(Zₗ)) Wₗ      l = L … 1

dA₀ is never computed. All parameters are updated at the end of the sweep, in one optimiser call.

Symbols
-------
    A_L, H  features                    (n, o)          features of the last block
    V, c    net.output                  (classes, o), (classes,)
    G       scores                      (n, classes)
    D       residual                    (n, classes)
    dAₗ     delta                       (n, *shape)     derivative of the loss by block l's activity
    lr      lr                          –               learning rate
    wd      weight_decay                –               decoupled decay, on all parameters
    –       optimiser, momentum, maths  –               shared by all rules, see ``Algorithm``

Cost per batch
--------------
1 forward pass and 1 backward sweep. With F multiply-adds per example forward (output included) and F₁ those of the first block:
n (3 F − F₁). Extra memory: the activities of all blocks.

Locality
--------
None: block l waits for all later blocks. Gradient path: all blocks and the output.

Deviations from the paper
-------------------------
1. None in the mathematics: closed form and autograd are tested equal to 1e-9 in float64.
2. Weight decay is decoupled (AdamW), as in arXiv 2509.19063, and acts on biases as well.

Defaults
--------
    lr = 2.2e-4         arXiv 2509.19063, authors' 2026 revision, MNIST 2x1000 (AdamW, batch 128)
    weight_decay = 0    ours: the revision's 3.4e-4 was tuned for one net
    optimiser = adam    arXiv 2509.19063

Example
-------
>>> import bpfree
>>> data = bpfree.data.load("digits")
>>> net = bpfree.nets.mlp(data.in_shape, (64,), data.n_classes)
>>> result = bpfree.fit(bpfree.algorithms.Backprop(lr=3e-3), net, data, bpfree.Patience(5, max_passes=10))
>>> result.val_accuracy > 0.9
True

Known weakness
--------------
Activation memory grows with depth; blocks cannot be updated in parallel.

References
----------
@article{rumelhart1986backprop,
  title  = {Learning representations by back-propagating errors},
  author = {Rumelhart, David E. and Hinton, Geoffrey E. and Williams, Ronald J.},
  journal = {Nature},
  volume = {323},
  pages  = {533--536},
  year   = {1986}
}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from bpfree.algorithms._base import Algorithm, Phase, Traits
from bpfree.algorithms._closed_form import block_forward, block_gradients
from bpfree.algorithms._fields import number
from bpfree.algorithms._state import State
from bpfree.data import Batch
from bpfree.nets import Chain
from bpfree.numerics.losses import cross_entropy, softmax_residual

__all__ = ["Backprop"]


@final
@dataclass(frozen=True, kw_only=True)
class Backprop(Algorithm):
    """Backpropagation; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "backprop"
    lr: float = number(2.2e-4, above=0.0)

    def traits(self, net: Chain) -> Traits:
        return Traits(
            forward_passes=1.0,
            gradient_path=len(net) + 1,
            local=False,
            autograd=self.maths_used(net) != "closed",
            trains_output=True,
            extra_parameters=0,
        )

    def init(self, net: Chain, generator: torch.Generator) -> State:
        net.reset_parameters(generator)
        return State(optimiser=self._optimiser(list(net.parameters())))

    @torch.no_grad()
    def step(self, net: Chain, state: State, batch: Batch, phase: Phase) -> Tensor:
        x, kept = batch.x, []
        for block in net:
            x, saved = block_forward(block, x, self.maths)
            kept.append(saved)
        h = net[-1].features(x)
        g = net.output(h)
        residual = softmax_residual(g, batch.y)
        delta = net[-1].features_gradient(residual @ net.output.weight)
        gradients = [residual.t() @ h, residual.sum(0)]
        for k in reversed(range(len(net))):
            of_block, by_input = block_gradients(net[k], kept.pop(), delta, maths=self.maths, need_input=k > 0)
            gradients = [*of_block, *gradients]
            if by_input is not None:
                delta = by_input
        state.optimiser.step(list(net.parameters()), gradients)
        return cross_entropy(g, batch.y).reshape(1)

    def scores(self, net: Chain, state: State, x: Tensor, phase: Phase) -> Tensor:
        return net(x)
