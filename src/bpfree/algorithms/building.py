"""What a learning rule is written with, in one place: ``from bpfree.algorithms.building import ...``.

All names are public and keep their meaning; docs/your-own-rule.md shows a rule that uses them. Shapes: n examples, block k with
input (n, *in_shape), activity (n, *out_shape) and features (n, d).

*Blocks.* :func:`block_forward` gives the activity and what :func:`block_gradients` needs; both use the closed form of the block
where there is one, and autograd inside that block otherwise (``maths``). :func:`block_activity` is a pass without learning,
:func:`frozen_features` the features of one block after the other.

*Heads.* A linear map from the features of a block to class scores: :func:`new_head`, :func:`new_heads` (that of the last block is
the net's output), :func:`at_head` (loss, gradients of the head, derivative by the activity), :func:`head_scores`,
:func:`each_heads_scores`. :func:`random_feedback` draws fixed matrices.

*Losses* on class scores: :func:`cross_entropy`, :func:`softmax_residual`, both at once, and :func:`one_hot`.

*Labels in the input*, as Forward-Forward has them: :func:`labelled`, :func:`neutral`.

*Sweeps back* through other matrices than the transposed weights: :class:`SweptAlgorithm`, :func:`sweep`.

*Updates.* :func:`new_optimiser` makes the optimiser that the rule's hyper-parameters ask for, :func:`hyper_of` the numbers that a
search changes; both belong into the state that ``init`` returns. ``@gathered`` or ``@without_autograd`` stands before ``learn``
(:class:`LocalAlgorithm` has it already).

*What a rule declares.* Traits, phases, upkeep, costs, and the kinds of hyper-parameters: see :mod:`bpfree.algorithms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from bpfree.algorithms._base import Algorithm, BlockGradients
from bpfree.algorithms._closed_form import (
    block_activity,
    block_forward,
    block_gradients,
    frozen_features,
    has_closed_form,
    parameters_of,
    parameters_of_net,
)
from bpfree.algorithms._cost import Moment, one_after_another
from bpfree.algorithms._gather import gathered, without_autograd
from bpfree.algorithms._heads import (
    READOUTS,
    at_head,
    each_heads_scores,
    head_scores,
    n_head_parameters,
    new_head,
    new_heads,
    output_head,
)
from bpfree.algorithms._state import Hyper, Optimiser
from bpfree.algorithms._sweep import SweptAlgorithm, later_weight, sweep
from bpfree.algorithms.forward_forward.overlay import labelled, neutral
from bpfree.nets import Chain
from bpfree.numerics.feedback import DISTRIBUTIONS, random_feedback
from bpfree.numerics.handover import Handover
from bpfree.numerics.local import class_scores
from bpfree.numerics.losses import cross_entropy, loss_and_residual, one_hot, softmax_residual

__all__ = [
    "DISTRIBUTIONS",
    "READOUTS",
    "Handover",
    "Moment",
    "SweptAlgorithm",
    "at_head",
    "block_activity",
    "block_forward",
    "block_gradients",
    "class_scores",
    "cross_entropy",
    "each_heads_scores",
    "frozen_features",
    "gathered",
    "has_closed_form",
    "head_scores",
    "hyper_of",
    "labelled",
    "later_weight",
    "loss_and_residual",
    "n_head_parameters",
    "neutral",
    "new_head",
    "new_heads",
    "new_optimiser",
    "one_after_another",
    "one_hot",
    "output_head",
    "parameters_of",
    "parameters_of_net",
    "random_feedback",
    "softmax_residual",
    "sweep",
    "uses_autograd",
    "without_autograd",
]


def hyper_of(rule: Algorithm[Any], net: Chain) -> Hyper:
    """The numeric hyper-parameters of a rule as 0-D tensors, for its :class:`~bpfree.algorithms.State`.

    ``learn`` reads them there (``state.hyper.beta``), never from the rule, so that a new trial of a search neither recompiles nor
    moves anything.
    """
    return rule._hyper(net)


def new_optimiser(rule: Algorithm[Any], parameters: Sequence[Tensor], **values: float) -> Optimiser:
    """An optimiser for these parameters, of the kind and with the values that the rule's hyper-parameters give.

    Args:
        parameters: their shapes, dtype and device are read; they are handed in again at each ``step(parameters, gradients)``.
        values: ``lr`` and ``weight_decay`` for a part of the net with its own.
    """
    return rule._optimiser(list(parameters), **values)


def uses_autograd(rule: BlockGradients[Any], net: Chain) -> bool:
    """Whether some block of the net has its gradients by autograd inside it: what ``Traits.autograd`` says of the rule."""
    return rule._uses_autograd(net)
