"""A run of a directory: its record is written however it ends, and it is run again only if it was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bpfree import data
from bpfree.bench import Arm, ComparisonRun, RunDirectory, Setting, SilentObserver, measure
from bpfree.bench.arm_rules import ArmRules
from bpfree.bench.runs import measure_into
from bpfree.errors import RulesetError
from bpfree.meter import Meter, ReplaySource, carbon_factor
from bpfree.rulesets import load
from bpfree.train import Patience, Progress

from .test_measure import setting

BACKPROP = Arm.parse("backprop")


def two_watts() -> Meter:
    """A simulated counter: every look at the clock is a second later, in which 2 J were used."""
    seconds = iter(range(10**6))
    return Meter("cpu", [ReplaySource([0.0, 1e6], [0.0, 2e6], clock=lambda: float(next(seconds)))])


def interrupt_after(n_passes: int) -> Callable[[Progress], None]:
    """An observer that presses Ctrl-C."""

    def on_pass(progress: Progress) -> None:
        if progress.passes == n_passes:
            raise KeyboardInterrupt

    return on_pass


def in_directory(path: Path, used: Setting, n_passes: int | None = None, checkpoint: Path | None = None) -> list[tuple[str, int]]:
    """Run backprop once, interrupted after some passes if that is given; status and passes of all lines of the records."""
    directory = RunDirectory(path)
    hooks = {} if n_passes is None else {"on_pass": interrupt_after(n_passes)}
    with directory.opened(used.ruleset, used.facts):
        if n_passes is None:
            measure_into(directory, used, BACKPROP, {}, 0, None, checkpoint=checkpoint)
        else:
            with pytest.raises(KeyboardInterrupt):
                measure_into(directory, used, BACKPROP, {}, 0, None, checkpoint=checkpoint, **hooks)
    return [(record.status, record.passes) for record in directory.records()]


def test_an_interrupted_run_is_recorded_and_the_interruption_goes_on(tmp_path: Path) -> None:
    assert in_directory(tmp_path / "R", setting(), n_passes=2) == [("interrupted", 2)]
    assert RunDirectory(tmp_path / "R").finished() == {}


def test_a_failed_run_is_recorded_and_returned(tmp_path: Path) -> None:
    def on_pass(_: Progress) -> None:
        raise RuntimeError("the device is on fire")

    directory, used = RunDirectory(tmp_path / "R"), setting()
    with directory.opened(used.ruleset, used.facts):
        record = measure_into(directory, used, BACKPROP, {}, 0, None, on_pass=on_pass)
    assert record.status == "failed"
    assert "on fire" in record.reasons["status"]
    assert directory.finished() == {record.cell: record}


def test_the_model_comes_after_the_record(tmp_path: Path) -> None:
    directory, used = RunDirectory(tmp_path / "R"), setting()
    lines: list[int] = []
    with directory.opened(used.ruleset, used.facts):
        measure_into(directory, used, BACKPROP, {}, 0, None, on_trained=lambda _: lines.append(len(directory.records())))
    assert lines == [1]


def test_an_interrupted_run_is_run_again_by_the_comparison(tmp_path: Path) -> None:
    rules = setting().ruleset.with_changes(trials=1, passes_per_trial=1, max_passes=2)
    used = setting(ruleset=rules)
    assert in_directory(tmp_path / "R", used, n_passes=1) == [("interrupted", 1)]
    directory = RunDirectory(tmp_path / "R")
    with directory.opened(rules, used.facts):
        (record,) = ComparisonRun(used, [BACKPROP], (0,), directory, SilentObserver()).run()
        assert (record.status, record.passes) == ("ok", 2)
        before = directory.records_path.read_bytes()
        assert before.count(b"\n") == 2
        ComparisonRun(used, [BACKPROP], (0,), directory, SilentObserver()).run()
    assert directory.records_path.read_bytes() == before


def test_an_interruption_after_a_finished_run_does_not_undo_it(tmp_path: Path) -> None:
    used = setting()
    assert in_directory(tmp_path / "R", used) == [("ok", 3)]
    assert in_directory(tmp_path / "R", used, n_passes=1) == [("ok", 3)]
    assert RunDirectory(tmp_path / "R").records_path.read_bytes().count(b"\n") == 2
    assert [record.status for record in RunDirectory(tmp_path / "R").finished().values()] == ["ok"]


def test_joules_of_two_sittings_are_not_added_and_seconds_are(tmp_path: Path) -> None:
    checkpoint = tmp_path / "half.safetensors"
    first = setting(meter=two_watts(), factor=carbon_factor("POL"))
    assert in_directory(tmp_path / "R", first, n_passes=2, checkpoint=checkpoint) == [("interrupted", 2)]
    (half,) = RunDirectory(tmp_path / "R").records()
    assert half.energy.joules is not None  # of one sitting: they are known
    assert half.energy.joules > 0
    again = setting(meter=two_watts(), factor=carbon_factor("POL"))
    assert in_directory(tmp_path / "R", again, checkpoint=checkpoint) == [("ok", 3)]
    (whole,) = RunDirectory(tmp_path / "R").records()
    assert whole.energy.joules is None
    assert whole.energy.net_joules is None
    assert set(whole.energy.sources.values()) == {None}
    assert whole.energy.measured is False
    assert whole.co2e_g is None
    assert whole.carbon.g_per_kwh is not None
    assert "two sittings" in whole.reasons["energy.joules"]
    assert whole.time_s is not None
    assert half.time_s is not None
    assert whole.time_s == whole.history[-1].time_s > half.time_s
    assert [entry.passes for entry in whole.history] == [1, 2, 3]
    assert [entry.joules for entry in whole.history] == [*(entry.joules for entry in half.history), None]


@pytest.mark.parametrize("sitting", [1, 2])
def test_joules_to_a_target_are_of_one_sitting_or_none(tmp_path: Path, sitting: int) -> None:
    target = 1e-9 if sitting == 1 else measure(setting(), BACKPROP, {}, 0, None).val_accuracy  # of the last of three passes
    rules = setting().ruleset.with_changes({"plan.target": target})
    checkpoint = tmp_path / "half.safetensors"
    first, again = (setting(ruleset=rules, meter=two_watts()) for _ in range(2))
    n_passes = 3 - sitting  # a first sitting of one pass is one, too
    assert in_directory(tmp_path / "R", first, n_passes, checkpoint) == [("interrupted", n_passes)]
    assert in_directory(tmp_path / "R", again, checkpoint=checkpoint) == [("ok", 3)]
    (whole,) = RunDirectory(tmp_path / "R").records()
    assert whole.energy.joules is None
    if sitting == 1:
        assert whole.energy_to_target_j == whole.history[0].joules
        assert (whole.energy_to_target_j or 0.0) > 0.0
        assert whole.time_to_target_s == whole.history[0].time_s
    else:
        assert whole.energy_to_target_j is None
        assert "two sittings" in whole.reasons["energy_to_target_j"]
        assert whole.time_to_target_s == whole.history[2].time_s


def test_a_country_without_a_meter_gives_a_factor_and_no_grams(tmp_path: Path) -> None:
    used = setting(factor=carbon_factor("POL"))
    assert in_directory(tmp_path / "R", used) == [("ok", 3)]
    (record,) = RunDirectory(tmp_path / "R").records()
    assert record.energy.joules is None
    assert record.co2e_g is None
    assert record.reasons["co2e_g"] == "there are no joules to multiply"
    assert record.carbon.g_per_kwh is not None
    assert record.carbon.g_per_kwh > 0
    assert "carbon" not in record.reasons


def test_the_rules_of_an_arm_are_those_of_its_exceptions() -> None:
    rules = load("legacy-2025")
    arm = Arm.parse("mono-forward:schedule=staged")
    under = ArmRules(rules, arm, "cifar10", "mlp:3x2000")
    assert under.rules == rules.for_arm(arm.label, "cifar10", "mlp:3x2000")
    assert under.rules != rules
    assert under.passes == under.rules.passes("cifar10")
    assert under.trial_passes == under.rules.trial_passes("cifar10")
    assert under.cell(7) == (arm.label, "cifar10", "", "mlp:3x2000", 7)


def test_trials_and_runs_of_an_arm_stop_by_caps_of_their_own() -> None:
    rules = load("quick").with_changes(max_passes=9, passes_per_trial=4)
    under = ArmRules(rules, BACKPROP, "digits", "mlp:1x16")
    run, trial = under.stop(), under.stop(trial=True)
    assert isinstance(run, Patience)
    assert isinstance(trial, Patience)
    assert (run.max_passes, trial.max_passes) == (under.passes, under.trial_passes) == (9, 4)
    assert run == rules.stop_rule("backprop", "digits", "mlp:1x16")


def test_the_ruleset_chooses_the_readout_of_an_arm() -> None:
    rules = load("quick").with_changes({"readout": "best-prefix-on-validation"})
    under = ArmRules(rules, Arm.parse("mono-forward"), "digits", "mlp:1x16")
    assert under.chosen.fixed == {"readout": "best-prefix"}
    assert under.chosen.label == "mono-forward"
    with pytest.raises(RulesetError, match="fixes readout=last"):
        _ = ArmRules(rules, Arm.parse("mono-forward:readout=last"), "digits", "mlp:1x16").chosen


def test_seed_and_data_of_a_cell_are_those_of_the_record(tmp_path: Path) -> None:
    used = setting(data=data.load("digits"))
    in_directory(tmp_path / "R", used)
    (record,) = RunDirectory(tmp_path / "R").records()
    assert used.arm_rules(BACKPROP).cell(0) == record.cell
