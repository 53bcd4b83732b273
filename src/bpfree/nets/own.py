"""Nets that a user brings: by a text (``module:function``), or in Python as a function or as a net to copy."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from typing import Any

from torch import nn

from bpfree.errors import UsageError, unknown_name
from bpfree.functions import called, function_named, is_function_text, name_of
from bpfree.nets.chain import Chain
from bpfree.nets.given import checked, is_pair
from bpfree.nets.spec import Spec
from bpfree.nets.split import from_module
from bpfree.nets.zoo import build, names

__all__ = ["named", "text_of"]

_GIVEN: dict[str, Callable[..., Any]] = {}
"""What :func:`text_of` was given in this process, by the text that stands for it."""


def named(text: str, in_shape: tuple[int, ...], n_classes: int) -> Chain:
    """A net of what a user wrote: a text of :func:`bpfree.nets.build`, or ``module:function``, which is imported and called.

    Args:
        text: the function takes (in_shape, n_classes) and returns a :class:`Chain`, an ``nn.Sequential``, or a pair of any module
            and its stages (see :func:`from_module`).

    Raises:
        UsageError: as :func:`bpfree.nets.build`; or the function is missing, raises, or returns a net of other shapes.
    """
    if text in _GIVEN:
        return checked(called(_GIVEN[text], text, in_shape, n_classes), text, in_shape, n_classes)
    if not is_function_text(text) or Spec(text).family in names():
        return build(text, in_shape, n_classes)
    try:
        function = function_named(text)
    except UsageError as error:
        if str(error).startswith("there is no module"):
            raise UsageError(f"{unknown_name('net', Spec(text).family, names())} Or, for a net of your own: {error}") from None
        raise
    return checked(called(function, text, in_shape, n_classes), text, in_shape, n_classes)


def text_of(net: Any, in_shape: tuple[int, ...], n_classes: int) -> str:
    """The text by which :func:`named` makes a net like ``net``, in this process; the same text for the same net in every process.

    Args:
        net: such a text; a function of (in_shape, n_classes); or a :class:`Chain`, an ``nn.Sequential`` or a pair (module,
            stages), of which copies are trained.

    Raises:
        UsageError: something else, or a module that cannot be split.
    """
    if isinstance(net, str):
        return net
    if is_pair(net):
        net = from_module(net[0], in_shape, stages=net[1])
    if isinstance(net, nn.Module):
        chain = net if isinstance(net, Chain) else from_module(net, in_shape)
        if chain.spec is not None and repr(build(chain.spec, in_shape, n_classes)) == repr(chain):
            return chain.spec
        text = f"{type(net).__name__}-{_digest(chain)}"
        _GIVEN[text] = _Copies(net)
        return text
    if callable(net):
        text = name_of(net)
        _GIVEN[text] = net
        return text
    raise UsageError(
        "net must be a text such as 'mlp:2x256', a Chain, an nn.Sequential, a pair (module, stages) or a function of (in_shape, "
        f"n_classes), got {net!r}"
    )


class _Copies:
    """Copies of a net, so that runs do not share weights."""

    def __init__(self, net: nn.Module) -> None:
        self._net = net

    def __call__(self, in_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        return copy.deepcopy(self._net)


def _digest(chain: Chain) -> str:
    """Of the structure, and of the weights where every run starts from them."""
    sha = hashlib.sha256("\n".join([*chain.describe(), repr(chain)]).encode())
    for name, tensor in chain.given_weights().items():
        sha.update(name.encode())
        sha.update(tensor.cpu().contiguous().flatten().double().numpy().tobytes())
    return sha.hexdigest()[:8]
