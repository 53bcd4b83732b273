"""Entry points of other packages: rules, nets and data sets are listed, built and refused in one line that names the package."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from bpfree import algorithms, catalogue, data, nets
from bpfree.cli import run
from bpfree.errors import BpfreeError, UsageError

RULE = '''"""Tilted: backprop under another name.

References
----------
There is no paper.
"""
from dataclasses import dataclass
from typing import ClassVar
from bpfree.algorithms import Backprop, number

@dataclass(frozen=True, kw_only=True)
class Tilted(Backprop):
    name: ClassVar[str] = "tilted"
    search_space: ClassVar = {"tilt": (0.1, 10.0)}
    tilt: float = number(1.0, above=0.0)
'''
"""Its class is derived from one that is final to type checkers alone."""

UNBOUNDED = RULE.replace("number(1.0, above=0.0)", "1.0").replace('"tilted"', '"broken"')

NETS = '''from bpfree.nets import mlp
from torch import nn

def twice(in_shape, n_classes, width: int = 8, activation: str = "relu"):
    """Two hidden blocks of one width."""
    return mlp(in_shape, (width, width), n_classes, activation)

def plain(in_shape, n_classes):
    """A Sequential."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, n_classes))

def five(in_shape, n_classes):
    return mlp(in_shape, (4,), 5)

def raises(in_shape, n_classes):
    raise KeyError("width")

number = 3
'''

DATA = '''import numpy as np

def stripes(n: int = 60, noise: float = 0.0):
    """Stripes, across or along."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    return rng.normal(size=(n, 4)) * (1 + noise) + y[:, None], y

def nothing():
    return 7
'''


def line_of(call: Any, *arguments: Any) -> str:
    with pytest.raises(BpfreeError) as caught:
        call(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    return text


def listed(kind: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run(["list", kind, "--json"]) == 0
    return json.loads(capsys.readouterr().out)[kind]


def test_a_rule_is_listed_cited_and_made(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    install("tilts", RULE, {"bpfree.algorithms": {"tilted": "tilts:Tilted"}})
    catalogue.check_arm("tilted:anything=goes")  # its hyper-parameters are not known before it is loaded
    assert {"tilted", "backprop"} < set(algorithms.names())
    assert algorithms.registry()["tilted"] is algorithms.rule_class("tilted")
    assert algorithms.params(algorithms.make("tilted", {"tilt": "2"}))["tilt"] == 2.0
    words = listed("algorithms", capsys)["tilted"]
    assert words[:2] == ["Tilted: backprop under another name.", "from tilts 1.2"]
    assert "tilt = 1.0 (a finite number above 0)" in words
    assert words[-1] == "searched: tilt log-uniform 0.1 to 10"
    assert run(["cite", "tilted"]) == 0
    assert capsys.readouterr().out == "% There is no paper of tilted; cite its code: tilts of tilts 1.2\n"


def test_a_rule_cites_the_paper_of_its_class_and_is_told_where_it_has_none(
    install: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    paper = '    """T.\n\n    References\n    ----------\n    @misc{key,\n      title = {T}\n    }\n    """\n'
    code = RULE.replace("There is no paper.", "None.").replace("Tilted(Backprop):\n", f"Tilted(Backprop):\n{paper}")
    install("papers", code, {"bpfree.algorithms": {"tilted": "papers:Tilted"}})
    assert run(["cite", "tilted"]) == 0
    assert capsys.readouterr().out == "@misc{key,\n  title = {T}\n}\n"


def test_a_rule_without_references_is_told_to_write_them(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    install("mute", RULE.replace("There is no paper.", "None."), {"bpfree.algorithms": {"tilted": "mute:Tilted"}})
    assert run(["cite", "tilted"]) == 2
    assert "tilted has no BibTeX in its docstring (mute); add it under References, or write: There is no" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("code", "point", "told"),
    [
        ("import no_such_module_at_all", "bad:Rule", r"cannot be loaded \(ModuleNotFoundError: No module named 'no_such"),
        ("1 / 0", "bad:Rule", r"cannot be loaded \(ZeroDivisionError: division by zero\)"),
        ("x = 1", "bad:Rule", r"cannot be loaded \(AttributeError: module 'bad' has no attribute 'Rule'\)"),
        ("Rule = 'text'", "bad:Rule", "is a str, not a class derived from bpfree.algorithms.Algorithm"),
        ("class Rule: pass", "bad:Rule", "is Rule, not a class derived from"),
        ("from bpfree.algorithms import Algorithm as Rule", "bad:Rule", "does not implement init, learn, scores, traits"),
        ("raise SystemExit(3)", "bad:Rule", r"cannot be loaded \(SystemExit: 3\)"),
        (UNBOUNDED, "bad:Tilted", "has a field tilt without a range; declare it with number, natural, choice or flag"),
        (RULE, "bad:Tilted", "has name = 'tilted'; the entry point and the class must agree"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_one_line_and_stops_nothing_else(
    install: Any, capsys: pytest.CaptureFixture[str], code: str, point: str, told: str
) -> None:
    install("bad", code, {"bpfree.algorithms": {"broken": point}})
    wanted = rf"the rule 'broken' of bad 1\.2 \({re.escape(point)}\) {told}.*; update or uninstall that package"
    assert re.fullmatch(wanted, line_of(algorithms.make, "broken"))
    assert "broken" not in algorithms.registry()
    assert algorithms.make("backprop").name == "backprop"
    assert run(["cite", "frozen"]) == 0
    assert run(["train", "broken", "--max-passes", "1"]) == 2
    assert re.fullmatch(f"bpfree: {wanted}", capsys.readouterr().err.strip())
    assert re.fullmatch(wanted, listed("algorithms", capsys)["broken"][0])


def test_two_packages_contend_for_a_name(install: Any) -> None:
    for name in ("one", "other"):
        install(name, RULE, {"bpfree.algorithms": {"tilted": f"{name}:Tilted", "backprop": f"{name}:Tilted"}})
    told = line_of(algorithms.make, "tilted")
    assert told.startswith("the rule 'tilted' is declared twice, as ")
    assert "one:Tilted of one 1.2" in told and "other:Tilted of other 1.2" in told
    assert algorithms.make("backprop").name == "backprop"  # the package's own


def test_a_misspelt_name_is_offered_those_of_other_packages(install: Any) -> None:
    install("many", NETS, {"bpfree.nets": {"twice": "many:twice"}, "bpfree.datasets": {"stripes": "many:twice"}})
    assert "did you mean twice" in line_of(nets.build, "twce", (64,), 10)
    assert "did you mean twice" in line_of(catalogue.check_net, "twce")
    assert line_of(data.check_name, "strpes") == line_of(catalogue.check_dataset, "strpes")
    assert "did you mean stripes?" in line_of(data.load, "strpes")


def test_nets(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    points = {name: f"wide:{name}" for name in ("twice", "plain", "five", "raises", "number")}
    install("wide", NETS, {"bpfree.nets": points})
    for text in ("twice:width=3", "plain", "number"):
        catalogue.check_net(text)  # nothing is loaded
    net = nets.build("twice:width=3:activation=tanh", (64,), 10)
    assert [block.n_features for block in net] == [3, 3]
    assert net.spec == "twice:width=3:activation=tanh"
    assert nets.named("plain", (64,), 10).n_classes == 10
    found = listed("nets", capsys)
    assert found["twice"] == "Two hidden blocks of one width. (from wide 1.2)"
    assert found["mlp"] == nets.describe()["mlp"]
    for text, told in {
        "twice:depth=3": "the net 'twice:depth=3' has an unknown option 'depth'; known: width, activation",
        "twice:width=big": "the net 'twice:width=big': width must be a whole number, got 'big'",
        "twice:3": "the net 'twice:3' takes no '3'",
        "five": "the net of five takes (64,) and has 5 classes",
        "raises": "raised KeyError: 'width' (",
        "number": "the net 'number' of wide 1.2 (wide:number) is a int, not a function of (in_shape, n_classes); update",
    }.items():
        assert told in line_of(nets.build, text, (64,), 10)


def test_data_sets(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    install("sets", DATA, {"bpfree.datasets": {"stripes": "sets:stripes", "nothing": "sets:nothing", "gone": "sets:gone"}})
    catalogue.check_dataset("stripes:n=40")
    loaded = data.load("stripes:n=40:noise=0.5")
    assert (loaded.name, sum(map(loaded.n, loaded.splits)), loaded.n_classes) == ("stripes:n=40:noise=0.5", 40, 2)
    assert data.load_any("stripes").n("train") > loaded.n("train")
    assert listed("datasets", capsys)["stripes"] == "Stripes, across or along. (from sets 1.2)"
    for text, told in {
        "stripes:m=3": "the data set 'stripes:m=3' has an unknown option 'm'; known: n, noise",
        "nothing": "must return a bpfree Dataset or Table, a pair (x, y)",
        "gone": "the data set 'gone' of sets 1.2 (sets:gone) cannot be loaded (AttributeError",
    }.items():
        assert told in line_of(data.load, text)
    assert data.load("digits").name == "digits"
    with pytest.raises(UsageError, match="takes no options"):
        data.load("digits:n=4")
