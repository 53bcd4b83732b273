"""Time and energy to a target, the front of accuracy against cost, profiles over data sets, and seeds that would settle it."""

from __future__ import annotations

import math
import statistics

import pytest

from bpfree import report
from bpfree.errors import UsageError
from bpfree.report.charts import charts, front_in_words, pareto
from bpfree.report.facts import commands
from bpfree.report.material import read_material
from bpfree.report.model import build_tables
from bpfree.report.profiles import profile_chart
from bpfree.report.quantities import ACCURACY, ENERGY
from bpfree.report.stopping import state_flaw, stopping_flaw


def tables_of(runs, records, target=None, **options):
    return build_tables(read_material([runs(records=records, **options)]), target)


def reached(table):
    return {each.arm: each for each in table.targets.arms}


def first_at(record, accuracy):
    """The pass that first reached an accuracy, found the slow way."""
    for entry in record.history:
        if entry.val_accuracy >= accuracy:
            return entry
    return None


class TestTargets:
    def test_medians_over_seeds_of_the_first_pass_that_reached_it(self, runs):
        records = runs.grid(energy=True)
        (table,) = tables_of(runs, records, 0.9)
        mono_forward = reached(table)["mono-forward"]
        entries = [first_at(r, 0.9) for r in records if r.arm == "mono-forward"]
        assert (mono_forward.n_reached, mono_forward.n_runs) == (5, 5)
        assert mono_forward.passes == statistics.median(e.passes for e in entries)
        assert mono_forward.time_s == statistics.median(e.time_s for e in entries)
        assert mono_forward.joules == statistics.median(e.joules for e in entries)
        assert mono_forward.flops is None, "records of earlier versions have none"
        assert mono_forward.texts[-1] == "–"

    def test_without_joules_there_is_none_and_never_zero(self, runs):
        (table,) = tables_of(runs, runs.grid(), 0.9)
        assert reached(table)["backprop"].joules is None
        assert reached(table)["backprop"].texts[3] == "–"

    def test_an_arm_that_never_reaches_it_says_so(self, runs):
        directory = runs(records=runs.grid(energy=True))
        (table,) = build_tables(read_material([directory]), 0.99)
        assert reached(table)["forward-forward"].texts == ("0 of 5", "never", "never", "never", "–")
        page = report.build([directory], target=0.99).page.read_text()
        assert "Cost until validation first reached 99.00 % (as asked for)" in page
        assert ">never<" in page
        summary = report.summarise([directory], 0.99)["tables"][0]["target"]
        assert summary["arms"][3]["n_reached"] == 0
        assert summary["arms"][3]["median_time_s"] is None
        assert "inf" in report.build([directory], target=0.99).csv.read_text()

    @pytest.mark.parametrize("status", ["diverged", "failed"])
    def test_a_lost_run_is_a_miss(self, runs, status):
        records = [runs.record(r.arm, r.seed, status=status) if r.arm == "backprop" and r.seed < 3 else r for r in runs.grid()]
        (table,) = tables_of(runs, records, 0.9)
        backprop = reached(table)["backprop"]
        assert (backprop.n_reached, backprop.n_runs, backprop.time_s) == (2, 5, math.inf)

    def test_an_interrupted_run_is_no_miss(self, runs):
        records = [
            r.model_copy(update={"status": "interrupted"}) if (r.arm, r.seed) == ("backprop", 4) else r for r in runs.grid()
        ]
        each = reached(tables_of(runs, records, 0.9)[0])["backprop"]
        assert (each.n_reached, each.n_runs) == (4, 4)

    def test_what_was_asked_for_comes_before_the_plan_and_the_plan_before_the_default(self, runs):
        records = [r.model_copy(update={"plan": {**r.plan, "target": 0.8}}) for r in runs.grid()]
        assert tables_of(runs, records, 0.7)[0].targets.accuracy == 0.7
        assert tables_of(runs, records)[0].targets.source == "the target of the runs"
        assert tables_of(runs, records)[0].targets.accuracy == 0.8
        assert tables_of(runs, records, {"digits": 0.6})[0].targets.accuracy == 0.6
        assert tables_of(runs, records, {"mnist": 0.6})[0].targets.accuracy == 0.8

    def test_by_default_it_is_a_share_of_the_baselines_best(self, runs):
        records = runs.grid()
        targets = tables_of(runs, records)[0].targets
        best = statistics.fmean(max(e.val_accuracy for e in r.history) for r in records if r.arm == "backprop")
        assert targets.accuracy == pytest.approx(0.99 * best)
        assert targets.source == "99 % of backprop’s mean best validation accuracy"

    def test_a_part_of_a_data_set_has_the_target_of_the_whole(self, runs):
        (table,) = tables_of(runs, runs.grid(dataset="mnist[10000]"), {"mnist": 0.5})
        assert table.targets.accuracy == 0.5

    def test_the_command_that_makes_the_report_again_names_what_was_asked_for(self, runs):
        names = iter("abcde")

        def last(records, target):
            material = read_material([runs(next(names), records=records)])
            return commands(material, build_tables(material, target))[-1]

        records = runs.grid()
        others = [record.model_copy(update={"dataset": "mnist[100]"}) for record in records]
        assert "--target" not in last(records, None)
        assert "--target" not in last([r.model_copy(update={"plan": r.plan | {"target": 0.7}}) for r in records], None)
        assert last(records, 0.9).endswith(" --target 0.9")
        assert last([*records, *others], 0.9).endswith(" --target digits=0.9,mnist=0.9")
        assert last([*records, *others], {"mnist": 0.5}).endswith(" --target mnist=0.5")

    @pytest.mark.parametrize("target", [0.0, 1.5, math.nan])
    def test_what_is_no_accuracy_is_refused(self, runs, target):
        with pytest.raises(UsageError, match="above 0 and at most 1"):
            tables_of(runs, runs.grid(), target)


class TestFront:
    def test_who_is_beaten_in_both_is_not_on_it(self, runs):
        (table,) = tables_of(runs, runs.grid(energy=True))
        energy = {row.label: row[ENERGY].mean for row in table.rows}
        accuracy = {row.label: row[ACCURACY].mean for row in table.rows}
        for label in energy:
            beaten = any(energy[o] <= energy[label] and accuracy[o] >= accuracy[label] for o in energy if o != label)
            assert (label in pareto(table)) != beaten, label
        assert "forward-forward" not in pareto(table)

    def test_it_is_said_on_the_page_and_in_the_chart(self, runs):
        directory = runs(records=runs.grid(energy=True))
        (table,) = build_tables(read_material([directory]))
        words = front_in_words(table)
        assert words.startswith("On the front of accuracy against energy")
        assert words in next(chart.description for chart in charts(table) if chart.name == "accuracy-energy")
        assert words in report.build([directory]).page.read_text()

    def test_an_arm_that_lost_runs_is_not_on_it(self, runs):
        records = [
            runs.record(r.arm, r.seed, status="diverged") if r.arm == "backprop" and r.seed == 1 else r for r in runs.grid()
        ]
        (table,) = tables_of(runs, records)
        assert "backprop" not in pareto(table)

    def test_without_energy_it_is_against_time(self, runs):
        (table,) = tables_of(runs, runs.grid())
        assert "accuracy against time" in front_in_words(table)


class TestProfiles:
    def grids(self, runs, **options):
        other = runs.grid(dataset="mnist", **options)
        return [*runs.grid(**options), *other]

    def test_one_data_set_has_none(self, runs):
        assert profile_chart(tables_of(runs, runs.grid())) is None
        two_nets = [*runs.grid(), *runs.grid(net="mlp:1x16")]
        assert profile_chart(tables_of(runs, two_nets)) is None

    def test_shares_are_said_in_words_and_drawn(self, runs):
        directory = runs(records=self.grids(runs))
        chart = profile_chart(build_tables(read_material([directory]), 0.9))
        assert chart.title == "Performance profiles over 2 data sets"
        assert "By time to the target" in chart.description
        assert "forward-forward on 0 %" in chart.description
        paths = report.build([directory], target=0.9)
        assert "profiles.svg" in {figure.name for figure in paths.figures}
        assert "Over the data sets" in paths.page.read_text()

    def test_an_arm_that_is_not_everywhere_is_left_out_by_name(self, runs):
        records = [r for r in self.grids(runs) if (r.dataset, r.arm) != ("mnist", "forward-forward")]
        chart = profile_chart(tables_of(runs, records, 0.9))
        assert "Left out, since they were not run everywhere: forward-forward." in chart.description

    def test_by_energy_only_where_all_have_it(self, runs):
        assert "By energy" in profile_chart(tables_of(runs, self.grids(runs, energy=True), 0.9)).description

    def test_data_sets_that_nobody_solved_do_not_count(self, runs):
        assert profile_chart(tables_of(runs, self.grids(runs), {"digits": 0.9, "mnist": 0.9999})) is None


def test_an_inconclusive_difference_says_how_many_seeds_would_settle_it(runs):
    base = [0.95, 0.96, 0.94, 0.955, 0.945]
    mine = [b + d for b, d in zip(base, (0.012, -0.004, 0.01, -0.006, 0.008), strict=True)]
    values = {"backprop": base, "mono-forward": mine}
    arms = tuple(values)
    records = [r.model_copy(update={"test_accuracy": values[r.arm][r.seed]}) for r in runs.grid(arms=arms)]
    directory = runs(records=records)
    assert report.summarise([directory])["tables"][0]["rows"][1]["verdict"] == "inconclusive"
    assert "seeds would settle it" in report.build([directory]).page.read_text()


class TestAudit:
    """The histories of the fixture end by the ruleset's patience; what does not is found."""

    def test_a_run_that_kept_the_rules_has_no_flaw(self, runs):
        for run in runs.grid():
            planned = run.model_copy(update={"plan": {**run.plan, "phases": {"all blocks": None}}})
            assert stopping_flaw(planned, runs.ruleset) == ""
            assert state_flaw(planned, runs.ruleset) == ""

    def test_ended_too_early(self, runs):
        run = runs.record("backprop", 0, plan={"phases": {"all blocks": None}})
        short = run.model_copy(update={"history": run.history[:-4], "passes": run.passes - 4})
        assert "training ended after 6 passes without improvement" in stopping_flaw(short, runs.ruleset)

    def test_to_the_pass(self, runs):
        """Patience is 10: the fixture ends after exactly 10 passes without improvement; 9 are too few, 11 too many."""
        run = runs.record("backprop", 0, plan={"phases": {"all blocks": None}})
        assert stopping_flaw(run, runs.ruleset) == ""
        short = run.model_copy(update={"history": run.history[:-1], "passes": run.passes - 1})
        assert "ended after 9 passes without improvement" in stopping_flaw(short, runs.ruleset)
        last = run.history[-1].model_copy(update={"passes": run.passes + 1})
        long = run.model_copy(update={"history": [*run.history, last], "passes": run.passes + 1})
        assert "went on for 11 passes without improvement, the ruleset says 10" in stopping_flaw(long, runs.ruleset)

    def test_the_cap_to_the_pass(self, runs):
        run = runs.record("backprop", 0)
        assert stopping_flaw(run, runs.ruleset.with_changes(max_passes=run.passes)) == ""
        flaw = stopping_flaw(run, runs.ruleset.with_changes(max_passes=run.passes - 1))
        assert flaw == f"{run.passes} passes were run, the ruleset says at most {run.passes - 1}"

    def test_a_rule_that_has_nothing_more_to_do_may_end(self, runs):
        run = runs.record("backprop", 0)
        for limit, flaw in ((3, ""), (None, "training ended")):
            planned = {"plan": {"phases": {"all predictors": limit}}, "history": run.history[:3], "passes": 3}
            assert stopping_flaw(run.model_copy(update=planned), runs.ruleset).startswith(flaw)
            assert bool(stopping_flaw(run.model_copy(update=planned), runs.ruleset)) == bool(flaw)

    def test_by_loss_where_the_rule_says_so(self, runs):
        run = runs.record("backprop", 0, plan={"phases": {"all blocks": None}})
        falling = [e.model_copy(update={"val_loss": 1.0 / e.passes}) for e in run.history]
        lossy = run.model_copy(update={"history": falling})
        by_loss = runs.ruleset.with_changes(metric="validation-loss")
        assert "ended after 0 passes without improvement" in stopping_flaw(lossy, by_loss)
        assert "that of the best pass is" in state_flaw(lossy, by_loss)
        capped = by_loss.with_changes(max_passes=run.passes)
        assert stopping_flaw(lossy, capped) == ""


def test_an_arm_without_a_choice_of_readout_is_named(runs):
    from bpfree import rulesets

    rules = runs.ruleset.with_changes(readout="best-prefix-on-validation")
    records = [
        r.model_copy(update={"variant": "readout=best-prefix"}) if r.algorithm == "mono-forward" else r
        for r in runs.grid(arms=("backprop", "mono-forward"), digest=rulesets.digest(rules))
    ]
    raised = [flag for flag in report.summarise([runs(records=records, ruleset=rules)])["flags"] if "readout" in flag]
    assert raised == ["Backprop has one readout only, so validation had nothing to choose among."]
