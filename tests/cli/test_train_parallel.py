"""``--parallel layers`` and ``data``: the command of the first rank, with others that follow it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from bpfree.cli import run
from bpfree.cli.train_parallel import meter_of
from bpfree.errors import UsageError
from bpfree.meter import Meter
from bpfree.parallel import Ranks, check_same
from tests import warm
from tests.parallel.cases import meeting

COMMAND = ["train", "mono-forward", "--net", "mlp:2x16", "--seed", "1"]
LONG = ["train", "mono-forward", "--net", "mlp:2x16", "--max-passes", "100000", "--patience", "100000"]


Process = subprocess.Popen[str] | warm.Started


def _start(size: int, options: list[str], of_last: Sequence[str] | None = None) -> list[Process]:
    """Ranks as torchrun starts them.

    Args:
        of_last: the arguments of Python in the last rank, where they differ; nothing is then imported before.
    """
    here = meeting(size)
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(size)} for rank in range(size)]
    environments = [{**os.environ, **here, **rank} for rank in ranks]
    if of_last is None:
        return [warm.start(options, Path.cwd(), environment) for environment in environments]
    commands = [*[[sys.executable, "-m", "bpfree", *options]] * (size - 1), [sys.executable, *of_last]]
    return [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command, environment in zip(commands, environments, strict=True)
    ]


def _ended(processes: list[Process], timeout_s: float = 120) -> list[SimpleNamespace]:
    try:
        texts = [each.communicate(timeout=timeout_s) for each in processes]
    finally:
        for each in processes:
            each.kill()
    return [SimpleNamespace(code=each.returncode, out=out, err=err) for each, (out, err) in zip(processes, texts, strict=True)]


def test_a_run_in_two_ranks_is_that_of_one(tmp_path: Path) -> None:
    options = [*COMMAND, "--max-passes", "2"]
    first, second = _ended(_start(2, [*options, "--parallel", "layers", "--out", str(tmp_path / "two")]))
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert (second.out, second.err) == ("", "")
    assert "test accuracy" in first.out
    assert run([*options, "--out", str(tmp_path / "one"), "--quiet"]) == 0
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    records = [json.loads((tmp_path / name / "records.jsonl").read_text()) for name in ("one", "two")]
    assert [record["parallel"] for record in records] == [None, "layers, 2 ranks"]
    for key in ("test_accuracy", "val_accuracy", "steps", "examples_seen", "params", "flops", "ruleset_digest", "data_digest"):
        assert records[0][key] == records[1][key], key
    assert records[1]["cpu_s"] is None
    assert "several processes" in records[1]["reasons"]["cpu_s"]


@pytest.mark.slow
def test_a_killed_rank_ends_the_others_and_the_run_resumes_in_one(tmp_path: Path) -> None:
    """To what an undisturbed run comes to."""
    options = [*COMMAND, "--max-passes", "400", "--patience", "400"]
    processes = _start(2, [*options, "--parallel", "layers", "--out", str(tmp_path / "killed")])
    checkpoints = tmp_path / "killed" / "checkpoints"
    _wait(lambda: checkpoints.is_dir() and any(checkpoints.glob("*.safetensors")), processes)
    processes[1].send_signal(signal.SIGKILL)
    begin_s = time.monotonic()
    first, second = _ended(processes, timeout_s=30)
    assert time.monotonic() - begin_s < 30
    assert second.code == -signal.SIGKILL
    assert first.code == 1
    assert "another rank is gone" in first.err
    assert "Resume with: torchrun --nproc-per-node 2 -m bpfree train mono-forward" in first.err
    assert "Traceback" not in first.err
    assert run([*options, "--out", str(tmp_path / "killed"), "--quiet"]) == 0  # in one process
    assert run([*options, "--out", str(tmp_path / "whole"), "--quiet"]) == 0
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("killed", "whole"))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


@pytest.mark.slow
def test_the_first_rank_interrupted(tmp_path: Path) -> None:
    """Ctrl-C of the command: the others end by themselves."""
    processes = _start(2, [*LONG, "--parallel", "layers", "--out", str(tmp_path / "R")])
    _wait(lambda: (tmp_path / "R" / "checkpoints").is_dir(), processes)
    processes[0].send_signal(signal.SIGINT)
    first, second = _ended(processes, timeout_s=30)
    assert first.code == 130, first.err
    assert second.code in (0, 1)  # between two passes, or within one
    assert second.code == 0 or "another rank is gone" in second.err


def _wait(there, processes: list[Process]) -> None:
    for _ in range(600):
        if there():
            return
        assert all(each.poll() is None for each in processes)
        time.sleep(0.1)
    raise AssertionError("nothing was trained")


@pytest.mark.slow
def test_torchrun(tmp_path: Path) -> None:
    """The command of the documentation."""
    torchrun = Path(sys.executable).with_name("torchrun")
    command = [str(torchrun), "--nproc-per-node", "2", "-m", "bpfree", *COMMAND, "--max-passes", "2", "--parallel", "layers"]
    ended = subprocess.run([*command, "--out", str(tmp_path / "R")], capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    assert "test accuracy" in ended.stdout


MISTAKES = {
    "a rule that is not local": (["backprop", "--parallel", "layers"], "backprop cannot be trained layer-parallel"),
    "no such net": (["mono-forward", "--parallel", "layers", "--net", "mlp:2xfoo"], "mlp:2xfoo"),
    "another tier": (["mono-forward", "--parallel", "layers", "--net", "mlp:2x16", "--tier", "compiled"], "tier eager"),
    "more ranks than blocks": (
        ["mono-forward", "--parallel", "layers", "--net", "mlp:1x16"],
        "2 ranks were started, and mono-forward has 1 stages on this net; start at most 1",
    ),
    "pairs of examples": (["local-similarity", "--parallel", "data"], "every pair of examples of a batch; train in one process"),
    "batch statistics": (["mono-forward", "--parallel", "data", "--net", "cnn3"], "BatchNorm in block 0"),
    "a batch below the ranks": (
        ["mono-forward", "--parallel", "data", "--batch-size", "1"],
        "2 ranks share each batch, and a batch has 1 examples; use --batch-size 2 or more",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_of_one_rank(mistake: str, tmp_path: Path) -> None:
    options, line = MISTAKES[mistake]
    _one_line(_ended(_start(2, ["train", *options, "--out", str(tmp_path / "R")])), line, tmp_path / "R")


def _one_line(ended: list[SimpleNamespace], line: str, out: Path) -> None:
    assert [each.code for each in ended] == [2, 2], ended[0].err
    texts = "".join(each.err for each in ended).splitlines()
    lines = [text for text in texts if text.startswith("bpfree: ") and "warning" not in text]
    assert len(lines) == 1
    assert line in lines[0]
    assert not out.exists()


@pytest.mark.slow
def test_ranks_of_another_version_or_ruleset(tmp_path: Path) -> None:
    options = [*COMMAND, "--parallel", "data", "--out", str(tmp_path / "R")]
    older = "import sys, bpfree._version as v; v.__version__ = '0.0.1'; from bpfree.cli import main; sys.exit(main(sys.argv[1:]))"
    ended = _ended(_start(2, options, ["-c", older, *options]))
    _one_line(ended, "rank 1 has another version of bpfree (0.0.1) than rank 0", tmp_path / "R")
    ended = _ended(_start(2, options, ["-m", "bpfree", *options, "--patience", "3"]))
    _one_line(ended, "rank 1 has another ruleset (digest)", tmp_path / "R")


def test_ranks_that_differ_are_refused_in_every_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"version of bpfree": "1", "ruleset (digest)": "ab"}
    for other, named in (({"version of bpfree": "2"}, "version of bpfree (2)"), ({"ruleset (digest)": "cd"}, "ruleset")):
        monkeypatch.setattr(Ranks, "gather", lambda self, value, other=other: [value, value, {**value, **other}])
        with pytest.raises(UsageError, match=f"rank 2 has another {re.escape(named)}.*the same installation"):
            check_same(Ranks(1, 3, torch.device("cpu")), facts)
    monkeypatch.setattr(Ranks, "gather", lambda self, value: [value] * 3)
    check_same(Ranks(1, 3, torch.device("cpu")), facts)


@pytest.mark.slow
def test_data_parallel_is_that_of_one_but_for_rounding(tmp_path: Path) -> None:
    options = [*COMMAND, "--max-passes", "2"]
    first, second = _ended(_start(2, [*options, "--parallel", "data", "--out", str(tmp_path / "two")]))
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert (second.out, second.err) == ("", "")
    assert run([*options, "--out", str(tmp_path / "one"), "--quiet"]) == 0
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-4)
    records = [json.loads((tmp_path / name / "records.jsonl").read_text()) for name in ("one", "two")]
    assert [record["parallel"] for record in records] == [None, "data, 2 ranks"]
    for key in ("val_accuracy", "steps", "examples_seen", "params", "flops", "ruleset_digest", "data_digest"):
        assert records[0][key] == records[1][key], key


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["layers", "data"])
def test_a_checkpoint_of_two_ranks_is_resumed_by_one_and_by_three(kind: str, tmp_path: Path) -> None:
    """Layers: to the bit. Data: but for rounding."""
    options = ["train", "mono-forward", "--net", "mlp:3x16", "--seed", "1", "--max-passes", "40", "--patience", "40"]
    processes = _start(2, [*options, "--parallel", kind, "--out", str(tmp_path / "one")])
    checkpoints = tmp_path / "one" / "checkpoints"
    _wait(lambda: checkpoints.is_dir() and any(checkpoints.glob("*.safetensors")), processes)
    processes[0].send_signal(signal.SIGTERM)  # between two passes, or within one
    first, _ = _ended(processes, timeout_s=60)
    assert first.code != 0
    assert any(checkpoints.glob("*.safetensors"))
    shutil.copytree(tmp_path / "one", tmp_path / "three")
    assert run([*options, "--out", str(tmp_path / "one"), "--quiet"]) == 0
    ended = _ended(_start(3, [*options, "--parallel", kind, "--out", str(tmp_path / "three")]))
    assert [each.code for each in ended] == [0, 0, 0], ended[0].err
    assert run([*options, "--out", str(tmp_path / "whole"), "--quiet"]) == 0
    models = {name: load_file(tmp_path / name / "model.safetensors") for name in ("one", "three", "whole")}
    records = {name: json.loads((tmp_path / name / "records.jsonl").read_text().splitlines()[-1]) for name in models}
    for name in ("one", "three"):
        assert records[name]["steps"] == records["whole"]["steps"]
        for key, tensor in models["whole"].items():
            if kind == "layers":
                assert torch.equal(models[name][key], tensor)
            else:
                assert models[name][key].shape == tensor.shape
        assert abs(records[name]["val_accuracy"] - records["whole"]["val_accuracy"]) < (1e-9 if kind == "layers" else 0.02)


def test_without_torchrun_and_by_another_name(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run([*COMMAND, "--parallel", "layers"]) == 2
    assert "torchrun --nproc-per-node 2 -m bpfree train" in capsys.readouterr().err
    assert run([*COMMAND, "--parallel", "blocks"]) == 2
    assert "unknown --parallel 'blocks'; choose from layers; data; layers,data" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert run(COMMAND) == 2
    assert "torchrun started 2 processes that would all train the same; add --parallel layers or data" in capsys.readouterr().err


class _Source:
    """A counter of one board."""

    scope, method, period_s, measured, poll_s = "gpu-board", "counter", 0.0, True, None

    def __init__(self, name: str, scope: str = "gpu-board") -> None:
        self.name, self.scope = name, scope


def test_boards_add_up_and_the_processor_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {
        "cuda:0": Meter("cpu", [_Source("nvml:A"), _Source("rapl:package-0", "cpu-package")]),
        "cuda:1": Meter("cpu", [_Source("nvml:B"), _Source("rapl:package-0", "cpu-package")]),
    }
    monkeypatch.setattr(Meter, "detect", lambda device, estimate=False: made[device])
    monkeypatch.setattr(Meter, "measure_idle", lambda self, seconds: {})
    together = meter_of(["cuda:0", "cuda:1"], made["cuda:0"])
    assert [source.name for source in together.sources] == ["nvml:A", "rapl:package-0", "nvml:B"]
    assert meter_of(["cuda:0"], made["cuda:0"]) is made["cuda:0"]
