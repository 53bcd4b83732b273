"""A ruleset of several studies: the best trial on validation is the measured run, and a kill at any moment changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from bpfree import rulesets
from bpfree.bench import ComparisonRun, RunDirectory, SilentObserver, arm_rules, parse_arms, studies, with_control
from bpfree.bench.outcome import Tried, best_trial
from bpfree.bench.study import open_storage
from bpfree.data import Dataset
from bpfree.errors import RulesetError
from bpfree.records import CONTROL_SEEDS, Record

from .test_measure import setting

measuring = import_module("bpfree.bench.measure")  # the package has a function of this name

RULES = rulesets.load("claim").with_changes(studies=2, trials=3, max_passes=2)


def compare(place: Path, arms: str = "backprop,mono-forward", rules: rulesets.Ruleset = RULES, **changes: Any) -> list[Record]:
    """Run what is missing in a directory."""
    chosen = setting(ruleset=rules, **changes)
    directory = RunDirectory(place)
    with directory.opened(rules, chosen.facts):
        return ComparisonRun(chosen, parse_arms(arms), (), directory, SilentObserver()).run()


def learned(record: Record) -> dict[str, Any]:
    """Of a record, what must not depend on when or how often it was run."""
    kept = ("arm", "study", "seed", "params", "val_accuracy", "test_accuracy", "correct", "steps", "examples_seen", "stops")
    return record.model_dump(include=set(kept)) | {"losses": [entry.train_loss for entry in record.history]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    place = tmp_path_factory.mktemp("claim") / "R"
    return place, compare(place)


def trials_of(place: Path) -> dict[str, list[optuna.trial.FrozenTrial]]:
    storage = open_storage(place / "study.journal")
    return {
        name: [t for t in optuna.load_study(study_name=name, storage=storage).get_trials() if t.state.name == "COMPLETE"]
        for name in optuna.get_all_study_names(storage)
    }


def test_each_study_gives_one_record_of_its_best_trial(whole: tuple[Path, list[Record]]) -> None:
    place, records = whole
    assert [(r.arm, r.study) for r in records] == [(arm, s) for s in (0, 1) for arm in ("backprop", "mono-forward")]
    for name, trials in trials_of(place).items():
        (record,) = (r for r in records if name.startswith(f"{r.arm}@") and name.endswith(f"study {r.study}"))
        values = [trial.value for trial in trials]
        best = values.index(max(values))  # the earliest of several
        assert (record.val_accuracy, record.seed) == (values[best], trials[best].user_attrs["seed"])
        assert record.params["lr"] == trials[best].params["lr"]
        assert record.tuning_energy is not None
        assert (record.tuning_energy.trials, record.tuning_energy.passes) == (3, 6)
        assert record.tuning_energy.time_s == pytest.approx(sum(trial.user_attrs["time_s"] for trial in trials))


def test_all_arms_of_a_study_meet_the_same_points_and_seeds_and_studies_others(whole: tuple[Path, list[Record]]) -> None:
    drawn: dict[str, list[tuple[float, int]]] = {}
    for name, trials in trials_of(whole[0]).items():
        drawn.setdefault(name.rpartition("@")[2], []).append([(t.params["lr"], t.user_attrs["seed"]) for t in trials])  # type: ignore[arg-type]
    assert set(drawn) == {"study 0", "study 1"}
    for first, second in drawn.values():
        assert first == second
    assert not {seed for _, seed in drawn["study 0"][0]} & {seed for _, seed in drawn["study 1"][0]}  # type: ignore[misc]
    assert not {lr for lr, _ in drawn["study 0"][0]} & {lr for lr, _ in drawn["study 1"][0]}  # type: ignore[misc]


def test_the_state_that_is_tested_is_that_of_the_run_and_is_then_deleted(whole: tuple[Path, list[Record]]) -> None:
    place, records = whole
    assert list((place / "checkpoints").iterdir()) == []
    record = records[0]
    again = measuring.measure(setting(ruleset=RULES), parse_arms("backprop")[0], {"lr": record.params["lr"]}, record.seed, None)
    assert (again.test_accuracy, again.correct) == (record.test_accuracy, record.correct)


def test_the_test_split_is_read_once_a_study_and_after_its_last_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = Dataset.batches

    def spy(self: Dataset, split: str, *args: Any, **kwargs: Any) -> Any:
        read.append(split)
        return original(self, split, *args, **kwargs)

    monkeypatch.setattr(Dataset, "batches", spy)
    compare(tmp_path / "R", "backprop")
    assert read.count("test") == 2
    middle = read.index("test")
    assert read[:middle].count("validation") >= 6  # three trials of two passes
    assert "train" not in read[len(read) - 1 - read[::-1].index("test") :]


def test_what_the_device_did_is_written_before_its_trial_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between the two would leave a study without it: the trial was not begun again."""
    place, counted = tmp_path / "R", []
    original = studies.run_once

    def sampled(*args: Any, **options: Any) -> Any:
        record, model, _ = original(*args, **options)
        return record, model, "trace"

    def kept(self: RunDirectory, record: Record, trace: Any) -> None:
        assert trace == "trace"
        counted.append(
            (record.study, sum(len(t) for name, t in trials_of(place).items() if name.endswith(f"study {record.study}")))
        )

    monkeypatch.setattr(studies, "run_once", sampled)
    monkeypatch.setattr(RunDirectory, "keep_trace", kept)
    compare(place, "backprop")
    assert [pair for pair in counted if pair[1] == 0] == [(0, 0), (1, 0)]  # the first trial of a study is its best so far


def test_the_best_is_chosen_on_validation_and_of_equals_the_earliest() -> None:
    def tried(accuracy: float, *, diverged: bool = False) -> Tried:
        return Tried({}, accuracy, 0, 1, 1.0, None, None, diverged)

    assert best_trial([tried(0.8), tried(0.9), tried(0.9)]) == 1
    assert best_trial([tried(0.0, diverged=True), tried(0.0)]) == 1
    assert best_trial([tried(0.0, diverged=True), tried(0.0, diverged=True)]) == 0


def test_a_trial_is_as_long_as_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    plain = arm_rules.training

    def spy(rule: Any, net: Any, data: Dataset, stop: Any, **named: Any) -> Any:
        seen.append((data.n("train"), stop.max_passes))
        return plain(rule, net, data, stop, **named)

    monkeypatch.setattr(arm_rules, "training", spy)
    compare(tmp_path / "R", "backprop")
    assert seen == [(1077, 2)] * 6
    for change in ({"search.passes_per_trial": 1}, {"search.train_examples": 100}, {"search.trials": 0}):
        with pytest.raises(RulesetError, match="best trial of each study is its measured run"):
            RULES.with_changes(change)


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill -9."""


PLACES: dict[str, tuple[Any, str]] = {
    "within a trial": (arm_rules, "training"),
    "before the state is kept": (studies, "write_tensors"),
    "before the trial is complete": (optuna.Study, "add_trial"),
    "before the test split is read": (studies, "with_test"),
    "before the record is kept": (RunDirectory, "append"),
    "before the state is deleted": (studies.ArmStudy, "close"),
}


def test_six_kills_change_nothing(whole: tuple[Path, list[Record]], tmp_path: Path) -> None:
    place = tmp_path / "R"
    for turn, (where, name) in enumerate(PLACES.values()):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(where, name, dying(getattr(where, name), after=turn % 2))
            with pytest.raises(Killed):
                compare(place)
    records = compare(place)
    assert [learned(r) for r in records] == [learned(r) for r in whole[1]]
    assert list((place / "checkpoints").iterdir()) == []
    assert len((place / "records.jsonl").read_text().splitlines()) == 4


def dying(call: Callable[..., Any], *, after: int) -> Callable[..., Any]:
    """A call that works ``after`` times, then takes the process along."""
    left = [after]

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        return call(*args, **kwargs)

    return wrapped


def test_a_control_is_run_with_draws_of_its_own(tmp_path: Path) -> None:
    rules = RULES.with_changes(trials=1, max_passes=1)
    chosen, directory = setting(ruleset=rules), RunDirectory(tmp_path / "R")
    arms = with_control(parse_arms("mono-forward,backprop"))
    with directory.opened(rules, chosen.facts):
        records = ComparisonRun(chosen, arms, (), directory, SilentObserver()).run()
    control = [r for r in records if r.control]
    assert {r.arm for r in control} == {"backprop#control"}
    assert {r.algorithm for r in control} == {"backprop"}
    mine = {r.replicate: r for r in records if r.arm == "backprop"}
    for record in control:
        other = mine[record.replicate]
        assert record.params["lr"] != other.params["lr"]
        assert record.seed - CONTROL_SEEDS == other.seed


def test_every_split_has_its_studies(tmp_path: Path) -> None:
    from dataclasses import replace

    from bpfree import data

    rules = RULES.with_changes(trials=1, max_passes=1, split_seeds=2)
    chosen, directory = setting(ruleset=rules), RunDirectory(tmp_path / "R")
    other = replace(chosen, data=data.load("digits", split_seed=1), split_seed=1, costs={})
    with directory.opened(rules, chosen.facts):
        records = ComparisonRun(chosen, parse_arms("backprop"), (), directory, SilentObserver(), [other]).run()
    assert [r.replicate for r in records] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len({r.data_digest for r in records}) == 2
    assert len({r.seed for r in records}) == 4


def test_correct_bits_are_those_of_the_test_accuracy(whole: tuple[Path, list[Record]]) -> None:
    import base64

    for record in whole[1]:
        assert record.correct is not None
        bits = np.unpackbits(np.frombuffer(base64.b64decode(record.correct), np.uint8))[: record.n_test]
        assert bits.mean() == pytest.approx(record.test_accuracy)
