"""Forward-Forward: each block learns to answer real examples with high goodness and false ones with low.

Idea
----
The label is part of the input: painted over K pixels of an image, in K inputs of its own beside a table. Positive examples carry
their true label, negative ones a wrong label; every block is trained by logistic loss to put the goodness (sum of squared
activity) of positives above a threshold and that of negatives below. Activity is normalised in length between blocks, so that
goodness cannot be passed on. A class is predicted by trying each label in turn and taking the one with the most goodness, or by
a linear softmax head on the activity of one neutral pass.

Update
------
With K classes, the first K inputs of an image overwritten by the label, or K inputs behind those of a table, whose columns V₁
of the first weight are learned with it; rows stacked as n positives and n negatives (N = 2n), s = 1 for positives:

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
    V₁      state.slot(0).label_weight  (o₁, classes)   of a table; initial values as the first weight's
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
beyond one block's rows; with inference=head the neutral rows of all blocks live until the head has learned.

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
4. A table's label has inputs of its own (the paper has images only, whose border carries nothing); V₁ is beside the net.
5. Peer normalisation is off by default, and its gradient passes the activation's true derivative; the reference code passes it
   on as if the derivative were 1 everywhere, which also wakes silent units.
6. Hybrid images: a mask is blurred six times (the paper: "repeatedly"), and the two images may be of one class.
7. loss=symba takes the pair loss of arXiv 2303.08418 alone, without its intrinsic class pattern.
8. The logit is (goodness − threshold) / temperature; paper and reference code have 1 / width for our temperature (a logit of
   hundreds, of which only the wrong examples learn). 10,000 MNIST examples, ``mlp:2x1000``, 8 passes: 94.5 % of 3,000
   validation examples at 0.1, 91.4 % at 1 / width. ``temperature`` times ``width`` = 1 gives theirs back.

Defaults
--------
    lr = 5e-4               near the tuned 4.76e-4 of arXiv 2509.19063 (MNIST 3x1000, AdamW)
    weight_decay = 3e-4     loeweX/Forward-Forward (reference code)
    threshold = 2           arXiv 2509.19063 and popular ports, per unit; loeweX/Forward-Forward has 1 (θ = width)
    temperature = 0.1       ours, see deviation 8
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
Slow to converge and, by goodness, costly to validate (K passes per example); the label destroys K pixels of an image.

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

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from bpfree.algorithms._base import BlockGradients, LocalAlgorithm
from bpfree.algorithms._closed_form import block_gradients, parameters_of
from bpfree.algorithms._cost import Cost, Shape
from bpfree.algorithms._declared import Phase, Traits
from bpfree.algorithms._fields import choice, natural, number
from bpfree.algorithms.forward_forward import label_inputs
from bpfree.algorithms.forward_forward.cost import cost_of
from bpfree.algorithms.forward_forward.first import first_rows
from bpfree.algorithms.forward_forward.loss import local_loss
from bpfree.algorithms.forward_forward.overlay import Picture, label_gradients
from bpfree.algorithms.forward_forward.passes import block_pass, class_goodness, neutral_pass
from bpfree.algorithms.forward_forward.rows import ForwardSlot, ForwardState, HardBatch, Passed, Rows
from bpfree.algorithms.forward_forward.weak import goodness_weaknesses
from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.nets import Block, Chain, DenseBlock
from bpfree.nets.layout import activity_of, features_in_memory
from bpfree.numerics.goodness import length_normalise, row_squares
from bpfree.numerics.handover import Handover
from bpfree.numerics.local import class_scores
from bpfree.numerics.losses import softmax_residual
from bpfree.numerics.negatives import hard_labels

__all__ = ["ForwardForward"]


@final
@dataclass(frozen=True, kw_only=True)
class ForwardForward(LocalAlgorithm[ForwardState, ForwardSlot, Passed], BlockGradients[ForwardState]):
    """Forward-Forward; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "forward-forward"
    weighs_classes: ClassVar[bool] = True
    replays: ClassVar[bool] = True
    variants: ClassVar[tuple[str, ...]] = ("inference=head",)
    lr: float = number(5e-4, above=0.0)
    weight_decay: float = number(3e-4, low=0.0)
    threshold: float = number(2.0, above=0.0)
    temperature: float = number(0.1, above=0.0)
    label_value: int = natural(3)
    goodness: Literal["sum", "mean"] = choice("sum", ("sum", "mean"))
    goodness_blocks: str = choice("all-but-first", ("all-but-first", "all"))
    loss: str = choice("logistic", ("logistic", "symba"))
    alpha: float = number(64.0, above=0.0)
    negatives: str = choice("uniform", ("uniform", "hard", "hybrid"))
    inference: str = choice("goodness", ("goodness", "head"), readout=True)
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
    def _reads_rows_behind(self) -> bool:
        """Whether the head reads the rows behind every block; that of hard negatives reads a pass of its own."""
        return self._has_head and self.negatives != "hard"

    def _first_voting(self, n_blocks: int) -> int:
        return 1 if self.goodness_blocks == "all-but-first" and n_blocks > 1 else 0

    def _voting(self, net: Chain) -> range:
        return range(self._first_voting(len(net)), len(net))

    def traits(self, net: Chain) -> Traits:
        reads_neutral = self._has_head and self.negatives != "hybrid"
        by_goodness = f"prediction takes {net.n_classes} passes, one per class"
        notes = [by_goodness if self.inference == "goodness" else "a head on one neutral pass predicts"]
        if self.negatives == "hard":
            notes.append("hard negatives read the head: no block learns before the last has seen the neutral input")
        return Traits(
            forward_passes=3.0 if reads_neutral else 2.0,
            gradient_path=1,
            local=self.negatives != "hard",
            autograd=self._uses_autograd(net),
            trains_output=False,
            extra_parameters=label_inputs.n_parameters(net) + (net.n_classes * self._head_width(net) if self._has_head else 0),
            note="; ".join(notes),
        )

    def _head_width(self, net: Chain) -> int:
        return sum(net[k].n_features for k in self._voting(net))

    def _check_net(self, net: Chain) -> None:
        super()._check_net(net)
        if self.negatives != "hybrid":
            label_inputs.check(self.name, net)
        elif len(net.in_shape) != 3:
            raise UsageError(
                f"{self.name}: negatives=hybrid mixes images, but examples are {net.in_shape}; use negatives=uniform"
            )

    def _weaknesses(self, net: Chain, batch_size: int | None = None) -> Iterator[str]:
        return goodness_weaknesses(net, self._voting(net)) if self.inference == "goodness" else iter(())

    def _needs_whole_batch(self, net: Chain) -> str | None:
        if self.negatives != "hybrid":
            return None
        return "negatives=hybrid mixes each image with another one of the batch, which another process may have"

    def init(self, net: Chain, generator: torch.Generator) -> ForwardState:
        net.reset_parameters(generator)
        with net.in_row_order():
            for block in net:
                if isinstance(block, DenseBlock):  # N(0, 1 / fan_out): loeweX/Forward-Forward
                    nn.init.normal_(block.linear.weight, std=block.n_features**-0.5, generator=generator)
        hyper = self._hyper(net)
        slots = [
            ForwardSlot(hyper, self._optimiser([*block.parameters(), *weights]), block.n_features, *weights)
            for block, weights in zip(net, label_inputs.new_weights(net, generator), strict=True)
        ]
        if not self._has_head:
            return ForwardState(hyper, slots, None, None)
        head = nn.Parameter(torch.zeros(net.n_classes, self._head_width(net), dtype=net.dtype, device=net.device))
        optimiser = self._optimiser([head], lr=self.head_lr, weight_decay=self.head_weight_decay)
        return ForwardState(hyper, slots, head, optimiser)

    def _scaled(self, x: Tensor) -> Tensor:
        """Examples divided by the label value: to paint 1 on x / v is to paint v on x, since rows are length-normalised."""
        return x / self.label_value

    def prepare(self, net: Chain, state: ForwardState, batch: Batch, phase: Phase) -> Batch:
        """Hard negatives: the neutral input goes through the net, and its head says which wrong label to paint."""
        if self.negatives != "hard":
            return batch
        h, picture_product = neutral_pass(net, self._scaled(batch.x), self._voting(net), self.maths, state.slot(0).label_weight)
        assert state.head is not None  # hard negatives have one
        wrong = hard_labels(h @ state.head.t(), batch.y, batch.key)
        return HardBatch(batch.x, batch.y, batch.key, batch.weight, wrong=wrong, head_input=h, product=picture_product)

    def enter(self, net: Chain, batch: Batch) -> Passed:
        hybrid, x = self.negatives == "hybrid", self._scaled(batch.x)
        return Passed(first_rows(net, batch, x, self.maths, hybrid=hybrid, reads_neutral=self._reads_rows_behind), ())

    def block_step(
        self, block: Block, slot: ForwardSlot, carry: Passed, y: Tensor, learn: bool, weight: Tensor | None = None
    ) -> tuple[Passed, Tensor]:
        return self._block_step(block, slot, carry, y, learn, weight, last=False)

    def _block_step(
        self, block: Block, slot: ForwardSlot, carry: Passed, y: Tensor, learn: bool, weight: Tensor | None, *, last: bool
    ) -> tuple[Passed, Tensor]:
        rows, labels = carry.rows.learning, carry.rows.labels
        a, saved, neutral_rows = block_pass(block, slot, carry.rows, self.maths)
        pairs, peers = self.loss == "symba", self.peer_normalisation > 0
        rows_in_memory = None if peers else features_in_memory(block, a)  # a running mean of peers has the order of features
        h = block.features(a) if rows_in_memory is None else rows_in_memory
        squares = row_squares(h)
        loss, by_h = local_loss(h, squares, slot, self.goodness, pairs=pairs, peers=peers, learn=learn, weight=weight)
        delta = Handover(block.features_gradient(by_h) if rows_in_memory is None else activity_of(by_h, block.out_shape))
        same = h.numel() == a.numel()  # features may be a mean over positions
        del by_h, h, rows_in_memory
        if learn:
            if isinstance(rows, Picture):
                assert isinstance(block, DenseBlock)
                gradients = label_gradients(block, rows, labels, a, delta, own_columns=slot.label_weight is not None)
            else:
                gradients, _ = block_gradients(block, saved, delta, maths=self.maths, also=slot.label_parameters())
            slot.optimiser.step([*parameters_of(block), *slot.label_parameters()], gradients)
            del gradients
        if last and (neutral_rows is not None or not self._reads_rows_behind):
            after = Rows(y.new_empty(0), labels, neutral_rows, False)  # nothing reads the learning rows
        else:
            after = Rows(length_normalise(a, squares if same else None), labels, neutral_rows, False)
        return Passed(after, (*carry.behind, after.head_rows(len(y))) if self._reads_rows_behind else ()), loss

    def last_step(
        self, block: Block, slot: ForwardSlot, carry: Passed, y: Tensor, weight: Tensor | None = None
    ) -> tuple[Passed, Tensor]:
        """As of any other block, but only the head reads on: the learning rows are freed."""
        passed, loss = self._block_step(block, slot, carry, y, True, weight, last=True)
        return passed._replace(rows=passed.rows._replace(learning=y.new_empty(0), neutral=None)), loss

    def leave(self, net: Chain, state: ForwardState, batch: Batch, carry: Passed) -> None:
        """One step of the softmax head on detached activity."""
        head, optimiser = state.head, state.optimiser
        if head is None or optimiser is None:
            return
        if isinstance(batch, HardBatch):
            h = batch.head_input
        else:
            h = torch.cat([net[k].features(carry.behind[k]) for k in self._voting(net)], 1)
        residual = softmax_residual(class_scores(h, head), batch.y, batch.weight)
        optimiser.step([head], [residual.t() @ h])

    def scores(self, net: Chain, state: ForwardState, x: Tensor, phase: Phase) -> Tensor:
        """Of the head; or the summed goodness of the voting blocks with each label painted in, all in one batched pass."""
        x, voting, label_weight = self._scaled(x), self._voting(net), state.slot(0).label_weight
        if self.inference == "goodness":
            return class_goodness(net, x, voting, self.maths, label_weight, self.goodness)
        assert state.head is not None  # by init
        h, _ = neutral_pass(net, x, voting, self.maths, label_weight, painted=self.negatives != "hybrid")
        return h @ state.head.t()

    def _features(self, net: Chain, state: ForwardState, x: Tensor) -> Iterator[Tensor]:
        """Of the neutral input, normalised in length: what the next block and a head receive."""
        label_weight, painted = state.slot(0).label_weight, self.negatives != "hybrid"
        rows, _ = neutral_pass(net, self._scaled(x), range(len(net)), self.maths, label_weight, painted=painted)
        return iter(rows.split([block.n_features for block in net], dim=1))

    def cost(self, shape: Shape, phase: Phase) -> Cost:
        first_voting, head, by_head = self._first_voting(len(shape.blocks)), self._has_head, self.inference == "head"
        paints = self.maths != "autograd"
        return cost_of(shape, self.negatives, first_voting=first_voting, paints_in_weights=paints, head=head, by_head=by_head)
