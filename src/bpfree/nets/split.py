"""A user's module as a chain: where it is cut into blocks, and which pieces have a closed form."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Integral

import torch
from torch import nn

from bpfree.errors import UsageError
from bpfree.nets.blocks import BATCH_NORMS, Block, DenseBlock
from bpfree.nets.chain import Chain
from bpfree.nets.conv import ConvBlock
from bpfree.nets.exact import why_hooked, why_not_exact
from bpfree.nets.module import ModuleBlock
from bpfree.nets.probe import check_parameters, evaluating
from bpfree.nets.stages import Stage, Stages, check_forward, check_gradients, stages_of
from bpfree.numerics.activations import LEAKY_SLOPE
from bpfree.numerics.conv import STAGES

__all__ = ["from_module"]

_JOINING = (*BATCH_NORMS, nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm, nn.LocalResponseNorm, nn.PReLU)
"""Modules that may have parameters, but start no block: normalisations, and the activation that learns its slope."""

TOLERANCE = 1e-3
"""Largest difference between net and chain, relative to the largest score, in the closing check."""


@dataclass
class _Piece:
    """Modules of one block to be, with their names in the user's net."""

    modules: list[nn.Module] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def add(self, name: str, module: nn.Module) -> None:
        self.modules.append(module)
        self.names.append(name)

    def words(self) -> str:
        return ", ".join(f"{name} {type(module).__name__}" for name, module in zip(self.names, self.modules, strict=True))


def from_module(
    net: nn.Module,
    in_shape: tuple[int, ...],
    n_classes: int | None = None,
    *,
    stages: Stages | None = None,
    cut: Callable[[str, nn.Module], bool] | None = None,
    open_nested: bool = True,
    keep_weights: bool = False,
) -> Chain:
    """Split a user's module into blocks that share its parameters: the net is trained in place.

    An ``nn.Sequential`` says itself what comes after what. Of any other module ``stages`` says it, and its own forward is
    compared with them, in evaluation and in training mode, values and gradients: what it does between two stages is refused.

    A block starts at each module with parameters; what has none (activation, pooling, dropout) and normalisations join the
    block before them. The last ``nn.Linear`` becomes the output. Blocks with a closed form are recognised; the others use
    autograd inside themselves, and so do layers that are hooked, pruned, parametrized or given a parameter of another shape.
    :meth:`Chain.describe` says where the net was cut.

    Args:
        in_shape: of one example.
        n_classes: only where the net does not end in its output: a new linear output is then appended.
        stages: what the forward calls, in its order: dotted names (``"layer1.0"``) or submodules, or a function of the net that
            returns them. A module without parameters may stand for a function (``nn.Flatten()`` for ``x.flatten(1)``).
        cut: called with the name and the module of every stage before the output: whether a block starts there. By default one
            starts at each with parameters that is no normalisation.
        open_nested: whether an ``nn.Sequential`` inside is split too; if not, it is one stage.
        keep_weights: start every run from the weights that the net has now. Forward-Forward draws those of dense blocks
            all the same.

    Example:
        >>> import torch, bpfree
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.GELU(), torch.nn.Linear(32, 10))
        >>> chain = bpfree.nets.from_module(net, in_shape=(1, 8, 8))
        >>> chain.describe()[0]
        'block 0: ModuleBlock of Sequential (1, 8, 8) -> (32,), 2080 parameters; 0 Flatten, 1 Linear, 2 GELU'
        >>> chain.to_module() is net
        True

    Raises:
        UsageError: a net that has no hidden block or no output, whose parts cannot be blocks, or whose forward is not its
            stages one after the other (naming the place and the cure).
    """
    if not _is_shape(in_shape):
        got = repr(in_shape) if isinstance(in_shape, int | str | Sequence) else f"a {type(in_shape).__name__}"
        raise UsageError(f"in_shape must be the shape of one example, such as (1, 8, 8), got {got}; give data.in_shape")
    in_shape = tuple(in_shape)
    if not isinstance(net, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]  # what a user may pass
        raise UsageError(f"from_module takes (net, in_shape), got a {type(net).__name__} as net; give an nn.Module")
    if stages is None and not _is_sequence(net):
        raise UsageError(
            f"a {type(net).__name__} does not say what comes after what, as an nn.Sequential does; give its stages in the order "
            f"of its forward: stages={_example(net)}"
        )
    check_parameters(net, "the net")
    listed = list(net._modules.items()) if stages is None else stages_of(net, stages, complete=n_classes is None)
    leaves = _leaves(listed, open_nested)
    output = _output(leaves, n_classes)
    if stages is not None:
        check_forward(net, leaves, in_shape, whole=output is not None)
    pieces = _pieces(leaves[:-1] if output is not None else leaves, cut)
    if not pieces:
        raise UsageError("the net has no hidden block: nothing with parameters stands before its output; add a layer")
    blocks: list[Block] = []
    shape = in_shape
    for k, piece in enumerate(pieces):
        blocks.append(_block(shape, piece, f"block {k} ({piece.words()})"))
        shape = blocks[-1].out_shape
    if output is not None and output.in_features != blocks[-1].n_features:
        raise UsageError(
            f"the output takes {output.in_features} features, but block {len(blocks) - 1} ({pieces[-1].words()}) returns "
            f"{blocks[-1].out_shape}, of which scores are taken from {blocks[-1].n_features}; change one of them"
        )
    chain = Chain(
        blocks,
        output.out_features if output is not None else n_classes or 0,
        output=output,
        source=net if output is not None else None,
        parts=[piece.words() for piece in pieces],
        keep_weights=keep_weights,
    )
    if output is None:
        chain.output.to(next(net.parameters()))
    else:
        _check_equal(net, chain)
        if stages is not None:
            check_gradients(net, chain, leaves, in_shape)
    chain.train()  # parts that the user had put into evaluation mode would not agree with their blocks
    return chain


def _is_shape(value: object) -> bool:
    return isinstance(value, Sequence) and all(isinstance(size, Integral) for size in value)


def _is_sequence(module: nn.Module) -> bool:
    plain = isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
    return plain and "forward" not in vars(module)


def _example(net: nn.Module) -> str:
    """Names of the first submodules, as a list in Python."""
    names = [repr(name) for name, _ in net.named_children()]
    return f"[{', '.join([*names[:4], *(['...'] if len(names) > 4 else [])])}]"


def _leaves(modules: Sequence[tuple[str, nn.Module | None]], open_nested: bool) -> list[Stage]:
    """The modules, and in place of an ``nn.Sequential`` those in it."""
    leaves: list[Stage] = []
    for name, module in modules:
        if module is None:
            continue
        if open_nested and _is_sequence(module) and why_hooked(module) is None:  # its own call would be lost
            inner = module._modules.items()  # named_children would leave out the second use of a shared activation
            leaves += _leaves([(f"{name}.{part}", each) for part, each in inner], open_nested)
        else:
            leaves.append((name, module))
    return leaves


def _output(leaves: list[Stage], n_classes: int | None) -> nn.Linear | None:
    """The net's own output, or None where one must be appended."""
    name, last = leaves[-1] if leaves else ("", None)
    if type(last) is nn.Linear and n_classes in (None, last.out_features):
        if last.bias is None:
            raise UsageError(f"the output ({name} Linear) has no bias; make it with bias=True")
        if (why := why_not_exact(last)) is not None:
            raise UsageError(
                f"the output ({name} Linear) {why}, so it is not what its type says; undo that "
                "(torch.nn.utils.prune.remove, handle.remove()), or put a plain nn.Linear behind it"
            )
        return last
    if type(last) is nn.Linear:
        raise UsageError(
            f"the net ends in {name} Linear of {last.out_features} features, but n_classes is {n_classes}; make it return one "
            "score for each class, or end the net in an activation to have an output appended"
        )
    if n_classes is None:
        raise UsageError(
            f"the net ends in {name} {type(last).__name__}, not in an nn.Linear that returns class scores; drop what stands "
            "behind that (softmax belongs to the loss), or name n_classes to have an output appended"
        )
    return None


def _pieces(leaves: list[Stage], cut: Callable[[str, nn.Module], bool] | None) -> list[_Piece]:
    """Cut before each module with parameters. A flattening goes forward, to the block that needs it, where there is one."""
    if cut is not None:
        return _cut_pieces(leaves, cut)
    pieces: list[_Piece] = []
    waiting = _Piece()
    for name, module in leaves:
        has_parameters = next(module.parameters(), None) is not None
        if has_parameters and not isinstance(module, _JOINING):
            waiting.add(name, module)
            pieces.append(waiting)
            waiting = _Piece()
        elif not pieces or waiting.modules or _flattens(module):
            waiting.add(name, module)
        else:
            pieces[-1].add(name, module)
    if pieces:
        for name, module in zip(waiting.names, waiting.modules, strict=True):
            pieces[-1].add(name, module)
    return pieces


def _cut_pieces(leaves: list[Stage], cut: Callable[[str, nn.Module], bool]) -> list[_Piece]:
    """Cut where the user says; the first stage begins the first block anyhow."""
    pieces: list[_Piece] = []
    for name, module in leaves:
        if cut(name, module) or not pieces:
            pieces.append(_Piece())
        pieces[-1].add(name, module)
    return pieces


def _flattens(module: nn.Module) -> bool:
    return type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)


def _block(in_shape: tuple[int, ...], piece: _Piece, name: str) -> Block:
    """A block with a closed form where the piece is one, else a block around the modules."""
    free = all(parameter.requires_grad for module in piece.modules for parameter in module.parameters())
    exact = all(why_not_exact(module) is None for module in piece.modules)
    if free and exact and (block := _dense(in_shape, piece.modules) or _conv(in_shape, piece.modules)) is not None:
        return block
    return ModuleBlock(in_shape, piece.modules[0] if len(piece.modules) == 1 else nn.Sequential(*piece.modules), name=name)


def _activation(module: nn.Module) -> str | None:
    if type(module) is nn.LeakyReLU and module.negative_slope == LEAKY_SLOPE:
        return "leaky-relu"
    return {nn.ReLU: "relu", nn.Tanh: "tanh", nn.Identity: "identity"}.get(type(module))


def _dense(in_shape: tuple[int, ...], modules: list[nn.Module]) -> DenseBlock | None:
    """[flatten,] linear [, activation] [, flatten]"""
    flat = len(in_shape) == 1 or _flattens(modules[0])
    linear, *rest = [module for module in modules if not _flattens(module)]
    if not (flat and type(linear) is nn.Linear and linear.in_features == math.prod(in_shape) and len(rest) <= 1):
        return None
    activation = _activation(rest[0]) if rest else "identity"
    return None if activation is None else DenseBlock.of(in_shape, linear, activation)


def _conv(in_shape: tuple[int, ...], modules: list[nn.Module]) -> ConvBlock | None:
    """convolution, then activation, 2 x 2 pooling and BatchNorm in any order, each once at most [, flatten]"""
    conv, *rest = modules[:-1] if len(modules) > 1 and _flattens(modules[-1]) else modules
    if len(in_shape) != 3 or type(conv) is not nn.Conv2d or conv.in_channels != in_shape[0] or not _is_square(conv):
        return None
    by_stage: dict[str, nn.Module] = {}
    for module in rest:
        stage = _stage(module)
        if stage is None or stage in by_stage:
            return None
        by_stage[stage] = module
    order = (*by_stage, *(stage for stage in STAGES if stage not in by_stage))
    activation = _activation(by_stage["activation"]) if "activation" in by_stage else "identity"
    pool = {nn.MaxPool2d: "max", nn.AvgPool2d: "average"}.get(type(by_stage.get("pool")), "none")
    norm = by_stage.get("norm")
    assert activation is not None and (norm is None or isinstance(norm, nn.BatchNorm2d))  # _stage has looked
    return ConvBlock.of(in_shape, conv, activation, pool=pool, norm=norm, order=order)


def _is_square(conv: nn.Conv2d) -> bool:
    plain = conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    return plain and all(len(set(pair)) == 1 for pair in (conv.kernel_size, conv.stride, conv.padding))


def _stage(module: nn.Module) -> str | None:
    """Which stage of a convolution block the module is, if it is one that has a closed form."""
    if _activation(module) is not None:
        return "activation"
    if type(module) is nn.MaxPool2d:
        usual = (module.padding, module.dilation, module.ceil_mode, module.return_indices) == (0, 1, False, False)
        return "pool" if usual and _is_two(module.kernel_size) and _is_two(module.stride) else None
    if type(module) is nn.AvgPool2d:
        usual = (module.padding, module.ceil_mode, module.divisor_override) == (0, False, None)
        return "pool" if usual and _is_two(module.kernel_size) and _is_two(module.stride) else None
    if type(module) is nn.BatchNorm2d:
        return "norm" if module.affine and module.track_running_stats and module.momentum is not None else None
    return None


def _is_two(size: int | tuple[int, ...]) -> bool:
    return size in (2, (2, 2))


@torch.no_grad()
def _check_equal(net: nn.Module, chain: Chain) -> None:
    """The chain must compute what the net computes, or the user's net would be trained as another.

    Raises:
        UsageError: most likely the net reads its output from a sequence of tokens in another way.
    """
    x = torch.randn(2, *chain.in_shape, generator=torch.Generator().manual_seed(0)).to(chain.device, chain.dtype)
    with evaluating(net):  # the chain's own mode does not matter: all that has one is shared
        ours, theirs = chain(x), net(x)
    if ours.shape != theirs.shape or not torch.allclose(ours, theirs, atol=TOLERANCE * float(theirs.abs().max()), rtol=0.0):
        raise UsageError(
            f"the net returns {tuple(theirs.shape[1:])} per example, and not the class scores of its last block's features; "
            "take the mean over the tokens (bpfree.nets.MeanOverTokens()) or flatten before the output"
        )
