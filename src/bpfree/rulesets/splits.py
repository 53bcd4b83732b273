"""Which examples of a data set train, validate and test: rules that the loaders execute, part of the ruleset and hashed."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bpfree.rulesets.numbers import Fraction, number
from bpfree.sources import SUFFIXES

__all__ = ["ARRAYS", "Split", "kind_of", "standard_split", "standard_splits"]

ARRAYS = "arrays"
"""The entry for the user's own data: a file, or two arrays in Python."""

OFFICIAL = "official"


class Split(BaseModel):
    """How one data set is divided.

    Attributes:
        kind: ``stratified`` draws within each class; ``random`` draws from all; ``last`` takes the last training examples, so
            that no seed changes it.
        validation: a share, or a number of examples (``random`` and ``last``). Of all examples where the test set is drawn too,
            of the training file where the test set is official.
        test: a share of all examples, or ``official``: the test set that the data set comes with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["stratified", "random", "last"]
    validation: Annotated[int | float, BeforeValidator(number), Field(gt=0, allow_inf_nan=False)]
    test: Fraction | Literal["official"] = OFFICIAL

    @model_validator(mode="after")
    def _can_be_done(self) -> Split:
        share = self.validation if isinstance(self.validation, float) else None
        if share is not None and share >= 1:
            raise ValueError(f"validation must be a share below 1, or a whole number of examples, got {share:g}")
        drawn = not isinstance(self.test, str)
        if drawn != (self.kind == "stratified"):
            raise ValueError("a stratified split draws the test set too (test: 0.2); the others have test: official")
        if drawn and (share is None or share + float(self.test) >= 1):
            raise ValueError("validation and test of a stratified split are shares that leave something to train on")
        return self

    @property
    def is_drawn(self) -> bool:
        """Whether another split seed gives another split."""
        return self.kind != "last"

    def n_validation(self, n_train_file: int) -> int:
        """How many examples of a training file validate, at least one."""
        if isinstance(self.validation, int):
            return self.validation
        return max(1, round(self.validation * n_train_file))

    def __str__(self) -> str:
        if isinstance(self.test, float) and isinstance(self.validation, float):
            shares = (1 - self.validation - self.test, self.validation, self.test)
            return f"{'/'.join(f'{100 * share:.3g}' for share in shares)} {self.kind}"
        size = f"{self.validation:,}" if isinstance(self.validation, int) else f"{100 * self.validation:.3g} %"
        return f"{'the last' if self.kind == 'last' else 'a random'} {size} of training validate, official test"


def kind_of(dataset: str) -> str:
    """The entry that holds for a data set: ``"mnist"`` of ``"mnist[10000]"``, ``"arrays"`` of ``"my.npz"``."""
    name = re.sub(r"\[\d+\]$", "", dataset)  # not any bracket: a file may be called so
    return ARRAYS if name.lower().endswith(SUFFIXES) else name.partition(":")[0]


@cache
def _file() -> dict[str, Any]:
    return yaml.safe_load((resources.files("bpfree.rulesets") / "standard" / "splits.yaml").read_text(encoding="utf-8"))


def standard_splits() -> dict[str, Any]:
    """The splits of the package, as plain values."""
    return {name: dict(split) for name, split in _file().items()}


def standard_split(dataset: str) -> Split:
    """The package's split of a data set; that of the user's arrays for a name that is not registered."""
    known = _file()
    return Split.model_validate(known.get(kind_of(dataset), known[ARRAYS]))
