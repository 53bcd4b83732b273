"""Rulesets refuse what cannot be meant, in one line that names the field; exceptions and changes hold."""

import math

import pytest
from pydantic import ValidationError

from bpfree import rulesets
from bpfree.errors import RulesetError
from bpfree.rulesets import ArmException

QUICK = rulesets.load("quick")
UNIFORM = rulesets.load("uniform")
LEGACY = rulesets.load("legacy-2025")
SPYRA = rulesets.load("spyra2026-uniform")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"patience": -1}, ["stop.patience", "greater than or equal to 1", "-1"]),
        ({"patience": 0}, ["stop.patience", "0"]),
        ({"patience": 2.5}, ["stop.patience", "2.5"]),
        ({"patience": True}, ["stop.patience", "not true or false"]),
        ({"trials": -1}, ["search.trials", "-1"]),
        ({"studies": 0}, ["search.studies", "0"]),
        ({"studies": 5}, ["search.studies is 5", "leave passes_per_trial and train_examples empty"]),
        (
            {"search.sampler": {"name": "hyperband"}},
            ["search.sampler.name must be one of tpe, qmc, random, grid, got 'hyperband'"],
        ),
        ({"search.spaces": "mine"}, ["search.spaces", "unknown search spaces 'mine'", "standard"]),
        ({"search.spaces": {"*": {"lr": {"low": 1, "high": 0.1}}}}, ["search.spaces", "low end", "1 to 0.1"]),
        ({"search.spaces": {"pepita:": {}}}, ["search.spaces", "'pepita:'", "RULE:option=value"]),
        ({"search.spaces": None}, ["search.spaces is empty"]),
        ({"splits": {"digits": "60/20/20"}}, ["splits.digits", "splits: standard"]),
        ({"splits": {"mnist": {"kind": "last", "validation": 10, "test": 0.2}}}, ["splits", "stratified"]),
        ({"splits": {"digits": {"kind": "stratified", "validation": 0.5, "test": 0.5}}}, ["splits", "leave something"]),
        ({"split_seeds": [0, 0]}, ["plan.split_seeds", "0 (2 times)"]),
        ({"trials": "many"}, ["search.trials", "a number is needed", "many"]),
        ({"max_passes": 0}, ["budget.max_passes", "0"]),
        ({"max_passes": None}, ["budget.max_passes", "None"]),
        ({"batch_size": math.nan}, ["batch_size", "finite", "nan"]),
        ({"batch_size": math.inf}, ["batch_size", "finite", "inf"]),
        ({"batch_size": 0}, ["batch_size", "0"]),
        ({"min_delta": -1e-9}, ["stop.min_delta", "-1e-09"]),
        ({"min_delta": math.nan}, ["stop.min_delta", "nan"]),
        ({"max_hours": 0}, ["budget.max_hours", "greater than 0"]),
        (
            {"metric": "test-accuracy"},
            ["stop.metric", "'validation-accuracy', 'balanced-accuracy' or 'validation-loss'", "test-accuracy"],
        ),
        ({"search.pruner": "median"}, ["search.pruner", "'none'", "median"]),
        ({"search.objective": "best-test-accuracy"}, ["search.objective", "best-test-accuracy"]),
        ({"equivalence_margin": 0}, ["equivalence_margin", "greater than 0"]),
        ({"equivalence_margin": 25}, ["equivalence_margin", "less than 1"]),
        ({"scale": 1.5}, ["scale", "1.5"]),
        ({"search.sampler": {"name": "tpe", "group": True}}, ["search.sampler", "multivariate"]),
        ({"search.passes_per_trial": 41}, ["passes_per_trial", "41", "40", "empty"]),
        ({"seeds": [42, 1, 42, 42]}, ["plan.seeds", "42 (3 times)", "a seed counts once"]),
        ({"seeds": []}, ["plan.seeds", "at least one"]),
        ({"seeds": [-1]}, ["plan.seeds.0", "-1"]),
        ({"stop.patiense": 3}, ["unknown key 'stop.patiense'", "did you mean 'stop.patience'?"]),
        ({"patiense": 3}, ["unknown key 'patiense'", "'patience'"]),
        ({"batch_sise": 3}, ["unknown key 'batch_sise'", "'batch_size'"]),
        ({"zzz": 3}, ["unknown key 'zzz'", "known: "]),
        ({"stop.patience.deep": 3}, ["unknown key"]),
        ({"name": "  "}, ["name"]),
        ({"augmentation": "mixup"}, ["augmentation", "mixup"]),
        (
            {"exceptions": [{"arms": [], "field": "batch_size", "value": 1, "why": "x"}]},
            ["exceptions.0.arms"],
        ),
        (
            {"exceptions": [{"arms": ["a"], "field": "batch_size", "value": 1}]},
            ["exceptions.0.why", "missing"],
        ),
        (
            {"exceptions": [{"arms": ["a"], "field": "batch_size", "value": 1, "why": " "}]},
            ["exceptions.0.why"],
        ),
        ({"exceptions": [{"arms": ["a"], "field": "batch", "value": 1, "why": "x"}]}, ["no rule 'batch'"]),
        (
            {"exceptions": [{"arms": ["a"], "field": "plan.tier", "value": "graph", "why": "x"}]},
            ["cannot differ"],
        ),
        (
            {"exceptions": [{"arms": ["a"], "field": "class_weight", "value": "balanced", "why": "x"}]},
            ["cannot differ"],
        ),
        (
            {"exceptions": [{"arms": ["a"], "field": "comparable", "value": False, "why": "x"}]},
            ["cannot differ"],
        ),
        (
            {"exceptions": [{"arms": ["a"], "field": "stop.patience", "value": -3, "why": "x"}]},
            ["stop.patience", "-3"],
        ),
        (
            {"exceptions": [{"arms": ["a"], "field": "budget.max_passes", "value": "x", "why": "x"}]},
            ["exception for a: budget.max_passes a number is needed"],
        ),
        (
            {"exceptions": [{"arms": ["a"], "field": "budget.max_passes", "value": 0, "why": "x"}]},
            ["exception for a: budget.max_passes", "got 0"],
        ),
        ({"exceptions": [{"arms": ["a"], "field": "stop", "value": 3, "why": "x"}]}, ["stop"]),
    ],
)
def test_bad_values_are_refused_in_one_line(changes, parts):
    with pytest.raises(RulesetError) as caught:
        QUICK.with_changes(changes)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("ruleset quick: ")
    for part in parts:
        assert part in message


def test_a_ruleset_is_frozen():
    with pytest.raises(ValidationError):
        QUICK.batch_size = 1
    with pytest.raises(ValidationError):
        QUICK.stop.patience = 1


def test_numbers_may_come_as_text_from_a_command_line():
    changed = QUICK.with_changes(trials="3", max_hours="1.5")
    assert (changed.search.trials, changed.budget.max_hours) == (3, 1.5)


class TestWithChanges:
    def test_short_and_dotted_names_are_the_same(self):
        assert QUICK.with_changes(trials=3) == QUICK.with_changes({"search.trials": 3})

    def test_the_name_is_marked_once(self):
        assert QUICK.with_changes(trials=3).with_changes(trials=4).name == "quick+changed"

    def test_a_change_to_the_same_value_is_none(self):
        assert QUICK.with_changes(trials=8) == QUICK

    def test_fewer_passes_shorten_the_trials(self):
        changed = QUICK.with_changes(max_passes=10)
        assert (changed.passes("digits"), changed.trial_passes("digits")) == (10, 10)

    def test_more_passes_leave_the_trials(self):
        assert QUICK.with_changes(max_passes=100).trial_passes() == 15

    def test_max_passes_replaces_the_table_per_data_set(self):
        matched = rulesets.load("matched-passes")
        assert (matched.passes("cifar10"), matched.passes("digits"), matched.passes()) == (52, 40, 40)
        assert matched.with_changes(max_passes=9).passes("cifar10") == 9

    def test_seeds_by_number(self):
        assert QUICK.with_changes(seeds=3).plan.seeds == (0, 1, 2)
        assert QUICK.with_changes(seeds=[3]).plan.seeds == (3,)

    def test_the_original_stays(self):
        before = QUICK.model_dump()
        QUICK.with_changes({"budget.passes_by_dataset": {"digits": 3}, "trials": 1})
        assert QUICK.model_dump() == before


class TestScaled:
    def test_multiplies_examples_trials_and_passes(self):
        small = UNIFORM.scaled(0.02)
        assert (small.search.trials, small.passes(), small.examples_for(50_000)) == (1, 2, 1000)
        assert small.stamps == ("SCALED",)
        assert any(line.startswith("SCALED") for line in rulesets.in_words(small))

    def test_scales_the_caps_of_exceptions_and_tables(self):
        small = LEGACY.scaled(0.1)
        assert small.for_arm("mono-forward", "mnist").passes("mnist") == 1
        assert small.for_arm("cascaded-forward", "mnist").passes("mnist") == 127
        assert small.for_arm("backprop", "mnist").search.trials == 1
        assert rulesets.load("matched-passes").scaled(0.5).passes("cifar10") == 26

    def test_rounds_to_the_nearest_count(self):
        """7 trials, 9 passes, 5 in a trial and 11 examples, times 0.3: 2.1, 2.7, 1.5 and 3.3; down would give 2, 2, 1, 3."""
        small = QUICK.with_changes(trials=7, max_passes=9, passes_per_trial=5).scaled(0.3)
        assert (small.search.trials, small.passes(), small.search.passes_per_trial) == (2, 3, 2)
        assert [small.examples_for(n) for n in (11, 12, 9)] == [3, 4, 3]
        table = QUICK.with_changes({"budget.passes_by_dataset": {"digits": 9, "mnist": 8}}).scaled(0.3)
        assert (table.passes("digits"), table.passes("mnist")) == (3, 2)

    def test_never_below_one(self):
        tiny = QUICK.scaled(1e-6)
        assert (tiny.search.trials, tiny.passes(), tiny.trial_passes(), tiny.examples_for(10)) == (1, 1, 1, 1)

    def test_one_is_no_change(self):
        assert QUICK.scaled(1.0) is QUICK

    @pytest.mark.parametrize("scale", [0, -1, 1.1, math.nan])
    def test_refuses_other_scales(self, scale):
        with pytest.raises(RulesetError, match="scale must lie above 0"):
            QUICK.scaled(scale)

    def test_train_examples_is_a_cap(self):
        assert QUICK.with_changes(train_examples=10_000).examples_for(50_000) == 10_000
        assert QUICK.with_changes(train_examples=10_000).examples_for(1_000) == 1_000


class TestExceptions:
    def test_an_arm_without_one_gets_the_same_object(self):
        assert SPYRA.for_arm("backprop", "mnist") is SPYRA

    def test_forward_forward_stops_on_accuracy_in_spyra2026(self):
        assert SPYRA.stop.metric == "validation-loss"
        special = SPYRA.for_arm("forward-forward", "mnist")
        assert special.stop.metric == "validation-accuracy"
        assert special.stop.min_delta == 0.0
        assert special.stop.patience == 20

    def test_options_of_the_arm_decide(self):
        e = ArmException(arms=("mono-forward:schedule=staged",), field="batch_size", value=1, why="x")
        assert e.applies("mono-forward:schedule=staged", None, None, None)
        assert e.applies("mono-forward:readout=sum:schedule=staged", None, None, None)
        assert not e.applies("mono-forward", None, None, None)
        assert not e.applies("mono-forward:schedule=joint", None, None, None)
        assert not e.applies("mono-forward-x:schedule=staged", None, None, None)

    def test_narrowing(self):
        arm = "cascaded-forward:blocks=dfa"
        assert SPYRA.for_arm(arm, "cifar10", phase="blocks").passes("cifar10") == 250
        assert SPYRA.for_arm(arm, "cifar10", phase="blocks").stop.patience is None
        assert SPYRA.for_arm(arm, "cifar10") is SPYRA
        assert SPYRA.for_arm(arm, "cifar10", phase="predictors") is SPYRA

    def test_the_later_one_holds(self):
        backprop = LEGACY.for_arm("backprop", "mnist", "mlp:2x1000")
        assert (backprop.search.trials, backprop.stop.patience, backprop.trial_passes("mnist")) == (5, 10, 15)
        assert LEGACY.for_arm("backprop", "cifar10", "mlp:3x2000").search.trials == 10

    def test_published_inequality_of_mono_forward(self):
        """algorithms.md 10.1: MF patience 4, cap 15 per layer, last weights; BP 20, 100, best state."""
        backprop = LEGACY.for_arm("backprop", "cifar10", "mlp:3x2000")
        mono = LEGACY.for_arm("mono-forward:schedule=staged", "cifar10", "mlp:3x2000")
        assert (backprop.stop.patience, mono.stop.patience) == (20, 4)
        assert (backprop.passes("cifar10"), mono.passes("cifar10"), mono.budget.per) == (100, 15, "phase")
        assert (backprop.stop.restore_best, mono.stop.restore_best) == (True, False)
        assert mono.stop.min_delta == 1e-4

    def test_an_exception_to_the_cap_overrules_the_table_per_data_set(self):
        e = {"arms": ["x"], "field": "budget.max_passes", "value": 7, "why": "a test"}
        matched = rulesets.load("matched-passes").with_changes(exceptions=[e])
        assert matched.for_arm("x", "cifar10").passes("cifar10") == 7
        assert matched.for_arm("y", "cifar10").passes("cifar10") == 52

    def test_stamps(self):
        assert LEGACY.stamps == ("NOT COMPARABLE", "EXCEPTIONS")
        assert SPYRA.stamps == ("EXCEPTIONS",)
        assert UNIFORM.stamps == ()


def test_legacy_is_only_for_reproduce():
    LEGACY.check_use("reproduce")
    UNIFORM.check_use("compare")
    with pytest.raises(RulesetError, match="only for `bpfree reproduce`, not for `bpfree compare`"):
        LEGACY.check_use("compare")


def test_augmentation_for():
    assert UNIFORM.augmentation_for("cifar10") == "crop-flip"
    assert UNIFORM.augmentation_for("mnist") == "none"
    assert QUICK.with_changes(augmentation="crop-flip").augmentation_for("mnist") == "crop-flip"
    assert QUICK.with_changes(augmentation={"default": "crop-flip"}).augmentation_for("x") == "crop-flip"


class TestNamedValues:
    """The numbers that issues 3 and 6 fix."""

    def test_quick(self):
        assert (QUICK.search.trials, QUICK.trial_passes(), QUICK.passes()) == (8, 15, 40)
        assert (QUICK.stop.metric, QUICK.stop.patience, QUICK.batch_size) == ("validation-accuracy", 10, 64)
        assert len(QUICK.plan.seeds) == 5
        assert QUICK.plan.datasets == ("digits",)
        assert QUICK.plan.nets == ("mlp:2x256",)

    def test_uniform(self):
        assert (UNIFORM.stop.metric, UNIFORM.stop.patience) == ("validation-accuracy", 20)
        assert UNIFORM.stop.restore_best
        assert (UNIFORM.search.trials, UNIFORM.passes("mnist"), UNIFORM.trial_passes("mnist")) == (
            50,
            100,
            100,
        )
        assert (UNIFORM.budget.per, UNIFORM.budget.max_hours, UNIFORM.batch_size) == ("run", 24, 128)

    def test_matched_passes_never_stops_early(self):
        matched = rulesets.load("matched-passes")
        assert matched.stop.patience is None
        assert [matched.passes(d) for d in ("mnist", "fashion-mnist", "cifar10", "cifar100")] == [
            27,
            27,
            52,
            44,
        ]

    def test_spyra2026(self):
        assert (SPYRA.stop.metric, SPYRA.stop.patience, SPYRA.stop.min_delta) == ("validation-loss", 20, 0.0)
        assert (SPYRA.passes(), SPYRA.budget.per, SPYRA.search.trials) == (100, "phase", 50)

    @pytest.mark.parametrize("name", ["quick", "uniform", "matched-passes"])
    def test_fair_ones_have_no_exceptions(self, name):
        ruleset = rulesets.load(name)
        assert ruleset.comparable
        assert not ruleset.exceptions
        assert ruleset.stop.metric == "validation-accuracy"
