"""Backprop with a renewal: a rule of somebody else, in one file, by the public interface alone.

Idea
----
Backpropagation, and every so many steps one Björck iteration on the weight of each dense block. It exists to show that periodic
work of a rule that bpfree does not know is counted, charged and left out of an alignment.

Update
------
That of backprop; every renew_every-th step, after it, W ← 3/2 W − 1/2 W Wᵀ W.

Symbols
-------
    W       block.linear.weight         (o, i)
    lr      lr                          –               learning rate
    wd      weight_decay                –               decoupled decay
    –       renew_every                 –               steps between renewals
    –       optimiser, momentum, maths  –               see ``Algorithm`` and ``BlockGradients``

Cost per batch
--------------
Backprop's n (3 (F + O) − F₁), and 2 o² i per dense block in each renewal.

Locality
--------
None: as backprop.

Deviations from the paper
-------------------------
None.

Defaults
--------
    renew_every = 10    ours, untuned

Example
-------
>>> 1 + 1
2

Known weakness
--------------
It is no better than backprop.

References
----------
There is no paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from bpfree.algorithms import BlockGradients, Cost, NetState, Phase, Shape, Traits, Upkeep, natural
from bpfree.algorithms.building import (
    block_forward,
    block_gradients,
    class_scores,
    hyper_of,
    loss_and_residual,
    new_optimiser,
    uses_autograd,
)
from bpfree.data import Batch
from bpfree.nets import Chain, DenseBlock


@dataclass(frozen=True, kw_only=True)
class Renewing(BlockGradients[NetState[Any]]):
    name: ClassVar[str] = "renewing"
    renew_every: int = natural(10)

    def traits(self, net: Chain) -> Traits:
        return Traits(1.0, len(net) + 1, local=False, autograd=uses_autograd(self, net), trains_output=True, extra_parameters=0)

    def init(self, net: Chain, generator: torch.Generator) -> NetState[Any]:
        net.reset_parameters(generator)
        return NetState(hyper_of(self, net), new_optimiser(self, list(net.parameters())))

    @torch.no_grad()
    def learn(self, net: Chain, state: NetState[Any], batch: Batch, phase: Phase) -> Tensor:
        x, activities = batch.x, []
        for block in net:
            x, saved = block_forward(block, x, self.maths)
            activities.append(saved)
        h = net[-1].features(x)
        g = class_scores(h, net.output.weight, net.output.bias)
        loss, residual = loss_and_residual(g, batch.y)
        gradients = [residual.t() @ h, residual.sum(0)]
        delta = net[-1].features_gradient(residual @ net.output.weight)
        for k in reversed(range(len(net))):
            of_block, by_input = block_gradients(net[k], activities.pop(), delta, maths=self.maths, need_input=k > 0)
            gradients = [*of_block, *gradients]
            delta = delta if by_input is None else by_input
        state.optimiser.step(list(net.parameters()), gradients)
        return loss.reshape(1)

    def upkeep(self) -> tuple[Upkeep[NetState[Any]], ...]:
        return (Upkeep("renewal", self.renew_every, self._renew),)

    def _renew(self, net: Chain, state: NetState[Any], batch: Batch) -> None:
        for block in net:
            if isinstance(block, DenseBlock):
                weight = block.linear.weight
                weight.copy_(1.5 * weight - 0.5 * weight @ weight.t() @ weight)

    def scores(self, net: Chain, state: NetState[Any], x: Tensor, phase: Phase) -> Tensor:
        return net(x)

    def cost(self, shape: Shape, phase: Phase) -> Cost:
        s = shape
        return Cost(
            learn=s.n * (3 * (s.forward + s.output) - s.first),
            evaluation=s.n * (s.forward + s.output),
            upkeep={"renewal": 2 * sum(block.rows**2 * block.columns for block in s.blocks if block.dense)},
        )
