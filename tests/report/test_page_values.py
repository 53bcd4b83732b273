"""Everything that a reader sees of a report, word by word: pages, Markdown, terminal, file names, and the data of the charts.

The numbers of the case ``first`` are compared with a computation by hand in :mod:`tests.report.test_golden_report`, those of
``claim`` in :mod:`tests.report.test_golden_verdicts`; the others were compared with the numbers of their case by hand when the
text was stored. After a change of words, read the difference of what this command writes::

    python -m tests.report.test_page_values
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

from tests.report.page_cases import CASES

PAGES = Path(__file__).parent / "pages"


@pytest.mark.parametrize("case", CASES)
def test_the_whole_text_of_a_report(case: str, tmp_path: Path) -> None:
    expected = (PAGES / f"{case}.txt").read_text(encoding="utf-8")
    assert CASES[case](tmp_path).splitlines() == expected.splitlines()


def test_every_stored_page_has_a_case() -> None:
    assert {path.stem for path in PAGES.iterdir()} == set(CASES)


if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        with tempfile.TemporaryDirectory() as folder:
            (PAGES / f"{name}.txt").write_text(CASES[name](Path(folder)), encoding="utf-8")
