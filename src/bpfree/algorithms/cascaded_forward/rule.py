"""Cascaded-Forward: blocks that are random, or learned by direct feedback; a linear predictor on each; predictions added up.

Idea
----
Each block feeds a predictor of its own, which learns the classes from the block's flattened activity; the blocks themselves are
frozen by then. They keep their random values, or are trained before that by direct feedback alignment: fixed random matrices
bring the output error to every block, so no error passes from block to block. A class is predicted by the sum over predictors.

Update
------
With features Hᵢ (n, dᵢ) of block i, predictor weights Pᵢ (classes, dᵢ), Oᵢ = Hᵢ Pᵢᵀ, targets Y one-hot:

    cross-entropy   dPᵢ = ((softmax(Oᵢ) − Y) / n)ᵀ Hᵢ
    sparsemax       dPᵢ = ((sparsemax(Oᵢ) − Y) / n)ᵀ Hᵢ
    ridge           Pᵢᵀ = (C + λ tr(C)/dᵢ I)⁻¹ D  with  C = Σ Hᵢᵀ Hᵢ , D = Σ Hᵢᵀ Y  over one pass; by Cholesky

Blocks by direct feedback, with the net's output V, c on the last block as auxiliary head and E = (softmax(H_L Vᵀ + c) − Y) / n:

    dHᵢ = E Bᵢ  for i < L ,   dH_L = E V ,   dV = Eᵀ H_L ,   dc = Σₙ E
    dθᵢ = (∂Aᵢ/∂θᵢ)ᵀ dHᵢ                     inside block i alone

All predictors learn from the same forward pass (predictors=joint), or one after another (staged, as in the paper). Scores are
log Σᵢ softmax(Oᵢ) / L (combine=probabilities; sparsemax where that is the loss) or Σᵢ Oᵢ (combine=logits).

Symbols
-------
    Hᵢ      block.features(A)           (n, dᵢ)
    Pᵢ      slot.projection             (classes, dᵢ)   predictor: no bias, starts at 0
    C, D    slot.gram, slot.cross       (dᵢ, dᵢ), (dᵢ, classes)     sums of the ridge solution
    λ       ridge                       –               relative to the mean eigenvalue of C
    Bᵢ      slot.feedback               (classes, dᵢ)   fixed; normal entries, each row of length 1
    V, c    net.output                  (classes, d_L), (classes,)  used to train blocks, not to predict
    lr      lr, block_lr                –               learning rates of predictors and of blocks
    wd      weight_decay, block_weight_decay    –       decoupled decay of predictors and of blocks
    –       blocks                      –               random or dfa
    –       block_passes                –               passes of block training, 0: as the stop rule gives
    –       predictor                   –               cross-entropy, ridge or sparsemax
    –       predictors                  –               joint or staged
    –       combine                     –               probabilities or logits
    –       sums                        –               float32 or float64: dtype in which C and D are gathered
    –       cache_features              –               compute each example's features once, keep them on the device
    –       optimiser, momentum, maths  –               shared by all rules, see ``Algorithm``

Cost per batch
--------------
1 forward pass. With F multiply-adds per example through the blocks and d = Σ dᵢ. Predictors: n (F + 2 K d); ridge
n (F + Σ dᵢ² + 2 K d), and once Σ dᵢ³/6. Block training: n (2 F + 2 K d): forward and weight gradients, never an input
gradient. Nets with BatchNorm and random blocks: first one pass of n F, which gathers running statistics. Extra memory: K d
parameters and twice that in moments; ridge Σ dᵢ² sums; block training keeps the activities of all blocks until the error is
known. cache_features: n 2 K d a batch (ridge n (Σ dᵢ² + 2 K d)), after F for every training and validation example once; d
numbers each (cnn3: 68,608 bytes an example of MNIST in float32, 4.1 GB for its 60,000).

Locality
--------
Random blocks: no gradient crosses anything, and a predictor reads no later block. blocks=dfa: every block waits for the output
error; the longest chain rule is the last block and its head.

Deviations from the paper
-------------------------
1. Predictors learn from small batches by Adam from 0 (the paper: one batch of the whole training set, gradient descent from 1).
2. predictors=joint is not in the paper, whose predictors learn one after another.
3. BatchNorm of frozen blocks uses running statistics of the training data, gathered in a phase of one pass (or by block
   training). The released code normalises a test batch by its own statistics.
4. ridge > 0 always; the released code solves without, and falls back to a pseudo-inverse.
5. Block training never runs a full backward sweep; the code of arXiv 2509.19063 does, and pays for it.
6. The auxiliary head is the net's output, drawn from N(0, 0.01²).

Defaults
--------
    lr = 4.2e-4                 arXiv 2509.19063, CaFo-Rand on MNIST (Adam, batch 128)
    blocks = random             paper
    block_lr = 5e-4             arXiv 2509.19063, CaFo-DFA on MNIST
    block_weight_decay = 0      ours; 9.6e-7 there
    block_passes = 0            ours; by hand 5 (MNIST) to 250 (CIFAR-10) there
    predictor = cross-entropy   arXiv 2509.19063
    predictors = joint          ours
    combine = probabilities     released code of the paper; arXiv 2509.19063 adds logits
    ridge = 1e-3                ours
    sums = float32              ours (float64 where the net is); factor and solution are in float64
    cache_features = False      ours; the result is the same up to rounding, the memory is not

Example
-------
>>> import bpfree
>>> data = bpfree.data.load("digits")
>>> net = bpfree.nets.mlp(data.in_shape, (128, 128), data.n_classes)
>>> rule = bpfree.algorithms.make("cascaded-forward", {"predictor": "ridge"})
>>> result = bpfree.fit(rule, net, data, bpfree.Patience(5, max_passes=10))
>>> result.passes, result.val_accuracy > 0.9
(1, True)

Known weakness
--------------
Random features need width: on natural images the predictors stay far behind learned blocks. Predictors on flattened maps are
large, and the ridge's sums grow with the square of the features.

References
----------
@article{zhao2025cascaded,
  title   = {The Cascaded Forward Algorithm for Neural Network Training},
  author  = {Zhao, Gongpei and Wang, Tao and Jin, Yi and Lang, Congyan and Li, Yidong and Ling, Haibin},
  journal = {Pattern Recognition},
  volume  = {161},
  pages   = {111292},
  year    = {2025}
}
@inproceedings{nokland2016direct,
  title     = {Direct Feedback Alignment Provides Learning in Deep Neural Networks},
  author    = {N{\\o}kland, Arild},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2016}
}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, cast, final

import torch
from torch import Tensor

from bpfree.algorithms._base import Algorithm, Phase, Traits
from bpfree.algorithms._closed_form import block_activity, block_forward, block_gradients
from bpfree.algorithms._fields import choice, flag, natural, number
from bpfree.algorithms._state import State
from bpfree.algorithms.cascaded_forward.slot import CascadeSlot, cached_features, features_of, split_features
from bpfree.data import Batch, Dataset
from bpfree.nets import Chain
from bpfree.numerics.losses import at_least_float32, cross_entropy, one_hot, softmax_residual
from bpfree.numerics.ridge import gather_
from bpfree.numerics.sparsemax import sparsemax, sparsemax_loss, sparsemax_residual

__all__ = ["CascadedForward"]

BLOCKS, STATISTICS = "blocks", "statistics"
"""Names of the phases before the predictors'; rulesets know the first."""


@final
@dataclass(frozen=True, kw_only=True)
class CascadedForward(Algorithm):
    """Cascaded-Forward; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "cascaded-forward"
    lr: float = number(4.2e-4, above=0.0)
    blocks: str = choice("random", ("random", "dfa"))
    block_lr: float = number(5e-4, above=0.0)
    block_weight_decay: float = number(0.0, low=0.0)
    block_passes: int = natural(0, low=0)
    predictor: str = choice("cross-entropy", ("cross-entropy", "ridge", "sparsemax"))
    predictors: str = choice("joint", ("joint", "staged"))
    combine: str = choice("probabilities", ("probabilities", "logits"))
    ridge: float = number(1e-3, above=0.0)
    sums: str = choice("float32", ("float32", "float64"))
    cache_features: bool = flag(False)

    def traits(self, net: Chain) -> Traits:
        dfa = self.blocks == "dfa"
        return Traits(
            forward_passes=1.0,
            gradient_path=2 if dfa else 1,
            local=not dfa,
            autograd=dfa and self.maths_used(net) != "closed",
            trains_output=dfa,
            extra_parameters=sum(net.n_classes * block.n_features for block in net),
            note="blocks by direct feedback, then frozen; the output is only their auxiliary head"
            if dfa
            else "blocks are random",
        )

    def init(self, net: Chain, generator: torch.Generator) -> State:
        net.reset_parameters(generator)
        return State(CascadeSlot(self, net, k, generator) for k in range(len(net)))

    def phases(self, net: Chain) -> tuple[Phase, ...]:
        every = tuple(range(len(net)))
        stretches: list[tuple[tuple[int, ...], str, int | None]] = []
        if self.blocks == "dfa":
            stretches.append((every, BLOCKS, self.block_passes or None))
        elif any(block.normalises_batch for block in net):
            stretches.append(((), STATISTICS, 1))
        passes = 1 if self.predictor == "ridge" else None
        if self.predictors == "joint":
            stretches.append((every, "all predictors", passes))
        else:
            stretches += [((k,), f"predictor {k + 1} of {len(net)}", passes) for k in every]
        return tuple(Phase(index, len(stretches), learning, name, most) for index, (learning, name, most) in enumerate(stretches))

    @torch.no_grad()
    def step(self, net: Chain, state: State, batch: Batch, phase: Phase) -> Tensor:
        if phase.name == BLOCKS:
            return self._train_blocks(net, state, batch)
        if phase.name == STATISTICS:
            x = batch.x
            for block in net:
                x = block_activity(block, x, statistics="update")
            return torch.zeros(1, device=x.device)
        losses = [
            self._train_predictor(cast(CascadeSlot, state.slot(k)), h, batch.y)
            for k, h in enumerate(self._features(net, batch.x, phase))
            if k in phase.learning
        ]
        return torch.stack(losses)

    def inputs(self, net: Chain, state: State, data: Dataset, phase: Phase) -> tuple[Dataset, Phase]:
        """cache_features: the predictors read the features of the frozen blocks, computed once."""
        if not self.cache_features or phase.name in (BLOCKS, STATISTICS):
            return data, phase
        return cached_features(net, data, max(phase.learning)), dataclasses.replace(phase, cached=True)

    def _features(self, net: Chain, x: Tensor, phase: Phase) -> Iterator[Tensor]:
        return (split_features if phase.cached else features_of)(net, x, max(phase.learning, default=len(net) - 1))

    def _train_predictor(self, slot: CascadeSlot, h: Tensor, y: Tensor) -> Tensor:
        scores = h @ slot.projection.t()
        if self.predictor == "ridge":
            targets = one_hot(y, scores.shape[1], h.dtype)
            gather_(slot.gram, slot.cross, h, targets)
            slot.unsolved.advance()
            return 0.5 * at_least_float32(scores - targets).square().sum(1).mean()
        loss, residual = (
            (sparsemax_loss(scores, y), sparsemax_residual(scores, y))
            if self.predictor == "sparsemax"
            else (cross_entropy(scores, y), softmax_residual(scores, y))
        )
        slot.optimiser.step([slot.projection], [residual.t() @ h])
        return loss

    def _train_blocks(self, net: Chain, state: State, batch: Batch) -> Tensor:
        """One step of direct feedback alignment: forward, then every block by itself."""
        x, kept = batch.x, []
        for block in net:
            x, saved = block_forward(block, x, self.maths)
            kept.append(saved)
        h = net[-1].features(x)
        g = net.output(h)
        error = softmax_residual(g, batch.y)
        for k in reversed(range(len(net))):
            block, slot = net[k], cast(CascadeSlot, state.slot(k))
            last = k == len(net) - 1
            delta = block.features_gradient(error @ (net.output.weight if last else slot.feedback))
            gradients, _ = block_gradients(block, kept.pop(), delta, maths=self.maths)
            parameters: list[Tensor] = list(block.parameters())
            if last:
                parameters += [net.output.weight, net.output.bias]
                gradients = [*gradients, error.t() @ h, error.sum(0)]
            slot.block_optimiser.step(parameters, gradients)
        return cross_entropy(g, batch.y).reshape(1)

    @torch.no_grad()
    def end_pass(self, net: Chain, state: State, phase: Phase) -> None:
        """Ridge: turn the sums into predictors."""
        if self.predictor != "ridge" or phase.name in (BLOCKS, STATISTICS):
            return
        for k in phase.learning:
            cast(CascadeSlot, state.slot(k)).solve()

    def end_phase(self, net: Chain, state: State, phase: Phase) -> None:
        """The same, where a caller has not closed the passes."""
        self.end_pass(net, state, phase)

    def scores(self, net: Chain, state: State, x: Tensor, phase: Phase) -> Tensor:
        if phase.name == BLOCKS:
            for block in net:
                x = block_activity(block, x)
            return net.output(net[-1].features(x))
        total: Tensor | None = None
        k = 0
        for k, h in enumerate(self._features(net, x, phase)):
            o = at_least_float32(h @ state.slot(k).projection.t())
            if self.combine == "probabilities":
                o = sparsemax(o) if self.predictor == "sparsemax" else torch.softmax(o, dim=1)
            total = o if total is None else total + o
        assert total is not None  # a chain has blocks
        if self.combine == "logits":
            return total
        return (total / (k + 1)).clamp_min(torch.finfo(total.dtype).tiny).log()  # the order of classes is that of the sum
