"""From a ruleset and data to a setting: how data are loaded and split, what torch is told, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from bpfree import data, rulesets
from bpfree.bench import preparation
from bpfree.errors import BpfreeError
from bpfree.meter import Meter

ANY: Any = None
CPU = torch.device("cpu")
QUICK = rulesets.load("quick")
SMALL = data.load("synthetic:n=300:inputs=4:classes=3")


def refusal(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(BpfreeError) as error:
        call(*arguments, **named)
    return str(error.value)


class Notes:
    """Stands for functions of a module, and writes down with what they are called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, *names: str) -> None:
        self.made: list[Any] = []
        for name in names:
            monkeypatch.setattr(module, name, lambda *args, name=name, **named: self.made.append((name, *args, *named.items())))


def test_data_are_loaded_as_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve files were skipped, of which ten are named; torch is set for the parameters of the net, 3 x 4 + 4 + 4 x 3 + 3."""
    asked: list[Any] = []
    loaded = dataclasses.replace(
        data.load("synthetic:n=300:inputs=3:classes=3"), name="synthetic", skipped=tuple(f"file {k}" for k in range(12))
    )

    def load_any(source: Any, **named: Any) -> data.Dataset:
        asked.append((source, named["split_seed"], named["channels"], named["download"], named["data_dir"]))
        return loaded

    monkeypatch.setattr(preparation.data, "load_any", load_any)
    notes = Notes(monkeypatch, preparation.environment, "configure_torch")
    source = "synthetic:n=300:inputs=3:classes=3"
    made = preparation.prepare(QUICK, source, "mlp:1x4", CPU)
    assert made.plan["skipped"] == {"examples": 12, "first": [f"file {k}" for k in range(10)]}
    assert notes.made == [("configure_torch", 16 + 15, QUICK.batch_size, CPU)]
    meter = Meter(CPU)
    again = preparation.prepare(QUICK, source, "mlp:1x4", CPU, channels="grey", download=False, data_dir=Path("d"), meter=meter)
    assert again.meter is meter
    assert asked == [(source, 0, "auto", True, None), (source, 0, "grey", False, Path("d"))]
    several = QUICK.with_changes({"plan.split_seeds": [0, 1]})
    assert refusal(preparation.other_splits, dataclasses.replace(made, ruleset=several), source) == (
        "synthetic comes with its own splits, which no seed changes; use one split seed"
    )
    assert asked[2:] == [(source, 1, "auto", True, None)]
    assert "larger than the training split" in refusal(
        preparation.prepare, QUICK.with_changes(batch_size=10**4), source, "mlp:1x4", CPU
    )
    assert preparation.prepare.__kwdefaults__["estimate"] is False


@pytest.mark.parametrize("error", [RuntimeError("no"), MemoryError(), OverflowError()])
def test_a_net_that_does_not_fit(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def huge(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(preparation.nets, "named", huge)
    assert refusal(preparation._build, "mlp:1x4", SMALL).startswith("the net 'mlp:1x4' cannot be built on synthetic")


def test_a_misspelt_data_set_is_told_before_its_split() -> None:
    assert refusal(preparation._split, QUICK, "minst").startswith("unknown data set 'minst'; did you mean mnist")
    assert preparation._split(QUICK, "mnist") == QUICK.split_for("mnist")


def test_arrays_tables_functions_and_files_are_split_as_arrays(tmp_path: Path) -> None:
    arrays = QUICK.split_for("arrays")
    assert arrays != QUICK.split_for("digits")
    sources: list[Any] = [
        data.load("digits"), data.Table("x.csv", "y"), lambda: None, (torch.zeros(3, 2), torch.zeros(3)), "x.npz", Path("x.csv"),
        data.Files("x.npz"), tmp_path,
    ]  # fmt: skip
    assert [preparation._split(QUICK, source) for source in sources] == [arrays] * len(sources)
    assert preparation._split(QUICK, data.Files("mnist")) == preparation._split(QUICK, "mnist") == QUICK.split_for("mnist")
