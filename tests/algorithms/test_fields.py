"""Hyper-parameters: ranges, reading from text, and what is said of a wrong one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from bpfree.algorithms import MonoForward, choice, flag, make, names, natural, number, numeric, params, parse, registry
from bpfree.algorithms._fields import check
from bpfree.errors import UnknownNameError, UsageError


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One field of each kind."""

    rate: float = number(0.5, above=0.0, high=1.0)
    decay: float = number(0.0, low=0.0)
    free: float = number(0.0)
    blocks: int = natural(3, low=1, high=9)
    mode: str = choice("fast", ("fast", "slow"))
    loud: bool = flag(False)

    def __post_init__(self) -> None:
        check("rule", self)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 0.0}, "rule: rate must be a finite number above 0 and at most 1, got 0.0"),
        ({"rate": 1.5}, "rate must be a finite number above 0 and at most 1, got 1.5"),
        ({"rate": math.nan}, "rate must be a finite number above 0 and at most 1, got nan"),
        ({"rate": True}, "rate must be a finite number"),
        ({"rate": "0.5"}, "rate must be a finite number"),
        ({"rate": None}, "rate must be a finite number"),
        ({"decay": -1e-9}, "decay must be a finite number at least 0, got -1e-09"),
        ({"free": math.inf}, "free must be a finite number, got inf"),
        ({"blocks": 0}, "blocks must be a whole number at least 1 and at most 9, got 0"),
        ({"blocks": 2.0}, "blocks must be a whole number"),
        ({"blocks": True}, "blocks must be a whole number"),
        ({"mode": "medium"}, "mode must be one of fast, slow, got 'medium'"),
        ({"loud": 1}, "loud must be true or false, got 1"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as error:
        Rule(**values)  # type: ignore[arg-type]
    assert message in str(error.value)


def test_values_at_the_edge_are_taken() -> None:
    Rule(rate=1.0, decay=0.0, free=-1e300, blocks=9, mode="slow", loud=True)
    assert Rule(rate=1).rate == 1  # a whole number is a number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ({"rate": "3e-1"}, {"rate": 0.3}),
        ({"rate": 1}, {"rate": 1.0}),
        ({"blocks": "7"}, {"blocks": 7}),
        ({"mode": "slow"}, {"mode": "slow"}),
        ({"loud": "Yes"}, {"loud": True}),
        ({"loud": "0"}, {"loud": False}),
        ({"loud": True}, {"loud": True}),
    ],
)
def test_text_is_read(text: dict[str, str], value: dict[str, object]) -> None:
    parsed = parse("rule", Rule, text)
    assert parsed == value
    assert all(type(parsed[key]) is type(value[key]) for key in value)
    Rule(**parsed)


@pytest.mark.parametrize("text", [{"rate": "fast"}, {"blocks": "2.5"}, {"loud": "perhaps"}, {"blocks": ""}])
def test_text_that_stands_for_nothing_is_refused(text: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"must be .*, got"):
        parse("rule", Rule, text)


def test_an_unknown_hyper_parameter_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown hyper-parameter of rule 'rates'; did you mean rate"):
        parse("rule", Rule, {"rates": "1"})


@pytest.mark.parametrize("lr", [0, -1, math.nan, math.inf])
def test_learning_rates_of_every_rule_are_checked(lr: float) -> None:
    for name in names():
        if name == "foton" and lr == 0:
            continue  # its learning rate follows the depth
        least = "at least 0" if name == "foton" else "above 0"
        with pytest.raises(UsageError, match=f"{name}: lr must be a finite number {least}"):
            make(name, {"lr": lr})


def test_rules_are_made_by_name() -> None:
    assert make("mono-forward", {"lr": "1e-2", "schedule": "staged"}) == MonoForward(lr=1e-2, schedule="staged")
    assert {"backprop", "forward-forward", "mono-forward"} <= set(names())
    assert all(registry()[name].name == name for name in names())
    with pytest.raises(UnknownNameError, match="unknown algorithm 'mono-foward'; did you mean mono-forward"):
        make("mono-foward")


def test_numeric_and_structural_hyper_parameters_are_told_apart() -> None:
    rule = MonoForward(lr=1)  # a whole number for a float stays numeric
    assert numeric(rule) == {"lr": 1.0, "weight_decay": 0.0, "momentum": 0.9}
    assert set(params(rule)) >= {*numeric(rule), "optimiser", "maths", "schedule", "readout"}
