"""Networks: chains of blocks."""

from bpfree.nets.blocks import Block, DenseBlock
from bpfree.nets.chain import Chain
from bpfree.nets.zoo import build, describe, mlp, names

__all__ = ["Block", "Chain", "DenseBlock", "build", "describe", "mlp", "names"]
