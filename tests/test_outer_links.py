"""Links from the documentation to other sites, where the network allows to ask."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
ASKED = "arxiv.org"
"""The site that most of the links lead to."""


@pytest.mark.slow
def test_links_to_other_sites_lead_somewhere(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    try:
        socket.create_connection((ASKED, 443), timeout=10).close()
    except OSError as error:
        pytest.skip(f"no link was asked: {ASKED} cannot be reached from here ({error})")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--builder", "linkcheck", str(DOCS), str(tmp_path)]
    subprocess.run(command, capture_output=True, check=False)  # its exit code also counts redirections
    answers = [json.loads(line) for line in (tmp_path / "output.json").read_text().splitlines()]
    assert sum(answer["status"] == "working" for answer in answers) > 5
    broken = [(answer["filename"], answer["uri"], answer["info"]) for answer in answers if answer["status"] == "broken"]
    assert broken == []
