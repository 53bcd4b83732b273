"""The command: it starts workers, stops them in time, runs the GPU tests, and shows what is there. It never holds the GPU."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from types import FrameType
from typing import Any

from bpfree.errors import BpfreeError
from bpfree.files import locked, writing

from . import budget
from .options import HERE, SECTIONS, Options, parse
from .store import Section, Store, say

__all__ = ["main"]

INTERRUPTED = 130
_LEAST_S = 5.0
"""A worker is not started again for less (s)."""


def main(argv: list[str] | None = None, about: str | None = None, start_s: float | None = None) -> int:
    """Run the kit; the exit code: 0, 1 where a section failed, 2 where nothing could be asked so, 130 after an interruption.

    Args:
        about: shown by ``--help``.
        start_s: when the time began, on the monotonic clock; now by default.
    """
    start_s = time.monotonic() if start_s is None else start_s
    try:
        options = parse(argv, about)
        if options.worker:
            from .worker import work  # torch is loaded where it is used

            return work(options, options.until_s)
        return _answer(options, start_s)
    except BpfreeError as error:
        print(f"answer.py: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the one line of an error
        return 2


def _answer(options: Options, start_s: float) -> int:
    is_new = not options.out.exists()
    with writing(options.out):
        options.out.mkdir(parents=True, exist_ok=True)
    code = 2
    try:
        with locked(options.out / ".lock"), _terminated_as_interrupted():
            code = 0 if options.show else _measure(options, start_s)
            if code != 2:
                return _shown(options, code, start_s)
    finally:
        if is_new and {path.name for path in options.out.iterdir()} <= {".lock"}:  # refused, and nothing was written
            shutil.rmtree(options.out)
    return code


def _shown(options: Options, code: int, start_s: float) -> int:
    """Page and figures of what is there; the exit code."""
    store = Store.of(options)
    _show(store, math.inf if options.show else start_s + 60 * options.max_minutes)
    failed = [name for name in SECTIONS if store.read(name).get("status") == "failed"]
    if code == 0 and failed:
        say(f"failed: {', '.join(failed)}; see {options.out / 'answer.md'}; the same command tries them again")
        return 1
    return code


def _show(store: Store, end_s: float) -> None:
    """Page and figures; without the figures where the time is used up or nothing can draw them."""
    store.write_answer()
    from .page import write_page

    try:
        from .figures import draw

        draw(store, end_s)
    except Exception as error:  # noqa: BLE001 - a drawing that fails must not lose the page
        say(f"no figures ({type(error).__name__}: {error}); where altair is installed, draw them with --show")
    write_page(store)
    say(f"the answer is in {store.out}")


def _measure(options: Options, start_s: float) -> int:
    store = Store.of(options)
    _retried(store, options.sections)
    pending = [name for name in options.sections if store.read(name).get("status") != "done"] or list(options.sections)
    plan = budget.plan(start_s, 60 * options.max_minutes, pending)
    measured = tuple(name for name in options.sections if name != "tests")
    try:
        code = _in_process(options, plan) if options.in_process else _workers(options, store, measured, plan)
        if code in (0, 1) and "tests" in options.sections:
            _tests(options, store, plan)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _in_process(options: Options, plan: budget.Plan) -> int:
    from .worker import work

    code = work(replace(options, until_s=plan.worker_until_s), plan.worker_until_s)
    if code >= 128:
        raise KeyboardInterrupt
    return min(code, 1)


def _workers(options: Options, store: Store, sections: tuple[str, ...], plan: budget.Plan) -> int:
    """Run a worker; where it was ended by what it did, another one for the sections after that. The exit code."""
    while sections:
        code = _worker(options, sections, plan)
        if code in (0, 2):
            return code
        late = time.monotonic() >= plan.worker_until_s
        running = [name for name in sections if store.read(name).get("status") == "running"]
        for name in running:  # its process was killed, or fell
            words = "it had not ended when its time was over" if late else f"its process ended with code {code}"
            _end(store, name, "partial" if late else "failed", words)
        failed = [name for name in sections if store.read(name).get("status") == "failed"]
        if late:
            return 0
        if not failed or plan.worker_until_s - time.monotonic() < _LEAST_S:
            return 1
        sections = sections[sections.index(failed[-1]) + 1 :]
        say(f"{failed[-1]} ended its process (code {code}); going on with {', '.join(sections) or 'nothing'}")
    return 0


def _retried(store: Store, names: tuple[str, ...]) -> None:
    """What failed in an earlier call, or was killed with it, is tried again."""
    for name in names:
        if store.read(name).get("status") in ("failed", "running"):
            _end(store, name, "partial", store.read(name)["reason"] or "its call was killed")


def _end(store: Store, name: str, status: str, reason: str) -> None:
    there = store.read(name)
    section = Section(store, name, there["identity"], there["status"], None, there["calls"], there["data"])
    section.end(status, section.calls[-1]["used_s"] if section.calls else None, reason)


def _worker(options: Options, sections: tuple[str, ...], plan: budget.Plan) -> int:
    """One worker, stopped a little after its time: first asked, then killed."""
    line = [sys.executable, str(HERE / "answer.py"), *options.worker_line(plan.worker_until_s, sections)]
    paths = os.pathsep.join([str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    process = subprocess.Popen(line, env=os.environ | {"PYTHONPATH": paths}, start_new_session=True)
    late_s = plan.worker_until_s + 0.2 * plan.finish_s
    try:
        return process.wait(timeout=max(0.0, late_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        say("the time is used up; ending what runs")
        return _stop(process, 0.35 * plan.finish_s)
    except KeyboardInterrupt:
        _stop(process, 10.0)
        raise


def _stop(process: subprocess.Popen[Any], patience_s: float) -> int:
    """Ask a worker to end, and after ``patience_s`` kill it; its code."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout=patience_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def _tests(options: Options, store: Store, plan: budget.Plan) -> None:
    """Run the GPU tests, where there is a GPU and time."""
    about = store.answer()["about"]
    facts = about.get("environment", {})
    identity = {"code": facts.get("versions", {}).get("bpfree code"), "device": about.get("device"), "torch": about.get("torch")}
    section = store.section("tests", identity)
    if section.status == "done":
        return
    begun_s = time.monotonic()
    left_s = plan.tests_until_s - begun_s
    if not options.device.startswith("cuda"):
        section.end("skipped", 0.0, f"--device {options.device} has no GPU to test")
    elif left_s < budget.LEAST_S["tests"]:
        section.end("skipped", 0.0, plan.left_out.get("tests", f"{left_s:.0f} s were left, and it needs more"))
    else:
        from .gpu_tests import files_with_gpu_tests, run_tests

        say(f"tests: {left_s:.0f} s at most")
        section.begin(left_s)
        try:
            section.data, reason = run_tests(files_with_gpu_tests(), left_s)
        except Exception as error:  # noqa: BLE001 - tests that cannot be run must not lose the answer
            section.end("failed", time.monotonic() - begun_s, f"{type(error).__name__}: {error}")
            return
        status = "failed" if reason is None and section.data.get("failed") else "done" if reason is None else "partial"
        section.end(status, time.monotonic() - begun_s, reason or ("tests failed" if status == "failed" else None))


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM and SIGHUP, as Ctrl-C, end the command once what was measured is written."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
