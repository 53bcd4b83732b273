"""What an estimator is made of: the rule and the net that its parameters name."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from bpfree import nets
from bpfree.algorithms import Algorithm, make
from bpfree.errors import UsageError
from bpfree.nets import Chain

__all__ = ["as_class_weights", "as_net", "as_rule", "plain"]


def plain(value: Any) -> Any:
    """A number of numpy, as a search over an array gives it, as one of Python; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def as_rule(rule: str | Algorithm, params: Mapping[str, Any]) -> Algorithm:
    """The learning rule.

    Args:
        rule: a name (``bpfree list rules``), or a rule whose hyper-parameters are its own.
        params: hyper-parameters of the rule; None leaves one at its default.

    Raises:
        UsageError: an unknown rule or hyper-parameter, a value out of range, or hyper-parameters beside a rule that is made.
    """
    given = {name: plain(value) for name, value in params.items() if value is not None}
    if isinstance(rule, str):
        return make(rule, given)
    if not isinstance(rule, Algorithm):
        raise UsageError(f"rule must be the name of a learning rule or a rule of bpfree.algorithms, got {rule!r}")
    if given:
        raise UsageError(f"rule is {rule!r}, which has its hyper-parameters already; give its name to set {', '.join(given)}")
    return rule


def as_net(net: Any, hidden: Sequence[int], activation: str, in_shape: tuple[int, ...], n_classes: int) -> Chain:
    """A new net; what the user gave is copied.

    Args:
        net: None for an MLP of ``hidden``; the text of :func:`bpfree.nets.build`; a Chain, an ``nn.Sequential`` or a pair
            (module, stages); or a function of (in_shape, n_classes) that returns one.

    Raises:
        UsageError: something else, or a net that cannot be built.
    """
    if net is None:
        return nets.mlp(in_shape, _widths(hidden), n_classes, activation)
    if isinstance(net, str):
        return nets.build(net, in_shape, n_classes)
    if isinstance(net, nn.Module | tuple):
        net = copy.deepcopy(net)  # a pair at once: its stages may be submodules
    elif callable(net):
        net = net(in_shape, n_classes)
    if isinstance(net, Chain):
        return net
    if isinstance(net, nn.Module):
        return nets.from_module(net, in_shape)
    if isinstance(net, tuple) and len(net) == 2 and isinstance(net[0], nn.Module):
        return nets.from_module(net[0], in_shape, stages=net[1])
    raise UsageError(
        "net must be a text such as 'mlp:2x256', a bpfree.nets.Chain, an nn.Sequential, a pair (module, stages), or a function "
        f"of (in_shape, n_classes) that returns one, got a {type(net).__name__}"
    )


def _widths(hidden: Any) -> tuple[int, ...]:
    whole = isinstance(hidden, int | np.integer) and not isinstance(hidden, bool)
    widths = (hidden,) if whole else tuple(hidden) if isinstance(hidden, Sequence | np.ndarray) else ()
    if isinstance(hidden, str) or not widths or not all(isinstance(w, int | np.integer) and w >= 1 for w in widths):
        raise UsageError(f"hidden must hold the width of each hidden layer, such as (256, 256), got {hidden!r}")
    return tuple(int(width) for width in widths)


def as_class_weights(class_weight: Any, classes: np.ndarray) -> str | list[float] | None:
    """What :meth:`bpfree.data.Dataset.weighted` takes; a class that a mapping leaves out counts once.

    Raises:
        UsageError: a mapping with a label that does not occur, or something else.
    """
    if class_weight is None or isinstance(class_weight, str):
        return class_weight
    if not isinstance(class_weight, Mapping):
        raise UsageError(f"class_weight must be None, 'balanced' or a mapping of labels to weights, got {class_weight!r}")
    labels = classes.tolist()
    if unknown := [label for label in class_weight if label not in labels]:
        raise UsageError(f"class_weight has the label {unknown[0]!r}, which y does not have; it has {labels[:10]}")
    return [float(class_weight.get(label, 1.0)) for label in labels]
