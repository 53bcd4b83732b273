"""A ruleset in plain English, for reports, screens and reviewers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bpfree.rulesets.digest import hashed_fields
from bpfree.rulesets.ruleset import Ruleset
from bpfree.units import format_percent

__all__ = ["difference", "exception_in_words", "in_words"]

_METRICS = {
    "validation-accuracy": "validation accuracy",
    "balanced-accuracy": "balanced validation accuracy",
    "validation-loss": "validation loss",
}
_SCHEDULES = {
    "constant": "stays constant",
    "linear-cooldown": "falls linearly to zero over the second half of the passes",
    "cosine": "falls along a half cosine to zero over the passes",
}
_READOUTS = {
    "as-the-arm-says": "Which blocks' scores decide is part of the arm.",
    "best-prefix-on-validation": "Which blocks' scores decide is chosen on the validation split, for every arm with a choice.",
}


def in_words(ruleset: Ruleset) -> list[str]:
    """The rules as sentences, most important first; a stamp such as NOT COMPARABLE comes before all others."""
    energy = format_percent(ruleset.energy_equivalence_margin, 0)
    return [
        *_stamps(ruleset),
        *_stop(ruleset),
        *_budget(ruleset),
        *_search(ruleset),
        f"{_every(ruleset, 'batch_size', 'precision')} has batches of {ruleset.batch_size} examples and computes in "
        f"{ruleset.precision}.",
        f"The learning rate of {_every(ruleset, 'lr_schedule').lower()} {_SCHEDULES[ruleset.lr_schedule]}.",
        _READOUTS[ruleset.readout],
        *_data(ruleset),
        f"Accuracies closer than {format_percent(ruleset.equivalence_margin)} percentage points count as equivalent, energies "
        f"and times closer than {energy} per cent likewise.",
        *(f"EXCEPTION: {exception_in_words(ruleset, k)}" for k in range(len(ruleset.exceptions))),
    ]


def _every(ruleset: Ruleset, *rules: str) -> str:
    """``"Every arm"``, unless an exception below touches one of these rules: the sentence must stay true."""
    touched = any(e.field.startswith(rules) for e in ruleset.exceptions)
    return "Every arm without an exception below" if touched else "Every arm"


def _stamps(ruleset: Ruleset) -> Iterator[str]:
    if not ruleset.comparable:
        yield "NOT COMPARABLE: the arms run under unequal rules, as in a published table; it backs no claim."
    if ruleset.only_for == "reproduce":
        yield "Only `bpfree reproduce` may use it."
    if ruleset.scale != 1.0:
        yield f"SCALED: training examples, trials and passes are {ruleset.scale:g} of what the rules say."
    if ruleset.exceptions:
        count = len(ruleset.exceptions)
        hold = "exceptions hold" if count > 1 else "exception holds"
        yield f"EXCEPTIONS: {count} {hold} for some arms only; each is given below with its reason."


def _stop(ruleset: Ruleset) -> Iterator[str]:
    stop, metric = ruleset.stop, _METRICS[ruleset.stop.metric]
    every = _every(ruleset, "stop.metric", "stop.patience", "stop.min_delta")
    if stop.patience is None:
        yield f"No run stops early: {every[0].lower() + every[1:]} trains for the full number of passes."
    else:
        by = f" by more than {stop.min_delta:g}" if stop.min_delta else ""
        passes = f"{stop.patience} pass{'es' if stop.patience > 1 else ''}"
        yield f"{every} stops by the same rule: when the {metric} has not improved{by} for {passes}."
        if stop.patience >= ruleset.passes():
            what = "phase" if ruleset.budget.per == "phase" else "run"
            yield f"That is as long as a whole {what} ({ruleset.passes()} passes), so it can hardly stop one."
    tested = f"the best pass by {metric}, not of the last one" if stop.restore_best else "the last pass"
    yield f"{_every(ruleset, 'stop.restore_best', 'stop.metric')} is tested in its state of {tested}."


def _budget(ruleset: Ruleset) -> Iterator[str]:
    budget = ruleset.budget
    exactly = "exactly" if ruleset.stop.patience is None else "at most"
    every = _every(ruleset, "budget")
    if budget.per == "run":
        yield (
            f"{every} has {exactly} {budget.max_passes} passes over the training data in a run; one of several phases shares "
            "them among its phases."
        )
    else:
        yield (
            f"{every} has {exactly} {budget.max_passes} passes in each phase of a run, so that one of several phases may use "
            "several times the passes of backprop."
        )
    if budget.passes_by_dataset:
        table = ", ".join(f"{count} on {name}" for name, count in budget.passes_by_dataset.items())
        yield f"Some data sets have their own number of passes: {table}."
    if budget.max_hours is not None:
        yield f"A run ends after {budget.max_hours:g} hours."


def _search(ruleset: Ruleset) -> Iterator[str]:
    search = ruleset.search
    if search.trials == 0:
        yield "Nothing is searched: every arm has the hyper-parameters that it names, and the defaults of its rule for the rest."
        return
    trials = f"{search.trials} trial{'s' if search.trials > 1 else ''}"
    if search.sampler.name == "tpe":
        random = min(search.sampler.n_startup_trials, search.trials)
        how = "all of them at random" if random == search.trials else f"the first {random} at random, then by TPE"
    elif search.sampler.name == "random":
        how = "all of them at random, at the same places for all arms in what they share"
    elif search.sampler.name == "grid":
        where = "in the middle" if search.trials == 1 else "at equal distances, from end to end,"
        how = f"{where} on the logarithmic scale of each range"
    else:
        how = "points of one quasi-random sequence, the same for all arms in what they share"
    if search.studies > 1:
        yield (
            f"{_every(ruleset, 'search')} has {search.studies} studies, each with points, seeds and a measured run of its own; "
            "differences are paired by study, so that seeds and the luck of the search are in their interval."
        )
        yield (
            f"In a study it is tuned with {trials} ({how}); the trial that is best on validation is the measured run, and its "
            "test split is read once."
        )
        return
    yield (
        f"{_every(ruleset, 'search')} is tuned with {trials} ({how}); no pruner cuts a trial short, the best validation "
        "accuracy wins, and the test split is not read."
    )
    passes, run, per = search.passes_per_trial, ruleset.passes(), ruleset.budget.per
    against = f"at most {passes} passes per {per} against {run}, so what is tuned favours arms that learn"
    if passes is not None and ruleset.budget.passes_by_dataset:
        yield f"A trial has at most {passes} passes per {per}, and never more than a run."
    elif passes is not None and passes < run:
        yield f"A trial is shorter than a run: {against} early."
    elif passes is not None and passes > run:
        yield f"A trial is longer than a run: {against} late."
    else:
        yield "A trial has the same passes and the same stopping rule as a run."
    if search.train_examples is not None:
        yield f"A trial trains on at most {search.train_examples} examples, the same for every arm."


def _data(ruleset: Ruleset) -> Iterator[str]:
    if ruleset.train_examples is not None:
        yield f"At most {ruleset.train_examples} training examples are used."
    if isinstance(ruleset.augmentation, Mapping):
        usual = ruleset.augmentation.get("default", "none")
        others = [name for name, how in ruleset.augmentation.items() if how != usual]
        done = {"none": "not augmented", "crop-flip": "cropped and flipped at random"}
        odd = f", except those of {', '.join(others)}, which are {done[_other(usual)]}" if others else ""
        yield f"Training data are {done[usual]}{odd}."
    elif ruleset.augmentation == "crop-flip":
        yield "Training images are cropped and flipped at random, for every arm."
    else:
        yield "Training data are not augmented."
    if ruleset.class_weight == "balanced":
        yield (
            "All classes weigh the same in the losses of every arm: a training example counts n / (K n_c) times, n_c being the "
            "examples of its class among n of K classes."
        )
    splits = "; ".join(f"{name}: {how}" for name, how in ruleset.splits.items())
    if splits:
        yield f"Splits, the same for every arm and seed: {splits}."


def _other(augmentation: str) -> str:
    return "crop-flip" if augmentation == "none" else "none"


def exception_in_words(ruleset: Ruleset, index: int) -> str:
    """One exception as a sentence: for whom, what, instead of what, and why."""
    exception = ruleset.exceptions[index]
    usual: Any = hashed_fields(ruleset)
    for part in exception.field.split("."):
        usual = usual.get(part) if isinstance(usual, Mapping) else None
    where = [", ".join(part) for part in (exception.datasets, exception.nets) if part]
    narrowed = f" on {' with '.join(where)}" if where else ""
    phases = f" in the phase {', '.join(exception.phases)}" if exception.phases else ""
    return (
        f"for {', '.join(exception.arms)}{narrowed}{phases}, {exception.field} is {_show(exception.value)} instead of "
        f"{_show(usual)}, because: {exception.why.rstrip('.')}."
    )


MOST_DIFFERENCES = 6
"""Differences that a message names; further ones are counted."""


def difference(a: Ruleset, b: Ruleset) -> list[str]:
    """The rules in which two rulesets differ, each as ``field: value against value``; empty for equal digests.

    At most :data:`MOST_DIFFERENCES` are named; then the last entry says how many more there are.
    """
    differences = list(_differences("", hashed_fields(a), hashed_fields(b)))
    left_out = len(differences) - MOST_DIFFERENCES
    return differences if left_out <= 1 else [*differences[:MOST_DIFFERENCES], f"and {left_out} rules more"]


def _differences(key: str, a: Any, b: Any) -> Iterator[str]:
    if a == b:
        return
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        a, b = (dict(enumerate(side)) for side in (a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for name in dict.fromkeys([*a, *b]):
            yield from _differences(f"{key}.{name}" if key else str(name), a.get(name), b.get(name))
    else:
        yield f"{key}: {_show(a)} against {_show(b)}"


def _show(value: Any) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, list):
        return f"{len(value)} of them"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_show(each)}" for name, each in value.items()) or "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
