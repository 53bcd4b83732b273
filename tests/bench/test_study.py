"""The search: equal trials, its own seeds, and the same after it was killed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from bpfree import rulesets
from bpfree.algorithms import Algorithm, names, numeric
from bpfree.bench import Arm, arm_rules, check_supported
from bpfree.bench.spaces import check_named, fixed_though_searched, space_for
from bpfree.bench.study import SEARCH_SEEDS, open_storage, search
from bpfree.data import Dataset
from bpfree.errors import RulesetError
from bpfree.nets import Chain
from bpfree.rulesets.ranges import known_spaces, named_spaces
from bpfree.train import compiling

from .test_measure import setting

RULES = setting().ruleset.with_changes(trials=5, passes_per_trial=2)
TPE = RULES.with_changes({"search.sampler": {"name": "tpe", "n_startup_trials": 2}})


def trials(journal: Path) -> list[tuple[dict[str, float], float | None]]:
    """Values and outcome of every finished trial, in order."""
    (study,) = optuna.get_all_study_names(open_storage(journal))
    loaded = optuna.load_study(study_name=study, storage=open_storage(journal))
    return [(t.params, t.value) for t in loaded.get_trials(states=(TrialState.COMPLETE,))]


RANDOM = RULES.with_changes({"search.sampler": {"name": "random"}})
GRID = RULES.with_changes({"search.sampler": {"name": "grid"}})


@pytest.mark.parametrize("rules", [RULES, TPE, RANDOM, GRID], ids=["qmc", "tpe", "random", "grid"])
def test_a_search_that_was_killed_twice_is_the_same_search(rules: rulesets.Ruleset, tmp_path: Path) -> None:
    arm = Arm.parse("backprop")
    search(setting(ruleset=rules), arm, open_storage(tmp_path / "whole"))

    class Killed(BaseException):
        pass

    def kill_after(n: int) -> None:
        seen = {"n": 0}

        def on_pass(_: object) -> None:
            seen["n"] += 1
            if seen["n"] > n:
                raise Killed

        with pytest.raises(Killed):
            search(setting(ruleset=rules), arm, open_storage(tmp_path / "killed"), on_pass=on_pass)

    kill_after(3)  # in the second trial
    kill_after(4)  # two trials later
    search(setting(ruleset=rules), arm, open_storage(tmp_path / "killed"))
    assert trials(tmp_path / "killed") == trials(tmp_path / "whole")
    assert len(trials(tmp_path / "whole")) == 5


def test_a_search_compiles_once_and_keeps_its_seconds_in_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    monkeypatch.setattr(compiling, "_STEPS", {})
    rules, storage = RULES.with_changes(trials=2, passes_per_trial=1, tier="compiled"), open_storage(tmp_path / "j")
    found = search(setting(ruleset=rules), Arm.parse("backprop"), storage)
    (only,) = optuna.get_all_study_names(storage)
    kept = [t.user_attrs["compile_time_s"] for t in optuna.load_study(study_name=only, storage=storage).get_trials()]
    assert kept == [kept[0]] * 2
    assert found.row["compile_time_s"] == kept[0] > 0


def test_a_grid_goes_from_end_to_end_in_equal_factors_all_ranges_at_once(tmp_path: Path) -> None:
    spaces = {"pepita": {"lr": {"low": 2e-3, "high": 8e-3}, "feedback_scale": {"low": 0.01, "high": 1.0}}}
    rules = GRID.with_changes({"search.trials": 3, "search.spaces": spaces})
    found = search(setting(ruleset=rules), Arm.parse("pepita"), open_storage(tmp_path / "j"))
    tried = [values for values, _ in trials(tmp_path / "j")]
    assert [values["lr"] for values in tried] == pytest.approx([2e-3, 4e-3, 8e-3])
    assert [values["feedback_scale"] for values in tried] == pytest.approx([0.01, 0.1, 1.0])
    assert found.best in tried


def test_every_trial_has_other_values_and_the_best_is_chosen(tmp_path: Path) -> None:
    found = search(setting(ruleset=RULES), Arm.parse("backprop"), open_storage(tmp_path / "j"))
    outcomes = trials(tmp_path / "j")
    assert len({params["lr"] for params, _ in outcomes}) == 5
    best = max(value for _, value in outcomes if value is not None)
    assert found.best_val_accuracy == best
    assert found.best in [params for params, value in outcomes if value == best]
    assert found.cost is not None
    assert found.cost.trials == 5
    assert found.cost.passes <= 5 * 2
    assert found.cost.joules is None


def test_the_search_never_sees_the_test_split_and_trains_on_its_own_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, int]] = []
    original = arm_rules.training

    def spy(*args: object, **kwargs: object) -> object:
        seen.append(("test" in args[2].splits, kwargs["seed"]))  # type: ignore[attr-defined,arg-type]
        return original(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(arm_rules, "training", spy)
    search(setting(ruleset=RULES), Arm.parse("backprop"), open_storage(tmp_path / "j"))
    assert seen == [(False, SEARCH_SEEDS + k) for k in range(5)]


def space_of(text: str, spaces: str = "standard") -> dict[str, rulesets.Range]:
    """What is searched for an arm under named spaces."""
    return space_for(RULES.with_changes({"search.spaces": spaces}), Arm.parse(text))


def test_what_an_arm_fixes_is_not_searched_and_known_as_unequal() -> None:
    assert set(space_of("backprop")) == {"lr", "weight_decay"}
    assert set(space_of("backprop:lr=1e-3")) == {"weight_decay"}
    assert fixed_though_searched(RULES, Arm.parse("backprop:lr=1e-3")) == ["lr"]
    assert fixed_though_searched(RULES, Arm.parse("mono-forward:schedule=staged")) == []
    assert fixed_though_searched(RULES.with_changes({"search.trials": 0}), Arm.parse("backprop:lr=1e-3")) == []


@pytest.mark.parametrize("spaces", known_spaces())
def test_the_same_ranges_hold_for_every_rule_that_learns_by_adam(spaces: str) -> None:
    found = []
    for name in names():
        arm = f"{name}:optimiser=adam"
        own = set(named_spaces(spaces).get(name, {}))
        found.append({key: bounds for key, bounds in space_of(arm, spaces).items() if key in {"lr", "weight_decay"} - own})
    assert len(found) == len(names())
    assert all(each == found[0] for each in found)
    assert "lr" in found[0]


@pytest.mark.parametrize("spaces", known_spaces())
def test_sgd_has_rates_of_its_own_whichever_rule_uses_it(spaces: str) -> None:
    sgd = space_of("backprop:optimiser=sgd", spaces)["lr"]
    assert sgd.low > space_of("backprop", spaces)["lr"].low
    assert sgd.high > 10 * space_of("backprop", spaces)["lr"].high
    assert space_of("pepita", spaces)["lr"] == sgd  # its default
    assert space_of("mono-forward:optimiser=sgd", spaces)["lr"] == sgd


def test_what_an_option_brings_is_searched_where_the_arm_fixes_the_option() -> None:
    assert "ridge" not in space_of("cascaded-forward")
    assert "ridge" in space_of("cascaded-forward:predictor=ridge")
    assert {"head_lr", "head_weight_decay"} <= set(space_of("forward-forward:inference=head"))


@pytest.mark.parametrize("spaces", known_spaces())
def test_every_key_names_a_rule_and_numbers_of_it(spaces: str) -> None:
    rules = RULES.with_changes({"search.spaces": spaces})
    keys = [key for key in named_spaces(spaces) if not key.startswith("*")]
    assert {key.partition(":")[0] for key in keys} <= set(names())
    for key in (*keys, *names()):
        arm = Arm.parse(key)
        values = {name: bounds.low for name, bounds in space_for(rules, arm).items()}
        assert {name: numeric(arm.build(values))[name] for name in values} == values
        assert values, key


def test_what_changes_nothing_is_not_searched() -> None:
    assert set(space_of("cascaded-forward:predictor=ridge")) == {"ridge"}
    with_blocks = space_of("cascaded-forward:blocks=dfa:predictor=ridge")
    assert set(with_blocks) == {"ridge", "block_lr", "block_weight_decay"}


@pytest.mark.parametrize(
    ("key", "ranges", "said"),
    [("mono-foward", {"lr": {"low": 1e-3, "high": 1e-2}}, "mono-foward"), ("backprop", {"rate": {"low": 1, "high": 2}}, "rate")],
)
def test_spaces_that_no_rule_could_use_are_refused(key: str, ranges: dict[str, Any], said: str) -> None:
    rules = RULES.with_changes({"search.spaces": {**named_spaces("standard"), key: ranges}})
    with pytest.raises(RulesetError, match=said):
        check_supported(rules, [Arm.parse("backprop")])


def test_sampler_arguments_and_cost_stand_beside_what_was_found(tmp_path: Path) -> None:
    rules = RULES.with_changes(trials=1)
    found = search(setting(ruleset=rules), Arm.parse("backprop"), open_storage(tmp_path / "j"))
    sampler = found.row["sampler"]
    assert {key: sampler[key] for key in rules.search.sampler.model_dump()} == rules.search.sampler.model_dump()
    assert "number of the study" in sampler["seed"]
    assert found.cost is not None
    assert found.row["time_s"] == found.cost.time_s
    assert found.row["time_s"] > 0


def test_a_trial_may_have_fewer_examples_than_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    plain = arm_rules.training

    def spy(rule: Algorithm, net: Chain, data: Dataset, *rest: Any, **named: Any) -> Any:
        seen.append(data.n("train"))
        return plain(rule, net, data, *rest, **named)

    monkeypatch.setattr(arm_rules, "training", spy)
    given = setting(ruleset=RULES.with_changes({"search.trials": 2, "search.train_examples": 100}))
    found = search(given, Arm.parse("backprop"), open_storage(tmp_path / "j"))
    assert seen == [100, 100]
    assert found.row["examples_per_trial"] == 100
    assert given.data.n("train") > 100


def test_an_arm_that_fixes_everything_still_has_its_trials(tmp_path: Path) -> None:
    arm = Arm.parse("cascaded-forward:predictor=ridge:ridge=1e-3")
    found = search(setting(ruleset=RULES.with_changes(trials=2)), arm, open_storage(tmp_path / "j"))
    assert found.cost is not None
    assert (found.best, found.cost.trials) == ({}, 2)


def test_nothing_is_run_where_the_ruleset_searches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm_rules, "training", None)  # calling it would fail
    found = search(setting(ruleset=RULES.with_changes({"search.trials": 0})), Arm.parse("backprop"), open_storage(tmp_path / "j"))
    assert (found.best, found.cost) == ({}, None)


def test_all_arms_try_the_same_points_in_what_they_share(tmp_path: Path) -> None:
    tried = []
    for text in ("backprop", "mono-forward:schedule=staged", "deep-supervision", "backprop:optimiser=sgd"):
        found = search(setting(ruleset=RULES), Arm.parse(text), open_storage(tmp_path / "j"))
        space = space_of(text)
        tried.append([math.log(t["values"]["lr"] / space["lr"].low) / math.log(space["lr"].high / space["lr"].low)
                      for t in found.row["tried"]])  # fmt: skip
    assert len({round(place, 9) for place in tried[0]}) == 5
    for places in tried[1:]:
        assert places == pytest.approx(tried[0], abs=1e-9)


def test_a_control_draws_other_points_and_other_seeds(tmp_path: Path) -> None:
    arm = Arm.parse("backprop")
    mine, theirs = (
        search(setting(ruleset=RULES), one, open_storage(tmp_path / "j")).row["tried"] for one in (arm, arm.as_control())
    )
    assert not {t["seed"] for t in mine} & {t["seed"] for t in theirs}
    assert not {t["values"]["lr"] for t in mine} & {t["values"]["lr"] for t in theirs}


def test_where_nothing_is_searched_every_arm_names_its_values() -> None:
    rules = RULES.with_changes({"search.trials": 0, "search.spaces": "claim"})
    check_named(rules, [Arm.parse("backprop:lr=1e-3"), Arm.parse("deep-supervision:lr=1e-3:aux_weight=1")])
    check_named(rules.with_changes(trials=1), [Arm.parse("backprop")])
    with pytest.raises(RulesetError, match=r"deep-supervision:lr=1e-3 does not name aux_weight; write .*:aux_weight=VALUE"):
        check_named(rules, [Arm.parse("backprop:lr=1e-3"), Arm.parse("deep-supervision:lr=1e-3")])
