"""``bpfree analyse landscape``: from trained models to files and figures, and every mistake in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bpfree import data, nets
from bpfree.algorithms import make
from bpfree.cli import run
from bpfree.cli.landscape_figure import draw_landscape, legend_levels
from bpfree.models import save
from bpfree.train import initialise

from .conftest import Outcome

Command = Callable[..., Outcome]
SMALL = ("--examples", "60", "--points", "3", "--plane-points", "2", "--directions", "2", "--probes", "2", "--out", "L")
RUNS = {
    "bp-0": ("backprop", "--seed", "0", "--net", "mlp:2x5"),
    "bp-1": ("backprop", "--seed", "1", "--net", "mlp:2x5"),
    "mf-0": ("mono-forward", "--seed", "0", "--net", "mlp:2x5"),
    "other-net": ("mono-forward", "--seed", "0", "--net", "mlp:1x5"),
    "other-data": ("mono-forward", "--seed", "0", "--net", "mlp:2x5", "--dataset", "synthetic:n=100:inputs=64:classes=10"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models of :data:`RUNS`, as ``bpfree train`` writes them."""
    folder = tmp_path_factory.mktemp("trained")
    for name, options in RUNS.items():
        assert run(["train", *options, "--max-passes", "1", "--quiet", "--out", str(folder / name)]) == 0
    return folder


@pytest.fixture
def models(trained: Path, tmp_path: Path, bpfree: Command) -> Callable[..., list[str]]:
    """Copies of models in the empty directory where the command runs."""
    del bpfree  # it makes the directory the current one

    def copied(*names: str) -> list[str]:
        for name in names:
            shutil.copytree(trained / name, tmp_path / "models" / name)
        return [f"models/{name}/model.safetensors" for name in names]

    return copied


def test_from_trained_models_to_files(bpfree: Command, models: Callable[..., list[str]], tmp_path: Path) -> None:
    files = models("bp-0", "bp-1", "mf-0")
    outcome = bpfree("analyse", "landscape", *files, *SMALL, "--quiet", "--json")
    assert outcome.code == 0
    document = json.loads(outcome.out)
    assert json.loads((tmp_path / "L" / "landscape.json").read_text()) == document
    assert [model["file"] for model in document["models"]] == files
    assert document["plane"][0]["of"] == ["backprop, seed 0", "mono-forward, seed 0"]
    assert [entry["between"] for entry in document["line"]] == ["other start", "same start"]
    for name in ("slices", "lines", "plane"):
        text = "".join(ElementTree.fromstring((tmp_path / "L" / f"landscape-{name}.svg").read_text()).itertext())
        assert "mlp:2x5 on digits" in text
        assert "backprop" in text
        assert "mono-forward" in text
    assert "start" in "".join(ElementTree.parse(tmp_path / "L" / "landscape-plane.svg").getroot().itertext())
    assert "nats (mean ± SD)" in (tmp_path / "L" / "landscape-slices.svg").read_text()
    again = bpfree("analyse", "landscape", *files, *SMALL)  # read, not computed; now as tables
    assert again.code == 0
    assert "mono-forward, seed 0" in again.out
    assert "same start" in again.out
    assert "losses in nats" in again.out
    assert "barriers in nats" in again.out
    assert "not judged: 1 paired seed, at least 5 are needed" in again.out
    assert "mono-forward never follows this loss's gradient through the whole net" in again.out
    assert "landscape-plane.svg" in again.out.replace("\n", "")


@pytest.mark.parametrize(
    ("losses", "levels"),
    [([2.3, 0.25, 0.4], [0.25, 0.39, 0.61, 0.95, 1.5, 2.3]), ([0.5, 0.5], [0.5])],
    ids=["from the least to the greatest", "all the same"],
)
def test_the_key_of_a_plane_spans_its_losses(losses: list[float], levels: list[float]) -> None:
    assert legend_levels(losses) == levels


def test_one_model_has_slices_and_no_line(bpfree: Command, models: Callable[..., list[str]], tmp_path: Path) -> None:
    outcome = bpfree("analyse", "landscape", *models("mf-0"), *SMALL, "--quiet", "--json")
    assert outcome.code == 0
    document = json.loads(outcome.out)
    assert (document["line"], document["plane"], len(document["slices"])) == ([], [], 1)
    assert sorted(path.name for path in (tmp_path / "L").iterdir()) == [".lock", "landscape-slices.svg", "landscape.json"]


def test_lines_beyond_the_colours_are_counted(tmp_path: Path) -> None:
    """Four rivals: their lines from the same and from another start, and the baseline's own, are nine kinds."""
    labels = ["bp", *"abcd"]
    models = [{"name": f"{label}, seed {seed}", "label": label} for label in labels for seed in (0, 1)]
    between = [("bp, seed 0", f"{label}, seed 1", "other start") for label in labels]
    between += [("bp, seed 0", f"{label}, seed 0", "same start") for label in labels[1:]]
    lines = [{"of": [first, last], "between": kind, "a": [0.0, 1.0], "loss": [0.1, 0.2]} for first, last, kind in between]
    document = {"net": "mlp:2x5", "dataset": "digits", "models": models, "slices": [], "line": lines, "plane": []}
    (path,) = draw_landscape(document, tmp_path)
    assert "mlp:2x5 on digits; 2 more in landscape.json" in path.read_text()


MISTAKES = [
    (("bp-0", "other-net"), (), "their nets differ: models/bp-0/model.safetensors has mlp:2x5"),
    (("bp-0", "other-data"), (), "their data differ: models/bp-0/model.safetensors has digits"),
    (("bp-0", "mf-0"), ("--split-seed", "1"), "was trained on digits, split"),
    (("bp-0", "mf-0"), ("--ruleset", "fixed-nowhere"), "fixed-nowhere"),
    (("bp-0",), ("--dataset", "synthetic"), "but the data given are synthetic"),
    (("bp-0",), ("--part", "line"), "a line needs two models, got 1"),
    (("bp-0", "bp-1"), ("--part", "plane"), "no plane can be computed"),
    (("bp-0",), ("--part", "slice"), "did you mean slices"),
    (("bp-0",), ("--rho", "-0.1"), "rho must be a finite number above 0, got -0.1"),
    (("bp-0",), ("--points", "0"), "points must be at least 2, got 0"),
    (("bp-0",), ("--device", "tpu"), "unknown device 'tpu'"),
    ((), ("nowhere.safetensors",), "nowhere.safetensors"),
]


@pytest.mark.parametrize(("names", "options", "words"), MISTAKES, ids=[f"{' '.join((*n, *o))}" for n, o, _ in MISTAKES])
def test_a_mistake_is_one_line(
    bpfree: Command,
    models: Callable[..., list[str]],
    tmp_path: Path,
    names: tuple[str, ...],
    options: tuple[str, ...],
    words: str,
) -> None:
    outcome = bpfree("analyse", "landscape", *models(*names), "--out", "L", *options)
    assert outcome.code == 2
    assert words.lower() in outcome.one_line().lower()
    assert not (tmp_path / "L").exists()


def test_models_of_different_splits_are_one_line(bpfree: Command, models: Callable[..., list[str]]) -> None:
    """The same data, divided otherwise."""
    (file,) = models("bp-0")
    loaded = data.load("digits", split_seed=1)
    rule, net = make("mono-forward"), nets.build("mlp:2x5", loaded.in_shape, loaded.n_classes)
    save("other.safetensors", rule, net, initialise(rule, net, 0), spec="mlp:2x5", data=loaded, seed=0)
    outcome = bpfree("analyse", "landscape", file, "other.safetensors", "--out", "L")
    assert outcome.code == 2
    assert "their splits differ" in outcome.one_line()
