"""The label inputs of a table: columns behind those of the data, and K more columns of the first weight to read them.

An image has a border that carries nothing, and the label is painted there. The columns of a table all carry something, and which
come first says nothing, so the label gets columns of its own: with examples x (n, d), the first block reads [x t] (n, d + K)
through [W V]. W stays in the net, V (o, K) belongs to the state. A dense block looks the columns of V up (see
:mod:`bpfree.algorithms.forward_forward.overlay`); any other first block is called with [W V] in the place of W.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bpfree.errors import UsageError
from bpfree.nets import Block, Chain, DenseBlock

__all__ = ["called", "check", "n_parameters", "new_weights"]


def _of_table(net: Chain) -> bool:
    return len(net.in_shape) == 1


def _linear(block: Block) -> tuple[str, nn.Linear] | None:
    """The linear map that reads the block's input, with its name: the first that takes as many features."""
    for name, part in block.named_modules():
        if type(part) is nn.Linear and part.in_features == block.in_shape[0] and "weight" in part._parameters:
            return name, part
    return None


def check(rule: str, net: Chain) -> None:
    """Refuse images that are smaller than a label, and a table whose first block cannot be given more inputs.

    Raises:
        UsageError: naming the block and the cure.
    """
    inputs, block = math.prod(net.in_shape), net[0]
    if not _of_table(net) and inputs <= net.n_classes:
        raise UsageError(
            f"{rule}: {net.n_classes} label pixels do not fit into {inputs} inputs; use another rule, such as mono-forward, or "
            "give the examples as a table (n, features)"
        )
    if not _of_table(net) or type(block) is DenseBlock:
        return
    reason = "has no plain nn.Linear that takes its input"
    if (first := _linear(block)) is not None:
        mode = block.training
        block.eval()
        try:
            weight = first[1].weight
            x = weight.new_zeros(2, block.in_shape[0] + net.n_classes)
            with torch.no_grad():
                shape = called(block, weight.new_zeros(len(weight), net.n_classes))(x).shape[1:]
            reason = "" if tuple(shape) == block.out_shape else "returns another shape then"
        except (RuntimeError, ValueError, IndexError) as error:
            reason = f"fails then ({(str(error).splitlines() or [type(error).__name__])[0]})"
        finally:
            block.train(mode)
    if reason:
        raise UsageError(
            f"{rule}: the label of a table needs {net.n_classes} more inputs, which block 0 ({block.title}) cannot take: it "
            f"{reason}; begin it with an nn.Linear, or use another rule, such as mono-forward"
        )


def n_parameters(net: Chain) -> int:
    """Numbers in V."""
    if not _of_table(net):
        return 0
    first = _linear(net[0])
    assert first is not None  # by check
    return first[1].out_features * net.n_classes


def new_weights(net: Chain, generator: torch.Generator) -> list[list[nn.Parameter]]:
    """For each block its label weights: of the first block of a table V (o, K), drawn as widely as its own weight; else none."""
    weights: list[list[nn.Parameter]] = [[] for _ in net]
    if not _of_table(net):
        return weights
    first = _linear(net[0])
    assert first is not None  # by check
    weight = first[1].weight.detach()
    std = net[0].n_features ** -0.5 if isinstance(net[0], DenseBlock) else float(weight.std(correction=0))
    label_weight = weight.new_empty(len(weight), net.n_classes)
    weights[0].append(nn.Parameter(nn.init.normal_(label_weight, std=std, generator=generator)))
    return weights


def called(block: Block, label_weight: Tensor) -> Callable[[Tensor], Tensor]:
    """The block on (n, d + K), its first weight being [W V]."""
    first = _linear(block)
    assert first is not None  # by check
    path, linear = first
    name = f"{path}.weight" if path else "weight"

    def call(x: Tensor) -> Tensor:
        return functional_call(block, {name: torch.cat([linear.weight, label_weight], 1)}, (x,))

    return call
