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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

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
    outcomes: dict[Mutant, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="mutation-") as scratch, ThreadPoolExecutor(processes) as pool:
        copies: queue.Queue[Path] = queue.Queue()
        for k in range(processes):
            copies.put(_copy(root, Path(scratch) / str(k)))
        runner = _Runner(copies, Memory(memory_path, root), limit_s)

        def try_one(mutant: Mutant, tests: tuple[str, ...], seconds_without: Callable[[], float]) -> None:
            outcomes[mutant], seconds = runner.try_one(mutant, tests, seconds_without())
            report(mutant, outcomes[mutant], seconds)

        futures: list[Future[Any]] = []
        try:
            # Tests by tests, first without a mutation; a pool starts its work in this order.
            for tests, mutants in _by_tests(work).items():
                baseline = pool.submit(runner.baseline, tests)
                futures += [baseline, *(pool.submit(try_one, mutant, tests, baseline.result) for mutant in mutants)]
            for future in futures:
                future.result()
        except BaseException:
            runner.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return outcomes


def _by_tests(work: Sequence[tuple[Mutant, tuple[str, ...]]]) -> dict[tuple[str, ...], list[Mutant]]:
    grouped: dict[tuple[str, ...], list[Mutant]] = {}
    for mutant, tests in work:
        grouped.setdefault(tests, []).append(mutant)
    return grouped


class StoppedError(Exception):
    """The run was interrupted; no outcome is stored."""


@dataclass(frozen=True)
class _Runner:
    copies: queue.Queue[Path]
    memory: Memory
    limit_s: float
    stop: threading.Event = field(default_factory=threading.Event)

    def baseline(self, tests: tuple[str, ...]) -> float:
        """Seconds of tests without a mutation; they must pass."""
        key = "seconds of " + " ".join(tests)
        remembered = self.memory.get(key)
        if remembered is not None:
            return float(remembered)
        with _borrowed(self.copies) as copy:
            result = _pytest(copy, tests, 3 * self.limit_s, self.stop)
        if not result.passed:
            raise TestsFailError(f"tests fail without a mutation: pytest {' '.join(tests)}")
        self.memory.put(key, round(result.seconds, 1), lasting=False)
        return result.seconds

    def try_one(self, mutant: Mutant, tests: tuple[str, ...], seconds_without: float) -> tuple[Outcome, float]:
        """What the tests say of a mutant, and their seconds (0 if remembered)."""
        key = hashlib.sha256("\0".join([str(mutant.path), mutant.code, *tests]).encode()).hexdigest()
        remembered = self.memory.get(key)
        if remembered is not None:
            return cast(Outcome, remembered), 0.0
        with _borrowed(self.copies) as copy, _mutated(copy / mutant.path, mutant.code):
            result = _pytest(copy, tests, min(self.limit_s, 20 + 3 * seconds_without), self.stop)
        outcome: Outcome = "timeout" if result.timed_out else "survived" if result.passed else "killed"
        self.memory.put(key, outcome, lasting=outcome == "killed")
        return outcome, result.seconds


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


def _pytest(copy: Path, tests: tuple[str, ...], limit_s: float, stop: threading.Event) -> Finished:
    """Run tests in a fresh interpreter; after the limit or when stopped, end it and what it started."""
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
        while process.poll() is None and time.monotonic() - start < limit_s:
            if stop.wait(0.1):
                raise StoppedError
    finally:
        timed_out = process.poll() is None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    return Finished(passed=code == 0 and not timed_out, seconds=time.monotonic() - start, timed_out=timed_out)
