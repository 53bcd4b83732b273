"""A trained rule, ready to predict: raw examples in, classes, probabilities or scores out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bpfree.algorithms import Algorithm, Phase, State
from bpfree.data import ClassNames, Columns, new_examples
from bpfree.data.stored import Normalisation
from bpfree.errors import DataError
from bpfree.models.header import ModelHeader
from bpfree.nets import Chain
from bpfree.numerics.products import Precision, products_in

__all__ = ["Answer", "Model"]

Answer = NDArray[Any] | Tensor
"""A tensor on the net's device where the examples were a tensor, else a numpy array."""

BATCH = 500
"""Examples that are scored at once."""

_ASKED = 16
"""Examples on which the net's output is compared with the rule's scores."""

_SAME = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Largest difference, relative to the largest score, of what is the same to rounding; 5 % in the half formats."""


@dataclass(frozen=True)
class Model:
    """A rule, a net and a state that were trained together, ready to predict.

    :meth:`predict`, :meth:`predict_proba` and :meth:`scores` take examples as they come: numpy arrays, tensors, tables or lists
    of the values that the data set was made of. They are normalised as in training. A model that was trained on a table of pandas
    takes one with the same columns, and encodes it as that.

    Attributes:
        phase: whose scores are given.
        normalisation: of what is stored (pixels from 0 to 255) to what the net takes; None where they are the same.
        header: as it stood in the file; None for a model that was never in one.
        precision: of the products in :meth:`scores`.
        pixels: the model was trained on whole pixel values of uint8.
        classes: labels as the user has them, in the order of the scores; None where they are 0 to classes - 1.
        columns: how rows of a table become examples; None where the model was trained on arrays.
    """

    algorithm: Algorithm
    net: Chain = field(repr=False)
    state: State = field(repr=False)
    phase: Phase
    normalisation: Normalisation | None = field(default=None, repr=False)
    header: ModelHeader | None = field(default=None, repr=False)
    precision: Precision = "float32"
    pixels: bool = False
    classes: ClassNames | None = None
    columns: Columns | None = field(default=None, repr=False)

    def predict(self, x: Any, channels: str = "auto") -> Answer:
        """Classes (n,) of raw examples x: int64, or the names of the classes where they have any.

        Names that are strings come as a numpy array, for a tensor too.

        Args:
            channels: how four axes are read where the shape of an example does not tell, see :func:`bpfree.data.from_arrays`.

        Raises:
            DataError: examples of another shape or kind, or one that has no prediction, since its scores are not finite.
        """
        numbers = self._finite_scores(x, channels).argmax(1)
        if self.classes is None:
            return _as_given(numbers, x)
        if isinstance(x, Tensor) and isinstance(self.classes[0], int):
            return torch.tensor(self.classes, device=numbers.device)[numbers]
        return np.asarray(self.classes)[numbers.cpu().numpy()]

    def predict_proba(self, x: Any, channels: str = "auto") -> Answer:
        """Softmax of the scores, (n, classes) float64; how well it is calibrated depends on the rule.

        Raises:
            DataError: as :meth:`predict`.
        """
        return _as_given(torch.softmax(self._finite_scores(x, channels).double(), dim=1), x)

    def scores(self, x: Any, channels: str = "auto") -> Answer:
        """Class scores (n, classes) of raw examples x; the greatest is the class.

        Raises:
            DataError: examples of another shape or kind.
        """
        return _as_given(self._scores(x, channels), x)

    @torch.no_grad()
    def normalised_scores(self, x: Tensor) -> Tensor:
        """Class scores (n, classes) of what :meth:`normalise` returns, in one batch; for examples that are normalised already."""
        if self.net.training:
            self.net.eval()
        with products_in(self.precision):
            return self.algorithm.scores(self.net, self.state, x, self.phase)

    def normalise(self, x: Tensor) -> Tensor:
        """Examples (n, \\*in_shape) as they are stored to what the net takes, in its type and on its device.

        Raises:
            DataError: examples of another shape, or no pixels for a model that was trained on pixels.
        """
        x = torch.as_tensor(x)
        if tuple(x.shape[1:]) != self.net.in_shape:
            raise DataError(f"the model takes examples of shape {self.net.in_shape}, got {tuple(x.shape[1:])}; give such ones")
        if self.pixels and x.dtype != torch.uint8:
            kind = str(x.dtype).removeprefix("torch.")
            raise DataError(f"the model was trained on whole pixel values, got {kind}; give uint8 values of the same scale")
        # Pixels as in training; others in double precision, since times and money have means far above their deviations.
        work = torch.float32 if x.dtype == torch.uint8 and x.dim() == 4 and self.net.dtype != torch.float64 else torch.float64
        x = x.to(self.net.device, work)
        if self.normalisation is not None:
            shift, factor = (t.to(self.net.device, work) for t in (self.normalisation.shift, self.normalisation.factor))
            x = x.sub(shift).mul(factor)
        return x.to(self.net.dtype)

    def guard_net(self) -> None:
        """Let the net refuse to be called where its output is not what the rule predicts by, instead of answering at chance.

        The scores of both are compared on drawn examples: a rule may read out heads, a goodness, or its output.
        """
        net = self.net
        net.refuse(None)
        x = torch.randn(_ASKED, *net.in_shape, generator=torch.Generator().manual_seed(0)).to(net.device, net.dtype)
        with torch.no_grad():
            ours = self.normalised_scores(x).double()
            output = net.output_scores(x).double()
        closeness = _SAME.get(net.dtype if self.precision == "float32" else torch.bfloat16, 0.05)
        largest = float(ours.nan_to_num(0.0, 0.0, 0.0).abs().max())
        if not torch.allclose(ours, output, atol=closeness * largest, rtol=0.0, equal_nan=True):
            net.refuse(
                f"{self.algorithm.name} does not predict by the output of the net, so net(x) would not give its classes; use "
                "predict(x), predict_proba(x) or scores(x) of the result or model that holds the net"
            )

    def _scores(self, x: Any, channels: str) -> Tensor:
        if self.columns is not None and hasattr(x, "columns") and hasattr(x, "set_axis"):
            x = self.columns.encode(x, "predict")
        stored = new_examples(x, "predict", self.net.in_shape, channels)
        return torch.cat([self.normalised_scores(self.normalise(part)) for part in stored.split(BATCH)])

    def _finite_scores(self, x: Any, channels: str) -> Tensor:
        scores = self._scores(x, channels)
        if lost := int((~scores.amax(1).isfinite()).sum()):
            raise DataError(
                f"the model's scores are NaN or infinite for {lost} of {len(scores)} examples, so there is no prediction; train "
                "it again with a lower learning rate, or give examples with values like those that it was trained on"
            )
        return scores


def _as_given(answer: Tensor, x: Any) -> Answer:
    if isinstance(x, Tensor):
        return answer
    answer = answer.cpu()
    return np.asarray(answer.float() if answer.dtype == torch.bfloat16 else answer)
