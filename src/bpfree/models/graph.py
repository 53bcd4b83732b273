"""A model as one module for export: raw examples in; scores, probabilities and, where asked, the scores of every block out.

The graph holds all that the rule reads its classes from: normalisation, blocks, heads, Forward-Forward's K labellings. Where the
rule predicts by the output of the net, it can be the net alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bpfree.algorithms import block_scores
from bpfree.models.model import Model

__all__ = ["EQUAL", "ModelGraph", "difference", "predicts_by_net"]

EQUAL = 1e-5
"""Largest difference of scores, relative to the largest of them where that is above 1, that counts as rounding."""

_DRAWN = 16
"""Examples on which the net's output is compared with the rule's scores."""


class ModelGraph(nn.Module):
    """``graph(x)`` of raw examples x (n, \\*in_shape) is ``(scores, probabilities)``, and ``block_scores`` where asked.

    ``scores`` (n, classes) are those of :meth:`Model.scores`, ``probabilities`` (n, classes) their softmax, ``block_scores``
    (blocks, n, classes) those of each block's own head.

    Args:
        model: on the CPU, in evaluation mode.
        net_alone: give the output of the net, in place of the rule's scores.
        every_block: give the scores of every block too; the rule must have heads on its blocks.
    """

    shift: Tensor | None
    factor: Tensor | None

    def __init__(self, model: Model, *, net_alone: bool, every_block: bool) -> None:
        super().__init__()
        self.net, self.state = model.net, nn.Module() if net_alone and not every_block else model.state
        self._model = (model,)  # a tuple: the tracer gives registered modules other types, by which rules choose formulas
        self.net_alone, self.every_block = net_alone, every_block
        self.in_shape = model.net.in_shape
        self.in_dtype = raw_dtype(model)
        self._work = working_dtype(model, self.in_dtype)
        norm = model.normalisation
        self.register_buffer("shift", None if norm is None else norm.shift.to("cpu", self._work))
        self.register_buffer("factor", None if norm is None else norm.factor.to("cpu", self._work))

    @property
    def model(self) -> Model:
        """What the graph is of."""
        return self._model[0]

    @property
    def output_names(self) -> tuple[str, ...]:
        """Of what :meth:`forward` returns."""
        return ("scores", "probabilities", "block_scores") if self.every_block else ("scores", "probabilities")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Scores and probabilities of raw examples, as the class says."""
        model = self.model
        x = x.to(self._work, copy=True)  # a rule may write over its examples
        if self.shift is not None and self.factor is not None:
            x = x.sub(self.shift).mul(self.factor)
        x = x.to(model.net.dtype)
        if self.net_alone:
            scores = model.net.output_scores(x)
        else:
            scores = model.algorithm.scores(model.net, model.state, x.clone(), model.phase)
        answers = (scores, torch.softmax(scores, dim=1))
        if not self.every_block:
            return answers
        return (*answers, block_scores(model.net, model.state, x, model.phase))

    def examples(self, n: int) -> Tensor:
        """Raw examples (n, \\*in_shape) like those of the training: normal noise, normalised backwards."""
        net = self.model.net
        x = torch.randn(n, *net.in_shape, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
        if self.shift is not None and self.factor is not None:
            x = x.div(self.factor.double().clamp_min(1e-12)).add(self.shift.double())
        return x.round().clamp(0, 255).to(torch.uint8) if self.in_dtype == torch.uint8 else x.to(self.in_dtype)


def raw_dtype(model: Model) -> torch.dtype:
    """Type of the raw examples: uint8 for pixels; float64 where bpfree normalises, as it does so in float64; else the net's."""
    if model.pixels:
        return torch.uint8
    return model.net.dtype if model.normalisation is None else torch.float64


def working_dtype(model: Model, raw: torch.dtype) -> torch.dtype:
    """In which examples are normalised, as :meth:`Model.normalise` does it."""
    if raw == torch.uint8:
        return torch.float32 if len(model.net.in_shape) == 3 and model.net.dtype != torch.float64 else torch.float64
    return raw


def difference(ours: Tensor, others: Tensor) -> float:
    """Largest absolute difference of scores, relative to the largest score where that is above 1; infinite where one is NaN."""
    ours, others = ours.double(), others.double()
    largest = max(1.0, float(ours.abs().max()))
    apart = float((ours - others).abs().max()) / largest
    return apart if apart == apart else float("inf")


@torch.no_grad()
def predicts_by_net(model: Model) -> bool:
    """Whether the net's output gives the rule's scores, on drawn examples."""
    x = torch.randn(_DRAWN, *model.net.in_shape, generator=torch.Generator().manual_seed(0)).to(model.net.device, model.net.dtype)
    return difference(model.normalised_scores(x.clone()), model.net.output_scores(x)) <= EQUAL
