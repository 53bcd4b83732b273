"""Every committed report is what this code makes of its records: a verdict that is no longer given must not stay."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from bpfree.cli import run

ROOT = Path(__file__).parents[1]
COMMITTED = sorted(path.parent.parent.relative_to(ROOT) for path in ROOT.glob("benchmarks/results/*/report/summary.md"))


@pytest.mark.slow  # charts are drawn
@pytest.mark.parametrize("directory", COMMITTED, ids=lambda path: path.name)
def test_a_committed_report_is_made_by_its_last_command(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    committed = {name: (directory / "report" / name).read_text(encoding="utf-8") for name in ("summary.md", "summary.csv")}
    command = shlex.split(committed["summary.md"].rstrip().splitlines()[-1])
    assert command[:2] == ["bpfree", "report"]
    assert run([*command[1:], "--out", str(tmp_path), "--quiet"]) == 0
    for name, text in committed.items():
        assert (tmp_path / name).read_text(encoding="utf-8") == text, " ".join(command)


def test_there_are_some() -> None:
    assert len(COMMITTED) >= 6
