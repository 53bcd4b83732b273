"""The processes of the GPU kit: a worker that falls or hangs, and the command stopped from outside."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from answer_kit_runs import COSTS, TASK, answer

from benchmarks.answer_kit import command
from benchmarks.answer_kit.options import HERE

FAKE = """
import json, os, signal, sys, time
from pathlib import Path
words = dict(zip(sys.argv[2::2], sys.argv[3::2]))
out, name = Path(words["--out"]), words["--sections"].split(",")[0]
with (out / "calls.txt").open("a") as file:
    file.write(words["--sections"] + "\\n")
(out / "sections").mkdir(exist_ok=True)
call = {"started_at": "now", "given_s": 1.0, "used_s": None, "status": "running"}
state = {"title": name, "name": name, "status": "running", "reason": None, "identity": {}, "calls": [call], "data": {}}
(out / "sections" / f"{name}.json").write_text(json.dumps(state))
"""
FALLS = FAKE + "os._exit(11)\n"
HANGS = FAKE + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)\n"


@pytest.fixture
def worker_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a script in the place of the worker."""

    def use(script: str) -> None:
        (tmp_path / "answer.py").write_text(script)
        monkeypatch.setattr(command, "HERE", tmp_path)
        monkeypatch.setitem(sys.modules, "benchmarks.answer_kit.figures", None)

    return use


def test_after_a_worker_that_fell_another_runs_the_sections_that_are_left(tmp_path: Path, worker_is) -> None:
    worker_is(FALLS)
    out = tmp_path / "answer"
    assert command.main(["--device", "cpu", "--max-minutes", "1", "--out", str(out)]) == 1
    lines = (out / "calls.txt").read_text().splitlines()
    assert lines == ["doctor,costs,experiment,clocks", "costs,experiment,clocks", "experiment,clocks", "clocks"]
    sections = answer(out)["sections"]
    for name in ("doctor", "costs", "experiment", "clocks"):
        assert (sections[name]["status"], sections[name]["reason"]) == ("failed", "its process ended with code 11")


def test_a_worker_that_does_not_end_is_killed_in_time_and_nothing_failed(tmp_path: Path, worker_is) -> None:
    worker_is(HANGS)
    out, begin_s = tmp_path / "answer", time.monotonic()
    assert command.main(["--device", "cpu", "--max-minutes", "0.03", "--out", str(out)]) == 0
    assert time.monotonic() - begin_s < 1.8 + 1.0
    doctor = answer(out)["sections"]["doctor"]
    assert (doctor["status"], doctor["reason"]) == ("partial", "it had not ended when its time was over")
    assert doctor["calls"][0]["used_s"] is None


def line(out: Path, ruleset: str, minutes: str, *words: str) -> list[str]:
    task = [word for word in TASK if word != "--in-process"]
    rest = ["--out", str(out), "--ruleset", ruleset, "--seeds", "1", "--max-minutes", minutes, *COSTS, *words]
    return [sys.executable, str(HERE / "answer.py"), *task, *rest]


@pytest.mark.slow
def test_sigterm_stops_the_whole_command_and_the_same_command_goes_on(kit_ruleset: str, tmp_path: Path) -> None:
    """Two processes of their own, each loading torch."""
    process = subprocess.Popen(line(tmp_path, kit_ruleset, "2", "--rounds", "500"), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for text in process.stderr:
        if "costs: batch 32, step, frozen" in text:
            process.send_signal(signal.SIGTERM)
            break
    process.stderr.read()
    assert process.wait(timeout=60) == command.INTERRUPTED
    cut = answer(tmp_path)["sections"]
    assert (cut["doctor"]["status"], cut["costs"]["status"], cut["costs"]["reason"]) == ("done", "partial", "it was interrupted")
    begin_s = time.monotonic()
    subprocess.run(line(tmp_path, kit_ruleset, "0.5", "--rounds", "500", "--sections", "doctor,costs,experiment"), check=True)
    assert time.monotonic() - begin_s < 30.0 + 1.0
    then = answer(tmp_path)["sections"]
    assert then["doctor"] == cut["doctor"]
    groups, before = (each["costs"]["data"]["groups"] for each in (then, cut))
    whole = [group for group in before if group["complete"]]
    assert groups[: len(whole)] == whole and len(groups) > len(whole)
    assert then["experiment"]["status"] == "done"
    assert json.loads((tmp_path / "about.json").read_text())["device"]
