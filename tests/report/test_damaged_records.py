"""A field that cannot be read is an error with its place and its cure, not a number that is missing."""

from __future__ import annotations

from typing import Any

import pytest

from bpfree.errors import RunDirectoryError
from tests.report.cases import ahead, summary_of


@pytest.mark.parametrize("text", ["not base64", "AA=="])  # the second is base64 of another number of examples
def test_which_examples_were_right(runs: Any, text: str) -> None:
    records = [record.model_copy(update={"correct": text}) for record in ahead(runs)]
    with pytest.raises(RunDirectoryError, match=r"seed 0, has a damaged field correct .* remove its line from records.jsonl"):
        summary_of(runs, records)
