"""A measured run from its first step to its record: in which order things are done, and what becomes of what breaks."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bpfree import data, rulesets
from bpfree.bench import environment, record
from bpfree.bench.arm import Arm
from bpfree.bench.counting import ApartCount
from bpfree.bench.load import Load
from bpfree.bench.measure import RunFailed, measure, run_once
from bpfree.bench.record import broken, record_of
from bpfree.bench.setting import Setting, Together
from bpfree.errors import UsageError
from bpfree.meter import Meter, Sample, Window
from bpfree.records import Record
from bpfree.train import Progress

from .test_record_values import COST, HISTORY, ended

measuring: Any = importlib.import_module("bpfree.bench.measure")
CPU = torch.device("cpu")
SMALL = data.load("synthetic:n=300:inputs=4:classes=3")
RULES = rulesets.load("quick").with_changes(max_passes=2)
BACKPROP = Arm.parse("backprop")
SAMPLE = Sample(0.5, power_w=20.0)


class Sampled(Meter):
    """A meter whose windows have one sample; ``pressed``: Ctrl-C while a window is being closed."""

    pressed = False

    @contextmanager
    def window(self) -> Iterator[Window]:
        one = Window(self)
        yield one
        if self.pressed:
            raise KeyboardInterrupt
        one.close(failed=False)
        one.timeline = (SAMPLE,)


def setting(meter: Meter | None = None) -> Setting:
    return Setting(RULES, SMALL, "mlp:1x4", CPU, meter or Meter(CPU), None, {}, environment.facts(CPU))


def test_what_was_sampled_is_given_once_and_why_the_rest_is_not_there() -> None:
    traces: list[Any] = []
    made = measure(
        setting(Sampled(CPU)), BACKPROP, {}, 0, None, on_trace=lambda made, trace: traces.append((made, trace.samples))
    )
    assert traces == [(made, (SAMPLE,))]
    why = "this device does not report it (see bpfree doctor)"
    missing = ("clock_mhz", "memory_clock_mhz", "utilisation", "temperature_c", "memory_bytes")
    assert {name: made.reasons.get(f"timeline.{name}") for name in (*missing, "power_w")} == dict.fromkeys(missing, why) | {
        "power_w": None
    }
    plain = measure(setting(), BACKPROP, {}, 0, None, on_trace=lambda *_: pytest.fail("nothing was sampled"))
    assert plain.reasons["timeline.power_w"] == "nothing was sampled"


def test_what_was_sampled_of_a_run_that_breaks_is_given_with_its_record() -> None:
    class Broken(Sampled):
        @contextmanager
        def window(self) -> Iterator[Window]:
            one = Window(self)
            try:
                yield one
            finally:
                one.close(failed=True)
                one.timeline = (SAMPLE,)

    def press(progress: Progress) -> None:
        raise KeyboardInterrupt

    traces: list[Any] = []
    for meter, times in ((Broken(CPU), 1), (Meter(CPU), 0)):
        traces.clear()
        with pytest.raises(RunFailed) as failure:
            run_once(setting(meter), BACKPROP, {}, 0, on_pass=press, on_trace=lambda *given: traces.append(given))
        assert [(record, trace.samples) for record, trace in traces] == [(failure.value.record, (SAMPLE,))] * times


def test_ctrl_c_while_a_window_is_being_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    plain = Window.close

    def close(self: Window, *, failed: bool) -> None:
        closed.append(failed)
        plain(self, failed=failed)

    monkeypatch.setattr(Window, "close", close)
    meter = Sampled(CPU)
    meter.pressed = True
    with pytest.raises(RunFailed) as failure:
        run_once(setting(meter), BACKPROP, {}, 0)
    assert (failure.value.record.status, failure.value.record.passes, closed) == ("interrupted", 2, [True])
    closed.clear()

    def press(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(RunFailed):
        run_once(setting(), BACKPROP, {}, 0, on_pass=press)
    assert closed == [True]


def test_where_a_window_cannot_be_opened_nothing_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Meter) -> Any:
        raise RuntimeError("no counter")

    monkeypatch.setattr(Meter, "window", refuse)
    with pytest.raises(RuntimeError, match=r"^no counter$"):
        run_once(setting(), BACKPROP, {}, 0)


def test_a_run_is_warmed_up_counted_and_watched_before_its_window_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is counted once for all runs of an arm and of its control."""
    done: list[Any] = []
    counted = dataclasses.replace(COST, by_phase=(1000,), ends_by_phase=(0,), features_by_phase=(0,))
    monkeypatch.setattr(measuring, "warm_up", lambda rule, net, state, loaded, n: done.append(("warm", loaded.splits.keys(), n)))
    monkeypatch.setattr(measuring, "step_cost", lambda rule, net, state, loaded, n: done.append(("cost", n)) or counted)
    monkeypatch.setattr(measuring, "reset_device_peak", lambda device: done.append("reset"))
    here = setting()
    for arm in (BACKPROP, BACKPROP.as_control()):
        made, model, trace = run_once(here, arm, {}, 0)
        assert (made.status, model is not None, trace) == ("ok", True, None)
    warm = ("warm", {"train": 0, "validation": 0}.keys(), RULES.batch_size)
    assert done == [warm, ("cost", RULES.batch_size), "reset", warm, "reset"]
    assert list(here.costs) == [f"backprop|{SMALL.name}|mlp:1x4"]


def test_a_checkpoint_of_another_run_is_refused_before_anything_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def refuse(path: Path, identity: dict[str, Any]) -> None:
        asked.append((path, identity))
        raise UsageError("another run")

    monkeypatch.setattr(measuring, "check_identity", refuse)
    monkeypatch.setattr(measuring, "warm_up", lambda *_: pytest.fail("something was run"))
    with pytest.raises(UsageError):
        run_once(setting(), BACKPROP, {"lr": 0.5}, 7, checkpoint=tmp_path / "file")
    about = {"arm": "backprop", "values": {"lr": 0.5}, "data": SMALL.data_digest, "net": "mlp:1x4", "seed": 7}
    assert asked == [(tmp_path / "file", about | {"ruleset": rulesets.digest(RULES)})]


def test_processes_that_train_together_are_no_load_of_others() -> None:
    run = ended(load=Load(None, None))
    run.setting.together = Together(None, "layers", 3)  # type: ignore[arg-type]
    made = record_of(run, None)
    assert (made.parallel, made.cpu_s, made.other_load) == ("layers, 3 ranks", None, None)
    assert made.reasons["cpu_s"] == made.reasons["other_load"] == "several processes trained together (layers, 3 ranks)"


def test_a_first_step_that_raises_is_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("no step")

    monkeypatch.setattr(measuring, "warm_up", refuse)
    traces: list[str] = []
    with pytest.raises(RunFailed) as failure:
        run_once(setting(), BACKPROP, {}, 0, on_trace=lambda made, trace: traces.append(made.status))
    made, why = failure.value.record, "a step could not be made: ValueError: no step"
    assert (made.status, made.reasons["status"], traces) == ("failed", "ValueError: no step", [])
    names = ("flops", "memory", "peak_memory_bytes", "evaluation_peak_bytes")
    assert {name: made.reasons[name] for name in names} == dict.fromkeys(names, why)
    assert (made.peak_memory_bytes, made.evaluation_peak_bytes) == (None, None)
    assert made.flops is not None
    assert made.memory is not None
    assert (made.flops.batch_size, made.flops.train_step, made.memory.weights) == (RULES.batch_size, None, None)


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize(
    ("error", "status", "why"),
    [
        (ValueError("odd scores"), "failed", "ValueError: odd scores"),
        (KeyboardInterrupt(), "interrupted", "the run was interrupted; the same command runs it again"),
    ],
)
def test_a_test_split_that_cannot_be_scored(
    error: BaseException, status: str, why: str, sampled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Record:
        raise error

    monkeypatch.setattr(measuring, "with_test", refuse)
    traces: list[Any] = []
    with pytest.raises(RunFailed) as failure:
        measure(
            setting(Sampled(CPU) if sampled else None), BACKPROP, {}, 0, None,
            on_trace=lambda made, trace: traces.append((made, trace.samples)),
            on_trained=lambda model: pytest.fail("it is broken"),
        )  # fmt: skip
    made = failure.value.record
    assert (made.status, made.reasons["status"], made.val_accuracy, made.passes) == (status, why, None, 2)
    assert failure.value.__cause__ is error
    assert traces == ([(made, (SAMPLE,))] if sampled else [])


def test_the_record_of_a_run_whose_test_split_could_not_be_scored() -> None:
    made = broken(record_of(ended(), None), ValueError("odd scores"))
    names = ("status", "val_accuracy", "test_accuracy", "n_test", "correct", "by_class", "inference")
    assert {name: made.reasons[name] for name in names} == dict.fromkeys(names, "ValueError: odd scores")
    assert (made.status, made.val_accuracy, made.passes, made.reasons["study"]) == (
        "failed",
        None,
        3,
        "one search served all seeds",
    )


def test_operations_of_a_history_whose_steps_nobody_counted() -> None:
    """The ends of three passes alone: 70 each."""
    each = dataclasses.replace(COST, apart=ApartCount("x", 1, 500))
    entries = record._with_flops(ended(cost=each, steps=None, examples=None))
    assert [entry.flops for entry in entries] == [70, 140, 210]
    assert len(entries) == len(HISTORY)


def test_signs_of_health_are_looked_for_in_the_precision_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from bpfree.numerics.products import are_rounded

    seen: list[Any] = []
    signs = SimpleNamespace(dead_units=(), tied_scores=0.0, block_accuracy=())
    monkeypatch.setattr(record, "health_of", lambda *args: seen.append(are_rounded()) or signs)
    monkeypatch.setattr(record, "warn_of_health", lambda label, found: seen.append((label, found)))
    run = ended(rules=RULES.with_changes(precision="bfloat16"))
    record._health(run)
    assert seen == [True, ("pepita:lr=0.02", signs)]
