"""Net, state and batch without numbers: tensors that have shape, layout and type, of which torch computes nothing.

torch's ``FakeTensorMode`` runs a step on them and knows the shape of every result, so a step can be followed that would not fit
into this machine. What the host reads (0-D tensors: learning rates, counts, keys of random streams) stays real.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from bpfree.algorithms import State
from bpfree.data import Batch
from bpfree.nets import Chain

__all__ = ["fake_batch", "fake_mode", "fake_twins"]


def fake_mode() -> FakeTensorMode:
    """A mode in which 0-D tensors of the host may stand beside fakes."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def fake_twins(mode: FakeTensorMode, net: Chain, state: State) -> tuple[Chain, State]:
    """Copies of net and state with fakes for all tensors of at least one axis; they share what the originals share."""
    tensors = {id(t): t for module in (net, state) for t in (*module.parameters(), *module.buffers()) if t.dim() > 0}
    return copy.deepcopy((net, state), {key: mode.from_tensor(tensor) for key, tensor in tensors.items()})


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
