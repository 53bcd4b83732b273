"""One measured run: train with chosen values within one window, then read the test split once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bpfree.algorithms import Algorithm, State, Value
from bpfree.bench.arm import Arm
from bpfree.bench.causes import says
from bpfree.bench.cost import StepCost, step_cost, warm_up
from bpfree.bench.load import Load, LoadWatch
from bpfree.bench.record import Ended, broken, record_of, with_test, with_tuning
from bpfree.bench.setting import Setting, check_runnable, check_supported
from bpfree.data import Dataset
from bpfree.meter import Meter, Reading, Trace, Window, reset_device_peak
from bpfree.models import Model
from bpfree.nets import Chain
from bpfree.numerics.products import products_in
from bpfree.records import Flops, HistoryEntry, Memory, PhaseEnd, Record, TuningCost
from bpfree.rulesets import Ruleset, digest
from bpfree.train import Clock, Progress, check_identity, compile_steps, counted, initialise, past

__all__ = ["RunFailed", "Setting", "check_runnable", "check_supported", "measure", "run_once"]


class RunFailed(Exception):  # noqa: N818 - it carries a record, it is not a kind of error
    """A run that did not end by itself; ``record`` says what was measured until then."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.reasons.get("status", record.status))
        self.record = record


def measure(
    setting: Setting,
    arm: Arm,
    values: Mapping[str, Value],
    seed: int,
    tuning: TuningCost | None,
    *,
    on_pass: Callable[[Progress], None] = lambda _: None,
    checkpoint: Path | None = None,
    save_every: int | str | None = None,
    on_trained: Callable[[Model], None] = lambda _: None,
    on_trace: Callable[[Record, Trace], None] = lambda _, __: None,
) -> Record:
    """Train ``arm`` with ``values`` on ``seed``, read the test split, and return the record.

    Args:
        tuning: what finding the values cost, None where they were given.
        checkpoint: for a single long run: written after each pass and resumed from. A comparison has none: a run that was
            killed starts again, since the energies of two sittings are never added.
        save_every: within passes too, see :func:`bpfree.training`.
        on_trained: is given the trained model, if the run ends well; outside the window.
        on_trace: is given what the device did during the window, where anything was sampled, however the run ended.

    A loss that becomes NaN gives a record with status ``diverged``. An exception is a record too, carried by :class:`RunFailed`:
    ``failed``, or ``interrupted`` for Ctrl-C and for what the world did (see :mod:`bpfree.bench.causes`).

    Raises:
        RunFailed: with the record; its cause is the exception.
        UsageError, DataError: the checkpoint belongs to another run, or is damaged. Nothing has been run.
    """
    try:
        record, model, trace = run_once(
            setting,
            arm,
            values,
            seed,
            on_pass=on_pass,
            checkpoint=checkpoint,
            save_every=save_every,
            on_trace=on_trace,
        )
    except RunFailed as failure:
        raise RunFailed(with_tuning(failure.record, tuning)) from failure.__cause__
    record = with_tuning(record, tuning)
    if model is not None:
        try:
            record = with_test(record, setting, model)
        except (Exception, KeyboardInterrupt) as error:
            record = broken(record, error)
            if trace is not None:
                on_trace(record, trace)
            raise RunFailed(record) from error
    if trace is not None:
        on_trace(record, trace)
    if model is not None:
        on_trained(model)
    return record


def run_once(
    setting: Setting,
    arm: Arm,
    values: Mapping[str, Value],
    seed: int,
    *,
    study: int | None = None,
    on_pass: Callable[[Progress], None] = lambda _: None,
    checkpoint: Path | None = None,
    save_every: int | str | None = None,
    on_trace: Callable[[Record, Trace], None] = lambda _, __: None,
) -> tuple[Record, Model | None, Trace | None]:
    """Train once within one window; the test split is not read.

    Args:
        study: which study the run is a trial of.
        on_trace: called for a run that breaks; of a run that ends, the trace is returned.

    Returns:
        The record so far, the model in its best state (None if the loss was not finite), and what the device did meanwhile (None
        where nothing was sampled).

    Raises:
        RunFailed: with the record; its cause is the exception.
        UsageError, DataError: the checkpoint belongs to another run, or is damaged, or the rule cannot be compiled. Nothing has
            been run.
    """
    under = setting.arm_rules(arm)
    rules, arm, stop = under.rules, under.chosen, under.stop()
    algorithm = arm.build(values)
    net = setting.build_net()
    blind = setting.data.without_test()
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    state = initialise(algorithm, net, seed, setting.device)
    identity = {
        "arm": arm.label,
        "values": dict(values),
        "data": setting.data.data_digest,
        "net": setting.net,
        "seed": seed,
        "ruleset": digest(setting.ruleset),
    }
    if checkpoint is not None:
        check_identity(checkpoint, identity)  # before the window: no record tells against the arm
    cost, compile_s, early = _before_window(setting, arm, algorithm, net, state, blind, rules)
    so_far = _SoFar.of(checkpoint)
    resumed = checkpoint is not None and checkpoint.exists()  # perhaps within its first pass
    reset_device_peak(setting.device)
    watch = LoadWatch()

    def passes(clock: Clock) -> Iterator[Progress]:
        if early is not None:
            raise early
        yield from under.training(
            algorithm,
            net,
            blind,
            state,
            clock,
            seed=seed,
            checkpoint=checkpoint,
            identity=identity,
            passes=setting.together.passes if setting.together else None,
            save_every=save_every,
        )

    def see(progress: Progress) -> None:
        so_far.see(progress)
        on_pass(progress)

    window, problem = _metered(setting.meter, passes, see)
    load = watch.stop() if setting.together is None else Load(None, None)  # the other ranks are neither of them
    reading = window.reading
    assert reading is not None
    reading.reasons.update({f"timeline.{name}": why for name, why in window.trace.reasons().items()})
    if resumed:
        reading = _of_two_sittings(reading, so_far.history)
    ended = Ended(
        setting,
        arm,
        algorithm,
        net,
        state,
        cost,
        so_far.history,
        so_far.steps,
        so_far.examples,
        so_far.stops,
        reading,
        load,
        stop,
        seed,
        study,
        started_at,
        compile_s,
    )
    record = record_of(ended, problem)
    trace = window.trace if window.timeline else None
    if problem is not None:
        if trace is not None:
            on_trace(record, trace)
        raise RunFailed(record) from problem
    model = setting.model(algorithm, net, state, ended.phase) if record.status == "ok" else None
    return record, model, trace


@dataclass
class _SoFar:
    """What a run has come to: its passes, those of earlier sittings too, and its counts (None before the first pass)."""

    history: list[HistoryEntry]
    steps: int | None
    examples: int | None
    stops: list[PhaseEnd]

    @classmethod
    def of(cls, checkpoint: Path | None) -> _SoFar:
        """Where a checkpoint stands; the beginning, without one."""
        return cls([], None, None, []) if checkpoint is None else cls(past(checkpoint), *counted(checkpoint))

    def see(self, progress: Progress) -> None:
        """A pass has ended."""
        self.history.append(progress.entry)
        self.steps, self.examples, self.stops = progress.steps, progress.examples, list(progress.stops)


def _metered(
    meter: Meter, passes: Callable[[Clock], Iterator[Progress]], see: Callable[[Progress], None]
) -> tuple[Window, BaseException | None]:
    """Train within one window; the window, closed, and what ended the training before its time.

    Raises:
        Exception: the window could not be opened: nothing had begun.
    """
    window: Window | None = None
    try:
        with meter.window() as window:
            for progress in passes(window):
                see(progress)
    except (Exception, KeyboardInterrupt) as error:
        if window is None:
            raise
        if window.reading is None:  # Ctrl-C while the window was being closed
            window.close(failed=True)
        return window, error
    return window, None


def _before_window(
    setting: Setting, arm: Arm, algorithm: Algorithm, net: Chain, state: State, data: Dataset, rules: Ruleset
) -> tuple[StepCost, float | None, Exception | None]:
    """Warm up, count a step and compile it: its cost, the seconds of compiling (None without it), and what it raised.

    Whatever the first step raises becomes the run's record.
    """
    try:
        with products_in(rules.precision):
            warm_up(algorithm, net, state, data, rules.batch_size)
            cost = _cost(setting, arm, algorithm, net, state, data, rules.batch_size)
    except Exception as error:  # noqa: BLE001 - see above
        return _uncounted(rules.batch_size, says(error)), None, error
    tier, precision = rules.plan.tier, rules.precision
    with products_in(precision):
        return cost, compile_steps(algorithm, net, state, data, rules.batch_size, tier=tier, precision=precision), None


def _of_two_sittings(reading: Reading, history: list[HistoryEntry]) -> Reading:
    """Seconds of several sittings add up; joules do not, since the device was not metered in between."""
    why = "the run was interrupted and resumed; energies of two sittings are not added"
    reasons = reading.reasons | dict.fromkeys(("energy.joules", "energy.net_joules", "energy.sources"), why)
    sources = dict.fromkeys(reading.sources)
    return dataclasses.replace(
        reading,
        time_s=history[-1].time_s if history else reading.time_s,
        joules=None,
        net_joules=None,
        sources=sources,
        measured=False,
        reasons=reasons,
    )


def _uncounted(batch_size: int, why: str) -> StepCost:
    """The cost of a step that raised."""
    flops = Flops(train_step=None, evaluation=None, orthogonalisation=None, batch_size=batch_size, method=None)
    memory = Memory(weights=None, auxiliary=None, gradients=None, optimiser=None, activations=None, method=None)
    missing = ("flops", "memory", "peak_memory_bytes", "evaluation_peak_bytes")
    reasons: dict[str, str] = dict.fromkeys(missing, f"a step could not be made: {why}")
    return StepCost(flops, memory, None, reasons, evaluation_peak_bytes=None)


def _cost(setting: Setting, arm: Arm, algorithm: Algorithm, net: Chain, state: State, data: Dataset, batch_size: int) -> StepCost:
    key = f"{arm.plain}|{setting.data.name}|{setting.net}"
    if key not in setting.costs:
        setting.costs[key] = step_cost(algorithm, net, state, data, batch_size)
    return setting.costs[key]
