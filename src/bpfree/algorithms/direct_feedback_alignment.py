"""Direct feedback alignment: the output error goes straight to every block through its own fixed random matrix.

Idea
----
Each hidden block receives the error of the output multiplied by a random matrix that never changes; nothing is passed from
block to block on the way back, so after the forward pass all blocks learn at once. With ``target=labels`` (direct random target
projection, DRTP) the projected label takes the place of the error: a block then learns as soon as its own activity is there.

Update
------
With features H_L of the last of L blocks, output weights V, bias c, and feedback Bₗ for every block:

    G  = H_L Vᵀ + c                  class scores
    D  = (softmax(G) − Y) / n        residual of the mean cross-entropy
    dV = Dᵀ H_L ,  dc = Σₙ D
    dHₗ = D Bₗ                       DRTP: dHₗ = −Y Bₗ / n
    dWₗ = (dAₗ ⊙ φ′(Zₗ))ᵀ Aₗ₋₁ ,  dbₗ = Σₙ dAₗ ⊙ φ′(Zₗ)

All from before the update. With one hidden block this is feedback alignment.

Symbols
-------
    Aₗ      activity                    (n, *shape)
    Hₗ      block.features(Aₗ)          (n, o)          flattened activity; dAₗ is dHₗ in the shape of Aₗ
    D       residual                    (n, classes)
    Y       labels, one-hot             (n, classes)
    Bₗ      slot.feedback               (classes, o)    fixed
    lr      lr                          –               learning rate
    wd      weight_decay                –               decoupled decay, on all parameters
    –       target                      –               error (DFA) or labels (DRTP)
    –       feedback                    –               distribution of B: uniform, normal or orthogonal
    –       feedback_scale              –               standard deviation of B times √classes
    –       optimiser, momentum, maths  –               shared by all rules, see ``Algorithm``

Cost per batch
--------------
1 forward pass; n (2 F + K Σ oₗ) multiply-adds, where backprop has n (3 F − F₁). Extra memory: K Σ oₗ for the feedback; the
activities of all blocks (DRTP: of one block at a time).

Locality
--------
Gradient path 1 (one block). DFA: a block waits for the output's error, then for no other block. DRTP: no block reads a later
one; only the output learns from the error.

Deviations from the paper
-------------------------
1. Any block type: the derivative inside one block is closed form where there is one, autograd within it otherwise.
2. Cross-entropy of the softmax in both variants (DRTP's paper: sigmoid outputs with binary cross-entropy).
3. DRTP's paper uses tanh hidden units; here the net's own. With ReLU nothing stops its constant signal: the weights, and the
   loss, grow without end. Give it a net with ``activation=tanh``.

Defaults
--------
    lr = 3e-4               ours, MNIST, mlp:2x1000
    feedback = uniform      paper of DFA, section 4: uniform, as large as the weights' own
    feedback_scale = 1      ours: every error arrives with its own size
    target = error          paper of DFA
    optimiser = adam        ours, as for all rules

Example
-------
>>> import bpfree
>>> data = bpfree.data.load("digits")
>>> net = bpfree.nets.mlp(data.in_shape, (64, 64), data.n_classes)
>>> rule = bpfree.algorithms.DirectFeedbackAlignment(lr=3e-3)
>>> result = bpfree.fit(rule, net, data, bpfree.Patience(5, max_passes=10))
>>> result.val_accuracy > 0.9
True

Known weakness
--------------
Fails to train convolutions beyond easy data; DRTP, which never sees how wrong the net is, pushes units into saturation and
stays percents behind.

References
----------
@inproceedings{nokland2016direct,
  title  = {Direct Feedback Alignment Provides Learning in Deep Neural Networks},
  author = {N{\\o}kland, Arild},
  booktitle = {Advances in Neural Information Processing Systems},
  year   = {2016},
  note   = {arXiv:1609.01596}
}
@article{frenkel2021drtp,
  title  = {Learning Without Feedback: Fixed Random Learning Signals Allow for Feedforward Training of Deep Neural Networks},
  author = {Frenkel, Charlotte and Lefebvre, Martin and Bol, David},
  journal = {Frontiers in Neuroscience},
  volume = {15},
  year   = {2021}
}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from bpfree.algorithms._base import BlockGradients
from bpfree.algorithms._closed_form import block_forward, block_gradients, parameters_of
from bpfree.algorithms._cost import Cost, Moment, Shape, one_after_another
from bpfree.algorithms._declared import Phase, Traits
from bpfree.algorithms._fields import choice, number
from bpfree.algorithms._gather import gathered
from bpfree.algorithms._state import LearningSlot, NetState, Optimiser
from bpfree.algorithms._weak import UNBOUNDED, activations, has_convolutions
from bpfree.data import Batch
from bpfree.nets import Block, Chain
from bpfree.numerics.feedback import DISTRIBUTIONS, random_feedback
from bpfree.numerics.handover import Handover
from bpfree.numerics.local import class_scores
from bpfree.numerics.losses import loss_and_residual, one_hot, weighted_rows

__all__ = ["DirectFeedbackAlignment"]


class FeedbackSlot(LearningSlot):
    """A slot with the block's fixed matrix (classes, o)."""

    def __init__(self, optimiser: Optimiser, feedback: Tensor) -> None:
        super().__init__(optimiser)
        self.feedback: Tensor
        self.register_buffer("feedback", feedback)


@final
@dataclass(frozen=True, kw_only=True)
class DirectFeedbackAlignment(BlockGradients[NetState[FeedbackSlot]]):
    """Direct feedback alignment and DRTP; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "direct-feedback-alignment"
    weighs_classes: ClassVar[bool] = True
    replays: ClassVar[bool] = True
    lr: float = number(3e-4, above=0.0)
    target: str = choice("error", ("error", "labels"))
    feedback: str = choice("uniform", DISTRIBUTIONS)
    feedback_scale: float = number(1.0, above=0.0)

    def traits(self, net: Chain) -> Traits:
        return Traits(
            forward_passes=1.0,
            gradient_path=1,
            local=self.target == "labels",  # though the step is not folded block by block
            autograd=self._uses_autograd(net),
            trains_output=True,
            extra_parameters=0,
            note="direct random target projection" if self.target == "labels" else "",
        )

    def _weaknesses(self, net: Chain, batch_size: int | None = None) -> Iterator[str]:
        if has_convolutions(net):
            yield (
                "fails to train convolutions beyond easy data; use dense blocks (mlp:2x1000), or a rule that learns inside its "
                "blocks (mono-forward, sign-symmetry)"
            )
        if self.target == "labels" and activations(net) & UNBOUNDED:
            yield (
                "target=labels never sees how wrong the net is, and where units do not saturate nothing stops its signal: the "
                "loss grows without end; use a net with activation=tanh, or target=error"
            )

    def init(self, net: Chain, generator: torch.Generator) -> NetState[FeedbackSlot]:
        net.reset_parameters(generator)
        slots = [self._slot(net, block, generator) for block in net]
        return NetState(self._hyper(net), self._optimiser(list(net.output.parameters())), slots)

    def _slot(self, net: Chain, block: Block, generator: torch.Generator) -> FeedbackSlot:
        shape = (net.n_classes, block.n_features)
        std = self.feedback_scale * net.n_classes**-0.5
        feedback = random_feedback(shape, self.feedback, std, generator, like=net.output.weight)
        return FeedbackSlot(self._optimiser(list(block.parameters())), feedback)

    @gathered
    def learn(self, net: Chain, state: NetState[FeedbackSlot], batch: Batch, phase: Phase) -> Tensor:
        x, activities = batch.x, []
        signal = None
        if self.target == "labels":  # DRTP's
            signal = weighted_rows(-one_hot(batch.y, net.n_classes, net.dtype) / len(batch.y), batch.weight)
        for k, block in enumerate(net):
            x, saved = block_forward(block, x, self.maths)
            if signal is not None:
                self._update(block, state.slot(k), saved, signal)
            else:
                activities.append(saved)
            del saved
        residual, loss = self._output_step(net, state, net[-1].features(x), batch)
        del x
        for k in reversed(range(len(activities))):
            self._update(net[k], state.slot(k), activities.pop(), residual)
        return loss.reshape(1)

    @staticmethod
    def _output_step(net: Chain, state: NetState[FeedbackSlot], h: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Update the output from features (n, o); the residual (n, classes) and the loss (0-D) from before."""
        g = class_scores(h, net.output.weight, net.output.bias)
        loss, residual = loss_and_residual(g, batch.y, batch.weight)
        state.optimiser.step(list(net.output.parameters()), [residual.t() @ h, residual.sum(0)])
        return residual, loss

    def _update(self, block: Block, slot: FeedbackSlot, saved: list[Tensor], signal: Tensor) -> None:
        delta = Handover(block.features_gradient(signal @ slot.feedback))
        gradients, _ = block_gradients(block, saved, delta, maths=self.maths)
        slot.optimiser.step(parameters_of(block), gradients)

    def scores(self, net: Chain, state: NetState[FeedbackSlot], x: Tensor, phase: Phase) -> Tensor:
        return net(x)

    def cost(self, shape: Shape, phase: Phase) -> Cost:
        s = shape
        return Cost(
            learn=s.n * (2 * (s.forward + s.output) + s.heads),
            evaluation=s.n * (s.forward + s.output),
            moments=tuple(self._moments(s)),
        )

    def _moments(self, s: Shape) -> Iterator[Moment]:
        if self.target == "error":
            blocks = (self._at_block(s, k) for k in reversed(range(len(s.blocks))))
            yield from one_after_another(s, blocks, before=s.output_parameters)
        else:
            at_output = (s.output_parameters, s.n * (s.blocks[-1].rows + 2 * s.classes))
            yield from one_after_another(s, [*(self._at_block(s, k) for k in range(len(s.blocks))), [at_output]])

    def _at_block(self, s: Shape, k: int) -> Iterator[Moment]:
        block, signal = s.blocks[k], s.n * s.classes
        if self.target == "error":
            yield 0, s.at_delta(k) + signal
            yield block.parameters, s.at_product(k) - s.input(k) + signal
        else:  # the activity goes on to the next block
            yield block.parameters, s.input(k) + 2 * s.n * block.rows + signal
