"""Everything that a rule declares, by value: options and their ranges, traits, phases, upkeep, weaknesses, and costs by formula.

Multiply-adds are those counted, on nets of unequal widths. Of memory the contract compares the greatest moment with the count;
the others, and all that is no number, stand in ``declared.txt`` as they were when it was stored. After a change of a rule, read
the difference of what this command writes::

    python -m tests.algorithms.test_declared_values
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bpfree.algorithms import Algorithm, NotOrthogonalWarning, Phase, check_net, cost_of, make, names, registry, weaknesses_of
from bpfree.bench.cost_table import step_macs
from bpfree.bench.counting import end_of_pass_flops, evaluation_flops, step_flops
from bpfree.errors import UsageError
from bpfree.nets import Chain, ConvBlock, DenseBlock, mlp
from bpfree.testing.bench import ForeignBlock, RuleOnNet

STORED = Path(__file__).with_name("declared.txt")
N = 7
"""Examples of a batch."""

CASES: dict[str, tuple[str, ...]] = {
    "backprop": (
        "", "checkpoint_every=1", "checkpoint_every=2", "checkpoint_every=2:update=in-sweep", "update=in-sweep",
        "orthogonal=kept", "maths=autograd", "maths=closed",
    ),
    "blockwise": ("", "reach=1", "reach=3", "maths=autograd"),
    "cascaded-forward": (
        "", "blocks=dfa", "blocks=dfa:block_passes=3:predictors=staged", "blocks=dfa:maths=autograd:cache_features=true",
        "predictor=ridge", "predictor=ridge:sums=float64", "predictor=sparsemax:predictors=staged", "cache_features=true",
        "cache_features=true:predictor=ridge:predictors=staged",
    ),
    "deep-supervision": ("", "readout=sum", "output=own", "output=own:readout=sum"),
    "direct-feedback-alignment": ("", "target=labels"),
    "feedback-alignment": ("", "maths=autograd"),
    "forward-forward": (
        "", "inference=head", "goodness_blocks=all", "goodness_blocks=all:inference=head", "negatives=hard",
        "negatives=hard:inference=head", "negatives=hybrid:inference=head", "maths=autograd", "maths=autograd:inference=head",
    ),
    "foton": (
        "", "memory=low", "output=orthonormal", "orthogonalise_by=newton-schulz:orthogonalise_steps=2:refresh_every=4",
        "orthogonalise_by=svd:optimiser=adam", "orthogonalise_by=none",
    ),
    "frozen": ("", "readout=all", "cache_features=false", "cache_features=false:readout=all"),
    "local-similarity": ("", "similarity_map=none", "readout=sum"),
    "mono-forward": (
        "", "schedule=staged", "readout=sum", "readout=best-prefix", "raw_projection=true", "schedule=staged:readout=sum",
        "raw_projection=true:schedule=staged:readout=best-prefix", "chunk=3", "chunk=3:schedule=staged",
    ),
    "pepita": (
        "", "dropout=0", "presynaptic=mixed", "presynaptic=standard", "mirroring=true", "mirroring=true:premirror_steps=0",
    ),
    "sign-symmetry": ("", "variant=brsf", "variant=frsf", "maths=autograd"),
    "spatial-goodness": ("", "readout=last"),
}  # fmt: skip
"""Options of each rule that change what it declares; "" is the plain rule."""


def nets() -> dict[str, Chain]:
    """Small nets whose sizes are all different."""
    normed = ConvBlock((3, 8, 8), 2, 3, pool="max", norm=True)
    bare = ConvBlock((1, 9, 9), 3, 4, "tanh", padding=0, bias=False)
    return {
        "table": mlp((9,), (8, 6, 5), 4),
        "picture": mlp((2, 5), (7,), 3, "tanh"),
        "normed": Chain([normed, DenseBlock(normed.out_shape, 11)], 3),
        "maps": Chain([bare, DenseBlock(bare.out_shape, 10, "tanh", bias=False)], 3),
        "module": Chain([DenseBlock((12,), 11), ForeignBlock((11,), 9)], 3),
        "deep": mlp((20,), (19, 18, 17, 16, 15, 14, 13, 12, 11, 10), 50),
    }


NETS = nets()


def rule_of(name: str, options: str) -> Algorithm:
    return make(name, dict(option.split("=", 1) for option in options.split(":") if option))


def ranges(name: str) -> Iterator[str]:
    """A line for each hyper-parameter: its default, and what is admitted."""
    for field in dataclasses.fields(registry()[name]):
        admitted = field.metadata["range"]
        values = {each.name: getattr(admitted, each.name) for each in dataclasses.fields(admitted)}
        values["kind"] = admitted.kind.__name__
        changed = {key: value for key, value in values.items() if value not in ((), False) and abs(_size(value)) != math.inf}
        yield f"    {field.name} = {field.default!r}: " + ", ".join(f"{key} {value}" for key, value in changed.items())


def _size(value: Any) -> float:
    return value if isinstance(value, int | float) else 0.0


def shown(value: Any) -> str:
    """A data class on one line, without the names of its fields."""
    return ", ".join(str(getattr(value, field.name)) for field in dataclasses.fields(value))


def declared(rule: Algorithm, net: Chain) -> Iterator[str]:
    try:
        check_net(rule, net)
    except UsageError as error:
        yield f"    refused: {error}"
        return
    yield f"    traits {shown(rule.traits(net))}"
    yield from (f"    weak: {line}" for line in weaknesses_of(rule, net, N))
    for work in rule.upkeep():
        yield f"    upkeep {work.name}: every {work.every}, before {work.before}, apart {work.apart}"
    for phase in rule.phases(net):
        yield f"    phase {shown(phase)}"
        for cached in (False, True)[: 1 + (phase.frozen > 0)]:
            yield from _cost(rule, net, dataclasses.replace(phase, cached=cached))


def _cost(rule: Algorithm, net: Chain, phase: Phase) -> Iterator[str]:
    cost = cost_of(rule, net, N, phase)
    if cost is None:
        yield "        no cost"
        return
    if phase.cached:  # of others see test_multiply_adds_are_those_counted
        yield f"        cached: learn {cost.learn}, evaluation {cost.evaluation}, close {cost.close}"
    if cost.upkeep:
        yield "        upkeep " + ", ".join(f"{name} {macs}" for name, macs in cost.upkeep.items())
    if cost.moments:
        yield "        moments " + " ".join(f"{gradients}+{rest}" for gradients, rest in cost.moments)


def text() -> str:
    lines = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotOrthogonalWarning)
        for name, cases in CASES.items():
            lines += [name, *ranges(name)]
            for options in cases:
                for kind, net in NETS.items():
                    if options == "" or kind in ("table", "normed", "maps"):
                        lines += [f"{name} {options or 'plain'} on {kind}", *declared(rule_of(name, options), net)]
    return "\n".join(lines) + "\n"


def test_what_every_rule_declares() -> None:
    assert text().splitlines() == STORED.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore::bpfree.algorithms.NotOrthogonalWarning")
def test_multiply_adds_are_those_counted(name: str) -> None:
    """To the last one; that of a third of a cube, rounded down for each block, but for those."""
    for options, kind in itertools.product(CASES[name], ("table", "normed", "maps")):
        rule, net = rule_of(name, options), NETS[kind]
        if any(line.startswith("    refused") for line in declared(rule, net)):
            continue
        bench = RuleOnNet.start(rule, net)
        batch = bench.batch(N)
        for phase in bench.phases:
            cost, given = cost_of(rule, net, N, phase), (rule, bench.net, bench.state, batch, phase)
            assert cost is not None
            step = step_macs(rule, cost)
            if step is not None:
                assert 2 * step == step_flops(*given), (options, kind, phase.name)
            if cost.evaluation is not None:
                assert 2 * cost.evaluation == evaluation_flops(*given), (options, kind, phase.name)
            assert 2 * (cost.close or 0) == pytest.approx(end_of_pass_flops(*given) or 0, abs=2), (options, kind, phase.name)


def test_every_rule_is_asked() -> None:
    assert set(CASES) == {name for name in names() if registry()[name].__module__.startswith("bpfree.")}


if __name__ == "__main__":
    STORED.write_text(text(), encoding="utf-8")
