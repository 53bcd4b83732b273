"""``benchmarks/peers.py`` on made-up checkouts: what each adapter hands over, the arithmetic, and each refusal."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest

NOTE = """
from pathlib import Path
import torch
from torch import nn

CALLS = Path(__file__).parents[{up}] / "calls"

def note(*words):
    with CALLS.open("a") as lines:
        print(*words, file=lines)
"""

MLP = """
from src.notes import nn, note

class {name}(nn.Module):
    def __init__(self, {first}input_dim, hidden_dims, num_classes):
        super().__init__()
        note("{name}", input_dim, hidden_dims, num_classes)
        self.layer = nn.Linear(input_dim, num_classes)
        self.projection = nn.Linear(input_dim, num_classes)
"""

LOADER = """
from src.notes import note, torch

def of_loader(name, loader):
    for x, y in loader:
        assert x.dtype == torch.float32 and y.dtype == torch.int64
    note(name, len(loader), tuple(x.shape), tuple(y.shape))
"""

BEYOND = {
    "src/__init__.py": "",
    "src/notes.py": NOTE.format(up=1),
    "src/loader.py": LOADER,
    "src/architectures/mf_mlp.py": MLP.format(name="MF_MLP", first=""),
    "src/architectures/ff_mlp.py": MLP.format(name="FF_MLP", first="config, device, "),
    "src/baselines/bp.py": """
from src.loader import of_loader
from src.notes import note

def train_bp_epoch(model, loader, optimizer, criterion, device, epoch, total, log_interval, input_adapter):
    print("noise")
    of_loader("bp", loader)
    x, y = loader[0]
    optimizer.zero_grad()
    criterion(model.layer(input_adapter(x)), y).backward()
    optimizer.step()
    note(type(optimizer).__name__, optimizer.defaults["lr"], len(optimizer.param_groups[0]["params"]))
""",
    "src/algorithms/mf.py": """
from src.loader import of_loader
from src.notes import note

def train_mf_model(model, loader, config, device, input_adapter):
    of_loader("mf", loader)
    note(config["algorithm_params"]["optimizer_type"], config["algorithm_params"]["epochs_per_layer"])
""",
    "src/algorithms/ff.py": """
from src.loader import of_loader
from src.notes import note

def train_ff_model(model, loader, validation, config, device):
    of_loader("ff", loader)
    note(config["algorithm_params"]["optimizer_type"], config["training"]["epochs"], config["data"]["num_classes"])
""",
}
LOEWE = {
    "src/notes.py": NOTE.format(up=1),
    "src/ff_model.py": """
from src.notes import nn, note

class FF_model(nn.Module):
    def __init__(self, opt):
        super().__init__()
        note("FF_model", opt.model.hidden_dim, opt.model.num_layers, opt.input.batch_size)
        self.layer = nn.Linear(784, 10)

    def forward(self, inputs, labels):
        note("step", *(tuple(inputs[k].shape) for k in ("pos_images", "neg_images", "neutral_sample")))
        return {"Loss": nn.functional.cross_entropy(self.layer(inputs["pos_images"].flatten(1)), labels["class_labels"])}
""",
}
CAFO = {
    "block.py": NOTE.format(up=0)
    + """
class Block(nn.Module):
    def __init__(self, loss_fn, num_classes, num_epochs, num_batches, conv_module, out_features, step, lamda):
        super().__init__()
        self.words = loss_fn, num_epochs, num_batches, out_features

    def train_gradient_descent(self, features, y):
        weight = torch.ones(size=(features.shape[1], 10), device="cuda")
        note(*self.words, tuple((features.cuda() @ weight).shape), tuple(y.shape))
""",
}
CHECKOUTS = {"BeyondBackpropagation": BEYOND, "Forward-Forward": LOEWE, "CaFo": CAFO}


@pytest.fixture(autouse=True)
def _kit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import peers

    small = [dataclasses.replace(peer, net=peer.net and "cnn3:2-3-4") for peer in peers.PEERS]
    monkeypatch.setattr(peers, "PEERS", tuple(small))


@pytest.fixture
def peer_dir(tmp_path: Path) -> Path:
    for name, files in CHECKOUTS.items():
        for file, text in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return tmp_path


def run(peer_dir: Path, *options: str) -> int:
    import peers

    return peers.main([str(peer_dir), "--net", "mlp:2x8", "--batch-size", "5", "--windows", "2", "--steps", "3", *options])


def refusal(capsys: pytest.CaptureFixture[str], peer_dir: Path, *options: str) -> str:
    assert run(peer_dir, *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def calls(peer_dir: Path, name: str) -> list[str]:
    return (peer_dir / name / "calls").read_text().splitlines()


def test_every_adapter_hands_the_job_to_the_peers_function(peer_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three windows (one untimed) of three steps each; 784 inputs, two blocks of 8, ten classes, batches of 5."""
    modules = dict(sys.modules)
    assert run(peer_dir, "--out", str(peer_dir / "out.json")) == 0
    picture = "(5, 1, 28, 28)"
    beyond = calls(peer_dir, "BeyondBackpropagation")
    assert beyond[:3] == ["MF_MLP 784 [8, 8] 10", "MF_MLP 784 [8, 8] 10", "FF_MLP 784 [8, 8] 10"]
    window = [f"bp 3 {picture} (5,)", "Adam 0.001 2", f"mf 3 {picture} (5,)", "Adam 1", f"ff 3 {picture} (5,)", "Adam 1 10"]
    assert beyond[3:] == 3 * window
    assert calls(peer_dir, "Forward-Forward") == ["FF_model 8 2 5", *(9 * [f"step {picture} {picture} {picture}"])]
    features = [2 * 14 * 14, 3 * 7 * 7, 4 * 3 * 3]
    assert calls(peer_dir, "CaFo") == 3 * [f"CE 3 1 {width} (5, 10) (5,)" for width in features]
    found_modules = {name for name in sys.modules if name not in modules and name.split(".")[0] in {"src", "block"}}
    assert found_modules == set()

    results = json.loads((peer_dir / "out.json").read_text())
    assert [(row["peer"], row["function"], row["net"]) for row in results["rows"]] == [
        ("BeyondBackpropagation", "train_bp_epoch", "mlp:2x8"),
        ("BeyondBackpropagation", "train_mf_model", "mlp:2x8"),
        ("BeyondBackpropagation", "train_ff_model", "mlp:2x8"),
        ("Forward-Forward", "FF_model", "mlp:2x8"),
        ("CaFo", "Block.train_gradient_descent", "cnn3:2-3-4"),
    ]
    for row in results["rows"]:
        assert row["commit"] is None
        assert row["ratio_of_least"] == row["theirs_least_ms"] / row["ours_least_ms"] > 0
    shown = capsys.readouterr().out
    assert "noise" not in shown
    assert len(shown.splitlines()) == 2 + 5


def test_milliseconds_are_of_a_step_in_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    import peers
    from peers_kit.jobs import Contender

    clock = [0.0]
    monkeypatch.setattr(peers.time, "perf_counter", lambda: clock[0])
    turns: list[str] = []

    def of(name: str, seconds: list[float]):
        def run(steps: int) -> None:
            assert steps == 4
            turns.append(name)
            clock[0] += seconds.pop(0)

        return run

    one = Contender("one", of("one", [9.0, 0.4, 0.8]))
    staged = Contender("staged", of("staged", [9.0, 1.2, 2.4]), stages=3)
    assert peers.milliseconds([one, staged], 2, 4) == [pytest.approx([100.0, 200.0]), pytest.approx([100.0, 200.0])]
    assert turns == ["one", "staged"] * 3


def test_ratios_are_theirs_over_ours() -> None:
    import peers

    assert peers.beside([4.0, 6.0, 9.0], [2.0, 2.0, 1.0]) == {
        "theirs_least_ms": 4.0,
        "theirs_median_ms": 6.0,
        "ours_least_ms": 1.0,
        "ours_median_ms": 2.0,
        "ratio_of_least": 4.0,
        "median_ratio": 3.0,  # 2, 3 and 9
    }


def test_a_line_of_the_table() -> None:
    import peers

    row = {"peer": "P", "commit": "0123456789", "what": "rule", "function": "f", "arm": "backprop", "net": "mlp:1x4"}
    row |= {"batch_size": 8} | peers.beside([3.0, 3.0], [2.0, 2.0])
    assert peers.table([row]).splitlines()[-1] == (
        "| P, 0123456 | rule | `f` | mlp:1x4, 8 | 3.00 (3.00) | `backprop` | 2.00 (2.00) | 1.50 (1.50) |"
    )


def test_the_table_of_the_page_is_that_of_the_results() -> None:
    import peers

    root = Path(__file__).parents[1]
    results = json.loads((root / "benchmarks" / "results" / "peers.json").read_text(encoding="utf-8"))
    text = (root / "docs" / "performance.md").read_text(encoding="utf-8")
    before, load_after = results["load"]
    assert peers.table(results["rows"]) in text
    assert f"load {before:.1f} before and {load_after:.1f} after" in text
    assert all(f"`{row['commit']}`" in text for row in results["rows"])


def test_a_checkout_that_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "CaFo"
    assert refusal(capsys, tmp_path, "--peers", "CaFo") == (
        f"error: {folder} is not there; put a checkout there: git clone https://github.com/Graph-ZKY/CaFo {folder}"
    )


def test_a_checkout_of_another_layout(peer_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = peer_dir / "BeyondBackpropagation"
    (folder / "src/baselines/bp.py").rename(folder / "src/baselines/backprop.py")
    assert refusal(capsys, peer_dir) == (
        f"error: {folder} has no src/baselines/bp.py; the adapter was written for commit 597d79d of "
        "https://github.com/Przemyslaw11/BeyondBackpropagation; check that out"
    )


def test_a_function_of_another_name(peer_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (peer_dir / "Forward-Forward/src/ff_model.py").write_text("class Model: ...")
    line = refusal(capsys, peer_dir, "--peers", "Forward-Forward")
    assert line.startswith(f"error: {peer_dir / 'Forward-Forward'}: src.ff_model has no FF_model; the adapter was written for")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import wandb_that_is_not_there", "its block imports wandb_that_is_not_there, which is not installed; install what the"),
        ("1 / 0", "block cannot be imported (ZeroDivisionError: division by zero); the adapter was written for commit b2cccf3"),
    ],
)
def test_a_checkout_that_cannot_be_imported(text: str, said: str, peer_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (peer_dir / "CaFo/block.py").write_text(text)
    assert said in refusal(capsys, peer_dir, "--peers", "CaFo")


def test_a_net_that_a_peer_cannot_build(peer_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, peer_dir, "--peers", "Forward-Forward", "--net", "mlp:8-9")
    assert line == "error: FF_model takes 784 inputs, ten classes and blocks of one width, got mlp:8-9"


def test_unknown_names_and_numbers_below_one(peer_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, peer_dir, "--peers", "Cafe").startswith("error: unknown peer 'Cafe'")
    with pytest.raises(SystemExit):
        run(peer_dir, "--windows", "0")
    assert "--windows must be at least 1, got 0" in capsys.readouterr().err
