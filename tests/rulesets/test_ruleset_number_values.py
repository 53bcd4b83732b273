"""Numbers, ranges, splits, searches and stop rules by value: what each takes at its border, and what it stands for unnamed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

import bpfree.rulesets.ranges as ranges_module
from bpfree.errors import UnknownNameError
from bpfree.rulesets import Patience, Range, Watch, numbers
from bpfree.rulesets.ranges import known_spaces, named_spaces
from bpfree.rulesets.schema import FEWEST_STUDIES, SCHEMA_VERSION, whole_name
from bpfree.rulesets.search import MOST_TRIALS, Sampler, Search, _ranges, newest_25_full
from bpfree.rulesets.splits import Split, kind_of, standard_split, standard_splits
from bpfree.rulesets.stopping import improves, stop_in
from tests.rulesets.test_stopping import Stage

INF = math.inf


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        ("NonNegative", [0, 0.5, 7, "1e-4"], [-0.001, INF, math.nan, True, "x"]),
        ("Positive", [0.001, 0.5, 7], [0, -1, INF, math.nan, False]),
        ("Fraction", [0.001, 0.999], [0, 1, INF, math.nan]),
        ("Share", [0.001, 0.999, 1], [0, 1.001, INF, math.nan]),
        ("Count", [1, 2, "3", "+4", 5.0], [0, -1, 2.5, INF, math.nan, True]),
        ("Natural", [0, 1, "0"], [-1, 0.5, False]),
        ("Word", ["a", " a "], ["", " ", 1]),
    ],
)
def test_which_numbers_are_taken(name: str, taken: list[Any], refused: list[Any]) -> None:
    kind = TypeAdapter(getattr(numbers, name))
    for value in taken:
        assert kind.validate_python(value) == (float(value) if isinstance(value, str) and name != "Word" else value)
    for value in refused:
        with pytest.raises(ValidationError):
            kind.validate_python(value)


def test_numbers_as_they_are_written() -> None:
    read = {text: numbers.number(text) for text in ("3", " -4 ", "+5", "3.0", "1e2", "-0.0", "inf")}
    assert list(read.values()) == [3, -4, 5, 3.0, 100.0, 0.0, INF]
    assert [type(value) for value in read.values()] == [int, int, int, float, float, float, float]
    assert math.copysign(1, numbers.number(-0.0)) == math.copysign(1, read["-0.0"]) == 1  # type: ignore[arg-type]
    assert (numbers.number(0), numbers.number(2.5), numbers.number(None)) == (0, 2.5, None)
    assert type(numbers.number(0)) is int
    for value, told in ((True, "a number is needed, not true or false"), ("many", "a number is needed, not text")):
        with pytest.raises(ValueError, match=f"^{told}$"):
            numbers.number(value)


def test_constants() -> None:
    assert (MOST_TRIALS, FEWEST_STUDIES, SCHEMA_VERSION, ranges_module.EDGE) == (10_000, 5, 2, 0.05)


def test_an_edge_at_its_border(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of four doublings is one: 2 and 8 are not at the edge of 1 to 16."""
    monkeypatch.setattr(ranges_module, "EDGE", 0.25)
    wide = Range(low=1, high=16)
    assert [wide.at_edge(value) for value in (1.99, 2.0, 4.0, 8.0, 8.01)] == [True, False, False, False, True]
    assert str(Range(low=1e-4, high=0.5)) == "log-uniform 0.0001 to 0.5"


def test_spaces_by_name() -> None:
    assert known_spaces() == ["claim", "published", "standard"]
    with pytest.raises(UnknownNameError) as error:
        named_spaces("standart")
    assert str(error.value).startswith("unknown search spaces 'standart'; did you mean standard")
    assert _ranges({"*": {"lr": {"low": 1, "high": 2}, "wd": None}}) == {"*": {"lr": Range(low=1, high=2), "wd": None}}
    assert _ranges(named_spaces("standard")) == Search(trials=1).spaces == Search(trials=1, spaces="standard").spaces
    with pytest.raises(ValidationError, match="cannot read the key 'x:'"):
        Search(trials=1, spaces={"x:": {}})
    assert Search(trials=1, spaces=None).spaces is None


@pytest.mark.parametrize("name", ["studies", "trials"])
def test_most_trials(name: str) -> None:
    values = {"studies": 2, "trials": 2}
    assert getattr(Search(**(values | {name: 10_000})), name) == 10_000
    with pytest.raises(ValidationError):
        Search(**(values | {name: 10_001}))


def test_what_a_trial_is_chosen_by_and_what_a_group_needs() -> None:
    assert Search(trials=1).metric == "validation-accuracy"
    assert Search(trials=1, objective="best-balanced-accuracy").metric == "balanced-accuracy"
    assert [Sampler(group=group, multivariate=True).group for group in (False, True)] == [False, True]
    with pytest.raises(ValidationError, match="group: true needs multivariate: true"):
        Sampler(group=True)
    assert newest_25_full(0).tolist() == []
    assert newest_25_full(25).tolist() == 25 * [1.0]
    assert newest_25_full(27).tolist() == pytest.approx([1 / 27, 1.0] + 25 * [1.0])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"kind": "random", "validation": 1}, None),
        ({"kind": "random", "validation": 0}, "greater than 0"),
        ({"kind": "random", "validation": math.nan}, "greater than 0"),
        ({"kind": "random", "validation": INF}, "finite number"),
        ({"kind": "random", "validation": 1.0}, "validation must be a share below 1, or a whole number of examples, got 1"),
        ({"kind": "stratified", "validation": 0.5, "test": 0.25}, None),
        ({"kind": "stratified", "validation": 0.75, "test": 0.25}, "shares that leave something to train on"),
        ({"kind": "stratified", "validation": 1, "test": 0.25}, "shares that leave something to train on"),
        ({"kind": "stratified", "validation": 0.5}, "a stratified split draws the test set too"),
        ({"kind": "last", "validation": 5, "test": 0.25}, "a stratified split draws the test set too"),
        ({"kind": "last", "validation": 5, "more": 1}, "Extra inputs are not permitted"),
    ],
)
def test_splits(values: dict[str, Any], told: str | None) -> None:
    if told is None:
        assert Split.model_validate(values).model_dump(exclude_unset=True) == values
    else:
        with pytest.raises(ValidationError) as error:
            Split.model_validate(values)
        assert told in str(error.value)


def test_the_split_of_a_data_set() -> None:
    assert str(Split(kind="last", validation=0.125)) == "the last 12.5 % of training validate, official test"
    assert str(Split(kind="random", validation=1234)) == "a random 1,234 of training validate, official test"
    assert str(Split(kind="stratified", validation=0.15, test=0.125)) == "72.5/15/12.5 stratified"
    assert [kind_of(name) for name in ("mnist[x]", "a[1]:b[2]", "x[1].npz", "x.npz[30]")] == [
        "mnist[x]",
        "a[1]",
        "arrays",
        "arrays",
    ]
    assert [whole_name(name) for name in ("mnist[100]", "mnist[1][2]", "mnist")] == ["mnist", "mnist[1]", "mnist"]
    splits = {name: Split.model_validate(split) for name, split in standard_splits().items()}
    assert [standard_split(name) for name in ("mnist", "mnist[9]", "cifar10")] == [
        splits["mnist"], splits["mnist"], splits["cifar10"],
    ]  # fmt: skip
    assert standard_split("unheard-of") == standard_split("my.npz") == splits["arrays"] != splits["mnist"]


def test_a_stop_rule_that_names_the_least() -> None:
    least = Patience(3, 9)
    assert least == Patience(3, 9, 0.0, "validation-accuracy", True, False, None, None)
    assert Watch(4) == Watch(4, None, 0, 0)
    assert Patience(1, 1, own_cap=1) == Patience(patience=1, max_passes=1, own_cap=1)
    assert stop_in(least, Stage()) is least
    assert stop_in(lambda phase: Patience(phase.index + 1, 9), Stage(index=4)) == Patience(5, 9)
    assert improves(0.5, 0.25, "validation-accuracy")
    assert not improves(0.5, 0.5, "balanced-accuracy")
    assert (Patience(3, 9, own_cap=4).cap(2, 2), Patience(3, 9, own_cap=4).cap(7, 2), Patience(3, 9).cap(2, 2)) == (4, 2, 4)


def test_a_watch_counts() -> None:
    watch, stop, told = Watch(9), Patience(3, 9, min_delta=0.125), []
    for value in (math.nan, 0.5, 0.625, None, 0.75, 0.5):
        told.append((watch.see(value, stop), watch.best, watch.waited, watch.passes))
    assert told == [
        (False, None, 1, 1), (True, 0.5, 0, 2), (False, 0.5, 1, 3), (False, 0.5, 2, 4), (True, 0.75, 0, 5), (False, 0.75, 1, 6),
    ]  # fmt: skip
    assert watch.to_json() == {"cap": 9, "best": 0.75, "waited": 1, "passes": 6}
