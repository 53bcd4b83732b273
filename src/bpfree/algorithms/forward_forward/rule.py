"""Forward-Forward: each block learns to answer real examples with high goodness and false ones with low.

Idea
----
The label is painted into the input. Positive examples carry their true label, negative ones a wrong label; every block is
trained by logistic loss to put the goodness (sum of squared activity) of positives above a threshold and that of negatives
below. Activity is normalised in length between blocks, so that goodness cannot be passed on. A class is predicted by painting
each label in turn and taking the one with the most goodness, or by a linear softmax head on the activity of one neutral pass.

Update
------
With K classes, the first K inputs overwritten by the label, rows stacked as n positives and n negatives (N = 2n), s = 1 for
positives:

    A₀ = rms(x with label) ,  Z = A₋ Wᵀ + b ,  A = φ(Z) ,  H = features of A
    g  = Σₒ Hₒ²                              goodness of a row
    r  = (σ((g − θ) / τ) − s) / (N τ)        residual of the mean logistic loss
    r± = ∓ α σ(−α (g₊ − g₋)) / n             the same for loss=symba, softplus(−α (g₊ − g₋)) of each pair
    dH = 2 r H                               (2 r H / o for the mean)
       + λ (2/o)(μ − mean μ)(1 − m)/n        peer normalisation, on positive rows; μ ← m μ + (1 − m) mean H₊
    dW = (dA ⊙ φ′(Z))ᵀ A₋ ,  db = Σ dA ⊙ φ′(Z) ,  dA = dH in the shape of A

and A / rms(A), from before the update, goes to the next block. Negatives are

    uniform   a wrong label, all equally likely
    hard      a wrong label, drawn with the softmax probabilities V H⁰ of the wrong classes
    hybrid    no labels at all: m ⊙ x + (1 − m) ⊙ x′ with another image x′ and a smooth random mask m; the head reads x

The head, where there is one, learns from the normalised activity H⁰ of the voting blocks for the neutral input (every label
pixel 0.1), detached:  dV = ((softmax(H⁰ Vᵀ) − Y) / n)ᵀ H⁰.

Symbols
-------
    A₋, A   carry                       (2n, *shape)    normalised activity before, activity after
    H       block.features(A)           (2n, o)
    g       goodness                    (2n,)
    θ       threshold                   –               per unit: θ = threshold · o for the sum, threshold for the mean
    τ       temperature                 –               per unit, as the threshold: τ = temperature · o for the sum
    r       residual                    (2n,)
    α       alpha                       –               steepness of loss=symba: α = alpha / o for the sum, alpha for the mean
    λ       peer_normalisation          –               weight of peer normalisation, 0 for none
    μ, m    slot.mean_activity, 0.9     (o,)            running mean over positive rows, starts at 0.5
    H⁰      carries                     (n, Σ o)        activity of the voting blocks for the neutral input
    V       state.head                  (classes, Σ o)  softmax head: no bias, starts at 0
    lr      lr, head_lr                 –               learning rates of blocks and head
    wd      weight_decay, head_weight_decay  –          decoupled decay of blocks and head
    v       label_value                 –               value of a label pixel, in units of the normalised data
    –       goodness                    –               sum or mean of squares
    –       goodness_blocks             –               blocks that vote and feed the head: all, or all but the first
    –       loss                        –               logistic or symba
    –       negatives                   –               uniform, hard or hybrid
    –       inference                   –               goodness (one pass per class) or head (one pass)
    –       optimiser, momentum, maths  –               shared by all rules, see ``Algorithm``

Cost per batch
--------------
2 forward passes, 3 with a head that reads a neutral input (inference=head or negatives=hard). With F = Σ nₗ nₗ₋₁ and F₁ that of
a first dense block, whose product with the unlabelled input is computed once for all labellings and whose label columns are
looked up, exactly: n (4 F − 2 F₁) multiply-adds, with a head n (5 F − 3 F₁ + 2 K Σ o); without that trick (hybrids, other
first blocks) n 4 F and n 5 F. Prediction by goodness: n (F₁ + K (F − F₁)); by the head: n (F + K Σ o). Extra memory: none
beyond one block's rows; with inference=head the rows of all blocks live until the head has learned.

Locality
--------
Gradient path 1 (one block). Block l may update as soon as its own activity is there; it reads no later block. Except for
negatives=hard: the wrong label comes from the head, which reads later blocks, so no block may update before the last has been
through the neutral input.

Deviations from the paper
-------------------------
1. Label pixels are v and 0 (neutral: 0.1 v) *after* the data set's normalisation, wherever 0 then lies. v = 3 is about the
   brightest pixel of normalised MNIST (2.82), which is what 1 is in the paper's unnormalised pictures; with v = 1 on normalised
   pictures the label drowns (10,000 MNIST examples, 10 passes: 89.4 % against 92.2 %).
2. All blocks learn on every batch (the paper trains greedily or jointly; the reference code jointly).
3. Adam instead of the reference's SGD, and no cool-down of the learning rate unless the ruleset opens one to all arms.
4. Peer normalisation is off by default, and its gradient passes the activation's true derivative; the reference code passes it
   on as if the derivative were 1 everywhere, which also wakes silent units.
5. Hybrid images: a mask is blurred six times (the paper: "repeatedly"), and the two images may be of one class.
6. loss=symba takes the pair loss of arXiv 2303.08418 alone, without its intrinsic class pattern.
7. The logit is (goodness − threshold) / temperature; paper and reference code have 1 / width for our temperature (a logit of
   hundreds, of which only the wrong examples learn). 10,000 MNIST examples, ``mlp:2x1000``, 8 passes: 94.5 % of 3,000
   validation examples at 0.1, 91.4 % at 1 / width. ``temperature`` times ``width`` = 1 gives theirs back.

Defaults
--------
    lr = 5e-4               near the tuned 4.76e-4 of arXiv 2509.19063 (MNIST 3x1000, AdamW)
    weight_decay = 3e-4     loeweX/Forward-Forward (reference code)
    threshold = 2           arXiv 2509.19063 and popular ports, per unit; loeweX/Forward-Forward has 1 (θ = width)
    temperature = 0.1       ours, see deviation 7
    label_value = 3         ours, see deviation 1
    goodness = sum          paper, section 2
    goodness_blocks = all-but-first     paper, section 3.2; all, where there is one block
    loss = logistic         paper, section 2
    alpha = 64              ours: 16 beat 4 on 10,000 examples of MNIST, 64 beat 16 on all of them (4 passes)
    negatives = uniform     loeweX/Forward-Forward; the paper has hard ones
    inference = goodness    paper, section 3.3 (the more accurate of the two)
    peer_normalisation = 0  off; the reference code has 0.03
    head_lr = 1e-3          ours: smoother than 3e-3 and 1e-2 on 10,000 examples of MNIST; 1e-2 (SGD) in the reference code
    head_weight_decay = 3e-3    loeweX/Forward-Forward

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
Slow to converge and, by goodness, costly to validate (K passes per example); the painted label destroys K inputs.

References
----------
@article{hinton2022forward,
  title  = {The Forward-Forward Algorithm: Some Preliminary Investigations},
  author = {Hinton, Geoffrey},
  journal = {arXiv preprint arXiv:2212.13345},
  year   = {2022}
}
@article{lee2023symba,
  title  = {SymBa: Symmetric Backpropagation-Free Contrastive Learning with Forward-Forward Algorithm for Optimizing Convergence},
  author = {Lee, Heung-Chang and Song, Jeonggeun},
  journal = {arXiv preprint arXiv:2303.08418},
  year   = {2023}
}
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast, final

import torch
from torch import Tensor, nn

from bpfree.algorithms._base import LocalAlgorithm, Phase, Traits
from bpfree.algorithms._closed_form import block_activity, block_forward, block_gradients
from bpfree.algorithms._fields import choice, natural, number
from bpfree.algorithms._state import Slot, State
from bpfree.algorithms.forward_forward.overlay import (
    Picture,
    blank_picture,
    label_gradients,
    labelled,
    labelled_activity,
    neutral,
    neutral_activity,
    product,
)
from bpfree.algorithms.forward_forward.rows import ForwardSlot, ForwardState, Rows, Surveyed
from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.nets import Block, Chain, DenseBlock
from bpfree.numerics.goodness import (
    GoodnessKind,
    goodness,
    goodness_gradient,
    length_normalise,
    logistic_loss,
    logistic_residual,
    pair_loss,
    pair_residual,
)
from bpfree.numerics.losses import softmax_residual
from bpfree.numerics.negatives import hard_labels, hybrid_images, wrong_labels
from bpfree.numerics.peers import peer_gradient, peer_loss, update_mean_

__all__ = ["ForwardForward"]


@final
@dataclass(frozen=True, kw_only=True)
class ForwardForward(LocalAlgorithm):
    """Forward-Forward; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "forward-forward"
    lr: float = number(5e-4, above=0.0)
    weight_decay: float = number(3e-4, low=0.0)
    threshold: float = number(2.0, above=0.0)
    temperature: float = number(0.1, above=0.0)
    label_value: int = natural(3)
    goodness: str = choice("sum", ("sum", "mean"))
    goodness_blocks: str = choice("all-but-first", ("all-but-first", "all"))
    loss: str = choice("logistic", ("logistic", "symba"))
    alpha: float = number(64.0, above=0.0)
    negatives: str = choice("uniform", ("uniform", "hard", "hybrid"))
    inference: str = choice("goodness", ("goodness", "head"))
    peer_normalisation: float = number(0.0, low=0.0)
    head_lr: float = number(1e-3, above=0.0)
    head_weight_decay: float = number(3e-3, low=0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.negatives == "hybrid" and self.inference != "head":
            raise UsageError(f"{self.name}: negatives=hybrid paints no labels, so no label can be tried out; set inference=head")

    @property
    def _has_head(self) -> bool:
        return self.inference == "head" or self.negatives == "hard"

    @property
    def _kind(self) -> GoodnessKind:
        return cast(GoodnessKind, self.goodness)

    def _voting(self, net: Chain) -> range:
        return range(1 if self.goodness_blocks == "all-but-first" and len(net) > 1 else 0, len(net))

    def traits(self, net: Chain) -> Traits:
        reads_neutral = self._has_head and self.negatives != "hybrid"
        passes = f"prediction takes {net.n_classes} passes, one per class"
        notes = [passes] if self.inference == "goodness" else ["a head on one neutral pass predicts"]
        if self.negatives == "hard":
            notes.append("hard negatives read the head: no block learns before the last has seen the neutral input")
        return Traits(
            forward_passes=3.0 if reads_neutral else 2.0,
            gradient_path=1,
            local=self.negatives != "hard",
            autograd=self.maths_used(net) != "closed",
            trains_output=False,
            extra_parameters=net.n_classes * self._head_width(net) if self._has_head else 0,
            note="; ".join(notes),
        )

    def _head_width(self, net: Chain) -> int:
        return sum(net[k].n_features for k in self._voting(net))

    def check_net(self, net: Chain) -> None:
        super().check_net(net)
        if self.negatives == "hybrid":
            if len(net.in_shape) != 3:
                raise UsageError(
                    f"{self.name}: negatives=hybrid mixes images, but examples are {net.in_shape}; use negatives=uniform"
                )
        elif math.prod(net.in_shape) <= net.n_classes:
            raise UsageError(
                f"{self.name}: {net.n_classes} label pixels do not fit into {math.prod(net.in_shape)} inputs; "
                "use another rule, such as mono-forward"
            )

    def init(self, net: Chain, generator: torch.Generator) -> State:
        net.reset_parameters(generator)
        for block in net:
            if isinstance(block, DenseBlock):  # N(0, 1 / fan_out): loeweX/Forward-Forward
                nn.init.normal_(block.linear.weight, std=block.n_features**-0.5, generator=generator)
        slots = [ForwardSlot(self._hyper(net), self._optimiser(list(block.parameters())), block.n_features) for block in net]
        if not self._has_head:
            return ForwardState(slots, None, None)
        head = nn.Parameter(torch.zeros(net.n_classes, self._head_width(net), dtype=net.dtype, device=net.device))
        optimiser = self._optimiser([head], lr=self.head_lr, weight_decay=self.head_weight_decay)
        return ForwardState(slots, head, optimiser)

    def _lit(self, x: Tensor) -> Tensor:
        """The examples by the light of the label: painting 1 on x / v is painting v on x, since rows are length-normalised."""
        return x / self.label_value

    def _paints_in_weights(self, block: Block) -> bool:
        return type(block) is DenseBlock and self.maths != "autograd"

    def prepare(self, net: Chain, state: State, batch: Batch, phase: Phase) -> Batch:
        """Hard negatives: the neutral input goes through the net, and its head says which wrong label to paint."""
        if self.negatives != "hard":
            return batch
        h, of_picture = self._neutral_pass(net, batch.x)
        wrong = hard_labels(h @ cast(ForwardState, state).head.t(), batch.y, batch.key)
        return Surveyed(batch.x, batch.y, batch.key, wrong, h, of_picture)

    def _neutral_pass(self, net: Chain, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the head reads, (n, Σ o), and the first dense block's product with the picture."""
        of_picture: Tensor | None = None
        parts = []
        x = self._lit(x)
        a = x if self.negatives == "hybrid" else neutral(x, net.n_classes)
        for k, block in enumerate(net):
            if k == 0 and self.negatives != "hybrid" and self._paints_in_weights(block):
                dense, picture = cast(DenseBlock, block), blank_picture(x, net.n_classes)
                of_picture = product(dense, picture)
                a = neutral_activity(dense, picture, of_picture)
            else:
                a = block_activity(block, length_normalise(a), statistics="batch")
            if k in self._voting(net):
                parts.append(block.features(length_normalise(a)))
        return torch.cat(parts, 1), of_picture

    def enter(self, net: Chain, batch: Batch) -> Rows:
        y, key, n_classes, x = batch.y, batch.key, net.n_classes, self._lit(batch.x)
        if self.negatives == "hybrid":
            rows = torch.cat([x, hybrid_images(x, key)])
            return Rows(length_normalise(rows), y, None, False)
        wrong = batch.wrong if isinstance(batch, Surveyed) else wrong_labels(y, n_classes, key)
        labels = torch.stack([y, wrong])  # (2, n): positives first
        reads_neutral = self.keeps_carries
        if self._paints_in_weights(net[0]):
            picture = blank_picture(x, n_classes)
            if isinstance(batch, Surveyed):
                picture = picture._replace(product=batch.product)
            return Rows(picture, labels, None, reads_neutral)
        rows = torch.cat([labelled(x, row, n_classes) for row in labels])
        aside = length_normalise(neutral(x, n_classes)) if reads_neutral else None
        return Rows(length_normalise(rows), labels, aside, reads_neutral)

    def block_step(self, block: Block, slot: Slot, carry: Rows, y: Tensor, learn: bool) -> tuple[Rows, Tensor]:
        rows, aside = carry.learning, carry.neutral
        if isinstance(rows, Picture):
            dense = cast(DenseBlock, block)
            of_picture, saved = product(dense, rows), None
            a = labelled_activity(dense, rows, of_picture, carry.labels)
            aside = neutral_activity(dense, rows, of_picture) if carry.reads_neutral else None
        else:
            a, saved = block_forward(block, rows, self.maths)
            if aside is not None:
                aside = block_activity(block, aside, statistics="batch")
        h = block.features(a)
        loss, of_features = self._local_loss(block, slot, h, learn)
        if learn:
            delta = block.features_gradient(of_features)
            if isinstance(rows, Picture):
                gradients = label_gradients(cast(DenseBlock, block), rows, carry.labels, a, delta)
            else:
                gradients, _ = block_gradients(block, saved, delta, maths=self.maths)
            slot.optimiser.step(list(block.parameters()), gradients)
        return Rows(length_normalise(a), carry.labels, None if aside is None else length_normalise(aside), False), loss

    def _local_loss(self, block: Block, slot: Slot, h: Tensor, learn: bool) -> tuple[Tensor, Tensor]:
        """A block's loss, and its derivative by the features (2n, o)."""
        g = goodness(h, self._kind)
        units = block.n_features if self.goodness == "sum" else 1
        if self.loss == "symba":
            alpha = slot.hyper.alpha / units
            loss, residual = pair_loss(g, alpha), pair_residual(g, alpha)
        else:
            threshold, temperature = slot.hyper.threshold * units, slot.hyper.temperature * units
            loss, residual = logistic_loss(g, threshold, temperature), logistic_residual(g, threshold, temperature)
        gradient = goodness_gradient(h, residual, self._kind)
        if self.peer_normalisation > 0:
            mean, n, weight = cast(ForwardSlot, slot).mean_activity, h.shape[0] // 2, slot.hyper.peer_normalisation
            if learn:
                update_mean_(mean, h[:n])
            gradient[:n] += (weight * peer_gradient(mean, n)).to(h.dtype)
            loss = loss + weight * peer_loss(mean)
        return loss, gradient

    @property
    def keeps_carries(self) -> bool:
        return self._has_head and self.negatives != "hard"

    def leave(self, net: Chain, state: State, batch: Batch, carries: list[Rows], learn: bool) -> None:
        """One step of the softmax head on detached activity."""
        if not (self._has_head and learn):
            return
        if isinstance(batch, Surveyed):
            h = batch.head_input
        else:
            n = batch.y.shape[0]
            read = [cast(Tensor, carry.learning)[:n] if carry.neutral is None else carry.neutral for carry in carries]
            h = torch.cat([net[k].features(read[k]) for k in self._voting(net)], 1)
        head = cast(ForwardState, state).head
        residual = softmax_residual(h @ head.t(), batch.y)
        state.optimiser.step([head], [residual.t() @ h])

    def scores(self, net: Chain, state: State, x: Tensor, phase: Phase) -> Tensor:
        """Of the head; or the summed goodness of the voting blocks with each label painted in, all in one batched pass."""
        if self.inference == "head":
            return self._neutral_pass(net, x)[0] @ cast(ForwardState, state).head.t()
        n, n_classes = x.shape[0], net.n_classes
        x = self._lit(x)
        every = torch.arange(n_classes, device=x.device).unsqueeze(1).expand(n_classes, n)
        total = torch.zeros(n_classes * n, device=x.device)
        a = x
        for k, block in enumerate(net):
            if k == 0 and self._paints_in_weights(block):
                picture = blank_picture(x, n_classes)
                a = labelled_activity(cast(DenseBlock, block), picture, product(cast(DenseBlock, block), picture), every)
            else:
                if k == 0:
                    a = torch.cat([labelled(x, row, n_classes) for row in every])
                a = block(length_normalise(a))
            if k in self._voting(net):
                total = total + goodness(block.features(a), self._kind)
        return total.reshape(n_classes, n).t()
