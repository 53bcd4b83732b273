"""A clock that needs no time: seconds by formula, the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bpfree.planning.operations import Operation


class FormulaClock:
    """A microsecond an operation, and a nanosecond a byte of its arguments."""

    measured_s = 0.0

    @classmethod
    def of_machine(cls, **_: Any) -> FormulaClock:
        return cls()

    def seconds(self, operations: Mapping[Operation, float], *, repeated: bool = False) -> float:
        del repeated
        return sum(count * (1e-6 + 1e-9 * operation.argument_bytes) for operation, count in operations.items())

    def between_s(self, operations: Mapping[Operation, float], *, repeated: bool = False) -> float:
        del repeated
        return 1e-6 * sum(operations.values())

    def settle(self) -> None:
        pass

    def save(self) -> None:
        pass


@pytest.fixture(autouse=True)
def formula_clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Plans use it, and look for earlier runs in an empty directory."""
    monkeypatch.setattr("bpfree.planning.planner.Clock", FormulaClock)
    monkeypatch.setattr("bpfree.planning.prediction.Predictor._draw_s", lambda *_: (1e-5, 1e-5))
    monkeypatch.chdir(tmp_path)
