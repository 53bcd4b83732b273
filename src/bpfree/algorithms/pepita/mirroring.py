"""Weight mirroring: matrices that learn, from the blocks' answers to noise, to point where the forward weights do."""

from __future__ import annotations

from torch import Tensor

from bpfree.nets import Block, Chain, DenseBlock
from bpfree.numerics.feedback import compose
from bpfree.numerics.local import dense_activity
from bpfree.numerics.streams import normal

__all__ = ["NOISE_ROWS", "NOISE_STD", "mirror_", "rescale_"]

NOISE_STD = 0.1
"""Deviation of the mirroring noise (released code of arXiv 2302.05440)."""

NOISE_ROWS = 64
"""Rows of noise in a step of mirroring, whatever the batch: the batch size of both papers."""

_NOISE_SALT = 1_000
"""Streams of one batch: noise from here on; the masks of blocks below."""


def mirror_(mirrors: list[Tensor], net: Chain, key: Tensor, index: int, *, lr: Tensor, decay: Tensor) -> None:
    """B ← (1 − decay) B + lr Υᵀ Ξ / m for every block and the output, in place: m rows of noise Ξ and the answers Υ to them.

    Args:
        mirrors: B of each block, then of the output, each (o, i).
        net: of dense blocks.
        key: of the batch; ``index`` is the number of the step within it.
    """
    layers = [_layer(block) for block in net]
    layers.append((net.output.weight, net.output.bias, "identity"))
    for k, (mirror, (weight, bias, activation)) in enumerate(zip(mirrors, layers, strict=True)):
        salt = _NOISE_SALT + index * len(layers) + k
        noise = NOISE_STD * normal(key, (NOISE_ROWS, weight.shape[1]), salt=salt, dtype=weight.dtype)
        noise = noise - noise.mean(0)
        answer = dense_activity(noise, weight, bias, activation)
        change = lr / NOISE_ROWS * (answer.t() @ noise)
        mirror.mul_(1.0 - decay).add_(change)


def _layer(block: Block) -> tuple[Tensor, Tensor | None, str]:
    assert isinstance(block, DenseBlock)  # mirroring refuses others
    return block.linear.weight, block.linear.bias, block.activation


def rescale_(mirrors: list[Tensor], std: float) -> None:
    """Multiply all by one factor, in place, so that their product has entries of deviation ``std``."""
    factor = (std / compose(mirrors).std()) ** (1.0 / len(mirrors))
    for mirror in mirrors:
        mirror.mul_(factor)
