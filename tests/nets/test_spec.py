"""The grammar of nets, family by family: every piece is used, or refused by name; none is passed over."""

from __future__ import annotations

import pytest

from bpfree.errors import BpfreeError, UsageError
from bpfree.nets import build, names
from bpfree.nets.patches import patches

PLAIN = {name: name for name in names()} | {"mlp": "mlp:2x8"}
WITH_WORDS = {"cnn3": "4-4", "mf-cnn4": "4-4", "mlp": "8-4", "patches": "4-8", "pepita-conv": "4", "resnet8": "4"}
"""Families that take words, with some."""

OPTIONS = {
    "activation": ("tanh", "identity"),
    "pool": ("max", "average"),
    "overlap": ("0", "1"),
    "patch": ("4", "7"),
    "depth": ("1", "2"),
    "width": ("8", "16"),
    "heads": ("1", "2"),
    "kernel": ("3", "5"),
    "bias": ("true", "false"),
    "norm": ("true", "false"),
    "stride": ("1", "2"),
}
"""Options that some family has or that a user may think of, with two values that differ."""


def described(spec: str) -> str:
    """Everything that a spec decides: blocks with their parts, shapes and plans."""
    net = build(spec, (1, 28, 28), 10)
    words = [f"{block!r} {block.in_shape} {block.out_shape} {getattr(block, 'plan', '')}" for block in net]
    return " ".join([*words, *(getattr(part, "activation", "") for part in net.modules()), *_heads(net)])


def _heads(net) -> list[str]:
    return [str(part.heads) for part in net.modules() if hasattr(part, "heads")]


@pytest.mark.parametrize("family", names())
@pytest.mark.parametrize("key", OPTIONS)
def test_an_option_changes_the_net_or_is_refused(family: str, key: str) -> None:
    specs = [f"{PLAIN[family]}:{key}={value}" for value in OPTIONS[key]]
    try:
        one, other = (described(spec) for spec in specs)
    except BpfreeError as error:
        assert key in str(error) or "too small" in str(error)
    else:
        assert one != other


@pytest.mark.parametrize("family", names())
def test_words_change_the_net_or_are_refused(family: str) -> None:
    if family in WITH_WORDS:
        assert described(f"{family}:{WITH_WORDS[family]}") != described(PLAIN[family])
    else:
        with pytest.raises(UsageError, match="takes no '4-4'"):
            build(f"{family}:4-4", (1, 28, 28), 10)


@pytest.mark.parametrize("family", ["pepita-conv", "resnet8"])
def test_one_width_is_one_width(family: str) -> None:
    with pytest.raises(UsageError, match=rf"the net '{family}:8-16' takes one width, got 2; write {family} or {family}:8"):
        build(f"{family}:8-16", (1, 28, 28), 10)


@pytest.mark.parametrize("family", names())
def test_a_colon_with_nothing_behind_it_is_refused(family: str) -> None:
    for spec in (f"{PLAIN[family]}:", f"{PLAIN[family]}::activation=tanh", f"{family}::8"):
        with pytest.raises(UsageError, match="nothing behind a colon"):
            build(spec, (1, 28, 28), 10)


@pytest.mark.parametrize("family", names())
def test_an_option_that_is_given_twice_is_refused(family: str) -> None:
    with pytest.raises(UsageError, match="gives activation twice, 'tanh' and 'relu'; give it once"):
        build(f"{PLAIN[family]}:activation=tanh:activation=relu", (1, 28, 28), 10)


def test_patches_need_a_convolution_and_a_dense_block() -> None:
    with pytest.raises(UsageError, match="got 8; write patches:48-192-512"):
        build("patches:8", (1, 28, 28), 10)
    with pytest.raises(UsageError, match="2 convolutions of patches need as many strides, got 1"):
        patches((1, 28, 28), (4, 4, 8), 10, strides=(4,))
