"""A plan: what every rule would take for a net and data, which fit a budget, and what to change for those that do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from bpfree import data as datasets
from bpfree import nets, rulesets
from bpfree.bench import environment, parse_arms
from bpfree.bench.cost_table import main_arms
from bpfree.errors import UsageError
from bpfree.planning.budgets import Budget
from bpfree.planning.changes import Change, changes
from bpfree.planning.clock import Clock
from bpfree.planning.power import metered_power
from bpfree.planning.prediction import Prediction, Predictor

__all__ = ["Plan", "PlanRow", "plain_rules", "plan"]

RULESET = "quick"
"""Whose batch size and passes hold where none are given."""


@dataclass(frozen=True)
class PlanRow:
    """One arm.

    Attributes:
        fits: whether it fits the budget; None where there is no budget, or the rule cannot train the net.
        too_much: what is too much, in words.
        changes: trainings that fit in its place, see :func:`bpfree.planning.changes.changes`.
    """

    prediction: Prediction
    fits: bool | None = None
    excess: float = 0.0
    too_much: str = ""
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Rows by arm.

    Attributes:
        data_bytes, process_bytes: of the data set, and of this process now with its libraries and that set: what a training takes
            beside the bytes of its row.
        calibration_s: seconds that operations were timed for this plan; 0 where all were known.
    """

    dataset: str
    net: str
    batch_size: int
    passes: int
    budget: Budget
    rows: tuple[PlanRow, ...]
    data_bytes: int
    process_bytes: int
    calibration_s: float

    @property
    def fitting(self) -> tuple[PlanRow, ...]:
        """The rows that fit; without a budget, those whose rule can train the net."""
        return tuple(row for row in self.rows if row.prediction.refusal is None and row.fits is not False)

    def _able(self) -> list[PlanRow]:
        return [row for row in self.rows if row.prediction.refusal is None]

    @property
    def nearest(self) -> PlanRow | None:
        """The row with the least excess, where nothing fits; None where something does, or no rule can train the net."""
        able = [] if self.fitting else self._able()
        return min(able, key=lambda row: row.excess, default=None)

    @property
    def way_out(self) -> Change | None:
        """Where nothing fits, the first change of the nearest row that has one."""
        able = [] if self.fitting else [row for row in self._able() if row.changes]
        return min(able, key=lambda row: row.excess).changes[0] if able else None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        about = {key: getattr(self, key) for key in ("dataset", "net", "batch_size", "passes", "data_bytes", "process_bytes")}
        rows = [
            row.prediction.as_json()
            | {"fits": row.fits, "too_much": row.too_much}
            | {"changes": [_change_json(change) for change in row.changes]}
            for row in self.rows
        ]
        nearest = self.nearest
        return {
            **about,
            "calibration_s": self.calibration_s,
            "budget": dataclasses.asdict(self.budget),
            "rows": rows,
            "nearest": None if nearest is None else nearest.prediction.arm,
            "way_out": None if self.way_out is None else _change_json(self.way_out),
        }


def plain_rules() -> tuple[str, ...]:
    """Every registered rule, the baseline first."""
    return tuple(text for text in main_arms() if ":" not in text)


def _row(forecasts: Predictor, budget: Budget, prediction: Prediction) -> PlanRow:
    if prediction.refusal is not None or budget.is_empty:
        return PlanRow(prediction)
    excess = budget.excess(prediction)
    if excess <= 1:
        return PlanRow(prediction, True, excess)
    return PlanRow(prediction, False, excess, budget.words(prediction), changes(forecasts, budget, prediction))


def _at_least_1(option: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{option} must be a whole number of at least 1, got {value!r}")
    return value


def _change_json(change: Change) -> dict[str, Any]:
    return {"kind": change.kind, "options": change.options, "prediction": change.prediction.as_json()}


def plan(
    rules: Sequence[str] | None = None,
    net: Any = "mlp:2x256",
    data: datasets.Source = "digits",
    *,
    batch_size: int | None = None,
    max_passes: int | None = None,
    max_memory: int | str | None = None,
    max_seconds: float | None = None,
    max_joules: float | None = None,
    measured: str | Path | None = None,
    calibrate: bool = False,
    data_dir: str | Path | None = None,
    channels: str = "auto",
    on_row: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Predict bytes, multiply-adds, seconds and joules of training by each rule on this machine's processor: ``bpfree plan``.

    No step is run on numbers: steps are followed on tensors without content, and each of their operations is timed by itself, for
    some seconds in all; what was timed is kept in the user's cache. As in :func:`bpfree.compare`, torch's number of threads is
    set for the size of the net, and stays so.

    Args:
        rules: arms, such as ``"mono-forward:chunk=32"``; every rule by default.
        net: as in :func:`bpfree.compare`.
        data: as in :func:`bpfree.compare`.
        batch_size, max_passes: by default those of the ruleset ``quick``.
        max_memory: bytes, or text such as ``"2GiB"``: of tensors, beside the process and the data.
        max_seconds, max_joules: of a run of ``max_passes`` passes, each with its validation.
        measured: a run directory whose metered runs say how many watts this machine takes; by default those under ``runs/``.
        calibrate: time all operations again.
        on_row: called with each arm before it is predicted.

    Raises:
        UsageError: an argument out of range, or joules are limited and nothing was metered.
        BpfreeError: rules, net or data that cannot be used.
    """
    budget = Budget.of(max_memory, max_seconds, max_joules)
    usual = rulesets.load(RULESET)
    size = _at_least_1("--batch-size", usual.batch_size if batch_size is None else batch_size)
    passes = _at_least_1("--max-passes", usual.budget.max_passes if max_passes is None else max_passes)
    power = metered_power(None if measured is None else Path(measured))
    if budget.joules is not None and not power.runs:
        raise UsageError(f"--max-joules {budget.joules:g} cannot be held against anything: {power.reason}")
    arms = parse_arms(",".join(plain_rules() if rules is None else rules))
    loaded = datasets.load_any(data, data_dir=None if data_dir is None else Path(data_dir), channels=channels)
    spec = nets.text_of(net, loaded.in_shape, loaded.n_classes)
    forecasts = Predictor(loaded, Clock(), power)
    loaded.batches("train", size)  # refuses a batch larger than the split
    forecasts.check_size(spec)
    environment.configure_torch(sum(p.numel() for p in forecasts.net(spec).parameters()), size, torch.device("cpu"))
    clock = forecasts.clock = Clock.of_machine(fresh=calibrate)
    for arm in arms:
        on_row(arm.label)
        forecasts.predict(arm, spec, size, passes)
    on_row("timing operations")
    clock.settle()
    rows = []
    for arm in arms:
        on_row(arm.label)
        rows.append(_row(forecasts, budget, forecasts.predict(arm, spec, size, passes)))
    clock.save()
    return Plan(
        loaded.name,
        spec,
        size,
        passes,
        budget,
        tuple(rows),
        sum(each.x.nbytes + each.y.nbytes for each in loaded.splits.values()),
        psutil.Process().memory_info().rss,
        clock.measured_s,
    )
