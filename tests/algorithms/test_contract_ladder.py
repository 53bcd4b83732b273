"""The rungs between frozen blocks and backprop, held to the contract."""

from __future__ import annotations

from bpfree.algorithms import Blockwise, DeepSupervision, Frozen
from bpfree.nets import Chain
from bpfree.testing import AlgorithmContract
from bpfree.testing.bench import BLOCK_KINDS

FEW = {kind: BLOCK_KINDS[kind] for kind in ("dense", "foreign")}


class TestFrozen(AlgorithmContract):
    block_kinds = FEW
    easy_params = {"lr": 1e-2}
    floors = {"blobs": 0.9, "digits": 0.8}

    rules = (
        Frozen(),
        Frozen(readout="all", weight_decay=0.1),
    )


class TestBlockwise(AlgorithmContract):
    block_kinds = FEW
    exceptions = {"test_memory_and_depth": "live bytes follow the reach, not the depth: see test_blockwise.py"}

    rules = (
        Blockwise(),
        Blockwise(weight_decay=0.1, maths="autograd"),
    )

    def backprop_twin(self) -> Chain:
        """As many blocks as the reach are one group, whose head is the output."""
        return self.make_net(widths=(9, 7))


class TestBlockwiseOfOneBlock(AlgorithmContract):
    """The end of the dial where no block reads a later one; the other end is backprop: see test_blockwise.py."""

    block_kinds = FEW

    rules = (Blockwise(reach=1),)

    def backprop_twin(self) -> Chain:
        return self.make_net(widths=(9,))


class TestDeepSupervisionBesideAnOutput(AlgorithmContract):
    block_kinds = FEW

    rules = (DeepSupervision(output="own", readout="sum", aux_weight=0.2),)
