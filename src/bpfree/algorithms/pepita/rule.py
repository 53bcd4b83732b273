"""PEPITA: present the error to perturb the input, and learn from what the perturbation changes.

Idea
----
The output error is added to the input through a fixed random matrix and the net runs a second time; each block learns from the
difference of its two activities, times its input. No backward sweep, no derivative in a hidden block. With weight mirroring the
feedback is composed of matrices, one per block, that learn to point where the forward weights do.

Update
------
For blocks l = 1 … L with Aₗ = Mₗ ⊙ φ(Aₗ₋₁ Wₗᵀ + bₗ), A₀ = X flattened, O = A_L Vᵀ + c, and Mₗ the dropout masks of the batch:

    E  = softmax(O) − Y
    Ã₀ = X ± E F                     ± is sign; Ãₗ follows from Ã₀ by the same weights and masks
    dWₗ = (Aₗ − Ãₗ)ᵀ Pₗ₋₁ / n        P = Ã modulated, A standard;  mixed: (Aₗᵀ Aₗ₋₁ − Ãₗᵀ Ãₗ₋₁) / n
    dbₗ = Σₙ (Aₗ − Ãₗ) / n
    dV  = Eᵀ P_L / n (mixed: P = Ã) ,  dc = Σₙ E / n

All are taken with the old weights. In a convolution the difference is taken of the maps behind the nonlinearity, before pooling,
and the product with a patch of P is averaged over the places of the kernel. With mirroring (of dense blocks only),
F = B_V B_L … B₁ (each B in the shape of its weight), and one step of it is, for noise Ξ (m = 64, i), normal of deviation 0.1 and
mean zero over the rows, and the block's answer Υ = φ(Ξ Wᵀ + b) to it:

    B ← (1 − mirror_decay) B + mirror_lr Υᵀ Ξ / m       then all B times one factor, so that the deviation of F stays

E[Υᵀ Ξ] is proportional to W for linear and ReLU units. Before the first batch premirror_steps such steps are made, then one
every mirror_every batches.

Symbols
-------
    Aₗ, Ãₗ  standard, modulated         (n, *shape)     activity of the first and the second pass
    E       error                       (n, classes)    not divided by n
    F       state.feedback              (classes, inputs)
    B       state.mirror_l              (o, i)
    Mₗ      mask                        (n, *shape)     0 or 1 / (1 − dropout), from the stream of the batch
    lr      lr                          –               learning rate
    wd      weight_decay                –               decoupled decay, on all parameters
    –       feedback                    –               distribution of F: uniform, normal or orthogonal
    –       feedback_scale              –               deviation of F times √(inputs / 2)
    –       sign                        –               minus or plus
    –       presynaptic                 –               modulated, standard or mixed
    –       dropout                     –               probability that a hidden activity is masked
    –       initialisation              –               he-uniform or orthogonal
    –       mirroring                   –               whether F is composed of mirrored matrices
    –       premirror_steps             –               steps of mirroring before the first batch
    –       mirror_every                –               batches between later ones
    –       mirror_lr, mirror_decay     –
    –       optimiser, momentum         –               shared by all rules, see ``Algorithm``

Cost per batch
--------------
2 forward passes and the weight gradients: 3 n F multiply-adds with F = Σ oₗ iₗ (mixed: 4 n F, less the output's). Mirroring:
2 m F more in each of its steps, and K F to compose. Extra memory: K n₀ for the feedback, mirrors as large as the weights; the
activities of all blocks, and with dropout their masks.

Locality
--------
None: a hidden block waits for the output error of the same batch, then for the blocks before it. No derivative is taken in a
hidden block (gradient path 0).

Deviations from the paper
-------------------------
1. Inputs are normalised as the data set's are (paper: pixels in [0, 1]); F is larger by as much.
2. Adam may be chosen; biases exist and are trained; the learning rate falls only where the ruleset opens that to all arms.
3. sign = minus, as in the mirroring paper's code (paper: plus). Weights align with F or against it: by symmetry the same rule,
   but mirroring needs minus.
4. Mirroring is counted in steps, not in epochs, always on 64 rows of noise.
5. Where a convolution pools, the difference is taken before pooling (our reading); the mask then lies behind it.

Defaults
--------
    lr = 0.01               ours: on inputs of deviation 1, 0.03 is better on MNIST and 3e-3 on CIFAR-10 (paper: 0.1 and 0.01)
    optimiser = sgd         paper, with momentum 0.9
    feedback = uniform      paper
    feedback_scale = 0.2    ours: the paper's 0.05 √(6 / inputs), for pixels of deviation 1/4, as large relative to ours of 1
    sign = minus            released code of arXiv 2302.05440
    presynaptic = modulated     paper
    dropout = 0.1           paper
    initialisation = he-uniform     paper
    mirroring = False       paper; arXiv 2302.05440 added it
    premirror_steps = 1000  ours, near its 2 epochs
    mirror_every = 10       ours; its code mirrors every 100 epochs
    mirror_lr = 0.1         ours: the cosine of F and V W₁ is then 0.97 after 1000 steps (mlp:1x1024); released code 0.01
    mirror_decay = 1e-4     its released code

Example
-------
>>> import bpfree
>>> data = bpfree.data.load("digits")
>>> net = bpfree.nets.mlp(data.in_shape, (256,), data.n_classes)
>>> rule = bpfree.algorithms.Pepita(lr=0.05)
>>> result = bpfree.fit(rule, net, data, bpfree.Patience(5, max_passes=20))
>>> result.val_accuracy > 0.9
True

Known weakness
--------------
Learns little beyond three hidden blocks; sensitive to the scale of F; the update has no alignment with the gradient until the
weights have turned. bfloat16 is refused: the difference of two nearly equal activities would cancel.

References
----------
@inproceedings{dellaferrera2022pepita,
  title  = {Error-driven Input Modulation: Solving the Credit Assignment Problem without a Backward Pass},
  author = {Dellaferrera, Giorgia and Kreiman, Gabriel},
  booktitle = {ICML},
  year   = {2022},
  note   = {arXiv:2201.11665}
}
@inproceedings{srinivasan2024forward,
  title  = {Forward Learning with Top-Down Feedback: Empirical and Analytical Characterization},
  author = {Srinivasan, Ravi and Mignacco, Francesca and Sorbaro, Martino and Refinetti, Maria and Cooper, Avi and
            Kreiman, Gabriel and Dellaferrera, Giorgia},
  booktitle = {International Conference on Learning Representations},
  year   = {2024},
  note   = {arXiv:2302.05440}
}
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from bpfree.algorithms._base import Algorithm
from bpfree.algorithms._closed_form import parameters_of
from bpfree.algorithms._cost import Cost, Shape
from bpfree.algorithms._declared import Phase, Traits, Upkeep
from bpfree.algorithms._fields import choice, flag, natural, number
from bpfree.algorithms._gather import gathered
from bpfree.algorithms._state import LearningSlot
from bpfree.algorithms.pepita.cost import learn_macs, mirror_macs, moments
from bpfree.algorithms.pepita.mirroring import mirror_, rescale_
from bpfree.algorithms.pepita.responses import respond, response_gradients, why_not
from bpfree.algorithms.pepita.state import PepitaState
from bpfree.algorithms.pepita.weak import depth_weakness
from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.nets import Block, Chain, DenseBlock
from bpfree.nets.operator import weight_of
from bpfree.numerics.dropout import consistent_mask
from bpfree.numerics.feedback import DISTRIBUTIONS, compose, random_feedback
from bpfree.numerics.local import class_scores
from bpfree.numerics.losses import cross_entropy, one_hot, weighted_rows
from bpfree.numerics.orthogonal import orthogonal_

__all__ = ["Pepita", "PepitaState"]

PREMIRROR, MIRROR = "premirror", "mirror"
"""Names of the upkeep."""


@final
@dataclass(frozen=True, kw_only=True)
class Pepita(Algorithm[PepitaState]):
    """PEPITA, with weight mirroring as an option; see the module's docstring for the mathematics."""

    name: ClassVar[str] = "pepita"
    weighs_classes: ClassVar[bool] = True
    replays: ClassVar[bool] = True
    variants: ClassVar[tuple[str, ...]] = ("mirroring=true",)
    lr: float = number(0.01, above=0.0)
    optimiser: str = choice("sgd", ("adam", "sgd"))
    feedback: str = choice("uniform", DISTRIBUTIONS)
    feedback_scale: float = number(0.2, above=0.0)
    sign: str = choice("minus", ("minus", "plus"))
    presynaptic: str = choice("modulated", ("modulated", "standard", "mixed"))
    dropout: float = number(0.1, low=0.0, high=0.9)
    initialisation: str = choice("he-uniform", ("he-uniform", "orthogonal"))
    mirroring: bool = flag(False)
    premirror_steps: int = natural(1000, low=0)
    mirror_every: int = natural(10)
    mirror_lr: float = number(0.1, above=0.0)
    mirror_decay: float = number(1e-4, low=0.0, high=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mirroring and self.sign == "plus":
            raise UsageError(f"{self.name}: mirroring turns the feedback towards the weights, which needs sign=minus, got plus")

    def traits(self, net: Chain) -> Traits:
        return Traits(
            forward_passes=2.0,
            gradient_path=0,
            local=False,
            autograd=False,
            trains_output=True,
            extra_parameters=sum(w.numel() for w in _weights(net)) if self.mirroring else 0,
            note="no derivative in hidden blocks" + ("; feedback by weight mirroring" if self.mirroring else ""),
        )

    def _why_not_bfloat16(self) -> str:
        return "the difference of two nearly equal activities cancels"

    def _check_net(self, net: Chain) -> None:
        super()._check_net(net)
        for k, block in enumerate(net):
            if why := why_not(block):
                raise UsageError(f"{self.name}: block {k} {why}")
            if self.mirroring and type(block) is not DenseBlock:
                raise UsageError(
                    f"{self.name}: block {k} is a {type(block).__name__}, and mirroring needs dense blocks (mlp:1x1024)"
                )

    def _weaknesses(self, net: Chain, batch_size: int | None = None) -> Iterator[str]:
        return depth_weakness(len(net))

    def init(self, net: Chain, generator: torch.Generator) -> PepitaState:
        net.reset_parameters(generator)
        with net.in_row_order():
            for weight in _weights(net):
                if self.initialisation == "orthogonal":
                    orthogonal_(weight.flatten(1), generator)  # a view
                else:
                    nn.init.kaiming_uniform_(weight, nonlinearity="relu", generator=generator)
        mirrors = self._mirrors(net, generator) if self.mirroring else []
        shape = (net.n_classes, math.prod(net.in_shape))
        feedback = random_feedback(shape, self.feedback, self._std(net), generator, like=net.output.weight)
        if mirrors:
            rescale_(mirrors, self._std(net))
            feedback = compose(mirrors)
        slots = [LearningSlot(self._optimiser(list(block.parameters()))) for block in net]
        optimiser = self._optimiser(list(net.output.parameters()))
        return PepitaState(self._hyper(net), slots, optimiser, feedback, mirrors)

    def _std(self, net: Chain) -> float:
        """Deviation of F: that of uniform numbers in ±scale √(6 / inputs)."""
        return self.feedback_scale * (2.0 / math.prod(net.in_shape)) ** 0.5

    def _mirrors(self, net: Chain, generator: torch.Generator) -> list[Tensor]:
        return [random_feedback((w.shape[0], w.shape[1]), "normal", w.shape[1] ** -0.5, generator, like=w) for w in _weights(net)]

    @gathered
    def learn(self, net: Chain, state: PepitaState, batch: Batch, phase: Phase) -> Tensor:
        n, keeps = len(batch.y), self.presynaptic != "modulated"  # whether the clean input of a block is read again
        masks, standard, responses = list(self._masks(net, state, batch)), [], []
        activity = batch.x
        for block, mask in zip(net, masks, strict=True):
            if keeps:
                standard.append(activity)
            activity, response = _masked(block, activity, mask)
            responses.append(response)
            del response
        h = net[-1].features(activity)
        del activity
        error, loss = self._error(class_scores(h, net.output.weight, net.output.bias), batch)
        plain = h if self.presynaptic == "standard" else None
        del h
        modulated = self._modulated(state, batch.x, error)
        for in_order in (masks, standard, responses):
            in_order.reverse()  # each is freed when its block has learned
        for k, block in enumerate(net):
            after, response = _masked(block, modulated, masks.pop())
            before = standard.pop() if keeps else modulated
            clean = responses.pop()
            if self.presynaptic == "mixed":
                of_clean = response_gradients(block, weighted_rows(clean / n, batch.weight), before)
                gradients = response_gradients(block, weighted_rows(response / n, batch.weight), modulated)
                gradients = [one - other for one, other in zip(of_clean, gradients, strict=True)]
            else:
                difference = clean - response if keeps else clean.sub_(response)
                gradients = response_gradients(block, weighted_rows(difference.div_(n), batch.weight), before)
                del difference
            del before, clean, response
            state.slot(k).optimiser.step(parameters_of(block), gradients)
            del gradients
            modulated = after
            del after
        last = net[-1].features(modulated) if plain is None else plain
        error = weighted_rows(error, batch.weight)  # the shift of an example was that of its error alone
        state.optimiser.step(list(net.output.parameters()), [error.t() @ last / n, error.sum(0) / n])
        return loss.reshape(1)

    @staticmethod
    def _error(g: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """softmax − one-hot of scores (n, classes), not divided by n, and the loss (0-D)."""
        loss = cross_entropy(g, batch.y, batch.weight)
        return torch.softmax(g, 1).sub_(one_hot(batch.y, g.shape[1], g.dtype)), loss

    def _modulated(self, state: PepitaState, x: Tensor, error: Tensor) -> Tensor:
        """x ∓ E F, in the shape of the examples."""
        shift = (error @ state.feedback).reshape(x.shape)
        return torch.sub(x, shift, out=shift) if self.sign == "minus" else shift.add_(x)

    def _masks(self, net: Chain, state: PepitaState, batch: Batch) -> Iterator[Tensor | None]:
        """One mask per block, the same for both passes."""
        for k, block in enumerate(net):
            if self.dropout == 0.0:
                yield None
                continue
            shape = (len(batch.y), *block.out_shape)
            yield consistent_mask(batch.key, shape, k, state.hyper.dropout, net.dtype)

    def upkeep(self) -> tuple[Upkeep[PepitaState], ...]:
        if not self.mirroring:
            return ()
        mirror = Upkeep(MIRROR, self.mirror_every, self._mirror, before=True)
        return (Upkeep(PREMIRROR, None, self._premirror, before=True), mirror) if self.premirror_steps else (mirror,)

    def _premirror(self, net: Chain, state: PepitaState, batch: Batch) -> None:
        for index in range(self.premirror_steps):
            self._mirror_once(net, state, batch, index)

    def _mirror(self, net: Chain, state: PepitaState, batch: Batch) -> None:
        self._mirror_once(net, state, batch, self.premirror_steps)

    def _mirror_once(self, net: Chain, state: PepitaState, batch: Batch, index: int) -> None:
        """Step number ``index`` of a batch, and F composed again."""
        mirrors = state.mirrors()
        mirror_(mirrors, net, batch.key, index, lr=state.hyper.mirror_lr, decay=state.hyper.mirror_decay)
        rescale_(mirrors, self._std(net))
        state.feedback.copy_(compose(mirrors))

    def scores(self, net: Chain, state: PepitaState, x: Tensor, phase: Phase) -> Tensor:
        return net(x)

    def cost(self, shape: Shape, phase: Phase) -> Cost:
        mixed = self.presynaptic == "mixed"
        return Cost(
            learn=learn_macs(shape, mixed=mixed),
            evaluation=shape.n * (shape.forward + shape.output),
            upkeep={MIRROR: mirror_macs(shape), PREMIRROR: self.premirror_steps * mirror_macs(shape)} if self.mirroring else {},
            moments=() if mixed else tuple(moments(shape, dropout=self.dropout > 0)),
        )


def _weights(net: Chain) -> list[Tensor]:
    return [*(weight_of(block).detach() for block in net), net.output.weight.detach()]


def _masked(block: Block, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Activity and response; both are masked, but for the response of a block that pools, which lies before the mask."""
    activity, response = respond(block, x)
    if mask is None:
        return activity, response
    same = response is activity
    masked = activity.mul_(mask) if same else activity * mask
    return masked, masked if same else response
