"""Nets by name, as in ``--net mlp:3x2000``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bpfree.catalogue import other_nets
from bpfree.errors import UsageError, unknown_name
from bpfree.nets.blocks import DenseBlock
from bpfree.nets.chain import Chain
from bpfree.nets.cnns import CNN_FAMILIES
from bpfree.nets.given import of_extension
from bpfree.nets.patches import PATCH_FAMILIES
from bpfree.nets.residual import RESNET_FAMILIES
from bpfree.nets.spec import Spec
from bpfree.nets.tokens import TOKEN_FAMILIES

__all__ = ["build", "describe", "family_named", "mlp", "names"]


def mlp(inputs: int | tuple[int, ...], widths: Sequence[int], n_classes: int, activation: str = "relu") -> Chain:
    """Hidden dense blocks of the given widths, then the output.

    Args:
        inputs: number of inputs, or the shape of one example (flattened by the first block).
        widths: of the hidden blocks, at least one, each at least 1.
        n_classes: at least 2.
        activation: ``relu``, ``leaky-relu``, ``tanh`` or ``identity``.

    Raises:
        UsageError: widths or inputs of another kind, a width below 1, or an unknown activation.
    """
    if isinstance(widths, int | str):
        raise UsageError(
            f"widths must hold the width of each hidden block, such as (256, 256), got {widths!r}; write (256,) for one"
        )
    if not isinstance(inputs, int | Sequence):
        raise UsageError(
            f"inputs must be a number, or the shape of one example, got a {type(inputs).__name__}; give data.in_shape"
        )
    shape: tuple[int, ...] = (inputs,) if isinstance(inputs, int) else tuple(inputs)
    blocks = []
    for width in widths:
        blocks.append(DenseBlock(shape, width, activation))
        shape = (width,)
    net = Chain(blocks, n_classes)
    net.spec = f"mlp:{'-'.join(map(str, widths))}" + ("" if activation == "relu" else f":activation={activation}")
    return net


def _mlp(spec: Spec, in_shape: tuple[int, ...], n_classes: int) -> Chain:
    return mlp(in_shape, spec.layers(), n_classes, spec.word("activation", "relu"))


_FAMILIES: dict[str, tuple[Callable[[Spec, tuple[int, ...], int], Chain], str]] = {
    "mlp": (_mlp, "mlp:3x2000 is three hidden blocks of 2000; mlp:512-256-128 gives widths one by one"),
    **CNN_FAMILIES,
    **PATCH_FAMILIES,
    **RESNET_FAMILIES,
    **TOKEN_FAMILIES,
}


def names() -> tuple[str, ...]:
    """Names that :func:`build` accepts, without their descriptions; of other packages too, which are not imported for it."""
    return tuple(sorted([*_FAMILIES, *other_nets()]))


def describe() -> dict[str, str]:
    """Name to one line of help, of the package's own."""
    return {name: words for name, (_, words) in sorted(_FAMILIES.items())}


def family_named(name: str) -> Callable[[Spec, tuple[int, ...], int], Chain]:
    """What makes a net of a family of its text, the shape of an example and the number of classes.

    Raises:
        UnknownNameError: with the nearest names.
    """
    if name not in _FAMILIES:
        raise unknown_name("net", name, names())
    return _FAMILIES[name][0]


def build(spec: str, in_shape: tuple[int, ...], n_classes: int) -> Chain:
    """Build the net that ``spec`` names for examples of ``in_shape``.

    Args:
        spec: ``FAMILY[:WORDS][:key=value...]``, such as ``mlp:2x256``, ``mlp:50x128:activation=tanh`` or ``cnn3``; a family may
            be an entry point of the group ``bpfree.nets`` of another package.

    Raises:
        UsageError: an unknown family (with the nearest names), a depth or width below 1, an unknown option, examples
            that the net cannot take (naming the block), or another package's net that fails (naming the package).
    """
    read = Spec(spec)
    if read.family in other_nets() and read.family not in _FAMILIES:
        net = of_extension(other_nets()[read.family], read, tuple(in_shape), n_classes)
    else:
        net = family_named(read.family)(read, tuple(in_shape), n_classes)
    read.close()
    net.spec = spec
    return net
