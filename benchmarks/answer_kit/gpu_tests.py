"""Section 5: the tests that need a GPU, in a process of their own: a process that holds the board would not let it be idle."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .options import HERE

__all__ = ["MARK", "files_with_gpu_tests", "run_tests"]

ROOT = HERE.parent
MARK = "pytest.mark.gpu"


def files_with_gpu_tests(root: Path = ROOT) -> list[Path]:
    """The test files that hold such tests: collecting all the others takes most of a minute."""
    return sorted(path for path in (root / "tests").rglob("test_*.py") if MARK in path.read_text(encoding="utf-8"))


def run_tests(paths: list[Path], limit_s: float, root: Path = ROOT) -> tuple[dict[str, Any], str | None]:
    """Run the tests with the marker ``gpu`` in these files, for ``limit_s`` at most.

    Returns:
        What came of them, and why they are not all there (None where they are).
    """
    if importlib.util.find_spec("pytest") is None:
        return {}, "pytest is not installed"
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        line = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", f"--junitxml={results}"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root / "src"), os.environ.get("PYTHONPATH", "")])}
        begun_s = time.monotonic()
        process = subprocess.Popen(
            [*line, *map(str, paths)],
            cwd=root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            return {}, f"they did not end within {limit_s:.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        time_s = time.monotonic() - begun_s
        lines = [text for text in output.splitlines() if text.strip()]
        if not results.exists():
            return {"time_s": time_s}, f"pytest ended with code {process.returncode}: {lines[-1] if lines else 'no output'}"
        return {"time_s": time_s, **_read(results)}, None


def _read(path: Path) -> dict[str, Any]:
    """Counts and single outcomes of pytest's file."""
    tests = []
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        bad = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        outcome = "passed" if bad is None else {"failure": "failed", "error": "failed"}.get(bad.tag, bad.tag)
        why = None if bad is None else ((bad.get("message") or "").splitlines() or [""])[0][:300]
        name = f"{case.get('classname', '')}.{case.get('name', '')}"
        tests.append({"name": name, "outcome": outcome, "time_s": float(case.get("time", "nan")), "why": why})
    counts = {word: sum(test["outcome"] == word for test in tests) for word in ("passed", "failed", "skipped")}
    return {**counts, "tests": tests}
