"""Each sentence about a ruleset, and each refusal, as a whole: what changes it, in singular and plural."""

from __future__ import annotations

from typing import Any

import pytest

from bpfree import rulesets
from bpfree.errors import RulesetError, UsageError
from bpfree.rulesets import check_equal, difference, digest, exception_in_words, in_words, refuse_mixed, short_digest
from bpfree.rulesets.stopping import StopRule

QUICK = rulesets.load("quick")
SPLITS = f"Splits, the same for every arm and seed: {'; '.join(f'{name}: {how}' for name, how in QUICK.splits.items())}."
WORDS = [
    "Every arm stops by the same rule: when the validation accuracy has not improved for 10 passes.",
    "Every arm is tested in its state of the best pass by validation accuracy, not of the last one.",
    "Every arm has at most 40 passes over the training data in a run; one of several phases shares them among its phases.",
    "Every arm is tuned with 8 trials (points of one quasi-random sequence, the same for all arms in what they share); no pruner "
    "cuts a trial short, the best validation accuracy wins, and the test split is not read.",
    "A trial is shorter than a run: at most 15 passes per run against 40, so what is tuned favours arms that learn early.",
    "Every arm has batches of 64 examples and computes in float32.",
    "The learning rate of every arm stays constant.",
    "Which blocks' scores decide is part of the arm.",
    "Training data are not augmented.",
    SPLITS,
    "Accuracies closer than 0.25 percentage points count as equivalent, energies and times closer than 5 per cent likewise.",
]

STOP, STATE, BUDGET, SEARCH, TRIAL, BATCH, RATE, READOUT, AUGMENTED, _, MARGIN = range(len(WORDS))
PER_RUN = "passes over the training data in a run; one of several phases shares them among its phases."
STUDY = "differences are paired by study, so that seeds and the luck of the search are in their interval."


def replaced(**lines: str | list[str]) -> list[str]:
    """The words with other lines; none where the new text is empty."""
    places = {"stop": STOP, "state": STATE, "budget": BUDGET, "search": SEARCH, "trial": TRIAL, "batch": BATCH, "rate": RATE,
              "readout": READOUT, "augmented": AUGMENTED, "margin": MARGIN}  # fmt: skip
    made: list[list[str]] = [[line] for line in WORDS]
    for name, text in lines.items():
        made[places[name]] = [text] if isinstance(text, str) and text else list(text)
    return [line for part in made for line in part]


SAME = "when the validation accuracy has not improved for"
CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, WORDS),
    "patience of one": ({"patience": 1}, replaced(stop=f"Every arm stops by the same rule: {SAME} 1 pass.")),
    "no patience": (
        {"patience": None},
        replaced(
            stop="No run stops early: every arm trains for the full number of passes.",
            budget=f"Every arm has exactly 40 {PER_RUN}",
        ),
    ),
    "least improvement": (
        {"min_delta": 0.001},
        replaced(stop="Every arm stops by the same rule: when the validation accuracy has not improved by more than "
        "0.001 for 10 passes."),
    ),
    "loss, last state": (
        {"metric": "validation-loss", "restore_best": False},
        replaced(
            stop="Every arm stops by the same rule: when the validation loss has not improved for 10 passes.",
            state="Every arm is tested in its state of the last pass.",
        ),
    ),
    "patience of a whole run": (
        {"patience": 40},
        replaced(
            stop=[
                f"Every arm stops by the same rule: {SAME} 40 passes.",
                "That is as long as a whole run (40 passes), so it can hardly stop one.",
            ]
        ),
    ),
    "patience of almost a run": ({"patience": 39}, replaced(stop=f"Every arm stops by the same rule: {SAME} 39 passes.")),
    "per phase": (
        {"budget.per": "phase", "patience": 41},
        replaced(
            stop=[
                f"Every arm stops by the same rule: {SAME} 41 passes.",
                "That is as long as a whole phase (40 passes), so it can hardly stop one.",
            ],
            budget="Every arm has at most 40 passes in each phase of a run, so that one of several phases may use "
            "several times the "
            "passes of backprop.",
            trial="A trial is shorter than a run: at most 15 passes per phase against 40, so what is tuned favours "
            "arms that learn "
            "early.",
        ),
    ),
    "data sets with passes of their own, and hours": (
        {"budget.passes_by_dataset": {"mnist": 50, "cifar10": 30}, "max_hours": 1.5},
        replaced(
            budget=[
                f"Every arm has at most 40 {PER_RUN}", "Some data sets have their own number of passes: 50 on mnist, "
                "30 on cifar10.",
                "A run ends after 1.5 hours.",
            ],
            trial="A trial has at most 15 passes per run, and never more than a run.",
        ),
    ),
    "one trial, as long as a run": (
        {"trials": 1, "passes_per_trial": 40},
        replaced(
            search=WORDS[SEARCH].replace("8 trials", "1 trial"), trial="A trial has the same passes and the same "
            "stopping rule as a run."
        ),
    ),
    "a trial without a cap on fewer examples": (
        {"passes_per_trial": None, "search.train_examples": 500},
        replaced(
            trial=[
                "A trial has the same passes and the same stopping rule as a run.",
                "A trial trains on at most 500 examples, the same for every arm.",
            ]
        ),
    ),
    "a trial longer than a phase": (
        {"budget.per": "phase", "max_passes": 10, "passes_per_trial": 12, "patience": 9},
        replaced(
            stop=f"Every arm stops by the same rule: {SAME} 9 passes.",
            budget="Every arm has at most 10 passes in each phase of a run, so that one of several phases may use "
            "several times the "
            "passes of backprop.",
            trial="A trial is longer than a run: at most 12 passes per phase against 10, so what is tuned favours "
            "arms that learn "
            "late.",
        ),
    ),
    "nothing searched": (
        {"trials": 0},
        replaced(
            search="Nothing is searched: every arm has the hyper-parameters that it names, and the defaults of its "
            "rule for the rest.",
            trial="",
        ),
    ),
    "TPE": (
        {"search.sampler": {"name": "tpe", "n_startup_trials": 3}},
        replaced(
            search="Every arm is tuned with 8 trials (the first 3 at random, then by TPE); no pruner cuts a trial "
            "short, the best "
            "validation accuracy wins, and the test split is not read."
        ),
    ),
    "TPE that never begins": (
        {"search.sampler": {"name": "tpe", "n_startup_trials": 8}},
        replaced(
            search="Every arm is tuned with 8 trials (all of them at random); no pruner cuts a trial short, the best validation "
            "accuracy wins, and the test split is not read."
        ),
    ),
    "studies": (
        {"studies": 6, "passes_per_trial": None},
        replaced(
            search=[
                f"Every arm has 6 studies, each with points, seeds and a measured run of its own; {STUDY}",
                "In a study it is tuned with 8 trials (points of one quasi-random sequence, the same for all arms in what they "
                "share); the trial that is best on validation is the measured run, and its test split is read once.",
            ],
            trial="",
        ),
    ),
    "the rest": (
        {
            "batch_size": 32, "precision": "bfloat16", "lr_schedule": "cosine", "readout": "best-prefix-on-validation",
            "augmentation": "crop-flip", "train_examples": 700, "equivalence_margin": 0.01, "energy_equivalence_margin": 0.12,
        },
        replaced(
            batch="Every arm has batches of 32 examples and computes in bfloat16.",
            rate="The learning rate of every arm falls along a half cosine to zero over the passes.",
            readout="Which blocks' scores decide is chosen on the validation split, for every arm with a choice.",
            augmented=[
                "At most 700 training examples are used.", "Training images are cropped and flipped at random, for every arm.",
            ],
            margin="Accuracies closer than 1.00 percentage points count as equivalent, energies and times closer than "
            "12 per cent "
            "likewise.",
        ),
    ),
    "augmented but for two": (
        {"augmentation": {"default": "crop-flip", "mnist": "none", "digits": "none", "cifar10": "crop-flip"}},
        replaced(augmented="Training data are cropped and flipped at random, except those of mnist, digits, which are "
        "not augmented."),
    ),
    "augmented only one": (
        {"augmentation": {"cifar10": "crop-flip"}},
        replaced(augmented="Training data are not augmented, except those of cifar10, which are cropped and flipped at random."),
    ),
    "augmented by name, all alike": ({"augmentation": {"mnist": "none"}}, WORDS),
    "balanced classes": (
        {"class_weight": "balanced"},
        replaced(augmented=[
            WORDS[AUGMENTED],
            "All classes weigh the same in the losses of every arm: a training example counts n / (K n_c) times, n_c being the "
            "examples of its class among n of K classes.",
        ]),
    ),
    "cooldown": (
        {"lr_schedule": "linear-cooldown"},
        replaced(rate="The learning rate of every arm falls linearly to zero over the second half of the passes."),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_sentence(case: str) -> None:
    changes, words = CASES[case]
    assert in_words(QUICK.with_changes(changes)) == words


def test_stamps_come_first_and_exceptions_last() -> None:
    def excepted(field: str, value: Any, **more: Any) -> dict[str, Any]:
        return {"arms": ["pepita", "foton"], "field": field, "value": value, "why": "a reason."} | more

    one = QUICK.with_changes(exceptions=[excepted("batch_size", 32, datasets=["mnist"], nets=["mlp:1x8"])])
    rest = replaced(batch="Every arm without an exception below has batches of 64 examples and computes in float32.")
    told = "for pepita, foton on mnist with mlp:1x8, batch_size is 32 instead of 64, because: a reason."
    assert exception_in_words(one, 0) == told
    assert in_words(one) == [
        "EXCEPTIONS: 1 exception holds for some arms only; each is given below with its reason.", *rest, f"EXCEPTION: {told}",
    ]  # fmt: skip
    two = QUICK.with_changes(
        exceptions=[excepted("stop.patience", None, phases=["a", "b"]), excepted("stop.restore_best", False, nets=["mlp:1x8"])],
        comparable=False,
    ).scaled(0.5)
    words = in_words(two)
    assert words[:3] == [
        "NOT COMPARABLE: the arms run under unequal rules, as in a published table; it backs no claim.",
        "SCALED: training examples, trials and passes are 0.5 of what the rules say.",
        "EXCEPTIONS: 2 exceptions hold for some arms only; each is given below with its reason.",
    ]
    assert words[3].startswith("Every arm without an exception below stops by the same rule")
    assert "Every arm without an exception below is tested in its state of the best pass" in " ".join(words)
    assert words[-2:] == [
        "EXCEPTION: for pepita, foton in the phase a, b, stop.patience is none instead of 10, because: a reason.",
        "EXCEPTION: for pepita, foton on mlp:1x8, stop.restore_best is no instead of yes, because: a reason.",
    ]
    assert two.stamps == ("NOT COMPARABLE", "SCALED", "EXCEPTIONS")


def test_differences_are_named_up_to_six() -> None:
    many = {
        "patience": 3, "min_delta": 0.5, "restore_best": False, "max_passes": 30, "trials": 4, "batch_size": 1,
    }  # fmt: skip
    lines = [
        "stop.patience: 10 against 3", "stop.min_delta: 0.0 against 0.5", "stop.restore_best: yes against no",
        "budget.max_passes: 40 against 30", "search.trials: 8 against 4", "batch_size: 64 against 1",
    ]  # fmt: skip
    assert difference(QUICK, QUICK.with_changes(many)) == lines
    seven = QUICK.with_changes(many | {"precision": "bfloat16"})
    assert difference(QUICK, seven) == [*lines, "precision: float32 against bfloat16"], "one more is named, not counted"
    eight = seven.with_changes(lr_schedule="cosine")
    assert difference(QUICK, eight)[:5] == lines[:5]
    assert difference(QUICK, eight)[6:] == ["and 2 rules more"]
    assert difference(QUICK, QUICK) == []
    table = QUICK.with_changes({"budget.passes_by_dataset": {"mnist": 3}, "augmentation": {"mnist": "crop-flip"}})
    assert difference(QUICK, table) == [
        "budget.passes_by_dataset.mnist: none against 3", "augmentation: none against mnist crop-flip",
    ]  # fmt: skip


def test_one_ruleset_for_a_table() -> None:
    other = QUICK.with_changes(patience=3)
    assert check_equal({"a": QUICK, "b": QUICK.with_changes(seeds=3)}) == digest(QUICK)
    for call, arguments, told in (
        (check_equal, {}, "no ruleset was given; one is needed for a table"),
        (
            check_equal, {"a": QUICK, "b": QUICK, "c": other},
            "a (quick) and c (quick+changed) were run under different rules and cannot stand in one table: stop.patience: 10 "
            "against 3",
        ),
        (refuse_mixed, {}, "no record was given; one is needed for a table"),
        (
            refuse_mixed, {"a": "x" * 64, "b": "y" * 64, "c": "x" * 64},
            f"records of 2 rulesets cannot stand in one table: {'x' * 16} in a, c; {'y' * 16} in b; report them one by one",
        ),
    ):  # fmt: skip
        with pytest.raises(RulesetError) as error:
            call(arguments)
        assert str(error.value) == told
    assert refuse_mixed({"a": "x", "b": "x"}) == "x"
    assert short_digest(QUICK) == digest(QUICK)[:16]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"patience": 0}, "patience must be at least 1 (or None, to never stop early), got 0"),
        ({"max_passes": 0}, "max_passes must be at least 1, got 0"),
        ({"own_cap": 0}, "own_cap must be at least 1 (or None), got 0"),
        ({"min_delta": -0.1}, "min_delta must be a finite number at least 0, got -0.1"),
        ({"min_delta": float("inf")}, "min_delta must be a finite number at least 0, got inf"),
    ],
)
def test_stop_rules_that_cannot_be(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as error:
        rulesets.Patience(**({"patience": 3, "max_passes": 9} | options))
    assert str(error.value) == told


@pytest.mark.parametrize("scale", [0.0, -0.5, 1.5])
def test_a_scale_lies_above_0_and_at_most_at_1(scale: float) -> None:
    with pytest.raises(RulesetError) as error:
        QUICK.scaled(scale)
    assert str(error.value) == f"scale must lie above 0 and at most at 1, got {scale}"
    assert QUICK.scaled(1) is QUICK
    assert StopRule is not None
