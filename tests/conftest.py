"""For all tests: one thread a process (two test processes share two cores), and signals as in a terminal."""

from __future__ import annotations

import gc
import os
import signal
import sys
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


def pytest_collection_finish(session: pytest.Session) -> None:
    """The tests themselves stay to the end: nothing of them is to be collected."""
    del session
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _figures_are_drawn_where_they_are_looked_at(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    here = request.path.relative_to(request.config.rootpath / "tests").with_suffix("").as_posix()
    if not here.startswith(DRAWN):
        monkeypatch.setattr("vl_convert.vegalite_to_svg", _blank)


@pytest.fixture(autouse=True)
def _inference_is_timed_briefly(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every measured run times its inference in windows of .05 s; no test reads a time from there."""
    record = sys.modules.get("bpfree.bench.record")
    if record is not None and request.path.stem != "test_record_values":
        monkeypatch.setattr(record, "INFERENCE_WINDOW_S", 0.002)


def _blank(spec: dict[str, Any]) -> str:
    assert spec["$schema"]
    return BLANK


# A shell lets what it starts in the background ignore Ctrl-C, and nohup a closed terminal; tests of signals need neither.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)
