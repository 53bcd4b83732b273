"""Suites and published numbers: every number has its source, every row its number, and nothing is dropped."""

from __future__ import annotations

import csv
import statistics
from importlib import resources
from pathlib import Path

import pytest
import torch

from bpfree import data, published
from bpfree.bench import Arm, suites
from bpfree.bench import reproduce as reproducing
from bpfree.bench.reproduce import Reproduction
from bpfree.bench.suite_choice import choose
from bpfree.bench.suites.estimate import Estimate, Timing, estimate, time_steps
from bpfree.bench.suites.scale import n_scaled, scaled_data
from bpfree.bench.suites.sizes import FROM_FOLDER, KNOWN, Size
from bpfree.errors import BpfreeError, DataError, UsageError
from bpfree.meter import Meter
from bpfree.published import Number
from bpfree.rulesets import Split, digest, load

NAMES = ["foton2025", "imagenet-plan", "mf2025", "pepita2022", "spyra2025", "spyra2026"]

SUITE = """
title: Two rules on digits
paper: nobody
rulesets:
  quick: {base: quick}
sections:
  - title: Digits
    ruleset: quick
    rows:
      - {dataset: digits, net: "mlp:1x16", arm: backprop, published: {test_accuracy_percent: 95, sd_percent: 1, source: us}}
      - {dataset: digits, net: "mlp:1x16", arm: mono-forward, published: {test_accuracy_percent: 94, source: us}}
"""


def written(path: Path, text: str = SUITE) -> Path:
    """A suite file."""
    path.write_text(text)
    return path


def test_the_suites_of_the_papers_are_there() -> None:
    assert suites.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_row_has_a_number_with_its_source(name: str) -> None:
    suite = suites.load(name)
    assert suite.name == name
    for section in suite.sections:
        assert suite.rulesets[section.ruleset].load()
        for row in section.rows:
            number = section.number(row)
            assert number.source
            assert bool(section.unpublished) == (number.accuracy is None and number.difference is None)
            assert row.dataset in KNOWN


@pytest.mark.parametrize("table", published.tables())
def test_every_table_has_a_file_and_every_number_is_a_fraction(table: str) -> None:
    found = published.numbers(table)
    assert found
    assert len({number.key for number in found}) == len(found)
    for number in found:
        assert number.second_hand == published.source(table).second_hand
        assert number.accuracy is None or 0 < number.accuracy < 1
        assert number.spread is None or number.spread[0] < (number.accuracy or 0) < number.spread[1]
        assert number.difference is None or abs(number.difference) < 0.5


def test_every_file_has_its_source() -> None:
    files = {entry.name for entry in resources.files("bpfree.published").iterdir() if entry.name.endswith(".csv")}
    assert files == {f"{table}.csv" for table in published.tables()}


def test_second_hand_tables_say_so() -> None:
    assert [table for table in published.tables() if published.source(table).second_hand] == ["foton2025", "mf2025", "pepita2022"]


def test_means_of_the_runs_are_the_published_means() -> None:
    for mean in published.numbers("spyra2025-legacy"):
        runs = published.find("spyra2025-legacy-runs", *mean.key)
        assert runs.accuracy == pytest.approx(mean.accuracy, abs=1e-5)
        assert runs.energy_j == pytest.approx(mean.energy_j, rel=1e-3)


def test_one_seed_counted_three_times_has_no_spread() -> None:
    number = published.find("spyra2025-legacy-runs", "cifar10", "mlp:3x2000", "mono-forward", "staged")
    assert number.spread is None
    assert "one seed counted 3 times" in number.spread_words


def test_the_spread_is_two_deviations_of_the_runs() -> None:
    text = (resources.files("bpfree.published") / "spyra2025-legacy-runs.csv").read_text()
    rows = csv.DictReader(text.splitlines())
    runs = [
        float(r["test_accuracy"]) / 100
        for r in rows
        if (r["dataset"], r["net"], r["algorithm"]) == ("cifar10", "cnn3", "backprop")
    ]
    number = published.find("spyra2025-legacy-runs", "cifar10", "cnn3", "backprop")
    assert number.spread is not None
    assert number.spread[1] - number.spread[0] == pytest.approx(4 * statistics.stdev(runs))


def test_the_headline_of_2025_is_in_the_table() -> None:
    number = published.find("spyra2025-legacy-runs", "cifar10", "mlp:3x2000", "mono-forward", "staged")
    assert number.energy_ratio == pytest.approx(1 - 0.408, abs=0.001)
    assert number.time_ratio == pytest.approx(1 - 0.338, abs=0.001)


def test_a_number_that_is_not_there_says_what_is() -> None:
    with pytest.raises(UsageError, match="it has: backprop; mono-forward staged"):
        published.find("spyra2025-legacy-runs", "mnist", "mlp:2x1000", "forward-forward")
    with pytest.raises(BpfreeError, match="did you mean mf2025"):
        published.source("mf2026")


BAD = {
    "unknown key": ("rulesets:", "ruleset:", "did you mean 'rulesets'"),
    "unknown key of a row": ("arm: mono-forward", "arm: mono-forward, datset: x", "did you mean 'dataset'"),
    "unknown arm": ("arm: mono-forward", "arm: mono-forwrd", "did you mean mono-forward"),
    "unknown ruleset": ("ruleset: quick", "ruleset: quik", "wants ruleset 'quik'"),
    "a number without its source": ("test_accuracy_percent: 94, source: us", "test_accuracy_percent: 94", "source is missing"),
    "no number": (", published: {test_accuracy_percent: 94, source: us}", "", "has no published number"),
    "twice": ("arm: mono-forward", "arm: backprop", "listed twice"),
    "a fraction above one hundred": ("test_accuracy_percent: 94", "test_accuracy_percent: 194", "100"),
    "a change without a reason": ("quick: {base: quick}", "quick: {base: quick, changes: {augmentation: none}}", "need a reason"),
    "a key that is no directory": ("quick: {base: quick}", "../x: {base: quick}", "names a directory"),
    "a newer schema": ("title: Two", "schema_version: 99\ntitle: Two", "reads up to 1"),
    "not YAML": ("paper: nobody", "paper: [", "is not YAML"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_suite_that_cannot_be_used_is_one_line(tmp_path: Path, case: str) -> None:
    old, new, words = BAD[case]
    assert old in SUITE
    with pytest.raises(BpfreeError, match=words) as caught:
        suites.load(written(tmp_path / "mine.yaml", SUITE.replace(old, new)))
    assert "\n" not in str(caught.value)


def test_an_unknown_suite_offers_the_nearest() -> None:
    with pytest.raises(BpfreeError, match="did you mean spyra2025"):
        suites.load("spyra205")
    with pytest.raises(BpfreeError, match="cannot read suite"):
        suites.load("absent.yaml")


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of a second each, so that every suite can be planned in no time."""

    def timed(arm: Arm, net: str, size: Size, batch_size: int, device: torch.device, meter: Meter) -> Timing:
        phases = arm.build({}).phases(reproducing.build(net, size.in_shape, size.n_classes))
        return Timing(phases, (1.0,) * len(phases), 0.0, None, "a test")

    monkeypatch.setattr(reproducing, "time_steps", timed)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "imagenet-plan"])  # it is predicted, not timed
def test_every_suite_can_be_planned_without_data(name: str, no_training: None) -> None:
    chosen = choose(suites.load(name))
    chosen.check()
    refused = [line for line in chosen.lines if line.reason]
    assert all(line.row.not_run for line in refused), [line.reason for line in refused]
    estimates = chosen.estimates(torch.device("cpu"), Meter(torch.device("cpu")))
    for line in chosen.lines:
        if not line.reason:
            assert estimates[(*line.place, line.row.arm)].hours > 0
    assert len(estimates) >= len({(*line.place, line.row.arm) for line in chosen.lines if not line.reason})


def test_only_the_papers_unequal_rules_are_not_comparable() -> None:
    stamped = {name: "NOT COMPARABLE" in choose(suites.load(name)).stamps for name in NAMES}
    assert [name for name, stamp in stamped.items() if stamp] == ["spyra2025"]


def test_backprop_stands_beside_a_published_difference() -> None:
    chosen = choose(suites.load("spyra2026"), dataset_names=("mnist",))
    arms = {(group.ruleset, group.net): [arm.label for arm in group.arms] for group in chosen.groups()}
    assert arms["spyra2026-uniform", "mlp:3x1000"][0] == "backprop"
    only = choose(suites.load("spyra2026"), dataset_names=("mnist",), arms=("forward-forward",))
    assert all(arm.algorithm == "forward-forward" for group in only.groups() for arm in group.arms)


def test_the_ladder_of_2026_has_both_its_rungs_as_arms_of_their_own() -> None:
    """Numbers of the camera-ready's data; the note says whose joint Mono-Forward this is not."""
    (section,) = [section for section in suites.load("spyra2026").sections if section.title.startswith("Ablation ladder")]
    assert not any(row.not_run for row in section.rows)
    arms = {row.variant: row.arm for row in section.rows}
    assert arms["bp-ds"] == "deep-supervision:output=own"
    assert arms["mf-joint"] == "deep-supervision:readout=last"
    cifar = {row.variant: section.number(row) for row in section.rows if row.dataset == "cifar10"}
    accuracies = {variant: number.accuracy for variant, number in cifar.items()}
    assert accuracies == pytest.approx({"": 0.62471, "bp-ds": 0.6082, "mf-joint": 0.6228, "staged": 0.66374})
    assert [number.time_s for number in cifar.values()] == [252.96, 219.4, 244.8, 1002.1]
    assert cifar["staged"].energy_j == pytest.approx(17.2758 * 3600)
    assert "it is not bpfree's joint Mono-Forward" in section.note


def test_the_ladder_agrees_with_the_differences_that_are_printed() -> None:
    """To the last digit of what is rounded, times and energies as ratios."""
    for number in published.numbers("spyra2026-ladder"):
        if number.algorithm != "backprop":
            printed = published.find("spyra2026-differences", *number.key)
            assert number.difference == pytest.approx(printed.difference, abs=2e-4)
            assert number.energy_ratio == pytest.approx(printed.energy_ratio, abs=0.006)


def test_an_estimate_counts_every_pass_of_every_trial_and_run() -> None:
    """quick: 8 trials and the runs, each of so many passes, of 2 steps of a second and 4 scored examples of a quarter."""
    rules, size = (
        load("quick").with_changes(seeds=3, batch_size=50, max_passes=10, passes_per_trial=5),
        Size((64,), 10, 100, 4, 8),
    )
    phases = Arm.parse("backprop").build({}).phases(reproducing.build("mlp:1x8", (64,), 10))
    timing = Timing(phases, (1.0,), 0.25, 10.0, "")
    cost = estimate(rules, Arm.parse("backprop"), "digits", "mlp:1x8", size, timing, n_seeds=3)
    assert cost == Estimate(search_s=8 * 5 * 3.0, runs_s=3 * (10 * 3.0 + 2.0), joules=10 * (120 + 96.0), joules_reason="")


def test_timed_steps_are_positive_and_say_why_there_is_no_power() -> None:
    meter = Meter(torch.device("cpu"))
    timing = time_steps(
        Arm.parse("mono-forward:schedule=staged"), "mlp:2x8", Size((64,), 10, 100, 10, 10), 16, meter.device, meter
    )
    assert len(timing.step_s) == len(timing.phases) == 2
    assert min(timing.step_s) > 0
    assert timing.watts is None
    assert timing.watts_reason


def test_scaled_data_keep_every_class_and_a_batch() -> None:
    rules = load("quick").scaled(0.1)
    part = scaled_data(data.load("digits"), rules, 64)
    assert part.n("train") == 108
    assert part.n("validation") == part.n("test") == 36
    assert set(part.splits["test"].y.tolist()) == set(range(10))
    tiny = scaled_data(data.load("digits"), load("quick").scaled(0.001), 64)
    assert (tiny.n("train"), tiny.n("test")) == (64, 10)
    assert part.split_digest != tiny.split_digest
    assert "SCALED" in part.note
    assert scaled_data(data.load("digits"), load("quick"), 64).split_digest == data.load("digits").split_digest


def test_a_scaled_ruleset_is_another_ruleset() -> None:
    whole, scaled = choose(suites.load("spyra2025")), choose(suites.load("spyra2025"), scale=0.02)
    assert digest(whole.rules["legacy-2025"]) != digest(scaled.rules["legacy-2025"])
    assert scaled.stamps == ("NOT COMPARABLE", "SCALED", "EXCEPTIONS")
    assert scaled.rules["legacy-2025"].search.trials == 1
    assert n_scaled(50_000, 0.02, 10, 128) == 1000


def test_rows_without_data_are_kept_with_their_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = SUITE + SUITE.partition("rows:\n")[2].replace("digits", "mnist")
    chosen = choose(suites.load(written(tmp_path / "mine.yaml", text)))
    real = data.load

    def without_mnist(name: str, **options: object) -> data.Dataset:
        if name == "mnist":
            raise DataError("cannot download mnist; put the official files in a folder mnist/")
        return real(name)

    monkeypatch.setattr(reproducing.datasets, "load", without_mnist)
    chosen.load(None)
    assert [bool(line.reason) for line in chosen.lines] == [False, False, True, True]
    assert "put the official files" in chosen.lines[2].reason
    only = choose(suites.load(tmp_path / "mine.yaml"), dataset_names=("mnist",))
    with pytest.raises(DataError, match="suite mine has no data here: cannot download mnist"):
        only.load(None)


def test_data_are_split_as_the_ruleset_of_the_rows_says(tmp_path: Path) -> None:
    """1,797 digits: 60/20/20 of each class under ``quick``; half of each class validates under the changed ruleset."""
    changes = "splits.digits: {kind: stratified, validation: 0.5, test: 0.25}, plan.split_seeds: [3]"
    other = f"  halves: {{base: quick, changes: {{{changes}}}, why: a test}}\nsections:"
    rows = SUITE.partition("sections:\n")[2].replace("ruleset: quick", "ruleset: halves")
    chosen = choose(suites.load(written(tmp_path / "mine.yaml", SUITE.replace("sections:", other) + rows)))
    chosen.load(None)
    standard, halves = chosen.data["quick", "digits"], chosen.data["halves", "digits"]
    assert standard.split_digest == data.load("digits").split_digest
    split = Split(kind="stratified", validation=0.5, test=0.25)
    assert halves.split_digest == data.load("digits", split=split, split_seed=3).split_digest
    assert halves.n("validation") == pytest.approx(1797 / 2, abs=5)
    setting = chosen._comparison(chosen.groups()[1], tmp_path, torch.device("cpu"), Meter("cpu"), None, "").setting
    assert (setting.split_seed, setting.data.split_digest) == (3, halves.split_digest)


def test_a_ruleset_of_several_splits_is_refused_row_by_row(tmp_path: Path) -> None:
    changes = "rulesets:\n  quick: {base: quick, changes: {plan.split_seeds: [0, 1]}, why: a test}\n"
    text = SUITE.replace("rulesets:\n  quick: {base: quick}\n", changes)
    chosen = choose(suites.load(written(tmp_path / "mine.yaml", text)))
    chosen.load(None)
    assert all("runs 2 split seeds, and a suite runs one" in line.reason for line in chosen.lines)


def test_sizes_of_a_dry_run_follow_the_split() -> None:
    """Of MNIST's 60,000 training examples 10,000 validate by the standard split, 6,000 as a tenth."""
    size = KNOWN["mnist"].divided(Split(kind="last", validation=0.1))
    assert (size.n_train, size.n_validation, size.n_test) == (54_000, 6_000, 10_000)
    assert KNOWN["mnist"].divided(load("quick").split_for("mnist")) == KNOWN["mnist"]


def test_a_net_that_cannot_take_the_data_is_a_reason(tmp_path: Path) -> None:
    text = SUITE.replace('net: "mlp:1x16", arm: mono', "net: cnn3:4-4-4-4, arm: mono")
    chosen: Reproduction = choose(suites.load(written(tmp_path / "mine.yaml", text)))
    chosen.load(None)
    chosen.check()
    assert not chosen.lines[0].reason
    assert "block" in chosen.lines[1].reason


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(KNOWN) - set(FROM_FOLDER)))
def test_known_sizes_are_those_of_the_data(name: str) -> None:
    try:
        loaded = data.load(name, download=False)
    except DataError:
        pytest.skip(f"{name} is not here")
    assert Size.of(loaded) == KNOWN[name]


def test_a_number_knows_its_place() -> None:
    number = Number(table="t", dataset="d", net="n", algorithm="a", second_hand=False, source="s")
    assert number.key == ("d", "n", "a", "", "")
