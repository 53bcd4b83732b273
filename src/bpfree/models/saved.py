"""A trained model as one safetensors file: the net, the rule's heads, and a header that says what they are.

model = bpfree.models.load("model.safetensors")
classes = model.scores(x).argmax(1)

Tensors are ``net.*``, ``state.*`` (heads, predictors, projections: all parameters of the rule's state) and, where the data
were normalised batch by batch, ``normalisation.shift`` and ``normalisation.factor``. The JSON header is a :class:`ModelHeader`.
A model has no optimiser moments: it is for use; training goes on from a checkpoint.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from bpfree import nets
from bpfree._version import __version__
from bpfree.algorithms import Algorithm, NotOrthogonalWarning, Phase, State, make, model_tensors, names, params, registry
from bpfree.data import Dataset
from bpfree.data.dataset import Normalisation
from bpfree.errors import BpfreeError, DataError, UsageError, unknown_name
from bpfree.nets import Chain
from bpfree.numerics.products import Precision, products_in
from bpfree.tensor_files import fill_tensors, read_metadata, read_tensors, write_tensors

__all__ = ["Model", "ModelHeader", "load", "read_header", "save"]

SCHEMA = 1
"""Version of the header."""

KIND = "bpfree-model"
"""Under which a file's metadata has it."""


class ModelHeader(BaseModel):
    """What is not a tensor.

    Attributes:
        net: specification, such as ``"mlp:2x256"``; null for a net that has none (a user's own module).
        phase: index of the phase whose scores the model gives.
        dataset, split_digest: what it was trained on; null where that was not said.
        normalised: the file has the numbers by which stored values are normalised; if not, they are taken as they are.
        pixels: stored values are whole, from 0 to 255.
        val_accuracy: of these weights, a fraction; null where it was not said.
        seed: of the training, from which the initial weights can be drawn again; null where it was not said.
        precision: of products, in training and since (:mod:`bpfree.numerics.products`).
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, serialize_by_alias=True)

    schema_version: int = Field(default=SCHEMA, alias="schema")
    algorithm: str
    params: dict[str, bool | int | float | str]
    net: str | None
    in_shape: tuple[int, ...]
    n_classes: int
    dtype: Literal["float32", "float64", "bfloat16", "float16"]
    phase: int
    dataset: str | None
    split_digest: str | None
    normalised: bool
    pixels: bool
    val_accuracy: float | None
    seed: int | None = None
    precision: Precision = "float32"
    versions: dict[str, str]


@dataclass(frozen=True)
class Model:
    """A rule, a net and a state that were trained together, ready to predict.

    Attributes:
        phase: whose scores are given.
        normalisation: of what is stored (pixels from 0 to 255) to what the net takes; None where they are the same.
        header: as it stood in the file; None for a model that was never in one.
        precision: of the products in :meth:`scores`.
    """

    algorithm: Algorithm
    net: Chain = field(repr=False)
    state: State = field(repr=False)
    phase: Phase
    normalisation: Normalisation | None = field(default=None, repr=False)
    header: ModelHeader | None = field(default=None, repr=False)
    precision: Precision = "float32"

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """Class scores (n, classes) of normalised examples x (n, \\*in_shape), on the net's device; the greatest is the class."""
        if self.net.training:
            self.net.eval()
        with products_in(self.precision):
            return self.algorithm.scores(self.net, self.state, x, self.phase)

    def normalise(self, x: Tensor) -> Tensor:
        """Examples (n, \\*in_shape) as they are stored to what :meth:`scores` takes, in the net's type and on its device.

        Raises:
            DataError: examples of another shape, or no pixels for a model that was trained on pixels.
        """
        if tuple(x.shape[1:]) != self.net.in_shape:
            raise DataError(f"the model takes examples of shape {self.net.in_shape}, got {tuple(x.shape[1:])}; give such ones")
        if self.header is not None and self.header.pixels and x.dtype != torch.uint8:
            kind = str(x.dtype).removeprefix("torch.")
            raise DataError(f"the model was trained on whole pixel values, got {kind}; give uint8 values of the same scale")
        # Pixels as in training; others in double precision, since times and money have means far above their deviations.
        work = torch.float32 if x.dtype == torch.uint8 and x.dim() == 4 and self.net.dtype != torch.float64 else torch.float64
        x = x.to(self.net.device, work)
        if self.normalisation is not None:
            shift, factor = (t.to(self.net.device, work) for t in (self.normalisation.shift, self.normalisation.factor))
            x = x.sub(shift).mul(factor)
        return x.to(self.net.dtype)

    def probabilities(self, x: Tensor) -> Tensor:
        """Softmax of the scores, (n, classes) float64; how well it is calibrated depends on the rule.

        Raises:
            DataError: an example whose largest score is not finite has no prediction.
        """
        scores = self.scores(x).double()
        if lost := int((~scores.amax(1).isfinite()).sum()):
            raise DataError(
                f"the model's scores are NaN or infinite for {lost} of {len(x)} examples, so there is no prediction; train it "
                "again with a lower learning rate, or give examples with values like those that it was trained on"
            )
        return torch.softmax(scores, dim=1)


def save(
    path: Path | str,
    algorithm: Algorithm,
    net: Chain,
    state: State,
    *,
    spec: str | None,
    phase: int | None = None,
    data: Dataset | None = None,
    val_accuracy: float | None = None,
    seed: int | None = None,
    precision: Precision = "float32",
) -> None:
    """Write a model atomically.

    Args:
        spec: the text that :func:`bpfree.nets.build` makes the net of; None for a net of another origin, which :func:`load`
            must then be given.
        phase: index of the phase whose scores count; by default the last.
        data: what it was trained on: its name, split and normalisation are kept.
        seed: with which it was trained.
        precision: of products, in which it was trained.

    Raises:
        StorageError: the disk is full, read-only or not permitted; an older file stays whole.
    """
    tensors = dict(model_tensors(net, state))
    normalisation = None if data is None else data.normalisation or data.prepared
    if normalisation is not None:
        tensors |= {"normalisation.shift": normalisation.shift, "normalisation.factor": normalisation.factor}
    header = ModelHeader(
        algorithm=algorithm.name,
        params=params(algorithm),
        net=spec,
        in_shape=net.in_shape,
        n_classes=net.n_classes,
        dtype=str(net.dtype).removeprefix("torch."),  # pyright: ignore[reportArgumentType]  # pydantic checks it
        phase=len(algorithm.phases(net)) - 1 if phase is None else phase,
        dataset=None if data is None else data.name,
        split_digest=None if data is None else data.split_digest,
        normalised=normalisation is not None,
        pixels=data is not None and data.splits["train"].x.dtype == torch.uint8,
        val_accuracy=val_accuracy,
        seed=seed,
        precision=precision,
        versions={"bpfree": __version__, "python": platform.python_version(), "torch": torch.__version__},
    )
    write_tensors(Path(path), tensors, KIND, header.model_dump(mode="json"))


def read_header(path: Path | str) -> ModelHeader:
    """What stands in the header of a model.

    Raises:
        DataError: the file is missing, damaged, no model, or of a newer bpfree.
    """
    cure = "give the model.safetensors that bpfree train wrote"
    metadata = read_metadata(Path(path), "a model", cure)
    if KIND not in metadata:
        what = "a checkpoint, which training goes on from" if "bpfree" in metadata else "a safetensors file of something else"
        raise DataError(f"{path} is {what}, not a model; {cure}")
    raw = _json(metadata[KIND])
    version = raw.get("schema")
    if isinstance(version, int) and version > SCHEMA:
        raise DataError(
            f"{path} has schema {version}, this bpfree reads up to {SCHEMA}; update it with: pip install --upgrade bpfree"
        )
    try:
        return ModelHeader.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise DataError(f"{path} has a damaged header ({where}: {first['msg']}); {cure}") from error


def _json(text: str) -> dict[str, Any]:
    try:
        raw = json.loads(text)
    except ValueError:
        return {}
    return raw if isinstance(raw, dict) else {}


def load(path: Path | str, *, device: torch.device | str = "cpu", net: Chain | None = None) -> Model:
    """Read a model.

    Args:
        net: only for a model whose net has no specification: one of the same architecture; it is filled in place.

    Raises:
        DataError: the file is missing, damaged, no model, of a newer bpfree, or its tensors do not fit its header.
        UsageError: its rule is not installed, or the net must be given.
    """
    path = Path(path)
    header = read_header(path)
    algorithm = _algorithm(path, header)
    net = (_net(path, header) if net is None else net).to("cpu", getattr(torch, header.dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotOrthogonalWarning)  # it was said when the model was trained
        state = algorithm.init(net, torch.Generator().manual_seed(0))
    phases = algorithm.phases(net)
    if not 0 <= header.phase < len(phases):
        raise DataError(f"{path} gives the scores of phase {header.phase}, but {algorithm.name} has {len(phases)}; train it anew")
    fill_tensors(path, dict(model_tensors(net, state)))
    normalisation = None
    if header.normalised:
        stored = read_tensors(path, ("normalisation.shift", "normalisation.factor"))
        normalisation = Normalisation(*(tensor.to(device) for tensor in stored))
    net.to(device)
    state.to(device)
    net.eval()
    return Model(algorithm, net, state, phases[header.phase], normalisation, header, header.precision)


def _algorithm(path: Path, header: ModelHeader) -> Algorithm:
    if header.algorithm not in names():
        raise UsageError(
            f"{path} was trained by a rule that is not installed here: {unknown_name('algorithm', header.algorithm, names())}"
        )
    known = {field.name for field in dataclasses.fields(registry()[header.algorithm])}
    given = {name: value for name, value in header.params.items() if name in known or name != "maths"}
    try:  # maths was once recorded of rules that never read it
        return make(header.algorithm, given)
    except BpfreeError as error:
        raise DataError(f"{path} was trained by another version of the rule: {error}") from error


def _net(path: Path, header: ModelHeader) -> Chain:
    if header.net is None:
        raise UsageError(f"{path} holds a net that has no name; give one of the same architecture: load(path, net=...)")
    try:
        return nets.build(header.net, header.in_shape, header.n_classes)
    except BpfreeError as error:
        raise DataError(f"{path} names a net that cannot be built: {error}") from error
