"""From a run that has ended to its record: every number, and a reason for every null. Here, once, the test split is read."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bpfree import stats
from bpfree.algorithms import Algorithm, Phase, State, maths_used, on_net, params
from bpfree.bench import environment
from bpfree.bench.arm import Arm
from bpfree.bench.causes import says, world_cause
from bpfree.bench.cost import StepCost, n_parameters
from bpfree.bench.load import LEAST_BUSY_S, Load
from bpfree.bench.outcome import AT_ONCE
from bpfree.bench.setting import Setting
from bpfree.bench.spaces import fixed_though_searched
from bpfree.meter import Reading, co2e_g, device_peak
from bpfree.models import Model, measure_inference
from bpfree.nets import Chain
from bpfree.numerics.products import products_in
from bpfree.records import ByClass, Carbon, Energy, Health, HistoryEntry, Inference, InferenceAt, PhaseEnd, Record, TuningCost
from bpfree.rulesets import digest
from bpfree.train import StopRule, best_of, evaluate, health_of, stop_in, warn_of_health

__all__ = ["Ended", "broken", "record_of", "with_test", "with_tuning"]

INFERENCE_BATCH = 128
"""Of the headline latency; a single example is timed beside it."""

INFERENCE_REPEATS = 40
INFERENCE_WINDOW_S = 0.02
INFERENCE_MOST_S = 5.0
"""Calls timed one by one; the least window of the throughput, longer where a source of energy needs it; most of either for one
batch size."""
NO_TARGET = "no target accuracy was given; name one with --target 0.95"
NOT_TESTED = "the test split is read once, when the study is over, and only for its best trial"
NO_STUDY = "one search served all seeds"
NOT_TUNED = "nothing was tuned: the values were given"
TESTED = ("test_accuracy", "n_test", "correct", "by_class", "inference")
"""What is known once the test split has been read."""


@dataclass
class Ended:
    """A run whose window is closed. The state is the best one of the run; the test split has not been read.

    Attributes:
        arm: as the ruleset has it.
        steps, examples, stops: what the loop counted, None and empty where no pass ended.
        study: number of the study that the run is a trial of, None where one search serves all seeds.
        compile_s: seconds that compiling its steps took, None where nothing was compiled.
    """

    setting: Setting
    arm: Arm
    algorithm: Algorithm
    net: Chain
    state: State
    cost: StepCost
    history: list[HistoryEntry]
    steps: int | None
    examples: int | None
    stops: list[PhaseEnd]
    reading: Reading
    load: Load
    stop: StopRule
    seed: int
    study: int | None
    started_at: str
    compile_s: float | None = None

    @property
    def phase(self) -> Phase:
        """In which the run ended."""
        return self.algorithm.phases(self.net)[self.history[-1].phase if self.history else 0]


def record_of(run: Ended, problem: BaseException | None) -> Record:
    """The record of a run as it ended, before the test split is read and without what tuning cost.

    Args:
        problem: what broke the run, if anything did.
    """
    setting, reading = run.setting, run.reading
    last = run.history[-1] if run.history else None
    status, why = _status(last, problem)
    reasons = {**run.cost.reasons, **reading.reasons, "tuning_energy": NOT_TUNED}
    val_accuracy = best_of(run.history, stop_in(run.stop, run.phase)) if status == "ok" else None
    reasons |= dict.fromkeys(TESTED, NOT_TESTED if status == "ok" else why)
    if status != "ok":
        reasons["val_accuracy"] = reasons["status"] = why
    if last is None:
        reasons |= dict.fromkeys(("eval_time_s", "forward_passes", "steps", "examples_seen"), why)
    if run.study is None:
        reasons["study"] = NO_STUDY
    if setting.together is not None:
        reasons |= dict.fromkeys(("cpu_s", "other_load"), f"several processes trained together ({setting.together.words})")
    elif run.load.others is None:
        reasons["other_load"] = f"the processor was busy for less than {LEAST_BUSY_S:g} s, which is too short to tell"
    traits = run.algorithm.traits(run.net)
    co2e, carbon = _carbon(run, reasons)
    target = setting.ruleset.plan.target_for(setting.data.name)
    time_to_target_s, energy_to_target_j = _to_target(run.history, target, reasons)
    allocator = device_peak(setting.device)
    if allocator.allocated_bytes is None:
        reasons["memory.allocator_peak"] = allocator.reason or "not known"
    if run.compile_s is None:
        reasons["compile_time_s"] = f"nothing was compiled in the tier {setting.ruleset.plan.tier}"
    health = _health(run) if status == "ok" else Health()  # after the allocator's peak has been read
    return Record(
        arm=run.arm.label,
        algorithm=run.algorithm.name,
        variant=run.arm.variant,
        params={**params(on_net(run.algorithm, run.net))},
        dataset=setting.data.name,
        split=setting.data.split_digest,
        data_digest=setting.data.data_digest,
        split_seed=setting.split_seed,
        net=setting.net,
        n_params=n_parameters(run.algorithm, run.net),
        n_aux_params=traits.extra_parameters,
        seed=run.seed,
        study=run.study,
        control=run.arm.control,
        untrained_control=traits.untrained_control,
        unequal_search=fixed_though_searched(setting.ruleset, run.arm),
        ruleset_digest=digest(setting.ruleset),
        code_digest=environment.run_code_digest(),
        plan={**setting.plan, "phases": {p.name: p.max_passes for p in run.algorithm.phases(run.net)}, "target": target},
        status=status,
        reasons=reasons,
        val_accuracy=val_accuracy,
        test_accuracy=None,
        passes=last.passes if last else 0,
        steps=run.steps,
        examples_seen=run.examples,
        stops=run.stops,
        forward_passes=last.passes * traits.forward_passes if last else None,
        time_s=reading.time_s,
        eval_time_s=last.eval_time_s if last else None,
        compile_time_s=run.compile_s,
        cpu_s=run.load.cpu_s,
        other_load=run.load.others,
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
        tuning_energy=None,
        inference=None,
        time_to_target_s=time_to_target_s,
        energy_to_target_j=energy_to_target_j,
        flops=run.cost.flops.model_copy(update=_run_flops(run, reasons)),
        peak_memory_bytes=run.cost.peak_bytes,
        evaluation_peak_bytes=run.cost.evaluation_peak_bytes,
        memory=run.cost.memory.model_copy(update={"allocator_peak": allocator.allocated_bytes}),
        health=health,
        tier=run.setting.ruleset.plan.tier,
        parallel=setting.together.words if setting.together else None,
        maths=maths_used(run.algorithm, run.net),
        history=_with_flops(run),
        environment_digest=environment.digest(setting.facts),
        started_at=run.started_at,
        versions=environment.versions(),
    )


def with_tuning(record: Record, cost: TuningCost | None) -> Record:
    """The record with what finding its values cost; None: they were given."""
    if cost is None:
        return record
    reasons = {key: why for key, why in record.reasons.items() if key != "tuning_energy"}
    if cost.joules is None:
        unmetered = AT_ONCE if cost.method == AT_ONCE else "the search was not metered in full"
        reasons["tuning_energy"] = reasons.get("energy.joules", unmetered)
    return _changed(record, tuning_energy=cost, reasons=reasons)


def with_test(record: Record, setting: Setting, model: Model) -> Record:
    """The record of a run that ended well, with its one look at the test split, and with what using the model costs.

    Args:
        setting: with the test split in its data.
        model: in its best state.
    """
    # the only line that reads the test split
    with products_in(model.precision):
        tested = evaluate(model.algorithm, model.net, model.state, setting.data, "test", model.phase)
    reasons = {key: why for key, why in record.reasons.items() if key not in TESTED}
    bits = np.packbits(tested.correct.cpu().numpy())
    return _changed(
        record,
        test_accuracy=tested.accuracy,
        n_test=len(tested.correct),
        by_class=ByClass(
            n=list(tested.n_by_class),
            recall=[right / n if n else None for n, right in zip(tested.n_by_class, tested.correct_by_class, strict=True)],
            balanced_accuracy=tested.balanced_accuracy,
            majority_share=max(tested.n_by_class) / sum(tested.n_by_class),
            labels=setting.data.classes,
        ),
        correct=base64.b64encode(bits.tobytes()).decode("ascii"),
        inference=_inference(record.arm, setting, replace(model, normalisation=None), reasons),
        reasons=reasons,
    )


def broken(record: Record, problem: BaseException) -> Record:
    """The record of a run that ended well, but whose test split could not be scored."""
    status, why = _status(None, problem)
    reasons = record.reasons | dict.fromkeys((*TESTED, "status", "val_accuracy"), why)
    return _changed(record, status=status, val_accuracy=None, reasons=reasons)


def _changed(record: Record, **changes: Any) -> Record:
    """A copy that is checked again: no null may lose its reason."""
    fields = {name: getattr(record, name) for name in Record.model_fields} | changes
    return Record.model_validate(fields)


def _run_flops(run: Ended, reasons: dict[str, str]) -> dict[str, int | None]:
    total = None
    if run.steps and run.examples:
        passes = Counter(entry.phase for entry in run.history)
        total = run.cost.run_flops(passes, run.steps, run.examples)
    if total is None:
        why = run.cost.reasons.get("flops.train_step", "no pass ended")
        reasons |= dict.fromkeys(("flops.run_total", "flops.mean_step"), why)
    return {"run_total": total, "mean_step": None if total is None or not run.steps else round(total / run.steps)}


def _with_flops(run: Ended) -> list[HistoryEntry]:
    """The history with the operations of training until the end of each pass."""
    passes = Counter[int]()
    entries = []
    for number, entry in enumerate(run.history, start=1):
        passes[entry.phase] += 1
        share = number / len(run.history)  # every pass reads the same examples
        so_far = run.cost.run_flops(passes, round((run.steps or 0) * share), round((run.examples or 0) * share))
        entries.append(entry.model_copy(update={"flops": so_far}))
    return entries


def _health(run: Ended) -> Health:
    with products_in(run.setting.ruleset.precision):
        signs = health_of(run.algorithm, run.net, run.state, run.setting.data, run.phase)
    warn_of_health(run.arm.label, signs)
    return Health(dead_units=list(signs.dead_units), tied_scores=[signs.tied_scores], block_accuracy=list(signs.block_accuracy))


def _carbon(run: Ended, reasons: dict[str, str]) -> tuple[float | None, Carbon]:
    factor = run.setting.factor
    co2e = co2e_g(run.reading.joules, factor)
    if factor is None:
        why = "no country was given: name one with --country ISO3, or a factor with --grid-g-per-kwh"
        reasons |= dict.fromkeys(("co2e_g", "carbon"), why)
        return None, Carbon(g_per_kwh=None, pue=1.0, source=None, year=None)
    if co2e is None:
        reasons["co2e_g"] = "there are no joules to multiply"
    if factor.year is None:
        reasons["carbon.year"] = "the factor was given by hand"
    return co2e, Carbon(g_per_kwh=factor.g_per_kwh, pue=1.0, source=factor.source, year=factor.year)


def _inference(arm: str, setting: Setting, model: Model, reasons: dict[str, str]) -> Inference:
    """What using the trained model costs, outside the window."""
    costs = measure_inference(
        {arm: model},
        setting.meter,
        batch_sizes=(1, INFERENCE_BATCH),
        repeats=INFERENCE_REPEATS,
        window_s=INFERENCE_WINDOW_S,
        n_windows=1,
        max_s=INFERENCE_MOST_S,
        counted=False,
    )
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
        return "interrupted", "the run was interrupted; the same command runs it again"
    if problem is not None and world_cause(problem) is not None:
        return "interrupted", f"{says(problem)}; the same command runs it again"
    if problem is not None:
        return "failed", says(problem)
    if last is not None and last.train_loss is None:
        return "diverged", f"the loss or the validation scores became NaN or infinite in pass {last.passes}"
    return "ok", ""
