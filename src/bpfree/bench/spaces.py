"""Search spaces: from one file, ``spaces.yaml``, the same for all data sets and nets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib import resources

import optuna
import yaml

from bpfree.bench.arm import Arm

__all__ = ["LogUniform", "space_for"]

EDGE = 0.05
"""A tuned value within this share of the (logarithmic) range from an end is reported as "at the edge"."""


@dataclass(frozen=True)
class LogUniform:
    """A log-uniform range of one hyper-parameter."""

    low: float
    high: float

    def suggest(self, trial: optuna.trial.Trial, name: str) -> float:
        """Let Optuna choose."""
        return trial.suggest_float(name, self.low, self.high, log=True)

    def at_edge(self, value: float) -> bool:
        """Whether ``value`` lies so near an end that the range may have been too narrow."""
        place = math.log(value / self.low) / math.log(self.high / self.low)
        return place < EDGE or place > 1 - EDGE

    def __str__(self) -> str:
        return f"log-uniform {self.low:g} to {self.high:g}"


@cache
def _file() -> dict[str, dict[str, dict[str, float] | None]]:
    text = (resources.files("bpfree.bench") / "spaces.yaml").read_text()
    raw = yaml.safe_load(text)
    return {"*": raw["common"], **raw["rules"]}


def space_for(arm: Arm) -> dict[str, LogUniform]:
    """What is searched for an arm: the common ranges, the rule's own and those of its options, less what the arm fixes.

    Nothing is left where an arm fixes everything that its rule has to search; its trials then differ in their seeds alone.
    """
    ranges = dict(_file()["*"])
    for key, own in _file().items():
        rule, *options = key.split(":")
        if rule == arm.algorithm and {tuple(option.split("=")) for option in options} <= set(arm.fixed.items()):
            ranges |= own
    return {name: LogUniform(**ends) for name, ends in ranges.items() if ends is not None and name not in arm.fixed}
