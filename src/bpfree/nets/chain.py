"""A network as bpfree trains it: blocks in order, then one linear output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bpfree.errors import UsageError
from bpfree.nets.blocks import Block

__all__ = ["Chain"]

OUTPUT_STD = 0.01
"""Standard deviation of the initial output weights (arXiv 2509.19063, released code ``mf_mlp.py``)."""


class Chain(nn.Module):
    """Blocks in order and a linear output on the features of the last one: a plain ``nn.Module`` before and after training.

    Rules use what they need of it. Backprop trains blocks and output; Mono-Forward's last projection *is* the output weight
    (its bias stays zero); Forward-Forward leaves the output untouched and says so in its traits.

    Args:
        blocks: at least one; each block's input shape is the shape that the block before it puts out.
        n_classes: at least 2.

    Raises:
        UsageError: no blocks, shapes that do not chain (naming the block), fewer than two classes.
    """

    def __init__(self, blocks: Sequence[Block], n_classes: int) -> None:
        super().__init__()
        if not blocks:
            raise UsageError("a net needs at least one block, got none")
        if n_classes < 2:
            raise UsageError(f"a classifier needs at least 2 classes, got {n_classes}")
        for k in range(1, len(blocks)):
            if blocks[k].in_shape != blocks[k - 1].out_shape:
                raise UsageError(
                    f"block {k} takes {blocks[k].in_shape}, but block {k - 1} puts out {blocks[k - 1].out_shape}; "
                    "change one of them so that the shapes chain"
                )
        self.blocks = nn.ModuleList(blocks)
        self.output = nn.Linear(blocks[-1].n_features, n_classes)

    def __iter__(self):
        return iter(self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, k: int) -> Block:
        return self.blocks[k]  # pyright: ignore[reportReturnType]  # nn.ModuleList is not generic

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self[0].in_shape

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.output.out_features

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.output.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the parameters."""
        return self.output.weight.dtype

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (n, n_classes) of examples (n, *in_shape)."""
        for block in self.blocks:
            x = block(x)
        return self.output(self[-1].features(x))

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw fresh initial parameters in place: each block by its own rule, output N(0, 0.01²), biases zero."""
        for block in self:
            block.reset_parameters(generator)
        nn.init.normal_(self.output.weight, std=OUTPUT_STD, generator=generator)
        nn.init.zeros_(self.output.bias)
