"""Each mistake of the published comparisons, planted as a user or a developer would, is refused or flagged by its name.

Facts: the headline of arXiv 2509.19063 and 2511.01061 came from another patience, fewer trials and copied values for one arm, and
from one seed counted three times; others chose the best state on the test split (algorithms.md, sections 1.5 and 10).
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bpfree import data, report, rulesets
from bpfree.algorithms import Backprop, State
from bpfree.bench import Arm, ComparisonRun, RunDirectory, SilentObserver, check_supported, measure, parse_arms
from bpfree.bench.arm import with_control
from bpfree.bench.measure import RunFailed
from bpfree.bench.study import open_storage, search
from bpfree.data import Dataset, TestSplitError
from bpfree.errors import RulesetError, RunDirectoryError, UsageError
from bpfree.nets import Chain
from bpfree.records import Record, read_records
from bpfree.rulesets import Ruleset

from .test_measure import setting

RULES = rulesets.load("quick").with_changes(trials=2, passes_per_trial=4, max_passes=12, patience=3)
TPE = RULES.with_changes({"search.sampler": {"name": "tpe"}})
ARMS = "backprop,mono-forward"
SEEDS = (0, 1, 2)
FEW = dataclasses.replace(data.load("digits").limited(400), name="digits")
"""A third of the training examples: what is planted does not depend on how well an arm learns."""

Edit = Callable[[dict[str, Any]], None]


def run(path: Path, rules: Ruleset = RULES, arms: str = ARMS, seeds: tuple[int, ...] = SEEDS) -> Path:
    """A whole comparison on a few digits."""
    directory = RunDirectory(path)
    used = setting(ruleset=rules, data=FEW)
    used.plan |= {"arms": [arm.label for arm in parse_arms(arms)], "seeds": list(seeds)}
    with directory.opened(rules, used.facts):
        ComparisonRun(used, parse_arms(arms), seeds, directory, SilentObserver()).run()
    return path


@pytest.fixture(scope="module")
def fair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison without a mistake."""
    return run(tmp_path_factory.mktemp("fair") / "R")


def flags(*directories: Path) -> list[str]:
    """What the report says first."""
    return report.summarise(directories)["flags"]


def flagged(name: str, *directories: Path) -> str:
    """The one flag with this name, as it stands on the page."""
    (found,) = [flag for flag in flags(*directories) if name in flag]
    return found


def edited(fair: Path, path: Path, edit: Edit) -> Path:
    """The comparison with its records changed by hand, as nobody should."""
    path.mkdir()
    for name in ("ruleset.yaml", "environment.json", "tuned.json"):
        (path / name).write_bytes((fair / name).read_bytes())
    lines = []
    for line in (fair / "records.jsonl").read_text().splitlines():
        record = json.loads(line)
        edit(record)
        Record.model_validate(record)
        lines.append(json.dumps(record))
    (path / "records.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return path


def excepting(field: str, value: object, arm: str = "mono-forward") -> Ruleset:
    """The ruleset with one rule that differs for one arm, as a user's file would have it."""
    exception = {"arms": [arm], "field": field, "value": value, "why": "the paper did so"}
    return RULES.with_changes(exceptions=[exception])


def test_a_fair_comparison_has_no_mistake(fair: Path) -> None:
    """Two short trials are no good search, runs end at a low cap, a machine may be busy, and the report says so."""
    assert flags(fair)[0].startswith("Trials were shorter than runs (4 of 12 passes)")
    told = ("could not tell lr", "lies at an edge of what", "did not end in the same way", "ended at the cap", "Other processes")
    rest = [flag for flag in flags(fair)[1:] if not any(words in flag for words in told)]
    assert rest == []


class TestAnArmThatIsNotSearched:
    """A reviewer's table: backprop with a bad learning rate of its own was the baseline, "+67.0 points: better" the headline."""

    def test_as_the_only_backprop_it_is_flagged_and_nothing_is_judged(self, tmp_path: Path) -> None:
        directory = run(tmp_path / "R", arms="backprop:lr=2e-5,mono-forward", seeds=(0, 1))
        flag = flagged("UNEQUAL SEARCH", directory)
        assert "backprop (lr=2e-5) fixes lr, which the other arms search; there is no backprop that was searched" in flag
        (table,) = report.summarise([directory])["tables"]
        assert table["rows"][1]["verdict"] == "not judged: unequal search"
        assert "At equal rules" not in table["answer"]
        assert "better" not in table["answer"]

    def test_beside_a_plain_backprop_it_is_not_the_baseline(self, tmp_path: Path) -> None:
        directory = run(tmp_path / "R", arms="backprop:lr=2e-5,backprop,mono-forward", seeds=(0,))
        assert flagged("UNEQUAL SEARCH", directory).endswith("it gets no verdict.")
        assert report.summarise([directory])["tables"][0]["baseline"] == "backprop"


class TestOptionalStopping:
    """Seeds were added to a directory until its difference held, each time tested at 5 %."""

    def test_added_seeds_are_flagged_and_support_no_claim(self, tmp_path: Path) -> None:
        run(tmp_path / "R", seeds=(0, 1))
        directory = run(tmp_path / "R", seeds=(0, 1, 2))
        assert "seeds were added after results could be seen (2, then 3)" in flagged("ADDED SEEDS", directory)
        assert report.summarise([directory])["tables"][0]["rows"][1]["verdict"] == "not judged: seeds were added after a look"

    def test_a_command_that_is_given_again_is_no_further_look(self, tmp_path: Path) -> None:
        run(tmp_path / "R", seeds=(0, 1))
        directory = run(tmp_path / "R", seeds=(0, 1))
        assert report.summarise([directory])["tables"][0]["looks"] == [2]

    def test_seeds_that_somebody_chose_are_flagged(self, tmp_path: Path) -> None:
        directory = run(tmp_path / "R", seeds=(7, 13))
        assert flagged("are not 0 to 1", directory).startswith("The seeds 7 and 13 are not 0 to 1")


def test_backprop_against_itself_stands_beside_the_others(tmp_path: Path) -> None:
    """Eight labels of one rule differed by up to .7 points: what equal arms differ by is part of the table."""
    directory = RunDirectory(tmp_path / "R")
    used, arms = setting(ruleset=RULES, data=FEW), with_control(parse_arms(ARMS))
    used.plan |= {"arms": [arm.label for arm in arms], "seeds": [0, 1]}
    with directory.opened(RULES, used.facts):
        ComparisonRun(used, arms, (0, 1), directory, SilentObserver()).run()
    summary = report.summarise([directory.path])
    (table,) = summary["tables"]
    assert [row["label"] for row in table["rows"]] == ["backprop", "mono-forward", "backprop against itself"]
    assert (table["rows"][2]["verdict"], table["rows"][2]["difference_fraction"]["n"]) == ("control", 2)
    assert "Control: backprop against itself, with other draws, differs by" in table["answer"]
    assert not [flag for flag in summary["flags"] if "missing" in flag or "seeds" in flag]


class TestAnotherPatienceForOneArm:
    def test_in_the_ruleset_it_is_stamped_and_flagged(self, tmp_path: Path) -> None:
        rulesets.save(excepting("stop.patience", 1), tmp_path / "mine.yaml")
        directory = run(tmp_path / "R", rulesets.load(tmp_path / "mine.yaml"), seeds=(0,))
        flag = flagged("UNEQUAL STOPPING", directory)
        assert "for mono-forward, stop.patience is 1 instead of 3, because: the paper did so" in flag
        page = report.build([directory]).page.read_text()
        assert "UNEQUAL STOPPING" in page
        assert "EXCEPTIONS" in page
        assert "At rules with exceptions" in page

    def test_merged_from_a_run_under_another_patience_it_is_refused(self, fair: Path, tmp_path: Path) -> None:
        other = run(tmp_path / "R", RULES.with_changes(patience=1), arms="mono-forward", seeds=(0,))
        with pytest.raises(RulesetError, match=r"different rules and cannot stand in one table.*stop\.patience: 3 against 1"):
            report.build([fair, other])

    def test_with_a_forged_digest_the_histories_tell(self, fair: Path, tmp_path: Path) -> None:
        other = run(tmp_path / "R", RULES.with_changes(patience=1), arms="mono-forward:lr=0.03", seeds=(0, 1, 2))
        (other / "ruleset.yaml").write_bytes((fair / "ruleset.yaml").read_bytes())
        digest = rulesets.digest(RULES)
        forged = edited(other, tmp_path / "forged", lambda record: record.update(ruleset_digest=digest))
        ended_early = [r for r in read_records(other / "records.jsonl") if r.passes < 12]
        assert ended_early, "the planted patience of 1 must have ended a run"
        flag = flagged("UNEQUAL STOPPING", fair, forged)
        assert f"in {len(ended_early)} of 3 runs of mono-forward (lr=0.03)" in flag
        assert "training ended after 1 passes without improvement" in flag

    def test_a_rule_cannot_bring_its_own(self) -> None:
        with pytest.raises(UsageError, match="unknown hyper-parameter of mono-forward 'patience'"):
            Arm.parse("mono-forward:patience=4")


class TestFewerTrialsForOneArm:
    def test_in_the_ruleset_it_is_flagged(self, tmp_path: Path) -> None:
        directory = run(tmp_path / "R", excepting("search.trials", 1, "backprop"), seeds=(0,))
        found = [flag for flag in flags(directory) if "UNEQUAL SEARCH" in flag]
        assert any("for backprop, search.trials is 1 instead of 2" in flag for flag in found)
        assert any("different numbers of trials (backprop 1, mono-forward 2)" in flag for flag in found)

    def test_in_the_records_it_is_flagged(self, fair: Path, tmp_path: Path) -> None:
        def fewer(record: dict[str, Any]) -> None:
            if record["arm"] == "backprop":
                record["tuning_energy"]["trials"] = 1

        found = flags(edited(fair, tmp_path / "R", fewer))
        assert any("UNEQUAL SEARCH: backprop was tuned with 1 trials, the ruleset says 2" in flag for flag in found)

    def test_an_arm_without_a_search_is_flagged(self, fair: Path, tmp_path: Path) -> None:
        def untuned(record: dict[str, Any]) -> None:
            if record["arm"] == "backprop":
                record |= {"tuning_energy": None, "reasons": record["reasons"] | {"tuning_energy": "given by hand"}}

        assert "backprop was not tuned" in flagged("UNEQUAL SEARCH", edited(fair, tmp_path / "R", untuned))


class TestACopiedHyperParameter:
    def test_values_of_another_cell_are_flagged_with_their_source(self, tmp_path: Path) -> None:
        """Backprop on a second net with the values tuned on the first, as in two published cells."""
        fair = run(tmp_path / "fair", TPE, seeds=(0,))
        first = {row["arm"]: row["best"] for row in json.loads((fair / "tuned.json").read_text())}["backprop"]

        def other_net(record: dict[str, Any]) -> None:
            own = first if record["arm"] == "backprop" else {"lr": 1.234e-3, "weight_decay": 5.678e-6}
            record |= {"net": "mlp:3x16", "params": record["params"] | own}

        second = edited(fair, tmp_path / "R", other_net)
        (second / "tuned.json").unlink()
        flag = flagged("COPIED HYPER-PARAMETERS", fair, second)
        assert "backprop on digits with mlp:2x16 and backprop on digits with mlp:3x16 have the same lr = " in flag
        assert "mono-forward" not in flag

    def test_values_that_the_own_search_did_not_find_are_flagged(self, fair: Path, tmp_path: Path) -> None:
        def by_hand(record: dict[str, Any]) -> None:
            if record["arm"] == "mono-forward":
                record["params"]["lr"] = 3.21e-4

        flag = flagged("COPIED HYPER-PARAMETERS", edited(fair, tmp_path / "R", by_hand))
        assert "the runs of mono-forward used lr = 0.000321, but its search chose" in flag

    def test_the_points_that_all_arms_share_are_no_copies(self, fair: Path) -> None:
        best = [row["best"]["lr"] for row in json.loads((fair / "tuned.json").read_text())]
        assert best[0] == best[1]
        assert not [flag for flag in flags(fair) if "COPIED" in flag]

    def test_two_searches_never_start_alike(self, tmp_path: Path) -> None:
        """The published sampler was seeded alike for every cell; here TPE is seeded by the cell's name."""
        storage = open_storage(tmp_path / "j")
        wide = search(setting(ruleset=TPE, net="mlp:2x16"), Arm.parse("backprop"), storage)
        deep = search(setting(ruleset=TPE, net="mlp:3x16"), Arm.parse("backprop"), storage)
        assert set(wide.best.values()).isdisjoint(deep.best.values())


class TestTheSameSeedThrice:
    def test_in_the_plan_it_is_refused(self) -> None:
        with pytest.raises(RulesetError, match=r"the same seed is listed again: 42 \(3 times\); a seed counts once"):
            RULES.with_changes(seeds=(42, 42, 42))

    def test_measured_three_times_it_is_refused(self, fair: Path, tmp_path: Path) -> None:
        def same(record: dict[str, Any]) -> None:
            record["seed"] = 42

        with pytest.raises(RunDirectoryError, match=r"seed 42, was measured twice .* a seed counts once"):
            report.build([edited(fair, tmp_path / "R", same)])

    def test_under_three_names_it_is_flagged(self, fair: Path, tmp_path: Path) -> None:
        """Three jobs of one seed, reported as three runs: their losses agree pass by pass."""
        one = next(r for r in read_records(fair / "records.jsonl") if (r.arm, r.seed) == ("mono-forward", 0))

        def thrice(record: dict[str, Any]) -> None:
            if record["arm"] == "mono-forward":
                record |= json.loads(one.model_copy(update={"seed": record["seed"]}).to_json())

        flag = flagged("SAME SEED", edited(fair, tmp_path / "R", thrice))
        assert "the runs of mono-forward with seeds 0, 1, 2" in flag
        assert "one run was counted 3 times" in flag


def reading_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's shortcut: score the test split after every pass, and choose by that."""
    module = sys.modules["bpfree.train.passes"]
    original = module.evaluate

    def peeking(algorithm: Any, net: Any, state: Any, data: Dataset, split: str, *args: Any, **options: Any) -> Any:
        assert split == "validation"
        return original(algorithm, net, state, data, "test", *args, **options)

    monkeypatch.setattr(module, "evaluate", peeking)


class TestTheTestSplitReadDuringTuning:
    def test_the_search_does_not_have_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        reading_test(monkeypatch)
        with pytest.raises(TestSplitError, match="the test split of digits cannot be read here"):
            search(setting(ruleset=RULES), Arm.parse("backprop"), open_storage(tmp_path / "j"))

    def test_no_ruleset_can_ask_for_it(self) -> None:
        with pytest.raises(RulesetError, match=r"search\.objective .*'best-test-accuracy'"):
            RULES.with_changes({"search.objective": "best-test-accuracy"})


class TestTheBestStateChosenOnTest:
    def test_training_does_not_have_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reading_test(monkeypatch)
        with pytest.raises(RunFailed, match="TestSplitError: the test split of digits cannot be read here"):
            measure(setting(ruleset=RULES), Arm.parse("backprop"), {}, 0, None)

    def test_no_ruleset_can_ask_for_it(self) -> None:
        with pytest.raises(RulesetError, match=r"stop\.metric .*'test-accuracy'"):
            RULES.with_changes(metric="test-accuracy")

    def test_a_state_that_validation_did_not_choose_is_flagged(self, fair: Path, tmp_path: Path) -> None:
        def another_state(record: dict[str, Any]) -> None:
            if record["arm"] == "mono-forward":
                record["val_accuracy"] = record["history"][0]["val_accuracy"] - 0.01

        flag = flagged("STATE NOT CHOSEN ON VALIDATION", edited(fair, tmp_path / "R", another_state))
        assert "in 3 of 3 runs of mono-forward" in flag


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cooling(Backprop):
    """Backprop that lowers its learning rate by itself."""

    def learn(self, net: Chain, state: State, batch: Any, phase: Any) -> torch.Tensor:
        state.scale_lr(0.5)
        return super().learn(net, state, batch, phase)


class TestAScheduleOpenToOneArmOnly:
    def test_in_the_ruleset_it_is_stamped_and_flagged(self, tmp_path: Path) -> None:
        directory = run(tmp_path / "R", excepting("lr_schedule", "linear-cooldown"), seeds=(0,))
        assert "for mono-forward, lr_schedule is linear-cooldown instead of constant" in flagged("UNEQUAL SCHEDULE", directory)
        assert report.summarise([directory])["ruleset"]["stamps"] == ["EXCEPTIONS"]

    def test_a_rule_cannot_bring_its_own(self) -> None:
        with pytest.raises(UsageError, match="unknown hyper-parameter of mono-forward 'lr_schedule'"):
            Arm.parse("mono-forward:lr_schedule=cosine")

    def test_a_rule_that_does_it_in_secret_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Arm, "build", lambda self, tuned: Cooling())
        with pytest.raises(RunFailed) as failure:
            measure(setting(ruleset=RULES), Arm("backprop", "backprop", {}), {}, 0, None)
        assert failure.value.record.status == "failed"
        assert "changed its learning rate by itself" in failure.value.record.reasons["status"]


def test_an_exception_that_cannot_be_kept_is_refused() -> None:
    """Rules that would be hashed into a record and then ignored are worse than none."""
    exception = {"arms": ["mono-forward"], "field": "batch_size", "value": 8, "why": "x", "phases": ["all blocks"]}
    rules = RULES.with_changes(exceptions=[exception])
    with pytest.raises(RulesetError, match=r"batch_size for the phase all blocks of mono-forward, which cannot be kept"):
        check_supported(rules, parse_arms("mono-forward"))
