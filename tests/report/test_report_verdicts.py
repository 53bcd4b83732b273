"""What a table may say, case by case: claims, seeds, looks, families, lost runs, costs, splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bpfree import report, rulesets, stats
from bpfree.records import Record
from bpfree.report.interim import looks_of
from bpfree.report.material import read_material
from bpfree.report.model import build_tables
from bpfree.report.quantities import ACCURACY, DIFFERENCE
from tests.report.cases import BASE, PAIR, UP, ahead, flag_with, summary_of, verdict_of, with_accuracies

FIXED = rulesets.load("quick").with_changes(trials=0)
"""Nothing is searched, so that a table may claim."""


class TestClaims:
    def test_only_a_ruleset_for_claims_says_better(self, runs: Any) -> None:
        quick = summary_of(runs, ahead(runs))
        assert verdict_of(quick) == "ahead in this search"
        assert quick["standing"].startswith("A look, not a claim: under ruleset quick one search serves all seeds")
        fixed = summary_of(runs, ahead(runs, digest=rulesets.digest(FIXED)), name="fixed", ruleset=FIXED)
        assert verdict_of(fixed) == "better"
        assert fixed["standing"] == ""

    @pytest.mark.usefixtures("no_charts")
    def test_a_look_says_so_on_every_output(self, runs: Any) -> None:
        paths = report.build([runs(records=ahead(runs))])
        page = paths.page.read_text()
        assert page.index("A LOOK, NOT A CLAIM") < page.index('<p class="answer') < page.index("A look, not a claim")
        assert "**A look, not a claim" in paths.markdown.read_text()
        assert report.headline_rows([paths.directory.parent])[0].title.startswith("A look, not a claim")

    def test_unequal_rules_are_not_judged(self, runs: Any) -> None:
        rules = rulesets.load("legacy-2025")
        records = ahead(runs, digest=rulesets.digest(rules))
        assert verdict_of(summary_of(runs, records, ruleset=rules)) == "not judged: unequal rules"

    def test_the_headline_says_from_how_many_it_chose(self, runs: Any) -> None:
        of_three = summary_of(runs, runs.grid())["tables"][0]["answer"]
        assert "mono-forward, chosen from 3 arms by its test mean, reached" in of_three
        assert "chosen from" not in summary_of(runs, ahead(runs), name="two")["tables"][0]["answer"]


class TestSeeds:
    """F16, F19 and F22."""

    def test_four_seeds_are_not_judged_and_five_are(self, runs: Any) -> None:
        assert verdict_of(summary_of(runs, ahead(runs, 4))) == "not judged: 4 seeds, at least 5 are needed"
        assert verdict_of(summary_of(runs, ahead(runs, 5), name="five")) == "ahead in this search"

    def test_a_margin_is_no_finer_than_one_test_image(self, runs: Any) -> None:
        for n_test, margin in ((360, 1 / 360), (10_000, 0.0025)):
            records = [
                r.model_copy(update={"n_test": n_test, "correct": None, "reasons": r.reasons | {"correct": "x"}})
                for r in ahead(runs)
            ]
            (table,) = summary_of(runs, records, name=str(n_test))["tables"]
            assert table["equivalence_margin_fraction"] == margin

    def test_the_least_difference_stands_beside_the_word(self, runs: Any) -> None:
        summary = summary_of(runs, ahead(runs))
        row = summary["tables"][0]["rows"][1]
        least = 100 * stats.least_detectable_difference(5, 0.01, 0.05)
        assert row["evidence"]["least_difference_fraction"] == pytest.approx(least / 100)
        assert f"could have shown a difference of {least:.2f} points" in row["verdict_sentence"]
        assert f"ahead in this search, where {least:.1f} points could be shown" in summary["tables"][0]["answer"]

    def test_seeds_are_listed(self, runs: Any) -> None:
        assert summary_of(runs, ahead(runs))["conditions"][0].startswith("Seeds 0 to 4, split seed 0: they set")

    def test_seeds_that_are_not_the_first_are_flagged(self, runs: Any) -> None:
        chosen = {0: 7, 1: 13, 2: 41}
        plan = {"arms": list(PAIR), "seeds": [7, 13, 41]}
        records = [r.model_copy(update={"seed": chosen[r.seed], "plan": r.plan | plan}) for r in runs.grid(PAIR, (0, 1, 2))]
        summary = summary_of(runs, records)
        assert flag_with(summary, "seeds 7, 13 and 41 are not 0 to 2")
        assert "Seeds 7, 13 and 41" in summary["conditions"][0]

    def test_seeds_that_would_settle_it_come_with_the_warning(self, runs: Any) -> None:
        records = with_accuracies(
            ahead(runs), mono_forward=[b + d for b, d in zip(BASE, (0.02, -0.01, 0.02, -0.01, 0.02), strict=False)]
        )
        directory = runs(records=records)
        assert verdict_of(report.summarise([directory])) == "inconclusive"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bpfree.report.page.charts", lambda table: [])
            paths = report.build([directory])
        for text in (paths.page.read_text(), paths.markdown.read_text()):
            assert "seeds would settle it, if planned and tested once" in text
            assert "13 % of simulated studies" in text

    def test_seeds_that_were_added_after_a_look_are_flagged_and_not_judged(self, runs: Any) -> None:
        first, more = ahead(runs, 5), [r for r in ahead(runs, 8) if r.seed >= 5]
        later = [r.model_copy(update={"started_at": "2999-01-01T00:00:00+00:00"}) for r in more]
        summary = summary_of(runs, [*first, *later])
        assert flag_with(summary, "ADDED SEEDS").startswith(
            "ADDED SEEDS: seeds were added after results could be seen (5, then 8)"
        )
        assert verdict_of(summary) == "not judged: seeds were added after a look"
        assert (summary["tables"][0]["looks"], summary["tables"][0]["test_level"]) == ([5, 8], 0.0)

    def test_a_resumed_plan_is_one_look(self, runs: Any) -> None:
        records = [r.model_copy(update={"started_at": f"2026-01-0{1 + r.seed}T00:00:00+00:00"}) for r in ahead(runs)]
        looks = looks_of({arm: [r for r in records if r.arm == arm] for arm in PAIR})
        assert (looks.sizes, looks.level, looks.added, looks.unfinished) == ((5,), pytest.approx(0.05), False, False)

    def test_before_the_end_of_a_plan_the_level_is_that_of_obrien_and_fleming(self, runs: Any) -> None:
        plan = {"arms": list(PAIR), "seeds": list(range(10))}
        records = [r.model_copy(update={"plan": r.plan | plan}) for r in ahead(runs, 5)]
        summary = summary_of(runs, records)
        assert summary["tables"][0]["test_level"] == pytest.approx(stats.spent(0.5)) == pytest.approx(0.00557, abs=1e-5)
        assert flag_with(summary, "a look before the end").startswith("5 of 10 planned seeds have ended in every arm")
        assert verdict_of(summary) == "ahead in this search", "p = .0026 is below .0056"
        longer = [r.model_copy(update={"plan": r.plan | {"seeds": list(range(20))}}) for r in records]
        early = summary_of(runs, longer, name="longer")
        assert early["tables"][0]["test_level"] == pytest.approx(8.9e-5, rel=0.01)
        assert verdict_of(early) == "inconclusive", "p = .0026 is above .00009"
        three = [r for r in records if r.arm == "backprop" or r.seed < 3]
        (table,) = summary_of(runs, three, name="three")["tables"]
        assert table["test_level"] == pytest.approx(stats.spent(0.3)), "the arm with the fewest seeds counts"


class TestFamilies:
    def test_holm_runs_over_all_tables_of_a_report(self, runs: Any) -> None:
        """F17: p = .0026 alone; with four tables of it each is corrected for four."""
        one = summary_of(runs, ahead(runs))["tables"][0]["rows"][1]["evidence"]
        records = [r for k in range(4) for r in ahead(runs, net=f"mlp:1x{8 + k}")]
        many = summary_of(runs, records, name="many")
        evidence = [table["rows"][1]["evidence"] for table in many["tables"]]
        assert [each["p_difference_holm"] for each in evidence] == pytest.approx([4 * one["p_difference_holm"]] * 4)
        assert {each["family_size"] for each in evidence} == {4}
        assert any("over 4 comparisons with the baseline in 4 tables together" in line for line in many["conditions"])

    def test_equivalence_is_corrected_too(self, runs: Any) -> None:
        """Differences of ±.05 and 0 points: TOST at .28 points is significant alone, and its p doubles with a second arm."""
        near = [b + d for b, d in zip(BASE, (0.0015, -0.0015, 0.0, 0.0015, -0.0015), strict=False)]
        arms = (*PAIR, "forward-forward")
        records = with_accuracies(runs.grid(arms), backprop=BASE, mono_forward=near, forward_forward=near)
        rows = summary_of(runs, records)["tables"][0]["rows"]
        alone = summary_of(runs, [r for r in records if r.arm != "forward-forward"], name="alone")["tables"][0]["rows"]
        both = [row["evidence"]["p_equivalence_holm"] for row in rows[1:]]
        assert both == pytest.approx([2 * alone[1]["evidence"]["p_equivalence_holm"]] * 2)


class TestCosts:
    """F18: a ratio is given with its interval, and a word only by its margin."""

    def times(self, runs: Any, ratios: Sequence[float], **options: Any) -> list[Record]:
        return [
            r.model_copy(update={"time_s": 10.0 * (ratios[r.seed] if r.arm == "mono-forward" else 1.0)})
            for r in ahead(runs, **options)
        ]

    @pytest.mark.parametrize(
        ("ratios", "words"),
        [
            ((0.1, 10.0, 1.0, 5.0, 0.2), "1.00 [0.08, 11.78] times the time (not told apart)"),
            ((1.01, 0.99, 1.0, 1.01, 0.99), "1.00 [0.99, 1.01] times the time (as fast in this search)"),
            ((2.0, 2.1, 1.9, 2.0, 2.0), "2.00 [1.91, 2.09] times the time (slower in this search)"),
        ],
    )
    def test_words_of_time(self, runs: Any, ratios: Sequence[float], words: str) -> None:
        answer = summary_of(runs, self.times(runs, ratios))["tables"][0]["answer"]
        assert words in answer
        assert "about the same" not in answer

    def test_on_two_machines_there_is_a_ratio_and_no_word(self, runs: Any) -> None:
        records = self.times(runs, (2.0, 2.1, 1.9, 2.0, 2.0))
        records[0] = records[0].model_copy(update={"environment_digest": "other"})
        answer = summary_of(runs, records)["tables"][0]["answer"]
        assert "2.00 [1.91, 2.09] times the time." in answer


class TestLostRuns:
    """F20: lost runs of the baseline qualify the rivals' verdicts as those of a rival do."""

    def lost(self, runs: Any, arm: str, *, worse: bool) -> str:
        sign = -1 if worse else 1
        records = with_accuracies(ahead(runs, 7), mono_forward=[b + sign * u for b, u in zip(BASE, UP, strict=True)])
        gone = [
            r.model_copy(update={"status": "diverged", "test_accuracy": None, "reasons": r.reasons | {"test_accuracy": "x"}})
            if (r.arm, r.seed) == (arm, 1)
            else r
            for r in records
        ]
        return verdict_of(summary_of(runs, gone))

    def test_of_the_baseline(self, runs: Any) -> None:
        assert self.lost(runs, "backprop", worse=True) == "unreliable: of the baseline, 1 of 7 runs diverged"

    def test_of_the_baseline_although_the_rival_is_better(self, runs: Any) -> None:
        assert self.lost(runs, "backprop", worse=False) == "ahead in this search, and of the baseline, 1 of 7 runs diverged"

    def test_of_a_rival(self, runs: Any) -> None:
        assert self.lost(runs, "mono-forward", worse=False) == "unreliable: 1 of 7 runs diverged"


class TestPairs:
    def test_correlation_and_welch_stand_beside_the_paired_interval(self, runs: Any) -> None:
        """F21: pairs that run against each other make the paired interval the wider one."""
        against = [1.85 - b for b in BASE[:5]]
        evidence = summary_of(runs, with_accuracies(ahead(runs), mono_forward=against))["tables"][0]["rows"][1]["evidence"]
        assert evidence["correlation"] == pytest.approx(-1.0)
        welch, paired = evidence["welch"], stats.paired_difference(against, BASE[:5]).interval
        assert paired.half_width is not None
        assert welch["high"] - welch["low"] < 0.75 * 2 * paired.half_width
        assert evidence["bootstrap"] is None, "the test examples that were kept are not those of the accuracies"

    def test_splits_are_crossed_with_seeds(self, runs: Any) -> None:
        """Differences of seed s on split r: .01 s + .02 r. The mean squares give the interval of the statistics."""
        records = []
        for split in range(3):
            for r in ahead(runs):
                accuracy = 0.8 + (0.01 * r.seed + 0.02 * split + 0.001 * (r.seed * split % 2) if r.arm == "mono-forward" else 0.0)
                digest = f"data {split}"
                records.append(
                    r.model_copy(update={"split_seed": split, "data_digest": digest, "split": digest, "test_accuracy": accuracy})
                )
        table = build_tables(read_material([runs(records=records)]))[0]
        row = table.rows[1]
        grid = np.array([[0.01 * s + 0.02 * r + 0.001 * (s * r % 2) for r in range(3)] for s in range(5)])
        expected = stats.crossed_interval(grid).interval
        found = row[DIFFERENCE]
        assert found is not None
        assert (found.mean, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high))
        assert found.n == 5, "splits are no more pairs"
        accuracy = row[ACCURACY]
        assert accuracy is not None
        assert accuracy.low == pytest.approx(0.8 + (expected.low or 0.0))
        conditions = report.summarise([runs.root / "run"])["conditions"][0]
        assert conditions.startswith("Seeds 0 to 4, crossed with split seeds 0 to 2:")
