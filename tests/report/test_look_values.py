"""How often a table was looked at, and its stamps: borders and orders by value, on stand-ins for runs."""

from __future__ import annotations

from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

import pytest

from bpfree.report import stamps as stamping
from bpfree.report.audit import Flag
from bpfree.report.interim import ALPHA, Looks, looks_of
from bpfree.report.stamps import Stamp, stamps, suite_stamps


def test_the_level_of_a_look() -> None:
    """O'Brien and Fleming: at a share t of the plan 2 (1 - Φ(1.96 / √t)); nothing is left for what is added."""
    assert pytest.approx(0.05) == ALPHA

    def spent(share: float) -> float:
        normal = NormalDist()
        return 2 * (1 - normal.cdf(normal.inv_cdf(0.975) / share**0.5))

    for sizes, n_ended, level in (
        ((5,), 5, 0.05), ((5,), 7, 0.05), ((5,), 2, spent(0.4)), ((5,), 1, spent(0.2)), ((5,), 0, spent(0.2)),
        ((5, 10), 10, 0.0), ((2, 4, 6), 5, 0.0),
    ):  # fmt: skip
        assert Looks(sizes, n_ended).level == pytest.approx(level, rel=1e-6), (sizes, n_ended)


@pytest.mark.parametrize(
    ("sizes", "n_ended", "added", "unfinished"),
    [
        ((5,), 5, False, False), ((5,), 4, False, True), ((5,), 6, False, False), ((5, 6), 4, True, False),
        ((5, 6), 6, True, False),
    ],
)  # fmt: skip
def test_a_look_before_the_end_or_after_more_was_added(
    sizes: tuple[int, ...], n_ended: int, added: bool, unfinished: bool
) -> None:
    looks = Looks(sizes, n_ended)
    assert (looks.added, looks.unfinished, looks.noun) == (added, unfinished, "seed")


def run(number: int, plan: Any, hour: int = 0, status: str = "ok", study: int | None = None) -> Any:
    key = "seeds" if study is None else "studies"
    started_at = f"2026-01-01T{hour:02}"
    return SimpleNamespace(study=study, plan={key: plan}, started_at=started_at, status=status, replicate=(3, number))


@pytest.mark.parametrize(
    ("plans", "sizes"),
    [
        ([([2, 1, 0], 0), ([1, 0, 2], 1)], (3,)),
        ([([0, 1], 0), ([0, 1, 2, 3], 1)], (2, 4)),
        ([([0, 1, 2, 3], 0), ([0, 1], 1)], (4,)),
        ([([0, 1], 1), ([0, 1, 2, 3], 0)], (4,)),
        ([([0, 1], 0), ([2, 3], 1)], (2, 4)),
        ([([0, 1], 0), ([2, 3], 1), ([0, 3], 2), ([4], 3)], (2, 4, 5)),
        ([([0, 1, 2], 0), ([0, 1], 0)], (2, 3)),  # begun in one second
        ([([0, 1], 0), ([0, 1, 2], 1), ([0, 1], 2)], (2, 3)),  # resumed after the second plan began
        ([([0, 1], 2), ([0, 1, 2], 1), ([0, 1], 0)], (2, 3)),
        ([(None, 0), ([0, 1, 2], 1)], (3,)),
        ([(None, 0)], (1,)), ([([], 0)], (1,)), ([("abc", 0)], (1,)),
    ],
)  # fmt: skip
def test_the_plans_of_a_table_in_the_order_in_which_they_began(plans: list[tuple[Any, int]], sizes: tuple[int, ...]) -> None:
    assert looks_of({"a": [run(0, plan, hour) for plan, hour in plans]}) == Looks(sizes, 1)


def test_what_has_ended_in_every_arm() -> None:
    plan = [0, 1, 2]
    whole = [run(k, plan) for k in plan]
    cut = [run(0, plan), run(0, plan), run(1, plan, status="failed"), run(2, plan, status="interrupted")]
    assert looks_of({"a": whole, "b": cut}) == looks_of({"b": cut, "a": whole}) == Looks((3,), 2)
    assert looks_of({"a": whole}) == Looks((3,), 3)
    assert looks_of({"a": [run(0, None, status="interrupted")]}) == Looks((1,), 0)
    assert looks_of({"a": [run(0, None), run(1, None)]}) == Looks((2,), 2)
    assert looks_of({"a": [run(4, [4, 5], study=4)]}) == Looks((2,), 1, "study")
    assert looks_of({"a": [run(4, [4, 5])]}) == Looks((2,), 1)


def ended(*reasons: str, status: str = "ok") -> Any:
    return SimpleNamespace(stops=[SimpleNamespace(reason=reason) for reason in reasons], status=status)


def table(n: int, *arms: list[Any], noun: str = "seed") -> Any:
    rows = [SimpleNamespace(runs=runs) for runs in arms]
    return SimpleNamespace(numbers=list(range(n)), noun=noun, rows=rows, runs=[each for runs in arms for each in runs])


def material(name: str = "r", given: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(ruleset=SimpleNamespace(stamps=given, name=name))


def test_stamps_of_a_report_the_gravest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamping, "standing", lambda material: "a look")
    monkeypatch.setattr(stamping, "CHANGED", "+")
    tables = [
        table(5, [ended("cap"), ended("patience", "cap")], [ended("hours"), ended("cap", status="failed")]),
        table(4, [ended("cap", "hours")], [ended("patience"), ended("cap")], noun="study"),
    ]
    raised = [
        Flag("short-trials", "x"), Flag("lost-runs", "x"), Flag("ended-at-the-cap", "x"), Flag("lost-runs", "y"),
        Flag("unequal-search", "x"), Flag("unequal-stopping", "x"), Flag("copied-hyper-parameters", "x"), Flag("same-seed", "x"),
        Flag("added-seeds", "x"),
    ]  # fmt: skip
    assert stamps(tables, material("r+", ("SCALED",)), raised) == [
        Stamp("SCALED", True), Stamp("A LOOK, NOT A CLAIM", True), Stamp("FEW STUDIES: 4", True), Stamp("LOST RUNS", True),
        Stamp("UNEQUAL SEARCH", True), Stamp("UNEQUAL STOPPING", True), Stamp("COPIED HYPER PARAMETERS", True),
        Stamp("SAME SEED", True), Stamp("ADDED SEEDS", True),
        Stamp("CHANGED RULES", False), Stamp("CAP REACHED: 3 OF 7 RUNS", False), Stamp("CUT BY THE CLOCK: 2 OF 7 RUNS", False),
        Stamp("SHORT TRIALS", False),
    ]  # fmt: skip


def test_nothing_to_know_has_no_stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamping, "standing", lambda material: "")
    assert stamps([table(5, [ended("patience")])], material("r"), []) == []
    assert stamps([table(1, [ended("patience")])], material("r"), []) == [Stamp("FEW SEEDS: 1", True)]


def test_stamps_of_a_suite_and_no_flag_twice() -> None:
    raised = [Flag("scaled", "x"), Flag("few-seeds", "x"), Flag("few-seeds", "y"), Flag("lost-runs", "x")]
    assert suite_stamps(["SCALED"], raised) == [Stamp("SCALED", True), Stamp("FEW SEEDS"), Stamp("LOST RUNS", True)]
    assert Stamp("x") == Stamp("x", False)
