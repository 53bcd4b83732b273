"""Every mistake of a user: one clear line, exit code 2, and nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bpfree import rulesets
from bpfree.algorithms import Backprop
from bpfree.bench import study
from bpfree.train import compiling
from tests.patched import replace_learn

from .conftest import ALONE, TINY, Outcome, start

Command = Callable[..., Outcome]

OPTIONS = [
    (("--arms", "backprp"), "unknown algorithm 'backprp'; did you mean backprop"),
    (("--arms", "backprop,backprop"), "listed 2 times"),
    (("--arms", ""), "no arm was given"),
    (("--arms", "mono-forward:schedul=staged"), "did you mean schedule"),
    (("--arms", "mono-forward:schedule=stagd"), "one of joint, staged"),
    (("--arms", "mono-forward:schedule"), "write name:key=value"),
    (("--arms", "blockwise:reach=0"), "blockwise: reach must be a whole number at least 1, got 0"),
    (("--net", "mpl:2x8"), "unknown net 'mpl'; did you mean mlp"),
    (("--net", "mlp:2x0"), "at least 1"),
    (("--net", "mlp:0x8"), "at least 1"),
    (("--net", "mlp:wide"), "mlp:DEPTHxWIDTH"),
    (("--net", "mlp:1x9999999999999"), "do not fit into memory"),
    (("--dataset", "digit"), "unknown data set 'digit'; did you mean digits"),
    (("--dataset", "missing.npz"), "missing.npz"),
    (("--batch-size", "0"), "batch_size"),
    (("--class-weight", "bald"), "class_weight must be 'none' or 'balanced', got 'bald'"),
    (("--studies", "5"), "ruleset quick searches once, by trials shorter than runs, and has no studies; use --ruleset claim"),
    (("--batch-size", "5000"), "larger than the training split"),
    (("--batch-size", "ten"), "'--batch-size'"),
    (("--trials", "0"), "search.trials"),
    (("--seeds", "0"), "at least 1"),
    (("--max-passes", "-3"), "budget.max_passes"),
    (("--patience", "0"), "stop.patience"),
    (("--ruleset", "quik"), "unknown ruleset 'quik'; did you mean quick"),
    (("--ruleset", "absent.yaml"), "absent.yaml"),
    (("--device", "tpu"), "unknown device 'tpu'"),
    (
        ("--device", "cpu", "--tier", "graph"),
        "tier graph records CUDA graphs, and the device is cpu; use --tier eager or --device",
    ),
    (("--tier", "fast"), "plan.tier must be 'eager', 'compiled' or 'graph', got 'fast'"),
    (("--device", "cuda:99"), "--device cuda:99 was asked"),
    (("--target", "95"), "above 0 and at most 1, such as 0.95, got '95'"),
    (("--target", "mnist=high"), "got 'high'"),
    (("--target", "mnist=0.9,0.8"), "mnist=0.97,cifar10=0.5"),
    (("--country", "POLL"), "POL"),
    (("--grid-g-per-kwh", "-1"), "from 0 up"),
    (("--bach-size", "3"), "--batch-size"),
]


@pytest.mark.parametrize(("options", "words"), OPTIONS, ids=[" ".join(options) for options, _ in OPTIONS])
def test_a_wrong_option_is_one_line(bpfree: Command, tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    outcome = bpfree("compare", "--out", "R", *options)
    assert outcome.code == 2
    assert words in outcome.one_line()
    assert list(tmp_path.iterdir()) == []


def test_a_tier_that_the_device_lacks_in_the_rulesets_plan(bpfree: Command, tmp_path: Path) -> None:
    rules = rulesets.load("quick").with_changes({"plan.tier": "graph", "name": "mine"})
    rulesets.save(rules, tmp_path / "mine.yaml")
    outcome = bpfree("compare", "--out", "R", "--ruleset", "mine.yaml", "--device", "cpu")
    assert outcome.code == 2
    assert "tier graph records CUDA graphs, and the device is cpu" in outcome.one_line()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_rule_that_cannot_be_compiled(bpfree: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = Backprop.learn

    def waits(rule: Any, net: Any, state: Any, batch: Any, phase: Any) -> Any:
        losses = learn(rule, net, state, batch, phase)
        return losses if losses.sum().item() > 0 else -losses  # the host waits for a value, and decides by it

    replace_learn(monkeypatch, Backprop, waits)
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    monkeypatch.setattr(compiling, "_STEPS", {})
    monkeypatch.setattr(study, "run_trial", lambda *_: pytest.fail("the other arm is not searched before"))
    arms = "mono-forward,backprop"
    outcome = bpfree("compare", "--out", "R", "--tier", "compiled", "--arms", arms, "--jobs", "1", "--quiet", *TINY)
    assert outcome.code == 2
    line = outcome.one_line()
    assert "backprop cannot be compiled (" in line
    assert line.rstrip().endswith("use --tier eager")


SETTINGS = [
    ("lr=-1", "lr must be a finite number above 0, got -1.0"),
    ("lr=nan", "lr must be a finite number above 0, got nan"),
    ("lr=fast", "lr must be a finite number above 0, got 'fast'"),
    ("momentum=2", "at least 0 and at most 0.999"),
    ("learning_rate=1", "unknown hyper-parameter of mono-forward 'learning_rate'"),
    ("lr", "write --set key=value"),
]


@pytest.mark.parametrize(("setting", "words"), SETTINGS, ids=[setting for setting, _ in SETTINGS])
def test_a_wrong_hyper_parameter_is_one_line(bpfree: Command, tmp_path: Path, setting: str, words: str) -> None:
    outcome = bpfree("train", "mono-forward", "--set", setting, "--out", "R")
    assert outcome.code == 2
    assert words in outcome.one_line()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_rule_offers_the_nearest(bpfree: Command) -> None:
    assert "did you mean mono-forward" in bpfree("train", "mono-forwrd").one_line()


def test_an_unknown_command_offers_the_nearest(bpfree: Command) -> None:
    outcome = bpfree("compar")
    assert outcome.code == 2
    assert "compare" in outcome.one_line()


_x = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
_y = np.arange(60) % 3
ARRAYS = {
    "no x": ({"y": _y}, "x"),
    "different lengths": ({"x": _x, "y": _y[:50]}, "50"),
    "not a number": ({"x": np.where(np.arange(5) == 2, np.nan, _x), "y": _y}, "NaN"),
    "fractional labels": ({"x": _x, "y": _y / 2}, "whole numbers or strings, got float64"),
    "empty labels": ({"x": _x, "y": np.array(["", "a", "b"])[_y]}, "y has 20 missing labels"),
    "one class only": ({"x": _x, "y": np.zeros(60, int)}, "class"),
    "empty": ({"x": _x[:0], "y": _y[:0]}, "empty"),
    "objects": ({"x": np.array([object()] * 60), "y": _y}, "object"),
    "too few to split": ({"x": _x[:4], "y": np.array([0, 0, 1, 1])}, "at least 3"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_cannot_be_learned_from_are_one_line(bpfree: Command, tmp_path: Path, case: str) -> None:
    arrays, words = ARRAYS[case]
    np.savez(tmp_path / "mine.npz", **arrays)
    outcome = bpfree("compare", "--dataset", "mine.npz", "--out", "R", *TINY)
    assert outcome.code == 2
    assert words in outcome.one_line()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.npz"]


def test_a_corrupt_idx_file_names_its_checksum(bpfree: Command, tmp_path: Path) -> None:
    folder = tmp_path / "root" / "mnist"
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte.gz").write_bytes(b"truncated")
    outcome = bpfree("compare", "--dataset", "mnist", "--data-dir", "root", "--out", "R", *TINY)
    assert outcome.code == 2
    assert "sha256" in outcome.one_line()
    assert not (tmp_path / "R").exists()


@pytest.mark.parametrize(
    ("arms", "precision", "told"),
    [
        ("foton", "bfloat16", "foton: precision bfloat16 rounds products so that the difference of two nearly equal activities"),
        ("backprop", "tf32", "precision tf32 is a number format of NVIDIA GPUs, and the device is cpu; use --precision float32"),
        ("backprop", "float16", "precision must be 'float32', 'tf32' or 'bfloat16', got 'float16'"),
    ],
)
def test_a_precision_that_cannot_be_kept(bpfree: Command, tmp_path: Path, arms: str, precision: str, told: str) -> None:
    outcome = bpfree("compare", "--arms", arms, "--net", "mlp:1x16", "--precision", precision, "--out", "R")
    assert outcome.code == 2
    assert told in outcome.one_line()
    assert not (tmp_path / "R").exists()


def test_a_directory_of_another_ruleset_is_left_alone(bpfree: Command, tmp_path: Path) -> None:
    assert bpfree("compare", "--out", "R", "--arms", "backprop", "--quiet", *TINY).code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "R").rglob("*") if path.is_file()}
    outcome = bpfree("compare", "--out", "R", "--arms", "backprop", *TINY, "--patience", "3")
    assert outcome.code == 2
    assert "stop.patience" in outcome.one_line()
    assert {path: path.read_bytes() for path in (tmp_path / "R").rglob("*") if path.is_file()} == before


def test_a_directory_that_other_code_began_is_left_alone_until_that_is_accepted(bpfree: Command, tmp_path: Path) -> None:
    arguments = ("compare", "--out", "R", "--arms", "backprop", "--quiet", *TINY)
    assert bpfree(*arguments).code == 0
    environment = tmp_path / "R" / "environment.json"
    ((key, facts),) = json.loads(environment.read_text()).items()
    facts["versions"]["bpfree code"] = "0123456789abcdef"
    environment.write_text(json.dumps({"another": facts}))
    before = {path: path.read_bytes() for path in (tmp_path / "R").rglob("*") if path.is_file()}
    outcome = bpfree(*arguments, "--seeds", "3")
    assert outcome.code == 2
    assert "was made by other code (bpfree code 0123456789abcdef, now " in outcome.one_line()
    assert "--accept-other-code" in outcome.err
    assert {path: path.read_bytes() for path in (tmp_path / "R").rglob("*") if path.is_file()} == before
    assert bpfree(*arguments, "--seeds", "3", "--accept-other-code").code == 0
    assert set(json.loads(environment.read_text())) == {"another", key}
    assert "other code accepted: bpfree code 0123456789abcdef, now " in (tmp_path / "R" / "log.txt").read_text()
    assert len((tmp_path / "R" / "records.jsonl").read_bytes().splitlines()) == 3


def test_two_rulesets_in_one_report_are_one_line(bpfree: Command) -> None:
    assert bpfree("compare", "--out", "A", "--arms", "backprop", "--quiet", *TINY).code == 0
    assert bpfree("compare", "--out", "B", "--arms", "backprop", "--quiet", *TINY, "--patience", "3").code == 0
    outcome = bpfree("report", "A", "B")
    assert outcome.code == 2
    assert "A (quick+changed) and B (quick+changed) were run under different rules" in outcome.one_line()
    assert "stop.patience: 10 against 3" in outcome.err
    assert bpfree("report", "A", "--target", "0.5", "--quiet").code == 0


def test_records_of_a_newer_schema_are_one_line(bpfree: Command, tmp_path: Path) -> None:
    arguments = ("compare", "--out", "R", "--arms", "backprop", "--quiet", *TINY)
    assert bpfree(*arguments).code == 0
    with (tmp_path / "R" / "records.jsonl").open("a") as records:
        records.write('{"schema": 999, "arm": "from the future"}\n')
    for command in (("report", "R"), arguments):
        outcome = bpfree(*command)
        assert outcome.code == 2
        assert "line 3 has schema 999" in outcome.one_line()
        assert "pip install --upgrade bpfree" in outcome.err


def test_a_directory_that_holds_something_else_is_left_alone(bpfree: Command, tmp_path: Path) -> None:
    (tmp_path / "R").mkdir()
    (tmp_path / "R" / "thesis.tex").write_text("years of work")
    outcome = bpfree("compare", "--out", "R", *TINY)
    assert outcome.code == 2
    assert "not a run directory" in outcome.one_line()
    assert [path.name for path in (tmp_path / "R").iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_one_line(bpfree: Command, tmp_path: Path) -> None:
    (tmp_path / "R").write_text("mine")
    outcome = bpfree("compare", "--out", "R", *TINY)
    assert outcome.code == 2
    assert "is a file" in outcome.one_line()
    assert (tmp_path / "R").read_text() == "mine"


def test_a_refusing_disk_is_one_line_and_keeps_what_was_written(bpfree: Command, tmp_path: Path) -> None:
    """The kernel refuses to let a file grow, as a full disk does; what was written stays, and the command goes on later."""
    arguments = ("compare", "--out", "R", "--arms", "backprop", "--quiet", *TINY)
    assert bpfree(*arguments).code == 0
    records = tmp_path / "R" / "records.jsonl"
    before = records.read_bytes()
    process = start((*arguments, *ALONE, "--seeds", "3"), tmp_path, file_limit_bytes=len(before) + 50)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err.count("\n") == 1
    assert "the disk is full" in err
    assert records.read_bytes() == before
    assert bpfree(*arguments, "--seeds", "3").code == 0
    assert records.read_bytes().startswith(before)
    assert len(records.read_bytes().splitlines()) == 3


def test_a_read_only_place_is_one_line(bpfree: Command) -> None:
    outcome = bpfree("compare", "--out", "/proc/bpfree", *TINY)
    assert outcome.code == 2
    assert "cannot write /proc/bpfree" in outcome.one_line()


def test_reporting_on_nothing_is_one_line(bpfree: Command) -> None:
    outcome = bpfree("report", "absent")
    assert outcome.code == 2
    assert "absent" in outcome.one_line()
