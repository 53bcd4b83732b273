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
    "ACCURACY", "BUSY_PROCESSORS", "CO2E", "COMPILE_TIME", "COUNTED_FLOPS", "CPU_RATIO", "CPU_TIME", "DIFFERENCE", "ENERGY",
    "ENERGY_RATIO", "EVALUATION_PEAK", "EXAMPLES", "FLOPS", "FLOPS_RATIO", "LATENCIES_P50", "LATENCIES_P95", "NET_ENERGY",
    "OTHER_LOAD", "PASSES", "PEAK_MEMORY", "QUANTITIES", "RUN_FLOPS", "STEPS", "TIME", "TIME_RATIO", "TRAINING_RATIO",
    "TRAINING_TIME", "VALIDATION_TIME", "Quantity", "Statistic", "points", "signed",
]  # fmt: skip

Statistic = Literal["mean", "difference", "ratio", "largest"]
"""What is made of the runs of an arm: their mean, the paired difference or ratio to the baseline, or the largest value."""


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign, a true minus, and no sign on a zero."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _plain(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _whole(value: float) -> str:
    return f"{value:,.0f}"


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
        heading: of its column; ``{baseline}`` is filled in. Empty for a quantity without its own column.
        path: of the field in a record, dotted: ``energy.joules``.
        less: path of what is subtracted from it.
        over: path of what it is divided by; there is no value where that is 0.
        statistic: how the runs of an arm become one value.
        show: the value as text.
    """

    key: str
    name: str
    path: str
    show: Callable[[float], str]
    heading: str = ""
    statistic: Statistic = "mean"
    less: str = ""
    over: str = ""

    def pick(self, run: Record) -> float | None:
        """Value of one run; None where a part of it was not measured."""
        value = _at(run, self.path)
        less = _at(run, self.less) if self.less else 0.0
        over = _at(run, self.over) if self.over else 1.0
        return None if value is None or less is None or not over else (value - less) / over


def _at(run: Record, path: str) -> float | None:
    value: Any = run
    for part in path.split("."):
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
VALIDATION_TIME = Quantity(
    key="validation_time_s", name="time of validation", path="eval_time_s", show=format_time, heading="of which validation"
)
TRAINING_TIME = Quantity(
    key="training_time_s", name="time less validation", path="time_s", less="eval_time_s", show=format_time, heading="Training"
)
TRAINING_RATIO = Quantity(
    key="training_time_ratio", name="ratio of times less validation", path="time_s", less="eval_time_s", show=_twofold,
    statistic="ratio",
)  # fmt: skip
COMPILE_TIME = Quantity(
    key="compile_time_s", name="time of compiling the steps", path="compile_time_s", show=format_time, statistic="largest"
)
"""Before the window, so that no time or energy has it."""
CPU_TIME = Quantity(key="cpu_s", name="processor time", path="cpu_s", show=format_time, heading="Processor time")
CPU_RATIO = Quantity(key="cpu_ratio", name="ratio of processor times", path="cpu_s", show=_twofold, statistic="ratio")
BUSY_PROCESSORS = Quantity(
    key="cpu_s_per_s", name="processor seconds a second", path="cpu_s", over="time_s", show=_twofold,
    heading="Processor seconds a second",
)  # fmt: skip
OTHER_LOAD = Quantity(
    key="other_load_fraction", name="load by other processes", path="other_load", show=lambda value: f"{100 * value:.0f} %",
    heading="Busy by other processes",
)  # fmt: skip
STEPS = Quantity(key="steps_count", name="steps", path="steps", show=_whole, heading="Steps")
EXAMPLES = Quantity(key="examples_count", name="examples seen", path="examples_seen", show=_whole, heading="Examples seen")
ENERGY = Quantity(key="energy_j", name="gross energy", path="energy.joules", show=format_energy, heading="Energy, gross / net")
NET_ENERGY = Quantity(key="net_energy_j", name="energy net of idle power", path="energy.net_joules", show=format_energy)
ENERGY_RATIO = Quantity(
    key="energy_ratio", name="ratio of gross energies", path="energy.joules", show=_twofold, statistic="ratio"
)
CO2E = Quantity(key="co2e_g", name="CO₂e", path="co2e_g", show=format_co2, heading="CO₂e")
FLOPS = Quantity(
    key="step_flops", name="FLOPs of a step", path="flops.mean_step", show=format_count, heading="FLOPs per step"
)  # all of a run over its steps
FLOPS_RATIO = Quantity(
    key="step_flops_ratio", name="ratio of FLOPs of a step", path="flops.mean_step", show=_twofold, statistic="ratio"
)
COUNTED_FLOPS = Quantity(
    key="train_step_flops", name="FLOPs of a step, without orthogonalisation", path="flops.train_step", show=format_count,
    statistic="largest",
)  # fmt: skip
"""Of one step, the mean over phases; that of records of version 1, which have no other."""
RUN_FLOPS = Quantity(key="run_flops", name="FLOPs of a run", path="flops.run_total", show=format_count)
PEAK_MEMORY = Quantity(
    key="peak_memory_bytes", name="peak memory of a training step", path="peak_memory_bytes", show=format_bytes,
    statistic="largest", heading="Peak memory, step / validation",
)  # fmt: skip
EVALUATION_PEAK = Quantity(
    key="evaluation_peak_bytes", name="peak memory of validation", path="evaluation_peak_bytes", show=format_bytes,
    statistic="largest",
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
    ACCURACY, DIFFERENCE, PASSES, STEPS, EXAMPLES, TIME, TIME_RATIO, VALIDATION_TIME, TRAINING_TIME, TRAINING_RATIO,
    COMPILE_TIME, CPU_TIME, CPU_RATIO, BUSY_PROCESSORS, OTHER_LOAD, ENERGY, NET_ENERGY, ENERGY_RATIO, CO2E,
    LATENCIES_P50[0], LATENCIES_P95[0], LATENCIES_P50[1], LATENCIES_P95[1],
    _inference("inference_images_per_s", "examples a second in inference", 128, "images_per_s", format_count),
    _inference("inference_of_1000_j", "energy of inference", 128, "joules_per_1000", format_energy),
    FLOPS, FLOPS_RATIO, RUN_FLOPS, COUNTED_FLOPS, PEAK_MEMORY, EVALUATION_PEAK,
)  # fmt: skip
"""All of them, in the order of the columns of ``summary.csv``."""
