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

All are applied by the optimiser at once; the next block receives A from before the update.

Symbols
-------
    A₋, A   carry                       (n, *shape)     activity before and after the block
    H       block.features(A)           (n, o)          flattened activity (mean over tokens for token blocks)
    M       slot.projection             (classes, o)    last block: the net's own output weight
    G       scores                      (n, classes)
    D       residual                    (n, classes)
    lr      lr                          –               learning rate
    wd      weight_decay                –               decoupled decay, on W, b and M
    –       schedule                    –               joint or staged
    –       readout                     –               last or sum
    –       optimiser, momentum, maths  –               shared by all rules, see ``Algorithm``

Cost per batch
--------------
Joint: 1 forward pass. With F = Σ nₗ nₗ₋₁ multiply-adds per example and head cost P = K Σ nₗ: n (2 F + 3 P), that is forward,
weight gradients, and three products with each M; the inter-block input gradients of backprop are what is saved. Staged: the
phase of block l costs n (F₁..ₗ + Fₗ + 3 K nₗ). Extra memory: K Σ nₗ parameters and twice that in moments; activations of one
block at a time.

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
4. M₀, a projection of the raw input, is not trained.

Defaults
--------
    lr = 4.7e-4         arXiv 2509.19063, authors' 2026 revision, MNIST 2x1000 (Adam, batch 128)
    weight_decay = 0    arXiv 2509.19063, published search
    schedule = joint    Algorithm 1 of the paper ("Layer-Wise Training for One Batch")
    readout = last      BP-style inference, used for all published numbers
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
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from bpfree.algorithms._base import LocalAlgorithm, Phase, Traits
from bpfree.algorithms._closed_form import block_forward, block_gradients
from bpfree.algorithms._fields import choice, number
from bpfree.algorithms._state import Slot, State
from bpfree.data import Batch
from bpfree.nets import Block, Chain
from bpfree.numerics.losses import cross_entropy, softmax_residual

__all__ = ["MonoForward"]


@final
@dataclass(frozen=True, kw_only=True)
class MonoForward(LocalAlgorithm):
    """Mono-Forward; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "mono-forward"
    lr: float = number(4.7e-4, above=0.0)
    schedule: str = choice("joint", ("joint", "staged"))
    readout: str = choice("last", ("last", "sum"))

    def traits(self, net: Chain) -> Traits:
        heads = sum(net.n_classes * block.n_features for block in list(net)[:-1])
        return Traits(
            forward_passes=1.0,
            gradient_path=1,
            local=True,
            autograd=self.maths_used(net) != "closed",
            trains_output=True,
            extra_parameters=heads,
            note="all blocks on every batch" if self.schedule == "joint" else "one block after another",
        )

    def init(self, net: Chain, generator: torch.Generator) -> State:
        net.reset_parameters(generator)
        return State(self._slot(net, k, generator) for k in range(len(net)))

    def _slot(self, net: Chain, k: int, generator: torch.Generator) -> Slot:
        if k == len(net) - 1:
            projection = net.output.weight
        else:
            projection = nn.Parameter(torch.empty(net.n_classes, net[k].n_features, dtype=net.dtype, device=net.device))
            nn.init.kaiming_uniform_(projection, a=math.sqrt(5), generator=generator)
        return Slot(self._hyper(net), self._optimiser([*net[k].parameters(), projection]), projection)

    def phases(self, net: Chain) -> tuple[Phase, ...]:
        if self.schedule == "joint":
            return super().phases(net)
        return tuple(Phase(k, len(net), (k,), f"block {k + 1} of {len(net)}") for k in range(len(net)))

    def enter(self, net: Chain, batch: Batch) -> Tensor:
        return batch.x

    def block_step(self, block: Block, slot: Slot, carry: Tensor, y: Tensor, learn: bool) -> tuple[Tensor, Tensor]:
        a, saved = block_forward(block, carry, self.maths)
        if not learn:
            return a, a.new_zeros(())
        h = block.features(a)  # (n, o)
        g = h @ slot.projection.t()  # (n, c)
        residual = softmax_residual(g, y)  # (n, c), already divided by n
        delta = block.features_gradient(residual @ slot.projection)
        gradients, _ = block_gradients(block, saved, delta, maths=self.maths)
        slot.optimiser.step([*block.parameters(), slot.projection], [*gradients, residual.t() @ h])
        return a, cross_entropy(g, y)

    def scores(self, net: Chain, state: State, x: Tensor, phase: Phase) -> Tensor:
        last = max(phase.learning)
        total: Tensor | None = None
        for k in range(last + 1):
            x = net[k](x)
            if k == last or self.readout == "sum":
                g = net[k].features(x) @ state.slots[k].projection.t()
                total = g if total is None else total + g
        assert total is not None  # the range is never empty
        return total
