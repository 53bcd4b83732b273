"""The costs of the golden report (:mod:`tests.report.golden`) by hand.

Of every run, validation takes a tenth (backprop, PEPITA), a quarter (Mono-Forward) or half (Forward-Forward) of the time, and
processor seconds are 0.5, 0.5, 0.75 and 2 a second. So both are multiples of the seconds, and ratios of the ratios of seconds:
training is 0.9, 0.9, 0.75 and 0.5 of the time.
"""

from __future__ import annotations

import math

from tests.report.golden import LARGE, OTHER, SMALL

T = {1: 12.706204736174698, 2: 4.302652729749464, 3: 3.182446305283708}
LN2 = math.log(2)
Interval = tuple[float, float, float]
Task = tuple[str, str]


def around(mean: float, squares: float, n: int, unit: float = 1.0) -> Interval:
    """Mean with its t interval, from the sum of squared deviations; all times ``unit``."""
    half = T[n - 1] * math.sqrt(squares / (n - 1) / n)
    return (unit * mean, unit * (mean - half), unit * (mean + half))


def ratio(log_mean: float, log_squares: float, n: int, unit: float = 1.0) -> Interval:
    """The same of logarithms, exponentiated."""
    mean, low, high = (math.exp(value) for value in around(log_mean, log_squares, n))
    return (unit * mean, unit * low, unit * high)


def same(value: float) -> Interval:
    """Of runs that agree."""
    return (value, value, value)


SECONDS: dict[tuple[Task, str], tuple[float, float, int]] = {
    # mean, sum of squared deviations, runs
    (LARGE, "backprop"): (47.5, 7475.0, 4),  # 10, 20, 40, 120
    (LARGE, "mono-forward"): (165.0, 134700.0, 4),  # 20, 80, 80, 480
    (LARGE, "pepita"): (47.5, 7475.0, 4),
    (LARGE, "forward-forward"): (40.0, 200.0, 2),  # 30, 50
    (SMALL, "backprop"): (9.0, 18.0, 2),  # 6, 12
    (SMALL, "mono-forward"): (6.0, 18.0, 2),  # 3, 9
    (OTHER, "backprop"): (2.0, 0.0, 3),
    (OTHER, "mono-forward"): (5.0, 0.0, 3),
}

PASSES: dict[tuple[Task, str], tuple[float, float, int]] = {
    (LARGE, "backprop"): (4.5, 3.0, 4),  # 4, 4, 4, 6
    (LARGE, "mono-forward"): (4.0, 0.0, 4),
    (LARGE, "pepita"): (4.0, 4.0, 4),  # 3, 3, 5, 5
    (LARGE, "forward-forward"): (4.5, 0.5, 2),  # 4, 5
    (SMALL, "backprop"): (4.0, 0.0, 2),
    (SMALL, "mono-forward"): (4.0, 0.0, 2),
    (OTHER, "backprop"): (4.0, 0.0, 3),
    (OTHER, "mono-forward"): (4.0, 0.0, 3),
}

LOGS: dict[tuple[Task, str], tuple[float, float, int]] = {
    # of the ratios of seconds to those of backprop, paired by seed
    (LARGE, "mono-forward"): (1.5 * LN2, LN2**2, 4),  # 2, 4, 2, 4
    (LARGE, "pepita"): (0.0, 0.0, 4),
    (LARGE, "forward-forward"): (math.log(7.5) / 2, math.log(1.2) ** 2 / 2, 2),  # 3, 2.5
    (SMALL, "mono-forward"): (math.log(0.375) / 2, math.log(1.5) ** 2 / 2, 2),  # 1/2, 3/4
    (OTHER, "mono-forward"): (math.log(2.5), 0.0, 3),
}

TRAINING = {"backprop": 0.9, "mono-forward": 0.75, "pepita": 0.9, "forward-forward": 0.5}
CPU = {"backprop": 0.5, "mono-forward": 0.75, "pepita": 0.5, "forward-forward": 2.0}
LOAD = {4: (2.5, 5.0), 3: (2.0, 2.0), 2: (1.5, 0.5)}
"""Per cent of 1, 2, ...: mean and squares."""

STEP_RATIOS: dict[tuple[Task, str], Interval] = {
    (LARGE, "mono-forward"): ratio(LN2 / 2, LN2**2, 4, 2 / 3.5),  # 2, 4, 2, 4 over 3.5
    (LARGE, "pepita"): same(4.5 / 3.5),
    (LARGE, "forward-forward"): same(5.5 / 3.5),
    (SMALL, "mono-forward"): ratio(LN2 / 2, LN2**2 / 2, 2, 2 / 3.5),  # 2, 4
    (OTHER, "mono-forward"): ratio(LN2 / 3, LN2**2 * 2 / 3, 3, 2 / 3.5),  # 2, 4, 2: (1 + 4 + 1) / 9
}

MONO_STEPS = {4: (3.0, 4.0), 2: (3.0, 2.0), 3: (8 / 3, 8 / 3)}
"""Of 2, 4, 2, 4 million operations: mean and squares by the number of runs."""

OTHER_STEPS = {"backprop": 3.5e6, "pepita": 4.5e6, "forward-forward": 5.5e6}


def _flops(key: tuple[Task, str]) -> dict[str, Interval]:
    """Of a step, and of a run of ten steps a pass; Mono-Forward has 4 passes in every run."""
    passes = PASSES[key]
    if key[1] == "mono-forward":
        mean, squares = MONO_STEPS[passes[2]]
        return {"step_flops": around(mean, squares, passes[2], 1e6), "run_flops": around(mean, squares, passes[2], 40e6)}
    step = OTHER_STEPS[key[1]]
    return {"step_flops": same(step), "run_flops": around(*passes, 10 * step)}


def _ratios(key: tuple[Task, str]) -> dict[str, Interval]:
    if key[1] == "backprop":
        return {}
    return {
        "training_time_ratio": ratio(*LOGS[key], TRAINING[key[1]] / 0.9),
        "cpu_ratio": ratio(*LOGS[key], CPU[key[1]] / 0.5),
        "step_flops_ratio": STEP_RATIOS[key],
    }


def _means(key: tuple[Task, str]) -> dict[str, Interval]:
    arm, n = key[1], SECONDS[key][2]
    return {
        "steps_count": around(*PASSES[key], 10),
        "examples_count": around(*PASSES[key], 77),
        "validation_time_s": around(*SECONDS[key], 1 - TRAINING[arm]),
        "training_time_s": around(*SECONDS[key], TRAINING[arm]),
        "cpu_s": around(*SECONDS[key], CPU[arm]),
        "cpu_s_per_s": same(CPU[arm]),
        "other_load_fraction": around(*LOAD[n], n, 0.01),
        **_flops(key),
    }


COST_COLUMNS = (*_means((LARGE, "pepita")), *_ratios((LARGE, "pepita")))
COST_MEANS = {key: _means(key) | _ratios(key) for key in SECONDS}

EVALUATION_PEAKS = {
    # twice the bytes of the step, and 3 for each number of the last seed that finished
    (LARGE, "backprop"): 8201, (LARGE, "mono-forward"): 6153, (LARGE, "pepita"): 10249, (LARGE, "forward-forward"): 12291,
    (SMALL, "backprop"): 8195, (SMALL, "mono-forward"): 6147, (OTHER, "backprop"): 8198, (OTHER, "mono-forward"): 6150,
}  # fmt: skip

PASSES_HEADINGS = (
    "Arm", "Passes", "Steps", "Examples seen", "Time", "of which validation", "Training", "Processor time",
    "Processor seconds a second", "Busy by other processes", "How the runs ended",
)  # fmt: skip

PASSES_TABLE = (
    # passes, steps, examples, time, validation, training, processor time, a second, load, how it ended
    ("backprop", "4.5", "45", "346", "47.5 s", "4.75 s", "42.8 s", "23.8 s", "0.50", "2 %", "by patience: 4 of 4"),
    ("mono-forward", "4", "40", "308", "2 min 45 s", "41.2 s", "2 min 04 s", "2 min 04 s (×4.24)", "0.75", "2 %",
     "by patience: 4 of 4"),
    ("pepita", "4", "40", "308", "47.5 s", "4.75 s", "42.8 s", "23.8 s (×1.00)", "0.50", "2 %", "by patience: 4 of 4"),
    ("forward-forward", "4.5", "45", "346", "40 s", "20 s", "20 s", "80 s (×10.95)", "2.00", "2 %", "by patience: 2 of 2"),
)  # fmt: skip
