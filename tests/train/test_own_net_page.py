"""The Python of docs/own-net.md runs as it stands there, in its order; a training takes two passes at most."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import bpfree
from bpfree.errors import UsageError
from bpfree.rulesets import Patience

PAGE = (Path(__file__).parents[2] / "docs" / "own-net.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SHOWN = re.findall(r"```\n(.*?)```", re.sub(r"```python\n.*?```", "", PAGE, flags=re.DOTALL), re.DOTALL)


@pytest.fixture(scope="module")
def ran() -> tuple[dict[str, Any], list[str]]:
    """Names after all snippets, and what each printed."""
    names: dict[str, Any] = {}
    printed: list[str] = []
    short = {"max_passes=40": "max_passes=2", "range(5)": "range(2)"}
    torch.manual_seed(0)
    for snippet in SNIPPETS:
        for long, quick in short.items():
            snippet = snippet.replace(long, quick)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(snippet, names)
        printed.append(out.getvalue())
    return names, printed


@pytest.mark.filterwarnings("ignore")
def test_the_snippets_run_and_print_what_the_page_shows(ran: tuple[dict[str, Any], list[str]]) -> None:
    names, printed = ran
    assert len(SNIPPETS) == 5
    assert printed[0] == SHOWN[0]
    assert names["result"].passes == 2
    assert [line.split()[0] for line in printed[3].splitlines()] == ["1", "2"]
    assert [line.split()[0] for line in printed[4].splitlines()] == ["0", "1"]


def test_the_refusal_is_the_one_that_the_page_shows(ran: tuple[dict[str, Any], list[str]]) -> None:
    with pytest.raises(UsageError) as caught:
        bpfree.nets.from_module(ran[0]["ResNet"](), (1, 8, 8), stages=["stem", "layer1", "pool", "head"])
    assert str(caught.value) == " ".join(SHOWN[1].split())


def test_the_loop_has_fewer_than_15_lines_and_trains_as_fit_does(ran: tuple[dict[str, Any], list[str]]) -> None:
    assert len([line for line in SNIPPETS[4].splitlines() if line]) < 15
    batches = list(ran[0]["loaders"][1]) * 2
    plain = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.Tanh(), torch.nn.Linear(8, 10))
    names = {"sequential": plain, "loaders": (batches, batches), "print": lambda *_: None}
    exec(SNIPPETS[4].replace("range(5)", "range(2)"), names)
    mine = [parameter.detach().clone() for parameter in plain.parameters()]
    net, rule = bpfree.nets.from_module(plain, (1, 8, 8)), bpfree.algorithms.MonoForward(lr=3e-3)
    stop = Patience(None, 2, restore_best=False)
    list(bpfree.training(rule, net, batches, stop, validation=batches))
    assert all(torch.equal(one, other) for one, other in zip(mine, plain.parameters(), strict=True))
