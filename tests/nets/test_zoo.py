"""Nets by name: what ``--net`` takes and what it says to what it does not."""

from __future__ import annotations

import pytest

from bpfree.errors import UnknownNameError, UsageError
from bpfree.nets import build, describe, mlp, names


@pytest.mark.parametrize(
    ("spec", "widths"),
    [
        ("mlp:3x20", (20, 20, 20)),
        ("mlp:1x7", (7,)),
        ("mlp:12-8-5", (12, 8, 5)),
        ("mlp:9", (9,)),
    ],
)
def test_mlp_specs(spec: str, widths: tuple[int, ...]) -> None:
    net = build(spec, (2, 3), 4)
    assert tuple(block.n_features for block in net) == widths
    assert (net.in_shape, net.n_classes) == ((2, 3), 4)
    assert [p.shape for p in net.parameters()] == [p.shape for p in mlp((2, 3), widths, 4).parameters()]


def test_options_are_read() -> None:
    assert [block.activation for block in build("mlp:2x8:activation=tanh", (6,), 3)] == ["tanh", "tanh"]
    assert build("mlp:2x8", (6,), 3)[0].activation == "relu"


@pytest.mark.parametrize("spec", ["mlp:0x20", "mlp:3x0", "mlp:0", "mlp:8-0-8", "mlp:-3x5"])
def test_a_depth_or_width_below_one_is_refused(spec: str) -> None:
    with pytest.raises(UsageError, match=r"at least 1|cannot read"):
        build(spec, (6,), 3)


@pytest.mark.parametrize("spec", ["mlp", "mlp:", "mlp:x", "mlp:2x", "mlp:2x3x4", "mlp:wide", "mlp:2.5x8", "mlp:8--8", "mlp:8-"])
def test_words_that_cannot_be_read_show_how_to_write_them(spec: str) -> None:
    with pytest.raises(UsageError, match="mlp:3x2000"):
        build(spec, (6,), 3)


def test_an_unknown_family_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown net 'mpl'; did you mean mlp"):
        build("mpl:2x8", (6,), 3)


def test_unknown_and_malformed_options_are_refused() -> None:
    with pytest.raises(UsageError, match="activations"):
        build("mlp:2x8:activations=tanh", (6,), 3)
    with pytest.raises(UsageError, match="key=value"):
        build("mlp:2x8:tanh", (6,), 3)
    with pytest.raises(UnknownNameError, match="unknown activation 'tan'; did you mean tanh"):
        build("mlp:2x8:activation=tan", (6,), 3)


def test_every_family_has_a_line_of_help() -> None:
    assert set(describe()) == set(names())
    assert all(describe().values())
    assert "mlp" in names()
