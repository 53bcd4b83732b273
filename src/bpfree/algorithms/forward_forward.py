"""Forward-Forward: each block learns to answer real examples with high goodness and false ones with low.

Idea
----
The label is painted into the input. Positive examples carry their true label, negative ones a wrong label; every block is
trained by logistic loss to put the goodness (sum of squared activity) of positives above a threshold and that of negatives
below. Activity is normalised in length between blocks, so that goodness cannot be passed on. A class is predicted by painting
each label in turn and taking the one with the most goodness.

Update
------
With K classes, the first K inputs overwritten by the label, rows stacked as n positives and n negatives (N = 2n), s = 1 for
positives:

    A₀ = rms(x with label) ,  Z = A₋ Wᵀ + b ,  A = φ(Z) ,  H = features of A
    g  = Σₒ Hₒ²                              goodness of a row
    r  = (σ(g − θ) − s) / N                  residual of the mean logistic loss
    dA = 2 r H                               (2 r H / o for the mean)
    dW = (dA ⊙ φ′(Z))ᵀ A₋ ,  db = Σ dA ⊙ φ′(Z)

and A / rms(A), from before the update, goes to the next block.

Symbols
-------
    A₋, A   carry                       (2n, *shape)    normalised activity before, activity after
    H       block.features(A)           (2n, o)
    g       goodness                    (2n,)
    θ       threshold                   –               per unit: θ = threshold · o for the sum, threshold for the mean
    r       residual                    (2n,)
    lr      lr                          –               learning rate
    wd      weight_decay                –               decoupled decay
    –       goodness                    –               sum or mean of squares
    –       goodness_blocks             –               blocks that vote: all, or all but the first
    –       optimiser, momentum, maths  –               shared by all rules, see ``Algorithm``

Cost per batch
--------------
2 forward passes. n (4 F − 2 F₁) multiply-adds with F = Σ nₗ nₗ₋₁ and F₁ those of a first dense block, whose product with the
unlabelled input is computed once for both halves and whose label columns are looked up, exactly; n 4 F otherwise.
Prediction: K passes, the first dense block's product shared: n (F₁ + K (F − F₁)). Extra memory: none beyond one block's rows.

Locality
--------
Gradient path 1 (one block). Block l may update as soon as its own activity is there; it reads no later block.

Deviations from the paper
-------------------------
1. Label pixels are 1 and 0 *after* the data set's normalisation (as in the public reference code), wherever 0 then lies.
2. All blocks learn on every batch (the paper trains greedily or jointly; the reference code jointly).
3. Adam instead of the reference's SGD, and no cool-down of the learning rate unless the ruleset opens one to all arms.
4. No peer normalisation.

Defaults
--------
    lr = 1e-3               ours, near the tuned 1.33e-3 of the 2026 revision of arXiv 2509.19063 (MNIST 3x1000, AdamW)
    weight_decay = 3e-4     loweX/Forward-Forward (reference code)
    threshold = 1           θ = width for the sum: loweX/Forward-Forward
    goodness = sum          paper, section 2
    goodness_blocks = all-but-first     paper, section 3.2; all, where there is one block

Example
-------
>>> import bpfree
>>> data = bpfree.data.load("digits")
>>> net = bpfree.nets.mlp(data.in_shape, (128, 128), data.n_classes)
>>> result = bpfree.fit(bpfree.algorithms.ForwardForward(lr=3e-3), net, data, bpfree.Patience(10, max_passes=20))
>>> result.val_accuracy > 0.8
True

Known weakness
--------------
Slow to converge and costly to validate (K passes per example); the painted label destroys K inputs.

References
----------
@article{hinton2022forward,
  title  = {The Forward-Forward Algorithm: Some Preliminary Investigations},
  author = {Hinton, Geoffrey},
  journal = {arXiv preprint arXiv:2212.13345},
  year   = {2022}
}
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast, final

import torch
from torch import Tensor, nn

from bpfree.algorithms._base import LocalAlgorithm, Phase, Traits
from bpfree.algorithms._closed_form import block_forward, block_gradients
from bpfree.algorithms._fields import choice, number
from bpfree.algorithms._state import Slot, State
from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.nets import Block, Chain, DenseBlock
from bpfree.numerics.activations import ACTIVATIONS
from bpfree.numerics.goodness import (
    GoodnessKind,
    goodness,
    goodness_gradient,
    length_normalise,
    logistic_loss,
    logistic_residual,
)
from bpfree.numerics.losses import one_hot
from bpfree.numerics.streams import integers

__all__ = ["ForwardForward", "Painted", "paint", "wrong_labels"]


class Painted(NamedTuple):
    """Examples whose labels are not painted in yet: the first dense block does it in its weights.

    Attributes:
        x: (n, inputs), label pixels zero, scaled as if one of them were 1 (so that painting keeps length √inputs).
        value: (n, 1), what a label pixel of 1 has become by that scaling.
        labels: (k, n) int64: k labels for each example.
        n_classes: number of label pixels.
    """

    x: Tensor
    value: Tensor
    labels: Tensor
    n_classes: int


def wrong_labels(y: Tensor, n_classes: int, key: Tensor) -> Tensor:
    """Labels (n,) uniform over the classes that are not ``y``, drawn from the batch's stream."""
    return (y + 1 + integers(key, y.shape, n_classes - 1)) % n_classes


def paint(x: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Overwrite the first ``n_classes`` inputs of each example by its one-hot label (1 and 0), in a copy."""
    flat = x.flatten(1).clone()
    flat[:, :n_classes] = one_hot(labels, n_classes, x.dtype)
    return flat.reshape(x.shape)


def _unpainted(x: Tensor, labels: Tensor, n_classes: int) -> Painted:
    blank = x.flatten(1).clone()
    blank[:, :n_classes] = 0
    marked = blank.clone()
    marked[:, 0] = 1  # every label paints one 1 and K − 1 zeros, so the length does not depend on which
    value = length_normalise(marked)[:, :1]
    return Painted(blank * value, value, labels, n_classes)


@final
@dataclass(frozen=True, kw_only=True)
class ForwardForward(LocalAlgorithm):
    """Forward-Forward; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "forward-forward"
    lr: float = number(1e-3, above=0.0)
    weight_decay: float = number(3e-4, low=0.0)
    threshold: float = number(1.0, above=0.0)
    goodness: str = choice("sum", ("sum", "mean"))
    goodness_blocks: str = choice("all-but-first", ("all-but-first", "all"))

    def traits(self, net: Chain) -> Traits:
        return Traits(
            forward_passes=2.0,
            gradient_path=1,
            local=True,
            autograd=self.maths_used(net) != "closed",
            trains_output=False,
            extra_parameters=0,
            note=f"prediction takes {net.n_classes} passes, one per class",
        )

    def check_net(self, net: Chain) -> None:
        super().check_net(net)
        if math.prod(net.in_shape) <= net.n_classes:
            raise UsageError(
                f"{self.name}: {net.n_classes} label pixels do not fit into {math.prod(net.in_shape)} inputs; "
                "use another rule, such as mono-forward"
            )

    def init(self, net: Chain, generator: torch.Generator) -> State:
        net.reset_parameters(generator)
        for block in net:
            if isinstance(block, DenseBlock):  # N(0, 1 / fan_out): loweX/Forward-Forward
                nn.init.normal_(block.linear.weight, std=block.n_features**-0.5, generator=generator)
        return State(Slot(self._hyper(net), self._optimiser(list(block.parameters()))) for block in net)

    def _paints_in_weights(self, block: Block) -> bool:
        return isinstance(block, DenseBlock) and self.maths != "autograd"

    def enter(self, net: Chain, batch: Batch) -> Tensor | Painted:
        wrong = wrong_labels(batch.y, net.n_classes, batch.key)
        labels = torch.stack([batch.y, wrong])  # (2, n): positives first
        return self._entry(net, batch.x, labels)

    def _entry(self, net: Chain, x: Tensor, labels: Tensor) -> Tensor | Painted:
        """Every label of (k, n) painted on its example, normalised: (k n, *in_shape), or unpainted for a dense block."""
        if self._paints_in_weights(net[0]):
            return _unpainted(x, labels, net.n_classes)
        return length_normalise(torch.cat([paint(x, row, net.n_classes) for row in labels]))

    def block_step(
        self, block: Block, slot: Slot, carry: Tensor | Painted, y: Tensor, learn: bool
    ) -> tuple[Tensor, Tensor]:
        if isinstance(carry, Painted):
            a, saved = _painted_forward(cast(DenseBlock, block), carry), ()
        else:
            a, saved = block_forward(block, carry, self.maths)
        h = block.features(a)
        g = goodness(h, self._kind)
        threshold = self._threshold(block, slot)
        if learn:
            delta = block.features_gradient(goodness_gradient(h, logistic_residual(g, threshold), self._kind))
            if isinstance(carry, Painted):
                gradients = _painted_gradients(cast(DenseBlock, block), carry, a, delta)
            else:
                gradients, _ = block_gradients(block, saved, delta, maths=self.maths)
            slot.optimiser.step(list(block.parameters()), gradients)
        return length_normalise(a), logistic_loss(g, threshold)

    @property
    def _kind(self) -> GoodnessKind:
        return cast(GoodnessKind, self.goodness)

    def _threshold(self, block: Block, slot: Slot) -> Tensor:
        return slot.hyper.threshold * (block.n_features if self.goodness == "sum" else 1)

    def scores(self, net: Chain, state: State, x: Tensor, phase: Phase) -> Tensor:
        """Summed goodness of the voting blocks with each label painted in: all labels in one batched pass."""
        n, n_classes = x.shape[0], net.n_classes
        every = torch.arange(n_classes, device=x.device).unsqueeze(1).expand(n_classes, n)
        carry = self._entry(net, x, every)
        total = torch.zeros(n_classes * n, device=x.device, dtype=torch.float32)
        votes_from = 1 if self.goodness_blocks == "all-but-first" and len(net) > 1 else 0
        for k, block in enumerate(net):
            a = _painted_forward(cast(DenseBlock, block), carry) if isinstance(carry, Painted) else block(carry)
            if k >= votes_from:
                total = total + goodness(block.features(a), self._kind)
            carry = length_normalise(a)
        return total.reshape(n_classes, n).t()


def _painted_forward(block: DenseBlock, carry: Painted) -> Tensor:
    """The first dense block on every labelling: one product for the picture, one looked-up column per label."""
    z = nn.functional.linear(carry.x, block.linear.weight, block.linear.bias)  # (n, o)
    columns = block.linear.weight.t()[carry.labels]  # (k, n, o)
    return ACTIVATIONS[block.activation].apply(z + carry.value * columns).flatten(0, 1)


def _painted_gradients(block: DenseBlock, carry: Painted, a: Tensor, delta: Tensor) -> list[Tensor]:
    """Gradients by [weight, bias]: the picture's part from the summed deltas, the label columns by scattering."""
    k, n = carry.labels.shape
    dz = ACTIVATIONS[block.activation].gradient(delta, a)
    by_weight = dz.reshape(k, n, -1).sum(0).t() @ carry.x  # (o, i); its label columns are zero, as carry.x's are
    columns = dz.new_zeros(carry.n_classes, dz.shape[1])
    columns.index_add_(0, carry.labels.flatten(), dz * carry.value.repeat(k, 1))
    by_weight[:, : carry.n_classes] = columns.t()
    return [by_weight] if block.linear.bias is None else [by_weight, dz.sum(0)]
