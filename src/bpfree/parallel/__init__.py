"""Training in several processes (ranks), started by ``torchrun``: layer-parallel for rules whose gradients cross no border.

Every rank has the whole net and state, and trains a part of the blocks. The first rank leads: it decides what is done,
validates, and writes; the others follow. After a pass all ranks have the net and state that one process would have, bit for
bit, so that a checkpoint of any number of ranks can be resumed by any other number.
"""

from __future__ import annotations

from bpfree.parallel.group import Ranks, check_same, in_torchrun, joined
from bpfree.parallel.layers import LayerPasses, check_layers, follow
from bpfree.parallel.shares import shares_of, stage_flops

__all__ = ["LayerPasses", "Ranks", "check_layers", "check_same", "follow", "in_torchrun", "joined", "shares_of", "stage_flops"]
