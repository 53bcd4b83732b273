"""What a rule learns beside the net: heads, feedback, optimiser moments, hyper-parameters as 0-D tensors.

Everything is allocated once, registered, and mutated in place; nothing is ever rebound. A checkpoint is a ``state_dict``,
and addresses are stable for compiled and captured steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from bpfree.algorithms._addition import Addition
from bpfree.algorithms._count import StepCount
from bpfree.algorithms._gather import Gather, is_small
from bpfree.numerics.updates import adam_step_, decay_, same_layout, sgd_step_

__all__ = [
    "HeadSlot",
    "Hyper",
    "LearningSlot",
    "NetState",
    "Optimiser",
    "ProjectionSlot",
    "Slot",
    "State",
    "model_tensors",
    "named_tensors",
]


def _hyper_dtype(dtype: torch.dtype) -> torch.dtype:
    """0-D hyper-parameters are float64 for float64 nets (the proofs) and float32 otherwise (fused kernels read that)."""
    return torch.float64 if dtype == torch.float64 else torch.float32


class Hyper(nn.Module):
    """Numeric hyper-parameters as 0-D buffers, reached as attributes."""

    def __init__(self, values: Mapping[str, float], dtype: torch.dtype) -> None:
        super().__init__()
        for name, value in values.items():
            self.register_buffer(name, torch.tensor(value, dtype=_hyper_dtype(dtype)))

    def __getattr__(self, name: str) -> Tensor:
        buffer = self.__dict__["_buffers"].get(name)  # at once, without what nn.Module tries first
        # torch: an attribute may be a module
        return super().__getattr__(name) if buffer is None else buffer  # pyright: ignore[reportReturnType]


class Optimiser(nn.Module):
    """Moments for a fixed list of parameters, and the step that uses them.

    Args:
        parameters: only their shapes, dtype and device are read; they are handed in again at each step.
        kind: ``"adam"`` or ``"sgd"``.
        momentum: of ``"sgd"``.
        lr, weight_decay: 0-D values; ``weight_decay`` 0 at construction leaves the decay out of the step.

    Attributes:
        observer: called with the gradients of every step before they are used; None (the default) for no one. A count of
            memory sets it on a copy.
        gather: of the state, on a small net; while it is open, steps are put off to the end of ``learn``.
        addition: while processes share each batch, where gradients are added up and steps are put off to the end of ``learn``.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        *,
        kind: str,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
    ) -> None:
        super().__init__()
        self.observer: Callable[[Sequence[Tensor]], None] | None = None
        self.gather: Gather | None = None
        self.addition: Addition | None = None
        self.kind = kind
        self.momentum = momentum
        self.decays = weight_decay != 0.0
        dtype = _hyper_dtype(parameters[0].dtype)
        self.lr: Tensor
        self.lr_now: Tensor
        self.weight_decay: Tensor
        self.register_buffer("lr", torch.tensor(lr, dtype=dtype))
        self.register_buffer("lr_now", torch.tensor(lr, dtype=dtype))
        self.register_buffer("weight_decay", torch.tensor(weight_decay, dtype=dtype))
        self._names = {which: [f"{which}_{k}" for k in range(len(parameters))] for which in ("first", "second", "count")}
        for k, parameter in enumerate(parameters):
            self.register_buffer(f"first_{k}", torch.zeros_like(parameter, requires_grad=False))
            if kind == "adam":
                self.register_buffer(f"second_{k}", torch.zeros_like(parameter, requires_grad=False))
                self.register_buffer(f"count_{k}", torch.zeros((), dtype=torch.float32))

    def step(self, parameters: list[Tensor], gradients: list[Tensor], first: int = 0) -> None:
        """Update ``parameters`` in place from ``gradients`` of the same order and shapes, whatever their memory layouts.

        They are all that the optimiser was made for, or a stretch of them from number ``first`` on. A gradient in another layout
        is brought to that of the moments, which is the parameter's own where that is dense. A parameter that is not (a view with
        gaps), or whose layout changed after the optimiser was made, is updated in a copy and written back.

        Raises:
            ValueError: a gradient or a moment of another shape than its parameter.
        """
        if self.observer is not None:
            self.observer(gradients)
        if self.addition is not None:
            self.addition.add(self, parameters, gradients, first)
        elif self.gather is not None and self.gather.open:
            self.gather.add(self, parameters, gradients, first)
        else:
            self.update(parameters, gradients, *self.tensors(first, len(parameters)))

    def tensors(self, first: int, n: int) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """First moments, second moments and counts of ``n`` parameters from number ``first`` on; of ``"sgd"`` the first alone."""
        if self.kind != "adam":
            return self._of("first", first, n), [], []
        return self._of("first", first, n), self._of("second", first, n), self._of("count", first, n)

    def rates(self) -> tuple[Tensor, Tensor | None]:
        """The learning rate and the weight decay of the next step; None where it does not decay."""
        buffers = self._buffers  # nn.Module's attribute access is slow
        # torch: a buffer may be None
        return buffers["lr_now"], buffers["weight_decay"] if self.decays else None  # pyright: ignore[reportReturnType]

    def update(
        self, parameters: list[Tensor], gradients: list[Tensor], moments: list[Tensor], second: list[Tensor], counts: list[Tensor]
    ) -> None:
        """The step itself, with moments and counts that are given: this optimiser's, and those of others with its rates."""
        lr_now, decay = self.rates()
        layouts = [(each.shape, each.stride()) for each in moments]
        updated = _laid_out_as(moments, layouts, parameters, "parameter")
        gradients = _laid_out_as(moments, layouts, gradients, "gradient")
        if self.kind == "adam":
            adam_step_(updated, gradients, moments, second, counts, lr_now, decay, compared=True)
        else:
            if decay is not None:
                decay_(updated, lr_now, decay)
            sgd_step_(updated, gradients, moments, lr_now, self.momentum, compared=True)
        if updated is not parameters:
            for parameter, copy in zip(parameters, updated, strict=True):
                if copy is not parameter:
                    parameter.copy_(copy)

    def _of(self, which: str, first: int, n: int) -> list[Tensor]:
        """The buffers of a stretch of parameters, looked up without nn.Module's attribute access, which is slow."""
        names = self._names[which][first : first + n]
        return [self._buffers[name] for name in names]  # pyright: ignore[reportReturnType]  # torch: a buffer may be None

    def moments(self) -> Iterator[Tensor]:
        """The tensors that cost optimiser memory."""
        for name, buffer in self.named_buffers():
            if name.startswith(("first_", "second_")):
                yield buffer


def _laid_out_as(moments: list[Tensor], layouts: list[Any], tensors: list[Tensor], what: str) -> list[Tensor]:
    """The tensors in the memory layout of the moments: themselves where they have it, else copies.

    Raises:
        ValueError: another number of tensors, or one of another shape.
    """
    if [(each.shape, each.stride()) for each in tensors] == layouts:
        return tensors  # what nearly every step finds, without a call for each tensor
    if len(tensors) != len(moments):
        raise ValueError(f"{len(moments)} parameters need as many gradients, got {len(tensors)}")
    laid_out = []
    for k, (moment, tensor) in enumerate(zip(moments, tensors, strict=True)):
        if tensor.shape != moment.shape:
            raise ValueError(
                f"{what} {k} has shape {tuple(tensor.shape)}, its moments have {tuple(moment.shape)}; make them equal"
            )
        laid_out.append(tensor if same_layout(tensor, moment) else torch.empty_like(moment, dtype=tensor.dtype).copy_(tensor))
    return laid_out


class Slot(nn.Module):
    """What belongs to one block beside its parameters; a rule derives its own."""


class LearningSlot(Slot):
    """A slot with the optimiser of the block's parameters."""

    def __init__(self, optimiser: Optimiser) -> None:
        super().__init__()
        self.optimiser = optimiser


class ProjectionSlot(Slot):
    """A slot with the block's head, a parameter (classes, features)."""

    reads_features: ClassVar[bool] = True
    """Whether the head is applied to the block's features; else to what the rule makes of its activity."""

    def __init__(self, projection: nn.Parameter) -> None:
        super().__init__()
        self.projection = projection


class HeadSlot(ProjectionSlot):
    """A head, and one optimiser over the block's parameters followed by the head."""

    def __init__(self, optimiser: Optimiser, projection: nn.Parameter) -> None:
        super().__init__(projection)
        self.optimiser = optimiser


SlotT_co = TypeVar("SlotT_co", bound=Slot, covariant=True)


class State(nn.Module, Generic[SlotT_co]):
    """Everything that a rule learns or needs beside the net; a rule derives its own and registers what else it needs.

    Args:
        hyper: the numeric hyper-parameters of the rule, once for the whole state.
        slots: one per block, or none.

    Attributes:
        count: training steps since the state was made or reset; it decides when periodic work is due.
    """

    def __init__(self, hyper: Hyper, slots: Iterable[SlotT_co] = ()) -> None:
        super().__init__()
        self.hyper = hyper
        self.slots = nn.ModuleList(slots)
        self.count = StepCount()
        self._gather: Gather | None = None
        self._sized = False

    def slot(self, k: int) -> SlotT_co:
        """The slot of block k."""
        return self.slots[k]  # pyright: ignore[reportReturnType]  # nn.ModuleList is not generic

    def gather(self, net: nn.Module) -> Gather | None:
        """Where the steps of all optimisers are put off to; None for a net that is not small. Asked once, then known."""
        if not self._sized:
            self._sized = True
            self._gather = Gather() if is_small(net) else None
            for optimiser in self.optimisers():
                optimiser.gather = self._gather
        return self._gather

    def optimisers(self) -> Iterator[Optimiser]:
        """Every optimiser in the state."""
        return (module for module in self.modules() if isinstance(module, Optimiser))

    @contextmanager
    def added_up(self, addition: Addition) -> Iterator[None]:
        """Every optimiser takes its steps from gradients that are added up over processes; afterwards as before."""
        optimisers = list(self.optimisers())
        for optimiser in optimisers:
            optimiser.addition = addition
        try:
            yield
        finally:
            for optimiser in optimisers:
                optimiser.addition = None

    def scale_lr(self, factor: float) -> None:
        """Set every learning rate to ``factor`` times its own value (a schedule that the ruleset opens to all arms)."""
        for optimiser in self.optimisers():
            optimiser.lr_now.copy_(optimiser.lr * factor)


class NetState(State[SlotT_co]):
    """A state with an optimiser that belongs to no single block: of the whole net, or of its output."""

    def __init__(self, hyper: Hyper, optimiser: Optimiser, slots: Iterable[SlotT_co] = ()) -> None:
        super().__init__(hyper, slots)
        self.optimiser = optimiser


def named_tensors(net: nn.Module, state: State) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of net and state once, under the first name that it has (``net.*``, ``state.*``), detached."""
    seen: set[int] = set()
    for prefix, module in (("net", net), ("state", state)):
        for name, tensor in module.state_dict(keep_vars=True).items():
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield f"{prefix}.{name}", tensor.detach()


def model_tensors(net: nn.Module, state: State) -> Iterator[tuple[str, Tensor]]:
    """Those of them that make the model: all of the net, and the parameters of the state (heads, and what was chosen).

    What a rule's ``scores`` reads must be among them; moments, feedback and sums are not.
    """
    heads = {f"state.{name}" for name, _ in state.named_parameters()}
    return ((name, tensor) for name, tensor in named_tensors(net, state) if name.startswith("net.") or name in heads)
