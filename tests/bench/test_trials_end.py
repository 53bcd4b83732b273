"""How a trial of a study ends: an interrupted one is begun again, one that breaks is a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bpfree import rulesets
from bpfree.bench import RunDirectory, parse_arms, studies
from bpfree.bench.studies import ArmStudy
from bpfree.bench.study import open_storage
from bpfree.errors import RunInterruptedError
from bpfree.train import Progress

from .test_measure import setting
from .test_studies import compare

RULES = rulesets.load("claim").with_changes(studies=2, trials=2, max_passes=1)


def study(place: Path) -> ArmStudy:
    return ArmStudy(setting(ruleset=RULES), parse_arms("backprop")[0], 0, open_storage(place / "study.journal"), place)


def test_an_interrupted_trial_is_not_kept(tmp_path: Path) -> None:
    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    broken = study(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        broken.run_trial(0, on_pass=interrupt)
    assert broken.n_done == 0
    assert study(tmp_path).run_trial(0).status == "ok"


def test_a_trial_that_breaks_is_a_failed_one_and_never_the_best(tmp_path: Path) -> None:
    def wrong_shape(_: Progress) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    broken = study(tmp_path)
    assert broken.run_trial(0, on_pass=wrong_shape).status == "failed"
    assert broken.n_done == 1
    good = broken.run_trial(1)
    assert (broken.tuned().row["best_trial"], broken.measured().seed) == (1, good.seed)


def test_a_trial_for_which_memory_ran_out_is_not_one(tmp_path: Path) -> None:
    def out_of_memory(_: Progress) -> None:
        raise RuntimeError("CUDA out of memory")

    broken = study(tmp_path)
    with pytest.raises(RunInterruptedError, match="memory ran out"):
        broken.run_trial(0, on_pass=out_of_memory)
    assert broken.n_done == 0


def test_of_equal_trials_the_first_is_measured_and_its_state_and_trace_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_once, traced = studies.run_once, []

    def sampled(*args: Any, **options: Any) -> Any:
        record, model, _ = run_once(*args, **options)
        return record, model, f"trace of seed {record.seed}"

    monkeypatch.setattr(studies, "run_once", sampled)
    monkeypatch.setattr(studies, "_objective", lambda record, ruleset: 0.5)
    tied = study(tmp_path)
    first, second = (tied.run_trial(index, on_trace=lambda _, trace: traced.append(trace)) for index in range(2))
    assert first.seed != second.seed
    assert traced == [f"trace of seed {first.seed}"]
    (state,) = tmp_path.glob("*.safetensors")
    assert state.stem.endswith("trial0")
    assert tied.tuned().row["best_trial"] == 0
    assert tied.measured().seed == first.seed


def test_a_state_that_was_lost_is_trained_again(tmp_path: Path) -> None:
    whole = study(tmp_path)
    whole.run_trial(0)
    measured = whole.measured()
    (state,) = tmp_path.glob("*.safetensors")
    state.write_bytes(state.read_bytes()[:50])
    again = whole.measured()
    assert (again.correct, again.test_accuracy) == (measured.correct, measured.test_accuracy)
    state.unlink()
    assert whole.measured().correct == measured.correct


def test_an_arm_with_fewer_trials_has_those_and_no_more(tmp_path: Path) -> None:
    fewer = {"arms": ["mono-forward"], "field": "search.trials", "value": 1, "why": "a test of exceptions"}
    records = compare(tmp_path / "R", rules=RULES.with_changes(exceptions=[fewer]))
    expected = {("backprop", 0): 2, ("backprop", 1): 2, ("mono-forward", 0): 1, ("mono-forward", 1): 1}
    assert {(r.arm, r.study): r.tuning_energy.trials for r in records if r.tuning_energy} == expected
    assert {(row.arm, row.study): row.trials for row in RunDirectory(tmp_path / "R").tuned()} == expected
