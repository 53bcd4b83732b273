"""What is done with a ruleset, by value: exceptions, changes, scaling, texts of refusals and of files, each condition alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bpfree import rulesets
from bpfree.errors import RulesetError
from bpfree.rulesets import Patience, changed_rules, difference, digest, in_words, load, save, short_digest
from bpfree.rulesets.ruleset import Ruleset, build
from bpfree.rulesets.schema import replace
from bpfree.rulesets.search import QuasiRandom, Sampler
from bpfree.rulesets.splits import Split
from tests.rulesets.test_stopping import Stage

QUICK = load("quick")  # 40 passes, 15 of a trial, patience 10, 8 trials, batches of 64


def excepted(field: str, value: Any, *arms: str, **narrowed: Any) -> dict[str, Any]:
    return {"arms": list(arms or ["pepita"]), "field": field, "value": value, "why": "a reason"} | narrowed


def with_exceptions(*exceptions: dict[str, Any], **changes: Any) -> Ruleset:
    return QUICK.with_changes(exceptions=list(exceptions), **changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_passes": 0}, "budget.max_passes must be greater than or equal to 1, got 0"),
        ({"max_passes": -3}, "budget.max_passes must be greater than or equal to 1, got -3"),
        ({"max_passes": "x"}, "budget.max_passes a number is needed, not text, got 'x'"),
        (
            {"patience": -1, "batch_size": 0, "trials": -1},
            "stop.patience must be greater than or equal to 1, got -1 (and 2 more)",
        ),
        ({"batch_size": 0, "trials": -1}, "search.trials must be greater than or equal to 0, got -1 (and 1 more)"),
        ({"stopp.patience": 3}, "unknown key 'stopp.patience'; did you mean 'stop.patience'?"),
        ({"stopp.patience.x": 3}, "unknown key 'stopp.patience.x'; did you mean 'stop.patience'?"),
        ({"batch_size.x": 1}, "unknown key 'batch_size.x'; did you mean 'batch_size'?"),
        ({"batch_size.x.y": 1}, "unknown key 'batch_size.x.y'; did you mean 'batch_size'?"),
        ({"max_pass": 1}, "unknown key 'max_pass'; did you mean 'max_passes'?"),
        ({"augmentation": "mixup"}, "augmentation must be 'none' or 'crop-flip', got 'mixup' (and 1 more)"),
        ({"augmentation": {"mnist": "x"}}, "augmentation must be 'none' or 'crop-flip' (and 1 more)"),
        ({"search.sampler": {"name": "tpe", "group": True}}, "search.sampler group: true needs multivariate: true"),
        (
            {"search.sampler": {"name": "tpe", "n_startup_trials": -1}},
            "search.sampler.n_startup_trials must be greater than or equal to 0, got -1",
        ),
        (
            {"splits": {"digits": {"kind": "last", "validation": 5, "x": 1}}},
            "unknown key 'splits.digits.x'; did you mean 'splits'? (and 1 more)",
        ),
        (
            {"search.spaces": {"*": {"lr": {"low": 2, "high": 2}}}},
            "search.spaces.*.lr the low end of a range must be below its high end, got 2 to 2",
        ),
        ({"seeds": 0}, "plan.seeds must be a valid tuple, got 0"),
        ({"seeds": True}, "plan.seeds must be a valid tuple, got True"),
        ({"seeds": []}, "plan.seeds at least one seed is needed, got []"),
        ({"seeds": [3, 3, 5]}, "plan.seeds the same seed is listed again: 3 (2 times); a seed counts once, got [3, 3, 5]"),
        ({"stop": 3}, "stop must be a valid dictionary or instance of Stop, got 3"),
        ({"precision": "x"}, "precision must be 'float32', 'tf32' or 'bfloat16', got 'x'"),
        (
            {"splits": {"a": "x", "b": "y"}},
            "splits.a must say what the loader does, such as {kind: stratified, validation: 0.2, test: 0.2}; or write "
            "splits: standard",
        ),
        (
            {"passes_per_trial": 41},
            "search.passes_per_trial is 41, more than the 40 of a run; lower it, or leave it empty for the same as a run",
        ),
        (
            {"max_passes": 1, "passes_per_trial": 2},
            "search.passes_per_trial is 2, more than the 1 of a run; lower it, or leave it empty for the same as a run",
        ),
        ({"exceptions": [excepted("batch", 1)]}, "exceptions: there is no rule 'batch'"),
        ({"exceptions": [excepted("plan.tier", "graph")]}, "exceptions: 'plan.tier' cannot differ between arms"),
    ],
)  # fmt: skip
def test_refusals_word_by_word(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(RulesetError) as error:
        QUICK.with_changes(changes)
    assert str(error.value) == f"ruleset quick: {told}"


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("budget.max_passes", 0, "budget.max_passes must be greater than or equal to 1, got 0"),
        ("budget.max_passes", "x", "budget.max_passes a number is needed, not text, got 'x'"),
        ("search.passes_per_trial", "x", "search.passes_per_trial a number is needed, not text, got 'x'"),
        ("stop.patience", -1, "stop.patience must be greater than or equal to 1, got -1"),
    ],
)
def test_refusals_of_exceptions(field: str, value: Any, told: str) -> None:
    with pytest.raises(RulesetError) as error:
        with_exceptions(excepted(field, value, "a", "b"))
    assert str(error.value) == f"ruleset quick: exception for a, b: {told}"


def test_what_is_missing_and_where_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("stop: {metric: validation-loss, patience: 3}\nbudget: {max_passes: 5}\nsearch: {trials: 0}\n")
    with pytest.raises(RulesetError) as error:
        load(path)
    whole = "a ruleset file inherits nothing: copy the ruleset.yaml of a run directory and change that"
    assert str(error.value) == f"ruleset {path}: batch_size is missing; {whole}"
    with pytest.raises(RulesetError) as error:
        build({"name": "x", "batch_size": 1}, "here")
    assert str(error.value) == f"ruleset here: stop, budget, search are missing; {whole}"
    with pytest.raises(RulesetError) as error:
        build({"name": "x", "batch_size": "many"}, "here")
    assert str(error.value) == f"ruleset here: stop, budget, search are missing (and 1 more); {whole}"
    with pytest.raises(RulesetError) as error:
        build({"name": "x", "batch_sise": 1}, "here")
    assert str(error.value) == "ruleset here: unknown key 'batch_sise'; did you mean 'batch_size'? (and 4 more); " + whole


def test_a_file_by_value(tmp_path: Path) -> None:
    """Keys in the order of the fields, letters as they are, lines of 110."""
    long = QUICK.with_changes(description=" ".join("ü" * (1 + k % 4) for k in range(400)))
    save(long, tmp_path / "x.yaml")
    first, body = (tmp_path / "x.yaml").read_text().split("\n", 1)
    assert first == f"# bpfree ruleset, digest {short_digest(long)}"
    assert body == yaml.safe_dump(long.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)
    assert body.startswith("schema_version: 2\nname: quick\nversion: ")


def test_a_digest_by_value() -> None:
    """Of a ruleset that takes nothing from the package: results are published under such digests."""
    fields = {
        "name": "x", "batch_size": 8, "stop": {"metric": "validation-loss", "patience": 3}, "budget": {"max_passes": 5},
        "search": {"trials": 2, "spaces": {"*": {"lr": {"low": 0.1, "high": 1}}}}, "splits": {},
    }  # fmt: skip
    assert short_digest(build(fields, "x")) == "b203899c44ef8675"
    assert short_digest(build(fields | {"class_weight": "balanced"}, "x")) != "b203899c44ef8675"


def test_rules_of_version_1() -> None:
    """What they left out meant TPE, no search spaces and one study; what they cannot mean is refused."""
    fields: dict[str, Any] = {
        "schema_version": 1, "name": "old", "batch_size": 8, "stop": {"metric": "validation-loss", "patience": 3},
        "budget": {"max_passes": 5}, "search": {"trials": 2},
    }  # fmt: skip
    old = build(fields, "old")
    assert (old.search.sampler, old.search.spaces, old.search.studies) == (Sampler(), None, 1)
    assert set(rulesets.hashed_fields(old)["search"]) == {"trials", "passes_per_trial", "objective", "sampler", "pruner"}
    assert old.with_changes(splits={"digits": "60/20/20"}).splits == {"digits": "60/20/20"}
    spaces = QUICK.model_dump()["search"]["spaces"]
    for search in ({"studies": 2}, {"spaces": spaces}, {"sampler": {"name": "qmc"}}):
        with pytest.raises(RulesetError) as error:
            build(fields | {"search": {"trials": 2} | search}, "old")
        assert str(error.value) == (
            "ruleset old: schema_version 1 has one study, TPE and no search.spaces; write schema_version: 2"
        )
    with pytest.raises(RulesetError) as error:
        build(fields | {"search": 3}, "old")
    assert str(error.value) == "ruleset old: search must be a valid dictionary or instance of Search, got 3"
    new = build({key: value for key, value in fields.items() if key != "schema_version"}, "new")
    assert (new.schema_version, new.search.sampler) == (2, QuasiRandom())


def test_passes_of_runs_and_trials() -> None:
    table = QUICK.with_changes({"budget.passes_by_dataset": {"mnist": 50, "digits": 7}})
    assert [table.passes(name) for name in ("mnist", "digits", "cifar10", None)] == [50, 7, 40, 40]
    assert [table.trial_passes(name) for name in ("mnist", "digits", None)] == [15, 7, 15]
    assert [QUICK.with_changes(passes_per_trial=None).trial_passes(name) for name in ("mnist", None)] == [40, 40]
    assert [QUICK.with_changes(max_passes=cap).trial_passes() for cap in (1, 2, 14, 15, 16)] == [1, 2, 14, 15, 15]
    assert QUICK.with_changes(max_passes=10).search.passes_per_trial == 10
    assert QUICK.with_changes(max_passes=10, passes_per_trial=9).search.passes_per_trial == 9
    assert QUICK.with_changes(passes_per_trial=None).with_changes(max_passes=10).search.passes_per_trial is None
    assert table.with_changes(max_passes=20).budget.passes_by_dataset == {}
    kept = table.with_changes({"budget.max_passes": 20, "budget.passes_by_dataset": {"mnist": 3}})
    assert (kept.passes("mnist"), kept.passes()) == (3, 20)
    longer = {"budget.per": "phase", "max_passes": 10, "passes_per_trial": 12}
    assert QUICK.with_changes(longer).trial_passes() == 10


def test_examples_of_trials() -> None:
    """Scaled, a trial has an example of each class and a batch at least."""
    limited = QUICK.with_changes({"search.train_examples": 50})
    assert [limited.trial_examples(n, 10) for n in (49, 50, 51)] == [49, 50, 50]
    assert [QUICK.trial_examples(n, 10) for n in (7, 9000)] == [7, 9000]
    assert QUICK.scaled(0.5).trial_examples(300, 10) == 300
    more = QUICK.with_changes({"search.train_examples": 1001}).scaled(0.5)
    assert more.trial_examples(9000, 10) == 500
    assert more.trial_examples(9000, 600) == 600
    assert QUICK.with_changes({"search.train_examples": 1003}).scaled(0.5).trial_examples(9000, 10) == 502  # 501.5 rounded
    assert limited.scaled(0.5).trial_examples(9000, 10) == 64
    assert limited.scaled(0.5).trial_examples(30, 10) == 30


def test_rules_of_an_arm() -> None:
    rules = with_exceptions(excepted("budget.max_passes", 7), excepted("batch_size", 3, "foton", datasets=["mnist"]))
    assert rules.for_arm("backprop") is rules.for_arm("foton") is rules
    assert (rules.for_arm("pepita").passes("mnist"), rules.for_arm("pepita").trial_passes("mnist")) == (7, 7)
    assert (rules.for_arm("foton", "mnist").batch_size, rules.for_arm("foton", "mnist").exceptions) == (3, ())
    table = {"budget.passes_by_dataset": {"mnist": 50}, "passes_per_trial": 45}
    longer = QUICK.with_changes(table | {"exceptions": [excepted("batch_size", 3)]})
    assert longer.for_arm("pepita").trial_passes("mnist") == 45
    one = with_exceptions(excepted("budget.max_passes", 1))
    assert (one.for_arm("pepita").trial_passes(), one.trial_passes()) == (1, 15)
    without = with_exceptions(excepted("budget.max_passes", 9), passes_per_trial=None)
    assert without.for_arm("pepita").search.passes_per_trial is None


def test_stop_rules_of_phases() -> None:
    """An exception to the cap for single phases is a cap of those alone; where phases have their own caps, it replaces them."""
    usual = Patience(10, 40)
    table = QUICK.with_changes(
        {"budget.passes_by_dataset": {"mnist": 9}, "max_hours": 2, "min_delta": 0.5, "restore_best": False}
    )
    given = {"min_delta": 0.5, "restore_best": False, "max_hours": 2.0}
    assert table.patience("pepita", "mnist", None) == Patience(10, 9, **given)
    assert table.patience("pepita", "digits", None, trial=True) == Patience(10, 15, **given)
    assert table.patience("pepita", "mnist", None, trial=True) == Patience(10, 9, **given)
    assert QUICK.stop_rule("pepita", None, None) == usual
    assert QUICK.stop_rule("pepita", None, None, trial=True) == Patience(10, 15)
    rules = with_exceptions(
        excepted("budget.max_passes", 7, phases=["head"]), excepted("stop.patience", 3, nets=["mlp:8"]),
        excepted("stop.patience", 2, phases=["tail"]),
    )  # fmt: skip
    assert rules.stop_rule("foton", None, None) == usual
    rule = rules.stop_rule("pepita", None, "mlp:8")
    assert callable(rule)
    told = {name: rule(Stage(name=name)) for name in ("head", "tail", "rest", "head")}
    assert told == {"head": Patience(3, 40, own_cap=7), "tail": Patience(2, 40), "rest": Patience(3, 40)}
    assert rules.patience("pepita", None, None, "head") == Patience(10, 40, own_cap=7)
    assert rules.patience("pepita", None, None, "rest") == usual
    in_trial = rules.stop_rule("pepita", None, None, trial=True)
    assert callable(in_trial)
    assert in_trial(Stage(name="head")) == Patience(10, 15, own_cap=7)
    assert in_trial(Stage(name="tail")) == Patience(2, 15)
    every = with_exceptions(excepted("budget.max_passes", 7), excepted("stop.patience", 2, phases=["tail"]))
    assert every.patience("pepita", None, None, "tail") == Patience(2, 7), "the cap of the run, not of the phase"
    per_phase = with_exceptions(excepted("budget.max_passes", 7, phases=["head"]), **{"budget.per": "phase"})  # type: ignore[arg-type]
    assert per_phase.patience("pepita", None, None, "head") == Patience(10, 7, per_phase=True)
    loss = QUICK.with_changes(metric="validation-loss").patience("x", None, None)
    assert loss == Patience(10, 40, metric="validation-loss")


def test_names_of_changed_rulesets() -> None:
    assert [QUICK.with_changes(change).name for change in ({"trials": 9}, {"seeds": 9}, {"trials": 9, "name": "mine"}, {})] == [
        "quick+changed", "quick", "mine", "quick",
    ]  # fmt: skip
    assert QUICK.with_changes(trials=9).with_changes(seeds=2).with_changes(trials=8).name == "quick+changed"
    assert QUICK.with_changes({"trials": 9}, seeds=2).plan.seeds == (0, 1)
    assert (QUICK.with_changes(seeds=1).plan.seeds, QUICK.with_changes(seeds=[4]).plan.seeds) == ((0,), (4,))


def test_scaled_exceptions_and_scales_of_scales() -> None:
    rules = with_exceptions(
        excepted("search.trials", 6), excepted("budget.max_passes", 20), excepted("search.passes_per_trial", None),
        excepted("stop.patience", 6), excepted("search.passes_per_trial", 1), trials=4,
    )  # fmt: skip
    half = rules.scaled(0.5)
    assert [exception.value for exception in half.exceptions] == [3, 10, None, 6, 1]
    assert [exception.why for exception in half.exceptions] == 5 * ["a reason"]
    assert (half.scale, half.scaled(0.5).scale, half.search.trials, half.search.passes_per_trial) == (0.5, 0.25, 2, 8)
    assert QUICK.with_changes(trials=0).scaled(0.5).search.trials == 0
    assert QUICK.with_changes(passes_per_trial=None).scaled(0.5).search.passes_per_trial is None
    assert (QUICK.stamps, half.stamps) == ((), ("SCALED", "EXCEPTIONS"))
    assert QUICK.with_changes(comparable=False).stamps == ("NOT COMPARABLE",)


def test_who_may_use_a_ruleset() -> None:
    for name, use in (("quick", "compare"), ("quick", "reproduce"), ("legacy-2025", "reproduce")):
        load(name).check_use(use)
    with pytest.raises(RulesetError) as error:
        load("legacy-2025").check_use("measure")
    assert str(error.value) == (
        "ruleset legacy-2025 holds unequal rules and is only for `bpfree reproduce`, not for `bpfree measure`; use "
        "--ruleset uniform"
    )


def test_claims_weights_and_splits() -> None:
    sure = QUICK.with_changes(trials=0)
    assert (sure.claims, sure.with_changes(comparable=False).claims, sure.scaled(0.5).claims) == (True, False, False)
    assert (QUICK.weighted_by, QUICK.with_changes(class_weight="balanced").weighted_by) == (None, "balanced")
    assert QUICK.with_changes(splits="standard").splits == QUICK.splits
    assert QUICK.split_for("mnist[100]") == QUICK.splits["mnist"]
    for rules, dataset in ((QUICK.with_changes(splits={}), "mnist"), (QUICK, "unheard-of")):
        with pytest.raises(RulesetError) as error:
            rules.split_for(dataset)
        assert str(error.value).endswith(
            f" does not say how {dataset} is split; write splits: standard, or an entry {dataset}: {{kind: stratified, "
            "validation: 0.15, test: 0.15}"
        )
    assert isinstance(QUICK.split_for("my.npz"), Split)
    assert [QUICK.with_changes(augmentation=how).augmentation_for("mnist[9]") for how in (
        "crop-flip", {"mnist": "crop-flip"}, {"default": "crop-flip"}, {"digits": "crop-flip"},
        {"default": "crop-flip", "mnist": "none"},
    )] == ["crop-flip", "crop-flip", "crop-flip", "none", "none"]  # fmt: skip


def test_keys_are_set_in_place() -> None:
    fields = {"a": {"b": 1}, "c": 2}
    assert replace(fields, {"a.b": 3, "c": 4}) is fields
    assert fields == {"a": {"b": 3}, "c": 4}
    for key in ("x", "a.x", "x.b", "c.x", "c.x.y", "a.b.x"):
        with pytest.raises(KeyError) as error:
            replace(fields, {key: 1})
        assert error.value.args == (key,)


def test_differences_of_lists_tables_and_nothing() -> None:
    one, other = with_exceptions(excepted("batch_size", 3)), with_exceptions(excepted("batch_size", 4))
    assert difference(one, other) == ["exceptions.0.value: 3 against 4"]
    two = with_exceptions(excepted("batch_size", 3), excepted("stop.patience", 3))
    assert difference(one, two) == ["exceptions: 1 of them against 2 of them"]
    assert difference(QUICK, QUICK.with_changes(augmentation={})) == ["augmentation: none against none"]
    assert difference(QUICK, QUICK.with_changes(max_hours=2)) == ["budget.max_hours: none against 2.0"]
    named = {"a": {"kind": "last", "validation": 5}}
    assert difference(QUICK.with_changes(splits={}), QUICK.with_changes(splits=named)) == [
        "splits.a: none against kind last, validation 5, test official"
    ]
    assert digest(one) != digest(other)


def test_sentences_about_trials() -> None:
    def told(**changes: Any) -> str:
        return next(line for line in in_words(QUICK.with_changes(**changes)) if line.startswith("A trial "))

    same = "A trial has the same passes and the same stopping rule as a run."
    table = {"budget.passes_by_dataset": {"mnist": 3}}
    assert [told(passes_per_trial=n) for n in (None, 40)] == [same, same]
    assert told(passes_per_trial=None, **table) == same
    for n in (39, 40):
        assert told(passes_per_trial=n, **table) == f"A trial has at most {n} passes per run, and never more than a run."
    assert told(passes_per_trial=39).startswith("A trial is shorter than a run: at most 39 passes per run against 40,")
    longer = {"budget.per": "phase", "max_passes": 10, "passes_per_trial": 11}
    assert told(**longer).startswith("A trial is longer than a run: at most 11 passes per phase against 10,")
    tpe = {"search.sampler": {"name": "tpe", "n_startup_trials": 9}}
    assert "8 trials (all of them at random)" in " ".join(in_words(QUICK.with_changes(**tpe)))
    assert "3 trials (all of them at random, at the same places for all arms in what they share)" in " ".join(
        in_words(QUICK.with_changes(trials=3, **{"search.sampler": {"name": "random"}}))
    )
    grid = {"search.sampler": {"name": "grid"}}
    assert "8 trials (at equal distances, from end to end, on the logarithmic scale of each range)" in " ".join(
        in_words(QUICK.with_changes(**grid))
    )
    one = QUICK.with_changes(trials=1, **grid)
    assert "1 trial (in the middle on the logarithmic scale of each range)" in " ".join(in_words(one))
    assert in_words(load("legacy-2025"))[1] == "Only `bpfree reproduce` may use it."
    assert not any(line.startswith("Splits") for line in in_words(QUICK.with_changes(splits={})))


def test_a_check_of_several_fields_names_each_once() -> None:
    with pytest.raises(RulesetError) as error:
        load("claim").with_changes(studies=2, **{"search.sampler": {"name": "grid"}})
    assert str(error.value).startswith("ruleset claim: search.studies is 2, but the points of a grid are the same")


def test_studies_are_refused_of_a_ruleset_of_short_trials_alone() -> None:
    for name, use in (("quick", "compare"), ("claim", "compare"), ("uniform", "train")):
        assert changed_rules(name, use, {"trials": None}) == load(name)
    assert changed_rules("quick", "compare", {"studies": 1}).search.studies == 1
    assert changed_rules("claim", "compare", {"studies": 3}).search.studies == 3
    with pytest.raises(RulesetError, match="ruleset quick searches once, by trials shorter than runs, and has no studies"):
        changed_rules("quick", "compare", {"studies": 2})
