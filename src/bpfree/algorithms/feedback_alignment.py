"""Feedback alignment: backpropagation through fixed random matrices in the place of the transposed weights.

Idea
----
The derivative that a block passes back goes through a random matrix that never changes, so no block reads the weights of the
next. Learning still works because the forward weights turn towards the feedback until what it carries is useful.

Update
------
With features A_L of the last of L blocks, output weights V, bias c, and feedback Bₗ for the blocks 2 … L and B_V for the output:

    G  = A_L Vᵀ + c                  class scores
    D  = (softmax(G) − Y) / n        residual of the mean cross-entropy
    dV = Dᵀ A_L ,  dc = Σₙ D ,  dA_L = D B_V
    dZₗ = dAₗ ⊙ φ′(Zₗ) ,  dWₗ = dZₗᵀ Aₗ₋₁ ,  dbₗ = Σₙ dZₗ ,  dAₗ₋₁ = dZₗ Bₗ      l = L … 1

All parameters are updated at the end of the sweep, in one optimiser call. With B = W and B_V = V this is backpropagation. A
convolution's Bₗ is a kernel in the place of its own; pooling and BatchNorm are passed as in backpropagation.

Symbols
-------
    Aₗ      activity                    (n, *shape)
    D       residual                    (n, classes)
    Bₗ      state.feedback_l            (o, i)          fixed, in the shape of Wₗ; (o, c, k, k)
    B_V     state.feedback_L            (classes, o)    fixed, in the shape of V
    lr      lr                          –               learning rate
    wd      weight_decay                –               decoupled decay, on all parameters
    –       feedback                    –               distribution of B: uniform, normal or orthogonal
    –       feedback_scale              –               standard deviation of B times √o (of a kernel: √(o k²))
    –       optimiser, momentum, maths  –               shared by all rules, see ``Algorithm``

Cost per batch
--------------
That of backprop: 1 forward pass and 1 sweep, n (3 F − F₁) multiply-adds. Extra memory: one matrix for each weight but the
first, and the activities of all blocks.

Locality
--------
None: block l waits for all later blocks. Gradient path: all blocks and the output, as the sweep multiplies by every φ′.

Deviations from the paper
-------------------------
1. The paper's nets have one or two hidden blocks, sigmoid or tanh units and plain SGD; any depth, unit and Adam here.
2. In convolutions B has the kernel's shape and is shared over the positions, as W is; the paper has none.

Defaults
--------
    lr = 3e-4               ours, MNIST, mlp:2x1000
    feedback = uniform      paper, methods: uniform, of a width that was searched
    feedback_scale = 1      ours: the sweep then keeps the size of a derivative in a linear net
    optimiser = adam        ours, as for all rules

Example
-------
>>> import bpfree
>>> data = bpfree.data.load("digits")
>>> net = bpfree.nets.mlp(data.in_shape, (64,), data.n_classes)
>>> rule = bpfree.algorithms.FeedbackAlignment(lr=3e-3)
>>> result = bpfree.fit(rule, net, data, bpfree.Patience(5, max_passes=10))
>>> result.val_accuracy > 0.9
True

Known weakness
--------------
Falls far behind backprop in deep nets and in convolutional ones, where the weights cannot turn far enough (Bartunov et al. 2018).

References
----------
@article{lillicrap2016random,
  title  = {Random synaptic feedback weights support error backpropagation for deep learning},
  author = {Lillicrap, Timothy P. and Cownden, Daniel and Tweed, Douglas B. and Akerman, Colin J.},
  journal = {Nature Communications},
  volume = {7},
  pages  = {13276},
  year   = {2016}
}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from bpfree.algorithms._fields import choice, number
from bpfree.algorithms._state import Hyper, NetState, Optimiser, Slot
from bpfree.algorithms._sweep import SweptAlgorithm, later_weight, n_positions
from bpfree.algorithms._weak import has_convolutions
from bpfree.data import Batch
from bpfree.nets import Chain
from bpfree.numerics.feedback import DISTRIBUTIONS, random_feedback

__all__ = ["FeedbackAlignment"]


class FeedbackState(NetState[Slot]):
    """One optimiser over the net, and the fixed matrices: ``feedback_1`` … of the blocks, the last of the output."""

    def __init__(self, hyper: Hyper, optimiser: Optimiser, feedback: list[Tensor]) -> None:
        super().__init__(hyper, optimiser)
        self.n_feedback = len(feedback)
        for k, matrix in enumerate(feedback, start=1):
            self.register_buffer(f"feedback_{k}", matrix)

    def feedback(self) -> list[Tensor]:
        """From the second block's to the output's."""
        return [getattr(self, f"feedback_{k}") for k in range(1, self.n_feedback + 1)]


DEEP = 6
"""Blocks from which a warning is given: digits, blocks of 64, 8 passes: 93 % on 3, 78 % on 6, 31 % on 10."""


@final
@dataclass(frozen=True, kw_only=True)
class FeedbackAlignment(SweptAlgorithm[FeedbackState]):
    """Feedback alignment; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "feedback-alignment"
    replays: ClassVar[bool] = True
    note: ClassVar[str] = "a backward sweep through fixed random matrices"
    lr: float = number(3e-4, above=0.0)
    feedback: str = choice("uniform", DISTRIBUTIONS)
    feedback_scale: float = number(1.0, above=0.0)

    def _weaknesses(self, net: Chain, batch_size: int | None = None) -> Iterator[str]:
        cure = "use sign-symmetry, whose feedback follows the signs of the weights, or direct-feedback-alignment on dense nets"
        if has_convolutions(net):
            yield f"falls far behind backprop on convolutions, whose weights cannot turn far enough; {cure}"
        elif len(net) >= DEEP:
            yield f"falls far behind backprop from {DEEP} blocks on (this net has {len(net)}); use fewer blocks, or {cure[4:]}"

    def init(self, net: Chain, generator: torch.Generator) -> FeedbackState:
        net.reset_parameters(generator)
        feedback = [self._draw(later_weight(net, k), generator) for k in range(1, len(net) + 1)]
        return FeedbackState(self._hyper(net), self._optimiser(list(net.parameters())), feedback)

    def _draw(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        std = self.feedback_scale * (weight.shape[0] * n_positions(weight)) ** -0.5
        rows, columns = weight.flatten(1).shape
        return random_feedback((rows, columns), self.feedback, std, generator, like=weight).reshape(weight.shape)

    def matrix(self, net: Chain, state: FeedbackState, batch: Batch, k: int) -> Tensor:
        return state.feedback()[k - 1]
