"""Training in several processes (ranks), started by ``torchrun``.

Layer-parallel (``"layers"``), for rules whose gradients cross no border: each rank trains a part of the blocks. Data-parallel
(``"data"``): each rank takes a part of the rows of every batch. Both at once: ``"layers,data"``.

Every rank has the whole net and state. The first rank leads: it decides what is done, and writes; the others follow. After a pass
all ranks have the net and state that one process would have (layers: bit for bit; data: but for the rounding of sums), so that a
checkpoint of any number of ranks can be resumed by any other number.
"""

from __future__ import annotations

from bpfree.parallel.group import Ranks, check_same, in_torchrun, joined
from bpfree.parallel.layers import LayerPart, check_layers
from bpfree.parallel.mesh import MeshPart, check_mesh
from bpfree.parallel.rows import DataPart, check_rows
from bpfree.parallel.shares import shares_of, stage_flops
from bpfree.parallel.together import Leading, Part, follow_as
from bpfree.train.passes import Work

__all__ = [
    "KINDS",
    "DataPasses",
    "LayerPasses",
    "Leading",
    "Ranks",
    "check_layers",
    "check_mesh",
    "check_rows",
    "check_same",
    "follow",
    "in_torchrun",
    "joined",
    "passes_of",
    "shares_of",
    "stage_flops",
]

_PARTS: dict[str, type[Part]] = {part.kind: part for part in (LayerPart, DataPart, MeshPart)}

KINDS = tuple(_PARTS)
"""The ways in which ranks share the work."""


def passes_of(kind: str, ranks: Ranks) -> Leading:
    """The passes of the first rank.

    Args:
        kind: one of :data:`KINDS`.
    """
    return Leading(ranks, _PARTS[kind])


def follow(ranks: Ranks, work: Work, kind: str = "layers") -> None:
    """Make this rank's part of everything that the first rank orders, until it ends.

    Args:
        work: as the first rank has it; net and state of the same shapes, whatever their values.
        kind: one of :data:`KINDS`, the same in all ranks.
    """
    follow_as(_PARTS[kind], ranks, work)


class LayerPasses(Leading):
    """Layer-parallel passes, as the first rank makes them."""

    def __init__(self, ranks: Ranks) -> None:
        super().__init__(ranks, LayerPart)


class DataPasses(Leading):
    """Data-parallel passes, as the first rank makes them."""

    def __init__(self, ranks: Ranks) -> None:
        super().__init__(ranks, DataPart)
