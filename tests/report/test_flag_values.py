"""Flags, facts and answers of a report, on stand-ins for tables and records: whole texts, at the borders where they change."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from bpfree import stats
from bpfree.published import SPREAD_SDS, Number
from bpfree.report import beside, facts, flags, identity_flags, words
from bpfree.report.audit import Flag
from bpfree.report.model import SeedMean


def stand_in(**values: Any) -> Any:
    return SimpleNamespace(**values)


def row(label: str, *runs: Any, **values: Any) -> Any:
    return stand_in(label=label, arm=label.lower(), runs=list(runs), **values)


def run(seed: int = 0, **changes: Any) -> Any:
    values = {
        "seed": seed, "arm": "a", "study": None, "replicate": (0, seed), "params": {}, "tier": "eager", "parallel": None,
        "algorithm": "backprop", "tuning_energy": None, "plan": {}, "status": "ok", "reasons": {}, "entry": None,
    }  # fmt: skip
    return stand_in(**values | changes)


def unequal(*rows: Any) -> list[str]:
    table = stand_in(rows=list(rows), runs=[each for of_row in rows for each in of_row.runs], baseline_label=rows[0].label)
    return [str(flag) for flag in flags._unequal(table, stand_in(tuned_entry=lambda each: each.entry))]


def test_arms_that_are_unequal() -> None:
    assert unequal(row("A", run(), run(1)), row("B", run(algorithm="b"), run(1))) == []
    assert unequal(row("A", run(algorithm="b")), row("B", run())) == ["There is no backprop arm; differences are to A."]
    assert unequal(row("A", run(0, params={"x": 1}), run(1, params={"x": 2}))) == [
        "The runs of A have different hyper-parameters."
    ]
    assert unequal(row("A", run(0, params={"x": 1}, study=0), run(1, params={"x": 2}, study=1))) == []
    assert unequal(row("A", run(1), run(0)), row("B", run(0), run(1))) == []
    assert unequal(row("A", run(0), run(1)), row("B", run(0))) == [
        "The arms have different seeds (A seeds 0 and 1; B seed 0); a difference uses those that both arms have."
    ]
    assert unequal(row("A", run(tier="x")), row("B", run(tier="x", parallel="2 threads"))) == [
        "The arms were executed in different ways (x, x in 2 threads); times and energies differ by that too."
    ]


def test_searches_that_are_unequal() -> None:
    def cost(trials: int) -> Any:
        return stand_in(trials=trials)

    two = (row("A", run(tuning_energy=cost(3)), run(1, tuning_energy=cost(8))), row("B", run(tuning_energy=cost(8)), run(1)))
    assert unequal(*two) == []
    two[1].runs[0] = run(tuning_energy=cost(4))
    assert unequal(*two) == ["UNEQUAL SEARCH: the arms had different numbers of trials (A 8, B 4)."]
    entries = ({"passes_per_trial": 3, "examples_per_trial": 5}, {"passes_per_trial": 4, "examples_per_trial": 5}, None)
    rows = [row(name, run(entry=entry)) for name, entry in zip("ABC", entries, strict=True)]
    assert unequal(*rows) == ["UNEQUAL SEARCH: a trial had different numbers of passes (A 3, B 4)."]
    entries[1].update({"passes_per_trial": 3, "examples_per_trial": 6})
    assert unequal(*rows) == ["UNEQUAL SEARCH: a trial had different numbers of training examples (A 5, B 6)."]


def test_lost_and_missing_runs() -> None:
    plan = {"arms": ["a", "b"], "seeds": [0, 1]}
    lost = [
        run(0, status="diverged", reasons={"status": "x"}), run(1, status="diverged", reasons={}),
        run(2, status="diverged", reasons={"status": "y"}), run(3, status="diverged", reasons={"status": "z"}),
    ]  # fmt: skip
    one = row("A", run(4, plan=plan), *lost, run(5, status="interrupted"), statuses={"ok": 1, "diverged": 4, "interrupted": 1})
    two = row("B", run(0, arm="b", status="failed"), statuses={"failed": 1})
    table = stand_in(rows=[one, two], runs=[*one.runs, *two.runs])
    assert [str(flag) for flag in flags._lost(table)] == [
        "4 of 6 runs of A diverged (x; y), which counts against this arm.",
        "1 of 6 runs of A interrupted; the same command runs them again.",
        "1 of 1 runs of B failed, which counts against this arm.",
        "1 of 4 planned runs are missing; the same command resumes with them.",
    ]
    assert list(flags._planned({"arms": ["a"], "studies": [3], "seeds": [0, 1]})) == [("a", 3)]
    assert list(flags._planned({"arms": ["a"], "seeds": 3})) == list(flags._planned({"arms": "a", "seeds": [3]})) == []


def test_energies_that_are_estimated_or_of_several_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "carbon_words", str)
    monkeypatch.setattr(flags, "format_energy", lambda joules: f"{joules:g} J")
    records = [stand_in(carbon="none", co2e_g=None), stand_in(carbon="used", co2e_g=0.0)]

    def told(estimated: tuple[float, ...], factors: tuple[str, ...]) -> list[str]:
        return [str(flag) for flag in flags._energies(stand_in(estimated=estimated, factors=factors, records=records))]

    assert told((), ("f",)) == told((), ()) == []
    estimate, grids = told((5.0, 2.0), ("f", "g"))
    assert estimate.startswith("The energies of 2 of 2 runs are estimates, not measurements (2 J to 5 J): processor seconds")
    assert grids == "The runs were given several carbon factors (f; g); all CO₂e is computed again with used."
    energies = [(None, False), (1.0, False), (2.0, True), (0.0, False)]
    runs = [stand_in(energy=stand_in(joules=joules, resolved=resolved)) for joules, resolved in energies]
    (flag,) = flags._measured(stand_in(runs=runs))
    assert flag.text == "in 2 of 3 runs the window was too short for the energy counter."
    assert list(flags._measured(stand_in(runs=runs[:1] + runs[2:3]))) == []


def test_facts_of_machines_that_differ() -> None:
    described = [{"a_b": "1", "c": "x"}, {"a_b": "2", "c": "x", "d": "y"}]
    assert identity_flags._differences([*described]) == ["a b 1 and 2", "d none and y"]
    assert identity_flags._differences([described[0], None]) == ["not all of them are described"]
    assert identity_flags._differences([described[0]]) == []
    environment = {"cores": 2, "versions": {"torch": "2", "bpfree": "1", "numpy": "3"}}
    assert identity_flags._facts(environment) == {"cores": "2", "numpy": "3"}
    assert identity_flags._facts({"cores": 2, "versions": None}) == identity_flags._facts({"cores": 2}) == {"cores": "2"}
    assert identity_flags._facts(None) is None
    assert identity_flags._rounding([{"gpu": "g"}, {"c": "x"}]) != ""
    assert identity_flags._rounding([{"blas": "x", "c": "1"}, {"c": "2"}, None]) == ""
    assert identity_flags._rounding([{"blas": "x"}, {"blas": "y"}]) != ""


def test_reasons_once_with_what_they_hold_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "lacking", lambda each: each.lacking)

    def tables(**changes: Any) -> Any:
        one = run(
            reasons={"energy": "no meter", "energy.method": "no meter", "compile_time_s": "eager"}, lacking={"steps": "old"}
        )
        two = run(
            reasons={"energy": "no meter", "co2e_g": "no meter", "own_field.x": "y", "time_to_target_s": "t"},
            lacking={"steps": "old"},
        )
        return [stand_in(**{"rows": [row("B", one), row("A", two)], "targets": None} | changes)]

    told = [(each.quantities, each.reason, each.arms) for each in facts.missing(tables())]
    assert told == [
        ("steps", "old", ""), ("energy", "no meter", ""), ("CO₂e", "no meter", "A"), ("own field: x", "y", "A"),
        ("time to a target accuracy", "t", "A"),
    ]  # fmt: skip
    assert facts.missing(tables(targets="some"))[-1].reason == "y"


def test_how_runs_were_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "format_time", lambda time_s: f"{time_s:g} s")

    def one(**changes: Any) -> Any:
        values = {"tier": "eager", "compile_time_s": None, "parallel": None, "maths": "closed", "environment_digest": "d" * 20}
        return stand_in(**values | {"versions": {"v": "1"}} | changes)

    compiled = [one(tier="t", compile_time_s=time_s) for time_s in (2.0, 3.0, None)]
    assert (
        facts._executed(compiled[2], [*compiled, one()])
        == "t (compiled before the window, in up to 3 s for a run), closed gradients"
    )
    assert facts._executed(one(parallel="2 threads"), compiled) == "eager (2 threads), closed gradients"
    records = [one(), one(), one(environment_digest="e", parallel="p")]
    told = facts.environments(stand_in(records=records, environments={"e": {"cores": 2}}))
    assert [(machine.heading, machine.facts) for machine in told] == [
        (
            "Machine 1: 2 runs",
            (
                ("environment", f"not described (digest {'d' * 16})"),
                ("versions", "v 1"),
                ("execution", "eager, closed gradients"),
            ),
        ),
        ("Machine 2: 1 runs", (("cores", "2"), ("execution", "eager (p), closed gradients"))),
    ]
    assert facts.environments(stand_in(records=records[:1], environments={}))[0].heading == "This machine: 1 runs"
    assert [facts._fact(value) for value in (True, False, None, [], [1, None], "x", 0)] == [
        "yes",
        "no",
        "none",
        "none",
        "1, none",
        "x",
        "0",
    ]


def test_what_a_search_chose_and_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "format_time", lambda time_s: f"{time_s} s")
    monkeypatch.setattr(facts, "format_energy", lambda joules: f"{joules} J")
    cost = stand_in(trials=3, passes=9, time_s=5, joules=7)

    def tuned(entry: Any, cost: Any = cost) -> Any:
        one = run(params={"lr": 0.12345, "m": 2}, tuning_energy=cost)
        return facts._tuned(stand_in(task_text="T"), "L", one, stand_in(tuned_entry=lambda each: entry))

    plain = tuple(facts.TunedValue(name, value, "", False) for name, value in (("lr", "0.123"), ("m", "2")))
    assert tuned(None) == facts.TunedArm("T", "L", plain, "", "–", "3 trials, 9 passes", "5 s", "7 J")
    assert tuned(None, None) == facts.TunedArm("T", "L", plain, "", "–", "–", "None s", "None J")
    entry = {
        "best": {"lr": 0.5, "k": math.inf}, "space": {"lr": "0.1 to 0.5"}, "at_edge": ["lr"], "best_val_accuracy": 0.75,
        "trials": 4, "passes_per_trial": 2, "diverged_trials": 1, "trials_at_once": 2, "compile_time_s": 6, "time_s": 8,
        "joules": 9,
    }  # fmt: skip
    values = (facts.TunedValue("lr", "0.5", "0.1 to 0.5", True), facts.TunedValue("k", "inf", "", False))
    made = tuned(entry)
    assert (made.values, made.fixed, made.accuracy, made.trials) == (values, "m = 2", "75.00", "4 × 2, 1 diverged")
    assert (made.time, made.energy) == ("8 s in all, 2 trials at once, and 6 s to compile", "9 J")
    bare = tuned({"trials_at_once": 1, "time_s": 8, "joules": 9}, stand_in(joules=None))
    assert (bare.values, bare.fixed, bare.accuracy, bare.trials) == ((), "lr = 0.123, m = 2", "–", "– × –")
    assert (bare.time, bare.energy) == ("8 s", "–")
    assert tuned({"joules": 9}, None).energy == "9 J"


@pytest.mark.parametrize(("n_runs", "count"), [("5", 5), ("20+", 20), ("1", 1), ("0", None), ("", None), ("some", None)])
def test_the_number_of_published_runs(n_runs: str, count: int | None) -> None:
    number = Number(table="t", dataset="d", net="n", algorithm="a", second_hand=False, source="s", n_runs=n_runs)
    assert beside._count(number) == count


def test_the_published_sample() -> None:
    def number(**values: Any) -> Number:
        return Number(
            **({"table": "t", "dataset": "d", "net": "n", "algorithm": "a", "second_hand": False, "source": "s"} | values)
        )

    def compared(of: Number, working: Any = (0.25, 0.75)) -> Any:
        runs = [run(k, test_accuracy=0.5 + k / 4, split_seed=0) for k in (0, 1)]
        pair = None if working is None else stand_in(accuracy=stand_in(paired=stand_in(working=working)))
        return beside._compared(of, stand_in(), stand_in(runs=runs, compared=pair))

    of_five = stats.Summary(mean=0.5, sd=0.25 / SPREAD_SDS, n=5)
    assert compared(number(accuracy=0.5, spread=(0.25, 0.75), n_runs="5")) == (stats.summary([0.5, 0.75]), of_five)
    assert compared(number(accuracy=0.5, difference=0.1)) == (
        stats.summary([0.5, 0.75]),
        stats.Summary(mean=0.5, sd=None, n=None),
    )
    interval = {"difference": 0.1, "difference_interval": (0.0, 0.2), "n_runs": "4"}
    mine, theirs = compared(number(**interval))
    assert (mine, theirs.mean, theirs.n) == (stats.summary([0.25, 0.75]), 0.1, 4)
    assert theirs.sd == pytest.approx(0.1 * 2 / 3.182446)  # half = t s / √n, t(0.975, 3) = 3.1824
    for runs in ("1", ""):
        assert compared(number(**interval | {"n_runs": runs}))[1].sd is None
    assert compared(number(**interval | {"n_runs": "2"}))[1].sd == pytest.approx(0.1 * 2**0.5 / 12.7062, rel=1e-5)
    assert compared(number(**interval | {"difference_interval": None}))[1].sd is None
    assert compared(number(**interval), None) is compared(number()) is compared(number(**interval), ()) is None


def test_the_answer_of_a_suite() -> None:
    def told(*given: tuple[bool, str], **changes: Any) -> str:
        rows: Any = [stand_in(measured="m" if measured else None, word=word) for measured, word in given]
        return beside.answer_of(beside.SuiteFacts(name="S", title="T", paper="P", **changes), rows)

    three = ((True, "agrees"), (True, "differs"), (True, "differs"), (False, "not run"))
    assert told(*three) == told(*three, n_suite_rows=4) == "3 of 4 published rows of S were run: 2 differs; 1 agrees."
    assert told((False, "x"), n_suite_rows=2) == "0 of 1 published rows of S (of 2, the others were not asked for) were run."
    assert told((True, "x"), scale=0.25).startswith("1 of 1 published rows of S were run, SCALED to 25 % of examples")


def answered(*arms: tuple[str, float | None], raised: tuple[Flag, ...] = (), **changes: Any) -> words.Answer:
    """Arms with a mean, the baseline first."""

    class Row(SimpleNamespace):
        def __getitem__(self, quantity: Any) -> Any:
            return None if self.mean is None or quantity is not words.ACCURACY else SeedMean(self.mean, None, None, 1)

    rows = [
        Row(
            label=label,
            mean=mean,
            verdict=stand_in(text="w"),
            n_bad=0,
            control=False,
            time_word="",
            energy_word="",
            difference_text=lambda: "",
        )
        for label, mean in arms
    ]
    table = stand_in(
        rows=rows,
        rivals=rows[1:],
        dataset="d",
        net="n",
        task_text="d, n",
        baseline_label=arms[0][0],
        above_controls=(),
        **changes,
    )
    rules = stand_in(comparable=True, exceptions=(), name="R")
    return words.answer(table, stand_in(ruleset=rules), raised)


def test_the_answer_of_a_table() -> None:
    assert answered(("A", None), ("B", 0.5), ("C", None)) == words.Answer(
        "At equal rules on d with n, no run of A finished, so nothing can be compared with it.", "B 50.0 %",
        "d, n: no run of A finished, so nothing can be compared.",
    )  # fmt: skip
    assert answered(("A", 0.5)).text == "At equal rules on d with n, A reached 50.0 % test accuracy."
    end = "no run finished."
    assert answered(("A", 0.5), ("B", None)).text.endswith(f"accuracy; of the other arm, {end}")
    assert answered(("A", 0.5), ("B", None), ("C", None)).short.endswith(f"accuracy; of the other arms, {end}")
    flag = Flag("x", "t", "other task")
    best = answered(("A", 0.5), ("B", 0.25), ("C", 0.75), ("D", None), raised=(flag,))
    assert best.text == (
        "At equal rules on d with n, C, chosen from 2 arms by its test mean, reached 75.0 % test accuracy against A’s 50.0 % (w)."
    )
    assert best.more == "The other arms: B 25.0 % (w); D –, no run finished."
    for task in ("", "d, n"):
        assert answered(("A", 0.5), ("B", 0.25), raised=(Flag("x-y", "t", task),)).text.startswith(
            "Under ruleset R, with flags (x y), on d"
        )
    assert answered(("A", 0.5), ("B", 0.25)).text.startswith("At equal rules on d with n, B reached 25.0 %")


def test_nets_of_which_most_units_say_nothing() -> None:
    shares = (([0.1, 0.5], []), ([0.6, 0.2], [0.51]), ([0.3, 0.75], [0.5]), ([], [0.2]))
    runs = [stand_in(health=stand_in(dead_units=dead, tied_scores=tied)) for dead, tied in shares]
    assert [(flag.key, flag.text) for flag in flags._unhealthy(stand_in(rows=[row("A", *runs), row("B", runs[0])]))] == [
        ("dead-units", "in 2 of 4 runs of A more than half of the units of a block are dead or saturated (up to 75 %)."),
        ("tied-scores", "in 1 of 4 runs of A more than half of the examples have tied scores (up to 51 %)."),
    ]
