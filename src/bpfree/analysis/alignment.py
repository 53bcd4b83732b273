"""How well a rule's update aligns with backprop's gradient, block by block: cosine and ratio of norms.

Any rule can be asked, because nothing is read but its ``learn``: on float64 twins of net and state, with plain SGD at learning
rate 1 and without decay or dropout, the change of the parameters *is* the update before the optimiser. For every block the
changes of all its parameters are one vector; backprop's, by the same batch, another.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bpfree.algorithms import Algorithm, Backprop, Optimiser, Phase, State, params
from bpfree.analysis._training import over_training
from bpfree.data import Batch, Dataset
from bpfree.nets import Chain
from bpfree.train import Patience

__all__ = ["Alignment", "alignment", "alignment_over_training"]

_PLAIN: dict[str, Any] = {
    "optimiser": "sgd",
    "momentum": 0.0,
    "lr": 1.0,
    "weight_decay": 0.0,
    "dropout": 0.0,
}
"""What makes ``learn`` show the bare update: values of the shared hyper-parameters, and dropout off in a rule that has it."""


@dataclass(frozen=True)
class Alignment:
    """Of one batch, at one moment of training.

    Attributes:
        passes: over the training split so far.
        cosine: of the angle between update and gradient, per block and then of the output; NaN where either is zero.
        norm_ratio: norm of the update over that of the gradient, likewise.
    """

    passes: int
    cosine: tuple[float, ...]
    norm_ratio: tuple[float, ...]


def alignment(
    rule: Algorithm, net: Chain, state: State, batch: Batch, *, phase: Phase | None = None, passes: int = 0
) -> Alignment:
    """Compare the update that ``rule`` would make from this batch with backprop's gradient. Net and state are not changed.

    Args:
        rule: that ``state`` was made by.
        phase: of the rule; by default its last.
        passes: handed on to the result.
    """
    ours = _update(rule, net, state, batch, phase)
    theirs = _update(Backprop(), net, None, batch, None)
    cosine, ratio = [], []
    for mine, gradient in zip(ours, theirs, strict=True):
        size, reference = float(mine.norm()), float(gradient.norm())
        known = size > 0 and reference > 0
        cosine.append(float(mine @ gradient) / (size * reference) if known else math.nan)
        ratio.append(size / reference if reference > 0 else math.nan)
    return Alignment(passes, tuple(cosine), tuple(ratio))


def alignment_over_training(
    rule: Algorithm,
    net: Chain,
    data: Dataset,
    stop: Patience,
    *,
    n_examples: int = 512,
    **options: Any,
) -> Iterator[Alignment]:
    """Train, and yield the alignment before the first pass and after each (or each ``every``-th).

    After the last pass the net is the restored one, as :func:`bpfree.training` leaves it; ``restore_best=False`` in the stop
    rule keeps it as training has made it.

    Args:
        n_examples: of the validation split, the first in its order, on which it is measured.
        options: ``every``, ``known``, ``seed``, and those of :func:`bpfree.training`.
    """
    batch = next(iter(data.batches("validation", n_examples, shuffle=False)))

    def look(state: State, phase: Phase | None, passes: int) -> Alignment:
        return alignment(rule, net, state, batch, phase=phase, passes=passes)

    yield from over_training(rule, net, data, stop, look, **options)


@torch.no_grad()
def _update(rule: Algorithm, net: Chain, state: State | None, batch: Batch, phase: Phase | None) -> list[Tensor]:
    """What the rule takes away from the parameters: one vector per block, then one for the output."""
    known = params(rule)
    plain = dataclasses.replace(rule, **{name: value for name, value in _PLAIN.items() if name in known})
    twin = copy.deepcopy(net).to(torch.float64)
    twin_state = plain.init(twin.to("cpu"), torch.Generator().manual_seed(0))
    twin.to(net.device)
    twin_state.to(net.device)
    twin.load_state_dict(net.state_dict())
    if state is not None:
        _copy_all_but_optimisers(twin_state, state)
    before = [_flat(part) for part in (*twin, twin.output)]
    exact = Batch(batch.x.to(torch.float64), batch.y, batch.key, batch.weight)
    plain.learn(twin, twin_state, exact, phase or plain.phases(twin)[-1])
    return [old - _flat(part) for old, part in zip(before, (*twin, twin.output), strict=True)]


@torch.no_grad()
def _copy_all_but_optimisers(target: State, source: State) -> None:
    optimisers = tuple(f"{name}." for name, module in target.named_modules() if isinstance(module, Optimiser))
    hyper = ".lr", "hyper.weight_decay"
    values = source.state_dict()
    for name, tensor in target.state_dict().items():
        if name in values and not name.startswith(optimisers or "\0") and not name.endswith(hyper):
            tensor.copy_(values[name])


def _flat(part: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in part.parameters()] or [torch.zeros(0)]).clone()
