"""Nets that code of others returns: of a user's function, or of an entry point of another package."""

from __future__ import annotations

from typing import Any

from torch import nn

from bpfree.catalogue import Extension, options_read
from bpfree.errors import UsageError
from bpfree.functions import called
from bpfree.nets.chain import Chain
from bpfree.nets.spec import Spec
from bpfree.nets.split import from_module

__all__ = ["checked", "is_pair", "of_extension"]


def is_pair(net: Any) -> bool:
    """Whether it is a module with its stages."""
    return isinstance(net, tuple) and len(net) == 2 and isinstance(net[0], nn.Module)


def checked(net: Any, text: str, in_shape: tuple[int, ...], n_classes: int) -> Chain:
    """What a function returned, as a chain.

    Raises:
        UsageError: something else than a net, or one of other shapes.
    """
    if is_pair(net):
        net = from_module(net[0], in_shape, stages=net[1])
    elif isinstance(net, nn.Module) and not isinstance(net, Chain):
        net = from_module(net, in_shape)
    if not isinstance(net, Chain):
        raise UsageError(
            f"{text} must return a bpfree.nets.Chain, an nn.Sequential or a pair (module, stages), got a {type(net).__name__}"
        )
    if net.in_shape != tuple(in_shape) or net.n_classes != n_classes:
        raise UsageError(
            f"the net of {text} takes {net.in_shape} and has {net.n_classes} classes, but the data have examples of "
            f"{tuple(in_shape)} and {n_classes} classes; build it from the arguments (in_shape, n_classes)"
        )
    return net


def of_extension(extension: Extension, spec: Spec, in_shape: tuple[int, ...], n_classes: int) -> Chain:
    """A net of another package: its function of (in_shape, n_classes), with the options of the text as keyword arguments.

    Raises:
        UsageError: it cannot be loaded, is no function, takes no such option, raises, or returns something else.
    """
    function = extension.load()
    if not callable(function):
        raise extension.refused(f"is a {type(function).__name__}, not a function of (in_shape, n_classes)")
    spec.no_words()
    options = options_read(function, spec.rest(), f"the net {spec.text!r}")

    def build(in_shape: tuple[int, ...], n_classes: int) -> Any:
        return function(in_shape, n_classes, **options)

    return checked(called(build, extension.place, in_shape, n_classes), spec.text, in_shape, n_classes)
