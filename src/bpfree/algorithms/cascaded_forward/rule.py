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
    C, D    slot.sums                   (dᵢ, dᵢ), (dᵢ, classes)     sums of the ridge solution
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
    –       maths                       –               of block training, see ``BlockGradients``; auto where blocks are random
    –       optimiser, momentum         –               shared by all rules, see ``Algorithm``

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
5. Block training never runs a full backward sweep; the code of arXiv 2509.19063 does.
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
  title  = {Direct Feedback Alignment Provides Learning in Deep Neural Networks},
  author = {N{\\o}kland, Arild},
  booktitle = {Advances in Neural Information Processing Systems},
  year   = {2016},
  note   = {arXiv:1609.01596}
}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from bpfree.algorithms._base import BlockGradients
from bpfree.algorithms._closed_form import block_activity, block_forward, block_gradients, parameters_of
from bpfree.algorithms._cost import Cost, Shape
from bpfree.algorithms._declared import Phase, Traits
from bpfree.algorithms._fields import choice, flag, natural, number
from bpfree.algorithms._gather import gathered
from bpfree.algorithms._state import State
from bpfree.algorithms.cascaded_forward import cost
from bpfree.algorithms.cascaded_forward.slot import CascadeSlot, RidgeSums
from bpfree.algorithms.cascaded_forward.stages import CascadeStages, features_read
from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.nets import Chain
from bpfree.numerics.handover import Handover
from bpfree.numerics.local import class_scores
from bpfree.numerics.losses import at_least_float32, loss_and_residual, one_hot, weighted_mean
from bpfree.numerics.sparsemax import sparsemax, sparsemax_loss, sparsemax_residual
from bpfree.units import format_bytes

__all__ = ["CascadedForward"]

BLOCKS, STATISTICS = "blocks", "statistics"
"""Names of the phases before the predictors'; rulesets know the first."""

WIDE = 16384
"""Features of a block whose sums take a gigabyte."""


@final
@dataclass(frozen=True, kw_only=True)
class CascadedForward(BlockGradients[State[CascadeSlot]]):
    """Cascaded-Forward; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "cascaded-forward"
    weighs_classes: ClassVar[bool] = True
    replays: ClassVar[bool] = True
    variants: ClassVar[tuple[str, ...]] = ("blocks=dfa", "predictor=ridge")
    lr: float = number(4.2e-4, above=0.0)
    blocks: str = choice("random", ("random", "dfa"))
    block_lr: float = number(5e-4, above=0.0)
    block_weight_decay: float = number(0.0, low=0.0)
    block_passes: int = natural(0, low=0)
    predictor: str = choice("cross-entropy", ("cross-entropy", "ridge", "sparsemax"))
    predictors: str = choice("joint", ("joint", "staged"))
    combine: str = choice("probabilities", ("probabilities", "logits"), readout=True)
    ridge: float = number(1e-3, above=0.0)
    sums: str = choice("float32", ("float32", "float64"))
    cache_features: bool = flag(False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blocks == "random" and self.maths != "auto":
            raise UsageError(
                f"{self.name}: blocks=random takes no gradient inside a block, so maths={self.maths} would do nothing; "
                "leave maths out, or set blocks=dfa"
            )

    def traits(self, net: Chain) -> Traits:
        dfa = self.blocks == "dfa"
        return Traits(
            forward_passes=1.0,
            gradient_path=2 if dfa else 1,
            local=not dfa,
            autograd=dfa and self._uses_autograd(net),
            trains_output=dfa,
            extra_parameters=sum(net.n_classes * block.n_features for block in net),
            note="blocks by direct feedback, then frozen; the output is only their auxiliary head"
            if dfa
            else "blocks are random",
        )

    def _weaknesses(self, net: Chain, batch_size: int | None = None) -> Iterator[str]:
        if self.blocks == "random" and len(net.in_shape) == 3 and net.in_shape[0] == 3:
            yield "random features stay far behind learned ones on natural images; use blocks=dfa, or many more channels"
        widest = max(block.n_features for block in net)
        if self.predictor == "ridge" and widest >= WIDE:
            size = format_bytes(4 * widest**2)
            yield f"the ridge's sums of {widest} features take {size}; use predictor=cross-entropy, or narrower blocks"

    def init(self, net: Chain, generator: torch.Generator) -> State[CascadeSlot]:
        net.reset_parameters(generator)
        return State(self._hyper(net), [self._slot(net, k, generator) for k in range(len(net))])

    def _slot(self, net: Chain, k: int, generator: torch.Generator) -> CascadeSlot:
        width, last = net[k].n_features, k == len(net) - 1
        projection = nn.Parameter(torch.zeros(net.n_classes, width, dtype=net.dtype, device=net.device))
        block_optimiser = feedback = sums = None
        if self.blocks == "dfa":
            parameters: list[Tensor] = [*net[k].parameters(), *(net.output.parameters() if last else ())]
            block_optimiser = self._optimiser(parameters, lr=self.block_lr, weight_decay=self.block_weight_decay)
            if not last:
                feedback = torch.empty_like(projection, requires_grad=False).normal_(generator=generator)
                feedback = feedback / feedback.norm(dim=1, keepdim=True)
        if self.predictor == "ridge":
            wide = self.sums == "float64" or net.dtype == torch.float64
            sums = RidgeSums(width, net.n_classes, torch.float64 if wide else torch.float32, net.device)
        return CascadeSlot(
            projection,
            optimiser=self._optimiser([projection]) if sums is None else None,
            sums=sums,
            block_optimiser=block_optimiser,
            feedback=feedback,
        )

    def phases(self, net: Chain) -> tuple[Phase, ...]:
        every = tuple(range(len(net)))
        stretches: list[tuple[tuple[int, ...], str, int | None]] = []
        if self.blocks == "dfa":
            stretches.append((every, BLOCKS, self.block_passes or None))
        elif any(block.normalises_batch for block in net):
            stretches.append(((), STATISTICS, 1))
        first_predictor = len(stretches)
        passes = 1 if self.predictor == "ridge" else None
        if self.predictors == "joint":
            stretches.append((every, "all predictors", passes))
        else:
            stretches += [((k,), f"predictor {k + 1} of {len(net)}", passes) for k in every]
        return tuple(
            Phase(
                index,
                len(stretches),
                learning,
                name,
                most,
                frozen=max(learning) + 1 if self.cache_features and index >= first_predictor else 0,
            )
            for index, (learning, name, most) in enumerate(stretches)
        )

    @gathered
    def learn(self, net: Chain, state: State[CascadeSlot], batch: Batch, phase: Phase) -> Tensor:
        if phase.name == BLOCKS:
            return self._train_blocks(net, state, batch)
        if phase.name == STATISTICS:
            x = batch.x
            for block in net:
                x = block_activity(block, x, statistics="update")
            return torch.zeros(1, device=x.device)
        losses = [
            self._train_predictor(state.slot(k), h, batch)
            for k, h in enumerate(features_read(net, batch.x, phase))
            if k in phase.learning
        ]
        return torch.stack(losses)

    def _stages(self, net: Chain, phase: Phase) -> CascadeStages | str:
        if phase.name == BLOCKS:
            return "blocks=dfa waits for the error of the output"
        if phase.frozen:
            return "cache_features=true reads a cache of all blocks; leave it out"
        return CascadeStages.of(net, phase, self._train_predictor)

    def _train_predictor(self, slot: CascadeSlot, h: Tensor, batch: Batch) -> Tensor:
        y, weight = batch.y, batch.weight
        scores = class_scores(h, slot.projection)
        if slot.sums is not None:
            targets = one_hot(y, scores.shape[1], h.dtype)
            slot.sums.add(h, targets, weight)
            return 0.5 * weighted_mean(at_least_float32(scores - targets).square().sum(1), weight)
        loss, residual = (
            (sparsemax_loss(scores, y, weight), sparsemax_residual(scores, y, weight))
            if self.predictor == "sparsemax"
            else loss_and_residual(scores, y, weight)
        )
        assert slot.optimiser is not None  # without sums there is one
        slot.optimiser.step([slot.projection], [residual.t() @ h])
        return loss

    def _train_blocks(self, net: Chain, state: State[CascadeSlot], batch: Batch) -> Tensor:
        """One step of direct feedback alignment: forward, then every block by itself."""
        x, activities = batch.x, []
        for block in net:
            x, saved = block_forward(block, x, self.maths)
            activities.append(saved)
            del saved
        h = net[-1].features(x)
        del x
        g = class_scores(h, net.output.weight, net.output.bias)
        loss, error = loss_and_residual(g, batch.y, batch.weight)
        of_output = [error.t() @ h, error.sum(0)]
        del h, g
        for k in reversed(range(len(net))):
            block, slot = net[k], state.slot(k)
            matrix = net.output.weight if slot.feedback is None else slot.feedback  # the last block has no feedback
            delta = Handover(block.features_gradient(error @ matrix))
            gradients, _ = block_gradients(block, activities.pop(), delta, maths=self.maths)
            parameters = parameters_of(block)
            if slot.feedback is None:
                parameters += [net.output.weight, net.output.bias]
                gradients, of_output = [*gradients, *of_output], []
            assert slot.block_optimiser is not None  # blocks=dfa
            slot.block_optimiser.step(parameters, gradients)
            del gradients
        return loss.reshape(1)

    def _sums_over_examples(self, state: State[CascadeSlot]) -> Iterator[Tensor]:
        for slot in state.slots:
            if isinstance(slot, CascadeSlot) and slot.sums is not None:
                yield from (slot.sums.gram, slot.sums.cross)

    @torch.no_grad()
    def close(self, net: Chain, state: State[CascadeSlot], phase: Phase) -> None:
        """Ridge: turn the sums into predictors."""
        if phase.name in (BLOCKS, STATISTICS):
            return
        for slot in (state.slot(k) for k in phase.learning):
            if slot.sums is not None:
                slot.sums.solve_into(slot.projection, state.hyper.ridge)

    def scores(self, net: Chain, state: State[CascadeSlot], x: Tensor, phase: Phase) -> Tensor:
        if phase.name == BLOCKS:
            for block in net:
                x = block_activity(block, x)
            return net.output(net[-1].features(x))
        total: Tensor | None = None
        k = 0
        for k, h in enumerate(features_read(net, x, phase)):
            o = at_least_float32(h @ state.slot(k).projection.t())
            if self.combine == "probabilities":
                o = sparsemax(o) if self.predictor == "sparsemax" else torch.softmax(o, dim=1)
            total = o if total is None else total + o
        assert total is not None  # a chain has blocks
        if self.combine == "logits":
            return total
        return (total / (k + 1)).clamp_min(torch.finfo(total.dtype).tiny).log()  # the order of classes is that of the sum

    def cost(self, shape: Shape, phase: Phase) -> Cost:
        if phase.name == BLOCKS:
            return cost.of_blocks(shape)
        predictors = cost.of_predictors(shape, phase, predictor=self.predictor, solves=phase.name != STATISTICS)
        return predictors if self.sums == "float32" else predictors.without_moments()  # wider sums, of which none are written
