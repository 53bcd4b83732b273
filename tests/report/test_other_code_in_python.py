"""The functions of the report refuse runs of other code, as the command does, unless they are told to accept it."""

from __future__ import annotations

from typing import Any

import pytest

from bpfree import report
from bpfree.errors import RunDirectoryError


@pytest.mark.usefixtures("no_charts")
def test_refused_by_default(runs: Any) -> None:
    one, other = runs.record("backprop", 0), runs.record("mono-forward", 0)
    other = other.model_copy(update={"versions": other.versions | {"bpfree code": "0123"}})
    paths = [runs("a", [one]), runs("b", [other])]
    for function in (report.summarise, report.headline_rows, report.build):
        with pytest.raises(RunDirectoryError, match="DIFFERENT CODE"):
            function(paths)
        assert function(paths, accept_other_code=True)
