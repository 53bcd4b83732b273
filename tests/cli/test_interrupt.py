"""An interruption whose exception got lost is noticed after the pass."""

from __future__ import annotations

import os
import signal
import weakref
from collections.abc import Iterator

import pytest

from bpfree.cli.interrupt import raise_if_asked, watch_for_interrupts


@pytest.fixture(autouse=True)
def _own_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_nothing_is_raised_when_nobody_asked() -> None:
    watch_for_interrupts()
    raise_if_asked()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_swallows_is_raised_at_the_next_look() -> None:
    """In the callback of a weak reference Python prints an exception and goes on."""

    class Thing:
        pass

    watch_for_interrupts()
    thing = Thing()
    reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
    del thing  # the callback runs here, and its KeyboardInterrupt is lost
    assert reference() is None
    with pytest.raises(KeyboardInterrupt):
        raise_if_asked()
