"""Twenty cells, ten ``kill -9`` at random moments: no cell is lost, none is run twice, the report says the same."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bpfree import report
from bpfree.records import read_records

from .conftest import start_cold

KILLS_OF_SEARCH, KILLS_OF_RUNS = 3, 6
"""And one while it starts: ten."""
COMMAND = (
    "compare", "--out", "R", "--quiet", "--net", "mlp:2x32", "--trials", "2", "--max-passes", "12", "--seeds", "5",
    "--arms", "backprop,mono-forward,mono-forward:schedule=staged,forward-forward",
)  # fmt: skip
TIMED = (
    "time_s", "time_ratio", "validation_time_s", "training_time_s", "training_time_ratio", "cpu_s", "cpu_ratio", "cpu_s_per_s",
    "other_load_fraction", "energy_j", "net_energy_j", "energy_ratio", "co2e_g", "peak_memory_bytes",
)  # fmt: skip


def n_lines(path: Path) -> int:
    """Of a file that may not be there yet."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill(process: subprocess.Popen[str], path: Path, more: int, wait_s: float) -> None:
    """Kill when ``path`` has ``more`` lines than before, and ``wait_s`` later; it must be at work still."""
    before = n_lines(path)
    while process.poll() is None and n_lines(path) < before + more:
        time.sleep(0.002)
    time.sleep(wait_s)
    assert process.poll() is None, "it ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.communicate()


def said(directory: Path) -> dict[str, Any]:
    """The report, less what a clock said."""
    summary = report.summarise([directory])
    for table in summary["tables"]:
        table.pop("answer")  # it says times
        for arm in table["target"]["arms"]:
            arm.pop("median_time_s")
        for row in table["rows"]:
            for key in TIMED:
                row.pop(key)
    flags = [flag for flag in summary["flags"] if not flag.startswith("Other processes")]
    return {**summary, "directories": [], "flags": flags}


def finish(where: Path) -> None:
    """Give the command once more and let it end."""
    process = start_cold(COMMAND, where)
    _, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_kills_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    finish(whole)
    chance = random.Random(20261121)
    directory = killed / "R"
    journal, records_path = directory / "study.journal", directory / "records.jsonl"
    kill(start_cold(COMMAND, killed), journal, 0, chance.uniform(0.2, 3.0))  # while it starts
    for _ in range(KILLS_OF_SEARCH):
        kill(start_cold(COMMAND, killed), journal, chance.randint(1, 15), chance.uniform(0.0, 0.1))
    for _ in range(KILLS_OF_RUNS):
        kill(start_cold(COMMAND, killed), records_path, chance.randint(1, 2), chance.uniform(0.0, 0.1))
    assert 0 < len(read_records(records_path)) < 20, "the kills must have come while cells were measured"
    finish(killed)

    records = read_records(directory / "records.jsonl")
    assert Counter(record.cell for record in records) == Counter(r.cell for r in read_records(whole / "R" / "records.jsonl"))
    assert (len(records), {record.status for record in records}) == (20, {"ok"})
    tuned = [json.loads((place / "R" / "tuned.json").read_text()) for place in (whole, killed)]
    best = [[(row["arm"], row["best"], row["trials"]) for row in rows] for rows in tuned]
    assert best[0] == best[1]
    assert said(directory) == said(whole / "R")
