"""The line of facts below the title of a page, with singular and plural."""

from __future__ import annotations

from typing import Any

import pytest

from bpfree import report

pytestmark = pytest.mark.usefixtures("no_charts")


@pytest.mark.parametrize(
    ("arms", "seeds", "facts"),
    [
        (("backprop",), (0,), ("1 arm", "1 measured run")),
        (("backprop", "mono-forward"), (0,), ("2 arms", "2 measured runs")),
        (("backprop", "mono-forward", "forward-forward"), (0, 1), ("3 arms", "6 measured runs")),
    ],
)
def test_how_many_arms_and_runs(runs: Any, arms: tuple[str, ...], seeds: tuple[int, ...], facts: tuple[str, str]) -> None:
    page = report.build([runs(records=runs.grid(arms, seeds))]).page.read_text()
    for fact in facts:
        assert f"<li>{fact}</li>" in page
