"""The work of a comparison as tasks: the trials of its searches, and the measured cells; and the devices that they need."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch

from bpfree.bench.arm import Arm
from bpfree.bench.setting import Setting
from bpfree.locks import held
from bpfree.records import CONTROL_SEEDS

__all__ = ["Task", "device_lock", "tasks_of"]

LOCKS = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
"""Where the processes of a machine lock its devices; a batch system may give each job a temporary folder of its own."""


Kind = Literal["trial", "run", "study"]
_KINDS: dict[Kind, str] = {"trial": "trial", "run": "seed", "study": "study"}
"""With the word for the number of such a task."""


@dataclass(frozen=True)
class Task:
    """A trial of the one search, a measured run, or a study of an arm, whose best trial is its measured run.

    Attributes:
        split: seed of the split.
        number: of the trial, the seed of the run, or the number of the study.
    """

    kind: Kind
    split: int
    number: int
    arm: str

    @property
    def key(self) -> str:
        """The task as text."""
        return f"{self.kind} {self.split} {self.number} {self.arm}"

    @classmethod
    def of(cls, key: str) -> Task:
        """The task of a text."""
        kind, split, number, arm = key.split(" ", 3)
        return cls(cast(Kind, kind), int(split), int(number), arm)

    @property
    def words(self) -> str:
        """For a log."""
        split = f", split {self.split}" if self.split else ""
        return f"{self.arm}, {_KINDS[self.kind]} {self.number}{split}"


def tasks_of(settings: Sequence[Setting], arms: Sequence[Arm], seeds: Sequence[int], *, runs: bool) -> Iterator[Task]:
    """All tasks: searches first, then cells, each seed starting with another arm.

    Args:
        runs: whether cells are measured; else only the searches.
    """
    for setting in settings:
        if setting.ruleset.search.studies > 1:
            continue
        for arm in arms:
            for index in range(setting.arm_rules(arm).trials):
                yield Task("trial", setting.split_seed, index, arm.label)
    for setting in settings if runs else ():
        studies = setting.ruleset.search.studies
        for turn, number in enumerate(range(studies) if studies > 1 else seeds):
            first = turn % len(arms)
            for arm in (*arms[first:], *arms[:first]):
                other = CONTROL_SEEDS if arm.control and studies <= 1 else 0
                yield Task("study" if studies > 1 else "run", setting.split_seed, number + other, arm.label)


@contextmanager
def device_lock(device: torch.device, *, together: bool) -> Iterator[bool]:
    """Hold a device of this machine if it is free; yields whether it is.

    Args:
        together: with others that say so; a measured run has it alone.
    """
    name = device.type
    if device.type == "cuda":  # numbers differ between processes, by CUDA_VISIBLE_DEVICES
        name += f"-{getattr(torch.cuda.get_device_properties(device), 'uuid', device.index or 0)}"
    with held(LOCKS / f"bpfree-{name}.lock", together=together, wait=False) as mine:
        yield mine
