"""Net, state and batch without numbers: tensors that have shape, layout and type, of which torch computes nothing.

torch's ``FakeTensorMode`` runs a step on them and knows the shape of every result, so a step can be followed that would not fit
into this machine. What the host reads (0-D tensors: learning rates, counts, keys of random streams) stays real.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from bpfree.algorithms import Algorithm, State
from bpfree.data import Batch
from bpfree.nets import Chain
from bpfree.numerics.modes import eager_only

__all__ = ["fake_batch", "fake_mode", "fake_state", "fake_twins"]

LARGE = 2**22
"""Elements from which a tensor of a state is not allocated: 16 MiB of float32."""


def fake_mode() -> FakeTensorMode:
    """A mode in which 0-D tensors of the host may stand beside fakes."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def fake_twins(mode: FakeTensorMode, net: Chain, state: State) -> tuple[Chain, State]:
    """Copies of net and state with fakes for all tensors of at least one axis; they share what the originals share."""
    tensors = {id(t): t for module in (net, state) for t in (*module.parameters(), *module.buffers()) if t.dim() > 0}
    twins = {key: t if isinstance(t, FakeTensor) else mode.from_tensor(t) for key, t in tensors.items()}
    return copy.deepcopy((net, state), twins)


class _LargeAreFake(TorchDispatchMode):
    """What is allocated here is a fake where it is large; all else is computed."""

    def __init__(self, mode: FakeTensorMode) -> None:
        super().__init__()
        self._mode = mode

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket in _ALLOCATE and torch.Size(args[0]).numel() >= LARGE:
            with self._mode:
                return func(*args, **kwargs)
        return func(*args, **kwargs)


eager_only(_LargeAreFake)

_ALLOCATE = frozenset(
    getattr(torch.ops.aten, name) for name in ("empty", "empty_strided", "zeros", "ones", "full", "rand", "randn")
)


def fake_state(mode: FakeTensorMode, rule: Algorithm, net: Chain) -> State:
    """The state of a rule, of which large tensors take no memory: heads on whole maps with a thousand classes are gigabytes.

    Args:
        mode: of the twins that are made of it.
        net: real; it is given initial parameters.
    """
    with _LargeAreFake(mode):
        return rule.init(net, torch.Generator().manual_seed(0))


def fake_batch(mode: FakeTensorMode, n: int, shape: Sequence[int], dtype: torch.dtype, *, weighted: bool = False) -> Batch:
    """A batch of ``n`` examples of a shape.

    Args:
        weighted: whether it has class weights.
    """

    def fake(*size: int, dtype: torch.dtype) -> Tensor:
        with mode:
            return torch.empty(size, dtype=dtype)

    weight = fake(n, dtype=dtype) if weighted else None
    return Batch(fake(n, *shape, dtype=dtype), fake(n, dtype=torch.int64), torch.tensor(0), weight)
