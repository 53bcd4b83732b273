"""Ranges that a rule of another package declares: hashed, searched, shown; and what has none is reported."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from bpfree import report, rulesets
from bpfree.bench import Arm, parse_arms
from bpfree.bench.declared import NotSearchedWarning, not_searched, search_space_of, warn_of_not_searched, with_declared
from bpfree.bench.spaces import space_for
from bpfree.cli import run
from bpfree.errors import UsageError
from bpfree.rulesets import Range, declared_ranges, digest

QUICK = rulesets.load("quick")

RULE = '''"""Tilted: backprop under another name."""
from dataclasses import dataclass
from typing import ClassVar
from bpfree.algorithms import Backprop, choice, number

@dataclass(frozen=True, kw_only=True)
class Tilted(Backprop):
    name: ClassVar[str] = "tilted"
    search_space: ClassVar = SPACE
    tilt: float = number(1.0, above=0.0, high=50.0)
    beta: float = number(0.5, low=0.0)
    kind: str = choice("flat", ("flat", "steep"))

ranges = {"tilt": (1.0, 2.0)}

def made():
    return {"beta": (0.25, 0.5)}
'''


def tilted(install: Any, space: str, spaces: dict[str, str] | None = None) -> None:
    points = {"bpfree.algorithms": {"tilted": "tilts:Tilted"}}
    install("tilts", RULE.replace("SPACE", space), points | ({"bpfree.search_spaces": spaces} if spaces else {}))


def arm(text: str) -> Arm:
    return Arm.parse(text)


def test_declared_ranges_join_the_digest_and_the_search(install: Any) -> None:
    tilted(install, '{"tilt": (0.5, 8), "weight_decay": None, "kind=steep": {"beta": (0.1, 1.0)}}')
    arms = parse_arms("backprop,tilted,tilted:kind=steep")
    rules = with_declared(QUICK, arms)
    assert (rules.name, QUICK.name) == ("quick+tilted", "quick")
    assert digest(rules) != digest(QUICK)
    assert digest(rules) == digest(QUICK.with_changes({"search.spaces": rules.search.spaces}))
    assert rules.search.spaces is not None
    assert rules.search.spaces["tilted"] == {"tilt": Range(low=0.5, high=8.0), "weight_decay": None}
    assert [sorted(space_for(rules, each)) for each in arms] == [["lr", "weight_decay"], ["lr", "tilt"], ["beta", "lr", "tilt"]]
    assert with_declared(rules, arms) == rules  # it names the rule now
    other = rules.with_changes({"search.spaces": {**rules.search.spaces, "tilted": {"tilt": Range(low=0.5, high=9.0)}}})
    assert digest(other) != digest(rules)


def test_rules_of_the_package_leave_every_digest_as_it_is(install: Any) -> None:
    tilted(install, '{"tilt": (0.5, 8.0)}', {"pepita": "tilts:ranges"})
    for name in rulesets.names():
        rules = rulesets.load(name)
        assert with_declared(rules, parse_arms("backprop,pepita")) is rules
    assert search_space_of("pepita") == {}


def test_a_ruleset_that_names_the_rule_has_the_last_word(install: Any) -> None:
    tilted(install, '{"tilt": (0.5, 8.0), "beta": (0.1, 1.0)}')
    spaces = {**(QUICK.search.spaces or {}), "tilted:kind=flat": {"tilt": Range(low=3.0, high=4.0)}}
    rules = QUICK.with_changes({"search.spaces": spaces})
    assert with_declared(rules, [arm("tilted")]) is rules
    assert not_searched(rules, arm("tilted")) == {"beta": 0.5}


@pytest.mark.parametrize(("point", "name"), [("tilts:ranges", "tilt"), ("tilts:made", "beta")])
def test_an_entry_point_gives_ranges_to_a_rule_without(install: Any, point: str, name: str) -> None:
    tilted(install, "{}", {"tilted": point})
    assert list(search_space_of("tilted")["tilted"]) == [name]


def test_the_class_goes_before_the_entry_point(install: Any) -> None:
    tilted(install, '{"beta": (0.1, 1.0)}', {"tilted": "tilts:ranges"})
    assert list(search_space_of("tilted")["tilted"]) == ["beta"]


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ('{"tilth": (0.5, 8.0)}', "has 'tilth', which is no number of it; its numbers: lr, weight_decay, momentum, tilt, beta"),
        ('{"tilt": (0.5, 80.0)}', "takes tilt to 80, but it must be a finite number above 0 and at most 50"),
        ('{"kind=slack": {"beta": (0.1, 1.0)}}', "is for 'kind=slack', which the rule cannot have"),
        ('{"tilt": (8.0, 0.5)}', "gives tilt the range (8.0, 0.5): the low end of a range must be below its high end"),
        ('{"tilt": 3.0}', "gives tilt the range 3.0; write"),
        ('{"kind=flat": (1.0, 2.0)}', "gives 'kind=flat' a tuple; write"),
        ("[1, 2]", "is a list; write"),
    ],
)
def test_a_wrong_space_is_one_line_that_names_the_package(install: Any, space: str, told: str) -> None:
    tilted(install, space)
    with pytest.raises(UsageError) as caught:
        with_declared(QUICK, [arm("tilted")])
    assert str(caught.value).startswith("the rule 'tilted' of tilts 1.2 (tilts:Tilted) cannot be searched (")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_has_no_range_is_not_searched_unless_the_arm_fixes_it(install: Any) -> None:
    tilted(install, '{"kind=steep": {"beta": (0.1, 1.0)}}')
    rules = with_declared(QUICK, [arm("tilted")])
    assert not_searched(rules, arm("tilted")) == {"tilt": 1.0}  # beta is not read where kind is flat: the rule says so
    assert not_searched(rules, arm("tilted:tilt=3")) == {}
    assert not_searched(QUICK, arm("tilted")) == {"tilt": 1.0, "beta": 0.5}
    assert not_searched(QUICK.with_changes(trials=0), arm("tilted")) == {}
    assert not_searched(QUICK, arm("forward-forward")) == {}

    def asked() -> None:
        warn_of_not_searched(rules, [arm("tilted")])

    with pytest.warns(NotSearchedWarning, match=r"tilted: tilt \(1\) will not be searched: the rule declares no range") as caught:
        line = sys._getframe().f_lineno + 1
        asked()
    assert (caught[0].filename, caught[0].lineno) == (__file__, line), "where the command was asked for"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_not_searched(rules, [arm("tilted:tilt=3"), arm("backprop")])


def test_a_comparison_searches_reports_and_warns(
    install: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tilted(install, '{"tilt": (0.5, 8.0)}')
    monkeypatch.chdir(tmp_path)
    small = ("--net", "mlp:1x8", "--trials", "1", "--seeds", "2", "--max-passes", "2", "--jobs", "1")
    assert run(["compare", "--arms", "backprop,tilted", "--out", "here", *small]) == 0
    assert "bpfree: warning: tilted: beta (0.5) will not be searched" in capsys.readouterr().err
    tuned = {row["arm"]: row for row in json.loads(Path("here/tuned.json").read_text())}
    assert tuned["tilted"]["space"]["tilt"] == "log-uniform 0.5 to 8"
    assert tuned["tilted"]["not_searched"] == {"beta": 0.5}
    assert "not_searched" not in tuned["backprop"]
    assert "tilted:" in Path("here/ruleset.yaml").read_text()
    summary = report.summarise([Path("here")])
    assert summary["ruleset"]["name"] == "quick+changed+tilted"
    assert "Of tilted, beta (0.5) was not searched: neither the rule nor the ruleset has a range." in summary["flags"]
    assert "log-uniform 0.5 to 8" in Path("here/report/index.html").read_text()


def test_declared_ranges_are_keyed_as_a_ruleset_keys_them() -> None:
    assert declared_ranges("r", {}) == {}
    assert declared_ranges("r", {"a=1:b=2": {"c": (1, 2)}}) == {"r:a=1:b=2": {"c": Range(low=1.0, high=2.0)}}
