"""One measured run of a run directory: its record is written however the run ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from bpfree.algorithms import Value
from bpfree.bench.arm import Arm
from bpfree.bench.causes import raise_on
from bpfree.bench.measure import RunFailed, Setting, measure
from bpfree.meter import Trace
from bpfree.models import Model
from bpfree.records import Record, TuningCost
from bpfree.train import Progress

__all__ = ["TakesRecords", "measure_into"]


class TakesRecords(Protocol):
    """Where records go, such as a run directory."""

    def append(self, record: Record, traces: Sequence[Trace] = ()) -> None:
        """Write a record."""
        ...


def measure_into(
    directory: TakesRecords,
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
) -> Record:
    """Measure a run (see :func:`bpfree.bench.measure.measure`), append its record to ``directory``, and return it.

    A run that fails gives a record with status ``failed``. ``on_trained`` is given the trained model after the record has been
    written, so that a full disk does not lose the record.

    Raises:
        KeyboardInterrupt: the run was interrupted; its record has been written.
        RunInterruptedError: memory ran out or the device was lost; the record, of an interrupted run, has been written.
        StorageError: the directory cannot be written.
        UsageError, DataError: the checkpoint belongs to another run, or is damaged. Nothing has been run or written.
    """
    traces: list[Trace] = []
    models: list[Model] = []
    cause: BaseException | None = None
    try:
        record = measure(
            setting,
            arm,
            values,
            seed,
            tuning,
            on_pass=on_pass,
            checkpoint=checkpoint,
            save_every=save_every,
            on_trained=models.append,
            on_trace=lambda _, trace: traces.append(trace),
        )
    except RunFailed as failure:
        record, cause = failure.record, failure.__cause__
    directory.append(record, traces)
    raise_on(cause)
    for model in models:
        on_trained(model)
    return record
