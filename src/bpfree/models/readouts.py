"""The ways in which one set of weights can be asked for classes: Mono-Forward's last head or the sum of all, and their like."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from bpfree.algorithms import Algorithm, NotOrthogonalWarning, readout_field
from bpfree.errors import UsageError
from bpfree.models.model import Model

__all__ = ["all_readouts", "readout_of", "readouts"]


def readout_of(algorithm: Algorithm) -> str:
    """The rule's readout as ``"field=value"``; ``"output"`` where the net's output is the only one."""
    field = readout_field(algorithm)
    return "output" if field is None else f"{field[0]}={getattr(algorithm, field[0])}"


def readouts(algorithm: Algorithm) -> tuple[Algorithm, ...]:
    """The rule with each of its readouts, the chosen one first; all else is unchanged."""
    field = readout_field(algorithm)
    if field is None:
        return (algorithm,)
    return tuple(sorted(_each(algorithm, *field), key=lambda rule: rule != algorithm))


def _each(algorithm: Algorithm, name: str, values: Sequence[str]) -> Iterator[Algorithm]:
    for value in values:
        changed: dict[str, Any] = {name: value}
        try:
            yield dataclasses.replace(algorithm, **changed)
        except UsageError:  # some readouts need what another hyper-parameter rules out
            continue


def all_readouts(model: Model) -> tuple[Model, ...]:
    """The same weights under every readout for which they have all that is needed, the model's own first.

    Forward-Forward trained without a head cannot be read out by one; Mono-Forward's heads give their sum as well.
    """
    mine = {name for name, _ in model.state.named_parameters()}
    models = []
    for rule in readouts(model.algorithm):
        if rule == model.algorithm or _needs(rule, model) <= mine:
            models.append(dataclasses.replace(model, algorithm=rule))
    return tuple(models)


def _needs(rule: Algorithm, model: Model) -> set[str]:
    twin = copy.deepcopy(model.net).to("cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotOrthogonalWarning)
        return {name for name, _ in rule.init(twin, torch.Generator().manual_seed(0)).named_parameters()}
