"""A budget that is too short to learn is said, with one that is not."""

from __future__ import annotations

import math
import re
import warnings

import numpy as np
import pytest

from bpfree.algorithms import Backprop
from bpfree.data import from_arrays
from bpfree.nets import mlp
from bpfree.rulesets import Patience
from bpfree.train import ShortBudgetWarning, fit, short_budget


def test_the_line_names_the_steps_and_two_budgets_that_are_long_enough() -> None:
    assert short_budget(105, 64, 40, "mine") == (
        "mine: 105 training examples in batches of 64 give 80 steps in 40 passes, too few to learn at usual learning rates; "
        "give --batch-size 4 (1,080 steps) or --max-passes 300 (600 steps)"
    )


@pytest.mark.parametrize(
    ("n", "batch_size", "max_passes"), [(105, 64, 40), (3, 3, 1), (1077, 64, 5), (50_000, 512, 1), (9, 1, 2)]
)
def test_each_budget_that_is_named_is_one_that_is_not_short(n: int, batch_size: int, max_passes: int) -> None:
    line = short_budget(n, batch_size, max_passes, "mine")
    assert line is not None
    for option, value, steps in re.findall(r"--([a-z-]+) (\d+) \(([\d,]+) steps\)", line):
        size, passes = (int(value), max_passes) if option == "batch-size" else (batch_size, int(value))
        assert math.ceil(n / size) * passes == int(steps.replace(",", "")) >= 600
        assert short_budget(n, size, passes, "mine") is None


@pytest.mark.parametrize(
    ("n", "batch_size", "max_passes", "short"), [(300, 1, 1, False), (299, 1, 1, True), (1077, 64, 20, False)]
)
def test_from_300_steps_on_nothing_is_said(n: int, batch_size: int, max_passes: int, short: bool) -> None:
    assert (short_budget(n, batch_size, max_passes, "mine") is not None) == short


def test_fit_warns_once_and_only_then() -> None:
    data = from_arrays(np.random.RandomState(0).standard_normal((30, 2)), np.arange(30) % 2, "mine")
    with pytest.warns(ShortBudgetWarning, match="mine: 22 training examples in batches of 11 give 4 steps in 2 passes") as said:
        fit(Backprop(), mlp(2, (2,), 2), data, Patience(None, 2), batch_size=11)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(Backprop(), mlp(2, (2,), 2), data, Patience(1, 300), batch_size=11)
