"""What a report says of the searches: arms that were not searched alike, edges, what was not told apart, short trials."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from bpfree import rulesets
from bpfree.records import Record
from bpfree.report import facts, search_flags
from bpfree.report.material import read_material
from bpfree.report.model import build_tables
from tests.report.cases import PAIR, ahead, flag_with, summary_of, verdict_of


@pytest.mark.parametrize(("left", "words"), [({"a": 1.0}, "a (1) was"), ({"b": 0.5, "a": 2.0}, "a (2), b (0.5) were")])
def test_what_nothing_searched(left: dict[str, float], words: str) -> None:
    row: Any = SimpleNamespace(label="Mine")
    (flag,) = search_flags._not_searched(row, [{"not_searched": left}, {}])
    assert flag.key == "not-searched"
    assert flag.text == f"of Mine, {words} not searched: neither the rule nor the ruleset has a range."
    assert list(search_flags._not_searched(row, [{"not_searched": None}, {}])) == []


def test_a_machine_that_nothing_describes_has_the_versions_of_its_first_run() -> None:
    def run(digest: str, version: str) -> Any:
        return SimpleNamespace(
            environment_digest=digest,
            versions={"torch": version},
            tier="eager",
            maths="closed",
            parallel=None,
            compile_time_s=None,
        )

    material: Any = SimpleNamespace(
        records=[run("x" * 20, "1"), run("y", "3"), run("x" * 20, "2")], environments={"y": {"gpu": "none"}}
    )
    one, other = facts.environments(material)
    assert (one.heading, other.heading) == ("Machine 1: 2 runs", "Machine 2: 1 runs")
    assert one.facts[:2] == (("environment", f"not described (digest {'x' * 16})"), ("versions", "torch 1"))
    assert other.facts == (("gpu", "none"), ("execution", "eager, closed gradients"))


class TestUnequalSearch:
    """F1: an arm that fixes what the others search."""

    def fixing(self, runs: Any, arm: str, names: list[str], *others: str) -> list[Record]:
        arms = (arm, *others)
        name, _, variant = arm.partition(":")
        changes = {"algorithm": name, "variant": variant, "unequal_search": names}
        return [r.model_copy(update=changes) if r.arm == arm else r for r in runs.grid(arms)]

    def test_as_the_only_backprop_it_is_a_flagged_baseline_and_nothing_is_judged(self, runs: Any) -> None:
        summary = summary_of(runs, self.fixing(runs, "backprop:lr=2e-5", ["lr"], "mono-forward"))
        flag = flag_with(summary, "UNEQUAL SEARCH")
        assert flag == (
            "UNEQUAL SEARCH: backprop (lr=2e-5) fixes lr, which the other arms search; there is no backprop that was searched, "
            "so it is the baseline and no verdict stands."
        )
        assert verdict_of(summary) == "not judged: unequal search"
        answer = summary["tables"][0]["answer"]
        assert answer.startswith("Under ruleset quick, with flags (unequal search, short trials), on digits")
        assert "At equal rules" not in answer
        assert not re.search("better|ahead|times the time \\(", answer)

    def test_a_plain_backprop_is_preferred(self, runs: Any) -> None:
        summary = summary_of(runs, self.fixing(runs, "backprop:lr=2e-5", ["lr"], "mono-forward", "backprop"))
        assert summary["tables"][0]["baseline"] == "backprop"
        assert verdict_of(summary, "backprop:lr=2e-5") == "not judged: unequal search"
        assert flag_with(summary, "UNEQUAL SEARCH").endswith("which the other arms search; it gets no verdict.")
        assert "not judged" not in verdict_of(summary)

    def test_a_variant_that_was_searched_comes_before_one_that_was_not(self, runs: Any) -> None:
        records = self.fixing(runs, "backprop:lr=2e-5", ["lr"], "backprop:optimiser=sgd")
        records = [r.model_copy(update={"algorithm": "backprop"}) for r in records]
        assert summary_of(runs, records)["tables"][0]["baseline"] == "backprop:optimiser=sgd"

    def test_records_of_version_1_are_read_by_their_labels(self, runs: Any) -> None:
        records = [r.model_copy(update={"schema_version": 1}) for r in self.fixing(runs, "backprop:lr=2e-5", [], "mono-forward")]
        table = build_tables(read_material([runs(records=records)]))[0]
        assert table.unequal_search == {"backprop:lr=2e-5": "backprop (lr=2e-5) fixes lr, which the other arms search"}
        assert table.rows[1].verdict.text == "not judged: unequal search"

    def test_where_all_fix_the_same_it_is_said_and_no_search_is_unequal(self, runs: Any) -> None:
        records = [r.model_copy(update={"unequal_search": ["lr"]}) for r in ahead(runs)]
        summary = summary_of(runs, records)
        assert flag_with(summary, "Every arm fixes").startswith("Every arm fixes lr: the table compares these values")
        assert verdict_of(summary) == "ahead in this search"

    def test_another_number_of_trials_is_not_judged(self, runs: Any) -> None:
        records = [
            r.model_copy(update={"tuning_energy": r.tuning_energy.model_copy(update={"trials": 2})})
            if r.arm == "mono-forward"
            else r
            for r in ahead(runs)
            if r.tuning_energy
        ]
        row = build_tables(read_material([runs(records=records)]))[0].rows[1]
        assert row.verdict.text == "not judged: unequal search"
        assert "mono-forward had 2 trials, backprop 8 trials" in row.verdict.sentence


class TestTheSearch:
    """F2 and F13: what one short, noisy search decides is flagged at the top and takes the words from the sentence."""

    def entry(self, runs: Any, arm: str, trials: Sequence[tuple[float, float]], **changes: Any) -> dict[str, Any]:
        tried = [
            {"values": {"lr": lr}, "val_accuracy": accuracy, "seed": k, "passes": 10, "diverged": accuracy == 0}
            for k, (lr, accuracy) in enumerate(trials)
        ]
        best = max(trials, key=lambda trial: trial[1])
        return (
            runs.tuned(arm)
            | {"tried": tried, "best": {"lr": best[0]}, "at_edge": [], "space": {"lr": "log-uniform 1e-05 to 0.01"}}
            | changes
        )

    def tuned_records(self, runs: Any, lr: float) -> list[Record]:
        return [r.model_copy(update={"params": r.params | {"lr": lr}}) if r.arm == "mono-forward" else r for r in ahead(runs)]

    def test_learning_rates_that_were_not_told_apart(self, runs: Any) -> None:
        """√(.8648 x .1352 / 6000) = .00441: 86.35 lies within two of it from 86.48, 85.50 does not."""
        trials = [(3.57e-3, 0.8648), (3.02e-4, 0.8635), (1e-5, 0.8550), (4e-2, 0.0)]
        entry = self.entry(runs, "mono-forward", trials, n_validation=6000)
        summary = summary_of(runs, self.tuned_records(runs, 3.57e-3), tuned=[entry])
        assert flag_with(summary, "could not tell") == (
            "The search of mono-forward could not tell lr 0.000302 from 0.00357: 2 of its 3 trials lie within two "
            "standard errors (0.88 points, 6,000 validation examples) of the best."
        )
        answer = summary["tables"][0]["answer"]
        assert answer.startswith("Under ruleset quick, with flags (short trials, search could not tell),")
        assert "ahead in this search" in answer

    @pytest.mark.parametrize("other", [(1.2e-3, 0.8648), (3.02e-4, 0.8559)])
    def test_rates_less_than_three_times_apart_or_told_apart_are_not_flagged(self, runs: Any, other: tuple[float, float]) -> None:
        entry = self.entry(runs, "mono-forward", [(3.57e-3, 0.8648), other], n_validation=6000)
        summary = summary_of(runs, self.tuned_records(runs, 3.57e-3), tuned=[entry])
        assert not [flag for flag in summary["flags"] if "could not tell" in flag]

    def test_a_value_at_an_edge_stands_at_the_top_with_the_trials(self, runs: Any) -> None:
        trials = [(0.0093, 0.975), (0.003, 0.972)]
        entry = self.entry(runs, "mono-forward", trials, at_edge=["lr"], n_validation=100_000)
        summary = summary_of(runs, self.tuned_records(runs, 0.0093), tuned=[entry])
        assert flag_with(summary, "at an edge") == (
            "The lr of mono-forward, 0.0093, lies at an edge of what was searched (log-uniform 1e-05 to 0.01), so a "
            "better value may lie outside; trials: 0.0093 gave 97.50 %, 0.003 gave 97.20 %."
        )

    def test_of_several_studies_an_edge_counts_in_most_of_them(self, runs: Any) -> None:
        def flagged(n_at_edge: int, n_studies: int) -> bool:
            entries = [
                self.entry(runs, "mono-forward", [(0.009, 0.9), (1e-4, 0.9)], study=k, at_edge=["lr"] if k < n_at_edge else [])
                for k in range(n_studies)
            ]
            summary = summary_of(runs, ahead(runs), name=f"edge-{n_at_edge}-{n_studies}", tuned=entries)
            assert not [flag for flag in summary["flags"] if "could not tell" in flag], "the luck is in the intervals"
            return any("at an edge" in flag for flag in summary["flags"])

        assert [flagged(2, 5), flagged(3, 5), flagged(2, 4)] == [False, True, False]

    def test_trials_shorter_than_runs(self, runs: Any) -> None:
        entry = self.entry(runs, "mono-forward", [(0.003, 0.9)], examples_per_trial=10_000, examples_per_run=54_000)
        summary = summary_of(runs, self.tuned_records(runs, 0.003), tuned=[entry])
        assert flag_with(summary, "shorter than runs").startswith(
            "Trials were shorter than runs (15 of 40 passes, 10,000 of 54,000 training examples)"
        )

    def test_where_nothing_was_left_to_search_no_trial_was_too_short(self, runs: Any) -> None:
        entries = [self.entry(runs, arm, [(0.003, 0.9)], best={}) for arm in PAIR]
        assert not [f for f in summary_of(runs, ahead(runs), tuned=entries)["flags"] if "shorter than runs" in f]

    def test_trials_as_long_as_runs_are_not_flagged(self, runs: Any) -> None:
        rules = runs.ruleset.with_changes({"search.passes_per_trial": None})
        summary = summary_of(runs, ahead(runs, digest=rulesets.digest(rules)), ruleset=rules)
        assert summary["flags"] == []
        assert summary["tables"][0]["answer"].startswith("At equal rules on digits")
