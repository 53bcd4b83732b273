"""A model file that was cut, changed or made by something else: one line that says so; nothing is loaded, run or written."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_models import trained

from bpfree import data, fit, nets
from bpfree.algorithms import MonoForward
from bpfree.cli import run
from bpfree.errors import BpfreeError, DataError
from bpfree.models import load, save
from bpfree.rulesets import Patience
from bpfree.tensor_files import fill_tensors, write_tensors


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, (Path("exploded"),)  # pyright: ignore[reportReturnType]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def other_header(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    metadata["bpfree-model"] = metadata["bpfree-model"].replace('"pixels": false', '"pixels": true')
    save_file(load_file(path), path, metadata=metadata)


def newer(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    metadata["bpfree-model"] = metadata["bpfree-model"].replace('"schema": 1', '"schema": 2')
    save_file(load_file(path), path, metadata=metadata)


PICKLE = "it is a pickle or an archive of torch.save, which is never loaded"

DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-50]), "cut off or damaged"),
    "cut in its header": (lambda path: path.write_bytes(path.read_bytes()[:90]), "cut off or damaged"),
    "empty": (lambda path: path.write_bytes(b""), "cut off or damaged: 0 bytes are left"),
    "a byte of a tensor": (flip, "is damaged or was changed (its checksum is"),
    "another header": (other_header, "is damaged or was changed (its checksum is"),
    "newer": (newer, "has schema 2, this bpfree reads up to 1; update it"),
    "a pickle": (
        lambda path: path.write_bytes(pickle.dumps(Bomb())),
        PICKLE,
    ),
    "torch.save": (
        lambda path: torch.save({"a": torch.zeros(1)}, path),
        PICKLE,
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_model_is_refused_in_one_line(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model, path = trained("mono-forward"), tmp_path / "model.safetensors"
    save(path, model.algorithm, model.net, model.state)
    change, words = DAMAGE[damage]
    change(path)
    np.savez(tmp_path / "new.npz", x=np.zeros((2, 12)))
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    with pytest.raises(DataError) as raised:
        load(path)
    assert words in str(raised.value)
    for command in (["predict", "model.safetensors", "--data", "new.npz"], ["export", "model.safetensors", "--to", "model.pt2"]):
        assert run(command) == 2
        answer = capsys.readouterr()
        assert words in answer.err and answer.err.count("\n") == 1 and answer.out == ""
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_a_file_of_an_older_version_has_no_checksum(tmp_path: Path) -> None:
    model, path = trained("mono-forward"), tmp_path / "model.safetensors"
    save(path, model.algorithm, model.net, model.state)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["bpfree-model"])
    assert header.pop("crc32")
    save_file(load_file(path), path, metadata={"bpfree-model": json.dumps(header)})
    x = torch.ones(3, 12)
    assert torch.equal(torch.as_tensor(load(path).scores(x)), torch.as_tensor(model.scores(x)))


@pytest.mark.parametrize("kind", ["missing", "another shape", "another type", "a changed byte"])
def test_nothing_is_filled_in_before_all_is_checked(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "tensors"
    write_tensors(path, {"a": torch.ones(2), "b": torch.ones(3)}, "kind", {})
    targets = {"a": torch.zeros(2), "b": torch.zeros(4) if kind == "another shape" else torch.zeros(3)}
    if kind == "another type":
        targets["b"] = targets["b"].double()
    if kind == "missing":
        targets["c"] = torch.zeros(1)
    if kind == "a changed byte":
        flip(path)
    with pytest.raises(DataError):
        fill_tensors(path, targets)
    assert not targets["a"].any()


def test_images_of_another_size_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = trained("mono-forward", "mlp:9-7", (1, 8, 8))
    save(tmp_path / "model.safetensors", model.algorithm, model.net, model.state, data=data.load("digits"))
    np.savez(tmp_path / "new.npz", x=np.zeros((2, 28, 28), dtype=np.uint8))
    assert run(["predict", str(tmp_path / "model.safetensors"), "--data", str(tmp_path / "new.npz")]) == 2
    answer = capsys.readouterr()
    assert "takes examples of shape (1, 8, 8), got (1, 28, 28)" in answer.err and answer.err.count("\n") == 1 and not answer.out


def test_classes_that_were_not_trained_are_refused() -> None:
    random = np.random.RandomState(0)
    x = random.standard_normal((60, 5)).astype(np.float32)
    seen, more = data.from_arrays(x, np.arange(60) % 3), data.from_arrays(x, np.arange(60) % 4)
    result = fit(MonoForward(), nets.build("mlp:1x6", (5,), 3), seen, Patience(None, 1), batch_size=16)
    with pytest.raises(DataError, match="has 4 classes, the net was trained on 3"):
        result.evaluate("validation", data=more)
    named = data.from_arrays(x, np.array(["a", "b", "c"])[np.arange(60) % 3])
    with pytest.raises(DataError, match="has the classes a, b, c, in training they were numbers; name them alike"):
        result.evaluate("validation", data=named)
    wider = data.from_arrays(random.standard_normal((60, 6)).astype(np.float32), np.arange(60) % 3)
    with pytest.raises(BpfreeError, match=r"\(6,\)"):
        result.evaluate("validation", data=wider)
