"""The loss of a model's read-out, as a function of the parameters that the read-out depends on.

One loss for every rule: the mean cross-entropy of the class scores, taken as logits (as ``bpfree predict`` takes them), on
validation examples. Scores that are no linear read-out (Forward-Forward's summed goodness) are taken as logits all the same; the
loss is then that of the probabilities that ``bpfree predict`` prints.

Moved are the parameters that change the scores when they change; a head that is not read stays where it is. A model whose scores
are those of its net's output (to rounding) is *plain*: its parameters are those of the net, whatever rule trained it, so that
minima of two rules lie in one space. Any other read-out has a space of its own rule and settings.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bpfree.algorithms import params
from bpfree.data import Dataset
from bpfree.errors import UsageError
from bpfree.models import Model
from bpfree.nets.blocks import BATCH_NORMS

__all__ = ["Material", "Part", "Surface"]

CHUNK = 500
"""Examples scored at once; bounds the memory, and with BatchNorm the examples of one batch of statistics."""

ASKED = 16
"""Examples on which is asked what a read-out depends on."""

SAME_SCORES = 1e-9
"""Largest difference, relative to the largest score, between two ways to compute the same scores in float64."""


@dataclass(frozen=True, eq=False)
class Material:
    """The examples, on one device and in one number format.

    Attributes:
        x, y: validation examples (n, \\*in_shape), normalised, and their labels (n,).
        train_x: training examples on which BatchNorm's statistics are taken.
    """

    x: Tensor
    y: Tensor
    train_x: Tensor

    @classmethod
    def of(cls, data: Dataset, n_validation: int, n_train: int, dtype: torch.dtype = torch.float32) -> Material:
        """The first examples of the validation and of the training split, in stored order and not augmented."""
        data = data.to(data.device, dtype).augmented("none")
        batch = next(data.batches("validation", min(n_validation, data.n("validation")), shuffle=False))
        train = next(data.batches("train", min(n_train, data.n("train")), shuffle=False))
        return cls(batch.x, batch.y, train.x)


@dataclass(frozen=True)
class Part:
    """One parameter within the vector of all.

    Attributes:
        name: as the net or the rule's state has it.
        first: index of its first number.
        filtered: its rows are filters: it has two axes or more and is not BatchNorm's.
    """

    name: str
    shape: torch.Size
    first: int
    filtered: bool

    def of(self, vector: Tensor) -> Tensor:
        """The view of a vector that is this parameter, as rows (n, d); one row where it has no filters."""
        flat = vector[self.first : self.first + self.shape.numel()]
        return flat.reshape(self.shape[0], -1) if self.filtered else flat.reshape(1, -1)


_NO_GRADIENT = "autograd does not differentiate the scores of {} through its blocks, so they have no sharpness and no curvature"


class _Reader(nn.Module):
    """Net and state of a model as one module whose forward gives the scores."""

    def __init__(self, model: Model, dtype: torch.dtype) -> None:
        super().__init__()
        self.net, self.state = copy.deepcopy((model.net, model.state))  # together: a head may be the net's output
        self.net.to(dtype)
        self.state.to(dtype)
        self._rule, self._phase = model.algorithm, model.phase
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self._rule.scores(self.net, self.state, x, self._phase)


class Surface:
    """The loss around one model, whose net and state are copied. Vectors are float64, (n,), on the model's device.

    Attributes:
        space: two surfaces with equal spaces have vectors that mean the same.
        parts: the parameters that are moved, in the order of the vector.
        origin: the model itself.
        no_gradient: why there is no gradient, in one line; empty where there is one.
    """

    def __init__(self, model: Model, material: Material) -> None:
        self._material = material
        reader = _Reader(model, material.x.dtype)
        self._net = reader.net
        self._norms = [module for module in self._net.modules() if isinstance(module, BATCH_NORMS)]
        if _is_plain(model, material):
            self.space = "net"
            self._scores: Callable[[Tensor], Tensor] = self._net
            owner: nn.Module = self._net
        else:
            self.space = f"{model.algorithm.name} {sorted((k, v) for k, v in params(model.algorithm).items() if _structural(v))}"
            self._scores, owner = reader, reader
        x = material.x[:ASKED]
        self._moved = _read_parameters(owner, self._scores, x)
        self.no_gradient = "" if self._is_differentiable(x) else _NO_GRADIENT.format(model.algorithm.name)
        normed = {id(parameter) for module in self._norms for parameter in module.parameters()}
        self.parts = tuple(_parts(self._moved, normed))
        self.origin = torch.cat([parameter.detach().double().flatten() for parameter in self._moved.values()])

    def loss_and_accuracy(self, vector: Tensor) -> tuple[float, float]:
        """Mean cross-entropy (nats) and accuracy (a fraction) at a point."""
        self._move_to(vector)
        total, hits = 0.0, 0
        with torch.no_grad():
            for x, y in self._chunks():
                scores = self._scores(x).double()
                total += float(F.cross_entropy(scores, y, reduction="sum"))
                hits += int((scores.argmax(1) == y).sum())
        return total / len(self._material.y), hits / len(self._material.y)

    def loss(self, vector: Tensor) -> float:
        """Mean cross-entropy (nats) at a point."""
        return self.loss_and_accuracy(vector)[0]

    def gradient(self, vector: Tensor) -> Tensor:
        """Gradient of the loss at a point; BatchNorm's statistics are held as they are there.

        Raises:
            UsageError: autograd cannot differentiate the scores by all parameters that are moved.
        """
        self._check_gradient()
        self._move_to(vector)
        total = torch.zeros_like(vector)
        for x, y in self._chunks():
            total += self._flat(torch.autograd.grad(self._mean_loss(x, y), self._parameters()))
        return total

    def hessian(self, vector: Tensor) -> Callable[[Tensor], Tensor]:
        """H v as a function of v, of the loss at a point; valid until the surface is asked for another point.

        By a second backward pass through the first (Pearlmutter 1994, "Fast exact multiplication by the Hessian").

        Raises:
            UsageError: as :meth:`gradient`.
        """
        self._check_gradient()
        self._move_to(vector)
        parameters = self._parameters()

        def times(v: Tensor) -> Tensor:
            along = [part.of(v).reshape(part.shape).to(self._material.x.dtype) for part in self.parts]
            total = torch.zeros_like(vector)
            for x, y in self._chunks():
                gradients = torch.autograd.grad(self._mean_loss(x, y), parameters, create_graph=True)
                slope = torch.stack([(g * a).sum() for g, a in zip(gradients, along, strict=True)]).sum()
                total += self._flat(torch.autograd.grad(slope, parameters, materialize_grads=True))
            return total

        return times

    def _check_gradient(self) -> None:
        if self.no_gradient:
            raise UsageError(f"{self.no_gradient}; ask for lines, planes and slices alone")

    def _is_differentiable(self, x: Tensor) -> bool:
        scores = self._scores(x)
        if not scores.requires_grad:
            return False
        return all(g is not None for g in torch.autograd.grad(scores.sum(), self._parameters(), allow_unused=True))

    def _parameters(self) -> list[Tensor]:
        return list(self._moved.values())

    @staticmethod
    def _flat(tensors: tuple[Tensor, ...]) -> Tensor:
        return torch.cat([tensor.double().flatten() for tensor in tensors])

    def _mean_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Of some examples, divided by the number of all."""
        return F.cross_entropy(self._scores(x).double(), y, reduction="sum") / len(self._material.y)

    def _chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self._material.x.split(CHUNK), self._material.y.split(CHUNK), strict=True)

    @torch.no_grad()
    def _move_to(self, vector: Tensor) -> None:
        for part, parameter in zip(self.parts, self._moved.values(), strict=True):
            parameter.copy_(part.of(vector).reshape(part.shape))
        if self._norms:
            self._take_statistics()

    def _take_statistics(self) -> None:
        """Running statistics as the means over batches of the training examples, all batches equal in size within one."""
        x = self._material.train_x
        before = [norm.momentum for norm in self._norms]
        for norm in self._norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over batches instead of a moving one
            norm.train()
        for batch in x.tensor_split(-(-len(x) // CHUNK)):
            for block in self._net:
                batch = block(batch)
        for norm, momentum in zip(self._norms, before, strict=True):
            norm.momentum = momentum
            norm.eval()


def _structural(value: object) -> bool:
    """Whether a hyper-parameter is part of the computation (a choice, a count), not a number such as a learning rate."""
    return not isinstance(value, float)


@torch.no_grad()
def _is_plain(model: Model, material: Material) -> bool:
    """Whether the model's scores are those of its net, in float64."""
    exact, x = _Reader(model, torch.float64), material.x[:ASKED].double()
    read, direct = exact(x), exact.net.output_scores(x)
    return read.shape == direct.shape and bool((read - direct).abs().max() <= SAME_SCORES * direct.abs().max())


@torch.no_grad()
def _read_parameters(owner: nn.Module, scores: Callable[[Tensor], Tensor], x: Tensor) -> dict[str, Tensor]:
    """Parameters by name that change the scores: each is changed, read out and put back."""
    known = {name: p for name, p in owner.named_parameters() if p.requires_grad and p.is_floating_point()}
    before = scores(x)
    read = {}
    for name, parameter in known.items():
        value = parameter.clone()
        parameter.mul_(1.01).add_(0.01)
        if not torch.equal(scores(x), before):
            read[name] = parameter
        parameter.copy_(value)
    return read


def _parts(moved: dict[str, Tensor], normed: set[int]) -> Iterator[Part]:
    """Where each parameter lies in the vector.

    Args:
        normed: the identities of BatchNorm's parameters.
    """
    first = 0
    for name, parameter in moved.items():
        yield Part(name.removeprefix("net."), parameter.shape, first, parameter.dim() > 1 and id(parameter) not in normed)
        first += parameter.numel()
