"""An exported model answers as bpfree does, in torch.export and in ONNX, for every rule; what cannot be exported says why."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import ARMS, trained

from bpfree import data
from bpfree.errors import DataError, UsageError
from bpfree.models import Model, export, exporting, load, save

TABLE, IMAGE, MAPS = (12,), (1, 8, 8), (1, 16, 16)
NETS = {
    "mlp": ("mlp:9-7", TABLE),
    "images": ("mlp:9-7", IMAGE),
    "cnn": ("cnn3:4-4-4", MAPS),
    "vit": ("vit:depth=1:width=16:patch=4:heads=1", IMAGE),
}

QUICK = (
    ("backprop", "vit"),
    ("cascaded-forward", "cnn"),
    ("spatial-goodness", "mlp"),
)
"""Kinds of read-out: the net's output, predictors, goodness as a vector; heads and the goodness of K labellings are below."""


def raw(n: int, shape: tuple[int, ...], seed: int = 3) -> np.ndarray[Any, Any]:
    return np.random.RandomState(seed).standard_normal((n, *shape)).astype(np.float32)


def run(path: Path, x: np.ndarray[Any, Any]) -> tuple[list[np.ndarray[Any, Any]], dict[str, Any]]:
    """Outputs and metadata of a file, without bpfree."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        return list(session.run(None, {"x": x})), json.loads(session.get_modelmeta().custom_metadata_map["bpfree"])
    extra = {"bpfree": ""}
    program = torch.export.load(path, extra_files=extra)
    return [each.detach().numpy() for each in program.module()(torch.from_numpy(x))], json.loads(extra["bpfree"])


def check_alike(model: Model, path: Path, x: np.ndarray[Any, Any]) -> dict[str, Any]:
    channels = "first" if x.ndim == 4 else "auto"
    for n in (1, len(x)):
        answers, metadata = run(path, x[:n])
        scores = np.asarray(model.scores(x[:n], channels))
        assert np.abs(answers[0] - scores).max() <= 1e-5 * max(1.0, float(np.abs(scores).max()))
        assert np.abs(answers[1] - np.asarray(model.predict_proba(x[:n], channels))).max() <= 1e-5
    return metadata


@pytest.mark.parametrize(("arm", "net"), QUICK)
def test_a_program_of_torch_answers_as_the_rule(arm: str, net: str, tmp_path: Path) -> None:
    spec, shape = NETS[net]
    model = trained(arm, spec, shape)
    made = export(model, tmp_path / "model.pt2")
    assert made.difference <= 1e-5 and made.format == "torch"
    assert made.heads == ("none" if arm == "backprop" else "inside")
    metadata = check_alike(model, tmp_path / "model.pt2", raw(9, shape))
    assert (metadata["rule"], metadata["net"]) == (arm.partition(":")[0], spec)
    assert metadata["classes"] == [0, 1, 2, 3] and metadata["outputs"] == ["scores", "probabilities"]
    assert {"bpfree", "torch"} <= metadata["versions"].keys()


@pytest.mark.parametrize(("arm", "ending"), [("forward-forward", ".pt2"), ("mono-forward:readout=sum", ".onnx")])
def test_pixels_are_taken_as_they_are_stored(arm: str, ending: str, tmp_path: Path) -> None:
    """Heads or K labellings, normalisation and names of classes are in one file, which another runtime reads."""
    digits = data.load("digits")
    kept = trained(arm, "mlp:9-7", IMAGE)
    save(tmp_path / "model.safetensors", kept.algorithm, kept.net, kept.state, data=digits)
    model = load(tmp_path / "model.safetensors")
    made = export(model, tmp_path / f"model{ending}")
    assert made.input == "uint8 (n, 1, 8, 8)"
    metadata = check_alike(model, tmp_path / f"model{ending}", digits.splits["validation"].x[:9].numpy())
    assert (metadata["dataset"], metadata["split_digest"]) == ("digits", digits.split_digest)


@pytest.mark.slow  # five seconds each
@pytest.mark.parametrize("ending", [".onnx", ".pt2"])
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("arm", ARMS)
def test_every_rule_on_every_net_that_it_can_train(arm: str, net: str, ending: str, tmp_path: Path) -> None:
    spec, shape = NETS[net]
    try:
        model = trained(arm, spec, shape)
    except UsageError as error:
        assert arm.partition(":")[0] in ("feedback-alignment", "foton", "pepita", "sign-symmetry"), error
        return
    export(model, tmp_path / f"model{ending}")
    check_alike(model, tmp_path / f"model{ending}", raw(9, shape))


@pytest.mark.parametrize("ending", [".onnx", ".pt2"])
def test_rows_of_zeros_between_blocks(ending: str, tmp_path: Path) -> None:
    """No unit of a ReLU block answers: the root of the squares is 0, and what keeps it from dividing is as small as 1e-8."""
    model = trained("forward-forward:inference=head", *NETS["images"])
    with torch.no_grad():
        model.net[0].linear.bias.fill_(-100.0)  # type: ignore[union-attr,operator]
    export(model, tmp_path / f"model{ending}")
    check_alike(model, tmp_path / f"model{ending}", raw(9, IMAGE))
    (scores, _), _ = run(tmp_path / f"model{ending}", raw(9, IMAGE))
    assert not np.isnan(scores).any()


def test_kept_heads_are_one_more_output(tmp_path: Path) -> None:
    """Mono-Forward's last head is the net's output, so its heads can be left out, or kept."""
    model = trained("mono-forward")
    assert export(model, tmp_path / "net.pt2").outputs == ("scores", "probabilities")
    assert export(model, tmp_path / "all.pt2", heads="keep").heads == "outputs"
    (scores, _, each), _ = run(tmp_path / "all.pt2", raw(5, TABLE))
    assert each.shape == (2, 5, 4)
    np.testing.assert_allclose(each[-1], scores, atol=1e-6)
    first = model.net[0](torch.from_numpy(raw(5, TABLE))) @ model.state.slot(0).projection.t()
    np.testing.assert_allclose(each[0], first.detach().numpy(), atol=1e-6)


def test_a_table_is_taken_in_its_own_units(tmp_path: Path) -> None:
    """Far from zero float32 would lose what tells the examples apart: the file takes float64."""
    x = raw(60, (5,)).astype(np.float64) * 3 + 1e9
    table = data.from_arrays(x, np.arange(60) % 3)
    kept = trained("mono-forward", "mlp:9-7", (5,))
    save(tmp_path / "model.safetensors", kept.algorithm, kept.net, kept.state, data=table)
    model = load(tmp_path / "model.safetensors")
    assert export(model, tmp_path / "model.pt2", batch=4).input == "float64 (4, 5)"
    answers, _ = run(tmp_path / "model.pt2", x[:4])
    np.testing.assert_allclose(answers[0], np.asarray(model.scores(x[:4])), atol=1e-5)


@pytest.mark.parametrize(
    ("arm", "options", "words"),
    [
        ("forward-forward", {"heads": "strip"}, "does not predict by the output of the net.*leave --heads out"),
        ("spatial-goodness", {"heads": "keep"}, "has no heads on the blocks"),
        ("backprop", {"heads": "drop"}, "heads must be keep or strip, got 'drop'"),
        ("backprop", {"format": "tflite"}, "unknown format 'tflite'; use --format onnx or --format torch"),
        ("backprop", {"batch": "0"}, "batch must be dynamic or a whole number from 1, got '0'"),
    ],
)
def test_what_cannot_be_exported_says_why(arm: str, options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        export(trained(arm), tmp_path / "model.pt2", **options)
    assert not list(tmp_path.iterdir())


def test_a_half_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="multiplies in bfloat16, which an exported file cannot do alike"):
        export(trained("backprop", dtype=torch.bfloat16), tmp_path / "model.pt2")


def test_a_file_that_answers_otherwise_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt2"
    path.write_text("older")

    def wrong(graph: object, n: object, metadata: object, part: Path) -> exporting.Run:
        part.write_text("wrong")
        return lambda x: [torch.zeros(len(x), 4), torch.full((len(x), 4), 0.25)]

    monkeypatch.setattr(exporting, "_write_torch", wrong)
    with pytest.raises(DataError, match=r"would give scores that differ by .* not written; use --format onnx"):
        export(trained("mono-forward"), path)
    assert path.read_text() == "older" and len(list(tmp_path.iterdir())) == 1


def test_missing_packages_are_named_with_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "onnxscript" else found(name, *rest))
    with pytest.raises(UsageError, match=r"needs onnxscript, not installed here; use: pip install 'bpfree\[onnx\]', or"):
        export(trained("backprop"), tmp_path / "model.onnx")
