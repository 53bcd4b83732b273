"""Networks: chains of blocks."""

from bpfree.nets.blocks import Block, DenseBlock
from bpfree.nets.chain import Chain
from bpfree.nets.cnns import cnn
from bpfree.nets.conv import ConvBlock
from bpfree.nets.module import MeanOverTokens, ModuleBlock
from bpfree.nets.own import named, text_of
from bpfree.nets.split import from_module
from bpfree.nets.zoo import build, describe, mlp, names

__all__ = [
    "Block",
    "Chain",
    "ConvBlock",
    "DenseBlock",
    "MeanOverTokens",
    "ModuleBlock",
    "build",
    "cnn",
    "describe",
    "from_module",
    "mlp",
    "named",
    "names",
    "text_of",
]
