"""Dispatch modes that do not load torch's compiler."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import _FlopCounterMode  # pyright: ignore[reportPrivateUsage]

from bpfree.meter import count_flops
from bpfree.numerics.modes import eager_only


class _Counting(TorchDispatchMode):
    seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        type(self).seen += 1
        return func(*args, **(kwargs or {}))


def test_the_handler_is_called_without_the_compiler() -> None:
    """torch's wrapper calls what stands at the handler; where nothing stands, it loads the compiler to make it."""
    eager_only(_Counting)
    handler = _Counting.__torch_dispatch__.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
    assert getattr(handler, "__dynamo_disable") is handler
    with _Counting():
        torch.ones(2).neg()
    assert _Counting.seen > 0


def test_counts_are_made_by_such_modes() -> None:
    assert count_flops(lambda: torch.ones(2, 3) @ torch.ones(3, 4)) == 2 * 2 * 3 * 4
    assert hasattr(_FlopCounterMode.__torch_dispatch__.__wrapped__, "__dynamo_disable")  # pyright: ignore
