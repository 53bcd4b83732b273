"""A pass is every training example once, whatever a rule or a data set does."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from bpfree import data as datasets
from bpfree import nets
from bpfree.algorithms import Backprop
from bpfree.data import Batch, Dataset
from bpfree.data.stored import Examples
from bpfree.errors import UsageError
from bpfree.train import Patience, Progress, training

DIGITS = datasets.load("digits").without_test()


def joined(*parts: Examples) -> Examples:
    return Examples(torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts]))


def with_train(examples: Examples) -> Dataset:
    return dataclasses.replace(DIGITS, splits={**DIGITS.splits, "train": examples})


class FiveTimes(Dataset):
    """Its split is as it should be, its batches are not."""

    def batches(self, *args: Any, **kwargs: Any) -> Iterator[Batch]:
        for _ in range(5):
            yield from super().batches(*args, **kwargs)


TRAIN, VALIDATION = DIGITS.splits["train"], DIGITS.splits["validation"]
READ = {
    "the training split five times": with_train(joined(*[TRAIN] * 5)),
    "the validation split as well": with_train(joined(TRAIN, VALIDATION)),
    "another order": with_train(Examples(TRAIN.x.flip(0), TRAIN.y.flip(0))),
    "another validation split": dataclasses.replace(DIGITS, splits={"train": TRAIN, "validation": Examples(TRAIN.x, TRAIN.y)}),
}


@pytest.mark.parametrize("what", READ)
def test_a_rule_cannot_choose_what_it_reads(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``inputs`` was a hook that two rules of a review used to read more than a pass; the trainer asks no rule any more."""
    plain = run()
    monkeypatch.setattr(Backprop, "inputs", lambda _self, _net, _state, _data, phase: (READ[what], phase), raising=False)
    assert [(p.steps, p.examples, p.train_loss) for p in run()] == [(p.steps, p.examples, p.train_loss) for p in plain]


def test_data_that_give_more_than_a_pass_are_refused() -> None:
    more = FiveTimes(**{f.name: getattr(DIGITS, f.name) for f in dataclasses.fields(DIGITS)})
    with pytest.raises(UsageError, match=r"backprop took .* a pass must read every example once"):
        run(data=more)


def run(stop: Patience | None = None, data: Dataset = DIGITS) -> list[Progress]:
    net = nets.build("mlp:1x8", DIGITS.in_shape, DIGITS.n_classes)
    return list(training(Backprop(lr=1e-3), net, data, stop or Patience(None, 2), batch_size=100))


def test_the_loop_counts_steps_and_examples() -> None:
    n = DIGITS.n("train")
    assert [(p.steps, p.examples) for p in run()] == [(math.ceil(n / 100), n), (2 * math.ceil(n / 100), 2 * n)]


@pytest.mark.parametrize(
    ("stop", "reason", "passes"),
    [
        (Patience(None, 2), "cap", 2),
        (Patience(1, 50, min_delta=0.9), "patience", 2),
        (Patience(None, 3, max_hours=1e-12), "hours", 1),
    ],
)
def test_why_a_phase_ended_is_said(stop: Patience, reason: str, passes: int) -> None:
    *before, last = run(stop)
    assert all(progress.stops == () for progress in before)
    (end,) = last.stops
    assert (end.phase, end.reason, end.passes) == (0, reason, passes)
