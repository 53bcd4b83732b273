"""The published difference to backprop in the table of a suite, beside nothing that was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bpfree.report.beside import SuiteFacts
from bpfree.report.published import build_suite
from tests.report.test_report_beside import FACTS, row


@pytest.mark.parametrize(
    ("published", "text"),
    [
        ({"difference": 0.0125}, "+1.25 / –"),
        ({"difference": -0.02, "difference_interval": (-0.03, -0.01)}, "−2.00 [−3.00, −1.00] / –"),
        ({"difference": 0.0}, "0.00 / –"),
    ],
)
def test_where_there_is_one(tmp_path: Path, published: dict[str, Any], text: str) -> None:
    summary = build_suite(SuiteFacts(**FACTS), [row(**published)], {}, tmp_path).markdown.read_text()
    assert f"| {text} |" in summary


def test_where_there_is_none(tmp_path: Path) -> None:
    summary = build_suite(SuiteFacts(**FACTS), [row(accuracy=0.9)], {}, tmp_path).markdown.read_text()
    assert "/ –" not in summary
