"""Floating-point operations of a whole training step, 2 per multiply-add, counted where torch dispatches them.

``torch.utils.flop_counter.FlopCounterMode`` counts what is in its registry and silently takes everything else for 0: in-place
matrix products (``addmm_``, ``baddbmm_``), ``mv``, ``dot``, linear algebra, kernels of others. A guard below it sees each
operation that is really executed and fails the count when one that multiplies matrices has no formula.

Element-wise work is not counted, as in every published count; nor are reductions, gathers and normalisations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, _FlopCounterMode  # pyright: ignore[reportPrivateUsage]

from bpfree.errors import BpfreeError
from bpfree.meter.flop_formulas import FORMULAS, IN_PLACE_FORMULAS, Formula
from bpfree.numerics.modes import eager_only

__all__ = ["IN_PLACE_FORMULAS", "FlopCount", "FlopCountError", "count_flops", "counting_flops", "multiplies_matrices"]


class FlopCountError(BpfreeError, ValueError):
    """A count that would be too low: an operation without a formula, or nothing that could be seen."""


_TOKENS = frozenset(
    """
    mm bmm addmm addbmm baddbmm smm spmm hspmm sspaddmm mv addmv addr dot vdot matmul gemm linear bilinear
    trilinear conv conv1d conv2d conv3d convolution dilated2d dilated3d transpose2d transpose3d attention
    transformer head rnn gru lstm linalg cholesky solve spsolve triangular qr svd lu ldl geqrf orgqr ormqr
    eig eigh det slogdet lstsq inverse pinverse euclidean cdist lobpcg einsum combination
    """.split()  # noqa: SIM905 - eighty quoted words are harder to read
)
"""Words of operator names that mean a product of matrices, or a decomposition made of such products."""

_HARMLESS = frozenset(
    """
    _linalg_check_errors linalg_cross linalg_diagonal linalg_vector_norm linalg_vander linalg__powsum
    slice_inverse lu_unpack _thnn_fused_lstm_cell _thnn_fused_lstm_cell_backward_impl _thnn_fused_gru_cell
    _thnn_fused_gru_cell_backward upsample_linear1d upsample_linear1d_backward upsample_bilinear2d
    upsample_bilinear2d_backward upsample_trilinear3d upsample_trilinear3d_backward _upsample_bilinear2d_aa
    _upsample_bilinear2d_aa_backward mkldnn_reorder_conv2d_weight mkldnn_reorder_conv3d_weight
    """.split()  # noqa: SIM905
)
"""Operators with such a word in their name that multiply no matrices."""

_NAMESPACES = ("aten", "prim", "prims", "profiler", "c10d", "_c10d_functional")
"""Namespaces whose operators are known by name. A kernel of any other namespace needs a formula, whatever its name."""


def multiplies_matrices(namespace: str, name: str) -> bool:
    """Whether an operator multiplies matrices, or cannot be known not to."""
    if namespace not in _NAMESPACES:
        return True
    return name not in _HARMLESS and not _TOKENS.isdisjoint(name.split("_"))


class _Guard(TorchDispatchMode):
    """Sees what the counter lets through, after its decompositions; raises at the first operation without a formula."""

    def __init__(self, known: Mapping[Any, Any]) -> None:
        super().__init__()
        self._known = known
        self.saw_any = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = getattr(func, "_overloadpacket", func)
        namespace = getattr(func, "namespace", "higher_order")
        name = getattr(packet, "__name__", str(packet))
        if packet not in self._known and multiplies_matrices(namespace, name):
            raise FlopCountError(
                f"{namespace}.{name} multiplies matrices, but has no FLOP formula, so it would count as 0; write the counted "
                "step with torch.addmm or matmul, or give count_flops a formula for it"
            )
        self.saw_any = True
        return func(*args, **(kwargs or {}))


eager_only(_Guard)
eager_only(_FlopCounterMode)


@dataclass
class FlopCount:
    """``total`` of a block that was counted; 0 until it has ended."""

    total: int = 0


@contextmanager
def counting_flops(*, formulas: Mapping[Any, Formula] | None = None) -> Iterator[FlopCount]:
    """Count the floating-point operations of a block of code, which must run eagerly, forward and backward.

    Args:
        formulas: more formulas, by operator packet (``torch.ops.aten.addmm_``), called with the shapes of the arguments;
            :data:`IN_PLACE_FORMULAS` has those of in-place products.

    Raises:
        FlopCountError: an operation that multiplies matrices has no formula, or no operation could be seen at all (a compiled
            step or a replayed graph).
    """
    custom = {**FORMULAS, **(formulas or {})}
    counter = FlopCounterMode(display=False, custom_mapping=custom)
    guard = _Guard(counter.flop_registry)
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the fused encoder layer is one operation without a formula
    try:
        with guard, counter:
            yield (count := FlopCount())
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    if not guard.saw_any:
        raise FlopCountError("no operation was seen; compiled steps and replayed graphs cannot be counted: give the eager twin")
    count.total = int(counter.get_total_flops())


def count_flops(fn: Callable[[], object], *, formulas: Mapping[Any, Formula] | None = None) -> int:
    """Run ``fn`` once, and count its operations as :func:`counting_flops` does.

    Args:
        fn: the step; it really runs, so give it a copy of what must not change.
        formulas: more formulas, by operator packet.

    Raises:
        FlopCountError: as :func:`counting_flops`.
    """
    with counting_flops(formulas=formulas) as count:
        fn()
    return count.total
