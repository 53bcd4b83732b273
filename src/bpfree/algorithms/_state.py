"""What a rule learns beside the net: heads, feedback, optimiser moments, hyper-parameters as 0-D tensors.

Everything is allocated once, registered, and mutated in place; nothing is ever rebound. A checkpoint is a ``state_dict``,
and addresses are stable for compiled and captured steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from bpfree.numerics.updates import adam_step_, decay_, sgd_step_

__all__ = ["Hyper", "Optimiser", "Slot", "State", "model_tensors", "named_tensors"]


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
        return super().__getattr__(name)  # pyright: ignore[reportReturnType]  # only buffers live here


class Optimiser(nn.Module):
    """Moments for a fixed list of parameters, and the step that uses them.

    Args:
        parameters: only their shapes, dtype and device are read; they are handed in again at each step.
        kind: ``"adam"`` or ``"sgd"``.
        momentum: of ``"sgd"``.
        lr, weight_decay: 0-D values; ``weight_decay`` 0 at construction leaves the decay out of the step.
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
        for k, parameter in enumerate(parameters):
            self.register_buffer(f"first_{k}", torch.zeros_like(parameter, requires_grad=False))
            if kind == "adam":
                self.register_buffer(f"second_{k}", torch.zeros_like(parameter, requires_grad=False))
                self.register_buffer(f"count_{k}", torch.zeros((), dtype=torch.float32))

    def step(self, parameters: list[Tensor], gradients: list[Tensor], first: int = 0) -> None:
        """Update ``parameters`` in place from ``gradients`` of the same order and shapes.

        They are all that the optimiser was made for, or a stretch of them from number ``first`` on.
        """

        def of(name: str) -> list[Tensor]:
            return [getattr(self, f"{name}_{first + k}") for k in range(len(parameters))]

        if self.decays:
            decay_(parameters, self.lr_now, self.weight_decay)
        if self.kind == "adam":
            adam_step_(parameters, gradients, of("first"), of("second"), of("count"), self.lr_now)
        else:
            sgd_step_(parameters, gradients, of("first"), self.lr_now, self.momentum)

    def moments(self) -> Iterator[Tensor]:
        """The tensors that cost optimiser memory."""
        for name, buffer in self.named_buffers():
            if name.startswith(("first_", "second_")):
                yield buffer


class Slot(nn.Module):
    """What belongs to one block: its head (if the rule has one), its optimiser, its hyper-parameters.

    Attributes:
        projection: head of the block, a parameter, or None.
        optimiser: over the block's parameters followed by the projection, or None for a block that never learns.
        hyper: all numeric hyper-parameters of the rule.
    """

    def __init__(self, hyper: Hyper, optimiser: Optimiser | None, projection: nn.Parameter | None = None) -> None:
        super().__init__()
        self.hyper = hyper
        self.optimiser: Optimiser
        self.projection: nn.Parameter
        self.optimiser = optimiser  # pyright: ignore[reportAttributeAccessIssue]  # None: reading it is the rule's mistake
        self.projection = projection  # pyright: ignore[reportAttributeAccessIssue]  # the same


class State(nn.Module):
    """Everything that a rule learns or needs beside the net: one slot per block, and whatever else a rule registers.

    Attributes:
        optimiser: over the whole net, of a rule that updates everything at once; None for the others.
    """

    def __init__(self, slots: Iterable[Slot] = (), optimiser: Optimiser | None = None) -> None:
        super().__init__()
        self.slots = nn.ModuleList(slots)
        self.optimiser: Optimiser
        self.optimiser = optimiser  # pyright: ignore[reportAttributeAccessIssue]  # None: reading it is the rule's mistake

    def slot(self, k: int) -> Slot:
        """The slot of block k."""
        return self.slots[k]  # pyright: ignore[reportReturnType]  # nn.ModuleList is not generic

    def optimisers(self) -> Iterator[Optimiser]:
        """Every optimiser in the state."""
        return (module for module in self.modules() if isinstance(module, Optimiser))

    def scale_lr(self, factor: float) -> None:
        """Set every learning rate to ``factor`` times its own value (a schedule that the ruleset opens to all arms)."""
        for optimiser in self.optimisers():
            optimiser.lr_now.copy_(optimiser.lr * factor)


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
