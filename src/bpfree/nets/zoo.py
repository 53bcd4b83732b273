"""Nets by name, as in ``--net mlp:3x2000``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bpfree.errors import UsageError, unknown_name
from bpfree.nets.blocks import DenseBlock
from bpfree.nets.chain import Chain

__all__ = ["build", "describe", "mlp", "names"]


def mlp(inputs: int | tuple[int, ...], widths: Sequence[int], n_classes: int, activation: str = "relu") -> Chain:
    """Hidden dense blocks of the given widths, then the output.

    Args:
        inputs: number of inputs, or the shape of one example (flattened by the first block).
        widths: of the hidden blocks, at least one, each at least 1.
        n_classes: at least 2.
        activation: ``relu``, ``leaky-relu``, ``tanh`` or ``identity``.
    """
    shape: tuple[int, ...] = (inputs,) if isinstance(inputs, int) else tuple(inputs)
    blocks = []
    for width in widths:
        blocks.append(DenseBlock(shape, width, activation))
        shape = (width,)
    return Chain(blocks, n_classes)


def _mlp_from_words(words: str, in_shape: tuple[int, ...], n_classes: int, options: dict[str, str]) -> Chain:
    spec = f"mlp:{words}"
    try:
        if "x" in words:
            depth, width = (int(number) for number in words.split("x"))
            widths = [width] * depth
        else:
            depth, widths = 1, [int(number) for number in words.split("-")]
    except ValueError:
        raise UsageError(
            f"cannot read the net {spec!r}; write mlp:DEPTHxWIDTH (mlp:3x2000) or mlp:WIDTH-WIDTH-... (mlp:512-256-128)"
        ) from None
    if depth < 1 or min(widths, default=0) < 1:
        raise UsageError(f"the net {spec!r} has a depth or width below 1; each must be at least 1")
    activation = options.pop("activation", "relu")
    return mlp(in_shape, widths, n_classes, activation)


_FAMILIES: dict[str, tuple[Callable[..., Chain], str]] = {
    "mlp": (_mlp_from_words, "mlp:3x2000 is three hidden blocks of 2000; mlp:512-256-128 gives widths one by one"),
}


def names() -> tuple[str, ...]:
    """Names that :func:`build` knows, without their words."""
    return tuple(sorted(_FAMILIES))


def describe() -> dict[str, str]:
    """Name to one line of help."""
    return {name: words for name, (_, words) in sorted(_FAMILIES.items())}


def build(spec: str, in_shape: tuple[int, ...], n_classes: int) -> Chain:
    """Build the net that ``spec`` names for examples of ``in_shape``.

    Args:
        spec: ``FAMILY:WORDS[:key=value...]``, such as ``mlp:2x256`` or ``mlp:50x128:activation=tanh``.

    Raises:
        UsageError: an unknown family (with the nearest names), a depth or width below 1, an unknown option.
    """
    family, _, rest = spec.partition(":")
    if family not in _FAMILIES:
        raise unknown_name("net", family, _FAMILIES)
    words, *pairs = rest.split(":")
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"cannot read {pair!r} in the net {spec!r}; write key=value, such as activation=tanh")
        options[key] = value
    net = _FAMILIES[family][0](words, in_shape, n_classes, options)
    if options:
        raise UsageError(f"the net {spec!r} has an unknown option {sorted(options)[0]!r}; known: activation")
    return net
