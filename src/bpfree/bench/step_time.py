"""Seconds of a training step of several arms, interleaved, so that a noisy machine disturbs all of them alike."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bpfree.algorithms import step
from bpfree.bench.arm import Arm
from bpfree.data import Batch, Dataset
from bpfree.meter.meter import synchronise
from bpfree.nets import build
from bpfree.train import initialise

__all__ = ["StepTimes", "step_times"]


@dataclass(frozen=True)
class StepTimes:
    """Of one arm: seconds per step, of every window in the order in which they were run."""

    arm: str
    windows_s: tuple[float, ...]

    @property
    def least_s(self) -> float:
        """The quietest window's: what the work needs."""
        return min(self.windows_s)

    @property
    def median_s(self) -> float:
        """What a user of that machine would have seen."""
        return statistics.median(self.windows_s)


def step_times(
    arms: Sequence[Arm], net: str, data: Dataset, *, batch_size: int = 128, steps: int = 100, windows: int = 7
) -> list[StepTimes]:
    """Train every arm for ``windows`` windows of ``steps`` steps, window by window in turn, each arm on a net of its own.

    Every arm starts from the same seed, sees the same batches and runs in the eager tier; an arm of several phases is timed in
    its first. A window begins and ends with a synchronised device; before the first, every arm runs one untimed step.

    Args:
        net: specification, such as ``"mlp:3x2000"``.
        data: on the device on which to run.

    Raises:
        UsageError: an arm cannot train the net.
    """
    runs = []
    for arm in arms:
        rule, chain = arm.build({}), build(net, data.in_shape, data.n_classes)
        state = initialise(rule, chain, 0, data.device)
        chain.train()
        runs.append((rule, chain, state, rule.phases(chain)[0], _endless(data, batch_size)))
        step(rule, chain, state, next(runs[-1][-1]), runs[-1][-2])
    seconds: list[list[float]] = [[] for _ in arms]
    for _ in range(windows):
        for (rule, chain, state, phase, batches), of_arm in zip(runs, seconds, strict=True):
            ready = list(itertools.islice(batches, steps))  # the data pipeline is outside the window
            synchronise(data.device)
            begin = time.perf_counter()
            for batch in ready:
                step(rule, chain, state, batch, phase)
            synchronise(data.device)
            of_arm.append((time.perf_counter() - begin) / steps)
    return [StepTimes(arm.label, tuple(of_arm)) for arm, of_arm in zip(arms, seconds, strict=True)]


def _endless(data: Dataset, batch_size: int) -> Iterator[Batch]:
    """Full batches, pass after pass."""
    for index in itertools.count():
        yield from (batch for batch in data.batches("train", batch_size, pass_index=index) if len(batch.y) == batch_size)
