"""The ways in which one set of weights can be asked for classes: Mono-Forward's last head or the sum of all, and their like."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Iterator

import torch

from bpfree.algorithms import Algorithm, NotOrthogonalWarning
from bpfree.errors import UsageError
from bpfree.models.saved import Model

__all__ = ["READOUT_FIELDS", "all_readouts", "readout_of", "readouts"]

READOUT_FIELDS = ("readout", "inference", "combine")
"""Hyper-parameters that say how classes are read out; each rule has at most one of them."""


def _field(algorithm: Algorithm) -> dataclasses.Field[object] | None:
    return next((field for field in dataclasses.fields(algorithm) if field.name in READOUT_FIELDS), None)


def readout_of(algorithm: Algorithm) -> str:
    """``"readout=last"``, ``"inference=head"``, ``"combine=logits"``; ``"output"`` where the net's output is the only one."""
    field = _field(algorithm)
    return "output" if field is None else f"{field.name}={getattr(algorithm, field.name)}"


def readouts(algorithm: Algorithm) -> tuple[Algorithm, ...]:
    """The rule with every readout that it knows, its own first; all else is as it was."""
    field = _field(algorithm)
    if field is None:
        return (algorithm,)
    return tuple(sorted(_each(algorithm, field), key=lambda rule: rule != algorithm))


def _each(algorithm: Algorithm, field: dataclasses.Field[object]) -> Iterator[Algorithm]:
    for value in field.metadata["range"].choices:
        try:
            yield dataclasses.replace(algorithm, **{field.name: value})  # pyright: ignore[reportArgumentType]  # checked by the rule
        except UsageError:  # some readouts need what another hyper-parameter rules out
            continue


def all_readouts(model: Model) -> tuple[Model, ...]:
    """The same weights under every readout for which they have all that is needed, the model's own first.

    Forward-Forward trained without a head cannot be read out by one; Mono-Forward's heads give their sum as well.
    """
    mine = {name for name, _ in model.state.named_parameters()}
    found = []
    for rule in readouts(model.algorithm):
        if rule == model.algorithm or _needs(rule, model) <= mine:
            found.append(dataclasses.replace(model, algorithm=rule))
    return tuple(found)


def _needs(rule: Algorithm, model: Model) -> set[str]:
    twin = copy.deepcopy(model.net).to("cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotOrthogonalWarning)
        return {name for name, _ in rule.init(twin, torch.Generator().manual_seed(0)).named_parameters()}
