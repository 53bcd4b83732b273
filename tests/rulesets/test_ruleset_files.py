"""Loading and saving; unequal rulesets are refused; the words say what the fields say."""

import os

import pytest

from bpfree import rulesets
from bpfree.errors import RulesetError, StorageError, UnknownNameError

NAMES = ["claim", "legacy-2025", "matched-passes", "quick", "spyra2026-uniform", "uniform"]


def test_names():
    assert rulesets.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_named_files_carry_their_own_name_and_all_fields(name):
    ruleset = rulesets.load(name)
    assert ruleset.name == name
    assert ruleset.title
    assert ruleset.description
    assert {"digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "arrays"} <= set(ruleset.splits)
    assert len(rulesets.in_words(ruleset)) >= 10


@pytest.mark.parametrize("name", NAMES)
def test_save_and_load(name, tmp_path):
    ruleset = rulesets.load(name)
    rulesets.save(ruleset, tmp_path / "ruleset.yaml")
    again = rulesets.load(tmp_path / "ruleset.yaml")
    assert again == ruleset
    assert rulesets.digest(again) == rulesets.digest(ruleset)
    assert [entry.name for entry in tmp_path.iterdir()] == ["ruleset.yaml"]


def test_save_replaces_a_file_whole(tmp_path):
    path = tmp_path / "ruleset.yaml"
    path.write_text("x" * 100_000)
    rulesets.save(rulesets.load("quick"), path)
    assert rulesets.load(path) == rulesets.load("quick")


def test_unknown_name_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown ruleset 'unifrom'; did you mean uniform"):
        rulesets.load("unifrom")


def write(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


MINIMAL = """
stop: {metric: validation-accuracy, patience: 3}
budget: {max_passes: 5}
search: {trials: 2}
batch_size: 10
splits: {}
"""


def test_a_users_file_may_leave_out_what_has_a_default(tmp_path):
    ruleset = rulesets.load(write(tmp_path, MINIMAL))
    assert ruleset.name == "mine"
    assert ruleset.trial_passes() == 5
    assert ruleset.search.sampler == rulesets.QuasiRandom()
    assert ruleset.search.spaces == rulesets.load("quick").search.spaces


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (MINIMAL + "batch_sise: 3\n", ["unknown key 'batch_sise'", "did you mean 'batch_size'"]),
        (MINIMAL.replace("patience", "patiance"), ["unknown key 'stop.patiance'", "'stop.patience'"]),
        (MINIMAL + "trials: 3\n", ["unknown key 'trials'", "'search.trials'"]),
        (MINIMAL.replace("patience: 3", "patience: -3"), ["stop.patience", "got -3"]),
        (MINIMAL.replace("patience: 3", "patience: yes"), ["stop.patience", "true or false"]),
        (MINIMAL.replace("batch_size: 10", ""), ["batch_size is missing"]),
        (MINIMAL + "batch_size: 11\n", ["'batch_size' stands there twice", "line 7"]),
        ("stop: [", ["not YAML", "line"]),
        ("- 1\n- 2\n", ["key: value", "got list"]),
        ("", ["got NoneType"]),
        ("schema_version: 3\n" + MINIMAL, ["schema_version 3", "pip install --upgrade bpfree"]),
        ("{[1]: 2}", ["not YAML"]),
        ("a: !!python/object/apply:os.system ['true']", ["not YAML"]),
    ],
)
def test_a_bad_file_gets_one_line(tmp_path, text, parts):
    path = write(tmp_path, text)
    with pytest.raises(RulesetError) as caught:
        rulesets.load(path)
    message = str(caught.value)
    assert "\n" not in message
    for part in ["mine.yaml", *parts]:
        assert part in message


def test_small_numbers_in_yaml(tmp_path):
    """YAML 1.1 reads 1e-4 as text; people write it all the same."""
    text = MINIMAL.replace("patience: 3", "patience: 3, min_delta: 1e-4")
    assert rulesets.load(write(tmp_path, text)).stop.min_delta == 1e-4


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RulesetError, match=r"cannot read ruleset .*none\.yaml: No such file"):
        rulesets.load(tmp_path / "none.yaml")
    with pytest.raises(RulesetError, match="cannot read ruleset some/where"):
        rulesets.load("some/where")
    with pytest.raises(RulesetError, match="Is a directory"):
        rulesets.load(tmp_path)


def test_a_binary_file(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RulesetError, match="not text in UTF-8"):
        rulesets.load(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_save_where_it_is_not_permitted(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="ermission denied"):
        rulesets.save(rulesets.load("quick"), tmp_path / "ruleset.yaml")


def test_save_into_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(StorageError, match=r"cannot write .*--out DIR"):
        rulesets.save(rulesets.load("quick"), tmp_path / "none" / "ruleset.yaml")


class TestRefusals:
    def test_equal_rules_under_other_names_and_plans_pass(self):
        quick = rulesets.load("quick")
        other = quick.with_changes(name="mine", seeds=9, datasets=["mnist"])
        assert rulesets.check_equal({"a": quick, "b": other}) == rulesets.digest(quick)

    def test_another_patience_for_one_arm_is_named(self):
        quick = rulesets.load("quick")
        mixed = {"backprop": quick, "x": quick, "mono-forward": quick.with_changes(patience=4, trials=7)}
        with pytest.raises(RulesetError) as caught:
            rulesets.check_equal(mixed)
        for part in ("backprop", "mono-forward", "stop.patience: 10 against 4", "search.trials: 8 against 7"):
            assert part in str(caught.value)

    def test_mixed_digests_are_named_with_their_places(self):
        assert rulesets.refuse_mixed({"a": "1" * 64, "b": "1" * 64}) == "1" * 64
        with pytest.raises(RulesetError) as caught:
            rulesets.refuse_mixed({"a": "1" * 64, "b": "2" * 64, "c": "1" * 64})
        assert "records of 2 rulesets" in str(caught.value)
        assert f"{'1' * 16} in a, c" in str(caught.value)
        assert f"{'2' * 16} in b" in str(caught.value)

    @pytest.mark.parametrize("refuse", [rulesets.check_equal, rulesets.refuse_mixed])
    def test_nothing_given(self, refuse):
        with pytest.raises(RulesetError, match="one is needed"):
            refuse({})


class TestWords:
    def test_a_shorter_trial_is_said(self):
        words = " ".join(rulesets.in_words(rulesets.load("quick")))
        assert "A trial is shorter than a run: at most 15 passes per run against 40" in words
        words = " ".join(rulesets.in_words(rulesets.load("uniform")))
        assert "A trial has the same passes and the same stopping rule as a run." in words

    def test_legacy_leads_with_its_stamp_and_lists_every_exception(self):
        legacy = rulesets.load("legacy-2025")
        words = rulesets.in_words(legacy)
        assert words[0].startswith("NOT COMPARABLE")
        assert sum(line.startswith("EXCEPTION: ") for line in words) == len(legacy.exceptions) > 20
        assert any("for mono-forward, stop.restore_best is no instead of yes" in line for line in words)

    def test_no_sentence_claims_equality_that_an_exception_breaks(self):
        words = rulesets.in_words(rulesets.load("spyra2026-uniform"))
        assert any(line.startswith("Every arm without an exception below stops by the same rule") for line in words)
        assert any(line.startswith("The learning rate of every arm without an exception below") for line in words)
        assert any(line.startswith("Every arm stops") for line in rulesets.in_words(rulesets.load("uniform")))

    def test_a_patience_that_cannot_fire_is_said(self):
        words = rulesets.in_words(rulesets.load("uniform").with_changes(max_passes=20))
        assert any("can hardly stop one" in line for line in words)

    @pytest.mark.parametrize("name", NAMES)
    def test_every_value_that_changes_changes_the_words_or_is_an_argument_of_the_sampler(self, name):
        ruleset = rulesets.load(name)
        for change in (
            {"batch_size": 77},
            {"precision": "bfloat16"},
            {"lr_schedule": "cosine"},
            {"readout": "best-prefix-on-validation"},
            {"restore_best": False},
            {"patience": 7},
            {"patience": 7, "min_delta": 0.01},
            {"metric": "validation-loss" if ruleset.stop.metric.endswith("accuracy") else "validation-accuracy"},
            {"trials": 3},
            {"max_passes": 33},
            {"budget.per": "phase" if ruleset.budget.per == "run" else "run"},
            {"max_hours": 3},
            {"train_examples": 99},
            {"scale": 0.5},
            {"augmentation": "crop-flip"},
            {"equivalence_margin": 0.01},
            {"energy_equivalence_margin": 0.01},
            {"splits": {"digits": {"kind": "stratified", "validation": 0.3, "test": 0.3}}},
            *([] if ruleset.search.studies > 1 else [{"search.passes_per_trial": 3}]),
        ):
            assert rulesets.in_words(ruleset.with_changes(change)) != rulesets.in_words(ruleset), change

    def test_a_long_difference_stays_one_line(self):
        quick, legacy = rulesets.load("quick"), rulesets.load("legacy-2025")
        found = rulesets.difference(quick, legacy)
        assert len(found) == 7
        assert "comparable: yes against no" in found
        assert found[-1].startswith("and ")
        assert len("; ".join(found)) < 400
        augmented = quick.with_changes({"augmentation": {"default": "none", "cifar10": "crop-flip"}})
        assert rulesets.difference(quick, augmented) == ["augmentation: none against default none, cifar10 crop-flip"]
        excepted = {"arms": ["backprop"], "field": "batch_size", "value": 32, "why": "a test"}
        assert rulesets.difference(quick, quick.with_changes(exceptions=[excepted])) == ["exceptions: none against 1 of them"]

    def test_difference_shows_none_and_yes(self):
        quick = rulesets.load("quick")
        changed = quick.with_changes({"patience": None, "restore_best": False, "budget.passes_by_dataset": {"a": 3}})
        assert rulesets.difference(quick, changed) == [
            "stop.patience: 10 against none",
            "stop.restore_best: yes against no",
            "budget.passes_by_dataset.a: none against 3",
        ]
