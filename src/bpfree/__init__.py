"""bpfree: train deep networks without backpropagation, and measure, fairly and in joules, what that costs and gains.

>>> import bpfree
>>> data = bpfree.data.load("digits")
>>> net = bpfree.nets.mlp(data.in_shape, (128, 128), data.n_classes)
>>> result = bpfree.fit(bpfree.algorithms.MonoForward(lr=3e-3), net, data, bpfree.Patience(10, max_passes=20))
>>> result.status
'ok'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bpfree._version import __version__

if TYPE_CHECKING:
    from bpfree import algorithms, data, meter, models, nets, sklearn, train
    from bpfree.comparison import Comparison, compare
    from bpfree.planning import Plan, plan
    from bpfree.train import FitResult, Patience, Progress, fit, training

__all__ = [
    "Comparison",
    "FitResult",
    "Patience",
    "Plan",
    "Progress",
    "__version__",
    "algorithms",
    "compare",
    "data",
    "fit",
    "meter",
    "models",
    "nets",
    "plan",
    "sklearn",
    "train",
    "training",
]

_FROM = {"Comparison": "comparison", "compare": "comparison", "Plan": "planning", "plan": "planning"} | dict.fromkeys(
    ("FitResult", "Patience", "Progress", "fit", "training"), "train"
)
_MODULES = {"algorithms", "data", "meter", "models", "nets", "sklearn", "train"}


def __getattr__(name: str) -> Any:
    """Import on first use: reading a report or printing help needs no torch."""
    if name in _MODULES:
        return importlib.import_module(f"bpfree.{name}")
    if name in _FROM:
        return getattr(importlib.import_module(f"bpfree.{_FROM[name]}"), name)
    raise AttributeError(f"module 'bpfree' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
