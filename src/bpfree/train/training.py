"""Training as a generator: one :class:`Progress` after each pass, for every rule the same loop.

The stop rule, the budget and the order of batches are arguments; a rule decides nothing but its step. Nothing in here waits
for the device within a pass; after a pass the mean loss and the validation metric are read, once each.
"""

from __future__ import annotations

import math
import os
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from bpfree.algorithms import Algorithm, Phase, State, check_net, check_precision, check_weights, warn_of_weaknesses
from bpfree.data import Dataset, Loader
from bpfree.nets import Chain
from bpfree.nets.layout import lay_out
from bpfree.numerics.products import products_in
from bpfree.records import HistoryEntry, PhaseEnd
from bpfree.rulesets.stopping import StopRule, Watch, end_reason, phase_cap, stop_in
from bpfree.train.checkpoint import Snapshot
from bpfree.train.checks import check_budget, check_pass, check_schedule, check_values
from bpfree.train.clock import Clock, WallClock
from bpfree.train.cursor import Cursor
from bpfree.train.evaluation import Evaluation
from bpfree.train.features import read_by
from bpfree.train.given import (
    as_checkpoint,
    as_data,
    batch_size_of,
    check_given,
    check_mode,
    check_pair,
    check_whole,
    in_format_of,
)
from bpfree.train.identity import identity_of
from bpfree.train.passes import Passes, Work, passes_for
from bpfree.train.schedules import LR_SCHEDULES
from bpfree.train.tiers import check_tier
from bpfree.train.within import Keeper, PassSoFar, every_of

__all__ = ["BATCH_SIZE", "Progress", "initialise", "training"]

BATCH_SIZE = 64
"""Examples in a step by default."""


@dataclass(frozen=True)
class Progress:
    """The state of training after one pass.

    Attributes:
        passes: sweeps over the training split so far, summed over phases.
        phase: the phase that the pass belonged to.
        value: of the stop metric.
        val_accuracy: fraction, on the validation split.
        val_loss: only where the stop rule watches it.
        val_balanced_accuracy: mean over the classes of the share of the validation split that is classified rightly.
        train_loss: mean over the pass of the learning blocks' losses.
        best: best value of this phase so far.
        improved: whether this pass was the best of its phase.
        time_s: since training began, validation included; the sittings of a resumed training add up.
        joules: since the window opened, validation included; None after a resumption, since no sitting has the joules of another.
        eval_time_s: seconds of validation so far.
        diverged: the loss or the validation scores became NaN or infinite; training has ended.
        steps, examples: so far, counted by the loop, not by the rule.
        stops: how the phases that are over ended.
        net, state: live; restored to the best state once training has ended.
    """

    passes: int
    phase: Phase
    value: float
    val_accuracy: float
    val_loss: float | None
    val_balanced_accuracy: float
    train_loss: float
    best: float | None
    improved: bool
    time_s: float
    joules: float | None
    eval_time_s: float
    diverged: bool
    steps: int
    examples: int
    stops: tuple[PhaseEnd, ...]
    net: Chain = field(repr=False)
    state: State = field(repr=False)

    @property
    def entry(self) -> HistoryEntry:
        """The pass as it stands in a record."""
        return HistoryEntry(
            passes=self.passes,
            phase=self.phase.index,
            train_loss=None if self.diverged else self.train_loss,
            val_accuracy=None if self.diverged else self.val_accuracy,
            val_balanced_accuracy=None if self.diverged else self.val_balanced_accuracy,
            val_loss=self.val_loss if self.val_loss is not None and math.isfinite(self.val_loss) else None,
            improved=self.improved,
            time_s=self.time_s,
            eval_time_s=self.eval_time_s,
            joules=self.joules,
        )


def initialise(algorithm: Algorithm, net: Chain, seed: int, device: torch.device | str = "cpu") -> State:
    """Draw initial parameters and allocate the state, both on the CPU (the same on every device), then move them.

    Images lie in memory as :func:`bpfree.nets.layout.lay_out` decides.

    Raises:
        UsageError: the rule cannot train this net, or torch is in a mode in which nothing learns.
    """
    check_whole("seed", seed, 0)
    check_pair(algorithm, net)
    check_mode(torch.device(device))
    check_net(algorithm, net)
    net.to("cpu")
    lay_out(net, torch.device(device))
    state = algorithm.init(net, torch.Generator().manual_seed(seed))
    net.to(device)
    state.to(device)
    return state


def training(
    algorithm: Algorithm,
    net: Chain,
    data: Dataset | Loader,
    stop: StopRule,
    *,
    validation: Loader | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    lr_schedule: str = "constant",
    tier: str = "eager",
    precision: str = "float32",
    state: State | None = None,
    clock: Clock | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    identity: dict[str, Any] | None = None,
    passes: Passes | None = None,
    save_every: int | str | None = None,
) -> Generator[Progress, bool | None, None]:
    """Train ``net`` by ``algorithm`` and yield after each pass.

    A loop that ends early with ``run.send(True)`` (on the generator) restores the best state of the phase first and then stops;
    a mere ``break`` leaves the net as the last pass left it.

    Args:
        data: on the device of the net; a view without the test split is enough. Batches of float32 are given in the number
            format of the net. Classes count as :meth:`bpfree.data.Dataset.weighted` says. Or a loader of batches (x, y), see
            :func:`bpfree.data.from_loaders`: they are taken as given, in its order.
        stop: when a phase and the run end; a function of the phase where phases differ.
        validation: the second loader, where ``data`` is one.
        batch_size: examples in a step, by default 64; the last batch of a pass may be smaller. A loader has its own.
        seed: of initial parameters, order of batches and randomness inside steps.
        lr_schedule: a name of :data:`LR_SCHEDULES`.
        tier: how a step is executed, see :mod:`bpfree.train.tiers`.
        precision: number format of products, in training and validation, see :mod:`bpfree.numerics.products`.
        state: from :func:`initialise`; by default it is made here, on the device of ``data``.
        clock: stamps each pass; by default wall time without energy.
        checkpoint: written after each pass; if the file exists, training goes on from it. It must be of the same training (see
            :func:`bpfree.train.identity.identity_of`); a higher ``max_passes`` makes a training of one phase and a constant
            learning rate longer.
        identity: further JSON values that must agree between a checkpoint and this call.
        passes: where steps are made, such as :class:`bpfree.parallel.LayerPasses`; by default in this process. Others make them
            in the tier ``eager``.
        save_every: write the checkpoint within passes too: after so many steps (``500``) or seconds (``"60s"``). Training
            goes on from it with the next step, and ends as if it had not been interrupted, bit for bit.

    Raises:
        UsageError: the rule cannot train this net or read the data's class weights, the net's shapes do not fit the data, there
            are fewer passes than phases, the checkpoint's identity differs, the tier or precision is refused, or an argument is
            of another kind.
        DataError: the checkpoint is damaged, or of another rule or net; or a loader gives what cannot be learned from.
    """
    check_given(algorithm, net, data, stop)
    data = as_data(data, validation, net)
    batch_size = batch_size_of(data, batch_size, BATCH_SIZE)
    checkpoint = as_checkpoint(checkpoint)
    every = every_of(save_every, checkpoint)
    check_weights(algorithm, data.class_weight)
    check_values(net, data, batch_size, seed, lr_schedule)
    check_tier(tier, data.device)
    check_precision(algorithm, precision, net.dtype, data.device)
    data = in_format_of(net, data)
    net.refuse(None)  # what another rule left
    net.train()
    if state is None:
        state = initialise(algorithm, net, seed, data.device)
    warn_of_weaknesses(algorithm, net, batch_size)
    schedule = LR_SCHEDULES[lr_schedule]
    phases = algorithm.phases(net)
    check_budget(algorithm, phases, stop)
    snapshot = Snapshot(net, state)
    identity = identity_of(algorithm, net, data, stop, batch_size, seed, lr_schedule, precision) | (identity or {})
    cursor = Cursor()
    if checkpoint is not None and checkpoint.exists():
        cursor = Cursor.resumed(checkpoint, net, state, snapshot, identity)
        _take_up(cursor, phases, stop, snapshot)
    started_s, resumed = cursor.time_s, bool(cursor.history or cursor.so_far)
    lrs = tuple(float(optimiser.lr) for optimiser in state.optimisers())
    work = Work(algorithm, net, state, data, batch_size, seed, precision)
    clock = clock or WallClock()

    def write(so_far: PassSoFar, path: Path) -> None:
        cursor.so_far, cursor.time_s = so_far, started_s + clock.elapsed_s()
        cursor.save(path, net, state, snapshot, identity)

    passes = passes_for(passes, tier, work, Keeper(every, write, cursor.so_far))
    passes.begin(work)
    run = _Run(work, clock, lrs, passes)
    reading: tuple[Phase, Dataset, Phase] | None = None  # what the phase reads, and the phase that reads it

    while cursor.phase < len(phases) and not cursor.ended:
        phase = phases[cursor.phase]
        if reading is None or reading[0] is not phase:
            with products_in(precision):
                reading = (phase, *read_by(net, data, phase))
        _, inputs, reader = reading
        rule = stop_in(stop, phase)
        watch = cursor.watch or Watch(phase_cap(rule, cursor.passes, phase))
        cursor.watch = watch
        if watch.passes < watch.cap:
            train_loss = run.learn(cursor, phase, inputs, reader, schedule(watch.passes, watch.cap))
            result = run.validate(cursor, phase, inputs, reader, with_loss=rule.metric == "validation-loss")
            diverged = not (math.isfinite(train_loss) and result.finite)  # the last update may be what broke the weights
            value = result.balanced_accuracy if rule.metric == "balanced-accuracy" else result.accuracy
            value = value if result.loss is None else result.loss
            cursor.time_s = started_s + run.clock.elapsed_s()
            improved = watch.see(math.nan if diverged else value, rule)
            reason = end_reason(watch, rule, phase, time_s=cursor.time_s, diverged=diverged)
            if improved or not (rule.restore_best or diverged):  # without restoring, the last finite state is left
                snapshot.take()
            progress = Progress(
                passes=cursor.passes,
                phase=phase,
                value=value,
                val_accuracy=result.accuracy,
                val_loss=result.loss,
                val_balanced_accuracy=result.balanced_accuracy,
                train_loss=train_loss,
                best=watch.best,
                improved=improved,
                time_s=cursor.time_s,
                joules=None if resumed else run.clock.joules_so_far(),
                eval_time_s=cursor.eval_time_s,
                diverged=diverged,
                steps=cursor.steps,
                examples=cursor.examples,
                stops=(),
                net=net,
                state=state,
            )
            cursor.history.append(progress.entry)
        else:
            progress, diverged, reason = None, False, "cap"  # earlier phases have left no pass
        cursor.ended = diverged or rule.out_of_time(cursor.time_s)
        if reason is not None:
            cursor.end_phase(phase, reason)
        if checkpoint is not None:
            cursor.save(checkpoint, net, state, snapshot, identity)
        if reason is not None:
            snapshot.restore()  # after the file was written: from the last pass training can go on, from the best it cannot
        if progress is not None and (yield replace(progress, stops=tuple(cursor.stops))):
            snapshot.restore()
            return


@dataclass(frozen=True)
class _Run:
    """What one training holds on to from pass to pass.

    Attributes:
        lrs: the learning rates at its start, of all optimisers of the state.
    """

    work: Work
    clock: Clock
    lrs: tuple[float, ...]
    passes: Passes

    def learn(self, cursor: Cursor, phase: Phase, inputs: Dataset, reader: Phase, factor: float) -> float:
        """One pass over the training split, counted and checked; the mean loss.

        Args:
            inputs, reader: what the phase reads, and the phase that reads it.
            factor: of every learning rate.
        """
        work = self.work
        work.state.scale_lr(factor)
        done = self.passes.one_pass(inputs, phase, reader, cursor.passes)
        cursor.so_far = None
        check_pass(work.algorithm, work.data, work.batch_size, done.steps, done.examples)
        check_schedule(work.algorithm, work.state, [lr * factor for lr in self.lrs])
        cursor.steps, cursor.examples = cursor.steps + done.steps, cursor.examples + done.examples
        with products_in(work.precision):
            work.algorithm.close(work.net, work.state, phase)
        return done.loss

    def validate(self, cursor: Cursor, phase: Phase, inputs: Dataset, reader: Phase, *, with_loss: bool) -> Evaluation:
        """The validation split after a pass; its seconds are counted."""
        before_s = self.clock.elapsed_s()
        result = self.passes.validate(inputs, phase, reader, with_loss=with_loss)
        cursor.eval_time_s += self.clock.elapsed_s() - before_s
        cursor.passes += 1
        return result


def _take_up(cursor: Cursor, phases: tuple[Phase, ...], stop: StopRule, snapshot: Snapshot) -> None:
    """Go on within a phase, or with a phase that its cap ended where ``stop`` now allows more; else from the state at its end."""
    watch = cursor.watch or cursor.last_watch
    if watch is not None:
        phase = phases[cursor.phase if cursor.watch else cursor.phase - 1]
        watch.cap = phase_cap(stop_in(stop, phase), cursor.passes - watch.passes, phase)
        if cursor.watch is None and watch.cap > watch.passes:
            cursor.reopen()
    if cursor.watch is None:
        snapshot.restore()
