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
from typing import IO, Any, Literal, cast

from tools.mutation.mutants import Mutant

__all__ = ["Outcome", "TestsFailError", "run"]

Outcome = Literal["killed", "survived", "timeout"]
TOOLS = Path(__file__).parents[2]
"""The folder of this package, for the server of tests."""
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
    libraries: Sequence[str],
    report: Callable[[Mutant, Outcome, float], None],
) -> dict[Mutant, Outcome]:
    """Run the tests of each mutant; mutants with a remembered outcome are not run again.

    Args:
        work: Mutants, each with its tests (arguments of pytest).
        root: Directory of the project; only copies of it are changed.
        memory_path: File of outcomes.
        processes: Tests that run at the same time, each with one thread.
        limit_s: Longest time for a mutant, in seconds; the limit is lower where the tests pass quickly: 20 s and
            three times the time without a mutation. A mutant that needs longer is run once more with three times
            the limit, and counts as a time-out only if it needs longer again.
        libraries: Modules that are imported once, not for each mutant.
        report: Called after each mutant with its seconds (0 if remembered), from any thread.

    Raises:
        TestsFailError: Tests fail without a mutation.
    """
    outcomes: dict[Mutant, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="mutation-") as scratch, ThreadPoolExecutor(processes) as pool:
        stop = threading.Event()
        servers = [_Tests(_copy(root, Path(scratch) / str(k)), libraries, stop) for k in range(processes)]
        copies: queue.Queue[_Tests] = queue.Queue()
        for server in servers:
            copies.put(server)
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
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        finally:
            for server in servers:
                server.close()
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
    copies: queue.Queue[_Tests]
    memory: Memory
    limit_s: float

    def baseline(self, tests: tuple[str, ...]) -> float:
        """Seconds of tests without a mutation; they must pass."""
        key = "seconds of " + " ".join(tests)
        remembered = self.memory.get(key)
        if remembered is not None:
            return float(remembered)
        with _borrowed(self.copies) as copy:
            result = copy.run(tests, 3 * self.limit_s)
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
        limit_s = min(self.limit_s, 20 + 3 * seconds_without)
        with _borrowed(self.copies) as copy, _mutated(copy.copy / mutant.path, mutant.code):
            result = copy.run(tests, limit_s)
            if result.timed_out:  # a busy machine is no proof of a loop without end
                result = copy.run(tests, 3 * limit_s)
        outcome: Outcome = "timeout" if result.timed_out else "survived" if result.passed else "killed"
        self.memory.put(key, outcome, lasting=outcome == "killed")
        return outcome, result.seconds


@contextlib.contextmanager
def _borrowed(copies: queue.Queue[_Tests]) -> Iterator[_Tests]:
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


class _Tests:
    """Runs pytest in a copy of the project, each time in a new process (see :mod:`tools.mutation.server`)."""

    def __init__(self, copy: Path, libraries: Sequence[str], stop: threading.Event) -> None:
        self.copy = copy
        self.stop = stop
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(copy / "src"), str(TOOLS)]),  # before the editable install
            "PYTHONDONTWRITEBYTECODE": "1",  # two changes within a second would share one compiled file
            "OMP_NUM_THREADS": "1",
        }
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tools.mutation.server", *libraries],
            cwd=copy,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        self.answers: queue.Queue[int] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in cast(IO[str], self.server.stdout):
            self.answers.put(int(line))

    def run(self, tests: tuple[str, ...], limit_s: float) -> Finished:
        """Run tests; after the limit or when stopped, end the process and what it started."""
        pipe = cast(IO[str], self.server.stdin)
        pipe.write(json.dumps(["-x", "-q", "-p", "no:cacheprovider", *tests]) + "\n")
        pipe.flush()
        process = self._answer(None)  # the first one comes when the libraries are imported
        start = time.monotonic()
        code = None
        try:
            code = self._answer(limit_s)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
        seconds = time.monotonic() - start
        if code is None:
            self._answer(None)
        return Finished(passed=code == 0, seconds=seconds, timed_out=code is None)

    def _answer(self, limit_s: float | None) -> Any:
        start = time.monotonic()
        while limit_s is None or time.monotonic() - start < limit_s:
            if self.stop.is_set() or (self.answers.empty() and self.server.poll() is not None):
                raise StoppedError
            with contextlib.suppress(queue.Empty):
                return self.answers.get(timeout=0.1)
        return None

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()
