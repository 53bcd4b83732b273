"""The measured quantities of a report, each listed once: the numbers, tables, CSV, JSON and reasons are all made from here.

To add a quantity, add it to :data:`QUANTITIES`; to show it in the headline table, name it in a column of
:mod:`bpfree.report.tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bpfree.records import Record
from bpfree.units import format_bytes, format_co2, format_count, format_energy, format_percent, format_time

__all__ = [
    "ACCURACY", "CO2E", "DIFFERENCE", "ENERGY", "ENERGY_RATIO", "FLOPS", "LATENCIES_P50", "LATENCIES_P95", "NET_ENERGY", "PASSES",
    "PEAK_MEMORY", "QUANTITIES", "TIME", "TIME_RATIO", "Quantity", "Statistic", "points", "signed",
]  # fmt: skip

Statistic = Literal["mean", "difference", "ratio", "largest"]
"""What is made of the runs of an arm: their mean, the paired difference or ratio to the baseline, or the largest value."""


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign, a true minus, and no sign on a zero."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _plain(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _twofold(value: float) -> str:
    return f"{value:.2f}"


def points(fraction: float, digits: int = 2) -> str:
    """A difference of fractions in percentage points."""
    return signed(100 * fraction, digits)


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One quantity of an arm.

    Attributes:
        key: its name in CSV and JSON; the unit comes last.
        name: in words, where the report says that it was not measured.
        heading: of its column; ``{baseline}`` and ``{Energy}`` are filled in. Empty for a quantity without its own column.
        path: of the field in a record, dotted: ``energy.joules``.
        statistic: how the runs of an arm become one value.
        show: the value as text.
    """

    key: str
    name: str
    path: str
    show: Callable[[float], str]
    heading: str = ""
    statistic: Statistic = "mean"

    def pick(self, run: Record) -> float | None:
        """Value of one run; None where it was not measured."""
        value: Any = run
        for part in self.path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else getattr(value, part)
            if value is None:
                return None
        return float(value)


ACCURACY = Quantity(
    key="test_accuracy_fraction", name="test accuracy", path="test_accuracy", show=format_percent, heading="Test accuracy, %"
)
DIFFERENCE = Quantity(
    key="difference_fraction", name="difference in test accuracy", path="test_accuracy", show=points, statistic="difference",
    heading="Difference to {baseline}, points",
)  # fmt: skip
PASSES = Quantity(key="passes_count", name="passes", path="passes", show=_plain, heading="Passes")
TIME = Quantity(key="time_s", name="time", path="time_s", show=format_time, heading="Time")
TIME_RATIO = Quantity(key="time_ratio", name="ratio of times", path="time_s", show=_twofold, statistic="ratio")
ENERGY = Quantity(key="energy_j", name="gross energy", path="energy.joules", show=format_energy, heading="{Energy}, gross / net")
NET_ENERGY = Quantity(key="net_energy_j", name="energy net of idle power", path="energy.net_joules", show=format_energy)
ENERGY_RATIO = Quantity(
    key="energy_ratio", name="ratio of gross energies", path="energy.joules", show=_twofold, statistic="ratio"
)
CO2E = Quantity(key="co2e_g", name="CO₂e", path="co2e_g", show=format_co2, heading="CO₂e")
FLOPS = Quantity(
    key="train_step_flops", name="FLOPs of a step", path="flops.train_step", show=format_count, statistic="largest",
    heading="FLOPs per step",
)  # fmt: skip
PEAK_MEMORY = Quantity(
    key="peak_memory_bytes", name="peak memory", path="peak_memory_bytes", show=format_bytes, statistic="largest",
    heading="Peak memory",
)  # fmt: skip


def _inference(key: str, name: str, size: int, field: str, show: Callable[[float], str]) -> Quantity:
    heading = "Inference, 1 / 128 examples" if (size, field) == (1, "latency_p50_s") else ""
    return Quantity(key=key, name=name, path=f"inference.by_batch.{size}.{field}", show=show, heading=heading)


_ONE, _BATCH = "inference_{}_one_example_s", "inference_{}_batch_of_128_s"
LATENCIES_P50 = (
    _inference(_ONE.format("p50"), "median latency for one example", 1, "latency_p50_s", format_time),
    _inference(_BATCH.format("p50"), "median latency for 128 examples", 128, "latency_p50_s", format_time),
)
LATENCIES_P95 = (
    _inference(_ONE.format("p95"), "95th percentile of the latency for one example", 1, "latency_p95_s", format_time),
    _inference(_BATCH.format("p95"), "95th percentile of the latency for 128 examples", 128, "latency_p95_s", format_time),
)

QUANTITIES = (
    ACCURACY, DIFFERENCE, PASSES, TIME, TIME_RATIO, ENERGY, NET_ENERGY, ENERGY_RATIO, CO2E,
    LATENCIES_P50[0], LATENCIES_P95[0], LATENCIES_P50[1], LATENCIES_P95[1],
    _inference("inference_images_per_s", "examples a second in inference", 128, "images_per_s", format_count),
    _inference("inference_of_1000_j", "energy of inference", 128, "joules_per_1000", format_energy),
    FLOPS, PEAK_MEMORY,
)  # fmt: skip
"""All of them, in the order of the columns of ``summary.csv``."""
