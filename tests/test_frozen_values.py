"""Values that are passed around are frozen: who reads a record, a rule or a number cannot change it for the others."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

CHANGED_IN_PLACE = {
    "bench": {"ComparisonRun", "_ArmTrials", "Ended", "Line", "Reproduction", "Setting", "_Counts", "_SoFar"},
    "meter": {"CrossCheck", "FlopCount", "Followed"},
    "rulesets": {"Watch"},
}
"""Classes whose fields are set while they are used."""


def classes(package: str) -> Iterator[type]:
    """The data classes and models that are defined in a package."""
    root = importlib.import_module(f"bpfree.{package}")
    for module in (root.__name__, *(each.name for each in pkgutil.walk_packages(root.__path__, f"{root.__name__}."))):
        for value in vars(importlib.import_module(module)).values():
            here = isinstance(value, type) and value.__module__ == module
            if here and (dataclasses.is_dataclass(value) or issubclass(value, BaseModel)):
                yield value


def is_frozen(cls: type) -> bool:
    if issubclass(cls, BaseModel):
        return cls.model_config.get("frozen", False)
    return cls.__dataclass_params__.frozen  # type: ignore[attr-defined]


@pytest.mark.parametrize("package", ["algorithms", "bench", "meter", "numerics", "published", "report", "rulesets", "stats"])
def test_values_are_frozen(package: str) -> None:
    changed = {cls.__name__ for cls in classes(package) if not is_frozen(cls)}
    assert changed == CHANGED_IN_PLACE.get(package, set())
