"""The bar of ``bpfree.fit`` is one line of a terminal of 80 columns, whichever the rule."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from bpfree import catalogue
from bpfree.train.bar import Bar


@pytest.mark.parametrize("name", ["pepita", max(catalogue.rules(), key=len)])
def test_it_fits_80_columns(name: str) -> None:
    bar = Bar(name, 40)
    after: Any = SimpleNamespace(passes=12, train_loss=0.012345, val_accuracy=0.95123)
    bar.passed(after)
    screen = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=80)
    screen.print(bar._columns.get_renderable())
    text: Any = screen.file
    (line,) = text.getvalue().splitlines()
    assert line.startswith(f"{name} 12/40 loss 0.0123, val. 95.12 % ")
    assert "━" in line and " at most " in line
    assert len(line) == 80
