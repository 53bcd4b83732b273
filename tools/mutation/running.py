"""Run the nearest tests on each mutant, in copies of the project; remember every outcome."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tools.mutation.mutants import Mutant

__all__ = ["Outcome", "TestsFailError", "run"]

Outcome = Literal["killed", "survived", "timeout"]
_COPIED = ("src", "tests", "tools", "docs", "benchmarks")


class TestsFailError(Exception):
    """The tests fail on the code as it is."""

    __test__ = False


@dataclass(frozen=True)
class Finished:
    passed: bool
    seconds: float
    timed_out: bool = False


class Memory:
    """Outcomes in a file, one JSON object a line. A killed mutant stays killed; others are tried again after a change."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.tree = _digest_of_tree(root)
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.values: dict[str, float | str] = {}
        for line in lines:
            with contextlib.suppress(json.JSONDecodeError):  # the last line of an interrupted run may be cut
                self.values.update(json.loads(line))

    def get(self, key: str) -> float | str | None:
        return self.values.get(key, self.values.get(f"{self.tree}:{key}"))

    def put(self, key: str, value: float | str, *, lasting: bool) -> None:
        entry = {key if lasting else f"{self.tree}:{key}": value}
        with self.lock, self.path.open("a", encoding="utf-8") as file:
            self.values.update(entry)
            file.write(json.dumps(entry) + "\n")


def _digest_of_tree(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for folder in ("src", "tests") for path in (root / folder).rglob("*") if path.is_file()):
        if "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def run(
    work: Sequence[tuple[Mutant, tuple[str, ...]]],
    root: Path,
    memory_path: Path,
    *,
    processes: int,
    limit_s: float,
    report: Callable[[Mutant, Outcome, float], None],
) -> dict[Mutant, Outcome]:
    """Run the tests of each mutant; mutants with a remembered outcome are not run again.

    Args:
        work: Mutants, each with its tests (arguments of pytest).
        root: Directory of the project; only copies of it are changed.
        memory_path: File of outcomes.
        processes: Tests that run at the same time, each with one thread.
        limit_s: Longest time for a mutant, in seconds; the limit is lower where the tests pass quickly: 20 s and
            three times the time without a mutation.
        report: Called after each mutant with its seconds (0 if remembered), from any thread.

    Raises:
        TestsFailError: Tests fail without a mutation.
    """
    memory = Memory(memory_path, root)
    outcomes: dict[Mutant, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="mutation-") as scratch, ThreadPoolExecutor(processes) as pool:
        copies: queue.Queue[Path] = queue.Queue()
        for k in range(processes):
            copies.put(_copy(root, Path(scratch) / str(k)))
        futures: list[Future[Any]] = []
        try:
            # Tests by tests, first without a mutation; a pool starts its work in this order.
            for tests, mutants in _by_tests(work).items():
                baseline = pool.submit(_baseline, tests, copies, memory, limit_s)
                futures.append(baseline)
                for mutant in mutants:
                    futures.append(
                        pool.submit(_try_one, mutant, tests, copies, memory, limit_s, baseline.result, outcomes, report)
                    )
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return outcomes


def _by_tests(work: Sequence[tuple[Mutant, tuple[str, ...]]]) -> dict[tuple[str, ...], list[Mutant]]:
    grouped: dict[tuple[str, ...], list[Mutant]] = {}
    for mutant, tests in work:
        grouped.setdefault(tests, []).append(mutant)
    return grouped


def _baseline(tests: tuple[str, ...], copies: queue.Queue[Path], memory: Memory, limit_s: float) -> float:
    key = "seconds of " + " ".join(tests)
    remembered = memory.get(key)
    if remembered is not None:
        return float(remembered)
    with _borrowed(copies) as copy:
        result = _pytest(copy, tests, 3 * limit_s)
    if not result.passed:
        raise TestsFailError(f"tests fail without a mutation: pytest {' '.join(tests)}")
    memory.put(key, round(result.seconds, 1), lasting=False)
    return result.seconds


def _try_one(
    mutant: Mutant,
    tests: tuple[str, ...],
    copies: queue.Queue[Path],
    memory: Memory,
    limit_s: float,
    seconds_without: Callable[[], float],
    outcomes: dict[Mutant, Outcome],
    report: Callable[[Mutant, Outcome, float], None],
) -> None:
    limit = min(limit_s, 20 + 3 * seconds_without())
    key = hashlib.sha256("\0".join([str(mutant.path), mutant.code, *tests]).encode()).hexdigest()
    outcome, seconds = memory.get(key), 0.0
    if outcome is None:
        with _borrowed(copies) as copy, _mutated(copy / mutant.path, mutant.code):
            result = _pytest(copy, tests, limit)
        outcome, seconds = "timeout" if result.timed_out else "survived" if result.passed else "killed", result.seconds
        memory.put(key, outcome, lasting=outcome == "killed")
    outcomes[mutant] = outcome  # type: ignore[assignment]
    report(mutant, outcomes[mutant], seconds)


@contextlib.contextmanager
def _borrowed(copies: queue.Queue[Path]) -> Iterator[Path]:
    copy = copies.get()
    try:
        yield copy
    finally:
        copies.put(copy)


@contextlib.contextmanager
def _mutated(path: Path, code: str) -> Iterator[None]:
    original = path.read_bytes()
    path.write_text(code, encoding="utf-8")
    try:
        yield
    finally:
        path.write_bytes(original)


def _copy(root: Path, target: Path) -> Path:
    target.mkdir(parents=True)
    for name in _COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in root.iterdir():
        if path.is_file():
            shutil.copy(path, target / path.name)
    return target


def _pytest(copy: Path, tests: tuple[str, ...], limit_s: float) -> Finished:
    """Run tests in a fresh interpreter; after the limit, end it and what it started."""
    environment = os.environ | {
        "PYTHONPATH": str(copy / "src"),  # before the editable install
        "PYTHONDONTWRITEBYTECODE": "1",  # two changes within a second would share one compiled file
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    start = time.monotonic()
    process = subprocess.Popen(
        command, cwd=copy, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        code = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return Finished(passed=False, seconds=limit_s, timed_out=True)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return Finished(passed=code == 0, seconds=time.monotonic() - start)
