"""Flags, labels, targets and facts at the borders where they change, on stand-ins for runs, rows and rules: by value."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bpfree import stats
from bpfree.report import audit, classes, cost_flags, facts, family, model, needs, phase_ends, replicates, search_flags, targets
from bpfree.report import unequal_search as unequal
from bpfree.report.interim import Looks
from bpfree.report.seed_flags import seed_flags


def stand_in(**values: Any) -> Any:
    return SimpleNamespace(**values)


def row(label: str, *runs: Any, **values: Any) -> Any:
    return stand_in(label=label, arm=label.lower(), runs=runs, **values)


@pytest.mark.parametrize(
    ("numbers", "noun", "text"),
    [
        ([0], "seed", "seed 0"), ([0, 1], "seed", "seeds 0 and 1"), ([0, 1, 2], "study", "studies 0 to 2"),
        ([3, 4, 5, 6], "seed", "seeds 3 to 6"), ([0, 1, 3], "seed", "seeds 0, 1 and 3"), ([7], "study", "study 7"),
    ],
)  # fmt: skip
def test_numbers_in_words(numbers: list[int], noun: str, text: str) -> None:
    assert replicates.number_words(numbers, noun) == text


def test_pairs_and_their_mean() -> None:
    runs = [
        stand_in(split_seed=split, study=study, replicate=(split, n)) for split, study, n in ((4, None, 2), (0, 1, 0), (4, 1, 2))
    ]
    assert replicates.splits_of(runs) == [0, 4]
    assert [replicates.is_crossed(each) for each in (runs, runs[:1], runs[::2])] == [True, False, False]
    assert [replicates.noun_of(each) for each in (runs, runs[:1], runs[1:])] == ["study", "seed", "study"]
    assert replicates.numbers_of(runs) == [0, 2]
    assert [replicates.pair_key(runs[0], crossed) for crossed in (True, False)] == [(4, 2), 2]
    grid = {(0, 1): 0.1, (0, 2): 0.2, (3, 1): 0.5, (3, 2): 0.9, (0, 5): 0.4, (3, 5): 0.7}
    expected = stats.crossed_interval(np.array([[0.1, 0.5], [0.2, 0.9], [0.4, 0.7]])).interval
    assert replicates.mean_over(grid, True) == expected
    values = list(grid.values())
    assert replicates.mean_over(grid, False) == stats.mean_interval(values)
    partly = {key: value for key, value in grid.items() if key != (3, 5)}
    assert replicates.mean_over(partly, True) == stats.mean_interval(list(partly.values()))
    assert replicates.mean_over({}, True) == stats.mean_interval([])


def searched(trials: int | None, schema: int = 2, variant: str = "", fixed: tuple[str, ...] = ()) -> Any:
    cost = None if trials is None else stand_in(trials=trials)
    return stand_in(tuning_energy=cost, schema_version=schema, variant=variant, unequal_search=fixed)


def test_how_searches_differ() -> None:
    arms = {"b": [searched(8)], "c": [searched(None), searched(1)], "d": [searched(None)], "e": [searched(4, fixed=("m", "lr"))]}
    material = stand_in(tuned=(), ruleset=stand_in(search=stand_in(trials=8)))
    labels = {arm: arm.upper() for arm in arms}
    assert unequal.unequal_search(arms, "b", material, ("d", "n"), labels) == {
        "c": "C had 1 trial, B 8 trials", "d": "D had no search, B 8 trials", "e": "E fixes lr, m, which the other arms search",
    }  # fmt: skip
    both = {"b": [searched(8, fixed=("m",))], "e": [searched(8, fixed=("m", "lr"))]}
    assert unequal.unequal_search(both, "b", material, ("d", "n"), labels) == {"e": "E fixes lr, which the other arms search"}
    alone = {"e": [searched(8, fixed=("m",))]}
    assert unequal.unequal_search(alone, "e", material, ("d", "n"), labels) == {}
    assert unequal._fixes("E", frozenset({"a"}), {"b": frozenset({"a"})}) == "E fixes a, which the ruleset searches"
    assert unequal.fixed_by_all({}) == frozenset()


def test_what_an_old_record_fixes() -> None:
    rows = (
        {"dataset": "d", "net": "n", "best": {"m": 1}},
        {"dataset": "d", "net": "n", "best": {"k": 1}},
        {"dataset": "x", "net": "n", "best": {"z": 1}},
        {"dataset": "d", "net": "n"},
    )
    runs = [searched(8, 1, "m=1:z=2:lr=3:k=4")]

    def fixed(tuned: Any, trials: int = 8, of: Any = runs) -> frozenset[str]:
        return unequal._fixed(of, stand_in(tuned=tuned, ruleset=stand_in(search=stand_in(trials=trials))), ("d", "n"))

    assert fixed(rows) == {"m", "k"}
    assert fixed(()) == {"lr"}
    assert fixed(rows, 0) == frozenset()
    assert fixed(rows, of=[searched(8, 1)]) == frozenset()
    assert fixed(rows, of=[searched(8, 2, "m=1", ("a",)), searched(8, 2, "", ("b",))]) == {"a", "b"}
    assert fixed(rows, of=[searched(8, 2, "m=1", ("a",)), searched(8, 1)]) == {"m"}


def test_the_baseline_and_labels() -> None:
    def run(rule: str, variant: str = "", control: bool = False, fixed: tuple[str, ...] = ()) -> Any:
        return stand_in(algorithm=rule, variant=variant, control=control, unequal_search=fixed)

    control, whole, half = run("backprop", control=True), run("backprop", "a=b"), run("backprop", "a=c", fixed=("a",))
    arms = {"x": [run("pepita")], "again": [control], "h": [half], "w": [whole, whole], "backprop": [run("backprop")]}
    assert model._baseline(arms) == "backprop"
    del arms["backprop"]
    assert model._baseline(arms) == "w"
    arms["w"] = [whole, half]
    assert model._baseline(arms) == "h"
    del arms["h"], arms["w"]
    assert model._baseline(arms) == "x"
    given = {"p:a=b": [run("p", "a=b")], "p:c=b": [run("p", "c=b")], "p:a=d": [run("p", "a=d")], "again": [control]}
    labels = {"p:a=b": "p:a=b", "p:c=b": "p:c=b", "p:a=d": "p (d)", "again": "backprop against itself"}
    assert model._labels(given) == labels


def test_how_a_run_ended() -> None:
    def run(*reasons: str, status: str = "ok") -> Any:
        return stand_in(stops=[stand_in(reason=reason) for reason in reasons], status=status)

    order = ("hours", "cap", "patience", "itself", "diverged")
    for k, first in enumerate(order):
        assert phase_ends.end_of_run(run(*reversed(order[k:]))) == first
    assert phase_ends.end_of_run(run()) is None
    runs = [run("cap"), run("patience", "cap"), run("itself"), run(), run("hours", status="failed")]
    assert phase_ends.run_ends(runs) == {"cap": 2, "itself": 1}
    assert phase_ends.ends_in_words(runs) == "ended at the cap: 2 of 4, by itself: 1 of 4"
    assert phase_ends.ends_in_words([run(), run("cap", status="failed")]) == ""


def test_flags_about_seeds() -> None:
    def told(looks: Looks, numbers: list[int], splits: tuple[int, ...] = (0,), noun: str = "seed") -> list[str]:
        runs = [stand_in(split_seed=split) for split in splits]
        return [f"{flag.key}: {flag.text}" for flag in seed_flags(stand_in(looks=looks, numbers=numbers, noun=noun, runs=runs))]

    assert told(Looks((2,), 2), [0, 1]) == []
    added, chosen = told(Looks((2, 4), 4), [0, 2])
    assert added.startswith("added-seeds: ADDED SEEDS: seeds were added after results could be seen (2, then 4): ")
    assert "The plan of 2 has spent" in added
    assert chosen == "chosen-seeds: the seeds 0 and 2 are not 0 to 1: a set that is chosen after its results shows nothing."
    assert told(Looks((1,), 1, "study"), [3], noun="study") == [
        "chosen-seeds: the study 3 is not 0: a set that is chosen after its results shows nothing."
    ]
    assert told(Looks((1,), 1), [0], (4, 2)) == [
        "chosen-seeds: the split seeds 2 and 4 are not 0 to 1: a set that is chosen after its results shows nothing."
    ]
    (interim,) = told(Looks((5,), 2, "study"), [0, 1])
    assert interim == (
        "interim-look: 2 of 5 planned studies have ended in every arm: a look before the end, which judges nothing: at least 5 "
        "are needed."
    )
    (interim,) = told(Looks((10,), 5), list(range(5)))
    assert interim == (
        "interim-look: 5 of 10 planned seeds have ended in every arm: a look before the end, tested at a level of 0.56 % "
        "(O’Brien and Fleming) instead of 5 %."
    )
    assert told(Looks((5,), 0, "study"), [0]) == [
        "interim-look: no study of 5 planned studies has ended in every arm: there is nothing to test yet."
    ]
    assert told(Looks((1,), 0), [0]) == [
        "interim-look: no seed of 1 planned seed has ended in every arm: there is nothing to test yet."
    ]


def test_two_runs_with_the_same_losses_are_one() -> None:
    def run(seed: int, *losses: float | None) -> Any:
        return stand_in(seed=seed, history=[stand_in(train_loss=loss) for loss in losses])

    def told(*runs: Any) -> list[str]:
        return [flag.text for flag in audit._same_seed(row("A", *runs))]

    assert told(run(0, 1.0, None), run(1, 1.0, 0.5), run(2), run(3), run(4, None), run(5, None)) == []
    assert told(run(0, 1.0, None), run(1, 1.0, None), run(7, 1.0, None)) == [
        "SAME SEED: the runs of A with seeds 0, 1, 7 have the same training loss in every pass: one run was counted 3 times."
    ]


def test_arms_that_were_not_tuned() -> None:
    def told(*tuned: tuple[float | None, ...]) -> list[str]:
        rows = [row(f"R{k}", *(stand_in(tuning_energy=each) for each in of_arm)) for k, of_arm in enumerate(tuned)]
        return [flag.text for flag in audit._untuned(stand_in(rows=rows))]

    assert told((1.0,), (None, 1.0)) == []
    assert told((None,), (None, None)) == ["nothing was tuned: the hyper-parameters were given by hand."]
    assert told((None,), (1.0,), (None, None)) == [
        "UNEQUAL SEARCH: R0, R2 was not tuned; its values were given by hand, those of the others searched."
    ]


def copies_of(*rows: Any, tables: int = 1, sampler: str = "tpe", tuned: tuple[Any, ...] = ()) -> list[str]:
    rules = stand_in(search=stand_in(sampler=stand_in(name=sampler)))
    material = stand_in(ruleset=rules, tuned=tuned, tuned_entry=lambda run: run.entry)
    made = [stand_in(dataset=f"d{k}", net="n", rows=rows[k::tables]) for k in range(tables)]
    return [flag.text for flag in audit.copied(made, material)]


def with_values(label: str, cost: float | None = 1.0, entry: Any = None, variant: str = "", **params: Any) -> Any:
    return row(label, stand_in(params=params, tuning_energy=cost, entry=entry, variant=variant))


def test_two_searches_do_not_choose_the_same_digits() -> None:
    two = (with_values("A", lr=0.5, weight_decay=0.25, other=1.0), with_values("B", None, lr=0.5, weight_decay=0.25, other=1.0))
    end = "; two searches do not choose the same digits, so one has the values of another."
    start = "COPIED HYPER-PARAMETERS: "
    assert copies_of(*two) == [f"{start}A and B have the same lr = 0.5, weight_decay = 0.25{end}"]
    assert copies_of(*two, tables=2) == [
        f"{start}A on d0 with n and B on d1 with n have the same lr = 0.5, weight_decay = 0.25{end}"
    ]
    assert copies_of(*two, sampler="grid") == []
    assert copies_of(with_values("A", None, lr=0.5), with_values("B", None, lr=0.5)) == []
    assert copies_of(with_values("A", lr=0.0), with_values("B", lr=0.0)) == []
    assert copies_of(with_values("A", lr=2), with_values("B", lr=2)) == []
    assert copies_of(with_values("A", lr=0.5), with_values("B", variant="lr=0.5", lr=0.5)) == []
    assert copies_of(*two, tuned=({"best": {"other": 1.0}}, {})) == [f"{start}A and B have the same other = 1{end}"]
    chosen = [with_values(label, entry={"best": {"other": 1.0}}, lr=0.5, other=1.0) for label in "AB"]
    assert copies_of(*chosen) == [f"{start}A and B have the same other = 1{end}"]


def edges(*searches: dict[str, Any]) -> list[str]:
    return [flag.text for flag in search_flags._edges(row("A"), searches)]


def test_an_edge_counts_in_most_of_the_searches() -> None:
    at, inside = {"at_edge": ["lr"], "best": {"lr": 0.5}}, {"best": {"lr": 0.1}}
    assert edges(at, inside) == edges(inside, {"at_edge": None}) == []
    end = "so a better value may lie outside"
    assert edges(at) == [f"the lr of A, 0.5, lies at an edge of what was searched (range unknown), {end}."]
    tried = [
        {"values": {"lr": 0.25}, "val_accuracy": 0.5}, {"values": {"lr": 0.5}, "val_accuracy": 0.75},
        {"values": {}, "val_accuracy": 0.6}, {"values": {"lr": 9.0}, "val_accuracy": 0.9, "diverged": True},
    ]  # fmt: skip
    assert edges(inside, at | {"space": {"lr": "log 0.1 to 0.5"}, "tried": tried}, at) == [
        f"the lr of A, 0.5, lies at an edge of what was searched (log 0.1 to 0.5) in 2 of 3 searches, {end}"
        "; trials: 0.5 gave 75.00 %, 0.25 gave 50.00 %."
    ]


def test_learning_rates_that_a_search_cannot_tell_apart() -> None:
    """With 100 examples two standard errors at .5 are 10 points: .40 is near, .39 is not."""

    def told(*trials: tuple[float, float], n: int | None = 100) -> list[str]:
        tried = [{"values": {"lr": lr}, "val_accuracy": accuracy} for lr, accuracy in trials]
        return [flag.text for flag in search_flags._not_told_apart(row("A"), {"n_validation": n, "tried": tried})]

    assert told((1.0, 0.5), (4.0, 0.41)) == [
        "the search of A could not tell lr 1 from 4: 2 of its 2 trials lie within two standard errors (10.00 points, 100 "
        "validation examples) of the best."
    ]
    assert told((4.0, 0.41), (1.0, 0.5), (9.0, 0.39)) != []
    assert "2 of its 3" in told((4.0, 0.41), (1.0, 0.5), (9.0, 0.39))[0]
    assert told((1.0, 0.5), (4.0, 0.39)) == told((1.0, 0.5), (3.0, 0.5)) == told((1.0, 0.5)) == told() == []
    assert told((1.0, 0.5), (4.0, 0.41), n=None) == []
    assert told((1.0, 0.5), (3.1, 0.5)) != []


def test_short_trials() -> None:
    def told(trial: int, run: int, *entries: dict[str, Any], trials: int = 8) -> list[str]:
        rules = stand_in(search=stand_in(trials=trials), trial_passes=lambda dataset: trial, passes=lambda dataset: run)
        named = tuple({"arm": "a", "dataset": "d", "net": "n", **entry} for entry in entries)
        table = stand_in(rows=[row("A")], task=("d", "n"), dataset="d")
        return [flag.text for flag in search_flags._short_trials(table, stand_in(ruleset=rules, tuned=named))]

    end = "): the values that they chose favour arms that learn early."
    some = {"best": {"lr": 1}, "examples_per_trial": 1000, "examples_per_run": 20000}
    assert told(3, 4) == [f"trials were shorter than runs (3 of 4 passes{end}"]
    assert told(4, 4) == told(3, 4, {"best": {}}) == told(3, 4, some, trials=0) == []
    assert told(4, 4, some, {"best": {}}) == [f"trials were shorter than runs (1,000 of 20,000 training examples{end}"]
    assert told(4, 4, some | {"examples_per_trial": 20000}) == []


def test_values_that_were_not_searched() -> None:
    def told(*left: Any) -> list[str]:
        return [flag.text for flag in search_flags._not_searched(row("A"), [{"not_searched": each} for each in left])]

    end = "not searched: neither the rule nor the ruleset has a range."
    assert told(None, {}) == []
    assert told({"m": 0.12345}) == [f"of A, m (0.123) was {end}"]
    assert told({"m": 2}, {"k": True}) == [f"of A, k (True), m (2) were {end}"]


def test_the_load_of_other_processes() -> None:
    def told(*loads: tuple[float | None, ...]) -> list[str]:
        rows = [row(f"R{k}", *(stand_in(other_load=load) for load in of_arm)) for k, of_arm in enumerate(loads)]
        return [flag.text.partition(" in the mean")[0] for flag in cost_flags._load(stand_in(rows=rows))]

    start = "other processes had a share in the busy processor time ("
    assert told((0.09,), (None,)) == []
    assert told((0.1,), (0.0, 0.5, 0.7), (None, 0.05)) == [f"{start}R0 10%, R1 40%"]


def test_arms_without_turns_of_which_three_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for n, more in ((1, ""), (3, ""), (4, "; and 1 more pairs"), (5, "; and 2 more pairs")):
        monkeypatch.setattr(cost_flags, "not_interleaved", lambda arms, n=n: [(f"a{k}", f"b{k}") for k in range(n)])
        (flag,) = cost_flags._turns(stand_in(rows=[]))
        which = "; ".join(f"all runs of a{k} began before any of b{k}" for k in range(min(n, 3)))
        assert flag.text.startswith(f"the arms did not take turns ({which}{more}): ")


def test_counts_of_a_pass() -> None:
    runs: Any = [
        stand_in(steps=9, passes=3),
        stand_in(steps=None, passes=3),
        stand_in(steps=5, passes=0),
        stand_in(steps=10, passes=4),
    ]
    assert cost_flags._per_pass(runs, "steps") == {Fraction(3), Fraction(5, 2)}
    assert (cost_flags._count(Fraction(5000, 2)), cost_flags._count(Fraction(2001, 2))) == ("2,500", "1,000.5")


def classified(recall: list[float | None], majority: float, balanced: float = 0.5, labels: Any = None, **run: Any) -> Any:
    by_class = stand_in(recall=recall, majority_share=majority, balanced_accuracy=balanced, labels=labels)
    return stand_in(**{"status": "ok", "test_accuracy": 0.5, "by_class": by_class} | run)


def test_recalls_are_listed_where_classes_are_uneven() -> None:
    even, uneven = (row("A", classified([0.5, 1.0], share)) for share in (0.74, 0.75))
    assert classes.class_words(even) == "majority 74.0, balanced 50.0"
    assert classes.class_words(uneven) == "majority 75.0, balanced 50.0, recall by class 50.0, 100.0"
    named = row(
        "A", classified([0.5, None, 1.0], 0.9, labels=("x", "y", "z")), classified([0.25, None, None], 0.8, 0.7, ("x", "y", "z"))
    )
    assert classes.class_words(named) == "majority 85.0, balanced 60.0, recall by class x: 37.5, z: 100.0"
    ten, eleven = (row("A", classified([k / 20 for k in range(n)], 0.9)) for n in (10, 11))
    assert classes.class_words(ten).endswith(", 40.0, 45.0")
    assert classes.class_words(eleven) == "majority 90.0, balanced 50.0, recall by class 0.0 to 50.0"
    lost = row("A", classified([0.5], 0.9, status="failed", by_class=None), classified([0.5], 0.9))
    assert classes.majority_words(lost) == "majority 90.0"
    assert classes.class_words(row("A", classified([0.5], 0.9), classified([0.5], 0.9, by_class=None))) == ""
    assert classes.class_fields(named)["mean_recall_by_class_fraction"] == "0.375 1"
    assert set(classes.class_fields(row("A", classified([0.5], 0.9, by_class=None))).values()) == {None}


def test_an_arm_no_better_than_the_most_frequent_class() -> None:
    runs = (
        classified([0.5], 0.5, 0.25, test_accuracy=0.5), classified([0.5], 0.6, 0.5, test_accuracy=0.5),
        classified([0.5], 0.4, test_accuracy=0.5), classified([0.5], 0.9, test_accuracy=None),
        classified([0.5], 0.5, by_class=None),
    )  # fmt: skip
    (flag,) = classes.class_flags(stand_in(rows=[row("A", *runs), row("B", runs[2])]))
    assert flag.text == (
        "2 of 5 runs of A are no better than always naming the most frequent class (50.0 %): balanced accuracy 37.5 %. Watch "
        "stop.metric: balanced-accuracy instead."
    )


def passed(*entries: tuple[float | None, float | None, float | None], status: str = "ok", **values: Any) -> Any:
    history = [
        stand_in(passes=k, time_s=2.0 * k, val_accuracy=accuracy, joules=joules, flops=flops)
        for k, (accuracy, joules, flops) in enumerate(entries, start=1)
    ]
    return stand_in(history=history, status=status, arm="b", plan={}, **values)


def test_where_a_target_comes_from() -> None:
    runs = [passed((0.5, None, None), (0.8, None, None), (None, None, None)), passed((0.9, None, None), (math.nan, None, None))]
    lost = passed((1.0, None, None), status="failed")
    accuracy, source = targets.target_for("d", [*runs, lost], [], None) or (0.0, "")
    assert accuracy == pytest.approx(0.99 * 0.85)
    assert source == "99 % of b’s mean best validation accuracy"
    assert targets.target_for("d", [lost, passed()], [], None) is None
    planned = [stand_in(plan={"target": value}) for value in (0.5, "x", 1, None)]
    assert targets.target_for("d", runs, planned, None) == (1.0, "the target of the runs")
    assert targets.target_for("d", runs, planned, {"other": 0.3}) == (1.0, "the target of the runs")
    assert targets.target_for("d", runs, planned, {"d": 0.3}) == (0.3, "as asked for")


def test_what_an_arm_spent_up_to_a_target() -> None:
    whole = passed((0.5, 1.0, 10.0), (0.8, 3.0, 30.0), (0.9, 7.0, 70.0))
    early = passed((0.9, 2.0, 20.0))
    never, lost = passed((0.1, 5.0, 50.0)), passed((0.9, 4.0, 40.0), status="failed")
    cut = passed((0.9, 4.0, 40.0), status="interrupted")
    assert targets._reach("a", [whole, early, cut], 0.8) == targets.Reached("a", 2, 2, 1.5, 3.0, 2.5, 25.0)
    made = targets._reach("a", [whole, early, never, lost], 0.8)
    assert (made.n_reached, made.n_runs, made.passes, made.time_s) == (2, 4, math.inf, math.inf)
    assert (made.joules, made.flops) == (math.inf, math.inf)
    bare = passed((0.9, None, None))
    made = targets._reach("a", [whole, bare], 0.8)
    assert (made.passes, made.joules, made.flops) == (1.5, None, None)
    assert targets._reach("a", [passed((0.1, None, None))], 0.8).joules is None
    assert targets._reach("a", [], 0.8) == targets.Reached("a", 0, 0, math.inf, math.inf, None, None)


def test_steps_and_their_orthogonalisation() -> None:
    def arm(mean: float | None = None, schema: int = 2, counted: bool = True, **flops: Any) -> Any:
        values = {"train_step": 7, "orthogonalisation": None, "method": None, **flops}
        run = stand_in(flops=stand_in(**values) if counted else None, memory=stand_in(), schema_version=schema)
        empty = stand_in(flops=None, memory=stand_in(), schema_version=schema)

        class Row(SimpleNamespace):
            def __getitem__(self, quantity: Any) -> Any:
                return None if mean is None else stand_in(mean=mean)

        return Row(label="A", runs=(empty, run))

    assert needs.step_flops(arm(5.0, 1)) == 5.0
    assert needs.step_flops(arm()) is None
    old = arm(schema=1)
    assert needs.step_flops(old) == 7
    assert needs.step_flops(arm(counted=False)) is None
    assert needs.orthogonalisation_share(arm(orthogonalisation=24, method="x; done every 8 steps")) == 3.0
    assert needs.orthogonalisation_share(arm(orthogonalisation=24, method="x")) is None
    assert needs.orthogonalisation_share(arm(method="done every 8 steps")) is None
    assert needs.orthogonalisation_share(arm(counted=False)) is None


def test_a_search_is_named_by_what_tells_it_from_the_others() -> None:
    def named(*given: tuple[int | None, int]) -> list[str]:
        return [facts.search_name(stand_in(searches=dict.fromkeys(given)), search) for search in given]

    assert named((None, 0)) == [""]
    assert named((0, 3), (1, 3)) == [", study 0", ", study 1"]
    assert named((None, 3), (None, 4)) == [", split 3", ", split 4"]
    assert named((2, 3), (1, 4)) == [", study 2, split 3", ", study 1, split 4"]


def test_the_command_that_makes_a_report_again() -> None:
    def again(*asked: tuple[str, float | None], plan: Any = None) -> list[str]:
        tables: Any = [
            stand_in(dataset=name, targets=None if value is None else stand_in(accuracy=value, asked=value != 0.1))
            for name, value in asked
        ]
        records = [stand_in(plan=plan or {}), stand_in(plan={"command": ""}), stand_in(plan=plan or {})]
        return facts.commands(stand_in(records=records, directories=(Path("a b"), Path("/x/y"))), tables)

    base = "bpfree report 'a b' y"
    assert again(("d", None)) == again(("d", 0.1)) == [base]
    assert again(("d", 0.5), plan={"command": "run"}) == ["run", f"{base} --target 0.5"]
    assert again(("d", 0.5), ("d", 0.5)) == [f"{base} --target 0.5"]
    assert again(("d", 0.5), ("e", None)) == [f"{base} --target d=0.5"]
    assert again(("d", 0.5), ("e", 0.25)) == [f"{base} --target d=0.5,e=0.25"]


def test_correct_examples_must_give_the_accuracy_of_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = np.array([True, True, False, False])
    monkeypatch.setattr(family, "_unpacked", lambda run: bits)

    def known(**changes: Any) -> bool:
        values = {"status": "ok", "correct": "x", "n_test": 4, "test_accuracy": 0.5, "replicate": (0, 2)} | changes
        return list(family._correct([stand_in(**values)])) == [2]

    assert known()
    assert known(test_accuracy=0.6)
    assert not known(test_accuracy=0.625)
    assert not known(test_accuracy=0.375)
    assert not any(known(**{name: None}) for name in ("correct", "n_test", "test_accuracy"))
    assert not known(status="failed")
