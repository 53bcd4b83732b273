"""Models as minima: names, starts, pairs, and what has no landscape in common."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from bpfree.algorithms import Backprop, MonoForward
from bpfree.analysis import Minimum, check_together, read_minima
from bpfree.analysis.minima import line_pairs, redrawn, together
from bpfree.data import Dataset
from bpfree.errors import DataError, UsageError
from bpfree.models import Model, save
from bpfree.nets import mlp
from bpfree.train import initialise


def test_names_and_facts(model_files: dict[str, Path]) -> None:
    minima = read_minima(list(model_files.values()))
    assert [minimum.name for minimum in minima] == [
        "backprop, seed 0", "backprop, seed 1", "mono-forward, seed 0", "mono-forward, seed 1",
    ]  # fmt: skip
    facts = minima[2].facts()
    assert (facts["label"], facts["seed"], facts["val_accuracy"], facts["descends"]) == ("mono-forward", 0, 0.5, False)
    assert minima[0].descends
    assert len({minimum.digest for minimum in minima}) == 4


def test_labels_name_what_differs() -> None:
    """Choices always, numbers only where two models of one rule differ in them."""
    from bpfree.analysis.minima import _labels

    net = mlp(6, (4,), 3)

    def model(rule: Any) -> Model:
        return Model(rule, net, initialise(rule, net, 0), rule.phases(net)[0])

    rules = [Backprop(lr=0.5), MonoForward(lr=0.5), MonoForward(schedule="staged"), Backprop(lr=0.5)]
    assert _labels([model(rule) for rule in rules]) == [
        "backprop", "mono-forward:lr=0.5", "mono-forward:schedule=staged", "backprop",
    ]  # fmt: skip


def test_the_start_is_what_training_draws(model_files: dict[str, Path], digits: Dataset) -> None:
    minimum = read_minima([model_files["mono-forward-1"]])[0]
    start = redrawn(minimum)
    assert start is not None
    net = mlp(digits.in_shape, (4, 4), 10)
    initialise(minimum.model.algorithm, net, 1)
    for drawn, expected, trained in zip(start.net.parameters(), net.parameters(), minimum.model.net.parameters(), strict=True):
        assert torch.equal(drawn, expected)
        if drawn.any():  # biases start at zero, and that of the output stays
            assert not torch.equal(drawn, trained)
    assert redrawn(dataclasses.replace(minimum, seed=None)) is None


def minimum(label: str, seed: int | None) -> Minimum:
    return Minimum(None, label, seed, f"{label}-{seed}", "")  # type: ignore[arg-type]  # the model is not read


def names(minima: list[Minimum]) -> list[tuple[str, str, str]]:
    return [(kind, first.file, last.file) for kind, first, last in line_pairs(minima)]


def test_pairs_of_three_seeds() -> None:
    """The rival at the same seed, and everyone at the next one; the last seed is followed by the first."""
    minima = [minimum(label, seed) for label in ("bp", "mf") for seed in (0, 1, 4)]
    assert names(minima) == [
        ("other start", "bp-0", "bp-1"), ("other start", "bp-1", "bp-4"), ("other start", "bp-4", "bp-0"),
        ("same start", "bp-0", "mf-0"), ("same start", "bp-1", "mf-1"), ("same start", "bp-4", "mf-4"),
        ("other start", "bp-0", "mf-1"), ("other start", "bp-1", "mf-4"), ("other start", "bp-4", "mf-0"),
    ]  # fmt: skip


def test_pairs_of_few() -> None:
    two = [minimum(label, seed) for label in ("bp", "mf") for seed in (0, 1)]
    assert names(two) == [
        ("other start", "bp-0", "bp-1"), ("same start", "bp-0", "mf-0"), ("same start", "bp-1", "mf-1"),
        ("other start", "bp-0", "mf-1"),
    ]  # fmt: skip
    assert names([minimum("bp", 3), minimum("mf", 3)]) == [("same start", "bp-3", "mf-3")]
    assert names([minimum("bp", None), minimum("mf", None)]) == [("other start", "bp-None", "mf-None")]
    assert names([minimum("bp", 0)]) == []
    assert together([minimum("bp", None), minimum("mf", 2)]) == {"mf": {2: minimum("mf", 2)}}


def test_what_is_refused(model_files: dict[str, Path], digits: Dataset, tmp_path: Path) -> None:
    first, second = read_minima([model_files["backprop-0"], model_files["backprop-1"]])
    check_together([first, second], digits)

    def changed(**fields: Any) -> Minimum:
        assert second.model.header is not None
        return dataclasses.replace(
            second, model=dataclasses.replace(second.model, header=second.model.header.model_copy(update=fields))
        )

    for fields, words in (
        ({"net": "mlp:2x9"}, r"their nets differ: .*backprop-0.* has mlp:4-4, .*backprop-1.* has mlp:2x9; leave one"),
        ({"dataset": "mnist"}, "their data differ: .* has digits, .* has mnist"),
        ({"split_digest": "f" * 64}, "their splits differ: .* has ffffffffffff"),
        ({"dtype": "float64"}, "their number formats differ"),
        ({"split_digest": None}, "does not say which split it was trained on; train it with bpfree train"),
    ):
        with pytest.raises(DataError, match=words):
            check_together([first, changed(**fields)])
    with pytest.raises(DataError, match=r"was trained on digits, split .*, but the data given are digits\[100\], split"):
        check_together([first, second], digits.limited(100))
    with pytest.raises(UsageError, match=r"are both backprop, seed 0; give models of other seeds or rules"):
        read_minima([model_files["backprop-0"]] * 2)
    for name in ("one", "two"):  # as earlier versions wrote them
        model = first.model
        save(tmp_path / name, model.algorithm, model.net, model.state, spec="mlp:4-4", data=digits)
    with pytest.raises(UsageError, match=r"one and .*two are both backprop, and do not say the seed .*; train one of them again"):
        read_minima([tmp_path / "one", tmp_path / "two"])
    with pytest.raises(UsageError, match="at least one model"):
        read_minima([])
