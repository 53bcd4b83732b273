"""What the device did in a run is kept beside its record, and drawn in the report; nothing is made of nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from bpfree import data, report, rulesets
from bpfree.algorithms import Backprop
from bpfree.bench import Arm, ComparisonRun, RunDirectory, Setting, SilentObserver, environment, measure
from bpfree.bench.measure import RunFailed
from bpfree.errors import RunDirectoryError, StorageError
from bpfree.meter import Meter, ReplayProbe, ReplaySource, Sample, Trace
from bpfree.meter import meter as meter_module
from bpfree.records import Record, read_records


def spiky(n: int = 4000) -> list[Sample]:
    """Clocks that jump every second sample of a hundredth of a second."""
    return [Sample(k / 100, clock_mhz=1410 if k % 2 else 210, power_w=300.0) for k in range(n)]


def setting(meter: Meter, **changes: object) -> Setting:
    device = torch.device("cpu")
    rules = rulesets.load("quick").with_changes(max_passes=2, trials=1, seeds=1, **changes)
    return Setting(rules, data.load("digits"), "mlp:1x16", device, meter, None, {}, environment.facts(device))


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sample every 2 ms and a rest after each pass, so that a run of a moment has a course."""
    original = meter_module.BackgroundSampler
    monkeypatch.setattr(meter_module, "BackgroundSampler", lambda *args, **how: original(*args, probe_period_s=0.002, **how))
    monkeypatch.setattr(SilentObserver, "passed", lambda *_: time.sleep(0.15))


def compare(path: Path, meter: Meter, arms: str) -> RunDirectory:
    chosen = setting(meter)
    directory = RunDirectory(path)
    with directory.opened(chosen.ruleset, chosen.facts):
        ComparisonRun(chosen, [Arm.parse(arm) for arm in arms.split(",")], (0,), directory, SilentObserver()).run()
    return directory


def test_a_comparison_keeps_a_trace_of_every_run_and_the_report_draws_it(tmp_path: Path, often: None) -> None:
    meter = Meter("cpu", probe=ReplayProbe(spiky(), name="spiky.jsonl"))
    directory = compare(tmp_path / "R", meter, "backprop,mono-forward:schedule=staged")
    files = sorted((tmp_path / "R" / "timelines").iterdir())
    assert [path.name.rpartition("-")[0] for path in files] == ["backprop-seed0", "mono-forward-schedule-staged-seed0"]
    header = json.loads(files[1].read_text().splitlines()[0])
    assert (header["arm"], header["seed"]) == ("mono-forward:schedule=staged", 0)
    assert header["origin"] == "replayed from spiky.jsonl, not measured in this run"
    assert set(header["reasons"]) == {"memory_clock_mhz", "utilisation", "temperature_c", "memory_bytes"}
    trace = Trace.read(files[1].read_text())
    assert {sample.clock_mhz for sample in trace.samples} == {210, 1410}
    for record in directory.records():
        assert "timeline.temperature_c" in record.reasons
        assert "timeline.clock_mhz" not in record.reasons
    paths = report.build([tmp_path / "R"])
    drawn = {path.name: path.read_text() for path in paths.figures}
    assert "not measured in this run" in drawn["timeline-clock.svg"]
    assert "210 to 1410" in drawn["timeline-clock.svg"]
    assert "timeline-load.svg" not in drawn
    assert "Replayed from spiky.jsonl, not measured in this run" in drawn["timeline-clock.svg"]
    assert "trace replayed, not measured" in drawn["timeline-clock.svg"], "also in what is drawn"
    assert "Replayed, not measured: clock of the device over time" in paths.page.read_text()


def test_a_measured_trace_is_not_called_a_replayed_one(tmp_path: Path, often: None) -> None:
    class Measured(ReplayProbe):
        origin = "measured"

        def __init__(self) -> None:
            super().__init__(spiky(), name="x")
            self.origin = "measured"

    compare(tmp_path / "R", Meter("cpu", probe=Measured()), "backprop")
    (figure,) = [path for path in report.build([tmp_path / "R"]).figures if path.name == "timeline-clock.svg"]
    assert "replayed" not in figure.read_text().lower()
    assert "Clock of the device over time" in figure.read_text()


def test_where_nothing_is_sampled_there_is_a_reason_and_no_figure(tmp_path: Path) -> None:
    directory = compare(tmp_path / "R", Meter("cpu"), "backprop")
    assert not (tmp_path / "R" / "timelines").exists()
    (record,) = directory.records()
    assert record.reasons["timeline.clock_mhz"] == "nothing was sampled"
    assert not [path for path in report.build([tmp_path / "R"]).figures if "timeline" in path.name]


def test_too_few_samples_are_kept_but_not_drawn(tmp_path: Path) -> None:
    compare(tmp_path / "R", Meter("cpu", probe=ReplayProbe(spiky(5), name="x")), "backprop")
    assert list((tmp_path / "R" / "timelines").iterdir())
    assert not [path for path in report.build([tmp_path / "R"]).figures if "timeline" in path.name]


def test_a_damaged_trace_is_named(tmp_path: Path) -> None:
    compare(tmp_path / "R", Meter("cpu", probe=ReplayProbe(spiky(), name="x")), "backprop")
    (file,) = (tmp_path / "R" / "timelines").iterdir()
    file.write_text("{}\n")
    with pytest.raises(RunDirectoryError, match="is no timeline"):
        report.build([tmp_path / "R"])


def test_a_trace_that_cannot_be_written_does_not_take_the_record_along(tmp_path: Path) -> None:
    (tmp_path / "R").mkdir()
    directory = RunDirectory(tmp_path / "R")
    with pytest.raises(RunFailed) as failure:
        measure(setting(Meter("cpu")), Arm.parse("backprop"), {}, 0, None, on_pass=_broken)
    (tmp_path / "R" / "timelines").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="timelines"):
        directory.append(failure.value.record, [Trace(tuple(spiky()))])
    assert len(read_records(directory.records_path)) == 1


def _broken(_: object) -> None:
    raise RuntimeError("the device is on fire")


def _metered() -> Meter:
    started_s = time.monotonic()
    return Meter("cpu", [ReplaySource([0.0, 1e6], [0.0, 2e6], clock=lambda: time.monotonic() - started_s)])


def _lost(_: torch.device) -> None:
    raise RuntimeError("CUDA error: device lost")


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_an_exception_inside_the_window_leaves_a_record_with_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    record = _failing(monkeypatch, lambda: _raise(error), on_pass=2)
    assert record.status == ("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
    assert record.passes == 2
    assert record.energy.joules == pytest.approx(2.0 * (record.time_s or 0.0), rel=0.2)


def test_a_device_that_dies_in_a_step_or_at_the_end_of_the_window_leaves_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end nothing failed before: the wait for the device is what fails."""
    record = _failing(monkeypatch, lambda: monkeypatch.setattr(meter_module, "synchronise", _lost), on_pass=2)
    assert record.status == "interrupted", "the device is to blame and not the arm: the same command runs it again"
    why = "RuntimeError: CUDA error: device lost; the same command runs it again"
    assert record.reasons["status"] == record.reasons["test_accuracy"] == why
    assert record.passes == 2
    assert record.energy.joules is not None
    assert record.test_accuracy is None


def test_ctrl_c_while_the_window_closes_leaves_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    original = meter_module.synchronise

    def once(device: torch.device) -> None:
        monkeypatch.setattr(meter_module, "synchronise", original)
        raise KeyboardInterrupt

    record = _failing(monkeypatch, lambda: monkeypatch.setattr(meter_module, "synchronise", once), on_pass=2)
    assert record.status == "interrupted"
    assert record.passes == 2
    assert record.energy.joules is not None


def _raise(error: BaseException) -> None:
    raise error


def _failing(monkeypatch: pytest.MonkeyPatch, fail, on_pass: int) -> Record:
    del monkeypatch

    def passed(progress) -> None:
        if progress.passes == on_pass:
            fail()

    with pytest.raises(RunFailed) as failure:
        measure(setting(_metered()), Arm.parse("backprop"), {}, 0, None, on_pass=passed)
    return failure.value.record


def test_no_call_of_the_meter_inside_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the meter's module is on the stack of a step, and no query of a source comes from the thread of the work."""
    import threading

    source, probe = ReplaySource([0.0, 1e6], [0.0, 1e6]), ReplayProbe(spiky(), name="x")
    state = {"in_step": False}
    seen: list[str] = []
    original_step = Backprop.learn

    def step(self, *args):
        state["in_step"] = True
        try:
            return original_step(self, *args)
        finally:
            state["in_step"] = False

    def spy(name, call):
        def called(*args):
            if state["in_step"] and threading.current_thread() is threading.main_thread():
                seen.append(name)
            return call(*args)

        return called

    monkeypatch.setattr(Backprop, "learn", step)
    monkeypatch.setattr(source, "joules", spy("joules", source.joules))
    monkeypatch.setattr(probe, "sample", spy("sample", probe.sample))
    monkeypatch.setattr(meter_module, "synchronise", spy("synchronise", meter_module.synchronise))
    record = measure(setting(Meter("cpu", [source], probe=probe)), Arm.parse("backprop"), {}, 0, None)
    assert record.status == "ok"
    assert seen == []


def test_a_disagreement_of_counter_and_integral_is_flagged_in_the_record() -> None:
    started_s = time.monotonic()

    def clock() -> float:
        return time.monotonic() - started_s

    names = {"nvml-counter": 100.0, "nvml-power": 80.0}
    sources = []
    for method, watts in names.items():
        source = ReplaySource(
            [0.0, 1e6], [0.0, watts * 1e6], name=f"{method}:GPU-a", scope="gpu-board", period_s=1e-4, clock=clock
        )
        source.method = method
        sources.append(source)
    record = measure(setting(Meter("cpu", sources)), Arm.parse("backprop"), {}, 0, None)
    assert record.energy.method == "nvml-counter"
    assert record.energy.joules == pytest.approx(100.0 * (record.time_s or 0.0), rel=0.05)
    assert "nvml-power:GPU-a" in record.reasons["energy.flag.cross-check"]
