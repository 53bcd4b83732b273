"""A trained model as a file that other programs run: ONNX, or torch.export (``.pt2``). Normalisation is inside.

exported = bpfree.models.export(model, "model.onnx")

The file takes raw examples as the model was trained on them and gives scores and probabilities. Before it is put at its place it
is run beside bpfree on drawn examples, in batches of one and of several; a file that answers otherwise is not written.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import os
import platform
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bpfree._version import __version__
from bpfree.algorithms import has_block_heads, params
from bpfree.data.stored import Normalisation
from bpfree.errors import DataError, UsageError
from bpfree.extras import FORMATS, check_format
from bpfree.files import replacing
from bpfree.models.graph import EQUAL, ModelGraph, difference, predicts_by_net
from bpfree.models.model import Model

__all__ = ["Exported", "export"]

HEADS = ("keep", "strip")

ONNX_BYTES = 2**31
"""Of one ONNX file."""

METADATA = "bpfree"
"""Key of the metadata: one JSON text."""

_SEVERAL = 5
"""Examples in the second batch that is checked; the first has one."""


@dataclass(frozen=True)
class Exported:
    """A file that was written and checked.

    Attributes:
        difference: largest difference of its scores and probabilities from bpfree's, relative to the largest score where that is
            above 1.
        input: type and shape of the examples, ``n`` for any number of them.
        outputs: names, in order.
        heads: what the graph holds: ``"none"`` (the net alone), ``"inside"`` (the rule predicts by them), or ``"outputs"`` (the
            scores of every block come too).
    """

    path: Path
    format: str
    difference: float
    input: str
    outputs: tuple[str, ...]
    heads: str


def export(
    model: Model,
    path: Path | str | os.PathLike[str],
    format: str | None = None,
    heads: str | None = None,
    batch: str | int = "dynamic",
) -> Exported:
    """Write a model for other programs, atomically.

    Args:
        path: of the file; an older one is replaced.
        format: ``"onnx"`` or ``"torch"``; by default as the ending of ``path`` says (``.onnx``, ``.pt2``).
        heads: ``"strip"`` leaves the net alone, ``"keep"`` gives the scores of every block as one more output, where the rule has
            heads on its blocks. By default the heads are left out where the rule predicts by the net's output; else they are in
            the graph, since the classes are read from them.
        batch: ``"dynamic"`` for any number of examples, or the one number that the file takes.

    Raises:
        UsageError: an unknown format, heads that cannot be left out, a number format that the file cannot have, or a package that
            is not installed.
        DataError: the file would not answer as bpfree does.
        StorageError: the disk is full, read-only or not permitted; an older file stays whole.
    """
    path = Path(path)
    kind = check_format(format, path)
    n = _batch(batch)
    model = _on_cpu(model)
    graph = _graph(model, heads)
    write = _write_onnx if kind == "onnx" else _write_torch
    apart = 0.0
    with replacing(path) as part:
        with _quiet():
            run = write(graph, n, _metadata(model, graph), part)
        for size in (1, _SEVERAL) if n is None else (n,):
            apart = max(apart, _apart(model, graph, run, size))
        if not apart <= EQUAL:
            other = next(each for each in FORMATS if each != kind)
            raise DataError(
                f"{path} would give scores that differ by {apart:.1e} from those of bpfree (at most {EQUAL:.0e} is rounding), "
                f"so it is not written; use --format {other}, and report this"
            )
    held = "outputs" if graph.every_block else "none" if graph.net_alone else "inside"
    return Exported(path, kind, apart, _input(graph, n), graph.output_names, held)


def _batch(batch: str | int) -> int | None:
    """The fixed number of examples, None for any."""
    if batch == "dynamic":
        return None
    if not str(batch).isdecimal() or int(batch) < 1:
        raise UsageError(f"batch must be dynamic or a whole number from 1, got {batch!r}")
    return int(batch)


def _on_cpu(model: Model) -> Model:
    """The model where it is exported; on another device a copy.

    Raises:
        UsageError: products or weights in a half format, which runtimes on processors do not have.
    """
    kind = str(model.net.dtype).removeprefix("torch.")
    half = kind if kind not in ("float32", "float64") else model.precision if model.precision == "bfloat16" else None
    if half is not None:
        raise UsageError(f"the model multiplies in {half}, which an exported file cannot do alike; train it in float32")
    if model.net.device.type == "cpu":
        return model
    norm = model.normalisation
    return dataclasses.replace(
        model,
        net=copy.deepcopy(model.net).cpu(),
        state=copy.deepcopy(model.state).cpu(),
        normalisation=norm and Normalisation(norm.shift.cpu(), norm.factor.cpu()),
        precision="float32",
    )


def _graph(model: Model, heads: str | None) -> ModelGraph:
    if heads is not None and heads not in HEADS:
        raise UsageError(f"heads must be keep or strip, got {heads!r}")
    name = model.algorithm.name
    net_alone = predicts_by_net(model)
    if heads == "strip" and not net_alone:
        raise UsageError(
            f"{name} does not predict by the output of the net, so the net alone would not give its classes; leave --heads out: "
            "the file then holds what the rule predicts by"
        )
    every_block = heads == "keep"
    if every_block and not has_block_heads(model.net, model.state, model.phase):
        raise UsageError(f"{name} has no heads on the blocks of this net whose scores could be kept; leave --heads out")
    model.net.eval()
    return ModelGraph(model, net_alone=net_alone, every_block=every_block).eval()


def _metadata(model: Model, graph: ModelGraph) -> str:
    header = model.header
    columns = model.columns
    values: dict[str, Any] = {
        "rule": model.algorithm.name,
        "params": params(model.algorithm),
        "net": model.net.spec or (header.net if header is not None else None),
        "dataset": None if header is None else header.dataset,
        "split_digest": None if header is None else header.split_digest,
        "classes": list(model.classes or range(model.net.n_classes)),
        "input": _input(graph, None),
        "columns": None if columns is None else columns.model_dump(),
        "outputs": list(graph.output_names),
        "versions": {"bpfree": __version__, "python": platform.python_version(), "torch": torch.__version__},
    }
    return json.dumps(values)


def _input(graph: ModelGraph, n: int | None) -> str:
    shape = ", ".join(["n" if n is None else str(n), *map(str, graph.in_shape)])
    return f"{str(graph.in_dtype).removeprefix('torch.')} ({shape})"


Run = Callable[[Tensor], list[Tensor]]
"""Runs the written file on raw examples."""


def _program(graph: ModelGraph, n: int | None) -> tuple[Any, Tensor]:
    x = graph.examples(_SEVERAL if n is None else n)
    shapes = ({0: torch.export.Dim("n", min=1)},) if n is None else None
    with graph.model.net.plain_to_tracers(), torch.no_grad():
        return torch.export.export(graph, (x,), dynamic_shapes=shapes), x


def _write_torch(graph: ModelGraph, n: int | None, metadata: str, part: Path) -> Run:
    program, _ = _program(graph, n)
    with part.open("wb") as file:
        torch.export.save(program, file, extra_files={METADATA: metadata})
    with part.open("rb") as file:
        module = torch.export.load(file).module()
    return lambda x: list(module(x))


def _write_onnx(graph: ModelGraph, n: int | None, metadata: str, part: Path) -> Run:
    size = sum(tensor.numel() * tensor.element_size() for tensor in graph.state_dict().values())
    if size >= ONNX_BYTES:
        raise UsageError(f"the model has {size / 1e9:.1f} GB of weights, one ONNX file holds 2 GB; use --format torch")
    import onnxruntime

    program, x = _program(graph, n)
    written = torch.onnx.export(
        program,
        (x,),
        dynamo=True,
        verbose=False,
        input_names=["x"],
        output_names=list(graph.output_names),
        external_data=False,
        optimize=False,  # onnxscript takes 1e-8 for 0 and drops Forward-Forward's guard against rows of zeros: NaN
    )
    assert written is not None  # torch writes the file itself where it is given a path
    proto = written.model_proto
    proto.metadata_props.add(key=METADATA, value=metadata)
    part.write_bytes(proto.SerializeToString())
    session = onnxruntime.InferenceSession(part, providers=["CPUExecutionProvider"])

    def run(raw: Tensor) -> list[Tensor]:
        answers = session.run(list(graph.output_names), {"x": raw.numpy()})
        return [torch.from_numpy(np.asarray(answer)) for answer in answers]

    return run


@torch.no_grad()
def _apart(model: Model, graph: ModelGraph, run: Run, n: int) -> float:
    x = graph.examples(n)
    scores = torch.as_tensor(model.scores(x, "first" if x.dim() == 4 else "auto"))
    expected = [scores, torch.softmax(scores.double(), dim=1), *graph(x)[2:]]
    return max(difference(ours, theirs) for ours, theirs in zip(expected, run(x), strict=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says about packages that are absent, and about its own ways that it will leave."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
