"""Train to the end and return the result."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch

from bpfree.algorithms import Algorithm, State
from bpfree.data import Dataset
from bpfree.nets import Chain
from bpfree.numerics.products import products_in
from bpfree.records import HistoryEntry
from bpfree.rulesets import Patience
from bpfree.train.budget import ShortBudgetWarning, short_budget
from bpfree.train.compiling import compile_steps
from bpfree.train.cursor import past
from bpfree.train.given import as_checkpoint, check_given, check_options, check_whole
from bpfree.train.health import Health, health_of, warn_of_health
from bpfree.train.training import BATCH_SIZE, initialise, training

if TYPE_CHECKING:
    from bpfree.meter import Meter, Reading

__all__ = ["FitResult", "fit"]


@dataclass(frozen=True)
class FitResult:
    """A trained net, how it was trained, and what that cost.

    Attributes:
        net: restored to the best validation state (a plain ``nn.Module``).
        state: heads and whatever else the algorithm needs to predict.
        status: ``"ok"``, or ``"diverged"`` when the loss or the validation scores became NaN or infinite.
        val_accuracy: of the restored state, a fraction; None if no pass was finite.
        passes: in total, over all phases.
        history: every pass.
        reading: time and energy of the whole training, validation included; None without a meter. Of a training that was resumed
            from a checkpoint, only of the part since then.
        health: dead units, tied scores and accuracy by block of the restored state; None where it diverged.
    """

    net: Chain = field(repr=False)
    state: State = field(repr=False)
    algorithm: Algorithm
    status: Literal["ok", "diverged"]
    val_accuracy: float | None
    passes: int
    history: tuple[HistoryEntry, ...] = field(repr=False)
    reading: Reading | None
    health: Health | None = field(default=None, repr=False)


def best_of(history: Sequence[HistoryEntry], stop: Patience, metric: str = "validation-accuracy") -> float | None:
    """Validation accuracy (or what ``metric`` names) of the final state: of the last phase's best or last finite pass."""
    last_phase = [entry for entry in history if entry.phase == history[-1].phase]
    candidates = [entry for entry in last_phase if entry.improved or not stop.restore_best]
    known = [entry.watched(metric) for entry in candidates if entry.val_accuracy is not None]
    return known[-1] if known else None


def fit(
    algorithm: Algorithm,
    net: Chain,
    data: Dataset,
    stop: Patience,
    *,
    meter: Meter | None = None,
    seed: int = 0,
    **options: Any,
) -> FitResult:
    """Run :func:`bpfree.training` to its end, within one window of ``meter`` if there is one.

    A :class:`bpfree.train.ShortBudgetWarning` says where ``stop`` allows too few steps to learn, and what would be enough.
    Within ``torch.inference_mode()`` it trains all the same: it leaves that mode by itself.

    Args:
        net: its number format (float32, float64, bfloat16) is that of the training.
        options: passed to :func:`bpfree.training`.

    Raises:
        UsageError: an argument of another kind (a plain ``nn.Module``, a ``DataLoader``, ...), an unknown option, or as
            :func:`bpfree.training`.
    """
    check_given(algorithm, net, data, stop)
    check_options(training, options, meter)
    batch_size = options.get("batch_size", BATCH_SIZE)
    check_whole("batch_size", batch_size, 1)
    if (short := short_budget(data.n("train"), batch_size, stop.max_passes, data.name)) is not None:
        warnings.warn(short, ShortBudgetWarning, stacklevel=2)
    with torch.inference_mode(False):
        return _fit(algorithm, net, data, stop, meter, seed, options)


def _fit(
    algorithm: Algorithm, net: Chain, data: Dataset, stop: Patience, meter: Meter | None, seed: int, options: dict[str, Any]
) -> FitResult:
    checkpoint = as_checkpoint(options.get("checkpoint"))
    entries = [] if checkpoint is None else past(checkpoint)  # before it was resumed
    state = initialise(algorithm, net, seed, data.device)
    precision = options.get("precision", "float32")
    if options.get("tier") == "compiled":
        with products_in(precision):  # before the window opens
            compile_steps(algorithm, net, state, data, options.get("batch_size", BATCH_SIZE), precision=precision)
    reading = None
    if meter is None:
        entries += [each.entry for each in training(algorithm, net, data, stop, seed=seed, state=state, **options)]
    else:
        with meter.window() as window:
            run = training(algorithm, net, data, stop, seed=seed, state=state, clock=window, **options)
            entries += [each.entry for each in run]
        reading = window.reading
    diverged = bool(entries) and entries[-1].train_loss is None
    health = None
    if entries and not diverged:
        with products_in(precision):
            health = health_of(algorithm, net, state, data, algorithm.phases(net)[entries[-1].phase])
        warn_of_health(algorithm.name, health)
    return FitResult(
        net=net,
        state=state,
        algorithm=algorithm,
        status="diverged" if diverged else "ok",
        val_accuracy=best_of(entries, stop),
        passes=entries[-1].passes if entries else 0,
        history=tuple(entries),
        reading=reading,
        health=health,
    )
