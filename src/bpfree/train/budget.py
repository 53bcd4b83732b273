"""Whether a budget of passes gives enough steps to learn anything: on a small set a pass is a step or two."""

from __future__ import annotations

import math

from bpfree.rulesets import Patience

__all__ = ["ShortBudgetWarning", "default_stop", "short_budget"]

_FEW = 300
"""Steps below which a budget is called short. Iris (105 examples), ``mlp:2x256``, backprop at its default rate, batches of 64:
83 % of validation after 80, 200 and 280 steps, 96 % after 500. Digits are learned in 340 steps."""

_ENOUGH = 600
"""Steps that the budget which is named instead gives at least."""


_PASSES, _PATIENCE = 100, 10
"""Of the stop rule where none is given, on a set that is not small."""


class ShortBudgetWarning(UserWarning):
    """A run has fewer steps than rules need at their usual learning rates."""


def short_budget(n_train: int, batch_size: int, max_passes: int, name: str) -> str | None:
    """One line on a budget that is too short to learn, with one that is not; None for one that is long enough.

    Args:
        n_train: training examples.
        name: of the data set.
    """
    steps = _steps(n_train, batch_size, max_passes)
    if steps >= _FEW:
        return None
    passes = math.ceil(_ENOUGH / _steps(n_train, batch_size, 1))
    cures = [f"--max-passes {passes} ({_steps(n_train, batch_size, passes):,} steps)"]
    smaller = [
        size for size in (2**k for k in range(1, 20)) if size < batch_size and _steps(n_train, size, max_passes) >= _ENOUGH
    ]
    if smaller:
        cures.insert(0, f"--batch-size {smaller[-1]} ({_steps(n_train, smaller[-1], max_passes):,} steps)")
    return (
        f"{name}: {n_train:,} training examples in batches of {batch_size} give {steps} steps in {max_passes} "
        f"{'pass' if max_passes == 1 else 'passes'}, too few to learn at usual learning rates; give {' or '.join(cures)}"
    )


def default_stop(n_train: int, batch_size: int) -> Patience:
    """The stop rule where none is given: patience 10 on validation accuracy, at most 100 passes; more of both on a small set.

    A small set has so many passes that they are 600 steps, and waits a tenth of them.

    Args:
        n_train: training examples.
    """
    passes = max(_PASSES, math.ceil(_ENOUGH / _steps(n_train, batch_size, 1)))
    return Patience(max(_PATIENCE, passes // 10), passes)


def _steps(n_train: int, batch_size: int, passes: int) -> int:
    return math.ceil(n_train / batch_size) * passes
