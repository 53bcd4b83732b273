"""One measured run: train with chosen values on a fresh seed, within one window, then read the test split once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bpfree import stats
from bpfree.algorithms import Algorithm, Phase, State, Value, check_net, maths_used, params
from bpfree.bench import environment
from bpfree.bench.arm import Arm
from bpfree.bench.cost import StepCost, n_parameters, step_cost, warm_up
from bpfree.bench.stops import check_passes, check_phases, patience_of, stop_rule
from bpfree.data import Dataset
from bpfree.errors import RulesetError
from bpfree.meter import CarbonFactor, Meter, Reading, Trace, Window, co2e_g, device_peak, reset_device_peak
from bpfree.models import Model, measure_inference
from bpfree.nets import Chain, build
from bpfree.records import Carbon, Energy, HistoryEntry, Inference, InferenceAt, Record, TuningCost
from bpfree.rulesets import Ruleset, digest
from bpfree.train import Progress, StopRule, best_of, evaluate, initialise, past, stop_in, training

__all__ = ["RunFailed", "Setting", "check_runnable", "check_supported", "measure", "patience_of"]

INFERENCE_BATCH = 128
"""Of the headline latency; a single example is timed beside it."""

INFERENCE_REPEATS = 40
INFERENCE_WINDOW_S = 0.1
INFERENCE_MOST_S = 5.0
"""Calls timed one by one; the window of the throughput; most of either for one batch size."""
NO_TARGET = "no target accuracy was given; name one with --target 0.95"


@dataclass
class Setting:
    """What all runs of a comparison have in common.

    Attributes:
        data: on the device, with its test split.
        net: specification, such as ``"mlp:2x256"``.
        country_reason: why there is no factor, if there is none.
        costs: of a step, by arm and values; filled as runs are measured (they do not depend on the seed).
    """

    ruleset: Ruleset
    data: Dataset
    net: str
    device: torch.device
    meter: Meter
    factor: CarbonFactor | None
    plan: dict[str, Any]
    facts: dict[str, Any]
    costs: dict[str, StepCost] = field(default_factory=dict)

    def build_net(self) -> Chain:
        """A new net for the data."""
        return build(self.net, self.data.in_shape, self.data.n_classes)


def check_supported(rules: Ruleset, arms: Sequence[Arm], net: Chain | None = None) -> None:
    """Refuse rules that the harness cannot keep yet, rather than hash them into records and ignore them.

    Args:
        net: where it is known, exceptions for phases that no arm has on it are refused too.

    Raises:
        RulesetError: naming the rule and what can be had.
    """
    wishes = {
        "precision": (rules.precision, "float32"),
        "plan.tier": (rules.plan.tier, "eager"),
    }
    for field_name, (asked, supported) in wishes.items():
        if asked != supported:
            raise RulesetError(f"ruleset {rules.name} asks for {field_name}: {asked}, which cannot be kept yet; use {supported}")
    for arm in arms:
        arm.under(rules)
    check_phases(rules, arms, net)


def check_runnable(setting: Setting, arms: Sequence[Arm]) -> None:
    """Refuse, before anything is written, arms that cannot be trained on this net by these rules.

    Raises:
        UsageError: a rule cannot train the net, or has more phases than passes.
        RulesetError: see :func:`check_supported`.
    """
    net = setting.build_net()
    for arm in arms:
        check_net(arm.build({}), net)
    check_supported(setting.ruleset, arms, net)
    check_passes(setting.ruleset, arms, net, setting.data.name, setting.net)


def measure(
    setting: Setting,
    arm: Arm,
    values: Mapping[str, Value],
    seed: int,
    tuning: TuningCost | None,
    *,
    on_pass: Callable[[Progress], None] = lambda _: None,
    checkpoint: Path | None = None,
    on_trained: Callable[[Model], None] = lambda _: None,
    on_trace: Callable[[Record, Trace], None] = lambda _, __: None,
) -> Record:
    """Train ``arm`` with ``values`` on ``seed`` and return its record.

    Args:
        tuning: what finding the values cost, None where they were given.
        checkpoint: for a single long run: written after each pass and resumed from. A comparison has none: a run that was
            killed starts again, since the energies of two sittings are never added.
        on_trained: is given the trained model, if the run ends well; outside the window.
        on_trace: is given what the device did during the window, where anything was sampled, however the run ended.

    A loss that becomes NaN gives a record with status ``diverged``. An exception inside the window is a record too
    (``failed``, ``interrupted``), carried by :class:`RunFailed`.

    Raises:
        RunFailed: with the record; its cause is the exception.
    """
    rules = setting.ruleset.for_arm(arm.label, setting.data.name, setting.net)
    arm = arm.under(rules)
    algorithm = arm.build(values)
    net = setting.build_net()
    blind = setting.data.without_test()
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    state = initialise(algorithm, net, seed, setting.device)
    cost = _cost(setting, arm, algorithm, net, state, blind, rules.batch_size)
    warm_up(algorithm, net, state, blind, rules.batch_size)
    stop = stop_rule(setting.ruleset, arm.label, setting.data.name, setting.net)
    history = past(checkpoint) if checkpoint else []
    sittings = 2 if history else 1
    problem: BaseException | None = None
    reset_device_peak(setting.device)
    window: Window | None = None
    try:
        with setting.meter.window() as window:
            for progress in training(
                algorithm, net, blind, stop, batch_size=rules.batch_size, seed=seed,
                lr_schedule=rules.lr_schedule, state=state, clock=window, checkpoint=checkpoint,
                identity={"arm": arm.label, "values": dict(values), "data": setting.data.split_digest, "net": setting.net,
                          "seed": seed, "ruleset": digest(setting.ruleset)},
            ):  # fmt: skip
                history.append(progress.entry)
                on_pass(progress)
    except (Exception, KeyboardInterrupt) as error:
        problem = error
        if window is None:  # nothing had begun
            raise
        if window.reading is None:  # Ctrl-C while the window was being closed
            window.close(failed=True)
    assert window is not None
    reading = window.reading
    assert reading is not None
    reading.reasons.update({f"timeline.{name}": why for name, why in window.trace.reasons().items()})
    if sittings > 1:
        reading = _of_two_sittings(reading, history)
    record = _Writer(setting, arm, algorithm, net, state, cost, history, reading, stop, seed, tuning, started_at).record(problem)
    if window.timeline:
        on_trace(record, window.trace)
    if problem is not None:
        raise RunFailed(record) from problem
    if record.status == "ok":
        on_trained(Model(algorithm, net, state, algorithm.phases(net)[history[-1].phase], setting.data.normalisation))
    return record


def _of_two_sittings(reading: Reading, history: list[HistoryEntry]) -> Reading:
    """Seconds of several sittings add up; joules do not, since nobody saw the device in between."""
    why = "the run was interrupted and resumed; energies of two sittings are not added"
    reasons = reading.reasons | dict.fromkeys(("energy.joules", "energy.net_joules", "energy.sources"), why)
    sources = dict.fromkeys(reading.sources)
    return dataclasses.replace(
        reading,
        time_s=history[-1].time_s,
        joules=None,
        net_joules=None,
        sources=sources,
        measured=False,
        reasons=reasons,
    )


class RunFailed(Exception):  # noqa: N818 - it carries a record, it is not a kind of error
    """A run that did not end by itself; ``record`` says what was measured until then."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.reasons.get("status", record.status))
        self.record = record


def _cost(setting: Setting, arm: Arm, algorithm: Algorithm, net: Chain, state: State, data: Dataset, batch_size: int) -> StepCost:
    key = f"{arm.label}|{setting.data.name}|{setting.net}"
    if key not in setting.costs:
        setting.costs[key] = step_cost(algorithm, net, state, data, batch_size)
    return setting.costs[key]


@dataclass
class _Writer:
    """Puts a record together, with a reason for every null."""

    setting: Setting
    arm: Arm
    algorithm: Algorithm
    net: Chain
    state: State
    cost: StepCost
    history: list[HistoryEntry]
    reading: Reading
    stop: StopRule
    seed: int
    tuning: TuningCost | None
    started_at: str

    def record(self, problem: BaseException | None) -> Record:
        """The record of the run as it ended."""
        setting, reading = self.setting, self.reading
        last = self.history[-1] if self.history else None
        phases = self.algorithm.phases(self.net)
        phase = phases[last.phase if last else 0]
        status, why = _status(last, problem)
        reasons = {**self.cost.reasons, **reading.reasons}
        val_accuracy = test_accuracy = None
        inference: Inference | None = None
        if status == "ok" and last is not None:
            val_accuracy = best_of(self.history, stop_in(self.stop, phase))
            test_accuracy = evaluate(
                self.algorithm, self.net, self.state, setting.data, "test", phase
            ).accuracy  # the only line that reads the test split
            inference = self._inference(phase, reasons)
        else:
            reasons |= dict.fromkeys(("val_accuracy", "test_accuracy", "inference"), why)
            reasons["status"] = why
        traits = self.algorithm.traits(self.net)
        co2e, carbon = self._carbon(reasons)
        target = setting.ruleset.plan.target_for(setting.data.name)
        time_to_target_s, energy_to_target_j = _to_target(self.history, target, reasons)
        if self.tuning is None:
            reasons["tuning_energy"] = "nothing was tuned: the values were given"
        elif self.tuning.joules is None:
            reasons["tuning_energy"] = reading.reasons.get("energy.joules", "the search was not metered in full")
        if last is None:
            reasons["eval_time_s"] = reasons["forward_passes"] = why
        peak, peak_method = self._peak()
        memory = self.cost.memory.model_copy(update={"method": peak_method})
        return Record(
            arm=self.arm.label,
            algorithm=self.algorithm.name,
            variant=self.arm.variant,
            params={**params(self.algorithm)},
            dataset=setting.data.name,
            split=setting.data.split_digest,
            net=setting.net,
            n_params=n_parameters(self.algorithm, self.net),
            n_aux_params=traits.extra_parameters,
            seed=self.seed,
            ruleset_digest=digest(setting.ruleset),
            plan={**setting.plan, "phases": {phase.name: phase.max_passes for phase in phases}, "target": target},
            status=status,
            reasons=reasons,
            val_accuracy=val_accuracy,
            test_accuracy=test_accuracy,
            passes=last.passes if last else 0,
            forward_passes=last.passes * traits.forward_passes if last else None,
            time_s=reading.time_s,
            eval_time_s=last.eval_time_s if last else None,
            energy=Energy(
                joules=reading.joules,
                net_joules=reading.net_joules,
                method=reading.method,
                scope=reading.scope,
                measured=reading.measured,
                resolved=reading.resolved,
                sources=reading.sources,
            ),
            co2e_g=co2e,
            carbon=carbon,
            tuning_energy=self.tuning,
            inference=inference,
            time_to_target_s=time_to_target_s,
            energy_to_target_j=energy_to_target_j,
            flops=self.cost.flops,
            peak_memory_bytes=peak,
            memory=memory,
            tier="eager",
            maths=maths_used(self.algorithm, self.net),
            history=self.history,
            environment_digest=environment.digest(setting.facts),
            started_at=self.started_at,
            versions=environment.versions(),
        )

    def _carbon(self, reasons: dict[str, str]) -> tuple[float | None, Carbon]:
        factor = self.setting.factor
        co2e = co2e_g(self.reading.joules, factor)
        if factor is None:
            why = "no country was given: name one with --country ISO3, or a factor with --grid-g-per-kwh"
            reasons |= dict.fromkeys(("co2e_g", "carbon"), why)
            return None, Carbon(g_per_kwh=None, pue=1.0, source=None, year=None)
        if co2e is None:
            reasons["co2e_g"] = "there are no joules to multiply"
        if factor.year is None:
            reasons["carbon.year"] = "the factor was given by hand"
        return co2e, Carbon(g_per_kwh=factor.g_per_kwh, pue=1.0, source=factor.source, year=factor.year)

    def _peak(self) -> tuple[int, str | None]:
        device = device_peak(self.setting.device)
        if device.allocated_bytes is not None:
            return device.allocated_bytes, "peak: torch allocator; parts: " + str(self.cost.memory.method)
        return self.cost.peak_bytes, self.cost.memory.method

    def _inference(self, phase: Phase, reasons: dict[str, str]) -> Inference:
        """What using the trained model costs, outside the window."""
        model = Model(self.algorithm, self.net, self.state, phase)
        costs = measure_inference(
            {self.arm.label: model}, self.setting.meter, batch_sizes=(1, INFERENCE_BATCH), repeats=INFERENCE_REPEATS,
            window_s=INFERENCE_WINDOW_S, n_windows=1, max_s=INFERENCE_MOST_S, counted=False,
        )  # fmt: skip
        by_batch = {}
        for cost in costs:
            size = str(cost.batch_size)
            by_batch[size] = InferenceAt(
                latency_p50_s=cost.latency_p50_s,
                latency_p95_s=cost.latency_p95_s,
                images_per_s=cost.images_per_s,
                joules_per_1000=cost.joules_per_1000,
                n_calls=cost.n_calls,
            )
            for name, why in cost.reasons.items():
                if name in InferenceAt.model_fields:
                    reasons[f"inference.by_batch.{size}.{name}"] = why
        headline = costs[-1]
        if headline.joules_per_1000 is None:
            reasons["inference.joules_per_1000"] = headline.reasons["joules_per_1000"]
        return Inference(
            batch_size=headline.batch_size,
            latency_s=headline.latency_p50_s,
            joules_per_1000=headline.joules_per_1000,
            by_batch=by_batch,
        )


def _to_target(
    history: Sequence[HistoryEntry], target: float | None, reasons: dict[str, str]
) -> tuple[float | None, float | None]:
    """Seconds and joules until validation first reached the target, infinite if never; the reasons of nulls are added."""
    if target is None:
        reasons["time_to_target_s"] = reasons["energy_to_target_j"] = NO_TARGET
        return None, None
    entries = [(entry.val_accuracy, entry.time_s, entry.joules) for entry in history]
    joules = stats.energy_to_target(entries, target)
    if joules is None:
        reasons["energy_to_target_j"] = reasons.get("energy.joules", "no energy was measured until then")
    return stats.time_to_target(entries, target), joules


def _status(last: HistoryEntry | None, problem: BaseException | None) -> tuple[Any, str]:
    if isinstance(problem, KeyboardInterrupt):
        return "interrupted", "the run was interrupted; give the same command again to run it anew"
    if problem is not None:
        return "failed", f"{type(problem).__name__}: {str(problem).splitlines()[0] if str(problem) else 'no message'}"
    if last is not None and last.train_loss is None:
        return "diverged", f"the loss became NaN or infinite in pass {last.passes}"
    return "ok", ""
