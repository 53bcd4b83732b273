"""What a search proposes, what a trial comes to, and what the journal of a search says; every number by hand."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import statistics
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from bpfree.bench import arm_rules, journal, studies, study
from bpfree.bench.journal import add_trial, finished_trials, open_storage
from bpfree.bench.outcome import AT_ONCE, Tried, tuned_of
from bpfree.bench.studies import ArmStudy
from bpfree.bench.study import ArmSearch, Proposals, open_study, run_trial
from bpfree.errors import DataError, RunDirectoryError, RunInterruptedError, StorageError

from .test_search_values import ANY, BACKPROP, CPU, QUICK, SMALL, setting


def tried(value: float, **changes: Any) -> Tried:
    plain = Tried({"lr": value}, value, 1, 2, 3.0, 4.0, "first", diverged=False)
    return dataclasses.replace(plain, **changes)


def test_joules_of_trials_at_once_belong_to_none() -> None:
    one, two = tried(0.1), tried(0.2, at_once=2, method="second")
    assert (one.attributes.get("at_once"), two.attributes["at_once"]) == (None, 2)
    alone = tuned_of(setting(), BACKPROP, [one, dataclasses.replace(two, at_once=1)], {}, {})
    assert alone.cost is not None
    assert (alone.cost.method, alone.row["trials_at_once"]) == ("first", 1)
    both = tuned_of(setting(), BACKPROP, [one, two], {}, {})
    assert both.cost is not None
    assert (both.cost.method, both.row["trials_at_once"]) == (AT_ONCE, 2)
    assert tuned_of(setting(), BACKPROP, [], {}, {}).row["trials_at_once"] == 1


@pytest.mark.parametrize(("sampler", "in_order"), [("qmc", False), ("random", False), ("grid", False), ("tpe", True)])
def test_only_tpe_needs_the_trials_before(sampler: str, in_order: bool) -> None:
    here = setting(QUICK.with_changes({"search.sampler": {"name": sampler}}))
    assert Proposals(here, BACKPROP, 0).in_order is in_order
    storage = optuna.storages.InMemoryStorage()
    assert ArmSearch(here, BACKPROP, storage).in_order is in_order
    assert (Proposals(here, BACKPROP, 0)._points is not None) == (sampler in ("qmc", "random"))
    nothing = here.ruleset.with_changes({"search.spaces": {}})
    searched = ArmSearch(dataclasses.replace(here, ruleset=nothing), BACKPROP, storage)
    assert (searched._proposals._points, searched.ask(2)) == (None, {})


def test_tpe_is_seeded_by_study_and_trial_and_searches_on_a_logarithmic_scale() -> None:
    digest = hashlib.sha256(b"a@b/7").hexdigest()
    assert study._seed("a@b", 7) == int(digest[:8], 16)
    spaces = {"*": {"lr": {"low": 1e-4, "high": 1.0}}}
    rules = QUICK.with_changes({"search.sampler": {"name": "tpe"}, "search.spaces": spaces})
    here, storage = setting(rules), optuna.storages.InMemoryStorage()
    proposals, of_arm = Proposals(here, BACKPROP, 0), open_study(storage, here, BACKPROP, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of what Optuna calls experimental, or deprecates
        drawn = [proposals.ask(of_arm, index)["lr"] for index in range(30)]
    assert len(set(drawn)) == 30
    assert 1e-3 < statistics.median(drawn) < 0.1
    assert [proposals.ask(of_arm, index)["lr"] for index in (3, 4)] == drawn[3:5]
    for index in range(25):  # the best is far up
        proposals.tell(of_arm, tried(drawn[index], values={"lr": drawn[index]}, seed=index))
    assert proposals.ask(of_arm, 25)["lr"] != drawn[25], "what came before is looked at"
    assert open_study(storage, here, BACKPROP, None).study_name == of_arm.study_name
    assert of_arm.directions == [optuna.study.StudyDirection.MAXIMIZE]


def test_names_of_studies_in_a_database_and_what_tpe_is_seeded_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name in a database says more; what is proposed does not depend on it."""
    monkeypatch.setattr(study, "namespace", lambda storage, rules: f"{rules.search.studies} ")
    name = f"backprop@{SMALL.name}@mlp:1x4@data {SMALL.data_digest[:16]}"
    for n_studies, one, ending in ((1, 0, ""), (2, 0, "@split 3@study 0"), (2, 5, "@split 3@study 5")):
        here = setting(QUICK.with_changes({"search.studies": n_studies, "search.passes_per_trial": None}), split_seed=3)
        number = None if n_studies == 1 else one
        of_arm = open_study(optuna.storages.InMemoryStorage(), here, BACKPROP, number)
        assert of_arm.study_name == f"{n_studies} {name}{ending}"
        assert Proposals(here, BACKPROP, one)._name == name + ending


def test_what_is_searched_is_told_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    search = SimpleNamespace(
        pending=lambda: [1, 4], make=lambda index, on_pass: told.append((index, on_pass)), tuned=lambda: "tuned"
    )
    monkeypatch.setattr(study, "ArmSearch", lambda *_: search)
    found: Any = study.search(setting(), BACKPROP, ANY, on_pass=ANY, on_trial=told.append)
    assert (found, told) == ("tuned", [1, (1, None), 4, (4, None)])


def test_a_trial_of_a_search_and_what_it_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four passes at most; the best on validation; of one that raised, what it came to."""
    trial, problem = run_trial(setting(), BACKPROP, {"lr": 0.01}, 2, lambda progress: None)
    assert (problem, trial.seed, trial.passes, trial.failed, trial.diverged) == (None, 1_000_002, 4, None, False)
    assert 0.3 < trial.val_accuracy <= 1
    passes: list[int] = []

    def breaking(error: Exception, after: int) -> Any:
        def on_pass(progress: Any) -> None:
            passes.append(progress.passes)
            if progress.passes > after:
                raise error

        return on_pass

    failed, problem = run_trial(setting(), BACKPROP, {"lr": 0.01}, 2, breaking(ValueError("no"), 1))
    assert (str(problem), failed.val_accuracy, failed.passes, failed.failed, failed.diverged) == (
        "no", 0.0, 2, "ValueError: no", True,
    )  # fmt: skip
    wrapped = DataError("odd")
    wrapped.__cause__ = ValueError("its own")
    assert run_trial(setting(), BACKPROP, {"lr": 0.01}, 2, breaking(wrapped, 0))[0].failed == "DataError: odd"
    for error, raised in (
        (DataError("refused"), DataError),
        (MemoryError(), RunInterruptedError),
        (OSError(28, "full"), StorageError),
    ):
        with pytest.raises(raised):
            run_trial(setting(), BACKPROP, {"lr": 0.01}, 2, breaking(error, 0))

    def never(*args: Any, **named: Any) -> Any:
        raise ValueError("at once")

    monkeypatch.setattr(arm_rules, "training", never)
    failed, _ = run_trial(setting(), BACKPROP, {"lr": 0.01}, 2, breaking(ValueError(), 9))
    assert (failed.passes, failed.val_accuracy, failed.failed) == (0, 0.0, "ValueError: at once")


def journal_of(path: Path, *attributes: dict[str, Any]) -> optuna.Study:
    """A journal with a trial of each of these attributes."""
    of_arm = open_study(open_storage(path), setting(), BACKPROP, None)
    for each in attributes:
        add_trial(of_arm, {}, {}, 0.5, each)
    return of_arm


WHOLE = {"seed": 5, "passes": 1, "time_s": 1.0, "joules": None, "method": None, "diverged": False}


def damaged(path: Path) -> str:
    with pytest.raises(RunDirectoryError) as error:
        open_storage(path)
    told = str(error.value)
    end = (
        ", so the trials of its searches are lost; delete the file, and the same command searches again and comes to the same "
        "values (runs that were measured are kept)"
    )
    assert told.startswith(f"{path} cannot be read: ")
    assert told.endswith(end)
    return told.removeprefix(f"{path} cannot be read: ").removesuffix(end)


def test_a_journal_that_was_damaged_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "j"
    optuna.logging.set_verbosity(optuna.logging.INFO)
    journal_of(path, WHOLE, WHOLE | {"seed": 3})
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING
    whole = path.read_text()
    assert ", " not in whole and '": ' not in whole
    (name,) = (each.study_name for each in open_storage(path).get_all_studies())
    kept = optuna.load_study(study_name=name, storage=open_storage(path))
    assert [trial.user_attrs["seed"] for trial in finished_trials(kept)] == [3, 5], "in the order of their seeds"
    path.write_text(whole + "half a line")
    assert len(open_storage(path).get_all_studies()) == 1
    lines = whole.splitlines()
    path.write_text("\n".join([lines[0], "odd", *lines[1:]]) + "\n")
    assert damaged(path).startswith("line 2 is not JSON (")
    path.write_text('{"op_code":5,"worker_id":"x"}\n')
    assert damaged(path).startswith("an operation in it makes no sense (KeyError: ")
    path.unlink()
    journal_of(path, WHOLE, {key: value for key, value in WHOLE.items() if key not in ("passes", "time_s")})
    assert damaged(path) == "trial 1 of a search has no passes"
    path.write_text(whole.replace('"value":0.5', '"value":1'))
    assert damaged(path) == "trial 0 of a search has no value"


def test_trials_without_a_seed_come_first() -> None:
    """As an earlier version may have left them."""
    trials = [SimpleNamespace(user_attrs=attributes) for attributes in ({"seed": 0}, {}, {"seed": 2}, {"seed": 1})]
    asked: list[Any] = []
    of_arm: Any = SimpleNamespace(get_trials=lambda deepcopy, states: asked.append(states) or trials)
    assert [trial.user_attrs.get("seed") for trial in finished_trials(of_arm)] == [None, 0, 1, 2]
    assert asked == [(optuna.trial.TrialState.COMPLETE,)]
    assert tuple(WHOLE) == journal.NEEDED


def test_the_value_by_which_the_best_trial_of_a_study_is_chosen() -> None:
    """The loss of the state that the run ended with: the last that improved in the last phase, or the last."""

    def entry(phase: int, improved: bool, value: float) -> Any:
        return SimpleNamespace(phase=phase, improved=improved, watched=lambda metric: (metric, value))

    history = [entry(0, True, 0.1), entry(1, True, 0.2), entry(1, True, 0.3), entry(1, False, 0.4)]
    record: Any = SimpleNamespace(val_accuracy=0.75, history=history)

    def objective(metric: str, *, restore_best: bool = True, record: Any = record) -> Any:
        rules: Any = SimpleNamespace(search=SimpleNamespace(metric=metric), stop=SimpleNamespace(restore_best=restore_best))
        return studies._objective(record, rules)

    assert objective("validation-accuracy") == 0.75
    assert objective("validation-loss") == ("validation-loss", 0.3)
    assert objective("validation-loss", restore_best=False) == ("validation-loss", 0.4)
    assert objective("validation-loss", record=SimpleNamespace(val_accuracy=None, history=[])) is None
    last_first = SimpleNamespace(val_accuracy=0.5, history=[entry(0, True, 0.1), entry(0, False, 0.2)])
    assert objective("validation-loss", record=last_first) == ("validation-loss", 0.1)


@pytest.mark.parametrize(
    ("error", "raised"),
    [(ValueError("odd scores"), None), (MemoryError(), RunInterruptedError), (OSError(28, "full"), StorageError)],
)
def test_a_study_whose_test_split_cannot_be_scored(
    error: Exception, raised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = QUICK.with_changes({"search.studies": 2, "search.trials": 1, "search.passes_per_trial": None, "max_passes": 1})
    one = ArmStudy(setting(rules), BACKPROP, 0, open_storage(tmp_path / "j"), tmp_path / "states")
    assert one.run_trial(0).status == "ok"

    def refuse(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(studies, "with_test", refuse)
    if raised is not None:
        with pytest.raises(raised) as caught:
            one.measured()
        assert caught.value.__cause__ is error
        return
    made = one.measured()
    assert (made.status, made.reasons["status"], made.test_accuracy) == ("failed", "ValueError: odd scores", None)
    assert made.tuning_energy is not None
    assert made.tuning_energy.trials == 1


def test_a_trial_that_fails_is_kept_before_a_device_that_is_lost_is_told(tmp_path: Path) -> None:
    rules = QUICK.with_changes({"search.studies": 2, "search.trials": 2, "search.passes_per_trial": None, "max_passes": 1})
    one = ArmStudy(setting(rules), BACKPROP, 0, open_storage(tmp_path / "j"), tmp_path / "states")

    def breaking(error: BaseException) -> Any:
        def on_pass(_: Any) -> None:
            raise error

        return on_pass

    with pytest.raises(RunInterruptedError, match="the device takes no more work after a failed run"):
        one.run_trial(0, on_pass=breaking(RuntimeError("CUDA error: device-side assert triggered")))
    assert one.n_done == 1
    assert one.run_trial(1, on_pass=breaking(ValueError("no"))).status == "failed"
    assert [each["val_accuracy"] for each in one.tuned().row["tried"]] == [0.0, 0.0]
    assert [each["failed"] for each in one.tuned().row["tried"]][1] == "ValueError: no"
    assert one.measured().status == "failed", "the first, of two that failed"


def test_states_of_a_study_are_named_by_its_digest(tmp_path: Path) -> None:
    one = ArmStudy(setting(), BACKPROP, 4, open_storage(tmp_path / "j"), tmp_path / "states")
    name = f"backprop@{SMALL.name}@mlp:1x4@data {SMALL.data_digest[:16]}@split 0@study 4"
    stem = f"study-{hashlib.sha256(name.encode()).hexdigest()[:16]}-trial"
    assert one._path(12) == tmp_path / "states" / f"{stem}12.safetensors"
    assert (one.n_done, math.isclose(len(stem), 28)) == (0, True)
    one.close()


def test_a_best_trial_is_loaded_at_its_last_phase_or_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one: Any = ArmStudy(setting(), BACKPROP, 4, open_storage(tmp_path / "j"), tmp_path / "states")
    rule = SimpleNamespace(phases=lambda net: [f"{phase} of {net}" for phase in "abc"])
    arm = SimpleNamespace(chosen=SimpleNamespace(build=lambda values: rule if values == "best" else None))
    one.setting = SimpleNamespace(
        arm_rules=lambda arm_: arm if arm_ is BACKPROP else None, build_net=lambda: "net", device=CPU, model=lambda *parts: parts
    )
    monkeypatch.setattr(one, "_tried", lambda: [None, SimpleNamespace(values="best", seed=7)])
    monkeypatch.setattr(studies, "initialise", lambda *given: given)
    monkeypatch.setattr(studies, "model_tensors", lambda net, state: [(net, state)])
    filled: list[Any] = []
    monkeypatch.setattr(studies, "fill_tensors", lambda path, tensors: filled.append((path, tensors)))
    record: Any = SimpleNamespace(history=[SimpleNamespace(phase=phase) for phase in (0, 0, 1, 2)])
    state = (rule, "net", 7, CPU)
    assert one._load(1, record) == (rule, "net", state, "c of net")
    assert filled == [(one._path(1), {"net": state})]

    def damaged(path: Path, tensors: Any) -> None:
        raise DataError("cut")

    monkeypatch.setattr(studies, "fill_tensors", damaged)
    again: list[Any] = []
    monkeypatch.setattr(studies, "run_once", lambda *given, **named: again.append((given, named)) or ("record", "model", None))
    assert one._load(1, record) == "model"
    assert again == [((one.setting, BACKPROP, "best", 7), {"study": 4})]
