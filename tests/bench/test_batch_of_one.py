"""A batch of one for a net that normalises batches is refused before anything is run, also where only trials would meet it."""

from __future__ import annotations

import pytest

from bpfree import data
from bpfree.bench import Arm, Setting, check_runnable
from bpfree.errors import UsageError

from .test_measure import setting

BACKPROP = [Arm.parse("backprop")]


def with_examples(trial: int | None, batch_size: int) -> Setting:
    """A net with BatchNorm on 1,077 training examples, and fewer in a trial."""
    rules = setting().ruleset.with_changes({"search.train_examples": trial, "batch_size": batch_size})
    return setting(ruleset=rules, net="cnn3:2-2-2", data=data.load("digits"))


@pytest.mark.parametrize(("trial", "batch_size", "examples"), [(101, 50, 101), (None, 269, 1077)], ids=["of a trial", "of a run"])
def test_it_is_refused_with_a_batch_size_that_fits(trial: int | None, batch_size: int, examples: int) -> None:
    with pytest.raises(UsageError, match=f"BatchNorm.*{examples} examples in batches of {batch_size} leave a batch of one"):
        check_runnable(with_examples(trial, batch_size), BACKPROP)


def test_a_single_run_has_no_trials() -> None:
    check_runnable(with_examples(101, 50), BACKPROP, searched=False)


def test_batches_that_come_out_are_taken() -> None:
    check_runnable(with_examples(102, 50), BACKPROP)
