"""A trained model as one safetensors file: the net, the rule's heads, and a header that says what they are.

model = bpfree.models.load("model.safetensors")
classes = model.predict(x)  # examples as they come, normalised as in training

Tensors are ``net.*``, ``state.*`` (heads, predictors, projections: all parameters of the rule's state) and, where the data
were normalised batch by batch, ``normalisation.shift`` and ``normalisation.factor``. The JSON header is a :class:`ModelHeader`.
A model has no optimiser moments: it is for use; training goes on from a checkpoint.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import warnings
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from bpfree import nets
from bpfree._version import __version__
from bpfree.algorithms import Algorithm, NotOrthogonalWarning, State, make, model_tensors, names, params, rule_class
from bpfree.data import Dataset
from bpfree.data.stored import Normalisation
from bpfree.errors import BpfreeError, DataError, UsageError, unknown_name
from bpfree.functions import is_function_text
from bpfree.models.card import write_card
from bpfree.models.header import SCHEMA, ModelHeader
from bpfree.models.model import Model
from bpfree.nets import Chain
from bpfree.numerics.products import Precision
from bpfree.tensor_files import fill_tensors, read_metadata, read_tensors, write_tensors

__all__ = ["load", "read_header", "save"]

KIND = "bpfree-model"
"""Under which a file's metadata has it."""


def save(
    path: Path | str,
    algorithm: Algorithm,
    net: Chain,
    state: State,
    *,
    spec: str | None = None,
    phase: int | None = None,
    data: Dataset | None = None,
    val_accuracy: float | None = None,
    test_accuracy: float | None = None,
    ruleset_digest: str | None = None,
    seed: int | None = None,
    precision: Precision = "float32",
) -> None:
    """Write a model atomically, and its card (``model.md`` beside ``model.safetensors``).

    Args:
        spec: the text that :func:`bpfree.nets.build` makes the net of; by default that of the net (``net.spec``). A net that has
            none must be given to :func:`load`.
        phase: index of the phase whose scores count; by default the last.
        data: what it was trained on: its name, split, normalisation, class names and columns of a table are kept.
        val_accuracy, test_accuracy: of these weights, fractions; the number of examples comes from ``data``.
        ruleset_digest: of the rules under which it was trained.
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
        net=net.spec if spec is None else spec,
        in_shape=net.in_shape,
        n_classes=net.n_classes,
        dtype=str(net.dtype).removeprefix("torch."),  # pyright: ignore[reportArgumentType]  # pydantic checks it
        phase=len(algorithm.phases(net)) - 1 if phase is None else phase,
        dataset=None if data is None else data.name,
        split_digest=None if data is None else data.split_digest,
        normalised=normalisation is not None,
        pixels=data is not None and data.splits["train"].x.dtype == torch.uint8,
        val_accuracy=val_accuracy,
        data_note=None if data is None else data.note,
        data_digest=None if data is None else data.data_digest,
        n_train=None if data is None else data.n("train"),
        n_validation=None if data is None else data.n("validation"),
        test_accuracy=test_accuracy,
        n_test=None if data is None or test_accuracy is None else data.n("test"),
        ruleset_digest=ruleset_digest,
        seed=seed,
        precision=precision,
        classes=None if data is None else data.classes,
        columns=None if data is None else data.columns,
        versions={"bpfree": __version__, "python": platform.python_version(), "torch": torch.__version__},
    )
    write_tensors(Path(path), tensors, KIND, header.model_dump(mode="json"))
    write_card(Path(path), header)


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
    if not (net is None or isinstance(net, Chain)):
        cure = (
            f"from_module(net, {header.in_shape})" if isinstance(net, torch.nn.Sequential) else "build or Chain([...], n_classes)"
        )
        raise UsageError(f"net must be a bpfree.nets.Chain, got a {type(net).__name__}; use bpfree.nets.{cure}")
    if net is not None and (net.in_shape, net.n_classes) != (header.in_shape, header.n_classes):
        raise UsageError(
            f"{path} holds a net that takes {header.in_shape} and has {header.n_classes} classes, and the net given takes "
            f"{net.in_shape} and has {net.n_classes}; give one of the same architecture"
        )
    algorithm = _algorithm(path, header)
    net = (_net(path, header) if net is None else net).to("cpu", getattr(torch, header.dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotOrthogonalWarning)  # the warning was given when the model was trained
        state = algorithm.init(net, torch.Generator().manual_seed(0))
    phases = algorithm.phases(net)
    if not 0 <= header.phase < len(phases):
        raise DataError(
            f"{path} gives the scores of phase {header.phase}, but {algorithm.name} has {len(phases)}; train it again"
        )
    fill_tensors(path, dict(model_tensors(net, state)))
    normalisation = None
    if header.normalised:
        stored = read_tensors(path, ("normalisation.shift", "normalisation.factor"))
        normalisation = Normalisation(*(tensor.to(device) for tensor in stored))
    net.to(device)
    state.to(device)
    net.eval()
    about = (header.precision, header.pixels, header.classes, header.columns)
    model = Model(algorithm, net, state, phases[header.phase], normalisation, header, *about)
    model.guard_net()
    return model


def _algorithm(path: Path, header: ModelHeader) -> Algorithm:
    if header.algorithm not in names():
        raise UsageError(
            f"{path} was trained by a rule that is not installed here: {unknown_name('algorithm', header.algorithm, names())}"
        )
    known = {field.name for field in dataclasses.fields(rule_class(header.algorithm))}
    given = {name: value for name, value in header.params.items() if name in known or name != "maths"}
    try:  # maths was once recorded of rules that never read it
        return make(header.algorithm, given)
    except BpfreeError as error:
        raise DataError(f"{path} was trained by another version of the rule: {error}") from error


def _net(path: Path, header: ModelHeader) -> Chain:
    if header.net is None:
        raise UsageError(f"{path} holds a net that has no name; give one of the same architecture: load(path, net=...)")
    if is_function_text(header.net) and header.net.partition(":")[0] not in nets.names():
        raise UsageError(
            f"{path} holds the net of {header.net}, a function that is not run for a file; give its net: load(path, net=...), or "
            f"bpfree predict --net {header.net}"
        )
    try:
        return nets.build(header.net, header.in_shape, header.n_classes)
    except BpfreeError as error:
        raise DataError(f"{path} names a net that cannot be built: {error}") from error
