"""``bpfree train`` leaves a model, ``bpfree measure inference`` measures models; a wrong file is one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfree.models import load, measure_inference
from bpfree.records import read_records

from .conftest import Outcome

Command = Callable[..., Outcome]

SMALL = ("--dataset", "digits", "--net", "mlp:1x16", "--max-passes", "2", "--quiet")
QUICK = ("--repeats", "3", "--batch", "1")


@pytest.fixture(autouse=True)
def _windows_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here reads how long a call took, only that it was timed."""
    defaults = measure_inference.__kwdefaults__
    assert defaults["window_s"] == 0.5
    monkeypatch.setitem(defaults, "window_s", 0.01)


def train(bpfree: Command, rule: str, out: str, *options: str) -> None:
    assert bpfree("train", rule, "--out", out, *SMALL, *options).code == 0


def test_training_leaves_a_model_that_scores_as_the_record_says(bpfree: Command, tmp_path: Path) -> None:
    from bpfree import data

    train(bpfree, "mono-forward", "R", "--set", "lr=0.01")
    (record,) = read_records(tmp_path / "R" / "records.jsonl")
    model = load(tmp_path / "R" / "model.safetensors")
    digits = data.load("digits")
    batch = next(digits.batches("test", digits.n("test"), shuffle=False))
    stored = model.normalise(digits.splits["test"].x)
    for x in (batch.x, stored):
        hits = model.normalised_scores(x).argmax(1) == batch.y
        assert float(hits.double().mean()) == record.test_accuracy
    assert model.header is not None
    assert model.header.val_accuracy == record.val_accuracy
    assert model.header.split_digest == record.split
    assert model.header.params["lr"] == 0.01


def test_a_second_run_in_a_directory_writes_no_model_over(bpfree: Command, tmp_path: Path) -> None:
    train(bpfree, "mono-forward", "R")
    train(bpfree, "backprop", "R", "--seed", "1")
    train(bpfree, "backprop", "R", "--seed", "1")  # finished already: nothing new
    found = {path.name: load(path).algorithm.name for path in (tmp_path / "R").glob("model*.safetensors")}
    assert found == {"model.safetensors": "mono-forward", "model-2.safetensors": "backprop"}


def test_models_are_measured_against_each_other(bpfree: Command) -> None:
    train(bpfree, "forward-forward", "A", "--set", "inference=head")
    train(bpfree, "backprop", "B")
    files = ("A/model.safetensors", "B/model.safetensors")
    outcome = bpfree("measure", "inference", *files, "--all-readouts", "--repeats", "3", "--batch", "1", "--batch", "4", "--json")
    assert outcome.code == 0
    results = json.loads(outcome.out)["results"]
    seen = [(row["batch_size"], row["algorithm"], row["readout"]) for row in results]
    competitors = [("forward-forward", "inference=head"), ("forward-forward", "inference=goodness"), ("backprop", "output")]
    assert seen == [(size, *competitor) for size in (1, 4) for competitor in competitors]
    for row in results:
        assert row["latency_p50_s"] > 0
        assert row["net"] == "mlp:1x16"
        assert {key for key, value in row.items() if value is None} == row["reasons"].keys()
    assert json.loads(outcome.out)["environment"]["torch_threads"] >= 1


def test_the_table_names_the_models_and_says_why_something_is_missing(bpfree: Command) -> None:
    train(bpfree, "mono-forward", "A")
    train(bpfree, "mono-forward", "B", "--seed", "1")
    outcome = bpfree("measure", "inference", "A/model.safetensors", "B/model.safetensors", *QUICK)
    assert outcome.code == 0
    assert "1 example a call" in outcome.out
    assert "A/model" in outcome.out  # two of a kind are told apart by their files
    assert "B/model" in outcome.out
    assert "p95: 3 timed calls are too few" in " ".join(outcome.out.split())


def test_by_default_one_example_and_a_batch(bpfree: Command) -> None:
    train(bpfree, "backprop", "A")
    rows = json.loads(bpfree("measure", "inference", "A/model.safetensors", "--repeats", "2", "--json").out)["results"]
    assert [row["batch_size"] for row in rows] == [1, 128]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("absent.safetensors",), "absent.safetensors cannot be read as a model"),
        (("R/records.jsonl",), "cannot be read as a model"),
        (("R/model.safetensors", "--batch", "0"), "--batch must be at least 1, got 0"),
        (("R/model.safetensors", "--repeats", "-2"), "--repeats must be at least 1, got -2"),
        (("R/model.safetensors", "--batch", "1000000000000"), "choose a smaller one"),
        (("R/model.safetensors", "--device", "tpu"), "unknown device 'tpu'"),
        ((), "Missing argument 'models'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_file_or_number_is_one_line(bpfree: Command, options: tuple[str, ...], words: str) -> None:
    train(bpfree, "mono-forward", "R")
    outcome = bpfree("measure", "inference", *options)
    assert outcome.code == 2
    assert words.lower() in outcome.one_line().lower()
    assert outcome.out == ""
