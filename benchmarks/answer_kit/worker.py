"""The process that holds the device and measures: section after section, each in its share of the time."""

from __future__ import annotations

import contextlib
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from types import FrameType

from bpfree.bench.causes import ends_the_process, says
from bpfree.bench.deadline import TimeIsUp
from bpfree.cli.interrupt import exit_code, watch_for_interrupts

from . import clocks, costs, doctor, experiment
from .budget import given_s
from .context import Context, prepared
from .options import Options
from .store import Section, Store, say

__all__ = ["DEVICE_LOST", "work"]

DEVICE_LOST = 75
"""Exit code of a worker whose device takes no more work: another worker can go on."""

RUNS: dict[str, Callable[[Context, Section, float], str | None]] = {
    "doctor": doctor.run,
    "costs": costs.run,
    "experiment": experiment.run,
    "clocks": clocks.run,
}
"""A section measures in about so many seconds, and returns why it is not complete; None where it is."""

_SLACK_S, _SLACK = 0.5, 0.05
"""How much longer than its time a section may take before it is cut: seconds, and share. The doctor cannot be cut: its windows
are as long as the counters need, and no longer."""


def work(options: Options, until_s: float) -> int:
    """Measure what is not done; the exit code.

    Args:
        until_s: on the monotonic clock.

    Raises:
        BpfreeError: nothing can be measured as it was asked.
    """
    warnings.simplefilter("default")
    store = Store.of(options)
    context = prepared(options, store)
    pending = [store.section(name, context.identity(name)) for name in options.sections if name in RUNS]
    for section in pending:
        if section.status == "done":
            say(f"{section.name}: done already")
    pending = [section for section in pending if section.status != "done"]
    names = [section.name for section in pending]
    watch_for_interrupts()
    for place, section in enumerate(pending):
        code = _run(context, section, given_s(section.name, names[place:], until_s - time.monotonic()))
        if code:
            return code
    return 0


def _run(context: Context, section: Section, seconds: float) -> int:
    """Run a section; an exit code where the process must end with it."""
    say(f"{section.name}: {seconds:.0f} s")
    section.begin(seconds)
    begun_s = time.monotonic()
    try:
        with _ended_after(seconds + max(_SLACK_S, _SLACK * seconds)) if section.name != "doctor" else contextlib.nullcontext():
            reason = RUNS[section.name](context, section, seconds)
    except TimeIsUp:
        reason = "the time was used up within a call that takes longer than was left"
    except KeyboardInterrupt:
        section.end("partial", time.monotonic() - begun_s, "it was interrupted")
        return exit_code()
    except Exception as error:  # noqa: BLE001 - a section that fails is recorded, and the next is run
        section.end("failed", time.monotonic() - begun_s, says(error))
        say(f"{section.name}: failed ({says(error)})")
        return DEVICE_LOST if ends_the_process(error) else 0
    section.end("done" if reason is None else "partial", time.monotonic() - begun_s, reason)
    say(f"{section.name}: {'done' if reason is None else reason}")
    return 0


@contextlib.contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    """Raise :class:`TimeIsUp` in the block after so many seconds: on a slow device one pass may be longer than a section."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
