"""The processes of one training: who this one is, and what they say to each other beside activities.

Messages are pickled by torch.distributed. They come from processes of the same ``torchrun``, never from a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from bpfree.errors import RunInterruptedError, UsageError

__all__ = ["Ranks", "check_same", "in_torchrun", "joined", "lost_rank"]

T = TypeVar("T")

WAIT = timedelta(hours=2)
"""How long a rank waits for another that is still there: the first one validates and writes while the others wait. One that has
died is noticed at once, since its connections are closed."""

_LOST = (
    "connection closed",
    "connection reset",
    "broken pipe",
    "connect() failed",
    "timed out",
    "refused",
    "eof",
    "nccl",
)
"""Words in what torch.distributed raises where another process is gone."""


@dataclass(frozen=True)
class Ranks:
    """The group of all processes.

    Attributes:
        rank, size: this process, and how many there are.
        device: on which this one computes.
        adds_over: the ranks over which this one adds up; None for all.
    """

    rank: int
    size: int
    device: torch.device
    adds_over: dist.ProcessGroup | None = None

    @property
    def leads(self) -> bool:
        """Whether this is the first rank."""
        return self.rank == 0

    def broadcast(self, value: T) -> T:
        """The first rank's value, in every rank."""
        box = [value]
        with lost_rank():
            dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def gather(self, value: T) -> list[T]:
        """The values of all ranks in their order, in every rank."""
        box: list[Any] = [None] * self.size
        with lost_rank():
            dist.all_gather_object(box, value)
        return box

    def begin_sum(self, tensor: torch.Tensor) -> Callable[[], None]:
        """Begin to add up a contiguous tensor over :attr:`adds_over`, in place; what is returned waits for the end."""
        with lost_rank():
            work = dist.all_reduce(tensor, group=self.adds_over, async_op=True)

        def wait() -> None:
            with lost_rank():
                work.wait()  # pyright: ignore[reportOptionalMemberAccess]  # None for processes outside the group alone

        return wait

    def total(self, tensor: torch.Tensor) -> torch.Tensor:
        """Add up a contiguous tensor over the same ranks, in place; the tensor."""
        self.begin_sum(tensor)()
        return tensor

    def broadcast_tensor(self, tensor: torch.Tensor, src: int) -> None:
        """Overwrite ``tensor`` by that of rank ``src``, in place."""
        place = tensor.to(self.device).contiguous()
        with lost_rank():
            dist.broadcast(place, src=src)
        if self.rank != src and place is not tensor:
            tensor.copy_(place)


def in_torchrun() -> bool:
    """Whether this process was started by torchrun (or another launcher that sets its variables)."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the group that torchrun started; leave it with the block.

    On GPUs each rank takes the one of its number on its machine (``LOCAL_RANK``).

    Raises:
        UsageError: the process was not started by torchrun, or a machine has fewer GPUs than ranks.
    """
    if not in_torchrun():
        raise UsageError(
            "--parallel trains in several processes that torchrun starts; use torchrun --nproc-per-node 2 -m bpfree train ..."
        )
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if device.type == "cuda":
        local = int(os.environ.get("LOCAL_RANK", rank))
        if local >= torch.cuda.device_count():
            raise UsageError(
                f"rank {rank} is number {local} on its machine, which has {torch.cuda.device_count()} GPUs; start one rank a GPU"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    with lost_rank():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", rank=rank, world_size=size, timeout=WAIT)
    try:
        yield Ranks(rank, size, device)
    finally:
        dist.destroy_process_group()


@contextmanager
def lost_rank() -> Iterator[None]:
    """Say in one line that another process is gone, where torch.distributed says how its connection ended.

    Raises:
        RunInterruptedError: the same command resumes from the last checkpoint.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if any(words in text.lower() for words in _LOST):
            reason = text.splitlines()[0][:120]
            raise RunInterruptedError(f"another rank is gone ({reason})", "device") from error
        raise


def check_same(ranks: Ranks, facts: Mapping[str, object]) -> None:
    """Refuse ranks that would train different things.

    Args:
        facts: of this rank, by what they are; all must be equal to those of the first.

    Raises:
        UsageError: in every rank, naming the first rank that differs and in what.
    """
    of_all = ranks.gather(dict(facts))
    for rank, other in enumerate(of_all):
        for name, value in of_all[0].items():
            if other.get(name) != value:
                raise UsageError(
                    f"rank {rank} has another {name} ({other.get(name)}) than rank 0 ({value}); start all ranks with the same "
                    "command and the same installation"
                )
