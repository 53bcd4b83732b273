"""Train to the end and return the result."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext, suppress
from typing import Any

import numpy as np
import torch

from bpfree.algorithms import Algorithm, Phase, State
from bpfree.data import Dataset
from bpfree.meter import Meter
from bpfree.models import Model
from bpfree.nets import Chain
from bpfree.numerics.products import products_in
from bpfree.records import HistoryEntry
from bpfree.rulesets import StopRule, stop_in
from bpfree.train.bar import Bar, bar
from bpfree.train.budget import ShortBudgetWarning, default_stop, short_budget
from bpfree.train.compiling import compile_steps
from bpfree.train.cursor import past
from bpfree.train.given import as_checkpoint, check_callbacks, check_given, check_options, check_whole
from bpfree.train.health import health_of, warn_of_health
from bpfree.train.result import FitResult, best_of
from bpfree.train.training import BATCH_SIZE, Progress, initialise, training

__all__ = ["Callback", "fit"]

Callback = Callable[[Progress], object]
"""Called after each pass; returns True to stop. Any other value lets training go on."""


def fit(
    algorithm: Algorithm,
    net: Chain,
    data: Dataset,
    stop: StopRule | None = None,
    *,
    meter: Meter | None = None,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    progress: bool | None = None,
    **options: Any,
) -> FitResult:
    """Run :func:`bpfree.training` to its end, within one window of ``meter`` if there is one.

    A :class:`bpfree.train.ShortBudgetWarning` says where ``stop`` allows too few steps to learn, and what would be enough.
    Within ``torch.inference_mode()`` it trains all the same: it leaves that mode by itself.

    Args:
        net: its number format (float32, float64, bfloat16) is that of the training.
        stop: by default patience 10 and at most 100 passes, more on small sets (:func:`bpfree.train.default_stop`).
        callbacks: each is called with the :class:`Progress` of every pass; one that returns True ends training, and the best
            state is restored as at any other end.
        progress: whether a progress bar is shown on standard error; by default where that is a terminal and there is no meter.
        options: passed to :func:`bpfree.training`; ``batch_size`` is 64 by default, or the whole of a smaller training split.

    Raises:
        UsageError: an argument of another kind (a plain ``nn.Module``, a ``DataLoader``, ...), an unknown option, or as
            :func:`bpfree.training`.
    """
    check_given(algorithm, net, data, stop)
    check_options(training, options, meter)
    check_callbacks(callbacks)
    batch_size = options.setdefault("batch_size", min(BATCH_SIZE, data.n("train")))
    check_whole("batch_size", batch_size, 1)
    stop = default_stop(data.n("train"), batch_size) if stop is None else stop
    passes = stop_in(stop, algorithm.phases(net)[0]).max_passes
    if (short := short_budget(data.n("train"), batch_size, passes, data.name)) is not None:
        warnings.warn(short, ShortBudgetWarning, stacklevel=2)
    with torch.inference_mode(False), bar(algorithm.name, passes, asked=progress, metered=meter is not None) as shown:
        return _fit(algorithm, net, data, stop, meter, seed, callbacks, shown, options)


def _fit(
    algorithm: Algorithm,
    net: Chain,
    data: Dataset,
    stop: StopRule,
    meter: Meter | None,
    seed: int,
    callbacks: Sequence[Callback],
    shown: Bar | None,
    options: dict[str, Any],
) -> FitResult:
    checkpoint = as_checkpoint(options.get("checkpoint"))
    entries = [] if checkpoint is None else past(checkpoint)  # before it was resumed
    state = initialise(algorithm, net, seed, data.device)
    precision = options.get("precision", "float32")
    if options.get("tier") == "compiled":
        with products_in(precision):  # before the window opens
            compile_steps(algorithm, net, state, data, options["batch_size"], precision=precision)
    reading = None
    with nullcontext() if meter is None else meter.window() as window:
        run = training(algorithm, net, data, stop, seed=seed, state=state, clock=window, **options)
        entries += _drained(run, callbacks, shown)
    if window is not None:
        reading = window.reading
    diverged = bool(entries) and entries[-1].train_loss is None
    phases = algorithm.phases(net)
    phase = phases[entries[-1].phase if entries else -1]
    health = None
    if entries and not diverged:
        with products_in(precision):
            health = health_of(algorithm, net, state, data, phase)
        warn_of_health(algorithm.name, health)
    return FitResult(
        net=net,
        state=state,
        algorithm=algorithm,
        status="diverged" if diverged else "ok",
        val_accuracy=best_of(entries, stop_in(stop, phase)),
        passes=entries[-1].passes if entries else 0,
        history=tuple(entries),
        reading=reading,
        health=health,
        data=data,
        model=_model(algorithm, net, state, phase, data, precision),
        seed=seed,
    )


def _drained(run: Generator[Progress, bool | None, None], callbacks: Sequence[Callback], shown: Bar | None) -> list[HistoryEntry]:
    """Every pass of a run, which a callback may end."""
    entries: list[HistoryEntry] = []
    for progress in run:
        entries.append(progress.entry)
        if shown is not None:
            shown.passed(progress)
        answers = [callback(progress) for callback in callbacks]
        if any(isinstance(answer, bool | np.bool_) and answer for answer in answers):
            with suppress(StopIteration):
                run.send(True)
    return entries


def _model(algorithm: Algorithm, net: Chain, state: State, phase: Phase, data: Dataset, precision: Any) -> Model:
    """The model, ready for raw examples."""
    pixels = data.splits["train"].x.dtype == torch.uint8
    norm, classes, columns = data.normalisation or data.prepared, data.classes, data.columns
    model = Model(algorithm, net, state, phase, norm, precision=precision, pixels=pixels, classes=classes, columns=columns)
    net.eval()
    model.guard_net()
    return model
