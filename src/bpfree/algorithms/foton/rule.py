"""FOTON: a second forward pass on an error-shifted input replaces the backward sweep, made exact by orthogonal weights.

Idea
----
The output error is carried to the input by the product of all weights, and the net runs again on the input shifted against it.
What the shift does to a block's activity takes the place of that block's backpropagated error. Where the net is linear and
every hidden block has orthonormal rows, the two are equal; so hidden weights start orthonormal and are kept so.

Update
------
For blocks l = 1 … L with Aₗ = φ(Aₗ₋₁ Wₗᵀ + bₗ), A₀ = X flattened, output O = A_L Vᵀ + c, K classes:

    E  = softmax(T O) − Y            (squared error: E = O − Y)
    F  = V W_L … W₁                  composed from the output side, refreshed every refresh_every steps
    Ã₀ = X − ε E F                   the modulated input; Ãₗ is the activity that follows from it
    Dₗ = (Aₗ − Ãₗ) / (ε n)           stands for backprop's derivative of the mean loss by Zₗ
    dWₗ = Dₗᵀ Aₗ₋₁ ,  dbₗ = Σₙ Dₗ
    dV  = Eᵀ A_L / n ,  dc = Σₙ E / n

All are taken with the old weights. Every orthogonalise_every steps, orthogonalise_steps iterations take each hidden W towards
the nearest matrix with orthonormal rows (Björck: W ← 3/2 W − 1/2 W Wᵀ W).

Why it works: in a linear net Aₗ − Ãₗ = ε E V W_L … W₁ W₁ᵀ … Wₗᵀ, and Wₖ Wₖᵀ = I telescopes this to ε E V W_L … Wₗ₊₁, backprop's
own delta, for any V. That needs as many rows as columns at most: it fails from the first block that widens.

Convolutions: the operator of a block is its kernel applied to every patch, without padding. Where patches do not overlap its
rows are orthonormal where those of the kernel as a matrix (o, c k²) are; where they overlap, the kernel is drawn and kept by
:mod:`bpfree.numerics.orthogonal_conv`. Pooling by the average over 2 x 2 enters with its factor of 2
(:mod:`bpfree.nets.operator`). F is found by pushing the rows of V back through the transposed operators, and Dₗ through
the transpose of the pooling before the products are formed.

Symbols
-------
    Aₗ      activity                    (n, *shape)     of the clean pass
    Ãₗ      modulated                   (n, *shape)     of the modulated pass
    E       error                       (n, classes)    not divided by n
    F       state.feedback              (classes, inputs)
    Dₗ      delta                       (n, *shape)
    V, c    net.output                  (classes, o), (classes,)
    ε       eps                         –               size of the shift; exact in the limit 0, and for linear nets
    T       temperature                 –               of the softmax; not for squared error
    lr      lr                          –               learning rate
    wd      weight_decay                –               decoupled decay, on all parameters
    –       optimiser                   –               by-depth, adam, sgd, or rms: SGD on dW / rms(dW), block by block
    –       loss                        –               cross-entropy or squared-error
    –       output                      –               free, or orthonormal: V kept like the hidden weights
    –       orthogonalise_by            –               bjorck, newton-schulz (quintic), svd, none; overlaps: bjorck, none
    –       orthogonalise_every         –               steps between orthogonalisations
    –       orthogonalise_steps         –               iterations each time (svd needs none)
    –       refresh_every               –               steps between compositions of F
    –       dropout                     –               probability that a hidden activity is masked, alike in both passes
    –       memory                      –               standard keeps the clean activities, low computes them again
    –       momentum                    –               shared by all rules, see ``Algorithm``

Cost per batch
--------------
2 forward passes and the weight gradients: with F = Σ oₗ iₗ over hidden blocks, n (3 F + 2 K o_L + K n₀) multiply-adds;
memory=low: 3 passes, n (4 F + …). Backprop's is n (3 F − F₁ + 3 K o_L): FOTON is not cheaper in multiply-adds. Besides, K F per
refresh, and 2 Σ oₗ² iₗ per Björck step (reported apart); where patches reach m strides into each other, (2m+1)² times that.
Extra memory: K n₀ for the feedback; the clean activities of all blocks, or with memory=low those of two neighbouring blocks,
whatever the depth.

Locality
--------
None: a hidden block waits for the output error of the same batch, then for the blocks before it. No derivative is taken in a
hidden block (gradient path 0). The feedback transports the exact forward weights: no more local than backprop in that respect.

Deviations from the paper
-------------------------
1. Written from the public release and our derivation; the paper's text could not be read.
2. The output is free by default (the theorem does not need it orthonormal, and orthonormality caps the logits).
3. One or a few warm Björck steps every few batches; the release does 20 steps from a spectral scaling after every batch.
4. F is multiplied from the output side (the release: from the input side), which changes only the cost.
5. Biases exist and are trained (sum over the batch); the release has none by default, and a wrong shape if asked for them.
6. ε, Adam and normalised updates, squared-error temperature left out; the release has ε = 1 and scales no update.
7. Dropout, off by default (release: 0.1), masks the activity behind the nonlinearity.
8. Kernels that overlap start by block convolution (the release names BCOP; its code is not there) and are kept by Björck steps
   on the kernel itself; the release's other names (a plain one, "SK") are not written.

Defaults
--------
    lr = 0                  by depth, ours: 3e-4 (MNIST and CIFAR-10, mlp:2x256), from 10 blocks on 5e-3 with SGD
    optimiser = by-depth    ours: Adam, which removes the profile of magnitudes over depth (about 2^(L/2 − l) with ReLU); from 10
                            blocks on SGD, since steps of Adam add up over the blocks
    eps = 1                 release
    temperature = 0         by depth: 1, as the release (ce_T); from 10 blocks on 10, since tanh outputs are small; ours
    loss = cross-entropy    release
    output = free           ours, see deviation 2
    orthogonalise_by = bjorck   release
    orthogonalise_every = 10    ours; release 1
    orthogonalise_steps = 1     ours; release 20
    refresh_every = 1       release (update_F)
    dropout = 0             ours; release 0.1
    memory = standard       release

Example
-------
>>> import bpfree
>>> data = bpfree.data.load("digits")
>>> net = bpfree.nets.mlp(data.in_shape, (64, 64), data.n_classes)
>>> rule = bpfree.algorithms.Foton(lr=3e-3)
>>> result = bpfree.fit(rule, net, data, bpfree.Patience(5, max_passes=10))
>>> result.val_accuracy > 0.9
True

Known weakness
--------------
With nonlinear units the shift meets the derivatives of the blocks *before* l where backprop has those after it: with ReLU the
agreement is lost within some ten blocks, with tanh it holds much longer. Deep nets want tanh (digits, ``mlp:10x48``, 6 passes:
89 %, with ReLU 12 %) and the setting that the defaults take there, ``optimiser=sgd lr=5e-3 temperature=10``. From 2 to 50 blocks
accuracy still falls far. There is no spike timing in it. bfloat16 is refused: the difference of two nearly equal
activities would cancel.

References
----------
@inproceedings{caillon2025foton,
  title  = {Forward Only Learning for Orthogonal Neural Networks of any Depth},
  author = {Caillon, Paul and Colagrande, Alex and Fagnou, Erwan and Delattre, Blaise and Allauzen, Alexandre},
  booktitle = {ECAI},
  year   = {2025},
  note   = {arXiv:2512.20668}
}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from bpfree.algorithms._base import Algorithm
from bpfree.algorithms._closed_form import parameters_of
from bpfree.algorithms._cost import Cost, Shape, orthogonalisation_macs
from bpfree.algorithms._declared import Phase, Traits, Upkeep
from bpfree.algorithms._fields import choice, natural, number
from bpfree.algorithms._gather import gathered
from bpfree.algorithms._state import Hyper, LearningSlot, Optimiser, State
from bpfree.algorithms._weak import activations
from bpfree.algorithms.foton.cost import learn_macs, moments
from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.nets import Block, Chain, operator
from bpfree.nets.orthogonal import check_orthogonal, draw_net_, orthonormalise_net_
from bpfree.numerics.dropout import consistent_mask
from bpfree.numerics.local import class_scores
from bpfree.numerics.losses import at_least_float32, cross_entropy, one_hot, weighted_mean, weighted_rows
from bpfree.numerics.orthogonal import METHODS

__all__ = ["Foton", "FotonState"]

DEEP = 10
"""Blocks from which the defaults are those of deep nets, and a net with ReLU is warned of (measured: see the docstring)."""

ORTHOGONALISE, REFRESH = "orthogonalise", "refresh"
"""Names of the upkeep."""


class FotonState(State[LearningSlot]):
    """One slot per hidden block; beside them the output's optimiser and the feedback."""

    def __init__(self, hyper: Hyper, slots: list[LearningSlot], output: Optimiser, feedback: Tensor) -> None:
        super().__init__(hyper, slots)
        self.output = output
        self.feedback: Tensor
        self.register_buffer("feedback", feedback)


@final
@dataclass(frozen=True, kw_only=True)
class Foton(Algorithm[FotonState]):
    """FOTON; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "foton"
    weighs_classes: ClassVar[bool] = True
    replays: ClassVar[bool] = True
    variants: ClassVar[tuple[str, ...]] = ("memory=low",)
    savings: ClassVar[tuple[str, ...]] = ("memory=low",)
    lr: float = number(0.0, low=0.0)
    optimiser: str = choice("by-depth", ("by-depth", "adam", "sgd", "rms"))
    eps: float = number(1.0, above=0.0)
    temperature: float = number(0.0, low=0.0)
    loss: str = choice("cross-entropy", ("cross-entropy", "squared-error"))
    output: str = choice("free", ("free", "orthonormal"))
    orthogonalise_by: str = choice("bjorck", METHODS)
    orthogonalise_every: int = natural(10)
    orthogonalise_steps: int = natural(1)
    refresh_every: int = natural(1)
    dropout: float = number(0.0, low=0.0, high=0.9)
    memory: str = choice("standard", ("standard", "low"))

    def traits(self, net: Chain) -> Traits:
        return Traits(
            forward_passes=2.0 if self.memory == "standard" else 3.0,
            gradient_path=0,
            local=False,
            autograd=False,
            trains_output=True,
            extra_parameters=0,
            note="no derivative in hidden blocks; the feedback is the product of the exact weights",
        )

    def _why_not_bfloat16(self) -> str:
        return "the difference of two nearly equal activities cancels"

    def _needs_whole_batch(self, net: Chain) -> str | None:
        if self.optimiser != "rms":
            return None
        return (
            "optimiser=rms divides the update of the whole batch by its size before the optimiser adds up those of the processes"
        )

    def _check_net(self, net: Chain) -> None:
        super()._check_net(net)
        lost = "the guarantee that the update equals backprop's gradient in a linear net is lost"
        check_orthogonal(self.name, net, lost=lost, output=self.output == "orthonormal")
        overlapping = next((k for k, block in enumerate(net) if operator.overlaps(block)), None)
        if overlapping is not None and self.orthogonalise_by not in ("bjorck", "none"):
            raise UsageError(
                f"{self.name}: the patches of block {overlapping} overlap, where orthogonalise_by={self.orthogonalise_by} has no "
                "form; use orthogonalise_by=bjorck"
            )

    def init(self, net: Chain, generator: torch.Generator) -> FotonState:
        net.reset_parameters(generator)
        draw_net_(net, generator, output=self.output == "orthonormal")
        rule = self._on(net)
        slots = [LearningSlot(rule._optimiser(list(block.parameters()))) for block in net]
        return FotonState(rule._hyper(net), slots, rule._optimiser(list(net.output.parameters())), _compose(net))

    def _on(self, net: Chain) -> Foton:
        """With a learning rate, an optimiser and a temperature in the place of those that follow the depth."""
        deep = len(net) >= DEEP
        optimiser = ("sgd" if deep else "adam") if self.optimiser == "by-depth" else self.optimiser
        lr = self.lr or (5e-3 if deep and optimiser == "sgd" else 3e-4)
        return dataclasses.replace(self, lr=lr, optimiser=optimiser, temperature=self.temperature or (10.0 if deep else 1.0))

    def _weaknesses(self, net: Chain, batch_size: int | None = None) -> Iterator[str]:
        if len(net) >= DEEP and activations(net) & {"relu", "leaky-relu"}:
            yield (
                f"with ReLU the update loses its agreement with the gradient within some {DEEP} blocks (this net has {len(net)}) "
                "and ends at chance; use activation=tanh, or fewer blocks"
            )
        elif len(net) >= DEEP and self.optimiser == "adam":
            yield f"steps of Adam add up over {len(net)} blocks; use optimiser=by-depth (SGD there)"

    @gathered
    def learn(self, net: Chain, state: FotonState, batch: Batch, phase: Phase) -> Tensor:
        stores = self.memory == "standard"
        activity, stored = batch.x, []
        for k, block in enumerate(net):
            activity = self._masked(block(activity), k, state, batch)
            if stores:
                stored.append(activity)
        error, loss = self._output_step(net, state, net[-1].features(activity), batch)
        del activity
        n, modulated = len(batch.y), self._modulated(state, batch.x, error)
        del error
        scale = 1.0 / (state.hyper.eps * n)
        if not stores:  # clean and modulated advance together, in one product
            rows = torch.cat([batch.x, modulated])
            del modulated
            for k, block in enumerate(net):
                after = block(rows)
                for half in after.chunk(2):
                    self._masked(half, k, state, batch)
                self._block_step(block, state.slot(k), weighted_rows((after[:n] - after[n:]).mul_(scale), batch.weight), rows[:n])
                rows = after
            return loss.reshape(1)
        stored.reverse()  # each is freed once the block behind it has learned
        before = batch.x
        for k, block in enumerate(net):
            modulated = self._masked(block(modulated), k, state, batch)
            activity = stored.pop()
            self._block_step(block, state.slot(k), weighted_rows((activity - modulated).mul_(scale), batch.weight), before)
            before = activity
        return loss.reshape(1)

    def _block_step(self, block: Block, slot: LearningSlot, difference: Tensor, before: Tensor) -> None:
        """Update a block from the scaled difference of its activities and its input, both (n, ...)."""
        gradients = operator.weight_gradients(block, difference, before)
        self._update(slot.optimiser, parameters_of(block), gradients)

    def _output_step(self, net: Chain, state: FotonState, h: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Update the output from features (n, o); E and the loss from before."""
        error, loss = self._error(class_scores(h, net.output.weight, net.output.bias), batch, state.hyper.temperature)
        n, counted = len(batch.y), weighted_rows(error, batch.weight)  # the shift of an example is that of its error alone
        self._update(state.output, list(net.output.parameters()), [counted.t() @ h / n, counted.sum(0) / n])
        return error, loss

    @staticmethod
    def _modulated(state: FotonState, x: Tensor, error: Tensor) -> Tensor:
        """x − ε E F, in the shape of the examples."""
        shift = (error @ state.feedback).reshape(x.shape).mul_(state.hyper.eps)
        return torch.sub(x, shift, out=shift)

    def _masked(self, activity: Tensor, k: int, state: FotonState, batch: Batch) -> Tensor:
        """Behind block k, in place, the same mask in every pass of the batch (drawn again rather than kept)."""
        if self.dropout == 0.0:
            return activity
        return activity.mul_(consistent_mask(batch.key, activity.shape, k, state.hyper.dropout, activity.dtype))

    def _error(self, g: Tensor, batch: Batch, temperature: Tensor) -> tuple[Tensor, Tensor]:
        """E (n, classes), not divided by n, and the mean loss (0-D)."""
        target = one_hot(batch.y, g.shape[1], g.dtype)
        if self.loss == "squared-error":
            error = g - target
            return error, 0.5 * weighted_mean(at_least_float32(error).square().sum(1), batch.weight)
        scaled = temperature * g
        return torch.softmax(scaled, 1) - target, cross_entropy(scaled, batch.y, batch.weight)

    def _update(self, optimiser: Optimiser, parameters: list[Tensor], gradients: list[Tensor]) -> None:
        if self.optimiser == "rms":
            gradients = [g / g.square().mean().sqrt().clamp_min(torch.finfo(g.dtype).tiny) for g in gradients]
        optimiser.step(parameters, gradients)

    def upkeep(self) -> tuple[Upkeep[FotonState], ...]:
        refresh = Upkeep(REFRESH, self.refresh_every, self._refresh)
        if self.orthogonalise_by == "none":
            return (refresh,)
        return (Upkeep(ORTHOGONALISE, self.orthogonalise_every, self._orthogonalise, apart=True), refresh)

    def _orthogonalise(self, net: Chain, state: FotonState, batch: Batch) -> None:
        """Take every weight that is to be orthonormal there, in place."""
        orthonormalise_net_(net, self.orthogonalise_by, self.orthogonalise_steps, output=self.output == "orthonormal")

    def _refresh(self, net: Chain, state: FotonState, batch: Batch) -> None:
        state.feedback.copy_(_compose(net))

    def scores(self, net: Chain, state: FotonState, x: Tensor, phase: Phase) -> Tensor:
        return net(x)

    def cost(self, shape: Shape, phase: Phase) -> Cost:
        low = self.memory == "low"
        upkeep: dict[str, Any] = {REFRESH: shape.classes * shape.forward}
        output = self.output == "orthonormal"
        each = orthogonalisation_macs(shape, self.orthogonalise_by, self.orthogonalise_steps, output=output)
        if each is not None:
            upkeep[ORTHOGONALISE] = each
        return Cost(
            learn=learn_macs(shape, low=low),
            evaluation=shape.n * (shape.forward + shape.output),
            upkeep=upkeep,
            moments=tuple(moments(shape, low=low)),
        )


@torch.no_grad()
def _compose(net: Chain) -> Tensor:
    """F (classes, inputs): the classes' rows of V pushed back through the blocks' operators."""
    rows = net[-1].features_gradient(net.output.weight.detach())
    for block in reversed(list(net)):
        rows = operator.transposed(block, rows)
    return rows.flatten(1)
