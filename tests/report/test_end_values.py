"""How phases of old records ended, and energies without estimates on one grid: whole values."""

from __future__ import annotations

from typing import Any

import pytest

from bpfree.records import Carbon
from bpfree.report.energies import ESTIMATED, carbon_words, factors_of, is_estimated, on_one_grid, without_estimate
from bpfree.report.phase_ends import with_ends
from tests.report.conftest import make_record
from tests.report.test_report_stopping import DFA, RISING, RULES, audited


def ends(run: Any, rules: Any = RULES) -> list[tuple[int, str, int]]:
    replayed = with_ends(run.model_copy(update={"stops": []}), rules).stops
    return [(end.phase, end.reason, end.passes) for end in replayed]


def test_the_ends_of_phases_are_replayed(runs: Any) -> None:
    """Eight passes are for both phases; three without improvement end a phase."""
    assert ends(audited(runs, RISING)) == [(0, "cap", 8)]
    assert ends(audited(runs, [0.5, 0.4, 0.4, 0.4])) == [(0, "patience", 4)]
    assert ends(audited(runs, [0.5, 0.4, 0.4, 0.4], RISING[:4])) == [(0, "patience", 4), (1, "cap", 4)]
    assert ends(audited(runs, RISING[:2], RISING[:5], limits={"a": 2, "b": None})) == [(0, "itself", 2)]
    assert ends(audited(runs, RISING[:2], RISING[:5], limits={"a": None, "b": 5})) == [(1, "itself", 5)]
    kept = audited(runs, RISING)
    assert with_ends(kept, RULES) is kept
    exception = {"arms": [DFA], "why": "a test", "phases": ["b"], "field": "stop.patience", "value": 1}
    rules = RULES.with_changes(exceptions=[exception])
    for limits, told in (({"a": None, "b": None}, [(1, "patience", 2)]), ({"a": None}, [])):
        assert ends(audited(runs, [0.5], [0.5, 0.4], arm=DFA, limits=limits), rules) == told


def test_the_last_pass_says_whether_a_run_diverged_or_was_out_of_time(runs: Any) -> None:
    run = audited(runs, RISING[:3])

    def of(**last: Any) -> list[tuple[int, str, int]]:
        history = [entry.model_copy(update={"time_s": 1.0}) for entry in run.history]
        history[-1] = history[-1].model_copy(update=last)
        return ends(run.model_copy(update={"history": history}), RULES.with_changes(max_hours=1.0))

    assert of() == []
    assert of(train_loss=None) == [(0, "diverged", 3)]
    assert of(time_s=3600.0) == [(0, "hours", 3)]
    assert of(time_s=3599.0) == []


def metered(joules: float | None, minute: int = 0, **carbon: Any) -> Any:
    run = make_record("backprop", minute, energy=True)
    given = Carbon.model_validate({"g_per_kwh": 360.0, "pue": 1.0, "source": "s", "year": 2025} | carbon)
    energy = run.energy.model_copy(update={"joules": joules, "net_joules": joules})
    grams = None if joules is None else 1.0
    return run.model_copy(
        update={"energy": energy, "carbon": given, "co2e_g": grams, "started_at": f"2026-01-01T00:{minute:02}", "reasons": {}}
    )


def test_grams_of_one_grid_are_those_of_the_last_factor_given() -> None:
    """3.6 MJ are a kilowatt-hour."""
    first, last = metered(7.2e6, 1), metered(3.6e6, 5, g_per_kwh=500.0, pue=1.5, year=None)
    none, middle = metered(None, 9, g_per_kwh=1.0), metered(3.6e6, 3, g_per_kwh=100.0)
    first = first.model_copy(update={"reasons": {"co2e_g": "x", "carbon.year": "x", "study": "y"}})
    assert factors_of([last, first, none, middle, first]) == [first.carbon, middle.carbon, last.carbon]
    made = on_one_grid([last, first, none, middle])
    assert [run.co2e_g for run in made] == [1.0, 1500.0, None, 750.0]
    assert [run.carbon for run in made] == [last.carbon, last.carbon, none.carbon, last.carbon]
    assert made[1].reasons == {"study": "y", "carbon.year": "the factor was given by hand"}
    assert on_one_grid([none]) == [none]
    dated = metered(3.6e6, 7, g_per_kwh=200.0)
    assert on_one_grid([first, dated])[0].reasons == {"study": "y"}
    assert on_one_grid([metered(3.6e6, 1), metered(3.6e6, 2, pue=2.0)])[0].co2e_g == 720.0


@pytest.mark.parametrize(
    ("carbon", "words"),
    [
        ({}, "360 g/kWh (s, 2025)"), ({"pue": 1.5}, "360 g/kWh × 1.5 (PUE) (s, 2025)"), ({"year": None}, "360 g/kWh (s)"),
        ({"source": None, "year": None, "g_per_kwh": 0.123456}, "0.123 g/kWh"),
    ],
)  # fmt: skip
def test_a_carbon_factor_in_words(carbon: dict[str, Any], words: str) -> None:
    assert carbon_words(metered(1.0, **carbon).carbon) == words


def test_energies_without_estimates() -> None:
    run = make_record("backprop", 0, energy=True)
    assert not is_estimated(run)
    assert without_estimate(run) == run
    guess = run.model_copy(update={"energy": run.energy.model_copy(update={"measured": False})})
    assert is_estimated(guess)
    bare = without_estimate(guess)
    assert (bare.energy.joules, bare.energy.net_joules, bare.energy.measured, bare.energy.resolved) == (None, None, False, False)
    assert (bare.co2e_g, bare.energy_to_target_j, {entry.joules for entry in bare.history}) == (None, None, {None})
    assert bare.tuning_energy is not None
    assert bare.tuning_energy.joules is None
    keys = ("energy", "co2e_g", "energy_to_target_j", "tuning_energy.joules")
    assert bare.reasons == run.reasons | dict.fromkeys(keys, ESTIMATED)
    nothing = guess.model_copy(update={"energy": guess.energy.model_copy(update={"joules": None})})
    assert not is_estimated(nothing)
    assert run.tuning_energy is not None
    search = run.model_copy(update={"tuning_energy": run.tuning_energy.model_copy(update={"method": "an estimate"})})
    made = without_estimate(search)
    assert made.tuning_energy is not None
    assert (made.energy, made.tuning_energy.joules) == (run.energy, None)
    assert made.reasons == run.reasons | {"tuning_energy.joules": ESTIMATED}
