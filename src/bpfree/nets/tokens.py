"""Nets whose activity is a sequence of tokens: MLP-Mixer and a small vision transformer, each layer a block of its own.

The patch embedding belongs to the first block: on its own it would be scored by the mean of its tokens, which is a linear map
of the mean patch and tells little about the picture.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bpfree.errors import UsageError, unknown_name
from bpfree.nets.blocks import ACTIVATION_MODULES, Block
from bpfree.nets.chain import Chain
from bpfree.nets.module import ModuleBlock
from bpfree.nets.spec import Spec

__all__ = ["TOKEN_FAMILIES", "Encoder", "Mixer", "Patches"]

POSITION_STD = 0.02
"""Of the initial position embedding (Dosovitskiy et al., arXiv 2010.11929, released code)."""

PATCH, DEPTH, WIDTH, HEADS = 4, 4, 64, 4
"""Ours, untuned: 49 tokens of 28 x 28 images, 64 of 32 x 32; about 0.14 million parameters, so that two cores can train it."""

INNER = 2
"""Width of the inner layers over ``width`` (4 in the papers, whose nets are a hundred times larger)."""


class Patches(nn.Module):
    """(n, c, h, w) to (n, tokens, width): a linear map of each patch, and a learned embedding of its place."""

    def __init__(self, in_shape: tuple[int, ...], patch: int, width: int) -> None:
        super().__init__()
        channels, height, width_px = in_shape
        self.embed = nn.Conv2d(channels, width, patch, patch)
        self.position = nn.Parameter(torch.empty((height // patch) * (width_px // patch), width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the position embedding; the linear map draws its own values."""
        nn.init.normal_(self.position, std=POSITION_STD)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens row by row."""
        return self.embed(x).flatten(2).transpose(1, 2) + self.position


def _inner(width: int, hidden: int, activation: str) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), ACTIVATION_MODULES[activation](), nn.Linear(hidden, width))


class Mixer(nn.Module):
    """x + tokens(norm(x)), then x + channels(norm(x)), on (n, tokens, width): Tolstikhin et al., arXiv 2105.01601, eq. 1."""

    def __init__(self, n_tokens: int, width: int, activation: str) -> None:
        super().__init__()
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = _inner(n_tokens, INNER * n_tokens, activation)
        self.channels = _inner(width, INNER * width, activation)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) to the same."""
        x = x + self.tokens(self.first_norm(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.second_norm(x))


class Encoder(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), on (n, tokens, width): arXiv 2010.11929, eq. 2 and 3 (pre-norm)."""

    def __init__(self, width: int, heads: int, activation: str) -> None:
        super().__init__()
        self.heads = heads
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = _inner(width, INNER * width, activation)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) to the same."""
        x = x + self._attention(self.first_norm(x))
        return x + self.mlp(self.second_norm(x))

    def _attention(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        three = self.into(x).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = three.unbind()  # not by index: autograd would make three gradients of the whole and add them
        mixed = F.scaled_dot_product_attention(query, key, value)  # (n, heads, tokens, width / heads)
        return self.out(mixed.transpose(1, 2).reshape(n, tokens, width))


def _chain(spec: Spec, in_shape: tuple[int, ...], n_classes: int, patch: int, layers: list[nn.Module], width: int) -> Chain:
    layers[0] = nn.Sequential(Patches(in_shape, patch, width), layers[0])
    layers[-1] = nn.Sequential(layers[-1], nn.LayerNorm(width))  # the norm before the read-out, as in both papers
    blocks: list[Block] = []
    shape = tuple(in_shape)
    for k, layer in enumerate(layers):
        blocks.append(ModuleBlock(shape, layer, name=f"block {k} of {spec.text}"))
        shape = blocks[-1].out_shape
    return Chain(blocks, n_classes)


def _patch_of(spec: Spec, in_shape: tuple[int, ...]) -> int:
    """Edge of the patches, checked against the images."""
    if len(in_shape) != 3:
        raise UsageError(
            f"block 0 of {spec.text} takes images (channels, height, width), got examples of {tuple(in_shape)}; "
            "use dense blocks (mlp:2x256), or give the data as images"
        )
    patch = spec.natural("patch", PATCH)
    _, height, width = in_shape
    if height % patch or width % patch:
        fitting = [edge for edge in range(2, min(height, width) + 1) if height % edge == width % edge == 0]
        cure = f"use patch={min(fitting, key=lambda edge: abs(edge - patch))}" if fitting else "use another net, such as cnn3"
        raise UsageError(f"block 0 of {spec.text}: patches of {patch} x {patch} do not tile images of {height} x {width}; {cure}")
    return patch


def _activation_of(spec: Spec) -> str:
    activation = spec.word("activation", "gelu")
    if activation not in ACTIVATION_MODULES:
        raise unknown_name("activation", activation, ACTIVATION_MODULES)
    return activation


def _mixer(spec: Spec, in_shape: tuple[int, ...], n_classes: int) -> Chain:
    spec.no_words()
    patch, depth, width = _patch_of(spec, in_shape), spec.natural("depth", DEPTH), spec.natural("width", WIDTH)
    activation = _activation_of(spec)
    n_tokens = (in_shape[1] // patch) * (in_shape[2] // patch)
    return _chain(spec, in_shape, n_classes, patch, [Mixer(n_tokens, width, activation) for _ in range(depth)], width)


def _vit(spec: Spec, in_shape: tuple[int, ...], n_classes: int) -> Chain:
    spec.no_words()
    patch, depth, width = _patch_of(spec, in_shape), spec.natural("depth", DEPTH), spec.natural("width", WIDTH)
    heads, activation = spec.natural("heads", HEADS), _activation_of(spec)
    if width % heads:
        raise UsageError(
            f"the net {spec.text!r}: width {width} does not divide into {heads} heads; use heads=1, or width={heads * 16}"
        )
    return _chain(spec, in_shape, n_classes, patch, [Encoder(width, heads, activation) for _ in range(depth)], width)


TOKEN_FAMILIES = {
    "mixer": (_mixer, "MLP-Mixer on patches: 4 layers of 64 (mixer:depth=4:width=64:patch=4), mean over tokens"),
    "vit": (_vit, "vision transformer, pre-norm: 4 layers of 64 (vit:depth=4:width=64:patch=4:heads=4), mean over tokens"),
}
"""Name to builder and line of help."""
