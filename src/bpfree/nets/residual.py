"""Residual blocks, each trained on its own: the short ResNet of the CIFAR family."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bpfree.nets.blocks import Block, numbered
from bpfree.nets.chain import Chain
from bpfree.nets.conv import ConvBlock
from bpfree.nets.module import ModuleBlock
from bpfree.nets.spec import Spec

__all__ = ["RESNET_FAMILIES", "Residual"]

FIRST_CHANNELS = 16
"""Doubled by the second and third residual block: He, Zhang, Ren and Sun, arXiv 1512.03385, section 4.2 (n = 1, 8 layers)."""

NORM_EPS = 1e-5


class Residual(nn.Module):
    """relu(f(x) + s(x)): f two convolutions 3 x 3 with BatchNorm, s the identity, or 1 x 1 where the shape changes.

    Source: arXiv 1512.03385, fig. 2 and shortcut B (the 8-layer net there has the parameter-free shortcut A).
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels_out, NORM_EPS)
        self.second = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels_out, NORM_EPS)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            conv = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(channels_out, NORM_EPS))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels_in, h, w) to (n, channels_out, ⌈h / stride⌉, ⌈w / stride⌉)."""
        inner = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(inner)) + self.shortcut(x))


def _resnet8(spec: Spec, in_shape: tuple[int, ...], n_classes: int) -> Chain:
    channels = spec.width(FIRST_CHANNELS, "resnet8 or resnet8:8")
    order = ("norm", "activation", "pool")
    with numbered(0):
        first = ConvBlock(in_shape, channels, norm=True, order=order, eps=NORM_EPS)
    blocks: list[Block] = [first]
    for stride, wider in ((1, 1), (2, 2), (2, 2)):
        module: nn.Module = Residual(channels, channels * wider, stride)
        channels *= wider
        if len(blocks) == 3:  # the last block returns its channels' means, as the paper's net does
            module = nn.Sequential(module, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        blocks.append(ModuleBlock(blocks[-1].out_shape, module))
    return Chain(blocks, n_classes)


RESNET_FAMILIES = {
    "resnet8": (_resnet8, "ResNet of 8 layers: a convolution and three residual blocks of 16/32/64 channels, global average"),
}
"""Name to builder and line of help."""
