"""Fields, weaknesses and painted labels by value: what is admitted, said and seen, each at its border."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from torch import nn

import bpfree.algorithms.forward_forward.passes as passes
from bpfree.algorithms import (
    Backprop,
    CascadedForward,
    KnownWeaknessWarning,
    Pepita,
    choice,
    flag,
    natural,
    number,
    readout_field,
    warn_of_weaknesses,
)
from bpfree.algorithms._weak import activations, has_convolutions
from bpfree.algorithms.forward_forward.overlay import blank_picture, labelled, neutral
from bpfree.algorithms.pepita.weak import depth_weakness
from bpfree.nets import Chain, ConvBlock, DenseBlock, mlp
from bpfree.testing.bench import ForeignBlock

NET = mlp((6,), (5, 4, 3), 4)
MIXED = Chain([DenseBlock((6,), 5), ForeignBlock((5,), 4)], 3)
FOREIGN = Chain([ForeignBlock((6,), 4)], 3)


class TestFields:
    @pytest.mark.parametrize(
        ("field", "words", "taken", "refused"),
        [
            (number(0.5, high=1.0), "a finite number at most 1", [-5, 1, 1.0], [1.001, math.nan, -math.inf, "1", True]),
            (number(0.5, above=0.5), "a finite number above 0.5", [0.501], [0.5, 0.4]),
            (number(0.5, low=0.5), "a finite number at least 0.5", [0.5, 7], [0.499]),
            (natural(3), "a whole number at least 1", [1, 10**9], [0, 1.0, True, "1"]),
            (natural(0, low=0), "a whole number at least 0", [0], [-1]),
            (choice("a", ("a", "b")), "one of a, b", ["a", "b"], ["c", 1, None]),
            (flag(True), "true or false", [True, False], [0, 1, "true"]),
        ],
    )
    def test_what_is_admitted(self, field: Any, words: str, taken: list[Any], refused: list[Any]) -> None:
        admitted = field.metadata["range"]
        assert admitted.words() == words
        assert [admitted.holds(value) for value in (*taken, *refused)] == len(taken) * [True] + len(refused) * [False]

    def test_what_text_stands_for(self) -> None:
        switch, count, rate = (field.metadata["range"] for field in (flag(True), natural(3), number(0.5)))
        texts = {"true": True, "YES": True, "1": True, "False": False, "no": False, "0": False, "2": None, "": None}
        assert {text: switch.read(text) for text in texts} == texts
        assert (count.read("7"), count.read("7.0"), rate.read("1e-3"), rate.read("x")) == (7, None, 1e-3, None)
        assert choice("a", ("a",)).metadata["range"].read("anything") == "anything"

    def test_the_field_that_says_how_classes_are_read_out(self) -> None:
        assert readout_field(Backprop()) is None
        assert readout_field(CascadedForward()) == ("combine", ("probabilities", "logits"))


class TestWeaknesses:
    def test_what_a_look_at_a_net_sees(self) -> None:
        both = Chain([ConvBlock((1, 4, 4), 2, activation="tanh"), DenseBlock((2, 4, 4), 3, "identity")], 3)
        assert [activations(net) for net in (NET, both, MIXED, FOREIGN)] == [{"relu"}, {"tanh", "identity"}, {"relu"}, set()]
        inner: list[nn.Module] = [nn.Conv1d(1, 1, 1), nn.Conv2d(1, 1, 1), nn.Conv3d(1, 1, 1), nn.Linear(1, 1)]
        assert [has_convolutions(nn.Sequential(part)) for part in inner] == [True, True, True, False]  # type: ignore[arg-type]
        assert [len(list(depth_weakness(n))) for n in (3, 4)] == [0, 1]

    def test_a_warning_names_the_caller_of_the_caller(self) -> None:
        names: dict[str, Any] = {"warn": warn_of_weaknesses}
        exec(compile("def inner(*given):\n    warn(*given)\n", "inner.py", "exec"), names)
        exec(compile("def outer(*given):\n    inner(*given)\n", "outer.py", "exec"), names)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            names["outer"](Pepita(), mlp((6,), (5, 5, 5, 5), 4))
        assert [(each.filename, each.category) for each in seen] == [("outer.py", KnownWeaknessWarning)]
        assert str(seen[0].message).startswith("pepita: learns little beyond 3 hidden blocks (this net has 4)")


class TestForwardForward:
    def test_labels_in_the_input(self) -> None:
        """Two classes: over the first two numbers of an image, behind those of a table."""
        image, table, y = torch.full((2, 1, 2, 2), 5.0), torch.full((2, 3), 5.0), torch.tensor([0, 1])
        assert labelled(image, y, 2).flatten(1).tolist() == [[1, 0, 5, 5], [0, 1, 5, 5]]
        assert labelled(table, y, 2).tolist() == [[5, 5, 5, 1, 0], [5, 5, 5, 0, 1]]
        torch.testing.assert_close(neutral(image, 2)[0].flatten(), torch.tensor([0.1, 0.1, 5, 5]))
        torch.testing.assert_close(neutral(table, 2)[0], torch.tensor([5, 5, 5, 0.1, 0.1]))
        for x in (image, table):
            rows = labelled(x, y, 2).flatten(1).double(), neutral(x, 2).flatten(1).double()
            scales = [1 / row.square().mean(1, keepdim=True).sqrt() for row in rows]
            for reads in (False, True):
                picture = blank_picture(x.double().clone(), 2, reads_neutral=reads)
                torch.testing.assert_close(picture.labelled, scales[0], rtol=1e-6, atol=0)
                assert (picture.neutral is not None) == reads
                if picture.neutral is not None:
                    torch.testing.assert_close(picture.neutral, scales[1], rtol=1e-6, atol=0)
                assert (picture.n_classes, picture.product) == (2, None)
                expected = [5.0, 5.0, 5.0] if x.dim() == 2 else [0.0, 0.0, 5.0, 5.0]
                assert picture.x[0].tolist() == expected

    def test_how_many_labels_are_tried_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The widest block has 5 float32: of 3 examples 60 bytes a label."""
        assert passes.ROWS_BYTES == 524_288
        net, x = mlp((6,), (5, 4), 7).eval(), torch.zeros(3, 6)
        for limit, at_once in ((59, 1), (60, 1), (119, 1), (120, 2), (419, 6), (420, 7), (4200, 7)):
            monkeypatch.setattr(passes, "ROWS_BYTES", limit)
            assert passes._labels_at_once(net, x) == at_once
        monkeypatch.setattr(passes, "ROWS_BYTES", 1)
        assert passes._labels_at_once(net.train(), x) == 7
        assert passes._labels_at_once(net.eval(), x.to("meta")) == 7
