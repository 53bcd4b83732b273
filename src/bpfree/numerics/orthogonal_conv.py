"""Convolution kernels whose operator has orthonormal rows, where patches overlap: drawn, taken back to, and how far off.

A convolution without padding, z[o,p] = Σ K[o,c,u] x[c, s p + u] with stride s and kernel edge k, is a matrix with one row per
map o and place p. The inner product of two rows depends on their maps and on the way t between their places alone:

    G[o,o',t] = Σ_cu K[o,c,u] K[o',c,u − s t] ,   |t| ≤ m = ⌊(k − 1)/s⌋ along each axis      (o, o, 2m+1, 2m+1)

so the operator has orthonormal rows where G is 1 for o = o', t = 0 and 0 elsewhere, on an image of any size; only there, if the
image has more than m places along each axis. That needs o ≤ c s² (at each frequency the operator is an o x c s² matrix); a
kernel with more maps can have orthonormal *columns* instead, on an image without borders. Where patches do not overlap (m = 0)
all of this is :mod:`bpfree.numerics.orthogonal` on the kernel as a matrix (o, c k²), and o ≤ c k² is enough. Zeros around the
image cut rows at the border short: then nothing here holds exactly.

Upkeep: a Björck step with G in the place of W Wᵀ, its product cut back to the kernel's support,

    K ← 3/2 K − 1/2 [G K]   with   [G K][o,c,u] = Σ_o't G[o,o',t] K[o',c,u − s t] ,   u within the kernel

which is K ← K − ½ ∂(¼ ‖G − I‖²)/∂K: gradient descent on the defect, with every orthonormal kernel a fixed point. The cut costs
the quadratic convergence of a matrix: ten steps take a perturbation of 10 % to below 1.5 % of the defect's unit, fifty to
0.5 % (``tests/numerics/test_orthogonal_conv.py``). No nearest kernel is known in closed form (no SVD).

Draw: block convolution (BCOP). In the channels of a pixel-unshuffled image (C = c s²: one per channel and place within a stride)
a kernel H of one tap is multiplied by m factors P + Q z along each axis, z a shift by one stride, Q = U Uᵀ a projector of
random directions with rank C/2, P = I − Q; each is an orthogonal convolution of two taps. Where k is no multiple of s the last
factor's Q lives on the places that the kernel still reaches, and the second axis' factors keep those of the first apart.

Sources: Li et al., Preventing Gradient Attenuation in Lipschitz Constrained Convolutional Networks (NeurIPS 2019), for BCOP;
Wang et al., Orthogonal Convolutional Neural Networks (CVPR 2020), for G and its gradient. The cut Björck step is ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bpfree.numerics.orthogonal import orthogonal_, rescue

__all__ = ["bjorck_kernel", "gram", "kernel_defect", "orthogonal_kernel_", "overlap"]


def overlap(kernel: int, stride: int) -> int:
    """m: how many strides away a patch still meets another; 0 where patches do not overlap."""
    return (kernel - 1) // stride


def gram(kernel: Tensor, stride: int) -> Tensor:
    """G (o, o, 2m+1, 2m+1) of a kernel (o, c, k, k)."""
    return F.conv2d(kernel, kernel, stride=stride, padding=_reach(kernel, stride))


def _reach(kernel: Tensor, stride: int) -> int:
    return overlap(kernel.shape[-1], stride) * stride


def _identity(g: Tensor) -> Tensor:
    one = torch.zeros_like(g)
    middle = g.shape[-1] // 2
    one[:, :, middle, middle].fill_diagonal_(1.0)
    return one


def _rescue_of(g: Tensor) -> Tensor:
    """Estimated on an image without borders, of one place more than G is wide."""
    middle = g.shape[-1] // 2
    top = g.flatten(1).norm(dim=1).argmax()
    start = F.pad(g.index_select(0, top.reshape(1)), (0, 1, 0, 1))
    return rescue(lambda v: F.conv2d(F.pad(v, [middle] * 4, mode="circular"), g), start)


def bjorck_kernel(kernel: Tensor, stride: int, steps: int = 1) -> Tensor:
    """K ← 3/2 K − 1/2 [G K] on a kernel (o, c, k, k), ``steps`` times; 2 o² c k² (2m+1)² multiply-adds each."""
    for k in range(steps):
        g = gram(kernel, stride)
        if k == 0:
            square = _rescue_of(g)
            g, kernel = g * square, kernel * square.sqrt()
        kernel = 1.5 * kernel - 0.5 * F.conv_transpose2d(g, kernel, stride=stride, padding=_reach(kernel, stride))
    return kernel


def kernel_defect(kernel: Tensor, stride: int) -> Tensor:
    """‖G − I‖_F / √o, 0-D; of a kernel with more maps than c s², the same of its columns."""
    maps, channels, edge, _ = kernel.shape
    if maps > channels * stride**2:
        whole = F.pad(kernel, (0, -edge % stride, 0, -edge % stride))
        kernel, stride = F.pixel_unshuffle(whole, stride).transpose(0, 1), 1
    g = gram(kernel, stride)
    return (g - _identity(g)).norm() / len(g) ** 0.5


@torch.no_grad()
def orthogonal_kernel_(kernel: Tensor, stride: int, generator: torch.Generator) -> Tensor:
    """Fill a kernel (o, c, k, k), k ≥ stride, in place: orthonormal rows, or columns where o > c s²."""
    maps, channels, edge, _ = kernel.shape
    inner, m = channels * stride**2, overlap(edge, stride)
    taps = kernel.new_zeros(maps, inner, m + 1, m + 1)
    taps[:, :, 0, 0] = orthogonal_(kernel.new_empty(maps, inner), generator)
    place = torch.arange(inner, device=kernel.device).reshape(channels, stride, stride)  # channel of a pixel-unshuffled image
    reached = edge - m * stride  # places of the last tap, of each axis
    for axis in (2, 1):  # columns of the image, then rows
        for k in range(m):
            last = k == m - 1 and reached < stride
            if maps > inner and not last:  # a tall kernel has the room for turning on the side of its maps
                q = _projector(kernel, maps, [torch.arange(maps, device=kernel.device)], generator)
                turned = torch.einsum("po,ocab->pcab", q, taps)
            else:
                admitted = place.narrow(axis, 0, reached) if last else place
                groups = [admitted.flatten()]
                if axis == 1 and reached < stride:  # the first axis' last tap has columns below ``reached`` alone: it keeps them
                    groups = [admitted[..., :reached].flatten(), admitted[..., reached:].flatten()]
                turned = torch.einsum("ocab,cd->odab", taps, _projector(kernel, inner, groups, generator))
            taps = taps - turned + turned.roll(1, dims=axis + 1)  # the tap that would leave is zero: there are m factors
    return kernel.copy_(F.pixel_shuffle(taps, stride)[..., :edge, :edge])


def _projector(like: Tensor, size: int, groups: list[Tensor], generator: torch.Generator) -> Tensor:
    """Q (size, size): in each group of coordinates a projector of random directions, of half the rank (the first rounds up)."""
    q = like.new_zeros(size, size)
    for k, group in enumerate(groups):
        rank = (len(group) + (k == 0)) // 2
        u = orthogonal_(like.new_empty(len(group), len(group)), generator)[:, :rank]
        q[group[:, None], group[None, :]] = u @ u.t()
    return q
