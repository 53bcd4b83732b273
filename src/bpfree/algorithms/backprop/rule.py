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

dA₀ is never computed. All parameters are updated at the end of the sweep, in one optimiser call; with ``update=in-sweep`` those
of a block as soon as its gradient and dAₗ₋₁ are known, and the gradient is freed: bit for bit the same training.

Controls for FOTON: with ``orthogonal=init`` the net starts as FOTON's does (hidden weights with orthonormal rows, output
N(0, 1/o)); with ``orthogonal=kept`` one Björck step takes the hidden weights back every orthogonalise_every steps as well.

Symbols
-------
    A_L, H  features                    (n, o)          features of the last block
    V, c    net.output                  (classes, o), (classes,)
    G       scores                      (n, classes)
    D       residual                    (n, classes)
    dAₗ     delta                       (n, *shape)     derivative of the loss by block l's activity
    lr      lr                          –               learning rate
    wd      weight_decay                –               decoupled decay, on all parameters
    –       checkpoint_every            –               blocks between kept activities; 0: all are kept
    –       update                      –               after-sweep or in-sweep
    –       orthogonal                  –               none; init or kept: FOTON's net (dense blocks, or its convolutions)
    –       orthogonalise_every         –               steps between orthogonalisations, with kept
    –       optimiser, momentum, maths  –               shared by all rules, see ``Algorithm``

Cost per batch
--------------
1 forward pass and 1 backward sweep. With F multiply-adds per example forward (output included) and F₁ those of the first block:
n (3 F − F₁); ``orthogonal=kept`` adds 2 Σ oₗ² iₗ each time. Extra memory: the activities of all blocks, and the gradients of all
parameters (``update=in-sweep``: of one block).
With ``checkpoint_every=s``: the inputs of segments of s blocks and the activities of one segment; all blocks but those of the
last segment run forward once more, n F more at most. About √L blocks a segment need the least memory.

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
    checkpoint_every = 0        ours; arXiv 1604.06174 has segments of √L blocks
    update = after-sweep        as torch's optimisers; arXiv 2306.09782 (LOMO) updates in the sweep
    orthogonal = none   torch's initialisation, see ``DenseBlock``
    orthogonalise_every = 10    as FOTON's

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
@misc{chen2016training,
  title  = {Training Deep Nets with Sublinear Memory Cost},
  author = {Chen, Tianqi and Xu, Bing and Zhang, Chiyuan and Guestrin, Carlos},
  eprint = {1604.06174},
  archivePrefix = {arXiv},
  year   = {2016}
}
@misc{lv2023full,
  title  = {Full Parameter Fine-tuning for Large Language Models with Limited Resources},
  author = {Lv, Kai and Yang, Yuqing and Liu, Tengxiao and Gao, Qinghui and Guo, Qipeng and Qiu, Xipeng},
  eprint = {2306.09782},
  archivePrefix = {arXiv},
  year   = {2023}
}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from bpfree.algorithms._base import BlockGradients
from bpfree.algorithms._closed_form import block_gradients, parameters_of_net
from bpfree.algorithms._cost import Cost, Shape, orthogonalisation_macs
from bpfree.algorithms._declared import Phase, Traits, Upkeep
from bpfree.algorithms._fields import choice, natural, number
from bpfree.algorithms._gather import without_autograd
from bpfree.algorithms._heads import at_head
from bpfree.algorithms._state import NetState
from bpfree.algorithms.backprop.checkpointing import Activities, n_run_again
from bpfree.algorithms.backprop.cost import learn_macs, moments
from bpfree.data import Batch
from bpfree.nets import Chain
from bpfree.nets.orthogonal import check_orthogonal, draw_net_, orthonormalise_net_
from bpfree.numerics.handover import Handover

__all__ = ["Backprop"]

ORTHOGONALISE = "orthogonalise"
"""Name of the upkeep: one Björck step, FOTON's default."""


@final
@dataclass(frozen=True, kw_only=True)
class Backprop(BlockGradients[NetState[Any]]):
    """Backpropagation; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "backprop"
    weighs_classes: ClassVar[bool] = True
    replays: ClassVar[bool] = True
    variants: ClassVar[tuple[str, ...]] = (
        "update=in-sweep",
        "checkpoint_every=2",
        "checkpoint_every=6",
        "checkpoint_every=6:update=in-sweep",
    )
    savings: ClassVar[tuple[str, ...]] = (
        "update=in-sweep",
        "checkpoint_every=2",
        "checkpoint_every=2:update=in-sweep",
        "checkpoint_every=6:update=in-sweep",
        "blockwise:reach=2",
        "blockwise:reach=1",
    )
    lr: float = number(2.2e-4, above=0.0)
    checkpoint_every: int = natural(0, low=0)
    update: str = choice("after-sweep", ("after-sweep", "in-sweep"))
    orthogonal: str = choice("none", ("none", "init", "kept"))
    orthogonalise_every: int = natural(10)

    def traits(self, net: Chain) -> Traits:
        return Traits(
            forward_passes=1.0 + n_run_again(len(net), self.checkpoint_every) / len(net),
            gradient_path=len(net) + 1,
            local=False,
            autograd=self._uses_autograd(net),
            trains_output=True,
            extra_parameters=0,
        )

    def _why_not_bfloat16(self) -> str | None:
        return None if self.orthogonal == "none" else "no rows can be made orthonormal"

    def _check_net(self, net: Chain) -> None:
        super()._check_net(net)
        if self.orthogonal != "none":
            check_orthogonal(self.name, net, lost="the net is not FOTON's orthogonal one")

    def init(self, net: Chain, generator: torch.Generator) -> NetState[Any]:
        net.reset_parameters(generator)
        if self.orthogonal != "none":
            draw_net_(net, generator)
        return NetState(self._hyper(net), self._optimiser(list(net.parameters())))

    @without_autograd
    def learn(self, net: Chain, state: NetState[Any], batch: Batch, phase: Phase) -> Tensor:
        activities = Activities(net, self.maths, self.checkpoint_every)
        last, output = net[-1], net.output
        loss, gradients, delta = at_head(last, activities.forward(batch.x), output.weight, output.bias, batch.y, batch.weight)
        parameters, blocks = parameters_of_net(net), list(net)
        first = len(parameters) - len(gradients)  # gradients are those of parameters[first:], or have been used
        if self.update == "in-sweep":
            state.optimiser.step(parameters[first:], gradients, first)
            gradients = []  # freed before the next are computed
        for k in reversed(range(len(blocks))):
            of_block, by_input = block_gradients(blocks[k], activities.pop(k), delta, maths=self.maths, need_input=k > 0)
            first -= len(of_block)
            if by_input is not None:
                delta = Handover(by_input)
            del by_input
            if self.update == "in-sweep":
                state.optimiser.step(parameters[first : first + len(of_block)], of_block, first)
            else:
                gradients = [*of_block, *gradients]
            del of_block
        if self.update == "after-sweep":
            state.optimiser.step(parameters, gradients)
        return loss.reshape(1)

    def upkeep(self) -> tuple[Upkeep[NetState[Any]], ...]:
        if self.orthogonal != "kept":
            return ()
        return (Upkeep(ORTHOGONALISE, self.orthogonalise_every, self._orthogonalise, apart=True),)

    def _orthogonalise(self, net: Chain, state: NetState[Any], batch: Batch) -> None:
        orthonormalise_net_(net, "bjorck", steps=1)

    def scores(self, net: Chain, state: NetState[Any], x: Tensor, phase: Phase) -> Tensor:
        return net(x)

    def cost(self, shape: Shape, phase: Phase) -> Cost:
        upkeep = orthogonalisation_macs(shape, "bjorck", 1) if self.orthogonal == "kept" else None
        return Cost(
            learn=learn_macs(shape, self.checkpoint_every),
            evaluation=shape.n * (shape.forward + shape.output),
            upkeep={} if upkeep is None else {ORTHOGONALISE: upkeep},
            moments=moments(shape, self.checkpoint_every, in_sweep=self.update == "in-sweep"),
        )
