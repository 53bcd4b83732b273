"""Sign-symmetry: feedback that shares the signs of the weights, but not their magnitudes.

Idea
----
Backpropagation needs the exact weights on the way back; here only one bit of each is transported. The magnitudes are all equal
(uSF), drawn again for each batch (brSF), or drawn once and kept (frSF). That is enough to come close to backpropagation where
feedback alignment fails.

Update
------
The sweep of feedback alignment, with feedback for the blocks 2 … L and the output (W, o by i, stands for each in turn):

    B  = m ⊙ sign(W)
    uSF:  m = s √(2 / (i + o))                    for all entries
    brSF: m = s √(2 / (i + o)) |N|                N standard normal, from the stream of the batch
    frSF: m = s √(2 / (i + o)) |N|                N drawn once
    D  = (softmax(G) − Y) / n ,  dV = Dᵀ A_L ,  dc = Σₙ D ,  dA_L = D B_V
    dZₗ = dAₗ ⊙ φ′(Zₗ) ,  dWₗ = dZₗᵀ Aₗ₋₁ ,  dbₗ = Σₙ dZₗ ,  dAₗ₋₁ = dZₗ Bₗ      l = L … 1

Signs are those of the current weights. All parameters are updated at the end of the sweep. Of a convolution with c channels
into o by k x k, i = c k² and o k² stand for i and o in m; its B is a kernel, and pooling and BatchNorm are passed as in
backpropagation.

Symbols
-------
    Aₗ      activity                    (n, *shape)
    G, D    scores, residual            (n, classes)
    B       feedback                    (o, i)          made again for each batch; a kernel's (o, c, k, k)
    m       state.magnitude_l (frSF)    as B
    s       feedback_scale              –
    lr      lr                          –               learning rate
    wd      weight_decay                –               decoupled decay, on all parameters
    –       variant                     –               usf, brsf or frsf
    –       optimiser, momentum, maths  –               shared by all rules, see ``Algorithm``

Cost per batch
--------------
That of backprop: 1 forward pass and 1 sweep, n (3 F − F₁) multiply-adds, and one pass over the weights for their signs
(brSF draws as many random numbers). Extra memory: the activities of all blocks, one feedback matrix at a time.

Locality
--------
None: block l waits for all later blocks. Gradient path: all blocks and the output.

Deviations from the paper
-------------------------
1. The factor √(2 / (i + o)) is that of Glorot's initialisation, so that the sweep keeps sizes; the paper scales to its own.
2. The paper's nets are residual; here dense blocks and plain convolutions.

Defaults
--------
    lr = 3e-4               ours, MNIST, mlp:2x1000
    variant = usf           paper: the best of the three
    feedback_scale = 1      ours
    optimiser = adam        ours, as for all rules

Example
-------
>>> import bpfree
>>> data = bpfree.data.load("digits")
>>> net = bpfree.nets.mlp(data.in_shape, (64,), data.n_classes)
>>> rule = bpfree.algorithms.SignSymmetry(lr=3e-3)
>>> result = bpfree.fit(rule, net, data, bpfree.Patience(5, max_passes=10))
>>> result.val_accuracy > 0.9
True

Known weakness
--------------
A bit of every weight is still transported, and the sweep is as long as backprop's: neither memory nor time is saved.

References
----------
@article{moskovitz2018feedback,
  title  = {Feedback alignment in deep convolutional networks},
  author = {Moskovitz, Theodore H. and Litwin-Kumar, Ashok and Abbott, L. F.},
  journal = {arXiv preprint arXiv:1812.06488},
  year   = {2018}
}
@inproceedings{liao2016how,
  title  = {How Important Is Weight Symmetry in Backpropagation?},
  author = {Liao, Qianli and Leibo, Joel Z. and Poggio, Tomaso},
  booktitle = {AAAI},
  year   = {2016}
}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from bpfree.algorithms._fields import choice, number
from bpfree.algorithms._state import Hyper, NetState, Optimiser, Slot
from bpfree.algorithms._sweep import SweptAlgorithm, later_weight, n_positions
from bpfree.data import Batch
from bpfree.nets import Chain
from bpfree.numerics.feedback import random_feedback
from bpfree.numerics.streams import normal

__all__ = ["SignSymmetry"]


class SignState(NetState[Slot]):
    """One optimiser over the net; for frSF the fixed magnitudes."""

    def __init__(self, hyper: Hyper, optimiser: Optimiser, magnitudes: list[Tensor]) -> None:
        super().__init__(hyper, optimiser)
        self.n_magnitudes = len(magnitudes)
        for k, magnitude in enumerate(magnitudes, start=1):
            self.register_buffer(f"magnitude_{k}", magnitude)

    def magnitudes(self) -> list[Tensor]:
        """From the second block's to the output's; none but for frSF."""
        return [getattr(self, f"magnitude_{k}") for k in range(1, self.n_magnitudes + 1)]


@final
@dataclass(frozen=True, kw_only=True)
class SignSymmetry(SweptAlgorithm[SignState]):
    """Sign-symmetric feedback; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "sign-symmetry"
    replays: ClassVar[bool] = True
    note: ClassVar[str] = "a backward sweep through the signs of the weights"
    lr: float = number(3e-4, above=0.0)
    variant: str = choice("usf", ("usf", "brsf", "frsf"))
    feedback_scale: float = number(1.0, above=0.0)

    def init(self, net: Chain, generator: torch.Generator) -> SignState:
        net.reset_parameters(generator)
        fixed = [later_weight(net, k) for k in range(1, len(net) + 1)] if self.variant == "frsf" else []
        magnitudes = [self._magnitude(weight, generator) for weight in fixed]
        return SignState(self._hyper(net), self._optimiser(list(net.parameters())), magnitudes)

    @staticmethod
    def _magnitude(weight: Tensor, generator: torch.Generator) -> Tensor:
        rows, columns = weight.flatten(1).shape
        return random_feedback((rows, columns), "normal", 1.0, generator, like=weight).abs_().reshape(weight.shape)

    def matrix(self, net: Chain, state: SignState, batch: Batch, k: int) -> Tensor:
        weight = later_weight(net, k)
        fans = sum(weight.shape[:2]) * n_positions(weight)
        matrix = weight.sign().mul_(state.hyper.feedback_scale * (2.0 / fans) ** 0.5)
        if self.variant == "brsf":
            matrix.mul_(normal(batch.key, weight.shape, salt=k, dtype=weight.dtype).abs_())
        elif self.variant == "frsf":
            matrix.mul_(state.magnitudes()[k - 1])
        return matrix

    def _made(self, size: int) -> int | None:
        return None if self.variant == "brsf" else size  # the numbers that brSF draws lie beside the matrix for a while
