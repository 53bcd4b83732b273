"""What a training may take."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bpfree.planning.prediction import Prediction
from bpfree.units import check_limit, format_bytes, format_energy, format_time, parse_bytes

__all__ = ["Budget"]


@dataclass(frozen=True)
class Budget:
    """Most bytes, seconds and joules of a training; None where any amount will do.

    Raises:
        UsageError: a value that is not above 0.
    """

    memory_bytes: int | None = None
    seconds: float | None = None
    joules: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("max_memory", self.memory_bytes), ("max_seconds", self.seconds), ("max_joules", self.joules)):
            check_limit(name, value)

    @classmethod
    def of(cls, memory: int | str | None, seconds: float | None, joules: float | None) -> Budget:
        """From what a user wrote; memory may be text such as ``"2GiB"``."""
        return cls(parse_bytes(memory) if isinstance(memory, str) else memory, seconds, joules)

    @property
    def is_empty(self) -> bool:
        """Whether everything fits."""
        return (self.memory_bytes, self.seconds, self.joules) == (None, None, None)

    def shares(self, prediction: Prediction) -> dict[str, float]:
        """What a training takes over what it may take, by name; infinite where a prediction is not known."""
        pairs = {
            "memory": (prediction.peak_bytes, self.memory_bytes),
            "seconds": (prediction.run_s, self.seconds),
            "joules": (prediction.joules, self.joules),
        }
        return {name: math.inf if need is None else need / may for name, (need, may) in pairs.items() if may is not None}

    def excess(self, prediction: Prediction) -> float:
        """The largest share; at most 1 where the training fits."""
        return math.inf if prediction.refusal is not None else max(self.shares(prediction).values(), default=0.0)

    def fits(self, prediction: Prediction) -> bool:
        """Whether the training takes no more than it may."""
        return self.excess(prediction) <= 1.0

    def words(self, prediction: Prediction) -> str:
        """What is too much, such as ``"3.1 GiB of 2 GiB (1.55 x)"``."""
        amounts = {
            "memory": (format_bytes(prediction.peak_bytes), format_bytes(self.memory_bytes)),
            "seconds": (format_time(prediction.run_s), format_time(self.seconds)),
            "joules": (format_energy(prediction.joules), format_energy(self.joules)),
        }
        over = {name: share for name, share in self.shares(prediction).items() if share > 1}
        return ", ".join(
            "{} of {}".format(*amounts[name]) + ("" if math.isinf(s) else f" ({s:.3g} x)") for name, s in over.items()
        )
