"""The conformance kit: what a learning rule, a data set or an energy source must keep to, as test classes to inherit from.

    from bpfree.testing import AlgorithmContract

    class TestMyRule(AlgorithmContract):
        @pytest.fixture
        def algorithm(self):
            return MyRule(lr=1e-3)

It needs pytest, which bpfree itself does not: pip install pytest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpfree.testing.algorithm import AlgorithmContract
    from bpfree.testing.dataset import DatasetContract
    from bpfree.testing.source import SourceContract

__all__ = ["AlgorithmContract", "DatasetContract", "SourceContract"]

_HOMES = {"AlgorithmContract": "algorithm", "DatasetContract": "dataset", "SourceContract": "source"}
_WITH_ASSERTS = ("_costs", "_mathematics", "_place", "_persistence", "algorithm", "dataset", "source")


def __getattr__(name: str) -> Any:
    """Import a contract on first use: golden trajectories and guards need no pytest."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bpfree.testing' has no attribute {name!r}")
    try:
        import pytest
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"bpfree.testing.{name} is a pytest class; install it with: pip install pytest") from error
    pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _WITH_ASSERTS))  # failures show their values
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
