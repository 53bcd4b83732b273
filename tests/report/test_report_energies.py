"""Estimates compare nothing, and grams of one table are of one grid."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest

from bpfree import report
from bpfree.meter import CarbonFactor
from bpfree.records import Record
from bpfree.report.energies import carbon_words
from bpfree.report.facts import tuned_values
from bpfree.report.material import read_material
from bpfree.report.model import build_tables
from bpfree.report.quantities import CO2E, ENERGY, ENERGY_RATIO, TIME_RATIO
from tests.report.conftest import tuned_entry, with_energy

POLAND = CarbonFactor(662.0, "codecarbon 3 table, POL", 2023, "POL")
FRANCE = CarbonFactor(56.0, "codecarbon 3 table, FRA", 2023, "FRA")
GERMANY = {"g_per_kwh": 381.0, "pue": 1.0, "source": "CodeCarbon 3.0", "year": 2023}

ARMS = ("backprop", "mono-forward")


def estimated(record: Record) -> Record:
    energy = record.energy.model_copy(update={"measured": False, "method": "estimate", "scope": "machine (estimate)"})
    assert record.tuning_energy is not None
    return record.model_copy(
        update={"energy": energy, "tuning_energy": record.tuning_energy.model_copy(update={"method": "estimate"})}
    )


def on(record: Record, factor: CarbonFactor, started_at: str) -> Record:
    """The same run, by another grid."""
    assert record.energy.joules is not None
    raw: dict[str, Any] = with_energy(record.energy.joules, 1.0, factor)
    return Record.model_validate(
        record.model_dump(by_alias=True) | {"co2e_g": raw["co2e_g"], "carbon": raw["carbon"], "started_at": started_at}
    )


@pytest.mark.usefixtures("no_charts")
def test_an_estimate_ranks_compares_and_headlines_nothing(runs):
    """Five times the joules for the same seconds: with a measurement that is said everywhere, with an estimate nowhere."""
    records = runs.grid(arms=ARMS, energy=True)
    dear = [
        r.model_copy(update={"energy": r.energy.model_copy(update={"joules": 5 * (r.energy.joules or 0.0)})})
        if r.arm == "mono-forward" else r
        for r in records
    ]  # fmt: skip
    measured, guessed = runs("measured", dear), runs("guessed", [estimated(record) for record in dear])
    assert "times the energy" in report.summarise([measured])["tables"][0]["answer"]
    summary = report.summarise([guessed])
    assert "times the energy" not in summary["tables"][0]["answer"] and "times the time" in summary["tables"][0]["answer"]
    (table,) = build_tables(read_material([guessed]))
    for row in table.rows:
        assert row[ENERGY] is None and row[ENERGY_RATIO] is None and row[CO2E] is None and row.energy_word == ""
    assert table.rows[1][TIME_RATIO] is not None
    assert table.targets is not None and {reached.joules for reached in table.targets.arms} == {None}
    paths = report.build([guessed])
    (line, *_) = csv.DictReader((paths.directory / "summary.csv").read_text().splitlines())
    assert {value for key, value in line.items() if "energy" in key or "co2e" in key} == {""}


@pytest.mark.usefixtures("no_charts")
def test_an_estimate_is_named_with_its_reason(runs):
    directory = runs(records=[estimated(record) for record in runs.grid(arms=ARMS, seeds=(0, 1, 2), energy=True)])
    summary = report.summarise([directory])
    (flag,) = [flag for flag in summary["flags"] if "estimates" in flag]
    assert "The energies of 6 of 6 runs are estimates, not measurements (" in flag and "No arm is compared by them" in flag
    (reason,) = [entry for entry in summary["not_measured"] if "estimated and not measured" in entry["reason"]]
    assert {"energy", "CO₂e", "energy of the search"} <= set(reason["quantities"].split(", "))


@pytest.mark.usefixtures("no_charts")
@pytest.mark.parametrize("by", ["rapl", "estimate"])
def test_joules_of_a_search_that_were_estimated_are_left_out(runs, by):
    """The row of ``tuned.json`` has them too, and does not say how they were measured; the run itself was measured."""
    (record,) = runs.grid(arms=ARMS[:1], seeds=(0,), energy=True)
    assert record.tuning_energy is not None
    record = record.model_copy(update={"tuning_energy": record.tuning_energy.model_copy(update={"method": by})})
    (table,) = build_tables(material := read_material([runs(records=[record], tuned=[tuned_entry("backprop", energy=True)])]))
    (search,) = tuned_values([table], material)
    assert search.energy == ("250 J" if by == "rapl" else "–")
    assert table.rows[0][ENERGY] is not None


@pytest.mark.usefixtures("no_charts")
def test_estimates_beside_measurements_leave_the_arm_without_energy(runs):
    records = runs.grid(arms=ARMS, energy=True)
    records[1] = estimated(records[1])
    (table,) = build_tables(read_material([runs(records=records)]))
    assert table.rows[0][ENERGY] is not None
    assert table.rows[1][ENERGY] is None and table.rows[1][ENERGY_RATIO] is None


def test_the_records_keep_the_estimate(runs):
    directory = runs(records=[estimated(record) for record in runs.grid(arms=ARMS, seeds=(0,), energy=True)])
    report.summarise([directory])
    lines = (directory / "records.jsonl").read_text().splitlines()
    assert all(json.loads(line)["energy"]["joules"] > 0 for line in lines)


@pytest.mark.usefixtures("no_charts")
def test_grams_of_two_grids_are_computed_by_the_last_one(runs):
    """662 and 56 g/kWh stood in one table, twelve times apart for the same joules."""
    records = [
        on(record, POLAND if record.arm == "backprop" else FRANCE, "2026-01-01" if record.arm == "backprop" else "2026-01-02")
        for record in runs.grid(arms=ARMS, energy=True)
    ]
    directory = runs(records=records)
    material = read_material([directory])
    for record in material.records:
        assert record.energy.joules is not None
        assert record.co2e_g == pytest.approx(record.energy.joules / 3.6e6 * 56.0)
        assert record.carbon.source == FRANCE.source
    summary = report.summarise([directory])
    (flag,) = [flag for flag in summary["flags"] if "carbon factors" in flag]
    both = "(662 g/kWh (codecarbon 3 table, POL, 2023); 56 g/kWh (codecarbon 3 table, FRA, 2023))"
    assert f"The runs were given several carbon factors {both}; all CO₂e is computed again with 56 g/kWh" in flag
    assert "CO₂e is the gross energy × 56 g/kWh (codecarbon 3 table, FRA, 2023)." in summary["conditions"]


@pytest.mark.usefixtures("no_charts")
def test_runs_without_a_grid_get_that_of_the_others(runs):
    records = runs.grid(arms=ARMS, seeds=(0,), energy=True)
    nothing = {"co2e_g": None, "carbon": {"g_per_kwh": None, "pue": 1.0, "source": None, "year": None}}
    reasons = records[0].reasons | {"co2e_g": "no country was given", "carbon": "no country was given"}
    records[0] = Record.model_validate(records[0].model_dump(by_alias=True) | nothing | {"reasons": reasons})
    material = read_material([runs(records=records)])
    first = next(record for record in material.records if record.arm == records[0].arm)
    assert first.energy.joules is not None
    assert first.co2e_g == pytest.approx(first.energy.joules / 3.6e6 * 381.0)
    assert first.carbon.model_dump() == GERMANY and "co2e_g" not in first.reasons


@pytest.mark.usefixtures("no_charts")
def test_the_factor_is_printed_with_one_grid_too_and_nothing_is_flagged(runs):
    directory = runs(records=runs.grid(arms=ARMS, energy=True))
    paths, summary = report.build([directory]), report.summarise([directory])
    words = "CO₂e is the gross energy × 381 g/kWh (CodeCarbon 3.0, 2023)."
    assert words in paths.page.read_text() and words in paths.markdown.read_text()
    assert not [flag for flag in summary["flags"] if "carbon" in flag]


@pytest.mark.parametrize("energy", [True, False])
def test_without_grams_there_is_no_word_of_a_factor(runs, energy):
    records = [
        r.model_copy(update={"co2e_g": None, "reasons": r.reasons | {"co2e_g": "x"}})
        for r in runs.grid(arms=ARMS, seeds=(0,), energy=energy)
    ]
    assert not [line for line in report.summarise([runs(records=records)])["conditions"] if "CO₂e" in line]


def test_a_factor_in_words():
    carbon = read_carbon(g_per_kwh=100.0, pue=1.2, source="given", year=None)
    assert carbon_words(carbon) == "100 g/kWh × 1.2 (PUE) (given)"


def read_carbon(**fields: Any):
    from bpfree.records import Carbon

    return Carbon(**fields)
