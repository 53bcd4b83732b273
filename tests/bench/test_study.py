"""The search: equal trials, its own seeds, and the same after it was killed."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from bpfree.algorithms import Algorithm, names, numeric
from bpfree.bench import Arm, study
from bpfree.bench.spaces import LogUniform, space_for
from bpfree.bench.study import SEARCH_SEEDS, open_storage, search
from bpfree.data import Dataset
from bpfree.nets import Chain

from .test_measure import setting

RULES = setting().ruleset.with_changes(trials=5, passes_per_trial=2)


def trials(journal: Path) -> list[tuple[dict[str, float], float | None]]:
    """Values and outcome of every finished trial, in order."""
    (study,) = optuna.get_all_study_names(open_storage(journal))
    loaded = optuna.load_study(study_name=study, storage=open_storage(journal))
    return [(t.params, t.value) for t in loaded.get_trials(states=(TrialState.COMPLETE,))]


def test_a_search_that_was_killed_twice_is_the_same_search(tmp_path: Path) -> None:
    arm = Arm.parse("backprop")
    search(setting(ruleset=RULES), arm, open_storage(tmp_path / "whole"))

    class Killed(BaseException):
        pass

    def kill_after(n: int) -> None:
        seen = {"n": 0}

        def on_pass(_: object) -> None:
            seen["n"] += 1
            if seen["n"] > n:
                raise Killed

        with pytest.raises(Killed):
            search(setting(ruleset=RULES), arm, open_storage(tmp_path / "killed"), on_pass=on_pass)

    kill_after(3)  # in the second trial
    kill_after(4)  # two trials later
    search(setting(ruleset=RULES), arm, open_storage(tmp_path / "killed"))
    assert trials(tmp_path / "killed") == trials(tmp_path / "whole")
    assert len(trials(tmp_path / "whole")) == 5


def test_every_trial_has_other_values_and_the_best_is_chosen(tmp_path: Path) -> None:
    found = search(setting(ruleset=RULES), Arm.parse("backprop"), open_storage(tmp_path / "j"))
    outcomes = trials(tmp_path / "j")
    assert len({params["lr"] for params, _ in outcomes}) == 5
    best = max(value for _, value in outcomes if value is not None)
    assert found.best_val_accuracy == best
    assert found.best in [params for params, value in outcomes if value == best]
    assert found.cost.trials == 5
    assert found.cost.passes <= 5 * 2
    assert found.cost.joules is None


def test_the_search_never_sees_the_test_split_and_trains_on_its_own_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bpfree.bench import study as module

    seen: list[tuple[bool, int]] = []
    original = module.training

    def spy(*args: object, **kwargs: object) -> object:
        seen.append(("test" in args[2].splits, kwargs["seed"]))  # type: ignore[attr-defined,arg-type]
        return original(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "training", spy)
    search(setting(ruleset=RULES), Arm.parse("backprop"), open_storage(tmp_path / "j"))
    assert seen == [(False, SEARCH_SEEDS + k) for k in range(5)]


def test_what_an_arm_fixes_is_not_searched() -> None:
    assert set(space_for(Arm.parse("backprop"))) == {"lr", "weight_decay"}
    assert set(space_for(Arm.parse("backprop:lr=1e-3"))) == {"weight_decay"}


def test_the_same_ranges_hold_for_every_rule_of_the_comparison() -> None:
    rules = ("backprop", "mono-forward", "forward-forward")
    spaces = [{key: space_for(Arm.parse(rule))[key] for key in ("lr", "weight_decay")} for rule in rules]
    assert spaces[0] == spaces[1] == spaces[2]


def test_a_value_near_an_end_is_at_the_edge() -> None:
    bounds = LogUniform(1e-5, 1e-2)
    assert bounds.at_edge(9e-3)
    assert bounds.at_edge(1.1e-5)
    assert not bounds.at_edge(1e-3)


def test_what_an_option_brings_is_searched_where_the_arm_fixes_the_option() -> None:
    assert "ridge" not in space_for(Arm.parse("cascaded-forward"))
    assert "ridge" in space_for(Arm.parse("cascaded-forward:predictor=ridge"))
    assert {"head_lr", "head_weight_decay"} <= set(space_for(Arm.parse("forward-forward:inference=head")))


def test_every_rule_has_an_entry_of_its_own() -> None:
    """A rule that is missing from the file would be searched in ranges that nobody chose for it."""
    raw = yaml.safe_load((resources.files("bpfree.bench") / "spaces.yaml").read_text())["rules"]
    assert {key.partition(":")[0] for key in raw} == set(names())
    assert set(names()) <= set(raw)
    for key in raw:
        assert space_for(Arm.parse(key)), key


def test_what_changes_nothing_is_not_searched() -> None:
    assert set(space_for(Arm.parse("cascaded-forward:predictor=ridge"))) == {"ridge"}
    with_blocks = space_for(Arm.parse("cascaded-forward:blocks=dfa:predictor=ridge"))
    assert set(with_blocks) == {"ridge", "block_lr", "block_weight_decay"}


def test_every_searched_name_is_a_number_of_its_rule() -> None:
    for key in ("backprop", "pepita", "deep-supervision", "cascaded-forward:blocks=dfa", "forward-forward:inference=head"):
        arm = Arm.parse(key)
        values = {name: bounds.low for name, bounds in space_for(arm).items()}
        assert {name: numeric(arm.build(values))[name] for name in values} == values


def test_sampler_arguments_and_cost_stand_beside_what_was_found(tmp_path: Path) -> None:
    rules = RULES.with_changes(trials=1)
    found = search(setting(ruleset=rules), Arm.parse("backprop"), open_storage(tmp_path / "j"))
    sampler = found.row["sampler"]
    assert {key: sampler[key] for key in rules.search.sampler.model_dump()} == rules.search.sampler.model_dump()
    assert "sha256" in sampler["seed"]
    assert found.row["time_s"] == found.cost.time_s > 0


def test_a_trial_may_have_fewer_examples_than_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    plain = study.training

    def spy(rule: Algorithm, net: Chain, data: Dataset, *rest: Any, **named: Any) -> Any:
        seen.append(data.n("train"))
        return plain(rule, net, data, *rest, **named)

    monkeypatch.setattr(study, "training", spy)
    given = setting(ruleset=RULES.with_changes({"search.trials": 2, "search.train_examples": 100}))
    found = search(given, Arm.parse("backprop"), open_storage(tmp_path / "j"))
    assert seen == [100, 100]
    assert found.row["examples_per_trial"] == 100
    assert given.data.n("train") > 100


def test_an_arm_that_fixes_everything_still_has_its_trials(tmp_path: Path) -> None:
    arm = Arm.parse("cascaded-forward:predictor=ridge:ridge=1e-3")
    found = search(setting(ruleset=RULES.with_changes(trials=2)), arm, open_storage(tmp_path / "j"))
    assert (found.best, found.cost.trials) == ({}, 2)
