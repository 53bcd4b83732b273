"""What a rule's docstring calls its known weakness, and a look at net and options can see, is said at the start with the cure."""

from __future__ import annotations

import re
import sys
import warnings

import pytest
import torch
from torch import nn

from bpfree.algorithms import Foton, KnownWeaknessWarning, make, names, on_net, registry, weaknesses_of
from bpfree.data import Dataset
from bpfree.nets import Chain, build, from_module
from bpfree.testing.bench import blobs
from bpfree.train import Patience, initialise, training

NOTHING_TO_SEE = {
    "backprop": "memory and parallelism: costs, which tables show",
    "deep-supervision": "memory: a cost",
    "sign-symmetry": "transport of signs: a property of the rule on every net",
    "spatial-goodness": "what squares forget: a property of the rule on every net",
    "frozen": "hidden blocks that learn nothing: what it is for",
    "blockwise": "memory against reach: a cost, which tables show",
}
"""Rules whose weakness is no matter of net and options, and why."""


def said(rule: str, net: Chain, batch_size: int | None = 64) -> list[str]:
    return list(weaknesses_of(make(*taken_apart(rule)), net, batch_size))


def taken_apart(rule: str) -> tuple[str, dict[str, str]]:
    name, *pairs = rule.split(":")
    return name, dict(pair.split("=", 1) for pair in pairs)


def mlp(spec: str, n_classes: int = 10) -> Chain:
    return build(f"mlp:{spec}", (1, 8, 8), n_classes)


def conv() -> Chain:
    return build("cnn3:4-4", (1, 8, 8), 10)


WEAK = [
    ("foton", mlp("50x12"), r"with ReLU .* within some 10 blocks \(this net has 50\) and ends at chance; use activation=tanh"),
    ("foton:optimiser=sgd", mlp("10x12"), "use activation=tanh"),
    ("foton:optimiser=adam", mlp("10x12:activation=tanh"), "steps of Adam add up over 10 blocks; use optimiser=by-depth"),
    ("pepita", mlp("4x8"), r"beyond 3 hidden blocks \(this net has 4\); use a net of at most 3"),
    ("feedback-alignment", mlp("6x8"), r"from 6 blocks on \(this net has 6\); use fewer blocks, or sign-symmetry"),
    ("feedback-alignment", conv(), "on convolutions, .*; use sign-symmetry"),
    ("direct-feedback-alignment", conv(), "fails to train convolutions .*; use dense blocks"),
    ("direct-feedback-alignment:target=labels", mlp("2x8"), "never sees how wrong the net is, .*; use a net with activation"),
    ("mono-forward", mlp("6x8"), "saturates with depth, .* the last of 6 blocks .*; use readout=best-prefix"),
    ("forward-forward", mlp("32-8"), r"the goodness of 8 units \(block 1\) .*; use at least 16 units, inference=head"),
    ("forward-forward", mlp("8"), r"the goodness of 8 units \(block 0\)"),
    ("forward-forward", mlp("2x32", 50), "takes 50 passes through the net, one per class; use inference=head"),
    ("cascaded-forward", build("mlp:2x8", (3, 8, 8), 10), "on natural images; use blocks=dfa"),
    ("cascaded-forward:predictor=ridge", mlp("16384"), "the ridge's sums of 16384 features take 1.* GB?.*; use predictor=cr"),
]  # fmt: skip

FINE = [
    ("foton", mlp("50x12:activation=tanh")),
    ("foton", mlp("9x12")),
    ("pepita", mlp("3x8")),
    ("feedback-alignment", mlp("5x8")),
    ("direct-feedback-alignment", mlp("50x8")),
    ("direct-feedback-alignment:target=labels", mlp("2x8:activation=tanh")),
    ("mono-forward", mlp("5x8")),
    ("mono-forward:readout=best-prefix", mlp("6x8")),
    ("forward-forward", mlp("8-16", 49)),
    ("forward-forward:inference=head", mlp("32-8", 50)),
    ("cascaded-forward", mlp("2x8")),
    ("cascaded-forward:blocks=dfa", build("mlp:2x8", (3, 8, 8), 10)),
    ("cascaded-forward", mlp("16384")),
    *((name, net) for name in NOTHING_TO_SEE for net in (mlp("50x8"), conv())),
]


@pytest.mark.parametrize(("rule", "net", "words"), WEAK)
def test_a_weakness_that_can_be_seen_is_one_line_with_the_cure(rule: str, net: Chain, words: str) -> None:
    (line,) = said(rule, net)
    assert re.search(words, line) and "; use " in line and "\n" not in line


@pytest.mark.parametrize(("rule", "net"), FINE)
def test_what_is_no_weakness_is_not_said(rule: str, net: Chain) -> None:
    assert said(rule, net) == []


@pytest.mark.parametrize(("batch_size", "n"), [(None, 0), (19, 1), (20, 0), (1, 1)])
def test_batches_that_leave_nothing_to_match(batch_size: int | None, n: int) -> None:
    lines = said("local-similarity", mlp("2x8"), batch_size)
    assert len(lines) == n
    assert not lines or (f"batches of {batch_size} " in lines[0] and "use --batch-size 20 or more" in lines[0])


def test_convolutions_inside_a_module_are_seen_too() -> None:
    inner = nn.Sequential(nn.Conv2d(1, 2, 3), nn.SiLU(), nn.Flatten())
    net = from_module(nn.Sequential(inner, nn.Linear(72, 10)), (1, 8, 8))
    assert "convolutions" in said("direct-feedback-alignment", net)[0]


@pytest.mark.parametrize("name", names())
def test_every_rule_that_names_a_weakness_is_asked_or_has_a_reason(name: str) -> None:
    rule = registry()[name]
    names_one = "Known weakness\n" in (sys.modules[rule.__module__].__doc__ or "")
    sees_one = any("_weaknesses" in vars(each) for each in rule.__mro__[:-2] if each.__module__ == rule.__module__)
    assert names_one
    assert sees_one != (name in NOTHING_TO_SEE)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return blobs(120).without_test()


def test_training_says_it_before_the_first_pass(data: Dataset) -> None:
    net = build("mlp:4x8", data.in_shape, data.n_classes)
    with pytest.warns(KnownWeaknessWarning, match="^pepita: learns little beyond 3 hidden blocks"):
        next(training(make("pepita"), net, data, Patience(None, 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        next(training(make("pepita"), build("mlp:3x8", data.in_shape, data.n_classes), data, Patience(None, 1)))


@pytest.mark.parametrize(
    ("given", "depth", "expected"),
    [
        ({}, 9, (3e-4, "adam", 1.0)),
        ({}, 10, (5e-3, "sgd", 10.0)),
        ({"lr": 1e-2}, 10, (1e-2, "sgd", 10.0)),
        ({"optimiser": "adam"}, 10, (3e-4, "adam", 10.0)),
        ({"optimiser": "sgd"}, 9, (3e-4, "sgd", 1.0)),
        ({"temperature": 2.0}, 10, (5e-3, "sgd", 2.0)),
        ({"lr": 1e-4, "optimiser": "rms", "temperature": 1.0}, 12, (1e-4, "rms", 1.0)),
    ],
)
def test_fotons_defaults_follow_the_depth(given: dict[str, object], depth: int, expected: tuple[float, str, float]) -> None:
    net = mlp(f"{depth}x12:activation=tanh")
    rule = Foton(**given)  # pyright: ignore[reportArgumentType]
    told = on_net(rule, net)
    assert isinstance(told, Foton)
    assert (told.lr, told.optimiser, told.temperature) == expected
    assert on_net(told, net) == told
    state = initialise(rule, net, 0)
    assert [float(each.lr) for each in state.optimisers()] == pytest.approx([expected[0]] * (depth + 1))
    assert {each.kind for each in state.optimisers()} == {"adam" if expected[1] == "adam" else "sgd"}
    assert float(state.hyper.temperature) == expected[2]


@pytest.mark.parametrize("name", [name for name in names() if name != "foton"])
def test_no_other_rule_has_defaults_that_follow_the_net(name: str) -> None:
    rule = make(name)
    assert on_net(rule, mlp("12x12")) is rule


def test_fotons_default_is_what_it_was_on_shallow_nets(data: Dataset) -> None:
    def trained(rule: Foton) -> list[torch.Tensor]:
        net = build("mlp:2x8", data.in_shape, data.n_classes)
        list(training(rule, net, data, Patience(None, 2)))
        return [parameter.detach() for parameter in net.parameters()]

    before = trained(Foton(lr=3e-4, optimiser="adam", temperature=1.0))
    assert all(torch.equal(one, other) for one, other in zip(trained(Foton()), before, strict=True))
