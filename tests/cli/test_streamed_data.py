"""Data in files on the command line: how they are read, and a run that is stopped within a pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import webdataset

from bpfree.records import read_records
from bpfree.train import within

from .conftest import Outcome

Command = Callable[..., Outcome]

Y = np.arange(120) % 3
TRAIN = ("train", "backprop", "--net", "mlp:1x8", "--max-passes", "2", "--batch-size", "16")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def pair(tmp_path: Path) -> str:
    x = np.random.RandomState(0).standard_normal((120, 6)) + Y[:, None]
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", Y)
    return "x.npy,y.npy"


def run(bpfree: Command, *options: str) -> dict:
    outcome = bpfree(*TRAIN, *options, "--json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def learned(record: dict) -> list[tuple[float, float]]:
    return [(each["train_loss"], each["val_accuracy"]) for each in record["history"]]


def test_files_give_the_record_of_memory(bpfree: Command, pair: str) -> None:
    memory = run(bpfree, "--dataset", pair, "--data-in", "memory", "--out", "A")
    files = run(bpfree, "--dataset", pair, "--data-in", "files", "--out", "B")
    for key in ("data_digest", "split", "dataset", "test_accuracy", "val_accuracy", "flops", "memory"):
        assert files[key] == memory[key], key
    assert learned(files) == learned(memory)


def test_a_run_stopped_within_a_pass_goes_on_there(bpfree: Command, pair: str, tmp_path: Path, monkeypatch) -> None:
    whole = run(bpfree, "--dataset", pair, "--out", "A")
    options = ("--dataset", pair, "--data-in", "files", "--out", "B", "--checkpoint-every", "2")
    keep = within.Keeper.keep

    def stopped(self: within.Keeper, so_far: within.PassSoFar) -> None:
        keep(self, so_far)
        if len(so_far.sizes) == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(within.Keeper, "keep", stopped)
        assert bpfree(*TRAIN, *options).code != 0
    record = run(bpfree, *options)
    assert learned(record) == learned(whole)
    assert record["test_accuracy"] == whole["test_accuracy"]
    assert "interrupted and resumed" in record["reasons"]["energy.joules"]
    statuses = [each.status for each in read_records(tmp_path / "B" / "records.jsonl")]
    assert statuses == ["interrupted", "ok"]


def test_what_was_skipped_is_counted_in_the_record(bpfree: Command, tmp_path: Path) -> None:
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for row in range(60):
            writer.write({"__key__": f"{row:03}", "npy": np.full(4, float(row)), "cls": row % 3})
    whole = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[:-12_000])
    record = run(bpfree, "--dataset", "a.tar", "--skip-corrupt", "--out", "A")
    assert record["plan"]["skipped"]["examples"] == 1
    assert record["plan"]["skipped"]["first"][0].startswith("the shard a.tar is damaged after 59 examples")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--checkpoint-every", "often"),
            "save_every (--checkpoint-every) must be a number of steps (500) or of seconds (60s), above 0",
        ),
        (("--data-in", "disk"), "unknown place of the data 'disk'"),
        (("--image-size", "8"), "--image-size 8 was asked, but digits is no image in a file"),
        (("--skip-corrupt",), "--skip-corrupt was asked, but digits is no folder of images and no shards"),
        (("--dataset", "missing-{0..3}.tar"), "there is no shard missing-0.tar, one of 4 that missing-{0..3}.tar names"),
    ],
)
def test_refused_in_one_line(bpfree: Command, options: tuple[str, ...], words: str) -> None:
    outcome = bpfree(*TRAIN, *options)
    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.err.count("\n") == 1
