"""For all tests: one thread a process (two test processes share two cores), and signals as in a terminal."""

from __future__ import annotations

import copy
import functools
import gc
import importlib.metadata
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; inherited by the processes that tests start

DRAWN = (
    "browser/test_report_in_browser",
    *("report/test_report_page", "report/test_report_build", "report/test_report_targets", "report/test_report_needs"),
    *("report/test_report_beside", "report/test_page_values", "cli/test_analyse", "cli/test_analyse_landscape"),
    *("cli/test_measure_cost", "bench/test_timelines", "test_landscape_page", "test_scaling", "meter/test_answer_kit"),
)
"""Where figures are looked at. Elsewhere a report has an empty one in their place: drawing is half of the time that it takes."""

BLANK = '<svg xmlns="http://www.w3.org/2000/svg" width="640" height="240" viewBox="0 0 640 240"/>'


gc.set_threshold(20_000, 20, 20)
"""By default Python searches what ten thousand tests keep in memory once for every 700 new objects: an eighth of the time."""

_version = importlib.metadata.version


@functools.cache
def _version_on(name: str, path: tuple[str, ...]) -> str:
    del path
    return _version(name)


importlib.metadata.version = lambda name: _version_on(name, tuple(sys.path))
"""Every measured run asks for seven versions, and each is looked up in files: a tenth of the time of a small comparison."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """The tests themselves stay to the end: nothing of them is to be collected."""
    del session
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _figures_are_drawn_where_they_are_looked_at(request: pytest.FixtureRequest) -> Iterator[None]:
    here = request.path.relative_to(request.config.rootpath / "tests").with_suffix("").as_posix()
    with pytest.MonkeyPatch.context() as patch:
        if not here.startswith(DRAWN):
            patch.setattr("vl_convert.vegalite_to_svg", _blank)
        yield


@pytest.fixture(autouse=True, scope="module")
def _inference_is_timed_briefly(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every measured run times its inference in windows of .05 s; no test reads a time from there."""
    record = sys.modules.get("bpfree.bench.record")
    with pytest.MonkeyPatch.context() as patch:
        if record is not None and request.path.stem != "test_record_values":
            patch.setattr(record, "INFERENCE_WINDOW_S", 0.002)
        yield


@pytest.fixture(autouse=True, scope="module")
def _digits_are_read_once() -> Iterator[None]:
    """scikit-learn parses their text anew for every call, and most tests of commands load them."""
    base = sys.modules.get("sklearn.datasets._base")
    if base is not None and not hasattr(base.load_gzip_compressed_csv_data, "cache_clear"):
        read = functools.cache(base.load_gzip_compressed_csv_data)

        @functools.wraps(read)
        def copied(*names: Any, **options: Any) -> Any:
            return tuple(map(copy.copy, read(*names, **options)))

        copied.cache_clear = read.cache_clear  # type: ignore[attr-defined]
        base.load_gzip_compressed_csv_data = copied
    yield


@pytest.fixture(autouse=True, scope="session")
def _no_process_is_started_early() -> Iterator[None]:
    """Every command that searches would start an interpreter that imports torch, and end it unused: these searches take less
    than the ten seconds from which another process helps. Commands in processes of their own start it as they do for a user,
    and ``test_early_processes`` and ``bench/test_parallel`` look at such processes."""
    from bpfree import early_processes  # deferred: OMP_NUM_THREADS stands first

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(early_processes, "may_start_early", lambda: False)
        yield


@pytest.fixture(autouse=True, scope="session")
def _templates_are_compiled_once() -> Iterator[None]:
    """Every report makes an environment of its own, and compiling the page anew is a fifth of its time."""
    import jinja2

    compile_ = jinja2.Environment.compile
    compiled: dict[object, Any] = {}

    def once(self: jinja2.Environment, source: Any, name: str | None = None, filename: str | None = None, *rest: bool) -> Any:
        settings = (self.autoescape, self.undefined, self.trim_blocks, self.lstrip_blocks, self.keep_trailing_newline)
        key = (settings, source, name, filename, *rest)
        if key not in compiled:
            compiled[key] = compile_(self, source, name, filename, *rest)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja2.Environment, "compile", once)
        yield


@pytest.fixture(autouse=True, scope="session")
def _nothing_waits_for_the_disk() -> Iterator[None]:
    """What ``fsync`` does shows only after a loss of power. Tests that look at the calls put their own in its place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which refuses a file that is closed, too
        yield


def _blank(spec: dict[str, Any]) -> str:
    assert spec["$schema"]
    return BLANK


# A shell lets what it starts in the background ignore Ctrl-C, and nohup a closed terminal; tests of signals need neither.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)
