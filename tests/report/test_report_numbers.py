"""The numbers of a table: paired by seed, null never 0, lost runs against the arm."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest

from bpfree import report, stats
from bpfree.records import Record
from bpfree.report.material import read_material
from bpfree.report.model import build_tables
from bpfree.report.quantities import ACCURACY, CO2E, DIFFERENCE, ENERGY, ENERGY_RATIO, NET_ENERGY, TIME, signed


def rows_of(runs, records, **options):
    table = build_tables(read_material([runs(records=records, **options)]))[0]
    return {row.arm: row for row in table.rows}


def with_accuracy(records, arm, values):
    """Replace the test accuracies of one arm by seed."""
    return [
        record.model_copy(update={"test_accuracy": values[record.seed]}) if record.arm == arm else record for record in records
    ]


def test_differences_are_paired_by_seed(runs):
    base, gain = [0.90, 0.95, 0.92, 0.97, 0.91], [0.011, 0.012, 0.010, 0.013, 0.009]
    records = with_accuracy(runs.grid(), "backprop", base)
    records = with_accuracy(records, "mono-forward", [b + g for b, g in zip(base, gain, strict=True)])
    # The order of the records must not matter.
    row = rows_of(runs, list(reversed(records)))["mono-forward"]
    expected = stats.mean_interval(gain)
    assert row[DIFFERENCE].mean == pytest.approx(expected.mean)
    assert (row[DIFFERENCE].low, row[DIFFERENCE].high) == pytest.approx((expected.low, expected.high))
    assert row.verdict.text == "ahead in this search"
    # Unpaired, the spread over seeds would hide it.
    assert stats.welch([b + g for b, g in zip(base, gain, strict=True)], base).interval.low < 0


def test_only_common_seeds_are_compared_and_it_is_said(runs):
    records = [record for record in runs.grid() if record.arm != "mono-forward" or record.seed < 3]
    rows = rows_of(runs, records)
    assert rows["mono-forward"][DIFFERENCE].n == 3
    assert rows["backprop"][ACCURACY].n == 5
    flags = report.summarise([runs.root / "run"])["flags"]
    assert any("different seeds" in flag for flag in flags)
    assert any("2 of 20 planned runs are missing" in flag for flag in flags)


def test_means_and_intervals_are_those_of_the_statistics(runs):
    records = runs.grid()
    row = rows_of(runs, records)["backprop"]
    expected = stats.mean_interval([r.test_accuracy for r in records if r.arm == "backprop"])
    assert (row[ACCURACY].mean, row[ACCURACY].low, row[ACCURACY].high) == (expected.mean, expected.low, expected.high)


def test_backprop_is_the_baseline_and_comes_first(runs):
    records = runs.grid(arms=("mono-forward", "forward-forward", "backprop"))
    assert list(rows_of(runs, records)) == ["backprop", "mono-forward", "forward-forward"]


def test_without_backprop_the_first_arm_is_the_baseline_and_it_is_said(runs):
    summary = report.summarise([runs(records=runs.grid(arms=("mono-forward", "forward-forward")))])
    assert summary["tables"][0]["baseline"] == "mono-forward"
    assert any("no backprop arm" in flag for flag in summary["flags"])


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_lost_runs_count_against_the_arm(runs, status):
    records = with_accuracy(runs.grid(), "mono-forward", [0.999] * 5)
    records = [
        runs.record("mono-forward", 2, status=status) if (record.arm, record.seed) == ("mono-forward", 2) else record
        for record in records
        for record in records
    ]
    row = rows_of(runs, records)["mono-forward"]
    assert row[ACCURACY].n == 4
    assert row.verdict.text == f"unreliable: 1 of 5 runs {status}"
    summary = report.summarise([runs.root / "run"])
    assert any(f"1 of 5 runs of mono-forward {status}" in flag for flag in summary["flags"])
    assert "mono-forward reached" not in summary["tables"][0]["answer"]


def test_an_arm_that_lost_every_run(runs):
    records = [runs.record("mono-forward", r.seed, status="diverged") if r.arm == "mono-forward" else r for r in runs.grid()]
    row = rows_of(runs, records)["mono-forward"]
    assert (row[ACCURACY], row[DIFFERENCE], row[TIME], row.verdict.text) == (None, None, None, "no run finished")
    assert report.build([runs.root / "run"]).page.exists()


@pytest.mark.parametrize("lost", ["backprop", None])
def test_the_page_is_made_when_the_baseline_or_everything_is_lost(runs, lost):
    records = [runs.record(r.arm, r.seed, status="failed") if lost in (None, r.arm) else r for r in runs.grid()]
    page = report.build([runs(records=records)]).page.read_text()
    assert "no run of backprop finished" in page


def test_one_seed_has_no_interval_and_says_why(runs):
    row = rows_of(runs, runs.grid(seeds=(0,)))["mono-forward"]
    assert (row[ACCURACY].low, row[DIFFERENCE].low) == (None, None)
    page = report.build([runs.root / "run"]).page.read_text()
    assert "one seed, no interval" in page
    assert "±</" not in page


@pytest.mark.usefixtures("no_charts")
def test_not_measured_is_never_zero(runs):
    directory = runs()
    table = build_tables(read_material([directory]))[0]
    for row in table.rows:
        assert (row[ENERGY], row[NET_ENERGY], row[CO2E], row[ENERGY_RATIO]) == (None, None, None, None)
    fields = csv_rows(directory)
    assert {row[key] for row in fields for key in row if "energy" in key or "co2e" in key} == {""}
    markdown = report.build([directory]).markdown.read_text()
    assert "| Energy, gross / net |" not in markdown
    assert "Not measured for any arm, with the reasons below: Energy, gross / net; CO₂e" in markdown
    assert "0 J" not in markdown


def test_a_quantity_that_some_runs_lack_has_no_mean(runs):
    records = runs.grid(energy=True)
    records[0] = runs.record("backprop", 0)  # without energy
    rows = rows_of(runs, records)
    assert rows["backprop"][ENERGY] is None
    assert rows["mono-forward"][ENERGY] is not None
    assert rows["mono-forward"][ENERGY_RATIO] is None


def test_nan_is_not_a_number(runs):
    records = runs.grid()
    records[0] = records[0].model_copy(update={"test_accuracy": float("nan")})
    row = rows_of(runs, records)["backprop"]
    assert row[ACCURACY] is None
    page = report.build([runs.root / "run"]).page.read_text()
    shown = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"\bnan\b", shown, re.IGNORECASE)


@pytest.mark.usefixtures("no_charts")
def test_csv_has_units_and_parses(runs):
    rows = csv_rows(runs(records=runs.grid(energy=True)))
    assert rows[0]["arm"] == "backprop"
    units = ("_fraction", "_count", "_s", "_ratio", "_j", "_g", "_flops", "_bytes")
    words = ("dataset", "net", "arm", "baseline", "verdict", "stamps")
    assert all(key.endswith(units) or key in words or key.startswith("n_") for key in rows[0])
    assert float(rows[1]["mean_energy_j"]) > float(rows[1]["mean_net_energy_j"]) > 0
    assert np.isclose(
        float(rows[1]["mean_difference_fraction"]),
        float(rows[1]["mean_test_accuracy_fraction"]) - float(rows[0]["mean_test_accuracy_fraction"]),
    )


def csv_rows(directory):
    return list(csv.DictReader(io.StringIO(report.build([directory]).csv.read_text())))


@pytest.mark.parametrize(("value", "text"), [(0.5, "+0.50"), (-0.5, "−0.50"), (-0.001, "0.00"), (0.0, "0.00")])
def test_signed(value, text):
    assert signed(value) == text


def test_labels_are_the_arms_where_variants_do_not_tell_them_apart(runs):
    arms = ("backprop", "mono-forward:readout=sum", "mono-forward:readout=last")
    records = [
        runs.record(arm, seed, arms=arms, algorithm=arm.partition(":")[0], variant="") for seed in range(2) for arm in arms
    ]
    assert [row.label for row in rows_of(runs, records).values()] == list(arms)


def test_labels_say_what_the_arm_fixes(runs):
    """Whatever the rule's parameters are called: of a choice the value, of a number or a switch its name too."""
    arms = ("backprop", "mono-forward", "mono-forward:schedule=staged:readout=sum", "foreign:flavour=mild:rate=1e-3:fast=true")
    records = [
        runs.record(
            arm, 0, arms=arms, algorithm=arm.partition(":")[0], variant=arm.partition(":")[2], params={"schedule": "joint"}
        )
        for arm in arms
    ]
    labels = [row.label for row in rows_of(runs, records).values()]
    assert labels == ["backprop", "mono-forward", "mono-forward (staged, sum)", "foreign (mild, rate=1e-3, fast=true)"]


def test_unequal_searches_are_flagged(runs):
    records = [
        r.model_copy(update={"tuning_energy": r.tuning_energy.model_copy(update={"trials": 50})}) if r.arm == "backprop" else r
        for r in runs.grid()
    ]
    tuned = [runs.tuned(arm) for arm in ("backprop", "mono-forward")]
    tuned[1]["passes_per_trial"] = 40
    flags = report.summarise([runs(records=records, tuned=tuned)])["flags"]
    assert any("UNEQUAL SEARCH" in flag and "backprop 50" in flag for flag in flags)
    assert any("UNEQUAL SEARCH" in flag and "mono-forward 40" in flag for flag in flags)


def test_other_things_that_spoil_a_comparison_are_flagged(runs):
    records = runs.grid(energy=True)
    records[2] = records[2].model_copy(update={"energy": records[2].energy.model_copy(update={"resolved": False})})
    weak = records[1].energy.model_copy(update={"measured": False})
    records[1] = records[1].model_copy(
        update={"energy": weak, "params": {"lr": 0.1}, "tier": "graph", "environment_digest": "env-2"}
    )
    flags = " ".join(report.summarise([runs(records=records)])["flags"])
    for word in (
        "different hyper-parameters",
        "executed in different ways",
        "different machines",
        "estimates",
        "too short",
    ):
        assert word in flags


def test_nets_that_have_stopped_to_learn_are_flagged_by_arm(runs):
    records = runs.grid(arms=("backprop", "mono-forward"), seeds=(0, 1, 2))
    ill = {"dead_units": [0.1, 0.9], "tied_scores": [0.6], "block_accuracy": [0.8, 0.1]}
    well = {"dead_units": [0.5, 0.5], "tied_scores": [0.5], "block_accuracy": [0.8, 0.8]}
    records = [
        Record.model_validate(r.model_dump(by_alias=True) | {"health": ill if r.arm != "backprop" and r.seed < 2 else well})
        for r in records
    ]
    flags = report.summarise([runs(records=records)])["flags"]
    named = [flag for flag in flags if "more than half" in flag]
    assert named == [
        "In 2 of 3 runs of mono-forward more than half of the units of a block are dead or saturated (up to 90 %).",
        "In 2 of 3 runs of mono-forward more than half of the examples have tied scores (up to 60 %).",
    ]


def test_a_fair_comparison_has_no_flags(runs):
    """Where trials are runs, as they are not under ``quick``."""
    from bpfree import rulesets

    rules = runs.ruleset.with_changes({"search.passes_per_trial": None})
    records = runs.grid(digest=rulesets.digest(rules))
    tuned = [runs.tuned(arm) for arm in ("backprop", "mono-forward", "mono-forward:schedule=staged")]
    assert report.summarise([runs(records=records, ruleset=rules, tuned=tuned)])["flags"] == []


def test_stamps_stand_on_every_output(runs):
    from bpfree import rulesets

    scaled = runs.ruleset.scaled(0.5)
    directory = runs(records=runs.grid(digest=rulesets.digest(scaled)), ruleset=scaled)
    paths = report.build([directory])
    for path in (paths.page, paths.markdown, paths.csv, *paths.figures):
        assert "SCALED" in path.read_text(), path.name
    assert report.headline_rows([directory])[0].title.startswith("SCALED")
    assert report.summarise([directory])["ruleset"]["stamps"] == ["SCALED"]


def test_the_terminal_table_leaves_out_what_nobody_measured(runs):
    (text,) = report.headline_rows([runs()])
    assert not any("nergy" in heading for heading in text.headings)
    assert all(len(row) == len(text.headings) for row in text.rows)
    (text,) = report.headline_rows([runs("energy", runs.grid(energy=True))])
    assert any("nergy" in heading for heading in text.headings)
