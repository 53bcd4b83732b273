"""The line of facts below the title of a page, with singular and plural."""

from __future__ import annotations

import html
from typing import Any

import pytest

from bpfree import report, rulesets

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


def test_the_rules_in_words_are_on_the_page_and_in_the_summary(runs: Any) -> None:
    paths = report.build([runs(records=runs.grid(("backprop",), (0,)))])
    page, summary = html.unescape(paths.page.read_text()), paths.markdown.read_text()
    words = rulesets.in_words(runs.ruleset)
    assert len(words) > 5
    assert [line for line in words if line not in page or f"- {line}\n" not in summary] == []
