"""A pass that is under way: what a checkpoint holds of it, and when one is written."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from bpfree.errors import UsageError

__all__ = ["Every", "Keeper", "PassSoFar", "draws_now", "every_of", "put_draws"]


@dataclass(frozen=True)
class Every:
    """How often a checkpoint is written within a pass: after so many steps, or seconds; one of both."""

    path: Path
    steps: int | None = None
    seconds: float | None = None


def every_of(asked: object, path: Path | None) -> Every | None:
    """``500`` or ``"500"`` are steps, ``"60s"`` are seconds; None for none.

    Args:
        path: of the checkpoint.

    Raises:
        UsageError: anything else, or no path.
    """
    if asked is None:
        return None
    text = str(asked).strip()
    match = re.fullmatch(r"(\d+)|(\d+(?:\.\d*)?|\.\d+) ?s", text)
    if match is None or isinstance(asked, bool) or float(match[1] or match[2]) == 0:
        raise UsageError(
            f"save_every (--checkpoint-every) must be a number of steps (500) or of seconds (60s), above 0, got {asked!r}"
        )
    if path is None:
        raise UsageError(f"save_every={asked} needs a file to write; give checkpoint='run.safetensors'")
    return Every(path, steps=int(match[1])) if match[1] else Every(path, seconds=float(match[2]))


@dataclass(frozen=True)
class PassSoFar:
    """The steps that a pass has made.

    Attributes:
        losses: of each step, 0-D.
        sizes: examples of each step.
        draws: states of torch's global generators, from which modules of a user may draw: of the processor and, on a GPU, of it.
    """

    losses: list[Tensor] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    draws: tuple[Tensor, ...] = ()

    NAMES = ("pass.losses", "pass.sizes", "pass.draws", "pass.draws_gpu")

    def tensors(self) -> dict[str, Tensor]:
        """For a file."""
        return dict(zip(self.NAMES, (torch.stack(self.losses), torch.tensor(self.sizes), *self.draws), strict=False))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], device: torch.device) -> PassSoFar:
        """Of the tensors of a file."""
        losses, sizes, *draws = (tensors[name].clone() for name in cls.NAMES if name in tensors)
        return cls(list(losses.to(device).unbind()), sizes.tolist(), tuple(draws))


@dataclass
class Keeper:
    """Says when a checkpoint is due, and has it written.

    Attributes:
        every: None for never.
        write: given the pass so far, and the file.
        begun: the pass that a checkpoint was written in, to go on with; taken once.
    """

    every: Every | None = None
    write: Callable[[PassSoFar, Path], None] = lambda _, __: None
    begun: PassSoFar | None = None
    _last_s: float = field(default_factory=lambda: time.monotonic())

    def take(self) -> PassSoFar | None:
        """The pass to go on with, if there is one; from then on there is none. Seconds count from here."""
        begun, self.begun = self.begun, None
        self._last_s = time.monotonic()
        return begun

    def due(self, steps: int) -> bool:
        """Whether a checkpoint is to be written after so many steps of the pass."""
        if self.every is None:
            return False
        if self.every.steps is not None:
            return steps % self.every.steps == 0
        assert self.every.seconds is not None
        return time.monotonic() - self._last_s >= self.every.seconds

    def keep(self, so_far: PassSoFar) -> None:
        """Write one now."""
        assert self.every is not None  # one is due
        self.write(so_far, self.every.path)
        self._last_s = time.monotonic()


def draws_now(device: torch.device) -> tuple[Tensor, ...]:
    """States of the global generators."""
    gpu = (torch.cuda.get_rng_state(device),) if device.type == "cuda" else ()
    return (torch.get_rng_state(), *gpu)


def put_draws(draws: tuple[Tensor, ...], device: torch.device) -> None:
    """Set the global generators; a GPU's only where the checkpoint comes from one."""
    torch.set_rng_state(draws[0].cpu())
    if device.type == "cuda" and len(draws) > 1:
        torch.cuda.set_rng_state(draws[1].cpu(), device)
