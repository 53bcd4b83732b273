"""Ever narrower nets of one family."""

from __future__ import annotations

import pytest

from bpfree.nets import Chain, build
from bpfree.planning.narrower import narrower


def of(spec: str, in_shape: tuple[int, ...]) -> list[str]:
    def made(text: str) -> Chain:
        return build(text, in_shape, 10)

    return list(narrower(spec, made))


@pytest.mark.parametrize(
    ("spec", "in_shape", "expected"),
    [
        ("mlp:3x20", (6,), ["mlp:3x10", "mlp:3x5", "mlp:3x4"]),
        ("mlp:16-8:activation=tanh", (6,), ["mlp:8-4:activation=tanh", "mlp:4-4:activation=tanh"]),
        ("cnn3:8-16-32", (3, 8, 8), ["cnn3:4-8-16", "cnn3:4-4-8", "cnn3:4-4-4"]),
        ("mixer:depth=1:width=16", (3, 8, 8), ["mixer:depth=1:width=8", "mixer:depth=1:width=4"]),
        ("mlp:2x3", (6,), []),
        ("lenet5", (1, 28, 28), []),
    ],
)
def test_widths_are_halved_down_to_the_least(spec: str, in_shape: tuple[int, ...], expected: list[str]) -> None:
    assert of(spec, in_shape) == expected


def test_widths_that_a_family_has_by_itself_are_written_out() -> None:
    assert of("mf-cnn4", (3, 32, 32))[0] == "mf-cnn4:32-64-128-256"
    assert of("mixer", (3, 8, 8))[0].startswith("mixer:width=")
